/* The engine room: runs the sessions of all listeners on a fixed pool of threads and one epoll set.
 *
 * One thread at a time owns a connection. The events are one-shot, so the thread that gets a ready connection is its owner: it
 * reads, decrypts, steps the session, writes, and parks the connection again. There are no locks on a connection, only its state
 * word:
 *
 *               ready / wake / timeout / stop: set the bit; who sets RUNNING owns
 *      PARKED ------------------------------------------------------> RUNNING --- step, write ---+
 *        ^                                                              |   ^                    |
 *        |      no bits came meanwhile: compare-and-swap                |   | bits came          |
 *        +--------------------------------------------------------------+   +--------------------+
 *                                                                       | close
 *                                                                       v
 *                                                 FREE (generation + 1: late events of the old one are ignored)
 *
 * At most `running` threads poll and work at a time: more would only take turns on the processors. The others stand by; one of them
 * comes in when a thread says that it is going to wait (rt/waiting.h: a commit, a long computation) and nobody is polling, or when
 * all have been busy for some milliseconds without saying so.
 *
 * News from other threads (session_wake) set a bit and, if nobody owns the connection, put it into the ready queue, of which an
 * eventfd in the same epoll set tells. A slow reader's output is kept (bounded) and its session is not stepped until it is gone.
 * Buffers belong to the threads: an idle connection has none.
 *
 * Threads: host_new, host_listen, host_start, host_stop from one controlling thread. */
#ifndef NET_HOST_H
#define NET_HOST_H

#include "base/err.h"
#include "net/session.h"
#include "net/tls.h"

struct host;

struct host_config {
    unsigned threads;
    unsigned running;                /* threads that work at the same time, those not counted that wait; 0: by the processors */
    unsigned connections;            /* at the same time */
    unsigned connections_per_client; /* address, or IPv6 /64; loopback is exempt */
    unsigned write_timeout_ms;
    unsigned write_rate_min; /* bytes in a second; 0: 1 */
    unsigned tls_timeout_ms;
    const char *proxy_networks; /* "10.0.0.0/8, fd00::/8": begin with a PROXY protocol header; "" none. Borrowed until host_free */
};
void host_config_load(struct host_config *out); /* from the settings in force */

/* The limits and timeouts of a new configuration, for what comes from now on. Threads and networks stay. Any thread. */
void host_limits(struct host *h, const struct host_config *config);

enum st host_new(const struct host_config *config, struct host **out, struct err *e) MUST_USE;

struct host_listener {
    int fd;                         /* listening, non-blocking; the host takes it and closes it at the stop */
    struct session_factory factory; /* name and context are kept until host_free */
    struct tls_server *tls;         /* borrowed until host_free; NULL: no TLS here */
    bool implicit_tls;
    const char *alpn;     /* NULL: none */
    unsigned connections; /* at the same time here; 0: as many as the host takes */
};
enum st host_listen(struct host *h, const struct host_listener *listener, struct err *e) MUST_USE;

enum st host_start(struct host *h, struct err *e) MUST_USE; /* starts the threads and returns */
/* Stops accepting, tells every session (SESSION_EV_STOPPING), waits at most deadline_ms for them to end, closes the rest, and ends
 * the threads. */
void host_stop(struct host *h, unsigned deadline_ms);
void host_free(struct host *h); /* after host_stop, or if it was never started; NULL is fine */

struct host_stats {
    unsigned connections;
    uint64_t accepted, refused, steps;
    unsigned waiting; /* threads that wait for the disk or the like */
};
void host_stats(struct host *h, struct host_stats *out);

#endif
