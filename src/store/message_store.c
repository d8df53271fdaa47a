#include "store/batch.h"

struct store_step {
    uint32_t mailbox;
    const struct uidset *uids;
    struct message_store *change;
    uint32_t first, next;
    struct uidset changed, refused;
    uint64_t modseq;
};

static void new_flags(const struct message_store *c, struct message_entry *m)
{
    switch (c->mode) {
    case MESSAGE_STORE_SET:
        m->flags = c->flags;
        m->keywords = c->keywords;
        return;
    case MESSAGE_STORE_ADD:
        m->flags |= c->flags;
        m->keywords |= c->keywords;
        return;
    case MESSAGE_STORE_REMOVE:
        m->flags &= ~c->flags;
        m->keywords &= ~c->keywords;
        return;
    }
}

struct results {
    struct delta changed, refused;
};

/* The entries first..last of one page. The page is copied for writing when the first one really changes. */
static enum st store_in_page(struct tx *tx, struct store_step *s, struct tx_mailbox *m, uint32_t first, uint32_t last,
                             struct results *r, struct err *e)
{
    struct page *page;
    uint32_t number = first >> PAGE_BITS;
    TRY(tx_page(tx, m->id, number, false, &page, e));
    if (!page)
        return ST_OK;
    bool writing = false;
    for (unsigned i = page_at(page, first); i < page->count && page->entries[i].uid <= last; i++) {
        struct message_entry new = page->entries[i];
        const uint32_t before = new.flags;
        new_flags(s->change, &new);
        if (new.modseq > s->change->unchanged_since) {
            delta_add(&r->refused, new.uid);
            continue;
        }
        if (new.flags == before &&new.keywords == page->entries[i].keywords)
            continue;
        if (!writing)
            TRY(tx_page(tx, m->id, number, true, &page, e));
        writing = true;
        new.modseq = page->highest_modseq = tx->modseq;
        page->entries[i] = new;
        tx_entry_flagged(tx, m, &new, before);
        delta_add(&tx->emails.updated, (uint32_t) new.email);
        delta_add(&r->changed, new.uid);
    }
    return ST_OK;
}

static enum st store_all(struct tx *tx, struct store_step *s, struct tx_mailbox *m, const struct uidset *uids, struct results *r,
                         struct err *e)
{
    TRY(batch_prefetch(tx, m->id, uids, e));
    uint64_t at = 0;
    uint32_t first, last;
    while (uidset_next_run(uids, &at, &first, &last)) {
        uint32_t end = first | (PAGE_ENTRIES - 1); /* of the page */
        if (last > end) {
            last = end;
            at = (uint64_t)end + 1;
        }
        TRY(store_in_page(tx, s, m, first, last, r, e));
    }
    return ST_OK;
}

static enum st apply_store(struct tx *tx, void *context, struct err *e)
{
    struct store_step *s = context;
    struct tx_mailbox *m;
    uidset_release(&s->changed);
    uidset_release(&s->refused);
    TRY(tx_mailbox_selectable(tx, s->mailbox, &m, e));
    DEFER(uidset_release) struct uidset uids = UIDSET_EMPTY;
    DEFER(uidset_release) struct uidset part = UIDSET_EMPTY;
    TRY(tx_mailbox_uids(m, s->uids, &uids, e));
    if (s->first)
        uidset_remove_range(&uids, 0, s->first - 1);
    TRY(batch_cut(&uids, &part, &s->next, e));
    struct results r = {0};
    enum st st = store_all(tx, s, m, &part, &r, e);
    s->changed = *delta_get(&r.changed);
    s->refused = *delta_get(&r.refused);
    s->modseq = uidset_empty(&s->changed) ? m->r.highest_modseq : tx->modseq;
    if (st == ST_OK && (r.changed.failed || r.refused.failed))
        st = ERR(e, ST_TEMP, "Out of memory", "storing flags");
    return st;
}

enum st message_store(struct account *a, uint32_t mailbox, const struct uidset *uids, struct message_store *change, struct err *e)
{
    change->changed = change->refused = UIDSET_EMPTY;
    struct store_step s = {.mailbox = mailbox, .uids = uids, .change = change};
    enum st st;
    do {
        s.first = s.next;
        st = change_run(a, apply_store, &s, e);
        if (st == ST_OK)
            st = batch_merge(&change->changed, &s.changed, e);
        if (st == ST_OK)
            st = batch_merge(&change->refused, &s.refused, e);
        change->modseq = s.modseq;
    } while (st == ST_OK && s.next != 0);
    uidset_release(&s.changed);
    uidset_release(&s.refused);
    if (st != ST_OK) {
        uidset_release(&change->changed);
        uidset_release(&change->refused);
    }
    return st;
}
