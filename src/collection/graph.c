/*
 * Objects `g000000`, `g000001`, ... are the library's chunks as they are
 * (docs/formats/vector-index.md), `graph` is its manifest, `slots` a head of 32 bytes and a u32 an
 * item:
 *
 *   0 "LKVSLT1\n"  8 tag u64  16 count u64  24 crc32c of the slots u32  28 crc32c of 0..27 u32
 *
 * All of it is checked when it is read, so no search meets damage: then the items are there to
 * begin from.
 */
#include "collection/graph.h"

#include "base/digest.h"
#include "base/mem.h"

enum { SLOTS_HEAD = 32, ALIGN = 64, MANIFEST_DIMENSION = 20, MANIFEST_METRIC = 24 };

static const char slots_magic[8] = { 'L', 'K', 'V', 'S', 'L', 'T', '1', '\n' };

/* --- writing --- */

/** Stored already: the library gives another version to other bytes. */
static const struct snap_entry *stored(const struct snap_list *base,
                                       const struct vec_chunk_info *info)
{
    const struct snap_entry *entry = base == NULL ? NULL : snap_list_graph(base, info->number);
    return entry != NULL && entry->version == info->version && entry->bytes == info->bytes ? entry
                                                                                           : NULL;
}

static enum status put_piece(struct coll *coll, const struct coll_snapshot_ref *ref,
                             struct vec_snapshot *graph, uint32_t number,
                             const struct snap_list *base, struct snap_list *list, struct err *err)
{
    char room[LOG_KEY_MAX];
    struct vec_chunk_info info;
    const void *bytes = NULL;
    TRY(vec_snapshot_chunk(graph, number, &info, NULL, err));
    if (info.bytes == 0) {
        return OK;
    }
    const struct snap_entry *old = stored(base, &info);
    const struct snap_entry entry = { .kind = SNAP_GRAPH,
                                      .part = number,
                                      .object = number,
                                      .sequence = ref->sequence,
                                      .tag = ref->tag,
                                      .bytes = info.bytes,
                                      .version = info.version };
    if (old == NULL) {
        TRY(vec_snapshot_chunk(graph, number, &info, &bytes, err));
        TRY(snap_put(coll->service->store, snap_entry_key(room, str_of(coll->uuid), &entry),
                     str_from(bytes, info.bytes), err));
    }
    return snap_list_add(list, old != NULL ? old : &entry) == OK ? OK : err_no_memory(err);
}

static enum status put_slots(struct coll *coll, const struct coll_snapshot_ref *ref,
                             const struct buf *slots, struct err *err)
{
    AUTO(buf_done) struct buf bytes;
    char room[LOG_KEY_MAX], head[SLOTS_HEAD] = { 0 };
    uint64_t count = slots->len / sizeof(uint32_t);
    uint32_t crc = crc32c(0, slots->ptr, slots->len);
    buf_init(&bytes, SIZE_MAX);
    memcpy(head, slots_magic, sizeof slots_magic);
    memcpy(head + 8, &ref->tag, sizeof ref->tag);
    memcpy(head + 16, &count, sizeof count);
    memcpy(head + 24, &crc, sizeof crc);
    crc = crc32c(0, head, SLOTS_HEAD - sizeof crc);
    memcpy(head + 28, &crc, sizeof crc);
    if (buf_append_bytes(&bytes, head, sizeof head) != OK ||
        buf_append(&bytes, buf_str(slots)) != OK) {
        return err_no_memory(err);
    }
    return snap_put(coll->service->store, snap_key(room, str_of(coll->uuid), ref->name, "slots"),
                    buf_str(&bytes), err);
}

