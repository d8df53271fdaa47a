/* A blocking connection on loopback, plain or with TLS, for the tools that speak lines and literals (IMAP, POP3). One thread each.
 */
#ifndef TEST_TOOL_LINE_CLIENT_H
#define TEST_TOOL_LINE_CLIENT_H

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <openssl/ssl.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "base/str.h"

struct line_client {
    int fd; /* -1: not connected */
    SSL *ssl;
    char *in; /* of in_max bytes: in[at..end] is not looked at yet. The owner's */
    size_t in_max, at, end;
    unsigned patience_s;                                       /* for the next bytes; 0: without end */
    void (*received)(struct line_client *c, struct str bytes); /* may be NULL */
};

/* False: errno says why, if it was not TLS. */
static inline bool line_client_dial(struct line_client *c, unsigned port, SSL_CTX *tls)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct timeval patience = {.tv_sec = c->patience_s};
    int one = 1;
    c->at = c->end = 0;
    c->ssl = NULL;
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (c->fd < 0 || connect(c->fd, (struct sockaddr *)&to, sizeof to) != 0)
        return false;
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    setsockopt(c->fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    if (!tls)
        return true;
    c->ssl = SSL_new(tls);
    return c->ssl && SSL_set_fd(c->ssl, c->fd) == 1 && SSL_connect(c->ssl) == 1;
}

/* abrupt: without the end of TLS. */
static inline void line_client_hang_up(struct line_client *c, bool abrupt)
{
    if (c->ssl && !abrupt)
        SSL_shutdown(c->ssl);
    SSL_free(c->ssl);
    c->ssl = NULL;
    if (c->fd >= 0)
        close(c->fd);
    c->fd = -1;
}

static inline bool line_client_send(struct line_client *c, struct str bytes)
{
    enum { PIECE_MAX = 1 << 20 };
    while (bytes.n > 0) {
        size_t piece = bytes.n < PIECE_MAX ? bytes.n : PIECE_MAX;
        ssize_t n = c->ssl ? SSL_write(c->ssl, bytes.p, (int)piece) : send(c->fd, bytes.p, piece, MSG_NOSIGNAL);
        if (n <= 0 && (c->ssl || errno != EINTR))
            return false;
        bytes = str_from(bytes, n > 0 ? (size_t)n : 0);
    }
    return true;
}

/* More input behind what is there. False: the connection has ended, or a line is longer than in_max. */
static inline bool line_client_receive(struct line_client *c)
{
    memmove(c->in, c->in + c->at, c->end - c->at);
    c->end -= c->at;
    c->at = 0;
    if (c->end == c->in_max)
        return false;
    size_t room = c->in_max - c->end;
    ssize_t n = c->ssl ? SSL_read(c->ssl, c->in + c->end, (int)room) : recv(c->fd, c->in + c->end, room, 0);
    if (n <= 0)
        return false;
    if (c->received)
        c->received(c, str_make(c->in + c->end, (size_t)n));
    c->end += (size_t)n;
    return true;
}

/* The next line without its end, valid until the next call; NULL pointer: as line_client_receive. */
static inline struct str line_client_next(struct line_client *c)
{
    for (size_t seen = 0;;) {
        const char *lf = memchr(c->in + c->at + seen, '\n', c->end - c->at - seen);
        if (lf) {
            struct str line = str_make(c->in + c->at, (size_t)(lf - c->in) - c->at);
            c->at += line.n + 1;
            return line.n && line.p[line.n - 1] == '\r' ? str_upto(line, line.n - 1) : line;
        }
        seen = c->end - c->at;
        if (!line_client_receive(c))
            return STR_NONE;
    }
}

/* Octets of the literal that a line announces at its end (RFC 9051 4.3); 0: none. */
static inline uint64_t line_literal(struct str line)
{
    size_t open = line.n && line.p[line.n - 1] == '}' ? str_rfind_char(line, '{') : STR_NPOS;
    uint64_t size = 0;
    return open != STR_NPOS && str_to_u64(str_upto(str_from(line, open + 1), line.n - open - 2), &size) ? size : 0;
}

#endif
