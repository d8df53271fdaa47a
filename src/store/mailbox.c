/* Looking at mailboxes: everything here reads the head in memory, but for the changes since a mod-sequence. */
#include "store/mailbox.h"

#include <stdlib.h>

#include "store/account.h"
#include "store/change.h"
#include "store/name.h"

static enum st no_mailbox(struct err *e) { return ERR_PUBLIC(e, ST_NOTFOUND, "No such mailbox"); }

static void fill_info(const struct mbox *m, struct mailbox_info *out)
{
    out->id = m->id;
    out->role = m->r.role;
    out->subscribed = m->r.subscribed;
    out->selectable = m->r.selectable;
    out->uidvalidity = m->r.uidvalidity;
    out->uidnext = m->r.uidnext;
    out->highest_modseq = m->r.highest_modseq;
    out->exists = m->r.exists;
    out->unseen = m->r.unseen;
    out->deleted = m->r.deleted;
    out->size_bytes = m->r.size_bytes;
    out->first_recent_uid = m->first_recent;
    out->keyword_count = 0;
}

/* Under the lock. */
static enum st copy_info(const struct mbox *m, struct arena *arena, struct mailbox_info *out, struct err *e)
{
    fill_info(m, out);
    out->name = arena_str(arena, m->r.name);
    bool ok = out->name.p != NULL;
    for (unsigned i = 0; ok && i < m->r.keyword_count; i++) {
        out->keywords[i] = arena_str(arena, m->r.keywords[i]);
        ok = out->keywords[i].p != NULL;
    }
    out->keyword_count = m->r.keyword_count;
    return ok ? ST_OK : ERR(e, ST_LIMIT, "Out of memory", "mailbox facts");
}

static enum st give_info(struct account *a, const struct mbox *m, struct arena *arena, struct mailbox_info *out, struct err *e)
{
    enum st s = m ? copy_info(m, arena, out, e) : no_mailbox(e);
    pthread_mutex_unlock(&a->lock);
    return s;
}

enum st mailbox_find(struct account *a, struct str name, struct arena *arena, struct mailbox_info *out, struct err *e)
{
    struct name canonical;
    TRY(account_ready(a, e));
    if (!name_canonical(name, &canonical))
        return no_mailbox(e);
    pthread_mutex_lock(&a->lock);
    return give_info(a, head_find_name(&a->head, name_str(&canonical)), arena, out, e);
}

enum st mailbox_find_id(struct account *a, uint32_t id, struct arena *arena, struct mailbox_info *out, struct err *e)
{
    TRY(account_ready(a, e));
    pthread_mutex_lock(&a->lock);
    return give_info(a, head_find(&a->head, id), arena, out, e);
}

enum st mailbox_find_role(struct account *a, enum mailbox_role role, struct arena *arena, struct mailbox_info *out, struct err *e)
{
    TRY(account_ready(a, e));
    pthread_mutex_lock(&a->lock);
    const struct mbox *m = NULL;
    for (size_t i = 0; !m && role != MAILBOX_ROLE_NONE && i < a->head.count; i++)
        if (a->head.by_id[i]->r.role == role)
            m = a->head.by_id[i];
    return give_info(a, m, arena, out, e);
}

/* ---- listing ---- */

enum { LIST_STEP = 64 };

/* A copy of some mailboxes and subscriptions, so that visitors run without the lock. */
struct listing {
    struct name last; /* go on behind this name */
    bool begun;
    struct mailbox_info *infos;
    size_t count;
    struct buf names;
    size_t at[LIST_STEP];
};

static size_t subs_behind(const struct head *h, struct str name, bool begun)
{
    size_t at = 0;
    while (begun && at < h->subs_count && name_cmp(h->subs[at], name) <= 0)
        at++;
    return at;
}

static void list_add(struct listing *l, struct str name)
{
    l->at[l->count++] = l->names.n;
    buf_add(&l->names, name);
}

/* Under the lock: merges mailboxes and subscribed names without a mailbox. */
static void list_some(const struct head *h, struct listing *l)
{
    bool is = false;
    struct str last = name_str(&l->last);
    size_t m = l->begun ? head_name_at(h, last, &is) : 0, s = subs_behind(h, last, l->begun);
    m += is;
    l->count = 0;
    buf_clear(&l->names);
    while (l->count < LIST_STEP && (m < h->count || s < h->subs_count)) {
        struct mailbox_info *info = &l->infos[l->count];
        bool sub = m == h->count || (s < h->subs_count && name_cmp(h->subs[s], h->by_name[m]->r.name) < 0);
        if (sub) {
            *info = (struct mailbox_info){.subscribed = true};
            list_add(l, h->subs[s++]);
        } else {
            fill_info(h->by_name[m], info);
            list_add(l, h->by_name[m++]->r.name);
        }
    }
}

static bool list_visit(struct listing *l, mailbox_visit *visit, void *context)
{
    for (size_t i = 0; i < l->count; i++) {
        struct mailbox_info *info = &l->infos[i];
        size_t end = i + 1 < l->count ? l->at[i + 1] : l->names.n;
        info->name = str_make(l->names.p + l->at[i], end - l->at[i]);
        if (!visit(context, info))
            return false;
    }
    if (l->count < LIST_STEP)
        return false;
    struct str last = l->infos[l->count - 1].name;
    memcpy(l->last.b, last.p, last.n);
    l->last.n = last.n;
    l->begun = true;
    return true;
}

