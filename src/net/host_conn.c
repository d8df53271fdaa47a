/* One connection, as its owner drives it. Nothing here is locked: the caller owns the connection (host.h). */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <stdio.h>
#include <sys/un.h>
#include <unistd.h>

#include "net/host_internal.h"
#include "rt/clock.h"
#include "rt/log.h"
#include "rt/metrics.h"

enum {
    ROUNDS_MAX = 16,            /* steps before others get their turn */
    KEEP_BUFFER_MIN = 32 << 10, /* unsent bytes from which on a connection takes the whole buffer */
    LINGER_MS = 2000,           /* for the peer to take our last words */
    LINGER_BYTES = 1 << 20,     /* what it may still send meanwhile */
};

/* What to do with the connection after a round. */
enum next { NEXT_AGAIN, NEXT_READ, NEXT_WRITE, NEXT_CLOSE };

/* ---- the wire: plain or TLS ---- */

enum wire { WIRE_OK, WIRE_WAIT_READ, WIRE_WAIT_WRITE, WIRE_EOF, WIRE_BROKEN };

static enum wire ssl_result(struct conn *c, int result)
{
    switch (SSL_get_error(c->ssl, result)) {
    case SSL_ERROR_WANT_READ:
        return WIRE_WAIT_READ;
    case SSL_ERROR_WANT_WRITE:
        return WIRE_WAIT_WRITE;
    case SSL_ERROR_ZERO_RETURN:
        return WIRE_EOF;
    default:
        return WIRE_BROKEN;
    }
}

static enum wire errno_result(void)
{
    return errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR ? WIRE_WAIT_READ : WIRE_BROKEN;
}

static enum wire wire_read(struct conn *c, char *to, size_t room, size_t *got)
{
    *got = 0;
    if (c->ssl) {
        ERR_clear_error();
        int result = SSL_read_ex(c->ssl, to, room, got);
        return result == 1 ? WIRE_OK : ssl_result(c, result);
    }
    ssize_t n = recv(c->fd, to, room, 0);
    if (n < 0)
        return errno_result();
    *got = (size_t)n;
    return n == 0 ? WIRE_EOF : WIRE_OK;
}

static enum wire wire_write(struct conn *c, struct str bytes, size_t *sent)
{
    *sent = 0;
    if (c->ssl) {
        ERR_clear_error();
        int result = SSL_write_ex(c->ssl, bytes.p, bytes.n, sent);
        return result == 1 ? WIRE_OK : ssl_result(c, result);
    }
    ssize_t n = send(c->fd, bytes.p, bytes.n, MSG_NOSIGNAL);
    if (n < 0)
        return errno_result() == WIRE_WAIT_READ ? WIRE_WAIT_WRITE : WIRE_BROKEN;
    *sent = (size_t)n;
    return WIRE_OK;
}

/* Sends what it can of `bytes` (WIRE_OK: all). */
static enum wire send_some(struct conn *c, struct str bytes, size_t *total)
{
    *total = 0;
    while (*total < bytes.n) {
        size_t n;
        enum wire w = wire_write(c, str_from(bytes, *total), &n);
        if (w != WIRE_OK)
            return w;
        *total += n;
    }
    return WIRE_OK;
}

static void deadline_in(struct conn *c, unsigned ms)
{
    atomic_store_explicit(&c->deadline_ms, clock_mono_ms() + ms, memory_order_relaxed);
}

/* ---- stepping ---- */

/* Steps the session once with `in`; what it wrote is in w->out. */
static void step(struct worker *w, struct conn *c, enum session_event event, struct str in, size_t *used)
{
    struct session_io io = {
        .event = event, .in = in, .in_full = in.n >= SESSION_INPUT_MAX, .out = &w->out, .timeout_ms = c->timeout_ms};
    int64_t begun_us = clock_mono_us();
    c->outcome = c->session->class->step(c->session, &io);
    int64_t ended_us = clock_mono_us();
    c->timeout_ms = io.timeout_ms ? io.timeout_ms : c->timeout_ms;
    *used = io.used <= in.n ? io.used : in.n;
    metrics_took(METRIC_TIME_STEP, ended_us - begun_us);
    recorder_add(&c->recorder, ended_us / 1000, event, c->outcome, *used, w->out.n);
    atomic_fetch_add_explicit(&c->host->steps, 1, memory_order_relaxed);
    if (c->outcome == SESSION_INPUT && io.in_full && *used == 0) {
        log_event(LOG_ERROR, "net.session_stuck", LOG_Z("session", c->session->class->name));
        c->outcome = SESSION_CLOSE;
    }
}

