/*
 * What all kinds of upkeep share.
 */
#include "catalog/upkeep_priv.h"

#include "base/mem.h"

enum { TIMEOUT_MS = 600000, CACHE_BYTES = 16 * 1024 * 1024 };

deadline_ms upkeep_deadline(deadline_ms deadline)
{
    return deadline == 0 ? deadline_in(TIMEOUT_MS) : deadline;
}

enum status upkeep_name(struct upkeep_names *names, struct arena *arena, struct str name,
                        struct err *err)
{
    if (names->count == UPKEEP_NAMES_MAX) {
        return OK;
    }
    if (names->names == NULL) {
        names->names = arena_array(arena, UPKEEP_NAMES_MAX, sizeof(*names->names));
    }
    struct str copy = names->names == NULL ? (struct str){ NULL, 0 } : arena_str(arena, name);
    if (copy.ptr == NULL) {
        return err_no_memory(err);
    }
    names->names[names->count++] = copy;
    return OK;
}

enum status upkeep_reader(struct local *local, struct reader **out, struct err *err)
{
    struct reader *reader = mem_zalloc(sizeof(*reader));
    if (reader == NULL) {
        return err_no_memory(err);
    }
    *reader = *local->base.reader;
    enum status status = cache_new(CACHE_BYTES, &reader->cache, err);
    if (status != OK) {
        mem_free(reader);
        return status;
    }
    *out = reader;
    return OK;
}

void upkeep_reader_done(struct reader *reader)
{
    if (reader != NULL) {
        cache_free(reader->cache);
        mem_free(reader);
    }
}
