#include "queue/accept.h"

#include <stdlib.h>

#include "base/check.h"
#include "format/digest.h"
#include "format/trace.h"
#include "queue/local.h"
#include "queue/queue_internal.h"
#include "queue/report.h"
#include "queue/transport.h"
#include "rt/clock.h"
#include "rt/log.h"
#include "rt/metrics.h"
#include "rt/spool.h"

enum {
    ACCEPT_ARENA_MAX = 32 << 20,
    ACCEPT_COPY_MAX = 1 << 20, /* larger messages get their Return-Path line in a spool */
    ACCEPT_DIGEST_MAX = KV_VALUE_MAX,
};

/* One place where the message goes. */
struct target {
    struct accept_recipient *recipient;
    account_id account;                 /* 0: elsewhere */
    struct str address, detail, domain; /* domain: empty if account is set */
    struct target *same;                /* an earlier one is the same mailbox */
    bool queued;
    bool expanded; /* of several that one recipient leads to */
    unsigned number;
};

struct accepting {
    struct queue *q;
    const struct accept_envelope *envelope;
    struct arena arena;
    struct queue_id id;
    struct window_slot *slot; /* NULL: no shard */
    struct target *targets;
    size_t count, queued;
    int64_t now_ms;
    /* the bytes */
    struct str plain; /* as given */
    struct str full;  /* with Return-Path; empty: not made */
    size_t front;     /* bytes of that line */
    struct buf copy;
    struct spool spool;
    struct buf digest;
};

static bool is_local(const struct target *t) { return t->account != 0; }

/* ---- who ---- */

static enum st route_status(struct accept_recipient *r)
{
    struct err *e = &r->err;
    switch (r->route.kind) {
    case DIRECTORY_REMOTE:
        return ST_OK;
    case DIRECTORY_LOCAL:
        return r->route.count > 0 ? ST_OK : ERR_PUBLIC(e, ST_NOTFOUND, "No such mailbox");
    case DIRECTORY_UNKNOWN:
        return ERR_PUBLIC(e, ST_NOTFOUND, "No such mailbox");
    case DIRECTORY_DISABLED:
        break;
    }
    return ERR_PUBLIC(e, r->route.state == DIRECTORY_SUSPENDED ? ST_TEMP : ST_DENIED, "Mailbox takes no mail");
}

static struct str domain_of(struct str address)
{
    size_t at = str_rfind_char(address, '@');
    return at == STR_NPOS ? STR_NONE : str_from(address, at + 1);
}

static void add_target(struct accepting *a, struct accept_recipient *r, const struct directory_target *from, bool expanded)
{
    struct target *t = &a->targets[a->count];
    *t = (struct target){.recipient = r, .account = from->account, .address = from->address, .detail = from->detail};
    t->expanded = expanded;
    t->number = (unsigned)a->count++;
    if (!is_local(t))
        t->domain = domain_of(t->address);
    else if (t->address.n == 0)
        t->address = r->address;
}

static enum st plan(struct accepting *a, struct err *e)
{
    const struct accept_envelope *envelope = a->envelope;
    size_t most = 0;
    for (size_t i = 0; i < envelope->count; i++)
        most += envelope->recipients[i].route.kind == DIRECTORY_LOCAL ? envelope->recipients[i].route.count : 1;
    a->targets = ARENA_ARRAY(&a->arena, most + 1, struct target);
    ENSURE(a->targets, e, ST_LIMIT, "Too many recipients");
    for (size_t i = 0; i < envelope->count; i++) {
        struct accept_recipient *r = &envelope->recipients[i];
        r->err = (struct err){0};
        r->status = route_status(r);
        if (r->status != ST_OK)
            continue;
        if (r->route.kind == DIRECTORY_REMOTE)
            add_target(a, r, &(struct directory_target){.address = r->address}, false);
        for (size_t n = 0; r->route.kind == DIRECTORY_LOCAL && n < r->route.count; n++)
            add_target(a, r, &r->route.targets[n], r->route.count > 1);
    }
    return ST_OK;
}

static int target_cmp(const void *pa, const void *pb)
{
    const struct target *a = *(struct target *const *)pa, *b = *(struct target *const *)pb;
    int order = str_cmp(a->domain, b->domain);
    if (order == 0 && a->account != b->account)
        order = a->account < b->account ? -1 : 1;
    if (order == 0)
        order = str_cmp(is_local(a) ? a->detail : a->address, is_local(b) ? b->detail : b->address);
    return order ? order : a->number < b->number ? -1 : a->number > b->number;
}

