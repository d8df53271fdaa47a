/* How long an SMTP session may take. Silence is ended as RFC 5321 4.5.3.2 has it, but who sends a byte just before each timeout
 * must not hold a connection for days:
 *
 *   - a command must be complete within command_timeout of the reply before it;
 *   - a message must come with data_rate_min on the average: each byte buys time, and data_timeout is the most that can be had;
 *   - a session ends before its next command when session_time_max is over, submission without a login at auth login_time_max.
 *
 * What the server needs itself (commits, DNS) is not counted: time begins anew when a step ends. One owner, the session. */
#ifndef SERVE_SMTP_PACE_H
#define SERVE_SMTP_PACE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct smtp_session;

struct smtp_pace {
    int64_t began_us; /* monotonic, like the other */
    int64_t due_us;   /* what the session waits for must be complete */
    uint64_t bytes;   /* of messages, in this step */
    bool moved;       /* the session waits for something else than before */
};

void smtp_pace_begin(struct smtp_session *s);
/* Input comes too late. */
bool smtp_pace_late(const struct smtp_session *s);
/* At the end of a step: milliseconds that the owner shall wait for input. */
unsigned smtp_pace_end(struct smtp_session *s);
/* The session has lasted so long that no further command is taken. */
bool smtp_pace_over(const struct smtp_session *s);

#endif
