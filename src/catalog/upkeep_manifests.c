/*
 * Small manifests become few.
 *
 *      rows of the list, by spec and content
 *        --> those that are small, or (partitioned) all when their partitions lie across each other
 *        --> batches, in the order of their partitions
 *        --> a batch's entries, sorted, in manifests of the target's size
 *        --> list, commit; lost: the list again, if all that was replaced is still in it
 *
 * Whoever has written a manifest has spelled its partition records; only those that are spelled
 * alike come together, for the records are carried as they stand.
 */
#include "base/map.h"
#include "catalog/local.h"
#include "catalog/table_name.h"
#include "catalog/upkeep_priv.h"
#include "catalog/upkeep_sort.h"
#include "catalog/written.h"

enum {
    TARGET_BYTES = 8 * 1024 * 1024, /* Iceberg's default */
    TARGET_BYTES_MIN = 1024,
    TARGET_BYTES_MAX = 128 * 1024 * 1024,
    BATCH_BYTES = 32 * 1024 * 1024,
    /* chosen: what a batch may hold, but for its first manifest */
    PARSED_BYTES = 128 * 1024 * 1024,
    ENTRIES_MAX = 50000, /* chosen: of a manifest that is made */
    EXTRA_SUMMARY = 4,
};

struct merging {
    struct local *local;
    const struct upkeep_manifests *request;
    struct arena *arena; /* of the report */
    struct arena own;    /* of this run */
    struct reader *reader;
    struct written written;
    struct catalog_pin *pin;          /* of this round */
    struct catalog_manifests list;    /* the same */
    struct ice_partition_specs specs; /* the same */
    int64_t target_bytes;
    struct map replaced; /* paths; the value is any */
    struct ice_manifest_file *made;
    size_t made_count, made_cap;
    struct upkeep_rewritten *out;
};

/** Rows of one spec and content that are looked at together. */
struct batch {
    struct arena arena;
    const struct ice_partition_spec *spec;
    int32_t content;
    const struct ice_manifest_file *const *rows;
    size_t count;
    struct cache_item **items; /* held */
    size_t held;
    const struct reader_manifest **manifests;
    bool across; /* they are few enough to be put in order */
};

/* --- writing --- */

static enum status keep_made(struct merging *m, const struct ice_manifest_file *row,
                             struct err *err)
{
    if (m->made_count == m->made_cap) {
        size_t cap = 2 * m->made_cap + 16;
        struct ice_manifest_file *more = arena_array(&m->own, cap, sizeof(*more));
        if (more == NULL) {
            return err_no_memory(err);
        }
        if (m->made_count > 0) {
            memcpy(more, m->made, m->made_count * sizeof(*more));
        }
        m->made = more;
        m->made_cap = cap;
    }
    m->made[m->made_count++] = *row;
    return OK;
}

static enum status write_slice(struct merging *m, struct batch *batch,
                               const struct ice_manifest *like, const struct upkeep_entry *entries,
                               size_t count, struct err *err)
{
    struct ice_manifest_file row = { .min_sequence_number = INT64_MAX };
    const struct ice_manifest_opts opts = {
        .partition_spec = like->partition_spec.len > 0 ? like->partition_spec : STR("[]"),
        .partition_spec_id = batch->spec->id,
        .avro_partition_schema = like->avro_partition_schema,
        .content = batch->content,
    };
    struct ice_data_file *files = arena_array(&batch->arena, count, sizeof(*files));
    if (files == NULL) {
        return err_no_memory(err);
    }
    for (size_t i = 0; i < count; i++) {
        files[i] = *entries[i].file;
        files[i].status = ICE_EXISTING;
        row.existing_files++;
        row.existing_rows += files[i].record_count;
        if (files[i].sequence_number < row.min_sequence_number) {
            row.min_sequence_number = files[i].sequence_number;
        }
    }
    m->out->entries += (int64_t)count;
    m->out->added++;
    if (m->request->dry_run) {
        return OK;
    }
    TRY(upkeep_summarize(&m->own, batch->spec, entries, count, &row, err));
    TRY(written_manifest(&m->written, &opts, files, count, &row, err));
    m->out->added_bytes += row.length;
    return keep_made(m, &row, err);
}

