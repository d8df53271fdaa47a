#include "store/found.h"

#include <stdlib.h>

static enum st no_memory(struct err *e) { return ERR(e, ST_TEMP, "Out of memory", "updating a found page"); }

enum st found_add_one(struct tx *tx, uint64_t email, uint32_t mailbox, uint32_t uid, struct err *e)
{
    struct found_edit edit = {(uint32_t)email, mailbox, uid, false};
    return found_edit_all(tx, &edit, 1, e);
}

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

/* Merges old entries and edits, both sorted. An edit that does not fit what is there is damage. */
static enum st merge(const struct found *old, size_t old_count, const struct found_edit *edits, size_t edit_count,
                     struct found *out, size_t *count, struct err *e)
{
    size_t o = 0, n = 0;
    for (size_t i = 0; i < edit_count; i++) {
        struct found f = edit_found(&edits[i]);
        while (o < old_count && found_cmp(&old[o], &f) < 0)
            out[n++] = old[o++];
        bool there = o < old_count && found_cmp(&old[o], &f) == 0;
        if (there != edits[i].remove)
            return record_corrupt("found page and index page differ", e);
        if (edits[i].remove)
            o++;
        else
            out[n++] = f;
    }
    while (o < old_count)
        out[n++] = old[o++];
    *count = n;
    return ST_OK;
}

static bool has_slot(const struct found *all, size_t count, uint32_t slot)
{
    size_t from = 0, to = count;
    while (from < to) {
        size_t middle = (from + to) / 2;
        if (all[middle].slot < slot)
            from = middle + 1;
        else
            to = middle;
    }
    return from < count && all[from].slot == slot;
}

static void note_emails(struct tx *tx, const struct found_edit *edits, size_t count, const struct found *all, size_t all_count)
{
    for (size_t i = 0; i < count; i++) {
        if (i > 0 && edits[i].email == edits[i - 1].email)
            continue;
        if (has_slot(all, all_count, edits[i].email & (FOUND_SLOTS - 1)))
            delta_add(&tx->emails.updated, edits[i].email);
        else
            delta_add(&tx->emails.destroyed, edits[i].email);
    }
}

static enum st edit_page(struct tx *tx, uint32_t number, const struct found_edit *edits, size_t count, struct err *e)
{
    struct key key = key_u64(KEY_FOUND, number);
    struct str value;
    TRY(tx_get(tx, key, &value, e));
    size_t old_max = found_count(value), old_count, n = 0;
    ENSURE(old_max + count <= FOUND_MAX, e, ST_LIMIT, "Too many copies of a message");
    struct found *old = ARENA_ARRAY(&tx->arena, old_max + 1, struct found);
    struct found *all = ARENA_ARRAY(&tx->arena, old_max + count, struct found);
    if (!old || !all)
        return no_memory(e);
    TRY(found_decode(value, old, old_max, &old_count, e));
    TRY(merge(old, old_count, edits, count, all, &n, e));
    note_emails(tx, edits, count, all, n);
    if (n == 0)
        return tx_delete(tx, key, e);
    char *p = tx_put_room(tx, key, FOUND_HEAD + n * sizeof(struct found));
    if (!p)
        return no_memory(e);
    (void)found_encode(all, n, p);
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
