#include <http_parser.h>
#include <stdio.h>
#include <stdlib.h>

#include "rt/clock.h"
#include "rt/log.h"
#include "serve/http/http.h"

struct http_session {
    struct session session;
    const struct serve_context *context;
    http_parser parser;
    char path[256];
    size_t path_n;
    bool path_long;
    size_t head_n;     /* bytes of the request so far */
    int64_t due_ms;    /* when it must be complete; monotonic */
    unsigned requests; /* answered */
    bool complete;     /* a request is there and waits for its answer */
    bool body;         /* it has a body */
    bool closing;
    struct buf answer; /* being sent, up to answer_at */
    size_t answer_at;
};

enum { HTTP_ANSWER_MAX = HTTP_BODY_MAX + 1024 };

static int on_begin(http_parser *p)
{
    struct http_session *s = p->data;
    s->path_n = 0;
    s->path_long = s->body = false;
    return 0;
}

static int on_url(http_parser *p, const char *at, size_t n)
{
    struct http_session *s = p->data;
    if (n > sizeof s->path - s->path_n) {
        s->path_long = true;
        return 0;
    }
    memcpy(s->path + s->path_n, at, n);
    s->path_n += n;
    return 0;
}

static int on_body(http_parser *p, const char *at, size_t n)
{
    (void)at, (void)n;
    struct http_session *s = p->data;
    s->body = true;
    return 0;
}

static int on_complete(http_parser *p)
{
    struct http_session *s = p->data;
    s->complete = true;
    http_parser_pause(p, 1); /* one answer before the next request is looked at */
    return 0;
}

static const http_parser_settings callbacks = {
    .on_message_begin = on_begin, .on_url = on_url, .on_body = on_body, .on_message_complete = on_complete};

static const char *reason_of(unsigned status)
{
    switch (status) {
    case 200:
        return "OK";
    case 400:
        return "Bad Request";
    case 404:
        return "Not Found";
    case 405:
        return "Method Not Allowed";
    case 408:
        return "Request Timeout";
    case 413:
        return "Content Too Large";
    case 431:
        return "Request Header Fields Too Large";
    default:
        return "Service Unavailable";
    }
}

static void put_answer(struct http_session *s, struct buf *out, unsigned status, const char *type, struct str body)
{
    buf_printf(out, "HTTP/1.1 %u %s\r\nContent-Type: %s\r\nContent-Length: %zu\r\nCache-Control: no-store\r\n", status,
               reason_of(status), type, body.n);
    if (status == 405)
        buf_add_z(out, "Allow: GET, HEAD\r\n"); /* RFC 9110 15.5.6 */
    if (s->closing)
        buf_add_z(out, "Connection: close\r\n");
    buf_add_z(out, "\r\n");
    if (s->parser.method != HTTP_HEAD)
        buf_add(out, body);
}

static void put_error(struct http_session *s, struct buf *out, unsigned status)
{
    char body[64];
    int n = snprintf(body, sizeof body, "%u %s\n", status, reason_of(status));
    put_answer(s, out, status, "text/plain; charset=utf-8", str_make(body, (size_t)n));
}

static const struct http_row *find_row(const struct http_session *s)
{
    struct str path = str_make(s->path, s->path_n);
    path = str_upto(path, str_find_char(path, '?'));
    for (const struct http_row *r = http_rows; r->path; r++)
        if (!s->path_long && str_eq(path, str_of(r->path)))
            return r;
    return NULL;
}

static void answer(struct http_session *s, struct buf *out)
{
    DEFER(buf_release) struct buf body = BUF_INIT(HTTP_BODY_MAX);
    const struct http_row *row = find_row(s);
    s->closing = s->closing || !http_should_keep_alive(&s->parser) || ++s->requests >= HTTP_REQUESTS_MAX || s->body;
    if (s->body)
        put_error(s, out, 413);
    else if (!row)
        put_error(s, out, 404);
    else if (s->parser.method != HTTP_GET && s->parser.method != HTTP_HEAD)
        put_error(s, out, 405);
    else if (row->make(s->context, &body))
        put_answer(s, out, 200, row->type, buf_str(&body));
    else
        put_error(s, out, 503);
}

/* Feeds the parser; an error is answered and ends the connection. */
static void feed(struct http_session *s, struct session_io *io)
{
    struct str in = str_from(io->in, io->used);
    size_t n = http_parser_execute(&s->parser, &callbacks, in.p, in.n);
    enum http_errno code = HTTP_PARSER_ERRNO(&s->parser);
    io->used += n;
    s->head_n += n;
    if (code == HPE_PAUSED) {
        http_parser_pause(&s->parser, 0);
        return;
    }
    if (code != HPE_OK || s->parser.upgrade || s->head_n > HTTP_HEAD_MAX) {
        s->closing = true;
        put_error(s, &s->answer, code != HPE_OK ? 400 : s->parser.upgrade ? 405 : 431);
    }
}

/* True when everything that was to be said is in io->out. */
static bool drain(struct http_session *s, struct session_io *io)
{
    struct str now = str_upto(str_from(buf_str(&s->answer), s->answer_at), buf_room(io->out));
    buf_add(io->out, now);
    s->answer_at += now.n;
    if (s->answer_at < s->answer.n)
        return false;
    buf_release(&s->answer);
    s->answer_at = 0;
    return true;
}

/* A request has this long as a whole: a byte before each timeout must not hold a connection. */
static void request_expect(struct http_session *s) { s->due_ms = clock_mono_ms() + HTTP_TIMEOUT_MS; }

static enum session_outcome serve(struct http_session *s, struct session_io *io)
{
    while (drain(s, io)) {
        if (s->closing || io->used == io->in.n)
            return s->closing || io->event == SESSION_EV_EOF ? SESSION_CLOSE : SESSION_INPUT;
        feed(s, io);
        if (s->complete) {
            s->complete = false;
            s->head_n = 0;
            answer(s, &s->answer);
            request_expect(s);
        }
    }
    return SESSION_OUTPUT;
}

static enum session_outcome http_step(struct session *base, struct session_io *io)
{
    struct http_session *s = (struct http_session *)base;
    switch (io->event) {
    case SESSION_EV_TIMEOUT:
    case SESSION_EV_STOPPING:
        return SESSION_CLOSE;
    case SESSION_EV_INPUT:
        if (clock_mono_ms() >= s->due_ms)
            return SESSION_CLOSE;
        break;
    case SESSION_EV_OUTPUT: /* how long the peer may take to read is the owner's */
    case SESSION_EV_START:
    case SESSION_EV_TLS:
        request_expect(s);
        break;
    case SESSION_EV_WAKE:
    case SESSION_EV_EOF:
        break;
    }
    enum session_outcome outcome = serve(s, io);
    int64_t left = s->due_ms - clock_mono_ms();
    io->timeout_ms = left > 0 ? (unsigned)left : 1;
    return outcome;
}

static void http_free(struct session *base)
{
    buf_release(&((struct http_session *)base)->answer);
    free(base);
}

static const struct session_class http_class = {"http", http_step, http_free};

struct session *http_session_make(void *context, const struct session_peer *peer)
{
    struct http_session *s = calloc(1, sizeof *s);
    if (!s)
        return NULL;
    s->session = (struct session){.class = &http_class, .peer = peer};
    s->context = context;
    buf_init(&s->answer, HTTP_ANSWER_MAX);
    http_parser_init(&s->parser, HTTP_REQUEST);
    s->parser.data = s;
    return &s->session;
}