/* An end that nobody asked for: what came before it, for whoever wants to know why. */
static enum next broken(struct conn *c, const char *why)
{
    static const char *const events[] = {"START", "INPUT", "OUTPUT", "WAKE", "TLS", "TIMEOUT", "STOPPING", "EOF"};
    static const char *const outcomes[] = {"INPUT", "OUTPUT", "PARKED", "TLS", "CLOSE"};
    DEFER(buf_release) struct buf last = BUF_INIT(LOG_VALUE_MAX);
    recorder_print(&c->recorder, events, outcomes, &last);
    log_event(LOG_INFO, "net.broken", LOG_Z("why", why), LOG_UINT("session", c->session ? c->session->id : 0),
              LOG_Z("service", c->listener->factory.name), LOG_Z("client", c->peer.address),
              LOG_UINT("unsent", c->out.n - c->out_at), LOG_STR("last", buf_str(&last)));
    return NEXT_CLOSE;
}

struct buf conn_output(void)
{
    struct buf out = BUF_INIT(SESSION_OUTPUT_MAX);
    buf_reserve(&out, SESSION_OUTPUT_MAX);
    buf_clear(&out);
    return out;
}

/* What the peer did not take of the worker's buffer stays with the connection: much of it with the buffer, little of it copied.
 * For a peer that takes something, but too little: a byte before each timeout must not hold a connection for days. */
static void keep_output(struct worker *w, struct conn *c, size_t sent)
{
    struct str rest = str_from(buf_str(&w->out), sent);
    if (c->out.n == c->out_at)
        c->out_due_ms = clock_mono_ms() + c->host->limit.write_timeout_ms;
    c->out_due_ms += (int64_t)(rest.n * 1000 / c->host->limit.write_rate_min);
    if (c->out.n > 0 || rest.n < KEEP_BUFFER_MIN) {
        buf_add(&c->out, rest);
        return;
    }
    c->out = w->out;
    c->out_at = sent;
    w->out = conn_output();
}

/* Time for the peer to take more of what waits for it. */
static void output_deadline(struct conn *c)
{
    int64_t due = clock_mono_ms() + c->host->limit.write_timeout_ms;
    atomic_store_explicit(&c->deadline_ms, due < c->out_due_ms ? due : c->out_due_ms, memory_order_relaxed);
}

/* Sends the worker's buffer; what the peer does not take stays with the connection. */
static enum next send_output(struct worker *w, struct conn *c)
{
    struct str bytes = buf_str(&w->out);
    size_t sent = 0;
    enum wire result = bytes.n ? send_some(c, bytes, &sent) : WIRE_OK;
    enum next next = NEXT_AGAIN;
    if (result == WIRE_BROKEN || result == WIRE_EOF) {
        next = NEXT_CLOSE;
    } else if (result != WIRE_OK) {
        keep_output(w, c, sent);
        next = buf_ok(&c->out) ? (result == WIRE_WAIT_READ ? NEXT_READ : NEXT_WRITE) : NEXT_CLOSE;
    }
    buf_clear(&w->out); /* keeps its memory: a thread's, not a connection's */
    return next;
}

/* What the connection kept because the peer was slow. NEXT_AGAIN: all is gone. */
static enum next send_kept(struct conn *c)
{
    size_t sent;
    enum wire result = send_some(c, str_from(buf_str(&c->out), c->out_at), &sent);
    if (result == WIRE_BROKEN || result == WIRE_EOF)
        return NEXT_CLOSE;
    c->out_at += sent;
    if (sent)
        output_deadline(c);
    if (result != WIRE_OK)
        return result == WIRE_WAIT_READ ? NEXT_READ : NEXT_WRITE;
    buf_release(&c->out);
    c->out_at = 0;
    return NEXT_AGAIN;
}

