/* Records: what is encoded decodes to the same, and no shortened record decodes. STORE_SEEDS=dir writes the records as seeds for
 * record_fuzz. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "format/digest.h"
#include "store/care.h"
#include "store/journal.h"
#include "store/page.h"

static void write_seed(int decoder, const char *name, struct str bytes)
{
    const char *dir = getenv("STORE_SEEDS");
    char path[512];
    if (!dir)
        return;
    snprintf(path, sizeof path, "%s/%s", dir, name);
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    fputc(decoder, f);
    assert_int_equal(fwrite(bytes.p, 1, bytes.n, f), bytes.n);
    fclose(f);
}

static struct uidset set_of(const uint32_t *runs, size_t count)
{
    struct uidset s = UIDSET_EMPTY;
    for (size_t i = 0; i < count; i++)
        assert_int_equal(uidset_add_range(&s, runs[2 * i], runs[2 * i + 1]), ST_OK);
    return s;
}

/* Many runs: stored as Roaring bytes. */
static struct uidset scattered(uint32_t low, uint32_t high)
{
    struct uidset s = UIDSET_EMPTY;
    for (uint32_t v = low; v <= high; v += 3)
        assert_int_equal(uidset_add(&s, v), ST_OK);
    return s;
}

static void account_round_trip(void **state)
{
    (void)state;
    const struct record_account list[] = {
        {.next_mailbox = 1, .next_email = 1, .bytes_max = UINT64_MAX, .messages_max = UINT64_MAX},
        {.state = RECORD_DYING,
         .modseq = UINT64_MAX - 1,
         .journal_floor = 77,
         .next_mailbox = UINT32_MAX,
         .next_email = UINT32_MAX,
         .uidvalidity = 1800000000,
         .bytes_used = 1,
         .bytes_max = 0,
         .messages_used = UINT64_MAX,
         .messages_max = 12,
         .created_ms = 1800000000000,
         .delivery_floor = UINT16_MAX,
         .care = true},
    };
    for (size_t i = 0; i < 2; i++) {
        const struct record_account *a = &list[i];
        struct record_account b;
        struct buf out = BUF_INIT(1000);
        record_account_encode(a, &out);
        assert_int_equal(record_account_decode(buf_str(&out), &b, NULL), ST_OK);
        assert_true(a->state == b.state && a->modseq == b.modseq && a->journal_floor == b.journal_floor);
        assert_true(a->next_mailbox == b.next_mailbox && a->next_email == b.next_email && a->uidvalidity == b.uidvalidity);
        assert_true(a->bytes_used == b.bytes_used && a->bytes_max == b.bytes_max && a->messages_used == b.messages_used);
        assert_true(a->messages_max == b.messages_max && a->created_ms == b.created_ms && a->care == b.care);
        assert_int_equal(a->delivery_floor, b.delivery_floor);
        for (size_t n = 0; n < out.n; n++)
            assert_int_equal(record_account_decode(str_upto(buf_str(&out), n), &b, NULL), ST_CORRUPT);
        write_seed(0, i ? "account-2" : "account-1", buf_str(&out));
        buf_release(&out);
    }
}

static void mailbox_round_trip(void **state)
{
    (void)state;
    struct str words[2] = {STR("$Junk"), STR("later")}, got[MAILBOX_KEYWORDS_MAX];
    const struct record_mailbox a = {.role = MAILBOX_ROLE_SENT,
                                     .subscribed = true,
                                     .selectable = true,
                                     .uidvalidity = 5,
                                     .uidnext = 9,
                                     .highest_modseq = 100,
                                     .created_modseq = 3,
                                     .exists = 4,
                                     .unseen = 2,
                                     .deleted = 1,
                                     .size_bytes = UINT64_C(1) << 40,
                                     .first_recent = 7,
                                     .name = STR("Sent/2026"),
                                     .keyword_count = 2,
                                     .keywords = words,
                                     .tail = STR("tail")};
    struct record_mailbox b;
    struct buf out = BUF_INIT(4000);
    record_mailbox_encode(&a, &out);
    assert_int_equal(record_mailbox_decode(buf_str(&out), got, &b, NULL), ST_OK);
    assert_true(a.role == b.role && b.subscribed && b.selectable && b.uidvalidity == 5 && b.uidnext == 9 && b.first_recent == 7);
    assert_true(b.highest_modseq == 100 && b.created_modseq == 3 && b.exists == 4 && b.unseen == 2 && b.deleted == 1);
    assert_true(b.size_bytes == a.size_bytes && str_eq(a.name, b.name) && b.keyword_count == 2 && str_eq(b.keywords[1], words[1]));
    assert_true(str_eq(a.tail, b.tail));
    for (size_t n = 0; n < out.n; n++)
        assert_int_equal(record_mailbox_decode(str_upto(buf_str(&out), n), got, &b, NULL), ST_CORRUPT);
    write_seed(1, "mailbox", buf_str(&out));
    out.p[0] = 99; /* a version from the future */
    assert_int_equal(record_mailbox_decode(buf_str(&out), got, &b, NULL), ST_CORRUPT);
    buf_release(&out);
}

