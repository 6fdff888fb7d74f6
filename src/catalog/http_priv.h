/*
 * What the files of the http driver share: http.c (reading, appends), http_change.c (changes).
 */
#ifndef CATALOG_HTTP_PRIV_H
#define CATALOG_HTTP_PRIV_H

#include "catalog/catalog_priv.h"
#include "http/client.h"

enum {
    CALL_BODY_BYTES_MAX = 256 * 1024 * 1024,
    CALL_SENDS_MAX = 3, /* of what lands once however often it is sent; chosen */
    /* catalogd keeps a deadline itself; ours is a little later, so that its answer arrives */
    CALL_GRACE_MS = 5000,
};

struct remote {
    struct catalog base;
    struct http_client *client;
    struct store *store; /* borrowed */
};

struct remote *remote_of(struct catalog *catalog);

/** One call: a JSON object each way. */
struct call {
    struct buf body;
    struct json_writer w;
    struct http_answer answer;
    yyjson_doc *doc;
};

void call_begin(struct call *call);
void call_done(struct call *call);
/** POST what was written since call_begin; the answer's object is in *root_out until call_done.
 * Again after it failed: the same once more. */
enum status call_send(struct remote *remote, struct call *call, const char *target, bool repeatable,
                      deadline_ms deadline, yyjson_val **root_out, struct err *err) MUST_USE;
/**
 * The same for what changes something: at most `sends_max` times, until an answer comes.
 *
 * Errors   as the answer says, when no answer was lost before it. E_UNAVAILABLE "the outcome is
 *          unknown" when one was: it may have landed, and what the next answer says may be because
 *          of that. So it is when catalogd says E_INTERNAL, or a proxy does for it. E_UNAVAILABLE
 *          "nothing was changed" when catalogd was never reached
 */
enum status call_change(struct remote *remote, struct call *call, const char *target, int sends_max,
                        deadline_ms deadline, yyjson_val **root_out, struct err *err) MUST_USE;
/** `err` as the reason why nobody knows whether a call has landed. Also of an answer that says it
 * has and cannot be read. */
enum status call_unknown(struct err *err) MUST_USE;
/** For what answers at once. */
deadline_ms call_soon(void);

enum status remote_change(struct catalog *, enum catalog_kind, const struct catalog_change *,
                          deadline_ms, struct arena *, struct catalog_loaded *,
                          struct err *) MUST_USE;
enum status remote_create(struct catalog *, enum catalog_kind, const struct catalog_create *,
                          struct arena *, struct catalog_loaded *, struct err *) MUST_USE;
enum status remote_upkeep(struct catalog *, const struct catalog_upkeep *, struct buf *report,
                          struct err *) MUST_USE;
enum status remote_rename(struct catalog *, enum catalog_kind, const struct table_name *from,
                          const struct table_name *to, bool *missing_ns_out, struct err *) MUST_USE;
enum status remote_namespace_create(struct catalog *, struct str ns, const struct ice_property *,
                                    size_t, struct arena *, struct catalog_namespace *,
                                    struct err *) MUST_USE;
enum status remote_namespace_drop(struct catalog *, struct str ns, struct err *) MUST_USE;

#endif
