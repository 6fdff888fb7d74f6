/*
 * Pages of at most 1 MiB that are appended to; the newest grows from 4 KiB as it fills.
 *
 *   page   | length | text ... | pad to 8 | length | text ...
 *
 * Nothing says whose a text is, so moving them together goes along the slots: what lies in a page
 * from before the sweep is appended anew, and a page without texts goes at once. As slots are
 * mostly filled in order, pages empty one after another and little memory is held twice.
 */
#include "collection/records.h"

#include "base/mem.h"

enum {
    UNIT = 8,
    PAGE_BITS = 17, /* units of a page: 1 MiB; 15 bits are left for its number: 32 GiB in all */
    PAGE_BYTES = UNIT << PAGE_BITS,
    PAGE_BYTES_MIN = 4096,
    PAGES_MAX = 1 << (32 - PAGE_BITS),
    SWEEP_STEP = 32,
};

void records_done(struct records *records)
{
    for (uint32_t i = 0; i < records->page_count; i++) {
        mem_free(records->pages[i].bytes);
    }
    mem_free(records->pages);
    mem_free(records->refs);
    *records = (struct records){ 0 };
}

static const char *at_ref(const struct records *records, uint32_t ref)
{
    uint32_t place = (ref & ((1U << PAGE_BITS) - 1)) * UNIT;
    return records->pages[ref >> PAGE_BITS].bytes + place;
}

static size_t head_len(size_t len)
{
    return len < 1 << 7 ? 1 : len < 1 << 14 ? 2 : 3;
}

static uint32_t record_bytes(size_t len)
{
    return (uint32_t)((head_len(len) + len + UNIT - 1) / UNIT * UNIT);
}

static struct str read_record(const char *at)
{
    const unsigned char *byte = (const unsigned char *)at;
    size_t len = byte[0] & 0x7f;
    size_t head = 1;
    for (; byte[head - 1] >= 0x80; head++) {
        len |= (size_t)(byte[head] & 0x7f) << (7 * head);
    }
    return str_from(at + head, len);
}

static void write_record(char *at, struct str text)
{
    size_t head = head_len(text.len);
    size_t len = text.len;
    for (size_t i = 0; i < head; i++, len >>= 7) {
        at[i] = (char)((len & 0x7f) | (i + 1 < head ? 0x80 : 0));
    }
    memcpy(at + head, text.ptr, text.len);
}

struct str records_get(const struct records *records, uint32_t slot)
{
    uint32_t ref = slot < records->slot_count ? records->refs[slot] : 0;
    return ref == 0 ? str_from(NULL, 0) : read_record(at_ref(records, ref));
}

uint64_t records_memory(const struct records *records)
{
    uint64_t pages = 0;
    for (uint32_t i = 0; i < records->page_count; i++) {
        pages += records->pages[i].size;
    }
    return pages + records->slot_count * sizeof(*records->refs) +
           records->page_room * sizeof(*records->pages);
}

/* --- room --- */

static enum status slot_room(struct records *records, uint32_t slot)
{
    if (slot < records->slot_count) {
        return OK;
    }
    size_t count = (size_t)slot + slot / 4 + 64;
    uint32_t *refs = mem_realloc(records->refs, count * sizeof(*refs));
    if (refs == NULL) {
        return E_NO_MEMORY;
    }
    memset(refs + records->slot_count, 0, (count - records->slot_count) * sizeof(*refs));
    records->refs = refs;
    records->slot_count = count;
    return OK;
}

/** A number for a page; its bytes come as it is filled. */
static enum status new_page(struct records *records)
{
    uint32_t number = 0;
    while (number < records->page_count && records->pages[number].bytes != NULL) {
        number++;
    }
    if (number == PAGES_MAX) {
        return E_NO_MEMORY;
    }
    if (number == records->page_room) {
        uint32_t room = records->page_room * 2 + 4;
        struct records_page *pages = mem_realloc(records->pages, room * sizeof(*pages));
        if (pages == NULL) {
            return E_NO_MEMORY;
        }
        records->pages = pages;
        records->page_room = room;
    }
    char *bytes = mem_alloc(PAGE_BYTES_MIN);
    if (bytes == NULL) {
        return E_NO_MEMORY;
    }
    records->pages[number] = (struct records_page){
        .bytes = bytes,
        .size = PAGE_BYTES_MIN,
        .used = UNIT, /* 0 is no place */
    };
    records->page_count += number == records->page_count;
    records->current = number;
    return OK;
}

