/* Outgoing connections, to servers in threads of this process. */
#include "net/connect.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

static char chain[64], key[64];

/* What a server does with its one connection. */
struct server {
    int fd;
    uint16_t port;
    const char *says; /* at once */
    bool silent;      /* then waits for the other side to close; otherwise closes */
    struct tls_server *tls;
    size_t drains; /* bytes read before it answers "taken" */
    bool byte_by_byte;
    pthread_t thread;
};

static void serve_tls(struct server *s, int fd)
{
    char bytes[256];
    int n;
    SSL *ssl = tls_server_ssl(s->tls, "smtp", NULL, fd);
    if (SSL_accept(ssl) == 1 && SSL_write(ssl, "secret\r\n", 8) == 8)
        while ((n = SSL_read(ssl, bytes, sizeof bytes)) > 0)
            SSL_write(ssl, bytes, n);
    SSL_free(ssl);
}

static void *server_main(void *context)
{
    struct server *s = context;
    char bytes[65536];
    int fd = accept(s->fd, NULL, NULL);
    size_t step = s->byte_by_byte ? 1 : strlen(s->says);
    for (size_t at = 0; at < strlen(s->says); at += step) {
        if (send(fd, s->says + at, step, MSG_NOSIGNAL) < 0)
            break;
        if (s->byte_by_byte)
            usleep(500);
    }
    for (size_t got = 0; got < s->drains;) {
        ssize_t n = read(fd, bytes, sizeof bytes);
        if (n <= 0)
            break;
        got += (size_t)n;
        if (got >= s->drains)
            send(fd, "taken\r\n", 7, MSG_NOSIGNAL);
    }
    if (s->tls)
        serve_tls(s, fd);
    while (s->silent && read(fd, bytes, sizeof bytes) > 0)
        continue;
    close(fd);
    return NULL;
}

static int listen_any(uint16_t *port)
{
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t n = sizeof a;
    assert_int_equal(bind(fd, (struct sockaddr *)&a, n), 0);
    assert_int_equal(listen(fd, 10), 0);
    getsockname(fd, (struct sockaddr *)&a, &n);
    *port = ntohs(a.sin_port);
    return fd;
}

static void start(struct server *s)
{
    s->fd = listen_any(&s->port);
    assert_int_equal(pthread_create(&s->thread, NULL, server_main, s), 0);
}

static void finish(struct server *s, struct stream *stream)
{
    stream_close(stream);
    pthread_join(s->thread, NULL);
    close(s->fd);
}

static struct stream *dial(const struct server *s)
{
    struct stream *stream = NULL;
    struct stream_address a;
    struct err e = {0};
    size_t which;
    assert_true(stream_address_make("127.0.0.1", s->port, &a));
    assert_int_equal(stream_connect(&a, 1, 5000, &stream, &which, &e), ST_OK);
    return stream;
}

static void want_line(struct stream *s, const char *want)
{
    struct err e = {0};
    struct str line;
    if (stream_read_line(s, 1000, 10000, &line, &e) != ST_OK)
        fail_msg("%s; want %s", e.text, want);
    if (!str_eq(line, str_of(want)))
        fail_msg("got %.*s, want %s", STR_FMT(line), want);
}

/* ---- the tests ---- */

static void test_lines(void **state)
{
    (void)state;
    for (int slow = 0; slow < 2; slow++) {
        struct server s = {.says = "220 hello\r\nbare\n\r\nlast without end", .byte_by_byte = slow == 1};
        struct err e = {0};
        struct str line;
        start(&s);
        struct stream *stream = dial(&s);
        want_line(stream, "220 hello");
        want_line(stream, "bare");
        want_line(stream, "");
        assert_int_equal(stream_read_line(stream, 1000, 10000, &line, &e), ST_TEMP);
        assert_non_null(strstr(e.text, "closed"));
        assert_string_equal(stream_local(stream), "127.0.0.1");
        assert_false(stream_is_tls(stream));
        finish(&s, stream);
    }
}

