/*
 * Messages and frames between parent and child. See wire.h for the shapes.
 *
 * The parent treats every byte of a child as hostile: a control message has a fixed head, a bounded
 * body and a bounded number of descriptors; more descriptors than that are closed by the kernel
 * (MSG_CTRUNC) and the message is refused.
 */
#include "engine/wire.h"

#include <errno.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/io.h"
#include "base/json.h"

#include <fcntl.h>

enum status wire_pair(int type, int fds_out[2], struct err *err)
{
    int fds[2];
    if (socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, fds) != 0) {
        return err_errno(err, errno, "socketpair");
    }
    fds_out[0] = fds[0];
    fds_out[1] = fds[1];
    return OK;
}

/** Room for the descriptors of one message, aligned as the kernel wants it. */
union wire_fds_room {
    struct cmsghdr align;
    char bytes[CMSG_SPACE(WIRE_FDS_MAX * sizeof(int))];
};

static void attach_fds(struct msghdr *msg, union wire_fds_room *room, const int *fds,
                       size_t fd_count)
{
    if (fd_count == 0) {
        return;
    }
    memset(room, 0, sizeof(*room));
    msg->msg_control = room->bytes;
    msg->msg_controllen = CMSG_SPACE(fd_count * sizeof(int));
    struct cmsghdr *cmsg = CMSG_FIRSTHDR(msg);
    cmsg->cmsg_level = SOL_SOCKET;
    cmsg->cmsg_type = SCM_RIGHTS;
    cmsg->cmsg_len = CMSG_LEN(fd_count * sizeof(int));
    memcpy(CMSG_DATA(cmsg), fds, fd_count * sizeof(int));
}

enum status wire_send(int fd, const struct wire_head *head, struct str body, const int *fds,
                      size_t fd_count, bool wait, struct err *err)
{
    assert(body.len <= WIRE_BODY_MAX && fd_count <= WIRE_FDS_MAX);
    struct iovec parts[2] = { { (void *)(uintptr_t)head, sizeof(*head) },
                              { (void *)(uintptr_t)body.ptr, body.len } };
    struct msghdr msg = { .msg_iov = parts, .msg_iovlen = body.len > 0 ? 2 : 1 };
    union wire_fds_room room;
    attach_fds(&msg, &room, fds, fd_count);
    for (;;) {
        ssize_t sent = sendmsg(fd, &msg, MSG_NOSIGNAL | (wait ? 0 : MSG_DONTWAIT));
        if (sent >= 0) {
            return OK; /* a packet goes whole or not at all */
        }
        if (errno == EINTR) {
            continue;
        }
        if (errno == EPIPE || errno == ECONNRESET || errno == ENOTCONN) {
            return err_set(err, E_CANCELED, "the other side of the engine socket has gone");
        }
        if (errno == EAGAIN || errno == EWOULDBLOCK) {
            return err_set(err, E_UNAVAILABLE, "the engine does not take its messages");
        }
        return err_errno(err, errno, "send to the engine");
    }
}

/** Take the descriptors out of a received message. */
static void collect_fds(struct msghdr *msg, struct wire_message *out)
{
    for (struct cmsghdr *cmsg = CMSG_FIRSTHDR(msg); cmsg != NULL; cmsg = CMSG_NXTHDR(msg, cmsg)) {
        if (cmsg->cmsg_level != SOL_SOCKET || cmsg->cmsg_type != SCM_RIGHTS) {
            continue;
        }
        size_t count = (cmsg->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (size_t i = 0; i < count; i++) {
            int got;
            memcpy(&got, CMSG_DATA(cmsg) + i * sizeof(int), sizeof(got));
            if (out->fd_count < WIRE_FDS_MAX) {
                out->fds[out->fd_count++] = got;
            } else {
                close(got);
            }
        }
    }
}

enum wire_got wire_recv(int fd, bool wait, struct wire_message *out)
{
    struct iovec parts[2] = { { &out->head, sizeof(out->head) }, { out->body, sizeof(out->body) } };
    union wire_fds_room room;
    out->fd_count = 0;
    out->body_len = 0;
    for (;;) {
        struct msghdr msg = { .msg_iov = parts,
                              .msg_iovlen = 2,
                              .msg_control = room.bytes,
                              .msg_controllen = sizeof(room.bytes) };
        ssize_t got = recvmsg(fd, &msg, MSG_CMSG_CLOEXEC | (wait ? 0 : MSG_DONTWAIT));
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got < 0) {
            return errno == EAGAIN || errno == EWOULDBLOCK ? WIRE_NOTHING : WIRE_GONE;
        }
        collect_fds(&msg, out);
        bool whole = (msg.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) == 0;
        if (!whole || (size_t)got < sizeof(out->head)) {
            wire_message_done(out);
            return WIRE_GONE;
        }
        out->body_len = (size_t)got - sizeof(out->head);
        return WIRE_GOT;
    }
}

