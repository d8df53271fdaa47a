/* What one call costs does not depend on how many messages the mailbox has: reads of the engine, bytes of a commit, memory of a
 * session's map. Counted, not timed. */
#include "kv/engine.h"
#include "store/testing.h"

enum { SMALL = 300, LARGE = 60000 };

struct cost {
    uint64_t reads, bytes, commits;
};

static struct cost cost_since(struct testing *t, const struct kv_stats *before)
{
    struct kv_stats now;
    kv_stats(t->kv, &now);
    return (struct cost){now.gets + now.scans - before->gets - before->scans, now.bytes_written - before->bytes_written,
                         now.commits - before->commits};
}

/* ---- the calls: one message each, in the middle of the mailbox ---- */

static void call_select(struct testing *t, uint32_t mailbox, uint32_t uid)
{
    struct uidset uids = UIDSET_EMPTY;
    uint64_t modseq;
    ok(mailbox_uids(t->account, mailbox, &uids, &modseq, &t->err), t);
    assert_true(uidset_has(&uids, uid));
    assert_true(uidset_memory(&uids) < 4096);
    uidset_release(&uids);
}

static void call_status(struct testing *t, uint32_t mailbox, uint32_t uid)
{
    struct mailbox_info info;
    ok(mailbox_find_id(t->account, mailbox, &t->arena, &info, &t->err), t);
    assert_true(info.uidnext > uid);
}

static void call_search_unseen(struct testing *t, uint32_t mailbox, uint32_t uid)
{
    struct uidset uids = UIDSET_EMPTY;
    uint64_t modseq;
    ok(mailbox_subset_uids(t->account, mailbox, MAILBOX_UNSEEN, &uids, &modseq, &t->err), t);
    assert_true(uidset_has(&uids, uid));
    uidset_release(&uids);
}

static void call_append(struct testing *t, uint32_t mailbox, uint32_t uid)
{
    struct message_append m = {.bytes = STR("Subject: one more\r\n\r\nx\r\n")};
    ok(message_append(t->account, mailbox, &m, 1, &t->err), t);
    assert_true(m.uid > uid);
}

static void call_fetch(struct testing *t, uint32_t mailbox, uint32_t uid)
{
    struct message_entry m;
    DEFER(buf_release) struct buf bytes = BUF_INIT(100000);
    ok(message_find(t->account, mailbox, uid, &m, &t->err), t);
    ok(message_digest(t->account, m.email, &bytes, &t->err), t);
    ok(message_read(t->account, m.email, 0, 1000, &bytes, &t->err), t);
}

static void call_store(struct testing *t, uint32_t mailbox, uint32_t uid)
{
    struct uidset one = UIDSET_EMPTY;
    struct message_store c = {.mode = MESSAGE_STORE_ADD, .flags = MESSAGE_SEEN, .unchanged_since = UINT64_MAX};
    ok(uidset_add(&one, uid), t);
    ok(message_store(t->account, mailbox, &one, &c, &t->err), t);
    assert_int_equal(uidset_count(&c.changed), 1);
    uidset_release(&one);
    uidset_release(&c.changed);
    uidset_release(&c.refused);
}

static void call_copy(struct testing *t, uint32_t mailbox, uint32_t uid)
{
    struct uidset one = UIDSET_EMPTY;
    struct message_copy c = {.move = false};
    ok(uidset_add(&one, uid), t);
    ok(message_copy(t->account, mailbox, mailbox, &one, &c, &t->err), t);
    uidset_release(&one);
    uidset_release(&c.from_uids);
    uidset_release(&c.to_uids);
}

static void call_changes(struct testing *t, uint32_t mailbox, uint32_t uid)
{
    struct mailbox_changes c;
    ok(mailbox_changes(t->account, mailbox, account_modseq(t->account) - 2, &c, &t->err), t);
    assert_true(c.complete && uidset_count(&c.changed) < 5);
    (void)uid;
    mailbox_changes_release(&c);
}

static void call_expunge(struct testing *t, uint32_t mailbox, uint32_t uid)
{
    struct uidset one = UIDSET_EMPTY, gone = UIDSET_EMPTY;
    uint64_t modseq;
    ok(uidset_add(&one, uid), t);
    ok(message_expunge(t->account, mailbox, &one, false, &gone, &modseq, &t->err), t);
    assert_int_equal(uidset_count(&gone), 1);
    uidset_release(&one);
    uidset_release(&gone);
}

static void nothing_grows_with_the_mailbox(void **state)
{
    static const struct {
        const char *name;
        void (*call)(struct testing *t, uint32_t mailbox, uint32_t uid);
        bool changes;
    } calls[] = {
        {"SELECT", call_select, false}, {"STATUS", call_status, false},   {"SEARCH UNSEEN", call_search_unseen, false},
        {"APPEND", call_append, true},  {"FETCH", call_fetch, false},     {"STORE", call_store, true},
        {"COPY", call_copy, true},      {"changes", call_changes, false}, {"EXPUNGE", call_expunge, true},
    };
    enum { SLACK_READS = 2, SLACK_BYTES = 1500 };
    struct testing *t = *state;
    uint32_t small, large;
    ok(mailbox_create(t->account, STR("Small"), MAILBOX_ROLE_NONE, &small, &t->err), t);
    ok(mailbox_create(t->account, STR("Large"), MAILBOX_ROLE_NONE, &large, &t->err), t);
    testing_fill(t, small, SMALL);
    testing_fill(t, large, LARGE);
    for (size_t i = 0; i < sizeof calls / sizeof calls[0]; i++) {
        struct kv_stats before;
        kv_stats(t->kv, &before);
        calls[i].call(t, small, SMALL / 2);
        struct cost few = cost_since(t, &before);
        kv_stats(t->kv, &before);
        calls[i].call(t, large, LARGE / 2);
        struct cost many = cost_since(t, &before);
        if (many.reads > few.reads + SLACK_READS || many.bytes > few.bytes + SLACK_BYTES || many.commits != calls[i].changes)
            fail_msg("%s: %llu reads, %llu bytes, %llu commits; in a small mailbox %llu and %llu", calls[i].name,
                     (unsigned long long)many.reads, (unsigned long long)many.bytes, (unsigned long long)many.commits,
                     (unsigned long long)few.reads, (unsigned long long)few.bytes);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(nothing_grows_with_the_mailbox, testing_setup, testing_teardown),
    };
    return testing_run("store/growth", tests, sizeof tests / sizeof tests[0]);
}
