#include "app/sandbox.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/landlock.h>
#include <pwd.h>
#include <seccomp.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "rt/log.h"

/* ---- the user ---- */

/* What commands that root ran without a server left there (setup, an import) belongs to the server from now on. Entries are opened
 * without following links and looked at before they are given, and a file with a second name is not: that name may lie elsewhere.
 */
static enum st give_entry(int folder, const char *name, const struct passwd *u, struct err *e)
{
    struct stat st;
    int fd = openat(folder, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0)
        return ST_OK; /* a link, a socket, gone: nothing that the server could not do without */
    bool root_made = fstat(fd, &st) == 0 && st.st_uid == 0 && (S_ISDIR(st.st_mode) || (S_ISREG(st.st_mode) && st.st_nlink == 1));
    int code = root_made && fchown(fd, u->pw_uid, u->pw_gid) != 0 ? errno : 0;
    close(fd);
    return code ? ERR_PUBLIC(e, ST_PERM, "%s cannot be given to %s: %s", name, u->pw_name, strerror(code)) : ST_OK;
}

static enum st give_folder(const char *path, const struct passwd *u, struct err *e)
{
    TRY(give_entry(AT_FDCWD, path, u, e));
    DIR *d = opendir(path);
    enum st st = ST_OK;
    for (struct dirent *entry; d && st == ST_OK && (entry = readdir(d)) != NULL;)
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            st = give_entry(dirfd(d), entry->d_name, u, e);
    if (d)
        closedir(d);
    return st;
}

enum st sandbox_become_user(const struct sandbox *s, struct err *e)
{
    if (geteuid() != 0 || !s->user || !*s->user)
        return ST_OK;
    errno = 0;
    const struct passwd *u = getpwnam(s->user);
    ENSURE(u, e, ST_PERM, "there is no user %s to run as: make it (adduser --system --group %s) or set global { user = ... }",
           s->user, s->user);
    ENSURE(u->pw_uid != 0, e, ST_PERM, "global { user = %s } is root: name an unprivileged user", s->user);
    uid_t uid = u->pw_uid;
    gid_t gid = u->pw_gid;
    for (size_t i = 0; i < SANDBOX_PATHS_MAX && s->write_paths[i]; i++)
        TRY(give_folder(s->write_paths[i], u, e));
    if (setgroups(1, &gid) != 0 || setresgid(gid, gid, gid) != 0 || setresuid(uid, uid, uid) != 0 || setuid(0) == 0)
        return ERR_PUBLIC(e, ST_PERM, "could not become %s: %s", s->user, strerror(errno));
    return ST_OK;
}

/* ---- files: Landlock ---- */

#define READ_ACCESS (LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR)
#define FILE_ACCESS (LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_WRITE_FILE)
#define WRITE_ACCESS                                                                                                               \
    (READ_ACCESS | LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_REMOVE_DIR | LANDLOCK_ACCESS_FS_REMOVE_FILE |                \
     LANDLOCK_ACCESS_FS_MAKE_DIR | LANDLOCK_ACCESS_FS_MAKE_REG | LANDLOCK_ACCESS_FS_MAKE_SOCK)
#define ALL_ACCESS                                                                                                                 \
    (WRITE_ACCESS | LANDLOCK_ACCESS_FS_EXECUTE | LANDLOCK_ACCESS_FS_MAKE_CHAR | LANDLOCK_ACCESS_FS_MAKE_FIFO |                     \
     LANDLOCK_ACCESS_FS_MAKE_BLOCK | LANDLOCK_ACCESS_FS_MAKE_SYM)

/* Rights that later versions of Landlock know of; headers may be older than the kernel. */
enum { REFER_SINCE = 2, TRUNCATE_SINCE = 3 };
#define ACCESS_REFER    ((uint64_t)1 << 13)
#define ACCESS_TRUNCATE ((uint64_t)1 << 14)

static uint64_t later_rights(long version)
{
    return (version >= REFER_SINCE ? ACCESS_REFER : 0) | (version >= TRUNCATE_SINCE ? ACCESS_TRUNCATE : 0);
}

