#include "queue/attempt.h"

#include <stdlib.h>

#include "base/rd.h"
#include "queue/queue_internal.h"
#include "queue/report.h"
#include "rt/clock.h"
#include "rt/log.h"
#include "rt/metrics.h"
#include "rt/random.h"
#include "rt/settings.h"

enum { SETTLE_WAIT_FIRST_MS = 50, SETTLE_WAIT_MAX_MS = 5000, SETTLE_MANY_MAX = 100, REDIRECT_MAX = DIRECTORY_TARGETS_MAX };

/* ---- the attempt ---- */

static enum st prepare(struct attempt *a, struct err *e)
{
    a->results = ARENA_ARRAY(&a->arena, a->record.count, enum attempt_result);
    a->targets = ARENA_ARRAY(&a->arena, a->record.count, struct attempt_target *);
    a->draft = ARENA_ARRAY(&a->arena, a->record.count, struct record_recipient);
    ENSURE(a->results && a->targets && a->draft, e, ST_LIMIT, "Queue record is too large");
    a->was = (struct shard_due){a->record.held ? 0 : a->record.next_ms, a->id};
    return ST_OK;
}

enum st attempt_begin(struct attempt *a, struct queue *q, struct window_slot *slot, const struct queue_id *id, struct err *e)
{
    *a = (struct attempt){.q = q, .slot = slot, .id = *id, .arena = ARENA_INIT(RECORD_ARENA_MAX), .value = BUF_INIT(KV_VALUE_MAX)};
    TRY(shard_get(slot->shard, id, &a->value, e));
    TRY(record_decode(buf_str(&a->value), &a->arena, &a->record, e));
    return prepare(a, e);
}

enum st attempt_begin_with(struct attempt *a, struct queue *q, struct window_slot *slot, const struct queue_id *id,
                           const struct record *record, struct err *e)
{
    *a = (struct attempt){.q = q, .slot = slot, .id = *id, .arena = ARENA_INIT(RECORD_ARENA_MAX), .value = BUF_INIT(KV_VALUE_MAX)};
    a->record = *record;
    return prepare(a, e);
}

enum st attempt_begin_at_hand(struct attempt *a, struct queue *q, struct window_slot *slot, const struct queue_id *id,
                              struct at_hand **at_hand, struct err *e)
{
    struct at_hand *h = *at_hand;
    *a = (struct attempt){.q = q, .slot = slot, .id = *id, .arena = ARENA_INIT(RECORD_ARENA_MAX), .at_hand = h};
    *at_hand = NULL;
    a->bytes = str_make(h->bytes + h->record_n, h->message_n);
    TRY(record_decode(str_make(h->bytes, h->record_n), &a->arena, &a->record, e));
    return prepare(a, e);
}

void attempt_release(struct attempt *a)
{
    if (a->at_hand)
        window_forget(&a->q->window, &a->at_hand);
    buf_release(&a->value);
    arena_release(&a->arena);
}

bool attempt_open(const struct attempt *a, size_t recipient)
{
    return a->record.recipients[recipient].state == RECORD_PENDING && a->results[recipient] == ATTEMPT_NONE;
}

size_t attempt_open_count(const struct attempt *a)
{
    size_t n = 0;
    for (size_t i = 0; i < a->record.count; i++)
        n += attempt_open(a, i);
    return n;
}

/* One line, printable: it goes into records, reports and the log. */
static struct str clean(struct attempt *a, struct str s, size_t max)
{
    s = str_upto(str_trim(s), max);
    char *copy = arena_get(&a->arena, s.n + 1);
    if (!copy)
        return STR_NONE;
    bool utf8 = str_is_utf8(s);
    for (size_t i = 0; i < s.n; i++) {
        unsigned char c = (unsigned char)s.p[i];
        copy[i] = c < ' ' || c == 127 ? ' ' : c >= 128 && !utf8 ? '?' : s.p[i];
    }
    return str_make(copy, s.n);
}

void attempt_set(struct attempt *a, size_t recipient, enum attempt_result result, struct str status, bool smtp, struct str host)
{
    struct record_recipient *r = &a->record.recipients[recipient];
    a->results[recipient] = result;
    r->status = clean(a, status, RECORD_STATUS_MAX);
    r->host = clean(a, host, RECORD_DOMAIN_MAX);
    r->status_smtp = smtp;
}

