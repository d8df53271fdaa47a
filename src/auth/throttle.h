/* Slows guessing down: counts failed logins for each client address (an IPv6 client counts as its /64) and for each account, in
 * tables of a fixed size. Past the limit of either, tries are refused without looking at the password until the block has passed;
 * each further block of the same key lasts twice as long, up to a maximum. A client that sends the same wrong password again and
 * again (a forgotten device) is counted once. An address that logged in to an account before is not held up by what others did to
 * that account.
 *
 * Threads: any; one lock for each stripe. Time is rt/clock's. Limits are settings (auth_*). */
#ifndef AUTH_THROTTLE_H
#define AUTH_THROTTLE_H

#include "base/err.h"
#include "base/str.h"

struct throttle;

struct throttle *throttle_new(size_t entries); /* NULL without memory */
void throttle_free(struct throttle *t);

struct throttle_try {
    struct str address; /* textual IP address; empty: a local socket of our own user, never held up */
    bool loopback;      /* many people may come from there (webmail): the address is not counted, the account is */
    struct str name;    /* of the account, or what was given for one: case does not matter */
    uint64_t proof;     /* something that is the same for the same password, so that a repetition is known; 0: unknown */
};
/* ST_LIMIT with a public text while either key is blocked. *wait_s (may be NULL): how long still. */
enum st throttle_allow(struct throttle *t, const struct throttle_try *try, unsigned *wait_s, struct err *e) MUST_USE;
void throttle_failed(struct throttle *t, const struct throttle_try *try);
void throttle_succeeded(struct throttle *t, const struct throttle_try *try);

#endif
