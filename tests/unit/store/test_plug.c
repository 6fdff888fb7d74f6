/*
 * The plug is pulled: after each step of the file driver, each disk that a power cut may leave
 * (disk.h has the rules) is opened again, and everything that was acknowledged has to be there and
 * nothing half. Each fsync of the driver is then left out in turn, which has to be noticed.
 */
#include "contract.h"
#include "disk.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/digest.h"
#include "base/io.h"
#include "store/secret.h"
#include "test_plug.h"

enum { PROMISES_MAX = 256, DISKS_MAX = 8192, POSITIONS_MAX = 64 };

static char base[80], lake[96], copy[96];

/* --- what was said to whom --- */

static struct promise promises[PROMISES_MAX];
static size_t promise_count;
static char cluster[64]; /* id of the lake, once somebody has seen it */
static size_t cluster_position;

static void promise_add(const char *key, const char *value, bool settled)
{
    assert_true(promise_count < PROMISES_MAX);
    promises[promise_count++] = (struct promise){ disk_position(), key, value, settled };
}

static struct allowed allowed_at(const char *key, size_t position)
{
    struct allowed allowed = { .values = { NULL }, .count = 1 };
    for (size_t i = 0; i < promise_count && promises[i].position <= position; i++) {
        if (strcmp(promises[i].key, key) == 0) {
            allowed.count = promises[i].settled ? 0 : allowed.count;
            assert_true(allowed.count < VALUES_MAX);
            allowed.values[allowed.count++] = promises[i].value;
        }
    }
    return allowed;
}

static bool first_of_key(size_t i)
{
    for (size_t k = 0; k < i; k++) {
        if (strcmp(promises[k].key, promises[i].key) == 0) {
            return false;
        }
    }
    return true;
}

/* --- is it there --- */

/** Keys below "t/" are written with an attribute that tells the value. */
static bool attrs_right(struct store *store, const char *key, const char *value)
{
    struct err err = { 0 };
    struct arena arena;
    struct store_info info;
    struct store_attrs attrs = { NULL, 0 };
    arena_init(&arena, 0);
    bool right = store_stat_attrs(store, str_of(key), &arena, &info, &attrs, &err) == OK &&
                 attrs.count > 0 && str_eq(attrs.items[0].value, str_of(value));
    arena_done(&arena);
    return right;
}

static bool value_right(struct store *store, const char *key, const struct allowed *allowed,
                        size_t *there)
{
    struct err err = { 0 };
    struct store_info info;
    AUTO(buf_done) struct buf got;
    buf_init(&got, 0);
    enum status status = store_read(store, str_of(key), NULL, &got, &info, &err);
    if (status != OK && status != E_NOT_FOUND) {
        return VIOLATED("\"%s\" cannot be read: %s", key, err.msg);
    }
    bool right = false;
    for (size_t i = 0; i < allowed->count; i++) {
        const char *value = allowed->values[i];
        right = right || (value == NULL
                              ? status == E_NOT_FOUND
                              : status == OK && str_eq(buf_str(&got), str_of(value)) &&
                                    (strncmp(key, "t/", 2) != 0 || attrs_right(store, key, value)));
    }
    *there += status == OK;
    if (!right) {
        return VIOLATED("\"%s\" is %s%.*s", key, status == OK ? "" : "missing",
                        (int)(got.len < 40 ? got.len : 40), got.ptr == NULL ? "" : got.ptr);
    }
    char etag[MD5_HEX + 1];
    md5_hex(buf_str(&got), etag);
    if (status == OK && strchr(info.etag, '-') != NULL) {
        return true; /* of parts; that of each was looked at */
    }
    return status != OK || (!info.etag_weak && strcmp(info.etag, etag) == 0) ||
           VIOLATED("\"%s\" has lost its checksums", key);
}

