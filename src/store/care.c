/* Background work, in small steps that each can be lost and repeated: what is left of expunged e-mails, of deleted mailboxes and of
 * removed accounts, and blobs that nobody links. */
#include <stdio.h>
#include <stdlib.h>

#include "base/bits.h"
#include "base/rd.h"
#include "rt/clock.h"
#include "store/batch.h"
#include "store/care.h"
#include "store/found.h"
#include "store/store_internal.h"
#include "store/thread.h"

enum {
    EMAILS_STEP = 512, /* e-mails removed in one commit */
    PAGES_STEP = 64,   /* index pages of a deleted mailbox removed in one commit */
    STEPS = 16,        /* commits of one call of store_care */
    SWEEP_SLICES = 256,
    COLLECT_BLOBS = 2000,
};

/* ---- e-mails without a place ---- */

struct garbage {
    uint64_t modseq;
    struct uidset emails;
    bool found;
    enum st st;
    struct err *e;
};

enum st garbage_decode(struct str value, struct uidset *into, struct err *e)
{
    struct rd r = rd_of(value);
    unsigned version = rd_u8(&r);
    struct str set = rd_varstr(&r);
    if (!rd_ok(&r) || !rd_end(&r) || version != RECORD_VERSION)
        return record_corrupt("garbage", e);
    return record_set_decode(set, 1, UINT32_MAX, into, e);
}

static bool visit_garbage(void *context, struct str key, struct str value)
{
    struct garbage *g = context;
    g->found = key.n == 9;
    g->modseq = g->found ? be64_get(key.p + 1) : 0;
    g->st = g->found ? garbage_decode(value, &g->emails, g->e) : record_corrupt("garbage key", g->e);
    return false;
}

static enum st first_garbage(struct tx *tx, struct garbage *g, struct err *e)
{
    *g = (struct garbage){.e = e};
    struct key from = key_u64(KEY_GARBAGE, 0), to = key_type(KEY_GARBAGE + 1);
    TRY(kv_scan(account_kv(tx->a), tx->a->partition, key_str(&from), key_str(&to), visit_garbage, g, e));
    return g->st;
}

static enum st remove_email(struct tx *tx, uint32_t email, struct err *e)
{
    struct key key = key_u64(KEY_EMAIL, email);
    struct str value;
    struct record_email r;
    TRY(tx_get(tx, key, &value, e));
    if (!value.p)
        return ST_OK; /* done before */
    TRY(record_email_decode(value, &r, e));
    TRY(tx_blob_unlink(tx, &r.blob, e));
    TRY(thread_leave(tx, r.thread, email, r.digest, e));
    return tx_delete(tx, key, e);
}

static enum st put_rest(struct tx *tx, uint64_t modseq, const struct uidset *rest, struct err *e)
{
    struct key key = key_u64(KEY_GARBAGE, modseq);
    if (uidset_empty(rest))
        return tx_delete(tx, key, e);
    DEFER(buf_release) struct buf value = BUF_INIT(KV_VALUE_MAX);
    buf_add_c(&value, RECORD_VERSION);
    record_set_encode(rest, &value);
    return buf_ok(&value) ? tx_put(tx, key, buf_str(&value), e) : ERR(e, ST_TEMP, "Out of memory", "garbage");
}

static enum st remove_emails(struct tx *tx, struct garbage *g, struct err *e)
{
    uint64_t at = 0;
    uint32_t first, last, done = 0, behind = 0;
    while (done < EMAILS_STEP && uidset_next_run(&g->emails, &at, &first, &last))
        for (uint32_t id = first; id <= last && done < EMAILS_STEP; id++, done++) {
            TRY(remove_email(tx, id, e));
            behind = id;
        }
    uidset_remove_range(&g->emails, 0, behind);
    return put_rest(tx, g->modseq, &g->emails, e);
}

/* ---- deleted mailboxes ---- */

struct dying_walk {
    struct tx *tx;
    uint32_t mailbox;
    struct found_edit *edits;
    size_t count;
    uint32_t pages;
    struct page page;
    enum st st;
    struct err *e;
};

static bool visit_dying(void *context, struct str key, struct str value)
{
    struct dying_walk *w = context;
    if (w->pages == PAGES_STEP)
        return false;
    uint32_t number = key.n == 9 ? be32_get(key.p + 5) : UINT32_MAX;
    w->st = page_decode(value, number, &w->page, w->e);
    if (w->st != ST_OK)
        return false;
    for (unsigned i = 0; i < w->page.count; i++)
        w->edits[w->count++] = (struct found_edit){(uint32_t)w->page.entries[i].email, w->mailbox, w->page.entries[i].uid, true};
    w->pages++;
    w->st = tx_delete(w->tx, key_u32_u32(KEY_PAGE, w->mailbox, number), w->e);
    return w->st == ST_OK;
}

