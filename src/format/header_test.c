/* Header fields, unfolding, encoded-words, parameters, tokens. */
#include "format/header.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "base/err.h"

static void test_length(void **state)
{
    (void)state;
    const struct {
        const char *message;
        size_t want;
    } cases[] = {
        {"A: b\r\n\r\nbody", 8},
        {"A: b\n\nbody", 6},
        {"A: b\r\n\nbody", 7},
        {"A: b\n\r\nbody", 7},
        {"\r\nbody", 2},
        {"\nbody", 1},
        {"A: b\r\n", 6},
        {"A: b", 4},
        {"", 0},
        {"A: b\r\n \r\nC: d\r\n\r\n", 17},
        {"\r\r\n\r\n", 5},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_int_equal(header_length(str_of(cases[i].message)), cases[i].want);
}

static void test_fields(void **state)
{
    (void)state;
    struct str header = STR("From mbox line\r\n"
                            "Subject: a\r\n b\r\n"
                            "X-Empty:\r\n"
                            "Odd name : x\r\n"
                            "Spaced  : y\n"
                            "no colon here\r\n"
                            "To: z\r\n \r\n\tw\r\n"
                            "\r\nBody: no\r\n");
    static const struct {
        const char *name, *value;
    } want[] = {
        {"", "From mbox line"}, {"Subject", " a\r\n b"}, {"X-Empty", ""},          {"", "Odd name : x"},
        {"Spaced", " y"},       {"", "no colon here"},   {"To", " z\r\n \r\n\tw"},
    };
    struct header_iter it;
    struct header_field f;
    size_t n = 0, offset = 0;
    for (header_first(&it, header); header_next(&it, &f); n++) {
        assert_true(n < sizeof want / sizeof *want);
        assert_true(str_eq(f.name, str_of(want[n].name)));
        assert_true(str_eq(f.value, str_of(want[n].value)));
        assert_int_equal(f.offset, offset);
        offset += f.raw.n;
    }
    assert_int_equal(n, sizeof want / sizeof *want);
    assert_true(header_find(header, STR("TO"), &f));
    assert_false(header_find(header, STR("Body"), &f));
    assert_int_equal(header_count(STR("A: 1\r\na: 2\r\nB: 3\r\nA: 4\r\n\r\nA: 5"), STR("A"), 100), 3);
    assert_int_equal(header_count(STR("A: 1\r\na: 2\r\nB: 3\r\nA: 4\r\n\r\nA: 5"), STR("A"), 2), 2);
}

static void test_unfold(void **state)
{
    (void)state;
    const struct {
        const char *value, *want;
    } cases[] = {{" a b ", "a b"}, {" a\r\n b\n\tc", "a b\tc"}, {"", ""}, {"\r\n \r\n", ""}, {"a\rb", "a\rb"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct arena arena = ARENA_INIT(4096);
        DEFER(buf_release) struct buf out = BUF_INIT(100);
        header_unfold(str_of(cases[i].value), &out);
        assert_true(str_eq(buf_str(&out), str_of(cases[i].want)));
        assert_true(str_eq(header_unfolded(&arena, str_of(cases[i].value)), str_of(cases[i].want)));
        arena_release(&arena);
    }
}

static const struct {
    const char *value, *want;
} texts[] = {
    {" Hello ", "Hello"},
    {"=?utf-8?Q?Gr=C3=BC=C3=9Fe?=", "Gr\xc3\xbc\xc3\x9f"
                                    "e"},
    {"=?ISO-8859-1?Q?a?= b", "a b"}, /* RFC 2047 8 */
    {"=?ISO-8859-1?Q?a?= =?ISO-8859-1?Q?b?=", "ab"},
    {"=?ISO-8859-1?Q?a?=  =?ISO-8859-1?Q?b?=", "ab"},
    {"=?ISO-8859-1?Q?a?=\r\n    =?ISO-8859-1?Q?b?=", "ab"},
    {"=?ISO-8859-1?Q?a_b?=", "a b"},
    {"=?ISO-8859-1?Q?a?= =?ISO-8859-2?Q?_b?=", "a b"},
    {"(=?ISO-8859-1?Q?a?=)", "(a)"},
    {"=?iso-8859-1?q?Andr=E9?= Pirard", "Andr\xc3\xa9 Pirard"},
    {"=?ISO-8859-1?B?SWYgeW91IGNhbiByZWFkIHRoaXMgeW8=?=\r\n =?ISO-8859-2?B?dSB1bmRlcnN0YW5kIHRoZSBleGFtcGxlLg==?=",
     "If you can read this you understand the example."},
    {"=?UTF-8?B?4oKs4oI=?= =?UTF-8?B?rA==?=", "\xe2\x82\xac\xe2\x82\xac"}, /* a character cut in two */
    {"=?iso-2022-jp?B?GyRCRnxLXDhsGyhC?=", "\xe6\x97\xa5\xe6\x9c\xac\xe8\xaa\x9e"},
    {"=?koi8-r?B?8NLJ18XU?=", "\xd0\x9f\xd1\x80\xd0\xb8\xd0\xb2\xd0\xb5\xd1\x82"},
    {"=?gb2312?B?xOO6ww==?=", "\xe4\xbd\xa0\xe5\xa5\xbd"},
    {"=?windows-1252?Q?=80?=", "\xe2\x82\xac"},
    {"=?us-ascii*en-us?Q?hello?=", "hello"},
    {"=?utf-8?Q?=41=42", "=?utf-8?Q?=41=42"},
    {"=?utf-8?X?abc?=", "=?utf-8?X?abc?="},
    {"=?x-nonsense?Q?abc=E9?=", "abc\xc3\xa9"},
    {"=?utf-8?Q?"
     "?= x",
     " x"},
    {"a =? b ?= c", "a =? b ?= c"},
    {"caf\xe9", "caf\xc3\xa9"},
    {"caf\xc3\xa9", "caf\xc3\xa9"},
    {"=?utf-8?Q?a=0D=0Ab=00?=", "a  b "},
    {"=?utf-8?Q?=FF?=", "\xef\xbf\xbd"},
    {"=?utf-8?Q?=41?=", "A"},
};

static void test_decode(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        DEFER(buf_release) struct buf out = BUF_INIT(4096);
        header_decode(str_of(texts[i].value), &out);
        if (!str_eq(buf_str(&out), str_of(texts[i].want)))
            fail_msg("%s: got \"%s\" want \"%s\"", texts[i].value, buf_z(&out), texts[i].want);
        assert_true(str_is_utf8(buf_str(&out)));
    }
}

static void test_encode(void **state)
{
    (void)state;
    static const char *const cases[] = {
        "plain",
        "Gr\xc3\xbc\xc3\x9f"
        "e aus K\xc3\xb6ln",
        "\xe6\x97\xa5\xe6\x9c\xac\xe8\xaa\x9e\xe6\x97\xa5\xe6\x9c\xac\xe8\xaa\x9e\xe6\x97\xa5\xe6\x9c\xac\xe8\xaa\x9e\xe6\x97\xa5"
        "\xe6\x9c\xac\xe8\xaa\x9e"
        "\xe6\x97\xa5\xe6\x9c\xac\xe8\xaa\x9e\xe6\x97\xa5\xe6\x9c\xac\xe8\xaa\x9e\xe6\x97\xa5\xe6\x9c\xac\xe8\xaa\x9e\xe6\x97\xa5"
        "\xe6\x9c\xac\xe8\xaa\x9e",
        "looks like =?utf-8?Q?a?= a word",
        "a very long subject that goes on and on, beyond the seventy-eight columns that RFC 5322 asks for, and then a bit more of "
        "it still",
        "a very long subject with one \xc3\xa9 in it that goes on and on, beyond the seventy-eight columns that RFC 5322 asks for, "
        "and more",
        "",
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        DEFER(buf_release) struct buf coded = BUF_INIT(8192);
        DEFER(buf_release) struct buf back = BUF_INIT(8192);
        header_encode(str_of(cases[i]), 9, &coded);
        assert_true(str_is_ascii(buf_str(&coded)));
        struct str rest = buf_str(&coded), line;
        for (size_t column = 9; str_split(&rest, '\n', &line); column = 0)
            if (line.n + column > 79)
                fail_msg("line too long: %.*s", STR_FMT(line));
        header_decode(buf_str(&coded), &back);
        if (!str_eq(buf_str(&back), str_of(cases[i])))
            fail_msg("%s\n%s\n%s", cases[i], buf_z(&coded), buf_z(&back));
    }
}

static void test_tokens(void **state)
{
    (void)state;
    struct rd r = rd_of(STR(" a.b (c (d) \\) e)\r\n \"q\\\"r\" <[1.2.3.4]> ("));
    struct str comment = STR_NONE;
    static const struct {
        enum header_token_kind kind;
        const char *text;
    } want[] = {
        {HEADER_ATOM, "a"},    {HEADER_SPECIAL, "."},         {HEADER_ATOM, "b"},    {HEADER_QUOTED, "q\\\"r"},
        {HEADER_SPECIAL, "<"}, {HEADER_LITERAL, "[1.2.3.4]"}, {HEADER_SPECIAL, ">"}, {HEADER_END, ""},
    };
    for (size_t i = 0; i < sizeof want / sizeof *want; i++) {
        struct header_token t = header_token_next(&r, HEADER_SPECIALS_5322, &comment);
        assert_int_equal(t.kind, want[i].kind);
        assert_true(str_eq(t.text, str_of(want[i].text)));
        if (i == 3)
            assert_true(str_eq(comment, STR("c (d) \\) e")));
    }
}

static const struct {
    const char *value, *type, *subtype;
    const char *params; /* name=value|... as written */
} contents[] = {
    {"text/plain; charset=utf-8", "text", "plain", "charset=utf-8|"},
    {" Text/HTML ; Charset = \"iso-8859-1\" ; format=flowed", "Text", "HTML", "Charset=iso-8859-1|format=flowed|"},
    {"multipart/mixed;\r\n\tboundary=\"a; b\\\"c\"", "multipart", "mixed", "boundary=a; b\"c|"},
    {"text/plain; charset=us-ascii (Plain text)", "text", "plain", "charset=us-ascii|"}, /* RFC 2045 5.1 */
    {"text/plain;", "text", "plain", ""},
    {"text/plain;;;x=1", "text", "plain", "x=1|"},
    {"text/plain charset=utf-8", "text", "plain", "charset=utf-8|"},
    {"image/png; name=holiday photo.png", "image", "png", "name=holiday photo.png|"},
    {"text", "text", "", ""},
    {"text/", "text", "", ""},
    {"text/plain; junk; charset=x", "text", "plain", "charset=x|"},
    {"text/plain; charset=", "text", "plain", "charset=|"},
    {"attachment; filename*0=\"a\"; filename*1*=%20b", "attachment", "", "filename*0=a|filename*1*=%20b|"},
    {"; charset=utf-8", NULL, NULL, NULL},
    {"", NULL, NULL, NULL},
    {"\"text\"/plain", NULL, NULL, NULL},
};

static void test_content(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof contents / sizeof *contents; i++) {
        struct arena arena = ARENA_INIT(1 << 16);
        struct header_content c;
        DEFER(buf_release) struct buf got = BUF_INIT(4096);
        bool ok = header_content_parse(&arena, str_of(contents[i].value), 100, &c);
        assert_int_equal(ok, contents[i].type != NULL);
        for (const struct header_param *p = c.params; ok && p; p = p->next) {
            buf_add(&got, p->name);
            buf_add_c(&got, '=');
            buf_add(&got, p->value);
            buf_add_c(&got, '|');
        }
        if (ok) {
            assert_true(str_eq(c.type, str_of(contents[i].type)));
            assert_true(str_eq(c.subtype, str_of(contents[i].subtype)));
            assert_string_equal(buf_z(&got), contents[i].params);
        }
        arena_release(&arena);
    }
    struct arena arena = ARENA_INIT(1 << 16);
    struct header_content c;
    assert_true(header_content_parse(&arena, STR("a/b; a=1; b=2; c=3"), 2, &c));
    assert_int_equal(c.param_count, 2);
    arena_release(&arena);
}

