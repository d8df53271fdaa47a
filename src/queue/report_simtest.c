/* What the sender is told, and when (RFC 3461, 3464). */
#include "queue/report.h"
#include "queue/testing.h"

#define MESSAGE "Received: by mx.abcd.com\r\nSubject: hello\r\n\r\nthe body\r\n"
#define HOUR    3600000

static bool has(struct str text, const char *needle) { return str_find(text, str_of(needle)) != STR_NPOS; }

enum told { TOLD_NOTHING = 0, TOLD_FAILED = 1, TOLD_DELAYED = 2, TOLD_DELIVERED = 4, TOLD_RELAYED = 8 };

/* notify: 0 not given, 1 NEVER, 2 SUCCESS, 4 FAILURE, 8 DELAY. Each runs for six days. */
static const struct {
    const char *to;
    unsigned told;
} wishes[] = {
    {"perm@remote.test", TOLD_FAILED},       {"perm@remote.test:1", TOLD_NOTHING},
    {"perm@remote.test:2", TOLD_NOTHING},    {"perm@remote.test:4", TOLD_FAILED},
    {"perm@remote.test:8", TOLD_NOTHING},    {"ok@remote.test", TOLD_NOTHING},
    {"ok@remote.test:2", TOLD_NOTHING}, /* the next host reports */
    {"norelay@remote.test", TOLD_NOTHING},   {"norelay@remote.test:2", TOLD_RELAYED},
    {"norelay@remote.test:4", TOLD_NOTHING}, {"temp@remote.test", TOLD_DELAYED | TOLD_FAILED},
    {"temp@remote.test:1", TOLD_NOTHING},    {"temp@remote.test:4", TOLD_FAILED},
    {"temp@remote.test:8", TOLD_DELAYED},    {"temp@remote.test:12", TOLD_DELAYED | TOLD_FAILED},
    {"carolyn@xyz.com", TOLD_NOTHING},       {"carolyn@xyz.com:2", TOLD_DELIVERED},
    {"carolyn@xyz.com:4", TOLD_NOTHING},
};

struct tally {
    struct testing *t;
    struct account *account;
    unsigned told, count;
};

static bool tally_message(void *context, const struct message_entry *entry)
{
    struct tally *tally = context;
    struct buf bytes = BUF_INIT(1 << 20);
    OK(&tally->t->err, message_read(tally->account, entry->email, 0, 1 << 20, &bytes, &tally->t->err));
    struct str m = buf_str(&bytes);
    assert_true(str_starts(m, STR("Return-Path: <>\r\n")));
    assert_true(has(m, "multipart/report"));
    tally->count++;
    tally->told |= (has(m, "Action: failed") ? TOLD_FAILED : 0u) | (has(m, "Action: delayed") ? TOLD_DELAYED : 0u) |
                   (has(m, "Action: delivered") ? TOLD_DELIVERED : 0u) | (has(m, "Action: relayed") ? TOLD_RELAYED : 0u);
    buf_release(&bytes);
    return true;
}

/* Every message in elinor's INBOX is a report to her. */
static struct tally tally(struct testing *t)
{
    struct tally tally = {.t = t};
    struct mailbox_info info;
    OK(&t->err, account_open(t->store, t->elinor, &tally.account, &t->err));
    OK(&t->err, mailbox_find(tally.account, STR("INBOX"), &t->arena, &info, &t->err));
    OK(&t->err, message_scan(tally.account, info.id, NULL, tally_message, &tally, &t->err));
    account_unref(tally.account);
    return tally;
}

static void test_wishes(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof wishes / sizeof *wishes; i++) {
        struct testing t;
        testing_open(&t, false, false);
        assert_int_equal(testing_accept(&t, "elinor@abcd.com", wishes[i].to, MESSAGE, true, NULL), ST_OK);
        testing_run(&t, 6 * 24);
        struct tally got = tally(&t);
        if (got.told != wishes[i].told || got.count != (unsigned)__builtin_popcount(wishes[i].told))
            fail_msg("%s: told %u in %u reports, want %u", wishes[i].to, got.told, got.count, wishes[i].told);
        assert_int_equal(testing_entries(&t), 0);
        testing_close(&t);
    }
}

