#include "app/helper.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <sched.h>
#include <seccomp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "rt/clock.h"
#include "rt/helper_wire.h"
#include "rt/log.h"

enum { FILES_MAX = 64, PROCESSES_MAX = 256, CANNOT_START = 127 };

struct running {
    pid_t pid; /* 0: free */
    int reply;
    int64_t late_ms;
    bool late;
};

struct helpers {
    const struct settings *settings;
    int ours, servers;
    struct running running[HELPERS_MAX];
};

/* A request, as far as it was understood. */
struct request {
    char bytes[HELPER_REQUEST_MAX];
    char *environment[HELPER_VARIABLES_MAX + 4];
    const struct settings_program *program;
    int fds[HELPER_FDS];
};

enum st helpers_new(const struct settings *s, struct helpers **out, struct err *e)
{
    int pair[2];
    struct helpers *h = calloc(1, sizeof *h);
    ENSURE(h, e, ST_TEMP, "out of memory");
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) != 0) {
        free(h);
        return ERR(e, ST_TEMP, "the server cannot be started", "socketpair: %s", strerror(errno));
    }
    h->settings = s;
    h->ours = pair[0];
    h->servers = pair[1];
    *out = h;
    return ST_OK;
}

int helpers_fd(const struct helpers *h) { return h->ours; }
int helpers_server_fd(const struct helpers *h) { return h->servers; }

void helpers_free(struct helpers *h)
{
    for (size_t i = 0; h && i < HELPERS_MAX; i++)
        if (h->running[i].pid) {
            kill(-h->running[i].pid, SIGKILL);
            close(h->running[i].reply);
        }
    if (h) {
        close(h->ours);
        close(h->servers);
    }
    free(h);
}

static void answer(int reply, enum helper_outcome outcome, int value)
{
    struct helper_answer a = {(int32_t)outcome, value};
    ssize_t n = write(reply, &a, sizeof a); /* a server that is gone has no interest */
    (void)n;
    close(reply);
}

/* ---- the child ---- */

/* No network, no way around that, and nothing that only attacks need. All else is the program's own business. */
static bool forbid(void)
{
    static const int never[] = {
        SCMP_SYS(ptrace),
        SCMP_SYS(process_vm_readv),
        SCMP_SYS(process_vm_writev),
        SCMP_SYS(mount),
        SCMP_SYS(umount2),
        SCMP_SYS(pivot_root),
        SCMP_SYS(unshare),
        SCMP_SYS(setns),
        SCMP_SYS(bpf),
        SCMP_SYS(keyctl),
        SCMP_SYS(add_key),
        SCMP_SYS(request_key),
        SCMP_SYS(userfaultfd),
        SCMP_SYS(perf_event_open),
        SCMP_SYS(kexec_load),
        SCMP_SYS(init_module),
        SCMP_SYS(finit_module),
        SCMP_SYS(io_uring_setup),
        SCMP_SYS(reboot),
    };
    scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ALLOW);
    int code = filter ? 0 : -ENOMEM;
    if (code == 0)
        code = seccomp_rule_add(filter, SCMP_ACT_ERRNO(EACCES), SCMP_SYS(socket), 1,
                                (struct scmp_arg_cmp){0, SCMP_CMP_NE, AF_UNIX, 0});
    for (size_t i = 0; code == 0 && i < sizeof never / sizeof never[0]; i++)
        code = seccomp_rule_add(filter, SCMP_ACT_ERRNO(EPERM), never[i], 0);
    if (code == 0)
        code = seccomp_load(filter);
    if (filter)
        seccomp_release(filter);
    return code == 0;
}

static bool become(const char *user)
{
    if (geteuid() != 0)
        return true;
    const struct passwd *u = getpwnam(*user ? user : "nobody");
    if (!u || u->pw_uid == 0)
        return false;
    uid_t uid = u->pw_uid;
    gid_t gid = u->pw_gid;
    return setgroups(1, &gid) == 0 && setresgid(gid, gid, gid) == 0 && setresuid(uid, uid, uid) == 0;
}

static bool limit(int what, rlim_t most)
{
    struct rlimit r = {most, most};
    return setrlimit(what, &r) == 0;
}

static bool bound(const struct settings_program *p)
{
    return limit(RLIMIT_AS, (rlim_t)p->memory_bytes) && limit(RLIMIT_CPU, (rlim_t)(p->timeout_ms / 1000 + 1)) &&
           limit(RLIMIT_CORE, 0) && limit(RLIMIT_NOFILE, FILES_MAX) && limit(RLIMIT_NPROC, PROCESSES_MAX);
}

static _Noreturn void become_program(struct request *r)
{
    sigset_t none;
    sigemptyset(&none);
    setpgid(0, 0);
    for (int i = 1; i < SIGRTMIN; i++)
        signal(i, SIG_DFL);
    sigprocmask(SIG_SETMASK, &none, NULL);
    /* 3, 4, 5 first: the numbers that come may be among 0, 1, 2 */
    bool ok = true;
    int safe[HELPER_FDS];
    for (int i = 0; i < HELPER_FDS; i++)
        ok = ok && (safe[i] = fcntl(r->fds[i], F_DUPFD, 10)) >= 0;
    ok = ok && dup2(safe[HELPER_STDIN], 0) == 0 && dup2(safe[HELPER_STDOUT], 1) == 1 && dup2(safe[HELPER_STDOUT], 2) == 2;
    ok = ok && close_range(3, ~0U, 0) == 0 && chdir("/") == 0;
    umask(077);
    int alone = geteuid() == 0 ? unshare(CLONE_NEWNET) : 0; /* a network with nothing in it; forbid() is the other wall */
    (void)alone;
    ok = ok && become(r->program->user) && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 && forbid() && bound(r->program);
    if (ok)
        execve(r->program->command[0], (char *const *)(uintptr_t)r->program->command, r->environment);
    _exit(CANNOT_START);
}

