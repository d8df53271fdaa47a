/* COPY, MOVE and their UID forms (RFC 9051 6.4.7, 6.4.8; RFC 4315, 6851). */
#include "serve/imap/imap.h"
#include "serve/imap/table.h"

static void result_release(struct message_copy *r)
{
    uidset_release(&r->from_uids);
    uidset_release(&r->to_uids);
}

/* "COPYUID 38505 304,319:320 3956:3958" (RFC 4315 3); false: nothing was copied, or the code is too long to be said. */
static bool copyuid(const struct message_copy *r, struct buf *out)
{
    if (uidset_empty(&r->to_uids))
        return false;
    buf_printf(out, "COPYUID %u ", r->uidvalidity);
    uidset_print(&r->from_uids, out);
    buf_add_c(out, ' ');
    uidset_print(&r->to_uids, out);
    return buf_ok(out);
}

static enum imap_next answer(struct imap_session *s, const struct message_copy *r)
{
    DEFER(buf_release) struct buf code = BUF_INIT(IMAP_TAGGED_MAX / 2);
    bool has_code = copyuid(r, &code);
    if (!r->move)
        return has_code ? imap_ok_code(s, buf_str(&code), "COPY completed") : imap_ok(s, NULL, "COPY completed");
    if (has_code) { /* RFC 6851 4.3: before the EXPUNGE responses, so not in the tagged reply */
        imap_put(s, STR("* OK ["));
        imap_put(s, buf_str(&code));
        imap_put(s, STR("] Moved\r\n"));
    }
    if (imap_qresync(s))
        imap_ok_highest_modseq(s);
    return imap_ok(s, NULL, "MOVE completed");
}

static enum st check_rights(struct imap_session *s, bool move, struct err *e)
{
    TRY(imap_access(s, ACCESS_READ, s->selected.id, e));
    if (!move)
        return ST_OK;
    TRY(imap_access(s, ACCESS_DELETE_MESSAGE, s->selected.id, e));
    return imap_access(s, ACCESS_EXPUNGE, s->selected.id, e);
}

static enum imap_next copy_to(struct imap_session *s, const struct uidset *uids, struct str name, bool move)
{
    struct err e = {0};
    struct mailbox_info to;
    struct message_copy result = {.move = move};
    enum st st = imap_find_mailbox(s, name, ACCESS_INSERT, &to, &e);
    if (st == ST_NOTFOUND)
        return imap_no(s, "TRYCREATE", "There is no such mailbox");
    if (st == ST_OK)
        st = check_rights(s, move, &e);
    if (st == ST_OK && !uidset_empty(uids))
        st = message_copy(s->account, s->selected.id, to.id, uids, &result, &e);
    enum imap_next next = st == ST_OK ? answer(s, &result) : imap_fail(s, &e);
    result_release(&result);
    return next;
}

static enum imap_next copy_or_move(struct imap_session *s, struct imap_command *c, bool move)
{
    struct imap_set set;
    struct str name;
    struct err e = {0};
    DEFER(uidset_release) struct uidset uids = UIDSET_EMPTY;
    if (!imap_parse_set(&c->args, &set) || !imap_parse_space(&c->args) || !imap_parse_mailbox(&c->args, &name) ||
        !imap_parse_end(&c->args))
        return imap_bad_args(s, c);
    if (move && s->selected.read_only)
        return imap_no(s, "READ-ONLY", "The mailbox is selected read-only");
    if (imap_set_resolve(s, &set, c->uid, &uids, &e) != ST_OK)
        return imap_fail_set(s, &e);
    return copy_to(s, &uids, name, move);
}

enum imap_next imap_cmd_copy(struct imap_session *s, struct imap_command *c) { return copy_or_move(s, c, false); }
enum imap_next imap_cmd_move(struct imap_session *s, struct imap_command *c) { return copy_or_move(s, c, true); }
