#include "store/batch.h"
#include "store/found.h"

struct expunge_step {
    uint32_t mailbox;
    const struct uidset *uids;
    bool only_deleted;
    uint32_t next;
    struct uidset expunged;
    uint64_t modseq;
};

static enum st targets(const struct expunge_step *x, struct tx_mailbox *m, struct uidset *out, struct err *e)
{
    if (!x->only_deleted)
        return tx_mailbox_uids(m, x->uids, out, e);
    TRY(tx_mailbox_deleted_uids(m, out, e));
    if (x->uids)
        uidset_and(out, x->uids);
    return ST_OK;
}

static enum st forget_places(struct tx *tx, uint32_t mailbox, const struct message_entry *entries, size_t count, struct err *e)
{
    struct found_edit *edits = ARENA_ARRAY(&tx->arena, count, struct found_edit);
    if (!edits)
        return ERR(e, ST_TEMP, "Out of memory", "expunging");
    for (size_t i = 0; i < count; i++)
        edits[i] = (struct found_edit){(uint32_t)entries[i].email, mailbox, entries[i].uid, true};
    return found_edit_all(tx, edits, count, e);
}

static enum st apply_expunge(struct tx *tx, void *context, struct err *e)
{
    struct expunge_step *x = context;
    struct tx_mailbox *m;
    uidset_release(&x->expunged);
    TRY(tx_mailbox_selectable(tx, x->mailbox, &m, e));
    DEFER(uidset_release) struct uidset uids = UIDSET_EMPTY;
    TRY(targets(x, m, &uids, e));
    TRY(batch_cut(&uids, &x->expunged, &x->next, e));
    x->modseq = m->r.highest_modseq;
    if (uidset_empty(&x->expunged))
        return ST_OK;
    struct message_entry *entries;
    size_t count;
    TRY(batch_entries(tx, m, &x->expunged, &entries, &count, e));
    if (count != uidset_count(&x->expunged))
        return record_corrupt("uids and index pages differ", e);
    TRY(batch_remove(tx, m, entries, count, e));
    x->modseq = tx->modseq;
    return forget_places(tx, m->id, entries, count, e);
}

enum st message_expunge(struct account *a, uint32_t mailbox, const struct uidset *uids, bool only_deleted, struct uidset *expunged,
                        uint64_t *modseq, struct err *e)
{
    *expunged = UIDSET_EMPTY;
    struct expunge_step x = {.mailbox = mailbox, .uids = uids, .only_deleted = only_deleted};
    enum st s;
    do {
        s = change_run(a, apply_expunge, &x, e);
        if (s == ST_OK)
            s = batch_merge(expunged, &x.expunged, e);
    } while (s == ST_OK && x.next != 0);
    uidset_release(&x.expunged);
    *modseq = x.modseq;
    return s;
}