static void free_if_empty(struct records *records, uint32_t number)
{
    struct records_page *page = &records->pages[number];
    if (page->live == 0 && number != records->current) {
        records->used -= page->used;
        mem_free(page->bytes);
        *page = (struct records_page){ 0 };
    }
}

/** The current page with room for `size` bytes more. */
static enum status page_room(struct records *records, uint32_t size)
{
    bool fits = records->page_count > 0 &&
                PAGE_BYTES - records->pages[records->current].used >= size;
    if (!fits) {
        uint32_t full = records->current;
        TRY(new_page(records));
        records->used += UNIT;
        if (records->page_count > 1) {
            free_if_empty(records, full);
        }
    }
    struct records_page *page = &records->pages[records->current];
    uint32_t wanted = page->size;
    while (wanted - page->used < size) {
        wanted *= 2;
    }
    if (wanted > page->size) {
        char *bytes = mem_realloc(page->bytes, wanted);
        if (bytes == NULL) {
            return E_NO_MEMORY;
        }
        page->bytes = bytes;
        page->size = wanted;
    }
    return OK;
}

/* --- changes --- */

static enum status append(struct records *records, struct str text, uint32_t *ref_out)
{
    uint32_t size = record_bytes(text.len);
    assert(size <= PAGE_BYTES - UNIT);
    TRY(page_room(records, size));
    struct records_page *page = &records->pages[records->current];
    write_record(page->bytes + page->used, text);
    *ref_out = records->current << PAGE_BITS | page->used / UNIT;
    page->used += size;
    page->live += size;
    records->used += size;
    records->live += size;
    records->bytes += text.len;
    return OK;
}

static void forget(struct records *records, uint32_t ref)
{
    struct str text = read_record(at_ref(records, ref));
    uint32_t size = record_bytes(text.len);
    records->pages[ref >> PAGE_BITS].live -= size;
    records->live -= size;
    records->bytes -= text.len;
    free_if_empty(records, ref >> PAGE_BITS);
}

/** Appends the text of a slot that lies in an old page. Without memory the sweep waits. */
static bool renew(struct records *records, size_t slot)
{
    uint32_t ref = records->refs[slot];
    if (ref == 0 || !records->pages[ref >> PAGE_BITS].old) {
        return true;
    }
    struct str text = read_record(at_ref(records, ref)); /* lies in no page that is appended to */
    if (append(records, text, &records->refs[slot]) != OK) {
        return false;
    }
    forget(records, ref);
    return true;
}

static void sweep(struct records *records)
{
    if (!records->sweeping) {
        if (records->used - records->live <= records->used / 4 + PAGE_BYTES_MIN) {
            return;
        }
        if (new_page(records) != OK) {
            return;
        }
        records->used += UNIT;
        for (uint32_t i = 0; i < records->page_count; i++) {
            records->pages[i].old = records->pages[i].bytes != NULL && i != records->current;
        }
        records->sweeping = true;
        records->sweep_at = 0;
    }
    for (int i = 0; i < SWEEP_STEP && records->sweep_at < records->slot_count; i++) {
        if (!renew(records, records->sweep_at)) {
            return;
        }
        records->sweep_at++;
    }
    if (records->sweep_at == records->slot_count) {
        records->sweeping = false;
        for (uint32_t i = 0; i < records->page_count; i++) { /* the one that was empty then */
            if (records->pages[i].bytes != NULL) {
                free_if_empty(records, i);
            }
        }
    }
}

enum status records_put(struct records *records, uint32_t slot, struct str text)
{
    uint32_t ref;
    TRY(slot_room(records, slot));
    TRY(append(records, text, &ref));
    uint32_t old = records->refs[slot];
    records->refs[slot] = ref;
    if (old != 0) {
        forget(records, old);
    }
    sweep(records);
    return OK;
}

void records_remove(struct records *records, uint32_t slot)
{
    uint32_t ref = slot < records->slot_count ? records->refs[slot] : 0;
    if (ref != 0) {
        records->refs[slot] = 0;
        forget(records, ref);
        sweep(records);
    }
}

enum status records_move(struct records *records, uint32_t from, uint32_t to)
{
    TRY(slot_room(records, to));
    if (from == to) {
        return OK;
    }
    records_remove(records, to);
    if (from < records->slot_count) {
        records->refs[to] = records->refs[from];
        records->refs[from] = 0;
    }
    return OK;
}
