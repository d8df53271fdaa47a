/* Buffers, cursors and arenas: what they promise at their limits. */
#include "base/buf.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "base/arena.h"
#include "base/err.h"
#include "base/rd.h"

static void test_buf_maximum_is_sticky(void **state)
{
    (void)state;
    DEFER(buf_release) struct buf b = BUF_INIT(8);
    buf_add(&b, STR("12345678"));
    assert_true(buf_ok(&b));
    buf_add_c(&b, '9');
    assert_false(buf_ok(&b));
    assert_true(str_eq(buf_str(&b), STR("12345678")));
    buf_drop_front(&b, 4);
    buf_add_c(&b, 'x'); /* still failed: nobody may think the text is whole */
    assert_true(str_eq(buf_str(&b), STR("5678")));
    buf_clear(&b);
    buf_printf(&b, "%d-%s", 12, "abc");
    assert_true(buf_ok(&b));
    assert_string_equal(buf_z(&b), "12-abc");
}

static void test_buf_z_of_empty(void **state)
{
    (void)state;
    DEFER(buf_release) struct buf b = BUF_INIT(4);
    assert_string_equal(buf_z(&b), "");
    buf_add(&b, STR("full"));
    assert_string_equal(buf_z(&b), "full");
}

static void test_numbers_come_back(void **state)
{
    (void)state;
    static const uint64_t values[] = {0, 1, 127, 128, 255, 16383, 16384, 0xffffffff, 0x100000000, UINT64_MAX};
    DEFER(buf_release) struct buf b = BUF_INIT(4096);
    for (size_t i = 0; i < sizeof values / sizeof values[0]; i++) {
        buf_add_varint(&b, values[i]);
        buf_add_le64(&b, values[i]);
        buf_add_be64(&b, values[i]);
        buf_add_le32(&b, (uint32_t)values[i]);
        buf_add_u64(&b, values[i]);
        buf_add_c(&b, '.');
    }
    struct rd r = rd_of(buf_str(&b));
    for (size_t i = 0; i < sizeof values / sizeof values[0]; i++) {
        assert_true(rd_varint(&r) == values[i]);
        assert_true(rd_le64(&r) == values[i]);
        assert_true(rd_be64(&r) == values[i]);
        assert_true(rd_le32(&r) == (uint32_t)values[i]);
        assert_true(rd_decimal(&r) == values[i]);
        assert_true(rd_expect(&r, '.'));
    }
    assert_true(rd_ok(&r) && rd_end(&r));
}

static void test_rd_failure_is_sticky(void **state)
{
    (void)state;
    struct rd r = rd_of(STR("abc"));
    assert_int_equal(rd_be32(&r), 0);
    assert_false(rd_ok(&r));
    assert_int_equal(rd_take(&r), -1);
    assert_true(str_empty(rd_bytes(&r, 1)));
    r = rd_of(STR("\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02")); /* more than 64 bits */
    assert_int_equal(rd_varint(&r), 0);
    assert_false(rd_ok(&r));
    r = rd_of(STR("\x05"
                  "abc")); /* length beyond the end */
    assert_true(str_empty(rd_varstr(&r)));
    assert_false(rd_ok(&r));
    r = rd_of(STR("99999999999999999999"));
    assert_int_equal(rd_decimal(&r), 0);
    assert_false(rd_ok(&r));
}

static void test_arena_cap(void **state)
{
    (void)state;
    struct arena a = ARENA_INIT(20000);
    char *small = arena_get(&a, 100);
    assert_non_null(small);
    for (int i = 0; i < 100; i++)
        assert_int_equal(small[i], 0);
    assert_non_null(arena_get(&a, 9000)); /* larger than a chunk */
    assert_null(arena_get(&a, 9000));
    assert_null(arena_get(&a, SIZE_MAX));
    assert_null(arena_get_array(&a, SIZE_MAX / 2, 4));
    assert_non_null(arena_get(&a, 16)); /* the failure above took nothing */
    struct str copy = arena_str(&a, STR("x"));
    assert_true(copy.p[1] == '\0' && str_eq(copy, STR("x")));
    arena_release(&a);
    assert_int_equal(a.used, 0);
    assert_non_null(arena_get(&a, 9000));
    arena_release(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_buf_maximum_is_sticky), cmocka_unit_test(test_buf_z_of_empty),
                                       cmocka_unit_test(test_numbers_come_back), cmocka_unit_test(test_rd_failure_is_sticky),
                                       cmocka_unit_test(test_arena_cap)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
