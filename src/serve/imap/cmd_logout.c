#include "serve/imap/table.h"

/* RFC 9051 6.1.3 */
enum imap_next imap_cmd_logout(struct imap_session *s, struct imap_command *c)
{
    (void)c;
    imap_put(s, STR("* BYE Good-bye\r\n"));
    s->said_bye = true;
    (void)imap_ok(s, NULL, "LOGOUT completed");
    return IMAP_CLOSE;
}
