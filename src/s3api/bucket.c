/*
 * Buckets: which store and prefix a name stands for, and the operations on buckets themselves. What
 * is known of a bucket is one JSON object in the store, created and swapped under conditions; a
 * second of it is kept in memory, so that a read does not cost two.
 */
#include "s3api/s3api_priv.h"

#include <arpa/inet.h>
#include <string.h>

#include "base/json.h"
#include "base/mem.h"

#define RECORDS "_lake/s3/"

enum {
    RECORD_BYTES_MAX = 256 * 1024, /* CORS rules may have 64 KiB, tags 20 KiB */
    ENTRY_LIVES_MS = 1000,         /* how long another server's change may stay unseen; chosen */
    ENTRIES_MAX = 1024,
    CHANGE_TRIES = 64, /* each one lost means that somebody else changed it; chosen */
};

/** A record as it was read; len 0: there is none. */
struct bucket_entry {
    int64_t until_ms;
    char etag[STORE_ETAG_MAX + 1];
    int64_t modified_ms;
    size_t len;
    char json[];
};

enum status s3api_bucket_name_check(struct str name, struct err *err)
{
    char text[S3_BUCKET_MAX + 1] = "";
    struct in_addr address;
    bool fine = name.len >= 3 && name.len <= S3_BUCKET_MAX;
    for (size_t i = 0; fine && i < name.len; i++) {
        char c = name.ptr[i];
        bool letter = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
        bool edge = i == 0 || i == name.len - 1;
        bool doubled = !edge && !letter && (name.ptr[i - 1] == '.' || name.ptr[i + 1] == '.');
        fine = letter || (!edge && (c == '-' || c == '.') && !doubled);
    }
    if (fine) {
        memcpy(text, name.ptr, name.len);
        fine = inet_pton(AF_INET, text, &address) != 1;
    }
    return fine ? OK
                : err_set(err, E_INVALID,
                          "\"%.*s\" is no bucket name: 3 to 63 of a-z, 0-9, '-' and single '.'",
                          STR_ARG(name));
}

static struct str record_key(struct s3api_request *r, struct str name)
{
    return arena_printf(r->arena, RECORDS "%.*s.json", STR_ARG(name));
}

/* --- the records in memory --- */

static void forget(struct s3api *api, struct str name)
{
    pthread_mutex_lock(&api->lock);
    mem_free(map_remove(&api->buckets, name));
    pthread_mutex_unlock(&api->lock);
}

static void forget_all(struct s3api *api)
{
    size_t pos = 0;
    struct map_entry *entry;
    while ((entry = map_next(&api->buckets, &pos)) != NULL) {
        mem_free(entry->value);
    }
    map_done(&api->buckets);
    map_init(&api->buckets);
}

void s3api_buckets_done(struct s3api *api)
{
    forget_all(api);
}

static struct bucket_entry *entry_copy(struct s3api_request *r, const struct bucket_entry *entry)
{
    size_t size = sizeof(*entry) + entry->len;
    struct bucket_entry *copy = arena_alloc(r->arena, size);
    return copy != NULL ? memcpy(copy, entry, size) : NULL;
}

static struct bucket_entry *entry_kept(struct s3api_request *r, struct str name)
{
    struct s3api *api = r->api;
    struct bucket_entry *copy = NULL;
    pthread_mutex_lock(&api->lock);
    const struct bucket_entry *entry = map_get(&api->buckets, name);
    if (entry != NULL && entry->until_ms > clock_mono_ms(api->clock)) {
        copy = entry_copy(r, entry);
    }
    pthread_mutex_unlock(&api->lock);
    return copy;
}

bool s3api_bucket_known(struct s3api *api, struct str name)
{
    pthread_mutex_lock(&api->lock);
    const struct bucket_entry *entry = map_get(&api->buckets, name);
    bool known = entry != NULL && entry->until_ms > clock_mono_ms(api->clock);
    pthread_mutex_unlock(&api->lock);
    return known;
}

/** Losing one costs a read. */
static void entry_keep(struct s3api_request *r, struct str name, const struct bucket_entry *from)
{
    struct s3api *api = r->api;
    size_t size = sizeof(*from) + from->len;
    struct bucket_entry *entry = mem_alloc(size);
    void *old = NULL;
    if (entry == NULL) {
        return;
    }
    memcpy(entry, from, size);
    pthread_mutex_lock(&api->lock);
    if (api->buckets.count >= ENTRIES_MAX) {
        forget_all(api);
    }
    if (map_put(&api->buckets, name, entry, &old) != OK) {
        mem_free(entry);
    }
    mem_free(old);
    pthread_mutex_unlock(&api->lock);
}

