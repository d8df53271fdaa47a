/* fsck sees each kind of damage to derived records, mends it, and finds nothing afterwards. */
#include "store/change.h"
#include "store/found.h"
#include "store/testing.h"

struct damage {
    const char *what;
    change_apply *apply;
    bool loses; /* a message cannot be shown any more */
};

static enum st put_byte(struct tx *tx, struct key key, size_t at, uint8_t value, struct err *e)
{
    struct str old;
    TRY(tx_get(tx, key, &old, e));
    ENSURE(old.p && at < old.n, e, ST_NOTFOUND, "nothing to damage");
    char *p = tx_put_room(tx, key, old.n);
    ENSURE(p, e, ST_TEMP, "no memory");
    memcpy(p, old.p, old.n);
    p[at] = (char)value;
    return ST_OK;
}

static enum st wrong_counts(struct tx *tx, void *c, struct err *e)
{
    (void)c;
    return put_byte(tx, key_u32(KEY_MAILBOX, 1), 16, 99, e); /* exists */
}
static enum st wrong_uidnext(struct tx *tx, void *c, struct err *e)
{
    (void)c;
    return put_byte(tx, key_u32(KEY_MAILBOX, 2), 8, 1, e);
}
static enum st no_found_page(struct tx *tx, void *c, struct err *e)
{
    (void)c;
    return tx_delete(tx, key_u64(KEY_FOUND, 0), e);
}
static enum st no_index_page(struct tx *tx, void *c, struct err *e)
{
    (void)c;
    return tx_delete(tx, key_u32_u32(KEY_PAGE, 1, 0), e);
}
static enum st page_of_nobody(struct tx *tx, void *c, struct err *e)
{
    struct page *from, *to;
    (void)c;
    TRY(tx_page(tx, 1, 0, false, &from, e));
    TRY(tx_page(tx, 77, 0, true, &to, e));
    *to = *from;
    return ST_OK;
}
static enum st damaged_page(struct tx *tx, void *c, struct err *e)
{
    struct page *page;
    (void)c;
    TRY(tx_page(tx, 1, 0, true, &page, e));
    page->entries[1].uid = page->entries[0].uid; /* a count that is not that of the uids */
    return ST_OK;
}
static enum st no_email(struct tx *tx, void *c, struct err *e)
{
    (void)c;
    return tx_delete(tx, key_u64(KEY_EMAIL, 2), e);
}
static enum st wrong_size(struct tx *tx, void *c, struct err *e)
{
    struct page *page;
    (void)c;
    TRY(tx_page(tx, 1, 0, true, &page, e));
    page->entries[1].size++;
    return ST_OK;
}
static enum st wrong_blob_count(struct tx *tx, void *c, struct err *e)
{
    struct kv_blob_id *id = c;
    return tx_put(tx, key_blob(id), str_make("\7\0\0\0", 4), e);
}
static enum st no_blob_count(struct tx *tx, void *c, struct err *e) { return tx_delete(tx, key_blob(c), e); }
static enum st no_link(struct tx *tx, void *c, struct err *e) { return tx_blob_relink(tx, c, false, e); }
static enum st no_member(struct tx *tx, void *c, struct err *e)
{
    (void)c;
    return tx_delete(tx, key_member(1, 3), e);
}
static enum st member_too_many(struct tx *tx, void *c, struct err *e)
{
    (void)c;
    return tx_put(tx, key_member(1, 2), STR_NONE, e);
}
static enum st hole_in_journal(struct tx *tx, void *c, struct err *e)
{
    (void)c;
    return tx_delete(tx, key_u64(KEY_JOURNAL, 2), e);
}
static enum st wrong_quota(struct tx *tx, void *c, struct err *e)
{
    (void)c, (void)e;
    tx->rec.bytes_used += 5;
    tx->dirty = true;
    return ST_OK;
}
static enum st damaged_garbage(struct tx *tx, void *c, struct err *e)
{
    (void)c;
    return tx_put(tx, key_u64(KEY_GARBAGE, 1), STR("xx"), e);
}
static enum st email_of_nobody(struct tx *tx, void *c, struct err *e)
{
    struct page *page;
    (void)c;
    TRY(tx_page(tx, 1, 0, true, &page, e));
    page->count--;
    return ST_OK;
}

