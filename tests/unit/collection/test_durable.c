/* What is durable when: failing writes, lost answers, damage, snapshots, two services. */
#include "lake.h"

#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/rng.h"
#include "collection/record.h"

enum { IDS = 12 };

/* --- failing writes --- */

/** What a checker knows: the number behind each id, or the two that it may have. */
struct known {
    int now[IDS];   /* -1: not there */
    int maybe[IDS]; /* -2: nothing else */
};

static const char *id_of(unsigned i)
{
    static _Thread_local char id[16];
    snprintf(id, sizeof id, "id%u", i);
    return id;
}

static void know(struct known *known, unsigned i, int number, enum status status)
{
    if (status == OK) {
        known->now[i] = number;
        known->maybe[i] = -2;
    } else if (status == E_UPSTREAM) {
        known->maybe[i] = number;
    }
}

static bool has(struct lake *lake, unsigned i, int number)
{
    struct coll_item item;
    enum status status = coll_get(lake->service, STR("t"), str_of(id_of(i)), true, &lake->arena,
                                  &item, ERR);
    float vector[DIM];
    assert_true(status == OK || status == E_NOT_FOUND);
    if (status == E_NOT_FOUND || number < 0) {
        return (status == E_NOT_FOUND) == (number < 0);
    }
    lake_vector((unsigned)number, vector);
    for (int d = 0; d < DIM; d++) {
        if (vector[d] != item.vector[d]) {
            return false;
        }
    }
    return true;
}

static void check(struct lake *lake, const struct known *known)
{
    for (unsigned i = 0; i < IDS; i++) {
        if (!has(lake, i, known->now[i]) &&
            (known->maybe[i] == -2 || !has(lake, i, known->maybe[i]))) {
            fail_msg("id%u is neither %d nor %d", i, known->now[i], known->maybe[i]);
        }
    }
}

static enum status delete_one(struct lake *lake, unsigned i)
{
    uint64_t deleted = 0;
    const struct str id = str_of(id_of(i));
    const struct coll_which which = { .ids = &id, .id_count = 1 };
    return coll_delete(lake->service, STR("t"), &which, &deleted, ERR);
}

/** Puts, deletes and snapshots, one after the other; one of their writes fails. */
static void run_all(struct lake *lake, struct known *known)
{
    for (unsigned i = 0; i < IDS; i++) {
        know(known, i, (int)i + 100,
             lake_put(lake->service, "t", id_of(i), i + 100, "{\"a\":1}", ERR));
        if (i % 3 == 2) {
            know(known, i - 1, -1, delete_one(lake, i - 1));
        }
        if (i % 4 == 3) {
            enum status status = coll_settle(lake->service, STR("t"), true, ERR);
            assert_true(status == OK || status == E_UPSTREAM || status == E_UNAVAILABLE ||
                        status == E_DISK_FULL);
        }
        if (i == 7) {
            lake_again(lake);
        }
    }
}

static long try_all(long nth, enum status with, bool after)
{
    struct lake lake;
    struct known known;
    lake_up(&lake);
    lake_create(&lake, "t");
    for (unsigned i = 0; i < IDS; i++) {
        known.now[i] = -1;
        known.maybe[i] = -2;
    }
    lake_fail(&lake, nth, with, after, NULL);
    run_all(&lake, &known);
    bool happened = lake.fault.happened;
    lake_mend(&lake);
    check(&lake, &known);
    struct str before = lake_dump(&lake, lake.service, "t");
    lake_again(&lake);
    check(&lake, &known);
    /* What one process saw, another sees: at most a change that was open came in between. */
    struct str later = lake_dump(&lake, lake.service, "t");
    bool open = false;
    for (unsigned i = 0; i < IDS; i++) {
        open = open || known.maybe[i] != -2;
    }
    assert_true(open || str_eq(before, later));
    assert_ok(lake_put(lake.service, "t", "last", 7, NULL, ERR));
    lake_has(&lake, lake.service, "t", "last", 7);
    lake_down(&lake);
    return happened;
}

static void each_write_that_fails_or_loses_its_answer_loses_nothing(void **state)
{
    const struct {
        enum status with;
        bool after;
    } kinds[] = { { E_UNAVAILABLE, false },
                  { E_UPSTREAM, false },
                  { E_UPSTREAM, true },
                  { E_TIMEOUT, true },
                  { E_DISK_FULL, false } };
    for (size_t k = 0; k < ARRAY_LEN(kinds); k++) {
        long n = 0;
        while (try_all(n, kinds[k].with, kinds[k].after)) {
            n++;
        }
        assert_true(n > 20);
    }
}

