/* STORE and UID STORE (RFC 9051 6.4.6, RFC 7162 3.1.3). One commit changes the flags; the answer is a cursor. */
#include "serve/imap/imap.h"
#include "serve/imap/table.h"

_Static_assert((int)IMAP_FLAG_SEEN == (int)MESSAGE_SEEN && (int)IMAP_FLAG_ANSWERED == (int)MESSAGE_ANSWERED &&
                   (int)IMAP_FLAG_FLAGGED == (int)MESSAGE_FLAGGED && (int)IMAP_FLAG_DELETED == (int)MESSAGE_DELETED &&
                   (int)IMAP_FLAG_DRAFT == (int)MESSAGE_DRAFT,
               "the grammar's flags are the store's");
_Static_assert((int)IMAP_STORE_SET == (int)MESSAGE_STORE_SET && (int)IMAP_STORE_ADD == (int)MESSAGE_STORE_ADD &&
                   (int)IMAP_STORE_REMOVE == (int)MESSAGE_STORE_REMOVE,
               "the grammar's modes are the store's");

struct store_command {
    struct imap_store what;
    struct uidset uids;
    struct uidset done;    /* to be told */
    struct uidset refused; /* by UNCHANGEDSINCE */
    uint64_t modseq;
    uint32_t next_uid;
};

static void store_release(void *state)
{
    struct store_command *t = state;
    uidset_release(&t->uids);
    uidset_release(&t->done);
    uidset_release(&t->refused);
}

/* ---- the change ---- */

static enum st apply(struct imap_session *s, const struct store_command *t, const struct uidset *uids, uint64_t unchanged_since,
                     struct message_store *change, struct err *e)
{
    *change = (struct message_store){
        .mode = (enum message_store_mode)t->what.mode, .flags = t->what.flags.flags, .unchanged_since = unchanged_since};
    TRY(imap_keyword_bits(s, &t->what.flags, t->what.mode != IMAP_STORE_REMOVE, &change->keywords, e));
    return message_store(s->account, s->selected.id, uids, change, e);
}

static void change_release(struct message_store *change)
{
    uidset_release(&change->changed);
    uidset_release(&change->refused);
}

/* Silent: what nobody else touched since the client last heard of it needs not be told; what somebody did is changed too, but told.
 */
static enum st store_silent(struct imap_session *s, struct store_command *t, uint64_t condition, struct err *e)
{
    struct message_store first, second;
    uint64_t known = s->selected.modseq < condition ? s->selected.modseq : condition;
    TRY(apply(s, t, &t->uids, known, &first, e));
    t->modseq = first.modseq;
    imap_own_change(s, &first.changed, first.modseq);
    enum st st = uidset_or(&t->done, &first.changed);
    if (st == ST_OK && !uidset_empty(&first.refused) && known < condition) {
        st = apply(s, t, &first.refused, condition, &second, e);
        if (st == ST_OK) {
            st = uidset_or(&t->refused, &second.refused);
            change_release(&second);
        }
    } else if (st == ST_OK) {
        st = uidset_or(&t->refused, &first.refused);
    }
    change_release(&first);
    return st;
}

static enum st store_told(struct imap_session *s, struct store_command *t, uint64_t condition, struct err *e)
{
    struct message_store change;
    TRY(apply(s, t, &t->uids, condition, &change, e));
    t->modseq = change.modseq;
    enum st st = uidset_or(&t->done, &t->uids);
    uidset_minus(&t->done, &change.refused);
    if (st == ST_OK)
        st = uidset_or(&t->refused, &change.refused);
    if (st == ST_OK)
        imap_own_change(s, &t->done, change.modseq);
    change_release(&change);
    return st;
}

/* ---- the answer ---- */

/* RFC 7162 3.1.3: after a conditional STORE the client learns the new mod-sequence even if it wanted silence. */
static enum imap_next put_modseqs(struct imap_session *s, struct store_command *t)
{
    uint32_t first, last;
    uint64_t at = t->next_uid;
    while (uidset_next_run(&t->done, &at, &first, &last))
        for (uint32_t uid = first; uid >= first && uid <= last; uid++) {
            if (!imap_room(s)) {
                t->next_uid = uid;
                return IMAP_MORE;
            }
            imap_putf(s, "* %u FETCH (UID %u MODSEQ (%llu))\r\n", imap_sequence_of(s, uid), uid, (unsigned long long)t->modseq);
        }
    return IMAP_DONE;
}

