/*
 * Values in blocks, in order:
 *
 *   blocks -> [ missing | null | true | 3 | 3.5 ... ] [ 12 | "blue" | "red" | array | object ]
 *                 |                    |
 *              posting             one slot
 *
 * A value that one slot has keeps it in its entry, 24 bytes; more have a posting. A block is split
 * when it is full and goes when it is empty. Of strings the first KEY_MAX bytes are kept; what is
 * longer stands behind the string of just these bytes, which is where it belongs among strings
 * that are not longer.
 */
#include "collection/field.h"

#include "base/mem.h"
#include "collection/posting.h"

enum { BLOCK_ENTRIES = 256, KEY_MAX = 128 };

struct key_text {
    uint8_t len;
    bool cut; /* there is more */
    char bytes[];
};

struct entry {
    union {
        uint64_t high;
        struct key_text *text;
    };
    union {
        struct posting *posting;
        uint32_t slot;
    };
    uint16_t low;
    uint8_t kind;
    bool many; /* posting */
};

struct block {
    uint32_t count;
    uint64_t slots; /* of its entries together */
    struct entry entries[BLOCK_ENTRIES];
};

struct field {
    struct arena arena; /* the path */
    struct path *path;
    struct block **blocks;
    size_t block_count, block_room;
    struct posting *present; /* slots where the path leads to something */
    uint64_t multiple;       /* slots with more than one value */
    uint64_t memory;         /* but for `present` */
};

struct key {
    enum value_kind kind;
    bool any; /* all of the kind are equal to it */
    struct number number;
    struct str text;
    bool cut;
};

struct place {
    size_t block;
    uint32_t entry;
};

/* --- life --- */

struct field *field_new(const struct path *path)
{
    struct field *field = mem_zalloc(sizeof(*field));
    if (field == NULL) {
        return NULL;
    }
    arena_init(&field->arena, 0);
    field->present = posting_new();
    field->memory = sizeof(*field);
    if (field->present == NULL || path_parse(path->text, &field->arena, &field->path, NULL) != OK) {
        field_free(field);
        return NULL;
    }
    return field;
}

static void entry_done(struct entry *entry)
{
    if (entry->many) {
        posting_free(entry->posting);
    }
    if (entry->kind == VALUE_STRING) {
        mem_free(entry->text);
    }
}

void field_free(struct field *field)
{
    if (field == NULL) {
        return;
    }
    for (size_t i = 0; i < field->block_count; i++) {
        for (uint32_t j = 0; j < field->blocks[i]->count; j++) {
            entry_done(&field->blocks[i]->entries[j]);
        }
        mem_free(field->blocks[i]);
    }
    mem_free(field->blocks);
    posting_free(field->present);
    arena_done(&field->arena);
    mem_free(field);
}

bool field_is_of(const struct field *field, const struct path *path)
{
    return field->path->hash == path->hash && str_eq(field->path->text, path->text);
}

uint64_t field_memory(const struct field *field)
{
    return field->memory + field->arena.used_bytes + posting_memory(field->present) +
           field->block_room * sizeof(struct block *);
}

bool field_is_single(const struct field *field)
{
    return field->multiple == 0;
}

/* --- order --- */

static int text_cmp(const struct key_text *text, const struct key *key)
{
    int order = str_cmp(str_from(text->bytes, text->len), key->text);
    return order != 0 ? order : (int)text->cut - (int)key->cut;
}

static int entry_cmp(const struct entry *entry, const struct key *key)
{
    if (entry->kind != key->kind) {
        return entry->kind < key->kind ? -1 : 1;
    }
    if (key->any) {
        return 0;
    }
    if (entry->kind == VALUE_NUMBER) {
        return number_cmp((struct number){ entry->high, entry->low }, key->number);
    }
    return entry->kind == VALUE_STRING ? text_cmp(entry->text, key) : 0;
}

/** Is it before the place of `key`; with `behind`, the place behind all that are equal. */
static bool is_before(const struct entry *entry, const struct key *key, bool behind)
{
    int order = entry_cmp(entry, key);
    return order < 0 || (behind && order == 0);
}

/** The first entry not before `key`: the end of a block when it would stand there. */
static struct place find(const struct field *field, const struct key *key, bool behind)
{
    size_t low = 0; /* the last block whose first entry is before, or the first block */
    size_t high = field->block_count;
    while (high - low > 1) {
        size_t middle = low + (high - low) / 2;
        if (is_before(&field->blocks[middle]->entries[0], key, behind)) {
            low = middle;
        } else {
            high = middle;
        }
    }
    struct place place = { .block = low };
    if (field->block_count == 0) {
        return place;
    }
    const struct block *block = field->blocks[low];
    uint32_t to = block->count;
    while (place.entry < to) {
        uint32_t middle = place.entry + (to - place.entry) / 2;
        if (is_before(&block->entries[middle], key, behind)) {
            place.entry = middle + 1;
        } else {
            to = middle;
        }
    }
    return place;
}

