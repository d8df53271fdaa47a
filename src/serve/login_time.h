/* How long a session that nobody logged into may live: silence has its timeout, but a byte before each must not hold a connection
 * for days (POP3, IMAP). */
#ifndef SERVE_LOGIN_TIME_H
#define SERVE_LOGIN_TIME_H

#include <stdbool.h>

#include "rt/clock.h"
#include "rt/settings.h"

static inline bool login_time_over(const struct settings *s, int64_t began_ms)
{
    return clock_mono_ms() - began_ms >= s->auth_login_time_max_ms;
}

/* Milliseconds to wait for input: those of the protocol, or what is left of the whole. At least 1. */
static inline unsigned login_time_left(const struct settings *s, int64_t began_ms, int64_t timeout_ms)
{
    int64_t left = began_ms + s->auth_login_time_max_ms - clock_mono_ms();
    if (left > timeout_ms)
        left = timeout_ms;
    return left > 0 ? (unsigned)left : 1;
}

#endif
