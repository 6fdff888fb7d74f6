/* A stored index that is damaged is refused, whatever the damage: never a wrong answer or a
 * crash. */
#include "saving.h"

#include <math.h>

#include "base/digest.h"
#include "base/mem.h"
#include "base/rng.h"
#include "vector/format.h"

enum { D = 3 };

static struct vec_index *small_index(uint32_t n, uint32_t graph_min)
{
    struct vec_opts opts = {
        .dimension = D, .graph_min = graph_min, .m = 4, .ef_construction = 32
    };
    struct vec_scratch *scratch = NULL;
    float *base = vectors_make(n, D, 1);
    struct vec_index *index = index_make(&opts, base, n);
    uint32_t slot = 0;
    assert_int_equal(vec_scratch_new(index, &scratch, NULL), OK);
    for (uint32_t i = 0; i < n; i += 9) {
        assert_int_equal(vec_delete(index, scratch, i, NULL), OK);
    }
    for (uint32_t i = 0; i < n / 20; i++) {
        assert_int_equal(vec_add(index, base + (size_t)i * D, &slot, NULL), OK);
    }
    vec_scratch_free(scratch);
    mem_free(base);
    return index;
}

static void refused(struct saved *saved, const char *what, size_t at)
{
    struct vec_index *index = NULL;
    struct err err = { 0 };
    enum status status = saved_load(saved, NULL, &index, &err);
    if (status != E_CORRUPT && status != E_UNSUPPORTED) {
        print_error("%s, at %zu: %s\n", what, at, status_name(status));
    }
    assert_true(status == E_CORRUPT || status == E_UNSUPPORTED);
    assert_true(err.msg[0] != '\0');
    assert_int_equal(saved->mapped, 0);
}

static void each_flipped_byte_is_found(void **state)
{
    struct vec_index *index = small_index(120, 50);
    struct saved saved;
    saved_take(&saved, index);
    vec_free(index);
    uint8_t *manifest = saved.manifest;
    for (size_t i = 0; i < saved.manifest_len; i++) {
        manifest[i] ^= (uint8_t)(1 << i % 8);
        refused(&saved, "manifest", i);
        manifest[i] ^= (uint8_t)(1 << i % 8);
    }
    for (uint32_t chunk = 0; chunk < saved.count; chunk++) {
        for (size_t i = 0; i < saved.info[chunk].bytes; i++) {
            saved.bytes[chunk][i] ^= (uint8_t)(1 << i % 8);
            refused(&saved, "chunk", i);
            saved.bytes[chunk][i] ^= (uint8_t)(1 << i % 8);
        }
    }
    assert_int_equal(saved_load(&saved, NULL, &index, NULL), OK);
    vec_free(index);
    saved_done(&saved);
}

static void each_truncation_is_found(void **state)
{
    struct vec_index *index = small_index(120, 50);
    struct saved saved;
    saved_take(&saved, index);
    vec_free(index);
    size_t whole = saved.manifest_len;
    for (saved.manifest_len = 0; saved.manifest_len < whole; saved.manifest_len++) {
        refused(&saved, "manifest", saved.manifest_len);
    }
    for (uint32_t chunk = 0; chunk < saved.count; chunk++) {
        size_t bytes = saved.info[chunk].bytes;
        for (saved.len[chunk] = 0; saved.len[chunk] < bytes; saved.len[chunk]++) {
            refused(&saved, "chunk", saved.len[chunk]);
        }
    }
    saved_done(&saved);
}

/* --- right checksums, wrong numbers --- */

/* What a liar changes: words of a chunk, or the state; checksums are then made right. */
struct lie {
    struct saved saved;
    struct manifest manifest;
    void *true_manifest;
    uint8_t *true_bytes;
    uint32_t chunk;
};

static void lie_begin(struct lie *lie, enum piece_kind kind)
{
    assert_int_equal(
        manifest_read(&lie->manifest, lie->saved.manifest, lie->saved.manifest_len, NULL), OK);
    lie->chunk = manifest_number(&lie->manifest, (struct piece){ .kind = kind });
    lie->true_manifest = lie->saved.manifest;
    lie->true_bytes = lie->saved.bytes[lie->chunk];
    size_t bytes = lie->saved.info[lie->chunk].bytes;
    lie->saved.bytes[lie->chunk] = xmalloc(bytes);
    memcpy(lie->saved.bytes[lie->chunk], lie->true_bytes, bytes);
}

static void lie_end(struct lie *lie, const char *what)
{
    manifest_checksum(&lie->manifest, manifest_piece(&lie->manifest, lie->chunk),
                      lie->saved.bytes[lie->chunk], lie->manifest.crcs[lie->chunk]);
    assert_int_equal(
        manifest_write(&lie->manifest, &lie->saved.manifest, &lie->saved.manifest_len, NULL), OK);
    refused(&lie->saved, what, lie->chunk);
    vec_bytes_free(lie->saved.manifest);
    mem_free(lie->saved.bytes[lie->chunk]);
    lie->saved.manifest = lie->true_manifest;
    lie->saved.bytes[lie->chunk] = lie->true_bytes;
    manifest_done(&lie->manifest);
}

