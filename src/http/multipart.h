/*
 * multipart/form-data as it streams by (RFC 7578): the bytes of the first part that carries a file,
 * and what its headers say.
 *
 * Memory is bounded: a window of one delimiter is held back, part headers have a limit. Other parts
 * are passed over.
 */
#ifndef HTTP_MULTIPART_H
#define HTTP_MULTIPART_H

#include "base/arena.h"
#include "base/buf.h"

struct multipart;

enum { MULTIPART_HEAD_MAX = 16 * 1024, MULTIPART_BOUNDARY_MAX = 70 }; /* RFC 2046, 5.1.1 */

struct multipart_part {
    /* decoded, empty when absent; live as long as the parser */
    struct str field, file_name, content_type;
    bool has_file_name;
};

struct multipart_events {
    /** The file part begins. */
    enum status (*part)(void *ctx, const struct multipart_part *part, struct err *err);
    enum status (*data)(void *ctx, struct str bytes, struct err *err);
    void *ctx;
};

/** True when the Content-Type is multipart/form-data. */
bool multipart_is(struct str content_type);
/** The value of a parameter in a header such as `text/csv; charset="utf-8"`, unquoted, in `arena`;
 * .ptr NULL when absent. */
struct str multipart_parameter(struct arena *arena, struct str header, struct str name);
/** E_INVALID when the content type has no usable boundary. */
enum status multipart_new(struct str content_type, const struct multipart_events *events,
                          struct multipart **out, struct err *err) MUST_USE;
void multipart_free(struct multipart *multipart);
enum status multipart_feed(struct multipart *multipart, struct str bytes, struct err *err) MUST_USE;
/** The body has ended: E_INVALID when the closing boundary has not come, or no part had a file. */
enum status multipart_end(struct multipart *multipart, struct err *err) MUST_USE;

#endif
