/*
 *   0 "LKVLST1\n"  8 tag u64  16 count u64  24 rows of a part u32  28 0 u32
 *   32 0 u64  40 crc32c of the entries u32  44 crc32c of 0..43 u32, then the entries:
 *
 *   0 kind u32  4 part u32  8 object u32  12 items u32  16 sequence u64  24 tag u64
 *   32 bytes u64  40 version u64
 */
#include "collection/snap_list.h"

#include "collection/ids.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/digest.h"
#include "base/mem.h"

enum {
    HEAD = 48,
    HEAD_CRC = 44,
    NAME_DIGITS = 20,
    TAG_DIGITS = 16,
    OBJECT_DIGITS = 6,
    PUT_TRIES = 3
};

static const char magic[8] = { 'L', 'K', 'V', 'L', 'S', 'T', '1', '\n' };

void snap_list_done(struct snap_list *list)
{
    mem_free(list->entries);
    *list = (struct snap_list){ 0 };
}

static enum status list_room(struct snap_list *list, size_t count)
{
    if (count <= list->room) {
        return OK;
    }
    size_t room = list->room == 0 ? 8 : list->room * 2;
    room = room < count ? count : room;
    struct snap_entry *grown = mem_realloc(list->entries, room * sizeof *grown);
    if (grown == NULL) {
        return E_NO_MEMORY;
    }
    list->entries = grown;
    list->room = room;
    return OK;
}

enum status snap_list_add(struct snap_list *list, const struct snap_entry *entry)
{
    TRY(list_room(list, list->count + 1));
    list->entries[list->count++] = *entry;
    return OK;
}

void snap_list_drop_graph(struct snap_list *list)
{
    while (list->count > 0 && list->entries[list->count - 1].kind != SNAP_ITEMS) {
        list->count--;
    }
}

const struct snap_entry *snap_list_graph(const struct snap_list *list, uint32_t number)
{
    size_t low = 0, high = list->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        const struct snap_entry *entry = &list->entries[middle];
        if (entry->kind == SNAP_GRAPH && entry->part == number) {
            return entry;
        }
        bool before = entry->kind == SNAP_ITEMS ||
                      (entry->kind == SNAP_GRAPH && entry->part < number);
        low = before ? middle + 1 : low;
        high = before ? high : middle;
    }
    return NULL;
}

const struct snap_entry *snap_list_manifest(const struct snap_list *list)
{
    const struct snap_entry *last = list->count == 0 ? NULL : &list->entries[list->count - 1];
    return last != NULL && last->kind == SNAP_MANIFEST ? last : NULL;
}

bool snap_list_uses(const struct snap_list *list, uint64_t sequence, uint64_t tag)
{
    for (size_t i = 0; i < list->count; i++) {
        if (list->entries[i].sequence == sequence && list->entries[i].tag == tag) {
            return true;
        }
    }
    return false;
}

/* --- bytes --- */

static void put_entry(char *at, const struct snap_entry *entry)
{
    const uint32_t small[] = { (uint32_t)entry->kind, entry->part, entry->object, entry->items };
    const uint64_t large[] = { entry->sequence, entry->tag, entry->bytes, entry->version };
    memcpy(at, small, sizeof small);
    memcpy(at + sizeof small, large, sizeof large);
}

static struct snap_entry get_entry(const char *at)
{
    uint32_t small[4];
    uint64_t large[4];
    memcpy(small, at, sizeof small);
    memcpy(large, at + sizeof small, sizeof large);
    return (struct snap_entry){ .kind = (enum snap_kind)small[0],
                                .part = small[1],
                                .object = small[2],
                                .items = small[3],
                                .sequence = large[0],
                                .tag = large[1],
                                .bytes = large[2],
                                .version = large[3] };
}

