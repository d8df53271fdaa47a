/* The n-th engine operation fails, for n = 1, 2, 3...: what a call reports is what is true after opening again, an ambiguous commit
 * is neither doubled nor reported wrongly, and fsck finds nothing. The same for crashes between the steps of a commit. */
#include "kv/fault.h"
#include "rt/log.h"
#include "store/care.h"
#include "store/deliver.h"
#include "store/testing.h"

enum { STEPS = 9, SEQUENCES_MAX = 2000 };

/* What the calls of a sequence reported. */
struct outcome {
    enum st results[STEPS];
    uint32_t uid, copied_to;
};

static struct deliver delivery(void)
{
    struct deliver d = {.message = {.bytes = STR("Message-ID: <1@x>\r\nSubject: s\r\n\r\ndelivered\r\n")}};
    memcpy(d.key, "0123456789abcdef", 16);
    return d;
}

/* Every kind of change once, on an account that begins with three messages in INBOX and one in Sent. */
static void run_sequence(struct testing *t, struct outcome *o)
{
    struct account *a;
    struct message_append m = {.bytes = STR("Subject: appended\r\n\r\nx\r\n")};
    struct message_store flags = {
        .mode = MESSAGE_STORE_ADD, .flags = MESSAGE_FLAGGED | MESSAGE_SEEN, .unchanged_since = UINT64_MAX};
    struct message_copy copy = {.move = false}, move = {.move = true};
    struct uidset one = UIDSET_EMPTY, two = UIDSET_EMPTY, all = UIDSET_EMPTY, gone = UIDSET_EMPTY;
    uint32_t id;
    uint64_t modseq;
    bool more;
    for (int i = 0; i < STEPS; i++)
        o->results[i] = ST_BUG;
    if (account_open(t->store, t->id, &a, &t->err) != ST_OK)
        return;
    ok(uidset_add(&one, 1), t);
    ok(uidset_add(&two, 2), t);
    ok(uidset_add_range(&all, 1, 1), t);
    struct deliver d = delivery();
    o->results[0] = deliver_message(a, &d, &t->err);
    o->results[1] = message_append(a, 1, &m, 1, &t->err);
    o->results[2] = message_store(a, 1, &all, &flags, &t->err);
    o->results[3] = message_copy(a, 1, 2, &one, &copy, &t->err);
    o->results[4] = message_copy(a, 1, 2, &two, &move, &t->err);
    o->results[5] = message_expunge(a, 1, &one, false, &gone, &modseq, &t->err);
    o->results[6] = mailbox_create(a, STR("New/Below"), MAILBOX_ROLE_NONE, &id, &t->err);
    o->results[7] = mailbox_rename(a, STR("New"), STR("Newer"), &t->err);
    o->results[8] = mailbox_delete(a, STR("Archive"), &t->err);
    for (int i = 0; i < 3; i++)
        (void)!account_care(a, &more, &t->err);
    o->uid = m.uid;
    uidset_release(&flags.changed);
    uidset_release(&flags.refused);
    uidset_release(&copy.from_uids);
    uidset_release(&copy.to_uids);
    uidset_release(&move.from_uids);
    uidset_release(&move.to_uids);
    uidset_release(&one);
    uidset_release(&two);
    uidset_release(&all);
    uidset_release(&gone);
    account_unref(a);
}

static bool has_mailbox(struct testing *t, const char *name)
{
    struct mailbox_info info;
    return mailbox_find(t->account, str_of(name), &t->arena, &info, &t->err) == ST_OK;
}

static bool note_bytes(void *context, const struct message_entry *entry)
{
    struct message_entry **at = context;
    *(*at)++ = *entry;
    return true;
}

