/* What the server and the supervisor say to each other about helpers: datagrams on one pair of sockets (SOCK_SEQPACKET).
 *
 * A request is "program\0NAME=value\0...", with three descriptors: standard input, standard output, and where the result is written
 * to. The result is one struct helper_answer. */
#ifndef RT_HELPER_WIRE_H
#define RT_HELPER_WIRE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/str.h"
#include "rt/helper.h"

enum { HELPER_REQUEST_MAX = 24 << 10, HELPER_FDS = 3 };
enum { HELPER_STDIN, HELPER_STDOUT, HELPER_REPLY };

enum helper_outcome {
    HELPER_EXITED,
    HELPER_SIGNALLED,
    HELPER_LATE,
    HELPER_UNKNOWN,
    HELPER_BUSY,
    HELPER_NOT_STARTED,
    HELPER_MALFORMED
};
struct helper_answer {
    int32_t outcome;
    int32_t value; /* exit code, signal, or errno */
};

/* Both sides ask: the names that may be set, and values without control characters. */
bool helper_variable_ok(struct str name, struct str value);

#endif
