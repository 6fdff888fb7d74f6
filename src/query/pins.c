/*
 * The tables of one statement. A name with its AT is looked up once, whoever asks first; who asks
 * meanwhile waits for that answer. Two spellings of one table share a pin, so that a join of `t`
 * with `T` is of one moment.
 */
#include "base/mem.h"
#include "query/inspect.h"

static enum status pin_key(const struct query_pin *asked, struct buf *out, struct err *err)
{
    enum status kind = buf_append(out, asked->ns);
    kind = kind == OK ? buf_append_char(out, '\0') : kind;
    kind = kind == OK ? buf_append(out, asked->name) : kind;
    kind = kind == OK ? buf_append_char(out, '\0') : kind;
    kind = kind == OK ? buf_printf(out, "%d:%lld:", (int)asked->at.kind, (long long)asked->at.value)
                      : kind;
    kind = kind == OK ? buf_append(out, asked->at.ref) : kind;
    return kind == OK ? OK : err_no_memory(err);
}

static enum status grow_list(struct query *query, struct err *err)
{
    if (query->pin_count < query->pin_cap) {
        return OK;
    }
    if (query->pin_cap >= PINS_MAX) {
        return err_set(err, E_TOO_LARGE, "a statement of more than %d tables", (int)PINS_MAX);
    }
    size_t cap = query->pin_cap == 0 ? 16 : query->pin_cap * 2;
    struct query_pin **more = mem_realloc(query->pins, cap * sizeof(*more));
    if (more == NULL) {
        return err_no_memory(err);
    }
    query->pins = more;
    query->pin_cap = cap;
    return OK;
}

/** With the lock held: an entry for the name, not looked up yet. */
static enum status pin_add(struct query *query, const struct query_pin *asked, struct str key,
                           struct query_pin **out, struct err *err)
{
    TRY(grow_list(query, err));
    struct query_pin *pin = ARENA_NEW(&query->arena, struct query_pin);
    if (pin == NULL) {
        return err_no_memory(err);
    }
    pin->number = query->pin_count;
    pin->ns = arena_str(&query->arena, asked->ns);
    pin->name = arena_str(&query->arena, asked->name);
    pin->at = asked->at;
    pin->at.ref = arena_str(&query->arena, asked->at.ref);
    if (pin->ns.ptr == NULL || pin->name.ptr == NULL || pin->at.ref.ptr == NULL ||
        map_put(&query->by_name, key, pin, NULL) != OK) {
        return err_no_memory(err);
    }
    arena_init(&pin->arena, 512ul * 1024 * 1024);
    query->pins[query->pin_count++] = pin;
    *out = pin;
    return OK;
}

void query_claim(struct query *query, bool *busy)
{
    pthread_mutex_lock(&query->lock);
    while (*busy) {
        pthread_cond_wait(&query->changed, &query->lock);
    }
    *busy = true;
    pthread_mutex_unlock(&query->lock);
}

void query_release(struct query *query, bool *busy)
{
    pthread_mutex_lock(&query->lock);
    *busy = false;
    pthread_cond_broadcast(&query->changed);
    pthread_mutex_unlock(&query->lock);
}

static bool at_equal(const struct catalog_at *a, const struct catalog_at *b)
{
    return a->kind == b->kind && a->value == b->value && str_eq(a->ref, b->ref);
}

/** With the lock held: another pin of the same table at the same AT; `pin` under its own spelling,
 * but not of its own moment. */
static struct query_pin *find_twin(struct query *query, const struct query_pin *pin)
{
    for (size_t i = 0; i < query->pin_count; i++) {
        struct query_pin *at = query->pins[i];
        if (at != pin && !at->busy && at->pin != NULL && at_equal(&at->at, &pin->at) &&
            str_eq(at->pin->table.uuid, pin->pin->table.uuid)) {
            return at;
        }
    }
    return NULL;
}

/** The table of that name as of its AT, or the view. */
static enum status pin_name(struct query *query, const struct table_name *name,
                            struct query_pin *pin, struct err *err)
{
    struct catalog *catalog = query->service->opts.catalog;
    struct table_summary found;
    TRY(catalog_find_any(catalog, name, true, &pin->arena, &found, err));
    return found.is_view ? query_view_read(query, &found, pin, err)
                         : catalog_pin_table(catalog, &found, &pin->at, &pin->pin, err);
}

/** Look it up. Claimed. */
static void pin_look_up(struct query *query, struct query_pin *pin)
{
    struct str namespaces[2];
    size_t count = 0;
    pin->kind = table_name_of_schema(&pin->arena, pin->ns, namespaces, &count, &pin->err);
    assert(count <= ARRAY_LEN(namespaces));
    for (size_t i = 0; i < count && (i == 0 || pin->kind == E_NOT_FOUND); i++) {
        const struct table_name name = { namespaces[i], pin->name };
        struct err why = { 0 }; /* what is told is the miss of the likeliest one */
        enum status kind = pin_name(query, &name, pin, &why);
        if (i == 0 || kind != E_NOT_FOUND) {
            pin->err = why;
            pin->kind = kind;
        }
    }
    pin->pinned = true;
}

