#include "serve/imap/table.h"

/* RFC 9051 6.3.6 */
enum imap_next imap_cmd_rename(struct imap_session *s, struct imap_command *c)
{
    struct str from, to;
    struct err e = {0};
    struct mailbox_info *info = ARENA_NEW(&s->arena, struct mailbox_info);
    if (!imap_parse_mailbox(&c->args, &from) || !imap_parse_space(&c->args) || !imap_parse_mailbox(&c->args, &to) ||
        !imap_parse_end(&c->args))
        return imap_bad_args(s, c);
    if (!info)
        return imap_no(s, "LIMIT", "Out of memory");
    if (mailbox_find(s->account, from, &s->arena, info, &e) != ST_OK ||
        imap_access(s, ACCESS_DELETE_MAILBOX, info->id, &e) != ST_OK || imap_access(s, ACCESS_CREATE, 0, &e) != ST_OK ||
        mailbox_rename(s->account, from, to, &e) != ST_OK)
        return imap_fail(s, &e);
    return imap_ok(s, NULL, "RENAME completed");
}
