/*
 * JSON goes by fields, each with its reader; bytes by their layout. Both end in the same structs.
 *
 * Vectors are gathered in one array that grows, and items point into it only when it is whole.
 */
#include "api/vector_request.h"

#include "api/body_scan.h"
#include "base/mem.h"

/* a field of the body, and one of a thing in it */
#define FIELD(name_, read_) { name_, read_ }
#define ITEM_FIELD(name_, read_) { name_, read_ }

static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "floats travel as they lie in memory");

/** Room for one more vector behind `count`; doubles. */
static enum status grow_floats(float **floats, size_t *cap, size_t count, uint32_t dimension,
                               struct err *err)
{
    if (count < *cap) {
        return OK;
    }
    size_t next = *cap == 0 ? 1 : *cap * 2, bytes;
    float *grown = NULL;
    if (size_mul(next, (size_t)dimension * sizeof(float), &bytes)) {
        grown = mem_realloc(*floats, bytes);
    }
    if (grown == NULL) {
        return err_no_memory(err);
    }
    *floats = grown;
    *cap = next;
    return OK;
}

/** An array of exactly `dimension` numbers. */
static enum status read_vector(struct body_scan *scan, uint32_t dimension, float *out)
{
    size_t count;
    TRY(scan_floats(scan, out, dimension, &count));
    return count == dimension
               ? OK
               : err_set(scan->err, E_INVALID,
                         "byte %zu: the vector has %zu number%s, the index has dimension %u",
                         scan->at, count, count == 1 ? "" : "s", dimension);
}

/* --- search --- */

static enum status one_more(struct body_scan *scan, void *ctx)
{
    struct vector_search *search = ctx;
    TRY(grow_floats(&search->floats, &search->vector_cap, search->vector_count, search->dimension,
                    scan->err));
    TRY(read_vector(scan, search->dimension,
                    search->floats + search->vector_count * search->dimension));
    search->vector_count++;
    return OK;
}

static enum status only_once(struct body_scan *scan, struct vector_search *search)
{
    if (search->has_vector || search->query.id.len > 0) {
        return scan_fail(scan, "take one of \"vector\", \"vectors\" and \"id\"");
    }
    search->has_vector = true;
    return OK;
}

static enum status read_one(struct body_scan *scan, void *ctx)
{
    TRY(only_once(scan, ctx));
    return one_more(scan, ctx);
}

static enum status read_several(struct body_scan *scan, void *ctx)
{
    struct vector_search *search = ctx;
    TRY(only_once(scan, search));
    search->batch = true;
    return scan_array(scan, one_more, search);
}

static enum status read_of_id(struct body_scan *scan, void *ctx)
{
    struct vector_search *search = ctx;
    TRY(only_once(scan, search));
    TRY(scan_string(scan, &search->query.id));
    return search->query.id.len > 0 ? OK : scan_fail(scan, "an id has at least one byte");
}

static enum status read_k(struct body_scan *scan, void *ctx)
{
    struct vector_search *search = ctx;
    search->has_k = true;
    return scan_u32(scan, UINT32_MAX, &search->query.k);
}

static enum status read_ef(struct body_scan *scan, void *ctx)
{
    struct vector_search *search = ctx;
    search->has_ef = true;
    return scan_u32(scan, UINT32_MAX, &search->query.ef);
}

static enum status read_recall(struct body_scan *scan, void *ctx)
{
    struct vector_search *search = ctx;
    double value;
    TRY(scan_double(scan, &value));
    search->query.recall_target = (float)value;
    return value > 0 && value < 1 ? OK : scan_fail(scan, "it lies between 0 and 1");
}

static enum status read_filter(struct body_scan *scan, void *ctx)
{
    struct vector_search *search = ctx;
    return scan_raw(scan, &search->query.filter);
}

