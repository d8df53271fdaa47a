/* STLS (RFC 2595 4). */
#include "serve/pop3/table.h"

static bool offered(const struct pop3_session *s) { return s->tls_available && !s->base.peer->tls.active; }

void pop3_cmd_stls_capability(struct pop3_session *s)
{
    if (offered(s))
        pop3_line(s, "STLS");
}

enum pop3_next pop3_cmd_stls(struct pop3_session *s, struct str arg)
{
    (void)arg;
    if (!offered(s)) {
        pop3_err(s, POP3_CODE_NONE, "TLS is %s", s->base.peer->tls.active ? "active already" : "not available");
        return POP3_NEXT_COMMAND;
    }
    if (s->utf8) { /* RFC 6856 2.1 */
        pop3_err(s, POP3_CODE_NONE, "not after UTF8");
        return POP3_NEXT_COMMAND;
    }
    pop3_ok(s, "begin TLS");
    pop3_session_forget(s);
    return POP3_NEXT_TLS;
}
