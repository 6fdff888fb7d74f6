/* Snapshots that share what has not changed: what is written, what is swept, and that a snapshot
 * and the log behind it are what the whole log is. */
#include "lake.h"

#include <sched.h>
#include <stdio.h>
#include <string.h>

#include "base/rng.h"
#include "collection/pointer.h"
#include "collection/snap_list.h"

enum { ROWS = 256 };

static void up(struct lake *lake)
{
    lake_up(lake);
    lake->part_rows = ROWS;
    lake_again(lake);
    lake_create(lake, "t");
}

static void fill(struct lake *lake, unsigned first, unsigned count)
{
    static float vectors[1000][DIM];
    static struct coll_item items[1000];
    static char ids[1000][16];
    struct coll_added added;
    for (unsigned i = 0; i < count; i++) {
        snprintf(ids[i], sizeof ids[i], "k%u", first + i);
        lake_vector(first + i, vectors[i]);
        items[i] = (struct coll_item){ .id = str_of(ids[i]), .vector = vectors[i] };
    }
    assert_true(count <= 1000);
    assert_ok(coll_add(lake->service, STR("t"), items, count, COLL_UPSERT, &added, ERR));
}

static void snapshot(struct lake *lake)
{
    assert_ok(coll_settle(lake->service, STR("t"), true, ERR));
}

static size_t snap_objects(struct lake *lake, const char *folder)
{
    char rest[64];
    snprintf(rest, sizeof rest, "snap/%s", folder);
    return lake_objects(lake, lake_prefix(lake, "t", rest));
}

/* --- what is written --- */

struct writes {
    unsigned chunks, others; /* of snapshots */
};

static struct seen {
    struct writes writes;
    char keys[200][200];
    unsigned count;
} seen;

/** What was seen before is being deleted. */
static void count_write(void *ctx, struct str key)
{
    bool fresh = str_find(key, STR("/snap/")) != SIZE_MAX;
    for (unsigned i = 0; i < seen.count; i++) {
        fresh = fresh && !str_eq(key, str_of(seen.keys[i]));
    }
    if (fresh) {
        char last = key.ptr[key.len - 1];
        assert_true(seen.count < 200);
        snprintf(seen.keys[seen.count++], sizeof seen.keys[0], "%.*s", STR_ARG(key));
        seen.writes.chunks += last >= '0' && last <= '9';
        seen.writes.others += !(last >= '0' && last <= '9');
    }
}

static struct writes snapshot_counted(struct lake *lake)
{
    seen.writes = (struct writes){ 0 };
    lake_writing(lake, count_write, NULL);
    snapshot(lake);
    lake_writing(lake, NULL, NULL);
    return seen.writes;
}

static void only_parts_that_changed_are_written(void **state)
{
    const struct str one = STR("k300");
    const struct coll_which which = { .ids = &one, .id_count = 1 };
    struct lake lake;
    uint64_t deleted = 0;
    up(&lake);
    fill(&lake, 0, 1000);
    assert_int_equal(snapshot_counted(&lake).chunks, 4);
    for (int again = 0; again < 2; again++) {
        fill(&lake, 1000 + (unsigned)again, 1); /* the last part has room for 24 */
        struct writes writes = snapshot_counted(&lake);
        assert_int_equal(writes.chunks, 1);
        assert_int_equal(writes.others, 1); /* the list */
        lake_again(&lake);
    }
    fill(&lake, 10, 1); /* replaces */
    assert_ok(coll_patch(lake.service, STR("t"), STR("k20"), STR("{\"a\":1}"), false, ERR));
    assert_int_equal(snapshot_counted(&lake).chunks, 1);
    assert_ok(coll_delete(lake.service, STR("t"), &which, &deleted, ERR));
    assert_int_equal(snapshot_counted(&lake).chunks, 1);
    /* of each part there is one object, and the last list */
    assert_int_equal(snap_objects(&lake, ""), 5);
    assert_int_equal(snapshot_counted(&lake).chunks, 0);
    assert_int_equal(snap_objects(&lake, ""), 5);
    lake_again(&lake);
    assert_int_equal(lake_count(lake.service, "t"), 1001);
    lake_lacks(&lake, lake.service, "t", "k300");
    fill(&lake, 5000, 1); /* into the row that is free, or behind: one part either way */
    assert_int_equal(snapshot_counted(&lake).chunks, 1);
    lake_again(&lake);
    assert_int_equal(lake_count(lake.service, "t"), 1002);
    lake_down(&lake);
}

