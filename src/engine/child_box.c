/*
 * The box of a child: what it does to itself before DuckDB is opened, so that even code that runs
 * away in it reaches nothing.
 *
 * It dies with its parent, leaves no core, is the system's first choice when memory runs out, gains
 * no privileges, and maps no more than its share. Where the kernel has Landlock it opens no file
 * but its spill folder and what the C library and DuckDB look at (processor, memory, its own
 * /proc), makes no TCP connection and signals nobody; an older kernel gives less of that or
 * nothing, which is no error: the statement guard and DuckDB's own settings stand before this wall.
 *
 * Source: landlock(7); the numbers of newer rights are written out here, since the headers of
 * Debian 12 end before them.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/io.h"
#include "engine/child.h"

#include <linux/landlock.h>

enum { OOM_SCORE_ADJ = 500 };

static enum status set_limit(int what, rlim_t value, const char *name, struct err *err)
{
    const struct rlimit limit = { value, value };
    return setrlimit((__rlimit_resource_t)what, &limit) == 0
               ? OK
               : err_errno(err, errno, "limit of %s", name);
}

/** Raising it needs no right. */
static void offer_to_oom_killer(void)
{
    AUTO(fd_done) int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
    char text[16];
    int len = snprintf(text, sizeof(text), "%d", OOM_SCORE_ADJ);
    ssize_t written = fd < 0 ? 0 : write(fd, text, (size_t)len);
    (void)written; /* a system without /proc has no such score */
}

static enum status tie_to_parent(int parent_pid, struct err *err)
{
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0) {
        return err_errno(err, errno, "PR_SET_PDEATHSIG");
    }
    if (parent_pid != 0 && getppid() != parent_pid) {
        return err_set(err, E_CANCELED, "the server has gone already");
    }
    return OK;
}

/* --- Landlock --- */

/* struct landlock_ruleset_attr as of version 6; older kernels take the first bytes of it */
struct ruleset {
    uint64_t fs, net, scoped;
};
enum {
    NET_BIND_AND_CONNECT = 3,    /* version 4 */
    SCOPE_SOCKET_AND_SIGNAL = 3, /* version 6 */
};
#define FS_READ ((uint64_t)(LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR))
#define FS_TRUNCATE ((uint64_t)1 << 14) /* version 3 */
#define FS_REFER ((uint64_t)1 << 13)    /* version 2 */
#define FS_VERSION_1 (((uint64_t)1 << 13) - 1)
#define FS_SPILL                                                                                   \
    (FS_READ | LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_REMOVE_FILE |                    \
     LANDLOCK_ACCESS_FS_REMOVE_DIR | LANDLOCK_ACCESS_FS_MAKE_REG | LANDLOCK_ACCESS_FS_MAKE_DIR)

static uint64_t rights_known(long version)
{
    uint64_t rights = FS_VERSION_1;
    rights |= version >= 2 ? FS_REFER : 0;
    rights |= version >= 3 ? FS_TRUNCATE : 0;
    return rights;
}

/** A path that is not there is nothing to allow. */
static void allow(int rules, const char *path, uint64_t rights)
{
    AUTO(fd_done) int fd = open(path, O_PATH | O_CLOEXEC);
    struct landlock_path_beneath_attr attr = { .allowed_access = rights, .parent_fd = fd };
    long done = fd < 0
                    ? 0
                    : syscall(SYS_landlock_add_rule, rules, LANDLOCK_RULE_PATH_BENEATH, &attr, 0);
    (void)done; /* a file takes no folder rights: then it stays closed */
}

static void close_the_box(const char *temp_dir)
{
    long version = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
    if (version < 1) {
        return; /* a kernel without it */
    }
    uint64_t known = rights_known(version);
    struct ruleset set = { .fs = known,
                           .net = version >= 4 ? NET_BIND_AND_CONNECT : 0,
                           .scoped = version >= 6 ? SCOPE_SOCKET_AND_SIGNAL : 0 };
    size_t size = version >= 6 ? 24 : version >= 4 ? 16 : 8;
    AUTO(fd_done) int rules = (int)syscall(SYS_landlock_create_ruleset, &set, size, 0);
    if (rules < 0) {
        return;
    }
    const uint64_t read_file = LANDLOCK_ACCESS_FS_READ_FILE;
    allow(rules, "/proc/self", FS_READ);
    allow(rules, "/proc/meminfo", read_file);
    allow(rules, "/proc/cpuinfo", read_file);
    allow(rules, "/proc/stat", read_file);
    allow(rules, "/proc/sys/vm", FS_READ);
    allow(rules, "/sys/fs/cgroup", FS_READ);
    allow(rules, "/sys/devices/system", FS_READ);
    allow(rules, "/usr/share/zoneinfo", FS_READ);
    allow(rules, "/lib", FS_READ | LANDLOCK_ACCESS_FS_EXECUTE); /* what the C library loads late */
    allow(rules, "/usr/lib", FS_READ | LANDLOCK_ACCESS_FS_EXECUTE);
    allow(rules, "/dev/null", read_file | LANDLOCK_ACCESS_FS_WRITE_FILE);
    allow(rules, "/dev/urandom", read_file);
    if (temp_dir != NULL) {
        allow(rules, temp_dir, (FS_SPILL | FS_TRUNCATE) & known);
    }
    long done = syscall(SYS_landlock_restrict_self, rules, 0);
    (void)done; /* only fails without PR_SET_NO_NEW_PRIVS, which was set before */
}

enum status child_box_enter(const struct child_box *box, struct err *err)
{
    TRY(tie_to_parent(box->parent_pid, err));
    TRY(set_limit(RLIMIT_CORE, 0, "core files", err));
    offer_to_oom_killer();
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN);
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) {
        return err_errno(err, errno, "PR_SET_NO_NEW_PRIVS");
    }
    close_the_box(box->temp_dir);
    return box->address_bytes == 0 ? OK
                                   : set_limit(RLIMIT_AS, box->address_bytes, "address space", err);
}
