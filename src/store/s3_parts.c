/*
 * Uploads in parts: begin, parts, and what is there. A part is an object whose name says all of it
 * that a list must tell:
 *
 *      <number>.<count><random>.<MD5>.<attributes>
 *
 * 5 digits of the number, 12 and 8 hex digits, 32 of the MD5, and the packed attributes in base64
 * with '-' and '_', or "~" where they are too many: then they are the object's. A part that is sent
 * again is another object, and the last name of a number counts. Which one that is no clock says,
 * for servers' clocks differ: each has a count above those that are there when it is committed.
 */
#include "store/s3_parts.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/encode.h"
#include "base/mem.h"

enum {
    NUMBER_DIGITS = 5,
    COUNT_DIGITS = 12,
    STAMP_DIGITS = COUNT_DIGITS + 8,
    ATTRS_AT = NUMBER_DIGITS + 1 + STAMP_DIGITS + 1 + MD5_HEX + 1,
    ATTRS_IN_NAME_MAX = (S3_PART_NAME_MAX - ATTRS_AT) / 4 * 3,
    FOLDER_MAX = 64, /* S3_PARTS_PREFIX and an id */
};
#define PART_BYTES_MAX (UINT64_C(5) << 30) /* S3's, of a part that is copied */

/* --- begin --- */

static enum status parts_begin(struct store *store, struct str key, struct str attrs,
                               char id_out[STORE_UPLOAD_ID_MAX + 1], struct err *err)
{
    struct s3_store *s3 = (struct s3_store *)store;
    struct arena arena;
    char id[STORE_UPLOAD_ID_MAX + 1];
    struct s3_write write;
    static const struct store_cond fresh = { .if_absent = true }, none;
    TRY(s3_may_make(s3, key, err));
    store_upload_id_make(clock_wall_ms(s3->clock), id);
    arena_init(&arena, 0);
    s3_write_init(&write, key, &none);
    enum status status = s3_write_attrs(&write, attrs, &arena, err); /* is there room for them? */
    arena_done(&arena);
    TRY(status);
    struct s3_record record = { .state = S3_RECORD_OPEN, .key = key, .attrs = attrs };
    const struct store_upload_ref ref = { key, str_of(id) };
    status = s3_record_write(s3, &ref, &record, &fresh, err);
    if (status != OK) {
        char name[S3_RECORD_NAME_MAX + 1];
        if (s3_record_name(&ref, name, NULL) == OK) { /* nobody would know of it */
            (void)!s3_remove(&s3->base, str_of(name), STR_EMPTY, NULL);
        }
        return status;
    }
    memcpy(id_out, id, sizeof id);
    return OK;
}

static enum status parts_get(struct store *store, const struct store_upload_ref *ref,
                             int64_t *started_ms_out, struct buf *attrs_out, struct err *err)
{
    struct s3_record record;
    struct arena arena;
    char digits[13];
    arena_init(&arena, 0);
    enum status status = s3_record_live((struct s3_store *)store, ref, &arena, &record, err);
    if (status == OK && attrs_out != NULL && buf_append(attrs_out, record.attrs) != OK) {
        status = err_no_memory(err);
    }
    arena_done(&arena);
    TRY(status);
    (void)snprintf(digits, sizeof digits, "%.12s", ref->id.ptr); /* store_upload_id_make */
    *started_ms_out = strtoll(digits, NULL, 16);
    return OK;
}

/* --- names --- */

static void exchange(char *text, size_t len, char from, char to)
{
    for (size_t i = 0; i < len; i++) {
        text[i] = text[i] == from ? to : text[i];
    }
}

static enum status attrs_to_name(struct str attrs, struct buf *out)
{
    size_t before = out->len;
    TRY(base64_append(out, attrs.ptr, attrs.len));
    exchange(out->ptr + before, out->len - before, '+', '-');
    exchange(out->ptr + before, out->len - before, '/', '_');
    return OK;
}

/** E_INVALID: these are none. Into the arena. */
static enum status attrs_of_name(struct str text, struct arena *arena, struct str *out)
{
    AUTO(buf_done) struct buf packed;
    buf_init(&packed, ATTRS_PACKED_MAX);
    char *plain = arena_cstr(arena, text);
    if (plain == NULL) {
        return E_NO_MEMORY;
    }
    exchange(plain, text.len, '-', '+');
    exchange(plain, text.len, '_', '/');
    TRY(base64_decode(str_from(plain, text.len), &packed));
    *out = arena_str(arena, buf_str(&packed));
    return out->ptr == NULL ? E_NO_MEMORY : attrs_packed_valid(*out) ? OK : E_INVALID;
}

/* --- a part --- */

