/* Commits that take files away: what they leave, what they refuse, and side by side. */
#include "fixture.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "catalog/rewrite.h"

struct lake {
    struct store *store;
    struct catalog *catalog;
    struct arena arena;
};

static void lake_up(struct lake *lake)
{
    lake->store = fixture_mem();
    lake->catalog = fixture_catalog(lake->store);
    arena_init(&lake->arena, 0);
}

static void lake_down(struct lake *lake)
{
    catalog_close(lake->catalog);
    store_close(lake->store);
    arena_done(&lake->arena);
}

/** The table as it is: its pin, and its files. */
struct view {
    struct catalog_pin *pin;
    struct catalog_files files;
    struct arena arena;
};

static void view_up(struct view *view, struct catalog *catalog)
{
    const struct table_name name = fixture_name("t");
    arena_init(&view->arena, 0);
    assert_ok(catalog_pin(catalog, &name, false, NULL, &view->pin, ERR));
    assert_ok(catalog_files(catalog, view->pin, &view->arena, &view->files, ERR));
}

static void view_down(struct view *view)
{
    catalog_unpin(view->pin);
    arena_done(&view->arena);
}

static struct catalog_rewrite rewrite_of(const struct view *view)
{
    return (struct catalog_rewrite){
        .name = fixture_name("t"),
        .operation = "overwrite",
        .uuid = view->pin->table.uuid,
        .snapshot_id = view->pin->snapshot == NULL ? -1 : view->pin->snapshot->id,
        .schema_id = view->pin->metadata->current_schema_id,
        .deadline = deadline_in(60000),
    };
}

/** A file of that kind under a fresh name in the table's folder. */
static struct ice_data_file new_file(struct lake *lake, struct arena *arena, int64_t rows,
                                     enum ice_content content)
{
    static int number;
    const struct table_name name = fixture_name("t");
    struct catalog_place place;
    assert_ok(catalog_place(lake->catalog, &name, arena, &place, ERR));
    return (struct ice_data_file){
        .content = content,
        .path = arena_printf(arena, "%.*s/data/new-%d.parquet", STR_ARG(place.location_key),
                             __sync_add_and_fetch(&number, 1)),
        .format = STR("PARQUET"),
        .record_count = rows,
        .size_bytes = 100,
        .sort_order_id = -1,
        .partition_spec_id = 0,
        .status = ICE_ADDED,
        .snapshot_id = -1,
        .sequence_number = -1,
        .file_sequence_number = -1,
    };
}

static const char *summary_of(const struct view *view, const char *name)
{
    const char *text = yyjson_get_str(yyjson_obj_get(view->pin->snapshot->summary, name));
    return text == NULL ? "" : text;
}

/** Some readers take a manifest with empty key metadata for an encrypted one. */
static void assert_not_encrypted(struct store *store, const struct view *view)
{
    struct arena arena;
    struct ice_manifest_file *rows = NULL;
    size_t count = 0;
    struct buf bytes;
    buf_init(&bytes, 0);
    arena_init(&arena, 0);
    struct str uri = view->pin->snapshot->manifest_list;
    size_t at = str_find(uri, STR("/wh/"));
    assert_true(at != SIZE_MAX);
    struct store_object *object = NULL;
    assert_ok(store_open(store, str_skip(uri, at + 1), &object, ERR));
    size_t size = (size_t)store_object_info(object)->size, got = 0;
    char *into = buf_reserve(&bytes, size);
    assert_non_null(into);
    assert_ok(store_object_read(object, 0, into, size, &got, ERR));
    bytes.len += got;
    store_object_close(object);
    assert_ok(ice_manifest_list_read(&arena, buf_str(&bytes), &rows, &count, ERR));
    assert_int_equal(count, 5); /* three appends, one of them without its file; new data, deletes */
    for (size_t i = 0; i < count; i++) {
        assert_null(rows[i].key_metadata.ptr);
    }
    buf_done(&bytes);
    arena_done(&arena);
}