static enum status replace(struct merging *m, const struct ice_manifest_file *row, struct err *err)
{
    struct str key;
    if (map_put(&m->replaced, row->path, m, NULL) != OK) {
        return err_no_memory(err);
    }
    m->out->rewritten++;
    m->out->rewritten_bytes += row->length;
    TRY(locate_key(m->reader->locate, row->path, &m->own, &key, err));
    return upkeep_name(&m->out->files, m->arena, key, err);
}

/* --- a batch --- */

/** Some writers leave out numbers that entries must have. Such a manifest can be read, but not
 * written again; nor can one with vectors of deletions. */
static bool can_carry(const struct ice_manifest *manifest)
{
    for (size_t i = 0; i < manifest->file_count; i++) {
        const struct ice_data_file *file = &manifest->files[i];
        if (file->status != ICE_DELETED &&
            (file->snapshot_id < 0 || file->sequence_number < 0 || file->file_sequence_number < 0 ||
             file->content_size_bytes > 0)) {
            return false;
        }
    }
    return true;
}

static bool is_spelled_alike(const struct ice_manifest *a, const struct ice_manifest *b)
{
    return str_eq(a->avro_partition_schema, b->avro_partition_schema) &&
           str_eq(a->partition_spec, b->partition_spec);
}

/** How many manifests such bytes and entries make. */
static size_t parts_of(const struct merging *m, int64_t bytes, size_t entries)
{
    size_t by_bytes = (size_t)((bytes + m->target_bytes - 1) / m->target_bytes);
    size_t by_entries = (entries + ENTRIES_MAX - 1) / ENTRIES_MAX;
    size_t parts = by_bytes > by_entries ? by_bytes : by_entries;
    return parts < entries ? parts : entries;
}

/** Manifests that are spelled alike, and their rows. */
struct alike {
    const struct reader_manifest **manifests;
    const struct ice_manifest_file **rows;
    size_t count;
    int64_t bytes;
};

static enum status gather_alike(struct batch *batch, size_t first, bool *seen, struct alike *out,
                                struct err *err)
{
    out->manifests = arena_array(&batch->arena, batch->count, sizeof(*out->manifests));
    out->rows = arena_array(&batch->arena, batch->count, sizeof(*out->rows));
    if (out->manifests == NULL || out->rows == NULL) {
        return err_no_memory(err);
    }
    for (size_t i = first; i < batch->count; i++) {
        if (!seen[i] &&
            is_spelled_alike(&batch->manifests[first]->manifest, &batch->manifests[i]->manifest)) {
            seen[i] = true;
            out->manifests[out->count] = batch->manifests[i];
            out->rows[out->count++] = batch->rows[i];
            out->bytes += batch->rows[i]->length;
        }
    }
    return OK;
}

static enum status merge_alike(struct merging *m, struct batch *batch, const struct alike *alike,
                               struct err *err)
{
    struct upkeep_entry *entries = NULL;
    size_t count = 0, done = 0;
    size_t parts = 0;
    TRY(upkeep_sort(&batch->arena, batch->spec, alike->manifests, alike->count, &entries, &count,
                    err));
    parts = parts_of(m, alike->bytes, count);
    bool across = batch->across && upkeep_overlaps(batch->spec, alike->rows, alike->count) > 0;
    if (parts >= alike->count && !across) {
        return OK; /* nothing would be better */
    }
    for (size_t p = 0; p < parts; p++) {
        size_t end = count * (p + 1) / parts;
        TRY(write_slice(m, batch, &alike->manifests[0]->manifest, entries + done, end - done, err));
        done = end;
    }
    for (size_t i = 0; i < alike->count; i++) {
        TRY(replace(m, alike->rows[i], err));
    }
    return OK;
}