void attempt_set_all(struct attempt *a, enum attempt_result result, struct str status, bool smtp, struct str host)
{
    for (size_t i = 0; i < a->record.count; i++)
        if (attempt_open(a, i))
            attempt_set(a, i, result, status, smtp, host);
}

enum st attempt_read(struct attempt *a, uint64_t offset, size_t length, struct buf *out, struct err *e)
{
    if (a->bytes.p) {
        buf_add(out, str_sub(a->bytes, offset, length));
        return buf_ok(out) ? ST_OK : ERR(e, ST_TEMP, "Out of memory", "reading a message");
    }
    return kv_blob_read(a->q->kv, &a->record.blob, a->record.skip + offset, length, out, e);
}

int64_t attempt_backoff_ms(unsigned attempts)
{
    const struct settings *s = settings_current();
    int64_t wait = s->queue_retry_first_ms, most = s->queue_retry_max_ms;
    settings_unref(s);
    for (unsigned i = 1; i < attempts && wait < most; i++)
        wait *= 2;
    if (wait > most)
        wait = most;
    return wait * 3 / 4 + (int64_t)random_below((uint64_t)wait / 2 + 1); /* 75 % to 125 % */
}

struct str attempt_status_code(struct str status, bool smtp, struct str fallback)
{
    struct rd in = rd_of(status);
    if (smtp) {
        rd_bytes(&in, 3);
        rd_accept(&in, ' ');
    }
    const char *from = in.p;
    uint64_t class = rd_decimal(&in);
    bool ok = rd_expect(&in, '.') && (rd_decimal(&in), rd_expect(&in, '.')) && (rd_decimal(&in), rd_ok(&in));
    if (ok && (class == 2 || class == 4 || class == 5) && in.p - from <= 11 && (rd_end(&in) || rd_peek(&in) == ' '))
        return str_make(from, (size_t)(in.p - from));
    if (smtp && status.n >= 3 && status.p[0] == '4')
        return STR("4.0.0");
    return smtp && status.n >= 3 && status.p[0] == '5' ? STR("5.0.0") : fallback;
}

/* ---- settling ---- */

struct settling {
    struct attempt *a;
    struct record record; /* as it shall be */
    struct buf value;
    struct report reports[REPORTS_MAX];
    size_t report_count;
    struct shard_change *moved; /* redirections, in the arena */
    size_t moved_count;
    struct shard_due due;
    int64_t late_ms, expires_ms;
    int *actions; /* enum dsn_action for each recipient, -1: none; in the arena */
    bool final;
};

static void settling_release(struct settling *s)
{
    buf_release(&s->value);
    for (size_t i = 0; i < s->report_count; i++)
        report_release(&s->reports[i]);
}

/* What a failed try means for one recipient. */
static void still_pending(struct settling *s, size_t i, int64_t now)
{
    struct record_recipient *r = &s->record.recipients[i];
    if (now >= s->expires_ms || s->a->wish & WINDOW_WISH_BOUNCE) {
        r->state = RECORD_FAILED;
        s->actions[i] = DSN_FAILED;
    } else if (s->late_ms > 0 && now >= s->late_ms && !r->delay_told && s->record.reverse_path.n > 0) {
        r->delay_told = true;
        s->actions[i] = DSN_DELAYED;
    }
}

static void apply_result(struct settling *s, size_t i, int64_t now)
{
    struct record_recipient *r = &s->record.recipients[i];
    switch (s->a->results[i]) {
    case ATTEMPT_OK:
        r->state = RECORD_DELIVERED;
        if (s->record.domain.n == 0)
            s->actions[i] = DSN_DELIVERED;
        break;
    case ATTEMPT_RELAYED:
        r->state = RECORD_DELIVERED;
        s->actions[i] = DSN_RELAYED;
        break;
    case ATTEMPT_REDIRECT:
        r->state = RECORD_DELIVERED;
        break;
    case ATTEMPT_PERM:
        r->state = RECORD_FAILED;
        s->actions[i] = DSN_FAILED;
        break;
    case ATTEMPT_TEMP:
    case ATTEMPT_NONE:
        if (s->final)
            still_pending(s, i, now);
        break;
    }
    if (s->a->wish & WINDOW_WISH_DROP && r->state != RECORD_DELIVERED)
        s->actions[i] = -1;
    if (s->actions[i] >= 0 && !report_wanted(&s->record, r, (enum dsn_action)s->actions[i]))
        s->actions[i] = -1;
}

