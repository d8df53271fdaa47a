/* How the end of a gateway program is understood. */
#ifndef QUEUE_TRANSPORT_PROGRAM_H
#define QUEUE_TRANSPORT_PROGRAM_H

#include "queue/attempt.h"
#include "rt/helper.h"

/* output: what the program wrote; its first line becomes the text. A line that begins with an enhanced status code (RFC 3463) of
 * the class that the exit code asks for is the status itself. *status is cleared first. Pure. */
enum attempt_result program_result(const struct helper_result *r, struct str output, struct buf *status);

#endif