static uint32_t *link_of(const struct lie *lie, uint32_t slot, uint32_t i)
{
    return (uint32_t *)(void *)lie->saved.bytes[lie->chunk] + (size_t)slot * lie->manifest.degree +
           i;
}

static struct node *node_of(const struct lie *lie, uint32_t slot)
{
    struct section sections[SECTIONS_MAX];
    (void)manifest_sections(&lie->manifest, manifest_piece(&lie->manifest, lie->chunk), sections);
    return (struct node *)(void *)(lie->saved.bytes[lie->chunk] + sections[1].offset) + slot;
}

static uint32_t linked_slot(const struct lie *lie, uint32_t from)
{
    while (atomic_load(&node_of(lie, from)->state) != NODE_LINKED) {
        from++;
    }
    return from;
}

static void wrong_links_and_nodes_are_refused(struct lie *lie)
{
    lie_begin(lie, PIECE_GRAPH);
    *link_of(lie, linked_slot(lie, 0), 1) = lie->manifest.state.count;
    lie_end(lie, "a link behind the last slot");

    lie_begin(lie, PIECE_GRAPH);
    *link_of(lie, linked_slot(lie, 0), 0) = NO_SLOT;
    lie_end(lie, "a gap among links");

    lie_begin(lie, PIECE_GRAPH);
    uint32_t a = linked_slot(lie, 0);
    uint32_t b = linked_slot(lie, a + 1);
    uint32_t c = linked_slot(lie, b + 1);
    atomic_store(&node_of(lie, a)->anchor, b);
    atomic_store(&node_of(lie, b)->anchor, c);
    atomic_store(&node_of(lie, c)->anchor, a);
    lie_end(lie, "anchors in a circle");

    lie_begin(lie, PIECE_GRAPH);
    uint32_t low = linked_slot(lie, 1);
    atomic_store(&node_of(lie, low)->anchor, NO_SLOT);
    lie_end(lie, "a node without an anchor");

    lie_begin(lie, PIECE_GRAPH);
    node_of(lie, linked_slot(lie, 3))->level = LEVELS_MAX;
    lie_end(lie, "a level that there is not");

    lie_begin(lie, PIECE_GRAPH);
    node_of(lie, lie->manifest.state.count - 1)->level++;
    lie_end(lie, "a level too high");

    lie_begin(lie, PIECE_GRAPH);
    node_of(lie, linked_slot(lie, 3))->upper = 0x7fffffff;
    lie_end(lie, "upper layers behind the last");

    lie_begin(lie, PIECE_GRAPH);
    atomic_store(&node_of(lie, linked_slot(lie, 3))->state, 77);
    lie_end(lie, "a state that there is not");

    lie_begin(lie, PIECE_GRAPH);
    atomic_store(&node_of(lie, linked_slot(lie, 3))->state, NODE_NEW);
    lie_end(lie, "a node that is nowhere");

    lie_begin(lie, PIECE_GRAPH);
    atomic_store(&node_of(lie, linked_slot(lie, 3))->lock, 1);
    lie_end(lie, "a node that is locked");

    lie_begin(lie, PIECE_GRAPH);
    struct section sections[SECTIONS_MAX];
    (void)manifest_sections(&lie->manifest, manifest_piece(&lie->manifest, lie->chunk), sections);
    uint32_t *upper = (uint32_t *)(void *)(lie->saved.bytes[lie->chunk] + sections[2].offset);
    upper[0] = lie->manifest.state.count;
    lie_end(lie, "an upper link behind the last slot");
}

static void wrong_rows_and_codes_are_refused(struct lie *lie)
{
    struct code_tail none = { NAN, NAN };
    lie_begin(lie, PIECE_CODES);
    uint32_t slot = (uint32_t)lie->manifest.state.entry;
    memcpy(lie->saved.bytes[lie->chunk] + (slot + 1) * lie->manifest.code_bytes - sizeof(none),
           &none, sizeof(none));
    lie_end(lie, "an entry point that is not met");

    lie_begin(lie, PIECE_ROWS);
    row_kill(&lie->manifest.shape, lie->saved.bytes[lie->chunk] + slot * lie->manifest.shape.bytes);
    lie_end(lie, "a row that is not there");

    lie_begin(lie, PIECE_FREED);
    uint32_t *freed = (uint32_t *)(void *)lie->saved.bytes[lie->chunk];
    freed[0] = freed[1];
    lie_end(lie, "a slot that is free twice");

    lie_begin(lie, PIECE_FREED);
    *(uint32_t *)(void *)lie->saved.bytes[lie->chunk] = lie->manifest.state.count;
    lie_end(lie, "a free slot behind the last");

    lie_begin(lie, PIECE_FREED);
    *(uint32_t *)(void *)lie->saved.bytes[lie->chunk] = slot;
    lie_end(lie, "a free slot that is not");
}

