/* The end of DATA, its faults, and the way back; pieces cut anywhere. */
#include "format/dot.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "base/err.h"

static const struct {
    const char *wire;
    const char *want;
    bool done;
    size_t used;
    unsigned faults;
} cases[] = {
    {"a\r\n.\r\n", "a\r\n", true, 6, 0},
    {".\r\n", "", true, 3, 0},
    {".\r\nNOOP\r\n", "", true, 3, 0},
    {"..\r\n.\r\n", ".\r\n", true, 7, 0},
    {".a\r\n.\r\n", "a\r\n", true, 7, 0},
    {"a.\r\nb\r\n.\r\n", "a.\r\nb\r\n", true, 10, 0},
    {"a\r\n..b\r\n...\r\n.\r\nX", "a\r\n.b\r\n..\r\n", true, 16, 0},
    /* SMTP smuggling: none of these is the end */
    {"a\n.\nb\r\n.\r\n", "a\n.\nb\r\n", true, 10, DOT_BARE_LF},
    {"a\n.\r\nb\r\n.\r\n", "a\n.\r\nb\r\n", true, 11, DOT_BARE_LF},
    {"a\r\n.\nb\r\n.\r\n", "a\r\n\nb\r\n", true, 11, DOT_BARE_LF},
    {"a\r.\rb\r\n.\r\n", "a\r.\rb\r\n", true, 10, DOT_BARE_CR},
    {"a\r\n.\rb\r\n.\r\n", "a\r\n\rb\r\n", true, 11, DOT_BARE_CR},
    {"a\r\n.\r\r\n.\r\n", "a\r\n\r\r\n", true, 10, DOT_BARE_CR},
    {"a\r\r\n.\r\n", "a\r\r\n", true, 7, DOT_BARE_CR},
    {"a\r\n\r.\r\n.\r\n", "a\r\n\r.\r\n", true, 10, DOT_BARE_CR},
    {"a\n\r\n.\r\n", "a\n\r\n", true, 7, DOT_BARE_LF},
    {"a\r\n.", "a\r\n", false, 4, 0},
    {"a\r\n.\r", "a\r\n", false, 5, 0},
    {"abcdefgh\r\nabcdefghi\r\n.\r\n", "abcdefgh\r\nabcdefghi\r\n", true, 24, DOT_LONG_LINE},
    {".abcdefgh\r\n.\r\n", "abcdefgh\r\n", true, 14, 0}, /* the stuffed dot does not count (RFC 5321 4.5.3.1.6) */
    {"abc", "abc", false, 3, 0},
    {"", "", false, 0, 0},
};

static void test_decode(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct str wire = str_of(cases[i].wire);
        for (size_t step = 1; step <= wire.n + 1; step++) { /* byte by byte, ..., all at once */
            struct dot_decoder d;
            DEFER(buf_release) struct buf out = BUF_INIT(100);
            dot_decoder_init(&d, 10);
            size_t used = 0;
            while (used < wire.n && !d.done) {
                struct str piece = str_sub(wire, used, step);
                size_t n = dot_decode(&d, piece, &out);
                assert_true(n == piece.n || d.done);
                used += n;
            }
            if (!str_eq(buf_str(&out), str_of(cases[i].want)) || d.done != cases[i].done || used != cases[i].used ||
                d.faults != cases[i].faults)
                fail_msg("case %zu step %zu: \"%s\" done %d used %zu faults %x", i, step, buf_z(&out), d.done, used, d.faults);
            assert_int_equal(d.size, out.n);
        }
    }
}

static void test_positions(void **state)
{
    (void)state;
    struct dot_decoder d;
    DEFER(buf_release) struct buf out = BUF_INIT(100);
    dot_decoder_init(&d, 1000);
    dot_decode(&d, STR("ab\r\n.c\nd\re\0f\xe9\r\n.\r\n"), &out);
    assert_int_equal(d.faults, DOT_BARE_CR | DOT_BARE_LF | DOT_NUL);
    assert_int_equal(d.fault_at[0], 7); /* ab CRLF c LF d CR: in decoded bytes */
    assert_int_equal(d.fault_at[1], 5);
    assert_int_equal(d.fault_at[2], 9);
    assert_true(d.eight_bit);
    assert_int_equal(d.lines, 2);
    assert_string_equal(dot_fault_name(DOT_BARE_LF), "bare LF");
}

static void test_encode(void **state)
{
    (void)state;
    static const struct {
        const char *text, *raw, *normal;
    } t[] = {
        {"", ".\r\n", ".\r\n"},
        {"a", "a\r\n.\r\n", "a\r\n.\r\n"},
        {"a\r\n", "a\r\n.\r\n", "a\r\n.\r\n"},
        {".a\r\n..\r\n.", "..a\r\n...\r\n..\r\n.\r\n", "..a\r\n...\r\n..\r\n.\r\n"},
        {"a\n.b\n", "a\n.b\n\r\n.\r\n", "a\r\n..b\r\n.\r\n"},
        {"a\r.b\r\r\nc\r", "a\r.b\r\r\nc\r\r\n.\r\n", "a\r\n..b\r\nc\r\n.\r\n"},
        {"\n\n", "\n\n\r\n.\r\n", "\r\n\r\n.\r\n"},
    };
    for (size_t i = 0; i < sizeof t / sizeof *t; i++) {
        struct str text = str_of(t[i].text);
        for (size_t step = 1; step <= text.n + 1; step++) {
            for (int normalise = 0; normalise < 2; normalise++) {
                struct dot_encoder e;
                DEFER(buf_release) struct buf out = BUF_INIT(200);
                dot_encoder_init(&e, normalise);
                for (size_t at = 0; at < text.n; at += step)
                    dot_encode(&e, str_sub(text, at, step), &out);
                dot_encode_end(&e, &out);
                if (!str_eq(buf_str(&out), str_of(normalise ? t[i].normal : t[i].raw)))
                    fail_msg("case %zu step %zu normalise %d: \"%s\"", i, step, normalise, buf_z(&out));
            }
        }
    }
}

/* What the encoder writes, the decoder gives back; a message of clean lines byte for byte. */
static void test_there_and_back(void **state)
{
    (void)state;
    uint32_t seed = 7;
    for (int round = 0; round < 300; round++) {
        DEFER(buf_release) struct buf text = BUF_INIT(1 << 12);
        DEFER(buf_release) struct buf wire = BUF_INIT(1 << 13);
        DEFER(buf_release) struct buf back = BUF_INIT(1 << 13);
        for (int i = 0; i < 200; i++) {
            seed = seed * 1103515245 + 12345;
            buf_add_z(&text, (const char *const[]){".", "a", "\r\n", "\r\n."}[seed >> 30]);
        }
        buf_add_z(&text, "\r\n");
        struct dot_encoder e;
        struct dot_decoder d;
        dot_encoder_init(&e, false);
        dot_encode(&e, buf_str(&text), &wire);
        dot_encode_end(&e, &wire);
        dot_decoder_init(&d, 1000);
        assert_int_equal(dot_decode(&d, buf_str(&wire), &back), wire.n);
        assert_true(d.done);
        assert_int_equal(d.faults, 0);
        assert_true(str_eq(buf_str(&back), buf_str(&text)));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_decode),
        cmocka_unit_test(test_positions),
        cmocka_unit_test(test_encode),
        cmocka_unit_test(test_there_and_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
