#include "store/cache_near.h"

#include <stdbool.h>

enum {
    READ_BYTES_MIN = 16 * 1024, /* smaller ones are a reader's steps through a page */
    AHEAD_BYTES_MAX = 2 * 1024 * 1024,
    CHAIN_MAX = 8,    /* chunks that are guessed at once; both chosen */
    SEEN_MIN = 2,     /* row groups before a link is used */
    LENGTH_PART = 16, /* lengths that differ by a sixteenth are one column's */
    GAP_PART = 8,     /* of both lengths: so much may lie between */
    GAP_SLACK_BYTES = 16 * 1024,
    MARGIN_PART = 32, /* so much more is fetched, for the next chunk may be a little longer */
};

static bool alike(uint64_t a, uint64_t b)
{
    uint64_t more = a > b ? a - b : b - a;
    return more <= a / LENGTH_PART;
}

/** The most that may lie between two of these lengths. */
static uint64_t gap_max(uint64_t len, uint64_t next_len)
{
    return (len + next_len) / GAP_PART;
}

/** Behind a gap a chunk begins a little earlier or later than in the row group before. */
static bool about(uint64_t offset, uint64_t expected, uint64_t gap)
{
    uint64_t more = offset > expected ? offset - expected : expected - offset;
    return more <= (gap > 0 ? (uint64_t)GAP_SLACK_BYTES : 0);
}

/** The link of this length, and with `next_len` > 0 also of that; NULL: none. */
static struct near_link *link_find(struct near *near, uint64_t len, uint64_t next_len)
{
    struct near_link *best = NULL;
    for (unsigned i = 0; i < NEAR_LINKS; i++) {
        struct near_link *link = &near->links[i];
        if (link->seen > 0 && alike(link->len, len) &&
            (next_len == 0 || alike(link->next_len, next_len)) &&
            (best == NULL || link->seen > best->seen)) {
            best = link;
        }
    }
    return best;
}

/** `next_len` bytes were read `gap` behind `len` bytes. */
static void link_learn(struct near *near, uint64_t len, uint64_t gap, uint64_t next_len)
{
    struct near_link *link = link_find(near, len, next_len);
    for (unsigned i = 0; link == NULL && i < NEAR_LINKS; i++) {
        link = near->links[i].seen == 0 ? &near->links[i] : NULL;
    }
    if (link == NULL) {
        return; /* a reader of so many columns goes by larger requests anyway */
    }
    link->len = len;
    link->gap = gap;
    link->next_len = next_len;
    link->seen++;
}

static bool trusted(const struct near_link *link)
{
    return link != NULL && link->seen >= SEEN_MIN && link->bad <= 1 + link->good / 4;
}

/** One guess was right, or has waited until its place is needed. */
static void guess_settle(struct near *near, struct near_guess *guess, bool good)
{
    struct near_link *link = &near->links[guess->link];
    link->good += good;
    link->bad += !good;
    guess->offset = 0;
}

/** Was what is expected at `offset`, give or take `slack`, read lately? */
static bool came_first(const struct near *near, uint64_t offset, uint64_t slack)
{
    bool there = false;
    for (unsigned i = 0; i < NEAR_READS && !there; i++) {
        const struct near_read *read = &near->reads[i];
        uint64_t off = read->offset > offset ? read->offset - offset : offset - read->offset;
        there = read->end > read->offset && off <= slack;
    }
    return there;
}

static void guess_note(struct near *near, uint64_t offset, const struct near_link *link)
{
    struct near_guess *guess = &near->guesses[near->next_guess++ % NEAR_GUESSES];
    if (guess->offset != 0) {
        guess_settle(near, guess, false);
    }
    *guess = (struct near_guess){ offset, link->gap, (unsigned)(link - near->links) };
}

/** The nearest of the last reads behind this one, and before it, make links. */
static void learn(struct near *near, uint64_t offset, uint64_t end)
{
    const struct near_read *before = NULL, *behind = NULL;
    uint64_t len = end - offset;
    for (unsigned i = 0; i < NEAR_READS; i++) {
        const struct near_read *read = &near->reads[i];
        uint64_t read_len = read->end - read->offset;
        if (read->offset == offset && read->end == end) {
            return; /* read again: nothing new */
        }
        if (read_len > 0 && read->end <= offset && offset - read->end <= gap_max(len, read_len) &&
            (before == NULL || read->end > before->end)) {
            before = read;
        }
        if (read_len > 0 && read->offset >= end && read->offset - end <= gap_max(len, read_len) &&
            (behind == NULL || read->offset < behind->offset)) {
            behind = read;
        }
    }
    if (before != NULL) {
        link_learn(near, before->end - before->offset, offset - before->end, len);
    }
    if (behind != NULL) {
        link_learn(near, len, behind->offset - end, behind->end - behind->offset);
    }
    near->reads[near->next_read++ % NEAR_READS] = (struct near_read){ offset, end };
}

uint64_t near_note(struct near *near, uint64_t offset, size_t len)
{
    uint64_t ahead = 0;
    if (len <= READ_BYTES_MIN) {
        return 0;
    }
    learn(near, offset, offset + len);
    for (unsigned i = 0; i < NEAR_GUESSES; i++) {
        struct near_guess *guess = &near->guesses[i];
        if (guess->offset != 0 && about(offset, guess->offset, guess->gap)) {
            guess_settle(near, guess, true);
        }
    }
    uint64_t at = offset + len;
    const struct near_link *link = link_find(near, len, 0);
    for (unsigned i = 0; i < CHAIN_MAX && trusted(link); i++) {
        uint64_t next = link->gap + link->next_len, begin = at + link->gap;
        uint64_t slack = i > 0 || link->gap > 0 ? (uint64_t)GAP_SLACK_BYTES : 0;
        next += next / MARGIN_PART;
        if (ahead + next > AHEAD_BYTES_MAX || came_first(near, begin, slack)) {
            break;
        }
        if (i == 0) { /* where the others begin is known when theirs before them are read */
            guess_note(near, begin, link);
        }
        ahead += next;
        at = begin + link->next_len;
        link = link_find(near, link->next_len, 0);
    }
    return ahead;
}
