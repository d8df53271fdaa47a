/* Charsets, folding, cleaning; streaming equals at once. */
#include "format/charset.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "base/err.h"

static const struct {
    const char *charset, *bytes, *want;
} conversions[] = {
    {"utf-8", "caf\xc3\xa9", "caf\xc3\xa9"},
    {"UTF8", "caf\xc3\xa9", "caf\xc3\xa9"},
    {"utf-8", "caf\xe9 x", "caf\xef\xbf\xbd x"},
    {"utf-8", "\xe2\x82", "\xef\xbf\xbd"},
    {"utf-8", "\xf0\x9f\x98\x80\xed\xa0\x80",
     "\xf0\x9f\x98\x80\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"}, /* a surrogate: three bad bytes */
    {"us-ascii", "caf\xe9", "caf\xc3\xa9"},
    {"us-ascii", "caf\xc3\xa9", "caf\xc3\xa9"},
    {"", "caf\xe9", "caf\xc3\xa9"},
    {"no-such-charset", "caf\xe9", "caf\xc3\xa9"},
    {"iso-8859-1", "\x80\x93\xe9", "\xe2\x82\xac\xe2\x80\x9c\xc3\xa9"}, /* windows-1252 is what is meant */
    {"windows-1252", "\x81", "\xef\xbf\xbd"},
    {"iso-8859-15", "\xa4", "\xe2\x82\xac"},
    {"iso-8859-2", "\xb1", "\xc4\x85"},
    {"koi8-r", "\xf0", "\xd0\x9f"},
    {"windows-1251", "\xcf", "\xd0\x9f"},
    {"shift_jis", "\x93\xfa", "\xe6\x97\xa5"},
    {"euc-jp", "\xc6\xfc", "\xe6\x97\xa5"},
    {"iso-2022-jp", "\x1b$BF|\x1b(B!", "\xe6\x97\xa5!"},
    {"gb2312", "\xc4\xe3", "\xe4\xbd\xa0"},
    {"gb18030", "\xc4\xe3", "\xe4\xbd\xa0"},
    {"big5", "\xa7\x41", "\xe4\xbd\xa0"},
    {"euc-kr", "\xb0\xa1", "\xea\xb0\x80"},
    {"ks_c_5601-1987", "\xb0\xa1", "\xea\xb0\x80"},
    {"utf-7", "a+AOk-b",
     "a\xc3\xa9"
     "b"},
    {"\"utf-8\"", "\xc3\xa9", "\xc3\xa9"},
    {"iso-8859-8-i", "\xe0", "\xd7\x90"},
};

static void test_conversions(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof conversions / sizeof *conversions; i++) {
        DEFER(buf_release) struct buf out = BUF_INIT(1000);
        charset_to_utf8(str_of(conversions[i].charset), str_of(conversions[i].bytes), &out);
        if (!str_eq(buf_str(&out), str_of(conversions[i].want)))
            fail_msg("%s: got %s", conversions[i].charset, buf_z(&out));
    }
    assert_true(charset_known(STR("ISO-2022-JP")));
    assert_true(charset_known(STR("cp932")));
    assert_false(charset_known(STR("no-such-charset")));
    assert_false(charset_known(STR("")));
    assert_false(charset_known(STR("a b")));
    DEFER(buf_release) struct buf wide = BUF_INIT(100);
    charset_to_utf8(STR("utf-16"), STR("\xfe\xff\x00\x41\xd8\x3d\xde\x00"), &wide);
    assert_string_equal(buf_z(&wide), "A\xf0\x9f\x98\x80");
}

