#include "serve/imap/table.h"

/* What the mailbox is called now, if the client spelt either name otherwise than they are kept. */
static void tell_names(struct imap_session *s, struct str old, struct str from, struct str to)
{
    struct err e = {0};
    struct mailbox_info *now = ARENA_NEW(&s->arena, struct mailbox_info);
    if (!imap_is_rev2(s) || !now || mailbox_find(s->account, to, &s->arena, now, &e) != ST_OK)
        return;
    if (!str_eq(old, from) || !str_eq(now->name, to))
        imap_put_list_name(s, "", now->name, from);
}

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
    tell_names(s, info->name, from, to);
    return imap_ok(s, NULL, "RENAME completed");
}
