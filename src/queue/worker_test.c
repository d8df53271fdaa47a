/* Connections with threads on the real clock: a host that was fast and hangs does not hold up what others could take. */
#define TESTING_REAL_CLOCK
#include "queue/testing.h"

#include <semaphore.h>

#define MESSAGE "Received: by mx.abcd.com\r\nSubject: hello\r\n\r\nbody\r\n"

static struct {
    sem_t go_on; /* what "hang@" waits for */
    atomic_uint hanging, sent;
} host;

static enum transport_state host_deliver(struct transport *t, struct attempt *a)
{
    (void)t;
    clock_sleep_ms(1);
    if (str_starts(a->record.recipients[0].address, STR("hang"))) {
        atomic_fetch_add(&host.hanging, 1);
        while (sem_wait(&host.go_on) != 0)
            continue;
    }
    attempt_set_all(a, ATTEMPT_OK, STR("250 2.0.0 fine"), true, STR("mx.remote.test"));
    atomic_fetch_add(&host.sent, 1);
    return TRANSPORT_READY;
}

static const struct transport_class host_class;

static bool host_open(struct queue *q, struct str destination, struct transport **out, struct transport_failure *why)
{
    (void)q;
    (void)destination;
    (void)why;
    *out = calloc(1, sizeof **out);
    assert_non_null(*out);
    (*out)->class = &host_class;
    return true;
}

static void host_close(struct transport *t) { free(t); }

static const struct transport_class host_class = {"host", host_open, host_deliver, host_close};

static void wait_for(const atomic_uint *what, unsigned count)
{
    for (unsigned i = 0; i < 2000 && atomic_load(what) < count; i++)
        clock_sleep_ms(10);
    assert_int_equal(atomic_load(what), count);
}

static void begin(struct testing *t)
{
    testing_open(t, false, false);
    t->queue->remote = &host_class;
    sem_init(&host.go_on, 0, 0);
    host.hanging = host.sent = 0;
    OK(&t->err, queue_start(t->queue, &t->err));
}

static void end(struct testing *t)
{
    queue_stop(t->queue, 5000);
    assert_int_equal(testing_entries(t), 0);
    sem_destroy(&host.go_on);
    testing_close(t);
}

static void take(struct testing *t, const char *to)
{
    assert_int_equal(testing_accept(t, "elinor@abcd.com", to, MESSAGE, true, NULL), ST_OK);
}

static void test_a_fast_host_hangs(void **state)
{
    struct testing t;
    struct settings *settings = settings_defaults();
    (void)state;
    settings->queue_connection_idle_ms = 60000;
    settings_use(&settings);
    begin(&t);
    for (unsigned i = 0; i < 50; i++) /* several connections, which wait for more then */
        take(&t, "ok@remote.test");
    wait_for(&host.sent, 50);
    take(&t, "hang@remote.test");
    wait_for(&host.hanging, 1);
    take(&t, "ok@remote.test");
    wait_for(&host.sent, 51); /* though the one that hangs was believed to be about to take it */
    sem_post(&host.go_on);
    wait_for(&host.sent, 52);
    end(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_a_fast_host_hangs)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
