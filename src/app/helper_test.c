/* Helpers, with the supervisor's side in a thread of this process and real programs. */
#include "app/helper.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "rt/helper.h"
#include "rt/log.h"

static struct helpers *helpers;
static struct settings *settings;
static pthread_t supervisor;
static atomic_bool ending;

/* What the supervisor's loop does, by polling. */
static void *supervise(void *context)
{
    (void)context;
    while (!ending) {
        struct pollfd p = {helpers_fd(helpers), POLLIN, 0};
        int status;
        poll(&p, 1, (int)helpers_look(helpers, 5));
        if (p.revents)
            helpers_serve(helpers);
        for (pid_t pid; (pid = waitpid(-1, &status, WNOHANG)) > 0;)
            assert_true(helpers_reaped(helpers, pid, status));
    }
    return NULL;
}

static int set_up(void **state)
{
    (void)state;
    struct err e = {0};
    const char *text = "program \"cat\" { command = {\"/bin/cat\"} }\n"
                       "program \"seven\" { command = {\"/bin/sh\", \"-c\", \"echo out; echo err >&2; exit 7\"} }\n"
                       "program \"variables\" { command = {\"/usr/bin/env\"} }\n"
                       "program \"slow\" { command = {\"/bin/sh\", \"-c\", \"sleep 1000 & sleep 1000\"} timeout = 300ms }\n"
                       "program \"leaves\" { command = {\"/bin/sh\", \"-c\", \"sleep 1000 & echo gone\"} }\n"
                       "program \"greedy\" { command = {\"/usr/bin/tail\", \"/dev/zero\"} memory = 64M timeout = 30s }\n"
                       "program \"network\" { command = {\"/bin/bash\", \"-c\", \"exec 3<>/dev/tcp/127.0.0.1/$SIZE\"} }\n"
                       "program \"flood\" { command = {\"/usr/bin/head\", \"-c\", \"100000\", \"/dev/zero\"} }\n"
                       "program \"descriptors\" { command = {\"/bin/ls\", \"/proc/self/fd\"} }\n"
                       "program \"outlives\" { command = {\"/bin/sh\", \"-c\", \"setsid timeout 5 yes & sleep 0.3\"} }\n"
                       "program \"missing\" { command = {\"/nonexistent\"} }\n";
    assert_int_equal(settings_parse("test", str_of(text), &settings, &e), ST_OK);
    assert_int_equal(helpers_new(settings, &helpers, &e), ST_OK);
    helper_connect(helpers_server_fd(helpers));
    return pthread_create(&supervisor, NULL, supervise, NULL);
}

static int tear_down(void **state)
{
    (void)state;
    ending = true;
    pthread_join(supervisor, NULL);
    helper_connect(-1);
    helpers_free(helpers);
    settings_unref(settings);
    return 0;
}

static enum st run(const char *program, int input, struct buf *output, struct helper_result *result)
{
    struct err e = {0};
    struct helper_job job = {.program = program, .input = input};
    return helper_run(&job, output, result, &e);
}

static void test_input_and_output(void **state)
{
    (void)state;
    struct buf output = BUF_INIT(1 << 20);
    struct helper_result r;
    FILE *f = tmpfile();
    for (int i = 0; i < 20000; i++)
        fprintf(f, "line %d\n", i);
    fflush(f);
    lseek(fileno(f), 0, SEEK_SET);
    assert_int_equal(run("cat", fileno(f), &output, &r), ST_OK);
    assert_int_equal(r.exit_code, 0);
    assert_true(str_starts(buf_str(&output), STR("line 0\nline 1\n")) && str_ends(buf_str(&output), STR("\nline 19999\n")));
    buf_clear(&output);
    assert_int_equal(run("cat", -1, &output, &r), ST_OK);
    assert_int_equal(output.n, 0);
    assert_int_equal(run("seven", -1, &output, &r), ST_OK);
    assert_int_equal(r.exit_code, 7);
    assert_true(str_eq(buf_str(&output), STR("out\nerr\n")));
    fclose(f);
    buf_release(&output);
}

static void test_variables(void **state)
{
    (void)state;
    static const struct {
        const char *name, *value;
        enum st want;
    } rows[] = {
        {"SENDER", "elinor@abcd.com", ST_OK},   {"SENDER", "", ST_OK},
        {"LD_PRELOAD", "/tmp/x.so", ST_PERM},   {"PATH", "/tmp", ST_PERM},
        {"SENDER", "a\nLD_PRELOAD=b", ST_PERM},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct helper_variable v = {rows[i].name, str_of(rows[i].value)};
        struct helper_job job = {.program = "variables", .input = -1, .variables = &v, .variable_count = 1};
        struct buf output = BUF_INIT(65536);
        struct helper_result r;
        struct err e = {0};
        char want[100];
        assert_int_equal(helper_run(&job, &output, &r, &e), rows[i].want);
        snprintf(want, sizeof want, "%s=%s\n", rows[i].name, rows[i].value);
        if (rows[i].want == ST_OK)
            assert_true(str_find(buf_str(&output), str_of(want)) != STR_NPOS);
        assert_true(str_find(buf_str(&output), STR("CMOCKA")) == STR_NPOS); /* nothing of our own */
        buf_release(&output);
    }
}