static enum status merge_held(struct merging *m, struct batch *batch, struct err *err)
{
    bool *seen = arena_array(&batch->arena, batch->count, sizeof(*seen));
    if (seen == NULL) {
        return err_no_memory(err);
    }
    for (size_t i = 0; i < batch->count; i++) {
        seen[i] = !can_carry(&batch->manifests[i]->manifest);
    }
    for (size_t i = 0; i < batch->count; i++) {
        struct alike alike = { 0 };
        if (!seen[i]) {
            TRY(gather_alike(batch, i, seen, &alike, err));
            TRY(merge_alike(m, batch, &alike, err));
        }
    }
    return OK;
}

static enum status open_batch(struct merging *m, struct batch *batch, struct err *err)
{
    batch->items = arena_array(&batch->arena, batch->count, sizeof(*batch->items));
    batch->manifests = arena_array(&batch->arena, batch->count, sizeof(*batch->manifests));
    if (batch->items == NULL || batch->manifests == NULL) {
        return err_no_memory(err);
    }
    size_t bytes = 0;
    while (batch->held < batch->count && bytes < PARSED_BYTES) {
        TRY(reader_manifest(m->reader, batch->rows[batch->held], &batch->items[batch->held],
                            &batch->manifests[batch->held], err));
        bytes += batch->items[batch->held++]->bytes;
    }
    batch->count = batch->held; /* the others come with the next */
    return OK;
}

static enum status merge_batch(struct merging *m, struct batch *batch, struct err *err)
{
    arena_init(&batch->arena, 0);
    enum status status = open_batch(m, batch, err);
    status = status == OK ? merge_held(m, batch, err) : status;
    for (size_t i = 0; i < batch->held; i++) {
        cache_release(batch->items[i]);
    }
    arena_done(&batch->arena);
    return status;
}

/* --- which rows --- */

static bool is_of(const struct ice_manifest_file *row, int32_t spec_id, int32_t content)
{
    return row->partition_spec_id == spec_id && row->content == content &&
           row->key_metadata.len == 0;
}

static bool is_small(const struct merging *m, const struct ice_manifest_file *row)
{
    return row->length < m->target_bytes / 2;
}

/** By its row; where that does not say, one. */
static size_t live_entries(const struct ice_manifest_file *row)
{
    int64_t count = (row->added_files > 0 ? (int64_t)row->added_files : 0) +
                    (row->existing_files > 0 ? (int64_t)row->existing_files : 0);
    return row->added_files < 0 || row->existing_files < 0 ? 1 : (size_t)count;
}

/** Those of a spec and content that are worth a look together, in the order of their partitions. */
static enum status choose(struct merging *m, struct batch *group, struct err *err)
{
    const struct catalog_manifests *list = &m->list;
    const struct ice_manifest_file **rows = arena_array(&m->own, list->count + 1, sizeof(*rows));
    int64_t all_bytes = 0, small_bytes = 0, fewer = m->request->fewer_min;
    size_t count = 0, small = 0, entries = 0;
    if (rows == NULL) {
        return err_no_memory(err);
    }
    fewer = fewer < 1 ? 1 : fewer;
    for (size_t i = 0; i < list->count; i++) {
        const struct ice_manifest_file *row = &list->rows[i];
        if (is_of(row, group->spec->id, group->content)) {
            rows[count++] = row;
            all_bytes += row->length;
            small += is_small(m, row) ? 1 : 0;
            small_bytes += is_small(m, row) ? row->length : 0;
            entries += is_small(m, row) ? live_entries(row) : 0;
        }
    }
    TRY(upkeep_sort_rows(&m->own, group->spec, rows, count, err));
    bool across = all_bytes <= BATCH_BYTES &&
                  (int64_t)upkeep_overlaps(group->spec, rows, count) >= fewer;
    bool many = (int64_t)small - (int64_t)parts_of(m, small_bytes, entries) >= fewer;
    group->rows = rows;
    group->across = across;
    for (size_t i = 0; i < count; i++) {
        if (across || (many && is_small(m, rows[i]))) {
            rows[group->count++] = rows[i];
        }
    }
    return OK;
}

