/*
 * Listings by ListObjectsV2: pages of at most 1,000 joined until the caller's limit, keys in byte
 * order as S3 promises, percent-encoded on the way so that every legal key survives XML.
 */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "aws/xml.h"
#include "base/encode.h"
#include "base/mem.h"
#include "store/s3_priv.h"

/* The greatest character: behind a common prefix it is behind every key that it hides. */
#define LAST_CHARACTER "\xf4\x8f\xbf\xbf"

struct listing {
    struct s3_store *s3;
    const struct store_list_opts *opts;
    struct arena *arena;
    struct store_list list;
    struct str token; /* of the next page */
    bool more;
};

/* --- the question --- */

static bool add_param(struct buf *query, const char *name, struct str a, struct str b)
{
    return buf_printf(query, "&%s=", name) == OK && percent_append(query, a, "") == OK &&
           percent_append(query, b, "") == OK;
}

/** The common prefix that `after` is or lies inside of; length 0: none. */
static struct str prefix_of_after(const struct store_list_opts *opts)
{
    if (opts->delimiter.len == 0 || !str_starts(opts->after, opts->prefix)) {
        return STR_EMPTY;
    }
    size_t at = str_find(str_skip(opts->after, opts->prefix.len), opts->delimiter);
    return at == SIZE_MAX ? STR_EMPTY
                          : str_take(opts->after, opts->prefix.len + at + opts->delimiter.len);
}

static enum status make_query(const struct listing *listing, size_t want, struct buf *query,
                              struct err *err)
{
    const struct store_list_opts *opts = listing->opts;
    struct str prefix = str_of(listing->s3->prefix);
    bool fine = buf_printf(query, "list-type=2&encoding-type=url&max-keys=%zu", want) == OK &&
                add_param(query, "prefix", prefix, opts->prefix);
    if (fine && opts->delimiter.len > 0) {
        fine = add_param(query, "delimiter", opts->delimiter, STR_EMPTY);
    }
    if (fine && listing->token.len > 0) {
        fine = add_param(query, "continuation-token", listing->token, STR_EMPTY);
    } else if (fine && opts->after.len > 0) {
        /* A page that ended with a common prefix goes on behind all that it hides. */
        fine = add_param(query, "start-after", prefix, opts->after) &&
               (prefix_of_after(opts).len == 0 ||
                percent_append(query, STR(LAST_CHARACTER), "") == OK);
    }
    return fine ? OK : err_no_memory(err);
}

/* --- the answer --- */

static enum status name_take(struct listing *listing, struct str encoded, struct str *out,
                             struct err *err)
{
    struct str prefix = str_of(listing->s3->prefix);
    TRY(percent_decode(listing->arena, encoded, true, out, err));
    if (!str_starts(*out, prefix)) {
        return err_set(err, E_UPSTREAM, "the store lists \"%.*s\", which is outside of the prefix",
                       STR_ARG(*out));
    }
    *out = str_skip(*out, prefix.len);
    return OK;
}

/** 2024-01-02T03:04:05.678Z; 0 when it is none. */
static int64_t time_ms(struct str text)
{
    struct tm tm = { 0 };
    unsigned ms = 0;
    char copy[40];
    size_t len = text.len < sizeof copy - 1 ? text.len : sizeof copy - 1;
    if (len > 0) {
        memcpy(copy, text.ptr, len);
    }
    copy[len] = '\0';
    const char *rest = strptime(copy, "%Y-%m-%dT%H:%M:%S", &tm);
    if (rest == NULL) {
        return 0;
    }
    if (*rest == '.') {
        ms = (unsigned)(strtod(rest, NULL) * 1000 + 0.5);
    }
    return (int64_t)timegm(&tm) * 1000 + ms;
}

static enum status object_take(struct listing *listing, const struct xml_node *node,
                               struct err *err)
{
    struct store_info *info = &listing->list.objects[listing->list.object_count];
    *info = (struct store_info){ 0 };
    TRY(name_take(listing, xml_text(node, "Key"), &info->key, err));
    if (!str_to_u64(xml_text(node, "Size"), &info->size)) {
        return err_set(err, E_UPSTREAM, "the store lists \"%.*s\" without a size",
                       STR_ARG(info->key));
    }
    info->modified_ms = time_ms(xml_text(node, "LastModified"));
    (void)!s3_etag_read(xml_text(node, "ETag"), info->etag);
    if (info->key.len > 0) {
        listing->list.object_count++; /* not the marker of the prefix itself */
    }
    return OK;
}

