/*
 * A writer of nanoarrow's whose output is a struct buf.
 *
 * One writer serves the whole stream, because it keeps the encoder with its buffers; the buffer it
 * appends to is another one each time, and is put back by the caller on failure.
 */
#include "duck/arrow_ipc.h"

#include "base/mem.h"

#include <errno.h>
#include <nanoarrow/nanoarrow.h>
#include <nanoarrow/nanoarrow_ipc.h>

struct arrow_ipc {
    struct ArrowSchema schema;
    struct ArrowArrayView view;
    struct ArrowIpcWriter writer;
    struct buf *out; /* where the call that runs appends to */
};

static ArrowErrorCode append(struct ArrowIpcOutputStream *stream, const void *ptr, int64_t len,
                             int64_t *written_out, struct ArrowError *error)
{
    struct arrow_ipc *ipc = stream->private_data;
    if (buf_append(ipc->out, str_from(ptr, (size_t)len)) != OK) {
        return ENOMEM;
    }
    *written_out = len;
    return NANOARROW_OK;
}

static void release(struct ArrowIpcOutputStream *stream)
{
    stream->release = NULL;
}

static enum status check(int code, const char *what, const struct ArrowError *error,
                         struct err *err)
{
    if (code == NANOARROW_OK) {
        return OK;
    }
    return code == ENOMEM ? err_no_memory(err)
                          : err_set(err, E_INTERNAL, "%s as arrow: %s", what, error->message);
}

enum status arrow_ipc_new(struct ArrowSchema *schema, struct arrow_ipc **out, struct err *err)
{
    struct arrow_ipc *ipc = mem_zalloc(sizeof(*ipc));
    if (ipc == NULL) {
        ArrowSchemaRelease(schema);
        return err_no_memory(err);
    }
    struct ArrowError error = { "" };
    struct ArrowIpcOutputStream stream = { .write = append,
                                           .release = release,
                                           .private_data = ipc };
    ArrowSchemaMove(schema, &ipc->schema);
    ArrowArrayViewInitFromType(&ipc->view, NANOARROW_TYPE_UNINITIALIZED);
    int code = ArrowIpcWriterInit(&ipc->writer, &stream);
    if (code == NANOARROW_OK) {
        code = ArrowArrayViewInitFromSchema(&ipc->view, &ipc->schema, &error);
    }
    if (code != NANOARROW_OK) {
        arrow_ipc_free(ipc);
        return check(code, "columns", &error, err);
    }
    *out = ipc;
    return OK;
}

void arrow_ipc_free(struct arrow_ipc *ipc)
{
    if (ipc == NULL) {
        return;
    }
    if (ipc->writer.private_data != NULL) {
        ArrowIpcWriterReset(&ipc->writer);
    }
    ArrowArrayViewReset(&ipc->view);
    if (ipc->schema.release != NULL) {
        ArrowSchemaRelease(&ipc->schema);
    }
    mem_free(ipc);
}

enum status arrow_ipc_schema(struct arrow_ipc *ipc, struct buf *out, struct err *err)
{
    struct ArrowError error = { "" };
    ipc->out = out;
    return check(ArrowIpcWriterWriteSchema(&ipc->writer, &ipc->schema, &error), "columns", &error,
                 err);
}

enum status arrow_ipc_batch(struct arrow_ipc *ipc, const struct ArrowArray *array, struct buf *out,
                            struct err *err)
{
    struct ArrowError error = { "" };
    ipc->out = out;
    int code = ArrowArrayViewSetArray(&ipc->view, array, &error);
    if (code == NANOARROW_OK) {
        code = ArrowIpcWriterWriteArrayView(&ipc->writer, &ipc->view, &error);
    }
    return check(code, "rows", &error, err);
}

enum status arrow_ipc_end(struct arrow_ipc *ipc, struct buf *out, struct err *err)
{
    struct ArrowError error = { "" };
    ipc->out = out;
    return check(ArrowIpcWriterWriteArrayView(&ipc->writer, NULL, &error), "the end", &error, err);
}
