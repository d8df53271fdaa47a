#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <dlfcn.h>
#include <rocksdb/c.h>

#include "kv/rocks_crc32c.h"

typedef uint32_t extend(uint32_t crc, const char *p, size_t n);

enum { LONGEST = 3000 };

/* From the definition: reflected, polynomial 0x1EDC6F41, all ones before and after. */
static uint32_t bit_by_bit(uint32_t crc, const char *p, size_t n)
{
    crc = ~crc;
    for (size_t i = 0; i < n; i++) {
        crc ^= (unsigned char)p[i];
        for (int bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ (crc & 1 ? 0x82f63b78U : 0);
    }
    return ~crc;
}

/* RFC 3720 B.4 */
static void test_examples(void **state)
{
    (void)state;
    char zeros[32] = {0}, ones[32], up[32];
    for (int i = 0; i < 32; i++) {
        ones[i] = (char)0xff;
        up[i] = (char)i;
    }
    assert_int_equal(rocks_crc32c_extend(0, zeros, 32), 0x8a9136aa);
    assert_int_equal(rocks_crc32c_extend(0, ones, 32), 0x62a8ab43);
    assert_int_equal(rocks_crc32c_extend(0, up, 32), 0x46dd794e);
    assert_int_equal(rocks_crc32c_extend(0, "123456789", 9), 0xe3069283);
    assert_int_equal(rocks_crc32c_extend(7, NULL, 0), 7);
    assert_true(rocks_crc32c_is_right());
}

static void test_every_length_and_alignment(void **state)
{
    (void)state;
    static char bytes[LONGEST + 16];
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (char)(i * 131 + i / 251);
    for (size_t n = 0; n < LONGEST; n += n < 300 ? 1 : 97)
        for (size_t at = 0; at < 16; at++) {
            uint32_t want = bit_by_bit(0, bytes + at, n);
            assert_int_equal(rocks_crc32c_extend(0, bytes + at, n), want);
            size_t half = n / 3;
            uint32_t first = rocks_crc32c_extend(0, bytes + at, half);
            assert_int_equal(rocks_crc32c_extend(first, bytes + at + half, n - half), want);
        }
}

/* What the library calls is what the dynamic linker finds first; what it would call without us is the next one. */
static void test_the_library_calls_it(void **state)
{
    (void)state;
    rocksdb_options_destroy(rocksdb_options_create()); /* the linker leaves out a library of which nothing is used */
    extend *first, *next;
    *(void **)&first = dlsym(RTLD_DEFAULT, ROCKS_CRC32C_SYMBOL);
    *(void **)&next = dlsym(RTLD_NEXT, ROCKS_CRC32C_SYMBOL);
    assert_ptr_equal(first, rocks_crc32c_extend);
    assert_non_null(next); /* else the library has another name for it now */
    assert_ptr_not_equal(first, next);
    assert_int_equal(next(5, "a block", 7), rocks_crc32c_extend(5, "a block", 7));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_examples),
        cmocka_unit_test(test_every_length_and_alignment),
        cmocka_unit_test(test_the_library_calls_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