/* Steps with the kept input, sends, and keeps the input that was not taken. */
static enum next step_kept(struct worker *w, struct conn *c, enum session_event event)
{
    size_t used;
    step(w, c, event, buf_str(&c->in), &used);
    buf_drop_front(&c->in, used);
    if (c->in.n == 0)
        buf_release(&c->in);
    return send_output(w, c);
}

/* ---- phases ---- */

static bool make_session(struct conn *c)
{
    c->session = c->listener->factory.make(c->listener->factory.context, &c->peer);
    if (!c->session)
        return false;
    c->session->peer = &c->peer;
    c->session->waker = &c->waker;
    c->session->id = atomic_fetch_add(&c->host->session_ids, 1) + 1;
    return true;
}

static enum next begin_session(struct worker *w, struct conn *c)
{
    if (!c->session && !make_session(c))
        return NEXT_CLOSE;
    c->phase = CONN_SESSION;
    return step_kept(w, c, c->after_handshake);
}

static enum next begin_handshake(struct conn *c, enum session_event then)
{
    if (!c->listener->tls)
        return NEXT_CLOSE;
    c->phase = CONN_HANDSHAKE;
    c->after_handshake = then;
    deadline_in(c, c->host->limit.tls_timeout_ms);
    return NEXT_AGAIN;
}

static bool has_input(const struct conn *c)
{
    char first;
    return recv(c->fd, &first, 1, MSG_DONTWAIT | MSG_PEEK) >= 0 || errno_result() != WIRE_WAIT_READ;
}

static enum next handshake(struct worker *w, struct conn *c)
{
    if (!c->ssl && !has_input(c))
        return NEXT_READ; /* who only connects gets no memory for TLS */
    if (!c->ssl)
        c->ssl = tls_server_ssl(c->listener->tls, c->listener->factory.name, c->listener->alpn, c->fd);
    if (!c->ssl)
        return NEXT_CLOSE;
    ERR_clear_error();
    int result = SSL_do_handshake(c->ssl);
    enum wire state = result == 1 ? WIRE_OK : ssl_result(c, result);
    if (state == WIRE_WAIT_READ)
        return NEXT_READ;
    if (state == WIRE_WAIT_WRITE)
        return NEXT_WRITE;
    if (state != WIRE_OK) {
        char text[160];
        tls_error_text(text);
        metrics_one(METRIC_TLS_FAILURES);
        log_event(LOG_INFO, "net.tls_failed", LOG_Z("client", c->peer.address), LOG_Z("service", c->listener->factory.name),
                  LOG_Z("error", text));
        return NEXT_CLOSE;
    }
    metrics_one(METRIC_TLS_HANDSHAKES);
    tls_describe(c->ssl, &c->peer.tls);
    return begin_session(w, c);
}

/* A polite refusal: the session greets and is told at once that there is no room. */
static void say_refusal(struct worker *w, struct conn *c)
{
    atomic_fetch_add(&c->host->refused, 1);
    metrics_one(METRIC_CONNECTIONS_REFUSED);
    log_event(LOG_WARN, "net.client_limit", LOG_Z("client", c->peer.address), LOG_Z("service", c->listener->factory.name));
    if (c->listener->implicit_tls || !make_session(c))
        return;
    size_t used, sent;
    c->session->waker = NULL;
    step(w, c, SESSION_EV_STOPPING, STR_NONE, &used);
    send_some(c, buf_str(&w->out), &sent);
    buf_clear(&w->out);
}

static bool enter_client(struct conn *c)
{
    c->counted = clients_enter(c->host->clients, c->peer.address);
    return c->counted;
}