static struct key key_of(const char *value, char bytes[KEY_MAX])
{
    struct key key = { .kind = value_kind(value) };
    if (key.kind == VALUE_NUMBER) {
        key.number = value_number(value);
    } else if (key.kind == VALUE_STRING) {
        size_t len = value_unescape(value_string(value), bytes, KEY_MAX, &key.cut);
        key.text = str_from(bytes, len);
    }
    return key;
}

static struct key key_of_operand(const struct operand *operand)
{
    return (struct key){
        .kind = operand->kind,
        .number = operand->number,
        .text = str_take(operand->plain, KEY_MAX),
        .cut = operand->plain.len > KEY_MAX,
    };
}

/* --- blocks --- */

static enum status insert_block(struct field *field, size_t at)
{
    if (field->block_count == field->block_room) {
        size_t room = field->block_room * 2 + 2;
        struct block **blocks = mem_realloc(field->blocks, room * sizeof(struct block *));
        if (blocks == NULL) {
            return E_NO_MEMORY;
        }
        field->blocks = blocks;
        field->block_room = room;
    }
    struct block *block = mem_alloc(sizeof(*block));
    if (block == NULL) {
        return E_NO_MEMORY;
    }
    block->count = 0;
    block->slots = 0;
    memmove(field->blocks + at + 1, field->blocks + at,
            (field->block_count - at) * sizeof(struct block *));
    field->blocks[at] = block;
    field->block_count++;
    field->memory += sizeof(*block);
    return OK;
}

static uint64_t entry_slots(const struct entry *entry)
{
    return entry->many ? posting_count(entry->posting) : 1;
}

/** The upper half goes into a block of its own; at the end of all values, nothing does: values that
 * come in order leave full blocks. */
static enum status split(struct field *field, struct place *place)
{
    bool last = place->block + 1 == field->block_count && place->entry == BLOCK_ENTRIES;
    uint32_t stay = last ? BLOCK_ENTRIES : BLOCK_ENTRIES / 2;
    TRY(insert_block(field, place->block + 1));
    struct block *from = field->blocks[place->block];
    struct block *to = field->blocks[place->block + 1];
    to->count = from->count - stay;
    from->count = stay;
    memcpy(to->entries, from->entries + stay, to->count * sizeof(*to->entries));
    for (uint32_t i = 0; i < to->count; i++) {
        to->slots += entry_slots(&to->entries[i]);
    }
    from->slots -= to->slots;
    if (place->entry > stay || last) {
        place->block++;
        place->entry -= stay;
    }
    return OK;
}

static enum status entry_init(struct field *field, struct entry *entry, const struct key *key,
                              uint32_t slot)
{
    *entry = (struct entry){ .kind = (uint8_t)key->kind, .slot = slot };
    if (key->kind == VALUE_NUMBER) {
        entry->high = key->number.high;
        entry->low = key->number.low;
    } else if (key->kind == VALUE_STRING) {
        struct key_text *text = mem_alloc(sizeof(*text) + key->text.len);
        if (text == NULL) {
            return E_NO_MEMORY;
        }
        text->len = (uint8_t)key->text.len;
        text->cut = key->cut;
        memcpy(text->bytes, key->text.ptr, key->text.len);
        entry->text = text;
        field->memory += sizeof(*text) + key->text.len;
    }
    return OK;
}

static enum status insert_entry(struct field *field, struct place place, const struct key *key,
                                uint32_t slot)
{
    struct entry entry;
    if (field->block_count == 0) {
        TRY(insert_block(field, 0));
    }
    if (field->blocks[place.block]->count == BLOCK_ENTRIES) {
        TRY(split(field, &place));
    }
    TRY(entry_init(field, &entry, key, slot));
    struct block *block = field->blocks[place.block];
    memmove(block->entries + place.entry + 1, block->entries + place.entry,
            (block->count - place.entry) * sizeof(*block->entries));
    block->entries[place.entry] = entry;
    block->count++;
    block->slots++;
    return OK;
}