/** `null` is none. */
static enum status one_filter(struct body_scan *scan, void *ctx)
{
    struct vector_search *search = ctx;
    if (search->filter_count == search->filter_cap) {
        size_t next = search->filter_cap == 0 ? 16 : search->filter_cap * 2;
        struct str *grown = mem_realloc(search->filters, next * sizeof *grown);
        if (grown == NULL) {
            return err_no_memory(scan->err);
        }
        search->filters = grown;
        search->filter_cap = next;
    }
    struct str *filter = &search->filters[search->filter_count];
    TRY(scan_raw(scan, filter));
    *filter = str_eq(*filter, STR("null")) ? STR_EMPTY : *filter;
    search->filter_count++;
    return OK;
}

static enum status read_filters(struct body_scan *scan, void *ctx)
{
    struct vector_search *search = ctx;
    search->has_filters = true;
    return scan_array(scan, one_filter, ctx);
}

static enum status read_exact(struct body_scan *scan, void *ctx)
{
    struct vector_search *search = ctx;
    return scan_bool(scan, &search->query.exact);
}

static enum status read_max_distance(struct body_scan *scan, void *ctx)
{
    struct vector_search *search = ctx;
    search->query.has_max_distance = true;
    return scan_double(scan, &search->query.max_distance);
}

static enum status read_with_vectors(struct body_scan *scan, void *ctx)
{
    struct vector_search *search = ctx;
    return scan_bool(scan, &search->query.with_vectors);
}

static enum status read_with_metadata(struct body_scan *scan, void *ctx)
{
    struct vector_search *search = ctx;
    return scan_bool(scan, &search->query.with_metadata);
}

static enum status one_field(struct body_scan *scan, void *ctx)
{
    struct vector_search *search = ctx;
    if (search->field_count == VECTOR_FIELDS_MAX) {
        return scan_fail(scan, "at most 64 fields");
    }
    return scan_string(scan, &search->fields[search->field_count++]);
}

static enum status read_fields(struct body_scan *scan, void *ctx)
{
    return scan_array(scan, one_field, ctx);
}

static const struct scan_field search_fields[] = {
    FIELD("vector", read_one),
    FIELD("vectors", read_several),
    FIELD("id", read_of_id),
    FIELD("k", read_k),
    FIELD("ef", read_ef),
    FIELD("recall_target", read_recall),
    FIELD("filter", read_filter),
    FIELD("filters", read_filters),
    FIELD("exact", read_exact),
    FIELD("max_distance", read_max_distance),
    FIELD("with_vectors", read_with_vectors),
    FIELD("with_metadata", read_with_metadata),
    FIELD("fields", read_fields),
};

enum status vector_search_read_json(struct str body, struct arena *arena,
                                    struct vector_search *search, struct err *err)
{
    struct body_scan scan = { .body = body, .arena = arena, .err = err };
    search->query.with_metadata = true;
    TRY(scan_object(&scan, search_fields, ARRAY_LEN(search_fields), search));
    TRY(scan_end(&scan));
    if (!search->has_vector) {
        return err_set(err, E_INVALID, "search for what? give \"vector\", \"vectors\" or \"id\"");
    }
    return vector_search_check(search, err);
}

enum status vector_search_read_binary(struct str body, struct vector_search *search,
                                      struct err *err)
{
    size_t bytes = search->dimension * sizeof(float);
    if (body.len == 0 || body.len % bytes != 0) {
        return err_set(err, E_INVALID,
                       "the body has %zu bytes: vectors of dimension %u take %zu each", body.len,
                       search->dimension, bytes);
    }
    search->floats = mem_alloc(body.len); /* aligned, which the body need not be */
    if (search->floats == NULL) {
        return err_no_memory(err);
    }
    memcpy(search->floats, body.ptr, body.len);
    search->vector_count = body.len / bytes;
    search->batch = search->batch || search->vector_count > 1;
    search->has_vector = true;
    return OK;
}

