/* What a submission agent changes in a header, and that it changes nothing else. */
#include "format/repair.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static const struct repair_facts facts = {
    .submitter = {"elinor@abcd.com", 15},
    .name = {"Elinor D.", 9},
    .domain = {"abcd.com", 8},
    .host = {"mx.abcd.com", 11},
    .unique = {"u1", 2},
    .now = {.epoch_s = 1704099900, .zone_min = 60},
    .check_sender = true,
};

#define DATE "Date: Mon, 1 Jan 2024 10:05:00 +0100\r\n"
#define ID   "Message-ID: <u1@mx.abcd.com>\r\n"
#define GOOD "Date: Tue, 5 Mar 2024 10:11:12 +0100\r\nMessage-ID: <a@b>\r\n"

static const struct {
    const char *message, *want;
    unsigned changes;
} cases[] = {
    {GOOD "From: elinor@abcd.com\r\nTo: carolyn@xyz.com\r\n\r\nbody\r\n",
     GOOD "From: elinor@abcd.com\r\nTo: carolyn@xyz.com\r\n\r\nbody\r\n", 0},
    {GOOD "From:   Elinor\r\n <ELINOR@ABCD.com>\n\nbody", GOOD "From:   Elinor\r\n <ELINOR@ABCD.com>\n\nbody", 0},
    {"From: elinor@abcd.com\r\nTo: x@y\r\n\r\nbody", "From: elinor@abcd.com\r\nTo: x@y\r\n" DATE ID "\r\nbody",
     REPAIR_DATE | REPAIR_MESSAGE_ID},
    {GOOD "To: x@y\r\n\r\nbody", GOOD "To: x@y\r\nFrom: \"Elinor D.\" <elinor@abcd.com>\r\n\r\nbody", REPAIR_FROM},
    {GOOD "From: \r\n\r\nbody", GOOD "From: \"Elinor D.\" <elinor@abcd.com>\r\n\r\nbody", REPAIR_FROM},
    {GOOD "From: boss@abcd.com\r\n\r\nbody", GOOD "From: boss@abcd.com\r\nSender: elinor@abcd.com\r\n\r\nbody", REPAIR_SENDER},
    {GOOD "From: boss@abcd.com\r\nSender: elinor@abcd.com\r\n\r\nb", GOOD "From: boss@abcd.com\r\nSender: elinor@abcd.com\r\n\r\nb",
     0},
    {GOOD "From: boss@abcd.com\r\nSender: other@abcd.com\r\n\r\nb", GOOD "From: boss@abcd.com\r\nSender: elinor@abcd.com\r\n\r\nb",
     REPAIR_SENDER},
    {GOOD "From: elinor@abcd.com, boss@abcd.com\r\n\r\nb",
     GOOD "From: elinor@abcd.com, boss@abcd.com\r\nSender: elinor@abcd.com\r\n\r\nb", REPAIR_SENDER},
    {GOOD "From: elinor@abcd.com\r\nBcc: secret@x\r\n (fold)\r\nTo: y@z\r\nResent-Bcc: a@b\r\n\r\nBcc: in the body",
     GOOD "From: elinor@abcd.com\r\nTo: y@z\r\n\r\nBcc: in the body", REPAIR_BCC},
    {GOOD "From: elinor\r\nTo: Carolyn <carolyn>, \"a b\"@x, bob (Bob),\r\n list: u1, u2@z;\r\n\r\nb",
     GOOD "From: elinor@abcd.com\r\nTo: Carolyn <carolyn@abcd.com>, \"a b\"@x, bob@abcd.com (Bob),\r\n list: u1@abcd.com, "
          "u2@z;\r\n\r\nb",
     REPAIR_QUALIFIED},
    {GOOD "From: elinor@abcd.com\r\nTo: undisclosed-recipients\r\nCc: two words, user@, <>\r\n\r\nb",
     GOOD "From: elinor@abcd.com\r\nTo: undisclosed-recipients\r\nCc: two words, user@, <>\r\n\r\nb", 0},
    {"Date: yesterday\r\nMessage-ID: <a@b>\r\nFrom: elinor@abcd.com\r\n\r\nb",
     "Message-ID: <a@b>\r\nFrom: elinor@abcd.com\r\n" DATE "\r\nb", REPAIR_DATE},
    {"Date: Tue, 5 Mar 2024 10:11:12\r\nMessage-ID: <a@b>\r\nFrom: elinor@abcd.com\r\n\r\nb",
     "Message-ID: <a@b>\r\nFrom: elinor@abcd.com\r\n" DATE "\r\nb", REPAIR_DATE}, /* no zone */
    {"Date: Tue, 5 Mar 2024 10:11:12 -0000\r\nMessage-ID: <a@b>\r\nFrom: elinor@abcd.com\r\n\r\nb",
     "Date: Tue, 5 Mar 2024 10:11:12 -0000\r\nMessage-ID: <a@b>\r\nFrom: elinor@abcd.com\r\n\r\nb", 0},
    {"Date: Tue, 5 Mar 2024 10:11:12 +0100\r\nMessage-ID: none\r\nFrom: elinor@abcd.com\r\n\r\nb",
     "Date: Tue, 5 Mar 2024 10:11:12 +0100\r\nFrom: elinor@abcd.com\r\n" ID "\r\nb", REPAIR_MESSAGE_ID},
    {"Return-Path: <x@y>\r\n" GOOD "From: elinor@abcd.com\r\n\r\nb", GOOD "From: elinor@abcd.com\r\n\r\nb", REPAIR_RETURN_PATH},
    {"Just a line\r\nand one more\r\n", DATE "From: \"Elinor D.\" <elinor@abcd.com>\r\n" ID "\r\nJust a line\r\nand one more\r\n",
     REPAIR_DATE | REPAIR_FROM | REPAIR_MESSAGE_ID | REPAIR_BLANK_LINE},
    {GOOD "From: elinor@abcd.com\r\nno field\r\nTo: x\r\n\r\nb", GOOD "From: elinor@abcd.com\r\n\r\nno field\r\nTo: x\r\n\r\nb",
     REPAIR_BLANK_LINE},
    {GOOD "From: elinor@abcd.com", GOOD "From: elinor@abcd.com\r\n\r\n", REPAIR_BLANK_LINE},
    {"From elinor Tue Mar 5\r\n" GOOD "From: elinor@abcd.com\r\n\r\nb", GOOD "From: elinor@abcd.com\r\n\r\nb", REPAIR_BLANK_LINE},
    {"\r\nonly body", DATE "From: \"Elinor D.\" <elinor@abcd.com>\r\n" ID "\r\nonly body",
     REPAIR_DATE | REPAIR_FROM | REPAIR_MESSAGE_ID},
};

