/*
 * Lent keys: sealing and opening session tokens. A token is judged by its seal before a byte of it
 * is believed; what it says is then ours.
 */
#include "aws/vended.h"

#include "base/encode.h"
#include "base/rng.h"

#define ACCESS_KEY_START "LAKETMP"

enum {
    VERSION = 1,
    RIGHT_WRITE = 1,
    NONCE_BYTES = 8,
    AT_RIGHTS = 1, /* behind the version */
    AT_EXPIRES = 2,
    AT_NONCE = AT_EXPIRES + 8,
    AT_PREFIX = AT_NONCE + NONCE_BYTES,
    CLAIMS_MAX = AT_PREFIX + AWS_VENDED_PREFIX_MAX,
    SEALED_MAX = CLAIMS_MAX + SHA256_BYTES,
    TOKEN_MAX = (SEALED_MAX + 2) / 3 * 4,
};

static struct str key_of(const uint8_t bytes[SHA256_BYTES])
{
    return str_from((const char *)bytes, SHA256_BYTES);
}

void aws_vendor_init(struct aws_vendor *vendor, struct str cluster_secret)
{
    hmac_sha256(cluster_secret, STR("lakehouse lent keys, seal"), vendor->seal);
    hmac_sha256(cluster_secret, STR("lakehouse lent keys, secret"), vendor->secret);
}

void aws_vendor_done(struct aws_vendor *vendor)
{
    explicit_bzero(vendor, sizeof(*vendor));
}

/* --- text forms --- */

/** Of base64, what is not to stand in URLs and headers, and back. */
static void swap_alphabet(char *text, size_t len, const char from[2], const char to[2])
{
    for (size_t i = 0; i < len; i++) {
        text[i] = text[i] == from[0] ? to[0] : text[i] == from[1] ? to[1] : text[i];
    }
}

static enum status base64url_append(struct buf *out, const void *bytes, size_t len)
{
    size_t start = out->len;
    TRY(base64_append(out, bytes, len));
    swap_alphabet(out->ptr + start, out->len - start, "+/", "-_");
    return OK;
}

static void access_key_of(const uint8_t *nonce, char out[AWS_VENDED_ACCESS_KEY_LEN + 1])
{
    static const char digits[] = "0123456789ABCDEF";
    size_t at = sizeof(ACCESS_KEY_START) - 1;
    memcpy(out, ACCESS_KEY_START, at);
    for (size_t i = 0; i < NONCE_BYTES; i++) {
        out[at++] = digits[nonce[i] >> 4];
        out[at++] = digits[nonce[i] & 15];
    }
    out[at] = '\0';
}

static enum status secret_key_of(const struct aws_vendor *vendor, struct str claims,
                                 char out[AWS_VENDED_SECRET_LEN + 1])
{
    uint8_t mac[SHA256_BYTES];
    AUTO(buf_done) struct buf text;
    buf_init(&text, 64);
    hmac_sha256(key_of(vendor->secret), claims, mac);
    TRY(base64url_append(&text, mac, sizeof(mac)));
    memcpy(out, text.ptr, AWS_VENDED_SECRET_LEN);
    out[AWS_VENDED_SECRET_LEN] = '\0';
    explicit_bzero(text.ptr, text.len);
    return OK;
}

/* --- lending --- */

static size_t write_claims(uint8_t *claims, struct str prefix, bool write, int64_t expires_ms)
{
    claims[0] = VERSION;
    claims[AT_RIGHTS] = write ? RIGHT_WRITE : 0;
    for (int i = 0; i < 8; i++) {
        claims[AT_EXPIRES + i] = (uint8_t)((uint64_t)expires_ms >> (8 * i));
    }
    random_bytes(claims + AT_NONCE, NONCE_BYTES);
    memcpy(claims + AT_PREFIX, prefix.ptr, prefix.len);
    return AT_PREFIX + prefix.len;
}

