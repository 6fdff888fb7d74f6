/*
 * A scripted client on a raw socket: sends exactly the bytes it is told to, and reads one answer or
 * everything.
 */
#ifndef TEST_HTTP_PEER_H
#define TEST_HTTP_PEER_H

#include "base/buf.h"

#include <stdbool.h>

struct peer {
    int fd;
    struct buf in; /* what came and is not yet consumed */
};

struct peer_answer {
    int status;
    char head[8192];
    char body[65536]; /* NUL-terminated; cut when longer */
    size_t body_len;  /* the whole of it */
    bool chunked;
    bool whole; /* length or last chunk were there */
};

/** To "127.0.0.1:port". */
struct peer peer_open(const char *address);
void peer_close(struct peer *peer);
/** Asserts that all was taken. */
void peer_send(struct peer *peer, const char *text);
void peer_send_bytes(struct peer *peer, const void *ptr, size_t len);
/** False when the peer reset the connection meanwhile. */
bool peer_try_send(struct peer *peer, const void *ptr, size_t len);
/** One answer; 5 s at most. `head_only` for answers to HEAD. False when the connection ended before
 * a head. */
bool peer_read(struct peer *peer, bool head_only, struct peer_answer *out);
/** True when the other side has ended the connection (waits 5 s at most). */
bool peer_ended(struct peer *peer);
/** Nothing readable for `ms`. */
bool peer_silent(struct peer *peer, int ms);
/** Open, send, read one answer, close. */
struct peer_answer peer_ask(const char *address, const char *request);
/** The value of a header, NULL when absent; in a static buffer. */
const char *peer_header(const struct peer_answer *answer, const char *name);

#endif
