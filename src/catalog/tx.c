/*
 * Who meets a pointer with a transaction asks its record, and does what is left to do:
 *
 *   committed          swap the pointer to its `next`
 *   aborted, missing   swap it to its old content under a fresh commit id
 *   pending            the old content counts and nobody may swap; after five seconds of one's own
 *                      clock in which the record has not changed, swap the record to aborted
 *
 * Only the record's one swap decides, so clocks need not agree: whoever is too impatient makes a
 * transaction start again, never wrong.
 */
#include "catalog/tx.h"

#include <pthread.h>

#include "base/mem.h"

enum {
    TX_FORMAT = 1,
    TX_BYTES_MAX = 1024 * 1024,
    POINTER_BYTES_MAX = 16 * 1024 * 1024,
    PATIENCE_MS = 5000,
    SEEN_MAX = 128, /* more that are met in turns would be waited for without end */
    TRIES = 4
};

/* The ETag of a pointer that nobody may swap: no store gives this one. */
#define ETAG_HELD "held"

static const char *const states[] = { "missing", "pending", "committed", "aborted" };

/* --- how long have we seen it pending --- */

struct tx_seen {
    pthread_mutex_t lock;
    struct {
        char id[UUID_TEXT + 1], etag[STORE_ETAG_MAX + 1];
        int64_t since_ms; /* of the clock that goes on while the machine sleeps */
        uint64_t met;     /* when last, in meetings */
    } entries[SEEN_MAX];  /* guarded by lock */
    uint64_t meetings;    /* guarded by lock */
};

struct tx_seen *tx_seen_new(void)
{
    struct tx_seen *seen = mem_zalloc(sizeof(*seen));
    if (seen != NULL) {
        pthread_mutex_init(&seen->lock, NULL);
    }
    return seen;
}

void tx_seen_free(struct tx_seen *seen)
{
    if (seen != NULL) {
        pthread_mutex_destroy(&seen->lock);
        mem_free(seen);
    }
}

/** The entry of a transaction, or the one that was met longest ago. */
static size_t seen_place(const struct tx_seen *seen, struct str id)
{
    size_t oldest = 0;
    for (size_t i = 0; i < SEEN_MAX; i++) {
        if (str_eq(str_of(seen->entries[i].id), id)) {
            return i;
        }
        oldest = seen->entries[i].met < seen->entries[oldest].met ? i : oldest;
    }
    return oldest;
}

/** Has the record been pending under that ETag for so long that its maker must be dead? */
static bool is_stale(struct local *local, struct str id, const char *etag)
{
    struct tx_seen *seen = local->tx_seen;
    int64_t now = clock_boot_ms(local->clock);
    pthread_mutex_lock(&seen->lock);
    size_t at = seen_place(seen, id);
    bool same = str_eq(str_of(seen->entries[at].id), id) &&
                strcmp(seen->entries[at].etag, etag) == 0;
    if (!same) {
        snprintf(seen->entries[at].id, sizeof(seen->entries[at].id), "%.*s", STR_ARG(id));
        snprintf(seen->entries[at].etag, sizeof(seen->entries[at].etag), "%s", etag);
        seen->entries[at].since_ms = now;
    }
    seen->entries[at].met = ++seen->meetings;
    bool stale = same && now - seen->entries[at].since_ms >= PATIENCE_MS;
    pthread_mutex_unlock(&seen->lock);
    return stale;
}

/* --- the record --- */

struct record {
    enum tx_state state;
    char etag[STORE_ETAG_MAX + 1];
    struct buf body;
};

enum status tx_prefix(struct local *local, struct arena *arena, struct str *out, struct err *err)
{
    *out = arena_printf(arena, "_lake/cat/%.*s/tx/", STR_ARG(local->warehouse));
    return out->ptr == NULL ? err_no_memory(err) : OK;
}

static enum status record_key(struct local *local, struct str id, struct arena *arena,
                              struct str *out, struct err *err)
{
    struct str prefix;
    TRY(tx_prefix(local, arena, &prefix, err));
    *out = arena_printf(arena, "%.*s%.*s.json", STR_ARG(prefix), STR_ARG(id));
    return out->ptr == NULL ? err_no_memory(err) : OK;
}

static enum status state_of(struct str body, enum tx_state *out, struct err *err)
{
    AUTO(json_doc_done) yyjson_doc *doc = NULL;
    int64_t format = 0;
    struct str state = STR_EMPTY;
    enum status status = json_parse(body, &doc, err);
    if (status == E_NO_MEMORY) {
        return status;
    }
    if (status != OK ||
        json_get_i64(yyjson_doc_get_root(doc), "format", JSON_REQUIRED, &format, err) != OK ||
        json_get_str(yyjson_doc_get_root(doc), "state", JSON_REQUIRED, &state, err) != OK) {
        return err_set(err, E_CORRUPT, "the record of a transaction is broken");
    }
    for (size_t i = TX_PENDING; i < ARRAY_LEN(states) && format <= TX_FORMAT; i++) {
        if (str_eq(state, str_of(states[i]))) {
            *out = (enum tx_state)i;
            return OK;
        }
    }
    return err_set(err, E_UNSUPPORTED,
                   "the record of a transaction was written by a newer version");
}

