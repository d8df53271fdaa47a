#include "store/batch.h"

#include <stdlib.h>

static enum st no_memory(struct err *e) { return ERR(e, ST_TEMP, "Out of memory", "working on many messages"); }

enum st batch_merge(struct uidset *into, struct uidset *from, struct err *e)
{
    enum st s = uidset_or(into, from);
    uidset_release(from);
    return s == ST_OK ? ST_OK : no_memory(e);
}

enum st batch_cut(const struct uidset *uids, struct uidset *out, uint32_t *next, struct err *e)
{
    uint64_t at = 0;
    uint32_t first, last, pages = 0, page = UINT32_MAX;
    *next = 0;
    if (uidset_copy(uids, out) != ST_OK)
        return no_memory(e);
    while (uidset_next_run(uids, &at, &first, &last)) {
        uint32_t from = first >> PAGE_BITS, to = last >> PAGE_BITS;
        pages += to - from + (from != page);
        page = to;
        if (pages <= BATCH_PAGES)
            continue;
        uint32_t end = (to - (pages - BATCH_PAGES) + 1) << PAGE_BITS; /* the pages of this run that still fit */
        *next = end > first ? end : first;
        uidset_remove_range(out, *next, UINT32_MAX);
        return ST_OK;
    }
    return ST_OK;
}

enum st batch_prefetch(struct tx *tx, uint32_t mailbox, const struct uidset *uids, struct err *e)
{
    enum { FEW = 3, GAP = 8 };
    uint64_t at = 0;
    uint32_t first, last;
    bool more = uidset_next_run(uids, &at, &first, &last);
    while (more) {
        uint32_t from = first >> PAGE_BITS, to = last >> PAGE_BITS;
        while ((more = uidset_next_run(uids, &at, &first, &last)) && first >> PAGE_BITS <= to + GAP)
            to = last >> PAGE_BITS;
        if (to - from >= FEW)
            TRY(tx_prefetch(tx, key_u32_u32(KEY_PAGE, mailbox, from), key_u32_u32(KEY_PAGE, mailbox, to + 1), e));
    }
    return ST_OK;
}

enum st batch_entries(struct tx *tx, struct tx_mailbox *m, const struct uidset *uids, struct message_entry **out, size_t *count,
                      struct err *e)
{
    *count = 0;
    *out = ARENA_ARRAY(&tx->arena, uidset_count(uids) + 1, struct message_entry);
    if (!*out)
        return no_memory(e);
    TRY(batch_prefetch(tx, m->id, uids, e));
    struct page *page = NULL;
    uint32_t number = UINT32_MAX, first, last;
    uint64_t at = 0;
    while (uidset_next_run(uids, &at, &first, &last))
        for (uint32_t uid = first; uid <= last && uid >= first;) {
            if (uid >> PAGE_BITS != number) {
                number = uid >> PAGE_BITS;
                TRY(tx_page(tx, m->id, number, false, &page, e));
            }
            for (unsigned i = page ? page_at(page, uid) : 0; page && i < page->count && page->entries[i].uid <= last; i++)
                (*out)[(*count)++] = page->entries[i];
            uid = (number + 1) << PAGE_BITS;
        }
    return ST_OK;
}

enum st batch_add(struct tx *tx, struct tx_mailbox *m, const struct message_entry *entries, size_t count, struct err *e)
{
    struct page *page = NULL;
    uint32_t number = UINT32_MAX;
    for (size_t i = 0; i < count; i++) {
        if (!page || entries[i].uid >> PAGE_BITS != number) {
            number = entries[i].uid >> PAGE_BITS;
            TRY(tx_page(tx, m->id, number, true, &page, e));
            page->highest_modseq = tx->modseq;
        }
        if (page->count == PAGE_ENTRIES || (page->count && page->entries[page->count - 1].uid >= entries[i].uid))
            return record_corrupt("index page has a message that is to come", e);
        page->entries[page->count++] = entries[i];
        tx_entry_added(tx, m, &entries[i]);
    }
    return ST_OK;
}

/* Takes the entries from *i on that are on this page out of it. */
static void remove_from_page(struct tx *tx, struct tx_mailbox *m, struct page *page, const struct message_entry *entries,
                             size_t count, size_t *i)
{
    unsigned kept = 0;
    for (unsigned j = 0; j < page->count; j++) {
        if (*i < count && page->entries[j].uid == entries[*i].uid) {
            tx_entry_removed(tx, m, &entries[*i]);
            ++*i;
        } else {
            if (kept != j)
                page->entries[kept] = page->entries[j];
            kept++;
        }
    }
    page->count = kept;
    page->highest_modseq = tx->modseq;
}

enum st batch_remove(struct tx *tx, struct tx_mailbox *m, const struct message_entry *entries, size_t count, struct err *e)
{
    for (size_t i = 0; i < count;) {
        struct page *page;
        size_t before = i;
        TRY(tx_page(tx, m->id, entries[i].uid >> PAGE_BITS, true, &page, e));
        remove_from_page(tx, m, page, entries, count, &i);
        if (i == before)
            return record_corrupt("index page lost a message", e);
    }
    return ST_OK;
}
