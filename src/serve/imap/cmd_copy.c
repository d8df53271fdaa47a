/* COPY, MOVE and their UID forms (RFC 9051 6.4.7, 6.4.8; RFC 4315, 6851). */
#include "serve/imap/imap.h"
#include "serve/imap/table.h"

/* A MOVE whose answer is being written: "* OK [COPYUID ...] Moved" before the EXPUNGE responses. */
struct move {
    struct buf line;
    size_t at;
};

static void move_release(void *state)
{
    struct move *m = state;
    buf_release(&m->line);
}

static void result_release(struct message_copy *r)
{
    uidset_release(&r->from_uids);
    uidset_release(&r->to_uids);
}

/* "COPYUID 38505 304,319:320 3956:3958" (RFC 4315 3) */
static void put_copyuid(const struct message_copy *r, struct buf *out)
{
    buf_printf(out, "COPYUID %u ", r->uidvalidity);
    uidset_print(&r->from_uids, out);
    buf_add_c(out, ' ');
    uidset_print(&r->to_uids, out);
}

static enum imap_next copied(struct imap_session *s, const struct message_copy *r)
{
    DEFER(buf_release) struct buf code = BUF_INIT(IMAP_TAGGED_MAX / 2);
    if (uidset_empty(&r->to_uids))
        return imap_ok(s, NULL, "COPY completed, nothing was copied");
    put_copyuid(r, &code);
    return buf_ok(&code) ? imap_ok_code(s, buf_str(&code), "COPY completed") : imap_ok(s, NULL, "COPY completed");
}

static enum imap_next move_resume(struct imap_session *s, struct imap_command *c)
{
    struct move *m = c->state;
    struct str piece = str_upto(str_from(buf_str(&m->line), m->at), imap_room_bytes(s));
    imap_put(s, piece);
    m->at += piece.n;
    if (m->at < m->line.n)
        return IMAP_MORE;
    if (imap_qresync(s)) /* RFC 6851 4.4 */
        imap_ok_highest_modseq(s);
    return imap_ok(s, NULL, "MOVE completed");
}

/* RFC 9051 6.4.8: COPYUID is in an untagged OK, before what says that the messages are gone. */
static enum imap_next moved(struct imap_session *s, struct imap_command *c, const struct message_copy *r)
{
    struct move *m = ARENA_NEW(&s->arena, struct move);
    if (uidset_empty(&r->to_uids))
        return imap_ok(s, NULL, "MOVE completed, nothing was moved");
    if (!m)
        return imap_ok(s, NULL, "MOVE completed");
    buf_init(&m->line, IMAP_TAGGED_MAX);
    c->state = m;
    c->release = move_release;
    c->resume = move_resume;
    buf_add_z(&m->line, "* OK [");
    put_copyuid(r, &m->line);
    buf_add_z(&m->line, "] Moved\r\n");
    if (!buf_ok(&m->line))
        buf_release(&m->line); /* too long a code: the messages were moved all the same */
    return move_resume(s, c);
}

static enum st check_rights(struct imap_session *s, bool move, struct err *e)
{
    TRY(imap_access(s, ACCESS_READ, s->selected.id, e));
    if (!move)
        return ST_OK;
    TRY(imap_access(s, ACCESS_DELETE_MESSAGE, s->selected.id, e));
    return imap_access(s, ACCESS_EXPUNGE, s->selected.id, e);
}

/* A message that the client names by its number and that another session expunged: then nothing is copied rather than a part (RFC
 * 9051 6.4.7, RFC 2180 4.4.1). UIDs that are gone are ignored (RFC 9051 6.4.9). */
static enum st check_there(struct imap_session *s, const struct uidset *uids, bool *all, struct err *e)
{
    DEFER(uidset_release) struct uidset gone = UIDSET_EMPTY;
    DEFER(uidset_release) struct uidset present = UIDSET_EMPTY;
    uint64_t modseq;
    TRY(mailbox_uids(s->account, s->selected.id, &present, &modseq, e));
    if (uidset_copy(uids, &gone) != ST_OK)
        return ERR(e, ST_TEMP, "Out of memory", "COPY");
    uidset_minus(&gone, &present);
    *all = uidset_empty(&gone);
    return ST_OK;
}

static enum imap_next refuse(struct imap_session *s, const struct err *e)
{
    struct account_quota q;
    account_quota(s->account, &q);
    bool limited = q.bytes_max != UINT64_MAX || q.messages_max != UINT64_MAX;
    return e->class == ST_LIMIT && limited ? imap_no(s, "OVERQUOTA", "%s", e->text) : imap_fail(s, e); /* RFC 9208 4.3.1 */
}

static enum imap_next copy_to(struct imap_session *s, struct imap_command *c, const struct uidset *uids, struct str name, bool move)
{
    struct err e = {0};
    struct mailbox_info *to = ARENA_NEW(&s->arena, struct mailbox_info);
    struct message_copy result = {.move = move};
    bool all = true;
    if (!to)
        return imap_no(s, "LIMIT", "The command is too large");
    enum st st = imap_find_mailbox(s, name, ACCESS_INSERT, to, &e);
    if (st == ST_NOTFOUND)
        return imap_no(s, "TRYCREATE", "There is no such mailbox");
    if (st == ST_OK)
        st = check_rights(s, move, &e);
    if (st == ST_OK && !c->uid)
        st = check_there(s, uids, &all, &e);
    if (!all)
        return imap_no(s, "EXPUNGEISSUED", "Some of the messages were expunged meanwhile");
    if (st == ST_OK && !uidset_empty(uids))
        st = message_copy(s->account, s->selected.id, to->id, uids, &result, &e);
    enum imap_next next = st != ST_OK ? refuse(s, &e) : move ? moved(s, c, &result) : copied(s, &result);
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
    if (imap_set_resolve(s, &set, c->uid, &uids, &e) != ST_OK)
        return imap_fail_set(s, &e);
    if (move && s->selected.read_only)
        return imap_no(s, "READ-ONLY", "The mailbox is selected read-only");
    return copy_to(s, c, &uids, name, move);
}

enum imap_next imap_cmd_copy(struct imap_session *s, struct imap_command *c) { return copy_or_move(s, c, false); }
enum imap_next imap_cmd_move(struct imap_session *s, struct imap_command *c) { return copy_or_move(s, c, true); }
