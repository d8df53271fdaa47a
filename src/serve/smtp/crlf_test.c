#include "serve/smtp/crlf.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static const struct row {
    struct str text;
    bool bare, eight_bit;
} rows[] = {
    {{"", 0}, false, false},
    {{"a", 1}, false, false},
    {{"a\r\nb\r\n", 6}, false, false},
    {{"\r\n\r\n", 4}, false, false},
    {{"a\nb", 3}, true, false},
    {{"a\rb", 3}, true, false},
    {{"\r", 1}, true, false},
    {{"\n", 1}, true, false},
    {{"a\r\r\n", 4}, true, false},
    {{"a\r\n\n", 4}, true, false},
    {{"a\n\r", 3}, true, false},
    {{"\xc3\xa4\r\n", 4}, false, true},
    {{"abcdefgh\r\n\r\nabc\r", 16}, true, false},
};

/* Cut anywhere, into two or three pieces, the answer is the same. */
static void test_cuts(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct str t = rows[i].text;
        for (size_t a = 0; a <= t.n; a++) {
            for (size_t b = a; b <= t.n; b++) {
                struct crlf_scan c = {0};
                crlf_scan_add(&c, str_upto(t, a));
                crlf_scan_add(&c, str_sub(t, a, b - a));
                crlf_scan_add(&c, str_from(t, b));
                if (crlf_scan_bare(&c) != rows[i].bare || (!rows[i].bare && c.eight_bit != rows[i].eight_bit))
                    fail_msg("row %zu cut at %zu and %zu", i, a, b);
            }
        }
    }
}

/* The longest line, with its CRLF, is the same however the text is cut. */
static void test_longest(void **state)
{
    (void)state;
    static const struct {
        struct str text;
        size_t longest;
    } cases[] = {{{"", 0}, 0},           {{"abc", 3}, 3},  {{"abc\r\n", 5}, 5}, {{"a\r\nbcd\r\ne", 9}, 5},
                 {{"\r\n\r\nab", 6}, 2}, {{"abc\r", 4}, 4}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct str t = cases[i].text;
        for (size_t a = 0; a <= t.n; a++) {
            for (size_t b = a; b <= t.n; b++) {
                struct crlf_scan c = {0};
                crlf_scan_add(&c, str_upto(t, a));
                crlf_scan_add(&c, str_sub(t, a, b - a));
                crlf_scan_add(&c, str_from(t, b));
                if (c.longest != cases[i].longest || crlf_scan_bare(&c) != (i == 5))
                    fail_msg("case %zu cut at %zu and %zu: %zu", i, a, b, c.longest);
            }
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_cuts), cmocka_unit_test(test_longest)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