static void test_bounds(void **state)
{
    (void)state;
    struct buf output = BUF_INIT(1000);
    struct helper_result r;
    assert_int_equal(run("slow", -1, &output, &r), ST_OK);
    assert_true(r.late && r.exit_code == -1);
    assert_int_equal(run("leaves", -1, &output, &r), ST_OK); /* what it left in the background is not waited for */
    assert_true(r.exit_code == 0 && str_eq(buf_str(&output), STR("gone\n")));
    buf_clear(&output);
    assert_int_equal(run("outlives", -1, &output, &r), ST_OK); /* left the process group, and prints on */
    assert_true(output.n == 1000 && r.cut_off);
    buf_clear(&output);
    assert_int_equal(run("greedy", -1, &output, &r), ST_OK);
    assert_true(r.exit_code != 0 && !r.late);
    buf_clear(&output);
    assert_int_equal(run("flood", -1, &output, &r), ST_OK);
    assert_true(r.exit_code == 0 && r.cut_off && output.n == 1000);
    buf_clear(&output);
    assert_int_equal(run("descriptors", -1, &output, &r), ST_OK);
    assert_true(str_eq(buf_str(&output), STR("0\n1\n2\n3\n"))); /* 3 is that of the folder itself */
    buf_release(&output);
}

static void test_no_network(void **state)
{
    (void)state;
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t n = sizeof a;
    char port[16];
    assert_int_equal(bind(fd, (struct sockaddr *)&a, n), 0);
    assert_int_equal(listen(fd, 5), 0);
    getsockname(fd, (struct sockaddr *)&a, &n);
    snprintf(port, sizeof port, "%u", ntohs(a.sin_port));
    struct helper_variable v = {"SIZE", str_of(port)};
    struct helper_job job = {.program = "network", .input = -1, .variables = &v, .variable_count = 1};
    struct buf output = BUF_INIT(65536);
    struct helper_result r;
    struct err e = {0};
    assert_int_equal(helper_run(&job, &output, &r, &e), ST_OK);
    assert_int_not_equal(r.exit_code, 0);
    struct pollfd p = {fd, POLLIN, 0};
    assert_int_equal(poll(&p, 1, 0), 0); /* nobody came */
    close(fd);
    buf_release(&output);
}

static void test_refused(void **state)
{
    (void)state;
    struct buf output = BUF_INIT(1000);
    struct helper_result r;
    assert_int_equal(run("unknown", -1, &output, &r), ST_NOTFOUND);
    assert_int_equal(run("/bin/cat", -1, &output, &r), ST_NOTFOUND);
    assert_int_equal(run("missing", -1, &output, &r), ST_TEMP);
    /* a server that lies: no descriptors, no NUL, nonsense */
    assert_true(send(helpers_server_fd(helpers), "cat", 3, 0) == 3);
    assert_true(send(helpers_server_fd(helpers), "cat\0x\0", 6, 0) == 6);
    assert_int_equal(run("seven", -1, &output, &r), ST_OK); /* it goes on */
    assert_int_equal(r.exit_code, 7);
    helper_connect(-1);
    assert_int_equal(run("cat", -1, &output, &r), ST_TEMP);
    helper_connect(helpers_server_fd(helpers));
    buf_release(&output);
}

/* A server that stops waits for no program. */
static void test_given_up(void **state)
{
    (void)state;
    atomic_bool stop = true;
    struct buf output = BUF_INIT(1000);
    struct helper_job job = {.program = "greedy", .input = -1, .give_up = &stop};
    struct helper_result r;
    struct err e = {0};
    assert_int_equal(helper_run(&job, &output, &r, &e), ST_TEMP);
    assert_int_equal(run("seven", -1, &output, &r), ST_OK); /* the supervisor does not mind that nobody reads its answer */
    buf_release(&output);
}

static void *many(void *context)
{
    atomic_uint *ok = context;
    for (int i = 0; i < 10; i++) {
        struct buf output = BUF_INIT(1000);
        struct helper_result r;
        if (run("seven", -1, &output, &r) == ST_OK && r.exit_code == 7 && output.n == 8)
            (*ok)++;
        buf_release(&output);
    }
    return NULL;
}

static void test_at_once(void **state)
{
    (void)state;
    pthread_t threads[8];
    atomic_uint ok = 0;
    for (int i = 0; i < 8; i++)
        pthread_create(&threads[i], NULL, many, &ok);
    for (int i = 0; i < 8; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(ok, 80);
}

int main(void)
{
    signal(SIGPIPE, SIG_IGN);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_input_and_output), cmocka_unit_test(test_variables), cmocka_unit_test(test_bounds),
        cmocka_unit_test(test_no_network),       cmocka_unit_test(test_refused),   cmocka_unit_test(test_at_once),
        cmocka_unit_test(test_given_up),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
