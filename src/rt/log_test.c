#include "rt/log.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

static int fds[2];

static void begin(bool json)
{
    assert_int_equal(pipe(fds), 0);
    log_to(fds[1]);
    log_json(json);
    log_level_set(LOG_INFO);
}

/* What was logged, without the time in front of it. */
static const char *end(void)
{
    static char text[1 << 16];
    size_t n = 0;
    close(fds[1]);
    for (ssize_t got; n < sizeof text - 1 && (got = read(fds[0], text + n, sizeof text - 1 - n)) > 0;)
        n += (size_t)got;
    close(fds[0]);
    text[n] = '\0';
    log_to(STDERR_FILENO);
    log_json(false);
    return text;
}

static const char *after_time(const char *line) { return strlen(line) > 25 ? line + 25 : line; }

static void test_text(void **state)
{
    (void)state;
    static const struct {
        struct str value;
        const char *want;
    } rows[] = {
        {STR("a@b.com"), "a@b.com"},
        {STR(""), "\"\""},
        {STR("two words"), "\"two words\""},
        {STR("line\r\n2026 forged"), "\"line\\u000d\\u000a2026 forged\""},
        {STR("q\"b\\"), "\"q\\\"b\\\\\""},
        {STR("x=y"), "\"x=y\""},
        {STR("caf\xc3\xa9"), "\"caf\xc3\xa9\""},
        {STR("caf\xe9"), "\"caf\\ufffd\""},
        {STR("esc\x1b[2J\x7f"), "\"esc\\u001b[2J\\u007f\""},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char want[256];
        begin(false);
        log_event(LOG_INFO, "test.event", LOG_STR("v", rows[i].value), LOG_UINT("n", 18446744073709551615ULL), LOG_INT("i", -5),
                  LOG_BOOL("b", true), LOG_MS("took", 12));
        snprintf(want, sizeof want, "info test.event v=%s n=18446744073709551615 i=-5 b=true took_ms=12\n", rows[i].want);
        const char *got = end();
        assert_string_equal(after_time(got), want);
        assert_true(got[4] == '-' && got[10] == 'T' && got[23] == 'Z');
    }
}

static void test_json(void **state)
{
    (void)state;
    begin(true);
    log_event(LOG_WARN, "test.event", LOG_STR("v", STR("a\"b\n")), LOG_UINT("n", 7), LOG_BOOL("b", false));
    const char *got = end();
    assert_non_null(strstr(got, "\",\"level\":\"warn\",\"event\":\"test.event\",\"v\":\"a\\\"b\\u000a\",\"n\":7,\"b\":false}\n"));
    assert_true(strncmp(got, "{\"time\":\"", 9) == 0);
}

static void test_levels_and_errors(void **state)
{
    (void)state;
    enum log_level level;
    struct err e = {0};
    (void)!ERR(&e, ST_TEMP, "public", "private %d", 5);
    begin(false);
    log_event(LOG_DEBUG, "test.quiet");
    log_event(LOG_ERROR, "test.loud", LOG_ERR(&e));
    const char *got = after_time(end());
    assert_true(strncmp(got, "error test.loud error=\"private 5\" class=temp at=", 48) == 0);
    assert_true(log_level_parse(STR("Warn"), &level) && level == LOG_WARN);
    assert_false(log_level_parse(STR("loud"), &level));
}

/* Whole fields, one line, however much there is. */
static void test_long(void **state)
{
    (void)state;
    char *value = malloc(10000);
    memset(value, 'x', 10000);
    begin(false);
    struct str v = str_make(value, 10000);
    log_event(LOG_INFO, "test.long", LOG_STR("a", v), LOG_STR("b", v), LOG_STR("c", v), LOG_STR("d", v), LOG_STR("e", v),
              LOG_STR("f", v), LOG_STR("g", v), LOG_STR("h", v), LOG_STR("i", v));
    const char *got = end();
    size_t n = strlen(got);
    assert_true(n <= LOG_LINE_MAX + 64 && n > 3 * LOG_VALUE_MAX);
    assert_ptr_equal(strchr(got, '\n'), got + n - 1);
    assert_null(strstr(got, " i="));
    free(value);
}

static void test_flood(void **state)
{
    (void)state;
    unsigned lines = 0;
    begin(false);
    for (int i = 0; i < 5 * LOG_BURST; i++)
        log_event(LOG_WARN, "test.flood");
    for (const char *p = end(); *p; p++)
        lines += *p == '\n';
    assert_in_range(lines, LOG_BURST, 3 * LOG_BURST); /* a second or two */
    lines = 0;
    begin(false);
    for (int i = 0; i < 5 * LOG_BURST; i++) /* a record of the work is not cut */
        log_event(LOG_INFO, "t");
    for (const char *p = end(); *p; p++)
        lines += *p == '\n';
    assert_int_equal(lines, 5 * LOG_BURST);
}

static bool take(void *context, enum log_level level, const char *event, const struct log_field *fields, size_t count)
{
    unsigned *taken = context;
    assert_true(level == LOG_WARN && count == 1 && fields[0].u == 9);
    (*taken)++;
    return strcmp(event, "test.taken") == 0;
}

static void test_capture(void **state)
{
    (void)state;
    unsigned taken = 0;
    begin(false);
    log_capture(take, &taken);
    log_event(LOG_WARN, "test.taken", LOG_UINT("n", 9));
    log_event(LOG_WARN, "test.seen", LOG_UINT("n", 9));
    log_capture(NULL, NULL);
    assert_string_equal(after_time(end()), "warn test.seen n=9\n");
    assert_int_equal(taken, 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_text), cmocka_unit_test(test_json),  cmocka_unit_test(test_levels_and_errors),
        cmocka_unit_test(test_long), cmocka_unit_test(test_flood), cmocka_unit_test(test_capture),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