static bool same_place(const struct target *a, const struct target *b)
{
    return a->account == b->account && (is_local(a) ? str_eq(a->detail, b->detail) : str_eq(a->address, b->address));
}

/* In order of destination. One copy for each mailbox and foreign address, however many recipients lead there. */
static enum st sort_targets(struct accepting *a, struct target ***out, struct err *e)
{
    struct target **sorted = ARENA_ARRAY(&a->arena, a->count + 1, struct target *);
    ENSURE(sorted, e, ST_LIMIT, "Too many recipients");
    for (size_t i = 0; i < a->count; i++)
        sorted[i] = &a->targets[i];
    if (a->count > 1)
        qsort(sorted, a->count, sizeof(void *), target_cmp);
    for (size_t i = 1; i < a->count; i++)
        if (same_place(sorted[i - 1], sorted[i]))
            sorted[i]->same = sorted[i - 1]->same ? sorted[i - 1]->same : sorted[i - 1];
    *out = sorted;
    return ST_OK;
}

/* What one commit of one account settles needs no queue; everything else gets its durable place first, so that no failure between
 * two commits can leave a recipient out (doc/formats/queue.md, "accepting"). */
static void choose(struct accepting *a, struct target **sorted)
{
    size_t distinct = 0;
    for (size_t i = 0; i < a->count; i++)
        distinct += sorted[i]->same == NULL;
    for (size_t i = 0; i < a->count; i++) {
        struct target *t = sorted[i];
        bool alone = a->envelope->require_all ? distinct == 1 : t->recipient->route.count == 1;
        t->queued = !t->same && !(alone && is_local(t) && !(t->recipient->notify & ACCEPT_NOTIFY_SUCCESS));
        a->queued += t->queued;
    }
}

/* ---- bytes ---- */

static enum st make_full(struct accepting *a, struct err *e)
{
    struct buf line = BUF_INIT(RECORD_ADDRESS_MAX + 64);
    trace_return_path_print_text(a->envelope->reverse_path, &line);
    enum st st = buf_ok(&line) ? ST_OK : ERR(e, ST_TEMP, "Out of memory", "accepting");
    a->front = line.n;
    if (st == ST_OK && (a->plain.n <= ACCEPT_COPY_MAX || !a->q->spool_dir[0])) {
        a->copy.max = line.n + a->plain.n;
        if (buf_reserve(&a->copy, line.n + a->plain.n)) {
            buf_add(&a->copy, buf_str(&line));
            buf_add(&a->copy, a->plain);
        }
        a->full = buf_str(&a->copy);
        st = buf_ok(&a->copy) ? ST_OK : ERR(e, ST_TEMP, "Out of memory", "accepting %zu bytes", a->plain.n);
    } else if (st == ST_OK) {
        st = spool_append(&a->spool, a->plain, e);
        if (st == ST_OK)
            st = spool_prepend(&a->spool, buf_str(&line), e);
        if (st == ST_OK)
            st = spool_view(&a->spool, &a->full, e);
    }
    buf_release(&line);
    return st;
}

static enum st make_bytes(struct accepting *a, struct err *e)
{
    bool local = false;
    for (size_t i = 0; i < a->count && !local; i++)
        local = is_local(&a->targets[i]);
    if (!local)
        return ST_OK;
    TRY(make_full(a, e));
    return digest_build(a->full, &a->digest, e);
}

/* ---- the queue's part ---- */

struct entries { /* of one message, as they are made */
    struct record *records;
    struct shard_change *changes;
    struct target **first; /* of each entry's targets */
    size_t count;
};

static void fill_recipient(struct record_recipient *r, const struct accepting *a, const struct target *t)
{
    *r = (struct record_recipient){.address = t->address,
                                   .orcpt = str_upto(t->recipient->orcpt, RECORD_ORCPT_MAX),
                                   .notify = (uint8_t)(t->recipient->notify & RECORD_NOTIFY_MASK),
                                   .state = RECORD_PENDING,
                                   .expanded = t->expanded,
                                   .account = t->account,
                                   .detail = t->detail};
    if (t->expanded && r->notify & ACCEPT_NOTIFY_SUCCESS) { /* RFC 3461 5.2.7.3 (c) */
        r->notify = (uint8_t)(r->notify & ~ACCEPT_NOTIFY_SUCCESS);
        if (r->notify == 0)
            r->notify = ACCEPT_NOTIFY_NEVER;
    }
    memcpy(r->key, a->id.b, QUEUE_ID_MESSAGE);
    r->key[QUEUE_ID_MESSAGE] = 1;
    memcpy(r->key + QUEUE_ID_MESSAGE + 1, &t->number, sizeof t->number);
}

