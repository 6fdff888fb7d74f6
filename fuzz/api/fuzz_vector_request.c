/*
 * Any body of a search or an addition: the first byte says which, and the dimension (1 to 8). What
 * is taken has what it must have, and a refusal says why. Memory is checked by the sanitizers.
 */
#include "api/vector_request.h"

#include <stdint.h>
#include <stdlib.h>

#include "base/json.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool cond)
{
    if (!cond) {
        abort();
    }
}

static volatile float sum; /* so that each number is read */

static void read_all(const float *floats, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        sum += floats[i];
    }
}

static void fuzz_search(struct str body, bool json, uint32_t dimension)
{
    struct vector_search search = { .k_max = 100, .dimension = dimension };
    struct err err = { 0 };
    struct arena arena;
    arena_init(&arena, 0);
    enum status status = json ? vector_search_read_json(body, &arena, &search, &err)
                              : vector_search_read_binary(body, &search, &err);
    status = status == OK && !json ? vector_search_check(&search, &err) : status;
    if (status == OK) {
        check((search.query.vectors != NULL) != (search.query.id.len > 0));
        check(search.query.k <= 100 && search.query.ef <= VEC_EF_MAX);
        if (search.query.vectors != NULL) {
            read_all(search.query.vectors, search.query.vector_count * dimension);
        }
    } else {
        check(err.kind == E_INVALID && err.msg[0] != '\0');
    }
    vector_search_done(&search);
    arena_done(&arena);
}

static void fuzz_add(struct str body, bool json, uint32_t dimension)
{
    struct vector_add add = { .dimension = dimension };
    struct err err = { 0 };
    struct arena arena;
    arena_init(&arena, 0);
    enum status status = json ? vector_add_read_json(body, &arena, &add, &err)
                              : vector_add_read_binary(body, &add, &err);
    if (status == OK) {
        check(add.count > 0);
        for (size_t i = 0; i < add.count; i++) {
            read_all(add.items[i].vector, dimension);
            check(!json || str_is_utf8(add.items[i].id));
        }
    } else {
        check(err.kind == E_INVALID && err.msg[0] != '\0');
    }
    vector_add_done(&add);
    arena_done(&arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0) {
        return 0;
    }
    struct str body = str_from((const char *)data + 1, size - 1);
    uint32_t dimension = 1 + (data[0] >> 2 & 7);
    bool json = (data[0] & 2) == 0;
    if (data[0] & 1) {
        fuzz_add(body, json, dimension);
    } else {
        fuzz_search(body, json, dimension);
    }
    return 0;
}