static enum status record_read(struct local *local, struct str key, struct record *out,
                               struct err *err)
{
    struct store_info info;
    enum status status = OK;
    for (int i = 0; i < TRIES; i++) {
        buf_clear(&out->body);
        status = store_read(local->store, key, NULL, &out->body, &info, err);
        if (status != E_UPSTREAM && status != E_TIMEOUT) {
            break;
        }
    }
    if (status == E_NOT_FOUND) {
        out->state = TX_MISSING;
        return OK;
    }
    TRY(status);
    memcpy(out->etag, info.etag, sizeof(out->etag));
    return state_of(buf_str(&out->body), &out->state, err);
}

enum status tx_read(struct local *local, struct str id, enum tx_state *state_out, char *etag_out,
                    struct err *err)
{
    struct arena arena;
    struct record record = { .state = TX_MISSING };
    struct str key;
    arena_init(&arena, 16 * 1024);
    buf_init(&record.body, TX_BYTES_MAX);
    enum status status = record_key(local, id, &arena, &key, err);
    status = status == OK ? record_read(local, key, &record, err) : status;
    if (status == OK) {
        *state_out = record.state;
        memcpy(etag_out, record.etag, sizeof(record.etag));
    }
    buf_done(&record.body);
    arena_done(&arena);
    return status;
}

/** A record's "commit id" is its state: it changes once. */
static enum status is_in_state(struct str body, struct str state, bool *has_out, struct err *err)
{
    enum tx_state now;
    TRY(state_of(body, &now, err));
    *has_out = str_eq(state, str_of(states[now]));
    return OK;
}

enum status tx_begin(struct local *local, struct str id, const struct str *keys, size_t count,
                     deadline_ms deadline, enum swap_outcome *outcome_out, struct err *err)
{
    struct arena arena;
    struct str key;
    AUTO(buf_done) struct buf body;
    struct json_writer w;
    arena_init(&arena, 16 * 1024);
    buf_init(&body, TX_BYTES_MAX);
    json_writer_init(&w, &body);
    jw_obj_begin(&w);
    jw_kv_i64(&w, "format", TX_FORMAT);
    jw_kv_str(&w, "id", id);
    jw_kv_cstr(&w, "state", states[TX_PENDING]);
    jw_kv_i64(&w, "time_ms", clock_wall_ms(local->clock));
    jw_kv_arr(&w, "keys");
    for (size_t i = 0; i < count; i++) {
        jw_str(&w, keys[i]);
    }
    jw_arr_end(&w);
    jw_obj_end(&w);
    *outcome_out = SWAP_REFUSED;
    enum status status = json_writer_end(&w) == OK ? OK : err_no_memory(err);
    status = status == OK ? record_key(local, id, &arena, &key, err) : status;
    if (status == OK) {
        struct swap swap = { .key = key,
                             .base_etag = STR_EMPTY,
                             .body = buf_str(&body),
                             .commit_id = str_of(states[TX_PENDING]),
                             .deadline = deadline,
                             .has_commit = is_in_state };
        status = swap_pointer(local, &swap, outcome_out, err);
    }
    arena_done(&arena);
    return status;
}

/** The record's text with its state replaced. */
static enum status in_state(struct str body, enum tx_state state, struct buf *out, struct err *err)
{
    AUTO(json_doc_done) yyjson_doc *doc = NULL;
    struct json_writer w;
    size_t i, max;
    yyjson_val *key, *val;
    TRY(json_parse(body, &doc, err));
    json_writer_init(&w, out);
    jw_obj_begin(&w);
    yyjson_obj_foreach(yyjson_doc_get_root(doc), i, max, key, val)
    {
        jw_key(&w, str_from(yyjson_get_str(key), yyjson_get_len(key)));
        if (yyjson_equals_str(key, "state")) {
            jw_str(&w, str_of(states[state]));
        } else {
            jw_val(&w, val);
        }
    }
    jw_obj_end(&w);
    return json_writer_end(&w) == OK ? OK : err_no_memory(err);
}

static enum status record_swap(struct local *local, struct str key, const struct record *record,
                               enum tx_state to, deadline_ms deadline, struct err *err)
{
    enum swap_outcome outcome;
    AUTO(buf_done) struct buf body;
    buf_init(&body, TX_BYTES_MAX);
    TRY(in_state(buf_str(&record->body), to, &body, err));
    struct swap swap = { .key = key,
                         .base_etag = str_of(record->etag),
                         .body = buf_str(&body),
                         .commit_id = str_of(states[to]),
                         .deadline = deadline,
                         .has_commit = is_in_state };
    return swap_pointer(local, &swap, &outcome, err);
}