static enum status entry_read(struct s3api_request *r, struct str name, struct bucket_entry **out)
{
    AUTO(buf_done) struct buf json;
    struct store_info info = { 0 };
    int64_t until_ms = clock_mono_ms(r->api->clock) + ENTRY_LIVES_MS;
    buf_init(&json, RECORD_BYTES_MAX);
    enum status status = store_read(r->api->store, record_key(r, name), NULL, &json, &info, r->err);
    if (status != OK && status != E_NOT_FOUND) {
        return status;
    }
    *r->err = (struct err){ 0 };
    struct bucket_entry *entry = arena_alloc(r->arena, sizeof(*entry) + json.len);
    if (entry == NULL) {
        return err_no_memory(r->err);
    }
    entry->until_ms = until_ms;
    entry->modified_ms = info.modified_ms;
    entry->len = status == OK ? json.len : 0;
    memcpy(entry->etag, info.etag, sizeof entry->etag);
    memcpy(entry->json, json.len > 0 ? json.ptr : "", json.len);
    entry_keep(r, name, entry);
    *out = entry;
    return OK;
}

static enum status entry_get(struct s3api_request *r, struct str name, struct bucket_entry **out)
{
    *out = entry_kept(r, name);
    return *out != NULL ? OK : entry_read(r, name, out);
}

/* --- a record --- */

static enum status record_parse(struct s3api_request *r, const struct bucket_entry *entry,
                                struct s3api_bucket *out)
{
    AUTO(json_doc_done) yyjson_doc *doc = NULL;
    out->acl = STR("private");
    out->cors = out->tags = STR_EMPTY;
    /* those of the settings are as old as the server, as far as anybody can tell */
    out->created_ms = entry->len > 0 ? entry->modified_ms : r->api->started_ms;
    memcpy(out->etag, entry->etag, sizeof out->etag);
    if (entry->len == 0) {
        return OK;
    }
    TRY(json_parse(str_from(entry->json, entry->len), &doc, r->err));
    yyjson_val *root = yyjson_doc_get_root(doc);
    TRY(json_get_i64(root, "created_ms", JSON_REQUIRED, &out->created_ms, r->err));
    TRY(json_get_str(root, "acl", JSON_OPTIONAL, &out->acl, r->err));
    TRY(json_get_str(root, "cors", JSON_OPTIONAL, &out->cors, r->err));
    TRY(json_get_str(root, "tags", JSON_OPTIONAL, &out->tags, r->err));
    out->acl = arena_str(r->arena, out->acl);
    out->cors = arena_str(r->arena, out->cors);
    out->tags = arena_str(r->arena, out->tags);
    return out->acl.ptr != NULL && out->cors.ptr != NULL && out->tags.ptr != NULL
               ? OK
               : err_no_memory(r->err);
}

static enum status record_write(const struct s3api_bucket *bucket, struct buf *out)
{
    struct json_writer w;
    json_writer_init(&w, out);
    jw_obj_begin(&w);
    jw_kv_i64(&w, "version", 1);
    jw_kv_i64(&w, "created_ms", bucket->created_ms);
    jw_kv_str(&w, "acl", bucket->acl);
    if (bucket->cors.len > 0) {
        jw_kv_str(&w, "cors", bucket->cors);
    }
    if (bucket->tags.len > 0) {
        jw_kv_str(&w, "tags", bucket->tags);
    }
    jw_obj_end(&w);
    return json_writer_end(&w);
}

enum status s3api_bucket_save(struct s3api_request *r, const struct s3api_bucket *bucket)
{
    AUTO(buf_done) struct buf json;
    struct store_cond cond = { .if_absent = bucket->etag[0] == '\0',
                               .if_match = str_of(bucket->etag) };
    buf_init(&json, RECORD_BYTES_MAX);
    enum status status = record_write(bucket, &json);
    if (status == E_TOO_LARGE) {
        return s3api_err(r, AWS_INVALID_REQUEST, "what is known of the bucket has grown too large");
    }
    if (status != OK || record_key(r, bucket->name).ptr == NULL) {
        return err_no_memory(r->err);
    }
    status = store_put(r->api->store, record_key(r, bucket->name), buf_str(&json), &cond, NULL,
                       r->err);
    forget(r->api, bucket->name);
    return status;
}

