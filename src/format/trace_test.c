/* Received and Return-Path. */
#include "format/trace.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "base/err.h"

static void test_with(void **state)
{
    (void)state;
    static const struct {
        struct trace_protocol p;
        const char *want;
    } cases[] = {
        {{0}, "SMTP"},
        {{.tls = true}, "SMTP"},
        {{.ehlo = true}, "ESMTP"},
        {{.ehlo = true, .tls = true}, "ESMTPS"},
        {{.ehlo = true, .auth = true}, "ESMTPA"},
        {{.ehlo = true, .tls = true, .auth = true}, "ESMTPSA"},
        {{.ehlo = true, .tls = true, .auth = true, .utf8 = true}, "UTF8SMTPSA"},
        {{.lmtp = true}, "LMTP"},
        {{.lmtp = true, .utf8 = true, .tls = true}, "UTF8LMTPS"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_true(str_eq(trace_with(&cases[i].p), str_of(cases[i].want)));
}

static void test_received(void **state)
{
    (void)state;
    DEFER(buf_release) struct buf out = BUF_INIT(4096);
    struct trace_received t = {
        .helo = STR("client.example"),
        .client_name = STR("host.example"),
        .client_ip = STR("2001:db8::1"),
        .by = STR("mx.xyz.com"),
        .with = {.ehlo = true, .tls = true},
        .tls_version = STR("TLS1.3"),
        .tls_cipher = STR("TLS_AES_256_GCM_SHA384"),
        .id = STR("abc123"),
        .for_address = STR("carolyn@xyz.com"),
        .when = {.epoch_s = 1704099900, .zone_min = 60},
    };
    trace_received_print(&t, &out);
    assert_string_equal(buf_z(&out), "Received: from client.example (host.example [IPv6:2001:db8::1])\r\n"
                                     "\tby mx.xyz.com with ESMTPS\r\n"
                                     "\tid abc123\r\n"
                                     "\tfor <carolyn@xyz.com>\r\n"
                                     "\ttls TLS_AES_256_GCM_SHA384 (TLS1.3);\r\n"
                                     "\tMon, 1 Jan 2024 10:05:00 +0100\r\n");
    buf_clear(&out);
    struct trace_received hostile = {
        .helo = STR("x)\r\nBcc: y"),
        .client_ip = STR("192.0.2.1"),
        .by = STR("mx.xyz.com"),
        .id = STR("i"),
        .for_address = STR("a\nb@c"),
        .when = {.epoch_s = 1704099900},
    };
    trace_received_print(&hostile, &out);
    assert_string_equal(
        buf_z(&out),
        "Received: from x???Bcc:?y ([192.0.2.1])\r\n\tby mx.xyz.com with SMTP\r\n\tid i;\r\n\tMon, 1 Jan 2024 09:05:00 +0000\r\n");
}

static void test_return_path(void **state)
{
    (void)state;
    DEFER(buf_release) struct buf out = BUF_INIT(4096);
    struct address a = {.local = STR("a b"), .domain = STR("x.com")}, null = {0};
    trace_return_path_print(&a, &out);
    trace_return_path_print(&null, &out);
    trace_return_path_print_text(STR("e@x.com"), &out);
    trace_return_path_print_text(STR(""), &out);
    assert_string_equal(buf_z(&out),
                        "Return-Path: <\"a b\"@x.com>\r\nReturn-Path: <>\r\nReturn-Path: <e@x.com>\r\nReturn-Path: <>\r\n");
    assert_int_equal(trace_received_count(STR("Received: a\r\nX: b\r\nreceived: c\r\n\r\nReceived: d\r\n"), 100), 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_with), cmocka_unit_test(test_received),
                                       cmocka_unit_test(test_return_path)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
