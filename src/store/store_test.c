/* The basic life of an account: creating, listing, appending, reading, watching, opening again. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "store/testing.h"

static void creates_the_usual_mailboxes(void **state)
{
    struct testing *t = *state;
    static const struct {
        const char *name;
        enum mailbox_role role;
    } want[] = {
        {"INBOX", MAILBOX_ROLE_INBOX}, {"Archive", MAILBOX_ROLE_ARCHIVE}, {"Drafts", MAILBOX_ROLE_DRAFTS},
        {"Junk", MAILBOX_ROLE_JUNK},   {"Sent", MAILBOX_ROLE_SENT},       {"Trash", MAILBOX_ROLE_TRASH},
    };
    struct testing_list list;
    testing_list(t, &list);
    assert_int_equal(list.count, sizeof want / sizeof want[0]);
    for (size_t i = 0; i < list.count; i++) {
        assert_string_equal(list.names[i], want[i].name);
        assert_int_equal(list.infos[i].role, want[i].role);
        assert_true(list.infos[i].subscribed);
        assert_int_equal(list.infos[i].uidnext, 1);
    }
    struct err e;
    assert_int_equal(account_create(t->store, t->id, &e), ST_EXISTS);
    struct account *a;
    assert_int_equal(account_open(t->store, t->id + 1, &a, &e), ST_NOTFOUND);
}

static void appends_and_reads_back(void **state)
{
    struct testing *t = *state;
    struct str keyword = STR("$Forwarded");
    struct message_append list[3] = {
        {.bytes = STR("Subject: one\r\n\r\n1\r\n"), .digest = STR("d1"), .internal_ms = 1000},
        {.bytes = STR("Subject: two\r\n\r\n22\r\n"), .digest = STR("d2"), .flags = MESSAGE_SEEN | MESSAGE_DELETED},
        {.bytes = STR("Subject: three\r\n\r\n333\r\n"), .digest = STR("d3"), .keywords = &keyword, .keyword_count = 1},
    };
    uint32_t inbox = testing_mailbox(t, "inbox");
    ok(message_append(t->account, inbox, list, 3, &t->err), t);
    for (uint32_t i = 0; i < 3; i++) {
        struct message_entry m;
        ok(message_find(t->account, inbox, i + 1, &m, &t->err), t);
        assert_int_equal(list[i].uid, i + 1);
        assert_int_equal(m.email, list[i].email);
        assert_int_equal(m.modseq, list[i].modseq);
        assert_int_equal(m.flags, list[i].flags);
        assert_int_equal(m.size, list[i].bytes.n);
        assert_int_equal(m.keywords, i == 2);
        struct buf bytes = BUF_INIT(1000);
        ok(message_read(t->account, m.email, 0, 1000, &bytes, &t->err), t);
        assert_true(str_eq(buf_str(&bytes), list[i].bytes));
        buf_clear(&bytes);
        ok(message_digest(t->account, m.email, &bytes, &t->err), t);
        assert_true(str_eq(buf_str(&bytes), list[i].digest));
        buf_release(&bytes);
    }
    struct mailbox_info info;
    testing_info(t, "INBOX", &info);
    assert_int_equal(info.exists, 3);
    assert_int_equal(info.unseen, 2);
    assert_int_equal(info.deleted, 1);
    assert_int_equal(info.uidnext, 4);
    assert_int_equal(info.size_bytes, list[0].bytes.n + list[1].bytes.n + list[2].bytes.n);
    assert_int_equal(info.keyword_count, 1);
    assert_true(str_eq(info.keywords[0], keyword));
}

static void pages_through_a_mailbox(void **state)
{
    struct testing *t = *state;
    uint32_t inbox = testing_mailbox(t, "INBOX");
    testing_fill(t, inbox, 1000);
    struct uidset wanted = UIDSET_EMPTY;
    ok(uidset_add_range(&wanted, 100, 300), t);
    ok(uidset_add_range(&wanted, 700, 700), t);
    ok(uidset_add_range(&wanted, 5000, 6000), t);
    struct message_entry entries[37];
    uint32_t next = 1, seen = 0;
    do {
        size_t count;
        ok(message_page(t->account, inbox, &wanted, &next, (struct message_room){entries, 37, &count}, &t->err), t);
        for (size_t i = 0; i < count; i++, seen++)
            assert_int_equal(entries[i].uid, seen < 201 ? 100 + seen : 700);
    } while (next != 0);
    assert_int_equal(seen, 202);
    uidset_release(&wanted);
    uint64_t modseq;
    ok(mailbox_uids(t->account, inbox, &wanted, &modseq, &t->err), t);
    assert_int_equal(uidset_count(&wanted), 1000);
    assert_int_equal(uidset_max(&wanted), 1000);
    assert_int_equal(modseq, account_modseq(t->account));
    uidset_release(&wanted);
}

static void survives_reopening(void **state)
{
    struct testing *t = *state;
    uint32_t inbox = testing_mailbox(t, "INBOX");
    testing_fill(t, inbox, 200);
    struct mailbox_info before, after;
    testing_info(t, "INBOX", &before);
    uint64_t modseq = account_modseq(t->account);
    testing_reopen(t);
    testing_info(t, "INBOX", &after);
    assert_int_equal(account_modseq(t->account), modseq);
    assert_int_equal(after.uidvalidity, before.uidvalidity);
    assert_int_equal(after.uidnext, 201);
    assert_int_equal(after.exists, 200);
    assert_int_equal(after.highest_modseq, before.highest_modseq);
    struct uidset uids;
    ok(mailbox_uids(t->account, inbox, &uids, &modseq, &t->err), t);
    assert_int_equal(uidset_count(&uids), 200);
    uidset_release(&uids);
}

struct watcher {
    struct account_watch w;
    int calls;
    uint64_t modseq;
};

static void count_call(struct account_watch *w, uint64_t modseq)
{
    struct watcher *x = (struct watcher *)w;
    x->calls++;
    x->modseq = modseq;
}

static void tells_watchers(void **state)
{
    struct testing *t = *state;
    uint32_t inbox = testing_mailbox(t, "INBOX"), sent = testing_mailbox(t, "Sent");
    struct watcher mine = {.w = {.mailbox = inbox, .changed = count_call}}, all = {.w = {.changed = count_call}};
    account_watch(t->account, &mine.w);
    account_watch(t->account, &all.w);
    testing_fill(t, inbox, 1);
    testing_fill(t, sent, 1);
    assert_int_equal(mine.calls, 1);
    assert_int_equal(all.calls, 2);
    assert_int_equal(all.modseq, account_modseq(t->account));
    account_unwatch(t->account, &mine.w);
    testing_fill(t, inbox, 1);
    assert_int_equal(mine.calls, 1);
    account_unwatch(t->account, &all.w);
}

static void claims_recent_once(void **state)
{
    struct testing *t = *state;
    uint32_t inbox = testing_mailbox(t, "INBOX"), first;
    testing_fill(t, inbox, 3);
    ok(mailbox_claim_recent(t->account, inbox, &first, &t->err), t);
    assert_int_equal(first, 1);
    ok(mailbox_claim_recent(t->account, inbox, &first, &t->err), t);
    assert_int_equal(first, 4);
    testing_fill(t, inbox, 2);
    ok(mailbox_claim_recent(t->account, inbox, &first, &t->err), t);
    assert_int_equal(first, 4);
}

static void keeps_the_quota(void **state)
{
    struct testing *t = *state;
    uint32_t inbox = testing_mailbox(t, "INBOX");
    struct message_append m = {.bytes = STR("0123456789"), .digest = STR("d")};
    ok(account_quota_set(t->account, 25, 100, &t->err), t);
    ok(message_append(t->account, inbox, &m, 1, &t->err), t);
    ok(message_append(t->account, inbox, &m, 1, &t->err), t);
    assert_int_equal(message_append(t->account, inbox, &m, 1, &t->err), ST_LIMIT);
    struct account_quota q;
    account_quota(t->account, &q);
    assert_int_equal(q.bytes_used, 20);
    assert_int_equal(q.messages_used, 2);
    m.ignore_quota = true;
    ok(message_append(t->account, inbox, &m, 1, &t->err), t);
    ok(account_quota_set(t->account, UINT64_MAX, 3, &t->err), t);
    m.ignore_quota = false;
    assert_int_equal(message_append(t->account, inbox, &m, 1, &t->err), ST_LIMIT);
    struct message_append two[2] = {m, m};
    ok(account_quota_set(t->account, UINT64_MAX, 4, &t->err), t);
    assert_int_equal(message_append(t->account, inbox, two, 2, &t->err), ST_LIMIT);
    account_quota(t->account, &q);
    assert_int_equal(q.messages_used, 3); /* all or nothing */
}