struct part_writer {
    struct store_writer base;
    struct s3_store *s3;
    struct store_writer *inner; /* of the object that becomes the part; NULL once it is committed */
    struct digest *md5;
    unsigned number;
    int64_t size;
    uint64_t written;
    struct store_upload_ref ref; /* into text */
    char text[];
};

static const struct store_ops part_ops;

static void part_abort(struct store_writer *base)
{
    struct part_writer *writer = (struct part_writer *)base;
    if (writer->inner != NULL) {
        s3_writer_abort(writer->inner);
    }
    digest_free(writer->md5);
    mem_free(writer);
}

static enum status part_open(struct store *store, const struct store_upload_ref *ref,
                             unsigned number, int64_t size, struct store_writer **out,
                             struct err *err)
{
    static const struct store_cond none;
    struct s3_store *s3 = (struct s3_store *)store;
    struct s3_record record;
    struct arena arena;
    arena_init(&arena, 0);
    enum status status = s3_record_live(s3, ref, &arena, &record, err);
    arena_done(&arena);
    TRY(status);
    struct part_writer *writer = mem_zalloc(sizeof *writer + ref->key.len + ref->id.len);
    if (writer == NULL) {
        return err_no_memory(err);
    }
    memcpy(writer->text, ref->key.ptr, ref->key.len);
    memcpy(writer->text + ref->key.len, ref->id.ptr, ref->id.len);
    writer->base.ops = &part_ops;
    writer->s3 = s3;
    writer->number = number;
    writer->size = size;
    writer->ref = (struct store_upload_ref){ str_from(writer->text, ref->key.len),
                                             str_from(writer->text + ref->key.len, ref->id.len) };
    writer->md5 = digest_new(DIGEST_MD5);
    status = writer->md5 != NULL
                 ? s3_writer_open(store, STR(S3_PARTS_PREFIX), &none, &writer->inner, err)
                 : err_no_memory(err);
    if (status != OK) {
        part_abort(&writer->base);
        return status;
    }
    writer->inner->attrs_late = true; /* and so is the name */
    *out = &writer->base;
    return OK;
}

static enum status part_write(struct store_writer *base, struct str bytes, struct err *err)
{
    struct part_writer *writer = (struct part_writer *)base;
    uint64_t written = writer->written + bytes.len;
    TRY(store_part_size_check(writer->number, writer->size, written, false, err));
    if (written > PART_BYTES_MAX) {
        return err_set(err, E_TOO_LARGE, "a part of an object in a bucket has at most 5 GiB");
    }
    digest_update(writer->md5, bytes.ptr, bytes.len);
    writer->written = written;
    return s3_writer_write(writer->inner, bytes, err);
}

/** One more than the greatest count of this number that is there. Of two parts that are sent at the
 * same time either may be the last; of one that was acknowledged before the other began it sees. */
static enum status next_count(struct part_writer *writer, uint64_t *out, struct err *err)
{
    struct store_list_opts opts = { .limit = S3_LIST_MAX };
    struct arena arena;
    enum status status = OK;
    uint64_t last = 0;
    arena_init(&arena, 0);
    opts.prefix = arena_printf(&arena, S3_PARTS_PREFIX "%.*s/%05u.", STR_ARG(writer->ref.id),
                               writer->number);
    for (bool more = opts.prefix.ptr != NULL; more && status == OK;) {
        struct store_list page = { 0 };
        status = s3_list(&writer->s3->base, &opts, &arena, &page, err);
        for (size_t i = 0; status == OK && i < page.object_count; i++) {
            struct str name = str_skip(page.objects[i].key, opts.prefix.len);
            char digits[COUNT_DIGITS + 1] = "";
            (void)snprintf(digits, sizeof digits, "%.*s", STR_ARG(name));
            uint64_t count = strtoull(digits, NULL, 16);
            last = count > last ? count : last;
        }
        opts.after = page.next;
        more = page.truncated;
    }
    status = opts.prefix.ptr != NULL ? status : err_no_memory(err);
    arena_done(&arena);
    TRY(status);
    *out = last + 1;
    return OK;
}

