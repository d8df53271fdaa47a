#include <stdlib.h>

#include "base/bits.h"
#include "format/digest.h"
#include "store/append.h"
#include "store/thread.h"

static enum st no_memory(struct err *e) { return ERR(e, ST_TEMP, "Out of memory", "appending a message"); }

enum st append_prepare(struct account *a, const struct message_append *m, struct buf *digest, struct append_item *out,
                       struct err *e)
{
    uint64_t max = account_config(a)->message_max_bytes;
    ENSURE(m->bytes.n <= max && m->bytes.n <= UINT32_MAX && m->bytes.n <= KV_BLOB_MAX, e, ST_LIMIT, "The message is too large");
    out->blob = kv_blob_id_of(m->bytes);
    out->digest = m->digest;
    if (m->digest.n == 0) {
        TRY(digest_build(m->bytes, digest, e));
        out->digest = buf_str(digest);
    }
    thread_ids(out->digest, out);
    return ST_OK;
}

static enum st check_quota(struct tx *tx, const struct message_append *m, struct err *e)
{
    const struct record_account *r = &tx->rec;
    if (m->ignore_quota)
        return ST_OK;
    ENSURE(r->messages_used < r->messages_max, e, ST_LIMIT, "The mailbox is full (number of messages)");
    ENSURE(r->bytes_max == UINT64_MAX || (r->bytes_used <= r->bytes_max && m->bytes.n <= r->bytes_max - r->bytes_used), e, ST_LIMIT,
           "The mailbox is full");
    return ST_OK;
}

static enum st keyword_bits(struct tx *tx, struct tx_mailbox *mailbox, const struct message_append *m, uint64_t *bits,
                            struct err *e)
{
    *bits = 0;
    for (size_t i = 0; i < m->keyword_count; i++) {
        uint64_t bit;
        TRY(tx_mailbox_keyword(tx, mailbox, m->keywords[i], &bit, e));
        *bits |= bit;
    }
    return ST_OK;
}

static enum st put_email(struct tx *tx, const struct message_entry *entry, uint32_t mailbox, const struct append_item *item,
                         uint64_t thread, struct err *e)
{
    ENSURE(item->digest.n <= KV_VALUE_MAX - RECORD_EMAIL_HEAD, e, ST_LIMIT, "The message is too complicated");
    char *p = tx_put_room(tx, key_u64(KEY_EMAIL, entry->email), RECORD_EMAIL_HEAD + item->digest.n);
    if (!p)
        return no_memory(e);
    record_email_encode(&(struct record_email){item->blob, thread, entry->size, mailbox, entry->uid, STR_NONE}, p);
    if (item->digest.n)
        memcpy(p + RECORD_EMAIL_HEAD, item->digest.p, item->digest.n);
    return ST_OK;
}

static enum st put_entry(struct tx *tx, struct tx_mailbox *mailbox, const struct message_entry *entry, struct err *e)
{
    struct page *page;
    TRY(tx_page(tx, mailbox->id, entry->uid >> PAGE_BITS, true, &page, e));
    if (page->count == PAGE_ENTRIES || (page->count && page->entries[page->count - 1].uid >= entry->uid))
        return record_corrupt("index page has a message that is to come", e);
    page->entries[page->count++] = *entry;
    page->highest_modseq = tx->modseq;
    tx_entry_added(tx, mailbox, entry);
    return ST_OK;
}

enum st append_apply(struct tx *tx, struct tx_mailbox *mailbox, struct message_append *m, const struct append_item *item,
                     struct err *e)
{
    TRY(check_quota(tx, m, e));
    ENSURE(tx->rec.next_email < UINT32_MAX && mailbox->r.uidnext < UINT32_MAX, e, ST_LIMIT, "The mailbox has no more numbers");
    uint64_t bits, thread;
    TRY(keyword_bits(tx, mailbox, m, &bits, e));
    uint32_t email = tx->rec.next_email++;
    struct message_entry entry = {.uid = mailbox->r.uidnext++,
                                  .flags = m->flags,
                                  .keywords = bits,
                                  .modseq = tx->modseq,
                                  .internal_ms = m->internal_ms ? m->internal_ms : tx->now_ms,
                                  .saved_s = (uint32_t)(tx->now_ms / 1000),
                                  .size = (uint32_t)m->bytes.n,
                                  .email = email};
    TRY(tx_blob_store(tx, &item->blob, m->bytes, e));
    TRY(thread_join(tx, item, email, &thread, e));
    TRY(put_email(tx, &entry, mailbox->id, item, thread, e));
    TRY(put_entry(tx, mailbox, &entry, e));
    delta_add(&tx->emails.created, email);
    m->uid = entry.uid;
    m->uidvalidity = mailbox->r.uidvalidity;
    m->modseq = tx->modseq;
    m->email = email;
    return ST_OK;
}

struct append_list {
    uint32_t mailbox;
    struct message_append *list;
    struct append_item *items;
    size_t count;
};

static enum st apply_list(struct tx *tx, void *context, struct err *e)
{
    struct append_list *l = context;
    struct tx_mailbox *m;
    TRY(tx_mailbox_selectable(tx, l->mailbox, &m, e));
    for (size_t i = 0; i < l->count; i++)
        TRY(append_apply(tx, m, &l->list[i], &l->items[i], e));
    return ST_OK;
}

static enum st append_prepared(struct account *a, struct append_list *l, struct buf *digests, struct err *e)
{
    uint64_t bytes = 0;
    for (size_t i = 0; i < l->count; i++) {
        TRY(append_prepare(a, &l->list[i], &digests[i], &l->items[i], e));
        bytes += l->items[i].digest.n + 4096;
        ENSURE(bytes <= KV_BATCH_MAX_BYTES / 2, e, ST_LIMIT, "Too many messages at once");
    }
    return change_run(a, apply_list, l, e);
}

enum st message_append(struct account *a, uint32_t mailbox, struct message_append *list, size_t count, struct err *e)
{
    enum { TOGETHER_MAX = 4096 };
    ENSURE(count <= TOGETHER_MAX, e, ST_LIMIT, "Too many messages at once");
    TRY(account_ready(a, e));
    if (count == 0)
        return ST_OK;
    struct append_item *items = calloc(count, sizeof *items);
    struct buf *digests = calloc(count, sizeof *digests);
    enum st s = ST_OK;
    if (items && digests) {
        struct append_list l = {mailbox, list, items, count};
        for (size_t i = 0; i < count; i++)
            buf_init(&digests[i], KV_VALUE_MAX);
        s = append_prepared(a, &l, digests, e);
        for (size_t i = 0; i < count; i++)
            buf_release(&digests[i]);
    } else {
        s = no_memory(e);
    }
    free(items);
    free(digests);
    return s;
}
