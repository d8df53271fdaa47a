#include "kv/sorted.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>
#include <stdlib.h>

enum { RANGE = 500 };

/* Against an array: every key of a small range, in random order, put, replaced and removed. */
static void test_against_array(void **state)
{
    (void)state;
    struct sorted s;
    sorted_init(&s);
    unsigned char present[RANGE] = {0};
    size_t count = 0;
    uint64_t seed = 99;
    for (unsigned i = 0; i < 20000; i++) {
        seed = seed * 6364136223846793005u + 1442695040888963407u;
        unsigned k = (unsigned)(seed >> 33) % RANGE;
        char key[2] = {(char)(k / 256), (char)k}, value = (char)i;
        struct str name = {key, 2};
        if (seed >> 62) {
            struct sorted_node *old = sorted_insert(&s, sorted_node_new(&s, name, (struct str){&value, 1}));
            assert_int_equal(old != NULL, present[k]);
            sorted_node_free(old);
            count += !present[k];
            present[k] = 1;
            assert_true(sorted_find(&s, name)->value.p[0] == value);
        } else {
            struct sorted_node *old = sorted_remove(&s, name);
            assert_int_equal(old != NULL, present[k]);
            sorted_node_free(old);
            count -= present[k];
            present[k] = 0;
            assert_null(sorted_find(&s, name));
        }
        assert_int_equal(s.count, count);
    }
    struct sorted_node *node = sorted_from(&s, STR_NONE);
    for (unsigned k = 0; k < RANGE; k++) {
        char key[2] = {(char)(k / 256), (char)k};
        struct sorted_node *from = sorted_from(&s, (struct str){key, 2});
        assert_ptr_equal(from, node);
        if (!present[k])
            continue;
        assert_true(str_eq(node->key, (struct str){key, 2}));
        node = sorted_next(node);
    }
    assert_null(node);
    sorted_release(&s);
    assert_null(sorted_from(&s, STR_NONE));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_against_array)};
    return cmocka_run_group_tests_name("kv sorted", tests, NULL, NULL);
}
