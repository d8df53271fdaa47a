/* Where mail goes (RFC 5321 5.1, RFC 7505), with a zone as DNS. */
#include "dns/resolver.h"
#include "queue/route.h"
#include "queue/testing.h"
#include "rt/random.h"

static const char zone[] = "one.test        MX 10 mx.one.test\n"
                           "mx.one.test     A 192.0.2.1\n"
                           "many.test       MX 20 b.many.test\n"
                           "many.test       MX 10 a.many.test\n"
                           "many.test       MX 30 c.many.test\n"
                           "a.many.test     A 192.0.2.11\n"
                           "a.many.test     A 192.0.2.12\n"
                           "b.many.test     A 192.0.2.21\n"
                           "c.many.test     A 192.0.2.31\n"
                           "equal.test      MX 5 x.equal.test\n"
                           "equal.test      MX 5 y.equal.test\n"
                           "equal.test      MX 5 z.equal.test\n"
                           "x.equal.test    A 192.0.2.1\n"
                           "y.equal.test    A 192.0.2.2\n"
                           "z.equal.test    A 192.0.2.3\n"
                           "implicit.test   A 192.0.2.40\n"
                           "null.test       MX 0 .\n"
                           "null.test       A 192.0.2.50\n"
                           "nullplus.test   MX 0 .\n"
                           "nullplus.test   MX 10 mx.one.test\n"
                           "empty.test      TXT nothing\n"
                           "dangling.test   MX 10 nowhere.test\n"
                           "dangling.test   A 192.0.2.60\n"
                           "cname.test      CNAME one.test\n"
                           "loop.test       MX 10 mx.abcd.com\n"
                           "backup.test     MX 10 a.many.test\n"
                           "backup.test     MX 20 MX.abcd.com\n"
                           "backup.test     MX 20 b.many.test\n"
                           "backup.test     MX 30 c.many.test\n"
                           "best.test       MX 10 mx.abcd.com\n"
                           "best.test       MX 20 b.many.test\n"
                           "mx.abcd.com     A 192.0.2.99\n"
                           "down.test       TEMP\n"
                           "halfdown.test   MX 10 down.test\n"
                           "halfdown.test   MX 20 b.many.test\n"
                           "alldown.test    MX 10 down.test\n"
                           "six.test        MX 10 mx.six.test\n"
                           "mx.six.test     AAAA 2001:db8::6\n"
                           "dual.test       MX 10 mx.dual.test\n"
                           "mx.dual.test    AAAA 2001:db8::7\n"
                           "mx.dual.test    A 192.0.2.7\n"
                           "safe.test       MX 10 mx.safe.test secure\n"
                           "mx.safe.test    A 192.0.2.8 secure\n";

/* addresses: in order, separated by spaces; or the class and the beginning of the public text. */
static const struct {
    const char *destination;
    enum st st;
    const char *want;
} cases[] = {
    {"one.test", ST_OK, "192.0.2.1"},          {"many.test", ST_OK, "192.0.2.11 192.0.2.12 192.0.2.21 192.0.2.31"},
    {"implicit.test", ST_OK, "192.0.2.40"},    {"cname.test", ST_OK, "192.0.2.1"},
    {"nullplus.test", ST_OK, "192.0.2.1"},     {"backup.test", ST_OK, "192.0.2.11 192.0.2.12"},
    {"halfdown.test", ST_OK, "192.0.2.21"},    {"six.test", ST_OK, "2001:db8::6"},
    {"[192.0.2.77]", ST_OK, "192.0.2.77"},     {"[IPv6:2001:db8::1]", ST_OK, "2001:db8::1"},
    {"=127.0.0.1:2525", ST_OK, "127.0.0.1"},   {"=lmtp:127.0.0.1:24", ST_OK, "127.0.0.1"},
    {"=2001:db8::5:25", ST_OK, "2001:db8::5"}, {"=mx.one.test:26", ST_OK, "192.0.2.1"},
    {"null.test", ST_PERM, "5.1.10"},          {"loop.test", ST_PERM, "5.4.6"},
    {"best.test", ST_PERM, "5.4.6"},           {"empty.test", ST_PERM, "5.4.4"},
    {"dangling.test", ST_PERM, "5.4.4"},       {"nothere.test", ST_NOTFOUND, "5.1.2"},
    {"not a name", ST_PERM, "5.1.2"},          {"[tag:x]", ST_PERM, "5.1.2"},
    {"down.test", ST_TEMP, "4.4.3"},           {"alldown.test", ST_TEMP, "4.4.3"},
    {"=nothere.test:25", ST_TEMP, "4.4.4"},
};

