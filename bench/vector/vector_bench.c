/*
 * Builds an index over a data set and measures searches: recall, speed, latency, memory.
 *
 *     vector-bench --data DIR/NAME --ef 10,20,... [--k 10] [--build-threads N] [--search-threads N]
 *                  [--index m=..,ef_construction=..,graph_min=..,seed=..,preset=fast_build]
 *                  [--isa plain|avx2|avx512]
 *                  [--rounds N] [--updates N] [--filter SHARE] [--mode single|batch]
 *                  [--json OUT] [--results OUT.i32]
 *
 * Reads NAME.base.f32, NAME.query.f32 (row-major float32), NAME.gt.i32 (nq x k row numbers) and
 * NAME.json (d, k, metric: euclidean or angular). The results file holds for each ef in order an
 * nq x k row-major int32 block of row numbers, -1 where there are fewer. Each figure is the median
 * of the rounds. --updates takes N vectors at random out and puts each back before the searches, on
 * one thread: what it costs, and what it does to recall. --filter lets each search give only this
 * share of the rows, at random, by a list and then by bits; recall is held against vec_exact. With
 * `--ef -` it reads one ef a line and
 * answers each with a line of JSON, so that compare.py can let it and a peer take turns.
 */
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "vector/lakevec.h"

enum { EFS_MAX = 64, THREADS_MAX = 64 };

struct mapped {
    const void *data;
    size_t bytes;
};

struct bench {
    const char *data, *json, *results, *isa;
    uint32_t efs[EFS_MAX];
    size_t ef_count;
    bool asked; /* for each ef, by a line */
    uint32_t k;
    unsigned build_threads, search_threads, rounds, updates;
    double filter_share; /* 0: no filter */
    bool batch;          /* many queries a call; a latency is then that of a call, shared out */
    uint32_t *slot_of, *row_of; /* [n], [slots]: where a row is, and what a slot holds */
    uint32_t slots_max;
    struct vec_opts opts;
    size_t n, nq, d, gt_k;
    const float *base, *query;
    const int32_t *truth;
    struct vec_index *index;
    double build_s, build_cpu_s;
    long memory_bytes;
};

static void die(const char *what, const char *which)
{
    (void)fprintf(stderr, "vector-bench: %s: %s\n", what, which);
    exit(1);
}

static void need(enum status status, const struct err *err)
{
    if (status != OK) {
        die(status_name(status), err->msg);
    }
}

