/* What was promised about uploads in parts, for the test that pulls the plug (test_plug.c). */
#include "test_plug.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/digest.h"
#include "store/upload.h"

const struct plug_calls *plug;
char violation[2048];

enum { UPLOADS_MAX = 8, SAID_MAX = 128, PARTS = 4 };

/* The objects that are made; each value is of one upload only. */
struct up {
    const char *key;
    const char *object;   /* what a complete makes of it, NULL before that is asked */
    size_t completing_at; /* position */
    char id[STORE_UPLOAD_ID_MAX + 1];
};

/* As struct promise: `number` 0 is the upload itself, with the value "open" or NULL. */
struct said {
    size_t position;
    int up;
    unsigned number;
    const char *value;
    bool settled;
};

static struct up ups[UPLOADS_MAX];
static int up_count;
static struct said saids[SAID_MAX];
static size_t said_count;

static void say(int up, unsigned number, const char *value, bool settled)
{
    assert_true(said_count < SAID_MAX);
    saids[said_count++] = (struct said){ disk_position(), up, number, value, settled };
}

void uploads_forget(void)
{
    up_count = 0;
    said_count = 0;
}

size_t uploads_version(size_t position)
{
    size_t version = 0;
    for (size_t i = 0; i < said_count; i++) {
        version += saids[i].position <= position;
    }
    return version;
}

static struct allowed allowed_now(int up, unsigned number, size_t position)
{
    struct allowed allowed = { .values = { NULL }, .count = 1 };
    for (size_t i = 0; i < said_count && saids[i].position <= position; i++) {
        if (saids[i].up == up && saids[i].number == number) {
            allowed.count = saids[i].settled ? 0 : allowed.count;
            assert_true(allowed.count < VALUES_MAX);
            allowed.values[allowed.count++] = saids[i].value;
        }
    }
    return allowed;
}

/* --- is it right --- */

static bool part_allowed(const struct allowed *allowed, const char *etag)
{
    for (size_t i = 0; i < allowed->count; i++) {
        char md5[MD5_HEX + 1] = "";
        if (allowed->values[i] != NULL) {
            md5_hex(str_of(allowed->values[i]), md5);
        }
        if (strcmp(md5, etag) == 0) {
            return true;
        }
    }
    return false;
}

static bool object_is(struct store *store, const char *key, const char *value)
{
    AUTO(buf_done) struct buf got;
    buf_init(&got, 0);
    return value != NULL && store_read(store, str_of(key), NULL, &got, NULL, NULL) == OK &&
           str_eq(buf_str(&got), str_of(value));
}

/** Another upload of the key may have replaced its object by then. */
static bool followed(int up, size_t position)
{
    bool later = false;
    for (int i = up + 1; i < up_count; i++) {
        later = later || (strcmp(ups[i].key, ups[up].key) == 0 && ups[i].object != NULL &&
                          ups[i].completing_at <= position);
    }
    return later;
}

static bool parts_right(const struct store_parts *parts, int up, size_t position)
{
    for (unsigned number = 1; number <= PARTS; number++) {
        struct allowed allowed = allowed_now(up, number, position);
        const char *etag = "";
        for (size_t i = 0; i < parts->count; i++) {
            etag = parts->items[i].number == number ? parts->items[i].etag : etag;
        }
        if (!part_allowed(&allowed, etag)) {
            return VIOLATED("part %u of upload %d has the ETag \"%s\"", number, up, etag);
        }
    }
    return true;
}

static bool up_right(struct store *store, int up, size_t position, struct arena *arena)
{
    const struct up *own = &ups[up];
    struct allowed allowed = allowed_now(up, 0, position);
    struct store_parts parts;
    struct err err = { 0 };
    enum status status = store_upload_parts(store, str_of(own->key), str_of(own->id), 0, 0, arena,
                                            &parts, &err);
    if (status != OK && status != E_NOT_FOUND) {
        return VIOLATED("upload %d: %s", up, err.msg);
    }
    bool right = false;
    for (size_t i = 0; i < allowed.count; i++) {
        right = right || (allowed.values[i] != NULL) == (status == OK);
    }
    if (!right) {
        return VIOLATED("upload %d is %s", up, status == OK ? "there" : "missing");
    }
    bool made = object_is(store, own->key, own->object);
    if (status == OK && made) {
        return VIOLATED("upload %d is there, and its object too", up);
    }
    if (status != OK && own->object != NULL && position >= own->completing_at && !made &&
        !followed(up, position)) {
        return VIOLATED("upload %d has gone, and its object is not there", up);
    }
    return status != OK || parts_right(&parts, up, position);
}

/** Somebody knows its id. */
static bool begun(int up, size_t position)
{
    bool said = false;
    for (size_t i = 0; i < said_count; i++) {
        said = said || (saids[i].up == up && saids[i].position <= position);
    }
    return said;
}

