#include "store/found.h"

#include <stdlib.h>

static enum st no_memory(struct err *e) { return ERR(e, ST_TEMP, "Out of memory", "updating a found page"); }

static int edit_cmp(const void *a, const void *b)
{
    const struct found_edit *x = a, *y = b;
    if (x->email != y->email)
        return x->email < y->email ? -1 : 1;
    if (x->mailbox != y->mailbox)
        return x->mailbox < y->mailbox ? -1 : 1;
    if (x->uid != y->uid)
        return x->uid < y->uid ? -1 : 1;
    return x->remove - y->remove;
}

static void sort_edits(struct found_edit *edits, size_t count)
{
    for (size_t i = 1; i < count; i++)
        if (edit_cmp(&edits[i - 1], &edits[i]) > 0) { /* mostly they come in order */
            qsort(edits, count, sizeof *edits, edit_cmp);
            return;
        }
}

static struct found edit_found(const struct found_edit *e)
{
    return (struct found){e->email & (FOUND_SLOTS - 1), e->mailbox, e->uid};
}

/* The entries of one page as they become. */
struct page_edit {
    struct tx *tx;
    const struct found *old;
    size_t old_count, at; /* of old: everything before is done */
    struct found *new;
    size_t count;
    struct err *e;
};

/* What lies before `slot` stays. */
static void keep_before(struct page_edit *p, uint32_t slot)
{
    while (p->at < p->old_count && p->old[p->at].slot < slot)
        p->new[p->count++] = p->old[p->at++];
}

/* One e-mail: merges its old entries with its edits, both sorted. A place that is removed and not listed is the first one. */
static enum st edit_email(struct page_edit *p, const struct found_edit *edits, size_t count)
{
    uint32_t slot = edits[0].email & (FOUND_SLOTS - 1);
    keep_before(p, slot);
    bool left = p->at < p->old_count && p->old[p->at].slot == slot && p->old[p->at].mailbox == FOUND_LEFT;
    p->at += left;
    size_t head = p->count++; /* for FOUND_LEFT, if it comes to that */
    for (size_t i = 0; i < count; i++) {
        struct found f = edit_found(&edits[i]);
        while (p->at < p->old_count && found_cmp(&p->old[p->at], &f) < 0)
            p->new[p->count++] = p->old[p->at++];
        bool listed = p->at < p->old_count && found_cmp(&p->old[p->at], &f) == 0;
        if (edits[i].remove ? !listed && left : listed)
            return record_corrupt("found page and index page differ", p->e);
        p->at += listed;
        left |= edits[i].remove && !listed;
        if (!edits[i].remove)
            p->new[p->count++] = f;
    }
    while (p->at < p->old_count && p->old[p->at].slot == slot)
        p->new[p->count++] = p->old[p->at++];
    bool elsewhere = p->count > head + 1;
    delta_add(left && !elsewhere ? &p->tx->emails.destroyed : &p->tx->emails.updated, edits[0].email);
    if (left && elsewhere) {
        p->new[head] = (struct found){slot, FOUND_LEFT, FOUND_LEFT};
        return ST_OK;
    }
    memmove(&p->new[head], &p->new[head + 1], (p->count - head - 1) * sizeof *p->new);
    p->count--;
    return ST_OK;
}

static enum st edit_emails(struct page_edit *p, const struct found_edit *edits, size_t count)
{
    for (size_t i = 0; i < count;) {
        size_t end = i;
        while (end < count && edits[end].email == edits[i].email)
            end++;
        TRY(edit_email(p, edits + i, end - i));
        i = end;
    }
    keep_before(p, FOUND_SLOTS);
    return ST_OK;
}

static enum st edit_page(struct tx *tx, uint32_t number, const struct found_edit *edits, size_t count, struct err *e)
{
    struct key key = key_u64(KEY_FOUND, number);
    struct str value;
    TRY(tx_get(tx, key, &value, e));
    size_t old_max = found_count(value), max = old_max + 2 * count;
    ENSURE(max <= FOUND_MAX, e, ST_LIMIT, "Too many copies of a message");
    struct found *old = ARENA_ARRAY(&tx->arena, old_max + 1, struct found);
    struct page_edit p = {.tx = tx, .old = old, .new = ARENA_ARRAY(&tx->arena, max + 1, struct found), .e = e};
    if (!old || !p.new)
        return no_memory(e);
    TRY(found_decode(value, old, old_max, &p.old_count, e));
    TRY(edit_emails(&p, edits, count));
    if (p.count == 0)
        return value.p ? tx_delete(tx, key, e) : ST_OK;
    char *room = tx_put_room(tx, key, FOUND_HEAD + p.count * sizeof(struct found));
    if (!room)
        return no_memory(e);
    (void)found_encode(p.new, p.count, room);
    return ST_OK;
}

enum st found_edit_all(struct tx *tx, struct found_edit *edits, size_t count, struct err *e)
{
    enum { FEW = 4, SPARSE = 4 };
    if (count == 0)
        return ST_OK;
    sort_edits(edits, count);
    uint32_t first = edits[0].email >> FOUND_BITS, last = edits[count - 1].email >> FOUND_BITS;
    if (last - first >= FEW && last - first < SPARSE * count)
        TRY(tx_prefetch(tx, key_u64(KEY_FOUND, first), key_u64(KEY_FOUND, (uint64_t)last + 1), e));
    for (size_t i = 0; i < count;) {
        size_t end = i;
        while (end < count && edits[end].email >> FOUND_BITS == edits[i].email >> FOUND_BITS)
            end++;
        TRY(edit_page(tx, edits[i].email >> FOUND_BITS, edits + i, end - i, e));
        i = end;
    }
    return ST_OK;
}
