/* Failures of the n-th engine operation and crashes between commits, at every n: nothing that was taken is lost; nothing is
 * delivered twice but in the window that doc/formats/queue.md states (the process dies, or the engine stays away, between an answer
 * and its record). */
#include "queue/testing.h"

#define MESSAGE "Received: by mx.abcd.com\r\nSubject: hello\r\n\r\nbody\r\n"

enum { ROUNDS_MAX = 400 };

static struct testing *current;
static bool crashed;

/* When the engine is gone for good the queue would wait for ever; a stop would end that. */
static bool on_event(void *context, enum log_level level, const char *event, const struct log_field *fields, size_t count)
{
    (void)context;
    (void)level;
    (void)fields;
    (void)count;
    if (crashed && current && current->queue && strcmp(event, "queue.unsettled") == 0)
        atomic_store(&current->queue->breaking, true);
    return true;
}

struct scenario {
    const char *label, *from, *to;
    bool require_all;
    const char *local;                         /* words of `to` that stay here: account inboxes to count */
    unsigned elinor, carolyn, remote, bounces; /* deliveries expected in the end */
};

/* The sender of messages that bounce is elinor, so a bounce is one more in her inbox. */
static const struct scenario scenarios[] = {
    {"one local", "a@remote.test", "carolyn@xyz.com", true, "", 0, 1, 0, 0},
    {"one remote", "elinor@abcd.com", "ok@remote.test", true, "", 0, 0, 1, 0},
    {"two local", "a@remote.test", "carolyn@xyz.com elinor@abcd.com", true, "", 1, 1, 0, 0},
    {"mixed", "elinor@abcd.com", "carolyn@xyz.com ok@remote.test ok@other.test", true, "", 0, 1, 2, 0},
    {"bounce", "elinor@abcd.com", "carolyn@xyz.com perm@remote.test ok@remote.test", true, "", 0, 1, 1, 1},
    {"retries", "elinor@abcd.com", "temp2@remote.test ok@remote.test", true, "", 0, 0, 2, 0},
    {"success reports", "elinor@abcd.com", "carolyn@xyz.com:2 norelay@remote.test:2", true, "", 0, 1, 1, 2},
    {"lmtp", "a@remote.test", "carolyn@xyz.com elinor@abcd.com", false, "", 1, 1, 0, 0},
};

struct fault {
    bool split, applied, crash;
    unsigned more;
};

static const struct fault faults[] = {
    {false, false, false, 0}, {false, true, false, 0}, {false, false, true, 0},  {false, true, true, 0},  {true, false, false, 0},
    {true, false, true, 0},   {true, true, true, 0},   {false, false, false, 5}, {false, true, false, 2},
};

/* What a client does: tries again when it was told to, or was told nothing. */
static void send_until_taken(struct testing *t, const struct scenario *s, bool *again)
{
    for (unsigned i = 0; i < 20; i++) {
        struct accept_recipient list[8] = {0};
        enum st st = testing_accept(t, s->from, s->to, MESSAGE, s->require_all, list);
        bool all = st == ST_OK;
        for (unsigned n = 0; n < 8 && list[n].address.n > 0 && !s->require_all; n++)
            all = all && list[n].status == ST_OK;
        if (all)
            return;
        *again = true;
        if (crashed) {
            kv_fault_restart(t->kv);
            crashed = false;
            testing_reopen(t);
        }
    }
    fail_msg("%s: never taken", s->label);
}

static void expect(const struct scenario *s, const struct fault *f, uint64_t n, const char *what, size_t got, size_t want,
                   size_t most)
{
    if (got < want || got > most)
        fail_msg("%s, fault %zu (split %d applied %d crash %d), operation %llu: %s: got %zu, want %zu to %zu", s->label,
                 (size_t)(f - faults), f->split, f->applied, f->crash, (unsigned long long)n, what, got, want, most);
}

/* True: the fault happened, so there may be a later one. */
static bool round_of(const struct scenario *s, const struct fault *f, uint64_t n)
{
    struct testing t;
    bool again = false;
    testing_open(&t, true, f->split);
    current = &t;
    kv_fault_plan(
        t.kv, &(struct kv_fault_plan){
                  .kinds = KV_FAULT_WRITE, .at = n, .more = f->more, .class = ST_TEMP, .applied = f->applied, .crash = f->crash});
    crashed = f->crash;
    send_until_taken(&t, s, &again);
    int64_t next = 0;
    bool crash_later = crashed && !kv_fault_fired(t.kv);
    for (unsigned i = 0; i < 200 && !(crashed && kv_fault_fired(t.kv)); i++) {
        struct err e = {0};
        if (queue_run_once(t.queue, &next, &e) == ST_OK && next == 0)
            break;
        clock_sim_advance(600000);
    }
    bool fired = kv_fault_fired(t.kv) || (again && f->crash), crashed_here = crash_later && fired;
    kv_fault_restart(t.kv);
    if (crashed && fired) {
        crashed = false;
        testing_reopen(&t);
    }
    testing_run(&t, 24);
    /* A client that tries again sends everything again; a crash after the remote's answer sends that again. */
    bool double_window = (again && f->crash) || crashed_here || (again && f->more > 0);
    size_t most = double_window ? 2 : 1;
    if (s->require_all == false && again) /* LMTP clients repeat only what failed; this one repeats all */
        most = 3;
    size_t reports = s->bounces;
    expect(s, f, n, "carolyn", testing_look(&t, t.carolyn, "INBOX").count, s->carolyn, s->carolyn * most);
    expect(s, f, n, "elinor", testing_look(&t, t.elinor, "INBOX").count, s->elinor + reports, (s->elinor + reports) * most);
    expect(s, f, n, "remote", testing_count(buf_str(&fake.sent), "|"), s->remote, s->remote * most);
    expect(s, f, n, "entries", testing_entries(&t), 0, 0);
    current = NULL;
    testing_close(&t);
    return fired;
}

static void test_every_operation(void **state)
{
    (void)state;
    log_capture(on_event, NULL);
    for (size_t i = 0; i < sizeof scenarios / sizeof *scenarios; i++)
        for (size_t k = 0; k < sizeof faults / sizeof *faults; k++) {
            uint64_t n = 1;
            while (n < ROUNDS_MAX && round_of(&scenarios[i], &faults[k], n))
                n++;
            assert_in_range(n, 2, ROUNDS_MAX - 1);
        }
    log_capture(NULL, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_every_operation)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
