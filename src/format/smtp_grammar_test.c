/* Command lines of the server, replies of the client. */
#include "format/smtp_grammar.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

enum {
    ALL = SMTP_PARAM_SIZE | SMTP_PARAM_BODY | SMTP_PARAM_SMTPUTF8 | SMTP_PARAM_AUTH | SMTP_PARAM_RET | SMTP_PARAM_ENVID |
          SMTP_PARAM_NOTIFY | SMTP_PARAM_ORCPT | SMTP_PARAM_REQUIRETLS | SMTP_PARAM_MT_PRIORITY | SMTP_PARAM_BY |
          SMTP_PARAM_HOLDFOR | SMTP_PARAM_HOLDUNTIL | SMTP_PARAM_RRVS,
};

static void test_split(void **state)
{
    (void)state;
    static const struct {
        const char *line, *verb, *arg;
    } cases[] = {
        {"QUIT", "QUIT", ""},
        {"quit  ", "quit", ""},
        {"EHLO a.example", "EHLO", "a.example"},
        {"MAIL FROM:<a@b> ", "MAIL", "FROM:<a@b>"},
        {"", "", ""},
        {" NOOP", "", ""},
        {"MAIL:x", "", ""},
        {"NOOP\tx", "NOOP", "x"},
        {"HELO  two", "HELO", " two"},
        {"\x16\x03\x01 tls", "", ""},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct str verb, arg;
        smtp_command_split(str_of(cases[i].line), &verb, &arg);
        if (!str_eq(verb, str_of(cases[i].verb)) || !str_eq(arg, str_of(cases[i].arg)))
            fail_msg("%s: [%.*s] [%.*s]", cases[i].line, STR_FMT(verb), STR_FMT(arg));
    }
}

