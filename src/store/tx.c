#include "store/tx.h"
#include "rt/clock.h"
#include "rt/random.h"

#include <stdlib.h>

#include "base/bits.h"
#include "store/tx_node.h"

enum { ARENA_MAX = 256 << 20, BUCKETS_FIRST = 64 };

enum undo_kind { UNDO_NODE, UNDO_MAILBOX, UNDO_NEW_MAILBOX };
struct tx_undo {
    enum undo_kind kind;
    struct tx_undo *before;
    struct tx_node *node;
    struct str value; /* of the node */
    enum node_state state;
    struct tx_mailbox *mailbox, *saved;
};

static enum st no_memory(struct err *e) { return ERR(e, ST_TEMP, "Out of memory", "the transaction has no more memory"); }

/* ---- deltas ---- */

static void delta_settle(struct delta *d)
{
    if (d->first == 0)
        return;
    if (uidset_add_range(&d->s, d->first, d->last) != ST_OK)
        d->failed = true;
    d->first = 0;
}

void delta_add(struct delta *d, uint32_t v)
{
    if (d->first != 0 && d->last + 1 == v) {
        d->last = v;
        return;
    }
    delta_settle(d);
    d->first = d->last = v;
}

void delta_remove(struct delta *d, uint32_t v)
{
    if (d->first == 0 && !d->s.r)
        return;
    delta_settle(d);
    uidset_remove(&d->s, v);
}

const struct uidset *delta_get(struct delta *d)
{
    delta_settle(d);
    return &d->s;
}

bool delta_has(struct delta *d, uint32_t v)
{
    if (d->first != 0 && v >= d->first && v <= d->last)
        return true;
    return uidset_has(&d->s, v);
}

static bool delta_empty(const struct delta *d) { return d->first == 0 && !d->s.r; }

static void delta_release(struct delta *d)
{
    uidset_release(&d->s);
    d->first = 0;
}

static bool delta_copy(struct delta *from, struct delta *to)
{
    delta_settle(from);
    *to = (struct delta){.failed = from->failed};
    return uidset_copy(&from->s, &to->s) == ST_OK;
}

/* ---- beginning and ending ---- */

enum st tx_begin(struct tx *tx, struct account *a, struct err *e)
{
    *tx = (struct tx){.a = a, .rec = a->head.rec};
    arena_init(&tx->arena, ARENA_MAX);
    buf_init(&tx->scratch, KV_VALUE_MAX);
    tx->modseq = a->head.rec.modseq + 1;
    tx->now_ms = clock_wall_ms();
    tx->token = random_u64();
    tx->buckets = BUCKETS_FIRST;
    tx->table = ARENA_ARRAY(&tx->arena, tx->buckets, struct tx_node *);
    if (!tx->table) {
        arena_release(&tx->arena);
        return no_memory(e);
    }
    return ST_OK;
}

static struct delta *mailbox_delta(struct tx_mailbox *m, int i)
{
    switch (i) {
    case 0:
        return &m->added;
    case 1:
        return &m->flagged;
    case 2:
        return &m->vanished;
    case 3:
        return &m->unseen_on;
    case 4:
        return &m->unseen_off;
    case 5:
        return &m->deleted_on;
    case 6:
        return &m->deleted_off;
    default:
        return NULL;
    }
}

static void mailbox_release(struct tx_mailbox *m)
{
    struct delta *d;
    for (int i = 0; (d = mailbox_delta(m, i)); i++)
        delta_release(d);
}

void tx_end(struct tx *tx)
{
    for (struct tx_mailbox *m = tx->mailboxes; m; m = m->next) {
        if (m->base)
            m->base->tx = NULL;
        mailbox_release(m);
    }
    delta_release(&tx->emails.created);
    delta_release(&tx->emails.updated);
    delta_release(&tx->emails.destroyed);
    free(tx->blobs);
    free(tx->subs);
    buf_release(&tx->scratch);
    arena_release(&tx->arena);
}

/* ---- savepoints ---- */