enum status snap_list_encode(const struct snap_list *list, uint64_t tag, struct buf *out)
{
    size_t bytes = list->count * SNAP_ENTRY_BYTES;
    uint64_t count = list->count;
    char *at = buf_reserve(out, HEAD + bytes);
    if (at == NULL) {
        return E_NO_MEMORY;
    }
    memset(at, 0, HEAD);
    memcpy(at, magic, sizeof magic);
    memcpy(at + 8, &tag, sizeof tag);
    memcpy(at + 16, &count, sizeof count);
    memcpy(at + 24, &list->part_rows, sizeof list->part_rows);
    for (size_t i = 0; i < list->count; i++) {
        put_entry(at + HEAD + i * SNAP_ENTRY_BYTES, &list->entries[i]);
    }
    uint32_t crc = crc32c(0, at + HEAD, bytes);
    memcpy(at + HEAD_CRC - sizeof crc, &crc, sizeof crc);
    crc = crc32c(0, at, HEAD_CRC);
    memcpy(at + HEAD_CRC, &crc, sizeof crc);
    out->len += HEAD + bytes;
    return OK;
}

/** Items by part, then the graph by number, each once, then one manifest. */
static bool in_order(const struct snap_entry *before, const struct snap_entry *entry)
{
    if (entry->kind > SNAP_MANIFEST || (entry->kind == SNAP_MANIFEST && entry->part != 0)) {
        return false;
    }
    return before == NULL || before->kind < entry->kind ||
           (before->kind == entry->kind &&
            (before->part < entry->part ||
             (before->part == entry->part && entry->kind == SNAP_ITEMS)));
}

static enum status damaged(struct err *err)
{
    return err_set(err, E_CORRUPT, "the snapshot's list is damaged");
}

enum status snap_list_decode(struct str bytes, uint64_t tag, struct snap_list *out, struct err *err)
{
    uint64_t its_tag = 0, count = 0;
    uint32_t crc = 0, head_crc = 0, part_rows = 0;
    const char *at = bytes.ptr;
    if (bytes.len < HEAD || memcmp(at, magic, sizeof magic) != 0) {
        return damaged(err);
    }
    memcpy(&its_tag, at + 8, sizeof its_tag);
    memcpy(&count, at + 16, sizeof count);
    memcpy(&part_rows, at + 24, sizeof part_rows);
    memcpy(&crc, at + HEAD_CRC - sizeof crc, sizeof crc);
    memcpy(&head_crc, at + HEAD_CRC, sizeof head_crc);
    if (head_crc != crc32c(0, at, HEAD_CRC) || its_tag != tag || part_rows == 0 ||
        part_rows % IDS_CHUNK != 0 || count != (bytes.len - HEAD) / SNAP_ENTRY_BYTES ||
        (bytes.len - HEAD) % SNAP_ENTRY_BYTES != 0 ||
        crc != crc32c(0, at + HEAD, bytes.len - HEAD)) {
        return damaged(err);
    }
    *out = (struct snap_list){ .part_rows = part_rows };
    if (list_room(out, count) != OK) {
        return err_no_memory(err);
    }
    for (size_t i = 0; i < count; i++) {
        out->entries[i] = get_entry(at + HEAD + i * SNAP_ENTRY_BYTES);
        if (!in_order(i == 0 ? NULL : &out->entries[i - 1], &out->entries[i])) {
            snap_list_done(out);
            return damaged(err);
        }
    }
    out->count = count;
    return OK;
}

/* --- names --- */

struct str snap_name(char room[SNAP_NAME_MAX], uint64_t sequence, uint64_t tag)
{
    int len = snprintf(room, SNAP_NAME_MAX, "%020llu-%016llx", (unsigned long long)sequence,
                       (unsigned long long)tag);
    return str_from(room, (size_t)len);
}

bool snap_name_read(struct str name, uint64_t *sequence_out, uint64_t *tag_out)
{
    char room[SNAP_NAME_MAX];
    unsigned long long tag = 0;
    if (name.len != NAME_DIGITS + 1 + TAG_DIGITS ||
        !str_to_u64(str_take(name, NAME_DIGITS), sequence_out)) {
        return false;
    }
    snprintf(room, sizeof room, "%.*s", STR_ARG(str_skip(name, NAME_DIGITS + 1)));
    char *end = room;
    tag = strtoull(room, &end, 16);
    *tag_out = tag;
    return str_eq(name, snap_name(room, *sequence_out, *tag_out));
}