/* Finite or not: what would make a distance overflow, so that a search finds no way in. */
static void numbers_too_large_are_refused(struct lie *lie)
{
    const float large = 1e38F;
    struct code_tail far = { large, large };
    lie_begin(lie, PIECE_CODES);
    uint32_t slot = (uint32_t)lie->manifest.state.entry;
    memcpy(lie->saved.bytes[lie->chunk] + (slot + 1) * lie->manifest.code_bytes - sizeof(far), &far,
           sizeof(far));
    lie_end(lie, "an entry point that is too far");

    lie_begin(lie, PIECE_CODES);
    memcpy(lie->saved.bytes[lie->chunk] + slot * lie->manifest.code_bytes, &large, sizeof(large));
    lie_end(lie, "a code that is too far");

    const float none = NAN;
    lie_begin(lie, PIECE_CODES);
    memcpy(lie->saved.bytes[lie->chunk] + slot * lie->manifest.code_bytes + D * sizeof(none), &none,
           sizeof(none));
    lie_end(lie, "no number behind a code's last dimension");

    lie_begin(lie, PIECE_ROWS);
    memcpy(lie->saved.bytes[lie->chunk] + slot * lie->manifest.shape.bytes, &large, sizeof(large));
    lie_end(lie, "a row that is too long");

    lie_begin(lie, PIECE_CODEC);
    memcpy(lie->saved.bytes[lie->chunk], &large, sizeof(large));
    lie_end(lie, "a mean that is too long");

    lie_begin(lie, PIECE_CODEC);
    lie->manifest.state.norm2_max = INFINITY;
    lie_end(lie, "a greatest norm without end");

    lie_begin(lie, PIECE_CODEC);
    lie->manifest.state.graph_min = 0;
    lie_end(lie, "a graph of none");
}

static void right_checksums_do_not_hide_wrong_numbers(void **state)
{
    struct lie lie = { 0 };
    struct vec_index *index = small_index(400, 50);
    saved_take(&lie.saved, index);
    vec_free(index);
    wrong_links_and_nodes_are_refused(&lie);
    wrong_rows_and_codes_are_refused(&lie);
    numbers_too_large_are_refused(&lie);
    saved_done(&lie.saved);
}

/* With the checksum of the manifest made right: refused, or a number that may be (a seed, a
 * version), and then the index lives. */
static bool word_is_refused(struct saved *saved, size_t at, uint32_t value)
{
    enum { HEAD = 20 };
    uint8_t *bytes = saved->manifest;
    struct vec_index *index = NULL;
    struct vec_scratch *scratch = NULL;
    struct vec_hit hits[10];
    uint32_t found = 0;
    uint32_t slot = 0;
    bool more = false;
    const float vector[D] = { 1, 2, 3 };
    struct vec_search_opts opts = { .k = 10 };
    memcpy(bytes + at, &value, sizeof(value));
    uint32_t crc = crc32c(0, bytes + HEAD, saved->manifest_len - HEAD);
    memcpy(bytes + HEAD - sizeof(crc), &crc, sizeof(crc));
    enum status status = saved_load(saved, NULL, &index, NULL);
    if (status != OK) {
        assert_true(status == E_CORRUPT);
        assert_int_equal(saved->mapped, 0);
        return true;
    }
    assert_int_equal(vec_scratch_new(index, &scratch, NULL), OK);
    assert_int_equal(vec_search(index, scratch, vector, &opts, hits, &found, NULL), OK);
    assert_int_equal(vec_add(index, vector, &slot, NULL), OK);
    assert_int_equal(vec_maintain(index, scratch, 100, &more, NULL), OK);
    vec_scratch_free(scratch);
    vec_free(index);
    return false;
}

static void wrong_numbers_of_the_manifest_are_refused_or_harmless(void **state)
{
    struct vec_index *index = small_index(400, 50);
    struct saved saved;
    uint32_t refused = 0;
    uint32_t tried = 0;
    saved_take(&saved, index);
    vec_free(index);
    for (size_t at = 20; at + 4 <= saved.manifest_len; at += 4) {
        uint32_t old;
        memcpy(&old, (uint8_t *)saved.manifest + at, sizeof(old));
        const uint32_t values[] = { 0, 1, 3, old + 1, old - 1, old * 2, 0x7fffffff, UINT32_MAX };
        for (size_t i = 0; i < ARRAY_LEN(values); i++) {
            tried += values[i] != old;
            refused += values[i] != old && word_is_refused(&saved, at, values[i]);
        }
        (void)word_is_refused(&saved, at, old);
    }
    print_message("[   INFO   ] %u of %u refused\n", refused, tried);
    assert_true(refused > tried / 2);
    saved_done(&saved);
}