static enum status find_or_add(struct query *query, const struct query_pin *asked,
                               struct query_pin **out, struct err *err)
{
    AUTO(buf_done) struct buf key;
    buf_init(&key, 0);
    TRY(pin_key(asked, &key, err));
    pthread_mutex_lock(&query->lock);
    *out = map_get(&query->by_name, buf_str(&key));
    enum status kind = *out != NULL ? OK : pin_add(query, asked, buf_str(&key), out, err);
    pthread_mutex_unlock(&query->lock);
    return kind;
}

/** The one that speaks for this table: the pin itself, or the twin that was there before it. */
static struct query_pin *pin_speaker(struct query *query, struct query_pin *pin)
{
    pthread_mutex_lock(&query->lock);
    struct query_pin *twin = find_twin(query, pin);
    pthread_mutex_unlock(&query->lock);
    return twin != NULL && twin->number < pin->number ? twin : pin;
}

enum status query_pin_get(struct query *query, struct str ns, struct str name,
                          const struct catalog_at *at, struct query_pin **out, struct err *err)
{
    const struct query_pin asked = { .ns = ns, .name = name, .at = *at };
    struct query_pin *pin = NULL;
    TRY(find_or_add(query, &asked, &pin, err));
    query_claim(query, &pin->busy);
    if (!pin->pinned) {
        pin_look_up(query, pin);
    }
    enum status kind = pin->kind;
    if (kind != OK && err != NULL) {
        *err = pin->err;
    }
    *out = kind != OK ? NULL : pin->pin != NULL ? pin_speaker(query, pin) : pin;
    query_release(query, &pin->busy);
    return kind;
}

enum status query_pin_table(struct query *query, struct str ns, struct str name,
                            const struct catalog_at *at, struct query_pin **out, struct err *err)
{
    TRY(query_pin_get(query, ns, name, at, out, err));
    return (*out)->pin != NULL
               ? OK
               : err_set(err, E_INVALID, "\"%.*s\" is a view: a table is expected", STR_ARG(name));
}

enum status query_pin_by_number(struct query *query, uint64_t number, struct query_pin **out,
                                struct err *err)
{
    pthread_mutex_lock(&query->lock);
    *out = number < query->pin_count ? query->pins[number] : NULL;
    pthread_mutex_unlock(&query->lock);
    return *out != NULL && (*out)->pin != NULL
               ? OK
               : err_set(err, E_INTERNAL, "the engine asks for a table that is not pinned");
}

enum status query_pin_numbers(struct query *query, struct query_pin *pin, uint64_t count,
                              struct err *err)
{
    pthread_mutex_lock(&query->lock);
    bool fits = count <= UINT32_MAX - query->file_count;
    if (!pin->numbered && fits) {
        pin->numbered = true;
        pin->first = query->file_count;
        pin->file_numbers = count;
        query->file_count += count;
    }
    bool same = !pin->numbered || pin->file_numbers == count;
    pthread_mutex_unlock(&query->lock);
    return !fits   ? err_set(err, E_TOO_LARGE, "a statement of more than %u files", UINT32_MAX)
           : !same ? err_set(err, E_INTERNAL, "the engine knows another number of files")
                   : OK;
}

static enum status load_files(struct query *query, struct query_pin *pin, struct err *err)
{
    TRY(catalog_files(query->service->opts.catalog, pin->pin, &pin->arena, &pin->files, err));
    TRY(query_deletes_check(pin, err));
    for (size_t i = 0; i < pin->files.count; i++) {
        if (!str_eq_nocase(pin->files.files[i].file->format, STR("PARQUET"))) {
            return err_set(err, E_UNSUPPORTED,
                           "table '%.*s' has data files in %.*s; only Parquet can be read",
                           STR_ARG(pin->name), STR_ARG(pin->files.files[i].file->format));
        }
    }
    return query_pin_numbers(query, pin, pin->files.count + pin->files.delete_count, err);
}

enum status query_pin_files(struct query *query, struct query_pin *pin, struct err *err)
{
    query_claim(query, &pin->busy);
    if (!pin->files_known) {
        pin->files_kind = load_files(query, pin, &pin->files_err);
        pin->files_known = true;
    }
    enum status kind = pin->files_kind;
    if (kind != OK && err != NULL) {
        *err = pin->files_err;
    }
    query_release(query, &pin->busy);
    return kind;
}

enum status query_pin_file(struct query *query, uint64_t number, const struct catalog_file **out,
                           struct err *err)
{
    struct query_pin *pin = NULL;
    pthread_mutex_lock(&query->lock);
    for (size_t i = 0; i < query->pin_count && pin == NULL; i++) {
        struct query_pin *at = query->pins[i];
        bool its = at->numbered && number >= at->first && number - at->first < at->file_numbers;
        pin = its ? at : NULL;
    }
    pthread_mutex_unlock(&query->lock);
    if (pin == NULL) {
        return err_set(err, E_INTERNAL, "the engine asks for a file that is not pinned");
    }
    TRY(query_pin_files(query, pin, err));
    uint64_t place = number - pin->first;
    *out = place < pin->files.count ? &pin->files.files[place]
                                    : &pin->files.deletes[place - pin->files.count];
    return OK;
}

void query_pins_free(struct query *query)
{
    for (size_t i = 0; i < query->pin_count; i++) {
        inspect_free(query->pins[i]->inspect);
        arena_done(&query->pins[i]->arena);
        if (query->pins[i]->pin != NULL) {
            catalog_unpin(query->pins[i]->pin);
        }
    }
    mem_free(query->pins);
    map_done(&query->by_name);
}
