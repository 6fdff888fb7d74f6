/*
 * The metadata that an edit makes, without reading its text again.
 *
 *      text of the edit:   {...,"snapshots":[ a, b, c, new ],...,"snapshot-log":[ ... ],...}
 *      read again:         {...,"snapshots":[],...,"snapshot-log":[],...}    and    new
 *      taken over:                            a, b, c                 entries of the log
 *
 * What is taken over was parsed once and does not change. Each snapshot is a part: its text, for
 * the next edit to copy, and the document that its values point into. Parts are counted, since many
 * versions of a table's metadata have them in common; the first edit of metadata that came from a
 * file cuts that file's list into parts.
 */
#include "iceberg/metadata_priv.h"

#include "base/mem.h"

enum status ice_doc_parse(struct str json, struct ice_doc **out, struct err *err)
{
    struct ice_doc *doc = mem_zalloc(sizeof(*doc));
    if (doc == NULL) {
        return err_no_memory(err);
    }
    doc->refs = 1;
    enum status status = json_parse(json, &doc->doc, err);
    if (status != OK) {
        mem_free(doc);
        return status;
    }
    *out = doc;
    return OK;
}

struct ice_doc *ice_doc_ref(struct ice_doc *doc)
{
    /* Relaxed: whoever makes a reference already holds one. */
    (void)__atomic_fetch_add(&doc->refs, 1, __ATOMIC_RELAXED);
    return doc;
}

void ice_doc_unref(struct ice_doc *doc)
{
    /* Acquire and release: the last one frees only after what all others did with it. */
    if (doc != NULL && __atomic_sub_fetch(&doc->refs, 1, __ATOMIC_ACQ_REL) == 0) {
        json_doc_done(&doc->doc);
        mem_free(doc);
    }
}

static struct ice_part *part_new(struct str text, struct ice_doc *home)
{
    size_t size = 0;
    struct ice_part *part = size_add(sizeof(*part), text.len, &size) ? mem_alloc(size) : NULL;
    if (part != NULL) {
        part->refs = 1;
        part->home = ice_doc_ref(home);
        part->len = text.len;
        memcpy(part->text, text.ptr, text.len);
    }
    return part;
}

static struct ice_part *part_ref(struct ice_part *part)
{
    (void)__atomic_fetch_add(&part->refs, 1, __ATOMIC_RELAXED); /* as in ice_doc_ref */
    return part;
}

void ice_part_unref(struct ice_part *part)
{
    /* as in ice_doc_unref */
    if (part != NULL && __atomic_sub_fetch(&part->refs, 1, __ATOMIC_ACQ_REL) == 0) {
        ice_doc_unref(part->home);
        mem_free(part);
    }
}

/** Entry `index` of a list, without the comma before it. */
static struct str entry_of(const struct metadata_written *written, const struct metadata_span *list,
                           const size_t *ends, size_t index)
{
    size_t at = index == 0 ? list->at + 1 : ends[index - 1] + 1;
    return str_take(str_skip(written->json, at), ends[index] - at);
}

/* ---- the snapshots ---- */

static enum status take_over(struct ice_metadata *m, const struct metadata_written *written,
                             struct err *err)
{
    const struct ice_metadata *base = written->base;
    for (size_t i = 0; i < base->snapshot_count; i++) {
        const struct ice_snapshot *old = &base->snapshots[i];
        if (written->expired[i]) {
            continue;
        }
        struct str text = entry_of(written, &written->snapshots, written->snapshot_ends,
                                   m->snapshot_count);
        struct ice_part *part = old->part != NULL ? part_ref(old->part)
                                                  : part_new(text, base->home);
        if (part == NULL) {
            return err_no_memory(err);
        }
        m->snapshots[m->snapshot_count] = *old;
        m->snapshots[m->snapshot_count++].part = part;
    }
    return OK;
}

static enum status add_new(struct ice_metadata *m, const struct metadata_written *written,
                           struct err *err)
{
    struct str text = entry_of(written, &written->snapshots, written->snapshot_ends,
                               m->snapshot_count);
    struct ice_snapshot snapshot = { 0 };
    struct ice_doc *doc = NULL;
    TRY(ice_doc_parse(text, &doc, err));
    enum status status = metadata_parse_snapshot(yyjson_doc_get_root(doc->doc), &snapshot, err);
    if (status == OK) {
        snapshot.part = part_new(text, doc);
        status = snapshot.part == NULL ? err_no_memory(err) : OK;
    }
    if (status == OK) {
        m->snapshots[m->snapshot_count++] = snapshot;
    }
    ice_doc_unref(doc);
    return status;
}

