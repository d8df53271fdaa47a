/* Many threads on one account: UIDs become visible in order, nothing is lost, and fsck finds nothing afterwards. */
#include <pthread.h>
#include <stdatomic.h>

#include "store/deliver.h"
#include "store/testing.h"

enum { WORKERS = 6, ROUNDS = 120, BOXES = 3 };

struct shared {
    struct testing *t;
    uint32_t inbox; /* messages only come in here */
    uint32_t boxes[BOXES];
    _Atomic uint32_t added; /* into INBOX */
    atomic_bool done;
    atomic_uint woken;
};

struct worker {
    struct shared *s;
    uint64_t state;
    unsigned number;
    struct err err;
};

#define must(call, w)                                                                                                              \
    do {                                                                                                                           \
        enum st must_st_ = (call);                                                                                                 \
        if (must_st_ != ST_OK) {                                                                                                   \
            fprintf(stderr, "%s: %s %s\n", #call, st_name(must_st_), (w)->err.detail);                                             \
            abort();                                                                                                               \
        }                                                                                                                          \
    } while (0)

static uint64_t any(struct worker *w, uint64_t below)
{
    w->state = w->state * 6364136223846793005u + 1442695040888963407u;
    return (w->state >> 33) % below;
}

static uint32_t any_box(struct worker *w) { return w->s->boxes[any(w, BOXES)]; }

static void append(struct worker *w)
{
    char bytes[64];
    int n = snprintf(bytes, sizeof bytes, "Subject: %u\r\n\r\n%u\r\n", w->number, (unsigned)any(w, 1000));
    struct message_append m = {.bytes = str_make(bytes, (size_t)n), .digest = STR("")};
    bool inbox = any(w, 2);
    must(message_append(w->s->t->account, inbox ? w->s->inbox : any_box(w), &m, 1, &w->err), w);
    atomic_fetch_add(&w->s->added, inbox);
}

static void deliver(struct worker *w)
{
    struct deliver d = {.first = any(w, 2), .message = {.bytes = STR("Subject: d\r\n\r\nd\r\n")}};
    uint64_t key[2] = {any(w, UINT32_MAX), w->number};
    memcpy(d.key, key, sizeof d.key);
    must(deliver_message(w->s->t->account, &d, &w->err), w);
    atomic_fetch_add(&w->s->added, !d.repeated);
}

static struct uidset some(struct worker *w)
{
    struct uidset s = UIDSET_EMPTY;
    uint32_t first = 1 + (uint32_t)any(w, 400);
    must(uidset_add_range(&s, first, first + (uint32_t)any(w, 30)), w);
    return s;
}

static void store_flags(struct worker *w)
{
    DEFER(uidset_release) struct uidset uids = some(w);
    struct message_store c = {
        .mode = (enum message_store_mode)any(w, 3), .flags = (uint32_t)any(w, 32), .unchanged_since = UINT64_MAX};
    must(message_store(w->s->t->account, any(w, 2) ? w->s->inbox : any_box(w), &uids, &c, &w->err), w);
    uidset_release(&c.changed);
    uidset_release(&c.refused);
}

static void copy(struct worker *w)
{
    DEFER(uidset_release) struct uidset uids = some(w);
    struct message_copy c = {.move = any(w, 2)};
    bool inbox = any(w, 4) == 0;
    must(message_copy(w->s->t->account, any_box(w), inbox ? w->s->inbox : any_box(w), &uids, &c, &w->err), w);
    if (inbox)
        atomic_fetch_add(&w->s->added, (uint32_t)uidset_count(&c.to_uids));
    uidset_release(&c.from_uids);
    uidset_release(&c.to_uids);
}

static void expunge(struct worker *w)
{
    DEFER(uidset_release) struct uidset uids = some(w);
    struct uidset gone;
    uint64_t modseq;
    must(message_expunge(w->s->t->account, any_box(w), &uids, any(w, 2), &gone, &modseq, &w->err), w);
    uidset_release(&gone);
}

static void rename_around(struct worker *w)
{
    char from[16], to[16];
    uint32_t id;
    snprintf(from, sizeof from, "r%u", (unsigned)any(w, 3));
    snprintf(to, sizeof to, "r%u", (unsigned)any(w, 3));
    (void)!mailbox_create(w->s->t->account, str_of(from), MAILBOX_ROLE_NONE, &id, NULL);
    (void)!mailbox_rename(w->s->t->account, str_of(from), str_of(to), NULL);
    (void)!mailbox_delete(w->s->t->account, str_of(to), NULL);
}

static void look(struct worker *w)
{
    struct mailbox_changes c;
    uint64_t now = account_modseq(w->s->t->account);
    must(mailbox_changes(w->s->t->account, any_box(w), now > 20 ? now - 20 : 0, &c, &w->err), w);
    mailbox_changes_release(&c);
}

static void *work(void *context)
{
    static void (*const all[])(struct worker *) = {append,      append, deliver, deliver, deliver,       store_flags,
                                                   store_flags, copy,   copy,    expunge, rename_around, look};
    struct worker *w = context;
    for (int i = 0; i < ROUNDS; i++) {
        all[any(w, sizeof all / sizeof all[0])](w);
        if (i % 40 == 20)
            must(store_care(w->s->t->store, &w->err), w);
    }
    return NULL;
}

/* Asks for what is new, as a client does that keeps the last UID it saw. */
struct poller {
    struct shared *s;
    uint32_t last, seen;
    struct err err;
};

static void poll_once(struct poller *p)
{
    struct message_entry entries[50] = {0};
    uint32_t next = p->last + 1;
    size_t count;
    must(message_page(p->s->t->account, p->s->inbox, NULL, &next, (struct message_room){entries, 50, &count}, &p->err), p);
    for (size_t i = 0; i < count; i++) {
        if (entries[i].uid <= p->last)
            abort();
        p->last = entries[i].uid;
        p->seen++;
    }
}

static void *poll_inbox(void *context)
{
    struct poller *p = context;
    while (!atomic_load(&p->s->done))
        poll_once(p);
    uint32_t before;
    do {
        before = p->last;
        poll_once(p);
    } while (p->last != before);
    return NULL;
}

struct watcher {
    struct account_watch w;
    atomic_uint *woken;
};
static void wake(struct account_watch *w, uint64_t modseq)
{
    (void)modseq;
    atomic_fetch_add(((struct watcher *)w)->woken, 1);
}

static void note_finding(void *context, const char *what)
{
    (void)context;
    print_message("fsck: %s\n", what);
}

static void keeps_order_under_load(void **state)
{
    struct testing *t = *state;
    struct shared s = {.t = t, .inbox = testing_mailbox(t, "INBOX")};
    static const char *const names[BOXES] = {"Sent", "Drafts", "Archive"};
    for (int i = 0; i < BOXES; i++) {
        s.boxes[i] = testing_mailbox(t, names[i]);
        testing_fill(t, s.boxes[i], 60);
    }
    struct watcher watcher = {{.mailbox = s.inbox, .changed = wake}, &s.woken};
    account_watch(t->account, &watcher.w);
    struct worker workers[WORKERS];
    pthread_t threads[WORKERS], poller_thread;
    struct poller poller = {.s = &s};
    assert_int_equal(pthread_create(&poller_thread, NULL, poll_inbox, &poller), 0);
    for (unsigned i = 0; i < WORKERS; i++) {
        workers[i] = (struct worker){.s = &s, .state = i + 1, .number = i};
        assert_int_equal(pthread_create(&threads[i], NULL, work, &workers[i]), 0);
    }
    for (unsigned i = 0; i < WORKERS; i++)
        pthread_join(threads[i], NULL);
    atomic_store(&s.done, true);
    pthread_join(poller_thread, NULL);
    account_unwatch(t->account, &watcher.w);
    struct mailbox_info info;
    testing_info(t, "INBOX", &info);
    assert_int_equal(info.exists, s.added);
    assert_int_equal(info.uidnext, s.added + 1);
    assert_int_equal(poller.seen, s.added);
    assert_true(s.woken > 0);
    struct fsck_result r;
    ok(store_fsck(t->store, false, true, note_finding, NULL, &r, &t->err), t);
    assert_int_equal(r.findings, 0);
}

/* A change has been told to the watchers when it returns, whoever commits it: a session must find its own message. */
struct listener {
    struct account_watch w;
    _Atomic uint64_t heard;
};

struct teller {
    struct testing *t;
    struct listener *listener;
    struct err err;
};

static void hear(struct account_watch *w, uint64_t modseq)
{
    struct listener *l = (struct listener *)w;
    uint64_t before = atomic_load(&l->heard);
    while (before < modseq && !atomic_compare_exchange_weak(&l->heard, &before, modseq))
        continue;
}

static void *tell(void *context)
{
    struct teller *teller = context;
    size_t missed = 0;
    for (unsigned i = 0; i < 2 * ROUNDS; i++) {
        struct message_append m = {.bytes = STR("Subject: t\r\n\r\nt\r\n")};
        must(message_append(teller->t->account, 1, &m, 1, &teller->err), teller);
        missed += atomic_load(&teller->listener->heard) < m.modseq;
    }
    return (void *)missed;
}

static void tells_before_it_returns(void **state)
{
    struct testing *t = *state;
    struct listener listener = {.w = {.mailbox = 1, .changed = hear}};
    struct teller tellers[WORKERS];
    pthread_t threads[WORKERS];
    size_t missed = 0;
    account_watch(t->account, &listener.w);
    for (unsigned i = 0; i < WORKERS; i++) {
        tellers[i] = (struct teller){.t = t, .listener = &listener};
        assert_int_equal(pthread_create(&threads[i], NULL, tell, &tellers[i]), 0);
    }
    for (unsigned i = 0; i < WORKERS; i++) {
        void *result;
        pthread_join(threads[i], &result);
        missed += (size_t)result;
    }
    account_unwatch(t->account, &listener.w);
    assert_int_equal(missed, 0);
}

/* Opening, dropping from memory and opening again, from several threads. */
static void *open_and_close(void *context)
{
    struct testing *t = context;
    for (int i = 0; i < 200; i++) {
        struct account *a;
        struct err e;
        if (account_open(t->store, t->id + 1 + (account_id)(i % 4), &a, &e) != ST_OK)
            abort();
        struct message_append m = {.bytes = STR("Subject: x\r\n\r\nx\r\n")};
        uint64_t modseq;
        struct uidset uids;
        if (i % 10 == 0 && message_append(a, 1, &m, 1, &e) != ST_OK)
            abort();
        if (mailbox_uids(a, 1, &uids, &modseq, &e) != ST_OK)
            abort();
        uidset_release(&uids);
        account_unref(a);
    }
    return NULL;
}

static void opens_and_closes_accounts(void **state)
{
    struct testing *t = *state;
    t->config.accounts_cached = 2;
    testing_reopen(t);
    for (account_id i = 1; i <= 4; i++)
        ok(account_create(t->store, t->id + i, &t->err), t);
    pthread_t threads[4];
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, open_and_close, t), 0);
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    struct fsck_result r;
    ok(store_fsck(t->store, false, false, note_finding, NULL, &r, &t->err), t);
    assert_int_equal(r.findings, 0);
    assert_int_equal(r.messages, 4 * 20);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, testing_setup, testing_teardown)
    const struct CMUnitTest tests[] = {T(keeps_order_under_load), T(tells_before_it_returns), T(opens_and_closes_accounts)};
    return testing_run("store/threads", tests, sizeof tests / sizeof tests[0]);
}