enum status graph_write(struct coll *coll, const struct coll_snapshot_ref *ref,
                        struct vec_snapshot *graph, const struct buf *slots,
                        const struct snap_list *base, struct snap_list *list, uint64_t *chunks_out,
                        struct err *err)
{
    char room[LOG_KEY_MAX];
    void *manifest = NULL;
    size_t len = 0;
    for (uint32_t i = 0; i < vec_snapshot_chunks(graph); i++) {
        TRY(put_piece(coll, ref, graph, i, base, list, err));
    }
    TRY(put_slots(coll, ref, slots, err));
    TRY(vec_snapshot_manifest(graph, &manifest, &len, err));
    enum status status = snap_put(coll->service->store,
                                  snap_key(room, str_of(coll->uuid), ref->name, "graph"),
                                  str_from(manifest, len), err);
    vec_bytes_free(manifest);
    const struct snap_entry entry = { .kind = SNAP_MANIFEST,
                                      .items = (uint32_t)ref->items,
                                      .sequence = ref->sequence,
                                      .tag = ref->tag,
                                      .bytes = len };
    if (status == OK && snap_list_add(list, &entry) != OK) {
        return err_no_memory(err);
    }
    *chunks_out = status == OK ? vec_snapshot_chunks(graph) : *chunks_out;
    return status;
}

enum status graph_reuse(struct coll *coll, const struct coll_snapshot_ref *ref,
                        const struct buf *slots, const struct snap_list *base,
                        struct snap_list *list, uint64_t *chunks_out, struct err *err)
{
    uint64_t count = 0;
    TRY(put_slots(coll, ref, slots, err));
    for (size_t i = 0; i < base->count; i++) {
        if (base->entries[i].kind != SNAP_ITEMS) {
            if (snap_list_add(list, &base->entries[i]) != OK) {
                return err_no_memory(err);
            }
            count++;
        }
    }
    *chunks_out = count;
    return OK;
}

/* --- reading --- */

struct source {
    struct coll *coll;
    const struct coll_snapshot_ref *ref;
    const struct snap_list *list;
};

/** Memory aligned for the library; what was allocated stands before it. */
static void *aligned_new(size_t len)
{
    char *base = len < SIZE_MAX - 2 * ALIGN ? mem_alloc(len + 2 * (size_t)ALIGN) : NULL;
    if (base == NULL) {
        return NULL;
    }
    char *at = base + 2 * ALIGN - (uintptr_t)base % ALIGN;
    memcpy(at - sizeof base, &base, sizeof base);
    return at;
}

static void aligned_free(void *at)
{
    char *base = NULL;
    memcpy(&base, (char *)at - sizeof base, sizeof base);
    mem_free(base);
}

static enum status piece_map(void *ctx, uint32_t number, void **bytes_out, size_t *len_out,
                             struct err *err)
{
    const struct source *source = ctx;
    char room[LOG_KEY_MAX];
    struct store_object *object = NULL;
    const struct snap_entry own = { .kind = SNAP_GRAPH,
                                    .object = number,
                                    .sequence = source->ref->sequence,
                                    .tag = source->ref->tag };
    const struct snap_entry *entry = source->list == NULL ? &own
                                                          : snap_list_graph(source->list, number);
    if (entry == NULL) {
        return err_set(err, E_CORRUPT, "the snapshot's list lacks chunk %u of the graph", number);
    }
    TRY(store_open(source->coll->service->store,
                   snap_entry_key(room, str_of(source->coll->uuid), entry), &object, err));
    size_t len = store_object_info(object)->size, got = 0, all = 0;
    char *at = aligned_new(len);
    enum status status = at == NULL ? err_no_memory(err) : OK;
    while (status == OK && all < len) {
        status = store_object_read(object, all, at + all, len - all, &got, err);
        if (status == OK && got == 0) {
            status = err_set(err, E_CORRUPT, "a chunk of the graph is cut short");
        }
        all += got;
    }
    store_object_close(object);
    if (status != OK) {
        if (at != NULL) {
            aligned_free(at);
        }
        return status;
    }
    *bytes_out = at;
    *len_out = len;
    return OK;
}

static void piece_release(void *ctx, uint32_t number, void *bytes, size_t len)
{
    aligned_free(bytes);
}

