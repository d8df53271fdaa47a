/* FETCH and UID FETCH (RFC 9051 6.4.5, 7162, 3516, 8474, 8514, 8970, 9394). The answer is a cursor over index pages; ENVELOPE,
 * BODYSTRUCTURE and most header fields come from the digests, so that the message itself is read only for its text. */
#include "rt/log.h"
#include "serve/imap/fetch.h"
#include "serve/imap/table.h"

static void fetch_release(void *state)
{
    struct fetch *f = state;
    uidset_release(&f->uids);
    uidset_release(&f->told);
    uidset_release(&f->vanished);
    buf_release(&f->digests);
    buf_release(&f->bodies);
    buf_release(&f->scratch);
    buf_release(&f->crlf);
    buf_release(&f->one);
}

/* ---- messages ---- */

static void space(struct imap_session *s, struct fetch *f)
{
    if (f->spaced)
        buf_add_c(s->out, ' ');
    f->spaced = true;
}

static void open_message(struct imap_session *s, struct fetch *f)
{
    fetch_ahead(s, f);
    imap_put(s, STR("* "));
    buf_add_u64(s->out, line_sequence(&f->lines, f->page[f->page_at].uid));
    imap_put(s, STR(" FETCH ("));
    f->open = true;
    f->spaced = f->has_digest = false;
    f->item = 0;
}

static void put_extra(struct imap_session *s, struct fetch *f, enum imap_fetch_kind kind)
{
    struct imap_fetch_item item = {.kind = kind};
    space(s, f);
    (void)fetch_item(s, f, &item); /* of the index: it does not fail */
}

/* What the client did not ask for and gets all the same: UID of UID FETCH, flags that this command changed, and then UID and MODSEQ
 * for a client that knows mod-sequences (RFC 7162 3.2.4). */
static void close_message(struct imap_session *s, struct fetch *f)
{
    bool changed = uidset_has(&f->told, f->page[f->page_at].uid);
    bool aware = changed && imap_condstore(s);
    bool empty = !f->spaced; /* no item could be had, but a response is never empty */
    if (empty || ((f->add_uid || aware) && !imap_fetch_has(&f->what, IMAP_FETCH_UID)))
        put_extra(s, f, IMAP_FETCH_UID);
    if (changed && !imap_fetch_has(&f->what, IMAP_FETCH_FLAGS))
        put_extra(s, f, IMAP_FETCH_FLAGS);
    if ((f->add_modseq || aware) && !imap_fetch_has(&f->what, IMAP_FETCH_MODSEQ))
        put_extra(s, f, IMAP_FETCH_MODSEQ);
    imap_put(s, STR(")\r\n"));
    f->open = false;
    f->page_at++;
}

/* The next page; false: there is none, or an error in f->worst. */
static bool read_page(struct imap_session *s, struct fetch *f)
{
    f->page_at = f->page_n = f->window = f->window_n = 0;
    while (f->page_n == 0 && f->next_uid && !f->stop) {
        struct message_room room = {f->page, f->page_max, &f->page_n};
        f->stop = message_page(s->account, s->selected.id, &f->uids, &f->next_uid, room, &f->worst) != ST_OK;
    }
    f->missing -= f->page_n;
    return f->page_n > 0;
}

/* Data that cannot be had: the response of the message is closed without it, the command ends with NO; messages that cannot be read
 * do not keep others from being read, unless the store itself does not work at the moment. */
static void give_up_item(struct fetch *f)
{
    enum st class = f->err.class;
    if (class == ST_NOTFOUND)
        f->missing++;
    else if (f->worst.class == ST_OK || f->worst.class == ST_PERM)
        f->worst = f->err;
    f->stop = class == ST_TEMP || class == ST_BUG;
    f->err = (struct err){0};
    f->item = f->what.count;
}

