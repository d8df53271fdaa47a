/* STORE and UID STORE (RFC 9051 6.4.6, RFC 7162 3.1.3). One commit changes the flags; the answer is a cursor. */
#include "serve/imap/line.h"
#include "serve/imap/table.h"

struct store_command {
    struct imap_store what;
    bool uid;
    bool flags, modseq;         /* what the responses say; neither: there are none */
    struct uidset uids;         /* of the command */
    struct uidset refused;      /* by UNCHANGEDSINCE */
    struct uidset told;         /* to be answered */
    uint64_t to_tell, did_tell; /* messages; those that are missing were expunged meanwhile */
    struct line_writer lines;
};

static void store_release(void *state)
{
    struct store_command *t = state;
    uidset_release(&t->uids);
    uidset_release(&t->refused);
    uidset_release(&t->told);
}

/* ---- the change ---- */

static void change_release(struct message_store *change)
{
    uidset_release(&change->changed);
    uidset_release(&change->refused);
}

static enum st apply(struct imap_session *s, const struct store_command *t, const struct uidset *uids, uint64_t keywords,
                     uint64_t unchanged_since, struct message_store *change, struct err *e)
{
    *change = (struct message_store){.mode = (enum message_store_mode)t->what.mode,
                                     .flags = t->what.flags.flags,
                                     .keywords = keywords,
                                     .unchanged_since = unchanged_since};
    return message_store(s->account, s->selected.id, uids, change, e);
}

static enum st no_memory(struct err *e) { return ERR(e, ST_TEMP, "Out of memory", "STORE"); }

static enum st keep(struct uidset *into, const struct uidset *set, struct err *e)
{
    return uidset_or(into, set) == ST_OK ? ST_OK : no_memory(e);
}

/* Silent: what nobody else touched since the client last heard of it needs not be told; what somebody did is changed too, but told.
 */
static enum st store_silent(struct imap_session *s, struct store_command *t, uint64_t keywords, uint64_t condition, struct err *e)
{
    struct message_store first, second;
    uint64_t known = s->selected.modseq < condition ? s->selected.modseq : condition;
    TRY(apply(s, t, &t->uids, keywords, known, &first, e));
    imap_own_change(s, &first.changed, first.modseq);
    enum st st = ST_OK;
    if (!uidset_empty(&first.refused) && known < condition) {
        st = apply(s, t, &first.refused, keywords, condition, &second, e);
        if (st == ST_OK) {
            st = keep(&t->refused, &second.refused, e);
            change_release(&second);
        }
    } else {
        st = keep(&t->refused, &first.refused, e);
    }
    change_release(&first);
    return st;
}

static enum st store_told(struct imap_session *s, struct store_command *t, uint64_t keywords, uint64_t condition, struct err *e)
{
    struct message_store change;
    TRY(apply(s, t, &t->uids, keywords, condition, &change, e));
    enum st st = keep(&t->refused, &change.refused, e);
    if (st == ST_OK)
        imap_own_change(s, &change.changed, change.modseq);
    change_release(&change);
    return st;
}

/* ---- the answer ---- */

/* "MODIFIED 7,9": by UID or sequence number, as the command was. */
static bool modified_code(struct imap_session *s, const struct store_command *t, struct buf *out)
{
    DEFER(uidset_release) struct uidset numbers = UIDSET_EMPTY;
    const struct uidset *shown = &t->refused;
    uint32_t first, last;
    if (!t->uid) {
        for (uint64_t at = 0; uidset_next_run(&t->refused, &at, &first, &last);)
            if (uidset_add_range(&numbers, imap_sequence_of(s, first), imap_sequence_of(s, last)) != ST_OK)
                return false;
        shown = &numbers;
    }
    buf_add_z(out, "MODIFIED ");
    uidset_print(shown, out);
    return buf_ok(out);
}

static enum imap_next store_end(struct imap_session *s, const struct store_command *t)
{
    if (uidset_empty(&t->refused)) {
        if (t->did_tell < t->to_tell && !t->uid) /* RFC 5530; a UID that does not exist is ignored (RFC 9051 6.4.9) */
            return imap_ok(s, "EXPUNGEISSUED", "STORE completed, some messages were expunged meanwhile");
        return imap_ok(s, NULL, "STORE completed");
    }
    DEFER(buf_release) struct buf code = BUF_INIT(IMAP_TAGGED_MAX / 2);
    if (!modified_code(s, t, &code))
        return imap_no(s, "LIMIT", "Some messages were changed meanwhile, too many to be listed");
    return imap_ok_code(s, buf_str(&code), "Conditional STORE failed for some messages");
}

static void print(void *context, struct line_writer *w, const struct message_entry *m)
{
    const struct store_command *t = context;
    line_fetch(w, m, t->flags, t->modseq);
}

static enum imap_next store_resume(struct imap_session *s, struct imap_command *c)
{
    struct store_command *t = c->state;
    struct err e = {0};
    if (line_put_all(&t->lines, &t->told, print, t, &t->did_tell, &e) == IMAP_MORE)
        return IMAP_MORE;
    return e.class == ST_OK ? store_end(s, t) : imap_fail(s, &e);
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

/* Who is to be answered: all whose flags were stored, also if that changed nothing. With CONDSTORE the client learns mod-sequences
 * even if it wanted silence (RFC 7162 3.1.3; 3.1.4.2, example 14). */
static enum st choose_told(struct imap_session *s, struct store_command *t, struct err *e)
{
    t->flags = !t->what.silent;
    t->modseq = imap_condstore(s);
    if (!t->flags && !t->modseq)
        return ST_OK;
    TRY(keep(&t->told, &t->uids, e));
    uidset_minus(&t->told, &t->refused);
    t->to_tell = uidset_count(&t->told);
    line_init(&t->lines, s);
    return ST_OK;
}

static enum st store_begin(struct imap_session *s, struct store_command *t, struct err *e)
{
    uint64_t condition = t->what.has_unchanged_since ? t->what.unchanged_since : UINT64_MAX, keywords;
    TRY(check_rights(s, &t->what, e));
    if (uidset_empty(&t->uids))
        return ST_OK;
    TRY(imap_keyword_bits(s, &t->what.flags, t->what.mode != IMAP_STORE_REMOVE, &keywords, e));
    TRY(t->what.silent ? store_silent(s, t, keywords, condition, e) : store_told(s, t, keywords, condition, e));
    return choose_told(s, t, e);
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
    t->uid = c->uid;
    if (imap_set_resolve(s, &t->what.set, c->uid, &t->uids, &e) != ST_OK)
        return imap_fail_set(s, &e);
    if (s->selected.read_only)
        return imap_no(s, "READ-ONLY", "The mailbox is selected read-only");
    if (store_begin(s, t, &e) != ST_OK)
        return imap_fail(s, &e);
    c->resume = store_resume;
    return store_resume(s, c);
}