static enum st add_entry(struct accepting *a, struct entries *list, struct target **from, size_t count, struct err *e)
{
    struct record *record = &list->records[list->count];
    DEFER(buf_release) struct buf value = BUF_INIT(RECORD_SIZE_MAX);
    *record = (struct record){
        .reverse_path = a->envelope->reverse_path,
        .envid = a->envelope->envid,
        .ret = (uint8_t)a->envelope->ret,
        .body = (uint8_t)a->envelope->body,
        .smtputf8 = a->envelope->smtputf8,
        .domain = from[0]->domain,
        .size = a->full.n ? a->full.n : a->plain.n,
        .skip = (uint32_t)a->front,
        .submitter = a->envelope->submitter,
        .arrived_ms = a->now_ms,
        .next_ms = is_local(from[0]) ? a->now_ms + QUEUE_GRACE_MS : a->now_ms,
        .recipients = ARENA_ARRAY(&a->arena, count, struct record_recipient),
        .count = count,
    };
    ENSURE(record->recipients, e, ST_LIMIT, "Too many recipients");
    for (size_t i = 0; i < count; i++)
        fill_recipient(&record->recipients[i], a, from[i]);
    record->blob = list->changes[0].blob;
    record_encode(record, &value);
    struct str bytes = arena_str(&a->arena, buf_str(&value));
    ENSURE(buf_ok(&value) && bytes.p, e, ST_LIMIT, "Too many recipients");
    list->changes[list->count] = (struct shard_change){.id = queue_id_numbered(&a->id, (unsigned)list->count),
                                                       .record = bytes,
                                                       .is_new = true,
                                                       .due_ms = record->next_ms,
                                                       .domain = record->domain,
                                                       .blob = record->blob};
    list->first[list->count++] = from[0];
    return ST_OK;
}

static enum st make_entries(struct accepting *a, struct target **sorted, struct entries *list, struct err *e)
{
    struct target **queued = ARENA_ARRAY(&a->arena, a->queued, struct target *);
    list->records = ARENA_ARRAY(&a->arena, a->queued, struct record);
    list->changes = ARENA_ARRAY(&a->arena, a->queued + 1, struct shard_change);
    list->first = ARENA_ARRAY(&a->arena, a->queued, struct target *);
    if (!queued || !list->records || !list->changes || !list->first)
        return ERR_PUBLIC(e, ST_LIMIT, "Too many recipients");
    size_t n = 0;
    for (size_t i = 0; i < a->count; i++)
        if (sorted[i]->queued)
            queued[n++] = sorted[i];
    list->changes[0].blob = kv_blob_id_of(a->full.n ? a->full : a->plain);
    for (size_t from = 0, to; from < n; from = to) {
        for (to = from + 1; to < n && to - from < RECORD_RECIPIENTS_MAX; to++)
            if (!str_eq(queued[to]->domain, queued[from]->domain))
                break;
        ENSURE(list->count < QUEUE_ENTRIES_MAX, e, ST_LIMIT, "Too many recipients");
        TRY(add_entry(a, list, queued + from, to - from, e));
    }
    return ST_OK;
}

