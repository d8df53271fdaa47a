/* ENVELOPE, BODY and BODYSTRUCTURE as IMAP wants them. */
#include "format/imap_render.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "base/err.h"

static void test_strings(void **state)
{
    (void)state;
    static const struct {
        struct str s;
        const char *want;
    } cases[] = {
        {{"", 0}, "\"\""},
        {{"a b", 3}, "\"a b\""},
        {{"a\"b\\", 4}, "\"a\\\"b\\\\\""},
        {{NULL, 0}, "NIL"},
        {{"caf\xe9", 4}, "{4}\r\ncaf\xe9"},
        {{"a\0b", 3}, "{3}\r\na?b"},
        {{"a\r\nb", 4}, "{4}\r\na\r\nb"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        DEFER(buf_release) struct buf out = BUF_INIT(100);
        imap_render_nstring(cases[i].s, &out);
        assert_string_equal(buf_z(&out), cases[i].want);
    }
}

static const struct {
    const char *header, *want;
} envelopes[] = {
    /* RFC 9051 7.5.2: the example's message */
    {"Date: Wed, 17 Jul 1996 02:23:25 -0700 (PDT)\r\nSubject: IMAP4rev2 WG mtg summary and minutes\r\nFrom: Terry Gray "
     "<gray@cac.washington.edu>\r\nTo: imap@cac.washington.edu\r\nCc: minutes@CNRI.Reston.VA.US, John Klensin "
     "<KLENSIN@MIT.EDU>\r\nMessage-ID: <B27397-0100000@cac.washington.ed>\r\n",
     "(\"Wed, 17 Jul 1996 02:23:25 -0700 (PDT)\" \"IMAP4rev2 WG mtg summary and minutes\" ((\"Terry Gray\" NIL \"gray\" "
     "\"cac.washington.edu\")) ((\"Terry Gray\" NIL \"gray\" \"cac.washington.edu\")) ((\"Terry Gray\" NIL \"gray\" "
     "\"cac.washington.edu\")) ((NIL NIL \"imap\" \"cac.washington.edu\")) ((NIL NIL \"minutes\" \"CNRI.Reston.VA.US\")(\"John "
     "Klensin\" "
     "NIL \"KLENSIN\" \"MIT.EDU\")) NIL NIL \"<B27397-0100000@cac.washington.ed>\")"},
    {"", "(NIL NIL NIL NIL NIL NIL NIL NIL NIL NIL)"},
    {"Subject:\r\nTo:\r\nFrom: \r\nSender:\r\n", "(NIL \"\" NIL NIL NIL NIL NIL NIL NIL NIL)"},
    {"To: A: b@c, d@e;\r\n",
     "(NIL NIL NIL NIL NIL ((NIL NIL \"A\" NIL)(NIL NIL \"b\" \"c\")(NIL NIL \"d\" \"e\")(NIL NIL NIL NIL)) NIL NIL NIL NIL)"},
    {"Bcc: x\r\nIn-Reply-To: <a@b>\r\n <c@d>\r\n", "(NIL NIL NIL NIL NIL NIL NIL ((NIL NIL \"x\" \"\")) \"<a@b> <c@d>\" NIL)"},
    {"From: a@b\r\nSender: c@d\r\nReply-To: e@f\r\n",
     "(NIL NIL ((NIL NIL \"a\" \"b\")) ((NIL NIL \"c\" \"d\")) ((NIL NIL \"e\" \"f\")) NIL NIL NIL NIL NIL)"},
    {"Subject: caf\xe9\r\nTo: <@x,@y:a@b>\r\n", "(NIL {4}\r\ncaf\xe9 NIL NIL NIL ((NIL \"@x,@y\" \"a\" \"b\")) NIL NIL NIL NIL)"},
};

static void test_envelope(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof envelopes / sizeof *envelopes; i++) {
        struct arena arena = ARENA_INIT(1 << 20);
        struct mime_tree tree;
        DEFER(buf_release) struct buf out = BUF_INIT(4096);
        assert_true(mime_parse(&arena, str_of(envelopes[i].header), &MIME_LIMITS_DEFAULT, &tree));
        imap_render_envelope(&arena, tree.root->envelope, &out);
        if (!str_eq(buf_str(&out), str_of(envelopes[i].want)))
            fail_msg(" got %s\nwant %s", buf_z(&out), envelopes[i].want);
        arena_release(&arena);
    }
}