static const struct {
    const char *arg;
    unsigned offered;
    enum smtp_fault fault;
    unsigned given;
} mails[] = {
    {"FROM:<a@b.example>", ALL, SMTP_FAULT_NONE, 0},
    {"from: <a@b.example>", ALL, SMTP_FAULT_NONE, 0},
    {"FROM:<>", ALL, SMTP_FAULT_NONE, 0},
    {"FROM:  <a@b.example>", ALL, SMTP_FAULT_ADDRESS, 0},
    {"FROM <a@b.example>", ALL, SMTP_FAULT_SYNTAX, 0},
    {"FROM:a@b.example", ALL, SMTP_FAULT_ADDRESS, 0},
    {"FROM:<a@b.example> SIZE=1000 BODY=8BITMIME", ALL, SMTP_FAULT_NONE, SMTP_PARAM_SIZE | SMTP_PARAM_BODY},
    {"FROM:<a@b.example>  size=1000  body=binarymime ", ALL, SMTP_FAULT_NONE, SMTP_PARAM_SIZE | SMTP_PARAM_BODY},
    {"FROM:<a@b.example>SIZE=1000", ALL, SMTP_FAULT_SYNTAX, 0},
    {"FROM:<a@b.example> SIZE=1 SIZE=1", ALL, SMTP_FAULT_PARAMETER, 0},
    {"FROM:<a@b.example> SIZE=", ALL, SMTP_FAULT_SYNTAX, 0},
    {"FROM:<a@b.example> SIZE", ALL, SMTP_FAULT_PARAMETER, 0},
    {"FROM:<a@b.example> SIZE=-1", ALL, SMTP_FAULT_PARAMETER, 0},
    {"FROM:<a@b.example> SIZE=99999999999999999999", ALL, SMTP_FAULT_NONE, SMTP_PARAM_SIZE}, /* RFC 1870 5: 20 digits */
    {"FROM:<a@b.example> SIZE=100000000000000000000", ALL, SMTP_FAULT_PARAMETER, 0},
    {"FROM:<a@b.example> SIZE=1", 0, SMTP_FAULT_UNKNOWN, 0},
    {"FROM:<a@b.example> FOO=1", ALL, SMTP_FAULT_UNKNOWN, 0},
    {"FROM:<a@b.example> NOTIFY=NEVER", ALL, SMTP_FAULT_UNKNOWN, 0},
    {"FROM:<a@b.example> =1", ALL, SMTP_FAULT_SYNTAX, 0},
    {"FROM:<a@b.example> A=b=c", ALL, SMTP_FAULT_SYNTAX, 0},
    {"FROM:<a@b.example> BODY=9BIT", ALL, SMTP_FAULT_PARAMETER, 0},
    {"FROM:<a@b.example> RET=HDRS ENVID=QQ314159", ALL, SMTP_FAULT_NONE, SMTP_PARAM_RET | SMTP_PARAM_ENVID},
    {"FROM:<a@b.example> RET=NONE", ALL, SMTP_FAULT_PARAMETER, 0},
    {"FROM:<a@b.example> ENVID=a+b", ALL, SMTP_FAULT_PARAMETER, 0},
    {"FROM:<a@b.example> AUTH=<>", ALL, SMTP_FAULT_NONE, SMTP_PARAM_AUTH},
    {"FROM:<a@b.example> ENVID=a+0D+0AX-Forged:+20y", ALL, SMTP_FAULT_PARAMETER, 0},
    {"FROM:<a@b.example> AUTH=+3C+3E", ALL, SMTP_FAULT_NONE, SMTP_PARAM_AUTH},
    {"FROM:<a@b.example> AUTH=e+3Dmc2@example.com", ALL, SMTP_FAULT_NONE, SMTP_PARAM_AUTH},
    {"FROM:<a@b.example> AUTH=e+3dmc2@example.com", ALL, SMTP_FAULT_NONE, SMTP_PARAM_AUTH}, /* RFC 4954 8, 5234 2.3 */
    {"FROM:<a@b.example> AUTH=e+3mc2@example.com", ALL, SMTP_FAULT_PARAMETER, 0},
    {"FROM:<a@b.example> AUTH=+3Ce@example.com+3E", ALL, SMTP_FAULT_NONE, SMTP_PARAM_AUTH},
    {"FROM:<a@b.example> AUTH=e+0D+0A@example.com", ALL, SMTP_FAULT_PARAMETER, 0},
    {"FROM:<a@b.example> AUTH=e", ALL, SMTP_FAULT_NONE, SMTP_PARAM_AUTH}, /* Sendmail passes login names on */
    {"FROM:<a@b.example> AUTH=e@", ALL, SMTP_FAULT_PARAMETER, 0},
    {"FROM:<a@b.example> MT-PRIORITY=-9", ALL, SMTP_FAULT_NONE, SMTP_PARAM_MT_PRIORITY},
    {"FROM:<a@b.example> MT-PRIORITY=10", ALL, SMTP_FAULT_PARAMETER, 0},
    {"FROM:<a@b.example> BY=120;R", ALL, SMTP_FAULT_NONE, SMTP_PARAM_BY},
    {"FROM:<a@b.example> BY=-10;R", ALL, SMTP_FAULT_PARAMETER, 0},
    {"FROM:<a@b.example> BY=-10;NT", ALL, SMTP_FAULT_NONE, SMTP_PARAM_BY},
    {"FROM:<a@b.example> HOLDFOR=60 HOLDUNTIL=2024-01-01T00:00:00Z", ALL, SMTP_FAULT_PARAMETER, 0},
    {"FROM:<a@b.example> REQUIRETLS", ALL, SMTP_FAULT_NONE, SMTP_PARAM_REQUIRETLS},
    {"FROM:<a@b.example> SMTPUTF8=1", ALL, SMTP_FAULT_PARAMETER, 0},
    {"FROM:<\xc3\xa9@b.example>", ALL, SMTP_FAULT_NOT_ASCII, 0},
    {"FROM:<\xc3\xa9@b.example> SMTPUTF8", ALL, SMTP_FAULT_NONE, SMTP_PARAM_SMTPUTF8},
    {"FROM:<\xc3\xa9@b.example> SIZE=1 smtputf8", ALL, SMTP_FAULT_NONE, SMTP_PARAM_SMTPUTF8 | SMTP_PARAM_SIZE},
    {"FROM:<\xc3\xa9@b.example> SMTPUTF8 AUTH=<>", ALL, SMTP_FAULT_NONE, SMTP_PARAM_SMTPUTF8 | SMTP_PARAM_AUTH}, /* Postfix */
    {"FROM:<\xc3\xa9@b.example> AUTH=<>", ALL, SMTP_FAULT_NOT_ASCII, 0},
    {"FROM:<\xc3\xa9@b.example> ENVID=x+20SMTPUTF8", ALL, SMTP_FAULT_NOT_ASCII, 0},
    {"FROM:<a@b\xc3\xa9.example>", ALL, SMTP_FAULT_NOT_ASCII, 0},
    {"FROM:<\xe9@b.example> SMTPUTF8", ALL, SMTP_FAULT_ADDRESS, 0},
    {"FROM:<\xc3\xa9@b.example> SMTPUTF8", ALL & ~SMTP_PARAM_SMTPUTF8, SMTP_FAULT_UNKNOWN, 0},
    {"FROM:<\"a> SMTPUTF8\"@b.example>", ALL, SMTP_FAULT_NONE, 0},
    {"FROM:<@a.example:b@c.example>", ALL, SMTP_FAULT_NONE, 0},
    {"", ALL, SMTP_FAULT_SYNTAX, 0},
};