enum st tx_save(struct tx *tx, struct tx_savepoint *sp, struct err *e)
{
    *sp = (struct tx_savepoint){.undo = tx->undo,
                                .rec = tx->rec,
                                .blob_count = tx->blob_count,
                                .sub_count = tx->sub_count,
                                .bytes = tx->bytes,
                                .range_from = tx->range_from,
                                .range_to = tx->range_to,
                                .finished = tx->finished,
                                .dirty = tx->dirty};
    tx->change++;
    if (uidset_copy(delta_get(&tx->emails.created), &sp->created) != ST_OK ||
        uidset_copy(delta_get(&tx->emails.updated), &sp->updated) != ST_OK ||
        uidset_copy(delta_get(&tx->emails.destroyed), &sp->destroyed) != ST_OK)
        return no_memory(e);
    return ST_OK;
}

static void release_saved(struct tx_undo *u)
{
    if (u->saved)
        mailbox_release(u->saved);
}

void tx_keep(struct tx *tx, struct tx_savepoint *sp)
{
    for (; tx->undo != sp->undo; tx->undo = tx->undo->before)
        release_saved(tx->undo);
    uidset_release(&sp->created);
    uidset_release(&sp->updated);
    uidset_release(&sp->destroyed);
}

static void undo_one(struct tx *tx, struct tx_undo *u)
{
    switch (u->kind) {
    case UNDO_NODE:
        u->node->value = u->value;
        u->node->state = u->state;
        return;
    case UNDO_MAILBOX: {
        struct tx_mailbox *next = u->mailbox->next;
        mailbox_release(u->mailbox);
        *u->mailbox = *u->saved;
        u->mailbox->next = next;
        return;
    }
    case UNDO_NEW_MAILBOX: /* later ones were undone before, so it is the first of the list */
        tx->mailboxes = u->mailbox->next;
        if (u->mailbox->base)
            u->mailbox->base->tx = NULL;
        mailbox_release(u->mailbox);
        return;
    }
}

static void delta_restore(struct delta *d, struct uidset *s)
{
    delta_release(d);
    d->s = *s;
    *s = UIDSET_EMPTY;
}

void tx_roll_back(struct tx *tx, struct tx_savepoint *sp)
{
    for (; tx->undo != sp->undo; tx->undo = tx->undo->before)
        undo_one(tx, tx->undo);
    delta_restore(&tx->emails.created, &sp->created);
    delta_restore(&tx->emails.updated, &sp->updated);
    delta_restore(&tx->emails.destroyed, &sp->destroyed);
    tx->rec = sp->rec;
    tx->blob_count = sp->blob_count;
    tx->sub_count = sp->sub_count;
    tx->bytes = sp->bytes;
    tx->range_from = sp->range_from;
    tx->range_to = sp->range_to;
    tx->finished = sp->finished;
    tx->dirty = sp->dirty;
}

static struct tx_undo *push_undo(struct tx *tx, enum undo_kind kind)
{
    struct tx_undo *u = ARENA_NEW(&tx->arena, struct tx_undo);
    if (u) {
        u->kind = kind;
        u->before = tx->undo;
        tx->undo = u;
    }
    return u;
}

/* ---- keys and values ---- */

static uint64_t key_hash(const struct key *k)
{
    uint64_t h = 0xcbf29ce484222325u; /* FNV-1a: keys are ours or digests, so nobody can aim at a bucket */
    for (unsigned i = 0; i < k->n; i++)
        h = (h ^ (unsigned char)k->b[i]) * 0x100000001b3u;
    return h ^ h >> 32;
}

static bool key_eq(const struct key *a, const struct key *b) { return a->n == b->n && memcmp(a->b, b->b, a->n) == 0; }

static struct tx_node *find_node(const struct tx *tx, const struct key *key, uint64_t hash)
{
    struct tx_node *n = tx->table[hash & (tx->buckets - 1)];
    while (n && (n->hash != hash || !key_eq(&n->key, key)))
        n = n->chain;
    return n;
}

