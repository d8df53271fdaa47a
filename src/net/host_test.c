/* The host under real sockets: a small line protocol, fed in every way that clients and other threads can think of. */
#include "net/host.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "rt/clock.h"
#include "rt/log.h"

/* The protocol: "echo X" -> "X"; "big N" -> N bytes; "wait" -> parked until woken ("woken"); "tls"; "quit". */
struct toy {
    struct session s;
    size_t big_left;
    unsigned wakes;
};
static struct {
    struct toy *_Atomic sleeper;
    atomic_uint freed, steps;
} world;

static void toy_line(struct toy *t, struct str line, struct buf *out, enum session_outcome *outcome)
{
    *outcome = SESSION_INPUT;
    if (str_starts(line, STR("echo "))) {
        buf_add(out, str_from(line, 5));
        buf_add_z(out, "\n");
    } else if (str_starts(line, STR("big "))) {
        uint64_t n = 0;
        str_to_u64(str_from(line, 4), &n);
        t->big_left = (size_t)n;
    } else if (str_eq(line, STR("wait"))) {
        world.sleeper = t;
        buf_add_z(out, "waiting\n");
        *outcome = SESSION_PARKED;
    } else if (str_eq(line, STR("tls"))) {
        buf_add_z(out, "go\n");
        *outcome = SESSION_TLS;
    } else {
        buf_add_z(out, "bye\n");
        *outcome = SESSION_CLOSE;
    }
}

static enum session_outcome toy_big(struct toy *t, struct buf *out)
{
    while (t->big_left && buf_room(out) >= 1000) {
        size_t n = t->big_left < 1000 ? t->big_left : 1000;
        memset(buf_reserve(out, n), 'b', n);
        buf_grew(out, n);
        t->big_left -= n;
    }
    return t->big_left ? SESSION_OUTPUT : SESSION_INPUT;
}

static enum session_outcome toy_step(struct session *s, struct session_io *io)
{
    struct toy *t = (struct toy *)s;
    enum session_outcome outcome = SESSION_INPUT;
    world.steps++;
    io->timeout_ms = 60000;
    switch (io->event) {
    case SESSION_EV_START:
        buf_add_z(io->out, "hello\n");
        break;
    case SESSION_EV_WAKE:
        buf_printf(io->out, "woken\n");
        t->wakes++;
        return SESSION_PARKED;
    case SESSION_EV_TIMEOUT:
        buf_add_z(io->out, "late\n");
        return SESSION_CLOSE;
    case SESSION_EV_STOPPING:
        buf_add_z(io->out, "stopping\n");
        return SESSION_CLOSE;
    case SESSION_EV_TLS:
        buf_printf(io->out, "secure %.*s\n", STR_FMT(io->in));
        break;
    case SESSION_EV_INPUT:
    case SESSION_EV_OUTPUT:
    case SESSION_EV_EOF:
        break;
    }
    for (;;) {
        if (t->big_left && (outcome = toy_big(t, io->out)) == SESSION_OUTPUT)
            return outcome;
        struct str rest = str_from(io->in, io->used);
        size_t end = str_find_char(rest, '\n');
        if (end == STR_NPOS)
            return io->in_full ? SESSION_CLOSE : outcome;
        io->used += end + 1;
        toy_line(t, str_upto(rest, end), io->out, &outcome);
        if (outcome == SESSION_CLOSE || outcome == SESSION_TLS)
            return outcome;
        if (buf_room(io->out) < SESSION_OUTPUT_LOW)
            return SESSION_OUTPUT;
    }
}

static void toy_free(struct session *s)
{
    if (world.sleeper == (struct toy *)s)
        world.sleeper = NULL;
    world.freed++;
    free(s);
}

static const struct session_class toy_class = {"toy", toy_step, toy_free};

static struct session *toy_make(void *context, const struct session_peer *peer)
{
    (void)context, (void)peer;
    struct toy *t = calloc(1, sizeof *t);
    t->s.class = &toy_class;
    return &t->s;
}

/* ---- the fixture ---- */

static struct host *host;
static struct tls_server *tls;
static uint16_t port;

static int listen_any(uint16_t *bound)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t n = sizeof a;
    assert_int_equal(bind(fd, (struct sockaddr *)&a, n), 0);
    assert_int_equal(listen(fd, 1000), 0);
    getsockname(fd, (struct sockaddr *)&a, &n);
    *bound = ntohs(a.sin_port);
    return fd;
}

