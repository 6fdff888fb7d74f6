/*
 * A stored vector index comes from a store: whatever is in it, and though its checksums are right,
 * loading it refuses it or gives an index that can be used.
 *
 * An input changes words of an index that was saved: byte 0 says which index, then 8 bytes a
 * change: the chunk (255: the manifest), how the word is changed, where (4 bytes, modulo the
 * words), by what (2 bytes). Checksums are made right afterwards.
 */
#include <stdlib.h>
#include <string.h>

#include "base/digest.h"
#include "base/mem.h"
#include "base/rng.h"
#include "vector/format.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { VECTORS = 64, PIECES_MAX = 16, HEAD_BYTES = 20, CHANGE_BYTES = 8, D_MAX = 200 };

struct saved {
    void *manifest;
    size_t manifest_len;
    uint32_t pieces;
    uint8_t *bytes[PIECES_MAX];
    size_t len[PIECES_MAX];
};

static const struct vec_opts BASES[] = {
    { .dimension = 3, .metric = VEC_L2 },      { .dimension = 20, .metric = VEC_DOT },
    { .dimension = 40, .metric = VEC_COSINE }, { .dimension = 90, .metric = VEC_DOT },
    { .dimension = D_MAX, .metric = VEC_L2 },
};

static void random_vector(struct rng *rng, float *out)
{
    for (uint32_t i = 0; i < D_MAX; i++) {
        out[i] = (float)rng_below(rng, 2001) / 1000 - 1;
    }
}

/* Linked, taken out, used again, not linked yet. */
static struct vec_index *base_make(const struct vec_opts *base)
{
    struct vec_opts opts = *base;
    struct vec_index *index = NULL;
    struct vec_scratch *scratch = NULL;
    struct rng rng;
    float vector[D_MAX];
    bool more = true;
    uint32_t slot = 0;
    opts.m = 4;
    opts.ef_construction = 32;
    opts.graph_min = VECTORS / 2;
    rng_seed(&rng, 1);
    assert(vec_new(&opts, &index, NULL) == OK);
    assert(vec_scratch_new(index, &scratch, NULL) == OK);
    for (uint32_t i = 0; i < VECTORS; i++) {
        random_vector(&rng, vector);
        assert(vec_add(index, vector, &slot, NULL) == OK);
    }
    for (uint32_t i = 0; i < 2 * VECTORS && more; i++) {
        assert(vec_maintain(index, scratch, 0, &more, NULL) == OK);
    }
    for (uint32_t i = 0; i < VECTORS; i += 9) {
        assert(vec_delete(index, scratch, i, NULL) == OK);
    }
    for (uint32_t i = 0; i < VECTORS / 20; i++) {
        random_vector(&rng, vector);
        assert(vec_add(index, vector, &slot, NULL) == OK);
    }
    vec_scratch_free(scratch);
    return index;
}

static void save(struct vec_index *index, struct saved *out)
{
    struct vec_snapshot *snapshot = NULL;
    assert(vec_snapshot_take(index, &snapshot, NULL) == OK);
    out->pieces = vec_snapshot_chunks(snapshot);
    assert(out->pieces <= PIECES_MAX);
    for (uint32_t i = 0; i < out->pieces; i++) {
        struct vec_chunk_info info;
        const void *bytes = NULL;
        assert(vec_snapshot_chunk(snapshot, i, &info, &bytes, NULL) == OK);
        out->len[i] = info.bytes;
        out->bytes[i] = xmalloc(info.bytes + 1);
        memcpy(out->bytes[i], bytes, info.bytes);
    }
    assert(vec_snapshot_manifest(snapshot, &out->manifest, &out->manifest_len, NULL) == OK);
    vec_snapshot_free(snapshot);
}

static const struct saved *base_of(uint8_t which)
{
    static struct saved bases[ARRAY_LEN(BASES)];
    size_t i = which % ARRAY_LEN(BASES);
    if (bases[i].manifest == NULL) {
        struct vec_index *index = base_make(&BASES[i]);
        save(index, &bases[i]);
        vec_free(index);
    }
    return &bases[i];
}

/* --- changes --- */

static void word_change(uint8_t *bytes, size_t len, const uint8_t *change)
{
    static const uint32_t words[] = { 0,          1,          0xffffffff, 0x7fffffff,
                                      0x7f7fffff, 0x7f800000, 0x7fc00000, 0xff7fffff };
    uint32_t where;
    uint32_t word;
    uint16_t what;
    if (len < sizeof(word)) {
        return;
    }
    memcpy(&where, change + 2, sizeof(where));
    memcpy(&what, change + 6, sizeof(what));
    size_t at = where % (len / sizeof(word)) * sizeof(word);
    memcpy(&word, bytes + at, sizeof(word));
    word = change[1] % 4 == 0   ? words[what % ARRAY_LEN(words)]
           : change[1] % 4 == 1 ? what
           : change[1] % 4 == 2 ? word + what - 0x8000
                                : word ^ (uint32_t)1 << what % 32;
    memcpy(bytes + at, &word, sizeof(word));
}

