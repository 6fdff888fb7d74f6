/* The scripted client. Blocking sockets with a time limit of 5 s on each read, so that a hanging
 * server fails a test. */
#include "peer.h"

#include "base/mem.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

enum { WAIT_MS = 5000 };

struct peer peer_open(const char *address)
{
    struct peer peer = { .fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0) };
    struct sockaddr_in to = { .sin_family = AF_INET,
                              .sin_port = htons((uint16_t)atoi(strrchr(address, ':') + 1)) };
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    assert_true(peer.fd >= 0);
    assert_int_equal(connect(peer.fd, (struct sockaddr *)&to, sizeof(to)), 0);
    buf_init(&peer.in, 0);
    return peer;
}

void peer_close(struct peer *peer)
{
    if (peer->fd >= 0) {
        close(peer->fd);
    }
    peer->fd = -1;
    buf_done(&peer->in);
}

bool peer_try_send(struct peer *peer, const void *ptr, size_t len)
{
    const char *at = ptr;
    while (len > 0) {
        ssize_t sent = send(peer->fd, at, len, MSG_NOSIGNAL);
        if (sent <= 0) {
            return false;
        }
        at += sent;
        len -= (size_t)sent;
    }
    return true;
}

void peer_send_bytes(struct peer *peer, const void *ptr, size_t len)
{
    assert_true(peer_try_send(peer, ptr, len));
}

void peer_send(struct peer *peer, const char *text)
{
    peer_send_bytes(peer, text, strlen(text));
}

/* More bytes into peer->in; false at the end. */
static bool fill(struct peer *peer)
{
    struct pollfd p = { .fd = peer->fd, .events = POLLIN };
    if (poll(&p, 1, WAIT_MS) <= 0) {
        return false;
    }
    char *to = buf_reserve(&peer->in, 65536);
    assert_non_null(to);
    ssize_t got = recv(peer->fd, to, 65536, 0);
    if (got <= 0) {
        return false;
    }
    peer->in.len += (size_t)got;
    return true;
}

/* The index just behind `mark` in the input; reads on until it is there. 0 when it never comes. */
static size_t find_mark(struct peer *peer, size_t from, const char *mark)
{
    for (;;) {
        size_t at = str_find(str_skip(buf_str(&peer->in), from), str_of(mark));
        if (at != SIZE_MAX) {
            return from + at + strlen(mark);
        }
        if (!fill(peer)) {
            return 0;
        }
    }
}

static void body_add(struct peer_answer *out, const char *ptr, size_t len)
{
    size_t room = sizeof(out->body) - 1 -
                  (out->body_len < sizeof(out->body) ? out->body_len : sizeof(out->body) - 1);
    size_t take = len < room ? len : room;
    if (take > 0) {
        memcpy(out->body + out->body_len, ptr, take);
    }
    out->body_len += len;
}

static void read_length(struct peer *peer, size_t start, size_t length, struct peer_answer *out)
{
    while (peer->in.len < start + length && fill(peer)) {
    }
    size_t have = peer->in.len - start < length ? peer->in.len - start : length;
    body_add(out, peer->in.ptr + start, have);
    out->whole = have == length;
    buf_consume(&peer->in, start + have);
}

static void read_chunks(struct peer *peer, size_t at, struct peer_answer *out)
{
    for (;;) {
        size_t line = find_mark(peer, at, "\r\n");
        if (line == 0) {
            break;
        }
        size_t size = strtoul(peer->in.ptr + at, NULL, 16);
        while (peer->in.len < line + size + 2 && fill(peer)) {
        }
        if (peer->in.len < line + size + 2) {
            break;
        }
        body_add(out, peer->in.ptr + line, size);
        at = line + size + 2;
        if (size == 0) {
            out->whole = true;
            break;
        }
    }
    buf_consume(&peer->in, at < peer->in.len ? at : peer->in.len);
}

const char *peer_header(const struct peer_answer *answer, const char *name)
{
    static char value[4096];
    size_t len = strlen(name);
    for (const char *line = strstr(answer->head, "\r\n"); line != NULL && line[2] != '\0';
         line = strstr(line + 2, "\r\n")) {
        if (strncasecmp(line + 2, name, len) == 0 && line[2 + len] == ':') {
            const char *from = line + 2 + len + 1 + strspn(line + 2 + len + 1, " ");
            (void)snprintf(value, sizeof(value), "%.*s", (int)strcspn(from, "\r"), from);
            return value;
        }
    }
    return NULL;
}

bool peer_read(struct peer *peer, bool head_only, struct peer_answer *out)
{
    memset(out, 0, sizeof(*out));
    size_t end = find_mark(peer, 0, "\r\n\r\n");
    if (end == 0) {
        return false;
    }
    assert_true(end < sizeof(out->head));
    memcpy(out->head, peer->in.ptr, end);
    out->status = atoi(out->head + strlen("HTTP/1.1 "));
    const char *length = peer_header(out, "Content-Length");
    const char *coding = peer_header(out, "Transfer-Encoding");
    out->chunked = coding != NULL;
    if (head_only || out->status == 204 || out->status == 304 || out->status == 100) {
        buf_consume(&peer->in, end);
        out->whole = true;
        return true;
    }
    length = peer_header(out, "Content-Length");
    if (out->chunked) {
        read_chunks(peer, end, out);
    } else if (length != NULL) {
        read_length(peer, end, strtoull(length, NULL, 10), out);
    } else {
        while (fill(peer)) {
        }
        body_add(out, peer->in.ptr + end, peer->in.len - end);
        buf_clear(&peer->in);
    }
    return true;
}

bool peer_ended(struct peer *peer)
{
    char byte;
    struct pollfd p = { .fd = peer->fd, .events = POLLIN };
    return peer->in.len == 0 && poll(&p, 1, WAIT_MS + 3000) > 0 &&
           recv(peer->fd, &byte, 1, MSG_PEEK) <= 0;
}

bool peer_silent(struct peer *peer, int ms)
{
    struct pollfd p = { .fd = peer->fd, .events = POLLIN };
    return peer->in.len == 0 && poll(&p, 1, ms) == 0;
}

struct peer_answer peer_ask(const char *address, const char *request)
{
    struct peer peer = peer_open(address);
    struct peer_answer answer = { .status = 0 };
    peer_send(&peer, request);
    (void)peer_read(&peer, strncmp(request, "HEAD ", 5) == 0, &answer);
    peer_close(&peer);
    return answer;
}