static enum st remove_pages(struct tx *tx, uint32_t mailbox, struct err *e)
{
    struct dying_walk w = {.tx = tx, .mailbox = mailbox, .e = e};
    w.edits = ARENA_ARRAY(&tx->arena, PAGES_STEP * PAGE_ENTRIES, struct found_edit);
    if (!w.edits)
        return ERR(e, ST_TEMP, "Out of memory", "removing a mailbox");
    struct key from = key_u32_u32(KEY_PAGE, mailbox, 0), to = key_u32_u32(KEY_PAGE, mailbox + 1, 0);
    TRY(kv_scan(account_kv(tx->a), tx->a->partition, key_str(&from), key_str(&to), visit_dying, &w, e));
    TRY(w.st);
    TRY(found_edit_all(tx, w.edits, w.count, e));
    if (w.pages == PAGES_STEP || tx->finished)
        return ST_OK;
    tx->finished = mailbox;
    return tx_delete(tx, key_u32(KEY_MAILBOX, mailbox), e);
}

/* ---- one account ---- */

static enum st apply_care(struct tx *tx, void *context, struct err *e)
{
    bool *more = context;
    struct garbage g;
    *more = true;
    enum st s = first_garbage(tx, &g, e);
    if (s == ST_OK && g.found)
        s = remove_emails(tx, &g, e);
    uidset_release(&g.emails);
    if (s != ST_OK || g.found)
        return s;
    if (tx->a->head.dying_count > 0)
        return remove_pages(tx, tx->a->head.dying[0], e);
    *more = false;
    if (tx->rec.care) {
        tx->rec.care = false;
        tx->dirty = true;
    }
    return ST_OK;
}

enum st account_care(struct account *a, bool *more, struct err *e)
{
    *more = false;
    TRY(account_ready(a, e));
    return change_run_alone(a, apply_care, more, e);
}

/* ---- all accounts ---- */

static bool take_account(struct store *s, account_id *id)
{
    pthread_mutex_lock(&s->care_lock);
    bool any = s->care_count > 0;
    if (any) {
        *id = s->care[0];
        s->care_count--;
        memmove(s->care, s->care + 1, s->care_count * sizeof *s->care);
    }
    pthread_mutex_unlock(&s->care_lock);
    return any;
}

static enum st care_for(struct store *s, account_id id, int *steps, struct err *e)
{
    struct account *a;
    enum st st = account_open(s, id, &a, e);
    if (st == ST_NOTFOUND)
        return ST_OK;
    TRY(st);
    bool more = true;
    while (st == ST_OK && more && (*steps)-- > 0)
        st = account_care(a, &more, e);
    if (st != ST_OK || more)
        store_wants_care(s, id);
    account_unref(a);
    return st == ST_NOTFOUND ? ST_OK : st;
}

/* Finds what was left when the server stopped: a slice of all accounts at a time. */
struct sweep {
    struct store *s;
    account_id *ids;
    size_t count, cap;
};

static bool visit_account(void *context, struct str partition, uint64_t version)
{
    struct sweep *w = context;
    (void)version;
    char z[20] = "";
    if (partition.n != 18)
        return true;
    memcpy(z, partition.p, 18);
    if (w->count == w->cap) {
        size_t cap = w->cap ? w->cap * 2 : 64;
        account_id *ids = reallocarray(w->ids, cap, sizeof *ids);
        if (!ids)
            return false; /* the rest in the next round */
        w->ids = ids;
        w->cap = cap;
    }
    w->ids[w->count++] = strtoull(z + 2, NULL, 16);
    return true;
}

static enum st look_at(struct store *s, account_id id, struct err *e)
{
    char name[20];
    account_partition(id, name);
    struct record_account r;
    uint64_t version;
    TRY(kv_version(s->kv, str_of(name), &version, e));
    if (head_load_account(s->kv, str_of(name), version, &r, NULL) != ST_OK)
        return ST_OK; /* changed or removed meanwhile; if it is damaged, fsck says so */
    if (r.state == RECORD_DYING)
        return kv_partition_drop(s->kv, str_of(name), e);
    if (r.care)
        store_wants_care(s, id);
    return ST_OK;
}

static enum st sweep_slice(struct store *s, struct err *e)
{
    struct sweep w = {.s = s};
    char prefix[8];
    pthread_mutex_lock(&s->care_lock);
    unsigned slice = s->sweep;
    s->sweep = (slice + 1) % SWEEP_SLICES;
    pthread_mutex_unlock(&s->care_lock);
    snprintf(prefix, sizeof prefix, "a-%02x", slice);
    enum st st = kv_partitions(s->kv, str_of(prefix), visit_account, &w, e);
    for (size_t i = 0; st == ST_OK && i < w.count; i++)
        st = look_at(s, w.ids[i], e);
    free(w.ids);
    return st;
}

enum st store_care(struct store *s, struct err *e)
{
    int steps = STEPS;
    account_id id;
    enum st first = ST_OK;
    for (int i = 0; i < STEPS && steps > 0 && take_account(s, &id); i++) {
        enum st st = care_for(s, id, &steps, first == ST_OK ? e : NULL);
        first = first == ST_OK ? st : first;
    }
    TRY(first);
    TRY(sweep_slice(s, e));
    return kv_collect(s->kv, clock_wall_ms() - (int64_t)s->config.blob_grace_s * 1000, COLLECT_BLOBS, NULL, e);
}
