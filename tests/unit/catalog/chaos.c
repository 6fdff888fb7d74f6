#include "chaos.h"

#include <stdlib.h>

#include "base/mem.h"

static struct chaos_handle *handle_of(struct store *store)
{
    return (struct chaos_handle *)store;
}

/* --- turns --- */

static bool one_in(struct chaos *chaos, uint64_t n)
{
    return n > 0 && rng_below(&chaos->rng, n) == 0;
}

/** Guarded by lock. */
static int pick(struct chaos *chaos)
{
    int alive[CHAOS_WRITERS_MAX], count = 0;
    for (int i = 0; i < chaos->writers; i++) {
        if (chaos->active[i]) {
            alive[count++] = i;
        }
    }
    return count == 0 ? chaos->writers : alive[rng_below(&chaos->rng, (uint64_t)count)];
}

static void wait_turn(struct chaos *chaos, int who)
{
    while (chaos->turn != who) {
        pthread_cond_wait(&chaos->wake[who], &chaos->lock);
    }
}

static void give_turn(struct chaos *chaos)
{
    chaos->turn = pick(chaos);
    pthread_cond_signal(&chaos->wake[chaos->turn]);
}

void chaos_begin(struct chaos *chaos, int writer)
{
    pthread_mutex_lock(&chaos->lock);
    wait_turn(chaos, writer);
    pthread_mutex_unlock(&chaos->lock);
}

void chaos_end(struct chaos *chaos, int writer)
{
    pthread_mutex_lock(&chaos->lock);
    chaos->active[writer] = false;
    give_turn(chaos);
    pthread_mutex_unlock(&chaos->lock);
}

static void land(struct chaos *chaos, size_t at)
{
    struct chaos_put put = chaos->pending[at];
    chaos->pending[at] = chaos->pending[--chaos->pending_count];
    struct store_cond cond = { .if_absent = put.if_absent, .if_match = str_of(put.if_match) };
    enum status ignored = store_put(chaos->store, str_of(put.key), str_from(put.body, put.body_len),
                                    &cond, NULL, NULL);
    (void)ignored;
    mem_free(put.key);
    mem_free(put.body);
}

/** Before every operation: others may go first, late writes may land, we may die. */
static enum status step(struct chaos_handle *handle, struct err *err)
{
    struct chaos *chaos = handle->chaos;
    if (!handle->crashed) {
        pthread_mutex_lock(&chaos->lock);
        give_turn(chaos);
        wait_turn(chaos, handle->writer);
        pthread_mutex_unlock(&chaos->lock);
        while (chaos->pending_count > 0 && one_in(chaos, chaos->land_in)) {
            land(chaos, (size_t)rng_below(&chaos->rng, chaos->pending_count));
        }
        handle->crashed = one_in(chaos, chaos->crash_in);
    }
    return handle->crashed ? err_set(err, E_UPSTREAM, "the process is dead") : OK;
}

static enum status read_step(struct chaos_handle *handle, struct err *err)
{
    TRY(step(handle, err));
    if (one_in(handle->chaos, handle->chaos->stumble_in)) {
        return err_set(err, E_UPSTREAM, "the store stumbled");
    }
    return OK;
}

/* --- the driver --- */

static bool delay(struct chaos *chaos, struct str key, struct str body,
                  const struct store_cond *cond)
{
    if (chaos->pending_count == CHAOS_PENDING_MAX) {
        return false;
    }
    struct chaos_put *put = &chaos->pending[chaos->pending_count++];
    *put = (struct chaos_put){ .if_absent = cond->if_absent, .body_len = body.len };
    put->key = mem_strndup(key.ptr, key.len);
    put->body = mem_strndup(body.ptr, body.len);
    memcpy(put->if_match, cond->if_match.ptr != NULL ? cond->if_match.ptr : "", cond->if_match.len);
    return true;
}

static enum status chaos_store_put(struct store *store, struct str key, struct str body,
                                   const struct store_cond *cond, struct store_info *info,
                                   struct err *err)
{
    struct chaos_handle *handle = handle_of(store);
    struct chaos *chaos = handle->chaos;
    TRY(step(handle, err));
    if (one_in(chaos, chaos->lose_in)) {
        return err_set(err, E_UPSTREAM, "lost on the way there");
    }
    if (one_in(chaos, chaos->delay_in) && delay(chaos, key, body, cond)) {
        return err_set(err, E_TIMEOUT, "late");
    }
    enum status status = store_put(chaos->store, key, body, cond, info, err);
    /* as a proxy does that sends a request twice */
    if (status == OK && one_in(chaos, chaos->repeat_in)) {
        status = store_put(chaos->store, key, body, cond, info, err);
    }
    if (one_in(chaos, chaos->lose_in)) {
        return err_set(err, E_TIMEOUT, "lost on the way back");
    }
    if (one_in(chaos, chaos->crash_in)) { /* just after the write, where it hurts most */
        handle->crashed = true;
        return err_set(err, E_UPSTREAM, "the process is dead");
    }
    return status;
}