void wire_message_done(struct wire_message *message)
{
    for (size_t i = 0; i < message->fd_count; i++) {
        fd_done(&message->fds[i]);
    }
    message->fd_count = 0;
}

enum status wire_memory_file(struct str bytes, int *fd_out, struct err *err)
{
    AUTO(fd_done) int fd = memfd_create("lakehouse-engine", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd < 0) {
        return err_errno(err, errno, "memory file for the engine");
    }
    TRY(io_write_full(fd, bytes.ptr, bytes.len, err));
    if (fcntl(fd, F_ADD_SEALS, F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE) != 0) {
        return err_errno(err, errno, "seal the memory file for the engine");
    }
    *fd_out = fd;
    fd = -1;
    return OK;
}

enum status wire_memory_read(int fd, uint64_t len, struct buf *out, struct err *err)
{
    if (len > WIRE_PAYLOAD_MAX) {
        return err_set(err, E_TOO_LARGE,
                       "a message of %llu bytes between the engine and its server",
                       (unsigned long long)len);
    }
    char *into = buf_reserve(out, (size_t)len);
    if (into == NULL) {
        return err_no_memory(err);
    }
    size_t got = 0;
    TRY(io_pread(fd, into, (size_t)len, 0, &got, err));
    if (got != len) {
        return err_set(err, E_CORRUPT, "a message between the engine and its server is cut");
    }
    out->len += got;
    return OK;
}

void wire_frame_head(char out[WIRE_FRAME_HEAD], enum wire_frame type, size_t len)
{
    assert(len <= WIRE_FRAME_MAX);
    for (unsigned i = 0; i < 4; i++) {
        out[i] = (char)(len >> (8 * i));
    }
    out[4] = (char)type;
}

bool wire_frame_parse(const char in[WIRE_FRAME_HEAD], enum wire_frame *type_out, size_t *len_out)
{
    size_t len = 0;
    for (unsigned i = 0; i < 4; i++) {
        len |= (size_t)(uint8_t)in[i] << (8 * i);
    }
    if (len > WIRE_FRAME_MAX || in[4] < WIRE_FRAME_HEAD_JSON || in[4] > WIRE_FRAME_ERROR) {
        return false;
    }
    *type_out = (enum wire_frame)in[4];
    *len_out = len;
    return true;
}

enum status wire_error_print(const struct err *error, struct buf *out)
{
    struct json_writer w;
    json_writer_init(&w, out);
    jw_obj_begin(&w);
    jw_kv_cstr(&w, "code", status_name(error->kind));
    jw_kv_cstr(&w, "message", error->msg);
    jw_kv_u64(&w, "retry_after_s", error->retry_after_s);
    jw_obj_end(&w);
    return json_writer_end(&w);
}

enum status wire_error_read(struct str json, struct err *err)
{
    AUTO(json_doc_done) yyjson_doc *doc = NULL;
    struct str code = STR_INIT("internal");
    struct str message = STR_INIT("the engine failed without a reason");
    uint64_t retry_after_s = 0;
    if (json_parse(json, &doc, NULL) == OK) {
        yyjson_val *root = yyjson_doc_get_root(doc);
        bool whole = json_get_str(root, "code", JSON_REQUIRED, &code, NULL) == OK &&
                     json_get_str(root, "message", JSON_REQUIRED, &message, NULL) == OK &&
                     json_get_u64(root, "retry_after_s", JSON_OPTIONAL, &retry_after_s, NULL) == OK;
        (void)whole; /* what is missing keeps its default */
    }
    char name[32] = { 0 };
    memcpy(name, code.ptr, code.len < sizeof(name) - 1 ? code.len : sizeof(name) - 1);
    enum status kind = status_from_name(name);
    if (kind == OK || kind >= E_KIND_COUNT) {
        kind = E_INTERNAL;
    }
    err_set(err, kind, "%.*s", STR_ARG(message));
    if (err != NULL) {
        err->retry_after_s = retry_after_s > 3600 ? 3600 : (unsigned)retry_after_s;
    }
    return kind;
}
