/*
 * The door of metadata tables: what a name means, and the pages of its rows.
 *
 *   inspect  {"pin","table":"files","columns":[id,...],"after":n}
 *            -> {"rows":[[cell,...],...],"next":n?}: cells in the order of `columns`; structs,
 *            lists
 *            and maps (as pairs) are arrays; a moment is microseconds; what else is no number is
 *            text that casts to its column's type. Without "next" it is the last page.
 */
#include "query/inspect.h"

#include "base/mem.h"
#include "iceberg/value.h"

enum {
    PAGE_BYTES = 1024 * 1024, /* chosen: a page of 1,000 files with ten columns */
    PAGE_ROWS = 4096,
    COLUMNS_MAX = 64, /* of one metadata table; there are 21 at most */
};

bool inspect_page_is_full(const struct inspect_page *page)
{
    return page->out->len >= PAGE_BYTES || page->rows >= PAGE_ROWS;
}

/* --- names --- */

static enum status unknown_kind(struct str table, struct str suffix, struct err *err)
{
    AUTO(buf_done) struct buf names;
    buf_init(&names, 0);
    if (inspect_names(&names) != OK) {
        return err_no_memory(err);
    }
    return err_set(err, E_INVALID,
                   "table \"%.*s\" has no metadata table \"$%.*s\"; its metadata tables are %.*s",
                   STR_ARG(table), STR_ARG(suffix), STR_ARG(buf_str(&names)));
}

enum status inspect_resolve(struct query *query, struct str ns, struct str name,
                            const struct catalog_at *at, struct query_pin **pin_out,
                            enum inspect_kind *kind_out, struct err *err)
{
    size_t place = name.len;
    while (place > 0 && name.ptr[place - 1] != '$') {
        place--;
    }
    if (place < 2) {
        return err_set(err, E_NOT_FOUND, "table \"%.*s\" does not exist", STR_ARG(name));
    }
    struct str table = str_take(name, place - 1);
    struct str suffix = str_skip(name, place);
    const struct catalog_at now = { .kind = CATALOG_AT_CURRENT };
    bool known = inspect_kind_of(suffix, kind_out);
    if (known && at->kind != CATALOG_AT_CURRENT && !inspect_is_of_a_snapshot(*kind_out)) {
        return err_set(err, E_INVALID,
                       "\"%.*s\" tells of the whole table, not of one version: leave AT out",
                       STR_ARG(name));
    }
    TRY(query_pin_table(query, ns, table, known ? at : &now, pin_out, err));
    return known ? OK : unknown_kind(table, suffix, err);
}

/* --- what is made once --- */

void inspect_free(struct inspect *in)
{
    if (in == NULL) {
        return;
    }
    catalog_manifest_close(&in->open);
    arena_done(&in->order_arena);
    arena_done(&in->arena);
    mem_free(in);
}

/** With the pin's `inspecting` claimed. */
static enum status inspect_get(struct query *query, struct query_pin *pin, struct inspect **out,
                               struct err *err)
{
    if (pin->inspect == NULL) {
        struct inspect *in = mem_zalloc(sizeof(*in));
        if (in == NULL) {
            return err_no_memory(err);
        }
        in->catalog = query->service->opts.catalog;
        in->pin = pin->pin;
        arena_init(&in->arena, 512ul * 1024 * 1024);
        arena_init(&in->order_arena, 1024ul * 1024);
        enum status kind = ice_partition_specs(&in->arena, in->pin->metadata, &in->specs, err);
        kind = kind == OK ? inspect_find_metrics(in, err) : kind;
        if (kind != OK) {
            inspect_free(in);
            return kind;
        }
        pin->inspect = in;
    }
    *out = pin->inspect;
    return OK;
}

enum status inspect_write_columns(struct query *query, struct query_pin *pin,
                                  enum inspect_kind kind, struct ice_type *out, struct err *err)
{
    struct inspect *in = NULL;
    query_claim(query, &pin->inspecting);
    enum status status = inspect_get(query, pin, &in, err);
    status = status == OK ? inspect_columns(in, kind, out, err) : status;
    query_release(query, &pin->inspecting);
    return status;
}

enum status inspect_list(struct inspect *in, struct err *err)
{
    if (!in->listed) {
        TRY(catalog_manifests(in->catalog, in->pin, &in->manifests, err));
        in->listed = true;
    }
    return OK;
}

