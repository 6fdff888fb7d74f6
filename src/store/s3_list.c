/*
 * Listings by ListObjectsV2: pages of at most 1,000 joined until the caller's limit, keys in byte
 * order as S3 promises, percent-encoded on the way so that every legal key survives XML.
 *
 * MinIO, which keeps keys as folders, misses some behind a start-after that lies in one of two
 * folders like "data/" and "data-old/" (seen with that of February 2026; its continuation tokens
 * are right). There a listing that goes on takes the token that the one before has left here, and
 * where there is none it starts at the front and drops what was before. It also goes round in
 * circles where common prefixes end with anything but a slash; those are made here.
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
    bool full;       /* the last page had more than was wanted */
    bool group;      /* common prefixes are made here, of a list of all */
    bool skip;       /* the store is not told opts->after */
    struct str last; /* what is not behind it is dropped: MinIO may tell a common prefix again */
};

/* --- where listings stopped --- */

static struct str place_name(const struct store_list_opts *opts, struct str after,
                             struct arena *arena)
{
    return arena_printf(arena, "%zu %zu %.*s%.*s%.*s", opts->prefix.len, opts->delimiter.len,
                        STR_ARG(opts->prefix), STR_ARG(opts->delimiter), STR_ARG(after));
}

/** Into the arena; empty: nobody has stopped there lately. */
static struct str place_find(struct s3_store *s3, const struct store_list_opts *opts,
                             struct arena *arena)
{
    struct str name = place_name(opts, opts->after, arena), token = STR_EMPTY;
    pthread_mutex_lock(&s3->places_lock);
    for (size_t i = 0; i < ARRAY_LEN(s3->places) && name.ptr != NULL; i++) {
        if (s3->places[i].name != NULL && str_eq(str_of(s3->places[i].name), name)) {
            token = arena_str(arena, str_of(s3->places[i].token));
        }
    }
    pthread_mutex_unlock(&s3->places_lock);
    return token;
}