bool uploads_right(struct store *store, size_t position)
{
    struct arena arena;
    bool right = true;
    arena_init(&arena, 0);
    for (int up = 0; right && up < up_count; up++) {
        right = !begun(up, position) || up_right(store, up, position, &arena);
    }
    arena_done(&arena);
    return right;
}

/** The object is these parts one after the other. */
static bool joined_right(struct store *store, struct str key, const struct store_parts *parts)
{
    struct err err = { 0 };
    AUTO(buf_done) struct buf got;
    buf_init(&got, 0);
    if (store_read(store, key, NULL, &got, NULL, &err) != OK) {
        return VIOLATED("a completed upload cannot be read: %s", err.msg);
    }
    struct str rest = buf_str(&got);
    for (size_t i = 0; i < parts->count; i++) {
        char md5[MD5_HEX + 1];
        struct str part = str_take(rest, (size_t)parts->items[i].size);
        md5_hex(part, md5);
        if (part.len != parts->items[i].size || strcmp(md5, parts->items[i].etag) != 0) {
            return VIOLATED("part %u is not what was written", parts->items[i].number);
        }
        rest = str_skip(rest, part.len);
    }
    return rest.len == 0 || VIOLATED("a completed upload is too long");
}

static bool whole(struct store *store, const struct store_upload *upload, struct arena *arena)
{
    struct err err = { 0 };
    struct store_parts parts;
    struct store_part_ref refs[PARTS];
    enum status status = store_upload_parts(store, upload->key, upload->id, 0, PARTS, arena, &parts,
                                            &err);
    if (status != OK) {
        return VIOLATED("an upload that is listed: %s", err.msg);
    }
    for (size_t i = 0; i < parts.count; i++) {
        refs[i] = (struct store_part_ref){ parts.items[i].number, str_of(parts.items[i].etag) };
    }
    if (parts.count == 0) {
        return store_upload_abort(store, upload->key, upload->id, &err) == OK ||
               VIOLATED("an empty upload: %s", err.msg);
    }
    status = store_upload_complete(store, upload->key, upload->id, refs, parts.count, NULL, NULL,
                                   NULL, &err);
    if (status != OK) {
        return VIOLATED("an upload cannot be completed: %s", err.msg);
    }
    return joined_right(store, upload->key, &parts);
}

bool uploads_whole(struct store *store)
{
    struct arena arena;
    struct store_uploads uploads;
    struct err err = { 0 };
    arena_init(&arena, 0);
    bool right = store_upload_list(store, NULL, &arena, &uploads, &err) == OK ||
                 VIOLATED("%s", err.msg);
    for (size_t i = 0; right && i < uploads.count; i++) {
        right = whole(store, &uploads.items[i], &arena);
    }
    arena_done(&arena);
    return right;
}

/* --- what is done; each stops at the first error --- */

static enum status up_begin(struct store *store, const char *key, int *up_out, struct err *err)
{
    struct arena arena;
    struct str id;
    const struct store_attr attr = { STR("is"), STR("x") };
    arena_init(&arena, 0);
    enum status status = store_upload_begin(store, str_of(key), &(struct store_attrs){ &attr, 1 },
                                            &arena, &id, err);
    if (status == OK) {
        assert_true(up_count < UPLOADS_MAX);
        *up_out = up_count++;
        ups[*up_out] = (struct up){ .key = key };
        memcpy(ups[*up_out].id, id.ptr, id.len);
        say(*up_out, 0, "open", true);
    }
    arena_done(&arena);
    return status;
}

static enum status up_part(struct store *store, int up, unsigned number, const char *value,
                           bool known, struct err *err)
{
    struct store_writer *writer = NULL;
    TRY(store_part_open(store, str_of(ups[up].key), str_of(ups[up].id), number,
                        known ? (int64_t)strlen(value) : -1, &writer, err));
    enum status status = store_writer_write(writer, str_of(value), err);
    if (status != OK) {
        store_writer_abort(writer);
        return status;
    }
    say(up, number, value, false);
    TRY(store_writer_commit(writer, NULL, err));
    say(up, number, value, true);
    return OK;
}

/** The last value of each of these parts that was said. */
static const char *value_of(int up, unsigned number)
{
    const char *value = NULL;
    for (size_t i = 0; i < said_count; i++) {
        value = saids[i].up == up && saids[i].number == number ? saids[i].value : value;
    }
    return value;
}