static enum status page_take(struct listing *listing, const struct xml_node *root, struct err *err)
{
    bool full = false;
    for (const struct xml_node *node = root->first; node != NULL; node = node->next) {
        bool object = str_eq(node->name, STR("Contents"));
        if (!object && !str_eq(node->name, STR("CommonPrefixes"))) {
            continue;
        }
        full = listing->list.object_count + listing->list.prefix_count >= listing->opts->limit;
        if (full) {
            break;
        }
        if (object) {
            TRY(object_take(listing, node, err));
        } else {
            struct str *prefix = &listing->list.prefixes[listing->list.prefix_count];
            TRY(name_take(listing, xml_text(node, "Prefix"), prefix, err));
            listing->list.prefix_count++;
        }
    }
    struct str token = xml_text(root, "NextContinuationToken");
    listing->more = full || str_eq(xml_text(root, "IsTruncated"), STR("true"));
    listing->token = arena_str(listing->arena, token);
    if (listing->token.ptr == NULL) {
        return err_no_memory(err);
    }
    if (listing->more && !full && token.len == 0) {
        return err_set(err, E_UPSTREAM, "the store cuts a listing and does not say how to go on");
    }
    return OK;
}

static enum status page_fetch(struct listing *listing, size_t want, struct err *err)
{
    struct buf query;
    struct arena scratch;
    struct http_answer answer = { 0 };
    struct xml_node *root = NULL;
    buf_init(&query, S3_TARGET_BYTES_MAX);
    arena_init(&scratch, 0);
    enum status status = make_query(listing, want, &query, err);
    if (status == OK) {
        struct s3_request request = { .query = buf_str(&query), .repeatable = true };
        status = s3_call_ok(listing->s3, &request, &answer, err);
    }
    if (status == OK && xml_read(buf_str(&answer.body), &scratch, &root, err) != OK) {
        (void)err_context(err, "the store's listing");
        status = E_UPSTREAM;
    }
    if (status == OK) {
        status = page_take(listing, root, err);
    }
    http_answer_done(&answer);
    arena_done(&scratch);
    buf_done(&query);
    return status;
}

/**
 * Stores disagree about a start inside of a common prefix: some drop that prefix though more keys
 * of it follow. So that is asked first, and the listing starts behind it.
 */
static enum status inner_start(struct listing *listing, struct store_list_opts *opts,
                               struct err *err)
{
    struct str prefix = prefix_of_after(opts);
    if (prefix.len == 0 || prefix.len == opts->after.len) {
        return OK;
    }
    struct store_list_opts inner = { .prefix = prefix, .after = opts->after, .limit = 1 };
    struct store_list found;
    TRY(s3_list(&listing->s3->base, &inner, listing->arena, &found, err));
    if (found.object_count > 0) {
        listing->list.prefixes[listing->list.prefix_count++] = prefix;
    }
    opts->after = prefix;
    return OK;
}

enum status s3_list(struct store *store, const struct store_list_opts *asked, struct arena *arena,
                    struct store_list *out, struct err *err)
{
    struct store_list_opts copy = *asked;
    const struct store_list_opts *opts = &copy;
    struct listing listing = { .s3 = (struct s3_store *)store, .opts = opts, .arena = arena };
    struct store_list *list = &listing.list;
    list->objects = arena_array(arena, opts->limit + 1, sizeof *list->objects);
    list->prefixes = arena_array(arena, opts->limit + 1, sizeof *list->prefixes);
    if (list->objects == NULL || list->prefixes == NULL) {
        return err_no_memory(err);
    }
    TRY(inner_start(&listing, &copy, err));
    size_t count = list->prefix_count;
    do {
        size_t want = opts->limit - count < S3_LIST_MAX ? opts->limit - count : S3_LIST_MAX;
        TRY(page_fetch(&listing, want > 0 ? want : 1, err));
        count = list->object_count + list->prefix_count;
    } while (listing.more && count < opts->limit);
    list->truncated = listing.more;
    if (listing.more && count > 0) {
        struct str object = list->object_count > 0 ? list->objects[list->object_count - 1].key
                                                   : STR_EMPTY;
        struct str prefix = list->prefix_count > 0 ? list->prefixes[list->prefix_count - 1]
                                                   : STR_EMPTY;
        list->next = str_cmp(object, prefix) > 0 ? object : prefix;
    }
    *out = *list;
    return OK;
}