static enum st live_garbage(struct tx *tx, void *c, struct err *e)
{
    (void)c;
    return tx_put(tx, key_u64(KEY_GARBAGE, 1), STR("\1\3\0\2\0"), e); /* a set of one run: e-mail 2 */
}
static enum st wrong_next_mailbox(struct tx *tx, void *c, struct err *e)
{
    (void)c, (void)e;
    tx->rec.next_mailbox = 3;
    tx->rec.uidvalidity = 5;
    tx->dirty = true;
    return ST_OK;
}
static enum st damaged_email(struct tx *tx, void *c, struct err *e)
{
    (void)c;
    return put_byte(tx, key_u64(KEY_EMAIL, 3), 0, 77, e);
}

static void count_lines(void *context, const char *what)
{
    unsigned *n = context;
    assert_true(str_starts(str_of(what), STR("account ")));
    ++*n;
}

/* Three messages in INBOX (the third answers the first), one of them also in Sent. */
static struct kv_blob_id prepare(struct testing *t)
{
    static const char *const bytes[] = {"Message-ID: <1@x>\r\nSubject: s\r\n\r\n1\r\n",
                                        "Message-ID: <2@x>\r\nSubject: o\r\n\r\n2\r\n",
                                        "Message-ID: <3@x>\r\nIn-Reply-To: <1@x>\r\nSubject: Re: s\r\n\r\n3\r\n"};
    for (int i = 0; i < 3; i++) {
        struct message_append m = {.bytes = str_of(bytes[i]), .flags = i == 1 ? MESSAGE_SEEN : 0};
        ok(message_append(t->account, 1, &m, 1, &t->err), t);
    }
    struct uidset one = UIDSET_EMPTY;
    struct message_copy copy = {.move = false};
    ok(uidset_add(&one, 1), t);
    ok(message_copy(t->account, 1, 2, &one, &copy, &t->err), t);
    uidset_release(&one);
    uidset_release(&copy.from_uids);
    uidset_release(&copy.to_uids);
    return kv_blob_id_of(str_of(bytes[0]));
}

static uint64_t run_fsck(struct testing *t, bool repair)
{
    struct fsck_result r;
    unsigned lines = 0;
    ok(store_fsck(t->store, repair, true, count_lines, &lines, &r, &t->err), t);
    assert_int_equal(lines, r.findings);
    assert_true(repair ? r.repaired >= r.findings : r.repaired == 0); /* links too many are mended without being findings */
    return r.findings;
}

static void mends(const struct damage *d)
{
    void *state = NULL;
    assert_int_equal(testing_setup(&state), 0);
    struct testing *t = state;
    struct kv_blob_id first = prepare(t);
    assert_int_equal(run_fsck(t, false), 0);
    ok(change_run(t->account, d->apply, &first, &t->err), t);
    testing_reopen(t);
    if (run_fsck(t, false) == 0)
        fail_msg("%s: not found", d->what);
    assert_true(run_fsck(t, true) > 0);
    for (int i = 0; i < 2; i++) {
        if (run_fsck(t, false) != 0)
            fail_msg("%s: not mended", d->what);
        testing_reopen(t);
    }
    struct mailbox_info info;
    testing_info(t, "INBOX", &info);
    assert_int_equal(info.exists < 3, d->loses);
    testing_fill(t, 1, 2); /* it is usable */
    testing_fill(t, 2, 1);
    assert_int_equal(run_fsck(t, false), 0);
    for (int i = 0; i < 10; i++)
        ok(store_care(t->store, &t->err), t);
    assert_int_equal(run_fsck(t, false), 0);
    testing_teardown(&state);
}