static void do_item(struct imap_session *s, struct fetch *f)
{
    size_t mark = s->out->n;
    bool spaced = f->spaced;
    space(s, f);
    if (fetch_item(s, f, &f->what.items[f->item]) != FETCH_FAILED) {
        f->item++;
        return;
    }
    buf_cut(s->out, mark); /* without the space and the label */
    f->spaced = spaced;
    give_up_item(f);
}

static enum imap_next fetch_end(struct imap_session *s, struct fetch *f)
{
    if (!f->stop && !uidset_empty(&f->told))
        imap_own_change(s, &f->told, f->told_modseq);
    if (f->worst.class == ST_PERM)
        return imap_no(s, "UNKNOWN-CTE", "%s", f->worst.text); /* RFC 3516 4.3 */
    if (f->worst.class != ST_OK)
        return imap_fail(s, &f->worst);
    if (f->missing > 0 && !f->uid) /* RFC 5530; a UID that does not exist is ignored (RFC 9051 6.4.9) */
        return imap_ok(s, "EXPUNGEISSUED", "FETCH completed, some messages were expunged meanwhile");
    return imap_ok(s, NULL, "FETCH completed");
}

/* Inside a literal nothing can be said any more: whatever came would be taken for its bytes. */
static enum imap_next break_off(struct imap_session *s, struct fetch *f)
{
    log_event(LOG_WARN, "imap.fetch", LOG_UINT("session", s->base.id), LOG_Z("user", s->who.address), LOG_ERR(&f->err));
    s->said_bye = true;
    imap_say_bye(s, "");
    return IMAP_CLOSE;
}

/* Items of the index only: one walk. */
static enum imap_next plain_resume(struct imap_session *s, struct fetch *f)
{
    uint64_t count = 0;
    if (line_put_all(&f->lines, &f->uids, fetch_plain, f, &count, &f->worst) == IMAP_MORE) {
        f->missing -= count;
        return IMAP_MORE;
    }
    f->missing -= count;
    return fetch_end(s, f);
}

static enum imap_next fetch_resume(struct imap_session *s, struct imap_command *c)
{
    struct fetch *f = c->state;
    if (!uidset_empty(&f->vanished) && imap_put_vanished(s, &f->vanished, &f->vanished_at, true) == IMAP_MORE)
        return IMAP_MORE;
    uidset_release(&f->vanished);
    if (f->plain)
        return plain_resume(s, f);
    for (;;) {
        enum fetch_step step = f->stream == FETCH_STREAM_NONE ? FETCH_NEXT : fetch_stream(s, f);
        if (step == FETCH_BROKEN)
            return break_off(s, f);
        if (step == FETCH_ROOM || !imap_room(s))
            return IMAP_MORE;
        if (f->open && f->item < f->what.count)
            do_item(s, f);
        else if (f->open)
            close_message(s, f);
        else if (f->stop || (f->page_at == f->page_n && !read_page(s, f)))
            return fetch_end(s, f);
        else
            open_message(s, f);
    }
}

/* ---- beginning ---- */

/* RFC 7162 3.1.4.1 and 3.2.6: only what changed since, and what vanished. */
static enum st only_changed(struct imap_session *s, struct fetch *f, struct err *e)
{
    struct mailbox_changes changes;
    TRY(mailbox_changes(s->account, s->selected.id, f->what.changed_since, &changes, e));
    uidset_and(&f->uids, &changes.changed);
    enum st st = ST_OK;
    if (f->what.vanished) {
        st = imap_set_raw(s, &f->what.set, &f->vanished, e);
        uidset_and(&f->vanished, &changes.vanished);
        uidset_minus(&f->vanished, &s->selected.uids); /* those are told as VANISHED without EARLIER */
    }
    mailbox_changes_release(&changes);
    return st;
}

/* Reading text without PEEK sets \Seen (RFC 9051 6.4.5): one commit for all, before the answer that tells the new flags. Where it
 * cannot be set (a full disk), mail can be read all the same. */
