/* Mail to programs, with a supervisor that runs none: it reads what the program would and answers as the program's name says. */
#include "queue/transport_program.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "queue/testing.h"
#include "rt/helper_wire.h"

#define MESSAGE "Received: by mx.abcd.com\r\nSubject: fax\r\n\r\n.\r\nbytes \x80\xff here\r\n"

/* ---- the other side ---- */

static struct {
    int fds[2];
    pthread_t thread;
    pthread_mutex_t lock; /* below */
    unsigned runs;
    struct buf input, environment; /* of the last run */
} other = {.lock = PTHREAD_MUTEX_INITIALIZER};

static unsigned runs_of_other(void)
{
    pthread_mutex_lock(&other.lock);
    unsigned runs = other.runs;
    pthread_mutex_unlock(&other.lock);
    return runs;
}

static ssize_t take(char *bytes, size_t size, int fds[HELPER_FDS])
{
    union {
        struct cmsghdr header;
        char space[CMSG_SPACE(sizeof(int) * HELPER_FDS)];
    } control;
    struct iovec part = {bytes, size};
    struct msghdr m = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
    ssize_t n = recvmsg(other.fds[0], &m, 0);
    if (n > 0)
        memcpy(fds, CMSG_DATA(CMSG_FIRSTHDR(&m)), sizeof(int) * HELPER_FDS);
    return n;
}

/* "exit67-5.1.6 moved away": exit code 67 with that output; "flaky": 75 at first, then 0; "late", "busy", "unknown". */
static struct helper_answer act(const char *name, int out)
{
    int code = 0;
    char text[200] = "";
    if (strcmp(name, "late") == 0)
        return (struct helper_answer){HELPER_LATE, 9};
    if (strcmp(name, "busy") == 0)
        return (struct helper_answer){HELPER_BUSY, 0};
    if (strcmp(name, "unknown") == 0)
        return (struct helper_answer){HELPER_UNKNOWN, 0};
    if (strcmp(name, "flaky") == 0)
        return (struct helper_answer){HELPER_EXITED, other.runs == 1 ? 75 : 0};
    assert_true(sscanf(name, "exit%d-%199[^\n]", &code, text) >= 1);
    assert_true(write(out, text, strlen(text)) == (ssize_t)strlen(text));
    return (struct helper_answer){HELPER_EXITED, code};
}

static void *serve(void *context)
{
    char request[HELPER_REQUEST_MAX];
    int fds[HELPER_FDS];
    (void)context;
    for (ssize_t n; (n = take(request, sizeof request, fds)) > 0;) {
        char bytes[4096];
        pthread_mutex_lock(&other.lock);
        other.runs++;
        assert_int_equal(fcntl(fds[HELPER_STDIN], F_GETFL) & O_ACCMODE, O_RDONLY);
        buf_clear(&other.input);
        buf_clear(&other.environment);
        for (ssize_t got; (got = read(fds[HELPER_STDIN], bytes, sizeof bytes)) > 0;)
            buf_add(&other.input, str_make(bytes, (size_t)got));
        for (size_t at = strlen(request) + 1; at < (size_t)n; at += strlen(request + at) + 1)
            buf_printf(&other.environment, "%s\n", request + at);
        struct helper_answer answer = act(request, fds[HELPER_STDOUT]);
        assert_true(write(fds[HELPER_REPLY], &answer, sizeof answer) == (ssize_t)sizeof answer);
        for (size_t i = 0; i < HELPER_FDS; i++)
            close(fds[i]);
        pthread_mutex_unlock(&other.lock);
    }
    return NULL;
}

static void begin(struct testing *t, const char *program)
{
    struct settings *settings;
    char text[400];
    testing_open(t, false, false);
    other.runs = 0;
    other.input = other.environment = BUF_INIT(1 << 20);
    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, other.fds), 0);
    helper_connect(other.fds[1]);
    assert_int_equal(pthread_create(&other.thread, NULL, serve, NULL), 0);
    snprintf(text, sizeof text, "program \"%s\" { command = {\"/bin/x\"} }\nroute \"fax.test\" { program = \"%s\" }", program,
             program);
    OK(&t->err, settings_parse("test", str_of(text), &settings, &t->err));
    settings_use(&settings);
}

static void end(struct testing *t)
{
    struct settings *settings = settings_defaults();
    helper_connect(-1);
    shutdown(other.fds[1], SHUT_RDWR);
    pthread_join(other.thread, NULL);
    close(other.fds[0]);
    close(other.fds[1]);
    buf_release(&other.input);
    buf_release(&other.environment);
    settings_use(&settings);
    testing_close(t);
}

/* ---- tests ---- */

static bool has(struct str text, const char *needle) { return str_find(text, str_of(needle)) != STR_NPOS; }

