#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "serve/http/http.h"

/* Feeds the text in pieces of `step` bytes as a host would; returns the outcome of the last step. */
static enum session_outcome feed(struct str text, size_t step, struct buf *out)
{
    struct services services = {.store = (struct store *)(uintptr_t)8};
    struct serve_context context = {.services = &services, .profile = SERVE_HTTP};
    struct session_peer peer = {.loopback = true};
    struct session *s = http_session_make(&context, &peer);
    struct buf in = BUF_INIT(SESSION_INPUT_MAX);
    struct session_io io = {.event = SESSION_EV_START, .out = out};
    enum session_outcome o = s->class->step(s, &io);
    while (text.n && o != SESSION_CLOSE) {
        buf_add(&in, str_upto(text, step));
        text = str_from(text, step);
        do {
            io.event = o == SESSION_OUTPUT ? SESSION_EV_OUTPUT : SESSION_EV_INPUT;
            io.in = buf_str(&in);
            io.used = 0;
            o = s->class->step(s, &io);
            buf_drop_front(&in, io.used);
        } while (o == SESSION_OUTPUT);
    }
    buf_release(&in);
    s->class->free(s);
    return o;
}

static void test_requests(void **state)
{
    (void)state;
    static const struct {
        struct str in;
        const char *status, *has;
        bool closes;
    } cases[] = {
        {STR("GET /health HTTP/1.1\r\nHost: x\r\n\r\n"), "HTTP/1.1 200 OK\r\n", "\r\n\r\nok\n", false},
        {STR("GET /health?x=1 HTTP/1.1\r\nHost: x\r\n\r\n"), "HTTP/1.1 200 OK\r\n", "ok\n", false},
        {STR("GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n"), "HTTP/1.1 200 OK\r\n", "postrider_connections_total", false},
        {STR("HEAD /health HTTP/1.1\r\nHost: x\r\n\r\n"), "HTTP/1.1 200 OK\r\n", "Content-Length: 3\r\n", false},
        {STR("GET /health HTTP/1.0\r\n\r\n"), "HTTP/1.1 200 OK\r\n", "Connection: close\r\n", true},
        {STR("GET / HTTP/1.1\r\nHost: x\r\n\r\n"), "HTTP/1.1 404 Not Found\r\n", "", false},
        {STR("POST /health HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"), "HTTP/1.1 405 ", "Allow: GET, HEAD\r\n", false},
        {STR("POST /health HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc"), "HTTP/1.1 413 ", "", true},
        {STR("GET /health HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n"), "HTTP/1.1 400 ", "",
         true},
        {STR("nonsense\r\n\r\n"), "HTTP/1.1 400 Bad Request\r\n", "Connection: close\r\n", true},
        {STR("\x16\x03\x01\x02"), "HTTP/1.1 400 ", "", true},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct buf whole = BUF_INIT(SESSION_OUTPUT_MAX), bytewise = BUF_INIT(SESSION_OUTPUT_MAX);
        enum session_outcome o = feed(cases[i].in, cases[i].in.n, &whole);
        feed(cases[i].in, 1, &bytewise);
        if (!str_starts(buf_str(&whole), str_of(cases[i].status)) || str_find(buf_str(&whole), str_of(cases[i].has)) == STR_NPOS ||
            (o == SESSION_CLOSE) != cases[i].closes)
            fail_msg("case %zu: outcome %d, %.*s", i, o, STR_FMT(buf_str(&whole)));
        if (!str_eq(buf_str(&whole), buf_str(&bytewise)))
            fail_msg("case %zu: byte by byte: %.*s", i, STR_FMT(buf_str(&bytewise)));
        buf_release(&whole);
        buf_release(&bytewise);
    }
}

static size_t count(struct str text, const char *word)
{
    size_t n = 0;
    for (size_t at; (at = str_find(text, str_of(word))) != STR_NPOS; text = str_from(text, at + 1))
        n++;
    return n;
}

static void test_pipeline(void **state)
{
    (void)state;
    struct buf in = BUF_INIT(4096), out = BUF_INIT(SESSION_OUTPUT_MAX);
    for (int i = 0; i < 10; i++)
        buf_add_z(&in, i % 2 ? "GET /health HTTP/1.1\r\nHost: x\r\n\r\n" : "GET /none HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_int_equal(feed(buf_str(&in), in.n, &out), SESSION_INPUT);
    assert_int_equal(count(buf_str(&out), "HTTP/1.1 200"), 5);
    assert_int_equal(count(buf_str(&out), "HTTP/1.1 404"), 5);
    buf_release(&in);
    buf_release(&out);
}

/* A request that never ends costs HTTP_HEAD_MAX bytes and the connection. */
static void test_endless_head(void **state)
{
    (void)state;
    struct buf in = BUF_INIT(1 << 20), out = BUF_INIT(SESSION_OUTPUT_MAX);
    buf_add_z(&in, "GET /health HTTP/1.1\r\n");
    while (in.n < HTTP_HEAD_MAX * 2)
        buf_add_z(&in, "X-Field: value\r\n");
    assert_int_equal(feed(buf_str(&in), 1000, &out), SESSION_CLOSE);
    assert_true(str_starts(buf_str(&out), STR("HTTP/1.1 431 ")) || str_starts(buf_str(&out), STR("HTTP/1.1 400 ")));
    buf_release(&in);
    buf_release(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_requests), cmocka_unit_test(test_pipeline),
                                       cmocka_unit_test(test_endless_head)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
