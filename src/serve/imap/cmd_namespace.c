#include "serve/imap/table.h"

/* RFC 9051 6.3.10: only the personal namespace, at the root. */
enum imap_next imap_cmd_namespace(struct imap_session *s, struct imap_command *c)
{
    (void)c;
    imap_put(s, STR("* NAMESPACE ((\"\" \"/\")) NIL NIL\r\n"));
    return imap_ok(s, NULL, "NAMESPACE completed");
}