/** k<first> to k<first + count - 1>. */
static void delete_some(struct lake *lake, unsigned first, unsigned count)
{
    static struct str names[2000];
    static char ids[2000][16];
    const struct coll_which which = { .ids = names, .id_count = count };
    uint64_t deleted = 0;
    for (unsigned i = 0; i < count; i++) {
        snprintf(ids[i], sizeof ids[i], "k%u", first + i);
        names[i] = str_of(ids[i]);
    }
    assert_ok(coll_delete(lake->service, STR("t"), &which, &deleted, ERR));
    assert_int_equal(deleted, count);
}

static void an_index_that_has_shrunk_is_laid_out_anew(void **state)
{
    struct lake lake;
    up(&lake);
    fill(&lake, 0, 1000);
    snapshot(&lake);
    delete_some(&lake, 0, 995);
    snapshot(&lake);
    assert_int_equal(snap_objects(&lake, ""), 1); /* no list either */
    struct str before = lake_dump(&lake, lake.service, "t");
    lake_again(&lake);
    assert_true(str_eq(before, lake_dump(&lake, lake.service, "t")));
    fill(&lake, 0, 600);
    snapshot(&lake);
    lake_again(&lake);
    assert_int_equal(lake_count(lake.service, "t"), 605);
    lake_down(&lake);
}

/* --- the state --- */

static void random_op(struct lake *lake, struct rng *rng)
{
    unsigned i = (unsigned)rng_below(rng, 1500), what = (unsigned)rng_below(rng, 1000);
    char id[16], metadata[32];
    uint64_t deleted = 0;
    snprintf(id, sizeof id, "k%u", i);
    snprintf(metadata, sizeof metadata, "{\"n\":%u}", i);
    const struct str one = str_of(id);
    const struct coll_which which = { .ids = &one, .id_count = 1 }, all = { .all = true };
    if (what < 400) {
        fill(lake, i, 1 + (unsigned)rng_below(rng, 60));
    } else if (what < 600) {
        assert_ok(lake_put(lake->service, "t", id, i + 7, metadata, ERR));
    } else if (what < 800) {
        assert_ok(coll_delete(lake->service, STR("t"), &which, &deleted, ERR));
    } else if (what < 998) {
        enum status status = coll_patch(lake->service, STR("t"), one, str_of(metadata), false, ERR);
        assert_true(status == OK || status == E_NOT_FOUND);
    } else {
        assert_ok(coll_delete(lake->service, STR("t"), &all, &deleted, ERR));
    }
}

static void expect_equal(struct lake *plain, struct lake *lake)
{
    struct str a = lake_dump(plain, plain->service, "t"), b = lake_dump(lake, lake->service, "t");
    assert_true(str_eq(a, b));
}

static void shared_parts_and_tail_are_what_the_whole_log_is(void **state)
{
    for (uint64_t seed = 1; seed <= 4; seed++) {
        struct lake plain, lake;
        struct rng a, b, when;
        up(&plain);
        up(&lake);
        rng_seed(&a, seed);
        rng_seed(&b, seed);
        rng_seed(&when, seed + 1000);
        for (int i = 0; i < 500; i++) {
            random_op(&plain, &a);
            random_op(&lake, &b);
            if (rng_below(&when, 20) == 0) {
                snapshot(&lake);
            }
            if (rng_below(&when, 90) == 0) {
                lake_again(&lake);
            }
            if (rng_below(&when, 90) == 0) {
                assert_ok(coll_rebuild(lake.service, STR("t"), ERR));
            }
        }
        expect_equal(&plain, &lake);
        lake_again(&plain);
        lake_again(&lake);
        expect_equal(&plain, &lake);
        lake_down(&plain);
        lake_down(&lake);
    }
}

/** As after a crash at each write of a snapshot, and with each answer lost. */
static void a_snapshot_that_fails_changes_nothing(void **state)
{
    for (long nth = 0; nth < 7; nth++) {
        for (int after = 0; after < 2; after++) {
            struct lake lake;
            up(&lake);
            fill(&lake, 0, 1000);
            snapshot(&lake);
            fill(&lake, 200, 400); /* three of four parts */
            fill(&lake, 1000, 500);
            struct str before = lake_dump(&lake, lake.service, "t");
            lake_fail(&lake, nth, nth % 2 == 0 ? E_UPSTREAM : E_DISK_FULL, after, NULL);
            enum status status = coll_settle(lake.service, STR("t"), true, ERR);
            assert_true(status == OK || lake.fault.happened);
            lake_mend(&lake);
            if (nth % 3 == 0) {
                lake_again(&lake);
                assert_true(str_eq(before, lake_dump(&lake, lake.service, "t")));
            }
            fill(&lake, 0, 1); /* the same as before */
            snapshot(&lake);
            lake_again(&lake);
            assert_true(str_eq(before, lake_dump(&lake, lake.service, "t")));
            lake_down(&lake);
        }
    }
}

