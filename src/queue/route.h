/* Where mail for a domain goes (RFC 5321 5.1, RFC 7505): static routes, a smarthost, or the hosts that DNS names, in the order in
 * which they are to be tried. Threads: any. */
#ifndef QUEUE_ROUTE_H
#define QUEUE_ROUTE_H

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"

struct queue;

#define ROUTE_PROGRAM "=program:"

enum {
    ROUTE_HOSTS_MAX = 16,   /* hosts that are looked at */
    ROUTE_TARGETS_MAX = 32, /* addresses */
    ROUTE_PORT = 25,
};

/* What a domain's entries are gathered under in the window, so that they share connections; appended to *out:
 *   ""                 local delivery
 *   "=HOST:PORT"       a fixed host: static route, --relay, smarthost; "=lmtp:HOST:PORT" speaks LMTP
 *   "=program:NAME"    a program of the configuration
 *   "example.net"      by DNS; also an address literal */
void route_destination(struct queue *q, struct str domain, struct buf *out);

struct route_target {
    struct str host;  /* name for the log, reports and TLS; a literal's address without brackets */
    char address[48]; /* "192.0.2.1", "2001:db8::1" */
    uint16_t port;
    bool secure; /* DNSSEC vouches for name and address */
};
struct route {
    struct route_target *targets; /* in the order to try; in the arena */
    size_t count;
    bool lmtp;
    bool fixed;     /* not found by MX */
    bool partial;   /* DNS did not tell all of them now */
    bool smarthost; /* the one of the settings: its TLS and login apply */
};

/* ST_TEMP (DNS does not answer), ST_NOTFOUND (no such domain), ST_PERM (null MX, only ourselves, unusable). e->text begins with the
 * enhanced status code ("5.1.10 ..."). */
enum st route_find(struct queue *q, struct str destination, struct arena *arena, struct route *out, struct err *e) MUST_USE;

#endif
