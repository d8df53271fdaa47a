/* RSET (RFC 5321 4.1.1.5). */
#include "serve/smtp/table.h"

enum smtp_next smtp_cmd_rset(struct smtp_session *s, struct str arg)
{
    (void)arg;
    smtp_session_reset(s);
    smtp_say(s, SMTP_SAY_RESET);
    return SMTP_NEXT_COMMAND;
}
