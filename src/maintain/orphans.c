/*
 * Files that nothing names, in folders that we minted: what an append left that crashed before its
 * commit, metadata that lost its race, manifests that branches kept from the trash of their commit.
 *
 * They are only noted here. Whether a file was never referenced, or became unreferenced a moment
 * ago, cannot be told by looking at it, so its grace starts now. Before it is noted the pointer is
 * fenced: a commit that was under way, and would name the file, has landed then (and is looked at
 * once more) or cannot land any more.
 *
 * A metadata file of a version that the table has not reached is deleted at once behind a fence:
 * readers of folders take the newest one for the table.
 */
#include "base/mem.h"
#include "catalog/mint.h"
#include "catalog/refs.h"
#include "catalog/trash.h"
#include "maintain/sweep_priv.h"

enum {
    KEYS_MAX = 100000,
    FOLDER_BYTES_MAX = 256 * 1024 * 1024,
    REQUEST_BYTES_MAX = 512 * 1024 * 1024,
};

/* Written before a look by request, for the time that the store puts on it. */
#define CLOCK_KEY STR("_lake/sweep-clock.json")

/** A folder that is looked through. */
struct folder {
    struct sweep_run *run;
    struct str uuid, location;
    const struct table_name *name;
    const struct care_table *table; /* NULL: never made */
    struct care_table now;          /* `table` as it was read last */
    struct arena arena;
    struct map keys;      /* old enough, and perhaps named by nothing */
    struct str *too_high; /* metadata above the pointer's version */
    size_t too_high_count, too_high_cap;
    bool empty;
    int64_t age_ms; /* of a file that is old enough */
    /* Of a look by request; NULL: by the sweep. */
    const struct upkeep_orphans *request;
    struct arena *report_arena;
    struct upkeep_found *found;
};

static enum status judge(struct folder *folder, struct err *err);

/** It could not be looked through: the next run tries. */
static void look_again(struct sweep_run *run, struct str uuid)
{
    struct look *look = map_get(&run->sweep->looked, uuid);
    if (look != NULL) {
        look->next_ms = 0;
    }
}

/** The version in "<folder>/metadata/00012-<uuid>.metadata.json", else -1. */
static int64_t metadata_version(const struct folder *folder, struct str key)
{
    struct str name = str_skip(key, folder->location.len + 1);
    uint64_t version = 0;
    if (!str_starts(name, STR("metadata/")) || !str_ends(name, STR(".metadata.json"))) {
        return -1;
    }
    struct str rest = str_skip(name, strlen("metadata/"));
    struct str digits = str_split(&rest, '-');
    bool number = digits.len > 0 && digits.len < 12 && str_to_u64(digits, &version);
    return number ? (int64_t)version : -1;
}

static enum status add_too_high(struct folder *folder, struct str key, struct err *err)
{
    if (folder->too_high_count == folder->too_high_cap) {
        size_t cap = 2 * folder->too_high_cap + 8;
        struct str *more = arena_array(&folder->arena, cap, sizeof(*more));
        if (more == NULL) {
            return err_no_memory(err);
        }
        if (folder->too_high_count > 0) {
            memcpy(more, folder->too_high, folder->too_high_count * sizeof(*more));
        }
        folder->too_high = more;
        folder->too_high_cap = cap;
    }
    struct str copy = arena_str(&folder->arena, key);
    if (copy.ptr == NULL) {
        return err_no_memory(err);
    }
    folder->too_high[folder->too_high_count++] = copy;
    return OK;
}

static enum status look_at_file(void *ctx, const struct store_info *info, struct err *err)
{
    struct folder *folder = ctx;
    const struct sweep_opts *opts = &folder->run->sweep->opts;
    int64_t age = folder->run->now - info->modified_ms;
    folder->empty = false;
    bool dry = folder->request != NULL && folder->request->dry_run;
    if (!dry && folder->table != NULL && age >= opts->unswapped_ms &&
        metadata_version(folder, info->key) > folder->table->version) {
        return add_too_high(folder, info->key, err);
    }
    if (age < folder->age_ms) {
        return OK;
    }
    if (folder->keys.count >= KEYS_MAX) {
        TRY(judge(folder, err));
    }
    uint64_t *size = arena_alloc(&folder->arena, sizeof(*size));
    if (size == NULL || map_put(&folder->keys, info->key, size, NULL) != OK) {
        return err_no_memory(err);
    }
    *size = info->size;
    return OK;
}

