#include "lake.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

_Thread_local struct err lake_err;

static enum status fault_at(void *ctx, const char *op, struct str key, struct err *err)
{
    struct lake_fault *fault = ctx;
    bool after = strcmp(op, "answer") == 0;
    enum status status = OK;
    pthread_mutex_lock(&fault->lock);
    void (*opened)(void *, struct str) = strcmp(op, "open") == 0 ? fault->opened : NULL;
    void (*writing)(void *, struct str) = strcmp(op, "write") == 0 ? fault->writing : NULL;
    pthread_mutex_unlock(&fault->lock);
    if (opened != NULL) {
        opened(fault->opened_ctx, key);
        return OK;
    }
    if (writing != NULL) {
        writing(fault->writing_ctx, key);
    }
    pthread_mutex_lock(&fault->lock);
    if ((after || strcmp(op, "write") == 0) && after == fault->after && fault->countdown >= 0 &&
        (fault->key == NULL || str_find(key, str_of(fault->key)) != SIZE_MAX) &&
        fault->countdown-- == 0) {
        fault->happened = true;
        status = err_set(err, fault->with, "made to fail at %s of %.*s", op, STR_ARG(key));
    }
    pthread_mutex_unlock(&fault->lock);
    return status;
}

struct coll_service *lake_service(struct lake *lake)
{
    struct coll_service *service = NULL;
    const struct coll_service_opts opts = { .store = lake->store,
                                            .snapshot_part_rows = lake->part_rows };
    assert_ok(coll_service_open(&opts, &service, ERR));
    return service;
}

void lake_up(struct lake *lake)
{
    *lake = (struct lake){ .fault = { .countdown = -1 } };
    pthread_mutex_init(&lake->fault.lock, NULL);
    const struct store_mem_opts opts = { .hook = { .at = fault_at, .ctx = &lake->fault } };
    assert_ok(store_mem_open(&opts, &lake->store, ERR));
    arena_init(&lake->arena, SIZE_MAX);
    lake->service = lake_service(lake);
}

void lake_down(struct lake *lake)
{
    coll_service_close(lake->service);
    store_close(lake->store);
    arena_done(&lake->arena);
    pthread_mutex_destroy(&lake->fault.lock);
}

void lake_again(struct lake *lake)
{
    coll_service_close(lake->service);
    lake->service = lake_service(lake);
}

void lake_fail(struct lake *lake, long nth, enum status with, bool after, const char *key)
{
    pthread_mutex_lock(&lake->fault.lock);
    lake->fault.countdown = nth;
    lake->fault.with = with;
    lake->fault.after = after;
    lake->fault.key = key;
    lake->fault.happened = false;
    pthread_mutex_unlock(&lake->fault.lock);
}

void lake_opened(struct lake *lake, void (*opened)(void *ctx, struct str key), void *ctx)
{
    pthread_mutex_lock(&lake->fault.lock);
    lake->fault.opened = opened;
    lake->fault.opened_ctx = ctx;
    pthread_mutex_unlock(&lake->fault.lock);
}

void lake_writing(struct lake *lake, void (*writing)(void *ctx, struct str key), void *ctx)
{
    pthread_mutex_lock(&lake->fault.lock);
    lake->fault.writing = writing;
    lake->fault.writing_ctx = ctx;
    pthread_mutex_unlock(&lake->fault.lock);
}

void lake_mend(struct lake *lake)
{
    lake_fail(lake, -1, OK, false, NULL);
}

void lake_create(struct lake *lake, const char *name)
{
    struct coll_info info;
    const struct coll_spec spec = { .name = str_of(name), .dimension = DIM, .metric = VEC_L2 };
    assert_ok(coll_create(lake->service, &spec, &lake->arena, &info, ERR));
}

void lake_vector(unsigned number, float out[DIM])
{
    for (unsigned i = 0; i < DIM; i++) {
        out[i] = (float)((number * 2654435761U + i * 40503U) % 10007) / 7.0F;
    }
    out[0] = (float)number + 0.1F;
}