/* --- whole chunks, which are checked when they are read --- */

struct large {
    struct saved saved;
    struct vec_hit hits[20][10];
    float *queries;
};

static void large_search(struct large *large, struct vec_index *index, size_t q,
                         struct vec_hit *out, enum status *status_out)
{
    struct vec_scratch *scratch = NULL;
    struct vec_search_opts opts = { .k = 10, .ef = 20 };
    uint32_t found = 0;
    assert_int_equal(vec_scratch_new(index, &scratch, NULL), OK);
    *status_out = vec_search(index, scratch, large->queries + q * D, &opts, out, &found, NULL);
    vec_scratch_free(scratch);
}

static void large_make(struct large *large)
{
    struct vec_index *index = small_index(CHUNK_SLOTS + 500, 1000);
    enum status status = OK;
    *large = (struct large){ .queries = vectors_make(20, D, 2) };
    index_finish(index);
    for (size_t q = 0; q < 20; q++) {
        large_search(large, index, q, large->hits[q], &status);
        assert_int_equal(status, OK);
    }
    saved_take(&large->saved, index);
    vec_free(index);
}

/* True when the damage was found by a search. */
static bool damage_is_found(struct large *large, uint32_t chunk, size_t at)
{
    struct vec_index *index = NULL;
    struct vec_scratch *scratch = NULL;
    struct err err = { 0 };
    bool found = false;
    bool more = true;
    large->saved.bytes[chunk][at] ^= 4;
    enum status status = saved_load(&large->saved, NULL, &index, &err);
    large->saved.bytes[chunk][at] ^= 4;
    if (status != OK) { /* upper layers are checked now */
        assert_int_equal(status, E_CORRUPT);
        return false;
    }
    for (size_t q = 0; q < 20; q++) {
        struct vec_hit hits[10];
        large_search(large, index, q, hits, &status);
        assert_true(status == OK || status == E_CORRUPT);
        found |= status == E_CORRUPT;
        if (status == OK) {
            assert_memory_equal(hits, large->hits[q], sizeof(hits));
        }
    }
    assert_int_equal(vec_scratch_new(index, &scratch, NULL), OK);
    for (status = OK; status == OK && more;) {
        status = vec_maintain(index, scratch, 1000, &more, &err);
    }
    assert_int_equal(status, E_CORRUPT);
    assert_non_null(strstr(err.msg, "damaged"));
    assert_int_equal(vec_delete(index, scratch, 7, NULL), E_CORRUPT);
    vec_scratch_free(scratch);
    vec_free(index);
    return found;
}

static void damage_of_mapped_chunks_is_found_when_they_are_read(void **state)
{
    struct large large;
    struct rng rng;
    uint32_t by_search = 0;
    struct vec_index *index = NULL;
    struct vec_scratch *scratch = NULL;
    struct vec_stats stats;
    rng_seed(&rng, 3);
    large_make(&large);
    for (uint32_t chunk = 1; chunk <= 3; chunk++) {
        for (int i = 0; i < 12; i++) {
            by_search += damage_is_found(&large, chunk,
                                         rng_below(&rng, large.saved.info[chunk].bytes));
        }
    }
    print_message("[   INFO   ] found by a search: %u of 36\n", by_search);
    assert_true(by_search > 0);
    /* and nothing is found where nothing is */
    assert_int_equal(saved_load(&large.saved, NULL, &index, NULL), OK);
    assert_int_equal(large.saved.mapped, 3);
    for (size_t q = 0; q < 20; q++) {
        struct vec_hit hits[10];
        enum status status = OK;
        large_search(&large, index, q, hits, &status);
        assert_int_equal(status, OK);
        assert_memory_equal(hits, large.hits[q], sizeof(hits));
    }
    vec_stats(index, &stats);
    assert_true(stats.unchecked);
    index_finish(index);
    vec_stats(index, &stats);
    assert_false(stats.unchecked);
    assert_int_equal(vec_scratch_new(index, &scratch, NULL), OK);
    assert_int_equal(vec_delete(index, scratch, 7, NULL), OK);
    vec_scratch_free(scratch);
    vec_free(index);
    saved_done(&large.saved);
    mem_free(large.queries);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_flipped_byte_is_found),
        cmocka_unit_test(each_truncation_is_found),
        cmocka_unit_test(right_checksums_do_not_hide_wrong_numbers),
        cmocka_unit_test(wrong_numbers_of_the_manifest_are_refused_or_harmless),
        cmocka_unit_test(damage_of_mapped_chunks_is_found_when_they_are_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
