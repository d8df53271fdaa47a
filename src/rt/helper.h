/* Helpers: the programs that the configuration names (`program "fax" { command = ... }`), run at the server's request by the
 * supervisor, because the server itself can start nothing. A program gets its input, its output and some variables; it has no
 * network, bounded time and memory, and the rights of an unprivileged user. The server chooses by name among the configured ones
 * and cannot say what is run.
 *
 * Threads: any; helper_run blocks. */
#ifndef RT_HELPER_H
#define RT_HELPER_H

#include <stdatomic.h>

#include "base/buf.h"
#include "base/err.h"

enum { HELPER_VARIABLES_MAX = 16, HELPER_VALUE_MAX = 1000 };

struct helper_variable {
    const char *name; /* SENDER, RECIPIENT, USER, DETAIL, DOMAIN, MESSAGE_ID, QUEUE_ID, SIZE, CLIENT or TYPE */
    struct str value; /* no control characters, at most HELPER_VALUE_MAX bytes */
};
struct helper_job {
    const char *program; /* the title of its section */
    int input;           /* its standard input, read from where it stands; borrowed. -1: nothing */
    const struct helper_variable *variables;
    size_t variable_count;
    const atomic_bool *give_up; /* true: it is not waited for any more (ST_TEMP), and runs on until its time is over. NULL: never */
};

struct helper_result {
    int exit_code; /* -1: a signal ended it */
    int signal;
    bool late;    /* it took longer than the configuration allows, and was ended */
    bool cut_off; /* it wrote more than `output` takes; the rest was thrown away */
};

/* Runs it to its end. What it writes (standard output and error) goes to `output`. ST_OK also if the program failed: look at
 * *result. ST_NOTFOUND: no such program; ST_TEMP: it could not be started, too many run already, there is no supervisor; ST_PERM: a
 * variable is not allowed. */
enum st helper_run(const struct helper_job *job, struct buf *output, struct helper_result *result, struct err *e) MUST_USE;

/* The way to the supervisor, once at the start: its socket, kept. -1: there is none. */
void helper_connect(int fd);

#endif
