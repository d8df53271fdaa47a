/* Every operation of a scenario fails once, in every way, on every engine: what was acknowledged is there, what failed happened
 * whole or not at all, and what a partition refers to exists and is linked. */

#include "base/bits.h"
#include "kv/engine_internal.h"
#include "kv/testing.h"
#include "rt/clock.h"

enum { STEPS = 6, MESSAGES = 4 };

/* The scenario stores messages: key "m<i>" holds the id of its blob; "count" how many there are. */
struct scenario {
    struct kv *kv;
    uint64_t version; /* after the last acknowledged commit */
    unsigned acked;   /* steps acknowledged */
    bool doubtful;    /* the step after those failed */
    enum st failed;
};

static struct str message(char text[16], unsigned i) { return (struct str){text, (size_t)snprintf(text, 16, "message %u", i)}; }

static void add_message(struct kv_batch *b, unsigned i)
{
    char text[16], key[2] = {'m', (char)('0' + i)};
    struct kv_blob_id id = kv_blob_id_of(message(text, i));
    kv_batch_put(b, (struct str){key, 2}, str_make(id.sha256, sizeof id.sha256));
}

/* What each step puts, links and removes. Steps 0 to 3 store a message each; 4 removes message 0; 5 puts it back by link or blob.
 */
static enum st run_step(struct scenario *s, unsigned step, char text[16], struct err *e)
{
    struct kv_batch *b = kv_batch_new(s->kv);
    assert_non_null(b);
    unsigned i = step < MESSAGES ? step : 0;
    struct str bytes = message(text, i);
    struct kv_blob_id id = kv_blob_id_of(bytes);
    char count = (char)(step + 1);
    kv_batch_put(b, STR("count"), (struct str){&count, 1});
    if (step == 4) {
        kv_batch_unlink(b, &id);
        kv_batch_delete(b, STR("m0"));
    } else {
        kv_batch_blob(b, &id, bytes);
        add_message(b, i);
    }
    enum st st = kv_commit(s->kv, STR("acct"), b, s->version, e);
    kv_batch_free(b);
    return st;
}

/* Goes on until a step fails, as a process that dies does. Reads, too, so that reads can fail. */
static void run_scenario(struct scenario *s)
{
    struct err e = {0};
    char text[16];
    for (unsigned step = 0; step < STEPS; step++) {
        uint64_t version;
        s->failed = kv_version(s->kv, STR("acct"), &version, &e);
        if (s->failed != ST_OK)
            return;
        assert_int_equal(version, s->version);
        s->failed = run_step(s, step, text, &e);
        s->doubtful = s->failed != ST_OK;
        if (s->doubtful)
            return;
        s->version++;
        s->acked++;
        s->failed = kv_collect(s->kv, clock_wall_ms() + 1000, 100, NULL, &e);
        if (s->failed != ST_OK)
            return;
    }
}

static bool check_reference(void *context, struct str key, struct str value)
{
    struct kv *kv = context;
    struct err e = {0};
    assert_int_equal(key.n, 2);
    assert_int_equal(value.n, KV_BLOB_ID_SIZE);
    OK(&e, kv_blob_verify(kv, (const struct kv_blob_id *)value.p, &e));
    return true;
}

static bool count_link(void *context, const struct kv_blob_id *id, struct str partition)
{
    (void)id;
    assert_true(str_eq(partition, STR("acct")));
    ++*(unsigned *)context;
    return true;
}

/* Messages there are after so many steps. */
static unsigned messages_after(unsigned steps) { return steps <= MESSAGES ? steps : steps == 5 ? MESSAGES - 1 : MESSAGES; }

static bool count_visit(void *context, struct str key, struct str value)
{
    (void)key;
    (void)value;
    ++*(unsigned *)context;
    return true;
}

