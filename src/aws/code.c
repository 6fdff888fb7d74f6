/*
 * One table: each code's spelling, status, kind and sentence. Asked for by name rarely (when a
 * request has failed), so a name is looked for from the front.
 */
#include "aws/code.h"

struct entry {
    const char *name;
    int status;
    enum status kind;
    const char *message;
};

static const struct entry entries[AWS_CODE_COUNT] = {
    [AWS_NONE] = { "", 200, OK, "" },
    [AWS_ACCESS_DENIED] = { "AccessDenied", 403, E_DENIED, "Access is denied." },
    [AWS_ACCESS_FORBIDDEN] = { "AccessForbidden", 403, E_DENIED,
                               "This is not allowed to pages of another site." },
    [AWS_AUTHORIZATION_HEADER_MALFORMED] = { "AuthorizationHeaderMalformed", 400, E_INVALID,
                                             "The Authorization header cannot be read." },
    [AWS_AUTHORIZATION_QUERY_PARAMETERS_ERROR] = { "AuthorizationQueryParametersError", 400,
                                                   E_INVALID,
                                                   "The X-Amz-* parameters cannot be read." },
    [AWS_BAD_DIGEST] = { "BadDigest", 400, E_INVALID,
                         "The body does not have the checksum that was sent with it." },
    [AWS_BAD_REQUEST] = { "BadRequest", 400, E_INVALID, "The request is not valid." },
    [AWS_BUCKET_ALREADY_EXISTS] = { "BucketAlreadyExists", 409, E_EXISTS,
                                    "The bucket's name is taken." },
    [AWS_BUCKET_ALREADY_OWNED_BY_YOU] = { "BucketAlreadyOwnedByYou", 409, E_EXISTS,
                                          "The bucket is there already, and it is yours." },
    [AWS_BUCKET_NOT_EMPTY] = { "BucketNotEmpty", 409, E_CONFLICT,
                               "There are objects in the bucket." },
    [AWS_CONDITIONAL_REQUEST_CONFLICT] = { "ConditionalRequestConflict", 409, E_CONFLICT,
                                           "Another request changed the object meanwhile." },
    [AWS_ENTITY_TOO_LARGE] = { "EntityTooLarge", 400, E_TOO_LARGE, "The object is too large." },
    [AWS_ENTITY_TOO_SMALL] = { "EntityTooSmall", 400, E_INVALID,
                               "A part that is not the last one is too small." },
    [AWS_EXPIRED_TOKEN] = { "ExpiredToken", 400, E_AUTH, "The session token has expired." },
    [AWS_INCOMPLETE_BODY] = { "IncompleteBody", 400, E_INVALID,
                              "The body is not as long as was said." },
    [AWS_INTERNAL_ERROR] = { "InternalError", 500, E_INTERNAL,
                             "Something went wrong here; try again." },
    [AWS_INVALID_ACCESS_KEY_ID] = { "InvalidAccessKeyId", 403, E_AUTH,
                                    "Nobody has this access key." },
    [AWS_INVALID_ARGUMENT] = { "InvalidArgument", 400, E_INVALID, "An argument is not valid." },
    [AWS_INVALID_BUCKET_NAME] = { "InvalidBucketName", 400, E_INVALID,
                                  "The bucket's name is not valid." },
    [AWS_INVALID_DIGEST] = { "InvalidDigest", 400, E_INVALID,
                             "The checksum that was sent cannot be read." },
    [AWS_INVALID_LOCATION_CONSTRAINT] = { "InvalidLocationConstraint", 400, E_INVALID,
                                          "Buckets cannot be made in this region." },
    [AWS_INVALID_PART] = { "InvalidPart", 400, E_INVALID,
                           "A part was never uploaded, or has another ETag." },
    [AWS_INVALID_PART_NUMBER] = { "InvalidPartNumber", 416, E_RANGE, "There is no such part." },
    [AWS_INVALID_PART_ORDER] = { "InvalidPartOrder", 400, E_INVALID,
                                 "The parts are not in the order of their numbers." },
    [AWS_INVALID_RANGE] = { "InvalidRange", 416, E_RANGE, "The range lies outside the object." },
    [AWS_INVALID_REQUEST] = { "InvalidRequest", 400, E_INVALID, "The request is not valid." },
    [AWS_INVALID_STORAGE_CLASS] = { "InvalidStorageClass", 400, E_INVALID,
                                    "There is no such storage class here." },
    [AWS_INVALID_TAG] = { "InvalidTag", 400, E_INVALID, "A tag is not valid." },
    [AWS_INVALID_TOKEN] = { "InvalidToken", 400, E_AUTH, "The session token is not valid." },
    [AWS_INVALID_URI] = { "InvalidURI", 400, E_INVALID, "The path cannot be read." },
    [AWS_KEY_TOO_LONG] = { "KeyTooLongError", 400, E_INVALID, "The key is too long." },
    [AWS_MALFORMED_TRAILER] = { "MalformedTrailerError", 400, E_INVALID,
                                "What follows the data is not what was promised." },
    [AWS_MALFORMED_ACL] = { "MalformedACLError", 400, E_INVALID,
                            "The access control list is not what was expected." },
    [AWS_MALFORMED_XML] = { "MalformedXML", 400, E_INVALID, "The XML is not what was expected." },
    [AWS_METADATA_TOO_LARGE] = { "MetadataTooLarge", 400, E_TOO_LARGE,
                                 "The x-amz-meta-* headers are too large." },
    [AWS_METHOD_NOT_ALLOWED] = { "MethodNotAllowed", 405, E_METHOD,
                                 "The method cannot be used here." },
    [AWS_MISSING_CONTENT_LENGTH] = { "MissingContentLength", 411, E_INVALID,
                                     "The Content-Length header is needed." },
    [AWS_NO_SUCH_BUCKET] = { "NoSuchBucket", 404, E_NOT_FOUND, "There is no such bucket." },
    [AWS_NO_SUCH_BUCKET_POLICY] = { "NoSuchBucketPolicy", 404, E_NOT_FOUND,
                                    "The bucket has no policy." },
    [AWS_NO_SUCH_CORS_CONFIGURATION] = { "NoSuchCORSConfiguration", 404, E_NOT_FOUND,
                                         "The bucket has no CORS configuration." },
    [AWS_NO_SUCH_KEY] = { "NoSuchKey", 404, E_NOT_FOUND, "There is no such key." },
    [AWS_NO_SUCH_LIFECYCLE_CONFIGURATION] = { "NoSuchLifecycleConfiguration", 404, E_NOT_FOUND,
                                              "The bucket has no lifecycle rules." },
    [AWS_NO_SUCH_OBJECT_LOCK_CONFIGURATION] = { "NoSuchObjectLockConfiguration", 404, E_NOT_FOUND,
                                                "The object has no lock." },
    [AWS_NO_SUCH_PUBLIC_ACCESS_BLOCK] = { "NoSuchPublicAccessBlockConfiguration", 404, E_NOT_FOUND,
                                          "The bucket has no public access block." },
    [AWS_NO_SUCH_TAG_SET] = { "NoSuchTagSet", 404, E_NOT_FOUND, "There are no tags." },
    [AWS_NO_SUCH_UPLOAD] = { "NoSuchUpload", 404, E_NOT_FOUND,
                             "There is no such upload; it may be complete or aborted." },
    [AWS_NO_SUCH_VERSION] = { "NoSuchVersion", 404, E_NOT_FOUND, "There is no such version." },
    [AWS_NO_SUCH_WEBSITE_CONFIGURATION] = { "NoSuchWebsiteConfiguration", 404, E_NOT_FOUND,
                                            "The bucket is no web site." },
    [AWS_NOT_IMPLEMENTED] = { "NotImplemented", 501, E_UNSUPPORTED, "This is not supported." },
    [AWS_NOT_MODIFIED] = { "NotModified", 304, E_PRECONDITION, "The object is as it was." },
    [AWS_OBJECT_LOCK_CONFIGURATION_NOT_FOUND] = { "ObjectLockConfigurationNotFoundError", 404,
                                                  E_NOT_FOUND, "The bucket has no object lock." },
    [AWS_OPERATION_ABORTED] = { "OperationAborted", 409, E_CONFLICT,
                                "Another request is at work on the same thing; try again." },
    [AWS_OWNERSHIP_CONTROLS_NOT_FOUND] = { "OwnershipControlsNotFoundError", 404, E_NOT_FOUND,
                                           "The bucket has no ownership controls." },
    [AWS_PERMANENT_REDIRECT] = { "PermanentRedirect", 301, E_INVALID,
                                 "The bucket must be reached at another endpoint." },
    [AWS_PRECONDITION_FAILED] = { "PreconditionFailed", 412, E_PRECONDITION,
                                  "A condition of the request does not hold." },
    [AWS_REPLICATION_CONFIGURATION_NOT_FOUND] = { "ReplicationConfigurationNotFoundError", 404,
                                                  E_NOT_FOUND, "The bucket is not replicated." },
    [AWS_REQUEST_TIMEOUT] = { "RequestTimeout", 400, E_TIMEOUT, "The body did not come in time." },
    [AWS_REQUEST_TIME_TOO_SKEWED] = { "RequestTimeTooSkewed", 403, E_AUTH,
                                      "The request's time is too far from the server's." },
    [AWS_ENCRYPTION_NOT_FOUND] = { "ServerSideEncryptionConfigurationNotFoundError", 404,
                                   E_NOT_FOUND, "The bucket has no encryption settings." },
    [AWS_SERVICE_UNAVAILABLE] = { "ServiceUnavailable", 503, E_UNAVAILABLE,
                                  "The service is not ready; try again." },
    [AWS_SIGNATURE_DOES_NOT_MATCH] = { "SignatureDoesNotMatch", 403, E_AUTH,
                                       "The signature is not that of the request." },
    [AWS_SLOW_DOWN] = { "SlowDown", 503, E_UNAVAILABLE, "Too many requests; try again later." },
    [AWS_TOO_MANY_BUCKETS] = { "TooManyBuckets", 400, E_INVALID, "There are too many buckets." },
    [AWS_CONTENT_SHA256_MISMATCH] = { "XAmzContentSHA256Mismatch", 400, E_INVALID,
                                      "The body does not have the SHA-256 that was signed." },
};

const char *aws_code_name(enum aws_code code)
{
    return entries[code].name;
}

int aws_code_status(enum aws_code code)
{
    return entries[code].status;
}

enum status aws_code_kind(enum aws_code code)
{
    return entries[code].kind;
}

const char *aws_code_message(enum aws_code code)
{
    return entries[code].message;
}

enum aws_code aws_code_parse(struct str name)
{
    for (int code = AWS_NONE + 1; code < AWS_CODE_COUNT; code++) {
        if (str_eq(name, str_of(entries[code].name))) {
            return (enum aws_code)code;
        }
    }
    /* MinIO's own name */
    return str_eq(name, STR("InvalidTokenId")) ? AWS_INVALID_TOKEN : AWS_NONE;
}