static void set_seen(struct imap_session *s, struct fetch *f)
{
    struct err e = {0};
    struct message_store change = {.mode = MESSAGE_STORE_ADD, .flags = MESSAGE_SEEN, .unchanged_since = UINT64_MAX};
    if (message_store(s->account, s->selected.id, &f->uids, &change, &e) != ST_OK) {
        log_event(LOG_WARN, "imap.seen", LOG_UINT("session", s->base.id), LOG_Z("user", s->who.address), LOG_ERR(&e));
        return;
    }
    f->told_modseq = change.modseq;
    f->told = change.changed;
    uidset_release(&change.refused);
}

static bool make_page(struct imap_session *s, struct fetch *f)
{
    uint64_t count = uidset_count(&f->uids);
    f->page_max = count < FETCH_PAGE ? (size_t)count : FETCH_PAGE;
    if (f->plain || count == 0)
        return true;
    f->page = ARENA_ARRAY(&s->arena, f->page_max, struct message_entry);
    f->emails = ARENA_ARRAY(&s->arena, f->page_max, struct fetch_email);
    return f->page && f->emails;
}

static enum st fetch_begin(struct imap_session *s, struct fetch *f, struct err *e)
{
    TRY(imap_access(s, ACCESS_READ, s->selected.id, e));
    if (f->what.has_changed_since)
        TRY(only_changed(s, f, e));
    fetch_item_needs(f);
    bool may_set = !s->selected.read_only && access_allowed(&s->who, ACCESS_SEEN, s->who.account, s->selected.id);
    if (f->what.sets_seen && may_set && !uidset_empty(&f->uids))
        set_seen(s, f);
    ENSURE(make_page(s, f), e, ST_TEMP, "out of memory");
    f->missing = uidset_count(&f->uids);
    f->next_uid = uidset_empty(&f->uids) ? 0 : 1;
    line_init(&f->lines, s);
    return ST_OK;
}

static enum st resolve(struct imap_session *s, struct fetch *f, struct err *e)
{
    TRY(imap_set_resolve(s, &f->what.set, f->uid, &f->uids, e));
    if (!f->what.partial)
        return ST_OK;
    DEFER(uidset_release) struct uidset all = f->uids;
    f->uids = UIDSET_EMPTY;
    if (imap_set_partial(&all, f->what.partial_first, f->what.partial_last, &f->uids) == ST_OK)
        return ST_OK;
    return ERR(e, ST_TEMP, "Out of memory", "a message set");
}

enum imap_next imap_cmd_fetch(struct imap_session *s, struct imap_command *c)
{
    struct err e = {0};
    struct fetch *f = ARENA_NEW(&s->arena, struct fetch);
    if (!f)
        return imap_no(s, "LIMIT", "The command is too large");
    f->digests.max = FETCH_DIGESTS_MAX;
    f->bodies.max = FETCH_BODIES_MAX;
    c->state = f;
    c->release = fetch_release;
    if (!imap_parse_fetch(&c->args, &f->what) || !imap_parse_end(&c->args))
        return imap_bad_args(s, c);
    if (f->what.vanished && !(imap_qresync(s) && c->uid)) /* RFC 7162 3.2.6 */
        return imap_bad(s, "VANISHED is for UID FETCH after ENABLE QRESYNC");
    if (f->what.partial && !c->uid) /* RFC 9394 3.3 */
        return imap_bad(s, "PARTIAL is for UID FETCH");
    if (f->what.has_changed_since || imap_fetch_has(&f->what, IMAP_FETCH_MODSEQ))
        imap_condstore_enable(s);
    f->uid = c->uid;
    if (resolve(s, f, &e) != ST_OK)
        return imap_fail_set(s, &e);
    f->add_uid = c->uid && !imap_fetch_has(&f->what, IMAP_FETCH_UID);
    f->add_modseq = f->what.has_changed_since && !imap_fetch_has(&f->what, IMAP_FETCH_MODSEQ);
    if (fetch_begin(s, f, &e) != ST_OK)
        return imap_fail(s, &e);
    c->resume = fetch_resume;
    return fetch_resume(s, c);
}
