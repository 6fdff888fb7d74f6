/*
 * A disk whose plug can be pulled, as a table of system calls (base/io_calls.h).
 *
 * The calls are carried out in a real folder, but nothing is ever synced there. Beside that, each
 * one that changes something is written down, and from any beginning of that history the disks are
 * built that a machine may have after a power cut at this moment:
 *
 *  - A file's bytes and its xattr are on the disk as they were at its last fsync. What came later
 *    is
 *    lost, or there, or torn: the bytes without the xattr, the xattr without the bytes, the length
 *    without the bytes (zeros).
 *  - A folder's names are on the disk as they were at its last fsync. Of each name that changed
 *    since, any later state may be there, each name for itself and in no order. One name never is
 *    half old and half new: rename and link replace it in one step.
 *  - fsync of a file says nothing about its name, fsync of a folder nothing about what lies in it.
 *  - syncfs is an fsync of everything.
 *  - mkdir, rmdir, link, unlink and rename are nothing but changes of names.
 *
 * File systems promise more than that; which of them promises what is nothing that a lake should
 * depend on.
 *
 * The same table makes the n-th call fail, or all from the n-th change on (the process was killed
 * there), and it forgets the fsyncs of one place of the program, to show that each is needed.
 */
#ifndef TESTS_STORE_DISK_H
#define TESTS_STORE_DISK_H

#include "base/io_calls.h"
#include "store/store.h"

extern const struct io_calls disk_calls;

/** Start anew with what is in `base`: empty, and durable. */
void disk_start(const char *base);
void disk_done(void);
/** File systems without xattrs, or without O_TMPFILE. */
void disk_lacks(bool xattrs, bool unnamed);
/** Learns from this hook in which place of the driver the next fsync is. */
struct store_fault_hook disk_hook(void);

/** How many changes there were, as the position in the history. */
size_t disk_position(void);
/** Nothing is written down any more; the calls still work. */
void disk_pause(bool paused);

/** Do nothing in this place (a name that the hook gets, or "folders" for io_calls_mkdirs, "secret"
 * and "secret_folder"); NULL: everything is done. */
void disk_forget_sync(const char *place);
/** The places that synced something so far: NULL-terminated, in order of their first time. */
const char *const *disk_sync_places(void);

/** From the n-th change from now on nothing has an effect, and each call fails; -1: alive. */
void disk_kill(long n);
bool disk_killed(void);
/** The n-th call of the table from now on fails with this errno, once; -1: none. */
void disk_fail(long n, int errno_value);
/** What failed, or NULL. */
const char *disk_failed(void);

/** Names of the disks that may be there after a cut at `position`. */
struct disk_cut {
    size_t position;
    unsigned variant; /* from 0 on, until disk_cut_make says no */
};
enum { DISK_RANDOM_CUTS = 2 };
/**
 * Build the disk of a cut below the empty folder `to`. *hash_out tells disks apart; with `to` NULL
 * only that is made. False when there is no such variant.
 */
bool disk_cut_make(const struct disk_cut *cut, const char *to, uint64_t *hash_out);

#endif
