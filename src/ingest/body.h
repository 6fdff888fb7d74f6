/*
 * What came over the wire -> the file as the engine reads it: unpacked, and in UTF-8 when it is
 * text.
 *
 *   wire -> Content-Encoding -> the file as it lies at the sender's -> .gz or .zst -> the bytes of
 *   its format -> character set -> sink
 *
 * Whether a file is packed, Parquet, or UTF-16 its first bytes say, so a few are held back until
 * they are there.
 */
#ifndef INGEST_BODY_H
#define INGEST_BODY_H

#include "base/inflate.h"
#include "ingest/charset.h"

struct body_opts {
    enum inflate_kind encoding; /* Content-Encoding */
    enum inflate_kind named;    /* what the file's name says; its bytes must say the same */
    enum charset charset;
    bool charset_given;       /* else a byte order mark may say UTF-16 */
    bool binary;              /* the file is said to be Parquet */
    uint64_t plain_bytes_max; /* see inflate_opts */
    uint64_t expansion_max;
    enum status (*sink)(void *ctx, struct str bytes, struct err *err);
    void *ctx;
};
struct body;

enum status ingest_body_new(const struct body_opts *opts, struct body **out,
                            struct err *err) MUST_USE;
void ingest_body_free(struct body *body);
/** How large the file is when `wire_bytes` come in all; 0 while or when that cannot be told. */
uint64_t body_file_bytes(const struct body *body, uint64_t wire_bytes);
/** E_INVALID for what cannot be a file of its kind, E_TOO_LARGE for a bomb; those of the sink. */
enum status body_feed(struct body *body, struct str bytes, struct err *err) MUST_USE;
/** All bytes have come: hands on what was held back. E_INVALID when something is cut short. */
enum status body_end(struct body *body, struct err *err) MUST_USE;

#endif
