/*
 * The router: a list of patterns, tried one by one. A server has a few dozen routes; comparing
 * first segments is faster than anything cleverer would be to read.
 */
#include "http/router.h"

#include "base/encode.h"
#include "base/mem.h"
#include "http/guard.h"

void router_init(struct router *router)
{
    *router = (struct router){ .entries = NULL };
}

static void entry_free(struct router_entry *entry)
{
    if (entry != NULL) {
        mem_free(entry->pattern);
        mem_free(entry->segments);
        mem_free(entry->rank);
        mem_free(entry);
    }
}

void router_done(struct router *router)
{
    for (size_t i = 0; i < router->count; i++) {
        entry_free(router->entries[i]);
    }
    mem_free(router->entries);
    router_init(router);
}

static bool is_param(struct str segment)
{
    return segment.len > 2 && segment.ptr[0] == '{' && segment.ptr[segment.len - 1] == '}';
}

static bool is_tail(struct str segment)
{
    return is_param(segment) && segment.len > 3 && segment.ptr[segment.len - 2] == '*';
}

static struct str param_name(struct str segment)
{
    return str_from(segment.ptr + 1, segment.len - (is_tail(segment) ? 3 : 2));
}

/* Cuts the pattern into segments and ranks it. */
static enum status entry_compile(struct router_entry *entry, struct err *err)
{
    struct str pattern = str_of(entry->pattern);
    size_t slashes = 0, params = 0;
    for (size_t i = 0; i < pattern.len; i++) {
        slashes += pattern.ptr[i] == '/';
    }
    if (pattern.len == 0 || pattern.ptr[0] != '/') {
        return err_set(err, E_INVALID, "route \"%s\" does not start with \"/\"", entry->pattern);
    }
    entry->segments = mem_zalloc(slashes * sizeof(*entry->segments));
    entry->rank = mem_zalloc(slashes + 1);
    if (entry->segments == NULL || entry->rank == NULL) {
        return err_no_memory(err);
    }
    struct str rest = str_skip(pattern, 1);
    if (rest.len == 0) {
        rest.ptr = NULL; /* "/": no segments */
    }
    while (rest.ptr != NULL) {
        struct str segment = str_split(&rest, '/');
        if (is_tail(segment) && rest.ptr != NULL) {
            return err_set(err, E_INVALID, "route \"%s\" has something after its tail",
                           entry->pattern);
        }
        params += is_param(segment);
        entry->rank[entry->segment_count] = is_tail(segment) ? 'c' : is_param(segment) ? 'b' : 'a';
        entry->segments[entry->segment_count++] = segment;
    }
    if (params > HTTP_PARAMS_MAX) {
        return err_set(err, E_INVALID, "route \"%s\" has more than %d parameters", entry->pattern,
                       HTTP_PARAMS_MAX);
    }
    return OK;
}

static struct router_entry *entry_new(const char *prefix, const struct http_route *route, void *ctx,
                                      struct err *err)
{
    struct router_entry *entry = mem_zalloc(sizeof(*entry));
    size_t prefix_len = strlen(prefix), len = strlen(route->pattern);
    if (entry == NULL || (entry->pattern = mem_alloc(prefix_len + len + 1)) == NULL) {
        (void)err_no_memory(err);
        goto fail;
    }
    memcpy(entry->pattern, prefix, prefix_len);
    memcpy(entry->pattern + prefix_len, route->pattern, len + 1);
    entry->route = *route;
    entry->ctx = route->ctx != NULL ? route->ctx : ctx;
    if (entry_compile(entry, err) != OK) {
        goto fail;
    }
    return entry;
fail:
    entry_free(entry);
    return NULL;
}

enum status router_add(struct router *router, const char *prefix, const struct http_route *route,
                       void *ctx, struct err *err)
{
    struct err local = { .kind = OK };
    err = err != NULL ? err : &local;
    if (router->count == router->cap) {
        size_t cap = router->cap == 0 ? 32 : router->cap * 2;
        struct router_entry **entries = mem_realloc(router->entries,
                                                    cap * sizeof(struct router_entry *));
        if (entries == NULL) {
            return err_no_memory(err);
        }
        router->entries = entries;
        router->cap = cap;
    }
    struct router_entry *entry = entry_new(prefix, route, ctx, err);
    if (entry == NULL) {
        return err->kind;
    }
    for (size_t i = 0; i < router->count; i++) {
        const struct router_entry *other = router->entries[i];
        if (other->route.method == route->method && strcmp(other->pattern, entry->pattern) == 0) {
            (void)err_set(err, E_INVALID, "route \"%s\" stands twice", entry->pattern);
            entry_free(entry);
            return E_INVALID;
        }
    }
    entry->index = router->count;
    router->entries[router->count++] = entry;
    return OK;
}

/* --- finding --- */

