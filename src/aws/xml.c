/*
 * XML by expat, into a tree whose nodes and texts are in the caller's arena.
 *
 * expat calls for each element; the tree is built with a stack of open nodes whose depth is
 * bounded. A document type is refused before any entity could be declared, so there is nothing to
 * expand.
 */
#include "aws/xml.h"

#include <expat.h>
#include <limits.h>

#include "base/clock.h"
#include "base/mem.h"

enum { DEPTH_MAX = 16, NODES_MAX = 50000, NAME_MAX_BYTES = 128, TEXT_PIECES_MIN = 256 };

struct reader {
    XML_Parser parser;
    struct arena *arena;
    struct xml_node *root;
    struct xml_node *open[DEPTH_MAX]; /* from the root down */
    struct xml_node *last[DEPTH_MAX]; /* the newest child of each */
    size_t room[DEPTH_MAX];           /* bytes that the text of each has room for */
    unsigned depth;
    size_t nodes;
    struct err *err;
    enum status status;
};

/* --- reading --- */

static void stop(struct reader *reader, enum status status)
{
    reader->status = status;
    (void)XML_StopParser(reader->parser, XML_FALSE);
}

static void on_start(void *ctx, const XML_Char *name, const XML_Char **attributes)
{
    struct reader *reader = ctx;
    struct str local = str_of(name);
    size_t colon = str_find_char(local, ':');
    (void)attributes;
    local = colon == SIZE_MAX ? local : str_skip(local, colon + 1);
    if (reader->depth == DEPTH_MAX || ++reader->nodes > NODES_MAX || local.len > NAME_MAX_BYTES) {
        stop(
            reader,
            err_set(
                reader->err, E_TOO_LARGE,
                "the XML is deeper than %d, has more than %d elements, or a name of more than %d bytes",
                DEPTH_MAX, NODES_MAX, NAME_MAX_BYTES));
        return;
    }
    if (local.len == 0) {
        stop(reader, err_set(reader->err, E_INVALID, "an XML element's name is a prefix alone"));
        return;
    }
    struct xml_node *node = ARENA_NEW(reader->arena, struct xml_node);
    struct str copy = node == NULL ? (struct str){ 0 } : arena_str(reader->arena, local);
    if (copy.ptr == NULL) {
        stop(reader, err_no_memory(reader->err));
        return;
    }
    *node = (struct xml_node){ .name = copy, .text = STR_EMPTY };
    if (reader->depth == 0) {
        reader->root = node;
    } else if (reader->last[reader->depth - 1] == NULL) {
        reader->open[reader->depth - 1]->first = node;
    } else {
        reader->last[reader->depth - 1]->next = node;
    }
    if (reader->depth > 0) {
        reader->last[reader->depth - 1] = node;
    }
    reader->open[reader->depth] = node;
    reader->last[reader->depth] = NULL;
    reader->room[reader->depth] = 0;
    reader->depth++;
}

static void on_end(void *ctx, const XML_Char *name)
{
    (void)name;
    ((struct reader *)ctx)->depth--;
}

/** Text comes in pieces; room for it doubles, so that all of it is copied a bounded number of
 * times. */
static void on_text(void *ctx, const XML_Char *ptr, int len)
{
    struct reader *reader = ctx;
    struct xml_node *node = reader->open[reader->depth - 1];
    size_t *room = &reader->room[reader->depth - 1];
    size_t need = node->text.len + (size_t)len;
    if (need > *room) {
        size_t more = need < TEXT_PIECES_MIN ? (*room == 0 ? need : TEXT_PIECES_MIN) : need * 2;
        char *copy = arena_alloc(reader->arena, more);
        if (copy == NULL) {
            stop(reader, err_no_memory(reader->err));
            return;
        }
        if (node->text.len > 0) {
            memcpy(copy, node->text.ptr, node->text.len);
        }
        node->text.ptr = copy;
        *room = more;
    }
    memcpy((char *)(uintptr_t)node->text.ptr + node->text.len, ptr, (size_t)len);
    node->text.len = need;
}

static void on_doctype(void *ctx, const XML_Char *name, const XML_Char *system,
                       const XML_Char *public, int has_subset)
{
    struct reader *reader = ctx;
    (void)name;
    (void)system;
    (void)public;
    (void)has_subset;
    stop(reader, err_set(reader->err, E_INVALID, "the XML has a document type, which is refused"));
}

static void on_instruction(void *ctx, const XML_Char *target, const XML_Char *data)
{
    struct reader *reader = ctx;
    (void)target;
    (void)data;
    stop(reader,
         err_set(reader->err, E_INVALID, "the XML has a processing instruction, which is refused"));
}

