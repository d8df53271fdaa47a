/* The end of a transaction: its operations, the commit, and what the head in memory becomes. */
#include <stdlib.h>

#include "base/bits.h"
#include "rt/clock.h"
#include "rt/log.h"
#include "store/store.h"
#include "store/tx.h"
#include "store/tx_node.h"

static enum st no_memory(struct err *e) { return ERR(e, ST_TEMP, "Out of memory", "encoding a commit"); }

/* ---- UIDs ---- */

/* base, of the range only, with the changes. */
static enum st slice(const struct uidset *base, struct delta *on, struct delta *off, const struct uidset *range, struct uidset *out)
{
    DEFER(uidset_release) struct uidset fresh = UIDSET_EMPTY;
    TRY(uidset_copy(range, out));
    TRY(uidset_copy(range, &fresh));
    struct uidset none = UIDSET_EMPTY;
    uidset_and(out, base ? base : &none);
    uidset_and(&fresh, delta_get(on));
    TRY(uidset_or(out, &fresh));
    uidset_minus(out, delta_get(off));
    return ST_OK;
}

static enum st slice_chunk(struct tx_mailbox *m, const struct uidset *range, struct record_uids *out)
{
    const struct record_uids *base = m->base ? &m->base->uids : NULL;
    TRY(slice(base ? &base->present : NULL, &m->added, &m->vanished, range, &out->present));
    TRY(slice(base ? &base->unseen : NULL, &m->unseen_on, &m->unseen_off, range, &out->unseen));
    TRY(slice(base ? &base->deleted : NULL, &m->deleted_on, &m->deleted_off, range, &out->deleted));
    uidset_minus(&out->unseen, delta_get(&m->vanished));
    uidset_minus(&out->deleted, delta_get(&m->vanished));
    return ST_OK;
}

static enum st chunk_of(struct tx_mailbox *m, uint32_t chunk, struct record_uids *out, struct err *e)
{
    DEFER(uidset_release) struct uidset range = UIDSET_EMPTY;
    uint32_t low = chunk << RECORD_UIDS_BITS;
    *out = (struct record_uids){0};
    if (uidset_add_range(&range, low, low + (UINT32_C(1) << RECORD_UIDS_BITS) - 1) == ST_OK && slice_chunk(m, &range, out) == ST_OK)
        return ST_OK;
    record_uids_release(out);
    return no_memory(e);
}

static enum st fill_chunk(struct tx *tx, struct tx_mailbox *m, uint32_t chunk, struct kv_batch *b, struct err *e)
{
    struct record_uids uids;
    struct key key = key_u32_u32(KEY_UIDS, m->id, chunk);
    TRY(chunk_of(m, chunk, &uids, e));
    buf_clear(&tx->scratch);
    record_uids_encode(&uids, &tx->scratch);
    if (uidset_empty(&uids.present))
        kv_batch_delete(b, key_str(&key));
    else
        kv_batch_put(b, key_str(&key), buf_str(&tx->scratch));
    record_uids_release(&uids);
    return buf_ok(&tx->scratch) ? ST_OK : no_memory(e);
}

static enum st touched_uids(struct tx_mailbox *m, struct uidset *out, struct err *e)
{
    struct delta *all[] = {&m->added, &m->vanished, &m->unseen_on, &m->unseen_off, &m->deleted_on, &m->deleted_off};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        if (uidset_or(out, delta_get(all[i])) != ST_OK || all[i]->failed)
            return no_memory(e);
    (void)delta_get(&m->flagged);
    return m->flagged.failed ? no_memory(e) : ST_OK;
}

/* The chunks that changed, but for the last one, which is in the mailbox record. A chunk that was the last one and is not any more
 * gets its own record now. */
