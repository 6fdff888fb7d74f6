/*
 * Arrow's streaming format, on nanoarrow: a schema, batches of rows, an end. It knows the C data
 * interface and no DuckDB; private to this folder.
 */
#ifndef DUCK_ARROW_IPC_H
#define DUCK_ARROW_IPC_H

#include "base/buf.h"

#ifdef __cplusplus
extern "C" {
#endif

struct ArrowSchema;
struct ArrowArray;
struct arrow_ipc;

/** Takes the schema over, also on failure. */
enum status arrow_ipc_new(struct ArrowSchema *schema, struct arrow_ipc **out,
                          struct err *err) MUST_USE;
void arrow_ipc_free(struct arrow_ipc *ipc);
/** Append the schema's message, which is the first one. */
enum status arrow_ipc_schema(struct arrow_ipc *ipc, struct buf *out, struct err *err) MUST_USE;
/** Append the rows of `array`, a struct with a child per column; it stays the caller's. */
enum status arrow_ipc_batch(struct arrow_ipc *ipc, const struct ArrowArray *array, struct buf *out,
                            struct err *err) MUST_USE;
/** Append the sign that nothing follows. */
enum status arrow_ipc_end(struct arrow_ipc *ipc, struct buf *out, struct err *err) MUST_USE;

#ifdef __cplusplus
}
#endif

#endif