static const struct {
    const char *value, *name, *want;
} params[] = {
    {"x/y; title*=us-ascii'en-us'This%20is%20%2A%2A%2Afun%2A%2A%2A", "title", "This is ***fun***"}, /* RFC 2231 4 */
    {"x/y; title*0*=us-ascii'en'This%20is%20even%20more%20; title*1*=%2A%2A%2Afun%2A%2A%2A%20; title*2=\"isn't it!\"", "title",
     "This is even more ***fun*** isn't it!"},
    {"x/y; URL*0=\"ftp://\"; URL*1=\"cs.utk.edu/pub\"", "url", "ftp://cs.utk.edu/pub"},
    {"x/y; url*1=b; url*0=a", "url", "ab"},
    {"x/y; url*0=a; url*2=c", "url", "a"},
    {"x/y; filename*=utf-8''na%C3%AFve.txt; filename=naive.txt", "filename", "na\xc3\xafve.txt"},
    {"x/y; filename*=iso-8859-1''na%EFve.txt", "filename", "na\xc3\xafve.txt"},
    {"x/y; filename=\"=?utf-8?Q?na=C3=AFve.txt?=\"", "filename", "na\xc3\xafve.txt"},
    {"x/y; filename=\"na\xef"
     "ve.txt\"",
     "filename", "na\xc3\xafve.txt"},
    {"x/y; filename=a", "name", NULL},
    {"x/y; filename*=%41", "filename", "A"},
    {"x/y; filenames=a; filename*x=b", "filename", NULL},
};

