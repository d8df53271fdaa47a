/* A queue on a store with accounts elinor@abcd.com and carolyn@xyz.com, a fake transport that does what a script says, on simulated
 * time. For the tests of this layer (*_simtest.c). */
#ifndef QUEUE_TESTING_H
#define QUEUE_TESTING_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "kv/fault.h"
#include "queue/accept.h"
#include "queue/queue_internal.h"
#include "queue/transport.h"
#include "rt/clock.h"
#include "rt/log.h"
#include "rt/settings.h"
#include "store/mailbox.h"
#include "store/message.h"

#define OK(e, call)                                                                                                                \
    do {                                                                                                                           \
        enum st ok_st_ = (call);                                                                                                   \
        if (ok_st_ != ST_OK)                                                                                                       \
            fail_msg("%s: %s: %s (%s)", #call, st_name(ok_st_), (e)->text, (e)->detail);                                           \
    } while (0)

/* What the fake host does with a recipient: by the local-part of its address. "ok", "norelay" (no DSN there), "temp", "perm",
 * "many" (552, which is temporary); a digit behind "temp" is how many times. */
struct fake {
    unsigned opens, transactions;
    bool refuse;          /* no connection */
    bool refuse_for_good; /* and that is final */
    unsigned gone_after;  /* transactions until the connection breaks; 0: never */
    struct buf sent;      /* "recipient|message-id\n" for each recipient delivered */
    struct buf last;      /* bytes of the last message */
    char last_from[256];
    unsigned last_body; /* enum accept_body */
};
static struct fake fake;

struct fake_link {
    struct transport base;
    unsigned done;
};

static const struct transport_class fake_class;

static bool fake_open(struct queue *q, struct str destination, struct transport **out, struct transport_failure *why)
{
    (void)q;
    (void)destination;
    fake.opens++;
    if (fake.refuse || fake.refuse_for_good) {
        *why = (struct transport_failure){
            .result = fake.refuse ? ATTEMPT_TEMP : ATTEMPT_PERM, .status = "4.4.1 nobody at home", .host = "mx.remote.test"};
        return false;
    }
    struct fake_link *l = calloc(1, sizeof *l);
    assert_non_null(l);
    l->base.class = &fake_class;
    *out = &l->base;
    return true;
}

static void fake_recipient(struct attempt *a, size_t i)
{
    struct record_recipient *r = &a->record.recipients[i];
    struct str local = str_upto(r->address, str_find_char(r->address, '@')), host = STR("mx.remote.test");
    if (str_starts(local, STR("perm"))) {
        attempt_set(a, i, ATTEMPT_PERM, STR("550 5.1.1 no such user"), true, host);
    } else if (str_starts(local, STR("many"))) {
        attempt_set(a, i, ATTEMPT_TEMP, STR("552 5.5.3 too many recipients"), true, host); /* as smtp_client understands it */
    } else if (str_starts(local, STR("temp"))) {
        unsigned times = local.n > 4 ? (unsigned)(local.p[4] - '0') : 99;
        if (a->record.attempts < times)
            attempt_set(a, i, ATTEMPT_TEMP, STR("450 4.2.0 try later"), true, host);
        else
            attempt_set(a, i, ATTEMPT_OK, STR("250 2.0.0 fine"), true, host);
    } else {
        bool no_dsn = str_starts(local, STR("norelay"));
        attempt_set(a, i, no_dsn ? ATTEMPT_RELAYED : ATTEMPT_OK, STR("250 2.0.0 fine"), true, host);
    }
    if (a->results[i] != ATTEMPT_OK && a->results[i] != ATTEMPT_RELAYED)
        return;
    char id[QUEUE_ID_TEXT_MESSAGE + 1];
    queue_id_print_message(&a->id, id);
    buf_add(&fake.sent, r->address);
    buf_printf(&fake.sent, "|%s\n", id);
}

static enum transport_state fake_deliver(struct transport *t, struct attempt *a)
{
    struct fake_link *l = (struct fake_link *)t;
    struct err e = {0};
    if (fake.gone_after && l->done++ >= fake.gone_after) {
        t->lost = (struct transport_failure){.result = ATTEMPT_TEMP, .status = "4.4.2 lost"};
        return TRANSPORT_GONE;
    }
    fake.transactions++;
    buf_clear(&fake.last);
    if (attempt_read(a, 0, 1 << 20, &fake.last, &e) != ST_OK) {
        attempt_set_all(a, ATTEMPT_TEMP, STR("4.3.0 cannot read"), false, STR_NONE);
        return TRANSPORT_READY;
    }
    snprintf(fake.last_from, sizeof fake.last_from, "%.*s", STR_FMT(a->record.reverse_path));
    fake.last_body = a->record.body;
    for (size_t i = 0; i < a->record.count; i++)
        if (attempt_open(a, i))
            fake_recipient(a, i);
    return TRANSPORT_READY;
}

static void fake_close(struct transport *t) { free(t); }

static const struct transport_class fake_class = {"fake", fake_open, fake_deliver, fake_close};

struct testing {
    struct kv *kv;
    struct store *store;
    struct directory *directory;
    struct queue *queue;
    struct arena arena;
    struct err err;
    account_id elinor, carolyn;
};

static inline void testing_open_queue(struct testing *t)
{
    struct queue_config config = {
        .store = t->store, .directory = t->directory, .hostname = "mx.abcd.com", .node = "node-1", .remote = &fake_class};
    OK(&t->err, queue_open(&config, &t->queue, &t->err));
}

static inline account_id testing_account(struct testing *t, const char *address)
{
    account_id id;
    struct directory_account account = {.address = str_of(address), .quota_bytes = UINT64_MAX, .quota_messages = UINT64_MAX};
    OK(&t->err, directory_account_add(t->directory, t->store, &account, &id, &t->err));
    return id;
}

static inline void testing_open_store(struct testing *t)
{
    struct store_config config;
    store_config_defaults(&config);
    OK(&t->err, store_open(t->kv, &config, &t->store, &t->err));
    OK(&t->err, directory_open(t->kv, &t->directory, &t->err));
}

/* Tests on the real clock (TESTING_REAL_CLOCK) leave it alone. */
#ifdef TESTING_REAL_CLOCK
#define TESTING_CLOCK() ((void)0)
#else
#define TESTING_CLOCK() clock_sim_set(1700000000000)
#endif

/* fault: behind the fault engine; split: commits in steps. */
static inline void testing_open(struct testing *t, bool fault, bool split)
{
    *t = (struct testing){0};
    fake = (struct fake){.sent = BUF_INIT(1 << 24), .last = BUF_INIT(1 << 24)};
    TESTING_CLOCK();
    arena_init(&t->arena, 64 << 20);
    OK(&t->err, kv_open(&(struct kv_config){.engine = "memory"}, &t->kv, &t->err));
    if (fault)
        OK(&t->err, kv_fault_new(&t->kv, split, &t->kv, &t->err));
    testing_open_store(t);
    OK(&t->err,
       directory_domain_put(t->directory, &(struct directory_domain){.name = STR("abcd.com"), .is_default = true}, &t->err));
    OK(&t->err, directory_domain_put(t->directory, &(struct directory_domain){.name = STR("xyz.com")}, &t->err));
    t->elinor = testing_account(t, "elinor@abcd.com");
    t->carolyn = testing_account(t, "carolyn@xyz.com");
    testing_open_queue(t);
}

static inline void testing_close(struct testing *t)
{
    queue_close(t->queue);
    directory_close(t->directory);
    store_close(t->store);
    kv_close(t->kv);
    arena_release(&t->arena);
    buf_release(&fake.sent);
    buf_release(&fake.last);
}

/* As after a crash: everything in memory is gone, the engine is what it was. */
static inline void testing_reopen(struct testing *t)
{
    queue_close(t->queue);
    directory_close(t->directory);
    store_close(t->store);
    testing_open_store(t);
    testing_open_queue(t);
}

/* Resolves the addresses (separated by spaces; "address:notify" with notify bits in decimal) and hands the message over. */
static inline enum st testing_accept(struct testing *t, const char *from, const char *to, const char *bytes, bool require_all,
                                     struct accept_recipient *out)
{
    static struct accept_recipient own[2000];
    struct accept_recipient *list = out ? out : own;
    struct str rest = str_of(to), one;
    char id[24];
    size_t n = 0;
    while (str_split(&rest, ' ', &one)) {
        size_t colon = str_find_char(one, ':');
        uint32_t notify = 0;
        if (colon != STR_NPOS)
            str_to_u32(str_from(one, colon + 1), &notify);
        list[n] = (struct accept_recipient){.address = str_upto(one, colon), .notify = notify};
        OK(&t->err, directory_resolve(t->directory, list[n].address, &t->arena, &list[n].route, &t->err));
        n++;
    }
    struct accept_envelope envelope = {.reverse_path = str_of(from), .require_all = require_all, .recipients = list, .count = n};
    return accept_message(t->queue, &envelope, str_of(bytes), id, &t->err);
}

#ifndef TESTING_REAL_CLOCK
/* Runs the queue until nothing is left or `hours` have passed. */
static inline void testing_run(struct testing *t, unsigned hours)
{
    int64_t end = clock_wall_ms() + (int64_t)hours * 3600000, next = 0;
    for (unsigned n = 0; n < 100000; n++) {
        OK(&t->err, queue_run_once(t->queue, &next, &t->err));
        if (next == 0 || next > end)
            break;
        if (next > clock_wall_ms())
            clock_sim_advance(next - clock_wall_ms());
    }
    if (clock_wall_ms() < end)
        clock_sim_advance(end - clock_wall_ms());
}

#endif

struct testing_mailbox {
    uint32_t count;
    struct str last; /* in the arena */
};

static inline bool testing_visit(void *context, const struct message_entry *entry)
{
    *(struct message_entry *)context = *entry;
    return true;
}

/* What is in a mailbox of an account. */
static inline struct testing_mailbox testing_look(struct testing *t, account_id id, const char *mailbox)
{
    struct account *account;
    struct mailbox_info info;
    struct message_entry last = {0};
    struct buf bytes = BUF_INIT(1 << 24);
    OK(&t->err, account_open(t->store, id, &account, &t->err));
    OK(&t->err, mailbox_find(account, str_of(mailbox), &t->arena, &info, &t->err));
    if (info.exists > 0) {
        OK(&t->err, message_scan(account, info.id, NULL, testing_visit, &last, &t->err));
        OK(&t->err, message_read(account, last.email, 0, 1 << 24, &bytes, &t->err));
    }
    struct testing_mailbox found = {info.exists, arena_str(&t->arena, buf_str(&bytes))};
    buf_release(&bytes);
    account_unref(account);
    return found;
}

static inline size_t testing_count(struct str text, const char *needle)
{
    size_t n = 0;
    for (size_t at; (at = str_find(text, str_of(needle))) != STR_NPOS; text = str_from(text, at + 1))
        n++;
    return n;
}

static inline uint64_t testing_entries(struct testing *t)
{
    struct queue_stats stats;
    queue_stats(t->queue, &stats);
    return stats.entries;
}

#endif
