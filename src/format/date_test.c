/* Dates: every form in, every form out. */
#include "format/date.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "base/err.h"

static const struct {
    const char *text;
    const char *want; /* RFC 3339; NULL: no date */
} header_dates[] = {
    {"Fri, 21 Nov 1997 09:55:06 -0600", "1997-11-21T09:55:06-06:00"},
    {"21 Nov 1997 09:55:06 -0600", "1997-11-21T09:55:06-06:00"},
    {"Thu, 13 Feb 1969 23:32:54 -0330", "1969-02-13T23:32:54-03:30"},
    {"Thu,\r\n\t13\r\n\t Feb\r\n\t 1969\r\n\t23:32\r\n\t\t -0330 (Newfoundland Time)",
     "1969-02-13T23:32:00-03:30"},                      /* RFC 5322 A.5 */
    {"21 Nov 97 09:55:06 GMT", "1997-11-21T09:55:06Z"}, /* A.6.2 */
    {"21 Nov 04 09:55:06 EDT", "2004-11-21T09:55:06-04:00"},
    {"21 Nov 104 09:55:06 +0100", "2004-11-21T09:55:06+01:00"},
    {"Fri, 21 Nov 1997 09(comment):   55  :  06 -0600", "1997-11-21T09:55:06-06:00"},
    {"Fri, 29 Feb 2008 00:00:60 +0000", "2008-02-29T00:01:00Z"},
    {"Mon, 1 Jan 2024 9:05 +0530", "2024-01-01T09:05:00+05:30"},
    {"Mon Jan  1 09:05:00 2024", "2024-01-01T09:05:00Z"},
    {"Mon Jan  1 09:05:00 PST 2024", "2024-01-01T09:05:00-08:00"},
    {"1-Jan-2024 09:05:00 +0000", "2024-01-01T09:05:00Z"},
    {"2024-01-01T09:05:00+02:00", "2024-01-01T09:05:00+02:00"},
    {"2024-01-01 09:05:00", "2024-01-01T09:05:00Z"},
    {"Mon, 1 January 2024 09:05:00 GMT+0200", "2024-01-01T09:05:00+02:00"},
    {"Mon, 1 Jan 2024 09:05:00 PM +0000", "2024-01-01T21:05:00Z"},
    {"Mon, 1 Jan 2024 09:05:00 +0100 (CET) and more 12", "2024-01-01T09:05:00+01:00"},
    {"Mon, 1 Jan 2024 09:05:00 -0000", "2024-01-01T09:05:00Z"},
    {"Mon, 1 Jan 2024 09:05:00 XYZ", "2024-01-01T09:05:00Z"},
    {"Mon, 1 Jan 2024", "2024-01-01T00:00:00Z"},
    {"Mon, 31 Apr 2024 09:05:00 +0000", NULL},
    {"Mon, 29 Feb 2023 09:05:00 +0000", NULL},
    {"Mon, 1 Jan 2024 25:05:00 +0000", NULL},
    {"Mon, 1 Foo 2024 09:05:00 +0000", NULL},
    {"Mon, 1 Jan 2024 09:05:00 +9999", "2024-01-01T09:05:00Z"},
    {"yesterday", NULL},
    {"", NULL},
    {"99999999999999999999", NULL},
};

static void test_header_dates(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof header_dates / sizeof *header_dates; i++) {
        struct date d = {0};
        DEFER(buf_release) struct buf got = BUF_INIT(64);
        bool ok = date_parse(str_of(header_dates[i].text), &d);
        if (ok)
            date_print_rfc3339(&d, &got);
        const char *want = header_dates[i].want;
        if (ok != (want != NULL) || (ok && !str_eq(buf_str(&got), str_of(want))))
            fail_msg("%s: got %s want %s", header_dates[i].text, ok ? buf_z(&got) : "none", want ? want : "none");
    }
}

