/* Telling the client what other sessions did to the selected mailbox (RFC 9051 7.4, 7.5.1; RFC 7162 3.2.10). */
#include "base/check.h"
#include "serve/imap/line.h"

enum { VANISHED_LINE = 4000 /* bytes of a VANISHED line */ };

void imap_own_change(struct imap_session *s, const struct uidset *uids, uint64_t modseq)
{
    if (uidset_or(&s->sync.own, uids) != ST_OK)
        return; /* then it is told once more, which does no harm */
    if (modseq > s->sync.own_modseq)
        s->sync.own_modseq = modseq;
}

static void sync_end(struct imap_session *s)
{
    struct imap_sync *y = &s->sync;
    uidset_release(&y->changed);
    uidset_release(&y->own);
    *y = (struct imap_sync){0};
}

/* ---- what is to be told ---- */

/* New messages have UIDs above all others (promise 3 of the store), so they go behind. */
static enum st take_new(struct imap_session *s, struct mailbox_changes *c)
{
    DEFER(uidset_release) struct uidset fresh = UIDSET_EMPTY;
    struct imap_selected *m = &s->selected;
    TRY(uidset_copy(&c->changed, &fresh));
    uidset_remove_range(&fresh, 1, uidset_max(&m->uids));
    if (uidset_empty(&fresh))
        return ST_OK;
    TRY(uidset_or(&m->uids, &fresh));
    s->sync.exists = true;
    if (imap_is_rev2(s))
        return ST_OK;
    struct err e = {0};
    uint32_t first = 0;
    if (m->read_only || mailbox_claim_recent(s->account, m->id, &first, &e) != ST_OK) {
        first = uidset_min(&fresh); /* in doubt recent (RFC 3501 2.3.2) */
    }
    if (first > 1)
        uidset_remove_range(&fresh, 1, first - 1);
    return uidset_or(&m->recent, &fresh);
}

static enum st take_changes(struct imap_session *s, struct mailbox_changes *c)
{
    struct imap_selected *m = &s->selected;
    struct imap_sync *y = &s->sync;
    y->modseq = c->modseq;
    uidset_and(&c->vanished, &m->uids);
    TRY(uidset_or(&m->expunged, &c->vanished));
    TRY(uidset_copy(&c->changed, &y->changed));
    uidset_and(&y->changed, &m->uids); /* new ones are not told by their flags */
    if (y->modseq <= y->own_modseq)    /* nobody did anything since: most of the time */
        uidset_minus(&y->changed, &y->own);
    return take_new(s, c);
}

/* The mailbox is gone: nothing that the client says makes sense any more (RFC 2180 3.3). */
static void mailbox_gone(struct imap_session *s)
{
    imap_say_bye(s, "The selected mailbox was deleted");
    sync_end(s);
}

void imap_sync_begin(struct imap_session *s, bool expunges)
{
    struct imap_sync *y = &s->sync;
    struct imap_selected *m = &s->selected;
    if (!m->id || y->active)
        return;
    bool news = atomic_exchange(&s->news, false) || s->news_missed;
    if (!news && (!expunges || uidset_empty(&m->expunged))) {
        sync_end(s);
        return;
    }
    y->active = true;
    y->expunges = expunges;
    y->modseq = m->modseq;
    if (!news)
        return;
    s->news_missed = false;
    struct mailbox_changes c;
    struct err e = {0};
    enum st st = mailbox_changes(s->account, m->id, m->modseq, &c, &e);
    if (st == ST_OK) {
        st = take_changes(s, &c);
        mailbox_changes_release(&c);
    }
    if (st == ST_NOTFOUND) {
        mailbox_gone(s);
    } else if (st != ST_OK) {
        s->news_missed = true;
        sync_end(s);
    }
}

/* ---- telling ---- */

enum imap_next imap_put_vanished(struct imap_session *s, const struct uidset *uids, uint64_t *at, bool earlier)
{
    uint32_t first, last;
    size_t line = 0; /* where it began in the output; 0: none is open */
    while (uidset_next_run(uids, at, &first, &last)) {
        bool open = line != 0 && s->out->n - line < VANISHED_LINE;
        if (!open) {
            if (line)
                imap_put(s, STR("\r\n"));
            line = 0;
            if (!imap_room(s)) {
                *at = first;
                return IMAP_MORE;
            }
            line = s->out->n + 1;
        }
        imap_put(s, open ? STR(",") : earlier ? STR("* VANISHED (EARLIER) ") : STR("* VANISHED "));
        if (first == last)
            imap_putf(s, "%u", first);
        else
            imap_putf(s, "%u:%u", first, last);
    }
    if (line)
        imap_put(s, STR("\r\n"));
    return IMAP_DONE;
}