/* --- two services, and sweeps that come late --- */

/** One has a snapshot that the other has left behind since; what it knows of it is of no use when
 * it writes. */
static void who_takes_over_shares_only_with_what_the_pointer_names(void **state)
{
    struct lake lake;
    up(&lake);
    fill(&lake, 0, 1000);
    fill(&lake, 1000, 1000);
    snapshot(&lake);
    struct coll_service *first = lake.service, *other = lake_service(&lake);
    assert_int_equal(lake_count(other, "t"), 2000);
    delete_some(&lake, 256, 1744);
    while (lake_count(other, "t") > 256) { /* it follows; a test that hangs here has failed */
        sched_yield();
    }
    snapshot(&lake); /* few are left: laid out anew, and all of the first one is swept */
    assert_int_equal(snap_objects(&lake, ""), 1);
    lake.service = other;
    fill(&lake, 5000, 600); /* the first part is, for this one, as it was in the first snapshot */
    snapshot(&lake);
    assert_kind(coll_settle(first, STR("t"), true, ERR), E_CONFLICT);
    struct str before = lake_dump(&lake, other, "t");
    coll_service_close(first);
    lake_again(&lake);
    assert_int_equal(lake_count(lake.service, "t"), 856);
    assert_true(str_eq(before, lake_dump(&lake, lake.service, "t")));
    lake_down(&lake);
}

/* The swap to a snapshot comes through, its answer is lost, and before anybody looks the pointer is
 * written again. */
struct rewrite {
    struct lake *lake;
    struct coll_service *other; /* NULL: only the pointer is written */
    bool done;
};

static void write_pointer(struct lake *lake)
{
    struct arena arena;
    struct coll_pointer base = { 0 };
    arena_init(&arena, 0);
    assert_ok(coll_pointer_read(lake->store, STR("t"), &arena, &base, ERR));
    struct coll_pointer next = base;
    assert_ok(coll_pointer_swap(lake->store, &base, &arena, &next, ERR));
    arena_done(&arena);
}

static void rewrite(void *ctx, struct str key)
{
    struct rewrite *rewrite = ctx;
    if (rewrite->done || !rewrite->lake->fault.happened || !str_ends(key, STR("/t.json"))) {
        return;
    }
    rewrite->done = true;
    lake_mend(rewrite->lake);
    if (rewrite->other != NULL) {
        assert_ok(lake_put(rewrite->other, "t", "taken", 7, NULL, ERR));
    } else {
        write_pointer(rewrite->lake);
    }
}

static void a_snapshot_that_was_named_and_written_over_is_kept(void **state)
{
    for (int round = 0; round < 4; round++) {
        struct lake lake;
        up(&lake);
        fill(&lake, 0, 1000);
        if (round % 2 == 1) { /* it shares with an earlier one */
            snapshot(&lake);
            fill(&lake, 2000, 100);
        }
        struct rewrite ctx = { .lake = &lake };
        ctx.other = round < 2 ? lake_service(&lake) : NULL;
        lake_opened(&lake, rewrite, &ctx);
        lake_fail(&lake, 0, E_UPSTREAM, true, "/t.json");
        enum status status = coll_settle(lake.service, STR("t"), true, ERR);
        lake_opened(&lake, NULL, NULL);
        assert_true(ctx.done);
        assert_int_equal(status, round < 2 ? E_CONFLICT : OK);
        coll_service_close(ctx.other);
        if (round >= 2) { /* and it goes on */
            fill(&lake, 5000, 300);
            snapshot(&lake);
        }
        lake_again(&lake);
        lake_has(&lake, lake.service, "t", "k999", 999);
        assert_int_equal(lake_count(lake.service, "t"),
                         1000 + (round % 2) * 100 + (round < 2 ? 1 : 300));
        lake_down(&lake);
    }
}

