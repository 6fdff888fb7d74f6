/*
 * The door to the drivers' uploads in parts, as store.c is that to their objects: checks names and
 * limits, then calls the driver's table.
 */
#include "store/upload.h"

#include <stdio.h>

#include "base/rng.h"
#include "store/store_priv.h"

static const struct store_cond no_cond;

/* --- what drivers share --- */

void store_upload_id_make(int64_t now_ms, char out[STORE_UPLOAD_ID_MAX + 1])
{
    /* 12 digits of milliseconds last until the year 10889 */
    snprintf(out, STORE_UPLOAD_ID_MAX + 1, "%012llx%016llx%08x", (unsigned long long)now_ms,
             (unsigned long long)random_u64(), (unsigned)random_u64());
}

enum status store_upload_not_found(const struct store_upload_ref *ref, struct err *err)
{
    return err_set(err, E_NOT_FOUND, "upload \"%.*s\" of \"%.*s\" is not there", STR_ARG(ref->id),
                   STR_ARG(ref->key));
}

enum status store_part_size_check(unsigned number, int64_t size, uint64_t written, bool whole,
                                  struct err *err)
{
    if (size < 0 || (whole ? written == (uint64_t)size : written <= (uint64_t)size)) {
        return OK;
    }
    return err_set(err, E_INVALID, "part %u has %s%llu bytes, not the %lld that were announced",
                   number, whole ? "" : "at least ", (unsigned long long)written, (long long)size);
}

enum status store_part_ref_check(const struct store_part_ref *part, const char *etag,
                                 struct err *err)
{
    if (etag == NULL) {
        return err_set(err, E_CONFLICT, "part %u was not uploaded", part->number);
    }
    if (!str_eq(part->etag, str_of(etag))) {
        return err_set(err, E_CONFLICT, "part %u has the ETag \"%s\", not \"%.*s\"", part->number,
                       etag, (int)str_take(part->etag, STORE_ETAG_MAX).len, part->etag.ptr);
    }
    return OK;
}

bool store_upload_wanted(const struct store_uploads_opts *opts, struct str key, struct str id)
{
    int order = str_cmp(key, opts->after_key);
    bool behind = order > 0 ||
                  (order == 0 && opts->after_id.len > 0 && str_cmp(id, opts->after_id) > 0);
    return behind && str_starts(key, opts->prefix);
}

/* --- checks --- */

static enum status have_uploads(const struct store *store, struct err *err)
{
    return store->ops->uploads != NULL
               ? OK
               : err_set(err, E_UNSUPPORTED, "this store takes no uploads in parts");
}