static bool list_right(struct store *store, size_t there)
{
    struct arena arena;
    struct store_list list;
    struct err err = { 0 };
    arena_init(&arena, 0);
    bool right = store_list(store, NULL, &arena, &list, &err) == OK || VIOLATED("%s", err.msg);
    size_t count = 0;
    for (size_t i = 0; right && i < list.object_count; i++) {
        count += !str_eq(list.objects[i].key, STR("_lake/format.json"));
    }
    right = right &&
            (count == there || VIOLATED("%zu objects are listed, %zu can be read", count, there));
    arena_done(&arena);
    return right;
}

static bool cluster_right(struct store *store, size_t position)
{
    struct err err = { 0 };
    AUTO(buf_done) struct buf got;
    buf_init(&got, 0);
    return store_read(store, STR("_lake/format.json"), NULL, &got, NULL, &err) == OK &&
           (cluster[0] == '\0' || position < cluster_position ||
            str_find(buf_str(&got), str_of(cluster)) != SIZE_MAX ||
            VIOLATED("the lake has another id"));
}

/** Of an open store: all that was promised until `position`. */
static bool lake_right(struct store *store, size_t position)
{
    size_t there = 0;
    for (size_t i = 0; i < promise_count; i++) {
        struct allowed allowed = allowed_at(promises[i].key, position);
        if (first_of_key(i) && !value_right(store, promises[i].key, &allowed, &there)) {
            return false;
        }
    }
    return list_right(store, there) && cluster_right(store, position) &&
           uploads_right(store, position);
}

static void places_see(void);

/* One disk may be what several cuts leave; what was promised may differ among them. */
struct disk {
    uint64_t hash;
    struct disk_cut cut;
    size_t positions[POSITIONS_MAX], versions[POSITIONS_MAX];
    size_t position_count;
};
static struct disk disks[DISKS_MAX];
static size_t disk_count;

static bool disk_right(const struct disk *disk)
{
    struct err err = { 0 };
    struct store *store = NULL;
    char path[128];
    snprintf(path, sizeof path, "%s/deep/lake", copy);
    if (store_fs_open(&(struct store_fs_opts){ .dir = path, .calls = &disk_calls }, &store, &err) !=
        OK) {
        return VIOLATED("the lake does not open: %s", err.msg);
    }
    bool right = true;
    for (size_t i = 0; right && i < disk->position_count; i++) {
        right = lake_right(store, disk->positions[i]);
    }
    const char *last = promises[promise_count - 1].key;
    right = right && uploads_whole(store);
    right = right && (store_put(store, str_of(last), STR("next"), NULL, NULL, &err) == OK ||
                      VIOLATED("\"%s\" cannot be written: %s", last, err.msg));
    store_close(store);
    return right;
}

/** How many promises were made until then. */
static size_t version_at(size_t position)
{
    size_t version = (cluster[0] != '\0' && position >= cluster_position) +
                     uploads_version(position);
    for (size_t i = 0; i < promise_count; i++) {
        version += promises[i].position <= position;
    }
    return version;
}

static void disk_collect(const struct disk_cut *cut, uint64_t hash)
{
    size_t version = version_at(cut->position), i = 0;
    while (i < disk_count && disks[i].hash != hash) {
        i++;
    }
    struct disk *disk = &disks[i];
    if (i == disk_count) {
        assert_true(disk_count < DISKS_MAX);
        *disk = (struct disk){ .hash = hash, .cut = *cut };
        disk_count++;
    }
    size_t last = disk->position_count;
    if (last == 0 || disk->versions[last - 1] != version) {
        assert_true(last < POSITIONS_MAX);
        disk->positions[last] = cut->position;
        disk->versions[last] = version;
        disk->position_count++;
    }
}

/** All disks of all cuts from `from` on; false at the first that is wrong. */
static bool all_disks_right(size_t from, bool (*right)(const struct disk *disk))
{
    struct err err = { 0 };
    uint64_t hash = 0;
    bool fine = true;
    disk_pause(true);
    disk_count = 0;
    for (size_t position = from; position <= disk_position(); position++) {
        struct disk_cut cut = { .position = position };
        for (; disk_cut_make(&cut, NULL, &hash); cut.variant++) {
            disk_collect(&cut, hash);
        }
    }
    for (size_t i = 0; i < disk_count && fine; i++) {
        assert_int_equal(mkdir(copy, 0755), 0);
        (void)disk_cut_make(&disks[i].cut, copy, &hash);
        fine = right(&disks[i]);
        if (!fine) {
            print_message("cut at %zu of %zu, disk %u: %s\n", disks[i].cut.position,
                          disk_position(), disks[i].cut.variant, violation);
        }
        MUST(io_remove_tree(copy, &err));
    }
    disk_pause(false);
    places_see();
    return fine;
}