static void files_are_replaced_and_the_rest_is_carried(void **state)
{
    (void)state;
    struct lake lake;
    struct view before, after;
    int64_t id = 0;
    lake_up(&lake);
    for (int i = 0; i < 3; i++) {
        (void)fixture_append(lake.catalog, &(struct fixture_append){ .table = "t", .rows = 10 },
                             &lake.arena, &(struct catalog_appended){ 0 }, ERR);
    }
    view_up(&before, lake.catalog);
    struct catalog_rewrite rewrite = rewrite_of(&before);
    const struct str gone = before.files.files[1].file->path;
    const struct ice_data_file added[] = { new_file(&lake, &lake.arena, 7, ICE_DATA),
                                           new_file(&lake, &lake.arena, 2, ICE_POSITION_DELETES) };
    rewrite.removed = &gone;
    rewrite.removed_count = 1;
    rewrite.added = added;
    rewrite.added_count = 2;
    rewrite.marked = &before.files.files[0].file->path;
    rewrite.marked_count = 1;
    assert_ok(catalog_rewrite(lake.catalog, &rewrite, &id, ERR));
    view_up(&after, lake.catalog);
    assert_int_equal(after.pin->snapshot->id, id);
    assert_int_equal(after.pin->snapshot->parent_id, before.pin->snapshot->id);
    assert_int_equal(after.files.count, 3);
    assert_int_equal(after.files.delete_count, 1);
    for (size_t i = 0; i < after.files.count; i++) {
        assert_false(str_eq(after.files.files[i].file->path, gone));
    }
    assert_string_equal(summary_of(&after, "total-records"), "27");
    assert_string_equal(summary_of(&after, "total-data-files"), "3");
    assert_string_equal(summary_of(&after, "total-position-deletes"), "2");
    assert_string_equal(summary_of(&after, "deleted-records"), "10");
    assert_string_equal(summary_of(&after, "operation"), "overwrite");
    assert_not_encrypted(lake.store, &after);
    view_down(&before);
    view_down(&after);
    lake_down(&lake);
}

static void everything_goes(void **state)
{
    (void)state;
    struct lake lake;
    struct view before, after;
    int64_t id = 0;
    lake_up(&lake);
    (void)fixture_add(lake.catalog, "t", "a", &lake.arena);
    view_up(&before, lake.catalog);
    struct catalog_rewrite rewrite = rewrite_of(&before);
    rewrite.removes_all = true;
    rewrite.operation = "delete";
    (void)fixture_add(lake.catalog, "t", "b", &lake.arena); /* which goes too */
    assert_ok(catalog_rewrite(lake.catalog, &rewrite, &id, ERR));
    view_up(&after, lake.catalog);
    assert_int_equal(after.files.count, 0);
    assert_string_equal(summary_of(&after, "total-records"), "0");
    assert_string_equal(summary_of(&after, "deleted-data-files"), "2");
    view_down(&before);
    view_down(&after);
    lake_down(&lake);
}

/** Somebody may add a file twice. */
static void a_file_that_is_there_twice_goes_twice(void **state)
{
    (void)state;
    struct lake lake;
    struct view before, after;
    int64_t id = 0;
    lake_up(&lake);
    (void)fixture_add(lake.catalog, "t", "a", &lake.arena);
    view_up(&before, lake.catalog);
    struct catalog_rewrite rewrite = rewrite_of(&before);
    struct ice_data_file file = new_file(&lake, &lake.arena, 3, ICE_DATA);
    rewrite.added = &file;
    rewrite.added_count = 1;
    assert_ok(catalog_rewrite(lake.catalog, &rewrite, &id, ERR));
    assert_ok(catalog_rewrite(lake.catalog, &rewrite, &id, ERR));
    view_down(&before);
    view_up(&before, lake.catalog);
    assert_int_equal(before.files.count, 3);
    rewrite = rewrite_of(&before);
    size_t twice = str_eq(before.files.files[0].file->path, before.files.files[1].file->path) ? 0
                                                                                              : 1;
    rewrite.removed = &before.files.files[twice].file->path;
    rewrite.removed_count = 1;
    assert_ok(catalog_rewrite(lake.catalog, &rewrite, &id, ERR));
    view_up(&after, lake.catalog);
    assert_int_equal(after.files.count, 1);
    view_down(&before);
    view_down(&after);
    lake_down(&lake);
}