static enum status part_name(struct part_writer *writer, struct buf *out,
                             char md5_out[STORE_ETAG_MAX + 1], struct err *err)
{
    AUTO(buf_done) struct buf hex;
    uint8_t md5[MD5_BYTES];
    struct str attrs = writer->base.attrs;
    bool apart = attrs.len > ATTRS_IN_NAME_MAX;
    uint64_t count = 0;
    buf_init(&hex, MD5_HEX + 1);
    TRY(next_count(writer, &count, err));
    digest_final(writer->md5, md5);
    bool fine = hex_append(&hex, md5, sizeof md5) == OK &&
                buf_printf(out, S3_PARTS_PREFIX "%.*s/%05u.%012llx%08x.%.*s.",
                           STR_ARG(writer->ref.id), writer->number, (unsigned long long)count,
                           (unsigned)random_u64(), STR_ARG(buf_str(&hex))) == OK &&
                (apart ? buf_append_char(out, '~') : attrs_to_name(attrs, out)) == OK;
    if (!fine) {
        return err_no_memory(err);
    }
    (void)snprintf(md5_out, STORE_ETAG_MAX + 1, "%.*s", STR_ARG(buf_str(&hex)));
    writer->inner->attrs = apart ? attrs : STR_EMPTY;
    return OK;
}

/** The object is there. It is a part of something only if the upload still is. */
static enum status part_still(struct part_writer *writer, struct str name, struct err *err)
{
    struct s3_record record;
    struct arena arena;
    arena_init(&arena, 0);
    enum status status = s3_record_live(writer->s3, &writer->ref, &arena, &record, err);
    arena_done(&arena);
    if (status == E_NOT_FOUND) {
        (void)!s3_remove(&writer->s3->base, name, STR_EMPTY, NULL);
    }
    return status;
}

static enum status part_finish(struct part_writer *writer, struct store_info *info_out,
                               struct err *err)
{
    AUTO(buf_done) struct buf name;
    struct store_info info;
    char md5[STORE_ETAG_MAX + 1];
    buf_init(&name, STORE_KEY_MAX);
    TRY(store_part_size_check(writer->number, writer->size, writer->written, true, err));
    TRY(part_name(writer, &name, md5, err));
    s3_writer_name(writer->inner, buf_str(&name));
    struct store_writer *inner = writer->inner;
    writer->inner = NULL; /* gone, whatever the outcome */
    TRY(s3_writer_commit(inner, &info, err));
    TRY(part_still(writer, buf_str(&name), err));
    memcpy(info.etag, md5, sizeof info.etag);
    *info_out = info;
    return OK;
}

static enum status part_commit(struct store_writer *base, struct store_info *info_out,
                               struct err *err)
{
    enum status status = part_finish((struct part_writer *)base, info_out, err);
    part_abort(base);
    return status;
}

static const struct store_ops part_ops = {
    .name = "s3",
    .writer_write = part_write,
    .writer_commit = part_commit,
    .writer_abort = part_abort,
};

/* --- what is there --- */

static bool name_parse(struct str name, struct s3_part *out, struct arena *arena, struct err *err,
                       enum status *status_out)
{
    uint64_t number = 0;
    bool fine = name.len >= ATTRS_AT && str_to_u64(str_take(name, NUMBER_DIGITS), &number) &&
                number >= 1 && number <= STORE_PARTS_MAX;
    *status_out = OK;
    if (!fine) {
        return false;
    }
    struct str md5 = str_take(str_skip(name, ATTRS_AT - 1 - MD5_HEX), MD5_HEX);
    struct str text = str_skip(name, ATTRS_AT);
    memcpy(out->md5, md5.ptr, MD5_HEX);
    out->md5[MD5_HEX] = '\0';
    out->number = (unsigned)number;
    out->attrs_apart = str_eq(text, STR("~"));
    out->attrs = STR_EMPTY;
    if (!out->attrs_apart && text.len > 0) {
        enum status status = attrs_of_name(text, arena, &out->attrs);
        *status_out = status == E_NO_MEMORY ? err_no_memory(err) : OK;
        return status == OK;
    }
    return true;
}

/** What is there grows by the entries of a page. False when a number is one too many. */
static enum status page_take(const struct store_list *page, size_t folder_len, size_t limit,
                             struct arena *arena, struct s3_part *parts, size_t *count,
                             bool *more_out, struct err *err)
{
    for (size_t i = 0; i < page->object_count; i++) {
        const struct store_info *info = &page->objects[i];
        struct s3_part part;
        enum status status = OK;
        if (!name_parse(str_skip(info->key, folder_len), &part, arena, err, &status)) {
            TRY(status);
            continue; /* not ours */
        }
        part.name = info->key;
        part.size = info->size;
        part.modified_ms = info->modified_ms;
        memcpy(part.etag, info->etag, sizeof part.etag);
        bool again = *count > 0 && parts[*count - 1].number == part.number;
        if (!again && *count == limit) {
            *more_out = true;
            return OK;
        }
        *count += !again;
        parts[*count - 1] = part;
    }
    return OK;
}

