/* VRFY (RFC 5321 3.5.3, 7.3): answered, without telling which mailboxes exist. */
#include "serve/smtp/table.h"

enum smtp_next smtp_cmd_vrfy(struct smtp_session *s, struct str arg)
{
    (void)arg;
    smtp_say(s, SMTP_SAY_CANNOT_VERIFY);
    return SMTP_NEXT_COMMAND;
}
