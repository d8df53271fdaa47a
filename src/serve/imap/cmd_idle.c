/* IDLE (RFC 9051 6.3.13, 2177): parked until news or DONE. */
#include "serve/imap/table.h"

static enum imap_next tell(struct imap_session *s, struct imap_command *c)
{
    c->resume = tell;
    if (imap_sync_step(s) == IMAP_MORE)
        return IMAP_MORE;
    return IMAP_WAIT;
}

/* IDLE is a command in progress, so expunges may be told (RFC 9051 7.5.1). */
static enum imap_next news(struct imap_session *s, struct imap_command *c)
{
    imap_sync_begin(s, true);
    return tell(s, c);
}

static enum imap_next done(struct imap_session *s, struct imap_command *c, struct str line)
{
    (void)c;
    atomic_store(&s->idling, false);
    if (!str_eq_nocase(line, STR("DONE")))
        return imap_bad(s, "Expected DONE");
    return imap_ok(s, NULL, "IDLE completed");
}

enum imap_next imap_cmd_idle(struct imap_session *s, struct imap_command *c)
{
    c->line = done;
    c->news = news;
    atomic_store(&s->idling, true); /* before the flag is looked at: what happens from here on wakes */
    imap_put(s, STR("+ idling\r\n"));
    return news(s, c);
}
