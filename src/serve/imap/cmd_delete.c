#include "serve/imap/table.h"

/* RFC 9051 6.3.5. The mailbox that this session has selected: it is left first, so that the reply can still be given. */
enum imap_next imap_cmd_delete(struct imap_session *s, struct imap_command *c)
{
    struct str name;
    struct err e = {0};
    struct mailbox_info *info = ARENA_NEW(&s->arena, struct mailbox_info);
    if (!imap_parse_mailbox(&c->args, &name) || !imap_parse_end(&c->args))
        return imap_bad_args(s, c);
    if (!info)
        return imap_no(s, "LIMIT", "Out of memory");
    if (str_eq(name, STR("INBOX")))
        return imap_no(s, "CANNOT", "INBOX cannot be deleted");
    if (mailbox_find(s->account, name, &s->arena, info, &e) != ST_OK ||
        imap_access(s, ACCESS_DELETE_MAILBOX, info->id, &e) != ST_OK)
        return imap_fail(s, &e);
    bool own = info->id == s->selected.id;
    if (mailbox_delete(s->account, name, &e) != ST_OK)
        return imap_fail(s, &e);
    imap_tell_old_name(s, "\\NonExistent", info->name, name);
    if (own) {
        imap_deselect(s);
        imap_put(s, STR("* OK [CLOSED] The selected mailbox was deleted\r\n"));
    }
    return imap_ok(s, NULL, "DELETE completed");
}
