/*
 * Attributes as one piece of bytes, which is how drivers keep and send them: for each one the
 * length of its name and of its value (2 bytes each, little-endian), name, value; by name in byte
 * order. It is a stored format (docs/formats/local-store.md). No attributes are no bytes.
 */
#ifndef STORE_ATTRS_H
#define STORE_ATTRS_H

#include "store/store.h"

enum { ATTRS_PACKED_MAX = STORE_ATTRS_BYTES_MAX + 4 * STORE_ATTRS_MAX };

/** Append to `out`. E_INVALID (a name is empty or there twice), E_TOO_LARGE, E_NO_MEMORY. NULL are
 * none. */
enum status attrs_pack(const struct store_attrs *attrs, struct buf *out, struct err *err) MUST_USE;
/** True when these bytes can come from attrs_pack. */
bool attrs_packed_valid(struct str packed) MUST_USE;
/** Into the arena; `packed` is valid. */
enum status attrs_unpack(struct str packed, struct arena *arena, struct store_attrs *out,
                         struct err *err) MUST_USE;
/** The same as one block of the heap that holds the items and their text; *block_out NULL when
 * there are none. */
enum status attrs_unpack_block(struct str packed, struct store_attrs *out, void **block_out,
                               struct err *err) MUST_USE;

#endif
