/* Administration of the queue, its window, and shards that change hands. */
#include "queue/id.h"
#include "queue/testing.h"

#define MESSAGE "Subject: hello\r\n\r\nbody\r\n"

struct seen {
    unsigned count, held;
    char id[32], last[32];
    int64_t next_ms;
};

static bool look(void *context, const struct queue_info *info)
{
    struct seen *seen = context;
    if (seen->count++ == 0)
        memcpy(seen->id, info->id, sizeof seen->id);
    memcpy(seen->last, info->id, sizeof seen->last);
    seen->held += info->held;
    seen->next_ms = info->next_ms;
    assert_true(info->count > 0 && info->size == sizeof MESSAGE - 1);
    return true;
}

static struct seen list(struct testing *t, const struct queue_filter *filter)
{
    struct seen seen = {0};
    OK(&t->err, queue_list(t->queue, filter, look, &seen, &t->err));
    return seen;
}

static size_t act(struct testing *t, const char *id, enum queue_action action)
{
    size_t done;
    OK(&t->err, queue_act(t->queue, str_of(id), action, &done, &t->err));
    return done;
}

static void test_list_and_filters(void **state)
{
    struct testing t;
    (void)state;
    testing_open(&t, false, false);
    assert_int_equal(testing_accept(&t, "elinor@abcd.com", "temp@one.test temp@two.test", MESSAGE, true, NULL), ST_OK);
    assert_int_equal(testing_accept(&t, "other@abcd.com", "tempa@one.test", MESSAGE, true, NULL), ST_OK);
    assert_int_equal(list(&t, NULL).count, 3);
    assert_int_equal(list(&t, &(struct queue_filter){.domain = STR("ONE.test")}).count, 2);
    assert_int_equal(list(&t, &(struct queue_filter){.sender = STR("ELINOR")}).count, 2);
    assert_int_equal(list(&t, &(struct queue_filter){.recipient = STR("tempa@")}).count, 1);
    assert_int_equal(list(&t, &(struct queue_filter){.held_only = true}).count, 0);
    struct seen seen = list(&t, &(struct queue_filter){.sender = STR("elinor")}), one = {0}, whole = {0};
    OK(&t.err, queue_show(t.queue, str_of(seen.last), look, &one, &t.err));
    assert_int_equal(one.count, 1);
    assert_string_equal(one.id, seen.last);
    OK(&t.err, queue_show(t.queue, str_upto(str_of(seen.id), QUEUE_ID_TEXT_MESSAGE), look, &whole, &t.err));
    assert_int_equal(whole.count, 2);
    DEFER(buf_release) struct buf bytes = BUF_INIT(1000);
    OK(&t.err, queue_read(t.queue, str_of(seen.id), 9, 5, &bytes, &t.err));
    assert_true(str_eq(buf_str(&bytes), STR("hello")));
    assert_int_equal(queue_show(t.queue, STR("nonsense"), look, &one, &t.err), ST_PERM);
    assert_int_equal(queue_show(t.queue, STR("000000000000000000.0"), look, &one, &t.err), ST_NOTFOUND);
    testing_close(&t);
}

static void test_hold_release_retry_drop(void **state)
{
    struct testing t;
    (void)state;
    testing_open(&t, false, false);
    assert_int_equal(testing_accept(&t, "elinor@abcd.com", "ok@one.test ok@two.test", MESSAGE, true, NULL), ST_OK);
    struct seen seen = list(&t, NULL);
    char message[32] = "";
    memcpy(message, seen.id, QUEUE_ID_TEXT_MESSAGE);
    assert_int_equal(act(&t, message, QUEUE_HOLD), 2);
    assert_int_equal(list(&t, NULL).held, 2);
    testing_run(&t, 24 * 30); /* nothing happens to it, not even the expiry */
    assert_int_equal(fake.transactions, 0);
    assert_int_equal(list(&t, &(struct queue_filter){.held_only = true}).count, 2);
    testing_reopen(&t);
    testing_run(&t, 1);
    assert_int_equal(fake.transactions, 0);
    assert_int_equal(act(&t, seen.id, QUEUE_RETRY), 1); /* held all the same */
    testing_run(&t, 1);
    assert_int_equal(fake.transactions, 0);
    assert_int_equal(act(&t, seen.id, QUEUE_RELEASE), 1);
    testing_run(&t, 1);
    assert_int_equal(fake.transactions, 1);
    assert_int_equal(act(&t, seen.last, QUEUE_DROP), 1);
    assert_int_equal(testing_entries(&t), 0);
    testing_run(&t, 1);
    assert_int_equal(fake.transactions, 1);
    assert_int_equal(testing_look(&t, t.elinor, "INBOX").count, 0);
    testing_close(&t);
}