static void test_repairs(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct arena arena = ARENA_INIT(1 << 20);
        DEFER(buf_release) struct buf out = BUF_INIT(1 << 16);
        struct repair_result result;
        struct str message = str_of(cases[i].message);
        assert_int_equal(repair_header(&arena, message, &facts, &out, &result, NULL), ST_OK);
        struct str id = {result.message_id.p, result.message_id.n};
        assert_true(str_eq(id, STR("<a@b>")) || str_eq(id, STR("<u1@mx.abcd.com>")));
        buf_add(&out, str_from(message, result.body_offset));
        if (!str_eq(buf_str(&out), str_of(cases[i].want)) || result.changes != cases[i].changes)
            fail_msg("case %zu changes %x:\n%s", i, result.changes, buf_z(&out));
        if (cases[i].changes == 0)
            assert_true(str_eq(buf_str(&out), message));
        arena_release(&arena);
    }
}

/* Nobody to name: nothing is invented. Repairing twice changes nothing more. */
static void test_unknown_submitter_and_twice(void **state)
{
    (void)state;
    struct arena arena = ARENA_INIT(1 << 20);
    DEFER(buf_release) struct buf once = BUF_INIT(1 << 16);
    DEFER(buf_release) struct buf twice = BUF_INIT(1 << 16);
    struct repair_result result;
    struct repair_facts nobody = {.host = STR("h"), .unique = STR("u"), .now = facts.now, .check_sender = true};
    assert_int_equal(
        repair_header(&arena, STR("To: x\r\nDate: Tue, 5 Mar 2024 10:11:12 +0100\r\n\r\n"), &nobody, &once, &result, NULL), ST_OK);
    assert_string_equal(buf_z(&once), "To: x\r\nDate: Tue, 5 Mar 2024 10:11:12 +0100\r\nMessage-ID: <u@h>\r\n\r\n");
    buf_clear(&once);
    assert_int_equal(repair_header(&arena, STR("To: x\r\nBcc: y\r\n\r\nbody"), &facts, &once, &result, NULL), ST_OK);
    assert_int_equal(repair_header(&arena, buf_str(&once), &facts, &twice, &result, NULL), ST_OK);
    assert_int_equal(result.changes, 0);
    assert_true(str_eq(buf_str(&once), buf_str(&twice)));
    arena_release(&arena);
}

static void test_limits(void **state)
{
    (void)state;
    struct arena arena = ARENA_INIT(1 << 20);
    DEFER(buf_release) struct buf small = BUF_INIT(20);
    DEFER(buf_release) struct buf many = BUF_INIT(1 << 20);
    DEFER(buf_release) struct buf out = BUF_INIT(1 << 20);
    struct repair_result result;
    assert_int_equal(repair_header(&arena, STR("To: x\r\n\r\n"), &facts, &small, &result, NULL), ST_LIMIT);
    for (int i = 0; i < 6000; i++)
        buf_add_z(&many, "X: y\r\n");
    assert_int_equal(repair_header(&arena, buf_str(&many), &facts, &out, &result, NULL), ST_LIMIT);
    arena_release(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_repairs), cmocka_unit_test(test_unknown_submitter_and_twice),
                                       cmocka_unit_test(test_limits)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
