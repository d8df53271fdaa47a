/* The queue on simulated time with a fake transport. */
#include "queue/testing.h"

#define MESSAGE "Received: by mx.abcd.com\r\nSubject: hello\r\n\r\nbody\r\n"

static void test_local_direct(void **state)
{
    (void)state;
    struct testing t;
    testing_open(&t, false, false);
    assert_int_equal(testing_accept(&t, "elinor@abcd.com", "carolyn@xyz.com", MESSAGE, true, NULL), ST_OK);
    struct testing_mailbox inbox = testing_look(&t, t.carolyn, "INBOX");
    assert_int_equal(inbox.count, 1);
    assert_true(str_eq(inbox.last, STR("Return-Path: <elinor@abcd.com>\r\n" MESSAGE)));
    assert_int_equal(testing_entries(&t), 0);
    testing_close(&t);
}

static void test_remote(void **state)
{
    (void)state;
    struct testing t;
    testing_open(&t, false, false);
    assert_int_equal(testing_accept(&t, "elinor@abcd.com", "ok@remote.test", MESSAGE, true, NULL), ST_OK);
    assert_int_equal(testing_entries(&t), 1);
    testing_run(&t, 1);
    assert_int_equal(testing_entries(&t), 0);
    assert_int_equal(testing_count(buf_str(&fake.sent), "ok@remote.test|"), 1);
    assert_true(str_eq(buf_str(&fake.last), STR(MESSAGE)));
    assert_string_equal(fake.last_from, "elinor@abcd.com");
    testing_close(&t);
}

static void test_mixed(void **state)
{
    (void)state;
    struct testing t;
    testing_open(&t, false, false);
    assert_int_equal(testing_accept(&t, "a@remote.test",
                                    "carolyn@xyz.com elinor@abcd.com ok@other.test ok2@other.test ok@third.test", MESSAGE, true,
                                    NULL),
                     ST_OK);
    assert_int_equal(testing_look(&t, t.carolyn, "INBOX").count, 1);
    assert_int_equal(testing_look(&t, t.elinor, "INBOX").count, 1);
    assert_int_equal(testing_entries(&t), 2); /* the local ones are settled already */
    testing_run(&t, 1);
    assert_int_equal(testing_entries(&t), 0);
    assert_int_equal(fake.transactions, 2);
    assert_true(str_eq(buf_str(&fake.last), STR(MESSAGE)));
    assert_int_equal(testing_look(&t, t.carolyn, "INBOX").count, 1);
    testing_close(&t);
}

static void test_retry(void **state)
{
    (void)state;
    struct testing t;
    testing_open(&t, false, false);
    assert_int_equal(
        testing_accept(&t, "elinor@abcd.com", "temp3@remote.test ok@remote.test perm@remote.test", MESSAGE, true, NULL), ST_OK);
    testing_run(&t, 3);
    assert_int_equal(testing_count(buf_str(&fake.sent), "temp3@remote.test|"), 1);
    assert_int_equal(testing_count(buf_str(&fake.sent), "|"), 2);
    assert_int_equal(fake.transactions, 4);
    assert_int_equal(testing_entries(&t), 0);
    struct testing_mailbox inbox = testing_look(&t, t.elinor, "INBOX");
    assert_int_equal(inbox.count, 1);
    assert_int_not_equal(str_find(inbox.last, STR("Action: failed")), STR_NPOS);
    assert_int_not_equal(str_find(inbox.last, STR("perm@remote.test")), STR_NPOS);
    assert_int_equal(str_find(inbox.last, STR("temp3@remote.test")), STR_NPOS);
    assert_true(str_starts(inbox.last, STR("Return-Path: <>\r\n")));
    testing_close(&t);
}

struct only {
    struct queue_id id;
    struct record record;
    struct arena arena;
    unsigned count;
};

static bool visit_only(void *context, const struct queue_id *id, struct str record)
{
    struct only *only = context;
    only->count++;
    only->id = *id;
    struct str copy = arena_str(&only->arena, record);
    assert_int_equal(record_decode(copy, &only->arena, &only->record, NULL), ST_OK);
    return true;
}

/* The one entry of all shards is settled by another node. */
static void settle_elsewhere(struct testing *t)
{
    for (size_t i = 0; i < t->queue->slot_count; i++) {
        struct only only = {.arena = ARENA_INIT(1 << 20)};
        struct shard *shard = t->queue->slots[i]->shard;
        OK(&t->err, shard_scan_entries(shard, &only.id, visit_only, &only, &t->err));
        struct shard_change gone = {.id = only.id, .was_due_ms = only.record.next_ms, .blob = only.record.blob};
        struct shard_op op = {.changes = &gone, .count = 1};
        if (only.count > 0)
            OK(&t->err, shard_commit(shard, &op, &t->err));
        arena_release(&only.arena);
    }
}

/* A new entry is attempted from memory, but not after so long a time that it may have changed its owner. */
static void test_at_hand(void **state)
{
    (void)state;
    for (unsigned late = 0; late < 2; late++) {
        struct testing t;
        testing_open(&t, false, false);
        assert_int_equal(testing_accept(&t, "elinor@abcd.com", "ok@remote.test", MESSAGE, true, NULL), ST_OK);
        assert_true(t.queue->window.at_hand_bytes > 0);
        settle_elsewhere(&t);
        clock_sim_advance(late ? QUEUE_RENEW_MS : QUEUE_RENEW_MS - 1000);
        testing_run(&t, 0);
        assert_int_equal(fake.transactions, late ? 0 : 1); /* it was read again; it was not */
        assert_int_equal(t.queue->window.at_hand_bytes, 0);
        testing_close(&t);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_at_hand), cmocka_unit_test(test_local_direct), cmocka_unit_test(test_remote),
        cmocka_unit_test(test_mixed),   cmocka_unit_test(test_retry),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
