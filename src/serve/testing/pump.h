/* The owner of a session in tests: what net/host is in the programs. Feeds input as it is told, drains output, keeps the contract
 * of net/session.h, and checks that the session does too. */
#ifndef SERVE_TESTING_PUMP_H
#define SERVE_TESTING_PUMP_H

#include "net/session.h"

struct pump {
    struct session *session;
    struct session_peer *peer;
    struct buf in;   /* not taken yet */
    struct buf out;  /* of one step */
    struct buf said; /* everything the session wrote */
    enum session_outcome outcome;
    unsigned timeout_ms;
    bool started;
    const char *breach; /* the first breach of the contract, or NULL */
};

enum { PUMP_SAID_MAX = 512 << 20 };

/* Takes the session (may be NULL: then breach is set). room: maximum of the output buffer of a step. */
void pump_init(struct pump *p, struct session *s, size_t room);
void pump_release(struct pump *p);

/* Gives input, at most `piece` bytes a step. Starts the session at the first call. Input behind a close is dropped. */
void pump_feed(struct pump *p, struct str bytes, size_t piece);
void pump_event(struct pump *p, enum session_event event);
bool pump_closed(const struct pump *p);

#endif
