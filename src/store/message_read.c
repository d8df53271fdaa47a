/* Reading messages: index entries page by page, digests by ranges, bytes by blob. Nothing is kept between calls. */
#include <stdlib.h>

#include "base/bits.h"
#include "store/account.h"
#include "store/message.h"
#include "store/page.h"

static enum st no_message(struct err *e)
{
    (void)!ERR_PUBLIC(e, ST_NOTFOUND, "No such message");
    return ST_NOTFOUND; /* said so that analysers see it, too */
}

/* A scan may straddle commits: it could see a message of a later page and have missed one that came into an earlier page in
 * between. So nothing from `below` on, which was visible before the scan began, is shown (promise 3). */
static enum st check_mailbox(struct account *a, uint32_t id, uint32_t *below, struct err *e)
{
    TRY(account_ready(a, e));
    pthread_mutex_lock(&a->lock);
    const struct mbox *m = head_find(&a->head, id);
    bool ok = m && m->r.selectable;
    *below = ok ? m->r.uidnext : 0;
    pthread_mutex_unlock(&a->lock);
    return ok ? ST_OK : ERR_PUBLIC(e, ST_NOTFOUND, "No such mailbox");
}

/* ---- walking entries ---- */

enum { GAP_PAGES = 8 }; /* pages that are read in vain rather than starting another scan */

struct walk {
    const struct uidset *uids; /* NULL: all */
    uint32_t from, below;      /* UIDs that are wanted */
    uint64_t at;               /* in uids, behind the current run */
    uint32_t first, last;      /* the current run of uids; first 0: none yet */
    message_visit *visit;
    void *context;
    bool stopped;
    enum st st;
    struct err *e;
    struct page page;
};

static bool wanted(struct walk *w, uint32_t uid)
{
    if (uid < w->from)
        return false;
    if (!w->uids)
        return true;
    if (w->first == 0 || uid > w->last) {
        w->at = uid;
        if (!uidset_next_run(w->uids, &w->at, &w->first, &w->last)) {
            w->first = w->last = UINT32_MAX;
            return false;
        }
    }
    return uid >= w->first && uid <= w->last;
}

static bool walk_page(struct walk *w, uint32_t number, struct str value)
{
    w->st = page_decode(value, number, &w->page, w->e);
    if (w->st != ST_OK)
        return false;
    for (unsigned i = page_at(&w->page, w->from); i < w->page.count; i++) {
        const struct message_entry *m = &w->page.entries[i];
        if (m->uid >= w->below)
            return false;
        if (!wanted(w, m->uid))
            continue;
        if (!w->visit(w->context, m)) {
            w->stopped = true;
            return false;
        }
    }
    return true;
}

static bool visit_page(void *context, struct str key, struct str value)
{
    struct walk *w = context;
    if (key.n == 9)
        return walk_page(w, be32_get(key.p + 5), value);
    w->st = ST_CORRUPT;
    return false;
}

/* The stored bytes of a page, into *value. ST_NOTFOUND, without a text, if there is none. */
static enum st get_page(struct account *a, uint32_t mailbox, uint32_t number, struct buf *value, struct err *e)
{
    struct err own = {0};
    struct key key = key_u32_u32(KEY_PAGE, mailbox, number);
    enum st s = kv_get(account_kv(a), a->partition, key_str(&key), value, &own);
    if (s != ST_OK && s != ST_NOTFOUND && e)
        *e = own;
    return s;
}

/* On the stack: a page is never longer, and no memory is taken. */
#define PAGE_BUF(room) ((struct buf){(room), 0, sizeof(room), sizeof(room), false})

static enum st walk_one(struct account *a, uint32_t mailbox, uint32_t number, struct walk *w, struct err *e)
{
    char room[PAGE_BYTES_MAX + 8];
    struct buf value = PAGE_BUF(room);
    enum st s = get_page(a, mailbox, number, &value, e);
    if (s == ST_NOTFOUND)
        return ST_OK;
    TRY(s);
    (void)walk_page(w, number, buf_str(&value));
    return w->st;
}

