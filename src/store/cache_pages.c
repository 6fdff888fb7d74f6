#include "store/cache_pages.h"

#include <pthread.h>
#include <string.h>

#include "base/mem.h"
#include "store/cache_disk.h"

enum { BUCKETS = 1 << 14 };

struct page {
    uint64_t version, index;
    size_t len;     /* fewer than PAGE_BYTES at the end of an object */
    unsigned users; /* threads that read or wait; in no list while there are any */
    bool ready, gone, kept;
    size_t read; /* so many of its bytes were asked for, the first ones among them */
    struct page *chain, *older, *newer;
    char data[];
};

struct list {
    struct page *oldest, *newest;
    uint64_t bytes;
};

struct pages {
    uint64_t bytes_max;
    struct cache_disk *disk; /* NULL: none */
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct page *buckets[BUCKETS]; /* guarded by lock, as all below */
    struct list fresh, kept;
    uint64_t bytes; /* of all pages, those in use among them */
    struct metric *hit, *missed, *fetched, *fetches, *held;
};

/* --- the table and the lists; the lock is held --- */

static struct page **bucket_of(struct pages *pages, uint64_t version, uint64_t index)
{
    uint64_t hash = (index * UINT64_C(0x9e3779b97f4a7c15)) ^
                    (version * UINT64_C(0xc2b2ae3d27d4eb4f));
    return &pages->buckets[(hash >> 40) % BUCKETS];
}

static struct page *find(struct pages *pages, uint64_t version, uint64_t index)
{
    struct page *page = *bucket_of(pages, version, index);
    while (page != NULL && (page->version != version || page->index != index)) {
        page = page->chain;
    }
    return page;
}

static struct list *list_of(struct pages *pages, const struct page *page)
{
    return page->kept ? &pages->kept : &pages->fresh;
}

static void list_remove(struct pages *pages, struct page *page)
{
    struct list *list = list_of(pages, page);
    *(page->older != NULL ? &page->older->newer : &list->oldest) = page->newer;
    *(page->newer != NULL ? &page->newer->older : &list->newest) = page->older;
    page->older = page->newer = NULL;
    list->bytes -= PAGE_BYTES;
}

static void list_add(struct pages *pages, struct page *page)
{
    struct list *list = list_of(pages, page);
    page->older = list->newest;
    *(list->newest != NULL ? &list->newest->newer : &list->oldest) = page;
    list->newest = page;
    list->bytes += PAGE_BYTES;
}

/** Out of the table; its last user frees it. */
static void unlink_page(struct pages *pages, struct page *page)
{
    struct page **at = bucket_of(pages, page->version, page->index);
    while (*at != page) {
        at = &(*at)->chain;
    }
    *at = page->chain;
    page->gone = true;
    pages->bytes -= PAGE_BYTES;
    metric_set(pages->held, (double)pages->bytes);
}

static void shrink(struct pages *pages)
{
    while (pages->bytes > pages->bytes_max) {
        /* those in use count as new: most of them are on their way */
        uint64_t news = pages->bytes - pages->kept.bytes;
        bool fresh = pages->fresh.oldest != NULL &&
                     (pages->kept.oldest == NULL || news > pages->bytes_max / 4);
        struct page *page = fresh ? pages->fresh.oldest : pages->kept.oldest;
        if (page == NULL) {
            return; /* all are in use */
        }
        list_remove(pages, page);
        unlink_page(pages, page);
        mem_free(page);
    }
}

static void release(struct pages *pages, struct page *page)
{
    if (--page->users > 0) {
        return;
    }
    if (page->gone) {
        mem_free(page);
        return;
    }
    list_add(pages, page);
    shrink(pages);
}

static struct page *add_loading(struct pages *pages, const struct pages_source *source,
                                uint64_t index)
{
    struct page *page = mem_alloc(sizeof *page + PAGE_BYTES);
    if (page == NULL) {
        return NULL;
    }
    uint64_t left = source->size - index * PAGE_BYTES;
    *page = (struct page){ .version = source->version,
                           .index = index,
                           .len = left < PAGE_BYTES ? (size_t)left : (size_t)PAGE_BYTES,
                           .users = 1,
                           .kept = source->keep };
    struct page **bucket = bucket_of(pages, page->version, index);
    page->chain = *bucket;
    *bucket = page;
    pages->bytes += PAGE_BYTES;
    metric_set(pages->held, (double)pages->bytes);
    return page;
}

/* --- a run of missing pages --- */

enum { RUN_PAGES_MAX = RUN_BYTES_MAX / PAGE_BYTES };

struct run {
    struct page *pages[RUN_PAGES_MAX];
    size_t count;
    size_t len;
    bool on_disk; /* all of them */
};

/** Those from `offset` on that nobody has or fetches, as far as is wanted, all of them from one
 * place. The lock is held. */
