/* The settler: everything that it takes is written once, whatever the engine does meanwhile. */
#include "queue/settle.h"

#include "queue/testing.h"

#define MESSAGE "Received: by mx.abcd.com\r\nSubject: hello\r\n\r\nbody\r\n"

static void begin(struct testing *t)
{
    testing_open(t, true, false);
    OK(&t->err, settler_start(t->queue, &t->queue->settler, &t->err));
}

static void stop_settler(struct testing *t)
{
    settler_stop(t->queue->settler);
    t->queue->settler = NULL;
}

static void test_all_are_settled(void **state)
{
    struct testing t;
    enum { MESSAGES = 300 };
    (void)state;
    begin(&t);
    for (unsigned i = 0; i < MESSAGES; i++)
        assert_int_equal(testing_accept(&t, "elinor@abcd.com", i % 3 ? "ok@remote.test" : "perm@remote.test norelay@remote.test:2",
                                        MESSAGE, true, NULL),
                         ST_OK);
    testing_run(&t, 0);
    stop_settler(&t);
    testing_run(&t, 1); /* the reports */
    assert_int_equal(testing_entries(&t), 0);
    assert_int_equal(testing_count(buf_str(&fake.sent), "|"), MESSAGES);
    assert_int_equal(testing_look(&t, t.elinor, "INBOX").count, 2 * (MESSAGES / 3));
    testing_close(&t);
}

/* What was delivered is not sent again while its commit fails, nor after the engine has come back. */
static void test_engine_fails_for_a_while(void **state)
{
    struct testing t;
    (void)state;
    for (unsigned applied = 0; applied < 2; applied++) {
        begin(&t);
        for (unsigned i = 0; i < 20; i++)
            assert_int_equal(testing_accept(&t, "elinor@abcd.com", "ok@remote.test", MESSAGE, true, NULL), ST_OK);
        kv_fault_plan(t.kv, &(struct kv_fault_plan){.kinds = KV_FAULT_COMMIT, .at = 1, .more = 9, .applied = applied});
        testing_run(&t, 0);
        stop_settler(&t);
        assert_true(kv_fault_fired(t.kv));
        kv_fault_plan(t.kv, NULL);
        testing_run(&t, 1);
        assert_int_equal(testing_entries(&t), 0);
        assert_int_equal(testing_count(buf_str(&fake.sent), "|"), 20);
        testing_close(&t);
    }
}

/* An engine that stays away: no more waits than was said, the rest is refused; and a stop ends it all. */
static void test_full(void **state)
{
    struct testing t;
    struct served *served = NULL;
    unsigned taken = 0;
    (void)state;
    begin(&t);
    struct window_slot *slot = queue_slot_for_new(t.queue);
    kv_fault_plan(t.kv, &(struct kv_fault_plan){.kinds = KV_FAULT_COMMIT, .at = 1, .crash = true});
    for (unsigned i = 0; i < 3 * SETTLE_TOGETHER_MAX; i++) {
        struct record_recipient recipient = {.address = STR("ok@remote.test"), .state = RECORD_PENDING};
        struct record record = {.domain = STR("remote.test"), .recipients = &recipient, .count = 1};
        struct queue_id id = queue_id_next(shard_number(slot->shard), clock_wall_ms(), &t.queue->id_counter);
        bool none;
        served = calloc(1, sizeof *served);
        assert_non_null(served);
        pthread_mutex_lock(&t.queue->window.lock);
        served->entry = window_claim(&t.queue->window, slot, &id, &none);
        pthread_mutex_unlock(&t.queue->window.lock);
        assert_non_null(served->entry);
        OK(&t.err, attempt_begin_with(&served->attempt, t.queue, slot, &id, &record, &t.err));
        served->attempt.record.recipients = ARENA_NEW(&served->attempt.arena, struct record_recipient);
        assert_non_null(served->attempt.record.recipients);
        *served->attempt.record.recipients = recipient;
        attempt_set_all(&served->attempt, ATTEMPT_OK, STR("250 2.0.0 fine"), true, STR("mx.remote.test"));
        if (!settler_take(t.queue->settler, &served))
            break;
        taken++;
    }
    assert_non_null(served); /* refused, and still ours */
    assert_in_range(taken, SETTLE_TOGETHER_MAX, 2 * SETTLE_TOGETHER_MAX);
    attempt_release(&served->attempt);
    free(served);
    atomic_store(&t.queue->breaking, true);
    stop_settler(&t);
    kv_fault_restart(t.kv);
    testing_close(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_all_are_settled),
        cmocka_unit_test(test_engine_fails_for_a_while),
        cmocka_unit_test(test_full),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