static enum status merge_group(struct merging *m, const struct ice_partition_spec *spec,
                               int32_t content, struct err *err)
{
    struct batch group = { .spec = spec, .content = content };
    int64_t most = 2 * m->target_bytes > BATCH_BYTES ? 2 * m->target_bytes : BATCH_BYTES;
    TRY(choose(m, &group, err));
    for (size_t from = 0; from < group.count;) {
        struct batch batch = {
            .spec = spec, .content = content, .rows = group.rows + from, .across = group.across
        };
        int64_t bytes = 0;
        while (from + batch.count < group.count &&
               (batch.count == 0 || bytes + batch.rows[batch.count]->length <= most)) {
            bytes += batch.rows[batch.count++]->length;
        }
        TRY(merge_batch(m, &batch, err));
        from += batch.count;
    }
    return OK;
}

static int64_t target_of(const struct ice_metadata *metadata)
{
    int64_t bytes = TARGET_BYTES;
    struct str text = ice_metadata_property(metadata, STR("commit.manifest.target-size-bytes"));
    if (text.ptr == NULL || !str_to_i64(text, &bytes) || bytes <= 0) {
        return TARGET_BYTES;
    }
    return bytes < TARGET_BYTES_MIN   ? TARGET_BYTES_MIN
           : bytes > TARGET_BYTES_MAX ? TARGET_BYTES_MAX
                                      : bytes;
}

static enum status merge_all(struct merging *m, struct err *err)
{
    m->target_bytes = target_of(m->pin->metadata);
    TRY(ice_partition_specs(&m->own, m->pin->metadata, &m->specs, err));
    for (size_t i = 0; i < m->specs.count; i++) {
        TRY(merge_group(m, &m->specs.specs[i], 0, err));
        TRY(merge_group(m, &m->specs.specs[i], 1, err));
    }
    m->out->kept = (int64_t)m->list.count - m->out->rewritten;
    return OK;
}

/* --- the commit --- */

static enum status make_summary(struct merging *m, struct written_commit *commit, struct err *err)
{
    const struct ice_rewritten_files files = { .operation = "replace" };
    struct ice_property *own = NULL;
    size_t count = 0;
    TRY(ice_rewrite_summary(&m->own, m->pin->snapshot, &files, &own, &count, err));
    struct ice_property *all = arena_array(&m->own, count + EXTRA_SUMMARY, sizeof(*all));
    if (all == NULL) {
        return err_no_memory(err);
    }
    memcpy(all, own, count * sizeof(*all));
    const struct {
        const char *name;
        int64_t value;
    } more[EXTRA_SUMMARY] = { { "manifests-created", m->out->added },
                              { "manifests-kept", m->out->kept },
                              { "manifests-replaced", m->out->rewritten },
                              { "entries-processed", m->out->entries } };
    for (size_t i = 0; i < EXTRA_SUMMARY; i++) {
        struct str value = arena_printf(&m->own, "%lld", (long long)more[i].value);
        all[count++] = (struct ice_property){ str_of(more[i].name), value };
        TRY(value.ptr == NULL ? err_no_memory(err) : OK);
    }
    commit->summary = all;
    commit->summary_count = count;
    return OK;
}

/** The new list: what was made, and all that it does not stand for. */
static enum status write_list(struct merging *m, struct str *uri_out, struct err *err)
{
    struct ice_manifest_file *rows = arena_array(&m->own, m->list.count + m->made_count + 1,
                                                 sizeof(*rows));
    size_t count = 0;
    if (rows == NULL) {
        return err_no_memory(err);
    }
    for (size_t i = 0; i < m->made_count; i++) {
        rows[count] = m->made[i];
        rows[count].sequence_number = m->written.sequence_number; /* of this round's snapshot */
        rows[count++].added_snapshot_id = m->written.snapshot_id;
    }
    for (size_t i = 0; i < m->list.count; i++) {
        if (map_get(&m->replaced, m->list.rows[i].path) == NULL) {
            rows[count++] = m->list.rows[i];
        }
    }
    return written_list(&m->written, m->pin, rows, count, uri_out, err);
}