static void test_mail(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof mails / sizeof *mails; i++) {
        struct arena arena = ARENA_INIT(1 << 16);
        struct smtp_mail m;
        struct err e = {0};
        enum st st = smtp_mail_parse(&arena, str_of(mails[i].arg), mails[i].offered, &m, &e);
        if (m.fault != mails[i].fault || (st == ST_OK) != (m.fault == SMTP_FAULT_NONE) ||
            (st == ST_OK && m.given != mails[i].given))
            fail_msg("%s: fault %d given %x: %s", mails[i].arg, m.fault, m.given, e.text);
        arena_release(&arena);
    }
    struct arena arena = ARENA_INIT(1 << 16);
    struct smtp_mail m;
    assert_int_equal(
        smtp_mail_parse(
            &arena, STR("FROM:<E@B.example> SIZE=42 BODY=8BITMIME RET=FULL ENVID=x+2By AUTH=e+3Dmc2@x.com MT-PRIORITY=-3 BY=9;nt"),
            ALL, &m, NULL),
        ST_OK);
    assert_true(str_eq(m.from.local, STR("E")) && str_eq(m.from.domain, STR("b.example")));
    assert_int_equal(m.size, 42);
    assert_int_equal(m.body, SMTP_BODY_8BITMIME);
    assert_int_equal(m.ret, SMTP_RET_FULL);
    assert_true(str_eq(m.envid, STR("x+2By")));
    assert_true(str_eq(m.auth, STR("e=mc2@x.com")));
    assert_int_equal(m.priority, -3);
    assert_int_equal(m.by_s, 9);
    assert_int_equal(m.by_mode, 'N');
    assert_true(m.by_trace);
    arena_release(&arena);
}

