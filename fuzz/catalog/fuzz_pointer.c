/*
 * Any bytes as the pointer of a table: what is understood is written, and read again as the same.
 */
#include "catalog/pointer.h"

#include <stdint.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool cond)
{
    if (!cond) {
        abort();
    }
}

static void check_same(const struct pointer *a, const struct pointer *b)
{
    check(a->state == b->state && a->table.is_view == b->table.is_view);
    check(str_eq(a->table.name.ns, b->table.name.ns));
    check(str_eq(a->table.name.name, b->table.name.name));
    check(str_eq(a->table.uuid, b->table.uuid) && a->table.version == b->table.version);
    check(str_eq(a->table.metadata_location, b->table.metadata_location));
    check(a->commit_count == b->commit_count && a->batch_count == b->batch_count);
    check(str_eq(a->rename.id, b->rename.id) && a->rename.refused == b->rename.refused);
    check(str_eq(a->rename.peer.ns, b->rename.peer.ns));
    check(str_eq(a->rename.peer.name, b->rename.peer.name));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena arena;
    struct pointer pointer = { 0 }, again = { 0 };
    struct err err = { 0 };
    AUTO(buf_done) struct buf json;
    arena_init(&arena, 0);
    buf_init(&json, 0);
    enum status status = pointer_decode(&arena, str_from((const char *)data, size), &pointer, &err);
    if (status == OK) {
        check(pointer_encode(&pointer, &json) == OK);
        check(pointer_decode(&arena, buf_str(&json), &again, &err) == OK);
        check_same(&pointer, &again);
    } else {
        check(status == E_CORRUPT || status == E_UNSUPPORTED || status == E_NO_MEMORY);
        check(err.msg[0] != '\0');
    }
    arena_done(&arena);
    return 0;
}