/* --- what is done --- */

static struct store *store_up(void)
{
    struct err err = { 0 };
    struct store *store = NULL;
    AUTO(buf_done) struct buf got;
    buf_init(&got, 0);
    MUST(store_fs_open(
        &(struct store_fs_opts){ .dir = lake, .calls = &disk_calls, .hook = disk_hook() }, &store,
        &err));
    if (cluster[0] == '\0') {
        MUST(store_read(store, STR("_lake/format.json"), NULL, &got, NULL, &err));
        struct str id = str_skip(buf_str(&got), str_find(buf_str(&got), STR("cluster_id")));
        snprintf(cluster, sizeof cluster, "%.*s", 49, id.ptr);
        cluster_position = disk_position();
    }
    return store;
}

static void put(struct store *store, const char *key, const char *value)
{
    promise_add(key, value, false);
    put_text(store, key, value);
    promise_add(key, value, true);
}

/** With attributes that fit into an xattr or do not. */
static void put_attrs(struct store *store, const char *key, const char *value, size_t pad_len)
{
    struct err err = { 0 };
    struct store_writer *writer = NULL;
    char pad[5000];
    memset(pad, 'p', sizeof pad);
    const struct store_attr attrs[] = { { STR("is"), str_of(value) },
                                        { STR("pad"), str_from(pad, pad_len) } };
    promise_add(key, value, false);
    MUST(store_writer_open(store, str_of(key), NULL, &writer, &err));
    MUST(store_writer_write(writer, str_of(value), &err));
    MUST(store_writer_attrs(writer, &(struct store_attrs){ attrs, 2 }, &err));
    MUST(store_writer_commit(writer, NULL, &err));
    promise_add(key, value, true);
}

static void delete (struct store *store, const char *key)
{
    struct err err = { 0 };
    promise_add(key, NULL, false);
    MUST(store_delete(store, str_of(key), &err));
    promise_add(key, NULL, true);
}

/** What else can be done to an object with attributes. */
static void a_life_with_attributes(void)
{
    struct err err = { 0 };
    struct store *store = store_up();
    put_attrs(store, "t/a", "small", 10);
    put_attrs(store, "t/a", "long", 5000);
    put_attrs(store, "t/odd/", "odd", 5000);
    put_attrs(store, "t/a", "small again", 0);
    promise_add("t/copy", "odd", false);
    MUST(store_copy(store, STR("t/odd/"), STR("t/copy"), NULL, &err));
    promise_add("t/copy", "odd", true);
    promise_add("t/copy", "small again", false);
    MUST(store_copy_with(store, STR("t/a"), STR("t/copy"), &(struct store_copy_opts){ 0 }, NULL,
                         &err));
    promise_add("t/copy", "small again", true);
    const struct store_attr is = { STR("is"), STR("odd") };
    MUST(store_set_attrs(store, STR("t/odd/"), &(struct store_attrs){ &is, 1 }, STR_EMPTY, NULL,
                         &err));
    delete (store, "t/odd/");
    store_close(store);
}

