#include "rt/spool.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

/* The same bytes come back, whether they stayed in memory or went to the file, with what was put in front. */
static void check_sizes(size_t total, size_t step, size_t memory_max)
{
    struct spool s;
    struct err e = {0};
    char *bytes = malloc(total + 1);
    for (size_t i = 0; i < total; i++)
        bytes[i] = (char)(i * 31 + i / 251);
    spool_init(&s, "/tmp", 64 << 20, memory_max);
    for (size_t at = 0; at < total; at += step)
        assert_int_equal(spool_append(&s, str_sub(str_make(bytes, total), at, step), &e), ST_OK);
    assert_int_equal(s.fd >= 0, total > memory_max);
    struct str whole;
    assert_int_equal(spool_view(&s, &whole, &e), ST_OK);
    assert_true(str_eq(whole, str_make(bytes, total)));
    assert_int_equal(spool_prepend(&s, STR("world"), &e), ST_OK);
    assert_int_equal(spool_prepend(&s, STR("hello "), &e), ST_OK);
    assert_int_equal(spool_view(&s, &whole, &e), ST_OK);
    assert_true(str_starts(whole, STR("hello world")));
    assert_true(str_eq(str_from(whole, 11), str_make(bytes, total)));
    if (total > 20) {
        assert_int_equal(spool_skip(&s, 21, &e), ST_OK);
        assert_int_equal(spool_prepend(&s, STR("x"), &e), ST_OK);
        assert_int_equal(spool_view(&s, &whole, &e), ST_OK);
        assert_true(whole.p[0] == 'x' && str_eq(str_from(whole, 1), str_from(str_make(bytes, total), 10)));
    }
    spool_release(&s);
    free(bytes);
}

static void test_sizes(void **state)
{
    (void)state;
    static const size_t sizes[] = {0, 1, 100, 4096, 16384, 65535, 65536, 65537, 300000, 3000000};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        check_sizes(sizes[i], 1000, 65536);
        check_sizes(sizes[i], 700000, 65536);
    }
}

static void test_limits(void **state)
{
    (void)state;
    struct spool s;
    struct err e = {0};
    char block[1000] = {0};
    spool_init(&s, "/tmp", 2500, 100);
    assert_int_equal(spool_append(&s, str_make(block, 1000), &e), ST_OK);
    assert_int_equal(spool_append(&s, str_make(block, 1000), &e), ST_OK);
    for (int i = 0; i < 5; i++)
        assert_int_equal(spool_append(&s, str_make(block, 1000), &e), ST_LIMIT);
    assert_int_equal(s.size, 7000); /* goes on counting */
    spool_release(&s);
    spool_init(&s, "/nonexistent-folder", 1 << 20, 10);
    assert_int_equal(spool_append(&s, str_make(block, 1000), &e), ST_TEMP);
    spool_release(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_sizes), cmocka_unit_test(test_limits)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
