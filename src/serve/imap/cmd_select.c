/* SELECT and EXAMINE (RFC 9051 6.3.2, 6.3.3; RFC 7162 3.1.8, 3.2.5). What it costs does not depend on the size of the mailbox: the
 * sequence map is the store's compressed set of UIDs. */
#include <stdlib.h>

#include "base/check.h"
#include "serve/imap/table.h"

/* The part after the usual answer: QRESYNC. */
struct resync {
    struct uidset vanished, changed;
    uint64_t vanished_at;
};

static void release(void *state)
{
    struct resync *r = state;
    uidset_release(&r->vanished);
    uidset_release(&r->changed);
}

static enum imap_next selected_ok(struct imap_session *s, struct imap_command *c)
{
    return imap_ok(s, s->selected.read_only ? "READ-ONLY" : "READ-WRITE", "%s completed", c->verb->name);
}

/* NO means that nothing is selected (RFC 9051 6.3.2): a client that took it at its word must not find out by CLOSE. */
static enum imap_next give_up(struct imap_session *s, const struct err *e)
{
    imap_deselect(s);
    return imap_fail(s, e);
}

static enum imap_next resume(struct imap_session *s, struct imap_command *c)
{
    struct resync *r = c->state;
    struct err e = {0};
    /* VANISHED before any FETCH (RFC 7162 3.2.6) */
    if (imap_put_vanished(s, &r->vanished, &r->vanished_at, true) == IMAP_MORE)
        return IMAP_MORE;
    if (imap_put_all_flags(s, &r->changed, &e) == IMAP_MORE)
        return IMAP_MORE;
    return e.class == ST_OK ? selected_ok(s, c) : give_up(s, &e);
}

/* ---- opening ---- */

static void changed(struct account_watch *w, uint64_t modseq)
{
    (void)modseq;
    struct imap_session *s = (struct imap_session *)(void *)((char *)w - offsetof(struct imap_session, watch));
    atomic_store(&s->news, true);
    if (atomic_load(&s->idling))
        session_wake(&s->base);
}

static void take_recent(struct imap_session *s, const struct mailbox_info *info)
{
    struct imap_selected *m = &s->selected;
    struct err e = {0};
    uint32_t first = info->first_recent_uid, last = uidset_max(&m->uids);
    if (imap_is_rev2(s))
        return;
    if (!m->read_only && mailbox_claim_recent(s->account, m->id, &first, &e) != ST_OK)
        return;
    if (first > last || uidset_add_range(&m->recent, first ? first : 1, last) != ST_OK)
        return;
    uidset_and(&m->recent, &m->uids);
}

static enum st open_mailbox(struct imap_session *s, const struct mailbox_info *info, bool read_only, struct err *e)
{
    struct imap_selected *m = &s->selected;
    *m = (struct imap_selected){.id = info->id, .uidvalidity = info->uidvalidity, .read_only = read_only};
    /* Watched before it is read, so that nothing falls in between; told twice does no harm. */
    s->watch = (struct account_watch){.mailbox = info->id, .changed = changed};
    atomic_store(&s->news, false);
    account_watch(s->account, &s->watch);
    enum st st = mailbox_uids(s->account, info->id, &m->uids, &m->modseq, e);
    if (st != ST_OK) {
        imap_deselect(s);
        return st;
    }
    m->safe_modseq = m->modseq;
    s->state = IMAP_SELECTED;
    take_recent(s, info);
    return ST_OK;
}

/* ---- the answer ---- */

/* RFC 3501 6.3.1: the first message without \Seen */
static void put_unseen(struct imap_session *s)
{
    DEFER(uidset_release) struct uidset unseen = UIDSET_EMPTY;
    struct err e = {0};
    uint64_t modseq;
    if (mailbox_subset_uids(s->account, s->selected.id, MAILBOX_UNSEEN, &unseen, &modseq, &e) != ST_OK)
        return;
    uidset_and(&unseen, &s->selected.uids);
    if (!uidset_empty(&unseen))
        imap_putf(s, "* OK [UNSEEN %u] First unseen message\r\n", imap_sequence_of(s, uidset_min(&unseen)));
}

static void put_mailbox_facts(struct imap_session *s, const struct mailbox_info *info, struct str given)
{
    struct imap_selected *m = &s->selected;
    imap_put_flag_names(s, info);
    imap_putf(s, "* %u EXISTS\r\n", imap_exists(s));
    if (!imap_is_rev2(s)) {
        imap_putf(s, "* %u RECENT\r\n", (uint32_t)uidset_count(&m->recent));
        put_unseen(s);
    }
    uint32_t uidnext = info->uidnext > uidset_max(&m->uids) ? info->uidnext : uidset_max(&m->uids) + 1;
    imap_putf(s, "* OK [UIDVALIDITY %u] UIDs are valid\r\n* OK [UIDNEXT %u] Predicted next UID\r\n", m->uidvalidity, uidnext);
    imap_putf(s, "* OK [HIGHESTMODSEQ %llu] Highest mod-sequence\r\n", (unsigned long long)m->modseq);
    imap_putf(s, "* OK [MAILBOXID (F%u)] Mailbox id\r\n", m->id); /* RFC 8474 4 */
    if (imap_is_rev2(s))                                          /* RFC 9051 6.3.2 */
        imap_put_list_name(s, "", info->name, given);
}