/** The store is away for one write altogether: nothing is known, and everything is settled
 * later. */
struct away {
    struct lake_fault *fault;
    bool on, answers;
};

static enum status away_at(void *ctx, const char *op, struct str key, struct err *err)
{
    const struct away *away = ctx;
    bool log = str_find(key, STR("/log/")) != SIZE_MAX;
    bool fails = away->on && log &&
                 (strcmp(op, "open") == 0 || strcmp(op, away->answers ? "answer" : "write") == 0);
    return fails ? err_set(err, E_UPSTREAM, "away") : OK;
}

static void an_open_change_is_settled_before_the_next(void **state)
{
    for (int answers = 0; answers < 2; answers++) {
        struct away away = { .answers = answers == 1 };
        struct lake lake = { 0 };
        const struct store_mem_opts opts = { .hook = { .at = away_at, .ctx = &away } };
        assert_ok(store_mem_open(&opts, &lake.store, ERR));
        pthread_mutex_init(&lake.fault.lock, NULL);
        arena_init(&lake.arena, SIZE_MAX);
        lake.service = lake_service(&lake);
        lake_create(&lake, "t");
        assert_ok(lake_put(lake.service, "t", "a", 1, NULL, ERR));
        away.on = true;
        assert_kind(lake_put(lake.service, "t", "b", 2, NULL, ERR), E_UPSTREAM);
        assert_kind(lake_put(lake.service, "t", "c", 3, NULL, ERR), E_UNAVAILABLE);
        lake_has(&lake, lake.service, "t", "a", 1); /* reads go on */
        lake_lacks(&lake, lake.service, "t", "c");
        away.on = false;
        assert_ok(lake_put(lake.service, "t", "d", 4, NULL, ERR));
        lake_has(&lake, lake.service, "t", "b", 2);
        lake_lacks(&lake, lake.service, "t", "c");
        struct str before = lake_dump(&lake, lake.service, "t");
        lake_again(&lake);
        assert_true(str_eq(before, lake_dump(&lake, lake.service, "t")));
        lake_down(&lake);
    }
}

/* --- snapshots --- */

static void random_op(struct lake *lake, struct coll_service *service, struct rng *rng)
{
    unsigned i = (unsigned)rng_below(rng, 40), what = (unsigned)rng_below(rng, 100);
    unsigned number = (unsigned)rng_below(rng, 1000000);
    char id[16], metadata[32];
    uint64_t deleted = 0;
    snprintf(id, sizeof id, "k%u", i);
    snprintf(metadata, sizeof metadata, "{\"n\":%u}", number);
    const struct str one = str_of(id);
    const struct coll_which which = { .ids = &one, .id_count = 1 }, all = { .all = true };
    if (what < 60) {
        assert_ok(lake_put(service, "t", id, number, what % 3 > 0 ? metadata : NULL, ERR));
    } else if (what < 85) {
        assert_ok(coll_delete(service, STR("t"), &which, &deleted, ERR));
    } else if (what < 99) {
        enum status status = coll_patch(service, STR("t"), one, str_of(metadata), false, ERR);
        assert_true(status == OK || status == E_NOT_FOUND);
    } else {
        assert_ok(coll_delete(service, STR("t"), &all, &deleted, ERR));
    }
    (void)lake;
}

/** The ids in the order of pages: that of their numbers. */
static struct str order(struct lake *lake)
{
    struct coll_item *items = NULL;
    size_t count = 0;
    struct str next;
    struct buf text;
    const struct coll_page page = { .limit = COLL_PAGE_MAX };
    assert_ok(coll_items(lake->service, STR("t"), &page, &lake->arena, &items, &count, &next, ERR));
    buf_init(&text, 0);
    for (size_t i = 0; i < count; i++) {
        assert_ok(buf_printf(&text, "%.*s ", STR_ARG(items[i].id)));
    }
    struct str out = arena_str(&lake->arena, buf_str(&text));
    buf_done(&text);
    return out;
}

static void snapshot_and_tail_are_what_the_whole_log_is(void **state)
{
    for (uint64_t seed = 1; seed <= 6; seed++) {
        struct lake plain, short_cut;
        struct rng a, b, when;
        lake_up(&plain);
        lake_up(&short_cut);
        lake_create(&plain, "t");
        lake_create(&short_cut, "t");
        rng_seed(&a, seed);
        rng_seed(&b, seed);
        rng_seed(&when, seed + 1000);
        for (int i = 0; i < 400; i++) {
            random_op(&plain, plain.service, &a);
            random_op(&short_cut, short_cut.service, &b);
            if (rng_below(&when, 50) == 0) {
                assert_ok(coll_settle(short_cut.service, STR("t"), true, ERR));
            }
            if (rng_below(&when, 80) == 0) {
                lake_again(&short_cut);
            }
        }
        lake_again(&plain);
        struct str all = lake_dump(&plain, plain.service, "t");
        for (int i = 0; i < 2; i++) {
            assert_true(str_eq(all, lake_dump(&short_cut, short_cut.service, "t")));
            assert_true(str_eq(order(&plain), order(&short_cut)));
            lake_again(&short_cut);
        }
        lake_down(&plain);
        lake_down(&short_cut);
    }
}