static int set_up(void **state)
{
    (void)state;
    struct err e = {0};
    char chain[] = "/tmp/host-test-chain-XXXXXX", key[] = "/tmp/host-test-key-XXXXXX";
    close(mkstemp(chain));
    close(mkstemp(key));
    unlink(chain);
    unlink(key);
    assert_int_equal(tls_self_signed("test.example", chain, key, &e), ST_OK);
    struct tls_certificate c = {"test.example", chain, key};
    assert_int_equal(tls_server_new(&c, 1, &tls, &e), ST_OK);
    unlink(chain);
    unlink(key);
    struct host_config config = {
        .threads = 4, .connections = 500, .connections_per_client = 100, .write_timeout_ms = 700, .tls_timeout_ms = 5000};
    assert_int_equal(host_new(&config, &host, &e), ST_OK);
    struct host_listener l = {.fd = listen_any(&port), .factory = {"toy", toy_make, NULL}, .tls = tls};
    assert_int_equal(host_listen(host, &l, &e), ST_OK);
    assert_int_equal(host_start(host, &e), ST_OK);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    host_stop(host, 2000);
    struct host_stats s;
    host_stats(host, &s);
    assert_int_equal(s.connections, 0);
    assert_int_equal(s.accepted, world.freed); /* each session was freed once */
    host_free(host);
    tls_server_free(tls);
    return 0;
}

static int dial(void)
{
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    assert_int_equal(connect(fd, (struct sockaddr *)&a, sizeof a), 0);
    return fd;
}

static void say(int fd, const char *text) { assert_int_equal(write(fd, text, strlen(text)), strlen(text)); }

static void want(int fd, const char *text)
{
    char got[256];
    size_t n = 0, wanted = strlen(text);
    while (n < wanted) {
        struct pollfd p = {.fd = fd, .events = POLLIN};
        if (poll(&p, 1, 20000) != 1)
            fail_msg("nothing came; want %s", text);
        ssize_t r = read(fd, got + n, wanted - n);
        if (r <= 0)
            fail_msg("closed; want %s", text);
        n += (size_t)r;
    }
    assert_memory_equal(got, text, wanted);
}

static void want_end(int fd)
{
    char c;
    struct pollfd p = {.fd = fd, .events = POLLIN};
    assert_int_equal(poll(&p, 1, 20000), 1);
    assert_true(read(fd, &c, 1) <= 0);
    close(fd);
}

/* ---- the tests ---- */

static void test_pipeline_and_bytes(void **state)
{
    (void)state;
    int fd = dial();
    want(fd, "hello\n");
    say(fd, "echo a\necho b\necho c\n");
    want(fd, "a\nb\nc\n");
    for (const char *p = "echo slow\n"; *p; p++) {
        assert_int_equal(write(fd, p, 1), 1);
        usleep(2000);
    }
    want(fd, "slow\n");
    say(fd, "quit\nignored\n");
    want(fd, "bye\n");
    want_end(fd);
}

static void test_half_close_gets_its_answers(void **state)
{
    (void)state;
    int fd = dial();
    want(fd, "hello\n");
    say(fd, "echo last\nbig 300000\n");
    shutdown(fd, SHUT_WR);
    want(fd, "last\n");
    size_t total = 0;
    char block[4096];
    for (ssize_t n; (n = read(fd, block, sizeof block)) > 0;)
        total += (size_t)n;
    assert_int_equal(total, 300000);
    close(fd);
}

static void test_line_without_end_is_cut(void **state)
{
    (void)state;
    int fd = dial();
    char block[65536];
    memset(block, 'x', sizeof block);
    want(fd, "hello\n");
    ssize_t n = 0;
    for (int i = 0; i < 1000 && n >= 0; i++)
        n = send(fd, block, sizeof block, MSG_NOSIGNAL);
    assert_true(n < 0);
    close(fd);
}

static void test_large_output_to_slow_reader(void **state)
{
    (void)state;
    int fd = dial();
    want(fd, "hello\n");
    say(fd, "big 20000000\necho after\n");
    usleep(300000); /* the socket fills up; nothing may be lost */
    size_t total = 0;
    char block[65536];
    while (total < 20000000) {
        ssize_t n = read(fd, block, 20000000 - total < sizeof block ? 20000000 - total : sizeof block);
        assert_true(n > 0);
        total += (size_t)n;
    }
    want(fd, "after\n");
    close(fd);
}

static void test_reader_of_nothing_is_cut_off(void **state)
{
    (void)state;
    int fd = dial();
    want(fd, "hello\n");
    say(fd, "big 2000000000\n");
    unsigned before = world.freed;
    for (int i = 0; i < 200 && world.freed == before; i++)
        usleep(50000);
    assert_true(world.freed > before);
    close(fd);
}

static void *storm(void *context)
{
    struct session *s = context;
    for (int i = 0; i < 5000; i++)
        session_wake(s);
    return NULL;
}

