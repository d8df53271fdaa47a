#include "rt/log.h"
#include "store/batch.h"
#include "store/found.h"

static enum st no_memory(struct err *e)
{
    (void)!ERR(e, ST_TEMP, "Out of memory", "copying messages");
    return ST_TEMP; /* said so that analysers see it, too */
}

/* Keyword bits of one mailbox as bits of another. */
static enum st map_keywords(struct tx *tx, struct tx_mailbox *from, struct tx_mailbox *to, uint64_t used, uint64_t map[64],
                            struct err *e)
{
    for (unsigned i = 0; i < MAILBOX_KEYWORDS_MAX; i++) {
        map[i] = 0;
        if ((used >> i & 1) && i < from->r.keyword_count)
            TRY(tx_mailbox_keyword(tx, to, from->r.keywords[i], &map[i], e));
    }
    return ST_OK;
}

static uint64_t mapped(uint64_t bits, const uint64_t map[64])
{
    uint64_t out = 0;
    for (; bits; bits &= bits - 1)
        out |= map[__builtin_ctzll(bits)];
    return out;
}

static enum st check_count(const struct tx *tx, uint64_t count, struct err *e)
{
    const struct record_account *r = &tx->rec;
    bool fits = r->messages_used <= r->messages_max && count <= r->messages_max - r->messages_used;
    ENSURE(count == 0 || r->messages_max == UINT64_MAX || fits, e, ST_LIMIT, "The mailbox is full (number of messages)");
    return ST_OK;
}

static enum st check_bytes(const struct tx *tx, const struct message_entry *entries, size_t count, struct err *e)
{
    const struct record_account *r = &tx->rec;
    uint64_t bytes = 0;
    for (size_t i = 0; i < count; i++)
        bytes += entries[i].size;
    ENSURE(r->bytes_max == UINT64_MAX || r->bytes_used + bytes <= r->bytes_max, e, ST_LIMIT, "The mailbox is full");
    return ST_OK;
}

static enum st make_copies(struct tx *tx, struct tx_mailbox *from, struct tx_mailbox *to, const struct message_entry *entries,
                           size_t count, struct message_entry **out, struct err *e)
{
    struct message_entry *copies = ARENA_ARRAY(&tx->arena, count + 1, struct message_entry);
    uint64_t used = 0, map[64];
    if (!copies)
        return no_memory(e);
    for (size_t i = 0; i < count; i++)
        used |= entries[i].keywords;
    if (used)
        TRY(map_keywords(tx, from, to, used, map, e));
    for (size_t i = 0; i < count; i++) {
        copies[i] = entries[i];
        copies[i].uid = to->r.uidnext++;
        copies[i].keywords = used ? mapped(entries[i].keywords, map) : 0;
        copies[i].modseq = tx->modseq;
        copies[i].saved_s = (uint32_t)(tx->now_ms / 1000);
    }
    *out = copies;
    return ST_OK;
}

static enum st edit_found(struct tx *tx, const struct copy_step *c, const struct message_entry *old,
                          const struct message_entry *copies, size_t count, struct err *e)
{
    size_t n = 0;
    struct found_edit *edits = ARENA_ARRAY(&tx->arena, count * 2 + 1, struct found_edit);
    if (!edits)
        return no_memory(e);
    for (size_t i = 0; i < count; i++) { /* in the order of found pages, if the e-mails are */
        struct found_edit add = {(uint32_t)copies[i].email, c->to, copies[i].uid, false};
        struct found_edit remove = {(uint32_t)old[i].email, c->from, old[i].uid, true};
        if (c->to < c->from)
            edits[n++] = add;
        if (c->move)
            edits[n++] = remove;
        if (c->to >= c->from)
            edits[n++] = add;
    }
    return found_edit_all(tx, edits, n, e);
}