static void a_snapshot_leaves_one_snapshot_and_no_log_behind_it(void **state)
{
    struct lake lake;
    struct coll_stats stats;
    lake_up(&lake);
    lake_create(&lake, "t");
    for (unsigned i = 0; i < 20; i++) {
        assert_ok(lake_put(lake.service, "t", id_of(i), i, NULL, ERR));
        if (i % 5 == 4) {
            assert_ok(coll_settle(lake.service, STR("t"), true, ERR));
        }
    }
    assert_int_equal(lake_objects(&lake, lake_prefix(&lake, "t", "snap/")), 1);
    /* the one that our epoch began with stays for a minute */
    assert_int_equal(lake_objects(&lake, lake_prefix(&lake, "t", "log/")), 1);
    assert_ok(lake_put(lake.service, "t", "more", 99, NULL, ERR));
    assert_ok(coll_stats(lake.service, STR("t"), &lake.arena, &stats, ERR));
    assert_int_equal(stats.log_tail_objects, 1);
    assert_int_equal(stats.snapshot_sequence, 21);
    lake_again(&lake);
    assert_int_equal(lake_count(lake.service, "t"), 21);
    lake_has(&lake, lake.service, "t", "more", 99);
    lake_down(&lake);
}

static void rebuilding_and_compacting_change_nothing_that_is_told(void **state)
{
    struct lake lake;
    struct coll_stats stats;
    lake_up(&lake);
    lake_create(&lake, "t");
    for (unsigned i = 0; i < 50; i++) {
        assert_ok(lake_put(lake.service, "t", id_of(i % 10), i, "{\"a\":2}", ERR));
    }
    for (unsigned i = 0; i < 3; i++) {
        assert_ok(delete_one(&lake, i));
    }
    struct str before = lake_dump(&lake, lake.service, "t");
    assert_ok(coll_compact(lake.service, STR("t"), ERR));
    assert_ok(coll_stats(lake.service, STR("t"), &lake.arena, &stats, ERR));
    assert_true(str_eq(before, lake_dump(&lake, lake.service, "t")));
    assert_ok(coll_rebuild(lake.service, STR("t"), ERR));
    assert_ok(coll_warm(lake.service, STR("t"), ERR));
    assert_true(str_eq(before, lake_dump(&lake, lake.service, "t")));
    assert_ok(lake_put(lake.service, "t", "z", 5, NULL, ERR));
    before = lake_dump(&lake, lake.service, "t");
    lake_again(&lake);
    assert_true(str_eq(before, lake_dump(&lake, lake.service, "t")));
    lake_down(&lake);
}

/* --- damage --- */

/** "t" is damaged and "u" is not: t is stopped, says why, and can be dropped; u works. */
static void expect_stopped(struct lake *lake, const char *why)
{
    struct coll_item item;
    lake_again(lake);
    assert_kind(coll_get(lake->service, STR("t"), STR("id1"), true, &lake->arena, &item, ERR),
                E_CORRUPT);
    if (strstr(lake_err.msg, why) == NULL) {
        fail_msg("\"%s\" says nothing of \"%s\"", lake_err.msg, why);
    }
    assert_kind(coll_service_ready(lake->service, ERR), E_CORRUPT);
    assert_non_null(strstr(lake_err.msg, "\"t\""));
    assert_kind(lake_put(lake->service, "t", "x", 1, NULL, ERR), E_CORRUPT);
    lake_has(lake, lake->service, "u", "a", 1);
    assert_ok(lake_put(lake->service, "u", "b", 2, NULL, ERR));
    assert_ok(coll_drop(lake->service, STR("t"), ERR));
    assert_ok(coll_service_ready(lake->service, ERR));
}

static void damaged_up(struct lake *lake)
{
    lake_up(lake);
    lake_create(lake, "t");
    lake_create(lake, "u");
    for (unsigned i = 0; i < 5; i++) {
        assert_ok(lake_put(lake->service, "t", id_of(i), i, NULL, ERR));
    }
    assert_ok(lake_put(lake->service, "u", "a", 1, NULL, ERR));
}