/* RFC 3461 5.2.7.3 (c): an alias with several targets answers a wish for success reports itself. */
static enum st report_expansion(struct accepting *a, struct report *out, bool *made, struct err *e)
{
    struct record_recipient *recipients = ARENA_ARRAY(&a->arena, a->envelope->count, struct record_recipient);
    int *actions = ARENA_ARRAY(&a->arena, a->envelope->count, int);
    size_t n = 0;
    *made = false;
    ENSURE(recipients && actions, e, ST_LIMIT, "Too many recipients");
    for (size_t i = 0; i < a->envelope->count && n < RECORD_RECIPIENTS_MAX; i++) {
        const struct accept_recipient *r = &a->envelope->recipients[i];
        if (r->status != ST_OK || r->route.kind != DIRECTORY_LOCAL || r->route.count < 2 || !(r->notify & ACCEPT_NOTIFY_SUCCESS))
            continue;
        actions[n] = DSN_EXPANDED;
        recipients[n++] = (struct record_recipient){.address = r->address, .orcpt = r->orcpt, .notify = ACCEPT_NOTIFY_SUCCESS};
    }
    if (n == 0)
        return ST_OK;
    struct attempt attempt = {.q = a->q, .slot = a->slot, .id = a->id, .bytes = a->plain};
    attempt.record = (struct record){.reverse_path = a->envelope->reverse_path,
                                     .envid = a->envelope->envid,
                                     .smtputf8 = a->envelope->smtputf8,
                                     .size = a->plain.n,
                                     .arrived_ms = a->now_ms,
                                     .recipients = recipients,
                                     .count = n};
    return report_build(out, &attempt, recipients, actions, 1u << DSN_EXPANDED, made, e);
}

static enum st commit_with_report(struct accepting *a, struct entries *list, struct report *report, struct err *e)
{
    bool reported;
    TRY(report_expansion(a, report, &reported, e));
    struct shard_blob blobs[2] = {{list->changes[0].blob, a->full.n ? a->full : a->plain}, report->blob};
    if (reported)
        list->changes[list->count] = report->change;
    struct shard_op op = {.changes = list->changes, .count = list->count + reported, .blobs = blobs, .blob_count = 1u + reported};
    TRY(shard_commit(a->slot->shard, &op, e));
    if (reported)
        queue_offer(a->q, a->slot, &(struct shard_due){report->change.due_ms, report->change.id}, report->change.domain);
    return ST_OK;
}

static enum st commit_entries(struct accepting *a, struct entries *list, struct err *e)
{
    struct report report = {0};
    ENSURE(a->slot, e, ST_TEMP, "The queue is not available now");
    enum st st = commit_with_report(a, list, &report, e);
    report_release(&report);
    TRY(st);
    atomic_fetch_add(&a->q->counters.accepted, list->count);
    for (size_t i = 0; i < list->count; i++) {
        const struct shard_change *c = &list->changes[i];
        struct at_hand *at_hand = is_local(list->first[i]) ? NULL : window_keep(&a->q->window, c->record, a->plain);
        queue_offer_new(a->q, a->slot, &(struct shard_due){c->due_ms, c->id}, c->domain, &at_hand);
    }
    return ST_OK;
}

/* The local recipients that are safe in the queue now are delivered at once all the same. Whatever fails stays there; the delivery
 * keys make it harmless that the queue may try again what succeeded here. */
static void deliver_queued(struct accepting *a, const struct entries *list)
{
    for (size_t i = 0; i < list->count; i++) {
        if (!is_local(list->first[i]))
            continue;
        struct attempt attempt;
        struct err e = {0};
        struct shard_due due = {0};
        enum st st = attempt_begin_with(&attempt, a->q, a->slot, &list->changes[i].id, &list->records[i], &e);
        for (size_t n = 0; n < attempt.record.count && st == ST_OK; n++) {
            const struct record_recipient *r = &attempt.record.recipients[n];
            struct local_delivery d = {
                .account = r->account, .detail = r->detail, .first = true, .bytes = a->full, .digest = buf_str(&a->digest)};
            memcpy(d.key, r->key, sizeof d.key);
            struct str status;
            enum attempt_result result = local_result(local_deliver(a->q, &d, &e), &status);
            attempt_set(&attempt, n, result, status, false, STR_NONE);
        }
        if (st == ST_OK)
            st = attempt_settle(&attempt, &due, &e);
        if (st != ST_OK)
            log_event(LOG_WARN, "queue.unsettled", LOG_ERR(&e));
        if (due.due_ms > 0)
            queue_offer(a->q, a->slot, &due, STR_NONE);
        attempt_release(&attempt);
    }
}

static enum st run_queue(struct accepting *a, struct target **sorted, struct err *e)
{
    struct entries list = {0};
    if (a->queued == 0)
        return ST_OK;
    TRY(make_entries(a, sorted, &list, e));
    TRY(commit_entries(a, &list, e));
    deliver_queued(a, &list);
    return ST_OK;
}

/* ---- together ---- */