/* --- finding --- */

static const struct s3api_folder *folder_of(const struct s3api *api, struct str name)
{
    for (size_t i = 0; i < api->folder_count; i++) {
        if (str_eq(name, str_of(api->folders[i].name))) {
            return &api->folders[i];
        }
    }
    return NULL;
}

/** Buckets that are there without a record. */
static bool fixed_bucket(struct s3api_request *r, struct s3api_bucket *out)
{
    const struct s3api_folder *folder = folder_of(r->api, out->name);
    out->lake = folder == NULL && str_eq(out->name, STR(S3API_LAKE));
    out->store = folder != NULL ? folder->store : r->api->store;
    out->read_only = folder != NULL && folder->read_only;
    out->fixed = folder != NULL || out->lake;
    return out->fixed;
}

enum status s3api_bucket_find(struct s3api_request *r, struct str name, struct s3api_bucket *out)
{
    struct bucket_entry *entry = NULL;
    struct err why = { 0 };
    struct s3api_bucket bucket = { .name = name, .prefix = STR_EMPTY };
    bool fixed = fixed_bucket(r, &bucket);
    if (s3api_bucket_name_check(name, &why) != OK) {
        return s3api_err(r, AWS_NO_SUCH_BUCKET, "there is no bucket \"%.*s\"", STR_ARG(name));
    }
    TRY(entry_get(r, name, &entry));
    if (!fixed && entry->len == 0) {
        return s3api_err(r, AWS_NO_SUCH_BUCKET, "there is no bucket \"%.*s\"", STR_ARG(name));
    }
    TRY(record_parse(r, entry, &bucket));
    if (!fixed) {
        bucket.prefix = arena_printf(r->arena, "_buckets/%.*s/", STR_ARG(name));
        if (bucket.prefix.ptr == NULL) {
            return err_no_memory(r->err);
        }
    }
    *out = bucket;
    return OK;
}

enum status s3api_bucket_change(struct s3api_request *r, const struct s3api_bucket *wanted)
{
    struct s3api_bucket bucket = *wanted;
    for (unsigned i = 0; i < CHANGE_TRIES; i++) {
        enum status status = s3api_bucket_save(r, &bucket);
        if (status != E_PRECONDITION) {
            return status;
        }
        *r->err = (struct err){ 0 };
        TRY(s3api_bucket_find(r, wanted->name, &bucket));
        bucket.acl = str_eq(wanted->acl, r->bucket.acl) ? bucket.acl : wanted->acl;
        bucket.cors = str_eq(wanted->cors, r->bucket.cors) ? bucket.cors : wanted->cors;
        bucket.tags = str_eq(wanted->tags, r->bucket.tags) ? bucket.tags : wanted->tags;
    }
    return s3api_err(r, AWS_OPERATION_ABORTED, "%s", "");
}

/* --- operations --- */

/** What a page of ListBuckets is asked to be. */
struct bucket_page {
    struct str prefix, after; /* names */
    struct str region;        /* only those there; empty: all */
    uint64_t max;
    bool told; /* in the long form, because something was asked for */
    uint64_t count;
    struct str last;
    bool truncated;
};

static enum status read_page(struct s3api_request *r, struct bucket_page *page)
{
    struct str max = s3api_param(r, "max-buckets"), token = s3api_param(r, "continuation-token");
    *page = (struct bucket_page){ .prefix = s3api_param(r, "prefix"),
                                  .after = STR_EMPTY,
                                  .region = s3api_param(r, "bucket-region"),
                                  .last = STR_EMPTY,
                                  .max = S3_BUCKETS_MAX };
    page->told = page->prefix.ptr != NULL || page->region.ptr != NULL || max.ptr != NULL ||
                 token.ptr != NULL;
    if (max.ptr != NULL &&
        (!str_to_u64(max, &page->max) || page->max == 0 || page->max > S3_BUCKETS_MAX)) {
        return s3api_err(r, AWS_INVALID_ARGUMENT, "max-buckets is a number from 1 to %d",
                         S3_BUCKETS_MAX);
    }
    return token.ptr != NULL ? s3api_token_read(r, token, &page->after) : OK;
}