static enum st fill_uids(struct tx *tx, struct tx_mailbox *m, struct kv_batch *b, struct err *e)
{
    DEFER(uidset_release) struct uidset touched = UIDSET_EMPTY;
    uint32_t tail = record_tail_chunk(m->r.uidnext), before = m->base ? record_tail_chunk(m->base->r.uidnext) : tail;
    TRY(touched_uids(m, &touched, e));
    if (before < tail && uidset_add_range(&touched, before << RECORD_UIDS_BITS, before << RECORD_UIDS_BITS) != ST_OK)
        return no_memory(e);
    uint64_t at = 0;
    uint32_t first, last;
    while (uidset_next_run(&touched, &at, &first, &last)) {
        uint32_t chunk = first >> RECORD_UIDS_BITS;
        if (chunk == tail)
            break; /* the last one that can be */
        TRY(fill_chunk(tx, m, chunk, b, e));
        at = (uint64_t)(chunk + 1) << RECORD_UIDS_BITS;
    }
    return ST_OK;
}

/* ---- records ---- */

static enum st encode_mailbox(struct tx *tx, struct tx_mailbox *m, struct err *e)
{
    struct record_uids uids;
    struct record_mailbox r = m->r;
    DEFER(buf_release) struct buf tail = BUF_INIT(KV_VALUE_MAX / 2);
    buf_clear(&tx->scratch);
    if (r.state == RECORD_LIVE) {
        TRY(chunk_of(m, record_tail_chunk(r.uidnext), &uids, e));
        record_uids_encode(&uids, &tail);
        record_uids_release(&uids);
    }
    r.tail = buf_str(&tail);
    record_mailbox_encode(&r, &tx->scratch);
    return buf_ok(&tail) && buf_ok(&tx->scratch) ? ST_OK : no_memory(e);
}

static enum st fill_mailbox(struct tx *tx, struct tx_mailbox *m, struct kv_batch *b, struct err *e)
{
    struct key key = key_u32(KEY_MAILBOX, m->id);
    TRY(encode_mailbox(tx, m, e));
    kv_batch_put(b, key_str(&key), buf_str(&tx->scratch));
    if (m->r.state != RECORD_DYING)
        return fill_uids(tx, m, b, e);
    struct key from = key_u32_u32(KEY_UIDS, m->id, 0), to = key_u32_u32(KEY_UIDS, m->id + 1, 0);
    kv_batch_delete_range(b, key_str(&from), key_str(&to));
    return ST_OK;
}

static bool in_journal(struct tx_mailbox *m)
{
    return m->events || !uidset_empty(delta_get(&m->added)) || !uidset_empty(delta_get(&m->flagged)) ||
           !uidset_empty(delta_get(&m->vanished));
}

/* E-mails that lost their last place: store_care removes them later. */
static enum st fill_garbage(struct tx *tx, struct kv_batch *b, struct err *e)
{
    const struct uidset *destroyed = delta_get(&tx->emails.destroyed);
    if (uidset_empty(destroyed))
        return ST_OK;
    tx->rec.care = true;
    buf_clear(&tx->scratch);
    buf_add_c(&tx->scratch, RECORD_VERSION);
    record_set_encode(destroyed, &tx->scratch);
    if (!buf_ok(&tx->scratch))
        return no_memory(e);
    struct key key = key_u64(KEY_GARBAGE, tx->modseq);
    kv_batch_put(b, key_str(&key), buf_str(&tx->scratch));
    return ST_OK;
}

static enum st fill_journal(struct tx *tx, struct kv_batch *b, struct err *e)
{
    size_t count = 0;
    for (struct tx_mailbox *m = tx->mailboxes; m; m = m->next)
        count += in_journal(m);
    (void)delta_get(&tx->emails.updated);
    buf_clear(&tx->scratch);
    journal_encode_begin(&tx->scratch, tx->token, &tx->rec, count);
    for (struct tx_mailbox *m = tx->mailboxes; m; m = m->next)
        if (in_journal(m))
            journal_encode_mailbox(&tx->scratch,
                                   &(struct journal_mailbox){m->id, m->events, m->added.s, m->flagged.s, m->vanished.s});
    uidset_minus(&tx->emails.updated.s, delta_get(&tx->emails.created)); /* settled above */
    uidset_minus(&tx->emails.updated.s, delta_get(&tx->emails.destroyed));
    struct journal_emails emails = {*delta_get(&tx->emails.created), *delta_get(&tx->emails.updated),
                                    *delta_get(&tx->emails.destroyed)};
    journal_encode_end(&tx->scratch, &emails);
    if (!buf_ok(&tx->scratch))
        return no_memory(e);
    struct key key = key_u64(KEY_JOURNAL, tx->modseq);
    kv_batch_put(b, key_str(&key), buf_str(&tx->scratch));
    return ST_OK;
}

