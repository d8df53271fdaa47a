/* Envelope addresses and header address lists. */
#include "format/address.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "format/header.h"

struct path_case {
    const char *text;
    unsigned flags;
    const char *local, *domain; /* NULL: refused */
    const char *printed;        /* NULL: as text */
};

static const struct path_case paths[] = {
    {"<carolyn@xyz.com>", 0, "carolyn", "xyz.com", NULL},
    {"<Carolyn@XYZ.Com>", 0, "Carolyn", "xyz.com", "<Carolyn@xyz.com>"},
    {"<>", ADDRESS_NULL, "", "", NULL},
    {"<>", 0, NULL, NULL, NULL},
    {"carolyn@xyz.com", 0, NULL, NULL, NULL},
    {"<carolyn@xyz.com> ", 0, NULL, NULL, NULL},
    {"<@a.example,@b.example:carolyn@xyz.com>", 0, "carolyn", "xyz.com", "<carolyn@xyz.com>"},
    {"<@a.example,carolyn@xyz.com>", 0, NULL, NULL, NULL},
    {"<\"carolyn k\"@xyz.com>", 0, "carolyn k", "xyz.com", NULL},
    {"<\"carolyn\"@xyz.com>", 0, "carolyn", "xyz.com", "<carolyn@xyz.com>"},
    {"<\"a\\\"b\\\\c\"@xyz.com>", 0, "a\"b\\c", "xyz.com", NULL},
    {"<\"a@b>c\"@xyz.com>", 0, "a@b>c", "xyz.com", NULL},
    {"<\"\"@xyz.com>", 0, "", "xyz.com", NULL},
    {"<\"a@xyz.com>", 0, NULL, NULL, NULL},
    {"<a..b@xyz.com>", 0, NULL, NULL, NULL},
    {"<.a@xyz.com>", 0, NULL, NULL, NULL},
    {"<a.@xyz.com>", 0, NULL, NULL, NULL},
    {"<\"a.\"@xyz.com>", 0, "a.", "xyz.com", NULL},
    {"<a b@xyz.com>", 0, NULL, NULL, NULL},
    {"<a@xyz_1.com>", 0, NULL, NULL, NULL},
    {"<a@-x.com>", 0, NULL, NULL, NULL},
    {"<a@x.com.>", 0, NULL, NULL, NULL},
    {"<a@.com>", 0, NULL, NULL, NULL},
    {"<a@>", 0, NULL, NULL, NULL},
    {"<@x.com>", 0, NULL, NULL, NULL},
    {"<a@b@c.com>", 0, NULL, NULL, NULL},
    {"<a@[192.0.2.1]>", 0, "a", "[192.0.2.1]", NULL},
    {"<a@[192.0.2.256]>", 0, NULL, NULL, NULL},
    {"<a@[192.0.2]>", 0, NULL, NULL, NULL},
    {"<a@[IPv6:2001:DB8:0:0::1]>", 0, "a", "[IPv6:2001:db8::1]", "<a@[IPv6:2001:db8::1]>"},
    {"<a@[2001:db8::1]>", 0, "a", "[2001:db8::1]", NULL}, /* General-address-literal with the tag "2001" */
    {"<a@[IPv6:2001:db8::g]>", 0, NULL, NULL, NULL},
    {"<a@[x400:c=us]>", 0, "a", "[x400:c=us]", NULL},
    {"<a@[]>", 0, NULL, NULL, NULL},
    {"<Postmaster>", ADDRESS_BARE, "Postmaster", "", NULL},
    {"<Postmaster>", 0, NULL, NULL, NULL},
    {"<\xc3\xa9lan@xyz.com>", 0, NULL, NULL, NULL},
    {"<\xc3\xa9lan@xyz.com>", ADDRESS_UTF8, "\xc3\xa9lan", "xyz.com", NULL},
    {"<\xc3@xyz.com>", ADDRESS_UTF8, NULL, NULL, NULL},
    {"<a@B\xc3\xbc"
     "cher.example>",
     ADDRESS_UTF8, "a", "xn--bcher-kva.example", "<a@xn--bcher-kva.example>"},
    {"<a@b\xc3\xbc"
     "cher.example>",
     0, NULL, NULL, NULL},
    {"<a@\xe4\xbe\x8b\xe5\xad\x90.example>", ADDRESS_UTF8, "a", "xn--fsqu00a.example", "<a@xn--fsqu00a.example>"},
    {"<a\r\n@xyz.com>", 0, NULL, NULL, NULL},
    {"<\"a\r\n\"@xyz.com>", 0, NULL, NULL, NULL},
    {"<user+tag=1{x}@xyz.com>", 0, "user+tag=1{x}", "xyz.com", NULL},
};