static void grow_table(struct tx *tx)
{
    size_t buckets = tx->buckets * 4;
    struct tx_node **table = ARENA_ARRAY(&tx->arena, buckets, struct tx_node *);
    if (!table)
        return; /* longer chains, then */
    tx->table = table;
    tx->buckets = buckets;
    for (struct tx_node *n = tx->nodes; n; n = n->next) {
        n->chain = table[n->hash & (buckets - 1)];
        table[n->hash & (buckets - 1)] = n;
    }
}

static struct tx_node *add_node(struct tx *tx, const struct key *key, uint64_t hash)
{
    struct tx_node *n = ARENA_NEW(&tx->arena, struct tx_node);
    if (!n)
        return NULL;
    if (tx->node_count >= tx->buckets)
        grow_table(tx);
    n->key = *key;
    n->hash = hash;
    n->page = key->b[0] == KEY_PAGE;
    n->chain = tx->table[hash & (tx->buckets - 1)];
    tx->table[hash & (tx->buckets - 1)] = n;
    n->next = tx->nodes;
    tx->nodes = n;
    tx->node_count++;
    return n;
}

static enum st set_stored(struct tx *tx, struct tx_node *n, struct str stored, struct err *e)
{
    if (!n->page) {
        n->value = arena_str(&tx->arena, stored);
        return n->value.p ? ST_OK : no_memory(e);
    }
    struct page *p = ARENA_NEW(&tx->arena, struct page);
    if (!p)
        return no_memory(e);
    TRY(page_decode(stored, be32_get(n->key.b + 5), p, e));
    n->value = str_make(p, sizeof *p);
    return ST_OK;
}

static enum st load_node(struct tx *tx, const struct key *key, struct tx_node **out, struct err *e)
{
    uint64_t hash = key_hash(key);
    struct tx_node *n = find_node(tx, key, hash);
    *out = n;
    if (n && n->state != NODE_UNREAD)
        return ST_OK;
    buf_clear(&tx->scratch);
    enum st s = kv_get(account_kv(tx->a), tx->a->partition, key_str(key), &tx->scratch, e);
    if (s != ST_OK && s != ST_NOTFOUND)
        return s;
    if (!n)
        n = add_node(tx, key, hash);
    if (!n)
        return no_memory(e);
    n->state = NODE_UNREAD;
    if (s == ST_OK)
        TRY(set_stored(tx, n, buf_str(&tx->scratch), e));
    n->state = NODE_CLEAN;
    *out = n;
    return ST_OK;
}

enum st tx_get(struct tx *tx, struct key key, struct str *value, struct err *e)
{
    struct tx_node *n;
    TRY(load_node(tx, &key, &n, e));
    *value = n->value;
    return ST_OK;
}

/* The node for writing, with its old value saved for this change. */
static struct tx_node *write_node(struct tx *tx, const struct key *key)
{
    uint64_t hash = key_hash(key);
    struct tx_node *n = find_node(tx, key, hash);
    if (!n)
        n = add_node(tx, key, hash);
    if (!n)
        return NULL;
    if (n->change == tx->change)
        return n;
    struct tx_undo *u = push_undo(tx, UNDO_NODE);
    if (!u)
        return NULL;
    u->node = n;
    u->value = n->value;
    u->state = n->state;
    n->change = tx->change;
    return n;
}

char *tx_put_room(struct tx *tx, struct key key, size_t size)
{
    struct tx_node *n = write_node(tx, &key);
    char *p = n ? arena_get(&tx->arena, size) : NULL;
    if (!p)
        return NULL;
    n->value = str_make(p, size);
    n->state = NODE_DIRTY;
    tx->dirty = true;
    tx->bytes += key.n + size;
    return p;
}

enum st tx_put(struct tx *tx, struct key key, struct str value, struct err *e)
{
    char *p = tx_put_room(tx, key, value.n);
    if (!p)
        return no_memory(e);
    if (value.n)
        memcpy(p, value.p, value.n);
    return ST_OK;
}

enum st tx_delete(struct tx *tx, struct key key, struct err *e)
{
    struct tx_node *n = write_node(tx, &key);
    if (!n)
        return no_memory(e);
    n->value = STR_NONE;
    n->state = NODE_DELETED;
    tx->dirty = true;
    tx->bytes += key.n;
    return ST_OK;
}

