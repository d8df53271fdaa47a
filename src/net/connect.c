#include "net/connect.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "rt/clock.h"

enum {
    STAGGER_MS = 250, /* RFC 8305 5 */
    AT_ONCE_MAX = 8,
    ADDRESSES_MAX = 64,
    LOOK_MS = 200, /* how often a connect looks whether it shall stop */
    IN_BYTES = 16 << 10,
    OUT_BYTES = 64 << 10,
};

struct stream {
    int fd;
    SSL *ssl;
    char tls_text[128], local[64];
    struct buf out;
    char in[IN_BYTES];
    size_t in_at, in_n;
    struct buf line; /* a line that does not lie whole in `in` */
};

bool stream_address_make(const char *numeric, uint16_t port, struct stream_address *out)
{
    *out = (struct stream_address){.size = 0};
    struct sockaddr_in *v4 = (struct sockaddr_in *)&out->address;
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)&out->address;
    if (inet_pton(AF_INET, numeric, &v4->sin_addr) == 1) {
        v4->sin_family = AF_INET;
        v4->sin_port = htons(port);
        out->size = sizeof *v4;
    } else if (inet_pton(AF_INET6, numeric, &v6->sin6_addr) == 1) {
        v6->sin6_family = AF_INET6;
        v6->sin6_port = htons(port);
        out->size = sizeof *v6;
    }
    return out->size > 0;
}

void stream_address_print(const struct stream_address *a, char out[64])
{
    const struct sockaddr_in *v4 = (const struct sockaddr_in *)&a->address;
    const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)&a->address;
    bool is_v4 = a->address.ss_family == AF_INET;
    if (!inet_ntop(a->address.ss_family, is_v4 ? (const void *)&v4->sin_addr : (const void *)&v6->sin6_addr, out, 64))
        out[0] = '\0';
}

/* ---- connecting ---- */

struct race {
    const struct stream_address *list;
    size_t count, next;
    struct pollfd running[AT_ONCE_MAX];
    size_t index[AT_ONCE_MAX];
    nfds_t n;
    int last_errno;
    const atomic_bool *stop; /* may be NULL */
};

static void race_drop(struct race *r, nfds_t i)
{
    r->n--;
    r->running[i] = r->running[r->n];
    r->index[i] = r->index[r->n];
}

/* Starts the next address. True: something was tried. */
static bool race_start(struct race *r)
{
    if (r->next >= r->count || r->n == AT_ONCE_MAX)
        return false;
    const struct stream_address *a = &r->list[r->next];
    int fd = socket(a->address.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd >= 0 && connect(fd, (const struct sockaddr *)&a->address, a->size) != 0 && errno != EINPROGRESS) {
        r->last_errno = errno;
        close(fd);
    } else if (fd >= 0) {
        r->running[r->n] = (struct pollfd){.fd = fd, .events = POLLOUT};
        r->index[r->n++] = r->next;
    } else {
        r->last_errno = errno;
    }
    r->next++;
    return true;
}

/* The first that is connected; -1: none yet. Failed ones are dropped. */
static int race_look(struct race *r, size_t *which)
{
    for (nfds_t i = 0; i < r->n;) {
        int error = 0;
        socklen_t size = sizeof error;
        if (!r->running[i].revents) {
            i++;
            continue;
        }
        int fd = r->running[i].fd;
        if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) == 0 && error == 0) {
            *which = r->index[i];
            race_drop(r, i);
            return fd;
        }
        r->last_errno = error;
        close(fd);
        race_drop(r, i);
    }
    return -1;
}

static int race_run(struct race *r, int64_t end, size_t *which)
{
    int fd = -1;
    int64_t next_start = 0;
    while (fd < 0) {
        int64_t now = clock_mono_ms();
        while ((r->n == 0 || now >= next_start) && race_start(r))
            next_start = now + STAGGER_MS;
        bool stopped = r->stop && atomic_load(r->stop);
        if ((r->n == 0 && r->next >= r->count) || now >= end || stopped)
            break;
        int64_t wait = end - now;
        if (r->stop && wait > LOOK_MS)
            wait = LOOK_MS;
        if (r->next < r->count && next_start - now < wait)
            wait = next_start > now ? next_start - now : 0;
        if (poll(r->running, r->n, (int)wait) > 0)
            fd = race_look(r, which);
    }
    if (fd < 0 && r->n > 0)
        r->last_errno = ETIMEDOUT;
    for (nfds_t i = 0; i < r->n; i++)
        close(r->running[i].fd);
    return fd;
}