struct str snap_key(char room[LOG_KEY_MAX], struct str uuid, struct str snapshot, const char *what)
{
    struct str chunk = log_chunk_key(room, uuid, snapshot, 0);
    size_t folder = chunk.len - OBJECT_DIGITS;
    int len = snprintf(room + folder, LOG_KEY_MAX - folder, "%s", what);
    return str_from(room, folder + (size_t)len);
}

struct str snap_entry_key(char room[LOG_KEY_MAX], struct str uuid, const struct snap_entry *entry)
{
    char name[SNAP_NAME_MAX], what[16];
    if (entry->kind == SNAP_MANIFEST) {
        snprintf(what, sizeof what, "graph");
    } else {
        snprintf(what, sizeof what, entry->kind == SNAP_GRAPH ? "g%06u" : "%06u", entry->object);
    }
    return snap_key(room, uuid, snap_name(name, entry->sequence, entry->tag), what);
}

/* --- writing --- */

enum status snap_put(struct store *store, struct str key, struct str bytes, struct err *err)
{
    enum status status = E_UPSTREAM;
    for (int i = 0; i < PUT_TRIES && (status == E_UPSTREAM || status == E_TIMEOUT); i++) {
        status = store_put(store, key, bytes, &(struct store_cond){ .opaque_etag = true }, NULL,
                           err);
    }
    return status;
}

/* --- sweeping --- */

static bool named(const struct snap_list *list, struct str uuid, uint64_t sequence, uint64_t tag,
                  struct str key)
{
    for (size_t i = 0; i < list->count; i++) {
        char room[LOG_KEY_MAX];
        const struct snap_entry *entry = &list->entries[i];
        if (entry->sequence == sequence && entry->tag == tag &&
            str_eq(snap_entry_key(room, uuid, entry), key)) {
            return true;
        }
    }
    return false;
}

/** A folder that some entries are in. */
static enum status sweep_shared(struct store *store, struct str uuid, const struct snap_list *list,
                                uint64_t sequence, uint64_t tag, struct err *err)
{
    struct arena arena;
    struct store_list page = { .truncated = true };
    char room[LOG_KEY_MAX], name[SNAP_NAME_MAX];
    struct str folder = snap_key(room, uuid, snap_name(name, sequence, tag), "");
    struct buf after;
    enum status status = OK;
    buf_init(&after, 0);
    while (status == OK && page.truncated) {
        const struct store_list_opts opts = { .prefix = folder, .after = buf_str(&after) };
        arena_init(&arena, 0);
        status = store_list(store, &opts, &arena, &page, err);
        for (size_t i = 0; status == OK && i < page.object_count; i++) {
            if (!named(list, uuid, sequence, tag, page.objects[i].key)) {
                status = store_delete(store, page.objects[i].key, err);
            }
        }
        buf_clear(&after);
        if (status == OK && page.truncated && buf_append(&after, page.next) != OK) {
            status = err_no_memory(err);
        }
        arena_done(&arena);
    }
    buf_done(&after);
    return status;
}

enum status snap_sweep(struct store *store, struct str uuid, const struct snap_list *list,
                       uint64_t sequence, struct str old, struct err *err)
{
    char room[LOG_KEY_MAX];
    struct arena arena;
    struct store_list folders = { 0 };
    struct str any = log_chunk_key(room, uuid, STR_EMPTY, 0);
    const struct store_list_opts opts = { .prefix = str_take(any, any.len - OBJECT_DIGITS - 1),
                                          .delimiter = STR("/"),
                                          .limit = STORE_LIST_MAX };
    arena_init(&arena, 0);
    enum status status = store_list(store, &opts, &arena, &folders, err);
    for (size_t i = 0; status == OK && i < folders.prefix_count; i++) {
        uint64_t its_sequence = 0, its_tag = 0;
        struct str folder = folders.prefixes[i];
        struct str name = str_skip(str_take(folder, folder.len - 1), opts.prefix.len);
        if (!snap_name_read(name, &its_sequence, &its_tag) ||
            (its_sequence >= sequence && !str_eq(name, old))) {
            continue;
        }
        status = snap_list_uses(list, its_sequence, its_tag)
                     ? sweep_shared(store, uuid, list, its_sequence, its_tag, err)
                     : log_sweep(store, folder, err);
    }
    arena_done(&arena);
    return status;
}
