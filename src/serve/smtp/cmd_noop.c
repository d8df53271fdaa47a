/* NOOP (RFC 5321 4.1.1.9). */
#include "serve/smtp/table.h"

enum smtp_next smtp_cmd_noop(struct smtp_session *s, struct str arg)
{
    (void)arg;
    smtp_say(s, SMTP_SAY_OK);
    return SMTP_NEXT_COMMAND;
}