static void test_paths(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++) {
        const struct path_case *c = &paths[i];
        struct arena arena = ARENA_INIT(1 << 16);
        struct address a;
        struct err e = {0};
        enum st st = address_path_parse(&arena, str_of(c->text), c->flags, &a, &e);
        if ((st == ST_OK) != (c->local != NULL))
            fail_msg("%s: %s %s", c->text, st_name(st), e.text);
        if (st == ST_OK) {
            DEFER(buf_release) struct buf out = BUF_INIT(1024);
            address_print_path(&a, &out);
            assert_true(str_eq(a.local, str_of(c->local)));
            assert_true(str_eq(a.domain, str_of(c->domain)));
            assert_int_equal(a.literal, a.domain.n && a.domain.p[0] == '[');
            assert_string_equal(buf_z(&out), c->printed ? c->printed : c->text);
        } else {
            assert_int_equal(st, ST_PERM);
            assert_true(e.text[0] != '\0');
        }
        arena_release(&arena);
    }
}

static void test_lengths(void **state)
{
    (void)state;
    struct arena arena = ARENA_INIT(1 << 16);
    struct address a;
    char text[400];
    const struct {
        int local, domain; /* octets */
        unsigned flags;
        bool want;
    } cases[] = {
        {64, 20, ADDRESS_LOCAL_64, true},
        {65, 20, ADDRESS_LOCAL_64, false},
        {65, 20, 0, true},
        {1, 252, 0, true},
        {1, 253, 0, false},
        {200, 60, 0, false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        int n = snprintf(text, sizeof text, "%.*s@", cases[i].local,
                         "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
                         "aaaaaaaaaaaaaaaaaaa"
                         "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
                         "aaaaaaaaaaaaaaa");
        for (int k = 0; k < cases[i].domain; k++)
            text[n + k] = k % 50 == 49 && k < cases[i].domain - 1 ? '.' : 'd';
        struct str s = {text, (size_t)(n + cases[i].domain)};
        assert_int_equal(address_parse(&arena, s, cases[i].flags, &a, NULL) == ST_OK, cases[i].want);
    }
    arena_release(&arena);
}

static void test_equal_key_detail(void **state)
{
    (void)state;
    struct arena arena = ARENA_INIT(1 << 16);
    struct address a, b;
    struct str user, detail;
    DEFER(buf_release) struct buf key = BUF_INIT(256);
    assert_int_equal(address_parse(&arena, STR("POSTMASTER@Xyz.com"), 0, &a, NULL), ST_OK);
    assert_int_equal(address_parse(&arena, STR("postmaster@xyz.com"), 0, &b, NULL), ST_OK);
    assert_true(address_equal(&a, &b));
    assert_int_equal(address_parse(&arena, STR("Carolyn@xyz.com"), 0, &a, NULL), ST_OK);
    assert_int_equal(address_parse(&arena, STR("carolyn@xyz.com"), 0, &b, NULL), ST_OK);
    assert_false(address_equal(&a, &b));
    assert_int_equal(address_parse(&arena, STR("CAROLYN+A@xyz.com"), 0, &a, NULL), ST_OK);
    address_key(&a, &key);
    assert_string_equal(buf_z(&key), "carolyn+a@xyz.com");
    buf_clear(&key);
    /* E with a combining acute becomes one lower case letter */
    assert_int_equal(address_parse(&arena, STR("E\xcc\x81lan@xyz.com"), ADDRESS_UTF8, &a, NULL), ST_OK);
    assert_true(address_needs_utf8(&a));
    address_key(&a, &key);
    assert_string_equal(buf_z(&key), "\xc3\xa9lan@xyz.com");
    address_split_detail(STR("carolyn+lists+x"), '+', &user, &detail);
    assert_true(str_eq(user, STR("carolyn")) && str_eq(detail, STR("lists+x")));
    address_split_detail(STR("+x"), '+', &user, &detail);
    assert_true(str_eq(user, STR("+x")) && detail.n == 0);
    address_split_detail(STR("carolyn"), '+', &user, &detail);
    assert_true(str_eq(user, STR("carolyn")) && detail.n == 0);
    DEFER(buf_release) struct buf u = BUF_INIT(256);
    address_domain_unicode(STR("xn--bcher-kva.example"), &u);
    assert_string_equal(buf_z(&u), "b\xc3\xbc"
                                   "cher.example");
    arena_release(&arena);
}

/* ---- lists ---- */

/* Entries as text: name|route|local|domain, '!' in front if broken, groups as {name ... }. */
static void list_text(const struct address_list *list, struct buf *out)
{
    for (const struct address_entry *a = list->first; a; a = a->next) {
        if (out->n)
            buf_add_c(out, ' ');
        if (a->kind == ADDRESS_GROUP_END) {
            buf_add_c(out, '}');
            continue;
        }
        buf_add_z(out, a->broken ? "!" : "");
        if (a->kind == ADDRESS_GROUP_BEGIN) {
            buf_add_c(out, '{');
            buf_add(out, a->name);
            continue;
        }
        buf_add(out, a->name);
        buf_add_c(out, '|');
        buf_add(out, a->route);
        buf_add_c(out, '|');
        buf_add(out, a->local);
        buf_add_c(out, '|');
        buf_add(out, a->domain);
    }
}

static const struct {
    const char *value, *want;
} lists[] = {
    {"carolyn@xyz.com", "||carolyn|xyz.com"},
    {"Carolyn <carolyn@xyz.com>", "Carolyn||carolyn|xyz.com"},
    {"<carolyn@xyz.com>", "||carolyn|xyz.com"},
    {"\"Kay, Carolyn\" <carolyn@xyz.com>, elinor@abcd.com", "Kay, Carolyn||carolyn|xyz.com ||elinor|abcd.com"},
    {"carolyn@xyz.com (Carolyn Kay)", "Carolyn Kay||carolyn|xyz.com"},
    {"Carolyn K. Kay <carolyn@xyz.com>", "Carolyn K. Kay||carolyn|xyz.com"},
    {"J.R.Smith<jr@x.com>", "J.R.Smith||jr|x.com"},
    {"Team:a@x.com,B <b@x.com>;", "{Team ||a|x.com B||b|x.com }"},
    {"undisclosed-recipients:;", "{undisclosed-recipients }"},
    {"A group: ; , c@x.com", "{A group } ||c|x.com"},
    {"A: a@x.com", "{A ||a|x.com }"},
    {"a@x.com,,b@x.com,", "||a|x.com ||b|x.com"},
    {"a@x.com; b@x.com", "||a|x.com ||b|x.com"},
    {"<@a.com,@b.com:c@x.com>", "|@a.com,@b.com|c|x.com"},
    {"a . b @ x . com", "||a.b|x.com"},
    {"\"a b\"@x.com", "||a b|x.com"},
    {"\"a\\\"b\" <\"c\\\\d\"@x.com>", "a\"b||c\\d|x.com"},
    {"=?utf-8?Q?Kay=2C?= Carolyn <c@x.com>", "=?utf-8?Q?Kay=2C?= Carolyn||c|x.com"},
    {"=?utf-8?Q?Kay,_Carolyn?= <c@x.com>", "=?utf-8?Q?Kay,_Carolyn?=||c|x.com"},
    {"a@[192.0.2.1]", "||a|[192.0.2.1]"},
    {"Carolyn\r\n <carolyn@xyz.com>,\r\n\tElinor <elinor@abcd.com>", "Carolyn||carolyn|xyz.com Elinor||elinor|abcd.com"},
    {"(c1) Carolyn (c2) <carolyn(c3)@xyz.com> (c4)", "Carolyn||carolyn|xyz.com"},
    {"Pete(A nice \\) chap) <pete(his account)@silly.test(his host)>", "Pete||pete|silly.test"}, /* RFC 5322 A.5 */
    /* not RFC 5322, but everyday */
    {"carolyn", "!||carolyn|"},
    {"carolyn@xyz.com <carolyn@xyz.com>", "!carolyn@xyz.com||carolyn|xyz.com"},
    {"\"Carolyn <carolyn@xyz.com>", "!Carolyn||carolyn|xyz.com"},
    {"<carolyn@xyz.com", "!||carolyn|xyz.com"},
    {"A <a@x.com> B <b@x.com>", "!A||a|x.com B||b|x.com"},
    {"a@x.com@y.com", "!||a|x.com"},
    {"C\xe9line <c@x.com>", "C\xe9line||c|x.com"},
    {"a b@x.com", "!||a b|x.com"},
    {"Foo (bar <a@x.com>", "!Foo bar||a|x.com"},
    {"<>", "!|||"},
    {"MAILER-DAEMON <>", "!MAILER-DAEMON|||"},
    {"@x.com", "!|||x.com"},
    {"a@", "!||a|"},
    {"", ""},
    {" ,;, ", ""},
    {"((((", "!|||"},
    {"\\", "!||\\|"},
};

static void test_lists(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++) {
        struct arena arena = ARENA_INIT(1 << 16);
        struct address_list list;
        DEFER(buf_release) struct buf got = BUF_INIT(4096);
        address_list_parse(&arena, str_of(lists[i].value), ADDRESS_LIST_MAX, &list);
        list_text(&list, &got);
        if (!str_eq(buf_str(&got), str_of(lists[i].want)))
            fail_msg("%s:\n got %s\nwant %s", lists[i].value, buf_z(&got), lists[i].want);
        assert_false(list.truncated);
        arena_release(&arena);
    }
}