static void test_streaming_is_the_same(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof conversions / sizeof *conversions; i++) {
        struct str bytes = str_of(conversions[i].bytes);
        struct charset_decoder whole, single;
        DEFER(buf_release) struct buf a = BUF_INIT(1000);
        DEFER(buf_release) struct buf b = BUF_INIT(1000);
        charset_decoder_open(&whole, str_of(conversions[i].charset));
        charset_decode(&whole, bytes, &a);
        charset_decode_end(&whole, &a);
        charset_decoder_close(&whole);
        charset_decoder_open(&single, str_of(conversions[i].charset));
        for (size_t k = 0; k < bytes.n; k++)
            charset_decode(&single, str_sub(bytes, k, 1), &b);
        charset_decode_end(&single, &b);
        charset_decoder_close(&single);
        if (!str_eq(buf_str(&a), buf_str(&b)))
            fail_msg("%s: %s | %s", conversions[i].charset, buf_z(&a), buf_z(&b));
        assert_true(str_is_utf8(buf_str(&a)));
    }
}

static void test_bounded(void **state)
{
    (void)state;
    static const char *const charsets[] = {"utf-8", "iso-8859-1", "iso-8859-2", "utf-7"};
    for (size_t i = 0; i < sizeof charsets / sizeof *charsets; i++) {
        DEFER(buf_release) struct buf out = BUF_INIT(5);
        charset_to_utf8(str_of(charsets[i]), STR("abc\xc3\xa9\xc3\xa9"), &out);
        assert_false(buf_ok(&out));
        assert_true(str_starts(buf_str(&out), STR("abc")));
        assert_true(str_is_utf8(buf_str(&out)));
    }
}

static void test_cut(void **state)
{
    (void)state;
    assert_int_equal(charset_cut(STR("ab\xe2\x82\xac"), 5).n, 5);
    assert_int_equal(charset_cut(STR("ab\xe2\x82\xac"), 4).n, 2);
    assert_int_equal(charset_cut(STR("ab\xe2\x82\xac"), 3).n, 2);
    assert_int_equal(charset_cut(STR("ab\xe2\x82\xac"), 2).n, 2);
    assert_int_equal(charset_cut(STR(""), 2).n, 0);
}

static void test_fold(void **state)
{
    (void)state;
    static const struct {
        const char *a, *b;
    } same[] = {
        {"Hello", "hELLO"},
        {"\xc3\xa9t\xc3\xa9", "E\xcc\x81T\xc3\x89"},
        {"\xce\xa3\xce\xaf", "\xcf\x83\xce\x8a"}, /* sigma, iota with tonos */
        {"\xef\xac\x81", "FI"},                   /* the ligature, by its compatibility decomposition */
        {"\xef\xbc\xa1", "a"},                    /* full width */
    };
    for (size_t i = 0; i < sizeof same / sizeof *same; i++) {
        DEFER(buf_release) struct buf a = BUF_INIT(100);
        DEFER(buf_release) struct buf b = BUF_INIT(100);
        charset_fold(str_of(same[i].a), &a);
        charset_fold(str_of(same[i].b), &b);
        /* the ligature decomposes after the title mapping, into small letters: RFC 5051 2 has it so */
        if (i != 3)
            assert_true(str_eq(buf_str(&a), buf_str(&b)));
        else
            assert_true(str_eq(buf_str(&a), STR("fi")));
    }
    DEFER(buf_release) struct buf full = BUF_INIT(4);
    charset_fold(STR("abcdef"), &full);
    assert_false(buf_ok(&full));
    assert_true(str_eq(buf_str(&full), STR("ABCD")));
    DEFER(buf_release) struct buf ascii = BUF_INIT(10);
    charset_fold_ascii(STR("aZ\xc3\xa9"), &ascii);
    assert_true(str_eq(buf_str(&ascii), STR("AZ\xc3\xa9")));
    DEFER(buf_release) struct buf broken = BUF_INIT(10);
    charset_fold(STR("a\xff"), &broken);
    assert_true(str_eq(buf_str(&broken), STR("A\xef\xbf\xbd")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_conversions), cmocka_unit_test(test_streaming_is_the_same),
        cmocka_unit_test(test_bounded),     cmocka_unit_test(test_cut),
        cmocka_unit_test(test_fold),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