struct bed {
    struct queue *q;
    struct arena arena;
    struct err e;
};

static void bed_open(struct bed *b)
{
    *b = (struct bed){.q = calloc(1, sizeof *b->q), .arena = ARENA_INIT(64 << 20)};
    assert_non_null(b->q);
    snprintf(b->q->hostname, sizeof b->q->hostname, "mx.abcd.com");
    OK(&b->e, resolver_static(str_of(zone), &b->q->resolver, &b->e));
}

static void bed_close(struct bed *b)
{
    resolver_close(b->q->resolver);
    free(b->q);
    arena_release(&b->arena);
}

static void test_find(void **state)
{
    struct bed b;
    (void)state;
    bed_open(&b);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct route route;
        char got[2000] = "";
        struct err e = {0};
        enum st st = route_find(b.q, str_of(cases[i].destination), &b.arena, &route, &e);
        for (size_t n = 0; n < route.count && st == ST_OK; n++) {
            strcat(got, n ? " " : "");
            strcat(got, route.targets[n].address);
        }
        const char *text = st == ST_OK ? got : e.text;
        bool right = st == ST_OK ? strcmp(got, cases[i].want) == 0 : str_starts(str_of(text), str_of(cases[i].want));
        if (st != cases[i].st || !right)
            fail_msg("%s: %s, %s; want %s, %s", cases[i].destination, st_name(st), text, st_name(cases[i].st), cases[i].want);
    }
    bed_close(&b);
}

static void test_details(void **state)
{
    struct bed b;
    struct route route;
    (void)state;
    bed_open(&b);
    OK(&b.e, route_find(b.q, STR("safe.test"), &b.arena, &route, &b.e));
    assert_true(route.targets[0].secure && route.targets[0].port == 25 && !route.fixed && !route.lmtp);
    assert_true(str_eq(route.targets[0].host, STR("mx.safe.test")));
    OK(&b.e, route_find(b.q, STR("one.test"), &b.arena, &route, &b.e));
    assert_false(route.targets[0].secure);
    OK(&b.e, route_find(b.q, STR("=lmtp:127.0.0.1:24"), &b.arena, &route, &b.e));
    assert_true(route.lmtp && route.fixed && route.targets[0].port == 24);
    OK(&b.e, route_find(b.q, STR("=2001:db8::5:26"), &b.arena, &route, &b.e));
    assert_int_equal(route.targets[0].port, 26);
    bed_close(&b);
}

/* RFC 5321 5.1: equals in random order; 5.2: both families, each first about half of the time. */
static void test_chance(void **state)
{
    enum { TRIES = 600 };
    unsigned first[4] = {0}, v6_first = 0;
    struct bed b;
    (void)state;
    bed_open(&b);
    random_sim_seed(7);
    for (unsigned i = 0; i < TRIES; i++) {
        struct route route;
        OK(&b.e, route_find(b.q, STR("equal.test"), &b.arena, &route, &b.e));
        assert_int_equal(route.count, 3);
        first[route.targets[0].address[8] - '0']++;
        OK(&b.e, route_find(b.q, STR("dual.test"), &b.arena, &route, &b.e));
        assert_int_equal(route.count, 2);
        v6_first += route.targets[0].address[0] == '2';
        arena_release(&b.arena);
    }
    for (unsigned i = 1; i <= 3; i++)
        assert_in_range(first[i], TRIES / 4, TRIES / 2);
    assert_in_range(v6_first, TRIES / 3, TRIES * 2 / 3);
    bed_close(&b);
}

