#include "store/email.h"

#include <stdlib.h>

#include "base/bits.h"
#include "store/account.h"
#include "store/found.h"
#include "store/journal.h"
#include "store/page.h"

static enum st no_email(struct err *e) { return ERR_PUBLIC(e, ST_NOTFOUND, "No such e-mail"); }

/* ---- places ---- */

struct places {
    struct email_place *list;
    size_t max, count;
};

static bool is_live(struct account *a, uint32_t mailbox)
{
    pthread_mutex_lock(&a->lock);
    bool live = head_find(&a->head, mailbox) != NULL;
    pthread_mutex_unlock(&a->lock);
    return live;
}

static void add_place(struct account *a, struct places *p, uint32_t mailbox, uint32_t uid)
{
    if (!is_live(a, mailbox))
        return;
    if (p->count < p->max) { /* the first place comes last and may belong further up */
        size_t at = p->count;
        for (; at > 0 && p->list[at - 1].mailbox > mailbox; at--)
            p->list[at] = p->list[at - 1];
        p->list[at] = (struct email_place){mailbox, uid};
    }
    p->count++;
}

/* The further places; *left: it is not where it came in. */
static enum st found_places(struct account *a, uint32_t email, struct places *p, bool *left, struct err *e)
{
    DEFER(buf_release) struct buf value = BUF_INIT(KV_VALUE_MAX);
    struct key key = key_u64(KEY_FOUND, email >> FOUND_BITS);
    enum st s = kv_get(account_kv(a), a->partition, key_str(&key), &value, e);
    *left = false;
    if (s == ST_NOTFOUND)
        return ST_OK;
    TRY(s);
    size_t max = found_count(buf_str(&value)), count;
    struct found *all = calloc(max + 1, sizeof *all);
    if (!all)
        return ERR(e, ST_TEMP, "Out of memory", "reading a found page");
    s = found_decode(buf_str(&value), all, max, &count, e);
    for (size_t i = 0; s == ST_OK && i < count; i++) {
        if (all[i].slot != (email & (FOUND_SLOTS - 1)))
            continue;
        if (all[i].mailbox == FOUND_LEFT)
            *left = true;
        else
            add_place(a, p, all[i].mailbox, all[i].uid);
    }
    free(all);
    return s;
}

enum st email_places(struct account *a, uint64_t email, struct email_place *places, size_t max, size_t *count, struct err *e)
{
    struct places p = {places, max, 0};
    struct message_entry entry;
    struct record_email r;
    bool left;
    DEFER(buf_release) struct buf value = BUF_INIT(KV_VALUE_MAX);
    struct key key = key_u64(KEY_EMAIL, email);
    *count = 0;
    TRY(account_ready(a, e));
    enum st s = email <= UINT32_MAX ? kv_get(account_kv(a), a->partition, key_str(&key), &value, e) : ST_NOTFOUND;
    if (s == ST_NOTFOUND)
        return no_email(e);
    TRY(s);
    TRY(record_email_decode(buf_str(&value), &r, e));
    TRY(found_places(a, (uint32_t)email, &p, &left, e));
    if (!left && (p.count > 0 || message_find(a, r.mailbox, r.uid, &entry, NULL) == ST_OK)) /* or it is garbage */
        add_place(a, &p, r.mailbox, r.uid);
    *count = p.count;
    return p.count ? ST_OK : no_email(e);
}

/* ---- threads ---- */

struct thread_walk {
    email_visit *visit;
    void *context;
};

static bool visit_member(void *context, struct str key, struct str value)
{
    struct thread_walk *w = context;
    (void)value;
    return key.n != 17 || w->visit(w->context, be64_get(key.p + 9));
}

enum st email_thread(struct account *a, uint64_t thread, email_visit *visit, void *context, struct err *e)
{
    struct thread_walk w = {visit, context};
    struct message_email first;
    TRY(account_ready(a, e));
    enum st s = message_email(a, thread, &first, NULL);
    if (s != ST_OK && s != ST_NOTFOUND)
        return ERR(e, s, "The mail store is not available", "reading thread %llu", (unsigned long long)thread);
    if (s == ST_OK && first.thread == thread && !visit(context, thread))
        return ST_OK;
    struct key from = key_member(thread, 0), to = key_member(thread + 1, 0);
    return kv_scan(account_kv(a), a->partition, key_str(&from), key_str(&to), visit_member, &w, e);
}

/* ---- changes ---- */

void email_changes_release(struct email_changes *c)
{
    uidset_release(&c->created);
    uidset_release(&c->updated);
    uidset_release(&c->destroyed);
}

struct changes_walk {
    struct journal_emails sum;
    uint64_t next;
    enum st st;
    struct err *e;
};

static bool visit_journal(void *context, struct str key, struct str value)
{
    struct changes_walk *w = context;
    if (key.n != 9 || be64_get(key.p + 1) != w->next) {
        w->st = ST_NOTFOUND; /* trimmed meanwhile */
        return false;
    }
    w->next++;
    w->st = journal_emails_decode(value, &w->sum, w->e);
    return w->st == ST_OK;
}

static enum st too_old(struct err *e) { return ERR_PUBLIC(e, ST_NOTFOUND, "The state is too old"); }

/* created and destroyed since: never seen by the asker. created: includes every later update. */
static enum st settle(struct changes_walk *w, struct email_changes *out)
{
    DEFER(uidset_release) struct uidset both = UIDSET_EMPTY;
    TRY(uidset_copy(&w->sum.created, &both));
    uidset_and(&both, &w->sum.destroyed);
    uidset_minus(&w->sum.updated, &w->sum.created);
    uidset_minus(&w->sum.updated, &w->sum.destroyed);
    uidset_minus(&w->sum.created, &both);
    uidset_minus(&w->sum.destroyed, &both);
    out->created = w->sum.created;
    out->updated = w->sum.updated;
    out->destroyed = w->sum.destroyed;
    w->sum = (struct journal_emails){0};
    return ST_OK;
}

enum st email_changes(struct account *a, uint64_t since, struct email_changes *out, struct err *e)
{
    *out = (struct email_changes){0};
    TRY(account_ready(a, e));
    pthread_mutex_lock(&a->lock);
    uint64_t last = a->head.rec.modseq, floor = a->head.rec.journal_floor;
    pthread_mutex_unlock(&a->lock);
    out->modseq = last;
    if (since < floor || since > last)
        return too_old(e);
    struct changes_walk w = {.next = since + 1, .e = e};
    struct key from = key_u64(KEY_JOURNAL, since + 1), to = key_u64(KEY_JOURNAL, last + 1);
    enum st s = kv_scan(account_kv(a), a->partition, key_str(&from), key_str(&to), visit_journal, &w, e);
    if (s == ST_OK)
        s = w.st;
    if (s == ST_NOTFOUND || (s == ST_OK && w.next != last + 1))
        s = too_old(e);
    if (s == ST_OK && settle(&w, out) != ST_OK)
        s = ERR(e, ST_TEMP, "Out of memory", "changes of e-mails");
    journal_emails_release(&w.sum);
    return s;
}