static void test_params(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof params / sizeof *params; i++) {
        struct arena arena = ARENA_INIT(1 << 16);
        struct header_content c;
        assert_true(header_content_parse(&arena, str_of(params[i].value), 100, &c));
        struct str got = header_param_find(&arena, c.params, str_of(params[i].name));
        assert_int_equal(got.p != NULL, params[i].want != NULL);
        if (got.p && !str_eq(got, str_of(params[i].want)))
            fail_msg("%s: got %.*s", params[i].value, STR_FMT(got));
        arena_release(&arena);
    }
}

static void test_param_print(void **state)
{
    (void)state;
    static const char *const values[] = {
        "a.txt",
        "with space.txt",
        "quote\"back\\slash",
        "na\xc3\xafve.txt",
        "",
        "\xe6\x97\xa5\xe6\x9c\xac\xe8\xaa\x9e\xe6\x97\xa5\xe6\x9c\xac\xe8\xaa\x9e\xe6\x97\xa5\xe6\x9c\xac\xe8\xaa\x9e.txt",
        "a name that is very long indeed, longer than a line of a header should be, so that it has to be cut into pieces.txt",
    };
    for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
        struct arena arena = ARENA_INIT(1 << 16);
        struct header_content c;
        DEFER(buf_release) struct buf out = BUF_INIT(4096);
        buf_add_z(&out, "attachment");
        header_param_print(STR("filename"), str_of(values[i]), &out);
        struct str rest = buf_str(&out), line;
        while (str_split(&rest, '\n', &line))
            assert_true(line.n <= 100);
        assert_true(header_content_parse(&arena, buf_str(&out), 100, &c));
        struct str got = header_param_find(&arena, c.params, STR("filename"));
        if (!str_eq(got, str_of(values[i])))
            fail_msg("%s: %s: %.*s", values[i], buf_z(&out), STR_FMT(got));
        arena_release(&arena);
    }
}

static void test_msg_ids(void **state)
{
    (void)state;
    const struct {
        const char *value, *want;
    } cases[] = {
        {" <a@b>\r\n <c@d> ", "a@b|c@d|"},
        {"<a@b><c@d>", "a@b|c@d|"},
        {"Your message of <a@b> (x)", "a@b|"},
        {"<junk <a@b>", "a@b|"},
        {"a@b", ""},
        {"<>", ""},
        {"< a@b >", "a@b|"},
        {"<a@b", ""},
        {"<\"q q\"@b>", "\"q q\"@b|"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        DEFER(buf_release) struct buf got = BUF_INIT(200);
        struct str rest = str_of(cases[i].value), id;
        while (header_msg_id_next(&rest, &id)) {
            buf_add(&got, id);
            buf_add_c(&got, '|');
        }
        assert_true(str_eq(buf_str(&got), str_of(cases[i].want)));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_length),  cmocka_unit_test(test_fields), cmocka_unit_test(test_unfold),
        cmocka_unit_test(test_decode),  cmocka_unit_test(test_encode), cmocka_unit_test(test_tokens),
        cmocka_unit_test(test_content), cmocka_unit_test(test_params), cmocka_unit_test(test_param_print),
        cmocka_unit_test(test_msg_ids),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
