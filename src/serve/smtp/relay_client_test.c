#include "serve/smtp/relay_client.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "serve/smtp/rates.h"

static void test_parse(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        enum st want;
    } rows[] = {
        {"", ST_OK},
        {"# only a comment\n\n;;\n", ST_OK},
        {"192.0.2.0/24 from=a@b.example to=* rate=1/1", ST_OK},
        {"192.0.2.0/24, 2001:db8::/64 , from=a@b.example to=*,@c.example rate=1/1", ST_OK},
        {"192.0.2.0/33 from=a@b.example to=* rate=1/1", ST_PERM},
        {"2001:db8::/129 from=a@b.example to=* rate=1/1", ST_PERM},
        {"192.0.2 from=a@b.example to=* rate=1/1", ST_PERM},
        {"from=a@b.example to=* rate=1/1", ST_PERM},
        {"192.0.2.1 to=* rate=1/1", ST_PERM},
        {"192.0.2.1 from=a@b.example rate=1/1", ST_PERM},
        {"192.0.2.1 from=a@b.example to=*", ST_PERM},
        {"192.0.2.1 from=a@b.example to=* rate=0/1", ST_PERM},
        {"192.0.2.1 from=a@b.example to=* rate=1/0", ST_PERM},
        {"192.0.2.1 from=a@b.example to=* rate=9", ST_PERM},
        {"192.0.2.1 from=nobody to=* rate=1/1", ST_PERM},
        {"192.0.2.1 from=@ to=* rate=1/1", ST_PERM},
        {"192.0.2.1\x01 from=a@b.example to=* rate=1/1", ST_PERM},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct relay_clients *r = NULL;
        struct err e = {0};
        enum st got = relay_clients_parse(str_of(rows[i].text), &r, &e);
        if (got != rows[i].want)
            fail_msg("'%s': %s, wanted %s (%s)", rows[i].text, st_name(got), st_name(rows[i].want), e.text);
        relay_clients_free(r);
    }
}

static void test_find(void **state)
{
    (void)state;
    struct relay_clients *r = NULL;
    struct err e = {0};
    static const char text[] = "192.0.2.0/25 from=printer@abcd.com,@Scan.Example to=@abcd.com,boss@xyz.com rate=2/10\n"
                               "2001:db8:0:1::/64; # half a rule is refused";
    assert_int_equal(relay_clients_parse(str_of(text), &r, &e), ST_PERM);
    static const char good[] = "192.0.2.0/25 from=printer@abcd.com,@Scan.Example to=@abcd.com,boss@xyz.com rate=2/10\n"
                               "2001:db8:0:1::/64 from=@abcd.com to=* rate=1/1";
    assert_int_equal(relay_clients_parse(str_of(good), &r, &e), ST_OK);
    static const struct {
        const char *client, *from;
        bool listed, found;
    } rows[] = {
        {"192.0.2.1", "printer@abcd.com", true, true},
        {"192.0.2.127", "PRINTER@abcd.com", true, true},
        {"192.0.2.128", "printer@abcd.com", false, false},
        {"192.0.3.1", "printer@abcd.com", false, false},
        {"::ffff:192.0.2.9", "x@scan.example", true, true},
        {"192.0.2.1", "x@sub.scan.example", true, false},
        {"192.0.2.1", "", true, false},
        {"192.0.2.1", "elinor@abcd.com", true, false},
        {"2001:db8:0:1::7", "elinor@abcd.com", true, true},
        {"2001:db8:0:2::7", "elinor@abcd.com", false, false},
        {"", "printer@abcd.com", false, false},
        {"not an address", "printer@abcd.com", false, false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        assert_int_equal(relay_clients_list(r, rows[i].client), rows[i].listed);
        assert_int_equal(relay_clients_find(r, rows[i].client, str_of(rows[i].from)) != NULL, rows[i].found);
    }
    assert_false(relay_clients_list(NULL, "192.0.2.1"));
    assert_null(relay_clients_find(NULL, "192.0.2.1", STR("printer@abcd.com")));
    const struct relay_client *rule = relay_clients_find(r, "192.0.2.1", STR("printer@abcd.com"));
    assert_true(relay_client_allows(rule, STR("anyone@abcd.com")));
    assert_true(relay_client_allows(rule, STR("boss@xyz.com")));
    assert_false(relay_client_allows(rule, STR("other@xyz.com")));
    assert_false(relay_client_allows(rule, STR("x@evil.example")));
    /* two in ten seconds */
    assert_true(relay_client_take(rule, 1000));
    assert_true(relay_client_take(rule, 1000));
    assert_false(relay_client_take(rule, 1000));
    assert_false(relay_client_take(rule, 5999));
    assert_true(relay_client_take(rule, 6000));
    assert_false(relay_client_take(rule, 6000));
    assert_true(relay_client_take(rule, 1000000));
    relay_clients_free(r);
}

static void test_rates(void **state)
{
    (void)state;
    struct smtp_rates *r = smtp_rates_new();
    assert_non_null(r);
    for (int i = 0; i < 1000; i++)
        assert_true(smtp_rates_take(r, 7, 1000, 3600000, 1));
    assert_false(smtp_rates_take(r, 7, 1000, 3600000, 1));
    assert_true(smtp_rates_take(r, 7, 1000, 3600000, 3601));
    assert_true(smtp_rates_take(NULL, 7, 1, 1000, 1));
    smtp_rates_free(r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_parse), cmocka_unit_test(test_find), cmocka_unit_test(test_rates)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
