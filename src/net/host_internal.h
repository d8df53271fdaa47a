/* What the files of net/host share. See host.h for the states of a connection. */
#ifndef NET_HOST_INTERNAL_H
#define NET_HOST_INTERNAL_H

#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>

#include "net/clients.h"
#include "net/host.h"
#include "net/proxy.h"
#include "rt/recorder.h"
#include "rt/waiting.h"

enum { HOST_LISTENERS_MAX = 64, HOST_THREADS_MAX = 512 };

enum conn_bit { /* of conn.state, below the generation */
                CONN_RUNNING = 1,
                CONN_IO = 2,           /* epoll said ready */
                CONN_WAKE = 4,         /* session_wake */
                CONN_TIMEOUT = 8,      /* the deadline passed */
                CONN_STOP = 16,        /* the host stops: tell the session */
                CONN_KILL = 32,        /* the host's patience is over */
                CONN_LIVE = 64,        /* the slot holds a connection */
                CONN_GENERATION = 128, /* the generation counts from here on */
};

enum conn_phase {
    CONN_PROXY,     /* waits for the PROXY protocol header */
    CONN_HANDSHAKE, /* TLS */
    CONN_SESSION,
    CONN_LINGER, /* everything is said: wait for the peer to close, so that no reset eats our last words */
};

struct conn {
    struct session_waker waker; /* first: the session's way to us */
    struct host *host;
    const struct host_listener *listener;
    _Atomic uint64_t state;
    _Atomic int64_t deadline_ms; /* monotonic; INT64_MAX: none */
    struct conn *next_ready;     /* under host.ready_lock */
    uint32_t slot;               /* own number, for epoll */
    int fd;

    /* the owner's from here on */
    enum conn_phase phase;
    enum session_outcome outcome; /* of the last step */
    enum session_event after_handshake;
    unsigned news; /* bits of others that the session was not told yet */
    bool armed_once, saw_eof, told_stop, counted;
    unsigned timeout_ms;
    size_t lingered; /* bytes thrown away at the end */
    struct session *session;
    SSL *ssl;
    struct buf in;  /* what the session did not take yet */
    struct buf out; /* what the peer did not take yet: from out_at on */
    size_t out_at;
    int64_t out_due_ms; /* monotonic: when all of it must be gone */
    struct session_peer peer;
    struct recorder recorder;
};

/* Where a thread stands by for a place (host_place.c). */
struct seat {
    sem_t given;
    bool go_on; /* with it; false: the threads shall end */
    struct seat *below;
};

/* A thread's buffers: a connection that is not waiting for anything has none of its own. */
struct worker {
    struct waiting_pool waiting; /* first */
    struct host *host;
    struct seat seat;
    pthread_t thread;
    char input[SESSION_INPUT_MAX];
    struct buf out;
};

/* The limits that a reload changes. */
struct host_limit {
    atomic_uint connections, write_timeout_ms, write_rate_min, tls_timeout_ms;
};

/* The threads at work (host_place.c). */
struct places {
    pthread_mutex_t lock;
    unsigned base;            /* that may run */
    atomic_uint most;         /* the same, and those that the ticker let in */
    atomic_uint running;      /* poll or work; more than `most` for a moment when waiting ones come back */
    struct seat *standing_by; /* the last that came on top */
    bool ending;              /* the members up to here change under the lock only */
    atomic_uint polling;      /* of the running ones, in epoll_wait */
    atomic_uint waiting;      /* said so */
    _Atomic uint64_t polls;
    uint64_t polls_seen; /* the ticker's */
};

enum { HOST_CHUNK = 1024, HOST_CHUNKS_MAX = 1024 };

struct host {
    struct host_config config;
    struct host_limit limit;
    struct places places;
    struct host_listener listeners[HOST_LISTENERS_MAX];
    atomic_uint listener_open[HOST_LISTENERS_MAX];
    size_t listener_count;
    struct clients *clients;
    struct proxy_networks *proxies;
    int epoll, bell; /* bell: eventfd, readable while the ready queue is not empty or the threads shall end */

    pthread_mutex_t ready_lock;
    struct conn *ready_first, *ready_last;
    bool bell_rung, ending;

    pthread_mutex_t slot_lock;
    struct conn *chunks[HOST_CHUNKS_MAX]; /* never freed before host_free: late events may look at a state word */
    uint32_t *free_slots;
    uint32_t free_count;
    _Atomic uint32_t slots; /* made so far */

    atomic_uint open;
    atomic_bool stopping, ticking;
    _Atomic uint64_t accepted, refused, steps, session_ids;
    pthread_t ticker;
    struct worker **workers;
    unsigned worker_count;
};

/* host.c */
struct conn *host_conn(struct host *h, uint32_t slot);
struct conn *host_conn_new(struct host *h, const struct host_listener *l, int fd); /* RUNNING, owned by the caller; NULL: full */
void host_conn_free(struct conn *c);
/* Sets bits; true: the caller owns the connection now. False: its owner will see them, or it is not of this generation any more. */
bool host_own(struct conn *c, uint64_t generation, unsigned bits);
void host_ready(struct conn *c); /* an owned connection into the queue */
void host_arm(struct conn *c, bool write);

bool host_is_full(const struct conn *c); /* of its host or listener: it is to be refused */

/* host_place.c */
void places_init(struct places *p, unsigned most);
void places_release(struct places *p);
void seat_init(struct seat *s);
void seat_release(struct seat *s);
bool places_enter(struct places *p, struct seat *s); /* waits for a place; false: the threads shall end */
void places_leave(struct places *p);
/* Between two connections: stands by if too many run. False: the threads shall end. */
bool places_again(struct places *p, struct seat *s);
void places_polling(struct places *p);
void places_polled(struct places *p, bool work);
void places_waiting(struct places *p);
void places_waited(struct places *p);
/* The ticker's: lets another one in if all have been busy since the last call. True: look again soon. */
bool places_look(struct places *p);
void places_end(struct places *p);

/* host_conn.c */
void conn_accepted(struct worker *w, struct conn *c);
/* A thread's buffer for output, empty. It has all its memory at once, since to grow would copy; pages that are never used cost
 * none. Without memory it is an ordinary one. */
struct buf conn_output(void);
void conn_run(struct worker *w, struct conn *c); /* by its owner; parks, requeues or frees it */

#endif