static void test_limits_of_lines(void **state)
{
    (void)state;
    char *says = malloc(100000);
    memset(says, 'x', 99999);
    says[99999] = '\0';
    says[50000] = '\n';
    struct server s = {.says = says, .silent = true};
    struct err e = {0};
    struct str line;
    start(&s);
    struct stream *stream = dial(&s);
    assert_int_equal(stream_read_line(stream, 50000, 10000, &line, &e), ST_OK); /* larger than the buffer it is read by */
    assert_int_equal(line.n, 50000);
    assert_int_equal(stream_read_line(stream, 4096, 10000, &line, &e), ST_LIMIT);
    finish(&s, stream);
    free(says);
}

static void test_deadlines(void **state)
{
    (void)state;
    struct server s = {.says = "half a li", .silent = true};
    struct err e = {0};
    struct str line;
    start(&s);
    struct stream *stream = dial(&s);
    assert_int_equal(stream_read_line(stream, 1000, 100, &line, &e), ST_TEMP);
    assert_non_null(strstr(e.text, "timeout"));
    finish(&s, stream);
}

static void test_large_output(void **state)
{
    (void)state;
    enum { BYTES = 5000000 };
    struct server s = {.says = "go\r\n", .drains = BYTES, .silent = true};
    struct err e = {0};
    char *block = malloc(BYTES);
    memset(block, 'd', BYTES);
    start(&s);
    struct stream *stream = dial(&s);
    want_line(stream, "go");
    assert_true(stream_is_quiet(stream));
    for (size_t at = 0; at < 1000000; at += 1000)
        assert_int_equal(stream_write(stream, str_make(block + at, 1000), 10000, &e), ST_OK);
    assert_int_equal(stream_write(stream, str_make(block, BYTES - 1000000), 10000, &e), ST_OK);
    want_line(stream, "taken");
    finish(&s, stream);
    free(block);
}

static void test_not_quiet(void **state)
{
    (void)state;
    struct server s = {.says = "220 hello\r\n421 going down\r\n", .silent = true};
    start(&s);
    struct stream *stream = dial(&s);
    want_line(stream, "220 hello");
    assert_false(stream_is_quiet(stream));
    finish(&s, stream);
}

static void test_addresses_in_turn(void **state)
{
    (void)state;
    struct server s = {.says = "here\r\n"};
    uint16_t closed_port;
    struct stream_address list[3];
    struct stream *stream = NULL;
    struct err e = {0};
    size_t which = 9;
    int closed = listen_any(&closed_port);
    close(closed);
    start(&s);
    assert_true(stream_address_make("127.0.0.1", closed_port, &list[0]));
    assert_true(stream_address_make("::1", closed_port, &list[1]));
    assert_true(stream_address_make("127.0.0.1", s.port, &list[2]));
    assert_int_equal(stream_connect(list, 3, 5000, &stream, &which, &e), ST_OK);
    assert_int_equal(which, 2);
    want_line(stream, "here");
    finish(&s, stream);
    assert_int_equal(stream_connect(list, 2, 5000, &stream, &which, &e), ST_TEMP);
    assert_int_equal(stream_connect(list, 0, 5000, &stream, &which, &e), ST_TEMP);
    char text[64];
    stream_address_print(&list[1], text);
    assert_string_equal(text, "::1");
    assert_false(stream_address_make("localhost", 25, &list[0]));
}