static void check_state(const struct scenario *s, bool applied, bool split)
{
    struct err e = {0};
    DEFER(buf_release) struct buf count = BUF_INIT(1);
    unsigned steps = 0, messages = 0, links = 0;
    uint64_t version;
    OK(&e, kv_version(s->kv, STR("acct"), &version, &e));
    if (version > 0)
        OK(&e, kv_get(s->kv, STR("acct"), STR("count"), &count, &e));
    steps = version > 0 ? (unsigned char)count.p[0] : 0;
    assert_int_equal(steps, version);
    assert_true(steps == s->acked || (s->doubtful && steps == s->acked + 1));
    if (!split && s->doubtful)
        assert_int_equal(steps, s->acked + applied);
    OK(&e, kv_scan(s->kv, STR("acct"), STR("m"), STR("n"), count_visit, &messages, &e));
    assert_int_equal(messages, messages_after(steps));
    OK(&e, kv_scan(s->kv, STR("acct"), STR("m"), STR("n"), check_reference, s->kv, &e));
    OK(&e, kv_collect(s->kv, clock_wall_ms() + 1000, 100, NULL, &e)); /* takes nothing that is referred to */
    OK(&e, kv_scan(s->kv, STR("acct"), STR("m"), STR("n"), check_reference, s->kv, &e));
    OK(&e, kv_links(s->kv, count_link, &links, &e));
    assert_true(links == messages || (split && links == messages + 1));
}

struct way {
    unsigned kinds;
    enum st class;
    bool applied, crash;
};

static void test_every_operation(void **state)
{
    static const struct way ways[] = {
        {KV_FAULT_WRITE, ST_TEMP, false, false}, {KV_FAULT_WRITE, ST_TEMP, true, false}, {KV_FAULT_WRITE, ST_TEMP, false, true},
        {KV_FAULT_WRITE, ST_TEMP, true, true},   {KV_FAULT_ANY, ST_TEMP, false, true},   {KV_FAULT_READ, ST_CORRUPT, false, false},
    };
    struct bench t;
    bench_open(&t, *state);
    struct err e = {0};
    for (size_t w = 0; w < sizeof ways / sizeof ways[0]; w++) {
        unsigned faults = 0;
        for (uint64_t n = 1, fired = 1; fired; n++, faults += (unsigned)fired) {
            struct scenario s = {.kv = t.kv};
            kv_fault_plan(t.kv, &(struct kv_fault_plan){ways[w].kinds, n, 0, ways[w].class, ways[w].applied, ways[w].crash});
            run_scenario(&s);
            fired = kv_fault_fired(t.kv);
            assert_int_equal(s.failed, fired && t.subject->wrap == WRAP_FAULT ? ways[w].class : s.failed);
            assert_true(fired || s.acked == STEPS);
            if (ways[w].crash && fired)
                assert_int_equal(kv_version(t.kv, STR("acct"), &s.version, NULL), ST_TEMP);
            kv_fault_restart(t.kv);
            check_state(&s, ways[w].applied, t.subject->wrap == WRAP_SPLIT);
            OK(&e, kv_partition_drop(t.kv, STR("acct"), &e));
            OK(&e, kv_collect(t.kv, clock_wall_ms() + 1000, 100, NULL, &e));
        }
        assert_true(faults >= STEPS);
    }
    bench_close(&t);
}

static void test_plan(void **state)
{
    struct bench t;
    bench_open(&t, *state);
    uint64_t v;
    kv_fault_plan(t.kv, &(struct kv_fault_plan){.kinds = KV_FAULT_READ, .at = 2, .more = 1, .class = ST_CORRUPT});
    static const enum st want[] = {ST_OK, ST_CORRUPT, ST_CORRUPT, ST_OK};
    for (size_t i = 0; i < 4; i++)
        assert_int_equal(kv_version(t.kv, STR("p"), &v, NULL), want[i]);
    assert_int_equal(kv_fault_seen(t.kv), 4);
    kv_fault_plan(t.kv, NULL);
    assert_false(kv_fault_fired(t.kv));
    bench_close(&t);
}

int main(void)
{
    static struct CMUnitTest all[2 * SUBJECTS];
    static char names[2 * SUBJECTS][64];
    size_t n = 0;
    for (size_t s = 0; s < SUBJECTS; s++) {
        if (subjects[s].wrap == WRAP_NONE || !subject_can_run(&subjects[s]))
            continue;
        snprintf(names[n], sizeof names[n], "every operation on %s", subjects[s].label);
        all[n] = (struct CMUnitTest){names[n], test_every_operation, NULL, NULL, (void *)(uintptr_t)&subjects[s]};
        n++;
        snprintf(names[n], sizeof names[n], "plan on %s", subjects[s].label);
        all[n] = (struct CMUnitTest){names[n], test_plan, NULL, NULL, (void *)(uintptr_t)&subjects[s]};
        n++;
    }
    return _cmocka_run_group_tests("kv fault", all, n, NULL, NULL);
}
