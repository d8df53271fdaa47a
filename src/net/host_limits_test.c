/* The limits of the host: listeners, clients, time, threads; and the PROXY protocol in front of a session. Real sockets. */
#include "net/host.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#include "rt/log.h"
#include "rt/waiting.h"

/* The protocol: "who" -> the peer's address and port; "soon" -> a timeout of 300 ms; "meet N", "meet-openly N" -> does not return
 * before N sessions are in this step, without and with saying so to the pool. */
struct toy {
    struct session s;
};

static struct {
    pthread_mutex_t lock;
    pthread_cond_t all_there;
    unsigned there, rounds;
} meeting = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, 0, 0};

static void meet(unsigned wanted)
{
    pthread_mutex_lock(&meeting.lock);
    unsigned round = meeting.rounds;
    if (++meeting.there == wanted) {
        meeting.there = 0;
        meeting.rounds++;
        pthread_cond_broadcast(&meeting.all_there);
    }
    while (meeting.rounds == round)
        pthread_cond_wait(&meeting.all_there, &meeting.lock);
    pthread_mutex_unlock(&meeting.lock);
}

static void toy_line(struct toy *t, struct str line, struct session_io *io)
{
    uint32_t n = 0;
    if (str_eq(line, STR("who"))) {
        buf_printf(io->out, "%s %u %s\n", t->s.peer->address, t->s.peer->port, t->s.peer->loopback ? "here" : "far");
    } else if (str_eq(line, STR("soon"))) {
        io->timeout_ms = 300;
    } else if (str_starts(line, STR("meet ")) && str_to_u32(str_from(line, 5), &n)) {
        meet(n);
        buf_add_z(io->out, "met\n");
    } else if (str_starts(line, STR("meet-openly ")) && str_to_u32(str_from(line, 12), &n)) {
        waiting_begin();
        waiting_begin(); /* nested */
        meet(n);
        waiting_end();
        waiting_end();
        buf_add_z(io->out, "met\n");
    }
}

static enum session_outcome toy_step(struct session *s, struct session_io *io)
{
    switch (io->event) {
    case SESSION_EV_START:
        buf_add_z(io->out, "hello\n");
        break;
    case SESSION_EV_TIMEOUT:
        buf_add_z(io->out, "late\n");
        return SESSION_CLOSE;
    case SESSION_EV_STOPPING:
        buf_add_z(io->out, "busy\n");
        return SESSION_CLOSE;
    case SESSION_EV_EOF:
        return SESSION_CLOSE;
    case SESSION_EV_WAKE:
    case SESSION_EV_TLS:
    case SESSION_EV_INPUT:
    case SESSION_EV_OUTPUT:
        break;
    }
    for (;;) {
        struct str rest = str_from(io->in, io->used);
        size_t end = str_find_char(rest, '\n');
        if (end == STR_NPOS)
            return SESSION_INPUT;
        io->used += end + 1;
        toy_line((struct toy *)s, str_upto(rest, end), io);
    }
}

static void toy_free(struct session *s) { free(s); }
static const struct session_class toy_class = {"toy", toy_step, toy_free};

static struct session *toy_make(void *context, const struct session_peer *peer)
{
    (void)context, (void)peer;
    struct toy *t = calloc(1, sizeof *t);
    t->s.class = &toy_class;
    return &t->s;
}

/* ---- the fixture ---- */

struct fixture {
    struct host *host;
    uint16_t port, small_port;
    char path[64];
};
enum { THREADS = 8, RUNNING = 2, SMALL = 3 };

static int listen_any(uint16_t *bound)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t n = sizeof a;
    assert_int_equal(bind(fd, (struct sockaddr *)&a, n), 0);
    assert_int_equal(listen(fd, 100), 0);
    getsockname(fd, (struct sockaddr *)&a, &n);
    *bound = ntohs(a.sin_port);
    return fd;
}

static int listen_unix(const char *path)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    snprintf(a.sun_path, sizeof a.sun_path, "%s", path);
    assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof a), 0);
    assert_int_equal(listen(fd, 100), 0);
    return fd;
}