/* The first address takes the connection into a full queue and never answers; the second is tried meanwhile. */
static void test_silent_address(void **state)
{
    (void)state;
    struct server s = {.says = "here\r\n"};
    struct stream_address list[2];
    struct stream *stream = NULL;
    struct err e = {0};
    uint16_t full_port;
    size_t which = 9;
    int full = listen_any(&full_port), fillers[8];
    assert_int_equal(listen(full, 0), 0);
    assert_true(stream_address_make("127.0.0.1", full_port, &list[0]));
    for (size_t i = 0; i < 8; i++) {
        fillers[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
        (void)!connect(fillers[i], (const struct sockaddr *)&list[0].address, list[0].size);
    }
    start(&s);
    assert_true(stream_address_make("127.0.0.1", s.port, &list[1]));
    assert_int_equal(stream_connect(list, 2, 20000, &stream, &which, &e), ST_OK);
    assert_int_equal(which, 1);
    finish(&s, stream);
    assert_int_equal(stream_connect(list, 1, 300, &stream, &which, &e), ST_TEMP);
    atomic_bool stop = true;
    assert_int_equal(stream_connect_unless(list, 1, 60000, &stop, &stream, &which, &e), ST_TEMP);
    for (size_t i = 0; i < 8; i++)
        close(fillers[i]);
    close(full);
}

static void test_tls(void **state)
{
    (void)state;
    struct tls_certificate c = {"test.example", chain, key};
    struct server s = {.says = "220 go ahead\r\n250 injected\r\n"}; /* plain text behind the answer counts for nothing */
    struct tls_client *client = NULL;
    struct err e = {0};
    assert_int_equal(tls_server_new(&c, 1, &s.tls, &e), ST_OK);
    assert_int_equal(tls_client_new(false, &client, &e), ST_OK);
    start(&s);
    struct stream *stream = dial(&s);
    want_line(stream, "220 go ahead");
    assert_int_equal(stream_start_tls(stream, client, "test.example", 10000, &e), ST_OK);
    assert_true(stream_is_tls(stream) && stream_ssl(stream));
    assert_non_null(strstr(stream_tls_text(stream), "TLSv1.3"));
    want_line(stream, "secret");
    assert_int_equal(stream_write(stream, STR("echo\r\n"), 10000, &e), ST_OK);
    want_line(stream, "echo");
    finish(&s, stream);
    tls_client_free(client);
    tls_server_free(s.tls);
}

static void test_tls_refused(void **state)
{
    (void)state;
    struct server s = {.says = "220 no TLS here\r\n", .silent = true};
    struct tls_client *client = NULL;
    struct err e = {0};
    assert_int_equal(tls_client_new(false, &client, &e), ST_OK);
    start(&s);
    struct stream *stream = dial(&s);
    want_line(stream, "220 no TLS here");
    assert_int_equal(stream_start_tls(stream, client, NULL, 200, &e), ST_TEMP); /* no answer to the hello */
    finish(&s, stream);
    tls_client_free(client);
}

static void *break_it(void *context)
{
    usleep(50000);
    stream_break(context);
    return NULL;
}

static void test_break(void **state)
{
    (void)state;
    struct server s = {.says = "", .silent = true};
    struct err e = {0};
    struct str line;
    pthread_t t;
    start(&s);
    struct stream *stream = dial(&s);
    pthread_create(&t, NULL, break_it, stream);
    assert_int_equal(stream_read_line(stream, 100, 60000, &line, &e), ST_TEMP);
    pthread_join(t, NULL);
    finish(&s, stream);
}

static int set_up(void **state)
{
    (void)state;
    struct err e = {0};
    snprintf(chain, sizeof chain, "/tmp/connect-test-%d.chain", (int)getpid());
    snprintf(key, sizeof key, "/tmp/connect-test-%d.key", (int)getpid());
    return tls_self_signed("test.example", chain, key, &e) == ST_OK ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    return unlink(chain) | unlink(key);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lines),          cmocka_unit_test(test_limits_of_lines),
        cmocka_unit_test(test_deadlines),      cmocka_unit_test(test_large_output),
        cmocka_unit_test(test_not_quiet),      cmocka_unit_test(test_addresses_in_turn),
        cmocka_unit_test(test_silent_address), cmocka_unit_test(test_tls),
        cmocka_unit_test(test_tls_refused),    cmocka_unit_test(test_break),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
