/* The supervisor's side of helpers (rt/helper.h): starts the programs that the configuration names, each with no network, its own
 * user, bounded time, memory and descriptors, and tells the server how they ended. What the server sends is not trusted: it may
 * name a program of the configuration and set variables of a fixed list; anything else is refused.
 *
 * One thread: the supervisor's loop calls helpers_serve when helpers_fd is readable, helpers_reaped for each child that ended, and
 * helpers_look at the time that it names. */
#ifndef APP_HELPER_H
#define APP_HELPER_H

#include <sys/types.h>

#include "base/err.h"
#include "rt/settings.h"

enum { HELPERS_MAX = 32 /* at the same time */ };

struct helpers;

enum st helpers_new(const struct settings *s, struct helpers **out, struct err *e) MUST_USE; /* keeps s until helpers_free */
void helpers_free(struct helpers *h);                                                        /* ends those that run */
int helpers_fd(const struct helpers *h);                                                     /* to poll for reading */
int helpers_server_fd(const struct helpers *h); /* for helper_connect in the server process */
void helpers_serve(struct helpers *h);
bool helpers_reaped(struct helpers *h, pid_t pid, int status); /* false: not one of these */
/* Ends those that are late; returns the milliseconds until the next may be, at most `most`. */
unsigned helpers_look(struct helpers *h, unsigned most);

#endif