static enum status check_filters(const struct vector_search *search, struct err *err)
{
    if (!search->has_filters) {
        return OK;
    }
    if (!search->batch || search->query.filter.len > 0) {
        return err_set(err, E_INVALID, "\"filters\" goes with \"vectors\", and without \"filter\"");
    }
    return search->filter_count == search->vector_count
               ? OK
               : err_set(err, E_INVALID, "\"filters\" has %zu, \"vectors\" %zu: one for each",
                         search->filter_count, search->vector_count);
}

enum status vector_search_check(struct vector_search *search, struct err *err)
{
    struct coll_query *query = &search->query;
    TRY(check_filters(search, err));
    if (search->has_k && (query->k == 0 || query->k > search->k_max)) {
        return err_set(err, E_INVALID, "\"k\" is %u: it is a number from 1 to %u", query->k,
                       search->k_max);
    }
    if (search->has_ef && (query->ef == 0 || query->ef > VEC_EF_MAX)) {
        return err_set(err, E_INVALID, "\"ef\" is %u: it is a number from 1 to %u", query->ef,
                       (unsigned)VEC_EF_MAX);
    }
    if (query->id.len == 0 && search->vector_count == 0) {
        return err_set(err, E_INVALID, "\"vectors\" has none");
    }
    uint64_t k = query->k > 0 ? query->k : 10;
    if (search->vector_count > VECTOR_HITS_MAX / k) {
        return err_set(err, E_INVALID,
                       "%zu vectors with k = %u are more than %u results: ask in several requests",
                       search->vector_count, (unsigned)k, (unsigned)VECTOR_HITS_MAX);
    }
    query->vectors = query->id.len > 0 ? NULL : search->floats;
    query->vector_count = search->vector_count;
    query->filters = search->has_filters ? search->filters : NULL;
    return OK;
}

void vector_search_done(struct vector_search *search)
{
    mem_free(search->floats);
    mem_free(search->filters);
    search->floats = NULL;
    search->filters = NULL;
}

/* --- add --- */

static enum status add_room(struct vector_add *add, struct err *err)
{
    if (add->count == add->item_cap) {
        size_t next = add->item_cap == 0 ? 16 : add->item_cap * 2, bytes;
        struct coll_item *grown = size_mul(next, sizeof(*grown), &bytes)
                                      ? mem_realloc(add->items, bytes)
                                      : NULL;
        if (grown == NULL) {
            return err_no_memory(err);
        }
        add->items = grown;
        add->item_cap = next;
    }
    add->items[add->count] = (struct coll_item){ .id = STR_EMPTY, .metadata = STR_EMPTY };
    return grow_floats(&add->floats, &add->float_cap, add->count, add->dimension, err);
}

/** All are there, and so is the array at its last place. */
static void point_items(struct vector_add *add)
{
    for (size_t i = 0; i < add->count; i++) {
        add->items[i].vector = add->floats + i * add->dimension;
    }
}

static enum status item_id(struct body_scan *scan, void *ctx)
{
    struct vector_add *add = ctx;
    add->has_id = true;
    return scan_string(scan, &add->items[add->count].id);
}

static enum status item_vector(struct body_scan *scan, void *ctx)
{
    struct vector_add *add = ctx;
    add->has_vector = true;
    return read_vector(scan, add->dimension, add->floats + add->count * add->dimension);
}

static enum status item_metadata(struct body_scan *scan, void *ctx)
{
    struct vector_add *add = ctx;
    return scan_raw(scan, &add->items[add->count].metadata);
}

static const struct scan_field item_fields[] = {
    ITEM_FIELD("id", item_id),
    ITEM_FIELD("vector", item_vector),
    ITEM_FIELD("metadata", item_metadata),
};

