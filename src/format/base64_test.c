/* Base64, hex, modified UTF-7, xtext: the small codecs. */
#include "format/base64.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "base/err.h"
#include "format/hex.h"
#include "format/utf7.h"
#include "format/xtext.h"

static void test_base64(void **state)
{
    (void)state;
    static const struct {
        const char *bytes, *text, *url;
    } cases[] = {{"", "", ""},
                 {"f", "Zg==", "Zg"},
                 {"fo", "Zm8=", "Zm8"},
                 {"foo", "Zm9v", "Zm9v"},
                 {"foob", "Zm9vYg==", "Zm9vYg"},
                 {"\xfb\xff\xfe", "+//+", "-__-"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        DEFER(buf_release) struct buf out = BUF_INIT(100);
        base64_encode(str_of(cases[i].bytes), &out);
        assert_string_equal(buf_z(&out), cases[i].text);
        buf_clear(&out);
        assert_true(base64_decode(str_of(cases[i].text), &out));
        assert_string_equal(buf_z(&out), cases[i].bytes);
        buf_clear(&out);
        base64url_encode(str_of(cases[i].bytes), &out);
        assert_string_equal(buf_z(&out), cases[i].url);
        buf_clear(&out);
        assert_true(base64url_decode(str_of(cases[i].url), &out));
        assert_string_equal(buf_z(&out), cases[i].bytes);
    }
    static const char *const bad[] = {"Zg", "Zg=", "Zh==", "Zm9=", "Z===", "====", "Zm9v\r\n", "Zm 9v", "=Zm9", "Zg==Zg==", "Zm9-"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        DEFER(buf_release) struct buf out = BUF_INIT(100);
        if (base64_decode(str_of(bad[i]), &out))
            fail_msg("%s accepted", bad[i]);
    }
    DEFER(buf_release) struct buf out = BUF_INIT(100);
    assert_int_equal(base64_decode_lenient(STR("aGV sbG8=\r\naGk"), &out), 3);
    assert_string_equal(buf_z(&out), "hellohi");
}

static void test_hex(void **state)
{
    (void)state;
    DEFER(buf_release) struct buf out = BUF_INIT(100);
    uint8_t raw[2];
    hex_encode(STR("\x00\xff\x1a"), &out);
    assert_string_equal(buf_z(&out), "00ff1a");
    buf_clear(&out);
    assert_true(hex_decode(STR("00FF1a"), &out));
    assert_true(str_eq(buf_str(&out), STR("\x00\xff\x1a")));
    assert_false(hex_decode(STR("0"), &out));
    assert_false(hex_decode(STR("0g"), &out));
    assert_true(hex_decode_exact(STR("beef"), raw, 2));
    assert_int_equal(raw[0], 0xbe);
    assert_false(hex_decode_exact(STR("beef00"), raw, 2));
}

static void test_utf7(void **state)
{
    (void)state;
    static const struct {
        const char *name, *utf8;
    } good[] = {
        {"INBOX", "INBOX"},
        {"~peter/mail/&U,BTFw-/&ZeVnLIqe-",
         "~peter/mail/\xe5\x8f\xb0\xe5\x8c\x97/\xe6\x97\xa5\xe6\x9c\xac\xe8\xaa\x9e"}, /* RFC 3501 */
        {"Entw&APw-rfe", "Entw\xc3\xbcrfe"},
        {"&-", "&"},
        {"A&-B&AOk-&-", "A&B\xc3\xa9&"},
        {"&2D3eAA-", "\xf0\x9f\x98\x80"},
        {"", ""},
    };
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        DEFER(buf_release) struct buf out = BUF_INIT(200);
        assert_true(utf7_decode(str_of(good[i].name), &out));
        assert_true(str_eq(buf_str(&out), str_of(good[i].utf8)));
        buf_clear(&out);
        assert_true(utf7_encode(str_of(good[i].utf8), &out));
        assert_true(str_eq(buf_str(&out), str_of(good[i].name)));
    }
    static const char *const bad[] = {
        "&",     "&AOk", "&AOk-&AOk-", "&AGE-" /* an encoded 'a' */, "caf\xc3\xa9", "a\tb", "&2D0-" /* half a pair */,
        "&3gA-", "&A-",  "&AOkA-",     "&AOl-" /* bits left */,      "&AA=-",       "&!-",  "&AOk/-",
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        DEFER(buf_release) struct buf out = BUF_INIT(200);
        if (utf7_decode(str_of(bad[i]), &out))
            fail_msg("%s accepted", bad[i]);
    }
    DEFER(buf_release) struct buf out = BUF_INIT(200);
    assert_false(utf7_encode(STR("\xff"), &out));
    assert_false(utf7_encode(STR("a\0b"), &out));
}