static void test_list_limits(void **state)
{
    (void)state;
    struct arena arena = ARENA_INIT(1 << 20), small = ARENA_INIT(500);
    struct address_list list;
    DEFER(buf_release) struct buf value = BUF_INIT(1 << 16);
    for (int i = 0; i < 100; i++)
        buf_printf(&value, "u%d@x.com, ", i);
    address_list_parse(&arena, buf_str(&value), 10, &list);
    assert_int_equal(list.count, 10);
    assert_true(list.truncated);
    address_list_parse(&arena, buf_str(&value), 1000, &list);
    assert_int_equal(list.mailboxes, 100);
    assert_false(list.truncated);
    address_list_parse(&small, buf_str(&value), 1000, &list);
    assert_true(list.truncated);
    arena_release(&arena);
    arena_release(&small);
}

static void test_local_end(void **state)
{
    (void)state;
    struct arena arena = ARENA_INIT(1 << 16);
    struct address_list list;
    struct str value = STR("Carolyn <carolyn>, elinor (x), \"a b\" ");
    address_list_parse(&arena, value, 10, &list);
    static const char *const want[] = {">, ", " (x", " "};
    const struct address_entry *a = list.first;
    for (size_t i = 0; i < 3; i++, a = a->next) {
        assert_non_null(a);
        assert_true(str_starts(str_from(value, a->local_end), str_of(want[i])));
    }
    arena_release(&arena);
}

static void test_mailbox_print(void **state)
{
    (void)state;
    const struct {
        const char *name, *want;
    } cases[] = {
        {"", "c@x.com"},
        {"Carolyn Kay", "Carolyn Kay <c@x.com>"},
        {"Kay, Carolyn", "\"Kay, Carolyn\" <c@x.com>"},
        {"a \"b\" c", "\"a \\\"b\\\" c\" <c@x.com>"},
        {"C\xc3\xa9line", "=?utf-8?Q?C=C3=A9line?= <c@x.com>"},
        {"x\r\nBcc: y", "=?utf-8?B?eA0KQmNjOiB5?= <c@x.com>"},
    };
    struct address a = {.local = STR("c"), .domain = STR("x.com")};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        DEFER(buf_release) struct buf out = BUF_INIT(1024);
        address_mailbox_print(str_of(cases[i].name), &a, &out);
        assert_string_equal(buf_z(&out), cases[i].want);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_paths),         cmocka_unit_test(test_lengths),     cmocka_unit_test(test_equal_key_detail),
        cmocka_unit_test(test_lists),         cmocka_unit_test(test_list_limits), cmocka_unit_test(test_local_end),
        cmocka_unit_test(test_mailbox_print),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
