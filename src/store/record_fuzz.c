/* Every decoder of stored records: the first byte says which. Decoded records are encoded and decoded again. */
#include <stdlib.h>

#include "base/check.h"
#include "format/digest.h"
#include "store/append.h"
#include "store/care.h"
#include "store/journal.h"
#include "store/page.h"
#include "store/thread.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void fuzz_account(struct str s)
{
    struct record_account a, b;
    DEFER(buf_release) struct buf out = BUF_INIT(4096);
    if (record_account_decode(s, &a, NULL) != ST_OK)
        return;
    record_account_encode(&a, &out);
    check(record_account_decode(buf_str(&out), &b, NULL) == ST_OK);
    check(a.modseq == b.modseq && a.next_email == b.next_email && a.bytes_max == b.bytes_max && a.care == b.care);
}

static void fuzz_mailbox(struct str s)
{
    struct record_mailbox a, b;
    struct str first[MAILBOX_KEYWORDS_MAX], second[MAILBOX_KEYWORDS_MAX];
    DEFER(buf_release) struct buf out = BUF_INIT(KV_VALUE_MAX + 4096);
    if (record_mailbox_decode(s, first, &a, NULL) != ST_OK)
        return;
    record_mailbox_encode(&a, &out);
    check(record_mailbox_decode(buf_str(&out), second, &b, NULL) == ST_OK);
    check(str_eq(a.name, b.name) && a.keyword_count == b.keyword_count && str_eq(a.tail, b.tail) && a.role == b.role);
}

static void fuzz_uids(struct str s)
{
    struct record_uids a = {0}, b = {0};
    DEFER(buf_release) struct buf out = BUF_INIT(KV_VALUE_MAX);
    if (record_uids_decode(s, 1, &a, NULL) == ST_OK) {
        record_uids_encode(&a, &out);
        check(record_uids_decode(buf_str(&out), 1, &b, NULL) == ST_OK);
        check(uidset_equal(&a.present, &b.present) && uidset_equal(&a.unseen, &b.unseen) && uidset_equal(&a.deleted, &b.deleted));
    }
    record_uids_release(&a);
    record_uids_release(&b);
}

static void fuzz_uidset(struct str s)
{
    struct uidset a;
    if (uidset_decode(s, &a, NULL) == ST_OK) {
        uint64_t at = 0, count = 0;
        uint32_t first, last;
        while (uidset_next_run(&a, &at, &first, &last))
            count += (uint64_t)last - first + 1;
        check(count == uidset_count(&a));
        struct uidset b;
        check(uidset_copy(&a, &b) == ST_OK);
        uidset_minus(&b, &a);
        check(uidset_empty(&b));
        uidset_release(&b);
    }
    uidset_release(&a);
}

static void fuzz_email(struct str s)
{
    struct record_email r;
    struct append_item item;
    if (record_email_decode(s, &r, NULL) == ST_OK)
        thread_ids(r.digest, &item);
}

static void fuzz_page(struct str s)
{
    struct page *p = malloc(sizeof *p), *q = malloc(sizeof *q);
    char *back = malloc(PAGE_BYTES_MAX + PAGE_SLACK);
    struct message_entry one = {0};
    (void)!page_decode_one(s, 5, &one, NULL);
    if (p && q && back && page_decode(s, 0, p, NULL) == ST_OK) {
        size_t n = page_encode(p, back);
        check(n <= PAGE_BYTES_MAX);
        check(page_decode(str_make(back, n), 0, q, NULL) == ST_OK);
        check(p->count == q->count && memcmp(p->entries, q->entries, p->count * sizeof p->entries[0]) == 0);
        (void)page_find(p, 5);
        for (uint32_t i = 0; i < p->count; i++)
            check(page_decode_one(s, p->entries[i].uid, &one, NULL) == ST_OK && memcmp(&one, &p->entries[i], sizeof one) == 0);
    }
    free(p);
    free(q);
    free(back);
}

static void fuzz_found(struct str s)
{
    size_t max = found_count(s), count;
    struct found *out = calloc(max + 1, sizeof *out);
    char *back = malloc(FOUND_HEAD + max * sizeof *out);
    if (out && back && found_decode(s, out, max, &count, NULL) == ST_OK && s.n > 0) {
        check(found_encode(out, count, back) == s.n);
        check(memcmp(back, s.p, s.n) == 0);
    }
    free(back);
    free(out);
}

static bool any_mailbox(void *context, uint32_t mailbox, unsigned events)
{
    uint32_t *last = context;
    (void)events;
    *last = mailbox;
    return true;
}

static void fuzz_journal(struct str s)
{
    uint64_t token;
    uint32_t last = 1;
    struct record_account account;
    struct journal_mailbox m = {0};
    struct journal_emails emails = {0};
    (void)!journal_token(s, &token, NULL);
    (void)!journal_account(s, &account, NULL);
    (void)!journal_mailboxes(s, any_mailbox, &last, NULL);
    (void)!journal_mailbox_decode(s, last, &m, NULL);
    (void)!journal_emails_decode(s, &emails, NULL);
    uidset_release(&m.added);
    uidset_release(&m.flagged);
    uidset_release(&m.vanished);
    journal_emails_release(&emails);
}

static void fuzz_small(struct str s)
{
    uint32_t u32;
    uint64_t u64;
    struct record_delivery delivery;
    struct uidset garbage = UIDSET_EMPTY;
    (void)!record_u32_decode(s, &u32, NULL);
    (void)!record_u64_decode(s, &u64, NULL);
    (void)!record_delivery_decode(s, &delivery, NULL);
    (void)!garbage_decode(s, &garbage, NULL);
    uidset_release(&garbage);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static void (*const decoders[])(struct str) = {fuzz_account, fuzz_mailbox, fuzz_uids,    fuzz_uidset, fuzz_email,
                                                   fuzz_page,    fuzz_found,   fuzz_journal, fuzz_small};
    if (size == 0 || data[0] >= sizeof decoders / sizeof decoders[0])
        return 0;
    char *copy = malloc(size > 1 ? size - 1 : 1); /* its own block, so that a sanitizer sees a read behind the end */
    if (!copy)
        return 0;
    memcpy(copy, data + 1, size - 1);
    struct str s = str_make(copy, size - 1);
    decoders[data[0]](s);
    free(copy);
    return 0;
}