/* ---- requests ---- */

static const struct settings_program *find_program(const struct helpers *h, const char *name)
{
    for (size_t i = 0; i < h->settings->program_count; i++)
        if (strcmp(h->settings->program[i].name, name) == 0)
            return &h->settings->program[i];
    return NULL;
}

/* "program\0NAME=value\0...": false if it is not that. */
static bool parse_request(const struct helpers *h, struct request *r, size_t n)
{
    static char path[] = "PATH=/usr/local/bin:/usr/bin:/bin", language[] = "LANG=C.UTF-8", home[] = "HOME=/";
    size_t count = 0;
    if (n == 0 || r->bytes[n - 1] != '\0')
        return false;
    r->program = find_program(h, r->bytes);
    r->environment[count++] = path;
    r->environment[count++] = language;
    r->environment[count++] = home;
    for (size_t at = strlen(r->bytes) + 1; at < n;) {
        struct str variable = str_of(r->bytes + at);
        size_t equals = str_find_char(variable, '=');
        if (equals == STR_NPOS || count >= HELPER_VARIABLES_MAX + 3 ||
            !helper_variable_ok(str_upto(variable, equals), str_from(variable, equals + 1)))
            return false;
        r->environment[count++] = r->bytes + at;
        at += variable.n + 1;
    }
    r->environment[count] = NULL;
    return true;
}

static struct running *free_place(struct helpers *h)
{
    for (size_t i = 0; i < HELPERS_MAX; i++)
        if (h->running[i].pid == 0)
            return &h->running[i];
    return NULL;
}

static void start(struct helpers *h, struct request *r)
{
    struct running *place = free_place(h);
    int reply = r->fds[HELPER_REPLY];
    if (!r->program || !place) {
        answer(reply, r->program ? HELPER_BUSY : HELPER_UNKNOWN, 0);
        return;
    }
    pid_t pid = fork();
    if (pid == 0)
        become_program(r);
    if (pid < 0) {
        answer(reply, HELPER_NOT_STARTED, errno);
        return;
    }
    setpgid(pid, pid); /* here too: the first kill must find the group */
    *place = (struct running){pid, reply, clock_mono_ms() + r->program->timeout_ms, false};
}

/* The descriptors of a message. False if there are not exactly those of a request; then all are closed. */
static bool take_fds(struct msghdr *message, int fds[HELPER_FDS])
{
    size_t count = 0;
    bool ok = !(message->msg_flags & (MSG_TRUNC | MSG_CTRUNC));
    for (struct cmsghdr *c = CMSG_FIRSTHDR(message); c; c = CMSG_NXTHDR(message, c)) {
        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
            continue;
        for (size_t i = 0; i < (c->cmsg_len - CMSG_LEN(0)) / sizeof(int); i++) {
            int fd;
            memcpy(&fd, CMSG_DATA(c) + i * sizeof fd, sizeof fd);
            if (count < HELPER_FDS)
                fds[count] = fd;
            else
                close(fd);
            count++;
        }
    }
    if (ok && count == HELPER_FDS)
        return true;
    for (size_t i = 0; i < count && i < HELPER_FDS; i++)
        close(fds[i]);
    return false;
}

void helpers_serve(struct helpers *h)
{
    struct request r = {.program = NULL};
    union {
        struct cmsghdr header;
        char bytes[CMSG_SPACE(sizeof(int) * HELPER_FDS)];
    } control;
    struct iovec part = {r.bytes, sizeof r.bytes};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
    ssize_t n = recvmsg(h->ours, &message, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
    if (n < 0 || !take_fds(&message, r.fds))
        return;
    if (parse_request(h, &r, (size_t)n)) {
        start(h, &r); /* has the reply's descriptor now */
    } else {
        log_event(LOG_ERROR, "helper.malformed_request");
        answer(r.fds[HELPER_REPLY], HELPER_MALFORMED, 0);
    }
    close(r.fds[HELPER_STDIN]);
    close(r.fds[HELPER_STDOUT]);
}

/* ---- the end ---- */

bool helpers_reaped(struct helpers *h, pid_t pid, int status)
{
    for (size_t i = 0; i < HELPERS_MAX; i++) {
        struct running *p = &h->running[i];
        if (p->pid != pid)
            continue;
        kill(-pid, SIGKILL); /* what it left behind */
        if (p->late)
            answer(p->reply, HELPER_LATE, SIGKILL);
        else if (WIFSIGNALED(status))
            answer(p->reply, HELPER_SIGNALLED, WTERMSIG(status));
        else if (WEXITSTATUS(status) == CANNOT_START)
            answer(p->reply, HELPER_NOT_STARTED, ENOENT);
        else
            answer(p->reply, HELPER_EXITED, WEXITSTATUS(status));
        p->pid = 0;
        return true;
    }
    return false;
}

unsigned helpers_look(struct helpers *h, unsigned most)
{
    int64_t now = clock_mono_ms(), wait = most;
    for (size_t i = 0; i < HELPERS_MAX; i++) {
        struct running *p = &h->running[i];
        if (p->pid == 0 || p->late)
            continue;
        if (p->late_ms <= now) {
            p->late = true;
            kill(-p->pid, SIGKILL);
        } else if (p->late_ms - now < wait) {
            wait = p->late_ms - now;
        }
    }
    return (unsigned)wait;
}