struct prefetch {
    struct tx *tx;
    enum st st;
    struct err *e;
};

static bool visit_prefetch(void *context, struct str key, struct str value)
{
    struct prefetch *p = context;
    struct key k = {.n = (uint8_t)key.n};
    if (key.n > sizeof k.b)
        return true;
    memcpy(k.b, key.p, key.n);
    uint64_t hash = key_hash(&k);
    struct tx_node *n = find_node(p->tx, &k, hash);
    if (n && n->state != NODE_UNREAD)
        return true;
    if (!n)
        n = add_node(p->tx, &k, hash);
    if (n)
        n->state = NODE_UNREAD;
    p->st = n ? set_stored(p->tx, n, value, p->e) : no_memory(p->e);
    if (p->st == ST_OK)
        n->state = NODE_CLEAN;
    return p->st == ST_OK;
}

enum st tx_prefetch(struct tx *tx, struct key from, struct key to, struct err *e)
{
    struct prefetch p = {tx, ST_OK, e};
    TRY(kv_scan(account_kv(tx->a), tx->a->partition, key_str(&from), key_str(&to), visit_prefetch, &p, e));
    return p.st;
}

/* ---- pages ---- */

/* A page that nobody changed yet is written in place: taking that back means reading it again, which is rare; copying is not. */
static struct page *page_for_writing(struct tx *tx, struct tx_node *n)
{
    bool in_place = n->state == NODE_CLEAN && n->value.p;
    struct page *old = (struct page *)(uintptr_t)n->value.p, *p = old;
    if (!in_place && !(p = ARENA_NEW(&tx->arena, struct page)))
        return NULL;
    if (!in_place && old)
        memcpy(p, old, page_size(old));
    struct tx_undo *u = push_undo(tx, UNDO_NODE);
    if (!u)
        return NULL;
    u->node = n;
    u->value = in_place ? STR_NONE : n->value;
    u->state = in_place ? NODE_UNREAD : n->state;
    n->change = tx->change;
    n->value = str_make(p, sizeof *p);
    n->state = NODE_DIRTY;
    return p;
}

enum st tx_page(struct tx *tx, uint32_t mailbox, uint32_t number, bool write, struct page **out, struct err *e)
{
    struct key key = key_u32_u32(KEY_PAGE, mailbox, number);
    struct tx_node *n;
    TRY(load_node(tx, &key, &n, e));
    *out = (struct page *)(uintptr_t)n->value.p;
    if (!write || (n->change == tx->change && n->state == NODE_DIRTY))
        return ST_OK;
    *out = page_for_writing(tx, n);
    if (!*out)
        return no_memory(e);
    tx->dirty = true;
    tx->bytes += (*out)->count * 16 + 128; /* about what it takes */
    return ST_OK;
}

/* ---- mailboxes ---- */

static enum st save_mailbox(struct tx *tx, struct tx_mailbox *m, struct err *e)
{
    if (m->change == tx->change)
        return ST_OK;
    struct tx_mailbox *copy = ARENA_NEW(&tx->arena, struct tx_mailbox);
    if (!copy)
        return no_memory(e);
    *copy = *m;
    struct delta *d;
    bool copied = true;
    for (int i = 0; (d = mailbox_delta(m, i)); i++)
        copied &= delta_copy(d, mailbox_delta(copy, i));
    struct tx_undo *u = copied ? push_undo(tx, UNDO_MAILBOX) : NULL;
    if (!u) {
        mailbox_release(copy);
        return no_memory(e);
    }
    u->mailbox = m;
    u->saved = copy;
    m->change = tx->change;
    return ST_OK;
}