static void a_sweep_that_comes_late_takes_nothing_that_is_named(void **state)
{
    struct lake lake;
    struct snap_list list;
    struct buf bytes;
    uint64_t sequence = 0, tag = 0;
    up(&lake);
    fill(&lake, 0, 1000);
    snapshot(&lake);
    fill(&lake, 1000, 1);
    snapshot(&lake);
    const char *folder = lake_prefix(&lake, "t", "snap/");
    struct str key = lake_key(&lake, folder, snap_objects(&lake, "") - 1);
    assert_true(str_ends(key, STR("/list")));
    struct str name = str_skip(str_take(key, key.len - strlen("/list")), strlen(folder));
    assert_true(snap_name_read(name, &sequence, &tag));
    buf_init(&bytes, 0);
    assert_ok(store_read(lake.store, key, &(struct store_read_opts){ 0 }, &bytes, NULL, ERR));
    assert_ok(snap_list_decode(buf_str(&bytes), tag, &list, ERR));
    for (unsigned i = 0; i < 4; i++) { /* later ones, that share with both */
        fill(&lake, i * 256, 1);
        snapshot(&lake);
        const char *uuid = folder + strlen("_lake/vectors/by-id/");
        assert_ok(snap_sweep(lake.store, str_from(uuid, 36), &list, sequence, STR_EMPTY, ERR));
        struct str before = lake_dump(&lake, lake.service, "t");
        lake_again(&lake);
        assert_true(str_eq(before, lake_dump(&lake, lake.service, "t")));
    }
    snap_list_done(&list);
    buf_done(&bytes);
    lake_down(&lake);
}

/* --- the list --- */

static void a_list_is_read_as_it_was_written_or_refused(void **state)
{
    struct snap_list list = { .part_rows = 512 }, again;
    struct buf bytes;
    buf_init(&bytes, 0);
    for (uint32_t i = 0; i < 5; i++) {
        const struct snap_entry entry = { .kind = i < 3 ? SNAP_ITEMS : SNAP_GRAPH,
                                          .part = i < 3 ? i / 2 : i - 3,
                                          .object = i,
                                          .items = i < 3 ? 100 : 0,
                                          .sequence = 17,
                                          .tag = UINT64_MAX - i,
                                          .bytes = 1000 + i,
                                          .version = i };
        assert_int_equal(snap_list_add(&list, &entry), OK);
    }
    assert_int_equal(snap_list_encode(&list, 7, &bytes), OK);
    assert_ok(snap_list_decode(buf_str(&bytes), 7, &again, ERR));
    assert_int_equal(again.count, 5);
    assert_int_equal(again.part_rows, 512);
    for (size_t i = 0; i < 5; i++) {
        assert_int_equal(again.entries[i].tag, list.entries[i].tag);
        assert_int_equal(again.entries[i].bytes, list.entries[i].bytes);
    }
    assert_int_equal(snap_list_graph(&again, 1)->version, 4);
    assert_null(snap_list_graph(&again, 2));
    assert_true(snap_list_uses(&again, 17, UINT64_MAX));
    assert_false(snap_list_uses(&again, 16, UINT64_MAX));
    snap_list_drop_graph(&again);
    assert_int_equal(again.count, 3);
    snap_list_done(&again);
    assert_kind(snap_list_decode(buf_str(&bytes), 8, &again, ERR), E_CORRUPT);
    for (size_t i = 0; i < bytes.len; i++) {
        bytes.ptr[i] ^= 4;
        assert_kind(snap_list_decode(buf_str(&bytes), 7, &again, ERR), E_CORRUPT);
        assert_kind(snap_list_decode(str_from(bytes.ptr, i), 7, &again, ERR), E_CORRUPT);
        bytes.ptr[i] ^= 4;
    }
    snap_list_done(&list);
    buf_done(&bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_parts_that_changed_are_written),
        cmocka_unit_test(an_index_that_has_shrunk_is_laid_out_anew),
        cmocka_unit_test(shared_parts_and_tail_are_what_the_whole_log_is),
        cmocka_unit_test(a_snapshot_that_fails_changes_nothing),
        cmocka_unit_test(who_takes_over_shares_only_with_what_the_pointer_names),
        cmocka_unit_test(a_snapshot_that_was_named_and_written_over_is_kept),
        cmocka_unit_test(a_sweep_that_comes_late_takes_nothing_that_is_named),
        cmocka_unit_test(a_list_is_read_as_it_was_written_or_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