static void remove_entry(struct field *field, struct place place)
{
    struct block *block = field->blocks[place.block];
    struct entry *entry = &block->entries[place.entry];
    if (entry->kind == VALUE_STRING) {
        field->memory -= sizeof(*entry->text) + entry->text->len;
    }
    if (entry->many) {
        field->memory -= posting_memory(entry->posting);
    }
    entry_done(entry);
    block->count--;
    memmove(entry, entry + 1, (block->count - place.entry) * sizeof(*entry));
    if (block->count == 0) {
        mem_free(block);
        field->memory -= sizeof(*block);
        field->block_count--;
        memmove(field->blocks + place.block, field->blocks + place.block + 1,
                (field->block_count - place.block) * sizeof(struct block *));
    }
}

/* --- slots of a value --- */

static struct entry *entry_at(const struct field *field, struct place place)
{
    bool there = place.block < field->block_count &&
                 place.entry < field->blocks[place.block]->count;
    return there ? &field->blocks[place.block]->entries[place.entry] : NULL;
}

/** The entry of a value and its place; NULL, and the place where it would stand. */
static struct entry *find_entry(const struct field *field, const struct key *key,
                                struct place *place)
{
    *place = find(field, key, false);
    struct entry *entry = entry_at(field, *place);
    if (entry == NULL && place->block + 1 < field->block_count) { /* the next block's first */
        struct place next = { .block = place->block + 1 };
        struct entry *first = entry_at(field, next);
        if (entry_cmp(first, key) == 0) {
            *place = next;
            return first;
        }
    }
    return entry != NULL && entry_cmp(entry, key) == 0 ? entry : NULL;
}

static enum status make_posting(struct field *field, struct entry *entry)
{
    struct posting *posting = posting_new();
    if (posting == NULL || posting_add(posting, entry->slot) != OK) {
        posting_free(posting);
        return E_NO_MEMORY;
    }
    entry->posting = posting;
    entry->many = true;
    field->memory += posting_memory(posting);
    return OK;
}

static enum status value_add(struct field *field, const struct key *key, uint32_t slot)
{
    struct place place;
    struct entry *entry = find_entry(field, key, &place);
    if (entry == NULL) {
        return insert_entry(field, place, key, slot);
    }
    if (!entry->many && entry->slot == slot) {
        return OK;
    }
    if (!entry->many) {
        TRY(make_posting(field, entry));
    }
    uint64_t memory = posting_memory(entry->posting);
    uint64_t count = posting_count(entry->posting);
    TRY(posting_add(entry->posting, slot));
    field->memory += posting_memory(entry->posting) - memory;
    field->blocks[place.block]->slots += posting_count(entry->posting) - count;
    return OK;
}

static void value_remove(struct field *field, const struct key *key, uint32_t slot)
{
    struct place place;
    struct entry *entry = find_entry(field, key, &place);
    if (entry == NULL || (!entry->many && entry->slot != slot)) {
        return;
    }
    uint64_t before = entry_slots(entry);
    if (entry->many) {
        uint64_t memory = posting_memory(entry->posting);
        posting_remove(entry->posting, slot);
        field->memory += posting_memory(entry->posting) - memory;
    }
    uint64_t after = entry->many ? posting_count(entry->posting) : 0;
    field->blocks[place.block]->slots -= before - after;
    if (after == 0) {
        remove_entry(field, place);
    }
}

struct visitor {
    struct field *field;
    uint32_t slot;
    bool removing;
    uint32_t values;
    bool present;
    enum status status;
};

static bool visit(void *ctx, const char *value)
{
    struct visitor *visitor = ctx;
    char bytes[KEY_MAX];
    struct key key = key_of(value, bytes);
    visitor->values++;
    visitor->present = visitor->present || value != NULL;
    if (visitor->removing) {
        value_remove(visitor->field, &key, visitor->slot);
        return false;
    }
    visitor->status = value_add(visitor->field, &key, visitor->slot);
    return visitor->status != OK;
}

enum status field_add(struct field *field, uint32_t slot, const char *object)
{
    struct visitor visitor = { .field = field, .slot = slot };
    path_walk(field->path, object, visit, &visitor);
    TRY(visitor.status);
    field->multiple += visitor.values > 1;
    return visitor.present ? posting_add(field->present, slot) : OK;
}

void field_remove(struct field *field, uint32_t slot, const char *object)
{
    struct visitor visitor = { .field = field, .slot = slot, .removing = true };
    path_walk(field->path, object, visit, &visitor);
    field->multiple -= visitor.values > 1;
    if (visitor.present) {
        posting_remove(field->present, slot);
    }
}

/* --- conditions --- */

/* From one place to before another. */
struct span {
    struct place from, to;
};