/** Everything that a store can be asked to change. */
static void an_ordinary_life(void)
{
    struct err err = { 0 };
    struct store *store = store_up();
    put(store, "a", "one");
    put(store, "a", "two");
    put(store, "d/e/f", "deep");
    put(store, "d/e/g", "beside");
    put(store, "_lake/cat/w/t.json", "pointer");
    struct store_info info;
    MUST(store_stat(store, STR("_lake/cat/w/t.json"), &info, &err));
    promise_add("_lake/cat/w/t.json", "swapped", false);
    MUST(store_put(store, STR("_lake/cat/w/t.json"), STR("swapped"),
                   &(struct store_cond){ .if_match = str_of(info.etag) }, NULL, &err));
    promise_add("_lake/cat/w/t.json", "swapped", true);
    assert_int_equal(store_put(store, STR("a"), STR("no"),
                               &(struct store_cond){ .if_absent = true }, NULL, &err),
                     E_PRECONDITION);
    put(store, "a/below", "odd one"); /* a is a file */
    put(store, "a/below", "odd two");
    put(store, "trailing/", "");
    delete (store, "d/e/f");
    delete (store, "d/e/g"); /* with its folders */
    put(store, "d/e/f", "deep again");
    promise_add("c/copied", "two", false);
    MUST(store_copy(store, STR("a"), STR("c/copied"), NULL, &err));
    promise_add("c/copied", "two", true);
    promise_add("c/odd/", "odd two", false);
    MUST(store_copy(store, STR("a/below"), STR("c/odd/"), NULL, &err));
    promise_add("c/odd/", "odd two", true);
    delete (store, "a/below");
    delete (store, "a");
    for (int adopt = 0; adopt < 2; adopt++) {
        AUTO(fd_done) int fd = -1;
        const char *key = adopt ? "spool/adopted" : "spool/copied";
        promise_add(key, "spooled", false);
        MUST(store_spool(store, &fd, &err));
        MUST(io_calls_pwrite_full(&disk_calls, fd, "spooled", 7, 0, &err));
        MUST(store_put_fd(store, str_of(key), fd, adopt, NULL, NULL, &err));
        promise_add(key, "spooled", true);
    }
    struct store_writer *writer = NULL;
    MUST(store_writer_open(store, STR("w"), NULL, &writer, &err));
    MUST(store_writer_write(writer, STR("not committed"), &err));
    store_writer_abort(writer);
    store_close(store);
    store = store_up();
    put(store, "a", "three");
    store_close(store);
}

/** A lake that was copied without its empty folders. */
static void own_folders_that_were_lost(void)
{
    const char *names[] = { "tmp", "odd", "sums", "locks", "uploads" };
    char path[160];
    struct store *store = store_up();
    put(store, "plain", "1");
    store_close(store);
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        snprintf(path, sizeof path, "%s/_lake/%s/", lake, names[i]);
        if (strcmp(names[i], "sums") == 0) {
            continue; /* what is in it is in use where xattrs are lacking */
        }
        disk_pause(true);
        char command[200];
        snprintf(command, sizeof command, "rm -f %s*", path);
        assert_int_equal(system(command), 0);
        disk_pause(false);
        assert_int_equal(disk_calls.unlinkat(AT_FDCWD, path, AT_REMOVEDIR), 0);
    }
    assert_int_equal(disk_calls.syncfs(0), 0);
    store = store_up();
    put(store, "odd/", "2");
    store_close(store);
}

static void plug_begin(const char *forget, int lacking)
{
    struct err err = { 0 };
    if (access(base, F_OK) == 0) {
        MUST(io_remove_tree(base, &err));
    }
    assert_int_equal(mkdir(base, 0755), 0);
    promise_count = 0;
    uploads_forget();
    cluster[0] = '\0';
    disk_start(base);
    disk_lacks((lacking & 1) != 0, (lacking & 2) != 0);
    disk_forget_sync(forget);
}

static bool survives(void (*life)(void), const char *forget, int lacking)
{
    plug_begin(forget, lacking);
    life();
    return all_disks_right(0, disk_right);
}

/* --- processes that were killed --- */

/** What the next process has seen or said must last, although it did nothing for it. */
enum last_words { OF_A_PUT, OF_A_CREATE, OF_A_DELETE };