static const struct {
    const char *arg;
    bool utf8;
    enum smtp_fault fault;
    unsigned notify;
} rcpts[] = {
    {"TO:<carolyn@xyz.com>", false, SMTP_FAULT_NONE, 0},
    {"to: <carolyn@xyz.com>", false, SMTP_FAULT_NONE, 0},
    {"TO:<Postmaster>", false, SMTP_FAULT_NONE, 0},
    {"TO:<carolyn>", false, SMTP_FAULT_ADDRESS, 0},
    {"TO:<>", false, SMTP_FAULT_ADDRESS, 0},
    {"TO:<carolyn@xyz.com> NOTIFY=SUCCESS,FAILURE", false, SMTP_FAULT_NONE, SMTP_NOTIFY_SUCCESS | SMTP_NOTIFY_FAILURE},
    {"TO:<carolyn@xyz.com> NOTIFY=never", false, SMTP_FAULT_NONE, SMTP_NOTIFY_NEVER},
    {"TO:<carolyn@xyz.com> NOTIFY=NEVER,DELAY", false, SMTP_FAULT_PARAMETER, 0},
    {"TO:<carolyn@xyz.com> NOTIFY=SUCCESS,", false, SMTP_FAULT_PARAMETER, 0},
    {"TO:<carolyn@xyz.com> NOTIFY=SOON", false, SMTP_FAULT_PARAMETER, 0},
    {"TO:<carolyn@xyz.com> ORCPT=rfc822;c+2Bk@xyz.com", false, SMTP_FAULT_NONE, 0},
    {"TO:<carolyn@xyz.com> ORCPT=carolyn@xyz.com", false, SMTP_FAULT_PARAMETER, 0},
    {"TO:<carolyn@xyz.com> SIZE=1", false, SMTP_FAULT_UNKNOWN, 0},
    {"TO:<carolyn@xyz.com> RRVS=2014-04-03T23:01:00Z;C", false, SMTP_FAULT_NONE, 0},
    {"TO:<\xc3\xa9@xyz.com>", false, SMTP_FAULT_NOT_ASCII, 0},
    {"TO:<\xe9@xyz.com>", false, SMTP_FAULT_ADDRESS, 0},
    {"TO:<carolyn@xyz.com> ORCPT=rfc822;c+2bk@xyz.com", false, SMTP_FAULT_PARAMETER, 0},
    {"TO:<\xc3\xa9@xyz.com>", true, SMTP_FAULT_NONE, 0},
    {"TO:<carolyn@xyz.com> ", false, SMTP_FAULT_NONE, 0},
    {"TO:<carolyn@xyz.com>x", false, SMTP_FAULT_SYNTAX, 0},
    {"<carolyn@xyz.com>", false, SMTP_FAULT_SYNTAX, 0},
};

static void test_rcpt(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof rcpts / sizeof *rcpts; i++) {
        struct arena arena = ARENA_INIT(1 << 16);
        struct smtp_rcpt r;
        struct err e = {0};
        enum st st = smtp_rcpt_parse(&arena, str_of(rcpts[i].arg), ALL, rcpts[i].utf8, &r, &e);
        if (r.fault != rcpts[i].fault || (st == ST_OK) != (r.fault == SMTP_FAULT_NONE) ||
            (st == ST_OK && r.notify != rcpts[i].notify))
            fail_msg("%s: fault %d notify %x: %s", rcpts[i].arg, r.fault, r.notify, e.text);
        arena_release(&arena);
    }
}

static void test_others(void **state)
{
    (void)state;
    struct smtp_helo h;
    assert_int_equal(smtp_helo_parse(STR("mail.example"), &h, NULL), ST_OK);
    assert_true(h.valid);
    assert_int_equal(smtp_helo_parse(STR("[192.0.2.1]"), &h, NULL), ST_OK);
    assert_true(h.valid);
    assert_int_equal(smtp_helo_parse(STR("my_laptop"), &h, NULL), ST_OK);
    assert_false(h.valid);
    assert_int_equal(smtp_helo_parse(STR(""), &h, NULL), ST_PERM);
    assert_int_equal(smtp_helo_parse(STR("a b"), &h, NULL), ST_PERM);
    assert_int_equal(smtp_helo_parse(STR("a\tb"), &h, NULL), ST_PERM);
    assert_int_equal(smtp_helo_parse(STR("j\xf6rg-pc"), &h, NULL), ST_OK);
    assert_false(h.valid);
    uint64_t size;
    bool last;
    assert_int_equal(smtp_bdat_parse(STR("1000"), &size, &last, NULL), ST_OK);
    assert_true(size == 1000 && !last);
    assert_int_equal(smtp_bdat_parse(STR("0 last"), &size, &last, NULL), ST_OK);
    assert_true(size == 0 && last);
    assert_int_equal(smtp_bdat_parse(STR("x LAST"), &size, &last, NULL), ST_PERM);
    assert_int_equal(smtp_bdat_parse(STR("10 FIRST"), &size, &last, NULL), ST_PERM);
    assert_int_equal(smtp_bdat_parse(STR(""), &size, &last, NULL), ST_PERM);
    struct str mechanism, response;
    assert_int_equal(smtp_auth_parse(STR("PLAIN AGE="), &mechanism, &response, NULL), ST_OK);
    assert_true(str_eq(mechanism, STR("PLAIN")) && str_eq(response, STR("AGE=")));
    assert_int_equal(smtp_auth_parse(STR("SCRAM-SHA-256-PLUS"), &mechanism, &response, NULL), ST_OK);
    assert_null(response.p);
    assert_int_equal(smtp_auth_parse(STR("EXTERNAL ="), &mechanism, &response, NULL), ST_OK);
    assert_true(response.p && response.n == 0);
    assert_int_equal(smtp_auth_parse(STR("PLAIN a b"), &mechanism, &response, NULL), ST_PERM);
    assert_int_equal(smtp_auth_parse(STR(""), &mechanism, &response, NULL), ST_PERM);
}