static bool allow_path(int ruleset, const char *path, uint64_t access)
{
    struct stat st;
    int fd = open(path, O_PATH | O_CLOEXEC);
    if (fd < 0)
        return errno == ENOENT; /* what does not exist need not be read */
    if (fstat(fd, &st) == 0 && !S_ISDIR(st.st_mode))
        access &= FILE_ACCESS | ACCESS_TRUNCATE;
    struct landlock_path_beneath_attr rule = {.allowed_access = access, .parent_fd = fd};
    bool ok = syscall(SYS_landlock_add_rule, ruleset, LANDLOCK_RULE_PATH_BENEATH, &rule, 0) == 0;
    close(fd);
    return ok;
}

static bool allow_all(int ruleset, const struct sandbox *s, uint64_t later)
{
    /* time zones, trust anchors, names of hosts, locale and ICU data, libraries that the resolver of the C library loads late */
    static const char *const system_paths[] = {
        "/etc/ssl", "/etc/resolv.conf", "/etc/hosts", "/etc/nsswitch.conf", "/etc/host.conf", "/etc/gai.conf", "/etc/localtime",
        "/etc/services", "/etc/unbound", "/etc/passwd", "/etc/group", "/etc/ld.so.cache", "/usr/lib", "/usr/share", "/lib",
        "/lib64", "/proc", "/sys/devices/system/cpu", "/dev/urandom",
        /* where /etc/resolv.conf may lead, and is written anew under the same name */
        "/run/systemd/resolve", "/run/resolvconf", "/run/NetworkManager", "/var/lib/unbound"};
    bool ok = allow_path(ruleset, "/dev/null", FILE_ACCESS);
    for (size_t i = 0; i < sizeof system_paths / sizeof system_paths[0]; i++)
        ok = ok && allow_path(ruleset, system_paths[i], READ_ACCESS);
    for (size_t i = 0; i < SANDBOX_PATHS_MAX && s->read_paths[i]; i++)
        ok = ok && allow_path(ruleset, s->read_paths[i], READ_ACCESS);
    for (size_t i = 0; i < SANDBOX_PATHS_MAX && s->write_paths[i]; i++)
        ok = ok && allow_path(ruleset, s->write_paths[i], WRITE_ACCESS | later);
    return ok;
}

enum st sandbox_files(const struct sandbox *s, struct err *e)
{
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
        return ERR(e, ST_TEMP, "the sandbox could not be set up", "no_new_privs: %s", strerror(errno));
    long version = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
    if (version < 1) {
        log_event(LOG_WARN, "sandbox.no_landlock", LOG_Z("reason", strerror(errno)));
        return ST_OK;
    }
    struct landlock_ruleset_attr attributes = {.handled_access_fs = ALL_ACCESS | later_rights(version)};
    int ruleset = (int)syscall(SYS_landlock_create_ruleset, &attributes, sizeof attributes, 0);
    bool ok = ruleset >= 0 && allow_all(ruleset, s, later_rights(version)) && syscall(SYS_landlock_restrict_self, ruleset, 0) == 0;
    int code = errno;
    if (ruleset >= 0)
        close(ruleset);
    return ok ? ST_OK : ERR(e, ST_TEMP, "the sandbox could not be set up", "Landlock: %s", strerror(code));
}

/* ---- system calls: seccomp ---- */