static enum next proxy(struct worker *w, struct conn *c)
{
    char bytes[PROXY_HEADER_MAX];
    ssize_t n = recv(c->fd, bytes, sizeof bytes, MSG_PEEK);
    if (n <= 0)
        return n < 0 && errno_result() == WIRE_WAIT_READ ? NEXT_READ : NEXT_CLOSE;
    size_t used;
    struct proxy_source source;
    enum proxy_result result = proxy_parse(str_make(bytes, (size_t)n), &used, &source);
    int enough = result == PROXY_MORE ? (int)n + 1 : 1; /* ready only with more than what is known: no turning in circles */
    setsockopt(c->fd, SOL_SOCKET, SO_RCVLOWAT, &enough, sizeof enough);
    if (result == PROXY_MORE)
        return NEXT_READ;
    if (result == PROXY_BAD || recv(c->fd, bytes, used, 0) != (ssize_t)used)
        return NEXT_CLOSE;
    if (!source.local) {
        memcpy(c->peer.address, source.address, sizeof c->peer.address);
        c->peer.port = source.port;
        c->peer.loopback = false;
    }
    c->after_handshake = SESSION_EV_START;
    if (host_is_full(c) || !enter_client(c)) {
        say_refusal(w, c);
        return NEXT_CLOSE;
    }
    return c->listener->implicit_tls ? begin_handshake(c, SESSION_EV_START) : begin_session(w, c);
}

/* Nothing is left to say: closes our side and waits a moment for the peer's, because closing with unread input would reset the
 * connection and take our last words with it. */
static enum next begin_linger(struct conn *c)
{
    if (c->saw_eof)
        return NEXT_CLOSE;
    if (c->ssl)
        SSL_shutdown(c->ssl);
    shutdown(c->fd, SHUT_WR);
    c->phase = CONN_LINGER;
    deadline_in(c, LINGER_MS);
    return NEXT_AGAIN;
}

static enum next linger(struct worker *w, struct conn *c)
{
    while (c->lingered < LINGER_BYTES) {
        ssize_t n = recv(c->fd, w->input, sizeof w->input, 0);
        if (n <= 0)
            return n < 0 && errno_result() == WIRE_WAIT_READ ? NEXT_READ : NEXT_CLOSE;
        c->lingered += (size_t)n;
    }
    return NEXT_CLOSE;
}

/* ---- the session phase ---- */

/* A client that writes what belongs together in two pieces (a literal, then the end of its line) has the second held back by its
 * system until the first is acknowledged. Our answers carry that; when there is none yet, ours would wait 40 ms for one. */
static void acknowledge(const struct conn *c)
{
    int one = 1;
    setsockopt(c->fd, IPPROTO_TCP, TCP_QUICKACK, &one, sizeof one);
}

/* Reads once and steps. The input goes to the session straight from the thread's buffer; only what it leaves is kept. */
static enum next read_and_step(struct worker *w, struct conn *c)
{
    size_t got, used, room = SESSION_INPUT_MAX - c->in.n;
    char *to = w->input + c->in.n;
    enum wire result = wire_read(c, to, room, &got);
    if (result == WIRE_EOF || result == WIRE_BROKEN) {
        if (c->saw_eof || result == WIRE_BROKEN)
            return NEXT_CLOSE;
        c->saw_eof = true;
        return step_kept(w, c, SESSION_EV_EOF);
    }
    if (result != WIRE_OK)
        return result == WIRE_WAIT_WRITE ? NEXT_WRITE : NEXT_READ;
    if (c->in.n)
        memcpy(w->input, c->in.p, c->in.n);
    struct str in = str_make(w->input, c->in.n + got);
    bool drained = got < room && !(c->ssl && SSL_pending(c->ssl) > 0);
    step(w, c, SESSION_EV_INPUT, in, &used);
    if (drained && w->out.n == 0 && c->outcome == SESSION_INPUT)
        acknowledge(c);
    buf_clear(&c->in);
    buf_add(&c->in, str_from(in, used));
    if (!buf_ok(&c->in))
        return NEXT_CLOSE;
    if (c->in.n == 0 && c->in.p)
        buf_release(&c->in);
    enum next next = send_output(w, c);
    bool waits = c->outcome == SESSION_INPUT || c->outcome == SESSION_PARKED;
    return next == NEXT_AGAIN && waits && drained ? NEXT_READ : next;
}