static double clock_s(clockid_t which)
{
    struct timespec now;
    (void)clock_gettime(which, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

static double now_s(void)
{
    return clock_s(CLOCK_MONOTONIC);
}

/* What this process has used of processors: tells more than the clock on a busy machine. */
static double cpu_s(void)
{
    return clock_s(CLOCK_PROCESS_CPUTIME_ID);
}

/* --- input --- */

static struct mapped map_file(const char *data, const char *suffix)
{
    char path[4096];
    struct stat st;
    (void)snprintf(path, sizeof path, "%s%s", data, suffix);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st) != 0) {
        die("cannot read", path);
    }
    void *map = mmap(NULL, (size_t)st.st_size + 1, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
    if (map == MAP_FAILED) {
        die("cannot map", path);
    }
    (void)close(fd);
    return (struct mapped){ map, (size_t)st.st_size };
}

/* The value of a key in a flat JSON object that a script has written. */
static const char *field(const char *json, const char *key)
{
    char quoted[64];
    (void)snprintf(quoted, sizeof quoted, "\"%s\"", key);
    const char *at = strstr(json, quoted);
    at = at == NULL ? NULL : strchr(at, ':');
    if (at == NULL) {
        die("the data set's JSON has no", key);
    }
    return at + 1 + strspn(at + 1, " ");
}

static void load(struct bench *bench)
{
    struct mapped json = map_file(bench->data, ".json");
    char *text = strndup(json.data, json.bytes);
    bench->d = strtoul(field(text, "d"), NULL, 10);
    bench->gt_k = strtoul(field(text, "k"), NULL, 10);
    bench->opts.dimension = (uint32_t)bench->d;
    bench->opts.metric = strncmp(field(text, "metric"), "\"angular", 8) == 0 ? VEC_COSINE : VEC_L2;
    free(text);
    struct mapped base = map_file(bench->data, ".base.f32");
    struct mapped query = map_file(bench->data, ".query.f32");
    struct mapped truth = map_file(bench->data, ".gt.i32");
    bench->base = base.data;
    bench->query = query.data;
    bench->truth = truth.data;
    bench->n = base.bytes / sizeof(float) / bench->d;
    bench->nq = query.bytes / sizeof(float) / bench->d;
    if (truth.bytes < bench->nq * bench->gt_k * sizeof(int32_t) || bench->gt_k < bench->k) {
        die("the truth is too small", bench->data);
    }
}

static long resident_bytes(void)
{
    char line[256];
    long sum = 0;
    FILE *status = fopen("/proc/self/status", "re");
    while (status != NULL && fgets(line, sizeof line, status) != NULL) {
        long kib = 0;
        if (sscanf(line, "RssAnon: %ld", &kib) == 1 || sscanf(line, "RssShmem: %ld", &kib) == 1) {
            sum += kib * 1024;
        }
    }
    if (status != NULL) {
        (void)fclose(status);
    }
    return sum;
}

/* --- building --- */

static void *maintain(void *arg)
{
    struct bench *bench = arg;
    struct vec_scratch *scratch = NULL;
    struct err err = { 0 };
    need(vec_scratch_new(bench->index, &scratch, &err), &err);
    for (bool more = true; more;) {
        need(vec_maintain(bench->index, scratch, 100000, &more, &err), &err);
    }
    vec_scratch_free(scratch);
    return NULL;
}

static void placed(struct bench *bench, uint32_t row, uint32_t slot)
{
    if (slot >= bench->slots_max) {
        die("more slots than rows and updates", bench->data);
    }
    bench->slot_of[row] = slot;
    bench->row_of[slot] = row;
}

/* Each out, back, and linked, one after the other. */
static void update(struct bench *bench)
{
    struct vec_scratch *scratch = NULL;
    struct err err = { 0 };
    uint64_t random = bench->opts.seed + 1;
    need(vec_scratch_new(bench->index, &scratch, &err), &err);
    double cpu_start = cpu_s();
    double start = now_s();
    for (unsigned i = 0; i < bench->updates; i++) {
        random = random * 6364136223846793005U + 1442695040888963407U;
        uint32_t row = (uint32_t)((random >> 33) % bench->n);
        uint32_t slot = 0;
        bool more = false;
        need(vec_delete(bench->index, scratch, bench->slot_of[row], &err), &err);
        need(vec_add(bench->index, bench->base + row * bench->d, &slot, &err), &err);
        placed(bench, row, slot);
        need(vec_maintain(bench->index, scratch, 1000, &more, &err), &err);
    }
    double us = 1e6 / (double)bench->updates;
    (void)printf("%u updates, %.1f us each, cpu %.1f us\n", bench->updates, (now_s() - start) * us,
                 (cpu_s() - cpu_start) * us);
    vec_scratch_free(scratch);
}

static void build(struct bench *bench)
{
    bench->slots_max = (uint32_t)bench->n + 1024;
    bench->slot_of = calloc(bench->n, sizeof *bench->slot_of);
    bench->row_of = calloc(bench->slots_max, sizeof *bench->row_of);
    if (bench->slot_of == NULL || bench->row_of == NULL) {
        die("no memory for", bench->data);
    }
    pthread_t threads[THREADS_MAX];
    struct err err = { 0 };
    long before = resident_bytes();
    double start = now_s();
    double cpu_start = cpu_s();
    need(vec_new(&bench->opts, &bench->index, &err), &err);
    for (size_t i = 0; i < bench->n; i++) {
        uint32_t slot = 0;
        need(vec_add(bench->index, bench->base + i * bench->d, &slot, &err), &err);
        placed(bench, (uint32_t)i, slot);
    }
    for (unsigned i = 0; i < bench->build_threads; i++) {
        if (pthread_create(&threads[i], NULL, maintain, bench) != 0) {
            die("cannot start", "a thread");
        }
    }
    for (unsigned i = 0; i < bench->build_threads; i++) {
        (void)pthread_join(threads[i], NULL);
    }
    bench->build_s = now_s() - start;
    bench->build_cpu_s = cpu_s() - cpu_start;
    bench->memory_bytes = resident_bytes() - before;
}

/* --- searching --- */

struct worker {
    struct bench *bench;
    unsigned which;
    uint32_t ef;
    int32_t *found;   /* [nq][k] */
    float *latencies; /* [nq], seconds */
};

static void *search_some(void *arg)
{
    struct worker *worker = arg;
    struct bench *bench = worker->bench;
    struct vec_scratch *scratch = NULL;
    struct vec_hit *hits = calloc(bench->k, sizeof *hits);
    struct err err = { 0 };
    need(vec_scratch_new(bench->index, &scratch, &err), &err);
    struct vec_search_opts opts = { .k = bench->k, .ef = worker->ef };
    for (size_t i = worker->which; i < bench->nq; i += bench->search_threads) {
        uint32_t found = 0;
        double start = now_s();
        need(vec_search(bench->index, scratch, bench->query + i * bench->d, &opts, hits, &found,
                        &err),
             &err);
        worker->latencies[i] = (float)(now_s() - start);
        for (uint32_t j = 0; j < bench->k; j++) {
            worker->found[i * bench->k + j] = j < found ? (int32_t)bench->row_of[hits[j].slot] : -1;
        }
    }
    vec_scratch_free(scratch);
    free(hits);
    return NULL;
}

enum { BATCH = 64 };

/* As search_some, BATCH queries a call. */
static void *search_batches(void *arg)
{
    struct worker *worker = arg;
    struct bench *bench = worker->bench;
    struct vec_scratch *scratch = NULL;
    struct vec_hit *hits = calloc((size_t)BATCH * bench->k, sizeof *hits);
    struct err err = { 0 };
    need(vec_scratch_new(bench->index, &scratch, &err), &err);
    struct vec_search_opts opts = { .k = bench->k, .ef = worker->ef };
    for (size_t i = (size_t)worker->which * BATCH; i < bench->nq;
         i += (size_t)bench->search_threads * BATCH) {
        uint32_t found[BATCH];
        uint32_t count = (uint32_t)(bench->nq - i < BATCH ? bench->nq - i : BATCH);
        double start = now_s();
        need(vec_search_batch(bench->index, scratch, bench->query + i * bench->d, count, &opts,
                              hits, found, &err),
             &err);
        double each = (now_s() - start) / count;
        for (uint32_t q = 0; q < count; q++) {
            worker->latencies[i + q] = (float)each;
            for (uint32_t j = 0; j < bench->k; j++) {
                worker->found[(i + q) * bench->k + j] =
                    j < found[q] ? (int32_t)bench->row_of[hits[q * bench->k + j].slot] : -1;
            }
        }
    }
    vec_scratch_free(scratch);
    free(hits);
    return NULL;
}

static double search_all(struct bench *bench, uint32_t ef, int32_t *found, float *latencies)
{
    pthread_t threads[THREADS_MAX];
    struct worker workers[THREADS_MAX];
    double start = now_s();
    for (unsigned i = 0; i < bench->search_threads; i++) {
        workers[i] = (struct worker){ bench, i, ef, found, latencies };
        void *(*work)(void *) = bench->batch ? search_batches : search_some;
        if (pthread_create(&threads[i], NULL, work, &workers[i]) != 0) {
            die("cannot start", "a thread");
        }
    }
    for (unsigned i = 0; i < bench->search_threads; i++) {
        (void)pthread_join(threads[i], NULL);
    }
    return now_s() - start;
}

static double recall_of(const struct bench *bench, const int32_t *found)
{
    size_t right = 0;
    for (size_t i = 0; i < bench->nq; i++) {
        const int32_t *truth = bench->truth + i * bench->gt_k;
        for (uint32_t j = 0; j < bench->k; j++) {
            for (uint32_t t = 0; t < bench->k; t++) {
                right += found[i * bench->k + j] == truth[t];
            }
        }
    }
    return (double)right / (double)(bench->nq * bench->k);
}

static int by_value(const void *a, const void *b)
{
    const float *x = a;
    const float *y = b;
    return (*x > *y) - (*x < *y);
}

struct figures {
    uint32_t ef;
    double recall, qps, p50_us, p99_us, cpu_us;
};

/* `found` [nq][k] */
static struct figures measure(struct bench *bench, uint32_t ef, int32_t *found)
{
    float *latencies = calloc(bench->nq, sizeof *latencies);
    float seconds[64] = { 0 };
    double cpu_start = cpu_s();
    for (unsigned round = 0; round < bench->rounds; round++) {
        seconds[round] = (float)search_all(bench, ef, found, latencies);
    }
    double cpu_us = (cpu_s() - cpu_start) / (double)(bench->rounds * bench->nq) * 1e6;
    qsort(seconds, bench->rounds, sizeof *seconds, by_value);
    qsort(latencies, bench->nq, sizeof *latencies, by_value);
    struct figures figures = {
        .ef = ef,
        .recall = recall_of(bench, found),
        .qps = (double)bench->nq / (double)seconds[bench->rounds / 2],
        .p50_us = (double)latencies[bench->nq / 2] * 1e6,
        .p99_us = (double)latencies[bench->nq * 99 / 100] * 1e6,
        .cpu_us = cpu_us,
    };
    free(latencies);
    return figures;
}

static void print_json(FILE *out, const struct figures *f)
{
    (void)fprintf(out,
                  "{\"ef\":%u,\"recall\":%.6f,\"qps\":%.1f,"
                  "\"p50_us\":%.2f,\"p99_us\":%.2f,\"cpu_us\":%.3f}",
                  f->ef, f->recall, f->qps, f->p50_us, f->p99_us, f->cpu_us);
}

/* --- filters --- */

struct filtered {
    struct vec_filter list, bits;
};

static struct filtered pick(const struct bench *bench)
{
    size_t words = bench->slots_max / 64 + 1;
    uint32_t *slots = calloc(bench->slots_max, sizeof *slots);
    uint64_t *bits = calloc(words, sizeof *bits);
    uint64_t random = 12345;
    uint64_t count = 0;
    if (slots == NULL || bits == NULL) {
        die("no memory for", "a filter");
    }
    for (uint32_t slot = 0; slot < bench->n; slot++) {
        random = random * 6364136223846793005U + 1442695040888963407U;
        if ((double)(random >> 33) * 0x1p-31 < bench->filter_share) {
            slots[count++] = slot;
            bits[slot / 64] |= (uint64_t)1 << slot % 64;
        }
    }
    return (struct filtered){ .list = { .slots = slots, .slot_count = count },
                              .bits = { .bits = bits, .slot_count = count, .word_count = words } };
}

/* Seconds of processor for all queries; hits [nq][k]. */
static double search_filtered(struct bench *bench, struct vec_scratch *scratch,
                              const struct vec_search_opts *opts, bool exact, struct vec_hit *hits)
{
    struct err err = { 0 };
    double start = cpu_s();
    for (size_t i = 0; i < bench->nq; i++) {
        uint32_t found = 0;
        const float *query = bench->query + i * bench->d;
        struct vec_hit *out = hits + i * bench->k;
        need(exact ? vec_exact(bench->index, scratch, query, opts, out, &found, &err)
                   : vec_search(bench->index, scratch, query, opts, out, &found, &err),
             &err);
        for (; found < bench->k; found++) {
            out[found] = (struct vec_hit){ .slot = UINT32_MAX };
        }
    }
    return cpu_s() - start;
}

static double same(const struct bench *bench, const struct vec_hit *a, const struct vec_hit *b)
{
    size_t right = 0;
    for (size_t i = 0; i < bench->nq * bench->k; i++) {
        const struct vec_hit *row = b + i / bench->k * bench->k;
        for (uint32_t j = 0; j < bench->k; j++) {
            right += a[i].slot == row[j].slot && (row[j].slot != UINT32_MAX || j == i % bench->k);
        }
    }
    return (double)right / (double)(bench->nq * bench->k);
}

static void filters(struct bench *bench)
{
    static const char *const plans[] = { "graph", "codes", "rows" };
    struct filtered filtered = pick(bench);
    struct vec_scratch *scratch = NULL;
    struct err err = { 0 };
    struct vec_hit *truth = calloc(bench->nq * bench->k, sizeof *truth);
    struct vec_hit *hits = calloc(bench->nq * bench->k, sizeof *hits);
    if (truth == NULL || hits == NULL) {
        die("no memory for", "hits");
    }
    need(vec_scratch_new(bench->index, &scratch, &err), &err);
    for (size_t i = 0; i < bench->ef_count; i++) {
        for (int bits = 0; bits < 2; bits++) {
            struct vec_report report;
            struct vec_search_opts opts = { .k = bench->k,
                                            .ef = bench->efs[i],
                                            .filter = bits ? &filtered.bits : &filtered.list,
                                            .report = &report };
            double least = 1e9;
            (void)search_filtered(bench, scratch, &opts, true, truth);
            for (unsigned round = 0; round < bench->rounds; round++) {
                double s = search_filtered(bench, scratch, &opts, false, hits);
                least = s < least ? s : least;
            }
            (void)printf("%s of %llu, ef %u, by %s: recall %.4f, cpu %.2f us (%.0f/s)\n",
                         bits ? "bits" : "list", (unsigned long long)filtered.list.slot_count,
                         opts.ef, plans[report.plan], same(bench, hits, truth),
                         least / (double)bench->nq * 1e6, (double)bench->nq / least);
        }
    }
    vec_scratch_free(scratch);
    free((void *)(uintptr_t)filtered.list.slots);
    free((void *)(uintptr_t)filtered.bits.bits);
    free(truth);
    free(hits);
}

/* --- the command line --- */

static void parse_index(struct bench *bench, char *list)
{
    for (char *item = strtok(list, ","); item != NULL; item = strtok(NULL, ",")) {
        unsigned long value = strchr(item, '=') == NULL ? 0
                                                        : strtoul(strchr(item, '=') + 1, NULL, 10);
        uint32_t *field32 = strncmp(item, "m=", 2) == 0 ? &bench->opts.m
                            : strncmp(item, "ef_construction=", 16) == 0
                                ? &bench->opts.ef_construction
                            : strncmp(item, "graph_min=", 10) == 0 ? &bench->opts.graph_min
                                                                   : NULL;
        if (field32 != NULL) {
            *field32 = (uint32_t)value;
        } else if (strncmp(item, "seed=", 5) == 0) {
            bench->opts.seed = value;
        } else if (strcmp(item, "preset=fast_build") == 0) {
            bench->opts.preset = VEC_PRESET_FAST_BUILD;
        } else {
            die("no such option of --index", item);
        }
    }
}

static void parse_efs(struct bench *bench, char *list)
{
    bench->asked = strcmp(list, "-") == 0;
    if (bench->asked) {
        return;
    }
    for (char *item = strtok(list, ","); item != NULL && bench->ef_count < EFS_MAX;
         item = strtok(NULL, ",")) {
        bench->efs[bench->ef_count++] = (uint32_t)strtoul(item, NULL, 10);
    }
}

static void parse_isa(struct bench *bench, const char *name)
{
    bench->isa = name;
    bench->opts.isa = strcmp(name, "plain") == 0    ? VEC_ISA_PLAIN
                      : strcmp(name, "avx2") == 0   ? VEC_ISA_AVX2
                      : strcmp(name, "avx512") == 0 ? VEC_ISA_AVX512
                                                    : VEC_ISA_BEST;
}

static unsigned count_of(const char *text, unsigned max)
{
    unsigned long n = strtoul(text, NULL, 10);
    return n < 1 ? 1 : n > max ? max : (unsigned)n;
}

static void parse(struct bench *bench, int argc, char **argv)
{
    for (int i = 1; i < argc; i += 2) {
        char *value = i + 1 < argc ? argv[i + 1] : NULL;
        if (value == NULL) {
            die("no value for", argv[i]);
        }
        if (strcmp(argv[i], "--data") == 0) {
            bench->data = value;
        } else if (strcmp(argv[i], "--ef") == 0) {
            parse_efs(bench, value);
        } else if (strcmp(argv[i], "--k") == 0) {
            bench->k = count_of(value, VEC_K_MAX);
        } else if (strcmp(argv[i], "--build-threads") == 0) {
            bench->build_threads = count_of(value, THREADS_MAX);
        } else if (strcmp(argv[i], "--search-threads") == 0) {
            bench->search_threads = count_of(value, THREADS_MAX);
        } else if (strcmp(argv[i], "--rounds") == 0) {
            bench->rounds = count_of(value, 63);
        } else if (strcmp(argv[i], "--updates") == 0) {
            bench->updates = count_of(value, 100000000);
        } else if (strcmp(argv[i], "--mode") == 0) {
            bench->batch = strcmp(value, "batch") == 0;
        } else if (strcmp(argv[i], "--filter") == 0) {
            bench->filter_share = strtod(value, NULL);
        } else if (strcmp(argv[i], "--index") == 0) {
            parse_index(bench, value);
        } else if (strcmp(argv[i], "--isa") == 0) {
            parse_isa(bench, value);
        } else if (strcmp(argv[i], "--json") == 0) {
            bench->json = value;
        } else if (strcmp(argv[i], "--results") == 0) {
            bench->results = value;
        } else {
            die("no such option", argv[i]);
        }
    }
    if (bench->data == NULL || (bench->ef_count == 0 && !bench->asked)) {
        die("needed", "--data DIR/NAME --ef 10,20,...");
    }
}

static void answer(struct bench *bench, int32_t *found)
{
    char line[64];
    (void)printf("{\"build_s\":%.3f,\"build_cpu_s\":%.3f,\"memory_bytes\":%ld}\n", bench->build_s,
                 bench->build_cpu_s, bench->memory_bytes);
    (void)fflush(stdout);
    while (fgets(line, sizeof line, stdin) != NULL) {
        struct figures figures = measure(bench, count_of(line, VEC_EF_MAX), found);
        print_json(stdout, &figures);
        (void)printf("\n");
        (void)fflush(stdout);
    }
}

static FILE *output(const char *path)
{
    FILE *file = path == NULL ? NULL : fopen(path, "we");
    if (path != NULL && file == NULL) {
        die("cannot write", path);
    }
    return file;
}

static void write_head(FILE *json, const struct bench *bench)
{
    (void)fprintf(json,
                  "{\"build_s\":%.3f,\"build_cpu_s\":%.3f,\"memory_bytes\":%ld,"
                  "\"build_threads\":%u,\"search_threads\":%u,\"mode\":\"%s\","
                  "\"isa\":\"%s\",\"options\":{\"m\":%u,\"ef_construction\":%u},\"curve\":[",
                  bench->build_s, bench->build_cpu_s, bench->memory_bytes, bench->build_threads,
                  bench->search_threads, bench->batch ? "batch" : "single", bench->isa,
                  bench->opts.m, bench->opts.ef_construction);
}

static void curve(struct bench *bench, int32_t *found)
{
    FILE *json = output(bench->json);
    FILE *results = output(bench->results);
    size_t cells = bench->nq * bench->k;
    if (json != NULL) {
        write_head(json, bench);
    }
    for (size_t i = 0; i < bench->ef_count; i++) {
        struct figures f = measure(bench, bench->efs[i], found);
        (void)printf("ef %4u  recall %.4f  qps %8.0f  p50 %6.1f us  p99 %6.1f us  cpu %6.1f us\n",
                     f.ef, f.recall, f.qps, f.p50_us, f.p99_us, f.cpu_us);
        if (json != NULL) {
            (void)fprintf(json, "%s", i == 0 ? "" : ",");
            print_json(json, &f);
        }
        if (results != NULL && fwrite(found, sizeof *found, cells, results) != cells) {
            die("cannot write", bench->results);
        }
    }
    if (json != NULL) {
        (void)fprintf(json, "]}\n");
        (void)fclose(json);
    }
    if (results != NULL && fclose(results) != 0) {
        die("cannot write", bench->results);
    }
}

static void describe(const struct bench *bench)
{
    struct vec_stats stats;
    struct err err = { 0 };
    uint64_t lost = 0;
    vec_stats(bench->index, &stats);
    need(vec_unreachable(bench->index, &lost, &err), &err);
    (void)fprintf(stderr,
                  "%zu x %zu, built in %.2f s (cpu %.2f s) by %u, %.0f bytes a vector, codes %u x "
                  "%u bits, %llu unreachable\n",
                  bench->n, bench->d, bench->build_s, bench->build_cpu_s, bench->build_threads,
                  (double)bench->memory_bytes / (double)bench->n, stats.code_dimensions,
                  stats.code_bits, (unsigned long long)lost);
}

int main(int argc, char **argv)
{
    struct bench bench = {
        .k = 10, .build_threads = 1, .search_threads = 1, .rounds = 1, .isa = "best"
    };
    parse(&bench, argc, argv);
    load(&bench);
    build(&bench);
    if (bench.updates > 0) {
        update(&bench);
    }
    describe(&bench);
    int32_t *found = calloc(bench.nq * bench.k, sizeof *found);
    if (found == NULL) {
        die("no memory for", "results");
    }
    if (bench.filter_share > 0) {
        filters(&bench);
    } else if (bench.asked) {
        answer(&bench, found);
    } else {
        curve(&bench, found);
    }
    free(found);
    free(bench.slot_of);
    free(bench.row_of);
    vec_free(bench.index);
    return 0;
}
