#include "serve/smtp/pace.h"

#include "rt/clock.h"
#include "serve/smtp/policy.h"
#include "serve/smtp/smtp.h"

enum { US = 1000, US_PER_S = 1000000 };

static bool in_message(const struct smtp_session *s) { return s->state == SMTP_DATA || s->state == SMTP_CHUNK; }

/* For what the session waits for now, from the last reply on. A session that makes mistakes is not waited for as long. */
static int64_t patience_us(const struct smtp_session *s)
{
    const struct settings *set = s->settings;
    if (s->state == SMTP_LOOKUP)
        return set->smtp_client_name_timeout_ms * US;
    int64_t ms = in_message(s) ? set->smtp_data_timeout_ms : set->smtp_command_timeout_ms;
    return (s->errors > set->smtp_errors_max / 2 ? ms / 4 + 1 : ms) * US;
}

/* When the session as a whole must have ended, if it is not in the middle of a message. */
static int64_t last_us(const struct smtp_session *s)
{
    int64_t ms = s->settings->smtp_session_time_max_ms;
    if (smtp_policy_login_missing(s) && ms > s->settings->auth_login_time_max_ms)
        ms = s->settings->auth_login_time_max_ms;
    return s->pace.began_us + ms * US;
}

void smtp_pace_begin(struct smtp_session *s)
{
    s->pace.began_us = clock_mono_us();
    s->pace.moved = true;
}

bool smtp_pace_late(const struct smtp_session *s) { return clock_mono_us() >= s->pace.due_us; }

bool smtp_pace_over(const struct smtp_session *s) { return clock_mono_us() >= last_us(s); }

unsigned smtp_pace_end(struct smtp_session *s)
{
    struct smtp_pace *p = &s->pace;
    int64_t now = clock_mono_us(), most = now + patience_us(s);
    if (p->moved)
        p->due_us = most;
    else if (in_message(s))
        p->due_us += (int64_t)(p->bytes * US_PER_S / (uint64_t)s->settings->smtp_data_rate_min);
    if (p->due_us > most)
        p->due_us = most;
    if (!in_message(s) && p->due_us > last_us(s))
        p->due_us = last_us(s);
    p->moved = false;
    p->bytes = 0;
    return p->due_us > now ? (unsigned)((p->due_us - now + US - 1) / US) : 1;
}