static enum status read_slots(struct coll *coll, const struct coll_snapshot_ref *ref,
                              struct buf *slots_out, struct err *err)
{
    char room[LOG_KEY_MAX];
    uint64_t tag = 0, count = 0;
    uint32_t crc = 0, head_crc = 0;
    TRY(store_read(coll->service->store, snap_key(room, str_of(coll->uuid), ref->name, "slots"),
                   &(struct store_read_opts){ .bytes_max = 16ULL << 30 }, slots_out, NULL, err));
    const char *at = slots_out->ptr;
    if (slots_out->len >= SLOTS_HEAD) {
        memcpy(&tag, at + 8, sizeof tag);
        memcpy(&count, at + 16, sizeof count);
        memcpy(&crc, at + 24, sizeof crc);
        memcpy(&head_crc, at + 28, sizeof head_crc);
    }
    if (slots_out->len < SLOTS_HEAD || memcmp(at, slots_magic, sizeof slots_magic) != 0 ||
        head_crc != crc32c(0, at, SLOTS_HEAD - sizeof crc) || tag != ref->tag ||
        count != ref->items || slots_out->len - SLOTS_HEAD != count * sizeof(uint32_t) ||
        crc != crc32c(0, at + SLOTS_HEAD, slots_out->len - SLOTS_HEAD)) {
        return err_set(err, E_CORRUPT, "the slots of the snapshot are damaged");
    }
    buf_consume(slots_out, SLOTS_HEAD);
    return OK;
}

static enum status check_manifest(const struct coll *coll, struct str manifest, struct err *err)
{
    uint32_t dimension = 0, metric = 0;
    if (manifest.len >= MANIFEST_METRIC + sizeof metric) {
        memcpy(&dimension, manifest.ptr + MANIFEST_DIMENSION, sizeof dimension);
        memcpy(&metric, manifest.ptr + MANIFEST_METRIC, sizeof metric);
    }
    return dimension == coll->spec.dimension && metric == (uint32_t)coll->spec.metric
               ? OK
               : err_set(err, E_CORRUPT, "the graph is another index's");
}

/** The library checks what it maps at first touch; an exact search touches all. */
static enum status check_all(struct vec_index *index, uint64_t items, struct err *err)
{
    struct vec_scratch *scratch = NULL;
    struct vec_hit hit;
    struct vec_stats stats;
    uint32_t found = 0;
    float query[VEC_DIMENSION_MAX] = { 1 };
    vec_stats(index, &stats);
    if (stats.count != items) {
        return err_set(err, E_CORRUPT, "the graph has %llu vectors instead of %llu",
                       (unsigned long long)stats.count, (unsigned long long)items);
    }
    TRY(vec_scratch_new(index, &scratch, err));
    enum status status = vec_exact(index, scratch, query, &(struct vec_search_opts){ .k = 1 }, &hit,
                                   &found, err);
    vec_scratch_free(scratch);
    return status;
}

enum status graph_read(struct coll *coll, const struct coll_snapshot_ref *ref,
                       const struct snap_list *list, struct vec_index **out, struct buf *slots_out,
                       struct err *err)
{
    AUTO(buf_done) struct buf manifest;
    char room[LOG_KEY_MAX];
    struct vec_index *index = NULL;
    const struct snap_entry own = { .kind = SNAP_MANIFEST,
                                    .items = (uint32_t)ref->items,
                                    .sequence = ref->sequence,
                                    .tag = ref->tag };
    const struct snap_entry *entry = list == NULL ? &own : snap_list_manifest(list);
    struct source source = { .coll = coll, .ref = ref, .list = list };
    const struct vec_chunk_source chunks = { .map = piece_map,
                                             .release = piece_release,
                                             .ctx = &source };
    buf_init(&manifest, 0);
    buf_init(slots_out, SIZE_MAX);
    enum status status = entry != NULL ? read_slots(coll, ref, slots_out, err)
                                       : err_set(err, E_CORRUPT, "the list has no graph");
    if (status == OK) {
        status = store_read(coll->service->store, snap_entry_key(room, str_of(coll->uuid), entry),
                            &(struct store_read_opts){ 0 }, &manifest, NULL, err);
    }
    status = status == OK ? check_manifest(coll, buf_str(&manifest), err) : status;
    status = status == OK ? vec_load(NULL, manifest.ptr, manifest.len, &chunks, &index, err)
                          : status;
    status = status == OK ? check_all(index, entry->items, err) : status;
    if (status != OK) {
        vec_free(index);
        buf_done(slots_out);
        return status;
    }
    *out = index;
    return OK;
}