static enum st note_uids(struct copy_step *c, const struct message_entry *old, const struct message_entry *copies, size_t count,
                         struct err *e)
{
    struct delta from = {0};
    for (size_t i = 0; i < count; i++)
        delta_add(&from, old[i].uid);
    c->from_uids = *delta_get(&from);
    enum st s = count ? uidset_add_range(&c->to_uids, copies[0].uid, copies[count - 1].uid) : ST_OK;
    return s == ST_OK && !from.failed ? ST_OK : no_memory(e);
}

enum st message_copy_step(struct tx *tx, struct copy_step *c, struct err *e)
{
    struct tx_mailbox *from, *to;
    uidset_release(&c->from_uids);
    uidset_release(&c->to_uids);
    TRY(tx_mailbox_selectable(tx, c->from, &from, e));
    TRY(tx_mailbox_selectable(tx, c->to, &to, e));
    DEFER(uidset_release) struct uidset uids = UIDSET_EMPTY;
    DEFER(uidset_release) struct uidset part = UIDSET_EMPTY;
    TRY(tx_mailbox_uids(from, c->uids, &uids, e));
    if (c->first)
        uidset_remove_range(&uids, 0, c->first - 1);
    else
        c->below = from->r.uidnext;
    uidset_remove_range(&uids, c->below, UINT32_MAX); /* what an earlier step put into the same mailbox is not copied again */
    if (!c->move)                                     /* before any is copied */
        TRY(check_count(tx, uidset_count(&uids), e));
    TRY(batch_cut(&uids, &part, &c->next, e));
    struct message_entry *entries, *copies = NULL;
    size_t count;
    TRY(batch_entries(tx, from, &part, &entries, &count, e));
    c->uidvalidity = to->r.uidvalidity;
    c->modseq = count ? tx->modseq : to->r.highest_modseq;
    if (count == 0)
        return ST_OK;
    ENSURE(count < UINT32_MAX - to->r.uidnext, e, ST_LIMIT, "The mailbox has no more numbers");
    if (!c->move)
        TRY(check_bytes(tx, entries, count, e));
    TRY(make_copies(tx, from, to, entries, count, &copies, e));
    if (c->move)
        TRY(batch_remove(tx, from, entries, count, e));
    TRY(batch_add(tx, to, copies, count, e));
    TRY(edit_found(tx, c, entries, copies, count, e));
    return note_uids(c, entries, copies, count, e);
}

static enum st apply_copy(struct tx *tx, void *context, struct err *e) { return message_copy_step(tx, context, e); }

/* RFC 9051 6.4.7: a COPY that fails leaves the destination as it was. What its earlier commits made is removed again, and nobody
 * was told its UIDs as his own. A MOVE stays where it failed, each message in one of both mailboxes (RFC 6851 3.3). */
static void take_back(struct account *a, uint32_t to, const struct uidset *made)
{
    struct err e = {0};
    struct uidset gone;
    uint64_t modseq;
    if (uidset_empty(made))
        return;
    if (message_expunge(a, to, made, false, &gone, &modseq, &e) != ST_OK)
        log_event(LOG_WARN, "store.copy_partial", LOG_Z("account", a->name), LOG_ERR(&e));
    uidset_release(&gone);
}

enum st message_copy(struct account *a, uint32_t from, uint32_t to, const struct uidset *uids, struct message_copy *result,
                     struct err *e)
{
    result->from_uids = result->to_uids = UIDSET_EMPTY;
    struct copy_step c = {.from = from, .to = to, .uids = uids, .move = result->move};
    enum st s;
    do {
        c.first = c.next;
        s = change_run(a, apply_copy, &c, e);
        if (s == ST_OK)
            s = batch_merge(&result->from_uids, &c.from_uids, e);
        if (s == ST_OK)
            s = batch_merge(&result->to_uids, &c.to_uids, e);
        result->uidvalidity = c.uidvalidity;
        result->modseq = c.modseq;
    } while (s == ST_OK && c.next != 0);
    uidset_release(&c.from_uids);
    uidset_release(&c.to_uids);
    if (s != ST_OK) {
        if (!c.move)
            take_back(a, to, &result->to_uids);
        uidset_release(&result->from_uids);
        uidset_release(&result->to_uids);
    }
    return s;
}