/* A copy of `base`, changed. */
static void changed(const struct saved *base, const uint8_t *data, size_t size, struct saved *out)
{
    struct manifest manifest;
    *out = (struct saved){ .pieces = base->pieces };
    assert(manifest_read(&manifest, base->manifest, base->manifest_len, NULL) == OK);
    for (uint32_t i = 0; i < base->pieces; i++) {
        out->len[i] = base->len[i];
        out->bytes[i] = xmalloc(base->len[i] + 1);
        memcpy(out->bytes[i], base->bytes[i], base->len[i]);
        for (const uint8_t *at = data; (size_t)(at - data) + CHANGE_BYTES <= size;
             at += CHANGE_BYTES) {
            if (at[0] != 255 && at[0] % base->pieces == i) {
                word_change(out->bytes[i], out->len[i], at);
            }
        }
        if (out->len[i] > 0) {
            manifest_checksum(&manifest, manifest_piece(&manifest, i), out->bytes[i],
                              manifest.crcs[i]);
        }
    }
    assert(manifest_write(&manifest, &out->manifest, &out->manifest_len, NULL) == OK);
    manifest_done(&manifest);
    uint8_t *bytes = out->manifest;
    for (; size >= CHANGE_BYTES; data += CHANGE_BYTES, size -= CHANGE_BYTES) {
        if (data[0] == 255) {
            word_change(bytes + HEAD_BYTES, out->manifest_len - HEAD_BYTES, data);
        }
    }
    uint32_t crc = crc32c(0, bytes + HEAD_BYTES, out->manifest_len - HEAD_BYTES);
    memcpy(bytes + HEAD_BYTES - sizeof(crc), &crc, sizeof(crc));
}

static void saved_done(struct saved *saved)
{
    for (uint32_t i = 0; i < saved->pieces; i++) {
        mem_free(saved->bytes[i]);
    }
    vec_bytes_free(saved->manifest);
}

/* --- loading and using --- */

static enum status map(void *ctx, uint32_t number, void **bytes_out, size_t *len_out,
                       struct err *err)
{
    const struct saved *saved = ctx;
    if (number >= saved->pieces) {
        return err_set(err, E_NOT_FOUND, "there is no chunk %u", number);
    }
    *bytes_out = saved->bytes[number];
    *len_out = saved->len[number];
    return OK;
}

static void release(void *ctx, uint32_t number, void *bytes, size_t len)
{
    const struct saved *saved = ctx;
    assert(number < saved->pieces && bytes == saved->bytes[number] && len == saved->len[number]);
}

static void searches(struct vec_index *index, struct vec_scratch *scratch, const float *query)
{
    static const uint64_t bits[] = { 0x5555555555555555, 0, 0xff };
    struct vec_filter filter = { .bits = bits, .word_count = ARRAY_LEN(bits) };
    struct vec_search_opts opts = { .k = 10, .ef = 20 };
    struct vec_hit hits[10];
    uint32_t found = 0;
    assert(vec_search(index, scratch, query, &opts, hits, &found, NULL) == OK && found <= opts.k);
    assert(vec_exact(index, scratch, query, &opts, hits, &found, NULL) == OK && found <= opts.k);
    opts.filter = &filter;
    assert(vec_search(index, scratch, query, &opts, hits, &found, NULL) == OK && found <= opts.k);
}

static void use(struct vec_index *index)
{
    struct vec_scratch *scratch = NULL;
    struct rng rng;
    struct vec_stats stats;
    float vector[VEC_DIMENSION_MAX] = { 0 };
    uint32_t *map_of = NULL;
    uint64_t count = 0;
    bool more = true;
    uint32_t slot = 0;
    rng_seed(&rng, 2);
    assert(vec_scratch_new(index, &scratch, NULL) == OK);
    random_vector(&rng, vector);
    searches(index, scratch, vector);
    for (uint32_t i = 0; i < VECTORS; i += 4) {
        random_vector(&rng, vector);
        assert(vec_add(index, vector, &slot, NULL) == OK);
        enum status status = vec_delete(index, scratch, i, NULL);
        assert(status == OK || status == E_NOT_FOUND);
        assert(vec_maintain(index, scratch, 0, &more, NULL) == OK);
    }
    searches(index, scratch, vector);
    assert(vec_compact(index, &map_of, &count, NULL) == OK);
    vec_bytes_free(map_of);
    assert(vec_add(index, vector, &slot, NULL) == OK);
    for (int i = 0; i < 8; i++) {
        assert(vec_maintain(index, scratch, 0, &more, NULL) == OK);
    }
    searches(index, scratch, vector);
    vec_stats(index, &stats);
    vec_scratch_free(scratch);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0) {
        return 0;
    }
    struct saved saved;
    struct vec_index *index = NULL;
    changed(base_of(data[0]), data + 1, size - 1, &saved);
    struct vec_chunk_source source = { .map = map, .release = release, .ctx = &saved };
    if (vec_load(NULL, saved.manifest, saved.manifest_len, &source, &index, NULL) == OK) {
        struct saved again;
        use(index);
        save(index, &again);
        saved_done(&again);
        vec_free(index);
    }
    saved_done(&saved);
    return 0;
}