enum status s3_parts_scan(struct s3_store *s3, struct str id, unsigned after, size_t limit,
                          struct arena *arena, struct s3_part **out, size_t *count_out,
                          bool *more_out, struct err *err)
{
    struct s3_part *parts = arena_array(arena, limit + 1, sizeof *parts);
    struct str folder = arena_printf(arena, S3_PARTS_PREFIX "%.*s/", STR_ARG(id));
    struct str from = arena_printf(arena, "%.*s%05u~", STR_ARG(folder), after);
    size_t count = 0;
    bool more = false;
    if (parts == NULL || folder.ptr == NULL || from.ptr == NULL) {
        return err_no_memory(err);
    }
    struct store_list_opts opts = { .prefix = folder,
                                    .after = after > 0 ? from : STR_EMPTY,
                                    .limit = S3_LIST_MAX };
    for (bool next = true; next && !more;) {
        struct store_list page;
        TRY(s3_list(&s3->base, &opts, arena, &page, err));
        TRY(page_take(&page, folder.len, limit, arena, parts, &count, &more, err));
        opts.after = page.next;
        next = page.truncated;
    }
    *out = parts;
    *count_out = count;
    *more_out = more;
    return OK;
}

void s3_parts_drop(struct s3_store *s3, struct str id, int64_t before_ms)
{
    struct store_list_opts opts = { .limit = STORE_LIST_MAX };
    struct arena arena;
    arena_init(&arena, 0);
    opts.prefix = arena_printf(&arena, S3_PARTS_PREFIX "%.*s/", STR_ARG(id));
    for (bool more = opts.prefix.ptr != NULL; more;) {
        struct store_list page = { 0 };
        if (s3_list(&s3->base, &opts, &arena, &page, NULL) != OK) {
            break;
        }
        struct str *keys = arena_array(&arena, page.object_count + 1, sizeof *keys);
        size_t count = 0;
        for (size_t i = 0; keys != NULL && i < page.object_count; i++) {
            if (page.objects[i].modified_ms <= before_ms) {
                keys[count++] = page.objects[i].key;
            }
        }
        s3_remove_all(s3, keys, count);
        opts.after = page.next;
        more = page.truncated;
    }
    arena_done(&arena);
}

static enum status part_tell(struct s3_store *s3, const struct s3_part *part, struct arena *arena,
                             struct store_part *out, struct err *err)
{
    AUTO(buf_done) struct buf packed;
    struct store_info info;
    struct str attrs = part->attrs;
    buf_init(&packed, ATTRS_PACKED_MAX);
    *out = (struct store_part){ .number = part->number,
                                .size = part->size,
                                .modified_ms = part->modified_ms };
    memcpy(out->etag, part->md5, sizeof part->md5);
    if (part->attrs_apart) {
        enum status status = s3_stat(&s3->base, part->name, &info, &packed, err);
        if (status == E_NOT_FOUND) {
            return err_set(err, E_CONFLICT, "part %u was dropped meanwhile", part->number);
        }
        TRY(status);
        attrs = buf_str(&packed);
    }
    return attrs_unpack(attrs, arena, &out->attrs, err);
}

static enum status parts_list(struct store *store, const struct store_upload_ref *ref,
                              unsigned after, size_t limit, struct arena *arena,
                              struct store_parts *out, struct err *err)
{
    struct s3_store *s3 = (struct s3_store *)store;
    struct s3_record record;
    struct s3_part *parts = NULL;
    struct arena scratch;
    size_t count = 0;
    char name[S3_RECORD_NAME_MAX + 1];
    TRY(s3_record_name(ref, name, err)); /* is it an id of ours? */
    arena_init(&scratch, 0);
    /* the record comes last: parts go after it was ended */
    enum status status = s3_parts_scan(s3, ref->id, after, limit, &scratch, &parts, &count,
                                       &out->truncated, err);
    if (status == OK) {
        status = s3_record_live(s3, ref, &scratch, &record, err);
    }
    if (status == OK) {
        out->items = arena_array(arena, count + 1, sizeof *out->items);
        status = out->items != NULL ? OK : err_no_memory(err);
    }
    for (size_t i = 0; status == OK && i < count; i++) {
        status = part_tell(s3, &parts[i], arena, &out->items[i], err);
        out->count += status == OK;
    }
    arena_done(&scratch);
    return status;
}

static int64_t now_ms(const struct store *store)
{
    return clock_wall_ms(((const struct s3_store *)store)->clock);
}

const struct store_upload_ops s3_parts_ops = {
    .begin = parts_begin,
    .part_open = part_open,
    .get = parts_get,
    .parts = parts_list,
    .complete = s3_parts_complete,
    .abort = s3_parts_abort,
    .list = s3_uploads_list,
    .sweep = s3_parts_sweep,
    .now_ms = now_ms,
};