enum status xml_read(struct str text, struct arena *arena, struct xml_node **root_out,
                     struct err *err)
{
    struct reader reader = { .arena = arena, .err = err, .status = OK };
    if (text.len > INT_MAX) {
        return err_set(err, E_TOO_LARGE, "the XML has %zu bytes", text.len);
    }
    static const XML_Memory_Handling_Suite memory = { mem_alloc, mem_realloc, mem_free };
    reader.parser = XML_ParserCreate_MM(NULL, &memory, NULL);
    if (reader.parser == NULL) {
        return err_no_memory(err);
    }
    XML_SetUserData(reader.parser, &reader);
    XML_SetElementHandler(reader.parser, on_start, on_end);
    XML_SetCharacterDataHandler(reader.parser, on_text);
    XML_SetStartDoctypeDeclHandler(reader.parser, on_doctype);
    XML_SetProcessingInstructionHandler(reader.parser, on_instruction);
    enum XML_Status parsed = XML_Parse(reader.parser, text.ptr != NULL ? text.ptr : "",
                                       (int)text.len, 1);
    enum XML_Error code = XML_GetErrorCode(reader.parser);
    enum status status = reader.status;
    if (status == OK && parsed != XML_STATUS_OK) {
        status = code == XML_ERROR_NO_MEMORY
                     ? err_no_memory(err)
                     : err_set(err, E_INVALID, "line %lu of the XML: %s",
                               (unsigned long)XML_GetCurrentLineNumber(reader.parser),
                               XML_ErrorString(code));
    }
    XML_ParserFree(reader.parser);
    if (status == OK) {
        *root_out = reader.root;
    }
    return status;
}

/* --- looking --- */

const struct xml_node *xml_child(const struct xml_node *node, const char *name)
{
    for (const struct xml_node *child = node->first; child != NULL; child = child->next) {
        if (str_eq(child->name, str_of(name))) {
            return child;
        }
    }
    return NULL;
}

const struct xml_node *xml_again(const struct xml_node *node)
{
    for (const struct xml_node *next = node->next; next != NULL; next = next->next) {
        if (str_eq(next->name, node->name)) {
            return next;
        }
    }
    return NULL;
}

struct str xml_text(const struct xml_node *node, const char *name)
{
    const struct xml_node *child = xml_child(node, name);
    return child == NULL ? (struct str){ 0 } : str_trim(child->text);
}

/* --- writing --- */

enum status xml_begin(struct buf *out, const char *root)
{
    return buf_printf(out, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<%s xmlns=\"%s\">", root,
                      AWS_XML_NAMESPACE);
}

/** Without printf: a listing has twelve of them for a key. */
static enum status put_tag(struct buf *out, struct str start, struct str name)
{
    size_t was = out->len;
    enum status status = buf_append(out, start);
    status = status == OK ? buf_append(out, name) : status;
    status = status == OK ? buf_append_char(out, '>') : status;
    out->len = status == OK ? out->len : was;
    return status;
}

enum status xml_open(struct buf *out, const char *name)
{
    return put_tag(out, STR("<"), str_of(name));
}

enum status xml_close(struct buf *out, const char *name)
{
    return put_tag(out, STR("</"), str_of(name));
}

static bool is_plain(unsigned char c)
{
    return c >= 0x20 && c != '&' && c != '<' && c != '>' && c != '"';
}

static enum status put_char(struct buf *out, char c)
{
    switch (c) {
    case '&':
        return buf_append(out, STR("&amp;"));
    case '<':
        return buf_append(out, STR("&lt;"));
    case '>':
        return buf_append(out, STR("&gt;"));
    case '"':
        return buf_append(out, STR("&quot;"));
    default:
        break;
    }
    unsigned char byte = (unsigned char)c;
    return byte < 0x20 && c != '\t' && c != '\n' ? buf_printf(out, "&#x%X;", byte)
                                                 : buf_append_char(out, c);
}

enum status xml_put(struct buf *out, const char *name, struct str text)
{
    size_t was = out->len;
    enum status status = xml_open(out, name);
    while (text.len > 0 && status == OK) {
        size_t plain = 0;
        while (plain < text.len && is_plain((unsigned char)text.ptr[plain])) {
            plain++;
        }
        status = plain > 0 ? buf_append(out, str_take(text, plain)) : put_char(out, text.ptr[0]);
        text = str_skip(text, plain > 0 ? plain : 1);
    }
    status = status == OK ? xml_close(out, name) : status;
    if (status != OK) {
        out->len = was;
    }
    return status;
}

enum status xml_put_u64(struct buf *out, const char *name, uint64_t value)
{
    return buf_printf(out, "<%s>%llu</%s>", name, (unsigned long long)value, name);
}

enum status xml_put_bool(struct buf *out, const char *name, bool value)
{
    return buf_printf(out, "<%s>%s</%s>", name, value ? "true" : "false", name);
}

enum status xml_put_time(struct buf *out, const char *name, int64_t ms)
{
    size_t was = out->len;
    enum status status = xml_open(out, name);
    status = status == OK ? time_append_iso(out, ms) : status;
    status = status == OK ? xml_close(out, name) : status;
    if (status != OK) {
        out->len = was;
    }
    return status;
}