/* --- metadata that never became the table's --- */

static enum status delete_too_high(struct folder *folder, struct err *err)
{
    struct sweep_run *run = folder->run;
    struct care_table now;
    bool found = false;
    if (folder->too_high_count == 0) {
        return OK;
    }
    TRY(care_fence(run->sweep->opts.catalog, folder->name, folder->uuid, err));
    TRY(care_table(run->sweep->opts.catalog, folder->name, &folder->arena, &found, &now, err));
    if (!found || !now.live || !str_eq(now.uuid, folder->uuid)) {
        return OK;
    }
    for (size_t i = 0; i < folder->too_high_count; i++) {
        if (metadata_version(folder, folder->too_high[i]) > now.version) {
            TRY(run_delete(run, folder->too_high[i], -1, err));
        }
    }
    return OK;
}

/* --- the others --- */

static enum status strike_noted(void *ctx, const struct store_info *info, struct err *err)
{
    struct folder *folder = ctx;
    struct arena arena;
    struct trash trash = { 0 };
    arena_init(&arena, FOLDER_BYTES_MAX);
    enum status status = trash_read(folder->run->sweep->opts.store, info->key, &arena, &trash, err);
    for (size_t i = 0; status == OK && i < trash.key_count; i++) {
        (void)map_remove(&folder->keys, trash.keys[i]);
    }
    arena_done(&arena);
    return status == E_NOT_FOUND ? OK : status;
}

/** For whoever has asked. */
static enum status tell(struct folder *folder, struct err *err)
{
    size_t pos = 0;
    for (struct map_entry *at;
         folder->found != NULL && (at = map_next(&folder->keys, &pos)) != NULL;) {
        folder->found->files++;
        folder->found->bytes += (int64_t)*(const uint64_t *)at->value;
        TRY(upkeep_name(&folder->found->names, folder->report_arena, at->key, err));
    }
    return OK;
}

static enum status note(struct folder *folder, struct err *err)
{
    struct str *keys = arena_array(&folder->arena, folder->keys.count, sizeof(*keys));
    size_t count = 0, pos = 0;
    if (keys == NULL) {
        return err_no_memory(err);
    }
    for (struct map_entry *at; (at = map_next(&folder->keys, &pos)) != NULL;) {
        keys[count++] = at->key;
    }
    TRY(care_throw_away(folder->run->sweep->opts.catalog, folder->uuid, keys, count, err));
    folder->run->result->noted += count;
    return tell(folder, err);
}

static enum status note_orphans(struct folder *folder, struct err *err)
{
    struct sweep_run *run = folder->run;
    struct map *keys = &folder->keys;
    if (folder->table != NULL) { /* the owner knows most of them */
        TRY(run_strike(run, folder->table, true, keys, err));
    }
    TRY(run_strike_all(run, keys, err));
    if (keys->count == 0) {
        return OK;
    }
    struct str noted = arena_printf(&folder->arena, "%.*s%.*s/", STR_ARG(TRASH_PREFIX),
                                    STR_ARG(folder->uuid));
    if (noted.ptr == NULL) {
        return err_no_memory(err);
    }
    TRY(run_list(run, noted, strike_noted, folder, err));
    if (keys->count == 0) {
        return OK;
    }
    if (folder->request != NULL && folder->request->dry_run) {
        return tell(folder, err);
    }
    TRY(care_fence(run->sweep->opts.catalog, folder->name, folder->uuid, err));
    TRY(run_read_tables(run, err));
    const struct care_table *now = run_table(run, folder->uuid);
    if (now != NULL && now->live &&
        !(str_eq(now->name.ns, folder->name->ns) && str_eq(now->name.name, folder->name->name))) {
        return OK; /* renamed meanwhile: the fence was another pointer's */
    }
    TRY(run_strike_all(run, keys, err));
    return keys->count == 0 ? OK : note(folder, err);
}

/** Read what the pointer says after the folder was listed: what was made meanwhile is named by
 * it. */
static enum status refresh(struct folder *folder, bool *same_out, struct err *err)
{
    bool found = false;
    TRY(care_table(folder->run->sweep->opts.catalog, folder->name, &folder->arena, &found,
                   &folder->now, err));
    *same_out = found && folder->now.live && str_eq(folder->now.uuid, folder->uuid);
    folder->table = &folder->now;
    return OK;
}

