/* How entries leave the queue: SMTP and LMTP to other hosts, programs, local delivery, and fakes in tests. A transport is one open
 * connection, owned by one thread, blocking. */
#ifndef QUEUE_TRANSPORT_H
#define QUEUE_TRANSPORT_H

#include "queue/attempt.h"

struct queue;

/* Why there is no connection: the fate of everything for the destination. */
struct transport_failure {
    enum attempt_result result; /* ATTEMPT_TEMP or ATTEMPT_PERM */
    char status[512];           /* as in attempt_set */
    bool smtp;
    char host[256];
};

enum transport_state {
    TRANSPORT_READY, /* may take the next entry */
    TRANSPORT_GONE,  /* closed by the other side or by an error; recipients that are still open may be tried at another host */
};

struct transport {
    const struct transport_class *class;
    struct transport_failure lost; /* with TRANSPORT_GONE: why */
};

struct transport_class {
    const char *name;
    /* Connects to the first host of the destination (route_destination) that will talk. False: *why. */
    bool (*open)(struct queue *q, struct str destination, struct transport **out, struct transport_failure *why);
    /* One transaction for some or all open recipients: sets the result of each that was part of it. An entry whose recipients are
     * all delivered or refused needs no other transaction. */
    enum transport_state (*deliver)(struct transport *t, struct attempt *a);
    void (*close)(struct transport *t); /* politely if it is READY */
};

extern const struct transport_class transport_local;
extern const struct transport_class transport_smtp;
extern const struct transport_class transport_program;

#endif