static void test_retry_and_bounce(void **state)
{
    struct testing t;
    size_t done;
    (void)state;
    testing_open(&t, false, false);
    assert_int_equal(testing_accept(&t, "elinor@abcd.com", "temp2@one.test", MESSAGE, true, NULL), ST_OK);
    OK(&t.err, queue_run_once(t.queue, NULL, &t.err));
    assert_int_equal(fake.transactions, 1);
    OK(&t.err, queue_run_once(t.queue, NULL, &t.err));
    assert_int_equal(fake.transactions, 1); /* not due */
    assert_int_equal(act(&t, list(&t, NULL).id, QUEUE_RETRY), 1);
    OK(&t.err, queue_run_once(t.queue, NULL, &t.err));
    assert_int_equal(fake.transactions, 2);
    assert_int_equal(testing_accept(&t, "elinor@abcd.com", "temp@one.test", MESSAGE, true, NULL), ST_OK);
    OK(&t.err, queue_run_once(t.queue, NULL, &t.err));
    OK(&t.err, queue_flush(t.queue, &done, &t.err));
    assert_int_equal(done, 2);
    OK(&t.err, queue_run_once(t.queue, NULL, &t.err));
    assert_int_equal(fake.transactions, 5);
    OK(&t.err, queue_act_all(t.queue, NULL, QUEUE_BOUNCE, &done, &t.err));
    assert_int_equal(done, 1);
    testing_run(&t, 1);
    assert_int_equal(testing_entries(&t), 0);
    struct testing_mailbox inbox = testing_look(&t, t.elinor, "INBOX");
    assert_int_equal(inbox.count, 1);
    assert_int_not_equal(str_find(inbox.last, STR("Given up by the administrator")), STR_NPOS);
    testing_close(&t);
}

/* Hosts that do not answer are not tried by every message, and the mail leaves when they are back. */
static void test_dead_destination(void **state)
{
    enum { MESSAGES = 500 };
    struct testing t;
    (void)state;
    testing_open(&t, false, false);
    fake.refuse = true;
    for (unsigned i = 0; i < MESSAGES; i++)
        assert_int_equal(testing_accept(&t, "elinor@abcd.com", "ok@dead.test", MESSAGE, true, NULL), ST_OK);
    testing_run(&t, 3);
    assert_in_range(fake.opens, 2, 60);
    assert_int_equal(testing_entries(&t), MESSAGES);
    assert_int_equal(testing_accept(&t, "elinor@abcd.com", "ok@alive.test", MESSAGE, true, NULL), ST_OK);
    fake.refuse = false;
    testing_run(&t, 6);
    assert_int_equal(testing_entries(&t), 0);
    assert_int_equal(testing_count(buf_str(&fake.sent), "ok@dead.test|"), MESSAGES);
    fake.refuse = true;
    assert_int_equal(testing_accept(&t, "elinor@abcd.com", "ok@late.test", MESSAGE, true, NULL), ST_OK);
    OK(&t.err, queue_run_once(t.queue, NULL, &t.err));
    unsigned opens = fake.opens;
    assert_int_equal(act(&t, list(&t, NULL).id, QUEUE_RETRY), 1); /* whoever asks for it gets an attempt */
    OK(&t.err, queue_run_once(t.queue, NULL, &t.err));
    assert_int_equal(fake.opens, opens + 1);
    fake.refuse = false;
    testing_run(&t, 1);
    fake.refuse_for_good = true;
    assert_int_equal(testing_accept(&t, "elinor@abcd.com", "ok@never.test", MESSAGE, true, NULL), ST_OK);
    testing_run(&t, 1);
    assert_int_equal(testing_entries(&t), 0);
    assert_int_equal(testing_look(&t, t.elinor, "INBOX").count, 1);
    testing_close(&t);
}

/* Connections that break again and again cost attempts, not messages. */
static void test_broken_connections(void **state)
{
    struct testing t;
    (void)state;
    testing_open(&t, false, false);
    fake.gone_after = 3;
    for (unsigned i = 0; i < 50; i++)
        assert_int_equal(testing_accept(&t, "elinor@abcd.com", "ok@frail.test", MESSAGE, true, NULL), ST_OK);
    testing_run(&t, 24);
    assert_int_equal(testing_count(buf_str(&fake.sent), "|"), 50);
    assert_int_equal(testing_entries(&t), 0);
    testing_close(&t);
}

/* More than the window holds: memory stays bounded, nobody is forgotten, and the small destination does not wait for the large one.
 */