/* Entries of a mailbox whose message has these bytes. */
static size_t count_bytes(struct testing *t, uint32_t mailbox, const char *want, struct message_entry *last)
{
    struct message_entry entries[20], *end = entries;
    size_t n = 0;
    ok(message_scan(t->account, mailbox, NULL, note_bytes, &end, &t->err), t);
    for (struct message_entry *m = entries; m < end; m++) {
        struct buf bytes = BUF_INIT(1000);
        ok(message_read(t->account, m->email, 0, 1000, &bytes, &t->err), t);
        if (str_find(buf_str(&bytes), str_of(want)) != STR_NPOS) {
            n++;
            *last = *m;
        }
        buf_release(&bytes);
    }
    return n;
}

static void note_finding(void *context, const char *what)
{
    (void)context;
    print_message("fsck: %s\n", what);
}

/* What is stored must be what was reported. A step that was never reached, or that failed, changed nothing. */
static void check_truth(struct testing *t, const struct outcome *o, const struct outcome *base)
{
    const enum st *r = o->results;
    struct message_entry m = {0};
    (void)base;
    assert_int_equal(count_bytes(t, 1, "delivered", &m), r[0] == ST_OK);
    assert_int_equal(count_bytes(t, 1, "appended", &m), r[1] == ST_OK);
    if (r[1] == ST_OK)
        assert_int_equal(m.uid, o->uid);
    size_t first = count_bytes(t, 1, "base 1", &m);
    assert_int_equal(first, r[5] != ST_OK);
    if (first)
        assert_int_equal((m.flags & MESSAGE_FLAGGED) != 0, r[2] == ST_OK);
    assert_int_equal(count_bytes(t, 2, "base 1", &m), r[3] == ST_OK);
    if (r[3] == ST_OK)
        assert_int_equal((m.flags & MESSAGE_FLAGGED) != 0, r[2] == ST_OK);
    assert_int_equal(count_bytes(t, 1, "base 2", &m), r[4] != ST_OK);
    assert_int_equal(count_bytes(t, 2, "base 2", &m), r[4] == ST_OK);
    assert_int_equal(count_bytes(t, 1, "base 3", &m), 1);
    assert_int_equal(has_mailbox(t, "New/Below"), r[6] == ST_OK && r[7] != ST_OK);
    assert_int_equal(has_mailbox(t, "Newer/Below"), r[6] == ST_OK && r[7] == ST_OK);
    assert_int_equal(has_mailbox(t, "Archive"), r[8] != ST_OK);
}

static void check_clean(struct testing *t)
{
    struct fsck_result f;
    ok(store_fsck(t->store, false, true, note_finding, NULL, &f, &t->err), t);
    assert_int_equal(f.findings, 0);
    assert_int_equal(f.accounts, 1);
}

/* Delivering again with the same key must not double the message. */
static void check_redelivery(struct testing *t)
{
    struct message_entry m;
    struct deliver d = delivery();
    ok(deliver_message(t->account, &d, &t->err), t);
    assert_int_equal(count_bytes(t, 1, "delivered", &m), 1);
    assert_int_equal(m.uid, d.message.uid);
}

/* A memory engine under a fault engine, with the account that run_sequence expects. */
static struct kv *begin(struct testing *t, bool split)
{
    struct kv_config config = {.engine = "memory"};
    struct kv *kv, *fault;
    static const char *const bytes[] = {"Subject: b\r\n\r\nbase 1\r\n", "Subject: b\r\n\r\nbase 2\r\n",
                                        "Subject: b\r\n\r\nbase 3\r\n", "Subject: b\r\n\r\nbase 4\r\n"};
    ok(kv_open(&config, &kv, &t->err), t);
    ok(kv_fault_new(&kv, split, &fault, &t->err), t);
    t->kv = fault;
    store_config_defaults(&t->config);
    t->config.blob_grace_s = 0;
    ok(store_open(t->kv, &t->config, &t->store, &t->err), t);
    ok(account_create(t->store, t->id, &t->err), t);
    ok(account_open(t->store, t->id, &t->account, &t->err), t);
    for (int i = 0; i < 4; i++) {
        struct message_append m = {.bytes = str_of(bytes[i])};
        ok(message_append(t->account, i < 3 ? 1 : 2, &m, 1, &t->err), t);
    }
    account_unref(t->account);
    store_close(t->store);
    ok(store_open(t->kv, &t->config, &t->store, &t->err), t);
    return fault;
}