static enum status list_one(struct s3api_request *r, struct buf *xml, struct bucket_page *page,
                            struct str name)
{
    struct s3api_bucket bucket = { .created_ms = 0 };
    if ((r->grant != NULL && !s3api_grant_sees(r->grant, name)) ||
        !str_starts(name, page->prefix) || str_cmp(name, page->after) <= 0) {
        return OK;
    }
    enum status status = s3api_bucket_find(r, name, &bucket);
    if (status == E_NOT_FOUND) { /* deleted meanwhile */
        *r->err = (struct err){ 0 };
        r->code = AWS_NONE;
        return OK;
    }
    TRY(status);
    if (page->count == page->max) {
        page->truncated = true;
        return OK;
    }
    page->count++;
    page->last = name;
    TRY(xml_open(xml, "Bucket"));
    TRY(xml_put(xml, "Name", name));
    TRY(xml_put_time(xml, "CreationDate", bucket.created_ms));
    if (page->told) {
        TRY(xml_put(xml, "BucketRegion", str_of(r->api->region)));
    }
    return xml_close(xml, "Bucket");
}

static int compare_names(const void *a, const void *b)
{
    return str_cmp(*(const struct str *)a, *(const struct str *)b);
}

/** The names of all buckets, in order; those of records beside the fixed ones. */
static enum status bucket_names(struct s3api_request *r, struct str **names_out, size_t *count_out)
{
    struct s3api *api = r->api;
    struct store_list page = { 0 };
    struct store_list_opts opts = { .prefix = STR(RECORDS), .limit = STORE_LIST_MAX };
    TRY(store_list(api->store, &opts, r->arena, &page, r->err));
    struct str *names = arena_array(r->arena, page.object_count + api->folder_count + 1,
                                    sizeof(*names));
    size_t count = 0;
    if (names == NULL) {
        return err_no_memory(r->err);
    }
    names[count++] = STR(S3API_LAKE);
    for (size_t i = 0; i < api->folder_count; i++) {
        names[count++] = str_of(api->folders[i].name);
    }
    for (size_t i = 0; i < page.object_count; i++) {
        struct str name = str_skip(page.objects[i].key, STR(RECORDS).len);
        struct s3api_bucket fixed = { .name = str_take(name, name.len - STR(".json").len) };
        if (str_ends(name, STR(".json")) && !fixed_bucket(r, &fixed)) {
            names[count++] = fixed.name;
        }
    }
    qsort(names, count, sizeof(*names), compare_names);
    *names_out = names;
    *count_out = count;
    return OK;
}

enum status s3api_list_buckets(struct s3api_request *r)
{
    AUTO(buf_done) struct buf xml;
    struct str *names = NULL;
    struct bucket_page page;
    size_t count = 0;
    buf_init(&xml, 0);
    TRY(read_page(r, &page));
    TRY(bucket_names(r, &names, &count));
    if (page.region.len > 0 && !str_eq(page.region, str_of(r->api->region))) {
        count = 0;
    }
    TRY(xml_begin(&xml, "ListAllMyBucketsResult"));
    TRY(s3api_xml_owner(&xml, "Owner"));
    TRY(xml_open(&xml, "Buckets"));
    for (size_t i = 0; i < count && !page.truncated; i++) {
        TRY(list_one(r, &xml, &page, names[i]));
    }
    TRY(xml_close(&xml, "Buckets"));
    if (page.truncated) {
        TRY(s3api_token_put(&xml, "ContinuationToken", page.last));
    }
    if (page.prefix.len > 0) {
        TRY(xml_put(&xml, "Prefix", page.prefix));
    }
    TRY(xml_close(&xml, "ListAllMyBucketsResult"));
    return s3api_reply_xml(r, 200, &xml);
}

/** Place and tags; us-east-1 is what clients mean by no place at all. */
static enum status read_configuration(struct s3api_request *r, struct str *tags)
{
    const struct xml_node *root = NULL;
    if (r->xml_in.len == 0) {
        return OK;
    }
    TRY(s3api_xml_root(r, buf_str(&r->xml_in), "CreateBucketConfiguration", AWS_MALFORMED_XML,
                       &root));
    struct str place = xml_text(root, "LocationConstraint");
    if (place.len > 0 && !str_eq(place, str_of(r->api->region))) {
        return s3api_err(r, AWS_INVALID_LOCATION_CONSTRAINT, "this server's region is \"%s\"",
                         r->api->region);
    }
    return s3api_tags_from_set(r, xml_child(root, "Tags"), tags);
}