/** Without memory it is not kept, and the next one is slower. */
static void place_keep(struct s3_store *s3, const struct store_list_opts *opts, struct str next,
                       struct str token, struct arena *arena)
{
    struct str name = place_name(opts, next, arena);
    char *name_copy = name.ptr != NULL ? mem_strndup(name.ptr, name.len) : NULL;
    char *token_copy = mem_strndup(token.ptr, token.len);
    if (name_copy == NULL || token_copy == NULL) {
        mem_free(name_copy);
        mem_free(token_copy);
        return;
    }
    pthread_mutex_lock(&s3->places_lock);
    struct s3_place *place = &s3->places[s3->place_next++ % ARRAY_LEN(s3->places)];
    mem_free(place->name);
    mem_free(place->token);
    *place = (struct s3_place){ name_copy, token_copy };
    pthread_mutex_unlock(&s3->places_lock);
}

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
    if (fine && opts->delimiter.len > 0 && !listing->group) {
        fine = add_param(query, "delimiter", opts->delimiter, STR_EMPTY);
    }
    if (fine && listing->token.len > 0) {
        fine = add_param(query, "continuation-token", listing->token, STR_EMPTY);
    } else if (fine && opts->after.len > 0 && !listing->skip) {
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

/** 2024-01-02T03:04:05.678Z; 0 when it is none. Whole seconds, which is all that the headers of the
 * same object tell: some stores list a part of a second too. */
static int64_t time_ms(struct str text)
{
    struct tm tm = { 0 };
    char copy[40];
    size_t len = text.len < sizeof copy - 1 ? text.len : sizeof copy - 1;
    if (len > 0) {
        memcpy(copy, text.ptr, len);
    }
    copy[len] = '\0';
    return strptime(copy, "%Y-%m-%dT%H:%M:%S", &tm) != NULL ? (int64_t)timegm(&tm) * 1000 : 0;
}

static enum status object_take(struct listing *listing, const struct xml_node *node, struct str key,
                               struct err *err)
{
    struct store_info *info = &listing->list.objects[listing->list.object_count];
    *info = (struct store_info){ .key = key };
    if (!str_to_u64(xml_text(node, "Size"), &info->size)) {
        return err_set(err, E_UPSTREAM, "the store lists \"%.*s\" without a size", STR_ARG(key));
    }
    info->modified_ms = time_ms(xml_text(node, "LastModified"));
    (void)!s3_etag_read(xml_text(node, "ETag"), info->etag);
    listing->list.object_count++;
    return OK;
}

struct entry {
    struct str name;
    const struct xml_node *object; /* NULL: a common prefix */
};

static int entry_compare(const void *a, const void *b)
{
    return str_cmp(((const struct entry *)a)->name, ((const struct entry *)b)->name);
}

/** Objects and common prefixes of a page in one order; the answer has them one after the other. */
static enum status entries_of(struct listing *listing, const struct xml_node *root,
                              struct arena *scratch, struct entry **out, size_t *count_out,
                              struct err *err)
{
    size_t count = 0, most = 0;
    for (const struct xml_node *node = root->first; node != NULL; node = node->next) {
        most++;
    }
    struct entry *entries = arena_array(scratch, most + 1, sizeof *entries);
    if (entries == NULL) {
        return err_no_memory(err);
    }
    for (const struct xml_node *node = root->first; node != NULL; node = node->next) {
        bool object = str_eq(node->name, STR("Contents"));
        if (!object && !str_eq(node->name, STR("CommonPrefixes"))) {
            continue;
        }
        struct entry *entry = &entries[count];
        entry->object = object ? node : NULL;
        TRY(name_take(listing, xml_text(node, object ? "Key" : "Prefix"), &entry->name, err));
        size_t skip = listing->opts->prefix.len;
        size_t at = listing->group ? str_find(str_skip(entry->name, skip), listing->opts->delimiter)
                                   : SIZE_MAX;
        if (at != SIZE_MAX) {
            entry->name = str_take(entry->name, skip + at + listing->opts->delimiter.len);
            entry->object = NULL;
        }
        count += entry->name.len > 0; /* not the marker of the prefix itself */
    }
    qsort(entries, count, sizeof *entries, entry_compare);
    *out = entries;
    *count_out = count;
    return OK;
}

static enum status page_take(struct listing *listing, const struct xml_node *root,
                             struct arena *scratch, struct err *err)
{
    struct entry *entries = NULL;
    size_t count = 0;
    bool full = false;
    TRY(entries_of(listing, root, scratch, &entries, &count, err));
    for (size_t i = 0; i < count && !full; i++) {
        struct entry *entry = &entries[i];
        if (str_cmp(entry->name, listing->last) <= 0) {
            continue;
        }
        full = listing->list.object_count + listing->list.prefix_count >= listing->opts->limit;
        if (!full && entry->object != NULL) {
            TRY(object_take(listing, entry->object, entry->name, err));
        } else if (!full) {
            listing->list.prefixes[listing->list.prefix_count++] = entry->name;
        }
        listing->last = full ? listing->last : entry->name;
    }
    struct str token = xml_text(root, "NextContinuationToken"), before = listing->token;
    listing->full = full;
    listing->more = full || str_eq(xml_text(root, "IsTruncated"), STR("true"));
    listing->token = arena_str(listing->arena, token);
    if (listing->token.ptr == NULL) {
        return err_no_memory(err);
    }
    if (listing->more && !full && (token.len == 0 || str_eq(token, before))) {
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
        status = page_take(listing, root, &scratch, err);
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
    size_t slash = str_rfind_char(opts->prefix, '/');
    struct str folder = slash == SIZE_MAX ? STR_EMPTY : str_take(opts->prefix, slash + 1);
    if (listing.s3->hides && folder.len > 0 && store_key_check_plain(folder, NULL) != OK) {
        *out = *list; /* MinIO refuses the question, as it does such keys */
        return OK;
    }
    list->objects = arena_array(arena, opts->limit + 1, sizeof *list->objects);
    list->prefixes = arena_array(arena, opts->limit + 1, sizeof *list->prefixes);
    if (list->objects == NULL || list->prefixes == NULL) {
        return err_no_memory(err);
    }
    TRY(inner_start(&listing, &copy, err));
    listing.group = listing.s3->hides && opts->delimiter.len > 0 &&
                    !str_eq(opts->delimiter, STR("/"));
    if (listing.s3->hides && opts->after.len > 0) {
        listing.last = opts->after;
        listing.token = place_find(listing.s3, opts, arena);
        listing.skip = true;
    }
    bool dropping = listing.skip && listing.token.len == 0;
    size_t count = list->prefix_count;
    do {
        size_t left = opts->limit - count < S3_LIST_MAX ? opts->limit - count : S3_LIST_MAX;
        /* MinIO says that a page of one is the last when that one is the prefix itself. */
        size_t least = listing.s3->hides ? 2 : 1;
        TRY(page_fetch(&listing, dropping ? S3_LIST_MAX : left > least ? left : least, err));
        count = list->object_count + list->prefix_count;
    } while (listing.more && count < opts->limit);
    list->truncated = listing.more;
    if (listing.more && count > 0) {
        struct str object = list->object_count > 0 ? list->objects[list->object_count - 1].key
                                                   : STR_EMPTY;
        struct str prefix = list->prefix_count > 0 ? list->prefixes[list->prefix_count - 1]
                                                   : STR_EMPTY;
        list->next = str_cmp(object, prefix) > 0 ? object : prefix;
        if (listing.s3->hides && !listing.full) {
            place_keep(listing.s3, opts, list->next, listing.token, arena);
        }
    }
    *out = *list;
    return OK;
}