static void see(struct store *store, const char *key, enum last_words words)
{
    struct err err = { 0 };
    AUTO(buf_done) struct buf got;
    buf_init(&got, 0);
    enum status status;
    switch (words) {
    case OF_A_PUT: /* a pointer that is read is durable */
        MUST(store_read(store, str_of(key), NULL, &got, NULL, &err));
        promise_add(key, str_eq(buf_str(&got), STR("new")) ? "new" : "old", true);
        return;
    case OF_A_CREATE: /* somebody else's object in the way is durable */
        status = store_put(store, str_of(key), STR("mine"),
                           &(struct store_cond){ .if_absent = true }, NULL, &err);
        assert_true(status == OK || status == E_PRECONDITION);
        promise_add(key, status == OK ? "mine" : "new", true);
        return;
    case OF_A_DELETE: /* and so is its absence */
        MUST(store_delete(store, str_of(key), &err));
        promise_add(key, NULL, true);
        return;
    default:
        fail();
    }
}

static void die(enum last_words words, const char *key, long after)
{
    struct err err = { 0 };
    struct store *store = store_up();
    if (words != OF_A_CREATE) {
        put(store, key, "old");
    }
    promise_add(key, words == OF_A_DELETE ? NULL : "new", false);
    disk_kill(after);
    if (words == OF_A_DELETE) {
        (void)!store_delete(store, str_of(key), &err);
    } else {
        (void)!store_put(store, str_of(key), STR("new"), NULL, NULL, &err);
    }
    store_close(store);
}

/** Killed at each step, then a second process looks, then the plug is pulled. */
static bool survives_kills(enum last_words words, const char *key, const char *forget, int lacking)
{
    for (long after = 0;; after++) {
        plug_begin(forget, lacking);
        die(words, key, after);
        bool killed = disk_killed();
        disk_kill(-1);
        struct store *store = store_up();
        see(store, key, words);
        store_close(store);
        if (!all_disks_right(disk_position(), disk_right)) {
            return false;
        }
        if (!killed) {
            assert_true(after > 3);
            return true;
        }
    }
}

static bool all_survive_kills(const char *forget, int lacking)
{
    return survives_kills(OF_A_PUT, "_lake/cat/p", forget, lacking) &&
           survives_kills(OF_A_CREATE, "x/y", forget, lacking) &&
           survives_kills(OF_A_DELETE, "x/y", forget, lacking);
}

/* --- the secret --- */

static char secret[STORE_SECRET_MAX + 1];

static bool secret_right(const struct disk *disk)
{
    struct err err = { 0 };
    char path[128], got[STORE_SECRET_MAX + 1];
    snprintf(path, sizeof path, "%s/_lake/secret", copy);
    (void)!chmod(path, 0600); /* modes are not looked at */
    if (store_secret_load_by(&disk_calls, copy, got, &err) != OK) {
        return VIOLATED("%s", err.msg);
    }
    bool right = true;
    for (size_t i = 0; i < disk->position_count; i++) {
        bool known = version_at(disk->positions[i]) > 0;
        right = right && (!known || strcmp(got, secret) == 0 || VIOLATED("another secret"));
    }
    return right;
}

static bool secret_survives(const char *forget)
{
    struct err err = { 0 };
    plug_begin(forget, 0);
    MUST(store_secret_load_by(&disk_calls, base, secret, &err));
    promise_add("secret", secret, true);
    return all_disks_right(0, secret_right);
}

/* --- the tests --- */

/** Each place of the driver that syncs, and the life that needs it. */
static const struct place {
    const char *name;
    void (*life)(void); /* NULL: the killed processes', or the secret's */
    bool kills;
    int lacking;
} places[] = {
    { "fsync", an_ordinary_life, false, 0 },
    { "fsync_key", an_ordinary_life, false, 0 },
    { "fsync_side", an_ordinary_life, false, 1 },
    { "fsync_sums", an_ordinary_life, false, 1 },
    { "fsync_side", a_life_with_attributes, false, 0 },
    { "fsync_sums", a_life_with_attributes, false, 0 },
    { "fsync_dir", an_ordinary_life, false, 0 },
    { "fsync_begin", a_life_with_uploads, false, 0 },
    { "fsync_upload", a_life_with_uploads, false, 0 },
    { "fsync_uploads", a_life_with_uploads, false, 0 },
    { "fsync_part", a_life_with_uploads, false, 0 },
    { "fsync_spill", a_life_with_uploads, false, 0 },
    { "fsync_journal", a_life_with_uploads, false, 0 },
    { "fsync_object", a_life_with_uploads, false, 0 },
    { "fsync_end", a_life_with_uploads, false, 0 },
    { "fsync_own", own_folders_that_were_lost, false, 0 },
    { "fsync_parent", an_ordinary_life, false, 0 },
    { "fsync_unlink", an_ordinary_life, false, 0 },
    { "fsync_copy", an_ordinary_life, false, 0 },
    { "syncfs", NULL, true, 0 },
    { "folders", an_ordinary_life, false, 0 },
    { "secret", NULL, false, 0 },
    { "secret_folder", NULL, false, 0 },
};
static bool seen_places[ARRAY_LEN(places)];