/* What the server, RocksDB, OpenSSL, libunbound and the C library use. */
static const int allowed[] = {
    SCMP_SYS(accept),
    SCMP_SYS(accept4),
    SCMP_SYS(access),
    SCMP_SYS(arch_prctl),
    SCMP_SYS(bind),
    SCMP_SYS(brk),
    SCMP_SYS(clock_getres),
    SCMP_SYS(clock_gettime),
    SCMP_SYS(clock_nanosleep),
    SCMP_SYS(clone),
    SCMP_SYS(clone3),
    SCMP_SYS(close),
    SCMP_SYS(close_range),
    SCMP_SYS(connect),
    SCMP_SYS(copy_file_range),
    SCMP_SYS(dup),
    SCMP_SYS(dup2),
    SCMP_SYS(dup3),
    SCMP_SYS(epoll_create1),
    SCMP_SYS(epoll_ctl),
    SCMP_SYS(epoll_pwait),
    SCMP_SYS(epoll_wait),
    SCMP_SYS(eventfd2),
    SCMP_SYS(exit),
    SCMP_SYS(exit_group),
    SCMP_SYS(faccessat),
    SCMP_SYS(faccessat2),
    SCMP_SYS(fadvise64),
    SCMP_SYS(fallocate),
    SCMP_SYS(fchmod),
    SCMP_SYS(fchmodat),
    SCMP_SYS(fcntl),
    SCMP_SYS(fdatasync),
    SCMP_SYS(flock),
    SCMP_SYS(fstat),
    SCMP_SYS(fstatfs),
    SCMP_SYS(fsync),
    SCMP_SYS(ftruncate),
    SCMP_SYS(futex),
    SCMP_SYS(futex_waitv),
    SCMP_SYS(getcpu),
    SCMP_SYS(getcwd),
    SCMP_SYS(getdents64),
    SCMP_SYS(getegid),
    SCMP_SYS(geteuid),
    SCMP_SYS(getgid),
    SCMP_SYS(getgroups),
    SCMP_SYS(getpeername),
    SCMP_SYS(getpgrp),
    SCMP_SYS(getpid),
    SCMP_SYS(getppid),
    SCMP_SYS(getpriority),
    SCMP_SYS(getrandom),
    SCMP_SYS(getresgid),
    SCMP_SYS(getresuid),
    SCMP_SYS(getrlimit),
    SCMP_SYS(getrusage),
    SCMP_SYS(getsockname),
    SCMP_SYS(getsockopt),
    SCMP_SYS(gettid),
    SCMP_SYS(gettimeofday),
    SCMP_SYS(getuid),
    SCMP_SYS(getxattr),
    SCMP_SYS(inotify_add_watch),
    SCMP_SYS(inotify_init1),
    SCMP_SYS(ioctl),
    SCMP_SYS(ioprio_get),
    SCMP_SYS(ioprio_set),
    SCMP_SYS(kill),
    SCMP_SYS(lgetxattr),
    SCMP_SYS(link),
    SCMP_SYS(linkat),
    SCMP_SYS(listen),
    SCMP_SYS(lseek),
    SCMP_SYS(lstat),
    SCMP_SYS(madvise),
    SCMP_SYS(membarrier),
    SCMP_SYS(mincore),
    SCMP_SYS(mkdir),
    SCMP_SYS(mkdirat),
    SCMP_SYS(mlock),
    SCMP_SYS(mmap),
    SCMP_SYS(mprotect),
    SCMP_SYS(mremap),
    SCMP_SYS(msync),
    SCMP_SYS(munlock),
    SCMP_SYS(munmap),
    SCMP_SYS(nanosleep),
    SCMP_SYS(newfstatat),
    SCMP_SYS(open),
    SCMP_SYS(openat),
    SCMP_SYS(pipe),
    SCMP_SYS(pipe2),
    SCMP_SYS(poll),
    SCMP_SYS(ppoll),
    SCMP_SYS(prctl),
    SCMP_SYS(pread64),
    SCMP_SYS(preadv),
    SCMP_SYS(prlimit64),
    SCMP_SYS(pselect6),
    SCMP_SYS(pwrite64),
    SCMP_SYS(pwritev),
    SCMP_SYS(read),
    SCMP_SYS(readahead),
    SCMP_SYS(readlink),
    SCMP_SYS(readlinkat),
    SCMP_SYS(readv),
    SCMP_SYS(recvfrom),
    SCMP_SYS(recvmmsg),
    SCMP_SYS(recvmsg),
    SCMP_SYS(rename),
    SCMP_SYS(renameat),
    SCMP_SYS(renameat2),
    SCMP_SYS(restart_syscall),
    SCMP_SYS(rmdir),
    SCMP_SYS(rseq),
    SCMP_SYS(rt_sigaction),
    SCMP_SYS(rt_sigpending),
    SCMP_SYS(rt_sigprocmask),
    SCMP_SYS(rt_sigreturn),
    SCMP_SYS(rt_sigsuspend),
    SCMP_SYS(rt_sigtimedwait),
    SCMP_SYS(sched_getaffinity),
    SCMP_SYS(sched_getparam),
    SCMP_SYS(sched_getscheduler),
    SCMP_SYS(sched_setaffinity),
    SCMP_SYS(sched_setscheduler),
    SCMP_SYS(sched_yield),
    SCMP_SYS(select),
    SCMP_SYS(sendfile),
    SCMP_SYS(sendmmsg),
    SCMP_SYS(sendmsg),
    SCMP_SYS(sendto),
    SCMP_SYS(set_robust_list),
    SCMP_SYS(set_tid_address),
    SCMP_SYS(setpriority),
    SCMP_SYS(setrlimit),
    SCMP_SYS(setsockopt),
    SCMP_SYS(shutdown),
    SCMP_SYS(sigaltstack),
    SCMP_SYS(signalfd4),
    SCMP_SYS(socketpair),
    SCMP_SYS(stat),
    SCMP_SYS(statfs),
    SCMP_SYS(statx),
    SCMP_SYS(symlink),
    SCMP_SYS(sync_file_range),
    SCMP_SYS(sysinfo),
    SCMP_SYS(tgkill),
    SCMP_SYS(time),
    SCMP_SYS(timer_create),
    SCMP_SYS(timerfd_create),
    SCMP_SYS(timerfd_settime),
    SCMP_SYS(truncate),
    SCMP_SYS(umask),
    SCMP_SYS(uname),
    SCMP_SYS(unlink),
    SCMP_SYS(unlinkat),
    SCMP_SYS(utimensat),
    SCMP_SYS(wait4),
    SCMP_SYS(waitid),
    SCMP_SYS(write),
    SCMP_SYS(writev),
};