/* The notice comes after four hours, the end after five days; in between tries become rarer. */
static void test_times(void **state)
{
    struct testing t;
    (void)state;
    testing_open(&t, false, false);
    assert_int_equal(testing_accept(&t, "elinor@abcd.com", "temp@remote.test", MESSAGE, true, NULL), ST_OK);
    testing_run(&t, 1);
    assert_in_range(fake.transactions, 3, 6);
    testing_run(&t, 2);
    assert_int_equal(tally(&t).count, 0);
    testing_run(&t, 8);
    assert_int_equal(tally(&t).count, 1);
    assert_in_range(fake.transactions, 5, 12);
    testing_run(&t, 5 * 24 - 12);
    assert_int_equal(tally(&t).count, 1);
    assert_int_equal(testing_entries(&t), 1);
    assert_in_range(fake.transactions, 25, 50);
    testing_run(&t, 5);
    assert_int_equal(tally(&t).count, 2);
    struct testing_mailbox inbox = testing_look(&t, t.elinor, "INBOX");
    assert_true(has(inbox.last, "Status: 4.2.0"));
    assert_true(has(inbox.last, "Diagnostic-Code: smtp; 450 4.2.0 try later"));
    assert_true(has(inbox.last, "Remote-MTA: dns; mx.remote.test"));
    assert_true(has(inbox.last, "Subject: hello"));
    assert_false(has(inbox.last, "the body")); /* RET was not given: the header is enough */
    assert_int_equal(testing_entries(&t), 0);
    testing_close(&t);
}

/* A report to a sender elsewhere leaves as mail from <>. */
static void test_remote_sender(void **state)
{
    struct testing t;
    (void)state;
    testing_open(&t, false, false);
    assert_int_equal(testing_accept(&t, "someone@sender.test", "perm@remote.test", MESSAGE, true, NULL), ST_OK);
    testing_run(&t, 1);
    assert_string_equal(fake.last_from, "");
    assert_int_equal(testing_count(buf_str(&fake.sent), "someone@sender.test|"), 1);
    assert_true(str_starts(buf_str(&fake.last), STR("From:")) || has(buf_str(&fake.last), "Mail Delivery"));
    assert_false(has(buf_str(&fake.last), "Return-Path:"));
    testing_close(&t);
}

/* Nobody is told of a failure of mail from <>, and so there is no end to find: neither a loop nor backscatter. */
static void test_null_sender(void **state)
{
    struct testing t;
    (void)state;
    testing_open(&t, false, false);
    assert_int_equal(testing_accept(&t, "", "perm@remote.test temp@remote.test norelay@remote.test:2", MESSAGE, true, NULL), ST_OK);
    assert_int_equal(testing_accept(&t, "perm@sender.test", "perm@remote.test", MESSAGE, true, NULL),
                     ST_OK); /* its report fails, too */
    testing_run(&t, 6 * 24);
    assert_int_equal(testing_entries(&t), 0);
    assert_int_equal(tally(&t).count, 0);
    testing_close(&t);
}

static void test_double_bounce(void **state)
{
    struct testing t;
    struct settings *settings = settings_defaults();
    (void)state;
    settings->queue_double_bounce = true;
    settings->global_postmaster = "elinor@abcd.com";
    settings_use(&settings);
    testing_open(&t, false, false);
    assert_int_equal(testing_accept(&t, "perm@sender.test", "perm@remote.test", MESSAGE, true, NULL), ST_OK);
    testing_run(&t, 1);
    assert_int_equal(testing_entries(&t), 0);
    struct tally got = tally(&t);
    assert_int_equal(got.count, 1);
    assert_true(has(testing_look(&t, t.elinor, "INBOX").last, "perm@sender.test"));
    testing_close(&t);
    settings = settings_defaults();
    settings_use(&settings);
}