static enum st add_mailbox(struct tx *tx, uint32_t id, struct mbox *base, struct tx_mailbox **out, struct err *e)
{
    struct tx_mailbox *m = ARENA_NEW(&tx->arena, struct tx_mailbox);
    struct tx_undo *u = m ? push_undo(tx, UNDO_NEW_MAILBOX) : NULL;
    if (!u)
        return no_memory(e);
    m->id = id;
    m->base = base;
    m->change = tx->change;
    if (base) {
        m->r = base->r;
        pthread_mutex_lock(&tx->a->lock);
        m->r.first_recent = base->first_recent;
        pthread_mutex_unlock(&tx->a->lock);
        base->tx = m;
    }
    m->next = tx->mailboxes;
    tx->mailboxes = m;
    u->mailbox = m;
    *out = m;
    return ST_OK;
}

static enum st no_mailbox(struct err *e) { return ERR_PUBLIC(e, ST_NOTFOUND, "No such mailbox"); }

enum st tx_mailbox(struct tx *tx, uint32_t id, struct tx_mailbox **out, struct err *e)
{
    struct mbox *base = head_find(&tx->a->head, id);
    struct tx_mailbox *m = base ? base->tx : NULL;
    if (!base)
        for (m = tx->mailboxes; m && m->id != id;)
            m = m->next;
    if (m) {
        if (m->r.state == RECORD_DYING)
            return no_mailbox(e);
        *out = m;
        return save_mailbox(tx, m, e);
    }
    return base ? add_mailbox(tx, id, base, out, e) : no_mailbox(e);
}

enum st tx_mailbox_selectable(struct tx *tx, uint32_t id, struct tx_mailbox **out, struct err *e)
{
    TRY(tx_mailbox(tx, id, out, e));
    return (*out)->r.selectable ? ST_OK : no_mailbox(e);
}

struct tx_mailbox *tx_mailbox_named(struct tx *tx, struct str canonical)
{
    for (struct tx_mailbox *m = tx->mailboxes; m; m = m->next)
        if ((!m->base || m->renamed) && m->r.state == RECORD_LIVE && str_eq(m->r.name, canonical))
            return m;
    struct mbox *base = head_find_name(&tx->a->head, canonical);
    if (!base || (base->tx && (base->tx->renamed || base->tx->r.state == RECORD_DYING)))
        return NULL;
    struct tx_mailbox *m = base->tx;
    return m || add_mailbox(tx, base->id, base, &m, NULL) == ST_OK ? m : NULL;
}

void tx_mailbox_changed(struct tx *tx, struct tx_mailbox *m, unsigned events)
{
    if (!m->dirty)
        tx->bytes += 200 + m->r.name.n;
    m->dirty = true;
    m->events |= events;
    m->strings |= (events & (JOURNAL_CHANGED | JOURNAL_CREATED)) != 0;
    tx->dirty = true;
}

enum st tx_mailbox_new(struct tx *tx, struct str name, struct tx_mailbox **out, struct err *e)
{
    ENSURE(tx->rec.next_mailbox < UINT32_MAX, e, ST_LIMIT, "Too many mailboxes");
    uint32_t now_s = (uint32_t)(tx->now_ms / 1000);
    TRY(add_mailbox(tx, tx->rec.next_mailbox, NULL, out, e));
    struct tx_mailbox *m = *out;
    tx->rec.next_mailbox++;
    /* RFC 9051 2.3.1.1: never lower than an earlier mailbox of the name had; one counter for all names gives that */
    tx->rec.uidvalidity = now_s > tx->rec.uidvalidity ? now_s : tx->rec.uidvalidity + 1;
    m->r = (struct record_mailbox){.selectable = true,
                                   .uidvalidity = tx->rec.uidvalidity,
                                   .uidnext = 1,
                                   .first_recent = 1,
                                   .highest_modseq = tx->modseq,
                                   .created_modseq = tx->modseq,
                                   .name = arena_str(&tx->arena, name)};
    if (!m->r.name.p)
        return no_memory(e);
    tx_mailbox_changed(tx, m, JOURNAL_CREATED);
    return ST_OK;
}

static enum st settle_set(const struct uidset *base, struct delta *on, struct delta *off, struct uidset *out)
{
    if (base)
        TRY(uidset_copy(base, out));
    else
        *out = UIDSET_EMPTY;
    TRY(uidset_or(out, delta_get(on)));
    uidset_minus(out, delta_get(off));
    return ST_OK;
}

