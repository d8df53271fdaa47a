/* Delivery reports: the fields of RFC 3464, and that a MIME parser sees what was meant. */
#include "format/dsn.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "format/mime.h"

static struct dsn_recipient failed = {
    .address = {"nobody@xyz.com", 14},
    .orcpt = {"rfc822;no+2Bbody@xyz.com", 24},
    .action = DSN_FAILED,
    .status = {"5.1.1", 5},
    .remote_mta = {"mx.xyz.com", 10},
    .diagnostic = {"550-5.1.1 The account you tried to reach does not exist at all, please\n550 5.1.1 check it\r\nX-Forged: 1",
                   102},
    .diagnostic_smtp = true,
    .last_attempt_s = 1704099000,
};

static struct dsn report(const struct dsn_recipient *r, size_t count)
{
    return (struct dsn){
        .to = STR("elinor@abcd.com"),
        .from_host = STR("mx.abcd.com"),
        .from_domain = STR("abcd.com"),
        .received_from = STR("laptop.abcd.com"),
        .envid = STR("QQ+2B314"),
        .id = STR("q17"),
        .unique = STR("dsn.17"),
        .now = {.epoch_s = 1704099900, .zone_min = 60},
        .arrived_s = 1704000000,
        .message = STR("From: elinor@abcd.com\r\nMessage-ID: <orig@abcd.com>\r\nSubject: hello\r\n\r\nthe body\r\n"),
        .message_max = 1000,
        .recipients = r,
        .count = count,
    };
}

static bool has(const struct buf *b, const char *text) { return str_find(buf_str(b), str_of(text)) != STR_NPOS; }

static struct str part_body(const struct buf *b, const struct mime_part *p)
{
    return str_sub(buf_str(b), p->body_offset, p->body_length);
}

static void check_lines(const struct buf *b)
{
    struct str rest = buf_str(b), line;
    while (rest.n && str_split(&rest, '\n', &line))
        if (line.n == 0 || line.n > 998 || line.p[line.n - 1] != '\r')
            fail_msg("line: %.*s", STR_FMT(line));
}

static void test_failure(void **state)
{
    (void)state;
    struct arena arena = ARENA_INIT(1 << 20);
    DEFER(buf_release) struct buf out = BUF_INIT(1 << 16);
    struct dsn d = report(&failed, 1);
    struct mime_tree tree;
    d.full = true;
    assert_int_equal(dsn_build(&d, &out, NULL), ST_OK);
    check_lines(&out);
    assert_true(
        has(&out, "From: Mail Delivery System <postmaster@abcd.com>\r\nTo: <elinor@abcd.com>\r\nSubject: Undelivered mail\r\n"));
    assert_true(has(&out, "In-Reply-To: <orig@abcd.com>\r\n"));
    assert_true(has(&out, "Auto-Submitted: auto-replied\r\n"));
    assert_true(mime_parse(&arena, buf_str(&out), &MIME_LIMITS_DEFAULT, &tree));
    assert_true(mime_is(tree.root, STR("multipart"), STR("report")));
    const struct mime_part *text = tree.root->first_child, *status = text->next, *original = status->next;
    assert_null(original->next);
    assert_true(mime_is(status, STR("message"), STR("delivery-status")));
    assert_true(mime_is(original, STR("message"), STR("rfc822")));
    assert_true(str_eq(part_body(&out, original), str_upto(d.message, d.message.n)));
    struct str s = part_body(&out, status);
    const struct mime_part *inner = original->first_child;
    assert_true(str_eq(part_body(&out, inner), STR("the body\r\n")));
    assert_true(
        str_starts(s, STR("Reporting-MTA: dns; mx.abcd.com\r\nOriginal-Envelope-Id: QQ+314\r\n"
                          "Received-From-MTA: dns; laptop.abcd.com\r\nX-Queue-Id: q17\r\n"
                          "Arrival-Date: Sun, 31 Dec 2023 06:20:00 +0100\r\n\r\n"
                          "Original-Recipient: rfc822; no+body@xyz.com\r\nFinal-Recipient: rfc822; nobody@xyz.com\r\n"
                          "Action: failed\r\nStatus: 5.1.1\r\nRemote-MTA: dns; mx.xyz.com\r\nDiagnostic-Code: smtp; 550-5.1.1 ")));
    assert_true(str_find(s, STR("\nX-Forged")) == STR_NPOS);
    arena_release(&arena);
}

