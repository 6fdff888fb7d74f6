/*
 * The file driver keeps the contract: as it is, without xattrs, without unnamed files, and on a
 * folding file system.
 *
 * Only the first of these waits for the disk. What a write survives is not told by an fsync that
 * returns: test_plug.c tries it on a disk that forgets. The other three do without, for of the 143
 * s that all four took on a machine whose disk others used, 11 were processor time (26 November
 * 2026).
 */
#include "contract.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/io.h"
#include "base/mem.h"
#include "store/fs_priv.h"

static char dir[64];
static bool no_xattr, no_unnamed, folding;
static struct io_calls calls; /* of the next store */

static int no_sync(int fd)
{
    (void)fd;
    return 0;
}

static struct store *open_store(void)
{
    struct err err = { 0 };
    struct store *store = NULL;
    snprintf(dir, sizeof dir, "/tmp/store-fs-XXXXXX");
    if (mkdtemp(dir) == NULL ||
        store_fs_open(&(struct store_fs_opts){ .dir = dir, .calls = &calls }, &store, &err) != OK) {
        fprintf(stderr, "%s\n", err.msg);
        return NULL;
    }
    struct fs_store *fs = (struct fs_store *)store;
    fs->no_xattr = no_xattr;
    fs->no_unnamed = no_unnamed;
    fs->folding = folding;
    return store;
}

static void close_store(struct store *store)
{
    store_close(store);
    struct err err = { 0 };
    MUST(io_remove_tree(dir, &err));
}

int main(void)
{
    const struct contract_driver driver = { .open = open_store,
                                            .close = close_store,
                                            .uri_scheme = "file:///tmp/" };
    calls = io_calls_real;
    int failed = contract_run("store fs", &driver);
    calls.fsync = calls.syncfs = no_sync;
    no_xattr = true;
    failed += contract_run("store fs without xattrs", &driver);
    no_unnamed = true;
    failed += contract_run("store fs with named temporary files", &driver);
    no_xattr = no_unnamed = false;
    folding = true;
    return failed + contract_run("store fs that folds case", &driver);
}