static void test_ret_full(void **state)
{
    static const struct {
        enum accept_ret ret;
        bool body;
    } cases[] = {{ACCEPT_RET_FULL, true}, {ACCEPT_RET_HDRS, false}, {ACCEPT_RET_DEFAULT, false}};
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct testing t;
        char id[24];
        testing_open(&t, false, false);
        struct accept_recipient r = {.address = STR("perm@remote.test"), .orcpt = STR("rfc822;other@first.test")};
        struct accept_envelope envelope = {.reverse_path = STR("elinor@abcd.com"),
                                           .envid = STR("QQ+2B1"),
                                           .ret = cases[i].ret,
                                           .require_all = true,
                                           .recipients = &r,
                                           .count = 1};
        OK(&t.err, directory_resolve(t.directory, r.address, &t.arena, &r.route, &t.err));
        OK(&t.err, accept_message(t.queue, &envelope, STR(MESSAGE), id, &t.err));
        testing_run(&t, 1);
        struct str m = testing_look(&t, t.elinor, "INBOX").last;
        assert_int_equal(has(m, "the body"), cases[i].body);
        assert_true(has(m, "Original-Envelope-Id: QQ+1") || has(m, "Original-Envelope-ID: QQ+1"));
        assert_true(has(m, "Original-Recipient: rfc822;other@first.test") ||
                    has(m, "Original-Recipient: rfc822; other@first.test"));
        assert_true(has(m, "Reporting-MTA: dns; mx.abcd.com"));
        testing_close(&t);
    }
}

/* RFC 3461 5.2.7.3 (c) */
static void test_expanded(void **state)
{
    struct testing t;
    (void)state;
    testing_open(&t, false, false);
    struct directory_alias alias = {.address = STR("all@abcd.com"),
                                    .targets = STR("carolyn@xyz.com\nnorelay@remote.test\nok@remote.test")};
    OK(&t.err, directory_alias_put(t.directory, &alias, &t.err));
    assert_int_equal(testing_accept(&t, "elinor@abcd.com", "all@abcd.com:2", MESSAGE, true, NULL), ST_OK);
    testing_run(&t, 1);
    struct str m = testing_look(&t, t.elinor, "INBOX").last;
    assert_int_equal(testing_look(&t, t.elinor, "INBOX").count, 1); /* and none for the targets */
    assert_true(has(m, "Action: expanded"));
    assert_true(has(m, "all@abcd.com"));
    assert_int_equal(testing_look(&t, t.carolyn, "INBOX").count, 1);
    assert_int_equal(testing_count(buf_str(&fake.sent), "|"), 2);
    testing_close(&t);
}

/* A domain that became ours while mail for it was queued, and one that left. */
static void test_moved_domain(void **state)
{
    struct testing t;
    (void)state;
    testing_open(&t, false, false);
    assert_int_equal(testing_accept(&t, "temp1@sender.test", "perm@remote.test", MESSAGE, true, NULL), ST_OK);
    testing_run(&t, 0); /* the report for temp1@sender.test is queued, and put off once */
    assert_int_equal(testing_entries(&t), 1);
    testing_run(&t, 1);
    assert_int_equal(testing_entries(&t), 0);
    struct directory_alias alias = {.address = STR("gone@abcd.com"), .targets = STR("ok@remote.test\ncarolyn@xyz.com")};
    OK(&t.err, directory_alias_put(t.directory, &alias, &t.err));
    assert_int_equal(testing_accept(&t, "gone@abcd.com", "perm@remote.test", MESSAGE, true, NULL), ST_OK);
    testing_run(&t, 1); /* the report to an alias goes to its targets */
    assert_int_equal(testing_look(&t, t.carolyn, "INBOX").count, 1);
    assert_int_equal(testing_count(buf_str(&fake.sent), "ok@remote.test|"), 1);
    testing_close(&t);
}