enum status lake_put(struct coll_service *service, const char *name, const char *id,
                     unsigned number, const char *metadata, struct err *err)
{
    float vector[DIM];
    struct coll_added added;
    lake_vector(number, vector);
    const struct coll_item item = { .id = str_of(id),
                                    .vector = vector,
                                    .metadata = str_of(metadata) };
    return coll_add(service, str_of(name), &item, 1, COLL_UPSERT, &added, err);
}

void lake_has(struct lake *lake, struct coll_service *service, const char *name, const char *id,
              unsigned number)
{
    float vector[DIM];
    struct coll_item item;
    lake_vector(number, vector);
    assert_ok(coll_get(service, str_of(name), str_of(id), true, &lake->arena, &item, ERR));
    assert_memory_equal(item.vector, vector, sizeof vector);
}

void lake_lacks(struct lake *lake, struct coll_service *service, const char *name, const char *id)
{
    struct coll_item item;
    assert_kind(coll_get(service, str_of(name), str_of(id), true, &lake->arena, &item, ERR),
                E_NOT_FOUND);
}

static int by_id(const void *a, const void *b)
{
    const struct coll_item *x = a, *y = b;
    return str_cmp(x->id, y->id);
}

struct str lake_dump(struct lake *lake, struct coll_service *service, const char *name)
{
    struct coll_item *all = NULL;
    size_t total = 0;
    struct str next = STR_EMPTY;
    do {
        struct coll_item *items = NULL;
        size_t count = 0;
        const struct coll_page page = { .after = next, .limit = 100, .with_vectors = true };
        assert_ok(
            coll_items(service, str_of(name), &page, &lake->arena, &items, &count, &next, ERR));
        all = realloc(all, (total + count + 1) * sizeof *all);
        assert_non_null(all);
        memcpy(all + total, items, count * sizeof *all);
        total += count;
    } while (next.len > 0);
    qsort(all, total, sizeof *all, by_id);
    struct buf text;
    buf_init(&text, 0);
    for (size_t i = 0; i < total; i++) {
        assert_ok(buf_printf(&text, "%.*s", STR_ARG(all[i].id)));
        for (int d = 0; d < DIM; d++) {
            assert_ok(buf_printf(&text, " %a", (double)all[i].vector[d]));
        }
        assert_ok(buf_printf(&text, " %.*s\n", STR_ARG(all[i].metadata)));
    }
    struct str out = arena_str(&lake->arena, buf_str(&text));
    buf_done(&text);
    free(all);
    return out;
}

uint64_t lake_count(struct coll_service *service, const char *name)
{
    uint64_t count = 0;
    assert_ok(coll_count(service, str_of(name), STR_EMPTY, &count, ERR));
    return count;
}

size_t lake_objects(struct lake *lake, const char *prefix)
{
    struct store_list list;
    assert_ok(store_list(
        lake->store, &(struct store_list_opts){ .prefix = str_of(prefix), .limit = STORE_LIST_MAX },
        &lake->arena, &list, ERR));
    return list.object_count;
}

struct str lake_key(struct lake *lake, const char *prefix, size_t nth)
{
    struct store_list list;
    assert_ok(store_list(
        lake->store, &(struct store_list_opts){ .prefix = str_of(prefix), .limit = STORE_LIST_MAX },
        &lake->arena, &list, ERR));
    assert_true(nth < list.object_count);
    return list.objects[nth].key;
}

const char *lake_prefix(struct lake *lake, const char *name, const char *rest)
{
    struct coll_info info;
    assert_ok(coll_info(lake->service, str_of(name), &lake->arena, &info, ERR));
    struct str text = arena_printf(&lake->arena, "_lake/vectors/by-id/%.*s/%s", STR_ARG(info.uuid),
                                   rest);
    char *cstr = arena_cstr(&lake->arena, text);
    assert_non_null(cstr);
    return cstr;
}