/* What sockets may be of; the C library asks the kernel for addresses by netlink. */
static const unsigned families[] = {AF_UNIX, AF_INET, AF_INET6, AF_NETLINK};

/* Nobody asks for these but an attacker: the process ends. Everything else that is not allowed fails with EPERM. */
static const int deadly[] = {
    SCMP_SYS(execve),         SCMP_SYS(execveat), SCMP_SYS(ptrace),      SCMP_SYS(process_vm_readv), SCMP_SYS(process_vm_writev),
    SCMP_SYS(mount),          SCMP_SYS(umount2),  SCMP_SYS(pivot_root),  SCMP_SYS(chroot),           SCMP_SYS(unshare),
    SCMP_SYS(setns),          SCMP_SYS(bpf),      SCMP_SYS(init_module), SCMP_SYS(finit_module),     SCMP_SYS(kexec_load),
    SCMP_SYS(keyctl),         SCMP_SYS(add_key),  SCMP_SYS(userfaultfd), SCMP_SYS(perf_event_open),  SCMP_SYS(open_by_handle_at),
    SCMP_SYS(io_uring_setup), SCMP_SYS(setuid),   SCMP_SYS(setgid),      SCMP_SYS(reboot),
};

enum st sandbox_system_calls(struct err *e)
{
    scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ERRNO(EPERM));
    int code = filter ? 0 : -ENOMEM;
    for (size_t i = 0; code == 0 && i < sizeof allowed / sizeof allowed[0]; i++)
        code = seccomp_rule_add(filter, SCMP_ACT_ALLOW, allowed[i], 0);
    for (size_t i = 0; code == 0 && i < sizeof families / sizeof families[0]; i++)
        code = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(socket), 1, (struct scmp_arg_cmp){0, SCMP_CMP_EQ, families[i], 0});
    for (size_t i = 0; code == 0 && i < sizeof deadly / sizeof deadly[0]; i++)
        code = seccomp_rule_add(filter, SCMP_ACT_KILL_PROCESS, deadly[i], 0);
    if (code == 0)
        code = seccomp_load(filter);
    if (filter)
        seccomp_release(filter);
    if (code == -EINVAL || code == -ENOSYS || code == -EOPNOTSUPP) {
        log_event(LOG_WARN, "sandbox.no_seccomp", LOG_Z("reason", strerror(-code)));
        return ST_OK;
    }
    return code == 0 ? ST_OK : ERR(e, ST_TEMP, "the sandbox could not be set up", "seccomp: %s", strerror(-code));
}
