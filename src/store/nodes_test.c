/* Two stores on one engine, as two machines would have it: every commit may find that the other one was first (ST_CONFLICT).
 * Nothing is lost, given out twice or counted wrongly, and a store sees what the other one did when it next changes the account. */
#include <pthread.h>

#include "store/deliver.h"
#include "store/testing.h"

enum { NODES = 2, THREADS = 2, EACH = 60 };

struct node {
    struct testing *t;
    struct store *store;
    struct account *account;
};

struct worker {
    struct node *node;
    unsigned number;
    uint32_t uids[EACH];
    uint64_t modseqs[EACH];
};

/* cmocka cannot leave a thread that it did not start. */
static void must(enum st s, const struct err *e)
{
    if (s == ST_OK)
        return;
    fprintf(stderr, "%s: %s (%s)\n", st_name(s), e->text, e->detail);
    abort();
}

static void append_one(struct worker *w, unsigned i)
{
    struct err e = {0};
    char bytes[60];
    int n = snprintf(bytes, sizeof bytes, "Subject: %u of %u\r\n\r\nx\r\n", i, w->number);
    struct message_append m = {.bytes = str_make(bytes, (size_t)n)};
    must(message_append(w->node->account, 1, &m, 1, &e), &e);
    w->uids[i] = m.uid;
    w->modseqs[i] = m.modseq;
}

/* The same key from every worker of every node: one of them delivers. */
static bool deliver_shared(struct worker *w, unsigned i)
{
    struct err e = {0};
    struct deliver d = {.message = {.bytes = STR("Subject: shared\r\n\r\nx\r\n")}};
    memcpy(d.key, &i, sizeof i);
    must(deliver_message(w->node->account, &d, &e), &e);
    return !d.repeated;
}

static void flag_one(struct worker *w, unsigned i)
{
    struct err e = {0};
    struct uidset one = UIDSET_EMPTY;
    struct message_store c = {.mode = MESSAGE_STORE_ADD, .flags = MESSAGE_SEEN, .unchanged_since = UINT64_MAX};
    must(uidset_add(&one, w->uids[i]), &e);
    must(message_store(w->node->account, 1, &one, &c, &e), &e);
    must(uidset_count(&c.changed) == 1 ? ST_OK : ST_BUG, &e);
    uidset_release(&one);
    uidset_release(&c.changed);
    uidset_release(&c.refused);
}

static void *work(void *context)
{
    struct worker *w = context;
    size_t delivered = 0;
    for (unsigned i = 0; i < EACH; i++) {
        append_one(w, i);
        bool ordered = i == 0 || (w->uids[i] > w->uids[i - 1] && w->modseqs[i] > w->modseqs[i - 1]);
        must(ordered ? ST_OK : ST_BUG, &(struct err){.text = "out of order"});
        delivered += deliver_shared(w, i);
        if (i % 2)
            flag_one(w, i);
    }
    return (void *)delivered;
}

static void open_node(struct testing *t, struct node *n)
{
    n->t = t;
    ok(store_open(t->kv, &t->config, &n->store, &t->err), t);
    ok(account_open(n->store, t->id, &n->account, &t->err), t);
}

static void report_finding(void *context, const char *what)
{
    (void)context;
    fail_msg("fsck: %s", what);
}

static void check_uids(const struct worker *workers)
{
    struct uidset seen = UIDSET_EMPTY;
    for (unsigned i = 0; i < NODES * THREADS; i++)
        for (unsigned j = 0; j < EACH; j++) {
            assert_false(uidset_has(&seen, workers[i].uids[j]));
            assert_int_equal(uidset_add(&seen, workers[i].uids[j]), ST_OK);
        }
    uidset_release(&seen);
}

static void check_node(struct node *n)
{
    enum { APPENDED = NODES * THREADS * EACH, SEEN = APPENDED / 2 };
    struct testing *t = n->t;
    struct mailbox_info info;
    ok(mailbox_subscribe(n->account, STR("Elsewhere"), true, &t->err), t); /* a change: the head is that of the engine */
    ok(mailbox_find(n->account, STR("INBOX"), &t->arena, &info, &t->err), t);
    assert_int_equal(info.exists, APPENDED + EACH);
    assert_int_equal(info.uidnext, APPENDED + EACH + 1);
    assert_int_equal(info.unseen, APPENDED - SEEN + EACH);
    ok(mailbox_subscribe(n->account, STR("Elsewhere"), false, &t->err), t);
}

static void close_node(struct node *n)
{
    account_unref(n->account);
    store_close(n->store);
}

/* One after the other, so that the head of each is out of date whenever it changes something. */
static void changes_by_turns(void **state)
{
    struct testing *t = *state;
    struct node nodes[NODES];
    struct uidset all = UIDSET_EMPTY, gone;
    struct message_copy copy = {.move = true};
    struct fsck_result f;
    uint64_t modseq;
    for (unsigned i = 0; i < NODES; i++)
        open_node(t, &nodes[i]);
    for (unsigned i = 0; i < 20; i++) {
        struct message_append m = {.bytes = STR("Subject: s\r\n\r\nx\r\n")};
        ok(message_append(nodes[i % NODES].account, 1, &m, 1, &t->err), t);
        assert_int_equal(m.uid, i + 1);
    }
    ok(uidset_add_range(&all, 1, 5), t);
    ok(message_copy(nodes[0].account, 1, 2, &all, &copy, &t->err), t);
    assert_int_equal(uidset_count(&copy.to_uids), 5);
    ok(message_expunge(nodes[1].account, 1, NULL, false, &gone, &modseq, &t->err), t);
    assert_int_equal(uidset_count(&gone), 15);
    ok(store_fsck(t->store, false, true, report_finding, NULL, &f, &t->err), t);
    for (unsigned i = 0; i < NODES; i++)
        close_node(&nodes[i]);
    uidset_release(&all);
    uidset_release(&gone);
    uidset_release(&copy.from_uids);
    uidset_release(&copy.to_uids);
}

static void changes_of_two_stores(void **state)
{
    struct testing *t = *state;
    struct node nodes[NODES];
    static struct worker workers[NODES * THREADS];
    pthread_t threads[NODES * THREADS];
    struct fsck_result f;
    size_t delivered = 0;
    for (unsigned i = 0; i < NODES; i++)
        open_node(t, &nodes[i]);
    for (unsigned i = 0; i < NODES * THREADS; i++) {
        workers[i] = (struct worker){.node = &nodes[i % NODES], .number = i};
        assert_int_equal(pthread_create(&threads[i], NULL, work, &workers[i]), 0);
    }
    for (unsigned i = 0; i < NODES * THREADS; i++) {
        void *result;
        pthread_join(threads[i], &result);
        delivered += (size_t)result;
    }
    assert_int_equal(delivered, EACH);
    check_uids(workers);
    for (unsigned i = 0; i < NODES; i++)
        check_node(&nodes[i]);
    for (unsigned i = 0; i < NODES; i++)
        close_node(&nodes[i]);
    ok(store_fsck(t->store, false, true, report_finding, NULL, &f, &t->err), t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(changes_by_turns, testing_setup, testing_teardown),
        cmocka_unit_test_setup_teardown(changes_of_two_stores, testing_setup, testing_teardown),
    };
    return testing_run("store/nodes", tests, sizeof tests / sizeof tests[0]);
}