enum st mailbox_list(struct account *a, mailbox_visit *visit, void *context, struct err *e)
{
    TRY(account_ready(a, e));
    struct listing *l = calloc(1, sizeof *l);
    struct mailbox_info *infos = calloc(LIST_STEP, sizeof *infos);
    enum st s = ST_OK;
    if (l && infos) {
        l->infos = infos;
        buf_init(&l->names, LIST_STEP * MAILBOX_NAME_MAX);
        do {
            pthread_mutex_lock(&a->lock);
            list_some(&a->head, l);
            pthread_mutex_unlock(&a->lock);
        } while (buf_ok(&l->names) && list_visit(l, visit, context));
        if (!buf_ok(&l->names))
            s = ERR(e, ST_TEMP, "Out of memory", "listing mailboxes");
        buf_release(&l->names);
    } else {
        s = ERR(e, ST_TEMP, "Out of memory", "listing mailboxes");
    }
    free(infos);
    free(l);
    return s;
}

/* ---- UIDs ---- */

static enum st copy_set(struct account *a, uint32_t id, enum mailbox_subset which, struct uidset *out, uint64_t *modseq,
                        struct err *e)
{
    *out = UIDSET_EMPTY;
    TRY(account_ready(a, e));
    pthread_mutex_lock(&a->lock);
    const struct mbox *m = head_find(&a->head, id);
    enum st s = m && m->r.selectable ? ST_OK : ST_NOTFOUND;
    if (s == ST_OK) {
        const struct uidset *from = which == MAILBOX_ALL      ? &m->uids.present
                                    : which == MAILBOX_UNSEEN ? &m->uids.unseen
                                                              : &m->uids.deleted;
        s = uidset_copy(from, out);
        *modseq = m->r.highest_modseq;
    }
    pthread_mutex_unlock(&a->lock);
    if (s == ST_NOTFOUND)
        return no_mailbox(e);
    return s == ST_OK ? ST_OK : ERR(e, ST_TEMP, "Out of memory", "copying a uid set");
}

enum st mailbox_uids(struct account *a, uint32_t id, struct uidset *out, uint64_t *modseq, struct err *e)
{
    return copy_set(a, id, MAILBOX_ALL, out, modseq, e);
}

enum st mailbox_subset_uids(struct account *a, uint32_t id, enum mailbox_subset which, struct uidset *out, uint64_t *modseq,
                            struct err *e)
{
    return copy_set(a, id, which, out, modseq, e);
}

/* In memory only; written with the next commit of the mailbox. After a crash messages may be recent once more, which RFC 3501
 * 2.3.2 allows. */
enum st mailbox_claim_recent(struct account *a, uint32_t id, uint32_t *first_uid, struct err *e)
{
    TRY(account_ready(a, e));
    pthread_mutex_lock(&a->lock);
    struct mbox *m = head_find(&a->head, id);
    if (m) {
        *first_uid = m->first_recent;
        m->first_recent = m->r.uidnext;
    }
    pthread_mutex_unlock(&a->lock);
    return m ? ST_OK : no_mailbox(e);
}

/* ---- keywords ---- */

static bool keyword_at(const struct record_mailbox *r, struct str name, unsigned *at)
{
    for (*at = 0; *at < r->keyword_count; ++*at)
        if (str_eq_nocase(r->keywords[*at], name))
            return true;
    return false;
}

enum st tx_mailbox_keyword(struct tx *tx, struct tx_mailbox *m, struct str name, uint64_t *bit, struct err *e)
{
    unsigned at;
    *bit = 0;
    if (!keyword_at(&m->r, name, &at)) {
        ENSURE(name.n > 0 && name.n <= MAILBOX_KEYWORD_LENGTH_MAX, e, ST_LIMIT, "The keyword is too long");
        ENSURE(at < MAILBOX_KEYWORDS_MAX, e, ST_LIMIT, "The mailbox has too many keywords");
        struct str *keywords = ARENA_ARRAY(&tx->arena, at + 1, struct str);
        struct str copy = arena_str(&tx->arena, name);
        if (!keywords || !copy.p)
            return ERR(e, ST_TEMP, "Out of memory", "adding a keyword");
        if (at)
            memcpy(keywords, m->r.keywords, at * sizeof *keywords);
        keywords[at] = copy;
        m->r.keywords = keywords;
        m->r.keyword_count = at + 1;
        tx_mailbox_changed(tx, m, JOURNAL_CHANGED);
    }
    *bit = UINT64_C(1) << at;
    return ST_OK;
}

struct keywords_change {
    uint32_t mailbox;
    const struct str *names;
    size_t count;
    uint64_t bits;
};

static enum st apply_keywords(struct tx *tx, void *context, struct err *e)
{
    struct keywords_change *c = context;
    struct tx_mailbox *m;
    TRY(tx_mailbox_selectable(tx, c->mailbox, &m, e));
    c->bits = 0;
    for (size_t i = 0; i < c->count; i++) {
        uint64_t bit;
        TRY(tx_mailbox_keyword(tx, m, c->names[i], &bit, e));
        c->bits |= bit;
    }
    return ST_OK;
}

enum st mailbox_keywords(struct account *a, uint32_t id, const struct str *names, size_t count, bool create, uint64_t *bits,
                         struct err *e)
{
    *bits = 0;
    TRY(account_ready(a, e));
    pthread_mutex_lock(&a->lock);
    const struct mbox *m = head_find(&a->head, id);
    size_t found = 0;
    for (size_t i = 0; m && i < count; i++) {
        unsigned at;
        if (!keyword_at(&m->r, names[i], &at))
            continue;
        *bits |= UINT64_C(1) << at;
        found++;
    }
    pthread_mutex_unlock(&a->lock);
    if (!m)
        return no_mailbox(e);
    if (!create || found == count)
        return ST_OK;
    struct keywords_change c = {id, names, count, 0};
    TRY(change_run(a, apply_keywords, &c, e));
    *bits = c.bits;
    return ST_OK;
}