static enum status chaos_store_stat(struct store *store, struct str key, struct store_info *info,
                                    struct buf *attrs_out, struct err *err)
{
    TRY(read_step(handle_of(store), err));
    return store_stat(handle_of(store)->chaos->store, key, info, err);
}

static enum status chaos_store_open(struct store *store, struct str key, struct store_object **out,
                                    struct err *err)
{
    TRY(read_step(handle_of(store), err));
    return store_open(handle_of(store)->chaos->store, key, out, err);
}

static enum status chaos_store_list(struct store *store, const struct store_list_opts *opts,
                                    struct arena *arena, struct store_list *out, struct err *err)
{
    TRY(read_step(handle_of(store), err));
    return store_list(handle_of(store)->chaos->store, opts, arena, out, err);
}

static enum status chaos_store_remove(struct store *store, struct str key, struct str if_match,
                                      struct err *err)
{
    TRY(read_step(handle_of(store), err));
    return store_delete_if(handle_of(store)->chaos->store, key, if_match, err);
}

static struct str chaos_store_root(const struct store *store)
{
    return store_root_uri(((const struct chaos_handle *)store)->chaos->store);
}

static enum status chaos_store_ready(struct store *store, struct err *err)
{
    return OK;
}

static void chaos_store_close(struct store *store) {}

static const struct store_ops chaos_ops = {
    .name = "chaos",
    .close = chaos_store_close,
    .put = chaos_store_put,
    .stat = chaos_store_stat,
    .open = chaos_store_open,
    .list = chaos_store_list,
    .remove = chaos_store_remove,
    .root_uri = chaos_store_root,
    .ready = chaos_store_ready,
};

/* --- life --- */

void chaos_init(struct chaos *chaos, uint64_t seed, int writers, const struct lake_clock *clock)
{
    *chaos = (struct chaos){ .writers = writers, .turn = writers };
    rng_seed(&chaos->rng, seed);
    if (store_mem_open(&(struct store_mem_opts){ .clock = clock }, &chaos->store, NULL) != OK) {
        abort();
    }
    /* Some schedules are calm, some are storms. */
    static const uint64_t rates[] = { 0, 0, 200, 60, 20, 8, 2 };
    chaos->crash_in = rates[rng_below(&chaos->rng, 4)];
    chaos->lose_in = rates[rng_below(&chaos->rng, ARRAY_LEN(rates))];
    chaos->delay_in = rates[rng_below(&chaos->rng, ARRAY_LEN(rates))];
    chaos->repeat_in = rates[rng_below(&chaos->rng, ARRAY_LEN(rates))];
    chaos->stumble_in = rates[rng_below(&chaos->rng, ARRAY_LEN(rates))];
    static const uint64_t landings[] = { 4, 4, 40, 400 };
    chaos->land_in = landings[rng_below(&chaos->rng, ARRAY_LEN(landings))];
    pthread_mutex_init(&chaos->lock, NULL);
    for (int i = 0; i <= writers; i++) {
        pthread_cond_init(&chaos->wake[i], NULL);
    }
    for (int i = 0; i < writers; i++) {
        chaos->handles[i] = (struct chaos_handle){ .base.ops = &chaos_ops,
                                                   .chaos = chaos,
                                                   .writer = i };
    }
}

void chaos_run(struct chaos *chaos, void *(*work)(void *arg), void *args[])
{
    pthread_t threads[CHAOS_WRITERS_MAX];
    for (int i = 0; i < chaos->writers; i++) {
        chaos->active[i] = true;
    }
    for (int i = 0; i < chaos->writers; i++) {
        if (pthread_create(&threads[i], NULL, work, args[i]) != 0) {
            abort();
        }
    }
    pthread_mutex_lock(&chaos->lock);
    give_turn(chaos);
    wait_turn(chaos, chaos->writers);
    pthread_mutex_unlock(&chaos->lock);
    for (int i = 0; i < chaos->writers; i++) {
        pthread_join(threads[i], NULL);
    }
}

void chaos_settle(struct chaos *chaos)
{
    while (chaos->pending_count > 0) {
        land(chaos, (size_t)rng_below(&chaos->rng, chaos->pending_count));
    }
}

void chaos_settle_but(struct chaos *chaos, const char *prefix)
{
    for (size_t i = chaos->pending_count; i > 0; i--) {
        if (!str_starts(str_of(chaos->pending[i - 1].key), str_of(prefix))) {
            land(chaos, i - 1);
        }
    }
}

void chaos_done(struct chaos *chaos)
{
    chaos_settle(chaos);
    store_close(chaos->store);
    pthread_mutex_destroy(&chaos->lock);
    for (int i = 0; i <= chaos->writers; i++) {
        pthread_cond_destroy(&chaos->wake[i]);
    }
}