static void uids_round_trip(void **state)
{
    (void)state;
    static const uint32_t runs[] = {8192, 8200, 9000, 9000, 16000, 16383};
    const struct record_uids list[] = {
        {UIDSET_EMPTY, UIDSET_EMPTY, UIDSET_EMPTY},
        {set_of(runs, 3), set_of(runs, 1), UIDSET_EMPTY},
        {scattered(8192, 16383), scattered(8192, 12000), scattered(16000, 16383)},
    };
    for (size_t i = 0; i < 3; i++) {
        struct record_uids a = list[i], b = {0};
        struct buf out = BUF_INIT(40000);
        record_uids_encode(&a, &out);
        assert_int_equal(record_uids_decode(buf_str(&out), 1, &b, NULL), ST_OK);
        assert_true(uidset_equal(&a.present, &b.present) && uidset_equal(&a.unseen, &b.unseen));
        assert_true(uidset_equal(&a.deleted, &b.deleted));
        record_uids_release(&b);
        if (i > 0) /* the UIDs are not those of another chunk */
            assert_int_equal(record_uids_decode(buf_str(&out), 2, &b, NULL), ST_CORRUPT);
        record_uids_release(&b);
        for (size_t n = 0; n < out.n; n += 1 + n / 20) {
            assert_int_equal(record_uids_decode(str_upto(buf_str(&out), n), 1, &b, NULL), ST_CORRUPT);
            record_uids_release(&b);
        }
        write_seed(2, i == 2 ? "uids-scattered" : i ? "uids-runs" : "uids-empty", buf_str(&out));
        record_uids_release(&a);
        buf_release(&out);
    }
}

static void journal_round_trip(void **state)
{
    (void)state;
    static const uint32_t runs[] = {1, 5, 70000, 70001};
    struct record_account account = {.modseq = 9, .next_mailbox = 3, .next_email = 4}, account_back;
    struct journal_mailbox a = {.id = 7, .events = JOURNAL_CHANGED, .added = set_of(runs, 1), .vanished = set_of(runs, 2)};
    struct journal_mailbox b = {.id = 8, .flagged = scattered(1, 1000)}, back = {0};
    struct journal_emails emails = {set_of(runs, 2), set_of(runs, 1), UIDSET_EMPTY}, emails_back = {0};
    struct buf out = BUF_INIT(100000);
    journal_encode_begin(&out, 0x1122334455667788, &account, 2);
    journal_encode_mailbox(&out, &a);
    journal_encode_mailbox(&out, &b);
    journal_encode_end(&out, &emails);
    uint64_t token;
    assert_int_equal(journal_token(buf_str(&out), &token, NULL), ST_OK);
    assert_true(token == 0x1122334455667788);
    assert_int_equal(journal_account(buf_str(&out), &account_back, NULL), ST_OK);
    assert_int_equal(account_back.modseq, 9);
    assert_int_equal(journal_mailbox_decode(buf_str(&out), 7, &back, NULL), ST_OK);
    assert_true(back.events == JOURNAL_CHANGED && uidset_equal(&back.added, &a.added) && uidset_equal(&back.vanished, &a.vanished));
    assert_true(uidset_empty(&back.flagged));
    assert_int_equal(journal_mailbox_decode(buf_str(&out), 8, &back, NULL), ST_OK);
    assert_true(back.events == 0 && uidset_equal(&back.flagged, &b.flagged) && uidset_equal(&back.added, &a.added));
    assert_int_equal(journal_mailbox_decode(buf_str(&out), 9, &back, NULL), ST_OK);
    assert_int_equal(back.events, 0);
    assert_int_equal(journal_emails_decode(buf_str(&out), &emails_back, NULL), ST_OK);
    assert_true(uidset_equal(&emails.created, &emails_back.created) && uidset_equal(&emails.updated, &emails_back.updated));
    journal_emails_release(&emails_back);
    for (size_t n = 0; n < out.n; n++) {
        assert_int_equal(journal_emails_decode(str_upto(buf_str(&out), n), &emails_back, NULL), ST_CORRUPT);
        journal_emails_release(&emails_back);
    }
    write_seed(7, "journal", buf_str(&out));
    uidset_release(&a.added);
    uidset_release(&a.vanished);
    uidset_release(&b.flagged);
    uidset_release(&back.added);
    uidset_release(&back.flagged);
    uidset_release(&back.vanished);
    journal_emails_release(&emails);
    buf_release(&out);
}