enum status inspect_open(struct inspect *in, size_t index, struct err *err)
{
    if (in->open.manifest != NULL && in->open_index == index) {
        return OK;
    }
    const struct ice_manifest_file *row = &in->manifests.rows[index];
    catalog_manifest_close(&in->open);
    arena_reset(&in->order_arena);
    TRY(catalog_manifest_open(in->catalog, row, &in->open, err));
    in->open_index = index;
    enum status kind = ice_partition_order(
        &in->order_arena, in->open.manifest,
        ice_partition_spec_by_id(&in->specs, row->partition_spec_id), &in->order, err);
    if (kind != OK) {
        catalog_manifest_close(&in->open);
    }
    return kind;
}

/* --- cells --- */

void inspect_write_opt(struct json_writer *w, int64_t value)
{
    if (value == -1) {
        jw_null(w);
    } else {
        jw_i64(w, value);
    }
}

void inspect_write_text(struct json_writer *w, struct str text)
{
    if (text.ptr == NULL || !str_is_utf8(text)) {
        jw_null(w);
    } else {
        jw_str(w, text);
    }
}

void inspect_write_value(struct json_writer *w, const struct ice_type *type, struct str value)
{
    AUTO(buf_done) struct buf text;
    buf_init(&text, 0);
    bool known = value.ptr != NULL && ice_bound_print(type, value, &text, NULL) == OK;
    inspect_write_text(w, known && text.len == 0 ? STR("")
                          : known                ? buf_str(&text)
                                                 : (struct str){ NULL, 0 });
}

/* --- a page --- */

static enum status write_rows(struct inspect *in, enum inspect_kind kind, struct inspect_page *page,
                              uint64_t after, uint64_t *next, struct err *err)
{
    switch (kind) {
    case INSPECT_SNAPSHOTS:
    case INSPECT_HISTORY:
    case INSPECT_REFS:
        return inspect_rows(in, kind, page, after, next, err);
    case INSPECT_MANIFESTS:
        return inspect_manifests(in, page, after, next, err);
    case INSPECT_PARTITIONS:
        return inspect_partitions(in, page, after, next, err);
    case INSPECT_FILES:
    case INSPECT_DATA_FILES:
    case INSPECT_DELETE_FILES:
    case INSPECT_ENTRIES:
        return inspect_files(in, kind, page, after, next, err);
    case INSPECT_KINDS:
        break;
    }
    return err_set(err, E_INTERNAL, "the engine asks for a metadata table that is none");
}

static enum status write_page(struct inspect *in, enum inspect_kind kind, struct inspect_page *page,
                              uint64_t after, struct err *err)
{
    uint64_t next = 0;
    json_writer_init(&page->w, page->out);
    jw_obj_begin(&page->w);
    jw_kv_arr(&page->w, "rows");
    enum status status = write_rows(in, kind, page, after, &next, err);
    if (status == OK) {
        jw_arr_end(&page->w);
        if (next > 0) {
            jw_kv_u64(&page->w, "next", next);
        }
        jw_obj_end(&page->w);
    }
    if (status != OK) {
        return status; /* it stopped in the middle */
    }
    return json_writer_end(&page->w) == OK ? OK : err_no_memory(err);
}

static enum status read_columns(yyjson_val *args, int32_t *out, size_t *count, struct err *err)
{
    size_t i;
    size_t max;
    yyjson_val *id;
    yyjson_val *list = NULL;
    TRY(json_get_arr(args, "columns", JSON_REQUIRED, &list, err));
    if (yyjson_arr_size(list) > COLUMNS_MAX) {
        return err_set(err, E_INTERNAL, "the engine asks for more columns than there are");
    }
    yyjson_arr_foreach(list, i, max, id)
    {
        out[i] = (int32_t)yyjson_get_sint(id);
    }
    *count = yyjson_arr_size(list);
    return OK;
}

enum status inspect_answer(struct query *query, yyjson_val *args, struct buf *reply,
                           struct err *err)
{
    uint64_t number = 0;
    uint64_t after = 0;
    struct str table;
    enum inspect_kind kind;
    int32_t columns[COLUMNS_MAX];
    struct query_pin *pin = NULL;
    struct inspect *in = NULL;
    struct inspect_page page = { .out = reply, .columns = columns };
    TRY(json_get_u64(args, "pin", JSON_REQUIRED, &number, err));
    TRY(json_get_str(args, "table", JSON_REQUIRED, &table, err));
    TRY(json_get_u64(args, "after", JSON_REQUIRED, &after, err));
    TRY(read_columns(args, columns, &page.column_count, err));
    TRY(query_pin_by_number(query, number, &pin, err));
    if (!inspect_kind_of(table, &kind)) {
        return err_set(err, E_INTERNAL, "the engine asks for a metadata table that is none");
    }
    query_claim(query, &pin->inspecting);
    enum status status = inspect_get(query, pin, &in, err);
    status = status == OK ? write_page(in, kind, &page, after, err) : status;
    query_release(query, &pin->inspecting);
    return status;
}
