/*
 * Pages of tables, and what can be said about a name that does not exist.
 */
#include "catalog/local.h"
#include "catalog/names.h"
#include "catalog/table_name.h"

enum { NEAR_DISTANCE_MAX = 2, NEAR_SHOWN_MAX = 3 };

/** Index of the first entry behind `after`. */
static size_t first_behind(const struct names *names, struct str after)
{
    size_t low = 0, high = names->count;
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        if (str_cmp(names->entries[mid].text, after) > 0) {
            high = mid;
        } else {
            low = mid + 1;
        }
    }
    return low;
}

static bool is_damage(enum status status)
{
    return status == E_CORRUPT || status == E_UNSUPPORTED;
}

/** Put an entry into the page. `why` is of its pointer. */
static enum status add_entry(const struct name_entry *entry, enum status status,
                             const struct table_summary *table, const struct err *why,
                             struct arena *arena, struct catalog_list *list, struct err *err)
{
    if (status == OK) {
        list->tables[list->count++] = *table;
        return OK;
    }
    struct str text = arena_str(arena, str_of(why->msg));
    if (text.ptr == NULL) {
        return err_no_memory(err);
    }
    list->damaged[list->damaged_count++] = (struct catalog_damaged){ .name = entry->name,
                                                                     .kind = status,
                                                                     .why = text };
    return OK;
}

enum status local_list(struct catalog *catalog, const struct catalog_list_opts *opts,
                       struct arena *arena, struct catalog_list *out, struct err *err)
{
    struct local *local = (struct local *)catalog;
    struct names names;
    struct catalog_list list = { .next = STR_EMPTY };
    struct str last = STR_EMPTY;
    TRY(names_list(local, opts->ns, arena, &names, err));
    size_t most = opts->limit < names.count ? opts->limit : names.count;
    list.tables = arena_array(arena, most, sizeof(*list.tables));
    list.damaged = arena_array(arena, most, sizeof(*list.damaged));
    if (list.tables == NULL || list.damaged == NULL) {
        return err_no_memory(err);
    }
    for (size_t i = opts->after.len > 0 ? first_behind(&names, opts->after) : 0; i < names.count;
         i++) {
        const struct name_entry *entry = &names.entries[i];
        bool live = false;
        struct table_summary table;
        struct err why = { 0 };
        enum status status = names_summary(local, entry, arena, &live, &table, &why);
        if (status != OK && !is_damage(status)) {
            return err_set(err, status, "%s", why.msg);
        }
        enum catalog_kind kind = live && table.is_view ? CATALOG_VIEW : CATALOG_TABLE;
        bool shown = (live || status != OK) && (opts->kind == kind || opts->kind == CATALOG_EITHER);
        if (!shown) {
            continue;
        }
        if (list.count + list.damaged_count == opts->limit) {
            list.next = last;
            break;
        }
        TRY(add_entry(entry, status, &table, &why, arena, &list, err));
        last = entry->text;
    }
    *out = list;
    return OK;
}

enum status local_case_twins(struct local *local, const struct table_name *name,
                             struct arena *arena, size_t *count_out, struct table_name *out,
                             struct err *err)
{
    struct names names;
    size_t matches = 0;
    TRY(names_list(local, STR_EMPTY, arena, &names, err));
    for (size_t i = 0; i < names.count; i++) {
        const struct name_entry *entry = &names.entries[i];
        bool same = str_eq(entry->name.ns, name->ns) && str_eq(entry->name.name, name->name);
        if (same || !table_name_eq_nocase(&entry->name, name)) {
            continue;
        }
        bool live = false;
        struct table_summary table;
        TRY(names_summary(local, entry, arena, &live, &table, err));
        if (live) {
            *out = entry->name;
            matches++;
        }
    }
    *count_out = matches;
    return OK;
}

/** Up to three live tables or views whose names are close: ` (did you mean "a" or "b"?)`, or
 * nothing. */
static enum status near_misses(struct local *local, const struct table_name *name,
                               struct arena *arena, struct buf *out)
{
    struct names names;
    size_t shown = 0;
    TRY(names_list(local, name->ns, arena, &names, NULL));
    for (size_t i = 0; i < names.count && shown < NEAR_SHOWN_MAX; i++) {
        const struct name_entry *entry = &names.entries[i];
        bool live = false;
        struct table_summary table;
        bool near = str_distance(entry->name.name, name->name) <= NEAR_DISTANCE_MAX ||
                    str_eq_nocase(entry->name.name, name->name);
        if (near) {
            TRY(names_summary(local, entry, arena, &live, &table, NULL));
        }
        if (live) {
            TRY(buf_printf(out, "%s\"%.*s\"", shown == 0 ? " (did you mean " : " or ",
                           STR_ARG(entry->text)));
            shown++;
        }
    }
    return shown > 0 ? buf_append(out, STR("?)")) : OK;
}

enum status local_not_found(struct local *local, const struct table_name *name, struct err *err)
{
    struct arena arena;
    arena_init(&arena, 0);
    AUTO(buf_done) struct buf near, text;
    buf_init(&near, 4096);
    buf_init(&text, 4096);
    if (near_misses(local, name, &arena, &near) != OK) {
        buf_clear(&near); /* a hint less */
    }
    enum status printed = table_name_print(name, &text);
    arena_done(&arena);
    return err_set(err, E_NOT_FOUND, "table \"%.*s\" does not exist%.*s",
                   STR_ARG(printed == OK ? buf_str(&text) : name->name), STR_ARG(buf_str(&near)));
}
