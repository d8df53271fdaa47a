/* What changed since a mod-sequence: from the journal, or from the index pages when it does not reach back (RFC 7162). */
#include "store/account.h"
#include "store/journal.h"
#include "store/page.h"

void mailbox_changes_release(struct mailbox_changes *c)
{
    uidset_release(&c->changed);
    uidset_release(&c->vanished);
}

struct facts {
    uint64_t modseq, highest, floor;
    uint32_t uidnext;
    struct uidset present;
};

static enum st copy_facts(struct account *a, uint32_t id, struct facts *f, struct err *e)
{
    TRY(account_ready(a, e));
    pthread_mutex_lock(&a->lock);
    const struct mbox *m = head_find(&a->head, id);
    enum st s = m && m->r.selectable ? uidset_copy(&m->uids.present, &f->present) : ST_NOTFOUND;
    if (s == ST_OK) {
        f->highest = m->r.highest_modseq;
        f->uidnext = m->r.uidnext;
        f->modseq = a->head.rec.modseq;
        f->floor = a->head.rec.journal_floor;
    }
    pthread_mutex_unlock(&a->lock);
    if (s == ST_NOTFOUND)
        return ERR_PUBLIC(e, ST_NOTFOUND, "No such mailbox");
    return s == ST_OK ? ST_OK : ERR(e, s, "Out of memory", "facts of mailbox %u", id);
}

struct journal_walk {
    struct journal_mailbox sum;
    uint32_t mailbox;
    uint64_t next; /* the entry that must come */
    enum st st;
    struct err *e;
};

static bool visit_journal(void *context, struct str key, struct str value)
{
    struct journal_walk *w = context;
    if (key.n != 9 || be64_get(key.p + 1) != w->next) {
        w->st = ST_NOTFOUND; /* trimmed meanwhile */
        return false;
    }
    w->next++;
    w->st = journal_mailbox_decode(value, w->mailbox, &w->sum, w->e);
    return w->st == ST_OK;
}

/* ST_NOTFOUND: an entry is missing. */
static enum st walk_journal(struct account *a, struct journal_walk *w, uint64_t last, struct err *e)
{
    struct key from = key_u64(KEY_JOURNAL, w->next), to = key_u64(KEY_JOURNAL, last + 1);
    TRY(kv_scan(account_kv(a), a->partition, key_str(&from), key_str(&to), visit_journal, w, e));
    TRY(w->st);
    return w->next == last + 1 ? ST_OK : ST_NOTFOUND;
}

struct page_walk {
    uint64_t since;
    struct uidset *changed;
    struct page *page;
    enum st st;
    struct err *e;
};

static bool visit_page(void *context, struct str key, struct str value)
{
    struct page_walk *w = context;
    w->st = page_decode(value, key.n == 9 ? be32_get(key.p + 5) : 0, w->page, w->e);
    if (w->st != ST_OK || w->page->highest_modseq <= w->since)
        return w->st == ST_OK;
    for (unsigned i = 0; i < w->page->count && w->st == ST_OK; i++)
        if (w->page->entries[i].modseq > w->since)
            w->st = uidset_add_range(w->changed, w->page->entries[i].uid, w->page->entries[i].uid);
    return w->st == ST_OK;
}

static enum st walk_pages(struct account *a, uint32_t id, uint64_t since, struct uidset *changed, struct err *e)
{
    struct page page;
    struct page_walk w = {since, changed, &page, ST_OK, e};
    struct key from = key_u32_u32(KEY_PAGE, id, 0), to = key_u32_u32(KEY_PAGE, id + 1, 0);
    TRY(kv_scan(account_kv(a), a->partition, key_str(&from), key_str(&to), visit_page, &w, e));
    return w.st;
}

static enum st from_pages(struct account *a, uint32_t id, uint64_t since, const struct facts *f, struct mailbox_changes *out,
                          struct err *e)
{
    mailbox_changes_release(out);
    TRY(walk_pages(a, id, since, &out->changed, e));
    uidset_and(&out->changed, &f->present);
    TRY(uidset_add_range(&out->vanished, 1, f->uidnext - 1));
    uidset_minus(&out->vanished, &f->present);
    out->complete = false;
    return ST_OK;
}

static enum st from_journal(struct account *a, uint32_t id, uint64_t since, const struct facts *f, struct mailbox_changes *out,
                            struct err *e)
{
    struct journal_walk w = {.mailbox = id, .next = since + 1, .e = e};
    enum st s = walk_journal(a, &w, f->highest, e);
    if (s == ST_OK)
        s = uidset_or(&w.sum.added, &w.sum.flagged);
    uidset_release(&w.sum.flagged);
    out->changed = w.sum.added;
    out->vanished = w.sum.vanished;
    uidset_and(&out->changed, &f->present);
    uidset_minus(&out->vanished, &f->present);
    out->complete = true;
    return s;
}

enum st mailbox_changes(struct account *a, uint32_t id, uint64_t since, struct mailbox_changes *out, struct err *e)
{
    DEFER(uidset_release) struct uidset present = UIDSET_EMPTY;
    struct facts f = {0};
    *out = (struct mailbox_changes){.complete = true};
    enum st s = copy_facts(a, id, &f, e);
    present = f.present;
    TRY(s);
    out->modseq = f.highest;
    if (since >= f.highest)
        return ST_OK;
    s = since >= f.floor ? from_journal(a, id, since, &f, out, e) : ST_NOTFOUND;
    if (s == ST_NOTFOUND)
        s = from_pages(a, id, since, &f, out, e);
    if (s != ST_OK)
        mailbox_changes_release(out);
    return s;
}
