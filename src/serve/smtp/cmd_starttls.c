/* STARTTLS (RFC 3207). */
#include "serve/smtp/table.h"

static bool offered(const struct smtp_session *s) { return s->tls_available && !s->base.peer->tls.active; }

void smtp_cmd_starttls_keywords(struct smtp_session *s)
{
    if (offered(s))
        smtp_keyword(s, "STARTTLS"); /* RFC 3207 4.2: not any more once TLS is there */
}

enum smtp_next smtp_cmd_starttls(struct smtp_session *s, struct str arg)
{
    (void)arg;
    if (s->base.peer->tls.active || s->authenticated) {
        smtp_say(s, SMTP_SAY_BAD_SEQUENCE);
        return SMTP_NEXT_COMMAND;
    }
    if (!offered(s)) {
        smtp_say(s, SMTP_SAY_TLS_UNAVAILABLE);
        return SMTP_NEXT_COMMAND;
    }
    smtp_say(s, SMTP_SAY_START_TLS);
    smtp_session_forget(s); /* RFC 3207 4.2: what was learned in plain text is forgotten */
    return SMTP_NEXT_TLS;
}
