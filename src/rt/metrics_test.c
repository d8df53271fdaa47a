#include "rt/metrics.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "rt/recorder.h"

static void *count(void *context)
{
    (void)context;
    for (int i = 0; i < 10000; i++)
        metrics_one(METRIC_LOGINS);
    return NULL;
}

static void test_counting(void **state)
{
    (void)state;
    pthread_t threads[4];
    for (int i = 0; i < 4; i++)
        pthread_create(&threads[i], NULL, count, NULL);
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(metrics_get(METRIC_LOGINS), 40000);
    metrics_add(METRIC_CONNECTIONS_OPEN, 5);
    metrics_add(METRIC_CONNECTIONS_OPEN, -3);
    assert_int_equal(metrics_get(METRIC_CONNECTIONS_OPEN), 2);
}

static void test_times(void **state)
{
    (void)state;
    static const int64_t took[] = {0, 16, 17, 100, 1000, 2000000, 100000000};
    for (size_t i = 0; i < sizeof took / sizeof took[0]; i++)
        metrics_took(METRIC_TIME_PASSWORD, took[i]);
    static const struct {
        int64_t us;
        uint64_t want;
    } rows[] = {{16, 2}, {64, 3}, {256, 4}, {1024, 5}, {1 << 20, 5}, {1 << 22, 6}, {1 << 24, 6}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        assert_int_equal(metrics_took_within(METRIC_TIME_PASSWORD, rows[i].us), rows[i].want);
    struct buf out = BUF_INIT(1 << 20);
    metrics_print(&out);
    assert_true(buf_ok(&out));
    static const char *const wanted[] = {
        "# TYPE postrider_password_seconds histogram\npostrider_password_seconds_bucket{le=\"0.000016\"} 2\n",
        ("postrider_password_seconds_bucket{le=\"+Inf\"} 7\npostrider_password_seconds_sum "
         "102.001133\npostrider_password_seconds_count 7\n"),
        "# TYPE postrider_logins_total counter\npostrider_logins_total 40000\n",
        "# TYPE postrider_connections_open gauge\npostrider_connections_open 2\n",
    };
    for (size_t i = 0; i < sizeof wanted / sizeof wanted[0]; i++)
        if (str_find(buf_str(&out), str_of(wanted[i])) == STR_NPOS)
            fail_msg("want %s", wanted[i]);
    buf_release(&out);
}

static void test_recorder(void **state)
{
    (void)state;
    static const char *const whats[] = {"START", "INPUT"}, *const results[] = {"MORE", "CLOSE"};
    struct recorder r;
    struct buf out = BUF_INIT(1000);
    recorder_start(&r, 1000);
    recorder_print(&r, whats, results, &out);
    assert_int_equal(out.n, 0);
    recorder_add(&r, 1000, 0, 0, 0, 45);
    recorder_add(&r, 1012, 1, 1, 6, 7);
    recorder_print(&r, whats, results, &out);
    assert_true(str_eq(buf_str(&out), STR("+0ms START>MORE 0/45 +12ms INPUT>CLOSE 6/7")));
    buf_clear(&out);
    for (size_t i = 0; i < 20; i++)
        recorder_add(&r, 1100, 1, 0, i, 0);
    recorder_print(&r, whats, results, &out);
    assert_true(str_starts(buf_str(&out), STR("(14 before) +100ms INPUT>MORE 12/0 ")) && str_ends(buf_str(&out), STR(" 19/0")));
    buf_release(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_counting), cmocka_unit_test(test_times),
                                       cmocka_unit_test(test_recorder)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