static enum next start_tls(struct conn *c)
{
    char first;
    buf_release(&c->in); /* RFC 3207 4.2: nothing said before counts after */
    if (recv(c->fd, &first, 1, MSG_DONTWAIT | MSG_PEEK) == 1 && first != 0x16)
        return NEXT_CLOSE; /* plain text behind the command: an injection, or a client that does not wait */
    return begin_handshake(c, SESSION_EV_TLS);
}

static bool waits_for_input(const struct conn *c) { return c->outcome == SESSION_INPUT || c->outcome == SESSION_PARKED; }

/* Steps with an event of others. If the session only waits again there is nothing to read: whatever comes makes the socket ready.
 */
static enum next step_news(struct worker *w, struct conn *c, enum session_event event)
{
    enum next next = step_kept(w, c, event);
    return next == NEXT_AGAIN && waits_for_input(c) ? NEXT_READ : next;
}

static enum next waiting_round(struct worker *w, struct conn *c)
{
    unsigned news = c->news;
    c->news = 0;
    if ((news & CONN_STOP) && !c->told_stop) {
        c->told_stop = true;
        return step_kept(w, c, SESSION_EV_STOPPING);
    }
    if (news & CONN_TIMEOUT)
        return step_kept(w, c, SESSION_EV_TIMEOUT);
    if (news & CONN_WAKE)
        return step_news(w, c, SESSION_EV_WAKE);
    return c->saw_eof ? NEXT_CLOSE : read_and_step(w, c);
}

/* The output first, then what the last outcome asks for. News of others wait until the session can be stepped. */
static enum next session_round(struct worker *w, struct conn *c)
{
    if (c->out.n) {
        if (c->news & CONN_TIMEOUT)
            return broken(c, "the peer takes nothing");
        enum next next = send_kept(c);
        if (next != NEXT_AGAIN)
            return next;
    }
    switch (c->outcome) {
    case SESSION_CLOSE:
        return begin_linger(c);
    case SESSION_TLS:
        return c->ssl ? NEXT_CLOSE : start_tls(c);
    case SESSION_OUTPUT:
        return step_kept(w, c, SESSION_EV_OUTPUT);
    case SESSION_INPUT:
    case SESSION_PARKED:
        return waiting_round(w, c);
    }
    return NEXT_CLOSE;
}

static enum next one_round(struct worker *w, struct conn *c)
{
    if (c->news & CONN_KILL)
        return c->session && c->phase == CONN_SESSION ? broken(c, "it did not end when the server stopped") : NEXT_CLOSE;
    if ((c->news & CONN_TIMEOUT) && clock_mono_ms() < c->deadline_ms)
        c->news &= ~(unsigned)CONN_TIMEOUT; /* it was moved meanwhile */
    bool give_up = c->news & (CONN_TIMEOUT | CONN_STOP);
    switch (c->phase) {
    case CONN_PROXY:
        return give_up ? NEXT_CLOSE : proxy(w, c);
    case CONN_HANDSHAKE:
        return give_up ? NEXT_CLOSE : handshake(w, c);
    case CONN_LINGER:
        return give_up ? NEXT_CLOSE : linger(w, c);
    case CONN_SESSION:
        return session_round(w, c);
    }
    return NEXT_CLOSE;
}

/* ---- parking ---- */

enum { NEWS = CONN_WAKE | CONN_TIMEOUT | CONN_STOP | CONN_KILL };

static void take_news(struct conn *c) { c->news |= (unsigned)(atomic_fetch_and(&c->state, ~(uint64_t)(CONN_IO | NEWS)) & NEWS); }

static void set_deadline(struct conn *c, enum next next)
{
    if (c->phase != CONN_SESSION)
        return; /* set at the beginning of the phase: a handshake has one deadline as a whole */
    if (c->out.n)
        output_deadline(c);
    else if (next == NEXT_WRITE)
        deadline_in(c, c->host->limit.write_timeout_ms);
    else
        deadline_in(c, c->timeout_ms);
}

