#include "rt/permit.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <unistd.h>

#include <cmocka.h>

#include "rt/waiting.h"

static atomic_int holding, most, begun;

static void *worker(void *context)
{
    (void)context;
    for (int i = 0; i < 50; i++) {
        struct permit p;
        struct err e = {0};
        if (permit_take(PERMIT_SEARCH, &p, &e) != ST_OK)
            continue;
        int now = ++holding, seen = most;
        while (now > seen && !atomic_compare_exchange_weak(&most, &seen, now))
            continue;
        usleep(200);
        holding--;
        permit_give(&p);
        permit_give(&p); /* once more does nothing */
    }
    return NULL;
}

static void test_never_more_than_allowed(void **state)
{
    (void)state;
    pthread_t threads[10];
    permit_limit(PERMIT_SEARCH, 3);
    for (int i = 0; i < 10; i++)
        pthread_create(&threads[i], NULL, worker, NULL);
    for (int i = 0; i < 10; i++)
        pthread_join(threads[i], NULL);
    assert_in_range(most, 1, 3);
    assert_int_equal(holding, 0);
}

static void test_try(void **state)
{
    (void)state;
    struct permit a, b, c;
    permit_limit(PERMIT_IMPORT, 2);
    assert_true(permit_try(PERMIT_IMPORT, &a) && permit_try(PERMIT_IMPORT, &b));
    assert_false(permit_try(PERMIT_IMPORT, &c));
    permit_give(&a);
    assert_true(permit_try(PERMIT_IMPORT, &c));
    permit_give(&b);
    permit_give(&c);
    permit_limit(PERMIT_IMPORT, 0); /* at least one */
    assert_true(permit_try(PERMIT_IMPORT, &a));
    assert_false(permit_try(PERMIT_IMPORT, &b));
    permit_give(&a);
}

/* Who waits for a permit says so to its pool. */
static void pool_begin(struct waiting_pool *p) { (void)p, begun++; }
static void pool_end(struct waiting_pool *p) { (void)p, begun--; }

static void *wait_for_it(void *context)
{
    (void)context;
    struct waiting_pool pool = {pool_begin, pool_end};
    struct permit p;
    struct err e = {0};
    waiting_join(&pool);
    assert_int_equal(permit_take(PERMIT_PASSWORD, &p, &e), ST_OK);
    permit_give(&p);
    waiting_join(NULL);
    return NULL;
}

static void test_says_that_it_waits(void **state)
{
    (void)state;
    struct permit held;
    pthread_t t;
    permit_limit(PERMIT_PASSWORD, 1);
    assert_true(permit_try(PERMIT_PASSWORD, &held));
    pthread_create(&t, NULL, wait_for_it, NULL);
    while (begun == 0)
        usleep(1000);
    permit_give(&held);
    pthread_join(t, NULL);
    assert_int_equal(begun, 0);
}

static void test_nested_waiting(void **state)
{
    (void)state;
    struct waiting_pool pool = {pool_begin, pool_end};
    waiting_begin(); /* in no pool */
    waiting_end();
    waiting_join(&pool);
    waiting_begin();
    waiting_begin();
    assert_int_equal(begun, 1);
    waiting_end();
    assert_int_equal(begun, 1);
    waiting_end();
    assert_int_equal(begun, 0);
    waiting_join(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_never_more_than_allowed),
        cmocka_unit_test(test_try),
        cmocka_unit_test(test_says_that_it_waits),
        cmocka_unit_test(test_nested_waiting),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