/** Delete or note what has been gathered, and begin again. */
static enum status judge(struct folder *folder, struct err *err)
{
    bool same = true, allowed = true;
    if (folder->keys.count + folder->too_high_count == 0) {
        return OK;
    }
    if (folder->table != NULL) {
        TRY(refresh(folder, &same, err));
        if (same) {
            TRY(run_gc_allowed(folder->run, folder->table, &allowed, err));
        }
    }
    enum status status = OK;
    if (same && allowed) { /* dropped meanwhile: its folder goes as a whole */
        status = delete_too_high(folder, err);
        status = status == OK && folder->keys.count > 0 ? note_orphans(folder, err) : status;
    }
    map_done(&folder->keys);
    map_init(&folder->keys);
    folder->too_high_count = 0;
    return status;
}

static enum status look_through(struct folder *folder, struct err *err)
{
    struct str prefix = arena_printf(&folder->arena, "%.*s/", STR_ARG(folder->location));
    if (prefix.ptr == NULL) {
        return err_no_memory(err);
    }
    folder->empty = true;
    TRY(run_list(folder->run, prefix, look_at_file, folder, err));
    return judge(folder, err);
}

static enum status look_at_folder(struct sweep_run *run, const struct folder *what, bool *empty_out,
                                  struct err *err)
{
    struct folder folder = *what;
    folder.run = run;
    folder.age_ms = folder.age_ms == 0 ? run->sweep->opts.orphan_ms : folder.age_ms;
    arena_init(&folder.arena, FOLDER_BYTES_MAX);
    map_init(&folder.keys);
    enum status status = run_step(run, err);
    status = status == OK ? look_through(&folder, err) : status;
    *empty_out = folder.empty;
    if (status != OK) {
        look_again(run, folder.uuid);
    }
    map_done(&folder.keys);
    arena_done(&folder.arena);
    return status;
}

/* --- which folders --- */

/** A tombstone whose trash a crash has left out, or whose folder was written to by a straggler. */
static enum status look_at_tombstone(struct sweep_run *run, const struct care_table *table,
                                     struct err *err)
{
    struct store_list list;
    struct store_list_opts opts = { .limit = 1 };
    opts.prefix = arena_printf(&run->arena, "%.*s/", STR_ARG(table->location));
    if (opts.prefix.ptr == NULL) {
        return err_no_memory(err);
    }
    TRY(run_step(run, err));
    TRY(store_list(run->sweep->opts.store, &opts, &run->arena, &list, err));
    return list.object_count > 0 ? care_purge(run->sweep->opts.catalog, table, err) : OK;
}

static enum status look_at_table(struct sweep_run *run, struct care_table table, struct err *err)
{
    bool time = false, empty = false;
    if (table.location.len == 0 || (!table.live && !table.purge)) {
        return OK; /* not minted by us, or to be kept */
    }
    TRY(run_is_time(run, &run->sweep->looked, table.uuid, run->sweep->opts.look_ms, &time, err));
    if (!time) {
        return OK;
    }
    const struct folder folder = {
        .uuid = table.uuid, .location = table.location, .name = &table.name, .table = &table
    };
    return table.live ? look_at_folder(run, &folder, &empty, err)
                      : look_at_tombstone(run, &table, err);
}

/** The claim of a table that is being made, or never was. */
static enum status judge_claim(struct sweep_run *run, const struct store_info *info,
                               struct err *err)
{
    struct mint mint;
    bool time = false, empty = false;
    if (run->now - info->modified_ms < run->sweep->opts.orphan_ms) {
        return OK;
    }
    enum status status = mint_read(run->sweep->opts.store, info->key, &run->arena, &mint, err);
    if (status == E_NOT_FOUND) {
        return OK;
    }
    TRY(status);
    const struct care_table *table = run_table(run, mint.uuid);
    if (table != NULL && table->metadata_location.len > 0) {
        return run_delete(run, info->key, (int64_t)info->size, err); /* its pointer claims it */
    }
    TRY(run_is_time(run, &run->sweep->looked, mint.uuid, run->sweep->opts.look_ms, &time, err));
    if (!time) {
        return OK;
    }
    const struct folder folder = { .uuid = mint.uuid,
                                   .location = mint.location,
                                   .name = &mint.name };
    TRY(look_at_folder(run, &folder, &empty, err));
    return empty ? run_delete(run, info->key, (int64_t)info->size, err) : OK;
}