static void replace(struct lake *lake, struct str key, struct str bytes)
{
    assert_ok(store_put(lake->store, key, bytes, &(struct store_cond){ 0 }, NULL, ERR));
}

static void read_key(struct lake *lake, struct str key, struct buf *out)
{
    buf_init(out, 0);
    assert_ok(store_read(lake->store, key, &(struct store_read_opts){ 0 }, out, NULL, ERR));
}

static void a_gap_in_the_log_stops_the_index(void **state)
{
    struct lake lake;
    damaged_up(&lake);
    assert_ok(store_delete(lake.store, lake_key(&lake, lake_prefix(&lake, "t", "log/"), 2), ERR));
    expect_stopped(&lake, "log object 3 is missing");
    lake_down(&lake);
}

static void damage_is_told_before_anybody_meets_it(void **state)
{
    struct lake lake;
    damaged_up(&lake);
    assert_ok(store_delete(lake.store, lake_key(&lake, lake_prefix(&lake, "t", "log/"), 2), ERR));
    lake_again(&lake);
    while (coll_service_ready(lake.service, ERR) == OK) { /* a test that hangs here has failed */
    }
    assert_non_null(strstr(lake_err.msg, "log object 3 is missing"));
    lake_has(&lake, lake.service, "u", "a", 1);
    struct coll_info info;
    assert_ok(coll_info(lake.service, STR("t"), &lake.arena, &info, ERR));
    /* nobody knows, and 0 would be a lie */
    assert_true(info.stopped.len > 0 && !info.length_known);
    lake_down(&lake);
}

static void a_flipped_bit_stops_the_index_wherever_it_is(void **state)
{
    struct lake lake;
    struct buf bytes;
    damaged_up(&lake);
    struct str key = lake_key(&lake, lake_prefix(&lake, "t", "log/"), 3);
    read_key(&lake, key, &bytes);
    for (size_t i = 0; i < bytes.len; i++) {
        struct coll_item item;
        bytes.ptr[i] ^= 4;
        replace(&lake, key, buf_str(&bytes));
        bytes.ptr[i] ^= 4;
        lake_again(&lake);
        assert_kind(coll_get(lake.service, STR("t"), STR("id1"), true, &lake.arena, &item, ERR),
                    E_CORRUPT);
    }
    for (size_t len = 0; len < bytes.len; len++) {
        struct record_head head;
        struct buf cut;
        buf_init(&cut, 0);
        assert_ok(buf_append(&cut, str_take(buf_str(&bytes), len)));
        assert_kind(record_check(buf_str(&cut), &head, ERR), E_CORRUPT);
        buf_done(&cut);
    }
    bytes.ptr[bytes.len - 1] ^= 1;
    replace(&lake, key, buf_str(&bytes));
    expect_stopped(&lake, "checksum");
    buf_done(&bytes);
    lake_down(&lake);
}

static void another_index_s_object_stops_the_index(void **state)
{
    struct lake lake;
    struct buf bytes;
    damaged_up(&lake);
    for (unsigned i = 0; i < 3; i++) {
        assert_ok(lake_put(lake.service, "u", id_of(i), i, NULL, ERR));
    }
    read_key(&lake, lake_key(&lake, lake_prefix(&lake, "u", "log/"), 2), &bytes);
    replace(&lake, lake_key(&lake, lake_prefix(&lake, "t", "log/"), 2), buf_str(&bytes));
    expect_stopped(&lake, "another index's");
    buf_done(&bytes);
    lake_down(&lake);
}

static void a_damaged_snapshot_stops_the_index(void **state)
{
    for (int missing = 0; missing < 2; missing++) {
        struct lake lake;
        struct buf bytes;
        damaged_up(&lake);
        assert_ok(coll_settle(lake.service, STR("t"), true, ERR));
        struct str key = lake_key(&lake, lake_prefix(&lake, "t", "snap/"), 0);
        read_key(&lake, key, &bytes);
        bytes.ptr[bytes.len / 2] ^= 1;
        if (missing) {
            assert_ok(store_delete(lake.store, key, ERR));
        } else {
            replace(&lake, key, buf_str(&bytes));
        }
        expect_stopped(&lake, missing ? "missing" : "snapshot chunk");
        buf_done(&bytes);
        lake_down(&lake);
    }
}

/* --- two services --- */

