/* QUIT (RFC 5321 4.1.1.10). */
#include "serve/smtp/table.h"

enum smtp_next smtp_cmd_quit(struct smtp_session *s, struct str arg)
{
    (void)arg;
    smtp_session_reset(s);
    smtp_sayf(s, SMTP_SAY_BYE, "%s closing", s->services->hostname);
    return SMTP_NEXT_CLOSE;
}