static void files_of_a_spec_that_is_gone_are_a_conflict(void **state)
{
    (void)state;
    struct lake lake;
    struct view view;
    int64_t id = 0;
    lake_up(&lake);
    (void)fixture_add(lake.catalog, "t", "a", &lake.arena);
    view_up(&view, lake.catalog);
    struct catalog_rewrite rewrite = rewrite_of(&view);
    struct ice_data_file file = new_file(&lake, &lake.arena, 3, ICE_DATA);
    file.partition_spec_id = 7;
    rewrite.added = &file;
    rewrite.added_count = 1;
    size_t objects = fixture_objects(lake.store, "wh/");
    assert_kind(catalog_rewrite(lake.catalog, &rewrite, &id, ERR), E_CONFLICT);
    assert_int_equal(fixture_objects(lake.store, "wh/"), objects);
    view_down(&view);
    lake_down(&lake);
}

/* --- conflicts --- */

enum meanwhile { APPEND, DELETE_IN_FIRST, DELETE_SOMEWHERE, REMOVE_FIRST, EVOLVE, REMAKE };

static void do_meanwhile(struct lake *lake, enum meanwhile what, const struct view *view)
{
    const struct table_name name = fixture_name("t");
    struct catalog_rewrite rewrite = rewrite_of(view);
    struct ice_data_file file = new_file(lake, &lake->arena, 1, ICE_POSITION_DELETES);
    int64_t id;
    switch (what) {
    case APPEND:
        (void)fixture_add(lake->catalog, "t", NULL, &lake->arena);
        return;
    case DELETE_IN_FIRST:
        file.referenced_data_file = view->files.files[0].file->path;
        rewrite.added = &file;
        rewrite.added_count = 1;
        break;
    case DELETE_SOMEWHERE:
        rewrite.added = &file;
        rewrite.added_count = 1;
        break;
    case REMOVE_FIRST:
        rewrite.removed = &view->files.files[0].file->path;
        rewrite.removed_count = 1;
        break;
    case EVOLVE: {
        struct ice_schema *evolved = fixture_schema(&lake->arena, "more");
        assert_ok(fixture_append(
            lake->catalog,
            &(struct fixture_append){ .table = "t", .schema = evolved, .evolved = evolved },
            &lake->arena, &(struct catalog_appended){ 0 }, ERR));
        return;
    }
    case REMAKE:
        assert_ok(catalog_drop(lake->catalog, &name, ERR));
        (void)fixture_add(lake->catalog, "t", NULL, &lake->arena);
        return;
    }
    assert_ok(catalog_rewrite(lake->catalog, &rewrite, &id, ERR));
}

struct conflict {
    enum meanwhile what;
    bool removes, marks; /* the first file */
    bool no_new_rows, no_new_deletes;
    enum status wanted;
};