static void who_meets_a_newer_epoch_stops_writing_and_reads_on(void **state)
{
    struct lake lake;
    lake_up(&lake);
    lake_create(&lake, "t");
    assert_ok(lake_put(lake.service, "t", "a", 1, NULL, ERR));
    struct coll_service *other = lake_service(&lake);
    lake_has(&lake, other, "t", "a", 1);
    assert_ok(lake_put(lake.service, "t", "b", 2, NULL, ERR)); /* reading raises nothing */
    assert_ok(lake_put(other, "t", "c", 3, NULL, ERR));
    lake_has(&lake, other, "t", "b", 2); /* it took over what was there */
    assert_kind(lake_put(lake.service, "t", "d", 4, NULL, ERR), E_CONFLICT);
    assert_kind(lake_put(lake.service, "t", "d", 4, NULL, ERR), E_CONFLICT);
    assert_kind(coll_settle(lake.service, STR("t"), true, ERR), E_CONFLICT);
    lake_has(&lake, lake.service, "t", "a", 1);
    assert_ok(lake_put(other, "t", "e", 5, NULL, ERR));
    assert_ok(coll_settle(other, STR("t"), true, ERR));
    lake_again(&lake);
    assert_int_equal(lake_count(lake.service, "t"), 4);
    lake_lacks(&lake, lake.service, "t", "d");
    coll_service_close(other);
    lake_down(&lake);
}

/** Who has lost the index to another learns of it without writing, and goes on as a reader. */
static void a_writer_that_was_followed_by_another_reads_what_that_one_does(void **state)
{
    struct lake lake;
    lake_up(&lake);
    lake_create(&lake, "t");
    assert_ok(lake_put(lake.service, "t", "a", 1, NULL, ERR));
    struct coll_service *other = lake_service(&lake);
    assert_ok(lake_put(other, "t", "b", 2, NULL, ERR));
    while (lake_count(lake.service, "t") < 2) { /* a test that hangs here has failed */
    }
    lake_has(&lake, lake.service, "t", "b", 2);
    struct coll_info info;
    assert_ok(coll_info(lake.service, STR("t"), &lake.arena, &info, ERR));
    assert_false(info.writable);
    assert_ok(lake_put(other, "t", "c", 3, NULL, ERR));
    assert_kind(lake_put(lake.service, "t", "d", 4, NULL, ERR), E_CONFLICT);
    coll_service_close(other);
    lake_down(&lake);
}

static _Atomic int64_t told_ms = 1000, asleep_ms;

static int64_t tell_ms(void *ctx)
{
    (void)ctx;
    return atomic_load(&told_ms);
}

/** Of a machine that sleeps while told_ms goes on. */
static int64_t awake_ms(void *ctx)
{
    (void)ctx;
    return atomic_load(&told_ms) - atomic_load(&asleep_ms);
}

/** Behind a snapshot the log is trimmed, and places are free again that an older writer takes for
 * the next ones. */
static void while_another_wrote(bool machine_sleeps)
{
    struct lake lake;
    struct coll_service *both[2] = { NULL, NULL };
    const struct lake_clock clocks[] = {
        { .wall_ms = tell_ms, .mono_ms = awake_ms, .boot_ms = tell_ms },
        { .wall_ms = tell_ms, .mono_ms = tell_ms },
    };
    lake_up(&lake);
    lake_create(&lake, "t");
    for (int i = 0; i < 2; i++) {
        const struct coll_service_opts opts = { .store = lake.store, .clock = &clocks[i] };
        assert_ok(coll_service_open(&opts, &both[i], ERR));
        assert_ok(lake_put(both[i], "t", i == 0 ? "a" : "b", 1, NULL, ERR));
    }
    for (unsigned i = 0; i < 5; i++) {
        assert_ok(lake_put(both[1], "t", id_of(i), i, NULL, ERR));
    }
    atomic_fetch_add(&told_ms, 10 * 60 * 1000);
    atomic_fetch_add(&asleep_ms, machine_sleeps ? 10 * 60 * 1000 : 0);
    assert_ok(coll_settle(both[1], STR("t"), true, ERR));
    assert_int_equal(lake_objects(&lake, lake_prefix(&lake, "t", "log/")), 0);
    assert_kind(lake_put(both[0], "t", "lost", 9, NULL, ERR), E_CONFLICT);
    assert_ok(lake_put(both[1], "t", "c", 1, NULL, ERR)); /* and it disturbs nobody */
    coll_service_close(both[0]);
    coll_service_close(both[1]);
    lake_again(&lake);
    assert_int_equal(lake_count(lake.service, "t"), 8);
    lake_lacks(&lake, lake.service, "t", "lost");
    lake_down(&lake);
}

/** The role of the writer comes back once the other one leaves the index alone; what was refused is
 * nowhere, what was acknowledged is in both. */