static void test_bytes_and_variables(void **state)
{
    struct testing t;
    (void)state;
    begin(&t, "exit0-");
    assert_int_equal(testing_accept(&t, "elinor@abcd.com", "555+x@fax.test", MESSAGE, true, NULL), ST_OK);
    testing_run(&t, 1);
    assert_int_equal(runs_of_other(), 1);
    assert_true(str_eq(buf_str(&other.input), STR(MESSAGE))); /* no Return-Path, no dots doubled */
    struct str set = buf_str(&other.environment);
    assert_true(str_starts(set, STR("SENDER=elinor@abcd.com\nRECIPIENT=555+x@fax.test\nUSER=555+x\nDOMAIN=fax.test\nQUEUE_ID=")));
    char size[40];
    snprintf(size, sizeof size, "\nSIZE=%zu\n", sizeof MESSAGE - 1);
    assert_true(has(set, size));
    assert_int_equal(fake.opens, 0);
    assert_int_equal(testing_entries(&t), 0);
    end(&t);
}

/* What elinor is told within six days, and how often the program ran within the first hour. */
static void test_ends(void **state)
{
    static const struct {
        const char *program, *to, *report;
        bool tried_again;
    } rows[] = {
        {"exit0-", "a@fax.test", "", false},
        {"exit0-", "a@fax.test:2", "Action: relayed", false}, /* RFC 3461 5.2.4 (b) */
        {"exit0-", "a@fax.test:1", "", false},
        {"exit67-5.1.6 moved away", "a@fax.test", "Status: 5.1.6", false},
        {"exit67-no such line", "a@fax.test", "Status: 5.1.1", false},
        {"exit65-", "a@fax.test", "does not take such a message", false},
        {"exit67-", "a@fax.test:1", "", false}, /* NOTIFY=NEVER */
        {"exit75-line busy", "a@fax.test", "line busy", true},
        {"exit1-Traceback", "a@fax.test", "Status: 4.3.0", true}, /* in doubt temporary */
        {"late", "a@fax.test", "did not end in time", true},
        {"busy", "a@fax.test", "too many programs", true},
        {"unknown", "a@fax.test", "Status: 4.3.5", true},
        {"flaky", "a@fax.test", "", true},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct testing t;
        begin(&t, rows[i].program);
        assert_int_equal(testing_accept(&t, "elinor@abcd.com", rows[i].to, MESSAGE, true, NULL), ST_OK);
        testing_run(&t, 1);
        unsigned runs = runs_of_other();
        testing_run(&t, 6 * 24);
        struct testing_mailbox inbox = testing_look(&t, t.elinor, "INBOX");
        if ((runs > 1) != rows[i].tried_again || (inbox.count > 0) != (rows[i].report[0] != '\0') ||
            !has(inbox.last, rows[i].report))
            fail_msg("case %zu (%s): %u runs, %u reports:\n%.*s", i, rows[i].program, runs, inbox.count, STR_FMT(inbox.last));
        assert_int_equal(testing_entries(&t), 0);
        end(&t);
    }
}

/* One run for each recipient; those that went well are not run again for the sake of the others. */
static void test_each_recipient(void **state)
{
    struct testing t;
    (void)state;
    begin(&t, "flaky");
    assert_int_equal(testing_accept(&t, "elinor@abcd.com", "a@fax.test b@fax.test c@fax.test", MESSAGE, true, NULL), ST_OK);
    testing_run(&t, 24);
    assert_int_equal(runs_of_other(), 4);
    assert_int_equal(testing_entries(&t), 0);
    end(&t);
}

static void test_no_supervisor(void **state)
{
    struct testing t;
    (void)state;
    begin(&t, "exit0-");
    helper_connect(-1);
    assert_int_equal(testing_accept(&t, "elinor@abcd.com", "a@fax.test", MESSAGE, true, NULL), ST_OK);
    testing_run(&t, 1);
    assert_int_equal(testing_entries(&t), 1);
    helper_connect(other.fds[1]);
    testing_run(&t, 24);
    assert_int_equal(testing_entries(&t), 0);
    assert_int_equal(runs_of_other(), 1);
    end(&t);
}

static void test_texts(void **state)
{
    static const struct {
        struct helper_result result;
        const char *output, *want;
    } rows[] = {
        {{.exit_code = 67}, "\n \n5.1.6 gone\nmore\n", "5.1.6 gone"},
        {{.exit_code = 67}, "4.2.2 full\n", "5.1.1 4.2.2 full"}, /* the exit code decides the class */
        {{.exit_code = 75}, "5.1.1 unknown", "4.3.0 5.1.1 unknown"},
        {{.exit_code = 75}, "", "4.3.0 The program failed"},
        {{.exit_code = 0}, "2.1.5 faxed", "2.1.5 faxed"},
        {{.exit_code = -1, .signal = 11}, "5.1.1 no", "4.3.0 A signal ended the program"},
        {{.exit_code = -1, .late = true}, "x", "4.3.0 The program did not end in time"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        DEFER(buf_release) struct buf got = BUF_INIT(512);
        program_result(&rows[i].result, str_of(rows[i].output), &got);
        if (!str_eq(buf_str(&got), str_of(rows[i].want)))
            fail_msg("case %zu: got %.*s, want %s", i, STR_FMT(buf_str(&got)), rows[i].want);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bytes_and_variables), cmocka_unit_test(test_ends),  cmocka_unit_test(test_each_recipient),
        cmocka_unit_test(test_no_supervisor),       cmocka_unit_test(test_texts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