/* Compares the shape only; `values_out` takes the raw values in the order of the pattern. */
static bool entry_matches(const struct router_entry *entry, struct str path,
                          struct str values_out[HTTP_PARAMS_MAX])
{
    struct str rest = str_skip(path, 1);
    size_t values = 0;
    if (rest.len == 0) {
        rest.ptr = NULL;
    }
    for (size_t i = 0; i < entry->segment_count; i++) {
        struct str want = entry->segments[i];
        if (rest.ptr == NULL) {
            return false;
        }
        if (is_tail(want)) {
            values_out[values] = rest;
            return true; /* also when empty: the handler says what a name must be */
        }
        struct str segment = str_split(&rest, '/');
        if (is_param(want)) {
            if (segment.len == 0) {
                return false;
            }
            values_out[values++] = segment;
        } else if (!str_eq(segment, want)) {
            return false;
        }
    }
    return rest.ptr == NULL;
}

static bool method_fits(enum http_method route, enum http_method request)
{
    return route == HTTP_METHOD_OTHER || route == request ||
           (route == HTTP_GET && request == HTTP_HEAD);
}

/* GET also brings HEAD. Duplicates are left out. */
static enum status allow_list(const unsigned char seen[HTTP_METHOD_OTHER], struct http_req *req,
                              struct str *out)
{
    char text[128] = "";
    size_t len = 0;
    for (int m = 0; m < HTTP_METHOD_OTHER; m++) {
        if (seen[m]) {
            len += (size_t)snprintf(text + len, sizeof(text) - len, "%s%s", len > 0 ? ", " : "",
                                    http_method_name((enum http_method)m));
        }
    }
    *out = arena_str(&req->arena, str_from(text, len));
    return out->ptr == NULL ? E_NO_MEMORY : OK;
}

static enum status decode_params(struct http_req *req, const struct router_entry *entry,
                                 const struct str values[HTTP_PARAMS_MAX], struct err *err)
{
    req->param_count = 0;
    for (size_t i = 0; i < entry->segment_count; i++) {
        struct str segment = entry->segments[i];
        if (!is_param(segment)) {
            continue;
        }
        struct http_param *param = &req->params[req->param_count];
        struct str raw = values[req->param_count];
        param->name = param_name(segment);
        if (is_tail(segment) && (entry->route.flags & HTTP_ANY_TAIL)) {
            param->value = raw;
        } else if (is_tail(segment) && (entry->route.flags & HTTP_RAW_TAIL)) {
            if (guard_climbs(raw)) {
                return err_set(err, E_INVALID, "the path holds an encoded \"..\"");
            }
            param->value = raw;
        } else {
            TRY(percent_decode(&req->arena, raw, false, &param->value, err));
            if (str_find_char(param->value, '\0') != SIZE_MAX) {
                return err_set(err, E_INVALID, "\"%.*s\" holds a NUL byte", STR_ARG(param->name));
            }
            /* a tail is a name of its own: its handler says what it may be */
            if (!is_tail(segment) &&
                (str_eq(param->value, STR(".")) || str_eq(param->value, STR("..")))) {
                return err_set(err, E_INVALID, "\"%.*s\" may not be \"%.*s\"", STR_ARG(param->name),
                               STR_ARG(param->value));
            }
        }
        req->param_count++;
    }
    return OK;
}

enum status router_find(const struct router *router, struct http_req *req,
                        const struct router_entry **entry_out, struct str *allow_out,
                        struct err *err)
{
    const struct router_entry *best = NULL;
    struct str values[HTTP_PARAMS_MAX] = { STR_EMPTY },
               best_values[HTTP_PARAMS_MAX] = { STR_EMPTY };
    unsigned char seen[HTTP_METHOD_OTHER] = { 0 };
    bool path_known = false;
    for (size_t i = 0; i < router->count; i++) {
        const struct router_entry *entry = router->entries[i];
        if (!entry_matches(entry, req->path, values)) {
            continue;
        }
        path_known = true;
        enum http_method method = entry->route.method;
        if (method < HTTP_METHOD_OTHER) {
            seen[method] = 1;
            seen[HTTP_HEAD] |= method == HTTP_GET;
        }
        if (method_fits(method, req->method) &&
            (best == NULL || strcmp(entry->rank, best->rank) < 0)) {
            best = entry;
            memcpy(best_values, values, sizeof(values));
        }
    }
    if (best != NULL) {
        *entry_out = best;
        return decode_params(req, best, best_values, err);
    }
    if (path_known) {
        TRY(allow_list(seen, req, allow_out));
        return err_set(err, E_METHOD, "\"%.*s\" does not take %.*s; it takes %.*s",
                       STR_ARG(req->path), STR_ARG(req->method_name), STR_ARG(*allow_out));
    }
    if (guard_has_encoded_trick(req->path)) {
        return err_set(err, E_INVALID,
                       "the path holds an encoded slash, backslash or dot where a route is named");
    }
    return err_set(err, E_NOT_FOUND, "there is no route \"%.*s\"", STR_ARG(req->path));
}