static void who_lost_the_role_takes_it_back_when_the_other_is_silent(void **state)
{
    struct lake lake;
    struct coll_service *both[2] = { NULL, NULL };
    const struct lake_clock clock = { .wall_ms = tell_ms, .mono_ms = tell_ms };
    lake_up(&lake);
    lake_create(&lake, "t");
    for (int i = 0; i < 2; i++) {
        const struct coll_service_opts opts = { .store = lake.store, .clock = &clock };
        assert_ok(coll_service_open(&opts, &both[i], ERR));
    }
    unsigned written = 0;
    assert_ok(lake_put(both[1], "t", id_of(written), written, NULL, ERR));
    written++;
    for (int round = 0; round < 6; round++) { /* they change places */
        struct coll_service *now = both[round % 2], *other = both[1 - round % 2];
        for (int i = 0; i < 4; i++) { /* who writes keeps the role, however late the other tries */
            assert_ok(lake_put(now, "t", id_of(written), written, NULL, ERR));
            written++;
            atomic_fetch_add(&told_ms, 4900);
            assert_kind(lake_put(other, "t", "lost", 9, NULL, ERR), E_CONFLICT);
        }
        for (unsigned i = 0; i < written; i++) {
            lake_has(&lake, other, "t", id_of(i), i);
        }
        atomic_fetch_add(&told_ms, 5000);
    }
    for (int i = 0; i < 2; i++) {
        coll_service_close(both[i]);
    }
    lake_again(&lake);
    assert_int_equal(lake_count(lake.service, "t"), written);
    lake_lacks(&lake, lake.service, "t", "lost");
    lake_down(&lake);
}

static void who_slept_while_another_wrote_and_trimmed_acknowledges_nothing(void **state)
{
    while_another_wrote(false);
    while_another_wrote(true);
}

static void a_reader_sees_what_the_writer_did(void **state)
{
    struct lake lake;
    struct coll_service *reader = NULL;
    lake_up(&lake);
    lake_create(&lake, "t");
    assert_ok(lake_put(lake.service, "t", "a", 1, NULL, ERR));
    const struct coll_service_opts opts = { .store = lake.store, .read_only = true };
    assert_ok(coll_service_open(&opts, &reader, ERR));
    lake_has(&lake, reader, "t", "a", 1);
    assert_kind(lake_put(reader, "t", "b", 2, NULL, ERR), E_CONFLICT);
    struct coll_info info;
    const struct coll_spec spec = { .name = STR("v"), .dimension = 2 };
    assert_kind(coll_create(reader, &spec, &lake.arena, &info, ERR), E_CONFLICT);
    assert_ok(lake_put(lake.service, "t", "b", 2, NULL, ERR));
    assert_ok(coll_settle(lake.service, STR("t"), true, ERR)); /* and the log is trimmed */
    assert_ok(lake_put(lake.service, "t", "c", 3, NULL, ERR));
    while (lake_count(reader, "t") < 3) { /* a test that hangs here has failed */
    }
    lake_has(&lake, reader, "t", "c", 3);
    assert_ok(lake_put(lake.service, "t", "d", 4, NULL, ERR));
    assert_ok(coll_settle(lake.service, STR("t"), true, ERR)); /* and nothing comes behind it */
    while (lake_count(reader, "t") < 4) {
    }
    lake_has(&lake, reader, "t", "d", 4);
    assert_ok(coll_drop(lake.service, STR("t"), ERR));
    while (coll_info(reader, STR("t"), &lake.arena, &info, ERR) == OK) {
    }
    coll_service_close(reader);
    lake_down(&lake);
}

/* --- memory --- */

static void a_limit_of_memory_refuses_what_would_pass_it(void **state)
{
    struct lake lake;
    struct coll_service *small = NULL;
    char id[16];
    lake_up(&lake);
    lake_create(&lake, "t");
    struct coll_service_opts opts = { .store = lake.store, .index_memory_limit = 1 << 20 };
    assert_ok(coll_service_open(&opts, &small, ERR));
    enum status status = OK;
    unsigned count = 0;
    while (status == OK && count < 100000) {
        snprintf(id, sizeof id, "%u", count++);
        status = lake_put(small, "t", id, count, NULL, ERR);
    }
    assert_int_equal(status, E_NO_MEMORY);
    assert_true(count > 500);
    assert_int_equal(lake_count(small, "t"), count - 1);
    coll_service_close(small);
    lake_down(&lake);
}

