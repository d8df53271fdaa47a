/* Quoted-printable and base64 bodies, streaming. */
#include "format/transfer.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "base/err.h"

static const struct {
    enum transfer_encoding encoding;
    const char *coded, *want;
    bool damaged;
} decodings[] = {
    {TRANSFER_QP, "a=3Db", "a=b", false},
    {TRANSFER_QP, "a=3db", "a=b", false},
    {TRANSFER_QP, "a=\r\nb", "ab", false},
    {TRANSFER_QP, "a=\nb", "ab", false},
    {TRANSFER_QP, "a= \t\r\nb", "ab", false},
    {TRANSFER_QP, "a  \r\nb\t\nc  ", "a\r\nb\nc", false},
    {TRANSFER_QP, "a b\tc", "a b\tc", false},
    {TRANSFER_QP, "a=", "a", false},
    {TRANSFER_QP, "a=4", "a=4", true},
    {TRANSFER_QP, "a=zz", "a=zz", true},
    {TRANSFER_QP, "a==41", "a=A", true},
    {TRANSFER_QP, "a=4=41", "a=4A", true},
    {TRANSFER_QP, "a=\rb", "a=\rb", true},
    {TRANSFER_QP, "a \rb", "a \rb", false},
    {TRANSFER_QP, "caf\xe9", "caf\xe9", false},
    {TRANSFER_QP, "a=20\r\n", "a \r\n", false},
    {TRANSFER_BASE64, "aGVsbG8=\r\n", "hello", false},
    {TRANSFER_BASE64, "aGVs\r\nbG8=", "hello", false},
    {TRANSFER_BASE64, "aGVsbG8", "hello", false},
    {TRANSFER_BASE64, "aGVsbG8=aGVsbG8=", "hellohello", false},
    {TRANSFER_BASE64, "aG!Vs*bG8=", "hello", true},
    {TRANSFER_BASE64, "====", "", false},
    {TRANSFER_BASE64, "aGVsb", "hel", true},
    {TRANSFER_8BIT, "caf\xe9\r\n", "caf\xe9\r\n", false},
};

static void test_decode(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof decodings / sizeof *decodings; i++) {
        struct str coded = str_of(decodings[i].coded), want = str_of(decodings[i].want);
        DEFER(buf_release) struct buf whole = BUF_INIT(1000);
        DEFER(buf_release) struct buf single = BUF_INIT(1000);
        struct transfer_decoder d;
        bool clean = transfer_decode_all(decodings[i].encoding, coded, &whole);
        transfer_decoder_init(&d, decodings[i].encoding);
        for (size_t k = 0; k < coded.n; k++)
            transfer_decode(&d, str_sub(coded, k, 1), &single);
        transfer_decode_end(&d, &single);
        if (!str_eq(buf_str(&whole), want) || !str_eq(buf_str(&single), want) || clean == decodings[i].damaged ||
            (d.damage == 0) != clean)
            fail_msg("%s: \"%s\" \"%s\" %d", decodings[i].coded, buf_z(&whole), buf_z(&single), clean);
    }
}

static void test_endless_space(void **state)
{
    (void)state;
    DEFER(buf_release) struct buf in = BUF_INIT(1000);
    DEFER(buf_release) struct buf out = BUF_INIT(1000);
    for (int i = 0; i < 500; i++)
        buf_add_c(&in, ' ');
    buf_add_c(&in, 'x');
    transfer_decode_all(TRANSFER_QP, buf_str(&in), &out);
    assert_true(str_eq(buf_str(&in), buf_str(&out)));
}

/* Text with every byte and every kind of line end, cut anywhere, comes back. */
static void test_round_trips(void **state)
{
    (void)state;
    DEFER(buf_release) struct buf data = BUF_INIT(1 << 16);
    uint32_t seed = 1;
    for (int i = 0; i < 3000; i++) {
        seed = seed * 1103515245 + 12345;
        static const char often[] = " \t\r\n=.a";
        buf_add_c(&data, seed >> 30 ? often[(seed >> 20) % 7] : (char)(seed >> 16));
    }
    static const struct {
        enum transfer_encoding encoding;
        bool text;
    } modes[] = {{TRANSFER_QP, true}, {TRANSFER_QP, false}, {TRANSFER_BASE64, false}, {TRANSFER_BINARY, false}};
    for (size_t m = 0; m < sizeof modes / sizeof *modes; m++) {
        DEFER(buf_release) struct buf whole = BUF_INIT(1 << 16);
        DEFER(buf_release) struct buf single = BUF_INIT(1 << 16);
        DEFER(buf_release) struct buf back = BUF_INIT(1 << 16);
        struct transfer_encoder t;
        transfer_encoder_init(&t, modes[m].encoding, modes[m].text);
        transfer_encode(&t, buf_str(&data), &whole);
        transfer_encode_end(&t, &whole);
        transfer_encoder_init(&t, modes[m].encoding, modes[m].text);
        for (size_t k = 0; k < data.n; k += 1 + k % 3)
            transfer_encode(&t, str_sub(buf_str(&data), k, 1 + k % 3), &single);
        transfer_encode_end(&t, &single);
        assert_true(str_eq(buf_str(&whole), buf_str(&single)));
        assert_true(transfer_decode_all(modes[m].encoding, buf_str(&whole), &back));
        assert_true(str_eq(buf_str(&back), buf_str(&data)));
        struct str rest = buf_str(&whole), line;
        while (modes[m].encoding != TRANSFER_BINARY && str_split(&rest, '\n', &line))
            assert_true(line.n <= 77); /* 76 and CR */
    }
}

static void test_names(void **state)
{
    (void)state;
    assert_int_equal(transfer_encoding_find(STR("")), TRANSFER_7BIT);
    assert_int_equal(transfer_encoding_find(STR(" Base64 ")), TRANSFER_BASE64);
    assert_int_equal(transfer_encoding_find(STR("quoted-printable (x)")), TRANSFER_QP);
    assert_int_equal(transfer_encoding_find(STR("\"8bit\"")), TRANSFER_8BIT);
    assert_int_equal(transfer_encoding_find(STR("x-uuencode")), TRANSFER_UNKNOWN);
    assert_true(str_eq(transfer_encoding_name(TRANSFER_QP), STR("quoted-printable")));
    assert_true(transfer_is_identity(TRANSFER_BINARY));
    assert_false(transfer_is_identity(TRANSFER_UNKNOWN));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_decode),
        cmocka_unit_test(test_endless_space),
        cmocka_unit_test(test_round_trips),
        cmocka_unit_test(test_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
