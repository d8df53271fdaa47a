#include "serve/imap/table.h"

/* RFC 9051 6.1.2: the news are told by the session. */
enum imap_next imap_cmd_noop(struct imap_session *s, struct imap_command *c)
{
    (void)c;
    return imap_ok(s, NULL, "NOOP completed");
}

/* RFC 3501 6.4.1 */
enum imap_next imap_cmd_check(struct imap_session *s, struct imap_command *c)
{
    (void)c;
    return imap_ok(s, NULL, "CHECK completed");
}
