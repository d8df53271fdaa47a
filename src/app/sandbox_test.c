/* The sandbox, each try in a process of its own: what the server needs works, what it must not do fails or ends it. */
#include "app/sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static char folder[64];

static const char *in_folder(const char *name)
{
    static char path[128];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return path;
}

/* ---- what is tried: true if it worked ---- */

static bool write_and_rename(void)
{
    char from[128], to[128];
    snprintf(from, sizeof from, "%s/in/x", folder);
    snprintf(to, sizeof to, "%s/in/sub/y", folder);
    int fd = open(from, O_CREAT | O_RDWR | O_TRUNC, 0600);
    bool ok = fd >= 0 && write(fd, "x", 1) == 1 && fdatasync(fd) == 0 && ftruncate(fd, 0) == 0;
    ok = ok && mkdir(in_folder("in/sub"), 0700) == 0 && rename(from, to) == 0 && unlink(to) == 0 && rmdir(in_folder("in/sub")) == 0;
    int unnamed = open(in_folder("in"), O_TMPFILE | O_RDWR, 0600);
    return ok && unnamed >= 0 && mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, unnamed, 0) != MAP_FAILED;
}
static bool read_outside(void) { return open(in_folder("out/secret"), O_RDONLY) >= 0; }
static bool write_outside(void) { return open(in_folder("out/new"), O_CREAT | O_WRONLY, 0600) >= 0; }
static bool write_what_is_for_reading(void) { return open(in_folder("read-only"), O_WRONLY) >= 0; }
static bool read_what_is_for_reading(void) { return open(in_folder("read-only"), O_RDONLY) >= 0; }
static bool read_system(void)
{
    return open("/etc/passwd", O_RDONLY) >= 0 && open("/usr/share/zoneinfo", O_RDONLY | O_DIRECTORY) >= 0;
}
static bool read_shadow(void) { return open("/etc/shadow", O_RDONLY) >= 0; }
static void *nothing(void *context) { return context; }
static bool threads(void)
{
    pthread_t t;
    return pthread_create(&t, NULL, nothing, NULL) == 0 && pthread_join(t, NULL) == 0;
}
static bool network(void)
{
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    return fd >= 0 && listen(fd, 1) == 0 && socket(AF_INET6, SOCK_DGRAM, 0) >= 0 && socket(AF_UNIX, SOCK_STREAM, 0) >= 0;
}
static bool odd_network(void) { return socket(AF_PACKET, SOCK_RAW, 0) >= 0 || socket(AF_VSOCK, SOCK_STREAM, 0) >= 0; }
static bool run_program(void)
{
    char *arguments[] = {NULL};
    execv("/bin/true", arguments);
    return false;
}
static bool trace(void) { return ptrace(PTRACE_TRACEME, 0, NULL, NULL) == 0; }
static bool become_root(void) { return setuid(0) == 0; }
static bool new_user_namespace(void) { return syscall(SYS_unshare, 0x10000000) == 0; }

enum outcome { WORKS, FAILS, DIES };
static enum outcome try_out(bool (*what)(void))
{
    pid_t pid = fork();
    if (pid == 0) {
        char in[128], readable[128];
        struct err e = {0};
        snprintf(in, sizeof in, "%s/in", folder);
        snprintf(readable, sizeof readable, "%s/read-only", folder);
        struct sandbox s = {.write_paths = {in}, .read_paths = {readable}};
        if (sandbox_files(&s, &e) != ST_OK || sandbox_system_calls(&e) != ST_OK)
            _exit(99);
        _exit(what() ? 0 : 1);
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    if (WIFSIGNALED(status)) {
        assert_int_equal(WTERMSIG(status), SIGSYS);
        return DIES;
    }
    assert_int_not_equal(WEXITSTATUS(status), 99);
    return WEXITSTATUS(status) == 0 ? WORKS : FAILS;
}

static void test_walls(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        bool (*what)(void);
        enum outcome want;
        bool landlock;
    } rows[] = {
        {"write and rename", write_and_rename, WORKS, false},
        {"read what is for reading", read_what_is_for_reading, WORKS, false},
        {"read the system's files", read_system, WORKS, false},
        {"threads", threads, WORKS, false},
        {"network", network, WORKS, false},
        {"read outside", read_outside, FAILS, true},
        {"write outside", write_outside, FAILS, true},
        {"write what is for reading", write_what_is_for_reading, FAILS, true},
        {"read /etc/shadow", read_shadow, FAILS, true},
        {"odd networks", odd_network, FAILS, false},
        {"run a program", run_program, DIES, false},
        {"trace", trace, DIES, false},
        {"become root", become_root, DIES, false},
        {"a user namespace", new_user_namespace, DIES, false},
    };
    bool landlock = syscall(SYS_landlock_create_ruleset, NULL, 0, 1) > 0;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        if (rows[i].landlock && !landlock)
            continue;
        enum outcome got = try_out(rows[i].what);
        if (got != rows[i].want)
            fail_msg("%s: got %d, want %d", rows[i].name, (int)got, (int)rows[i].want);
    }
}

static int set_up(void **state)
{
    (void)state;
    snprintf(folder, sizeof folder, "/tmp/sandbox-test-XXXXXX");
    if (!mkdtemp(folder))
        return -1;
    mkdir(in_folder("in"), 0700);
    mkdir(in_folder("out"), 0700);
    close(open(in_folder("out/secret"), O_CREAT | O_WRONLY, 0600));
    close(open(in_folder("read-only"), O_CREAT | O_WRONLY, 0600));
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    char command[128];
    snprintf(command, sizeof command, "rm -r %s", folder);
    return system(command);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_walls)};
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