static void end(struct testing *t)
{
    account_unref(t->account);
    store_close(t->store);
    kv_close(t->kv);
    arena_release(&t->arena);
}

static void try_plan(struct kv_fault_plan plan, bool split)
{
    bool more = true;
    for (plan.at = 1; more && plan.at < SEQUENCES_MAX; plan.at++) {
        struct testing t = {.id = 42};
        struct outcome o;
        arena_init(&t.arena, 1 << 20);
        struct kv *fault = begin(&t, split);
        kv_fault_plan(fault, &plan);
        run_sequence(&t, &o);
        more = kv_fault_fired(fault);
        kv_fault_restart(fault);
        if (!plan.crash) { /* first what the running server believes */
            ok(account_open(t.store, t.id, &t.account, &t.err), &t);
            check_truth(&t, &o, NULL);
            check_clean(&t);
            account_unref(t.account);
        }
        store_close(t.store);
        ok(store_open(t.kv, &t.config, &t.store, &t.err), &t);
        ok(account_open(t.store, t.id, &t.account, &t.err), &t);
        if (!plan.applied || !plan.crash)
            check_truth(&t, &o, NULL);
        check_clean(&t);
        check_redelivery(&t);
        for (int i = 0; i < 5; i++)
            ok(store_care(t.store, &t.err), &t);
        check_clean(&t);
        end(&t);
    }
    assert_true(plan.at > 10);
    assert_true(plan.at < SEQUENCES_MAX);
}

static void survives_failing_reads(void **state)
{
    (void)state;
    try_plan((struct kv_fault_plan){.kinds = KV_FAULT_READ, .class = ST_TEMP}, false);
}
static void survives_failing_commits(void **state)
{
    (void)state;
    try_plan((struct kv_fault_plan){.kinds = KV_FAULT_WRITE, .class = ST_TEMP}, false);
}
static void survives_conflicts(void **state)
{
    (void)state;
    try_plan((struct kv_fault_plan){.kinds = KV_FAULT_COMMIT, .class = ST_CONFLICT}, false);
}
static void survives_hidden_successes(void **state)
{
    (void)state;
    try_plan((struct kv_fault_plan){.kinds = KV_FAULT_COMMIT, .class = ST_TEMP, .applied = true}, false);
}
static void survives_failing_steps(void **state)
{
    (void)state;
    try_plan((struct kv_fault_plan){.kinds = KV_FAULT_COMMIT, .class = ST_TEMP}, true);
}
static void survives_several_failures(void **state)
{
    (void)state;
    try_plan((struct kv_fault_plan){.kinds = KV_FAULT_ANY, .class = ST_TEMP, .more = 2}, false);
}
static void survives_crashes(void **state)
{
    (void)state;
    try_plan((struct kv_fault_plan){.kinds = KV_FAULT_WRITE, .class = ST_TEMP, .crash = true}, false);
}
static void survives_crashes_between_steps(void **state)
{
    (void)state;
    try_plan((struct kv_fault_plan){.kinds = KV_FAULT_WRITE, .class = ST_TEMP, .crash = true}, true);
}
static void survives_crashes_behind_the_write(void **state)
{
    (void)state;
    try_plan((struct kv_fault_plan){.kinds = KV_FAULT_WRITE, .class = ST_TEMP, .crash = true, .applied = true}, true);
}

static bool count_link(void *context, const struct kv_blob_id *id, struct str partition)
{
    size_t *n = context;
    (void)id, (void)partition;
    ++*n;
    return true;
}