static struct str encode_page(const struct page *p, char room[PAGE_BYTES_MAX + PAGE_SLACK])
{
    size_t n = page_encode(p, room);
    assert_true(n <= PAGE_BYTES_MAX);
    return str_make(room, n);
}

static void fill_page(struct page *p, uint32_t first, uint32_t step, uint32_t count)
{
    *p = (struct page){.count = count};
    for (uint32_t i = 0; i < count; i++)
        p->entries[i] = (struct message_entry){.uid = first + i * step,
                                               .flags = i % 32,
                                               .modseq = 1000 + i,
                                               .internal_ms = 1800000000000 + i * 61000,
                                               .saved_s = 1800000000 + i * 61,
                                               .size = 8000 + i * 37 % 4000,
                                               .email = 5 + i};
    p->highest_modseq = 1000 + count;
}

/* Each entry alone is what it is among the others; what is not there is not found. */
static void check_one_by_one(struct str bytes, struct page *p)
{
    for (uint32_t uid = 256; uid < 256 + PAGE_ENTRIES; uid++) {
        struct message_entry one = {0};
        const struct message_entry *want = page_find(p, uid);
        assert_int_equal(page_decode_one(bytes, uid, &one, NULL), want ? ST_OK : ST_NOTFOUND);
        if (want)
            assert_memory_equal(&one, want, sizeof one);
    }
}

static void pages_round_trip(void **state)
{
    (void)state;
    char room[PAGE_BYTES_MAX + PAGE_SLACK];
    struct page *p = calloc(1, sizeof *p), *q = calloc(1, sizeof *q);
    static const struct {
        uint32_t first, step, count;
    } shapes[] = {{256, 1, 128}, {257, 2, 60}, {300, 1, 1}, {383, 1, 1}, {256, 127, 2}};
    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++) {
        fill_page(p, shapes[i].first, shapes[i].step, shapes[i].count);
        struct str bytes = encode_page(p, room);
        assert_int_equal(page_decode(bytes, 2, q, NULL), ST_OK);
        assert_memory_equal(p, q, page_size(p));
        check_one_by_one(bytes, p);
    }
    fill_page(p, 256, 1, 128);
    assert_true(encode_page(p, room).n < 128 * 16); /* ordinary mail */
    /* extremes in every column, in turn as the first and the last entry */
    for (int last = 0; last < 2; last++) {
        p->entries[last * 127] = (struct message_entry){
            p->entries[last * 127].uid, UINT32_MAX, UINT64_MAX, UINT64_MAX, INT64_MIN, UINT32_MAX, UINT32_MAX, UINT32_MAX};
        p->entries[50].internal_ms = INT64_MAX;
        p->highest_modseq = UINT64_MAX;
        assert_int_equal(page_decode(encode_page(p, room), 2, q, NULL), ST_OK);
        assert_memory_equal(p, q, page_size(p));
        check_one_by_one(encode_page(p, room), p);
    }
    free(p);
    free(q);
}

static void pages_are_checked(void **state)
{
    (void)state;
    char room[PAGE_BYTES_MAX + PAGE_SLACK];
    struct page *p = calloc(1, sizeof *p), *q = calloc(1, sizeof *q);
    fill_page(p, 256, 2, 3);
    struct str bytes = encode_page(p, room);
    assert_int_equal(page_decode(bytes, 2, q, NULL), ST_OK);
    assert_int_equal(page_at(q, 257), 1);
    assert_ptr_equal(page_find(q, 258), &q->entries[1]);
    assert_null(page_find(q, 257));
    struct message_entry one;
    for (size_t n = 0; n < bytes.n; n++) {
        assert_int_equal(page_decode(str_upto(bytes, n), 2, q, NULL), ST_CORRUPT);
        assert_int_equal(page_decode_one(str_upto(bytes, n), 258, &one, NULL), ST_CORRUPT);
    }
    static const struct {
        const char *what;
        size_t at;
        uint8_t value;
    } damage[] = {{"version", 0, 9},    {"count", 1, 4},   {"no entry", 1, 0},
                  {"too many", 1, 255}, {"uids", 2, 0xff}, {"width", 20, 9}};
    for (size_t i = 0; i < sizeof damage / sizeof damage[0]; i++) {
        char before = room[damage[i].at];
        room[damage[i].at] = (char)damage[i].value;
        if (page_decode(bytes, 2, q, NULL) != ST_CORRUPT || page_decode_one(bytes, 258, &one, NULL) != ST_CORRUPT)
            fail_msg("%s: accepted", damage[i].what);
        room[damage[i].at] = before;
    }
    p->entries[2].modseq = p->highest_modseq + 1;
    assert_int_equal(page_decode(encode_page(p, room), 2, q, NULL), ST_CORRUPT);
    assert_int_equal(page_decode_one(encode_page(p, room), p->entries[2].uid, &one, NULL), ST_CORRUPT);
    fill_page(p, 0, 1, 3); /* UID 0 does not exist */
    assert_int_equal(page_decode(encode_page(p, room), 0, q, NULL), ST_CORRUPT);
    fill_page(p, 1, 1, 127);
    write_seed(5, "page-full", encode_page(p, room));
    fill_page(p, 7, 30, 4);
    p->entries[2].keywords = UINT64_MAX;
    p->entries[1].internal_ms = -1;
    write_seed(5, "page-few", encode_page(p, room));
    free(p);
    free(q);
}

