/*
 * S3's XML: a writer onto a buffer, and a reader (expat) into a small tree in an arena.
 *
 * The reader refuses what no S3 client sends and attackers do: a DOCTYPE, entities other than the
 * five, processing instructions, depth above 16, more than 50,000 elements. Namespaces and their
 * prefixes are dropped: clients disagree about them.
 */
#ifndef AWS_XML_H
#define AWS_XML_H

#include "base/arena.h"
#include "base/buf.h"

#define AWS_XML_NAMESPACE "http://s3.amazonaws.com/doc/2006-03-01/"

struct xml_node {
    struct str name;
    struct str text;               /* all character data directly inside, joined; not trimmed */
    struct xml_node *first, *next; /* child elements in order; the next sibling */
};

/** E_INVALID says the line and what is wrong; E_TOO_LARGE at the limits. */
enum status xml_read(struct str text, struct arena *arena, struct xml_node **root_out,
                     struct err *err) MUST_USE;
/** The first child of that name; NULL when there is none. */
const struct xml_node *xml_child(const struct xml_node *node, const char *name);
/** The next sibling of the same name, for lists. */
const struct xml_node *xml_again(const struct xml_node *node);
/** The first child's text without white space around it; .ptr NULL when there is no such child. */
struct str xml_text(const struct xml_node *node, const char *name);

/** Writing; names are literals. The declaration and the root with S3's namespace: */
enum status xml_begin(struct buf *out, const char *root) MUST_USE;
enum status xml_open(struct buf *out, const char *name) MUST_USE;
enum status xml_close(struct buf *out, const char *name) MUST_USE;
/** Escapes; characters that XML 1.0 cannot hold become the reference that S3 sends (&#x1;). */
enum status xml_put(struct buf *out, const char *name, struct str text) MUST_USE;
enum status xml_put_u64(struct buf *out, const char *name, uint64_t value) MUST_USE;
enum status xml_put_bool(struct buf *out, const char *name, bool value) MUST_USE;
/** 2024-01-02T03:04:05.000Z */
enum status xml_put_time(struct buf *out, const char *name, int64_t ms) MUST_USE;

#endif