static enum status look_at_claim(void *ctx, const struct store_info *info, struct err *err)
{
    struct err why = { 0 };
    enum status status = run_forgive(ctx, judge_claim(ctx, info, &why), &why);
    return status == OK ? OK : err_set(err, status, "%s", why.msg);
}

enum status sweep_orphans(struct sweep_run *run, struct err *err)
{
    const struct care_table *tables = run->tables;
    size_t count = run->table_count;
    run_forget_looks(run, &run->sweep->looked);
    for (size_t i = 0; i < count; i++) { /* run->tables may be read anew meanwhile */
        struct err why = { 0 };
        enum status status = run_forgive(run, look_at_table(run, tables[i], &why), &why);
        if (status != OK) {
            return err_set(err, status, "%s", why.msg);
        }
    }
    return run_list(run, MINT_PREFIX, look_at_claim, run, err);
}

/* --- by request --- */

static enum status look_by_request(struct sweep_run *run, const struct upkeep_orphans *request,
                                   struct arena *arena, struct upkeep_found *out, struct err *err)
{
    struct care_table table;
    struct str name = request->name.name;
    bool found = false, allowed = false, empty = false;
    int64_t least = run->sweep->opts.orphan_ms;
    int64_t older = request->older_than_ms == 0 ? run->now - least : request->older_than_ms;
    if (older > run->now - least) {
        return err_set(err, E_INVALID,
                       "\"older_than\" must be at least %lld hours ago: what is younger may belong "
                       "to a commit that is on its way",
                       (long long)(least / (3600LL * 1000)));
    }
    TRY(run_read_tables(run, err));
    TRY(care_table(run->sweep->opts.catalog, &request->name, &run->arena, &found, &table, err));
    if (!found || !table.live || table.is_view) {
        return err_set(err, E_NOT_FOUND, "there is no table \"%.*s\"", STR_ARG(name));
    }
    if (table.location.len == 0) {
        return err_set(err, E_INVALID,
                       "the folder of table \"%.*s\" was not made by this lake: nobody knows what "
                       "else lies in it",
                       STR_ARG(name));
    }
    TRY(run_gc_allowed(run, &table, &allowed, err));
    if (!allowed) {
        return err_set(err, E_INVALID,
                       "table \"%.*s\": its property gc.enabled is false: nothing of it is deleted",
                       STR_ARG(name));
    }
    const struct folder folder = { .uuid = table.uuid,
                                   .location = table.location,
                                   .name = &table.name,
                                   .table = &table,
                                   .age_ms = run->now - older,
                                   .request = request,
                                   .report_arena = arena,
                                   .found = out };
    return look_at_folder(run, &folder, &empty, err);
}

/** Ages are told by the store's clock. A dry run writes nothing, so ours has to do. */
static enum status read_clock(struct sweep_run *run, bool dry_run, struct err *err)
{
    struct store_info info;
    run->now = clock_wall_ms(run->sweep->opts.clock);
    if (!dry_run) {
        TRY(store_put(run->sweep->opts.store, CLOCK_KEY, STR("{}"), NULL, &info, err));
        run->now = info.modified_ms;
    }
    return OK;
}

enum status sweep_find_orphans(const struct sweep_opts *opts, const struct upkeep_orphans *request,
                               struct arena *arena, struct upkeep_found *out, struct err *err)
{
    struct sweep *sweep = NULL;
    struct sweep_result result = { 0 };
    struct sweep_opts own = *opts;
    own.metrics = NULL;
    own.go_on = NULL;
    *out = (struct upkeep_found){ 0 };
    TRY(sweep_new(&own, &sweep, err));
    struct sweep_run run = { .sweep = sweep,
                             .result = &result,
                             .lease = { .renew_at = INT64_MAX } }; /* there is none */
    arena_init(&run.arena, REQUEST_BYTES_MAX);
    map_init(&run.by_uuid);
    enum status status = read_clock(&run, request->dry_run, err);
    status = status == OK ? look_by_request(&run, request, arena, out, err) : status;
    map_done(&run.by_uuid);
    arena_done(&run.arena);
    sweep_free(sweep);
    return status;
}
