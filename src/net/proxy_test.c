#include "net/proxy.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#define V2 "\r\n\r\n\0\r\nQUIT\n"

static void test_headers(void **state)
{
    (void)state;
    static const struct {
        struct str in;
        enum proxy_result want;
        size_t used;
        bool local;
        const char *address;
        unsigned port;
    } rows[] = {
        {{"PROXY TCP4 192.0.2.1 198.51.100.7 56324 25\r\nEHLO", 48}, PROXY_DONE, 44, false, "192.0.2.1", 56324},
        {STR("PROXY TCP6 2001:db8::1 2001:db8::2 1 25\r\n"), PROXY_DONE, 41, false, "2001:db8::1", 1},
        {STR("PROXY TCP6 ::ffff:192.0.2.9 ::1 1 25\r\n"), PROXY_DONE, 38, false, "192.0.2.9", 1},
        {STR("PROXY UNKNOWN\r\n"), PROXY_DONE, 15, true, "", 0},
        {STR("PROXY UNKNOWN a b c d e f g\r\n"), PROXY_DONE, 29, true, "", 0},
        {STR("PROXY TCP4 192.0.2.1 198.51.100.7 56324 25"), PROXY_MORE, 0, false, "", 0},
        {STR("PRO"), PROXY_MORE, 0, false, "", 0},
        {STR(""), PROXY_MORE, 0, false, "", 0},
        {STR("EHLO there\r\n"), PROXY_BAD, 0, false, "", 0},
        {STR("PROXY TCP4 2001:db8::1 198.51.100.7 56324 25\r\n"), PROXY_BAD, 0, false, "", 0},
        {STR("PROXY TCP6 192.0.2.1 198.51.100.7 56324 25\r\n"), PROXY_BAD, 0, false, "", 0},
        {STR("PROXY TCP4 192.0.2.1 198.51.100.7 65536 25\r\n"), PROXY_BAD, 0, false, "", 0},
        {STR("PROXY TCP4 192.0.2.1 198.51.100.7 56324\r\n"), PROXY_BAD, 0, false, "", 0},
        {STR("PROXY TCP4 192.0.2.1 198.51.100.7 56324 25 1\r\n"), PROXY_BAD, 0, false, "", 0},
        {STR("PROXY TCP4 192.0.2.1 nonsense 56324 25\r\n"), PROXY_BAD, 0, false, "", 0},
        {STR("PROXY UDP4 192.0.2.1 198.51.100.7 56324 25\r\n"), PROXY_BAD, 0, false, "", 0},
        {STR("PROXY TCP4 192.0.2.1 198.51.100.7 5 25 xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"),
         PROXY_BAD, 0, false, "", 0},
        {STR(V2 "\x21\x11\0\x0c\xc0\0\2\1\xc6\x33\x64\7\x12\x34\0\x19"), PROXY_DONE, 28, false, "192.0.2.1", 0x1234},
        {STR(V2 "\x21\x11\0\x0f\xc0\0\2\1\xc6\x33\x64\7\x12\x34\0\x19\4\0\0"), PROXY_DONE, 31, false, "192.0.2.1", 0x1234},
        {STR(V2 "\x21\x21\0\x24\x20\1\xd\xb8\0\0\0\0\0\0\0\0\0\0\0\1\x20\1\xd\xb8\0\0\0\0\0\0\0\0\0\0\0\2\0\7\0\x19"), PROXY_DONE,
         52, false, "2001:db8::1", 7},
        {STR(V2 "\x20\x00\0\0"), PROXY_DONE, 16, true, "", 0},     /* LOCAL */
        {STR(V2 "\x21\x31\0\4abcd"), PROXY_DONE, 20, true, "", 0}, /* a unix socket */
        {STR(V2 "\x21\x11\0\4abcd"), PROXY_DONE, 20, true, "", 0}, /* too short for what it says */
        {STR(V2 "\x21\x11\0\x0c\xc0\0\2"), PROXY_MORE, 0, false, "", 0},
        {STR(V2 "\x31\x11\0\x0c\xc0\0\2\1\xc6\x33\x64\7\x12\x34\0\x19"), PROXY_BAD, 0, false, "", 0}, /* version 3 */
        {STR(V2 "\x22\x11\0\x0c\xc0\0\2\1\xc6\x33\x64\7\x12\x34\0\x19"), PROXY_BAD, 0, false, "", 0}, /* no such command */
        {STR(V2 "\x21\x11\xff\xff"), PROXY_BAD, 0, false, "", 0},                                     /* too long */
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct proxy_source source;
        size_t used;
        enum proxy_result got = proxy_parse(rows[i].in, &used, &source);
        if (got != rows[i].want)
            fail_msg("row %zu: got %d, want %d", i, (int)got, (int)rows[i].want);
        if (got != PROXY_DONE)
            continue;
        if (used != rows[i].used || source.local != rows[i].local)
            fail_msg("row %zu: used %zu, local %d", i, used, source.local);
        if (!source.local && (strcmp(source.address, rows[i].address) != 0 || source.port != rows[i].port))
            fail_msg("row %zu: got %s %u", i, source.address, source.port);
        for (size_t n = 0; n < used; n++) /* every part of it asks for more */
            assert_int_equal(proxy_parse(str_upto(rows[i].in, n), &used, &source), PROXY_MORE);
    }
}

static void test_networks(void **state)
{
    (void)state;
    static const struct {
        const char *list, *address;
        bool want;
    } rows[] = {
        {"10.0.0.0/8", "10.1.2.3", true},
        {"10.0.0.0/8", "11.1.2.3", false},
        {"10.0.0.0/9", "10.128.0.1", false},
        {" 192.0.2.1 , 2001:db8::/33", "192.0.2.1", true},
        {"192.0.2.1,2001:db8::/33", "192.0.2.2", false},
        {"192.0.2.1,2001:db8::/33", "2001:db8:7fff::1", true},
        {"192.0.2.1,2001:db8::/33", "2001:db8:8000::1", false},
        {"0.0.0.0/0", "198.51.100.1", true},
        {"0.0.0.0/0", "2001:db8::1", false},
        {"10.0.0.0/8", "::ffff:10.0.0.1", true},
        {"", "10.0.0.1", false},
        {"10.0.0.0/8", "", false},
    };
    struct proxy_networks *n;
    struct err e = {0};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        assert_int_equal(proxy_networks_parse(str_of(rows[i].list), &n, &e), ST_OK);
        if (proxy_networks_have(n, rows[i].address) != rows[i].want)
            fail_msg("%s in %s", rows[i].address, rows[i].list);
        proxy_networks_free(n);
    }
    static const char *const bad[] = {"10.0.0.0/33", "2001:db8::/129", "ten", "10.0.0.0/x", "10.0.0.0/8, nonsense"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_int_equal(proxy_networks_parse(str_of(bad[i]), &n, &e), ST_PERM);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_headers), cmocka_unit_test(test_networks)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