static void run_collect(struct pages *pages, const struct pages_source *source, uint64_t offset,
                        size_t len, struct run *run)
{
    uint64_t end = offset + len, index = offset / PAGE_BYTES;
    uint64_t ahead = source->ahead < pages->bytes_max / 16 ? source->ahead : pages->bytes_max / 16;
    uint64_t wanted = ahead < source->size - end ? end + ahead : source->size;
    size_t most = (size_t)(pages->bytes_max / 4 / PAGE_BYTES);
    most = most < RUN_PAGES_MAX ? most : (size_t)RUN_PAGES_MAX;
    run->count = 0;
    run->len = 0;
    run->on_disk = pages->disk != NULL && cache_disk_has(pages->disk, source->id, index);
    for (; index * PAGE_BYTES < wanted && run->count < most; index++) {
        bool other = pages->disk != NULL && run->count > 0 &&
                     cache_disk_has(pages->disk, source->id, index) != run->on_disk;
        struct page *page = !other && find(pages, source->version, index) == NULL
                                ? add_loading(pages, source, index)
                                : NULL;
        if (page == NULL) {
            return;
        }
        uint64_t begin = index * PAGE_BYTES;
        page->read = begin >= end ? 0 : end - begin < page->len ? (size_t)(end - begin) : page->len;
        run->pages[run->count++] = page;
        run->len += page->len;
    }
}

/** From the folder, as long as all of them are still there. */
static bool run_load(struct pages *pages, const struct pages_source *source, const struct run *run,
                     char *bytes)
{
    bool fine = run->on_disk;
    for (size_t i = 0; i < run->count && fine; i++) {
        fine = cache_disk_read(pages->disk, source->id, run->pages[i]->index,
                               bytes + i * PAGE_BYTES, run->pages[i]->len);
    }
    return fine;
}

static enum status run_bytes(struct pages *pages, const struct pages_source *source,
                             const struct run *run, char *bytes, bool *fetched_out, struct err *err)
{
    *fetched_out = false;
    if (run_load(pages, source, run, bytes)) {
        return OK;
    }
    enum status status = source->fetch(source->ctx, run->pages[0]->index * PAGE_BYTES, bytes,
                                       run->len, err);
    metric_add(pages->fetches, 1);
    metric_add(pages->fetched, status == OK ? (double)run->len : 0);
    *fetched_out = status == OK;
    return status;
}

/** Gets them, and gives what of [offset, offset + len) is among them. The lock is held before and
 * after, and not meanwhile. */
static enum status run_fetch(struct pages *pages, const struct pages_source *source,
                             struct run *run, uint64_t offset, char *ptr, size_t len,
                             size_t *got_out, struct err *err)
{
    pthread_mutex_unlock(&pages->lock);
    char *bytes = mem_alloc(run->len);
    uint64_t begin = run->pages[0]->index * PAGE_BYTES;
    size_t skip = (size_t)(offset - begin), at = 0;
    bool fetched = false;
    enum status status = bytes != NULL ? run_bytes(pages, source, run, bytes, &fetched, err)
                                       : err_no_memory(err);
    for (size_t i = 0; i < run->count && status == OK; i++) {
        memcpy(run->pages[i]->data, bytes + at, run->pages[i]->len);
        at += run->pages[i]->len;
    }
    if (status == OK) {
        *got_out = run->len - skip < len ? run->len - skip : len;
        memcpy(ptr, bytes + skip, *got_out);
    }
    uint64_t first = run->pages[0]->index;
    pthread_mutex_lock(&pages->lock);
    for (size_t i = 0; i < run->count; i++) {
        if (status == OK) {
            run->pages[i]->ready = true;
        } else {
            unlink_page(pages, run->pages[i]);
        }
        release(pages, run->pages[i]);
    }
    pthread_cond_broadcast(&pages->changed);
    pthread_mutex_unlock(&pages->lock);
    if (fetched && pages->disk != NULL) { /* nobody else waits for it */
        cache_disk_write(pages->disk, source->id, first, bytes, run->len);
    }
    mem_free(bytes);
    pthread_mutex_lock(&pages->lock);
    return status;
}

/* --- reading --- */

/** What the page has of it. The lock is held before and after. */
static size_t page_copy(struct pages *pages, struct page *page, uint64_t offset, char *ptr,
                        size_t len)
{
    size_t skip = (size_t)(offset % PAGE_BYTES);
    size_t piece = page->len - skip < len ? page->len - skip : len;
    pthread_mutex_unlock(&pages->lock);
    memcpy(ptr, page->data + skip, piece);
    pthread_mutex_lock(&pages->lock);
    /* the next piece of a reader that goes on is no second read */
    page->kept = page->kept || skip < page->read;
    page->read = skip + piece > page->read ? skip + piece : page->read;
    metric_add(pages->hit, (double)piece);
    return piece;
}

