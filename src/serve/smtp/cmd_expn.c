/* EXPN and the obsolete commands (RFC 5321 3.5.1, F.1, F.6): known and not done. */
#include "serve/smtp/table.h"

enum smtp_next smtp_cmd_expn(struct smtp_session *s, struct str arg)
{
    (void)arg;
    smtp_say(s, SMTP_SAY_NOT_IMPLEMENTED);
    return SMTP_NEXT_COMMAND;
}

/* A browser, made to send something to this port. */
enum smtp_next smtp_cmd_foreign(struct smtp_session *s, struct str arg)
{
    (void)arg;
    smtp_say(s, SMTP_SAY_FOREIGN_PROTOCOL);
    return SMTP_NEXT_CLOSE;
}