static void open_host(struct fixture *f, const char *proxies)
{
    struct err e = {0};
    struct host_config config = {.threads = THREADS,
                                 .running = RUNNING,
                                 .connections = 20,
                                 .connections_per_client = 2,
                                 .write_timeout_ms = 1000,
                                 .tls_timeout_ms = 400,
                                 .proxy_networks = proxies};
    snprintf(f->path, sizeof f->path, "/tmp/host-limits-test-%d", (int)getpid());
    unlink(f->path);
    assert_int_equal(host_new(&config, &f->host, &e), ST_OK);
    struct host_listener wide = {.fd = listen_any(&f->port), .factory = {"wide", toy_make, NULL}};
    struct host_listener narrow = {.fd = listen_any(&f->small_port), .factory = {"narrow", toy_make, NULL}, .connections = SMALL};
    struct host_listener local = {.fd = listen_unix(f->path), .factory = {"local", toy_make, NULL}};
    assert_int_equal(host_listen(f->host, &wide, &e), ST_OK);
    assert_int_equal(host_listen(f->host, &narrow, &e), ST_OK);
    assert_int_equal(host_listen(f->host, &local, &e), ST_OK);
    assert_int_equal(host_start(f->host, &e), ST_OK);
}

static void close_host(struct fixture *f)
{
    struct host_stats s;
    host_stop(f->host, 2000);
    host_stats(f->host, &s);
    assert_int_equal(s.connections, 0);
    assert_int_equal(s.waiting, 0);
    host_free(f->host);
    unlink(f->path);
}

static int dial(uint16_t port)
{
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    assert_int_equal(connect(fd, (struct sockaddr *)&a, sizeof a), 0);
    return fd;
}

static void say(int fd, const char *text) { assert_int_equal(send(fd, text, strlen(text), MSG_NOSIGNAL), strlen(text)); }

static void want(int fd, const char *text)
{
    char got[256] = {0};
    size_t n = 0, wanted = strlen(text);
    while (n < wanted) {
        struct pollfd p = {.fd = fd, .events = POLLIN};
        if (poll(&p, 1, 20000) != 1)
            fail_msg("nothing came; want %s", text);
        ssize_t r = read(fd, got + n, wanted - n);
        if (r <= 0)
            fail_msg("closed after \"%s\"; want \"%s\"", got, text);
        n += (size_t)r;
    }
    assert_string_equal(got, text);
}

static void want_end(int fd)
{
    char c;
    struct pollfd p = {.fd = fd, .events = POLLIN};
    assert_int_equal(poll(&p, 1, 20000), 1);
    assert_true(read(fd, &c, 1) <= 0);
    close(fd);
}

/* A connection that is greeted: the place of one that ended is free a moment after its client saw the end. */
static int dial_welcome(uint16_t port)
{
    for (int i = 0; i < 2000; i++) {
        int fd = dial(port);
        struct pollfd p = {.fd = fd, .events = POLLIN};
        char first = 0;
        assert_int_equal(poll(&p, 1, 20000), 1);
        assert_int_equal(recv(fd, &first, 1, MSG_PEEK), 1);
        if (first == 'h') {
            want(fd, "hello\n");
            return fd;
        }
        want(fd, "busy\n");
        want_end(fd);
        usleep(10000);
    }
    fail_msg("there never was room");
    return -1;
}

/* ---- the tests ---- */

static void test_listener_limit(void **state)
{
    (void)state;
    struct fixture f = {0};
    int fds[SMALL];
    open_host(&f, "");
    for (int i = 0; i < SMALL; i++) {
        fds[i] = dial(f.small_port);
        want(fds[i], "hello\n");
    }
    int refused = dial(f.small_port);
    want(refused, "busy\n");
    want_end(refused);
    int other = dial(f.port); /* the other listener has room */
    want(other, "hello\n");
    close(other);
    say(fds[0], "soon\n"); /* makes room */
    want(fds[0], "late\n");
    want_end(fds[0]);
    int again = dial_welcome(f.small_port);
    close(again);
    for (int i = 1; i < SMALL; i++)
        close(fds[i]);
    close_host(&f);
}