enum st tx_mailbox_uids(struct tx_mailbox *m, const struct uidset *within, struct uidset *out, struct err *e)
{
    const struct uidset *base = m->base ? &m->base->uids.present : NULL;
    enum st s;
    *out = UIDSET_EMPTY;
    if (!within) {
        s = settle_set(base, &m->added, &m->vanished, out);
    } else {
        struct uidset fresh = UIDSET_EMPTY;
        s = uidset_copy(within, out);
        if (s == ST_OK && !delta_empty(&m->added)) {
            s = uidset_copy(within, &fresh);
            uidset_and(&fresh, delta_get(&m->added));
        }
        struct uidset none = UIDSET_EMPTY;
        uidset_and(out, base ? base : &none);
        if (s == ST_OK)
            s = uidset_or(out, &fresh);
        uidset_minus(out, delta_get(&m->vanished));
        uidset_release(&fresh);
    }
    return s == ST_OK ? ST_OK : no_memory(e);
}

enum st tx_mailbox_deleted_uids(struct tx_mailbox *m, struct uidset *out, struct err *e)
{
    if (settle_set(m->base ? &m->base->uids.deleted : NULL, &m->deleted_on, &m->deleted_off, out) != ST_OK)
        return no_memory(e);
    uidset_minus(out, delta_get(&m->vanished));
    return ST_OK;
}

/* ---- entries ---- */

static void switch_on(struct delta *on, struct delta *off, uint32_t uid)
{
    delta_add(on, uid);
    delta_remove(off, uid);
}

void tx_entry_added(struct tx *tx, struct tx_mailbox *m, const struct message_entry *entry)
{
    delta_add(&m->added, entry->uid);
    m->r.exists++;
    m->r.size_bytes += entry->size;
    tx->rec.messages_used++;
    tx->rec.bytes_used += entry->size;
    if (!(entry->flags & MESSAGE_SEEN)) {
        m->r.unseen++;
        delta_add(&m->unseen_on, entry->uid);
    }
    if (entry->flags & MESSAGE_DELETED) {
        m->r.deleted++;
        delta_add(&m->deleted_on, entry->uid);
    }
    m->r.highest_modseq = tx->modseq;
    tx_mailbox_changed(tx, m, 0);
}

static uint32_t less(uint32_t count) { return count ? count - 1 : 0; }
static uint64_t less_by(uint64_t sum, uint64_t n) { return sum > n ? sum - n : 0; }

void tx_entry_removed(struct tx *tx, struct tx_mailbox *m, const struct message_entry *entry)
{
    delta_add(&m->vanished, entry->uid);
    m->r.exists = less(m->r.exists);
    m->r.size_bytes = less_by(m->r.size_bytes, entry->size);
    tx->rec.messages_used = less_by(tx->rec.messages_used, 1);
    tx->rec.bytes_used = less_by(tx->rec.bytes_used, entry->size);
    if (!(entry->flags & MESSAGE_SEEN))
        m->r.unseen = less(m->r.unseen);
    if (entry->flags & MESSAGE_DELETED)
        m->r.deleted = less(m->r.deleted);
    m->r.highest_modseq = tx->modseq;
    tx_mailbox_changed(tx, m, 0);
}

void tx_entry_flagged(struct tx *tx, struct tx_mailbox *m, const struct message_entry *entry, uint32_t flags_before)
{
    uint32_t changed = entry->flags ^ flags_before;
    delta_add(&m->flagged, entry->uid);
    if (changed & MESSAGE_SEEN) {
        if (entry->flags & MESSAGE_SEEN) {
            m->r.unseen = less(m->r.unseen);
            switch_on(&m->unseen_off, &m->unseen_on, entry->uid);
        } else {
            m->r.unseen++;
            switch_on(&m->unseen_on, &m->unseen_off, entry->uid);
        }
    }
    if (changed & MESSAGE_DELETED) {
        if (entry->flags & MESSAGE_DELETED) {
            m->r.deleted++;
            switch_on(&m->deleted_on, &m->deleted_off, entry->uid);
        } else {
            m->r.deleted = less(m->r.deleted);
            switch_on(&m->deleted_off, &m->deleted_on, entry->uid);
        }
    }
    m->r.highest_modseq = tx->modseq;
    tx_mailbox_changed(tx, m, 0);
}