static bool id_valid(struct str id)
{
    for (size_t i = 0; i < id.len; i++) {
        char c = id.ptr[i];
        if (!((c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
              str_find_char(STR("._~-"), c) != SIZE_MAX)) {
            return false;
        }
    }
    return id.len > 0 && id.len <= STORE_UPLOAD_ID_MAX;
}

/** What is no id is none of an upload. */
static enum status ref_check(const struct store *store, const struct store_upload_ref *ref,
                             struct err *err)
{
    TRY(have_uploads(store, err));
    TRY(store_key_check(ref->key, err));
    if (!id_valid(ref->id)) {
        return err_set(err, E_NOT_FOUND, "there is no upload of such an id");
    }
    return OK;
}

static enum status part_refs_check(const struct store_part_ref *parts, size_t count,
                                   struct err *err)
{
    if (count == 0 || count > STORE_PARTS_MAX) {
        return err_set(err, E_INVALID, "an object has 1 to %d parts, not %zu", STORE_PARTS_MAX,
                       count);
    }
    for (size_t i = 0; i < count; i++) {
        if (parts[i].number == 0 || parts[i].number > STORE_PARTS_MAX) {
            return err_set(err, E_INVALID, "the number of a part is 1 to %d, not %u",
                           STORE_PARTS_MAX, parts[i].number);
        }
        if (i > 0 && parts[i].number <= parts[i - 1].number) {
            return err_set(err, E_INVALID, "part %u comes after part %u: their order is ascending",
                           parts[i].number, parts[i - 1].number);
        }
    }
    return OK;
}

static size_t page_limit(size_t limit)
{
    return limit == 0 || limit > STORE_UPLOAD_PAGE_MAX ? STORE_UPLOAD_PAGE_MAX : limit;
}

/* --- the calls --- */

enum status store_upload_begin(struct store *store, struct str key, const struct store_attrs *attrs,
                               struct arena *arena, struct str *id_out, struct err *err)
{
    AUTO(buf_done) struct buf packed;
    char id[STORE_UPLOAD_ID_MAX + 1];
    buf_init(&packed, ATTRS_PACKED_MAX);
    TRY(have_uploads(store, err));
    TRY(store_key_check(key, err));
    TRY(attrs_pack(attrs, &packed, err));
    TRY(store->ops->uploads->begin(store, key, buf_str(&packed), id, err));
    struct str copy = arena_str(arena, str_of(id));
    if (copy.ptr == NULL) {
        /* nobody would know of it */
        (void)store->ops->uploads->abort(store, &(struct store_upload_ref){ key, str_of(id) },
                                         NULL);
        return err_no_memory(err);
    }
    *id_out = copy;
    return OK;
}

enum status store_part_open(struct store *store, struct str key, struct str id, unsigned number,
                            int64_t size, struct store_writer **out, struct err *err)
{
    const struct store_upload_ref ref = { key, id };
    TRY(ref_check(store, &ref, err));
    if (number == 0 || number > STORE_PARTS_MAX) {
        return err_set(err, E_INVALID, "the number of a part is 1 to %d, not %u", STORE_PARTS_MAX,
                       number);
    }
    enum status status = store->ops->uploads->part_open(store, &ref, number, size < 0 ? -1 : size,
                                                        out, err);
    if (status != OK) {
        return store_meter_count(&store->meter, STORE_PUT, status);
    }
    (*out)->meter = &store->meter;
    return OK;
}

enum status store_upload_get(struct store *store, struct str key, struct str id,
                             struct arena *arena, struct store_upload *out,
                             struct store_attrs *attrs_out, struct err *err)
{
    AUTO(buf_done) struct buf packed;
    const struct store_upload_ref ref = { key, id };
    struct store_upload upload = { 0 };
    struct store_attrs attrs;
    buf_init(&packed, ATTRS_PACKED_MAX);
    TRY(ref_check(store, &ref, err));
    TRY(store_meter_count(&store->meter, STORE_STAT,
                          store->ops->uploads->get(store, &ref, &upload.started_ms,
                                                   attrs_out != NULL ? &packed : NULL, err)));
    upload.key = arena_str(arena, key);
    upload.id = arena_str(arena, id);
    if (upload.key.ptr == NULL || upload.id.ptr == NULL) {
        return err_no_memory(err);
    }
    if (attrs_out != NULL) {
        TRY(attrs_unpack(buf_str(&packed), arena, &attrs, err));
        *attrs_out = attrs;
    }
    *out = upload;
    return OK;
}

enum status store_upload_parts(struct store *store, struct str key, struct str id, unsigned after,
                               size_t limit, struct arena *arena, struct store_parts *out,
                               struct err *err)
{
    const struct store_upload_ref ref = { key, id };
    struct store_parts parts = { 0 };
    TRY(ref_check(store, &ref, err));
    TRY(store_meter_count(
        &store->meter, STORE_STAT,
        store->ops->uploads->parts(store, &ref, after, page_limit(limit), arena, &parts, err)));
    *out = parts;
    return OK;
}

enum status store_upload_complete(struct store *store, struct str key, struct str id,
                                  const struct store_part_ref *parts, size_t count,
                                  const struct store_attrs *attrs, const struct store_cond *cond,
                                  struct store_info *info_out, struct err *err)
{
    AUTO(buf_done) struct buf packed;
    const struct store_upload_ref ref = { key, id };
    struct store_info info;
    buf_init(&packed, ATTRS_PACKED_MAX);
    TRY(ref_check(store, &ref, err));
    TRY(part_refs_check(parts, count, err));
    TRY(attrs_pack(attrs, &packed, err));
    const struct store_upload_how how = {
        .parts = parts,
        .count = count,
        .attrs_new = attrs != NULL,
        .attrs = buf_str(&packed),
        .cond = cond != NULL ? *cond : no_cond,
    };
    TRY(store_meter_count(&store->meter, STORE_PUT,
                          store->ops->uploads->complete(store, &ref, &how, &info, err)));
    if (info_out != NULL) {
        *info_out = info;
    }
    return OK;
}

enum status store_upload_abort(struct store *store, struct str key, struct str id, struct err *err)
{
    const struct store_upload_ref ref = { key, id };
    TRY(ref_check(store, &ref, err));
    return store_meter_count(&store->meter, STORE_DELETE,
                             store->ops->uploads->abort(store, &ref, err));
}

enum status store_upload_list(struct store *store, const struct store_uploads_opts *opts,
                              struct arena *arena, struct store_uploads *out, struct err *err)
{
    struct store_uploads_opts checked = opts != NULL ? *opts : (struct store_uploads_opts){ 0 };
    struct store_uploads uploads = { 0 };
    TRY(have_uploads(store, err));
    checked.limit = page_limit(checked.limit);
    TRY(store_meter_count(&store->meter, STORE_LIST,
                          store->ops->uploads->list(store, &checked, arena, &uploads, err)));
    *out = uploads;
    return OK;
}

enum status store_uploads_sweep(struct store *store, int64_t idle_ms, struct store_swept *out,
                                struct err *err)
{
    struct store_swept swept = { 0 };
    TRY(have_uploads(store, err));
    int64_t before = store->ops->uploads->now_ms(store) - idle_ms;
    enum status status = store->ops->uploads->sweep(store, before, &swept, err);
    if (out != NULL) {
        *out = swept;
    }
    return status;
}