static enum status one_item(struct body_scan *scan, void *ctx)
{
    struct vector_add *add = ctx;
    TRY(add_room(add, scan->err));
    add->has_id = add->has_vector = false;
    enum status status = scan_object(scan, item_fields, ARRAY_LEN(item_fields), add);
    if (status == OK && !(add->has_id && add->has_vector)) {
        status = scan_fail(scan, add->has_id ? "\"vector\" is missing" : "\"id\" is missing");
    }
    if (status != OK) {
        return err_context(scan->err, "item %zu", add->count);
    }
    add->count++;
    return OK;
}

static enum status read_items(struct body_scan *scan, void *ctx)
{
    return scan_array(scan, one_item, ctx);
}

enum status vector_add_mode(struct str text, enum coll_add_mode *out, struct err *err)
{
    static const char *const names[] = { "upsert", "insert", "update" };
    static const enum coll_add_mode modes[] = { COLL_UPSERT, COLL_INSERT, COLL_UPDATE };
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        if (str_eq(text, str_of(names[i]))) {
            *out = modes[i];
            return OK;
        }
    }
    return err_set(err, E_INVALID, "mode \"%.*s\": it is upsert, insert or update",
                   STR_ARG(str_take(text, 100)));
}

static enum status read_mode(struct body_scan *scan, void *ctx)
{
    struct vector_add *add = ctx;
    struct str text;
    TRY(scan_string(scan, &text));
    return vector_add_mode(text, &add->mode, scan->err);
}

static const struct scan_field add_fields[] = {
    FIELD("items", read_items),
    FIELD("mode", read_mode),
};

enum status vector_add_read_json(struct str body, struct arena *arena, struct vector_add *add,
                                 struct err *err)
{
    struct body_scan scan = { .body = body, .arena = arena, .err = err };
    TRY(scan_object(&scan, add_fields, ARRAY_LEN(add_fields), add));
    TRY(scan_end(&scan));
    if (add->count == 0) {
        return err_set(err, E_INVALID, "\"items\" has none");
    }
    point_items(add);
    return OK;
}

/** One item at the front of `rest`, which moves behind it. */
static enum status take_item(struct str *rest, struct vector_add *add, struct err *err)
{
    enum { HEAD = 8 };
    uint32_t head[2];
    size_t vector_bytes = add->dimension * sizeof(float);
    if (rest->len < HEAD + vector_bytes) {
        return err_set(err, E_INVALID, "item %zu: the body ends inside it", add->count);
    }
    memcpy(head, rest->ptr, HEAD);
    size_t texts = (size_t)head[0] + head[1], padded = (texts + 3) / 4 * 4;
    if (rest->len - HEAD - vector_bytes < padded) {
        return err_set(
            err, E_INVALID,
            "item %zu: the body ends inside it (%u bytes of id, %u of metadata, dimension %u)",
            add->count, head[0], head[1], add->dimension);
    }
    TRY(add_room(add, err));
    memcpy(add->floats + add->count * add->dimension, rest->ptr + HEAD, vector_bytes);
    struct coll_item *item = &add->items[add->count];
    struct str behind = str_skip(*rest, HEAD + vector_bytes);
    item->id = str_take(behind, head[0]);
    item->metadata = str_take(str_skip(behind, head[0]), head[1]);
    for (size_t i = texts; i < padded; i++) {
        if (behind.ptr[i] != '\0') {
            return err_set(err, E_INVALID, "item %zu: what fills it up to 4 bytes is not zero",
                           add->count);
        }
    }
    *rest = str_skip(behind, padded);
    add->count++;
    return OK;
}

enum status vector_add_read_binary(struct str body, struct vector_add *add, struct err *err)
{
    if (body.len == 0) {
        return err_set(err, E_INVALID, "the body is empty: it has no items");
    }
    while (body.len > 0) {
        TRY(take_item(&body, add, err));
    }
    point_items(add);
    return OK;
}

void vector_add_done(struct vector_add *add)
{
    mem_free(add->items);
    mem_free(add->floats);
    add->items = NULL;
    add->floats = NULL;
}
