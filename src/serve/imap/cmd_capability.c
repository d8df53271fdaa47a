#include "serve/imap/table.h"

/* RFC 9051 6.1.1 */
enum imap_next imap_cmd_capability(struct imap_session *s, struct imap_command *c)
{
    (void)c;
    imap_put(s, STR("* CAPABILITY "));
    imap_table_capabilities(s, s->out);
    imap_put(s, STR("\r\n"));
    return imap_ok(s, NULL, "CAPABILITY completed");
}
