/* The session contract: how a protocol meets the network without knowing a socket.
 *
 * A session is a state machine that is stepped by whoever owns it at the moment: a worker thread of net/host, a test, a fuzz
 * target, or `postrider imap` on standard input and output. step() reads from io->in, writes to io->out, may block on the store,
 * and returns an outcome. It never keeps a pointer into io. One thread at a time steps a session; there are no locks on session
 * state.
 *
 *   owner                                           session
 *   ------ step(io: in, out, event) ----------->    takes io->used bytes of in, appends to out
 *   <----- outcome ------------------------------   INPUT | OUTPUT | PARKED | TLS | CLOSE
 *
 * Input: `in` is what is buffered (plain text after TLS); the bytes not taken are given again with more behind them. When `in_full`
 * is set the buffer (SESSION_INPUT_MAX) cannot grow: a session that takes nothing then would never go on, so it must take some or
 * close; line limits are thus the session's own. Pipelined input is handled in one step: loop over commands while there is input
 * and buf_room(out) >= SESSION_OUTPUT_LOW; the replies of a pipeline leave in one write. Output: append at most buf_room(out)
 * bytes; if an answer is longer, write part of it and return OUTPUT: step is called again with SESSION_EV_OUTPUT when the buffer
 * has drained (a FETCH of 2 GB is a cursor in the session, not memory). A session that works long (SEARCH) returns OUTPUT now and
 * then even without a word: others get their turn, and it is stepped again.
 */
#ifndef NET_SESSION_H
#define NET_SESSION_H

#include "base/buf.h"
#include "base/err.h"

enum {
    SESSION_INPUT_MAX = 64 << 10,   /* bytes of input buffered for a session */
    SESSION_OUTPUT_MAX = 256 << 10, /* maximum of io->out */
    SESSION_OUTPUT_LOW = 16 << 10,  /* below this room, return OUTPUT rather than start another answer */
};

enum session_event {
    SESSION_EV_START,    /* first step: write the greeting (in is empty) */
    SESSION_EV_INPUT,    /* there is (more) input */
    SESSION_EV_OUTPUT,   /* the output drained: go on with what returned OUTPUT */
    SESSION_EV_WAKE,     /* session_wake was called (news for IDLE) */
    SESSION_EV_TLS,      /* the TLS handshake that outcome TLS asked for succeeded; io->peer->tls is filled */
    SESSION_EV_TIMEOUT,  /* io->timeout_ms of the last step passed without input: say so and CLOSE */
    SESSION_EV_STOPPING, /* the server stops or sheds load: say so (421, BYE) and CLOSE; in the middle of data: refuse it */
    SESSION_EV_EOF,      /* the peer closed its sending side; whatever is in `in` is all there will be. CLOSE when done */
};

enum session_outcome {
    SESSION_INPUT,  /* needs more input (or a wake-up: both are always possible) */
    SESSION_OUTPUT, /* has more to say when out has drained */
    SESSION_PARKED, /* as INPUT, and expects to wait long: the owner frees its buffers (IDLE) */
    SESSION_TLS,    /* send out, then do a TLS handshake. Plain-text input that was buffered is thrown away (RFC 3207 4.2,
                       CVE-2011-0411) */
    SESSION_CLOSE,  /* send out, then close */
};

/* What is known of the TLS layer; all zero without TLS. Views valid while the session lives. */
struct session_tls {
    bool active;
    bool resumed;
    struct str version; /* "TLSv1.3" */
    struct str cipher;  /* as registered with IANA: "TLS_AES_256_GCM_SHA384" */
    unsigned bits;
    struct str sni; /* host name the client asked for, or empty */
    struct str alpn;
    struct str client_subject; /* verified client certificate: the address or name for SASL EXTERNAL; empty = none */
    uint8_t exporter[32];      /* tls-exporter channel binding, RFC 9266 (TLS 1.3) */
    bool has_exporter;
    uint8_t unique[64]; /* tls-unique, RFC 5929 (TLS 1.2) */
    size_t unique_size;
    uint8_t endpoint[64]; /* tls-server-end-point, RFC 5929 */
    size_t endpoint_size;
};

struct session_peer {
    char address[64]; /* textual IP address of the client, as PROXY protocol or the socket says; "" for a local pipe */
    uint16_t port;
    char local[64]; /* our address */
    uint16_t local_port;
    bool loopback;
    bool trusted_local; /* a unix socket whose peer is our own user or root */
    struct session_tls tls;
};

struct session;

struct session_io {
    enum session_event event;
    struct str in; /* borrowed for this step */
    bool in_full;
    size_t used; /* out: bytes of in that were taken; set to 0 before each step */
    struct buf *out;
    unsigned timeout_ms; /* out: how long to wait for input before EV_TIMEOUT; keeps its last value */
};

struct session_class {
    const char *name; /* "imap": for logs and metrics */
    enum session_outcome (*step)(struct session *s, struct session_io *io);
    void (*free)(struct session *s); /* releases everything; an unfinished transaction is dropped without effect */
};

/* Embedded as the first member of every protocol's session. */
struct session {
    const struct session_class *class;
    const struct session_peer *peer; /* set by the owner before the first step; lives as long as the session */
    struct session_waker *waker;     /* the owner's; NULL where nobody can wake it */
    uint64_t id;                     /* for logs; unique in this process */
};

/* Another thread has news for the session: its owner will step it with EV_WAKE soon. Any thread, any time until session free has
 * returned; cheap; many calls before the step make one wake-up. The caller must make sure by its own means (unsubscribe in free)
 * that the session still exists. */
struct session_waker {
    void (*wake)(struct session_waker *w);
};
static inline void session_wake(struct session *s)
{
    if (s->waker)
        s->waker->wake(s->waker);
}

/* Makes sessions of one kind: what a listener is bound to. */
struct session_factory {
    const char *name;
    struct session *(*make)(void *context, const struct session_peer *peer); /* NULL without memory */
    void *context;
};

#endif
