#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

#include "auth/throttle.h"
#include "rt/clock.h"
#include "rt/settings.h"

static struct throttle_try try_of(const char *address, const char *name, uint64_t proof)
{
    return (struct throttle_try){.address = str_of(address), .name = str_of(name), .proof = proof};
}

static bool allowed(struct throttle *t, const char *address, const char *name, unsigned *wait_s)
{
    struct throttle_try try = try_of(address, name, 0);
    return throttle_allow(t, &try, wait_s, NULL) == ST_OK;
}

static void fail_times(struct throttle *t, const char *address, const char *name, int64_t times)
{
    for (int64_t i = 0; i < times; i++) {
        struct throttle_try try = try_of(address, name, (uint64_t)i + 1);
        throttle_failed(t, &try);
    }
}

/* Past its limit an address is held up for every name, for the time of the settings, twice as long the next time. */
static void test_address(void **state)
{
    (void)state;
    const struct settings *s = settings_current();
    struct throttle *t = throttle_new(1024);
    unsigned wait = 0;
    fail_times(t, "192.0.2.1", "a", s->auth_failures_per_client - 1);
    assert_true(allowed(t, "192.0.2.1", "a", NULL));
    fail_times(t, "192.0.2.1", "a", 1);
    assert_false(allowed(t, "192.0.2.1", "other", &wait));
    assert_int_equal(wait, s->auth_block_ms / 1000);
    assert_true(allowed(t, "192.0.2.2", "other", NULL));
    clock_sim_advance(s->auth_block_ms + 1);
    assert_true(allowed(t, "192.0.2.1", "other", NULL));
    fail_times(t, "192.0.2.1", "b", s->auth_failures_per_client + 1); /* the first repeats the last one */
    assert_false(allowed(t, "192.0.2.1", "b", &wait));
    assert_int_equal(wait, 2 * s->auth_block_ms / 1000);
    throttle_free(t);
    settings_unref(s);
}

/* All of an IPv6 /64 is one client. */
static void test_ipv6(void **state)
{
    (void)state;
    const struct settings *s = settings_current();
    struct throttle *t = throttle_new(1024);
    fail_times(t, "2001:db8::1", "a", s->auth_failures_per_client);
    assert_false(allowed(t, "2001:db8::ffff", "a", NULL));
    assert_true(allowed(t, "2001:db8:0:1::1", "a", NULL));
    throttle_free(t);
    settings_unref(s);
}

/* Many addresses that guess at one account hold up strangers there, but not who logged in from an address before. */
static void test_account(void **state)
{
    (void)state;
    const struct settings *s = settings_current();
    struct throttle *t = throttle_new(4096);
    struct throttle_try owner = try_of("198.51.100.7", "carolyn@xyz.com", 1);
    throttle_succeeded(t, &owner);
    for (int64_t i = 0; i < s->auth_failures_per_account; i++) {
        char address[32];
        snprintf(address, sizeof address, "10.0.%d.%d", (int)(i / 250), (int)(i % 250));
        struct throttle_try try = try_of(address, "Carolyn@XYZ.com", (uint64_t)i + 1);
        throttle_failed(t, &try);
    }
    assert_false(allowed(t, "203.0.113.9", "carolyn@xyz.com", NULL));
    assert_true(allowed(t, "198.51.100.7", "carolyn@xyz.com", NULL));
    assert_true(allowed(t, "203.0.113.9", "elinor@abcd.com", NULL));
    throttle_free(t);
    settings_unref(s);
}

/* A forgotten device with one old password is counted once; failures of long ago are not counted at all. */
static void test_repetition_and_window(void **state)
{
    (void)state;
    const struct settings *s = settings_current();
    struct throttle *t = throttle_new(1024);
    for (int i = 0; i < 1000; i++) {
        struct throttle_try same = try_of("192.0.2.5", "a", 42);
        throttle_failed(t, &same);
    }
    assert_true(allowed(t, "192.0.2.5", "a", NULL));
    for (int64_t i = 0; i < 3 * s->auth_failures_per_client; i++) {
        struct throttle_try try = try_of("192.0.2.6", "a", (uint64_t)i + 1);
        throttle_failed(t, &try);
        if (i % (s->auth_failures_per_client / 4) == 0)
            clock_sim_advance(s->auth_window_ms + 1);
    }
    assert_true(allowed(t, "192.0.2.6", "a", NULL));
    throttle_free(t);
    settings_unref(s);
}

/* Loopback: the address is not counted, the account is. */
static void test_loopback(void **state)
{
    (void)state;
    const struct settings *s = settings_current();
    struct throttle *t = throttle_new(1024);
    struct throttle_try try = {.address = STR("127.0.0.1"), .name = STR("a"), .loopback = true};
    struct throttle_try other = {.address = STR("127.0.0.1"), .name = STR("b"), .loopback = true};
    for (int64_t i = 0; i < s->auth_failures_per_account; i++) {
        assert_int_equal(throttle_allow(t, &try, NULL, NULL), ST_OK);
        throttle_failed(t, &try);
    }
    assert_int_equal(throttle_allow(t, &try, NULL, NULL), ST_LIMIT);
    assert_int_equal(throttle_allow(t, &other, NULL, NULL), ST_OK);
    throttle_free(t);
    settings_unref(s);
}

/* The table does not grow: ten times as many keys as places, and the one that is blocked now is not pushed out by those. */
static void test_bounded(void **state)
{
    (void)state;
    const struct settings *s = settings_current();
    struct throttle *t = throttle_new(256);
    fail_times(t, "192.0.2.1", "victim", s->auth_failures_per_client);
    for (int i = 0; i < 2560; i++) {
        char address[32];
        snprintf(address, sizeof address, "10.1.%d.%d", i / 250, i % 250);
        fail_times(t, address, "x", 1);
    }
    assert_false(allowed(t, "192.0.2.1", "victim", NULL));
    assert_true(allowed(t, "", "victim2", NULL)); /* local: never held up */
    throttle_free(t);
    settings_unref(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_address),  cmocka_unit_test(test_ipv6),
        cmocka_unit_test(test_account),  cmocka_unit_test(test_repetition_and_window),
        cmocka_unit_test(test_loopback), cmocka_unit_test(test_bounded),
    };
    clock_sim_set(1800000000000);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