static void the_least_used_is_closed_and_opened_again(void **state)
{
    struct lake lake;
    struct coll_service *small = NULL;
    struct coll_info *list = NULL;
    size_t count = 0, open = 0;
    char name[16];
    lake_up(&lake);
    struct coll_service_opts opts = { .store = lake.store, .memory_limit = 1 << 20 };
    assert_ok(coll_service_open(&opts, &small, ERR));
    for (unsigned i = 0; i < 200; i++) {
        snprintf(name, sizeof name, "n%u", i);
        lake_create(&lake, name);
        assert_ok(lake_put(small, name, "a", i, NULL, ERR));
    }
    assert_ok(coll_list(small, &lake.arena, &list, &count, ERR));
    assert_int_equal(count, 200);
    for (size_t i = 0; i < count; i++) {
        open += list[i].open;
        assert_int_equal(list[i].length, 1);
    }
    assert_true(open > 0 && open < 200);
    for (unsigned i = 0; i < 200; i++) {
        snprintf(name, sizeof name, "n%u", i);
        lake_has(&lake, small, name, "a", i);
        assert_ok(lake_put(small, name, "b", i + 1, NULL, ERR));
    }
    coll_service_close(small);
    lake_down(&lake);
}

/** The most that the gauge of memory had while parts of an index were read. */
struct peak {
    struct metric *memory;
    _Atomic uint64_t most;
};

static void see_peak(void *ctx, struct str key)
{
    struct peak *peak = ctx;
    uint64_t now = (uint64_t)metric_value(peak->memory);
    if (str_find(key, STR("/by-id/")) != SIZE_MAX && now > atomic_load(&peak->most)) {
        atomic_store(&peak->most, now);
    }
}

static struct coll_service *metered(struct lake *lake, struct metrics *metrics, bool read_only,
                                    uint64_t limit)
{
    struct coll_service *service = NULL;
    const struct coll_service_opts opts = {
        .store = lake->store, .metrics = metrics, .read_only = read_only, .memory_limit = limit
    };
    assert_ok(coll_service_open(&opts, &service, ERR));
    return service;
}

static uint64_t bytes_of(struct lake *lake, struct coll_service *service)
{
    struct coll_info info;
    assert_ok(coll_info(service, STR("t"), &lake->arena, &info, ERR));
    return info.memory_bytes;
}

static void a_second_body_counts_while_it_is_built(void **state)
{
    struct lake lake;
    struct metrics *metrics = metrics_new();
    struct peak peak = { .memory = metric_get(metrics, METRIC_GAUGE,
                                              "lakehouse_vector_memory_bytes", "", "") };
    const struct coll_which all = { .all = true };
    uint64_t deleted = 0;
    lake_up(&lake);
    lake_create(&lake, "t");
    struct coll_service *service = metered(&lake, metrics, false, 0);
    for (unsigned i = 0; i < 3; i++) { /* emptying is in the log that it reads */
        assert_ok(lake_put(service, "t", id_of(i), i, NULL, ERR));
        assert_ok(coll_delete(service, STR("t"), &all, &deleted, ERR));
    }
    for (unsigned i = 0; i < IDS; i++) {
        assert_ok(lake_put(service, "t", id_of(i), i, NULL, ERR));
    }
    uint64_t one = bytes_of(&lake, service);
    assert_true(one > 0 && one == (uint64_t)metric_value(peak.memory));
    lake_opened(&lake, see_peak, &peak);
    assert_ok(coll_rebuild(service, STR("t"), ERR));
    assert_true(atomic_load(&peak.most) >= 2 * one);
    assert_int_equal((uint64_t)metric_value(peak.memory), bytes_of(&lake, service));
    lake_opened(&lake, NULL, NULL);
    /* one that fails gives its room back */
    assert_ok(store_delete(lake.store, lake_key(&lake, lake_prefix(&lake, "t", "log/"), 2), ERR));
    assert_kind(coll_rebuild(service, STR("t"), ERR), E_CORRUPT);
    assert_int_equal((uint64_t)metric_value(peak.memory), bytes_of(&lake, service));
    coll_service_close(service);
    metrics_free(metrics);
    lake_down(&lake);
}

/** A reader whose log was trimmed reads all anew; where there is no room for both it closes what it
 * has first. */
