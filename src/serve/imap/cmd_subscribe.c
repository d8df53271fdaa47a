#include "serve/imap/table.h"

static enum imap_next subscribe(struct imap_session *s, struct imap_command *c, bool subscribed)
{
    struct str name;
    struct err e = {0};
    if (!imap_parse_mailbox(&c->args, &name) || !imap_parse_end(&c->args))
        return imap_bad_args(s, c);
    if (imap_access(s, ACCESS_LOOKUP, 0, &e) != ST_OK || mailbox_subscribe(s->account, name, subscribed, &e) != ST_OK)
        return imap_fail(s, &e);
    return imap_ok(s, NULL, "%s completed", c->verb->name);
}

enum imap_next imap_cmd_subscribe(struct imap_session *s, struct imap_command *c) { return subscribe(s, c, true); }    /* 6.3.7 */
enum imap_next imap_cmd_unsubscribe(struct imap_session *s, struct imap_command *c) { return subscribe(s, c, false); } /* 6.3.8 */