static void deliver_direct(struct accepting *a, struct target *t)
{
    struct record_recipient r;
    fill_recipient(&r, a, t);
    struct local_delivery d = {
        .account = t->account, .detail = t->detail, .first = true, .bytes = a->full, .digest = buf_str(&a->digest)};
    memcpy(d.key, r.key, sizeof d.key);
    t->recipient->status = local_deliver(a->q, &d, &t->recipient->err);
    if (t->recipient->status == ST_OK)
        metrics_one(METRIC_DELIVERED_LOCAL);
}

static enum st run(struct accepting *a, struct err *e)
{
    struct target **sorted = NULL;
    struct err queue_err = {0};
    TRY(plan(a, e));
    if (a->envelope->require_all)
        for (size_t i = 0; i < a->envelope->count; i++)
            if (a->envelope->recipients[i].status != ST_OK) {
                *e = a->envelope->recipients[i].err;
                return a->envelope->recipients[i].status;
            }
    TRY(sort_targets(a, &sorted, e));
    if (!sorted)
        return ERR_PUBLIC(e, ST_BUG, "Mail system failure");
    choose(a, sorted);
    TRY(make_bytes(a, e));
    enum st queued = run_queue(a, sorted, &queue_err);
    for (size_t i = 0; i < a->count; i++) {
        struct target *t = &a->targets[i], *real = t->same ? t->same : t;
        if (real->queued && queued != ST_OK) {
            t->recipient->status = queued;
            t->recipient->err = queue_err;
        } else if (!t->queued && !t->same) {
            deliver_direct(a, t);
        }
    }
    for (size_t i = 0; i < a->count; i++)
        if (a->targets[i].same && !a->targets[i].same->queued) {
            a->targets[i].recipient->status = a->targets[i].same->recipient->status;
            a->targets[i].recipient->err = a->targets[i].same->recipient->err;
        }
    return ST_OK;
}

static enum st verdict(const struct accept_envelope *envelope, struct err *e)
{
    const struct accept_recipient *bad = NULL;
    size_t good = 0;
    for (size_t i = 0; i < envelope->count; i++) {
        good += envelope->recipients[i].status == ST_OK;
        if (envelope->recipients[i].status != ST_OK && !bad)
            bad = &envelope->recipients[i];
    }
    if (good > 0)
        return ST_OK;
    if (!bad)
        return ERR_PUBLIC(e, ST_PERM, "No recipients");
    if (e)
        *e = bad->err;
    return bad->status;
}

static void fail_all(const struct accept_envelope *envelope, enum st st, const struct err *e)
{
    for (size_t i = 0; i < envelope->count; i++)
        if (envelope->recipients[i].status == ST_OK) {
            envelope->recipients[i].status = st;
            envelope->recipients[i].err = *e;
        }
}

static struct queue_id new_id(struct queue *q, const struct window_slot *slot, int64_t now_ms)
{
    return queue_id_next(slot ? shard_number(slot->shard) : 0, now_ms, &q->id_counter);
}

void accept_id(struct queue *q, char id[24])
{
    struct queue_id fresh = new_id(q, queue_slot_for_new(q), clock_wall_ms());
    queue_id_print_message(&fresh, id);
}

/* The message's name, and the shard that it belongs to. A shard that went to another node since the name was made takes nothing. */
static void take_id(struct accepting *a)
{
    bool whole;
    if (a->envelope->id.n && queue_id_parse(a->envelope->id, &a->id, &whole) && always(whole)) {
        a->slot = queue_slot_of(a->q, &a->id);
        return;
    }
    a->slot = queue_slot_for_new(a->q);
    a->id = new_id(a->q, a->slot, a->now_ms);
}

enum st accept_message(struct queue *q, const struct accept_envelope *envelope, struct str bytes, char id[24], struct err *e)
{
    struct err own = {0}, *why = e ? e : &own;
    struct accepting a = {.q = q, .envelope = envelope, .plain = bytes, .now_ms = clock_wall_ms()};
    arena_init(&a.arena, ACCEPT_ARENA_MAX);
    buf_init(&a.copy, 0);
    buf_init(&a.digest, ACCEPT_DIGEST_MAX);
    spool_init(&a.spool, q->spool_dir, bytes.n, 0);
    take_id(&a);
    queue_id_print_message(&a.id, id);
    enum st st = run(&a, why);
    if (st != ST_OK)
        fail_all(envelope, st, why);
    else
        st = verdict(envelope, why);
    spool_release(&a.spool);
    buf_release(&a.digest);
    buf_release(&a.copy);
    arena_release(&a.arena);
    return st;
}
