/*
 * Any bytes from a child: as frames of an answer, as the body of an error, and as control messages.
 */
#include "engine/wire.h"

#include <stdint.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/io.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool cond)
{
    if (!cond) {
        abort();
    }
}

static void read_error(struct str body)
{
    struct err err = { 0 };
    enum status kind = wire_error_read(body, &err);
    check(kind != OK && kind < E_KIND_COUNT && kind == err.kind && err.retry_after_s <= 3600);
    struct buf printed;
    buf_init(&printed, 0);
    if (wire_error_print(&err, &printed) == OK) {
        struct err again = { 0 };
        check(wire_error_read(buf_str(&printed), &again) == kind);
    }
    buf_done(&printed);
}

static void read_frames(struct str bytes)
{
    while (bytes.len >= WIRE_FRAME_HEAD) {
        enum wire_frame type = 0;
        size_t len = 0;
        if (!wire_frame_parse(bytes.ptr, &type, &len)) {
            return;
        }
        check(len <= WIRE_FRAME_MAX);
        char head[WIRE_FRAME_HEAD];
        wire_frame_head(head, type, len);
        check(memcmp(head, bytes.ptr, sizeof(head)) == 0);
        bytes = str_skip(bytes, WIRE_FRAME_HEAD);
        struct str body = str_take(bytes, len);
        bytes = str_skip(bytes, body.len);
        if (type == WIRE_FRAME_ERROR) {
            read_error(body);
        }
    }
}

static void read_message(struct str bytes)
{
    static struct wire_message message;
    int fds[2];
    if (bytes.len > sizeof(message.head) + WIRE_BODY_MAX ||
        wire_pair(SOCK_SEQPACKET, fds, NULL) != OK) {
        return;
    }
    /* one descriptor rides along now and then */
    int give = bytes.len > 0 && (bytes.ptr[0] & 0x40) ? dup(fds[0]) : -1;
    struct wire_head head = { .type = 0 };
    memcpy(&head, bytes.ptr, bytes.len < sizeof(head) ? bytes.len : sizeof(head));
    struct str body = str_skip(bytes, bytes.len < sizeof(head) ? bytes.len : sizeof(head));
    if (wire_send(fds[0], &head, body, &give, give >= 0 ? 1 : 0, false, NULL) == OK) {
        check(wire_recv(fds[1], false, &message) == WIRE_GOT);
        check(message.body_len == body.len && message.fd_count == (give >= 0 ? 1u : 0u));
        wire_message_done(&message);
    }
    /* and a message that is shorter than its head */
    if (bytes.len < sizeof(head) && bytes.len > 0 &&
        send(fds[0], bytes.ptr, bytes.len, MSG_DONTWAIT) > 0) {
        check(wire_recv(fds[1], false, &message) == WIRE_GONE);
    }
    fd_done(&give);
    close(fds[0]);
    close(fds[1]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str bytes = str_from((const char *)data, size);
    read_frames(bytes);
    read_error(bytes);
    read_message(bytes);
    return 0;
}
