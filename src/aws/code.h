/*
 * S3's error codes: their spelling on the wire, their HTTP status, and the kind of ours that each
 * is nearest to. The server answers with them, the client reads them.
 *
 * Source   "Error responses" of the Amazon S3 API reference
 */
#ifndef AWS_CODE_H
#define AWS_CODE_H

#include "base/buf.h"

enum aws_code {
    AWS_NONE, /* no error; also: a code that is not in the table */
    AWS_ACCESS_DENIED,
    AWS_AUTHORIZATION_HEADER_MALFORMED,
    AWS_AUTHORIZATION_QUERY_PARAMETERS_ERROR,
    AWS_BAD_DIGEST,
    AWS_BUCKET_ALREADY_EXISTS,
    AWS_BUCKET_ALREADY_OWNED_BY_YOU,
    AWS_BUCKET_NOT_EMPTY,
    AWS_CONDITIONAL_REQUEST_CONFLICT,
    AWS_ENTITY_TOO_LARGE,
    AWS_ENTITY_TOO_SMALL,
    AWS_EXPIRED_TOKEN,
    AWS_INCOMPLETE_BODY,
    AWS_INTERNAL_ERROR,
    AWS_INVALID_ACCESS_KEY_ID,
    AWS_INVALID_ARGUMENT,
    AWS_INVALID_BUCKET_NAME,
    AWS_INVALID_DIGEST,
    AWS_INVALID_LOCATION_CONSTRAINT,
    AWS_INVALID_PART,
    AWS_INVALID_PART_NUMBER,
    AWS_INVALID_PART_ORDER,
    AWS_INVALID_RANGE,
    AWS_INVALID_REQUEST,
    AWS_INVALID_STORAGE_CLASS,
    AWS_INVALID_TAG,
    AWS_INVALID_TOKEN,
    AWS_INVALID_URI,
    AWS_KEY_TOO_LONG,
    AWS_MALFORMED_TRAILER,
    AWS_MALFORMED_ACL,
    AWS_MALFORMED_XML,
    AWS_METADATA_TOO_LARGE,
    AWS_METHOD_NOT_ALLOWED,
    AWS_MISSING_CONTENT_LENGTH,
    AWS_NO_SUCH_BUCKET,
    AWS_NO_SUCH_BUCKET_POLICY,
    AWS_NO_SUCH_CORS_CONFIGURATION,
    AWS_NO_SUCH_KEY,
    AWS_NO_SUCH_LIFECYCLE_CONFIGURATION,
    AWS_NO_SUCH_OBJECT_LOCK_CONFIGURATION,
    AWS_NO_SUCH_PUBLIC_ACCESS_BLOCK,
    AWS_NO_SUCH_TAG_SET,
    AWS_NO_SUCH_UPLOAD,
    AWS_NO_SUCH_VERSION,
    AWS_NO_SUCH_WEBSITE_CONFIGURATION,
    AWS_NOT_IMPLEMENTED,
    AWS_NOT_MODIFIED,
    AWS_OBJECT_LOCK_CONFIGURATION_NOT_FOUND,
    AWS_OPERATION_ABORTED,
    AWS_OWNERSHIP_CONTROLS_NOT_FOUND,
    AWS_PERMANENT_REDIRECT,
    AWS_PRECONDITION_FAILED,
    AWS_REPLICATION_CONFIGURATION_NOT_FOUND,
    AWS_REQUEST_TIMEOUT,
    AWS_REQUEST_TIME_TOO_SKEWED,
    AWS_ENCRYPTION_NOT_FOUND,
    AWS_SERVICE_UNAVAILABLE,
    AWS_SIGNATURE_DOES_NOT_MATCH,
    AWS_SLOW_DOWN,
    AWS_TOO_MANY_BUCKETS,
    AWS_CONTENT_SHA256_MISMATCH,
    AWS_CODE_COUNT
};

/** "NoSuchKey". */
const char *aws_code_name(enum aws_code code);
/** Its HTTP status: 404. */
int aws_code_status(enum aws_code code);
/** Our nearest kind. */
enum status aws_code_kind(enum aws_code code);
/** A sentence for people, for where nothing better is known. */
const char *aws_code_message(enum aws_code code);
/** AWS_NONE when nobody knows it. */
enum aws_code aws_code_parse(struct str name);

#endif