static const struct {
    const char *message, *body, *structure;
} bodies[] = {
    {"\r\nx\r\ny\r\n", "(\"text\" \"plain\" NIL NIL NIL \"7bit\" 6 2)",
     "(\"text\" \"plain\" NIL NIL NIL \"7bit\" 6 2 NIL NIL NIL NIL)"},
    {"Content-Type: IMAGE/png; name=\"a b\"\r\nContent-ID: <i@d>\r\nContent-Description: d\r\nContent-Transfer-Encoding: BASE64\r\n"
     "Content-MD5: m\r\nContent-Disposition: inline; filename=x; size=3\r\nContent-Language: en, de\r\nContent-Location: "
     "l\r\n\r\nAAAA",
     "(\"IMAGE\" \"png\" (\"name\" \"a b\") \"<i@d>\" \"d\" \"base64\" 4)",
     "(\"IMAGE\" \"png\" (\"name\" \"a b\") \"<i@d>\" \"d\" \"base64\" 4 \"m\" (\"inline\" (\"filename\" \"x\" \"size\" \"3\")) "
     "(\"en\" \"de\") "
     "\"l\")"},
    {"Content-Type: multipart/alternative; boundary=b\r\n\r\n--b\r\n\r\nx\r\n--b\r\nContent-Type: text/html; "
     "charset=utf-8\r\n\r\ny\r\n--b--\r\n",
     "((\"text\" \"plain\" NIL NIL NIL \"7bit\" 1 0)(\"text\" \"html\" (\"charset\" \"utf-8\") NIL NIL \"7bit\" 1 0) "
     "\"alternative\")",
     "((\"text\" \"plain\" NIL NIL NIL \"7bit\" 1 0 NIL NIL NIL NIL)(\"text\" \"html\" (\"charset\" \"utf-8\") NIL NIL \"7bit\" 1 "
     "0 NIL NIL NIL "
     "NIL) \"alternative\" (\"boundary\" \"b\") NIL NIL NIL)"},
    {"Content-Type: multipart/mixed\r\n\r\n", "((\"text\" \"plain\" NIL NIL NIL \"7bit\" 0 0) \"mixed\")",
     "((\"text\" \"plain\" NIL NIL NIL \"7bit\" 0 0 NIL NIL NIL NIL) \"mixed\" NIL NIL NIL NIL)"},
    {"Content-Type: message/rfc822\r\n\r\nSubject: s\r\n\r\nx\r\n",
     "(\"message\" \"rfc822\" NIL NIL NIL \"7bit\" 17 (NIL \"s\" NIL NIL NIL NIL NIL NIL NIL NIL) (\"text\" \"plain\" NIL NIL NIL "
     "\"7bit\" 3 1) "
     "3)",
     "(\"message\" \"rfc822\" NIL NIL NIL \"7bit\" 17 (NIL \"s\" NIL NIL NIL NIL NIL NIL NIL NIL) (\"text\" \"plain\" NIL NIL NIL "
     "\"7bit\" 3 1 "
     "NIL NIL NIL NIL) 3 NIL NIL NIL NIL)"},
    {"Content-Transfer-Encoding: x-foo\r\n\r\n", "(\"text\" \"plain\" NIL NIL NIL \"x-foo\" 0 0)",
     "(\"text\" \"plain\" NIL NIL NIL \"x-foo\" 0 0 NIL NIL NIL NIL)"},
};

static void test_bodies(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof bodies / sizeof *bodies; i++) {
        struct arena arena = ARENA_INIT(1 << 20);
        struct mime_tree tree;
        DEFER(buf_release) struct buf body = BUF_INIT(4096);
        DEFER(buf_release) struct buf structure = BUF_INIT(4096);
        assert_true(mime_parse(&arena, str_of(bodies[i].message), &MIME_LIMITS_DEFAULT, &tree));
        imap_render_body(&arena, tree.root, false, &body);
        imap_render_body(&arena, tree.root, true, &structure);
        assert_string_equal(buf_z(&body), bodies[i].body);
        assert_string_equal(buf_z(&structure), bodies[i].structure);
        arena_release(&arena);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_strings), cmocka_unit_test(test_envelope),
                                       cmocka_unit_test(test_bodies)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