/** *lost_out: the race is lost, and a new round may win. */
static enum status commit(struct merging *m, bool *lost_out, struct err *err)
{
    struct written_commit commit = { .name = &m->request->name,
                                     .pin = m->pin,
                                     .deadline = upkeep_deadline(m->request->deadline) };
    size_t before = m->written.key_count;
    enum status status = make_summary(m, &commit, err);
    status = status == OK ? write_list(m, &commit.list_uri, err) : status;
    if (status != OK) {
        written_discard(&m->written, 0);
        return status;
    }
    status = written_commit(&m->written, &commit, err);
    *lost_out = status == E_CONFLICT;
    if (written_is_lost(status)) {
        written_discard(&m->written, *lost_out ? before : 0);
    }
    m->out->snapshot_id = status == OK ? m->written.snapshot_id : -1;
    return status;
}

/* --- rounds --- */

/** Is all that was replaced still in the list? */
static bool still_there(const struct merging *m)
{
    size_t there = 0;
    for (size_t i = 0; i < m->list.count; i++) {
        there += map_get(&m->replaced, m->list.rows[i].path) != NULL ? 1 : 0;
    }
    return there == m->replaced.count;
}

static void start_anew(struct merging *m)
{
    written_discard(&m->written, 0);
    map_done(&m->replaced);
    map_init(&m->replaced);
    m->made_count = 0;
    *m->out = (struct upkeep_rewritten){ .snapshot_id = -1 };
}

static enum status attempt(struct merging *m, bool *lost_out, struct err *err)
{
    struct catalog *catalog = &m->local->base;
    TRY(catalog_pin(catalog, &m->request->name, false, NULL, &m->pin, err));
    if (m->pin->snapshot == NULL) {
        return OK;
    }
    TRY(written_begin(&m->written, m->pin, err));
    TRY(catalog_manifests(catalog, m->pin, &m->list, err));
    if (m->replaced.count == 0 || !still_there(m)) {
        start_anew(m);
        enum status status = merge_all(m, err);
        if (status != OK) {
            written_discard(&m->written, 0);
            return status;
        }
    }
    m->out->kept = (int64_t)m->list.count - m->out->rewritten;
    return m->replaced.count == 0 || m->request->dry_run ? OK : commit(m, lost_out, err);
}

static enum status run(struct merging *m, struct err *err)
{
    deadline_ms deadline = upkeep_deadline(m->request->deadline);
    TRY(upkeep_reader(m->local, &m->reader, err));
    for (int round = 0;; round++) {
        bool lost = false;
        enum status status = attempt(m, &lost, err);
        catalog_unpin(m->pin);
        m->pin = NULL;
        if (!lost || deadline_passed(deadline)) {
            if (lost) {
                written_discard(&m->written, 0);
            }
            return status;
        }
        written_back_off(round);
    }
}

enum status catalog_rewrite_manifests(struct catalog *catalog,
                                      const struct upkeep_manifests *request, struct arena *arena,
                                      struct upkeep_rewritten *out, struct err *err)
{
    struct merging m = {
        .local = (struct local *)catalog, .request = request, .arena = arena, .out = out
    };
    *out = (struct upkeep_rewritten){ .snapshot_id = -1 };
    TRY(table_name_check(&request->name, err));
    arena_init(&m.own, 0);
    map_init(&m.replaced);
    written_init(&m.written, catalog, &m.own);
    enum status status = run(&m, err);
    map_done(&m.replaced);
    upkeep_reader_done(m.reader);
    arena_done(&m.own);
    return status;
}