static enum status up_complete(struct store *store, int up, const unsigned *numbers,
                               const char *object, struct err *err)
{
    struct store_part_ref refs[PARTS];
    char etags[PARTS][MD5_HEX + 1];
    size_t count = 0;
    for (; count < PARTS && numbers[count] != 0; count++) {
        md5_hex(str_of(value_of(up, numbers[count])), etags[count]);
        refs[count] = (struct store_part_ref){ numbers[count], str_of(etags[count]) };
    }
    ups[up].object = object;
    ups[up].completing_at = disk_position();
    say(up, 0, NULL, false);
    plug->promise_add(ups[up].key, object, false);
    TRY(store_upload_complete(store, str_of(ups[up].key), str_of(ups[up].id), refs, count, NULL,
                              NULL, NULL, err));
    say(up, 0, NULL, true);
    plug->promise_add(ups[up].key, object, true);
    return OK;
}

static enum status up_abort(struct store *store, int up, struct err *err)
{
    say(up, 0, NULL, false);
    TRY(store_upload_abort(store, str_of(ups[up].key), str_of(ups[up].id), err));
    say(up, 0, NULL, true);
    return OK;
}

/** Parts in their places, out of them, replaced, dropped; a new key, an old one, an odd one. */
static enum status uploads_live(struct store *store, struct err *err)
{
    int up = 0;
    TRY(up_begin(store, "u/new", &up, err));
    TRY(up_part(store, up, 2, "22222", true, err));
    TRY(up_part(store, up, 1, "11111", true, err));
    TRY(up_part(store, up, 3, "3", true, err));
    TRY(up_complete(store, up, (const unsigned[]){ 1, 2, 3, 0 }, "11111222223", err));
    TRY(up_begin(store, "u/new", &up, err));
    TRY(up_part(store, up, 1, "aaaaa", true, err));
    TRY(up_part(store, up, 2, "BBBBB", true, err));
    TRY(up_part(store, up, 2, "bbb", true, err));
    TRY(up_part(store, up, 3, "c", false, err));
    TRY(up_part(store, up, 3, "C", false, err));
    TRY(up_complete(store, up, (const unsigned[]){ 1, 2, 3, 0 }, "aaaaabbbC", err));
    TRY(up_begin(store, "u/odd/", &up, err));
    TRY(up_part(store, up, 1, "dropped", true, err));
    TRY(up_part(store, up, 2, "kept", true, err));
    TRY(up_part(store, up, 3, "!", true, err));
    TRY(up_complete(store, up, (const unsigned[]){ 2, 3, 0 }, "kept!", err));
    TRY(up_begin(store, "u/aborted", &up, err));
    TRY(up_part(store, up, 1, "gone", true, err));
    TRY(up_abort(store, up, err));
    TRY(up_begin(store, "u/open", &up, err));
    TRY(up_part(store, up, 2, "half", true, err));
    TRY(up_part(store, up, 4, "spilled", false, err));
    return OK;
}

void a_life_with_uploads(void)
{
    struct err err = { 0 };
    struct store *store = plug->store_up();
    MUST(uploads_live(store, &err));
    store_close(store);
}

/* --- kills and faults --- */

static void expect_right(const char *what, long n)
{
    struct store *store = plug->store_up();
    if (!plug->lake_right(store, disk_position()) || !uploads_whole(store)) {
        fail_msg("%s %ld: %s", what, n, violation);
    }
    store_close(store);
}

void an_upload_survives_a_kill_at_each_step(void **state)
{
    for (int lacking = 0; lacking < 4; lacking += 3) {
        bool killed = true;
        for (long after = 0; killed; after++) {
            struct err err = { 0 };
            plug->begin(NULL, lacking);
            struct store *store = plug->store_up();
            plug->promise_add("never", NULL, true);
            disk_kill(after);
            enum status status = uploads_live(store, &err);
            killed = disk_killed();
            assert_true(killed || status == OK);
            store_close(store);
            disk_kill(-1);
            expect_right("killed after", after);
            assert_true(killed || after > 100);
        }
    }
}

void an_upload_survives_each_failing_call(void **state)
{
    static const int reasons[] = { EIO, ENOSPC };
    for (size_t i = 0; i < ARRAY_LEN(reasons); i++) {
        const char *failed = "";
        for (long n = 0; failed != NULL; n++) {
            struct err err = { 0 };
            plug->begin(NULL, 0);
            struct store *store = plug->store_up();
            plug->promise_add("never", NULL, true);
            disk_fail(n, reasons[i]);
            enum status status = uploads_live(store, &err);
            failed = disk_failed();
            disk_fail(-1, 0);
            if (status != OK && (failed == NULL || status == E_NOT_FOUND || status == E_INVALID ||
                                 status == E_CONFLICT || status == E_PRECONDITION)) {
                fail_msg("call %ld (%s): %s: %s", n, failed == NULL ? "" : failed,
                         status_name(status), err.msg);
            }
            store_close(store);
            expect_right("failed call", n);
            assert_true(failed != NULL || n > 200);
        }
    }
}