/* Highest first: so the numbers of the lower ones stay as they are. */
static enum imap_next put_expunges(struct imap_session *s)
{
    struct imap_selected *m = &s->selected;
    while (!uidset_empty(&m->expunged)) {
        if (!imap_room(s))
            return IMAP_MORE;
        uint32_t uid = uidset_max(&m->expunged);
        imap_putf(s, "* %u EXPUNGE\r\n", uidset_rank(&m->uids, uid));
        uidset_remove(&m->uids, uid);
        uidset_remove(&m->expunged, uid);
        uidset_remove(&m->recent, uid);
    }
    return IMAP_DONE;
}

static enum imap_next tell_expunged(struct imap_session *s)
{
    struct imap_selected *m = &s->selected;
    if (!s->sync.expunges || uidset_empty(&m->expunged))
        return IMAP_DONE;
    if (!imap_qresync(s))
        return put_expunges(s);
    if (imap_put_vanished(s, &m->expunged, &s->sync.vanished_at, false) == IMAP_MORE)
        return IMAP_MORE;
    uidset_minus(&m->uids, &m->expunged);
    uidset_minus(&m->recent, &m->expunged);
    uidset_release(&m->expunged);
    return IMAP_DONE;
}

static void tell_exists(struct imap_session *s)
{
    if (!s->sync.exists)
        return;
    s->sync.exists = false;
    imap_putf(s, "* %u EXISTS\r\n", imap_exists(s));
    if (!imap_is_rev2(s))
        imap_putf(s, "* %u RECENT\r\n", (uint32_t)uidset_count(&s->selected.recent));
}

static void put_fetch(void *context, struct line_writer *w, const struct message_entry *m)
{
    (void)context;
    line_fetch(w, m, true, imap_condstore(w->s));
}

static void put_news(void *context, struct line_writer *w, const struct message_entry *m)
{
    const struct imap_sync *y = context;
    bool own = m->modseq <= y->own_modseq && uidset_has(&y->own, m->uid);
    if (!own)
        line_fetch(w, m, true, imap_condstore(w->s));
}

static enum imap_next put_flags(struct imap_session *s, struct uidset *left, line_print *print, void *context, struct err *e)
{
    struct line_writer w;
    uint64_t count = 0;
    if (uidset_empty(left))
        return IMAP_DONE;
    line_init(&w, s);
    return line_put_all(&w, left, print, context, &count, e);
}

enum imap_next imap_put_all_flags(struct imap_session *s, struct uidset *left, struct err *e)
{
    return put_flags(s, left, put_fetch, NULL, e);
}

/* New keywords belong into FLAGS before a message shows them (RFC 9051 7.3.5). */
static void tell_keywords(struct imap_session *s)
{
    struct err e = {0};
    const struct mailbox_info *info = imap_selected_info(s, true, &e);
    if (info && info->keyword_count != s->selected.keyword_count)
        imap_put_flag_names(s, info);
}

enum imap_next imap_sync_step(struct imap_session *s)
{
    struct imap_sync *y = &s->sync;
    struct err e = {0};
    if (!y->active)
        return IMAP_DONE;
    if (tell_expunged(s) == IMAP_MORE || !imap_room(s))
        return IMAP_MORE;
    if (!y->keywords_told && (y->exists || !uidset_empty(&y->changed)))
        tell_keywords(s);
    y->keywords_told = true;
    tell_exists(s);
    if (put_flags(s, &y->changed, put_news, y, &e) == IMAP_MORE)
        return IMAP_MORE;
    if (e.class != ST_OK) { /* the client does not know it all: from here on again with the next command (RFC 7162 6) */
        s->news_missed = true;
        sync_end(s);
        return IMAP_DONE;
    }
    struct imap_selected *m = &s->selected;
    m->modseq = y->modseq;
    if (uidset_empty(&m->expunged))
        m->safe_modseq = m->modseq;
    sync_end(s);
    return IMAP_DONE;
}
