/*
 * Metadata kept whole, until meta.c comes with field indexes and filter.c with filters: then this
 * file goes. Filters are refused as unsupported.
 */
#include <stdlib.h>

#include "base/json.h"
#include "base/mem.h"
#include "collection/collection.h"
#include "collection/meta.h"

struct meta {
    char **text; /* NULL: not there */
    uint32_t room;
    uint64_t items, bytes;
};

enum status meta_new(struct meta **out, struct err *err)
{
    *out = mem_zalloc(sizeof **out);
    return *out != NULL ? OK : err_no_memory(err);
}

void meta_free(struct meta *meta)
{
    for (uint32_t i = 0; meta != NULL && i < meta->room; i++) {
        mem_free(meta->text[i]);
    }
    if (meta != NULL) {
        mem_free(meta->text);
        mem_free(meta);
    }
}

enum status meta_check(struct str json, struct err *err)
{
    AUTO(json_doc_done) yyjson_doc *doc = NULL;
    TRY(json_parse(json, &doc, err));
    if (!yyjson_is_obj(yyjson_doc_get_root(doc))) {
        return err_set(err, E_INVALID, "metadata is a JSON object");
    }
    return json.len <= COLL_METADATA_MAX ? OK : err_set(err, E_INVALID, "metadata is too large");
}

enum status meta_set(struct meta *meta, uint32_t slot, struct str json, struct err *err)
{
    if (slot >= meta->room) {
        uint32_t room = slot + slot / 2 + 16;
        char **text = mem_realloc(meta->text, room * sizeof *text);
        if (text == NULL) {
            return err_no_memory(err);
        }
        memset(text + meta->room, 0, (room - meta->room) * sizeof *text);
        meta->text = text;
        meta->room = room;
    }
    char *copy = mem_strndup(json.ptr, json.len);
    if (copy == NULL) {
        return err_no_memory(err);
    }
    meta_remove(meta, slot);
    meta->text[slot] = copy;
    meta->items++;
    meta->bytes += json.len;
    return OK;
}

void meta_remove(struct meta *meta, uint32_t slot)
{
    if (slot < meta->room && meta->text[slot] != NULL) {
        meta->items--;
        meta->bytes -= strlen(meta->text[slot]);
        mem_free(meta->text[slot]);
        meta->text[slot] = NULL;
    }
}

enum status meta_add(struct meta *meta, uint32_t slot, struct err *err)
{
    return meta_set(meta, slot, STR("{}"), err);
}

struct str meta_get(const struct meta *meta, uint32_t slot)
{
    bool there = slot < meta->room && meta->text[slot] != NULL;
    return there ? str_of(meta->text[slot]) : STR("{}");
}

enum status meta_move(struct meta *meta, uint32_t from, uint32_t to, struct err *err)
{
    TRY(meta_set(meta, to, meta_get(meta, from), err));
    meta_remove(meta, from);
    return OK;
}

enum status meta_merged(const struct meta *meta, uint32_t slot, struct str patch,
                        struct arena *arena, struct str *out, struct err *err)
{
    AUTO(json_doc_done) yyjson_doc *old = NULL;
    AUTO(json_doc_done) yyjson_doc *new = NULL;
    AUTO(json_mut_doc_done) yyjson_mut_doc *doc = yyjson_mut_doc_new(NULL);
    TRY(json_parse(meta_get(meta, slot), &old, err));
    TRY(json_parse(patch, &new, err));
    yyjson_mut_val *merged = doc == NULL ? NULL
                                         : yyjson_merge_patch(doc, yyjson_doc_get_root(old),
                                                              yyjson_doc_get_root(new));
    size_t len = 0;
    char *text = merged == NULL ? NULL : yyjson_mut_val_write(merged, 0, &len);
    *out = text == NULL ? STR_EMPTY : arena_str(arena, str_from(text, len));
    free(text); /* yyjson's own allocator: NULL was given */
    return out->len > 0 ? OK : err_no_memory(err);
}

enum status meta_match(const struct meta *meta, const struct filter *filter, struct arena *arena,
                       struct meta_match *out, struct err *err)
{
    return err_set(err, E_UNSUPPORTED, "filters are not there yet");
}

void meta_stats(const struct meta *meta, struct meta_stats *out)
{
    *out = (struct meta_stats){ .items = meta->items, .metadata_bytes = meta->bytes };
}

enum status filter_parse(struct str json, struct arena *arena, struct filter **out, struct err *err)
{
    return err_set(err, E_UNSUPPORTED, "filters are not there yet");
}

bool filter_is_empty(const struct filter *filter)
{
    return false;
}
