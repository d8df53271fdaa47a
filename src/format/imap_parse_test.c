#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/err.h"
#include "format/imap_parse.h"

static struct arena arena = ARENA_INIT(8 << 20);

static struct imap_args args(const char *text) { return imap_args_of(str_of(text), &arena, false); }

static void assert_str(struct str got, const char *want)
{
    if (!str_eq(got, str_of(want)))
        fail_msg("got \"%.*s\", want \"%s\"", STR_FMT(got), want);
}

/* ---- tokens ---- */

static void test_astring(void **state)
{
    (void)state;
    static const struct {
        const char *text, *want; /* want NULL: refused */
    } rows[] = {
        {"abc", "abc"},
        {"a]b", "a]b"},
        {"\"\"", ""},
        {"\"a b\"", "a b"},
        {"\"a\\\"b\\\\\"", "a\"b\\"},
        {"{3}\r\na\nb", "a\nb"},
        {"{3+}\r\na b", "a b"},
        {"{0}\r\n", ""},
        {"", NULL},
        {"(", NULL},
        {"\"abc", NULL},
        {"\"abc\\", NULL},
        {"\"a\rb\"", NULL},
        {"{4}\r\nabc", NULL},
        {"{x}\r\nabc", NULL},
        {"{18446744073709551615}\r\nabc", NULL},
        {"\xc3\xa9", NULL},
        {"\"\xc3\xa9\"", "\xc3\xa9"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct imap_args a = args(rows[i].text);
        struct str got;
        bool ok = imap_parse_astring(&a, &got) && imap_parse_end(&a);
        assert_int_equal(ok, rows[i].want != NULL);
        assert_true(ok || a.wrong);
        if (rows[i].want)
            assert_str(got, rows[i].want);
    }
}

static void test_nul_is_refused(void **state)
{
    (void)state;
    struct str got;
    struct imap_args a = imap_args_of(STR("{3}\r\na\0b"), &arena, false);
    assert_false(imap_parse_string(&a, &got));
    a = imap_args_of(STR("\"a\0b\""), &arena, false);
    assert_false(imap_parse_string(&a, &got));
}

static void test_mailbox(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        bool utf8;
        const char *want;
    } rows[] = {
        {"inBox", false, "INBOX"},     {"\"iNBOX\"", true, "INBOX"},
        {"inbox/x", false, "inbox/x"}, {"&AOk-t&AOk-", false, "\xc3\xa9t\xc3\xa9"},
        {"&AOk-", true, "&AOk-"},      {"a&-b", false, "a&b"},
        {"a&b", false, NULL},          {"\"\xc3\xa9\"", false, "\xc3\xa9"},
        {"\"\xc3\"", true, NULL},      {"\"\xff\"", false, NULL},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct imap_args a = imap_args_of(str_of(rows[i].text), &arena, rows[i].utf8);
        struct str got;
        assert_int_equal(imap_parse_mailbox(&a, &got), rows[i].want != NULL);
        if (rows[i].want)
            assert_str(got, rows[i].want);
    }
}

static void test_numbers(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        bool number, nz, number64;
    } rows[] = {
        {"0", true, false, true},
        {"4294967295", true, true, true},
        {"4294967296", false, false, true},
        {"9223372036854775807", false, false, true},
        {"9223372036854775808", false, false, false},
        {"99999999999999999999999", false, false, false},
        {"", false, false, false},
        {"-1", false, false, false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        uint32_t n;
        uint64_t n64;
        struct imap_args a = args(rows[i].text), b = a, c = a;
        assert_int_equal(imap_parse_number(&a, &n), rows[i].number);
        assert_int_equal(imap_parse_nz_number(&b, &n), rows[i].nz);
        assert_int_equal(imap_parse_number64(&c, &n64), rows[i].number64);
    }
}

static void test_sets(void **state)
{
    (void)state;
    static const struct {
        const char *text, *want; /* first-last,... with 0 for '*' */
    } rows[] = {
        {"1", "1-1"},   {"1:4,7", "1-4,7-7"}, {"4:2", "2-4"}, {"5:*", "5-0"},
        {"*:5", "0-5"}, {"*", "0-0"},         {"*:*", "0-0"}, {"4294967295", "4294967295-4294967295"},
        {"0", NULL},    {"1,", NULL},         {",1", NULL},   {"1:2:3", NULL},
        {"1:", NULL},   {":", NULL},          {"", NULL},     {"4294967296", NULL},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct imap_args a = args(rows[i].text);
        struct imap_set set;
        bool ok = imap_parse_set(&a, &set) && imap_parse_end(&a);
        assert_int_equal(ok, rows[i].want != NULL);
        struct buf got = BUF_INIT(200);
        for (size_t k = 0; ok && k < set.count; k++)
            buf_printf(&got, "%s%u-%u", k ? "," : "", set.ranges[k].first, set.ranges[k].last);
        if (ok)
            assert_str(buf_str(&got), rows[i].want);
        buf_release(&got);
    }
    struct imap_args a = args("$");
    struct imap_set set;
    assert_true(imap_parse_set(&a, &set) && set.saved && set.count == 0);
    a = args("1:*");
    assert_false(imap_parse_known_set(&a, &set));
}

