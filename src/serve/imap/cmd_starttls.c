#include "serve/imap/table.h"

/* RFC 9051 6.2.1. What the client sent in plain text behind it is thrown away by the session's owner. */
enum imap_next imap_cmd_starttls(struct imap_session *s, struct imap_command *c)
{
    (void)c;
    if (s->base.peer->tls.active)
        return imap_bad(s, "TLS is on already");
    if (!s->tls_available)
        return imap_bad(s, "TLS is not available here");
    (void)imap_ok(s, NULL, "Begin TLS negotiation now");
    return IMAP_TLS;
}