static enum st make_reports(struct settling *s, struct err *e)
{
    static const unsigned kinds[REPORTS_MAX] = {1u << DSN_FAILED, 1u << DSN_DELAYED,
                                                1u << DSN_DELIVERED | 1u << DSN_RELAYED | 1u << DSN_EXPANDED};
    for (size_t k = 0; k < REPORTS_MAX; k++) {
        bool any = false, made;
        for (size_t i = 0; i < s->record.count; i++)
            any = any || (s->actions[i] >= 0 && kinds[k] & 1u << s->actions[i]);
        if (!any)
            continue;
        struct report *r = &s->reports[s->report_count++];
        TRY(report_build(r, s->a, s->record.recipients, s->actions, kinds[k], &made, e));
        if (!made) {
            report_release(r);
            s->report_count--;
        }
    }
    return ST_OK;
}

/* The recipient's new addresses become entries of their own, with the same bytes. */
static enum st move_recipient(struct settling *s, size_t i, int64_t now, struct err *e)
{
    struct attempt *a = s->a;
    for (struct attempt_target *t = a->targets[i]; t; t = t->next) {
        struct record_recipient recipient = s->record.recipients[i];
        struct record record = s->record;
        struct buf value = BUF_INIT(RECORD_SIZE_MAX);
        struct queue_id id = queue_id_next(shard_number(a->slot->shard), now, &a->q->id_counter);
        size_t at = str_rfind_char(t->address, '@');
        recipient.address = t->address;
        recipient.detail = t->detail;
        recipient.account = t->account;
        recipient.state = RECORD_PENDING;
        recipient.expanded = recipient.expanded || a->targets[i]->next;
        memset(recipient.key, 0, sizeof recipient.key);
        memcpy(recipient.key, id.b, QUEUE_ID_SIZE);
        record.domain = t->account || at == STR_NPOS ? STR_NONE : str_from(t->address, at + 1);
        record.recipients = &recipient;
        record.count = 1;
        record.next_ms = now;
        record_encode(&record, &value);
        struct str bytes = arena_str(&a->arena, buf_str(&value));
        bool ok = buf_ok(&value) && bytes.p && s->moved_count < REDIRECT_MAX;
        buf_release(&value);
        ENSURE(ok, e, ST_LIMIT, "Too many new addresses");
        s->moved[s->moved_count++] = (struct shard_change){
            .id = id, .record = bytes, .is_new = true, .due_ms = now, .domain = record.domain, .blob = record.blob};
    }
    return ST_OK;
}

static enum st make_moves(struct settling *s, int64_t now, struct err *e)
{
    size_t count = 0;
    for (size_t i = 0; i < s->record.count; i++)
        for (struct attempt_target *t = s->a->results[i] == ATTEMPT_REDIRECT ? s->a->targets[i] : NULL; t; t = t->next)
            count++;
    if (count == 0)
        return ST_OK;
    ENSURE(count <= REDIRECT_MAX, e, ST_LIMIT, "Too many new addresses");
    s->moved = ARENA_ARRAY(&s->a->arena, count, struct shard_change);
    ENSURE(s->moved, e, ST_LIMIT, "Too many new addresses");
    for (size_t i = 0; i < s->record.count; i++)
        if (s->a->results[i] == ATTEMPT_REDIRECT)
            TRY(move_recipient(s, i, now, e));
    return ST_OK;
}

static void schedule(struct settling *s, int64_t now)
{
    struct attempt *a = s->a;
    if (!s->final)
        return;
    s->record.attempts++;
    s->record.last_ms = now;
    if (record_pending(&s->record) == 0)
        return;
    s->record.next_ms = now + attempt_backoff_ms(s->record.attempts);
    if (a->not_before_ms > s->record.next_ms)
        s->record.next_ms = a->not_before_ms;
    if (s->record.next_ms > s->expires_ms && now < s->expires_ms)
        s->record.next_ms = s->expires_ms; /* one last time */
    if (a->wish & WINDOW_WISH_RETRY)
        s->record.next_ms = now;
    if (a->wish & WINDOW_WISH_HOLD || a->broken_store)
        s->record.held = true;
}

