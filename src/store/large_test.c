/* Operations on more messages than fit into one commit, and what is left of them after care. */
#include "store/care.h"
#include "store/page.h"
#include "store/testing.h"

enum { FIRST = 1100, DOUBLINGS = 7, COUNT = FIRST << DOUBLINGS }; /* 140,800: three commits of 512 pages */

static void check_fsck(struct testing *t)
{
    struct fsck_result r;
    ok(store_fsck(t->store, false, false, NULL, NULL, &r, &t->err), t);
    assert_int_equal(r.findings, 0);
}

static uint32_t exists(struct testing *t, const char *name)
{
    struct mailbox_info info;
    testing_info(t, name, &info);
    assert_true(info.exists == 0 || info.uidnext > info.exists);
    return info.exists;
}

static struct uidset all_uids(struct testing *t, uint32_t mailbox)
{
    struct uidset s;
    uint64_t modseq;
    ok(mailbox_uids(t->account, mailbox, &s, &modseq, &t->err), t);
    return s;
}

static uint64_t transfer(struct testing *t, uint32_t from, uint32_t to, bool move)
{
    struct uidset all = all_uids(t, from);
    struct message_copy c = {.move = move};
    ok(message_copy(t->account, from, to, &all, &c, &t->err), t);
    assert_true(uidset_equal(&all, &c.from_uids));
    uint64_t count = uidset_count(&c.to_uids);
    assert_int_equal(count, uidset_count(&all));
    uidset_release(&all);
    uidset_release(&c.from_uids);
    uidset_release(&c.to_uids);
    return count;
}

static void flag_all(struct testing *t, uint32_t mailbox, uint32_t flags)
{
    struct uidset all = UIDSET_EMPTY;
    struct message_store c = {.mode = MESSAGE_STORE_ADD, .flags = flags, .unchanged_since = UINT64_MAX};
    ok(uidset_add_range(&all, 1, UINT32_MAX), t);
    ok(message_store(t->account, mailbox, &all, &c, &t->err), t);
    assert_int_equal(uidset_count(&c.changed), COUNT);
    struct mailbox_changes changes; /* several commits, one answer */
    ok(mailbox_changes(t->account, mailbox, c.modseq - 3, &changes, &t->err), t);
    assert_int_equal(uidset_count(&changes.changed), COUNT);
    mailbox_changes_release(&changes);
    uidset_release(&all);
    uidset_release(&c.changed);
    uidset_release(&c.refused);
}

static void care_until_done(struct testing *t)
{
    bool more = true;
    for (int i = 0; more && i < 1000; i++)
        ok(account_care(t->account, &more, &t->err), t);
    assert_false(more);
}

static bool count_blob(void *context, const struct kv_blob_info *info)
{
    size_t *n = context;
    (void)info;
    ++*n;
    return true;
}

static size_t blobs(struct testing *t)
{
    size_t n = 0;
    ok(kv_blobs(t->kv, NULL, count_blob, &n, &t->err), t);
    return n;
}

/* RFC 9051 6.4.7: also if the quota only ends a later commit. */
static void copies_all_or_nothing(struct testing *t, uint32_t from, uint32_t to)
{
    struct account_quota q;
    struct uidset all = all_uids(t, from);
    account_quota(t->account, &q);
    const struct account_quota limits[] = {{.bytes_max = q.bytes_used / 5 * 8, .messages_max = UINT64_MAX},
                                           {.bytes_max = UINT64_MAX, .messages_max = q.messages_used / 5 * 8}};
    for (int i = 0; i < 2; i++) {
        struct message_copy c = {.move = false};
        ok(account_quota_set(t->account, limits[i].bytes_max, limits[i].messages_max, &t->err), t);
        uint64_t commits = account_modseq(t->account);
        assert_int_equal(message_copy(t->account, from, to, &all, &c, &t->err), ST_LIMIT);
        assert_int_equal(account_modseq(t->account) > commits, i == 0); /* too many: nothing is even begun */
        assert_true(uidset_empty(&c.from_uids) && uidset_empty(&c.to_uids));
        assert_int_equal(exists(t, "Archive"), 0);
        check_fsck(t);
    }
    ok(account_quota_set(t->account, UINT64_MAX, UINT64_MAX, &t->err), t);
    uidset_release(&all);
}