static void try_conflict(const struct conflict *c)
{
    struct lake lake;
    struct view view;
    int64_t id;
    lake_up(&lake);
    (void)fixture_add(lake.catalog, "t", "a", &lake.arena);
    (void)fixture_add(lake.catalog, "t", "b", &lake.arena);
    view_up(&view, lake.catalog);
    struct catalog_rewrite rewrite = rewrite_of(&view);
    struct ice_data_file file = new_file(&lake, &lake.arena, 1,
                                         c->marks ? ICE_POSITION_DELETES : ICE_DATA);
    rewrite.added = &file;
    rewrite.added_count = 1;
    rewrite.removed = &view.files.files[0].file->path;
    rewrite.removed_count = c->removes ? 1 : 0;
    rewrite.marked = &view.files.files[0].file->path;
    rewrite.marked_count = c->marks ? 1 : 0;
    rewrite.no_new_rows = c->no_new_rows;
    rewrite.no_new_deletes = c->no_new_deletes;
    do_meanwhile(&lake, c->what, &view);
    int64_t rows = fixture_rows(lake.catalog, "t");
    size_t objects = fixture_objects(lake.store, "wh/");
    enum status status = catalog_rewrite(lake.catalog, &rewrite, &id, ERR);
    if (status != c->wanted) {
        fail_msg("meanwhile %d, removes %d, marks %d: %s (%s)", (int)c->what, c->removes, c->marks,
                 status_name(status), fixture_err.msg);
    }
    if (status != OK) { /* nothing is left of it */
        assert_int_equal(fixture_rows(lake.catalog, "t"), rows);
        assert_int_equal(fixture_objects(lake.store, "wh/"), objects);
    }
    view_down(&view);
    lake_down(&lake);
}

static void what_others_did_is_judged(void **state)
{
    (void)state;
    static const struct conflict all[] = {
        /* what               removes marks  rows   deletes wanted */
        { APPEND, true, false, false, false, OK },
        { APPEND, true, false, true, false, E_CONFLICT },
        { APPEND, false, true, false, true, OK },
        { APPEND, false, true, true, true, E_CONFLICT },
        { DELETE_IN_FIRST, true, false, false, false, E_CONFLICT },
        { DELETE_IN_FIRST, false, true, false, false, OK },
        { DELETE_IN_FIRST, false, true, false, true, E_CONFLICT },
        { DELETE_IN_FIRST, false, false, true, true, OK },
        { DELETE_SOMEWHERE, true, false, false, false, E_CONFLICT },
        { DELETE_SOMEWHERE, false, true, false, false, OK },
        { DELETE_SOMEWHERE, false, true, false, true, E_CONFLICT },
        { REMOVE_FIRST, true, false, false, false, E_CONFLICT },
        { REMOVE_FIRST, false, true, false, false, E_CONFLICT },
        { REMOVE_FIRST, false, false, true, true, OK },
        { EVOLVE, true, false, false, false, E_CONFLICT },
        { REMAKE, false, false, false, false, E_CONFLICT },
    };
    for (size_t i = 0; i < ARRAY_LEN(all); i++) {
        try_conflict(&all[i]);
    }
}

/* --- compaction --- */

static struct catalog_rewrite compaction_of(const struct view *view)
{
    struct catalog_rewrite rewrite = rewrite_of(view);
    rewrite.operation = "replace";
    rewrite.same_rows = true;
    return rewrite;
}

static struct ice_data_file new_delete_by_value(struct lake *lake)
{
    static int32_t id = 1;
    struct ice_data_file file = new_file(lake, &lake->arena, 1, ICE_EQUALITY_DELETES);
    file.equality_ids = &id;
    file.equality_count = 1;
    return file;
}

static void add_alone(struct lake *lake, const struct ice_data_file *file)
{
    struct view view;
    int64_t id;
    view_up(&view, lake->catalog);
    struct catalog_rewrite rewrite = rewrite_of(&view);
    rewrite.added = file;
    rewrite.added_count = 1;
    assert_ok(catalog_rewrite(lake->catalog, &rewrite, &id, ERR));
    view_down(&view);
}