static struct stream *stream_of(int fd)
{
    struct stream *s = calloc(1, sizeof *s);
    struct stream_address local = {.size = sizeof local.address};
    int one = 1;
    if (!s)
        return NULL;
    s->fd = fd;
    s->out = BUF_INIT(OUT_BYTES * 2);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (getsockname(fd, (struct sockaddr *)&local.address, &local.size) == 0)
        stream_address_print(&local, s->local);
    return s;
}

enum st stream_connect(const struct stream_address *list, size_t count, unsigned timeout_ms, struct stream **out, size_t *which,
                       struct err *e)
{
    return stream_connect_unless(list, count, timeout_ms, NULL, out, which, e);
}

enum st stream_connect_unless(const struct stream_address *list, size_t count, unsigned timeout_ms, const atomic_bool *stop,
                              struct stream **out, size_t *which, struct err *e)
{
    struct race r = {
        .list = list, .count = count < ADDRESSES_MAX ? count : ADDRESSES_MAX, .last_errno = EADDRNOTAVAIL, .stop = stop};
    int fd = race_run(&r, clock_mono_ms() + timeout_ms, which);
    ENSURE(fd >= 0, e, ST_TEMP, "connecting failed: %s", strerror(r.last_errno));
    *out = stream_of(fd);
    if (*out)
        return ST_OK;
    close(fd);
    return ERR_PUBLIC(e, ST_TEMP, "out of memory");
}

void stream_break(struct stream *s) { shutdown(s->fd, SHUT_RDWR); }

void stream_close(struct stream *s)
{
    if (!s)
        return;
    if (s->ssl) {
        ERR_clear_error();
        SSL_shutdown(s->ssl);
        SSL_free(s->ssl);
    }
    close(s->fd);
    buf_release(&s->out);
    buf_release(&s->line);
    free(s);
}

/* ---- waiting ---- */

static enum st wait_ready(struct stream *s, short events, int64_t end, const char *doing, struct err *e)
{
    struct pollfd p = {.fd = s->fd, .events = events};
    for (;;) {
        int64_t left = end - clock_mono_ms();
        ENSURE(left > 0, e, ST_TEMP, "timeout while %s", doing);
        int n = poll(&p, 1, left > INT32_MAX ? INT32_MAX : (int)left);
        if (n > 0)
            return ST_OK;
        if (n < 0 && errno != EINTR)
            return ERR_PUBLIC(e, ST_TEMP, "%s failed: %s", doing, strerror(errno));
    }
}

/* What to do after an SSL call that did not succeed: waits and gives ST_OK to try again. */
static enum st wait_ssl(struct stream *s, int result, int64_t end, const char *doing, struct err *e)
{
    int reason = SSL_get_error(s->ssl, result);
    if (reason == SSL_ERROR_WANT_READ || reason == SSL_ERROR_WANT_WRITE)
        return wait_ready(s, reason == SSL_ERROR_WANT_READ ? POLLIN : POLLOUT, end, doing, e);
    ENSURE(reason != SSL_ERROR_ZERO_RETURN, e, ST_TEMP, "the connection was closed while %s", doing);
    char text[160];
    tls_error_text(text);
    return ERR_PUBLIC(e, ST_TEMP, "TLS failed while %s: %s", doing, text);
}

/* ---- TLS ---- */

enum st stream_start_tls(struct stream *s, struct tls_client *tls, const char *host, unsigned timeout_ms, struct err *e)
{
    int64_t end = clock_mono_ms() + timeout_ms;
    TRY(stream_flush(s, timeout_ms, e));
    s->in_at = s->in_n = 0;
    s->ssl = tls_client_ssl(tls, host, s->fd);
    ENSURE(s->ssl, e, ST_TEMP, "out of memory");
    for (;;) {
        ERR_clear_error();
        int result = SSL_do_handshake(s->ssl);
        if (result == 1)
            break;
        TRY(wait_ssl(s, result, end, "negotiating TLS", e));
    }
    snprintf(s->tls_text, sizeof s->tls_text, "%s %s", SSL_get_version(s->ssl), SSL_get_cipher_name(s->ssl));
    return ST_OK;
}

bool stream_is_tls(const struct stream *s) { return s->ssl != NULL; }
const char *stream_tls_text(const struct stream *s) { return s->tls_text; }
SSL *stream_ssl(struct stream *s) { return s->ssl; }
const char *stream_local(const struct stream *s) { return s->local; }