static void found_pages_are_checked(void **state)
{
    (void)state;
    const struct found list[] = {{0, 0, 0}, {0, 3, 9}, {5, 1, 1}, {5, 1, 2}, {127, 9, 9}};
    struct found out[5];
    char bytes[FOUND_HEAD + sizeof list];
    size_t count, n = found_encode(list, 5, bytes);
    assert_int_equal(n, sizeof bytes);
    assert_int_equal(found_decode(str_make(bytes, n), out, 5, &count, NULL), ST_OK);
    assert_int_equal(count, 5);
    assert_int_equal(memcmp(list, out, sizeof list), 0);
    write_seed(6, "found", str_make(bytes, n));
    assert_int_equal(found_decode(str_make(bytes, n), out, 4, &count, NULL), ST_CORRUPT);
    assert_int_equal(found_decode(str_make(bytes, n - 1), out, 5, &count, NULL), ST_CORRUPT);
    memcpy(bytes + FOUND_HEAD + 12, bytes + FOUND_HEAD + 24, 12); /* twice the same */
    assert_int_equal(found_decode(str_make(bytes, n), out, 5, &count, NULL), ST_CORRUPT);
}

static void small_records(void **state)
{
    (void)state;
    char head[RECORD_EMAIL_HEAD];
    struct record_email a = {.thread = 77, .size = 1000, .mailbox = 3, .uid = 9}, b;
    memset(a.blob.sha256, 0xab, sizeof a.blob.sha256);
    record_email_encode(&a, head);
    struct buf out = BUF_INIT(100000);
    buf_add(&out, str_make(head, sizeof head));
    assert_int_equal(
        digest_build(STR("Message-ID: <1@x>\r\nReferences: <2@x> <3@x>\r\nSubject: Re: s\r\n\r\nbody\r\n"), &out, NULL), ST_OK);
    assert_int_equal(record_email_decode(buf_str(&out), &b, NULL), ST_OK);
    assert_true(b.thread == 77 && b.size == 1000 && b.mailbox == 3 && b.uid == 9 && memcmp(&a.blob, &b.blob, sizeof a.blob) == 0);
    assert_int_equal(b.digest.n, out.n - sizeof head);
    write_seed(4, "email", buf_str(&out));
    for (size_t n = 0; n < sizeof head; n++)
        assert_int_equal(record_email_decode(str_make(head, n), &b, NULL), ST_CORRUPT);
    buf_clear(&out);
    struct record_delivery d;
    record_delivery_encode(&(struct record_delivery){5, 6}, &out);
    assert_int_equal(record_delivery_decode(buf_str(&out), &d, NULL), ST_OK);
    assert_true(d.mailbox == 5 && d.uid == 6);
    write_seed(8, "delivery", buf_str(&out));
    assert_int_equal(record_delivery_decode(str_upto(buf_str(&out), out.n - 1), &d, NULL), ST_CORRUPT);
    buf_clear(&out);
    struct uidset many = scattered(1, 3000), back = UIDSET_EMPTY;
    buf_add_c(&out, RECORD_VERSION);
    record_set_encode(&many, &out);
    assert_int_equal(garbage_decode(buf_str(&out), &back, NULL), ST_OK);
    assert_true(uidset_equal(&many, &back));
    write_seed(8, "garbage", buf_str(&out));
    buf_clear(&out);
    uidset_encode(&many, &out);
    write_seed(3, "uidset", buf_str(&out));
    uidset_release(&many);
    uidset_release(&back);
    buf_release(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(account_round_trip),      cmocka_unit_test(mailbox_round_trip), cmocka_unit_test(uids_round_trip),
        cmocka_unit_test(journal_round_trip),      cmocka_unit_test(pages_round_trip),   cmocka_unit_test(pages_are_checked),
        cmocka_unit_test(found_pages_are_checked), cmocka_unit_test(small_records),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