/* "MODIFIED 7,9": by UID or sequence number, as the command was. */
static bool modified_code(struct imap_session *s, const struct imap_command *c, const struct store_command *t, struct buf *out)
{
    DEFER(uidset_release) struct uidset numbers = UIDSET_EMPTY;
    const struct uidset *shown = &t->refused;
    uint32_t first, last;
    if (!c->uid) {
        for (uint64_t at = 0; uidset_next_run(&t->refused, &at, &first, &last);)
            if (uidset_add_range(&numbers, imap_sequence_of(s, first), imap_sequence_of(s, last)) != ST_OK)
                return false;
        shown = &numbers;
    }
    buf_add_z(out, "MODIFIED ");
    uidset_print(shown, out);
    return buf_ok(out);
}

static enum imap_next store_resume(struct imap_session *s, struct imap_command *c)
{
    struct store_command *t = c->state;
    enum imap_next next = IMAP_DONE;
    if (!t->what.silent)
        next = imap_put_all_flags(s, &t->done, &t->next_uid);
    else if (t->what.has_unchanged_since)
        next = put_modseqs(s, t);
    if (next == IMAP_MORE)
        return IMAP_MORE;
    if (uidset_empty(&t->refused))
        return imap_ok(s, NULL, "STORE completed");
    DEFER(buf_release) struct buf code = BUF_INIT(IMAP_TAGGED_MAX / 2);
    if (!modified_code(s, c, t, &code))
        return imap_no(s, "LIMIT", "Some messages were changed meanwhile");
    return imap_ok_code(s, buf_str(&code), "Conditional STORE failed for some messages");
}

/* ---- beginning ---- */

static enum st check_rights(struct imap_session *s, const struct imap_store *what, struct err *e)
{
    uint32_t flags = what->flags.flags, id = s->selected.id;
    bool others = what->flags.count > 0 || (flags & ~(uint32_t)(MESSAGE_SEEN | MESSAGE_DELETED)) || what->mode == IMAP_STORE_SET;
    if (flags & MESSAGE_SEEN)
        TRY(imap_access(s, ACCESS_SEEN, id, e));
    if (flags & MESSAGE_DELETED)
        TRY(imap_access(s, ACCESS_DELETE_MESSAGE, id, e));
    return others ? imap_access(s, ACCESS_WRITE, id, e) : ST_OK;
}

static enum st store_begin(struct imap_session *s, struct store_command *t, struct err *e)
{
    uint64_t condition = t->what.has_unchanged_since ? t->what.unchanged_since : UINT64_MAX;
    TRY(check_rights(s, &t->what, e));
    t->next_uid = t->what.silent ? 0 : 1;
    if (uidset_empty(&t->uids))
        return ST_OK;
    return t->what.silent ? store_silent(s, t, condition, e) : store_told(s, t, condition, e);
}

enum imap_next imap_cmd_store(struct imap_session *s, struct imap_command *c)
{
    struct err e = {0};
    struct store_command *t = ARENA_NEW(&s->arena, struct store_command);
    if (!t)
        return imap_no(s, "LIMIT", "The command is too large");
    c->state = t;
    c->release = store_release;
    if (!imap_parse_store(&c->args, &t->what) || !imap_parse_end(&c->args))
        return imap_bad_args(s, c);
    if (t->what.has_unchanged_since)
        imap_condstore_enable(s);
    if (s->selected.read_only)
        return imap_no(s, "READ-ONLY", "The mailbox is selected read-only");
    if (imap_set_resolve(s, &t->what.set, c->uid, &t->uids, &e) != ST_OK)
        return imap_fail_set(s, &e);
    if (store_begin(s, t, &e) != ST_OK)
        return imap_fail(s, &e);
    c->resume = store_resume;
    return store_resume(s, c);
}