static void test_wakes(void **state)
{
    (void)state;
    int fd = dial();
    want(fd, "hello\n");
    say(fd, "wait\n");
    want(fd, "waiting\n");
    struct toy *t = world.sleeper;
    session_wake(&t->s);
    want(fd, "woken\n");
    pthread_t threads[4];
    for (int i = 0; i < 4; i++)
        pthread_create(&threads[i], NULL, storm, &t->s);
    for (int i = 0; i < 200; i++) { /* input and news at the same time */
        char line[32];
        snprintf(line, sizeof line, "echo %d\n", i);
        say(fd, line);
    }
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    say(fd, "echo end\n");
    /* every echo comes, in order, between any number of "woken" */
    FILE *f = fdopen(fd, "r");
    char line[64];
    uint32_t next = 0;
    while (fgets(line, sizeof line, f) && strcmp(line, "end\n") != 0) {
        if (strcmp(line, "woken\n") == 0)
            continue;
        uint32_t n = 0;
        assert_true(str_to_u32(str_trim(str_of(line)), &n));
        assert_int_equal(n, next);
        next++;
    }
    assert_int_equal(next, 200);
    fclose(f);
}

static SSL *client_tls(int fd, SSL_CTX **ctx)
{
    *ctx = SSL_CTX_new(TLS_client_method());
    SSL *ssl = SSL_new(*ctx);
    SSL_set_fd(ssl, fd);
    assert_int_equal(SSL_connect(ssl), 1);
    return ssl;
}

static void test_starttls(void **state)
{
    (void)state;
    int fd = dial();
    want(fd, "hello\n");
    say(fd, "tls\n");
    want(fd, "go\n");
    SSL_CTX *ctx;
    SSL *ssl = client_tls(fd, &ctx);
    char line[64] = {0};
    assert_true(SSL_read(ssl, line, sizeof line - 1) > 0);
    assert_string_equal(line, "secure \n"); /* no plain text left over */
    assert_int_equal(SSL_write(ssl, "big 100000\necho x\n", 18), 18);
    size_t total = 0;
    while (total < 100002) {
        char block[8192];
        int n = SSL_read(ssl, block, sizeof block);
        assert_true(n > 0);
        total += (size_t)n;
    }
    SSL_free(ssl);
    SSL_CTX_free(ctx);
    close(fd);
}

static void test_starttls_injection(void **state)
{
    (void)state;
    int fd = dial();
    want(fd, "hello\n");
    say(fd, "tls\necho injected\n"); /* in one segment: thrown away */
    want(fd, "go\n");
    SSL_CTX *ctx;
    SSL *ssl = client_tls(fd, &ctx);
    char line[64] = {0};
    assert_true(SSL_read(ssl, line, sizeof line - 1) > 0);
    assert_string_equal(line, "secure \n");
    assert_int_equal(SSL_write(ssl, "echo real\n", 10), 10);
    memset(line, 0, sizeof line);
    assert_true(SSL_read(ssl, line, sizeof line - 1) > 0);
    assert_string_equal(line, "real\n");
    SSL_free(ssl);
    SSL_CTX_free(ctx);
    close(fd);
}

static void *client(void *context)
{
    (void)context;
    for (int i = 0; i < 50; i++) {
        int fd = dial();
        want(fd, "hello\n");
        say(fd, "echo one\necho two\n");
        want(fd, "one\ntwo\n");
        if (i % 3 == 0)
            say(fd, "quit\n");
        if (i % 7 == 0)
            say(fd, "big 1000000\n"); /* and go away */
        close(fd);
    }
    return NULL;
}

static void test_many_clients(void **state)
{
    (void)state;
    pthread_t threads[8];
    for (int i = 0; i < 8; i++)
        pthread_create(&threads[i], NULL, client, NULL);
    for (int i = 0; i < 8; i++)
        pthread_join(threads[i], NULL);
}

static void test_stop_tells_everybody(void **state)
{
    (void)state;
    int fds[20];
    for (int i = 0; i < 20; i++) {
        fds[i] = dial();
        want(fds[i], "hello\n");
        if (i % 2) {
            say(fds[i], "wait\n");
            want(fds[i], "waiting\n");
        }
    }
    host_stop(host, 5000);
    for (int i = 0; i < 20; i++) {
        want(fds[i], "stopping\n");
        want_end(fds[i]);
    }
}

static bool quiet(void *context, enum log_level level, const char *event, const struct log_field *fields, size_t count)
{
    (void)context, (void)event, (void)fields, (void)count;
    return level < LOG_ERROR;
}

int main(void)
{
    log_capture(quiet, NULL);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pipeline_and_bytes),
        cmocka_unit_test(test_half_close_gets_its_answers),
        cmocka_unit_test(test_line_without_end_is_cut),
        cmocka_unit_test(test_large_output_to_slow_reader),
        cmocka_unit_test(test_reader_of_nothing_is_cut_off),
        cmocka_unit_test(test_wakes),
        cmocka_unit_test(test_starttls),
        cmocka_unit_test(test_starttls_injection),
        cmocka_unit_test(test_many_clients),
        cmocka_unit_test(test_stop_tells_everybody),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