enum status aws_vend(const struct aws_vendor *vendor, struct str prefix, bool write,
                     int64_t expires_ms, struct arena *arena, struct aws_vended *out,
                     struct err *err)
{
    uint8_t sealed[SEALED_MAX];
    if (prefix.len > AWS_VENDED_PREFIX_MAX || str_find_char(prefix, '/') == SIZE_MAX) {
        return err_set(err, E_INVALID, "no key can be lent for the prefix \"%.*s\"",
                       STR_ARG(prefix));
    }
    size_t len = write_claims(sealed, prefix, write, expires_ms);
    struct str claims = str_from((const char *)sealed, len);
    hmac_sha256(key_of(vendor->seal), claims, sealed + len);
    AUTO(buf_done) struct buf token;
    buf_init(&token, TOKEN_MAX + 4);
    struct aws_vended made;
    access_key_of(sealed + AT_NONCE, made.access_key);
    if (base64url_append(&token, sealed, len + SHA256_BYTES) != OK ||
        secret_key_of(vendor, claims, made.secret_key) != OK) {
        return err_no_memory(err);
    }
    made.session_token = arena_str(arena, buf_str(&token));
    if (made.session_token.ptr == NULL) {
        return err_no_memory(err);
    }
    *out = made;
    return OK;
}

/* --- judging --- */

bool aws_vended_looks(struct str access_key)
{
    return access_key.len == AWS_VENDED_ACCESS_KEY_LEN &&
           str_starts(access_key, STR(ACCESS_KEY_START));
}

/** The claims behind a token whose seal is right, E_INVALID for another; into `bytes`. */
static enum status unseal(const struct aws_vendor *vendor, struct str token, struct buf *bytes,
                          struct str *claims_out)
{
    char text[TOKEN_MAX];
    if (token.len == 0 || token.len > TOKEN_MAX) {
        return E_INVALID;
    }
    memcpy(text, token.ptr, token.len);
    swap_alphabet(text, token.len, "-_", "+/");
    TRY(base64_decode(str_from(text, token.len), bytes));
    if (bytes->len < AT_PREFIX + SHA256_BYTES) {
        return E_INVALID;
    }
    uint8_t mac[SHA256_BYTES];
    struct str claims = str_take(buf_str(bytes), bytes->len - SHA256_BYTES);
    hmac_sha256(key_of(vendor->seal), claims, mac);
    *claims_out = claims;
    return digest_equal(key_of(mac), str_skip(buf_str(bytes), claims.len)) ? OK : E_INVALID;
}

static int64_t expires_of(const uint8_t *claims)
{
    uint64_t expires = 0;
    for (int i = 7; i >= 0; i--) {
        expires = expires << 8 | claims[AT_EXPIRES + i];
    }
    return (int64_t)expires;
}

static enum status refuse(enum aws_code code, const char *why, enum aws_code *code_out,
                          struct err *err)
{
    *code_out = code;
    return err_set(err, aws_code_kind(code), "%s", why);
}

enum status aws_vended_read(const struct aws_vendor *vendor, struct str access_key,
                            struct str session_token, int64_t now_ms, struct arena *arena,
                            struct aws_grant *out, enum aws_code *code_out, struct err *err)
{
    AUTO(buf_done) struct buf bytes;
    struct str claims;
    char own_key[AWS_VENDED_ACCESS_KEY_LEN + 1], secret[AWS_VENDED_SECRET_LEN + 1];
    buf_init(&bytes, SEALED_MAX + 4);
    enum status status = unseal(vendor, session_token, &bytes, &claims);
    if (status == E_NO_MEMORY) {
        return err_no_memory(err);
    }
    if (status != OK) {
        return refuse(AWS_INVALID_TOKEN, "this session token was not made here", code_out, err);
    }
    const uint8_t *at = (const uint8_t *)claims.ptr;
    access_key_of(at + AT_NONCE, own_key);
    if (at[0] != VERSION || !str_eq(access_key, str_of(own_key))) {
        return refuse(AWS_INVALID_TOKEN, "this session token belongs to another access key",
                      code_out, err);
    }
    if (now_ms >= expires_of(at)) {
        return refuse(AWS_EXPIRED_TOKEN, "this session token has expired; ask for another one",
                      code_out, err);
    }
    if (secret_key_of(vendor, claims, secret) != OK) {
        return err_no_memory(err);
    }
    struct aws_grant grant = {
        .access_key = arena_str(arena, access_key),
        .secret_key = arena_str(arena, str_of(secret)),
        .write = (at[AT_RIGHTS] & RIGHT_WRITE) != 0,
        .prefix = arena_str(arena, str_skip(claims, AT_PREFIX)),
    };
    explicit_bzero(secret, sizeof(secret));
    if (grant.access_key.ptr == NULL || grant.secret_key.ptr == NULL || grant.prefix.ptr == NULL) {
        return err_no_memory(err);
    }
    *out = grant;
    return OK;
}