static void test_xtext(void **state)
{
    (void)state;
    DEFER(buf_release) struct buf out = BUF_INIT(200);
    xtext_encode(STR("e=mc2+1 \xc3\xa9"), &out);
    assert_string_equal(buf_z(&out), "e+3Dmc2+2B1+20+C3+A9");
    DEFER(buf_release) struct buf back = BUF_INIT(200);
    assert_true(xtext_decode(buf_str(&out), &back));
    assert_string_equal(buf_z(&back), "e=mc2+1 \xc3\xa9");
    static const char *const bad[] = {"a=b", "a+2", "a+2b", "a b", "a\x7f", "+", "\xc3\xa9"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_false(xtext_valid(str_of(bad[i])));
}

static void test_orcpt(void **state)
{
    (void)state;
    static const struct {
        const char *orcpt, *type, *address; /* type NULL: refused */
    } cases[] = {
        {"rfc822;carolyn@xyz.com", "rfc822", "carolyn@xyz.com"},
        {"rfc822;e+3Dmc2@xyz.com", "rfc822", "e=mc2@xyz.com"},
        {"utf-8;\\x{E9}lan@xyz.com", "utf-8", "\xc3\xa9lan@xyz.com"},
        {"UTF-8;\xc3\xa9lan@xyz.com", "UTF-8", "\xc3\xa9lan@xyz.com"},
        {"utf-8;a\\x{2B}b@xyz.com", "utf-8", "a+b@xyz.com"},
        {"utf-8;\\x{D800}@x", NULL, NULL},
        {"utf-8;\xff@x", NULL, NULL},
        {"rfc822;\xc3\xa9lan@xyz.com", NULL, NULL},
        {"rfc822;a+0D+0Ab@xyz.com", NULL, NULL},
        {"utf-8;a+00b", NULL, NULL},
        {"rfc822;", NULL, NULL},
        {";x", NULL, NULL},
        {"rfc822", NULL, NULL},
        {"rfc 822;x", NULL, NULL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        DEFER(buf_release) struct buf address = BUF_INIT(200);
        struct str type;
        bool ok = xtext_orcpt_decode(str_of(cases[i].orcpt), &type, &address);
        assert_int_equal(ok, cases[i].type != NULL);
        if (!ok)
            continue;
        assert_true(str_eq(type, str_of(cases[i].type)));
        assert_string_equal(buf_z(&address), cases[i].address);
    }
    DEFER(buf_release) struct buf out = BUF_INIT(200);
    xtext_orcpt_encode(STR("\xc3\xa9lan+x@xyz.com"), &out);
    assert_string_equal(buf_z(&out), "utf-8;\\x{E9}lan\\x{2B}x@xyz.com");
    buf_clear(&out);
    xtext_orcpt_encode(STR("a+b@xyz.com"), &out);
    assert_string_equal(buf_z(&out), "rfc822;a+2Bb@xyz.com");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_base64), cmocka_unit_test(test_hex),   cmocka_unit_test(test_utf7),
        cmocka_unit_test(test_xtext),  cmocka_unit_test(test_orcpt),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