/* Some at a time, so that not every commit deletes one entry. */
static void trim_journal(struct tx *tx, struct kv_batch *b)
{
    uint64_t keep = account_config(tx->a)->journal_max_changes;
    if (tx->modseq - tx->rec.journal_floor <= keep + keep / 8)
        return;
    struct key from = key_u64(KEY_JOURNAL, 0), to = key_u64(KEY_JOURNAL, tx->modseq - keep + 1);
    kv_batch_delete_range(b, key_str(&from), key_str(&to));
    tx->rec.journal_floor = tx->modseq - keep;
}

static void fill_node(struct tx_node *n, struct kv_batch *b)
{
    if (n->state == NODE_CLEAN || n->state == NODE_UNREAD)
        return;
    struct page *p = n->page ? (struct page *)(uintptr_t)n->value.p : NULL;
    if (n->state == NODE_DELETED || (p && p->count == 0)) {
        kv_batch_delete(b, key_str(&n->key));
        return;
    }
    if (!p) {
        kv_batch_put(b, key_str(&n->key), n->value);
        return;
    }
    char bytes[PAGE_BYTES_MAX + PAGE_SLACK];
    kv_batch_put(b, key_str(&n->key), str_make(bytes, page_encode(p, bytes)));
}

enum st tx_fill(struct tx *tx, struct kv_batch *b, struct err *e)
{
    tx->rec.modseq = tx->modseq;
    if (tx->range_from.n)
        kv_batch_delete_range(b, tx->range_from, tx->range_to);
    trim_journal(tx, b);
    for (struct tx_mailbox *m = tx->mailboxes; m; m = m->next)
        if (m->dirty)
            TRY(fill_mailbox(tx, m, b, e));
    for (struct tx_node *n = tx->nodes; n; n = n->next)
        fill_node(n, b);
    TRY(fill_garbage(tx, b, e));
    TRY(fill_journal(tx, b, e));
    for (size_t i = 0; i < tx->blob_count; i++) {
        struct tx_blob *blob = &tx->blobs[i];
        switch (blob->kind) {
        case TX_BLOB_STORE:
            kv_batch_blob(b, &blob->id, blob->bytes);
            break;
        case TX_BLOB_LINK:
            kv_batch_link(b, &blob->id);
            break;
        case TX_BLOB_UNLINK:
            kv_batch_unlink(b, &blob->id);
            break;
        }
    }
    return buf_ok(&tx->scratch) ? ST_OK : no_memory(e);
}

/* ---- the commit ---- */

/* After ST_TEMP: ST_OK if the commit was applied all the same, ST_TEMP if it was not, ST_BUG if nobody can tell now. */
static enum st was_applied(struct tx *tx)
{
    struct kv *kv = account_kv(tx->a);
    struct key key = key_u64(KEY_JOURNAL, tx->modseq);
    buf_clear(&tx->scratch);
    enum st s = kv_get(kv, tx->a->partition, key_str(&key), &tx->scratch, NULL);
    uint64_t token, version;
    if (s == ST_OK) {
        if (journal_token(buf_str(&tx->scratch), &token, NULL) != ST_OK)
            return ST_BUG;
        return token == tx->token ? ST_OK : ST_TEMP;
    }
    if (s != ST_NOTFOUND || kv_version(kv, tx->a->partition, &version, NULL) != ST_OK)
        return ST_BUG;
    return version < tx->modseq ? ST_TEMP : ST_BUG;
}

static enum st resolve(struct tx *tx, struct err *e)
{
    enum st s = was_applied(tx);
    for (int i = 0; s == ST_BUG && i < 3; i++) {
        clock_sleep_ms(5u << (2 * i));
        s = was_applied(tx);
    }
    if (s == ST_OK) {
        if (e)
            *e = (struct err){0};
        return ST_OK;
    }
    tx->a->stale = true;
    if (s == ST_BUG)
        log_event(LOG_WARN, "store.commit_unknown", LOG_Z("account", tx->a->name), LOG_UINT("modseq", tx->modseq));
    return ST_TEMP; /* *e says why */
}

