/* The simulated clock and randomness. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "rt/clock.h"
#include "rt/random.h"

static void test_clock(void **state)
{
    (void)state;
    clock_sim_set(1000000);
    int64_t mono = clock_mono_ms();
    clock_sim_advance(2500);
    assert_int_equal(clock_wall_ms(), 1002500);
    assert_int_equal(clock_mono_ms(), mono + 2500);
    clock_sleep_ms(500); /* takes no time, but passes it */
    assert_int_equal(clock_mono_us(), (mono + 3000) * 1000);
    clock_sim_set(5); /* the wall clock jumps, the other does not */
    assert_int_equal(clock_mono_ms(), mono + 3000);
}

static void test_random(void **state)
{
    (void)state;
    unsigned char a[100], b[100];
    random_sim_seed(7);
    random_bytes(a, sizeof a);
    random_sim_seed(7);
    random_bytes(b, sizeof b);
    assert_memory_equal(a, b, sizeof a);
    random_sim_seed(8);
    random_bytes(b, sizeof b);
    assert_memory_not_equal(a, b, sizeof a);
    unsigned seen[7] = {0};
    for (int i = 0; i < 7000; i++)
        seen[random_below(7)]++;
    for (int i = 0; i < 7; i++)
        assert_in_range(seen[i], 800, 1200);
    assert_int_equal(random_below(0), 0);
    assert_int_equal(random_below(1), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_clock), cmocka_unit_test(test_random)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
