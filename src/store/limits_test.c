/* The last UIDs and e-mail ids there are: RFC 9051 2.3.1.1 has 32 bits for a UID. Nothing wraps, loops or is given out twice. */
#include "store/change.h"
#include "store/testing.h"
#include "store/tx.h"

struct jump {
    uint32_t mailbox, uidnext, next_email;
};

static enum st apply_jump(struct tx *tx, void *context, struct err *e)
{
    const struct jump *j = context;
    struct tx_mailbox *m;
    TRY(tx_mailbox(tx, j->mailbox, &m, e));
    m->r.uidnext = j->uidnext;
    if (j->next_email)
        tx->rec.next_email = j->next_email;
    tx_mailbox_changed(tx, m, JOURNAL_CHANGED);
    return ST_OK;
}

static enum st append(struct testing *t, uint32_t mailbox, uint32_t *uid)
{
    struct message_append m = {.bytes = STR("Subject: s\r\n\r\nx\r\n")};
    enum st s = message_append(t->account, mailbox, &m, 1, &t->err);
    *uid = m.uid;
    return s;
}

static void no_finding(void *context, const char *what)
{
    (void)context;
    fail_msg("fsck: %s", what);
}

static void check_last(struct testing *t, uint32_t mailbox, uint32_t count)
{
    struct message_entry entries[10];
    struct uidset all = UIDSET_EMPTY;
    uint64_t modseq;
    uint32_t next = 1;
    size_t got;
    ok(message_page(t->account, mailbox, NULL, &next, (struct message_room){entries, 10, &got}, &t->err), t);
    assert_int_equal(got, count);
    assert_int_equal(next, 0);
    assert_int_equal(entries[count - 1].uid, UINT32_MAX - 1);
    ok(mailbox_uids(t->account, mailbox, &all, &modseq, &t->err), t);
    assert_int_equal(uidset_count(&all), count);
    assert_int_equal(uidset_max(&all), UINT32_MAX - 1);
    uidset_release(&all);
}

static void uids_end(void **state)
{
    struct testing *t = *state;
    struct uidset all = UIDSET_EMPTY, gone;
    struct message_store flags = {.mode = MESSAGE_STORE_ADD, .flags = MESSAGE_SEEN, .unchanged_since = UINT64_MAX};
    struct message_copy copy = {.move = false};
    struct fsck_result f;
    uint64_t modseq;
    uint32_t uid;
    ok(append(t, 1, &uid), t);
    ok(change_run(t->account, apply_jump, &(struct jump){1, UINT32_MAX - 3, 0}, &t->err), t);
    for (uint32_t want = UINT32_MAX - 3; want < UINT32_MAX; want++) {
        ok(append(t, 1, &uid), t);
        assert_int_equal(uid, want);
    }
    for (int i = 0; i < 3; i++) {
        assert_int_equal(append(t, 1, &uid), ST_LIMIT);
        check_last(t, 1, 4);
        testing_reopen(t);
    }
    ok(uidset_add_range(&all, 1, UINT32_MAX), t);
    assert_int_equal(message_copy(t->account, 1, 1, &all, &copy, &t->err), ST_LIMIT);
    ok(message_store(t->account, 1, &all, &flags, &t->err), t);
    assert_int_equal(uidset_count(&flags.changed), 4);
    ok(message_copy(t->account, 1, 2, &all, &copy, &t->err), t);
    assert_int_equal(uidset_count(&copy.to_uids), 4);
    ok(store_fsck(t->store, false, true, no_finding, NULL, &f, &t->err), t);
    ok(message_expunge(t->account, 1, &all, false, &gone, &modseq, &t->err), t);
    assert_int_equal(uidset_count(&gone), 4);
    assert_int_equal(append(t, 1, &uid), ST_LIMIT); /* none is given out again */
    ok(store_fsck(t->store, false, true, no_finding, NULL, &f, &t->err), t);
    uidset_release(&all);
    uidset_release(&gone);
    uidset_release(&flags.changed);
    uidset_release(&flags.refused);
    uidset_release(&copy.from_uids);
    uidset_release(&copy.to_uids);
}

static void email_ids_end(void **state)
{
    struct testing *t = *state;
    struct fsck_result f;
    struct uidset all = UIDSET_EMPTY, gone;
    uint64_t modseq;
    uint32_t uid;
    ok(change_run(t->account, apply_jump, &(struct jump){1, 1, UINT32_MAX - 2}, &t->err), t);
    ok(append(t, 1, &uid), t);
    ok(append(t, 1, &uid), t);
    assert_int_equal(append(t, 1, &uid), ST_LIMIT);
    ok(store_fsck(t->store, false, true, no_finding, NULL, &f, &t->err), t);
    ok(uidset_add_range(&all, 1, UINT32_MAX), t);
    ok(message_expunge(t->account, 1, &all, false, &gone, &modseq, &t->err), t);
    for (int i = 0; i < 4; i++)
        ok(store_care(t->store, &t->err), t);
    ok(store_fsck(t->store, false, true, no_finding, NULL, &f, &t->err), t);
    uidset_release(&all);
    uidset_release(&gone);
}

/* RFC 9051 2.3.1.1: a mailbox that takes the name of a deleted or renamed one is another one. */
static void uidvalidity_never_returns(void **state)
{
    struct testing *t = *state;
    struct mailbox_info info;
    uint32_t id, last = 0;
    for (int i = 0; i < 20; i++) {
        ok(mailbox_create(t->account, STR("Again"), MAILBOX_ROLE_NONE, &id, &t->err), t);
        testing_info(t, "Again", &info);
        assert_true(info.uidvalidity > last);
        last = info.uidvalidity;
        if (i % 2)
            ok(mailbox_delete(t->account, STR("Again"), &t->err), t);
        else
            ok(mailbox_rename(t->account, STR("Again"), STR("Away"), &t->err), t);
        if (i % 4 == 0)
            testing_reopen(t);
        if (i % 2 == 0)
            ok(mailbox_delete(t->account, STR("Away"), &t->err), t);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(uids_end, testing_setup, testing_teardown),
        cmocka_unit_test_setup_teardown(email_ids_end, testing_setup, testing_teardown),
        cmocka_unit_test_setup_teardown(uidvalidity_never_returns, testing_setup, testing_teardown),
    };
    return testing_run("store/limits", tests, sizeof tests / sizeof tests[0]);
}