/* Gives the connection up until something happens. True: parked, and no longer ours. False: something happened already. */
static bool park(struct conn *c, enum next next)
{
    set_deadline(c, next);
    host_arm(c, next == NEXT_WRITE);
    uint64_t state = atomic_load(&c->state);
    while (!(state & (CONN_IO | NEWS)))
        if (atomic_compare_exchange_weak(&c->state, &state, state & ~(uint64_t)CONN_RUNNING))
            return true;
    return false;
}

void conn_run(struct worker *w, struct conn *c)
{
    for (int rounds = 0;; rounds++) {
        take_news(c);
        enum next next = one_round(w, c);
        if (next == NEXT_CLOSE) {
            host_conn_free(c);
            return;
        }
        if (next == NEXT_AGAIN && rounds >= ROUNDS_MAX) {
            host_ready(c); /* others first */
            return;
        }
        if (next != NEXT_AGAIN && park(c, next))
            return;
    }
}

/* ---- a new connection ---- */

static void print_address(const struct sockaddr_storage *s, char out[64], uint16_t *port, bool *loopback)
{
    *loopback = false;
    if (s->ss_family == AF_INET) {
        const struct sockaddr_in *v4 = (const struct sockaddr_in *)s;
        inet_ntop(AF_INET, &v4->sin_addr, out, 64);
        *port = ntohs(v4->sin_port);
        *loopback = ntohl(v4->sin_addr.s_addr) >> 24 == 127;
    } else if (s->ss_family == AF_INET6) {
        const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)s;
        *port = ntohs(v6->sin6_port);
        if (IN6_IS_ADDR_V4MAPPED(&v6->sin6_addr)) {
            inet_ntop(AF_INET, v6->sin6_addr.s6_addr + 12, out, 64);
            *loopback = v6->sin6_addr.s6_addr[12] == 127;
        } else {
            inet_ntop(AF_INET6, &v6->sin6_addr, out, 64);
            *loopback = IN6_IS_ADDR_LOOPBACK(&v6->sin6_addr);
        }
    }
}

static void describe_peer(struct conn *c)
{
    struct sockaddr_storage a = {0};
    socklen_t n = sizeof a;
    bool ignored;
    if (getpeername(c->fd, (struct sockaddr *)&a, &n) == 0)
        print_address(&a, c->peer.address, &c->peer.port, &c->peer.loopback);
    if (a.ss_family == AF_UNIX) {
        struct ucred who;
        socklen_t size = sizeof who;
        c->peer.loopback = true;
        c->peer.trusted_local =
            getsockopt(c->fd, SOL_SOCKET, SO_PEERCRED, &who, &size) == 0 && (who.uid == 0 || who.uid == geteuid());
        return;
    }
    n = sizeof a;
    if (getsockname(c->fd, (struct sockaddr *)&a, &n) == 0)
        print_address(&a, c->peer.local, &c->peer.local_port, &ignored);
    int one = 1;
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    setsockopt(c->fd, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof one);
}

/* The first round: what the connection begins with. */
static enum next begin(struct worker *w, struct conn *c)
{
    c->after_handshake = SESSION_EV_START;
    if (proxy_networks_have(c->host->proxies, c->peer.address)) {
        c->phase = CONN_PROXY;
        deadline_in(c, c->host->limit.tls_timeout_ms);
        return NEXT_AGAIN;
    }
    if (host_is_full(c) || !enter_client(c)) {
        say_refusal(w, c);
        return NEXT_CLOSE;
    }
    return c->listener->implicit_tls ? begin_handshake(c, SESSION_EV_START) : begin_session(w, c);
}

void conn_accepted(struct worker *w, struct conn *c)
{
    describe_peer(c);
    if (c->host->stopping)
        c->news |= CONN_STOP;
    if (begin(w, c) == NEXT_CLOSE)
        host_conn_free(c);
    else
        conn_run(w, c);
}