/* A single message is what clients fetch most often. */
static enum st find_one(struct account *a, uint32_t mailbox, uint32_t uid, struct message_entry *out, struct err *e)
{
    char room[PAGE_BYTES_MAX + 8];
    struct buf value = PAGE_BUF(room);
    TRY(get_page(a, mailbox, uid >> PAGE_BITS, &value, e));
    return page_decode_one(buf_str(&value), uid, out, e);
}

static enum st walk_range(struct account *a, uint32_t mailbox, uint32_t first, uint32_t last, struct walk *w, struct err *e)
{
    if (first == last)
        return walk_one(a, mailbox, first, w, e);
    struct key from = key_u32_u32(KEY_PAGE, mailbox, first), to = key_u32_u32(KEY_PAGE, mailbox, last + 1);
    TRY(kv_scan(account_kv(a), a->partition, key_str(&from), key_str(&to), visit_page, w, e));
    return w->st;
}

/* The next pages to read in one go: those of the runs from *at on, up to a larger gap. */
static bool next_pages(const struct uidset *uids, uint64_t *at, uint32_t *first, uint32_t *last)
{
    uint32_t from, to;
    if (!uidset_next_run(uids, at, &from, &to))
        return false;
    *first = from >> PAGE_BITS;
    *last = to >> PAGE_BITS;
    for (uint64_t ahead = *at; uidset_next_run(uids, &ahead, &from, &to); *at = ahead) {
        if ((from >> PAGE_BITS) > *last + GAP_PAGES)
            break;
        *last = to >> PAGE_BITS;
    }
    return true;
}

static enum st walk_all(struct account *a, uint32_t mailbox, struct walk *w, struct err *e)
{
    w->e = e;
    if (w->from >= w->below)
        return ST_OK;
    if (!w->uids)
        return walk_range(a, mailbox, w->from >> PAGE_BITS, (w->below - 1) >> PAGE_BITS, w, e);
    uint64_t at = w->from;
    uint32_t first, last;
    while (!w->stopped && next_pages(w->uids, &at, &first, &last))
        TRY(walk_range(a, mailbox, first, last, w, e));
    return ST_OK;
}

enum st message_scan(struct account *a, uint32_t mailbox, const struct uidset *uids, message_visit *visit, void *context,
                     struct err *e)
{
    uint32_t below;
    TRY(check_mailbox(a, mailbox, &below, e));
    struct walk w = {.uids = uids, .from = 1, .below = below, .visit = visit, .context = context};
    return walk_all(a, mailbox, &w, e);
}

struct collect {
    struct message_entry *entries;
    size_t count, max;
};

static bool collect_entry(void *context, const struct message_entry *entry)
{
    struct collect *c = context;
    if (c->count == c->max)
        return false;
    c->entries[c->count++] = *entry;
    return c->count < c->max;
}

static enum st page_of_one(struct account *a, uint32_t mailbox, uint32_t uid, struct message_room room, struct err *e)
{
    enum st s = find_one(a, mailbox, uid, room.entries, e);
    *room.count = s == ST_OK;
    return s == ST_NOTFOUND ? ST_OK : s;
}

enum st message_page(struct account *a, uint32_t mailbox, const struct uidset *uids, uint32_t *next_uid, struct message_room room,
                     struct err *e)
{
    *room.count = 0;
    uint32_t below;
    TRY(check_mailbox(a, mailbox, &below, e));
    uint32_t from = *next_uid, only = uids && uidset_count(uids) == 1 ? uidset_max(uids) : 0;
    if (only && room.max > 0) {
        *next_uid = 0;
        return only >= from && only < below ? page_of_one(a, mailbox, only, room, e) : ST_OK;
    }
    struct collect c = {room.entries, 0, room.max};
    struct walk w = {.uids = uids, .from = *next_uid ? *next_uid : 1, .below = below, .visit = collect_entry, .context = &c};
    if (room.max > 0)
        TRY(walk_all(a, mailbox, &w, e));
    *room.count = c.count;
    uint32_t last = c.count ? room.entries[c.count - 1].uid : 0;
    *next_uid = w.stopped && last < UINT32_MAX ? last + 1 : 0;
    return ST_OK;
}