enum status tx_decide(struct local *local, struct str id, enum tx_state to, deadline_ms deadline,
                      enum tx_state *now_out, struct err *err)
{
    struct arena arena;
    struct record record = { .state = TX_PENDING };
    struct str key;
    arena_init(&arena, 16 * 1024);
    buf_init(&record.body, TX_BYTES_MAX);
    enum status status = record_key(local, id, &arena, &key, err);
    status = status == OK ? record_read(local, key, &record, err) : status;
    if (status == OK && record.state == TX_PENDING) {
        status = record_swap(local, key, &record, to, deadline, err);
        /* whoever has swapped it: what stands there now never changes again */
        status = status == OK ? record_read(local, key, &record, err) : status;
    }
    if (status == OK && record.state == TX_PENDING) {
        status = err_set(err, E_UNAVAILABLE, "the record of a transaction does not change");
    }
    if (status == OK) {
        *now_out = record.state;
    }
    buf_done(&record.body);
    arena_done(&arena);
    return status;
}

/* --- a pointer that is held --- */

/** What is decided, as far as one may know: a pending record that is too old is aborted now. */
static enum status decided(struct local *local, struct str id, enum tx_state *out, struct err *err)
{
    char etag[STORE_ETAG_MAX + 1] = "";
    TRY(tx_read(local, id, out, etag, err));
    if (*out == TX_PENDING && is_stale(local, id, etag)) {
        enum tx_state now;
        if (tx_decide(local, id, TX_ABORTED, deadline_in(PATIENCE_MS), &now, NULL) == OK) {
            *out = now;
        }
    }
    return OK;
}

/** The body that ends the hold, and its content. */
static enum status ended(struct local *local, const struct local_base *base, bool committed,
                         struct arena *arena, struct buf *body, struct pointer *next,
                         struct err *err)
{
    if (committed) {
        TRY(pointer_decode(arena, base->pointer.tx_next, next, err));
        return buf_append(body, base->pointer.tx_next) == OK ? OK : err_no_memory(err);
    }
    struct rng rng;
    *next = base->pointer;
    next->tx_id = next->tx_next = STR_EMPTY;
    local_rng(local, &rng);
    TRY(pointer_add_commit(arena, &base->pointer, &rng, next, err));
    return pointer_encode(next, body) == OK ? OK : err_no_memory(err);
}

/** One try. *again_out: the pointer has changed under us, `base` is what is there now. */
static enum status settle_once(struct local *local, struct str key, struct arena *arena,
                               struct local_base *base, bool *again_out, struct err *err)
{
    enum tx_state state = TX_PENDING;
    struct pointer next;
    struct store_info info = { 0 };
    AUTO(buf_done) struct buf body;
    buf_init(&body, POINTER_BYTES_MAX);
    *again_out = false;
    TRY(decided(local, base->pointer.tx_id, &state, err));
    if (state == TX_PENDING) {
        base->held = true;
        return OK;
    }
    /* it may have ended, and its record gone, since the pointer was read */
    if (state == TX_MISSING) {
        struct local_base now;
        TRY(local_read_body(local, key, arena, &now, err));
        *again_out = strcmp(now.etag, base->etag) != 0;
        if (*again_out) {
            *base = now;
            return OK;
        }
    }
    TRY(ended(local, base, state == TX_COMMITTED, arena, &body, &next, err));
    struct store_cond cond = { .if_match = str_of(base->etag) };
    if (store_put(local->store, key, buf_str(&body), &cond, &info, NULL) == OK) {
        base->pointer = next;
        base->live = next.state == POINTER_LIVE;
        memcpy(base->etag, info.etag, sizeof(base->etag));
        return OK;
    }
    struct local_base now;
    TRY(local_read_body(local, key, arena, &now, err));
    *again_out = strcmp(now.etag, base->etag) != 0;
    if (*again_out) {
        *base = now;
        return OK;
    }
    /* the store takes no writes: what was decided counts all the same, and can be read */
    base->pointer = next;
    base->live = next.state == POINTER_LIVE;
    base->held = true;
    return OK;
}

enum status tx_settle(struct local *local, struct str key, struct arena *arena,
                      struct local_base *base, struct err *err)
{
    bool again = true;
    for (int i = 0; again && base->found && base->pointer.tx_id.len > 0; i++) {
        if (i == TRIES) {
            return err_set(err, E_UNAVAILABLE, "\"%.*s\" changes all the time; try again",
                           STR_ARG(key));
        }
        TRY(settle_once(local, key, arena, base, &again, err));
    }
    if (base->held) {
        base->pointer.tx_id = base->pointer.tx_next = STR_EMPTY;
        snprintf(base->etag, sizeof(base->etag), ETAG_HELD);
    }
    return OK;
}
