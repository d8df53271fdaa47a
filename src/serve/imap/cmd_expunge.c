/* EXPUNGE and UID EXPUNGE (RFC 9051 6.4.3, 6.4.9). What is gone is told by the sync before the reply. */
#include "serve/imap/imap.h"
#include "serve/imap/table.h"

enum imap_next imap_cmd_expunge(struct imap_session *s, struct imap_command *c)
{
    struct imap_set set;
    struct err e = {0};
    uint64_t modseq;
    DEFER(uidset_release) struct uidset uids = UIDSET_EMPTY;
    DEFER(uidset_release) struct uidset gone = UIDSET_EMPTY;
    if (c->uid && !imap_parse_set(&c->args, &set))
        return imap_bad_args(s, c);
    if (!imap_parse_end(&c->args))
        return imap_bad_args(s, c);
    if (s->selected.read_only)
        return imap_no(s, "READ-ONLY", "The mailbox is selected read-only");
    if (imap_access(s, ACCESS_EXPUNGE, s->selected.id, &e) != ST_OK)
        return imap_fail(s, &e);
    if (c->uid && imap_set_resolve(s, &set, true, &uids, &e) != ST_OK)
        return imap_fail_set(s, &e);
    if (!c->uid || !uidset_empty(&uids)) {
        enum st st = message_expunge(s->account, s->selected.id, c->uid ? &uids : NULL, true, &gone, &modseq, &e);
        if (st != ST_OK)
            return imap_fail(s, &e);
    }
    if (imap_qresync(s))
        imap_ok_highest_modseq(s);
    return imap_ok(s, NULL, "EXPUNGE completed");
}