/** Some bytes at `offset`: of a page that is there, or else of a run that is fetched. *got_out 0:
 * another's fetch has failed, look again. The lock is held. */
static enum status some_read(struct pages *pages, const struct pages_source *source,
                             uint64_t offset, char *ptr, size_t len, size_t *got_out,
                             struct err *err)
{
    struct page *page = find(pages, source->version, offset / PAGE_BYTES);
    if (page == NULL) {
        struct run run;
        run_collect(pages, source, offset, len, &run);
        if (run.count == 0) {
            return err_no_memory(err);
        }
        TRY(run_fetch(pages, source, &run, offset, ptr, len, got_out, err));
        metric_add(pages->missed, (double)*got_out);
        return OK;
    }
    if (page->users++ == 0) {
        list_remove(pages, page);
    }
    while (!page->ready && !page->gone) {
        (void)pthread_cond_wait(&pages->changed, &pages->lock);
    }
    *got_out = page->ready ? page_copy(pages, page, offset, ptr, len) : 0;
    release(pages, page);
    return OK;
}

/** How much from `offset` on lies in pages that others fetch just now. The lock is held. */
static size_t on_its_way(struct pages *pages, const struct pages_source *source, uint64_t offset,
                         size_t len)
{
    uint64_t end = offset, index = offset / PAGE_BYTES;
    while (end < offset + len) {
        const struct page *page = find(pages, source->version, index);
        if (page == NULL || page->ready) {
            break;
        }
        end = ++index * PAGE_BYTES;
    }
    return end - offset < len ? (size_t)(end - offset) : len;
}

/** All of it, in order. The lock is held. */
static enum status all_read(struct pages *pages, const struct pages_source *source, uint64_t offset,
                            char *ptr, size_t len, struct err *err)
{
    while (len > 0) {
        size_t got = 0;
        TRY(some_read(pages, source, offset, ptr, len, &got, err));
        offset += got;
        ptr += got;
        len -= got;
    }
    return OK;
}

enum status pages_read(struct pages *pages, const struct pages_source *source, uint64_t offset,
                       char *ptr, size_t len, struct err *err)
{
    pthread_mutex_lock(&pages->lock);
    /* Neighbouring chunks share a page: what comes behind it is asked for while that is fetched. */
    size_t first = on_its_way(pages, source, offset, len);
    enum status status = all_read(pages, source, offset + first, ptr + first, len - first, err);
    if (status == OK) {
        status = all_read(pages, source, offset, ptr, first, err);
    }
    pthread_mutex_unlock(&pages->lock);
    return status;
}

/* --- life --- */

enum status pages_new(uint64_t bytes_max, struct cache_disk *disk, struct pages **out,
                      struct err *err)
{
    struct pages *pages = mem_zalloc(sizeof *pages);
    if (pages == NULL) {
        return err_no_memory(err);
    }
    pages->bytes_max = bytes_max;
    pages->disk = disk;
    pthread_mutex_init(&pages->lock, NULL);
    pthread_cond_init(&pages->changed, NULL);
    *out = pages;
    return OK;
}

void pages_measure(struct pages *pages, struct metrics *metrics)
{
    pages->hit = metric_get(metrics, METRIC_COUNTER, "lakehouse_cache_hit_bytes_total", "",
                            "Bytes of objects that the block cache had.");
    pages->missed = metric_get(metrics, METRIC_COUNTER, "lakehouse_cache_missed_bytes_total", "",
                               "Bytes of objects that readers of the block cache waited for.");
    pages->fetched = metric_get(metrics, METRIC_COUNTER, "lakehouse_cache_fetched_bytes_total", "",
                                "Bytes that the block cache fetched from the bucket.");
    pages->fetches = metric_get(metrics, METRIC_COUNTER, "lakehouse_cache_fetches_total", "",
                                "Requests of the block cache to the bucket.");
    pages->held = metric_get(metrics, METRIC_GAUGE, "lakehouse_cache_bytes", "",
                             "Memory of the block cache.");
}

uint64_t pages_bytes(struct pages *pages)
{
    pthread_mutex_lock(&pages->lock);
    uint64_t bytes = pages->bytes;
    pthread_mutex_unlock(&pages->lock);
    return bytes;
}

void cache_pages_free(struct pages *pages)
{
    if (pages == NULL) {
        return;
    }
    for (size_t i = 0; i < BUCKETS; i++) {
        for (struct page *page = pages->buckets[i], *next = NULL; page != NULL; page = next) {
            next = page->chain;
            mem_free(page);
        }
    }
    pthread_cond_destroy(&pages->changed);
    pthread_mutex_destroy(&pages->lock);
    mem_free(pages);
}
