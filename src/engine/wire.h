/*
 * The words that parent and child exchange. Two kinds of sockets:
 *
 *   control   one SOCK_SEQPACKET pair a child, for its whole life: short messages, descriptors ride
 *             along (SCM_RIGHTS)
 *   data      one SOCK_STREAM pair a job, child to parent: frames of u32 length (little endian), u8
 *             type, bytes
 *
 * What is long and goes to the child (a job's payload, the reply of a call) goes as a memory file
 * beside a short message, so that the parent never waits for a child that does not read. Everything
 * that comes from a child has a bound and is checked.
 */
#ifndef ENGINE_WIRE_H
#define ENGINE_WIRE_H

#include "base/buf.h"
#include "engine/engine.h"

enum {
    WIRE_CONTROL_FD = 3, /* of the child */
    /* of a control message: below half of the default socket buffer (208 KiB) */
    WIRE_BODY_MAX = 48 * 1024,
    WIRE_FDS_MAX = 12,
    WIRE_FRAME_HEAD = 5,
    WIRE_DATA_MAX = ENGINE_DATA_MAX,  /* bytes of a DATA frame that we send */
    WIRE_FRAME_MAX = 4 * 1024 * 1024, /* of any frame: a HEAD of 10,000 columns has about 1 MB */
    WIRE_CALL_ARGS_MAX = 32 * 1024,
};
/* of a job or of a reply: a snapshot of 300,000 files */
#define WIRE_PAYLOAD_MAX ((uint64_t)64 * 1024 * 1024)

enum wire_type {
    /* child to parent */
    WIRE_READY = 1, /* started; body: nothing */
    WIRE_FAILED,    /* it cannot start; body: why */
    /* the job has ended; fds: the spooled rest of its frames, if any; b: where that begins */
    WIRE_IDLE,
    /* fds: the socket for the reply; body: name, then args; a: length of the name */
    WIRE_CALL,
    /* parent to child */
    /* fds: data socket, payload, then the job's own; body: kind; b: bytes of the payload */
    WIRE_JOB,
    WIRE_CANCEL,
    /* parent to child on the socket of a call */
    /* a: status; b: bytes of the body when it is in a memory file. fds: that file, then the one
     * that the call gives */
    WIRE_REPLY,
    /* child to parent, now and then while a job runs; a: share done in 1/10,000; b: rows of the
     * answer */
    WIRE_PROGRESS,
};
#define WIRE_SHARE_UNKNOWN UINT32_MAX
enum wire_flags { WIRE_IN_FILE = 1, WIRE_WITH_FD = 2 };

struct wire_head {
    uint32_t type;
    uint32_t a;
    uint64_t job;
    uint64_t b;
    uint32_t flags;
    uint32_t reserved;
};

struct wire_message {
    struct wire_head head;
    int fds[WIRE_FDS_MAX]; /* taken out by setting them to -1 */
    size_t fd_count;
    size_t body_len;
    char body[WIRE_BODY_MAX];
};

enum wire_frame {
    WIRE_FRAME_HEAD_JSON = 1,
    WIRE_FRAME_DATA = 2,
    WIRE_FRAME_DONE = 3,
    WIRE_FRAME_ERROR = 4
};

/** A close-on-exec socket pair. */
enum status wire_pair(int type, int fds_out[2], struct err *err) MUST_USE;

/** Never blocks when `wait` is false: E_UNAVAILABLE when there is no room. E_CANCELED when the
 * other side has gone. */
enum status wire_send(int fd, const struct wire_head *head, struct str body, const int *fds,
                      size_t fd_count, bool wait, struct err *err) MUST_USE;

enum wire_got { WIRE_GOT, WIRE_NOTHING, WIRE_GONE };
/** One message. A malformed one is WIRE_GONE: who sends such a thing is not talked to any more.
 * Then no descriptor is left open. */
enum wire_got wire_recv(int fd, bool wait, struct wire_message *out);
/** Close the descriptors that nobody took. */
void wire_message_done(struct wire_message *message);

/** A memory file with these bytes, at offset 0, not writable any more. */
enum status wire_memory_file(struct str bytes, int *fd_out, struct err *err) MUST_USE;
/** Append `len` bytes of it. */
enum status wire_memory_read(int fd, uint64_t len, struct buf *out, struct err *err) MUST_USE;

void wire_frame_head(char out[WIRE_FRAME_HEAD], enum wire_frame type, size_t len);
/** False when it is no frame of ours. */
bool wire_frame_parse(const char in[WIRE_FRAME_HEAD], enum wire_frame *type_out,
                      size_t *len_out) MUST_USE;

/** The body of an ERROR frame, and back: a child's bytes become a kind and a message, whatever they
 * are. */
enum status wire_error_print(const struct err *error, struct buf *out) MUST_USE;
enum status wire_error_read(struct str json, struct err *err);

#endif
