#include "serve/imap/table.h"

/* RFC 9051 6.4.1: expunges without telling, but not in a mailbox that was EXAMINEd. */
enum imap_next imap_cmd_close(struct imap_session *s, struct imap_command *c)
{
    (void)c;
    struct err e = {0};
    uint64_t modseq;
    DEFER(uidset_release) struct uidset expunged = UIDSET_EMPTY;
    uint32_t id = s->selected.id;
    bool may = !s->selected.read_only && access_allowed(&s->who, ACCESS_EXPUNGE, account_id_of(s->account), id);
    enum st st = may ? message_expunge(s->account, id, NULL, true, &expunged, &modseq, &e) : ST_OK;
    imap_deselect(s);
    return st == ST_OK || st == ST_NOTFOUND ? imap_ok(s, NULL, "CLOSE completed") : imap_fail(s, &e);
}

/* RFC 9051 6.4.2 */
enum imap_next imap_cmd_unselect(struct imap_session *s, struct imap_command *c)
{
    (void)c;
    imap_deselect(s);
    return imap_ok(s, NULL, "UNSELECT completed");
}