enum st message_find(struct account *a, uint32_t mailbox, uint32_t uid, struct message_entry *out, struct err *e)
{
    uint32_t below;
    TRY(check_mailbox(a, mailbox, &below, e));
    enum st s = uid > 0 && uid < below ? find_one(a, mailbox, uid, out, e) : ST_NOTFOUND;
    return s == ST_NOTFOUND ? no_message(e) : s;
}

/* ---- e-mails ---- */

static enum st get_email(struct account *a, uint64_t email, struct buf *value, struct record_email *out, struct err *e)
{
    TRY(account_alive(a, e));
    struct key key = key_u64(KEY_EMAIL, email);
    size_t before = value->n;
    enum st s = kv_get(account_kv(a), a->partition, key_str(&key), value, e);
    if (s == ST_NOTFOUND)
        return no_message(e);
    TRY(s);
    return record_email_decode(str_from(buf_str(value), before), out, e);
}

enum st message_digest(struct account *a, uint64_t email, struct buf *out, struct err *e)
{
    struct record_email r;
    size_t before = out->n;
    enum st s = get_email(a, email, out, &r, e);
    if (s != ST_OK) {
        buf_cut(out, before);
        return s;
    }
    size_t digest = r.digest.n;
    memmove(out->p + before, r.digest.p, digest);
    buf_cut(out, before + digest);
    return ST_OK;
}

struct digests {
    const uint64_t *emails;
    size_t count, at;
    message_digest_visit *visit;
    void *context;
    bool stopped;
    enum st st;
    struct err *e;
};

static bool visit_digest(void *context, struct str key, struct str value)
{
    struct digests *d = context;
    uint64_t email = key.n == 9 ? be64_get(key.p + 1) : 0;
    while (d->at < d->count && d->emails[d->at] < email)
        d->at++;
    if (d->at == d->count)
        return false;
    if (d->emails[d->at] != email)
        return true;
    struct record_email r;
    d->st = record_email_decode(value, &r, d->e);
    if (d->st == ST_OK && !d->visit(d->context, email, r.digest))
        d->stopped = true;
    d->at++;
    return d->st == ST_OK && !d->stopped;
}

enum st message_digests(struct account *a, const uint64_t *emails, size_t count, message_digest_visit *visit, void *context,
                        struct err *e)
{
    enum { GAP = 16 };
    TRY(account_alive(a, e));
    struct digests d = {emails, count, 0, visit, context, false, ST_OK, e};
    for (size_t first = 0; first < count && !d.stopped;) {
        size_t end = first + 1;
        while (end < count && emails[end] - emails[end - 1] <= GAP)
            end++;
        struct key from = key_u64(KEY_EMAIL, emails[first]), to = key_u64(KEY_EMAIL, emails[end - 1] + 1);
        d.at = first;
        TRY(kv_scan(account_kv(a), a->partition, key_str(&from), key_str(&to), visit_digest, &d, e));
        TRY(d.st);
        first = end;
    }
    return ST_OK;
}

enum st message_email(struct account *a, uint64_t email, struct message_email *out, struct err *e)
{
    DEFER(buf_release) struct buf value = BUF_INIT(KV_VALUE_MAX);
    struct record_email r;
    TRY(get_email(a, email, &value, &r, e));
    *out = (struct message_email){email, r.thread, r.blob, r.size};
    return ST_OK;
}

enum st message_read(struct account *a, uint64_t email, uint64_t offset, size_t length, struct buf *out, struct err *e)
{
    struct message_email m;
    TRY(message_email(a, email, &m, e));
    enum st s = kv_blob_read(account_kv(a), &m.blob, offset, length, out, e);
    if (s == ST_NOTFOUND)
        return ERR(e, ST_CORRUPT, "The message is missing in the store", "account %s: e-mail %llu has no blob", a->name,
                   (unsigned long long)email);
    return s;
}