static void backlog(bool restart)
{
    enum { LARGE = 30000, SMALL = 20 };
    struct testing t;
    struct queue_stats stats;
    int64_t next;
    size_t done;
    log_level_set(LOG_WARN);
    testing_open(&t, false, false);
    fake.refuse = true;
    for (unsigned i = 0; i < LARGE; i++)
        assert_int_equal(
            testing_accept(&t, "elinor@abcd.com", i % 1500 == 1499 ? "ok@small.test" : "ok@large.test", MESSAGE, true, NULL),
            ST_OK);
    if (restart)
        testing_reopen(&t);
    OK(&t.err, queue_load(t.queue, &next, &t.err));
    queue_stats(t.queue, &stats);
    assert_int_equal(stats.entries, LARGE);
    assert_int_equal(stats.window, WINDOW_SHARE + SMALL);
    OK(&t.err, queue_run_once(t.queue, &next, &t.err)); /* nobody answers: all are put off */
    queue_stats(t.queue, &stats);
    assert_int_equal(stats.window, 0);
    fake.refuse = false;
    OK(&t.err, queue_flush(t.queue, &done, &t.err));
    assert_int_equal(done, LARGE);
    OK(&t.err, queue_run_once(t.queue, &next, &t.err)); /* at once, not when something else is due */
    assert_int_equal(testing_entries(&t), 0);
    assert_int_equal(testing_count(buf_str(&fake.sent), "ok@small.test|"), SMALL);
    assert_int_equal(testing_count(buf_str(&fake.sent), "|"), LARGE);
    queue_stats(t.queue, &stats);
    assert_int_equal(stats.window, 0);
    testing_close(&t);
    log_level_set(LOG_INFO);
}

static void test_backlog(void **state)
{
    (void)state;
    backlog(false);
    backlog(true);
}

/* Another node takes the shards over when the lease has run out; the old one can change nothing any more. */
static void test_takeover(void **state)
{
    struct testing t;
    struct queue *other;
    struct queue_stats stats;
    (void)state;
    testing_open(&t, false, false);
    for (unsigned i = 0; i < 8; i++)
        assert_int_equal(testing_accept(&t, "elinor@abcd.com", "ok@remote.test", MESSAGE, true, NULL), ST_OK);
    struct queue_config config = {
        .store = t.store, .directory = t.directory, .hostname = "mx2.abcd.com", .node = "node-2", .remote = &fake_class};
    OK(&t.err, queue_open(&config, &other, &t.err));
    queue_stats(other, &stats);
    assert_int_equal(stats.entries, 0); /* it has shards of its own */
    assert_int_equal(stats.shards, 4);
    clock_sim_advance(QUEUE_LEASE_MS + 1000);
    OK(&t.err, queue_take_shards(other, false, &t.err));
    queue_stats(other, &stats);
    assert_int_equal(stats.entries, 8);
    assert_int_equal(stats.shards, 8);
    for (unsigned i = 0; i < 8; i++) /* the old node finds out by its commits */
        assert_int_equal(testing_accept(&t, "elinor@abcd.com", "ok@remote.test", MESSAGE, true, NULL), ST_TEMP);
    atomic_store(&t.queue->breaking, true);
    OK(&t.err, queue_run_once(other, NULL, &t.err));
    assert_int_equal(testing_count(buf_str(&fake.sent), "|"), 8);
    queue_stats(other, &stats);
    assert_int_equal(stats.entries, 0);
    queue_close(other);
    testing_close(&t);
}

static void test_ids(void **state)
{
    atomic_uint counter = 0xfffffe;
    (void)state;
    for (unsigned shard = 0; shard < 65536; shard += 257)
        for (unsigned n = 0; n < 3; n++) {
            struct queue_id id = queue_id_next(shard, 1700000000000 + n, &counter), got;
            char text[QUEUE_ID_TEXT_MAX];
            bool whole;
            id = queue_id_numbered(&id, n * 30000);
            queue_id_print(&id, text);
            assert_true(queue_id_parse(str_of(text), &got, &whole));
            assert_true(queue_id_equal(&id, &got) && !whole);
            assert_true(queue_id_parse(str_upto(str_of(text), QUEUE_ID_TEXT_MESSAGE), &got, &whole) && whole);
            assert_int_equal(queue_id_shard(&got), shard);
            assert_int_equal(queue_id_number(&id), n * 30000);
        }
    static const char *const bad[] = {"",
                                      "x",
                                      "z00000000000000000",
                                      "00000000000000000",
                                      "0000000000000000000",
                                      "00000000000000000u",
                                      "000000000000000000.",
                                      "000000000000000000.65536",
                                      "000000000000000000.x"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct queue_id id;
        bool whole;
        assert_false(queue_id_parse(str_of(bad[i]), &id, &whole));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_list_and_filters),   cmocka_unit_test(test_hold_release_retry_drop),
        cmocka_unit_test(test_retry_and_bounce),   cmocka_unit_test(test_dead_destination),
        cmocka_unit_test(test_broken_connections), cmocka_unit_test(test_backlog),
        cmocka_unit_test(test_takeover),           cmocka_unit_test(test_ids),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