static void test_flags(void **state)
{
    (void)state;
    struct imap_flags f;
    struct imap_args a = args("(\\Seen \\deleted $Junk $junk Foo)");
    assert_true(imap_parse_flag_list(&a, &f));
    assert_int_equal(f.flags, IMAP_FLAG_SEEN | IMAP_FLAG_DELETED);
    assert_int_equal(f.count, 2);
    assert_str(f.keywords[0], "$Junk");
    assert_str(f.keywords[1], "Foo");
    a = args("()");
    assert_true(imap_parse_flag_list(&a, &f) && f.flags == 0 && f.count == 0);
    static const char *const bad[] = {"(\\Recent)", "(\\)", "(\\Foo)", "(a", "(a )", "a b", "", "(\"a\")"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        a = args(bad[i]);
        assert_false(imap_parse_flag_list(&a, &f));
    }
}

static void test_dates(void **state)
{
    (void)state;
    int32_t day;
    struct date d;
    struct imap_args a = args("1-Feb-1994");
    assert_true(imap_parse_date(&a, &day));
    assert_int_equal(day, 8797);
    a = args("\"01-feb-1994\"");
    assert_true(imap_parse_date(&a, &day) && day == 8797);
    a = args("31-Feb-1994");
    assert_false(imap_parse_date(&a, &day));
    a = args("\"17-Jul-1996 02:44:25 -0700\"");
    assert_true(imap_parse_date_time(&a, &d));
    assert_true(d.epoch_s == 837596665 && d.zone_min == -420);
    a = args("17-Jul-1996");
    assert_false(imap_parse_date_time(&a, &d));
}

/* ---- commands ---- */

static void test_select(void **state)
{
    (void)state;
    struct imap_select s;
    struct imap_args a = args("inbox (QRESYNC (67890007 90060115194045000 41:211,214 (1,5 41,60)) CONDSTORE)");
    assert_true(imap_parse_select(&a, &s));
    assert_str(s.mailbox, "INBOX");
    assert_true(s.qresync && s.condstore && s.uidvalidity == 67890007 && s.modseq == 90060115194045000);
    assert_true(s.has_known && s.known_uids.count == 2 && s.has_match && s.match_uids.count == 2);
    a = args("x (QRESYNC (1 2 (1,5 41,60)))");
    assert_true(imap_parse_select(&a, &s) && !s.has_known && s.has_match);
    static const char *const bad[] = {
        "",        "x (",         "x (QRESYNC)",    "x (QRESYNC (1))", "x (QRESYNC (0 5))", "x (QRESYNC (1 2 1:*))",
        "x (FOO)", "x CONDSTORE", "x (CONDSTORE) y"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        a = args(bad[i]);
        assert_false(imap_parse_select(&a, &s));
    }
}

static void test_list(void **state)
{
    (void)state;
    struct imap_list l;
    struct imap_args a = args("\"\" *");
    assert_true(imap_parse_list(&a, &l) && !l.extended && l.pattern_count == 1);
    assert_str(l.patterns[0], "*");
    a = args("(SUBSCRIBED RECURSIVEMATCH) \"\" (INBOX \"Sent*\") RETURN (CHILDREN STATUS (MESSAGES UNSEEN))");
    assert_true(imap_parse_list(&a, &l) && l.extended && l.pattern_count == 2);
    assert_int_equal(l.select, IMAP_LIST_SUBSCRIBED | IMAP_LIST_RECURSIVEMATCH);
    assert_int_equal(l.returns, IMAP_LIST_RETURN_CHILDREN | IMAP_LIST_RETURN_STATUS);
    assert_int_equal(l.status, IMAP_STATUS_MESSAGES | IMAP_STATUS_UNSEEN);
    a = args("() \"\" % RETURN ()");
    assert_true(imap_parse_list(&a, &l));
    static const char *const bad[] = {"(RECURSIVEMATCH) \"\" *", "(FOO) \"\" *",    "\"\"",   "\"\" (a b",
                                      "\"\" * RETURN (FOO)",     "\"\" * CHILDREN", "\"\" ()"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        a = args(bad[i]);
        assert_false(imap_parse_list(&a, &l));
    }
}