/* ---- QRESYNC ---- */

/* Up to which UID the client's own sample shows that it knows all expunges (RFC 7162 3.2.5.2): pairs of sequence number and UID are
 * compared until one does not fit. */
static enum st matched_up_to(struct imap_session *s, const struct imap_select *p, uint32_t *uid, struct err *e)
{
    DEFER(uidset_release) struct uidset sequence = UIDSET_EMPTY;
    DEFER(uidset_release) struct uidset uids = UIDSET_EMPTY;
    TRY(imap_set_raw(s, &p->match_sequence, &sequence, e));
    TRY(imap_set_raw(s, &p->match_uids, &uids, e));
    uint32_t exists = imap_exists(s);
    *uid = 0;
    for (uint32_t i = 1; i <= exists; i++) {
        uint32_t number = uidset_select(&sequence, i), known = uidset_select(&uids, i);
        if (!number || !known || number > exists || uidset_select(&s->selected.uids, number) != known)
            break;
        *uid = known;
    }
    return ST_OK;
}

static enum st find_changes(struct imap_session *s, const struct imap_select *p, struct resync *r, struct err *e)
{
    DEFER(uidset_release) struct uidset known = UIDSET_EMPTY;
    struct mailbox_changes c;
    TRY(mailbox_changes(s->account, s->selected.id, p->modseq, &c, e));
    r->vanished = c.vanished;
    r->changed = c.changed;
    uidset_and(&r->changed, &s->selected.uids);
    uidset_minus(&r->vanished, &s->selected.uids); /* came back to life is impossible, but a lie would be expensive */
    if (p->has_known) {
        TRY(imap_set_raw(s, &p->known_uids, &known, e));
        uidset_and(&r->vanished, &known);
        uidset_and(&r->changed, &known);
    }
    uint32_t matched = 0;
    if (!c.complete && p->has_match)
        TRY(matched_up_to(s, p, &matched, e));
    if (matched)
        uidset_remove_range(&r->vanished, 1, matched);
    return ST_OK;
}

static enum imap_next resync(struct imap_session *s, struct imap_command *c, const struct imap_select *p)
{
    struct err e = {0};
    struct resync *r = ARENA_NEW(&s->arena, struct resync);
    if (!r) {
        (void)ERR(&e, ST_LIMIT, "The command is too large", "QRESYNC");
        return give_up(s, &e);
    }
    c->state = r;
    c->release = release;
    c->resume = resume;
    if (find_changes(s, p, r, &e) != ST_OK)
        return give_up(s, &e);
    return resume(s, c);
}

/* ---- the commands ---- */

static enum imap_next select_mailbox(struct imap_session *s, struct imap_command *c, bool read_only)
{
    struct imap_select p;
    struct err e = {0};
    struct mailbox_info *info = ARENA_NEW(&s->arena, struct mailbox_info);
    if (!imap_parse_select(&c->args, &p))
        return imap_bad_args(s, c);
    if (p.qresync && !imap_qresync(s))
        return imap_bad(s, "QRESYNC needs ENABLE QRESYNC first"); /* RFC 7162 3.2.5 */
    if (!info)
        return imap_no(s, "LIMIT", "Out of memory");
    bool was_selected = s->selected.id != 0;
    imap_deselect(s); /* also if the new one cannot be selected (RFC 9051 6.3.2) */
    if (was_selected)
        imap_put(s, STR("* OK [CLOSED] The previous mailbox is closed\r\n")); /* RFC 7162 3.2.11 */
    if (imap_find_mailbox(s, p.mailbox, ACCESS_READ, info, &e) != ST_OK || open_mailbox(s, info, read_only, &e) != ST_OK)
        return imap_fail(s, &e);
    if (p.condstore || p.qresync)
        s->enabled |= IMAP_ENABLED_CONDSTORE;
    put_mailbox_facts(s, info, p.mailbox);
    s->info = info;
    if (p.qresync && p.uidvalidity == info->uidvalidity)
        return resync(s, c, &p);
    return selected_ok(s, c);
}

enum imap_next imap_cmd_select(struct imap_session *s, struct imap_command *c) { return select_mailbox(s, c, false); }
enum imap_next imap_cmd_examine(struct imap_session *s, struct imap_command *c) { return select_mailbox(s, c, true); }
