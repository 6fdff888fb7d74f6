#include "saving.h"

#include "base/mem.h"

void saved_read(struct saved *saved, struct vec_snapshot *snapshot)
{
    struct err err = { 0 };
    *saved = (struct saved){ .count = vec_snapshot_chunks(snapshot) };
    saved->info = xmalloc(saved->count * sizeof(*saved->info));
    saved->bytes = xmalloc(saved->count * sizeof(*saved->bytes));
    saved->len = xmalloc(saved->count * sizeof(*saved->len));
    for (uint32_t i = 0; i < saved->count; i++) {
        const void *bytes = NULL;
        must(vec_snapshot_chunk(snapshot, i, &saved->info[i], &bytes, &err) == OK);
        must(saved->info[i].number == i);
        saved->len[i] = saved->info[i].bytes;
        saved->bytes[i] = saved->len[i] == 0 ? NULL : xmalloc(saved->len[i]);
        if (saved->len[i] > 0) {
            memcpy(saved->bytes[i], bytes, saved->len[i]);
        }
    }
    must(vec_snapshot_manifest(snapshot, &saved->manifest, &saved->manifest_len, &err) == OK);
}

void saved_take(struct saved *saved, struct vec_index *index)
{
    struct vec_snapshot *snapshot = NULL;
    must(vec_snapshot_take(index, &snapshot, NULL) == OK);
    saved_read(saved, snapshot);
    vec_snapshot_free(snapshot);
}

void saved_done(struct saved *saved)
{
    must(saved->mapped == 0);
    for (uint32_t i = 0; i < saved->count; i++) {
        mem_free(saved->bytes[i]);
    }
    mem_free(saved->bytes);
    mem_free(saved->info);
    mem_free(saved->len);
    vec_bytes_free(saved->manifest);
}

static enum status map(void *ctx, uint32_t number, void **bytes_out, size_t *len_out,
                       struct err *err)
{
    struct saved *saved = ctx;
    void *bytes = NULL;
    must(number < saved->count && saved->info[number].bytes > 0);
    must(posix_memalign(&bytes, 64, saved->info[number].bytes) == 0);
    memcpy(bytes, saved->bytes[number], saved->info[number].bytes);
    *bytes_out = bytes;
    *len_out = saved->len[number];
    saved->mapped++;
    return OK;
}

static void release(void *ctx, uint32_t number, void *bytes, size_t len)
{
    struct saved *saved = ctx;
    must(len == saved->len[number]);
    saved->mapped--;
    free(bytes);
}

enum status saved_load(struct saved *saved, const struct vec_opts *opts, struct vec_index **out,
                       struct err *err)
{
    struct vec_chunk_source source = { .map = map, .release = release, .ctx = saved };
    return vec_load(opts, saved->manifest, saved->manifest_len, &source, out, err);
}

void saved_assert_equal(const struct saved *a, const struct saved *b)
{
    assert_int_equal(a->count, b->count);
    for (uint32_t i = 0; i < a->count; i++) {
        assert_int_equal(a->info[i].version, b->info[i].version);
        assert_int_equal(a->len[i], b->len[i]);
        if (a->len[i] > 0) {
            assert_memory_equal(a->bytes[i], b->bytes[i], a->len[i]);
        }
    }
    assert_int_equal(a->manifest_len, b->manifest_len);
    assert_memory_equal(a->manifest, b->manifest, a->manifest_len);
}