enum status s3api_create_bucket(struct s3api_request *r)
{
    struct err why = { 0 };
    struct s3api_bucket bucket = { .name = r->bucket_name,
                                   .store = r->api->store,
                                   .tags = STR_EMPTY };
    if (s3api_bucket_name_check(r->bucket_name, &why) != OK) {
        return s3api_err(r, AWS_INVALID_BUCKET_NAME, "%s", why.msg);
    }
    struct str lock = s3api_header(r, "x-amz-bucket-object-lock-enabled");
    if (str_eq_nocase(lock, STR("true"))) {
        return s3api_err(r, AWS_NOT_IMPLEMENTED, "object lock is not supported here");
    }
    TRY(read_configuration(r, &bucket.tags));
    TRY(s3api_acl_wanted(r, &bucket.acl));
    bucket.created_ms = clock_wall_ms(r->api->clock);
    enum status status = fixed_bucket(r, &bucket) ? E_PRECONDITION : s3api_bucket_save(r, &bucket);
    bool again = status == E_PRECONDITION;
    if (again && !str_eq(str_of(r->api->region), STR("us-east-1"))) {
        return s3api_err(r, AWS_BUCKET_ALREADY_OWNED_BY_YOU, "%s", "");
    }
    if (!again) {
        TRY(status);
    }
    *r->err = (struct err){ 0 };
    struct str place = arena_printf(r->arena, "/%.*s", STR_ARG(r->bucket_name));
    http_reply_header(r->http, "Location", place);
    return s3api_reply_empty(r, 200);
}

enum status s3api_head_bucket(struct s3api_request *r)
{
    http_reply_header(r->http, "x-amz-bucket-region", str_of(r->api->region));
    return s3api_reply_empty(r, 200);
}

/** Open uploads do not keep a bucket, and must not be those of the next one of its name. */
static enum status drop_uploads(struct s3api_request *r)
{
    struct store_uploads_opts opts = { .prefix = r->bucket.prefix };
    struct store_uploads page = { .truncated = true };
    while (page.truncated) {
        enum status status = store_upload_list(r->bucket.store, &opts, r->arena, &page, r->err);
        if (status == E_UNSUPPORTED) {
            *r->err = (struct err){ 0 };
            return OK;
        }
        TRY(status);
        for (size_t i = 0; i < page.count; i++) {
            const struct store_upload *upload = &page.items[i];
            status = store_upload_abort(r->bucket.store, upload->key, upload->id, r->err);
            if (status != E_NOT_FOUND) {
                TRY(status);
            }
            *r->err = (struct err){ 0 };
            opts.after_key = upload->key;
            opts.after_id = upload->id;
        }
    }
    return OK;
}

enum status s3api_delete_bucket(struct s3api_request *r)
{
    const struct s3api_bucket *bucket = &r->bucket;
    struct store_list page = { 0 };
    if (bucket->fixed) {
        return s3api_err(r, AWS_ACCESS_DENIED, "bucket \"%.*s\" belongs to the server's settings",
                         STR_ARG(bucket->name));
    }
    TRY(store_list(bucket->store, &(struct store_list_opts){ .prefix = bucket->prefix, .limit = 1 },
                   r->arena, &page, r->err));
    if (page.object_count + page.prefix_count > 0) {
        return s3api_err(r, AWS_BUCKET_NOT_EMPTY, "%s", "");
    }
    TRY(drop_uploads(r));
    enum status status = store_delete_if(r->api->store, record_key(r, bucket->name),
                                         str_of(bucket->etag), r->err);
    forget(r->api, bucket->name);
    if (status == E_PRECONDITION) {
        return s3api_err(r, AWS_OPERATION_ABORTED, "%s", "");
    }
    TRY(status);
    return s3api_reply_empty(r, 204);
}

enum status s3api_get_bucket_location(struct s3api_request *r)
{
    AUTO(buf_done) struct buf xml;
    bool home = str_eq(str_of(r->api->region), STR("us-east-1"));
    buf_init(&xml, 0);
    /* the root itself holds the text, and the default region is none */
    TRY(buf_append(&xml, STR("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"
                             "<LocationConstraint xmlns=\"" AWS_XML_NAMESPACE "\">")));
    TRY(buf_append(&xml, home ? STR_EMPTY : str_of(r->api->region)));
    TRY(buf_append(&xml, STR("</LocationConstraint>")));
    return s3api_reply_xml(r, 200, &xml);
}