static void compacted_files_share_manifests_and_keep_the_number_of_what_was_read(void **state)
{
    (void)state;
    enum { FILES = 40, LEFT = 10 };
    struct lake lake;
    struct view before, after;
    struct catalog_manifests manifests;
    struct str gone[FILES];
    int64_t id = 0, rows = 0;
    lake_up(&lake);
    for (int i = 0; i < FILES; i++) {
        (void)fixture_append(lake.catalog, &(struct fixture_append){ .table = "t", .rows = 10 },
                             &lake.arena, &(struct catalog_appended){ 0 }, ERR);
    }
    view_up(&before, lake.catalog);
    struct catalog_rewrite rewrite = compaction_of(&before);
    for (size_t i = 0; i < FILES - LEFT; i++) {
        gone[i] = before.files.files[i + LEFT / 2].file->path;
        rows += before.files.files[i + LEFT / 2].file->record_count;
    }
    const struct ice_data_file added = new_file(&lake, &lake.arena, rows, ICE_DATA);
    rewrite.removed = gone;
    rewrite.removed_count = FILES - LEFT;
    rewrite.added = &added;
    rewrite.added_count = 1;
    (void)fixture_add(lake.catalog, "t", NULL, &lake.arena); /* beside it */
    assert_ok(catalog_rewrite(lake.catalog, &rewrite, &id, ERR));
    view_up(&after, lake.catalog);
    assert_int_equal(after.files.count, LEFT + 2);
    assert_ok(catalog_manifests(lake.catalog, after.pin, &manifests, ERR));
    /* the new, those that stay, and one of what went */
    assert_int_equal(manifests.count, LEFT + 3);
    size_t numbered = 0;
    for (size_t i = 0; i < after.files.count; i++) {
        numbered += after.files.files[i].file->record_count == rows &&
                            after.files.files[i].file->sequence_number ==
                                before.pin->snapshot->sequence_number &&
                            after.files.files[i].file->file_sequence_number ==
                                after.pin->snapshot->sequence_number
                        ? 1
                        : 0;
    }
    assert_int_equal(numbered, 1);
    assert_string_equal(summary_of(&after, "operation"), "replace");
    assert_string_equal(summary_of(&after, "deleted-data-files"), "30");
    view_down(&before);
    view_down(&after);
    lake_down(&lake);
}

static void a_delete_by_value_beside_a_compaction_counts_for_its_files(void **state)
{
    (void)state;
    for (int same_rows = 0; same_rows < 2; same_rows++) {
        struct lake lake;
        struct view before, after;
        int64_t id = 0;
        lake_up(&lake);
        (void)fixture_add(lake.catalog, "t", "a", &lake.arena);
        view_up(&before, lake.catalog);
        const struct ice_data_file added = new_file(&lake, &lake.arena, 1, ICE_DATA);
        const struct ice_data_file deletes = new_delete_by_value(&lake);
        struct catalog_rewrite rewrite = compaction_of(&before);
        rewrite.same_rows = same_rows == 1;
        rewrite.removed = &before.files.files[0].file->path;
        rewrite.removed_count = 1;
        rewrite.added = &added;
        rewrite.added_count = 1;
        add_alone(&lake, &deletes);
        enum status status = catalog_rewrite(lake.catalog, &rewrite, &id, ERR);
        assert_int_equal(status, same_rows == 1 ? OK : E_CONFLICT);
        view_up(&after, lake.catalog);
        assert_int_equal(after.files.delete_count, 1);
        assert_true(after.files.files[0].file->sequence_number <
                    after.files.deletes[0].file->sequence_number);
        view_down(&before);
        view_down(&after);
        lake_down(&lake);
    }
}

