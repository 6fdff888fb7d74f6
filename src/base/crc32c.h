/*
 * CRC32C by table or SSE4.2, chosen at run time.
 */
#ifndef BASE_CRC32C_H
#define BASE_CRC32C_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/** Castagnoli; start with crc 0. */
uint32_t crc32c(uint32_t crc, const void *bytes, size_t len);
/** The same without special instructions: what crc32c does on other machines, for tests. */
uint32_t crc32c_portable(uint32_t crc, const void *bytes, size_t len);

#ifdef __cplusplus
}
#endif

#endif