static void mends_every_damage(void **state)
{
    static const struct damage list[] = {
        {"counts", wrong_counts, false},
        {"uidnext", wrong_uidnext, false},
        {"no found page", no_found_page, false},
        {"no index page", no_index_page, true},
        {"page of no mailbox", page_of_nobody, false},
        {"damaged page", damaged_page, true},
        {"no e-mail record", no_email, true},
        {"size", wrong_size, false},
        {"blob count", wrong_blob_count, false},
        {"no blob count", no_blob_count, false},
        {"no link", no_link, false},
        {"no thread member", no_member, false},
        {"thread member too many", member_too_many, false},
        {"hole in the journal", hole_in_journal, false},
        {"quota", wrong_quota, false},
        {"damaged garbage", damaged_garbage, false},
        {"garbage that is shown", live_garbage, false},
        {"ids that were not given out", wrong_next_mailbox, false},
        {"damaged e-mail record", damaged_email, true},
        {"e-mail without a place", email_of_nobody, true},
    };
    (void)state;
    for (size_t i = 0; i < sizeof list / sizeof list[0]; i++)
        mends(&list[i]);
}

static enum st nothing(struct tx *tx, void *c, struct err *e)
{
    (void)tx, (void)c, (void)e;
    return ST_OK;
}

static void finds_nothing_where_nothing_is(void **state)
{
    struct testing *t = *state;
    prepare(t);
    uint64_t modseq = account_modseq(t->account);
    ok(change_run(t->account, nothing, NULL, &t->err), t);
    assert_int_equal(account_modseq(t->account), modseq); /* what changes nothing is not committed */
    assert_int_equal(run_fsck(t, true), 0);
    assert_int_equal(account_modseq(t->account), modseq);
}

struct lines {
    unsigned lost, of_other;
};
static void note_line(void *context, const char *what)
{
    struct lines *l = context;
    print_message("fsck: %s\n", what);
    l->lost += strstr(what, "lost") != NULL;
    l->of_other += strstr(what, "000000000000002b") != NULL;
}

/* A blob without a link was collected: its bytes are gone. That keeps nothing else from being mended. */
static void mends_all_but_what_is_lost(void **state)
{
    struct testing *t = *state;
    struct account *other;
    struct kv_blob_id shared = prepare(t), lost = kv_blob_id_of(STR("Message-ID: <2@x>\r\nSubject: o\r\n\r\n2\r\n"));
    struct message_append m = {.bytes = STR("Message-ID: <1@x>\r\nSubject: s\r\n\r\n1\r\n")};
    ok(account_create(t->store, 43, &t->err), t);
    ok(account_open(t->store, 43, &other, &t->err), t);
    ok(message_append(other, 1, &m, 1, &t->err), t);
    ok(change_run(t->account, no_link, &lost, &t->err), t);
    ok(change_run(other, no_link, &shared, &t->err), t);
    size_t collected;
    ok(kv_collect(t->kv, INT64_MAX, 1000, &collected, &t->err), t);
    assert_int_equal(collected, 1);

    struct lines first = {0}, second = {0};
    struct fsck_result r;
    ok(store_fsck(t->store, true, true, note_line, &first, &r, &t->err), t);
    assert_int_equal(first.lost, 1);
    assert_true(first.of_other > 0);
    ok(store_fsck(t->store, true, true, note_line, &second, &r, &t->err), t);
    assert_int_equal(second.lost, 1);
    assert_int_equal(second.of_other, 0);
    account_unref(other);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(mends_every_damage),
        cmocka_unit_test_setup_teardown(mends_all_but_what_is_lost, testing_setup, testing_teardown),
        cmocka_unit_test_setup_teardown(finds_nothing_where_nothing_is, testing_setup, testing_teardown),
    };
    return testing_run("store/fsck", tests, sizeof tests / sizeof tests[0]);
}