static void test_patterns(void **state)
{
    (void)state;
    static const struct {
        const char *pattern, *name;
        bool want, below;
    } rows[] = {
        {"*", "a/b/c", true, true},      {"%", "a", true, false},
        {"%", "a/b", false, false},      {"%/%", "a/b", true, false},
        {"%/%", "a", false, true},       {"a*c", "a/b/c", true, true},
        {"a%c", "abc", true, false},     {"a%c", "a/c", false, false},
        {"", "", true, false},           {"", "a", false, false},
        {"INBOX", "INBOX", true, false}, {"a/b", "a", false, true},
        {"a/*", "a", false, true},       {"foo%", "foobar", true, false},
        {"foo%", "foo", true, false},    {"*a*a*a*a*a*a*a*a*b", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", false, true},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        assert_int_equal(imap_pattern_match(str_of(rows[i].pattern), str_of(rows[i].name), '/'), rows[i].want);
        if (rows[i].below != imap_pattern_match_below(str_of(rows[i].pattern), str_of(rows[i].name), '/'))
            fail_msg("below: %s %s", rows[i].pattern, rows[i].name);
    }
}

static void test_fetch(void **state)
{
    (void)state;
    static const struct {
        const char *text, *labels; /* NULL: refused */
        bool seen;
    } rows[] = {
        {"1 FLAGS", "FLAGS", false},
        {"1 (UID FLAGS UID)", "UID FLAGS", false},
        {"1 FAST", "FLAGS INTERNALDATE RFC822.SIZE", false},
        {"1 all", "FLAGS INTERNALDATE RFC822.SIZE ENVELOPE", false},
        {"1 FULL", "FLAGS INTERNALDATE RFC822.SIZE ENVELOPE BODY", false},
        {"1 BODY[]", "BODY[]", true},
        {"1 body.peek[text]<5.100>", "BODY[TEXT]<5>", false},
        {"1 BODY[1.2.header.fields (from \"to\")]", "BODY[1.2.HEADER.FIELDS (from to)]", true},
        {"1 BODY[HEADER.FIELDS.NOT (X)]", "BODY[HEADER.FIELDS.NOT (X)]", true},
        {"1 BODY[3.MIME]", "BODY[3.MIME]", true},
        {"1 (BODY BODYSTRUCTURE)", "BODY BODYSTRUCTURE", false},
        {"1 (BODY[1] BODY.PEEK[2])", "BODY[1] BODY[2]", true},
        {"1 RFC822", "RFC822", true},
        {"1 RFC822.HEADER", "RFC822.HEADER", false},
        {"1 RFC822.TEXT", "RFC822.TEXT", true},
        {"1 RFC822.SIZE", "RFC822.SIZE", false},
        {"1 BINARY[1]", "BINARY[1]", true},
        {"1 BINARY.PEEK[]<0.7>", "BINARY[]<0>", false},
        {"1 BINARY.SIZE[1.2]", "BINARY.SIZE[1.2]", false},
        {"1 (PREVIEW (LAZY) UID)", "PREVIEW UID", false},
        {"1:* (FLAGS) (CHANGEDSINCE 12345 VANISHED)", "FLAGS", false},
        {"1 (FLAGS", NULL, false},
        {"1 ()", NULL, false},
        {"1 FOO", NULL, false},
        {"1 BODY[MIME]", NULL, false},
        {"1 BODY[1.]", NULL, false},
        {"1 BODY[0]", NULL, false},
        {"1 BODY[1", NULL, false},
        {"1 BODY[HEADER.FIELDS ()]", NULL, false},
        {"1 BODY[HEADER.FIELDS (\"a b\")]", NULL, false},
        {"1 BODY[]<0.0>", NULL, false},
        {"1 BODY.PEEK", NULL, false},
        {"1 BINARY[HEADER]", NULL, false},
        {"1 FLAGS (VANISHED)", NULL, false},
        {"1 FLAGS (FOO)", NULL, false},
        {"1", NULL, false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct imap_args a = args(rows[i].text);
        struct imap_fetch f;
        bool ok = imap_parse_fetch(&a, &f);
        if (ok != (rows[i].labels != NULL))
            fail_msg("%s: %s", rows[i].text, a.wrong ? a.wrong : "taken");
        struct buf got = BUF_INIT(1000);
        for (size_t k = 0; ok && k < f.count; k++) {
            buf_add_z(&got, k ? " " : "");
            buf_add(&got, f.items[k].label);
        }
        if (ok) {
            assert_str(buf_str(&got), rows[i].labels);
            assert_int_equal(f.sets_seen, rows[i].seen);
        }
        buf_release(&got);
    }
}

static void test_fetch_section(void **state)
{
    (void)state;
    struct imap_fetch f;
    struct imap_args a = args("2:3 BODY.PEEK[4.1.TEXT]<10.20> (CHANGEDSINCE 7)");
    assert_true(imap_parse_fetch(&a, &f));
    const struct imap_fetch_item *it = &f.items[0];
    assert_true(it->kind == IMAP_FETCH_SECTION && it->section.text == IMAP_SECTION_TEXT && it->section.part_count == 2);
    assert_true(it->section.part[0] == 4 && it->section.part[1] == 1);
    assert_true(it->partial && it->offset == 10 && it->length == 20);
    assert_true(f.has_changed_since && f.changed_since == 7 && !f.vanished);
}

static void test_store(void **state)
{
    (void)state;
    struct imap_store s;
    struct imap_args a = args("1:3 (UNCHANGEDSINCE 12) +FLAGS.SILENT (\\Deleted $x)");
    assert_true(imap_parse_store(&a, &s));
    assert_true(s.mode == IMAP_STORE_ADD && s.silent && s.has_unchanged_since && s.unchanged_since == 12);
    assert_true(s.flags.flags == IMAP_FLAG_DELETED && s.flags.count == 1);
    a = args("1 -flags \\Seen \\Draft");
    assert_true(imap_parse_store(&a, &s) && s.mode == IMAP_STORE_REMOVE && !s.silent);
    assert_int_equal(s.flags.flags, IMAP_FLAG_SEEN | IMAP_FLAG_DRAFT);
    a = args("1 FLAGS ()");
    assert_true(imap_parse_store(&a, &s) && s.mode == IMAP_STORE_SET && s.flags.flags == 0);
    static const char *const bad[] = {"1", "1 FLAGS", "1 FLAG (\\Seen)", "1 (FOO 1) FLAGS ()", "1 FLAGS (\\Seen) x", "1 *FLAGS ()"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        a = args(bad[i]);
        assert_false(imap_parse_store(&a, &s));
    }
}

/* The program as a term, so that trees can be compared. */
static void print_key(const struct imap_search_key *k, struct buf *out)
{
    static const char *const names[] = {
        [IMAP_SEARCH_AND] = "and",         [IMAP_SEARCH_OR] = "or",         [IMAP_SEARCH_NOT] = "not",
        [IMAP_SEARCH_ALL] = "all",         [IMAP_SEARCH_FLAG] = "flag",     [IMAP_SEARCH_KEYWORD] = "keyword",
        [IMAP_SEARCH_RECENT] = "recent",   [IMAP_SEARCH_SEQUENCE] = "seq",  [IMAP_SEARCH_UID] = "uid",
        [IMAP_SEARCH_BEFORE] = "before",   [IMAP_SEARCH_LARGER] = "larger", [IMAP_SEARCH_MODSEQ] = "modseq",
        [IMAP_SEARCH_HEADER] = "header",   [IMAP_SEARCH_BODY] = "body",     [IMAP_SEARCH_TEXT] = "text",
        [IMAP_SEARCH_YOUNGER] = "younger",
    };
    buf_add_z(out, names[k->kind]);
    if (k->flag)
        buf_printf(out, "=%u", k->flag);
    if (k->number)
        buf_printf(out, "=%llu", (unsigned long long)k->number);
    if (k->name.n)
        buf_printf(out, " %.*s", STR_FMT(k->name));
    if (k->text.n)
        buf_printf(out, "~%.*s", STR_FMT(k->text));
    if (!k->child)
        return;
    buf_add_c(out, '(');
    for (const struct imap_search_key *c = k->child; c; c = c->next) {
        print_key(c, out);
        buf_add_z(out, c->next ? ", " : ")");
    }
}

static void test_search(void **state)
{
    (void)state;
    static const struct {
        const char *text, *want;
    } rows[] = {
        {"ALL", "and(all)"},
        {"SEEN UNDELETED", "and(flag=1, not(flag=8))"},
        {"NOT (SEEN 1:5)", "and(not(and(flag=1, seq)))"},
        {"OR SEEN OR FLAGGED DRAFT", "and(or(flag=1, or(flag=4, flag=16)))"},
        {"FROM \"x y\" HEADER X-Foo \"\"", "and(header From~x y, header X-Foo)"},
        {"CHARSET UTF-8 TEXT {2}\r\n\xc3\xa9", "and(text~\xc3\xa9)"},
        {"RETURN (MIN COUNT) UID 5:*", "and(uid)"},
        {"RETURN () $", "and(seq)"},
        {"MODSEQ \"/flags/\\\\draft\" all 620162338", "and(modseq=620162338)"},
        {"MODSEQ 5 LARGER 10", "and(modseq=5, larger=10)"},
        {"NEW", "and(and(recent, not(flag=1)))"},
        {"OLD", "and(not(recent))"},
        {"KEYWORD $Junk UNKEYWORD b", "and(keyword~$Junk, not(keyword~b))"},
        {"YOUNGER 3600 BEFORE 1-Feb-1994", "and(younger=3600, before)"},
        {"RETURN (PARTIAL -1:-100) ALL", "and(all)"},
        {"", NULL},
        {"FOO", NULL},
        {"(ALL", NULL},
        {"ALL ", NULL},
        {"OR ALL", NULL},
        {"NOT", NULL},
        {"BEFORE x", NULL},
        {"RETURN (ALL PARTIAL 1:2) ALL", NULL},
        {"RETURN (FOO) ALL", NULL},
        {"RETURN (MIN MAX)", NULL},
        {"YOUNGER 0", NULL},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct imap_args a = args(rows[i].text);
        struct imap_search s;
        bool ok = imap_parse_search(&a, &s);
        if (ok != (rows[i].want != NULL))
            fail_msg("%s: %s", rows[i].text, a.wrong ? a.wrong : "taken");
        struct buf got = BUF_INIT(1000);
        if (ok) {
            print_key(s.program, &got);
            assert_str(buf_str(&got), rows[i].want);
        }
        buf_release(&got);
    }
}

static void test_search_facts(void **state)
{
    (void)state;
    struct imap_search s;
    struct imap_args a = args("RETURN (SAVE COUNT) CHARSET us-ascii 1:5 MODSEQ 7");
    assert_true(imap_parse_search(&a, &s));
    assert_true(s.extended && s.returns == (IMAP_RETURN_SAVE | IMAP_RETURN_COUNT) && s.uses_modseq && s.uses_sequence);
    assert_str(s.charset, "us-ascii");
    a = args("UID 1:5");
    assert_true(imap_parse_search(&a, &s) && !s.extended && !s.uses_sequence && !s.uses_modseq);
}

static void test_search_limits(void **state)
{
    (void)state;
    struct buf text = BUF_INIT(1 << 20);
    struct imap_search s;
    for (int i = 0; i < 10000; i++)
        buf_add_z(&text, "NOT ");
    buf_add_z(&text, "ALL");
    struct imap_args a = imap_args_of(buf_str(&text), &arena, false);
    assert_false(imap_parse_search(&a, &s));
    buf_clear(&text);
    for (int i = 0; i < 10000; i++)
        buf_add_z(&text, "ALL ");
    buf_add_z(&text, "ALL");
    a = imap_args_of(buf_str(&text), &arena, false);
    assert_false(imap_parse_search(&a, &s));
    buf_release(&text);
}

static void test_skip(void **state)
{
    (void)state;
    struct imap_args a = args("(a (b \"c d\") {1}\r\nx 1:4) rest");
    struct str s = STR_NONE;
    assert_true(imap_parse_skip(&a) && imap_parse_space(&a) && imap_parse_atom(&a, &s));
    assert_str(s, "rest");
    char deep[200];
    memset(deep, '(', sizeof deep - 1);
    deep[sizeof deep - 1] = '\0';
    a = args(deep);
    assert_false(imap_parse_skip(&a));
}

static int release(void **state)
{
    (void)state;
    arena_release(&arena);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_astring),       cmocka_unit_test(test_nul_is_refused), cmocka_unit_test(test_mailbox),
        cmocka_unit_test(test_numbers),       cmocka_unit_test(test_sets),           cmocka_unit_test(test_flags),
        cmocka_unit_test(test_dates),         cmocka_unit_test(test_select),         cmocka_unit_test(test_list),
        cmocka_unit_test(test_patterns),      cmocka_unit_test(test_fetch),          cmocka_unit_test(test_fetch_section),
        cmocka_unit_test(test_store),         cmocka_unit_test(test_search),         cmocka_unit_test(test_search_facts),
        cmocka_unit_test(test_search_limits), cmocka_unit_test(test_skip),
    };
    return cmocka_run_group_tests(tests, NULL, release);
}