static void works_in_several_commits(void **state)
{
    struct testing *t = *state;
    uint32_t inbox = testing_mailbox(t, "INBOX"), archive = testing_mailbox(t, "Archive"), id;
    testing_fill(t, inbox, FIRST);
    for (int i = 0; i < DOUBLINGS; i++)
        transfer(t, inbox, inbox, false); /* every message once, not what comes in meanwhile */
    assert_int_equal(exists(t, "INBOX"), COUNT);
    copies_all_or_nothing(t, inbox, archive);
    flag_all(t, inbox, MESSAGE_SEEN);
    assert_int_equal(transfer(t, inbox, archive, true), COUNT);
    assert_int_equal(exists(t, "INBOX"), 0);
    check_fsck(t);
    flag_all(t, archive, MESSAGE_DELETED);
    transfer(t, archive, inbox, true);
    ok(mailbox_rename(t->account, STR("INBOX"), STR("Old"), &t->err), t);
    assert_int_equal(exists(t, "Old"), COUNT);
    assert_int_equal(exists(t, "INBOX"), 0);
    struct uidset gone, half = UIDSET_EMPTY;
    uint64_t modseq;
    ok(uidset_add_range(&half, 1, COUNT / 2), t);
    uint32_t old = testing_mailbox(t, "Old");
    ok(message_expunge(t->account, old, &half, true, &gone, &modseq, &t->err), t);
    assert_int_equal(uidset_count(&gone), COUNT / 2);
    uidset_release(&gone);
    uidset_release(&half);
    check_fsck(t);
    uint64_t commits = account_modseq(t->account);
    ok(mailbox_delete(t->account, STR("Old"), &t->err), t);
    assert_int_equal(account_modseq(t->account), commits + 1); /* one small commit, whatever the size */
    ok(mailbox_create(t->account, STR("Old"), MAILBOX_ROLE_NONE, &id, &t->err), t);
    assert_int_equal(exists(t, "Old"), 0);
    struct account_quota q;
    account_quota(t->account, &q);
    assert_int_equal(q.messages_used, 0);
    assert_int_equal(q.bytes_used, 0);
    check_fsck(t);
    testing_reopen(t); /* a tombstone is enough */
    assert_int_equal(blobs(t), FIRST);
    care_until_done(t);
    check_fsck(t);
    size_t collected;
    ok(kv_collect(t->kv, INT64_MAX, 1000000, &collected, &t->err), t);
    assert_int_equal(blobs(t), 0);
}

/* Care finds by itself what needs it, also after a restart. */
static void sweeps_all_accounts(void **state)
{
    struct testing *t = *state;
    uint32_t inbox = testing_mailbox(t, "INBOX");
    struct uidset gone;
    uint64_t modseq;
    testing_fill(t, inbox, 5);
    ok(message_expunge(t->account, inbox, NULL, false, &gone, &modseq, &t->err), t);
    uidset_release(&gone);
    account_unref(t->account);
    store_close(t->store);
    t->config.blob_grace_s = 0;
    ok(store_open(t->kv, &t->config, &t->store, &t->err), t);
    for (int i = 0; i < 300; i++)
        ok(store_care(t->store, &t->err), t);
    size_t collected;
    ok(kv_collect(t->kv, INT64_MAX, 1000000, &collected, &t->err), t);
    assert_int_equal(blobs(t), 0);
    ok(account_open(t->store, t->id, &t->account, &t->err), t);
    check_fsck(t);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, testing_setup, testing_teardown)
    const struct CMUnitTest tests[] = {T(works_in_several_commits), T(sweeps_all_accounts)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
