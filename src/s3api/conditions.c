/* If-Match and its kin, of reads, of copies' sources and of writes. */
#include "s3api/s3api_priv.h"

#include <string.h>
#include <time.h>

static struct str strong(struct str tag)
{
    tag = str_trim(tag);
    return s3api_unquoted(str_starts(tag, STR("W/")) ? str_skip(tag, 2) : tag);
}

static enum status refused(struct s3api_request *r, const char *header)
{
    return s3api_err(r, AWS_PRECONDITION_FAILED, "the condition of %s does not hold", header);
}

enum status s3api_write_conditions(struct s3api_request *r, struct str store_key)
{
    struct str match = s3api_header(r, "if-match"), none = s3api_header(r, "if-none-match");
    struct store_info info = { 0 };
    r->cond = (struct store_cond){ 0 };
    if (match.ptr == NULL && none.ptr == NULL) {
        return OK;
    }
    if (none.ptr != NULL && !str_eq(str_trim(none), STR("*"))) {
        return s3api_err(r, AWS_NOT_IMPLEMENTED, "a write takes only \"If-None-Match: *\"");
    }
    if (none.ptr != NULL && match.ptr != NULL) {
        return s3api_err(r, AWS_INVALID_REQUEST,
                         "a write takes If-Match or If-None-Match, not both");
    }
    enum status status = store_stat(r->bucket.store, store_key, &info, r->err);
    if (status != OK && status != E_NOT_FOUND) {
        return status;
    }
    *r->err = (struct err){ 0 };
    if (none.ptr != NULL) {
        r->cond.if_absent = true;
        return status == OK ? refused(r, "If-None-Match") : OK;
    }
    if (status == E_NOT_FOUND) {
        return s3api_err(r, AWS_NO_SUCH_KEY, "%s", "");
    }
    bool any = str_eq(str_trim(match), STR("*"));
    if (!any && !str_eq(strong(match), str_of(info.etag))) {
        return refused(r, "If-Match");
    }
    r->cond.if_match = arena_str(r->arena, str_of(info.etag));
    return r->cond.if_match.ptr != NULL ? OK : err_no_memory(r->err);
}

enum status s3api_write_refused(struct s3api_request *r, struct str store_key, enum status status)
{
    struct store_info info;
    struct err why = { 0 };
    if (status != E_PRECONDITION) {
        return status;
    }
    if (r->cond.if_absent) {
        return refused(r, "If-None-Match");
    }
    return store_stat(r->bucket.store, store_key, &info, &why) == E_NOT_FOUND
               ? s3api_err(r, AWS_NO_SUCH_KEY, "%s", "")
               : refused(r, "If-Match");
}

bool s3api_time_parse(struct str text, int64_t *ms_out)
{
    char copy[40] = "";
    struct tm tm = { 0 };
    if (time_parse_http(text, ms_out)) {
        return true;
    }
    memcpy(copy, text.ptr, text.len < sizeof copy ? text.len : sizeof copy - 1);
    const char *rest = strptime(copy, "%Y-%m-%dT%H:%M:%S", &tm);
    if (rest == NULL || (*rest != '.' && *rest != 'Z' && *rest != '\0')) {
        return false;
    }
    *ms_out = (int64_t)timegm(&tm) * 1000;
    return true;
}