enum st tx_commit(struct tx *tx, struct err *e)
{
    struct kv *kv = account_kv(tx->a);
    struct kv_batch *b = kv_batch_new(kv);
    if (!b)
        return no_memory(e);
    enum st s = tx_fill(tx, b, e);
    if (s == ST_OK)
        s = kv_commit(kv, tx->a->partition, b, tx->modseq - 1, e);
    kv_batch_free(b);
    if (s == ST_TEMP || s == ST_BUG)
        s = resolve(tx, e);
    if (s == ST_CONFLICT)
        tx->a->stale = true;
    return s;
}

/* ---- the head ---- */

static bool publish_set(struct uidset *s, struct delta *on, struct delta *off, struct delta *gone)
{
    bool ok = uidset_or(s, delta_get(on)) == ST_OK;
    uidset_minus(s, delta_get(off));
    uidset_minus(s, delta_get(gone));
    return ok;
}

static bool publish_uids(struct mbox *base, struct tx_mailbox *m)
{
    enum { COMPACT_EVERY = 256 };
    struct record_uids *u = &base->uids;
    bool ok = publish_set(&u->present, &m->added, &m->vanished, &m->vanished);
    ok &= publish_set(&u->unseen, &m->unseen_on, &m->unseen_off, &m->vanished);
    ok &= publish_set(&u->deleted, &m->deleted_on, &m->deleted_off, &m->vanished);
    if (++base->published >= COMPACT_EVERY) {
        base->published = 0;
        uidset_optimize(&u->present);
        uidset_optimize(&u->unseen);
    }
    return ok;
}

static bool publish_old(struct head *h, struct tx_mailbox *m)
{
    struct mbox *base = m->base;
    if (m->r.state == RECORD_DYING) {
        m->base = NULL;
        m->dirty = false;
        head_remove(h, base);
        return head_add_dying(h, m->id);
    }
    uint32_t recent = m->r.first_recent > base->first_recent ? m->r.first_recent : base->first_recent;
    base->first_recent = recent;
    bool ok = true;
    if (m->strings)
        ok = mbox_set_record(base, &m->r);
    else
        base->r = m->r;
    return publish_uids(base, m) && ok;
}

static bool publish_new(struct head *h, struct tx_mailbox *m)
{
    if (m->r.state == RECORD_DYING)
        return head_add_dying(h, m->id);
    struct mbox *base = mbox_new(m->id, &m->r);
    if (!base)
        return false;
    if (publish_uids(base, m) && head_add(h, base))
        return true;
    mbox_free(base);
    return false;
}

bool tx_publish(struct tx *tx)
{
    struct head *h = &tx->a->head;
    bool ok = true, renamed = false;
    h->rec = tx->rec;
    for (struct tx_mailbox *m = tx->mailboxes; m; m = m->next)
        if (m->base && m->dirty) {
            renamed |= m->renamed;
            ok &= publish_old(h, m);
        }
    if (renamed)
        head_sort_names(h);
    for (struct tx_mailbox *m = tx->mailboxes; m; m = m->next)
        if (!m->base && m->dirty)
            ok &= publish_new(h, m);
    for (size_t i = 0; i < tx->sub_count; i++)
        if (tx->subs[i].add)
            ok &= head_subscribe(h, tx->subs[i].name);
        else
            head_unsubscribe(h, tx->subs[i].name);
    if (tx->finished)
        head_remove_dying(h, tx->finished);
    return ok;
}

void tx_touch(struct tx *tx, struct tx_touched *t)
{
    t->modseq = tx->modseq;
    for (struct tx_mailbox *m = tx->mailboxes; m; m = m->next) {
        if (!m->dirty || t->count == SIZE_MAX)
            continue;
        if (t->count == sizeof t->ids / sizeof t->ids[0])
            t->count = SIZE_MAX;
        else
            t->ids[t->count++] = m->id;
    }
}
