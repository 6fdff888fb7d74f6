/*
 * Each vector index is opened as a server that only reads would open it: pointer, snapshot, every
 * log object behind it. Exact vectors and what is mapped lie in the system's temporary folder
 * meanwhile.
 */
#include "cmd/doctor_vectors.h"

#include "collection/collection.h"

enum { LIST_BYTES_MAX = 256 * 1024 * 1024 };

/** Opens it; true when it is whole. */
static bool look_at(const struct doctor *doctor, struct coll_service *service, struct str name,
                    uint64_t *count_out)
{
    struct err err = { 0 };
    uint64_t count = 0;
    if (!doctor->quick && coll_count(service, name, STR_EMPTY, &count, &err) != OK) {
        doctor_tell(doctor, DOCTOR_PROBLEM, "vectors",
                    "restore its objects in _lake/vectors from a backup, or drop it and load it "
                    "again",
                    "the index \"%.*s\" cannot be opened: %s", STR_ARG(name), err.msg);
        return false;
    }
    *count_out += count;
    return true;
}

static enum status look_at_all(const struct doctor *doctor, struct coll_service *service,
                               struct arena *arena, struct err *err)
{
    struct coll_info *list = NULL;
    size_t count = 0, whole = 0;
    uint64_t items = 0;
    TRY(coll_list(service, arena, &list, &count, err));
    for (size_t i = 0; i < count; i++) {
        whole += look_at(doctor, service, list[i].spec.name, &items);
    }
    if (count == 0) {
        doctor_tell(doctor, DOCTOR_OK, "vectors", NULL, "no indexes");
    } else if (doctor->quick) {
        doctor_tell(doctor, DOCTOR_OK, "vectors", NULL, "%zu index%s there", count,
                    count == 1 ? " is" : "es are");
    } else if (whole > 0) {
        doctor_tell(doctor, DOCTOR_OK, "vectors", NULL,
                    "%zu index%s, %llu item%s: snapshots and logs are whole", whole,
                    whole == 1 ? "" : "es", (unsigned long long)items, items == 1 ? "" : "s");
    }
    return OK;
}

void doctor_vectors(const struct doctor *doctor, struct store *store)
{
    struct coll_service *service = NULL;
    struct err err = { 0 };
    struct arena arena;
    arena_init(&arena, LIST_BYTES_MAX);
    enum status status = coll_service_open(
        &(struct coll_service_opts){ .store = store, .read_only = true }, &service, &err);
    status = status == OK ? look_at_all(doctor, service, &arena, &err) : status;
    if (status != OK) {
        doctor_tell(doctor, DOCTOR_PROBLEM, "vectors", "look at the disk, and at owner and mode",
                    "the check ended early: %s", err.msg);
    }
    coll_service_close(service);
    arena_done(&arena);
}
