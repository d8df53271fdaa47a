#include "base/str.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static void test_compare(void **state)
{
    (void)state;
    static const struct {
        const char *a, *b;
        bool eq, eq_nocase;
        int cmp;
    } rows[] = {
        {"", "", true, true, 0},         {"a", "a", true, true, 0},    {"a", "A", false, true, 1},   {"abc", "ab", false, false, 1},
        {"ab", "abc", false, false, -1}, {"[", "{", false, false, -1}, {"@", "`", false, false, -1}, {"Q", "q", false, true, -1},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct str a = str_of(rows[i].a), b = str_of(rows[i].b);
        assert_int_equal(str_eq(a, b), rows[i].eq);
        assert_int_equal(str_eq_nocase(a, b), rows[i].eq_nocase);
        int got = str_cmp(a, b);
        assert_int_equal((got > 0) - (got < 0), rows[i].cmp);
        if (rows[i].eq_nocase)
            assert_true(str_hash_nocase(a) == str_hash_nocase(b));
    }
    assert_false(str_hash(STR("a")) == str_hash(STR("A")));
    assert_true(str_hash(str_make("a\0b", 3)) != str_hash(str_make("a\0c", 3)));
}

/* One byte above 127 anywhere, in texts of any length. */
static void test_ascii(void **state)
{
    (void)state;
    char text[40];
    memset(text, 0x7f, sizeof text);
    assert_true(str_is_ascii(STR_NONE));
    for (size_t n = 1; n <= sizeof text; n++) {
        assert_true(str_is_ascii(str_make(text, n)));
        for (size_t at = 0; at < n; at++) {
            text[at] = (char)0x80;
            assert_false(str_is_ascii(str_make(text, n)));
            assert_true(str_is_ascii(str_make(text, at)));
            text[at] = 0x7f;
        }
    }
}

static void test_search(void **state)
{
    (void)state;
    assert_int_equal(str_find(STR("a needle in hay"), STR("needle")), 2);
    assert_int_equal(str_find(STR("a needle"), STR("Needle")), STR_NPOS);
    assert_int_equal(str_find_nocase(STR("a neeDle"), STR("NEEDLE")), 2);
    assert_int_equal(str_find_nocase(STR("needl"), STR("needle")), STR_NPOS);
    assert_int_equal(str_find(STR(""), STR("")), 0);
    assert_int_equal(str_rfind_char(STR("a@b@c"), '@'), 3);
    assert_int_equal(str_find_char(STR_NONE, 'x'), STR_NPOS);
}

static void test_slices(void **state)
{
    (void)state;
    assert_true(str_eq(str_sub(STR("abcdef"), 2, 3), STR("cde")));
    assert_true(str_eq(str_sub(STR("abc"), 2, 9), STR("c")));
    assert_true(str_empty(str_from(STR("abc"), 7)));
    assert_true(str_eq(str_trim(STR(" \t a b\r\n")), STR("a b")));
    struct str rest = STR("a,,b"), part;
    assert_true(str_split(&rest, ',', &part) && str_eq(part, STR("a")));
    assert_true(str_split(&rest, ',', &part) && str_empty(part));
    assert_true(str_split(&rest, ',', &part) && str_eq(part, STR("b")));
    assert_false(str_split(&rest, ',', &part));
    rest = STR("a,");
    assert_true(str_split(&rest, ',', &part) && str_split(&rest, ',', &part) && str_empty(part));
    assert_false(str_split(&rest, ',', &part));
}

static void test_numbers(void **state)
{
    (void)state;
    uint64_t v;
    uint32_t w;
    assert_true(str_to_u64(STR("18446744073709551615"), &v) && v == UINT64_MAX);
    assert_false(str_to_u64(STR("18446744073709551616"), &v));
    assert_false(str_to_u64(STR(""), &v));
    assert_false(str_to_u64(STR("+1"), &v));
    assert_false(str_to_u64(STR("1 "), &v));
    assert_true(str_to_u32(STR("4294967295"), &w) && w == UINT32_MAX);
    assert_false(str_to_u32(STR("4294967296"), &w));
}

static void test_utf8(void **state)
{
    (void)state;
    static const struct {
        const char *s;
        bool ok;
    } rows[] = {
        {"plain", true},
        {"\xc3\xa9", true},
        {"\xe2\x82\xac", true},
        {"\xf0\x9f\x93\xa7", true},
        {"\xf4\x8f\xbf\xbf", true},
        {"\xc0\xaf", false},
        {"\xe0\x80\xaf", false},
        {"\xed\xa0\x80", false},
        {"\xf4\x90\x80\x80", false},
        {"\x80", false},
        {"\xe2\x82", false},
        {"\xf0\x80\x80\xaf", false},
        {"a\xff", false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        assert_int_equal(str_is_utf8(str_of(rows[i].s)), rows[i].ok);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_compare), cmocka_unit_test(test_search),  cmocka_unit_test(test_ascii),
                                       cmocka_unit_test(test_slices),  cmocka_unit_test(test_numbers), cmocka_unit_test(test_utf8)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