static void test_unknown_zone(void **state)
{
    (void)state;
    const struct {
        const char *text;
        bool unknown;
    } cases[] = {
        {"1 Jan 2024 09:05:00 +0000", false}, {"1 Jan 2024 09:05:00 -0000", true}, {"1 Jan 2024 09:05:00", true},
        {"1 Jan 2024 09:05:00 GMT", false},   {"1 Jan 2024 09:05:00 A", true},     {"1 Jan 2024 09:05:00 PST", false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct date d;
        assert_true(date_parse(str_of(cases[i].text), &d));
        assert_int_equal(d.zone_unknown, cases[i].unknown);
    }
}

static void test_print(void **state)
{
    (void)state;
    struct date d = {.epoch_s = 837596665, .zone_min = -420};
    DEFER(buf_release) struct buf out = BUF_INIT(200);
    date_print(&d, &out);
    assert_string_equal(buf_z(&out), "Wed, 17 Jul 1996 02:44:25 -0700");
    buf_clear(&out);
    date_print_imap(&d, &out);
    assert_string_equal(buf_z(&out), "17-Jul-1996 02:44:25 -0700");
    buf_clear(&out);
    date_print_rfc3339_utc(d.epoch_s, &out);
    assert_string_equal(buf_z(&out), "1996-07-17T09:44:25Z");
    buf_clear(&out);
    struct date early = {.epoch_s = 1704099900, .zone_unknown = true};
    date_print_imap(&early, &out);
    assert_string_equal(buf_z(&out), " 1-Jan-2024 09:05:00 -0000");
    buf_clear(&out);
    struct date absurd = {.epoch_s = INT64_MAX / 2, .zone_min = 60};
    date_print(&absurd, &out);
    assert_true(str_find(buf_str(&out), STR(" 9999 ")) != STR_NPOS);
}

static void test_imap(void **state)
{
    (void)state;
    const struct {
        const char *text;
        int64_t want; /* 0: refused */
    } cases[] = {
        {"17-Jul-1996 02:44:25 -0700", 837596665},
        {"\"17-Jul-1996 02:44:25 -0700\"", 837596665},
        {" 1-Jan-2024 09:05:00 +0000", 1704099900},
        {"1-Jan-2024 09:05:00 +0000", 1704099900},
        {"01-jan-2024 09:05:00 +0000", 1704099900},
        {"1-Jan-2024 09:05:00", 0},
        {"1-Jan-24 09:05:00 +0000", 0},
        {"1-Jan-2024 09:05:00 +000", 0},
        {"1-Jan-2024  09:05:00 +0000", 0},
        {"31-Feb-2024 09:05:00 +0000", 0},
        {"1-Jan-2024 09:05:00 +0000 ", 0},
        {"", 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct date d = {0};
        bool ok = date_parse_imap(str_of(cases[i].text), &d);
        if (ok != (cases[i].want != 0) || (ok && d.epoch_s != cases[i].want))
            fail_msg("%s: %d %lld", cases[i].text, ok, (long long)d.epoch_s);
    }
    int32_t day;
    assert_true(date_parse_imap_day(STR("1-Feb-1994"), &day));
    assert_int_equal(day, 8797);
    assert_true(date_parse_imap_day(STR("\"01-Feb-1994\""), &day));
    assert_int_equal(day, 8797);
    assert_false(date_parse_imap_day(STR("1-Feb-1994 "), &day));
    struct date d;
    assert_true(date_parse(STR("Mon, 1 Jan 2024 23:30:00 -0800"), &d)); /* 2 January in UTC */
    assert_int_equal(date_local_day(&d), 19723);
}

static void test_rfc3339(void **state)
{
    (void)state;
    struct date d;
    assert_true(date_parse_rfc3339(STR("1985-04-12T23:20:50.52Z"), &d));
    assert_int_equal(d.epoch_s, 482196050);
    assert_true(date_parse_rfc3339(STR("1996-12-19T16:39:57-08:00"), &d));
    assert_int_equal(d.epoch_s, 851042397);
    assert_false(date_parse_rfc3339(STR("1996-12-19T16:39:57"), &d));
    assert_false(date_parse_rfc3339(STR("1996-12-19T16:39:57-0800"), &d));
    assert_false(date_parse_rfc3339(STR("1996-12-19T16:39:57.Z"), &d));
}

/* print(parse(x)) == x over the calendar, also where leap years change their mind. */
static void test_every_day_comes_back(void **state)
{
    (void)state;
    int last = -1;
    for (int64_t day = -135140; day < 200000; day++) { /* 1600 to 2517 */
        struct date d = {.epoch_s = day * 86400 + 43210, .zone_min = (int16_t)(day % 2 ? 330 : -570)}, back;
        struct date_civil c = date_civil(&d);
        assert_true(date_from_civil(&c, d.zone_min, &back));
        assert_int_equal(back.epoch_s, d.epoch_s);
        if (last >= 0 && day % 2 == 0)
            assert_true(c.weekday == (last + 2) % 7);
        if (day % 2 == 0)
            last = c.weekday;
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_header_dates), cmocka_unit_test(test_unknown_zone), cmocka_unit_test(test_print),
        cmocka_unit_test(test_imap),         cmocka_unit_test(test_rfc3339),      cmocka_unit_test(test_every_day_comes_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
