/*
 * The layout of a Parquet file: DuckDB reads the columns and their types, we say what becomes of
 * those that Iceberg does not have.
 */
#include "engine/child_convert_priv.h"

struct described {
    struct convert *c;
    size_t cap;
};

static enum status add_column(void *ctx, const struct str *cells, size_t count, struct err *err)
{
    struct described *d = ctx;
    struct convert *c = d->c;
    struct arena *arena = &c->job->arena;
    (void)count;
    if (c->column_count == d->cap) {
        d->cap = d->cap ? d->cap * 2 : 32;
        struct convert_column *columns = arena_array(arena, d->cap, sizeof(*columns));
        if (columns == NULL) {
            return err_no_memory(err);
        }
        if (c->column_count > 0) {
            memcpy(columns, c->columns, c->column_count * sizeof(*columns));
        }
        c->columns = columns;
    }
    struct convert_column *column = &c->columns[c->column_count];
    AUTO(buf_done) struct buf quoted;
    buf_init(&quoted, 0);
    *column = (struct convert_column){ .name = arena_str(arena, cells[0]) };
    if (duck_quote_ident(&quoted, cells[0]) != OK) {
        return err_no_memory(err);
    }
    column->expr = arena_str(arena, buf_str(&quoted));
    if (column->name.ptr == NULL || column->expr.ptr == NULL) {
        return err_no_memory(err);
    }
    struct err why = { 0 };
    if (sql_type_parse(arena, cells[1], &column->type, &why) != OK) {
        return err_set(err, E_INVALID, "column \"%.*s\": %s", STR_ARG(cells[0]), why.msg);
    }
    c->column_count++;
    return OK;
}

static enum status describe(struct convert *c, struct err *err)
{
    struct described d = { .c = c };
    struct str sql = arena_printf(&c->job->arena, "DESCRIBE SELECT * FROM %.*s",
                                  STR_ARG(c->source));
    if (sql.ptr == NULL) {
        return err_no_memory(err);
    }
    c->column_count = 0;
    return convert_explain(c, duck_rows(c->session, sql, add_column, &d, err), err);
}

enum status convert_parquet_layout(struct convert *c, struct err *err)
{
    c->source = STR("read_parquet('spool://in')");
    enum status status = describe(c, err);
    if (status == E_INTERNAL || status == E_INVALID) {
        struct err why = *err;
        return err_set(err, E_INVALID, "this is no readable Parquet file: %s", why.msg);
    }
    return status;
}
