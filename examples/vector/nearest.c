/*
 * liblakevec in C: fill an index, search it, save it into a folder while it goes on changing, and
 * open it again where it is mapped.
 *
 *   cc -o nearest nearest.c $(pkg-config --cflags --libs lakevec)
 *   ./nearest FOLDER
 */
#include <fcntl.h>
#include <lakevec.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { DIMENSION = 48, VECTORS = 8000 };

static struct vec_err err;

static void need(enum vec_status status)
{
    if (status != VEC_OK) {
        fprintf(stderr, "nearest: %s\n", err.msg);
        exit(1);
    }
}

static void vector_make(unsigned number, float *out)
{
    srand(number + 1);
    for (int i = 0; i < DIMENSION; i++) {
        out[i] = (float)(rand() % 1000) / 1000;
    }
}

/* --- saving: one file a chunk, named after its number and version, so that a file is never written
 * twice --- */

static void file_write(const char *path, const void *bytes, size_t len)
{
    FILE *file = fopen(path, "wb");
    if (file == NULL || fwrite(bytes, 1, len, file) != len || fclose(file) != 0) {
        perror(path);
        exit(1);
    }
}

static void save(struct vec_index *index, const char *folder)
{
    char path[4096];
    struct vec_snapshot *snapshot = NULL;
    need(vec_snapshot_take(index, &snapshot, &err));
    for (uint32_t i = 0; i < vec_snapshot_chunks(snapshot); i++) {
        struct vec_chunk_info info;
        const void *bytes = NULL;
        need(vec_snapshot_chunk(snapshot, i, &info, NULL, &err));
        snprintf(path, sizeof(path), "%s/%u-%llu", folder, i, (unsigned long long)info.version);
        if (info.bytes > 0 && access(path, F_OK) != 0) {
            need(vec_snapshot_chunk(snapshot, i, &info, &bytes, &err));
            file_write(path, bytes, info.bytes);
        }
        if (info.bytes > 0) { /* vec_load asks by number alone */
            char name[4096];
            snprintf(name, sizeof(name), "%s/%u", folder, i);
            unlink(name);
            if (link(path, name) != 0) {
                perror(name);
                exit(1);
            }
        }
    }
    void *manifest = NULL;
    size_t len = 0;
    need(vec_snapshot_manifest(snapshot, &manifest, &len, &err));
    snprintf(path, sizeof(path), "%s/manifest", folder);
    file_write(path, manifest, len);
    vec_bytes_free(manifest);
    vec_snapshot_free(snapshot);
}

/* --- loading --- */

static void *file_map(const char *path, size_t *len_out)
{
    struct stat stat;
    int fd = open(path, O_RDONLY);
    if (fd < 0 || fstat(fd, &stat) != 0) {
        return NULL;
    }
    /* private and writable: what the index changes is a copy, page by page */
    void *bytes = mmap(NULL, (size_t)stat.st_size, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
    close(fd);
    *len_out = (size_t)stat.st_size;
    return bytes == MAP_FAILED ? NULL : bytes;
}

static enum vec_status chunk_map(void *ctx, uint32_t number, void **bytes_out, size_t *len_out,
                                 struct vec_err *at)
{
    char path[4096];
    snprintf(path, sizeof(path), "%s/%u", (const char *)ctx, number);
    *bytes_out = file_map(path, len_out);
    if (*bytes_out == NULL && at != NULL) {
        snprintf(at->msg, sizeof(at->msg), "cannot map %.500s", path);
    }
    return *bytes_out == NULL ? VEC_E_NOT_FOUND : VEC_OK;
}

static void chunk_release(void *ctx, uint32_t number, void *bytes, size_t len)
{
    (void)ctx;
    (void)number;
    munmap(bytes, len);
}

static struct vec_index *load(char *folder)
{
    char path[4096];
    size_t len = 0;
    struct vec_index *index = NULL;
    struct vec_chunk_source source = { chunk_map, chunk_release, folder };
    snprintf(path, sizeof(path), "%s/manifest", folder);
    void *manifest = file_map(path, &len);
    if (manifest == NULL) {
        perror(path);
        exit(1);
    }
    need(vec_load(NULL, manifest, len, &source, &index, &err));
    munmap(manifest, len);
    return index;
}

/* --- */

static void show(struct vec_index *index, struct vec_scratch *scratch, const char *what)
{
    float query[DIMENSION];
    struct vec_hit hits[3];
    struct vec_search_opts opts = { .k = 3 };
    uint32_t found = 0;
    vector_make(4321, query);
    need(vec_search(index, scratch, query, &opts, hits, &found, &err));
    printf("%s:", what);
    for (uint32_t i = 0; i < found; i++) {
        printf(" %u (%.2f)", hits[i].slot, (double)hits[i].distance);
    }
    printf("\n");
}

int main(int argc, char **argv)
{
    struct vec_opts opts = { .dimension = DIMENSION, .metric = VEC_L2 };
    struct vec_index *index = NULL;
    struct vec_scratch *scratch = NULL;
    float vector[DIMENSION];
    uint32_t slot = 0;
    bool more = true;
    if (argc != 2) {
        fprintf(stderr, "usage: nearest FOLDER\n");
        return 2;
    }
    need(vec_new(&opts, &index, &err));
    need(vec_scratch_new(index, &scratch, &err)); /* one a thread */
    for (unsigned i = 0; i < VECTORS; i++) {
        vector_make(i, vector);
        need(vec_add(index, vector, &slot, &err)); /* found from now on */
    }
    while (more) {
        /* in a thread of yours, 10 ms at a time */
        need(vec_maintain(index, scratch, 10000, &more, &err));
    }
    show(index, scratch, "nearest");
    save(index, argv[1]);
    need(vec_delete(index, scratch, 4321, &err));
    show(index, scratch, "without the first");
    vec_scratch_free(scratch);
    vec_free(index);

    index = load(argv[1]); /* as it was when it was saved */
    need(vec_scratch_new(index, &scratch, &err));
    show(index, scratch, "loaded");
    vec_scratch_free(scratch);
    vec_free(index);
    return 0;
}