/* ---- writing ---- */

static enum st send_part(struct stream *s, struct str bytes, int64_t end, size_t *sent, struct err *e)
{
    *sent = 0;
    if (s->ssl) {
        ERR_clear_error();
        int result = SSL_write_ex(s->ssl, bytes.p, bytes.n, sent);
        return result == 1 ? ST_OK : wait_ssl(s, result, end, "sending", e);
    }
    ssize_t n = send(s->fd, bytes.p, bytes.n, MSG_NOSIGNAL);
    if (n >= 0) {
        *sent = (size_t)n;
        return ST_OK;
    }
    if (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR)
        return wait_ready(s, POLLOUT, end, "sending", e);
    return ERR_PUBLIC(e, ST_TEMP, "sending failed: %s", strerror(errno));
}

static enum st send_all(struct stream *s, struct str bytes, unsigned timeout_ms, struct err *e)
{
    int64_t end = clock_mono_ms() + timeout_ms;
    while (bytes.n > 0) {
        size_t sent;
        TRY(send_part(s, bytes, end, &sent, e));
        bytes = str_from(bytes, sent);
        if (sent)
            end = clock_mono_ms() + timeout_ms; /* a deadline for standing still, not for the whole */
    }
    return ST_OK;
}

enum st stream_flush(struct stream *s, unsigned timeout_ms, struct err *e)
{
    enum st st = send_all(s, buf_str(&s->out), timeout_ms, e);
    buf_clear(&s->out);
    return st;
}

enum st stream_write(struct stream *s, struct str bytes, unsigned timeout_ms, struct err *e)
{
    if (s->out.n + bytes.n > OUT_BYTES)
        TRY(stream_flush(s, timeout_ms, e));
    if (bytes.n > OUT_BYTES)
        return send_all(s, bytes, timeout_ms, e);
    buf_add(&s->out, bytes);
    ENSURE(buf_ok(&s->out), e, ST_TEMP, "out of memory");
    return ST_OK;
}

/* ---- reading ---- */

static enum st fill(struct stream *s, int64_t end, struct err *e)
{
    s->in_at = s->in_n = 0;
    while (s->in_n == 0) {
        if (s->ssl) {
            ERR_clear_error();
            int result = SSL_read_ex(s->ssl, s->in, sizeof s->in, &s->in_n);
            if (result != 1)
                TRY(wait_ssl(s, result, end, "waiting for an answer", e));
            continue;
        }
        ssize_t n = recv(s->fd, s->in, sizeof s->in, 0);
        ENSURE(n != 0, e, ST_TEMP, "the connection was closed while waiting for an answer");
        if (n > 0)
            s->in_n = (size_t)n;
        else if (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR)
            TRY(wait_ready(s, POLLIN, end, "waiting for an answer", e));
        else
            return ERR_PUBLIC(e, ST_TEMP, "receiving failed: %s", strerror(errno));
    }
    return ST_OK;
}

static struct str without_cr(struct str line) { return line.n && line.p[line.n - 1] == '\r' ? str_upto(line, line.n - 1) : line; }

enum st stream_read_line(struct stream *s, size_t max, unsigned timeout_ms, struct str *line, struct err *e)
{
    int64_t end = clock_mono_ms() + timeout_ms;
    TRY(stream_flush(s, timeout_ms, e));
    s->line.max = max + 2;
    buf_clear(&s->line);
    for (;;) {
        struct str rest = str_make(s->in + s->in_at, s->in_n - s->in_at);
        size_t at = str_find_char(rest, '\n');
        if (at != STR_NPOS) {
            s->in_at += at + 1;
            if (s->line.n == 0 && at <= max) {
                *line = without_cr(str_upto(rest, at));
                return ST_OK;
            }
        }
        buf_add(&s->line, str_upto(rest, at));
        ENSURE(buf_ok(&s->line), e, ST_LIMIT, "the answer has a line of more than %zu bytes", max);
        if (at != STR_NPOS) {
            *line = without_cr(buf_str(&s->line));
            return ST_OK;
        }
        TRY(fill(s, end, e));
    }
}

bool stream_is_quiet(struct stream *s)
{
    struct pollfd p = {.fd = s->fd, .events = POLLIN | POLLRDHUP};
    return s->in_at == s->in_n && (!s->ssl || SSL_pending(s->ssl) == 0) && poll(&p, 1, 0) == 0;
}