static void delete_files_go_that_nothing_needs(void **state)
{
    (void)state;
    struct lake lake;
    struct view before, after;
    int64_t id = 0;
    lake_up(&lake);
    (void)fixture_add(lake.catalog, "t", "a", &lake.arena);
    const struct ice_data_file first = new_delete_by_value(&lake);
    const struct ice_data_file second = new_file(&lake, &lake.arena, 3, ICE_POSITION_DELETES);
    add_alone(&lake, &first);
    add_alone(&lake, &second);
    view_up(&before, lake.catalog);
    assert_int_equal(before.files.delete_count, 2);
    struct catalog_rewrite rewrite = compaction_of(&before);
    const struct str gone = before.files.deletes[0].file->path;
    bool positions = before.files.deletes[0].file->content == ICE_POSITION_DELETES;
    rewrite.removed_deletes = &gone;
    rewrite.removed_delete_count = 1;
    assert_ok(catalog_rewrite(lake.catalog, &rewrite, &id, ERR));
    view_up(&after, lake.catalog);
    assert_int_equal(after.files.count, 1);
    assert_int_equal(after.files.delete_count, 1);
    assert_string_equal(summary_of(&after, "total-position-deletes"), positions ? "0" : "3");
    assert_string_equal(summary_of(&after, "total-equality-deletes"), positions ? "1" : "0");
    assert_int_equal(catalog_rewrite(lake.catalog, &rewrite, &id, ERR), E_CONFLICT);
    view_down(&before);
    view_down(&after);
    lake_down(&lake);
}

/* --- side by side --- */

struct worker {
    pthread_t thread;
    struct lake *lake;
    int done, conflicts;
};

/** Replaces a file by one of a row more, again and again: what it has read must be what goes. */
static void *grow(void *arg)
{
    struct worker *worker = arg;
    while (worker->done < 10) {
        struct view view;
        int64_t id;
        view_up(&view, worker->lake->catalog);
        struct catalog_rewrite rewrite = rewrite_of(&view);
        struct ice_data_file file = new_file(worker->lake, &view.arena,
                                             view.files.files[0].file->record_count + 1, ICE_DATA);
        rewrite.added = &file;
        rewrite.added_count = 1;
        rewrite.removed = &view.files.files[0].file->path;
        rewrite.removed_count = 1;
        enum status status = catalog_rewrite(worker->lake->catalog, &rewrite, &id, ERR);
        if (status == OK) {
            worker->done++;
        } else {
            assert_int_equal(status, E_CONFLICT);
            worker->conflicts++;
        }
        view_down(&view);
    }
    return NULL;
}

static void *append_some(void *arg)
{
    struct worker *worker = arg;
    struct arena arena;
    arena_init(&arena, 0);
    for (; worker->done < 20; worker->done++) {
        (void)fixture_add(worker->lake->catalog, "t", NULL, &arena);
    }
    arena_done(&arena);
    return NULL;
}

static void rewrites_and_appends_side_by_side_lose_nothing(void **state)
{
    (void)state;
    enum { WORKERS = 4 };
    struct lake lake;
    struct worker workers[WORKERS] = { 0 };
    lake_up(&lake);
    (void)fixture_add(lake.catalog, "t", "a", &lake.arena);
    for (int i = 0; i < WORKERS; i++) {
        workers[i].lake = &lake;
        assert_int_equal(
            pthread_create(&workers[i].thread, NULL, i == 0 ? append_some : grow, &workers[i]), 0);
    }
    for (int i = 0; i < WORKERS; i++) {
        pthread_join(workers[i].thread, NULL);
    }
    assert_int_equal(fixture_rows(lake.catalog, "t"), 1 + 20 + (WORKERS - 1) * 10);
    lake_down(&lake);
}