static enum st settling_init(struct settling *s, struct attempt *a, bool final, struct err *e)
{
    int64_t now = clock_wall_ms();
    const struct settings *settings = settings_current();
    *s = (struct settling){.a = a, .record = a->record, .value = BUF_INIT(RECORD_SIZE_MAX), .final = final};
    s->expires_ms = a->record.arrived_ms + settings->queue_expiry_ms;
    s->late_ms = settings->queue_delay_notice_ms > 0 ? a->record.arrived_ms + settings->queue_delay_notice_ms : 0;
    settings_unref(settings);
    s->record.recipients = a->draft;
    s->actions = ARENA_ARRAY(&a->arena, a->record.count, int);
    ENSURE(s->actions, e, ST_LIMIT, "Queue record is too large");
    for (size_t i = 0; i < a->record.count; i++) {
        a->draft[i] = a->record.recipients[i];
        s->actions[i] = -1;
        if (a->draft[i].state == RECORD_PENDING)
            apply_result(s, i, now);
    }
    schedule(s, now);
    TRY(make_reports(s, e));
    TRY(make_moves(s, now, e));
    size_t pending = record_pending(&s->record);
    if (final && a->wish & WINDOW_WISH_DROP)
        pending = 0;
    if (pending > 0) {
        record_encode(&s->record, &s->value);
        ENSURE(buf_ok(&s->value), e, ST_LIMIT, "Queue record is too large");
    }
    s->due = (struct shard_due){pending == 0 || s->record.held ? 0 : s->record.next_ms, a->id};
    return ST_OK;
}

static size_t settling_changes(const struct settling *s) { return 1 + s->report_count + s->moved_count; }

static void settling_add(struct settling *s, struct shard_op *op, struct shard_change *changes, struct shard_blob *blobs)
{
    changes[op->count++] = (struct shard_change){.id = s->a->id,
                                                 .record = buf_str(&s->value),
                                                 .was_due_ms = s->a->was.due_ms,
                                                 .due_ms = s->due.due_ms,
                                                 .domain = s->record.domain,
                                                 .blob = s->record.blob};
    for (size_t i = 0; i < s->report_count; i++) {
        changes[op->count++] = s->reports[i].change;
        blobs[op->blob_count++] = s->reports[i].blob;
    }
    for (size_t i = 0; i < s->moved_count; i++)
        changes[op->count++] = s->moved[i];
}

static void log_recipient(const struct settling *s, size_t i)
{
    static const char *const names[] = {[ATTEMPT_OK] = "delivered", [ATTEMPT_RELAYED] = "relayed", [ATTEMPT_TEMP] = "deferred",
                                        [ATTEMPT_PERM] = "failed",  [ATTEMPT_REDIRECT] = "moved",  [ATTEMPT_NONE] = "untried"};
    const struct record_recipient *r = &s->record.recipients[i];
    enum attempt_result result = r->state == RECORD_FAILED ? ATTEMPT_PERM : s->a->results[i];
    struct queue_counters *counters = &s->a->q->counters;
    char id[QUEUE_ID_TEXT_MAX];
    if (result == ATTEMPT_OK || result == ATTEMPT_RELAYED) {
        atomic_fetch_add(&counters->delivered, 1);
        metrics_one(s->record.domain.n ? METRIC_DELIVERED_REMOTE : METRIC_DELIVERED_LOCAL);
    } else if (result == ATTEMPT_PERM) {
        atomic_fetch_add(&counters->failed, 1);
        metrics_one(METRIC_DELIVERY_FAILED);
    } else {
        atomic_fetch_add(&counters->deferred, 1);
        metrics_one(METRIC_DELIVERY_DEFERRED);
    }
    queue_id_print(&s->a->id, id);
    log_event(LOG_INFO, "queue.delivery", LOG_Z("id", id), LOG_Z("result", names[result]), LOG_STR("from", s->record.reverse_path),
              LOG_STR("to", r->address), LOG_STR("host", r->host), LOG_STR("status", r->status),
              LOG_UINT("attempt", s->record.attempts), LOG_MS("age", clock_wall_ms() - s->record.arrived_ms));
}