/* Which way: static routes before --relay before the smarthost before DNS. */
static void test_destination(void **state)
{
    static const struct {
        const char *config, *relay, *domain, *want;
    } ways[] = {
        {"", "", "Example.NET", "example.net"},
        {"", "", "", ""},
        {"", "127.0.0.1:26", "example.net", "=127.0.0.1:26"},
        {"", "127.0.0.1", "example.net", "=127.0.0.1:25"},
        {"", "[::1]:26", "example.net", "=::1:26"},
        {"queue { smarthost = \"mail.isp.test:465\" }", "", "example.net", "=mail.isp.test:465"},
        {"queue { smarthost = \"mail.isp.test\" }", "", "example.net", "=mail.isp.test:587"},
        {"queue { smarthost = \"mail.isp.test\" }", "127.0.0.1:26", "example.net", "=127.0.0.1:26"},
        {"route \"example.net\" { host = \"10.1.1.1\" port = 26 }", "127.0.0.1:27", "EXAMPLE.net", "=10.1.1.1:26"},
        {"route \"example.net\" { host = \"10.1.1.1\" lmtp = true port = 24 }", "", "example.net", "=lmtp:10.1.1.1:24"},
        {"route \"fax.test\" { program = \"fax\" }\nprogram \"fax\" { command = {\"/bin/fax\"} }", "127.0.0.1:27", "FAX.test",
         "=program:fax"},
        {"route \"*\" { host = \"10.1.1.1\" }\nroute \"b.test\" { host = \"10.1.1.2\" }", "", "b.test", "=10.1.1.2:25"},
        {"route \"*\" { host = \"10.1.1.1\" }\nroute \"b.test\" { host = \"10.1.1.2\" }", "", "c.test", "=10.1.1.1:25"},
    };
    struct bed b;
    (void)state;
    bed_open(&b);
    for (size_t i = 0; i < sizeof ways / sizeof *ways; i++) {
        struct settings *settings;
        DEFER(buf_release) struct buf got = BUF_INIT(1000);
        OK(&b.e, settings_parse("test", str_of(ways[i].config), &settings, &b.e));
        settings_use(&settings);
        snprintf(b.q->relay, sizeof b.q->relay, "%s", ways[i].relay);
        route_destination(b.q, str_of(ways[i].domain), &got);
        if (!str_eq(buf_str(&got), str_of(ways[i].want)))
            fail_msg("case %zu: got %.*s, want %s", i, STR_FMT(buf_str(&got)), ways[i].want);
    }
    struct settings *settings = settings_defaults();
    settings_use(&settings);
    bed_close(&b);
}

static void test_zone_errors(void **state)
{
    static const char *const bad[] = {"a.test",
                                      "a.test MX",
                                      "a.test MX ten mx.test",
                                      "a.test A 1.2.3",
                                      "a.test AAAA 1.2.3.4",
                                      "a.test LOC here",
                                      "a.test A 192.0.2.1 safe",
                                      "a.test TLSA 3 1 1 xyz",
                                      "a.test TXT \"open"};
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct resolver *r;
        struct err e = {0};
        if (resolver_static(str_of(bad[i]), &r, &e) != ST_PERM || !str_starts(str_of(e.text), STR("Line 1 of the zone")))
            fail_msg("%s: %s", bad[i], e.text);
    }
}

static void test_reverse_names(void **state)
{
    char got[80];
    (void)state;
    assert_true(resolver_reverse_name("192.0.2.1", got));
    assert_string_equal(got, "1.2.0.192.in-addr.arpa");
    assert_true(resolver_reverse_name("2001:db8::567:89ab", got));
    assert_string_equal(got, "b.a.9.8.7.6.5.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa");
    assert_false(resolver_reverse_name("mx.one.test", got));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_find),        cmocka_unit_test(test_details),     cmocka_unit_test(test_chance),
        cmocka_unit_test(test_destination), cmocka_unit_test(test_zone_errors), cmocka_unit_test(test_reverse_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