/** The base's order, without what has expired, and with the new one in its place. */
static enum status sort_by_id(struct ice_metadata *m, const struct metadata_written *written,
                              struct err *err)
{
    const struct ice_metadata *base = written->base;
    size_t *moved = arena_array(&m->arena, base->snapshot_count, sizeof(*moved));
    if (moved == NULL) {
        return err_no_memory(err);
    }
    for (size_t i = 0, to = 0; i < base->snapshot_count; i++) {
        moved[i] = written->expired[i] ? SIZE_MAX : to++;
    }
    const struct ice_new_snapshot *fresh = written->new_snapshot;
    struct ice_snapshot_slot slot = { .index = m->snapshot_count - 1 };
    size_t count = 0;
    for (size_t i = 0; i < base->snapshot_count; i++) {
        if (fresh != NULL && fresh->id < base->by_id[i].id) {
            slot.id = fresh->id;
            m->by_id[count++] = slot;
            fresh = NULL;
        }
        if (moved[base->by_id[i].index] != SIZE_MAX) {
            m->by_id[count++] = (struct ice_snapshot_slot){ .id = base->by_id[i].id,
                                                            .index = moved[base->by_id[i].index] };
        }
    }
    if (fresh != NULL) {
        slot.id = fresh->id;
        m->by_id[count++] = slot;
    }
    assert(count == m->snapshot_count);
    return OK;
}

enum status metadata_next_snapshots(struct ice_metadata *m, const struct metadata_written *written,
                                    struct err *err)
{
    size_t room = written->base->snapshot_count + 1;
    m->snapshots = arena_array(&m->arena, room, sizeof(*m->snapshots));
    m->by_id = arena_array(&m->arena, room, sizeof(*m->by_id));
    if (m->snapshots == NULL || m->by_id == NULL) {
        return err_no_memory(err);
    }
    TRY(take_over(m, written, err));
    if (written->new_snapshot != NULL) {
        TRY(add_new(m, written, err));
    }
    return sort_by_id(m, written, err);
}

/* ---- their log ---- */

enum status metadata_next_log(struct ice_metadata *m, const struct metadata_written *written,
                              struct err *err)
{
    const struct ice_metadata *base = written->base;
    size_t kept = base->log_count - written->log_from;
    m->snapshot_log = arena_array(&m->arena, kept + 1, sizeof(*m->snapshot_log));
    m->log_ends = arena_array(&m->arena, kept + 1, sizeof(*m->log_ends));
    if (m->snapshot_log == NULL || m->log_ends == NULL) {
        return err_no_memory(err);
    }
    if (kept > 0) {
        memcpy(m->snapshot_log, base->snapshot_log + written->log_from,
               kept * sizeof(*m->snapshot_log));
    }
    m->log_count = kept;
    if (written->new_snapshot != NULL) {
        m->snapshot_log[m->log_count++] = (struct ice_log_entry){
            .timestamp_ms = written->now_ms, .snapshot_id = written->new_snapshot->id
        };
    }
    if (m->log_count == 0) {
        return OK;
    }
    size_t start = written->log.at + 1;
    for (size_t i = 0; i < m->log_count; i++) {
        m->log_ends[i] = written->log_ends[i] - start;
    }
    m->log_text = arena_str(
        &m->arena, str_take(str_skip(written->json, start), m->log_ends[m->log_count - 1]));
    return m->log_text.ptr == NULL ? err_no_memory(err) : OK;
}

/* ---- the rest ---- */

/** The document without the entries of the two lists. */
static enum status write_head(const struct metadata_written *written, struct buf *out)
{
    bool in_order = written->snapshots.at < written->log.at;
    const struct metadata_span *lists[] = { in_order ? &written->snapshots : &written->log,
                                            in_order ? &written->log : &written->snapshots };
    size_t at = 0;
    for (size_t i = 0; i < ARRAY_LEN(lists); i++) {
        if (lists[i]->len > 0) {
            TRY(buf_append(out, str_take(str_skip(written->json, at), lists[i]->at - at)));
            TRY(buf_append(out, STR("[]")));
            at = lists[i]->at + lists[i]->len;
        }
    }
    return buf_append(out, str_skip(written->json, at));
}

enum status metadata_next(const struct metadata_written *written, struct ice_metadata **out,
                          struct err *err)
{
    if (written->twice) { /* whoever reads it takes one of the two: so do we */
        return ice_metadata_parse(written->json, out, err);
    }
    AUTO(buf_done) struct buf head;
    buf_init(&head, 0);
    if (write_head(written, &head) != OK) {
        return err_no_memory(err);
    }
    return metadata_parse(buf_str(&head), written, out, err);
}