static void test_reply(void **state)
{
    (void)state;
    struct smtp_reply r;
    smtp_reply_init(&r);
    assert_int_equal(smtp_reply_line(&r, STR("550-5.1.1 The account")), SMTP_REPLY_MORE);
    assert_int_equal(smtp_reply_line(&r, STR("550 5.1.1 does not\texist")), SMTP_REPLY_DONE);
    assert_int_equal(r.code, 550);
    assert_true(r.enhanced.class == 5 && r.enhanced.subject == 1 && r.enhanced.detail == 1);
    assert_string_equal(buf_z(&r.text), "The account\ndoes not exist");
    smtp_reply_clear(&r);
    assert_int_equal(smtp_reply_line(&r, STR("250")), SMTP_REPLY_DONE);
    assert_int_equal(r.enhanced.class, 0);
    smtp_reply_clear(&r);
    assert_int_equal(smtp_reply_line(&r, STR("250 4.1.1 of another class stays text")), SMTP_REPLY_DONE);
    assert_int_equal(r.enhanced.class, 0);
    smtp_reply_clear(&r);
    assert_int_equal(smtp_reply_line(&r, STR("250-a")), SMTP_REPLY_MORE);
    assert_int_equal(smtp_reply_line(&r, STR("251 b")), SMTP_REPLY_BAD);
    static const char *const bad[] = {"", "25", "abc", "250+x", "199 x", "600 x", "2500 x"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        smtp_reply_clear(&r);
        assert_int_equal(smtp_reply_line(&r, str_of(bad[i])), SMTP_REPLY_BAD);
    }
    smtp_reply_clear(&r);
    size_t lines = 0;
    while (
        smtp_reply_line(&r, STR("250-again and again and again and again and again and again and again and again and again and")) ==
        SMTP_REPLY_MORE)
        lines++;
    assert_int_equal(lines, SMTP_REPLY_LINES_MAX);
    assert_true(r.text.n <= SMTP_REPLY_TEXT_MAX && buf_ok(&r.text));
    smtp_reply_release(&r);
}

static void test_ehlo(void **state)
{
    (void)state;
    struct smtp_ehlo h;
    smtp_ehlo_parse(
        STR("mx.example at your service\nSIZE 35882577\n8bitmime\nAUTH PLAIN login SCRAM-SHA-256\nAUTH=CRAM-MD5\nSTARTTLS\n"
            "LIMITS RCPTMAX=20 MAILMAX=5 X=1\nXUNKNOWN a b\n\nPIPELINING"),
        &h);
    assert_int_equal(h.extensions,
                     SMTP_EXT_SIZE | SMTP_EXT_8BITMIME | SMTP_EXT_AUTH | SMTP_EXT_STARTTLS | SMTP_EXT_LIMITS | SMTP_EXT_PIPELINING);
    assert_int_equal(h.size_max, 35882577);
    assert_int_equal(h.limit_rcpt, 20);
    assert_int_equal(h.limit_mail, 5);
    assert_true(smtp_ehlo_has_auth(&h, STR("LOGIN")));
    assert_true(smtp_ehlo_has_auth(&h, STR("cram-md5")));
    assert_false(smtp_ehlo_has_auth(&h, STR("SCRAM-SHA")));
    assert_false(smtp_ehlo_has_auth(&h, STR("")));
    smtp_ehlo_parse(STR("PIPELINING"), &h); /* the greeting is no keyword */
    assert_int_equal(h.extensions, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_split),  cmocka_unit_test(test_mail),  cmocka_unit_test(test_rcpt),
        cmocka_unit_test(test_others), cmocka_unit_test(test_reply), cmocka_unit_test(test_ehlo),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