/* RFC 3463 2: a delay has a status of class 4, whatever the host's code was. */
static void test_delay_status(void **state)
{
    struct testing t;
    (void)state;
    testing_open(&t, false, false);
    assert_int_equal(testing_accept(&t, "elinor@abcd.com", "many@remote.test", MESSAGE, true, NULL), ST_OK);
    testing_run(&t, 12);
    struct str m = testing_look(&t, t.elinor, "INBOX").last;
    assert_true(has(m, "Action: delayed\r\nStatus: 4.0.0\r\n"));
    assert_true(has(m, "Diagnostic-Code: smtp; 552 5.5.3 too many recipients"));
    testing_close(&t);
}

/* RFC 3464 2.3.5: where no other host is concerned none is named. */
static void test_local_has_no_remote_mta(void **state)
{
    struct testing t;
    (void)state;
    testing_open(&t, false, false);
    assert_int_equal(testing_accept(&t, "elinor@abcd.com", "carolyn@xyz.com:2", MESSAGE, true, NULL), ST_OK);
    testing_run(&t, 1);
    struct str m = testing_look(&t, t.elinor, "INBOX").last;
    assert_true(has(m, "Action: delivered"));
    assert_false(has(m, "Remote-MTA"));
    assert_false(has(m, "said:"));
    testing_close(&t);
}

/* RFC 6152 2: a report that returns 8-bit bytes says so to the next host. */
static void test_report_body(void **state)
{
    static const struct {
        const char *message;
        enum accept_body want;
    } cases[] = {{MESSAGE, ACCEPT_BODY_7BIT}, {"Subject: \xe4\r\n\r\nbody\r\n", ACCEPT_BODY_8BITMIME}};
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct testing t;
        testing_open(&t, false, false);
        assert_int_equal(testing_accept(&t, "someone@sender.test", "perm@remote.test", cases[i].message, true, NULL), ST_OK);
        testing_run(&t, 1);
        assert_string_equal(fake.last_from, "");
        assert_int_equal(fake.last_body, cases[i].want);
        testing_close(&t);
    }
}

/* Binary bytes (RFC 3030) cannot be part of a report in lines: the header has to do, whatever RET says. */
static void test_binary_is_not_returned(void **state)
{
    struct testing t;
    char id[24];
    (void)state;
    testing_open(&t, false, false);
    struct accept_recipient r = {.address = STR("perm@remote.test")};
    struct accept_envelope envelope = {.reverse_path = STR("elinor@abcd.com"),
                                       .ret = ACCEPT_RET_FULL,
                                       .body = ACCEPT_BODY_BINARYMIME,
                                       .require_all = true,
                                       .recipients = &r,
                                       .count = 1};
    OK(&t.err, directory_resolve(t.directory, r.address, &t.arena, &r.route, &t.err));
    OK(&t.err, accept_message(t.queue, &envelope, STR("Subject: x\r\n\r\nthe\0body\r"), id, &t.err));
    testing_run(&t, 1);
    struct str m = testing_look(&t, t.elinor, "INBOX").last;
    assert_true(has(m, "Subject: x") && has(m, "text/rfc822-headers"));
    assert_false(has(m, "body\r"));
    testing_close(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_wishes),        cmocka_unit_test(test_times),
        cmocka_unit_test(test_remote_sender), cmocka_unit_test(test_null_sender),
        cmocka_unit_test(test_double_bounce), cmocka_unit_test(test_ret_full),
        cmocka_unit_test(test_expanded),      cmocka_unit_test(test_moved_domain),
        cmocka_unit_test(test_delay_status),  cmocka_unit_test(test_local_has_no_remote_mta),
        cmocka_unit_test(test_report_body),   cmocka_unit_test(test_binary_is_not_returned),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