static void read_anew(bool room)
{
    struct lake lake;
    struct metrics *metrics = metrics_new();
    struct peak peak = { .memory = metric_get(metrics, METRIC_GAUGE,
                                              "lakehouse_vector_memory_bytes", "", "") };
    lake_up(&lake);
    lake_create(&lake, "t");
    for (unsigned i = 0; i < IDS; i++) {
        assert_ok(lake_put(lake.service, "t", id_of(i), i, NULL, ERR));
    }
    uint64_t one = bytes_of(&lake, lake.service);
    struct coll_service *reader = metered(&lake, metrics, true, room ? 0 : one + one / 2);
    assert_int_equal(lake_count(reader, "t"), IDS);
    one = bytes_of(&lake, reader);
    lake_opened(&lake, see_peak, &peak);
    unsigned count = IDS;
    do { /* again where it came just between the write and the trimming */
        assert_ok(lake_put(lake.service, "t", id_of(count), count, NULL, ERR));
        assert_ok(coll_settle(lake.service, STR("t"), true, ERR)); /* and the log is trimmed */
        count++;
        while (lake_count(reader, "t") < count) { /* a test that hangs here has failed */
        }
    } while (room && atomic_load(&peak.most) < 2 * one);
    lake_opened(&lake, NULL, NULL);
    assert_true(room || atomic_load(&peak.most) < 2 * one);
    coll_service_close(reader);
    assert_true(metric_value(peak.memory) >= 0);
    metrics_free(metrics);
    lake_down(&lake);
}

static void what_is_read_anew_counts_beside_what_is_there(void **state)
{
    read_anew(true);
    read_anew(false);
}

/** Each allocation of this thread fails once: what was acknowledged is there, the rest is said. */
static void without_memory_everything_says_so(void **state)
{
    bool failed = true;
    for (long n = 0; failed; n++) {
        struct lake lake;
        struct coll_answer answer;
        float query[DIM];
        lake_up(&lake);
        lake_create(&lake, "t");
        assert_ok(lake_put(lake.service, "t", "a", 1, NULL, ERR));
        lake_vector(2, query);
        const struct coll_query ask = { .vectors = query, .vector_count = 1, .with_vectors = true };
        mem_fail_nth(n);
        enum status put = lake_put(lake.service, "t", "b", 2, "{\"x\":1}", ERR);
        enum status again = lake_put(lake.service, "t", "a", 3, NULL, ERR);
        enum status gone = delete_one(&lake, 77);
        enum status search = coll_search(lake.service, STR("t"), &ask, &lake.arena, &answer, ERR);
        enum status settle = coll_settle(lake.service, STR("t"), true, ERR);
        failed = mem_fail_happened();
        mem_fail_nth(-1);
        enum status all[] = { put, again, gone, search, settle };
        for (size_t i = 0; i < ARRAY_LEN(all); i++) { /* the store may be who has none */
            assert_true(all[i] == OK || all[i] == E_NO_MEMORY || all[i] == E_UNAVAILABLE);
        }
        for (int i = 0; i < 2; i++) {
            lake_has(&lake, lake.service, "t", "a", again == OK ? 3 : 1);
            if (put == OK) {
                lake_has(&lake, lake.service, "t", "b", 2);
            } else {
                lake_lacks(&lake, lake.service, "t", "b");
            }
            assert_ok(coll_search(lake.service, STR("t"), &ask, &lake.arena, &answer, ERR));
            assert_int_equal(answer.queries[0].count, lake_count(lake.service, "t"));
            lake_again(&lake);
        }
        assert_ok(coll_settle(lake.service, STR("t"), true, ERR));
        lake_down(&lake);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_write_that_fails_or_loses_its_answer_loses_nothing),
        cmocka_unit_test(an_open_change_is_settled_before_the_next),
        cmocka_unit_test(snapshot_and_tail_are_what_the_whole_log_is),
        cmocka_unit_test(a_snapshot_leaves_one_snapshot_and_no_log_behind_it),
        cmocka_unit_test(rebuilding_and_compacting_change_nothing_that_is_told),
        cmocka_unit_test(a_gap_in_the_log_stops_the_index),
        cmocka_unit_test(damage_is_told_before_anybody_meets_it),
        cmocka_unit_test(a_flipped_bit_stops_the_index_wherever_it_is),
        cmocka_unit_test(another_index_s_object_stops_the_index),
        cmocka_unit_test(a_damaged_snapshot_stops_the_index),
        cmocka_unit_test(who_meets_a_newer_epoch_stops_writing_and_reads_on),
        cmocka_unit_test(a_writer_that_was_followed_by_another_reads_what_that_one_does),
        cmocka_unit_test(who_lost_the_role_takes_it_back_when_the_other_is_silent),
        cmocka_unit_test(who_slept_while_another_wrote_and_trimmed_acknowledges_nothing),
        cmocka_unit_test(a_reader_sees_what_the_writer_did),
        cmocka_unit_test(a_limit_of_memory_refuses_what_would_pass_it),
        cmocka_unit_test(a_second_body_counts_while_it_is_built),
        cmocka_unit_test(what_is_read_anew_counts_beside_what_is_there),
        cmocka_unit_test(the_least_used_is_closed_and_opened_again),
        cmocka_unit_test(without_memory_everything_says_so),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