/* ---- blobs, subscriptions ---- */

static struct tx_blob *add_blob(struct tx *tx)
{
    if (tx->blob_count == tx->blob_cap) {
        size_t cap = tx->blob_cap ? tx->blob_cap * 2 : 8;
        struct tx_blob *blobs = reallocarray(tx->blobs, cap, sizeof *blobs);
        if (!blobs)
            return NULL;
        tx->blobs = blobs;
        tx->blob_cap = cap;
    }
    tx->dirty = true;
    return &tx->blobs[tx->blob_count++];
}

/* KEY_BLOB counts the e-mails with these bytes: kv keeps a set of links, not a count. */
static enum st count_blob(struct tx *tx, const struct kv_blob_id *id, int step, uint32_t *count, struct err *e)
{
    struct key key = key_blob(id);
    struct str value;
    *count = 0;
    TRY(tx_get(tx, key, &value, e));
    if (value.p)
        TRY(record_u32_decode(value, count, e));
    if (step < 0 && *count == 0)
        return record_corrupt("blob count", e);
    *count += (uint32_t)step;
    if (*count == 0)
        return tx_delete(tx, key, e);
    char bytes[4];
    le32_put(bytes, *count);
    return tx_put(tx, key, str_make(bytes, sizeof bytes), e);
}

enum st tx_blob_store(struct tx *tx, const struct kv_blob_id *id, struct str bytes, struct err *e)
{
    uint32_t count;
    TRY(count_blob(tx, id, 1, &count, e));
    if (count > 1)
        return ST_OK; /* linked already */
    struct tx_blob *b = add_blob(tx);
    if (!b)
        return no_memory(e);
    *b = (struct tx_blob){*id, bytes, TX_BLOB_STORE};
    tx->bytes += bytes.n;
    return ST_OK;
}

enum st tx_blob_unlink(struct tx *tx, const struct kv_blob_id *id, struct err *e)
{
    uint32_t count;
    TRY(count_blob(tx, id, -1, &count, e));
    if (count > 0)
        return ST_OK;
    struct tx_blob *b = add_blob(tx);
    if (!b)
        return no_memory(e);
    *b = (struct tx_blob){*id, STR_NONE, TX_BLOB_UNLINK};
    return ST_OK;
}

enum st tx_blob_relink(struct tx *tx, const struct kv_blob_id *id, bool add, struct err *e)
{
    struct tx_blob *b = add_blob(tx);
    if (!b)
        return no_memory(e);
    *b = (struct tx_blob){*id, STR_NONE, add ? TX_BLOB_LINK : TX_BLOB_UNLINK};
    return ST_OK;
}

bool tx_subscribed(struct tx *tx, struct str name)
{
    for (size_t i = tx->sub_count; i-- > 0;)
        if (str_eq(tx->subs[i].name, name))
            return tx->subs[i].add;
    return head_subscribed(&tx->a->head, name);
}

enum st tx_subscribe(struct tx *tx, struct str name, bool add, struct err *e)
{
    if (tx_subscribed(tx, name) == add)
        return ST_OK;
    if (tx->sub_count == tx->sub_cap) {
        size_t cap = tx->sub_cap ? tx->sub_cap * 2 : 8;
        struct tx_sub *subs = reallocarray(tx->subs, cap, sizeof *subs);
        if (!subs)
            return no_memory(e);
        tx->subs = subs;
        tx->sub_cap = cap;
    }
    struct str kept = arena_str(&tx->arena, name);
    if (!kept.p)
        return no_memory(e);
    tx->subs[tx->sub_count++] = (struct tx_sub){kept, add};
    struct key key = key_subscription(name);
    return add ? tx_put(tx, key, name, e) : tx_delete(tx, key, e);
}
