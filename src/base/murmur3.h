/*
 * MurmurHash3, 32 bits for x86: the hash of Iceberg's bucket transform.
 */
#ifndef BASE_MURMUR3_H
#define BASE_MURMUR3_H

#include "base/str.h"

#ifdef __cplusplus
extern "C" {
#endif

/** With seed 0. Source: Austin Appleby, MurmurHash3 (public domain); the Iceberg table
 * specification, appendix B, has values to test with. */
uint32_t murmur3_32(struct str bytes);

#ifdef __cplusplus
}
#endif

#endif