static void test_header_only(void **state)
{
    (void)state;
    struct dsn_recipient delivered = {.address = STR("carolyn@xyz.com"), .action = DSN_DELIVERED};
    struct dsn_recipient delayed = {.address = STR("carolyn@xyz.com"), .action = DSN_DELAYED, .will_retry_until_s = 1704186300};
    const struct {
        const struct dsn_recipient *r;
        bool full;
        size_t max;
        const char *status, *action, *subject;
    } cases[] = {
        {&failed, false, 1000, "Status: 5.1.1\r\n", "Action: failed\r\n", "Subject: Undelivered"},
        {&failed, true, 10, "Status: 5.1.1\r\n", "Action: failed\r\n", "Subject: Undelivered"},       /* too large to return */
        {&delivered, true, 1000, "Status: 2.0.0\r\n", "Action: delivered\r\n", "Subject: Delivered"}, /* RET=FULL is for failures */
        {&delayed, true, 1000, "Will-Retry-Until: Tue, 2 Jan 2024 10:05:00 +0100\r\n", "Action: delayed\r\n", "Subject: Delayed"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        DEFER(buf_release) struct buf out = BUF_INIT(1 << 16);
        struct dsn d = report(cases[i].r, 1);
        d.full = cases[i].full;
        d.message_max = cases[i].max;
        assert_int_equal(dsn_build(&d, &out, NULL), ST_OK);
        check_lines(&out);
        assert_true(has(&out, "text/rfc822-headers"));
        assert_false(has(&out, "the body"));
        assert_true(has(&out, "Subject: hello"));
        assert_true(has(&out, cases[i].status) && has(&out, cases[i].action) && has(&out, cases[i].subject));
    }
}

static void test_utf8(void **state)
{
    (void)state;
    struct dsn_recipient r = {.address = STR("\xc3\xa9lan@xyz.com"), .action = DSN_FAILED};
    struct dsn d = report(&r, 1);
    DEFER(buf_release) struct buf ascii = BUF_INIT(1 << 16);
    DEFER(buf_release) struct buf utf8 = BUF_INIT(1 << 16);
    assert_int_equal(dsn_build(&d, &ascii, NULL), ST_OK);
    assert_true(has(&ascii, "Content-Type: message/delivery-status\r\n"));
    assert_true(has(&ascii, "Final-Recipient: utf-8; \\x{E9}lan@xyz.com\r\n"));
    d.utf8 = true;
    assert_int_equal(dsn_build(&d, &utf8, NULL), ST_OK);
    assert_true(has(&utf8, "Content-Type: message/global-delivery-status\r\n"));
    assert_true(has(&utf8, "Content-Type: message/global-headers\r\n"));
    assert_true(has(&utf8, "Final-Recipient: utf-8; \xc3\xa9lan@xyz.com\r\n"));
}

/* RFC 3464 2.1: message/delivery-status is 7-bit, whatever the other host wrote. RFC 2045 6.4: the whole is labelled as its parts.
 */
static void test_8bit(void **state)
{
    static const struct {
        const char *diagnostic, *subject, *address;
        bool high;
    } cases[] = {
        {"550 no such user", "Subject: a", "a@xyz.com", false},
        {"550 kein Empf\xc3\xa4nger \xe2\x82\xac", "Subject: a", "a@xyz.com", true},
        {"550 no such user", "Subject: \xe4", "a@xyz.com", true},
        {"550 no such user", "Subject: a", "\xc3\xa9lan@xyz.com", true},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct arena arena = ARENA_INIT(1 << 20);
        DEFER(buf_release) struct buf out = BUF_INIT(1 << 16);
        char message[100];
        struct dsn_recipient r = {.address = str_of(cases[i].address),
                                  .action = DSN_FAILED,
                                  .diagnostic = str_of(cases[i].diagnostic),
                                  .diagnostic_smtp = true};
        struct dsn d = report(&r, 1);
        struct mime_tree tree;
        snprintf(message, sizeof message, "%s\r\n\r\nbody\r\n", cases[i].subject);
        d.message = str_of(message);
        assert_int_equal(dsn_build(&d, &out, NULL), ST_OK);
        assert_true(mime_parse(&arena, buf_str(&out), &MIME_LIMITS_DEFAULT, &tree));
        const struct mime_part *text = tree.root->first_child, *status = text->next;
        if (!str_is_ascii(part_body(&out, status)) || str_find(part_body(&out, status), STR("550 ")) == STR_NPOS)
            fail_msg("case %zu: %.*s", i, STR_FMT(part_body(&out, status)));
        struct str header = str_upto(buf_str(&out), str_find(buf_str(&out), STR("\r\n\r\n")));
        bool labelled = str_find(header, STR("Content-Transfer-Encoding: 8bit")) != STR_NPOS;
        assert_int_equal(labelled, cases[i].high);
        assert_int_equal(str_is_ascii(buf_str(&out)), !cases[i].high);
        arena_release(&arena);
    }
}

/* Only another host "said" something. */
static void test_who_said(void **state)
{
    struct dsn_recipient said = {.address = STR("a@xyz.com"),
                                 .action = DSN_FAILED,
                                 .remote_mta = STR("mx.xyz.com"),
                                 .diagnostic = STR("550 no"),
                                 .diagnostic_smtp = true};
    struct dsn_recipient silent = {.address = STR("a@xyz.com"),
                                   .action = DSN_FAILED,
                                   .remote_mta = STR("mx.xyz.com"),
                                   .diagnostic = STR("4.4.1 connection refused")};
    DEFER(buf_release) struct buf one = BUF_INIT(1 << 16);
    DEFER(buf_release) struct buf two = BUF_INIT(1 << 16);
    struct dsn d = report(&said, 1);
    (void)state;
    assert_int_equal(dsn_build(&d, &one, NULL), ST_OK);
    assert_true(has(&one, "host mx.xyz.com said:\r\n    550 no\r\n"));
    d = report(&silent, 1);
    assert_int_equal(dsn_build(&d, &two, NULL), ST_OK);
    assert_true(has(&two, "host mx.xyz.com:\r\n    4.4.1 connection refused\r\n"));
    assert_true(has(&two, "Remote-MTA: dns; mx.xyz.com\r\n"));
}

static void test_limits(void **state)
{
    (void)state;
    struct dsn d = report(&failed, 0);
    DEFER(buf_release) struct buf small = BUF_INIT(100);
    assert_int_equal(dsn_build(&d, &small, NULL), ST_LIMIT);
    d.count = 1;
    assert_int_equal(dsn_build(&d, &small, NULL), ST_LIMIT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_failure), cmocka_unit_test(test_header_only),
                                       cmocka_unit_test(test_utf8),    cmocka_unit_test(test_limits),
                                       cmocka_unit_test(test_8bit),    cmocka_unit_test(test_who_said)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