static void removes_accounts(void **state)
{
    struct testing *t = *state;
    uint32_t inbox = testing_mailbox(t, "INBOX");
    testing_fill(t, inbox, 3);
    struct watcher mine = {.w = {.mailbox = inbox, .changed = count_call}};
    account_watch(t->account, &mine.w);
    ok(account_remove(t->store, t->id, &t->err), t);
    assert_int_equal(mine.calls, 1);
    account_unwatch(t->account, &mine.w);
    struct message_append m = {.bytes = STR("x"), .digest = STR("d")};
    assert_int_equal(message_append(t->account, inbox, &m, 1, &t->err), ST_NOTFOUND);
    struct account *a;
    assert_int_equal(account_open(t->store, t->id, &a, &t->err), ST_NOTFOUND);
    ok(account_create(t->store, t->id, &t->err), t);
    ok(account_open(t->store, t->id, &a, &t->err), t);
    assert_int_equal(message_append(t->account, inbox, &m, 1, &t->err), ST_NOTFOUND);
    ok(message_append(a, inbox, &m, 1, &t->err), t);
    assert_int_equal(m.uid, 1);
    account_unref(a);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, testing_setup, testing_teardown)
    const struct CMUnitTest tests[] = {
        T(creates_the_usual_mailboxes),
        T(appends_and_reads_back),
        T(pages_through_a_mailbox),
        T(survives_reopening),
        T(tells_watchers),
        T(claims_recent_once),
        T(keeps_the_quota),
        T(removes_accounts),
    };
    return testing_run("store/store", tests, sizeof tests / sizeof tests[0]);
}