static void narrow(const struct field *field, const struct filter *range, struct span *span)
{
    struct key key = key_of_operand(&range->values[0]);
    switch (range->op) {
    case RANGE_GT: /* what begins like a long string may be greater */
        span->from = find(field, &key, !key.cut);
        break;
    case RANGE_GTE:
        span->from = find(field, &key, false);
        break;
    case RANGE_LT:
        span->to = find(field, &key, key.cut);
        break;
    case RANGE_LTE:
        span->to = find(field, &key, true);
        break;
    }
}

static struct span span_of(const struct field *field, const struct filter *range)
{
    enum value_kind kind = range->values[0].kind;
    bool is_bool = kind == VALUE_FALSE || kind == VALUE_TRUE;
    struct key first = { .kind = is_bool ? VALUE_FALSE : kind, .any = true };
    struct key last = { .kind = is_bool ? VALUE_TRUE : kind, .any = true };
    struct span span = { find(field, &first, false), find(field, &last, true) };
    narrow(field, range, &span);
    return span;
}

static void mark_entry(const struct entry *entry, uint64_t *bits, size_t word_count)
{
    if (entry->many) {
        posting_mark(entry->posting, bits, word_count);
    } else if (entry->slot / 64 < word_count) {
        bits[entry->slot / 64] |= (uint64_t)1 << (entry->slot % 64);
    }
}

static uint32_t block_end(const struct field *field, const struct span *span, size_t block)
{
    return block == span->to.block ? span->to.entry : field->blocks[block]->count;
}

static void mark_span(const struct field *field, const struct span *span, uint64_t *bits,
                      size_t word_count)
{
    uint32_t at = span->from.entry;
    for (size_t i = span->from.block; i <= span->to.block && i < field->block_count; i++, at = 0) {
        for (uint32_t end = block_end(field, span, i); at < end; at++) {
            mark_entry(&field->blocks[i]->entries[at], bits, word_count);
        }
    }
}

static uint64_t count_span(const struct field *field, const struct span *span)
{
    uint64_t count = 0;
    for (size_t i = span->from.block; i <= span->to.block && i < field->block_count; i++) {
        bool whole = i != span->from.block && i != span->to.block;
        uint32_t at = i == span->from.block ? span->from.entry : 0;
        count += whole ? field->blocks[i]->slots : 0;
        for (uint32_t end = block_end(field, span, i); !whole && at < end; at++) {
            count += entry_slots(&field->blocks[i]->entries[at]);
        }
    }
    return count;
}

/** Each of the values of $in; null stands for missing too. */
static const struct entry *entry_of_value(const struct field *field, const struct filter *condition,
                                          size_t i)
{
    struct place place;
    struct key key = i == condition->value_count ? (struct key){ .kind = VALUE_MISSING }
                                                 : key_of_operand(&condition->values[i]);
    return find_entry(field, &key, &place);
}

static size_t values_of(const struct filter *condition)
{
    bool has_null = condition->value_count > 0 && condition->values[0].kind == VALUE_NULL;
    return condition->value_count + has_null; /* sorted: null is the first */
}

uint64_t field_count(const struct field *field, const struct filter *condition)
{
    uint64_t count = 0;
    if (condition->kind == FILTER_EXISTS) {
        return posting_count(field->present);
    }
    if (condition->kind == FILTER_RANGE) {
        struct span span = span_of(field, condition);
        return count_span(field, &span);
    }
    for (size_t i = 0; i < values_of(condition); i++) {
        const struct entry *entry = entry_of_value(field, condition, i);
        count += entry != NULL ? entry_slots(entry) : 0;
    }
    return count;
}

static bool is_exact(const struct filter *condition)
{
    for (size_t i = 0; i < condition->value_count; i++) {
        const struct operand *operand = &condition->values[i];
        if (operand->text != NULL || operand->plain.len > KEY_MAX) {
            return false;
        }
    }
    return true;
}

bool field_mark(const struct field *field, const struct filter *condition,
                const struct filter *other, uint64_t *bits, size_t word_count)
{
    if (condition->kind == FILTER_EXISTS) {
        posting_mark(field->present, bits, word_count);
        return true;
    }
    if (condition->kind == FILTER_RANGE) {
        struct span span = span_of(field, condition);
        if (other != NULL) {
            narrow(field, other, &span);
        }
        mark_span(field, &span, bits, word_count);
        return is_exact(condition) && (other == NULL || is_exact(other));
    }
    for (size_t i = 0; i < values_of(condition); i++) {
        const struct entry *entry = entry_of_value(field, condition, i);
        if (entry != NULL) {
            mark_entry(entry, bits, word_count);
        }
    }
    return is_exact(condition);
}