/* Creating and removing an account, with every operation failing once: repeating both ends in nothing. */
static void creates_and_removes(void **state)
{
    (void)state;
    bool more = true;
    for (uint64_t at = 1; more; at++) {
        struct testing t = {.id = 42};
        struct account *a = NULL;
        struct message_append m = {.bytes = STR("Subject: x\r\n\r\nx\r\n")};
        arena_init(&t.arena, 1 << 20);
        struct kv *fault = begin(&t, true);
        ok(account_open(t.store, t.id, &t.account, &t.err), &t);
        kv_fault_plan(fault, &(struct kv_fault_plan){.kinds = KV_FAULT_ANY, .at = at, .class = ST_TEMP, .crash = at % 2});
        enum st made = account_create(t.store, 77, &t.err);
        if (account_open(t.store, 77, &a, &t.err) == ST_OK) {
            (void)!message_append(a, 1, &m, 1, &t.err);
            account_unref(a);
        }
        enum st removed = account_remove(t.store, 77, &t.err);
        more = kv_fault_fired(fault);
        kv_fault_restart(fault);
        if (removed == ST_OK && made == ST_OK)
            assert_int_equal(account_open(t.store, 77, &a, &t.err), ST_NOTFOUND);
        account_unref(t.account);
        store_close(t.store);
        ok(store_open(t.kv, &t.config, &t.store, &t.err), &t);
        for (int i = 0; i < 256 && at % 3 == 0; i++) /* care finishes what was begun */
            ok(store_care(t.store, &t.err), &t);
        enum st again = account_create(t.store, 77, &t.err);
        assert_true(again == ST_OK || (again == ST_EXISTS && removed != ST_OK));
        ok(account_open(t.store, 77, &a, &t.err), &t);
        ok(message_append(a, 1, &m, 1, &t.err), &t);
        account_unref(a);
        ok(account_remove(t.store, 77, &t.err), &t);
        assert_int_equal(account_remove(t.store, 77, &t.err), ST_NOTFOUND);
        size_t links = 0;
        ok(kv_links(t.kv, count_link, &links, &t.err), &t);
        assert_int_equal(links, 4); /* those of the other account */
        ok(account_open(t.store, t.id, &t.account, &t.err), &t);
        check_clean(&t);
        end(&t);
    }
}

/* The outcome stays unknown for long: the caller is told so, and the account heals when the engine does. */
static void heals_after_a_long_failure(void **state)
{
    (void)state;
    for (int applied = 0; applied < 2; applied++) {
        struct testing t = {.id = 42};
        struct message_entry m;
        arena_init(&t.arena, 1 << 20);
        struct kv *fault = begin(&t, false);
        ok(account_open(t.store, t.id, &t.account, &t.err), &t);
        struct deliver d = delivery();
        kv_fault_plan(fault, &(struct kv_fault_plan){.kinds = KV_FAULT_COMMIT, .at = 1, .applied = applied, .crash = true});
        assert_int_equal(deliver_message(t.account, &d, &t.err), ST_TEMP);
        assert_int_equal(deliver_message(t.account, &d, &t.err), ST_TEMP);
        kv_fault_restart(fault);
        ok(deliver_message(t.account, &d, &t.err), &t);
        assert_int_equal(d.repeated, applied);
        assert_int_equal(count_bytes(&t, 1, "delivered", &m), 1);
        check_clean(&t);
        end(&t);
    }
}

/* That the outcome of a commit is not known is said in the log; nothing else may be. */
static bool swallow_unknown(void *context, enum log_level level, const char *event, const struct log_field *fields, size_t count)
{
    (void)context, (void)fields, (void)count;
    assert_true(level < LOG_WARN || strcmp(event, "store.commit_unknown") == 0);
    return true;
}

int main(void)
{
    log_capture(swallow_unknown, NULL);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(survives_failing_reads),
        cmocka_unit_test(survives_failing_commits),
        cmocka_unit_test(survives_conflicts),
        cmocka_unit_test(survives_hidden_successes),
        cmocka_unit_test(survives_failing_steps),
        cmocka_unit_test(survives_several_failures),
        cmocka_unit_test(survives_crashes),
        cmocka_unit_test(survives_crashes_between_steps),
        cmocka_unit_test(survives_crashes_behind_the_write),
        cmocka_unit_test(heals_after_a_long_failure),
        cmocka_unit_test(creates_and_removes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