static void test_total_limit_and_reload(void **state)
{
    (void)state;
    struct fixture f = {0};
    struct host_config config = {.connections = 2, .connections_per_client = 2, .write_timeout_ms = 1000, .tls_timeout_ms = 1000};
    open_host(&f, "");
    host_limits(f.host, &config);
    int one = dial(f.port), two = dial(f.port);
    want(one, "hello\n");
    want(two, "hello\n");
    int three = dial(f.port);
    want(three, "busy\n");
    want_end(three);
    config.connections = 3;
    host_limits(f.host, &config);
    three = dial_welcome(f.port);
    close(one);
    close(two);
    close(three);
    close_host(&f);
}

static void test_proxy(void **state)
{
    (void)state;
    struct fixture f = {0};
    open_host(&f, "127.0.0.0/8");
    int fd = dial(f.port);
    for (const char *p = "PROXY TCP4 192.0.2.7 198.51.100.1 4711 25\r\nwho\n"; *p; p++) {
        assert_int_equal(send(fd, p, 1, 0), 1);
        usleep(1000);
    }
    want(fd, "hello\n192.0.2.7 4711 far\n");
    int same = dial(f.port), third = dial(f.port), v6 = dial(f.port), own = dial(f.port);
    say(same, "PROXY TCP4 192.0.2.7 198.51.100.1 4712 25\r\n");
    want(same, "hello\n");
    say(third, "PROXY TCP4 192.0.2.7 198.51.100.1 4713 25\r\n"); /* two for each client */
    want(third, "busy\n");
    want_end(third);
    say(v6, "PROXY TCP6 2001:db8::7 2001:db8::1 99 25\r\nwho\n");
    want(v6, "hello\n2001:db8::7 99 far\n");
    say(own, "PROXY UNKNOWN\r\n"); /* a health check */
    want(own, "hello\n");
    int bad = dial(f.port);
    say(bad, "EHLO who.says.so\r\n");
    want_end(bad);
    int silent = dial(f.port); /* is not waited for */
    say(silent, "PROXY TCP4 192.0.");
    want_end(silent);
    close(fd);
    close(same);
    close(v6);
    close(own);
    close_host(&f);
}

static void test_unix_socket(void **state)
{
    (void)state;
    struct fixture f = {0};
    open_host(&f, "");
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    snprintf(a.sun_path, sizeof a.sun_path, "%s", f.path);
    assert_int_equal(connect(fd, (struct sockaddr *)&a, sizeof a), 0);
    say(fd, "who\n");
    want(fd, "hello\n 0 here\n");
    close(fd);
    close_host(&f);
}

/* More sessions than threads that run at a time wait for each other: only if those that wait make room for others do they meet. */
static void meet_all(const char *command)
{
    struct fixture f = {0};
    int fds[6];
    char line[32];
    open_host(&f, "");
    snprintf(line, sizeof line, "%s 6\n", command);
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < 6; i++) {
            if (round == 0) {
                fds[i] = dial(f.port);
                want(fds[i], "hello\n");
            }
            say(fds[i], line);
        }
        for (int i = 0; i < 6; i++)
            want(fds[i], "met\n");
    }
    for (int i = 0; i < 6; i++)
        close(fds[i]);
    close_host(&f);
}

static void test_waiting_said(void **state)
{
    (void)state;
    meet_all("meet-openly");
}

static void test_waiting_not_said(void **state)
{
    (void)state;
    meet_all("meet");
}

static bool expected(void *context, enum log_level level, const char *event, const struct log_field *fields, size_t count)
{
    (void)context, (void)fields, (void)count;
    if (level >= LOG_WARN && strcmp(event, "net.client_limit") != 0)
        fail_msg("unexpected event %s", event);
    return true;
}

int main(void)
{
    log_capture(expected, NULL);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_listener_limit), cmocka_unit_test(test_total_limit_and_reload),
        cmocka_unit_test(test_proxy),          cmocka_unit_test(test_unix_socket),
        cmocka_unit_test(test_waiting_said),   cmocka_unit_test(test_waiting_not_said),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