/** A batch of a rewrite lands once, is found, and counts as long as its rows stand. */
static void a_batch_lands_once_with_its_rewrite(void **state)
{
    (void)state;
    struct lake lake;
    struct view view;
    int64_t id = 0, first = 0;
    bool found = false;
    struct catalog_appended landed;
    const struct table_name name = fixture_name("t");
    lake_up(&lake);
    (void)fixture_add(lake.catalog, "t", "a", &lake.arena);
    view_up(&view, lake.catalog);
    struct catalog_rewrite rewrite = rewrite_of(&view);
    struct ice_data_file file = new_file(&lake, &lake.arena, 5, ICE_DATA);
    rewrite.added = &file;
    rewrite.added_count = 1;
    rewrite.removed = &view.files.files[0].file->path;
    rewrite.removed_count = 1;
    rewrite.batch_id = STR("b");
    rewrite.batch_rows = 4;
    assert_ok(catalog_rewrite(lake.catalog, &rewrite, &first, ERR));
    /* its file is gone */
    assert_kind(catalog_rewrite(lake.catalog, &rewrite, &id, ERR), E_CONFLICT);
    view_down(&view);

    struct catalog *second = fixture_catalog(lake.store); /* which knows of no marker */
    view_up(&view, second);
    rewrite = rewrite_of(&view);
    file = new_file(&lake, &lake.arena, 6, ICE_DATA);
    rewrite.added = &file;
    rewrite.added_count = 1;
    rewrite.batch_id = STR("b");
    assert_kind(catalog_rewrite(second, &rewrite, &id, ERR), E_EXISTS);
    assert_ok(catalog_batch(second, &name, STR("b"), &lake.arena, &found, &landed, ERR));
    assert_true(found);
    assert_int_equal(landed.snapshot_id, first);
    assert_int_equal(landed.row_count, 4);
    /* every file of it went, and its row was written anew */
    assert_ok(catalog_batch(second, &name, STR("a"), &lake.arena, &found, &landed, ERR));
    assert_true(found);
    assert_int_equal(fixture_rows(second, "t"), 5);

    rewrite.removes_all = true;
    rewrite.batch_id = STR("c");
    assert_ok(catalog_rewrite(second, &rewrite, &id, ERR));
    const char *const known[] = { "a", "b", "c" };
    for (size_t i = 0; i < ARRAY_LEN(known); i++) {
        assert_ok(
            catalog_batch(second, &name, str_of(known[i]), &lake.arena, &found, &landed, ERR));
        assert_int_equal(found, i == 2);
    }
    assert_int_equal(fixture_rows(second, "t"), 6);
    view_down(&view);
    catalog_close(second);
    lake_down(&lake);
}

static void an_append_may_ask_for_a_new_table(void **state)
{
    (void)state;
    struct lake lake;
    struct catalog_place place;
    struct catalog_appended out;
    const struct table_name name = fixture_name("t");
    lake_up(&lake);
    assert_ok(catalog_place(lake.catalog, &name, &lake.arena, &place, ERR));
    struct ice_data_file file = {
        .path = arena_printf(&lake.arena, "%.*s/data/x.parquet", STR_ARG(place.location_key)),
        .format = STR("PARQUET"),
        .record_count = 1,
        .sort_order_id = -1,
    };
    const struct catalog_append append = { .name = name,
                                           .schema = fixture_schema(&lake.arena, NULL),
                                           .files = &file,
                                           .file_count = 1,
                                           .create = true,
                                           .only_new = true,
                                           .place = &place };
    (void)fixture_add(lake.catalog, "t", "a", &lake.arena); /* somebody is faster */
    assert_kind(catalog_append(lake.catalog, &append, &lake.arena, &out, ERR), E_CONFLICT);
    assert_int_equal(fixture_rows(lake.catalog, "t"), 1);
    lake_down(&lake);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(files_are_replaced_and_the_rest_is_carried),
        cmocka_unit_test(a_file_that_is_there_twice_goes_twice),
        cmocka_unit_test(files_of_a_spec_that_is_gone_are_a_conflict),
        cmocka_unit_test(everything_goes),
        cmocka_unit_test(what_others_did_is_judged),
        cmocka_unit_test(compacted_files_share_manifests_and_keep_the_number_of_what_was_read),
        cmocka_unit_test(a_delete_by_value_beside_a_compaction_counts_for_its_files),
        cmocka_unit_test(delete_files_go_that_nothing_needs),
        cmocka_unit_test(rewrites_and_appends_side_by_side_lose_nothing),
        cmocka_unit_test(a_batch_lands_once_with_its_rewrite),
        cmocka_unit_test(an_append_may_ask_for_a_new_table),
    };
    return cmocka_run_group_tests_name("rewrite", tests, NULL, NULL);
}