static void places_see(void)
{
    const char *const *found = disk_sync_places();
    for (size_t i = 0; found[i] != NULL; i++) {
        bool listed = false;
        for (size_t k = 0; k < ARRAY_LEN(places); k++) {
            if (strcmp(places[k].name, found[i]) == 0) {
                listed = seen_places[k] = true;
            }
        }
        if (!listed) {
            fail_msg("an fsync that is in no list: \"%s\"", found[i]);
        }
    }
}

static void whatever_was_acknowledged_survives_the_plug(void **state)
{
    for (int lacking = 0; lacking < 4; lacking += 3) {
        assert_true(survives(an_ordinary_life, NULL, lacking));
        assert_true(survives(a_life_with_attributes, NULL, lacking));
        assert_true(survives(a_life_with_uploads, NULL, lacking));
        assert_true(survives(own_folders_that_were_lost, NULL, lacking));
    }
    assert_true(secret_survives(NULL));
}

static void what_a_killed_process_left_is_durable_before_it_is_believed(void **state)
{
    for (int lacking = 0; lacking < 4; lacking += 3) {
        assert_true(all_survive_kills(NULL, lacking));
    }
}

static void each_fsync_is_needed(void **state)
{
    for (size_t i = 0; i < ARRAY_LEN(places); i++) {
        const struct place *place = &places[i];
        bool survived = place->life != NULL ? survives(place->life, place->name, place->lacking)
                        : place->kills      ? all_survive_kills(place->name, place->lacking)
                                            : secret_survives(place->name);
        if (survived) {
            fail_msg("nobody needs \"%s\"", place->name);
        }
    }
}

static void each_place_was_seen(void **state)
{
    for (size_t i = 0; i < ARRAY_LEN(places); i++) {
        if (!seen_places[i]) {
            fail_msg("nothing syncs in \"%s\"", places[i].name);
        }
    }
}

static int setup(void **state)
{
    /* In memory if possible: nothing is synced, and a thousand small disks are built and
     * removed. */
    char parent[64];
    snprintf(parent, sizeof parent, "%s/store-plug-XXXXXX",
             access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
    if (mkdtemp(parent) == NULL) {
        return -1;
    }
    snprintf(base, sizeof base, "%s/base", parent);
    snprintf(lake, sizeof lake, "%s/deep/lake", base);
    snprintf(copy, sizeof copy, "%s/copy", parent);
    return 0;
}

static int teardown(void **state)
{
    disk_done();
    *strrchr(base, '/') = '\0';
    return io_remove_tree(base, NULL) == OK ? 0 : -1;
}

int main(void)
{
    static const struct plug_calls calls = { plug_begin, store_up, promise_add, lake_right };
    plug = &calls;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(whatever_was_acknowledged_survives_the_plug),
        cmocka_unit_test(what_a_killed_process_left_is_durable_before_it_is_believed),
        cmocka_unit_test(an_upload_survives_a_kill_at_each_step),
        cmocka_unit_test(an_upload_survives_each_failing_call),
        cmocka_unit_test(each_place_was_seen),
        cmocka_unit_test(each_fsync_is_needed),
    };
    return cmocka_run_group_tests_name("store plug", tests, setup, teardown);
}