/* It is durable: the attempt goes on from here. */
static void settled(struct settling *s)
{
    struct attempt *a = s->a;
    for (size_t i = 0; i < a->record.count; i++)
        if (a->record.recipients[i].state == RECORD_PENDING && a->results[i] != ATTEMPT_NONE &&
            (s->final || a->results[i] != ATTEMPT_TEMP))
            log_recipient(s, i);
    for (size_t i = 0; i < a->record.count; i++) {
        a->record.recipients[i] = s->record.recipients[i];
        if (s->record.recipients[i].state != RECORD_PENDING)
            a->results[i] = ATTEMPT_NONE;
    }
    s->record.recipients = a->record.recipients;
    a->record = s->record;
    a->was = s->due;
    atomic_fetch_add(&a->q->counters.reports, s->report_count);
    for (size_t i = 0; i < s->report_count; i++)
        queue_offer(a->q, a->slot, &(struct shard_due){s->reports[i].change.due_ms, s->reports[i].change.id},
                    s->reports[i].change.domain);
    for (size_t i = 0; i < s->moved_count; i++)
        queue_offer(a->q, a->slot, &(struct shard_due){s->moved[i].due_ms, s->moved[i].id}, s->moved[i].domain);
}

static enum st commit_settlings(struct settling *list, size_t count, struct err *e)
{
    size_t changes = 0, blobs = 0;
    for (size_t i = 0; i < count; i++) {
        changes += settling_changes(&list[i]);
        blobs += list[i].report_count;
    }
    struct shard_change *change = calloc(changes, sizeof *change);
    struct shard_blob *blob = calloc(blobs + 1, sizeof *blob);
    struct shard_op op = {.changes = change, .blobs = blob};
    enum st st = ST_TEMP;
    for (size_t i = 0; i < count && change && blob; i++)
        settling_add(&list[i], &op, change, blob);
    if (op.count == 0)
        st = ERR(e, ST_TEMP, "Out of memory", "settling");
    else
        st = shard_commit(list[0].a->slot->shard, &op, e);
    for (size_t i = 0; i < count && st == ST_OK; i++)
        settled(&list[i]);
    free(change);
    free(blob);
    return st;
}

static enum st settle(struct attempt *a, bool final, struct shard_due *due, struct err *e)
{
    struct settling s;
    enum st st = settling_init(&s, a, final, e);
    if (st == ST_OK)
        st = commit_settlings(&s, 1, e);
    if (st == ST_OK && due)
        *due = s.due;
    settling_release(&s);
    return st;
}

enum st attempt_save(struct attempt *a, struct err *e) { return settle(a, false, NULL, e); }

enum st attempt_settle(struct attempt *a, struct shard_due *due, struct err *e) { return settle(a, true, due, e); }

enum st attempt_settle_many(struct attempt **list, size_t count, struct err *e)
{
    struct settling *s = calloc(count + 1, sizeof *s);
    enum st st = s ? ST_OK : ERR(e, ST_TEMP, "Out of memory", "settling");
    size_t n = 0;
    for (; n < count && st == ST_OK; n++)
        st = settling_init(&s[n], list[n], true, e);
    if (st == ST_OK && count > 0)
        st = commit_settlings(s, count, e);
    for (size_t i = 0; i < n; i++)
        settling_release(&s[i]);
    free(s);
    return st;
}

bool attempt_settle_surely(struct attempt *a)
{
    unsigned wait = SETTLE_WAIT_FIRST_MS;
    for (;;) {
        struct err e = {0};
        enum st st = attempt_settle(a, NULL, &e);
        if (st == ST_OK)
            return true;
        char id[QUEUE_ID_TEXT_MAX];
        queue_id_print(&a->id, id);
        log_event(LOG_ERROR, "queue.unsettled", LOG_Z("id", id), LOG_ERR(&e));
        if ((st != ST_TEMP && st != ST_CONFLICT) || shard_lost(a->slot->shard) || atomic_load(&a->q->breaking))
            return false;
        clock_sleep_ms(wait);
        wait = wait * 2 < SETTLE_WAIT_MAX_MS ? wait * 2 : SETTLE_WAIT_MAX_MS;
    }
}
