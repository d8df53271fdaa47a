#include "queue/report.h"

#include "base/bits.h"
#include "queue/queue_internal.h"
#include "queue/route.h"
#include "rt/clock.h"
#include "rt/log.h"
#include "rt/settings.h"

enum { REPORT_HEADER_MAX = 64 << 10, REPORT_OVERHEAD_MAX = 4 << 20 };

bool report_wanted(const struct record *record, const struct record_recipient *r, enum dsn_action action)
{
    if (record->reverse_path.n == 0) /* nobody; but a failure may be the postmaster's business, whatever NOTIFY says */
        return action == DSN_FAILED;
    switch (action) {
    case DSN_FAILED: /* RFC 3461 5.2.6 */
        return r->notify == 0 || r->notify & ACCEPT_NOTIFY_FAILURE;
    case DSN_DELAYED: /* 5.2.5 */
        return r->notify == 0 || r->notify & ACCEPT_NOTIFY_DELAY;
    case DSN_DELIVERED: /* 5.2.3 */
    case DSN_RELAYED:   /* 5.2.2 */
    case DSN_EXPANDED:
        return r->notify & ACCEPT_NOTIFY_SUCCESS && !r->expanded;
    }
    return false;
}

/* Who is told: the sender; the postmaster, if a report could not be delivered and he wants to know; or nobody (empty). */
static struct str addressee(const struct attempt *a, const struct settings *settings, uint8_t *level)
{
    *level = 1;
    if (a->record.reverse_path.n > 0)
        return a->record.reverse_path;
    *level = 2;
    if (a->record.report == 2 || !settings->queue_double_bounce)
        return STR_NONE;
    return settings->global_postmaster[0] ? str_of(settings->global_postmaster) : STR("postmaster");
}

static enum st read_original(const struct attempt *a, size_t full_max, struct buf *out, struct err *e)
{
    size_t wanted = full_max > REPORT_HEADER_MAX ? full_max : REPORT_HEADER_MAX;
    struct attempt reading = *a;
    enum st st = attempt_read(&reading, 0, wanted, out, e);
    if (st != ST_NOTFOUND && st != ST_CORRUPT)
        return st;
    buf_clear(out); /* the message is gone: the report must not fail for that */
    return ST_OK;
}

/* RFC 3463 2: the class fits what happened. A 552 that meant "too many recipients" is a delay all the same; what was tried in vain
 * until the end keeps the 4 of the last answer. */
static struct str status_of(const struct record_recipient *r, enum dsn_action action)
{
    if (action != DSN_FAILED && action != DSN_DELAYED)
        return STR("2.0.0");
    struct str fallback = action == DSN_FAILED ? STR("5.0.0") : STR("4.0.0");
    struct str status = attempt_status_code(r->status, r->status_smtp, fallback);
    return status.p[0] == '2' || (action == DSN_DELAYED && status.p[0] == '5') ? fallback : status;
}

static size_t fill_recipients(const struct attempt *a, const struct record_recipient *recipients, const int *actions,
                              unsigned which, struct dsn_recipient *out, int64_t until_ms)
{
    size_t n = 0;
    for (size_t i = 0; i < a->record.count; i++) {
        const struct record_recipient *r = &recipients[i];
        if (actions[i] < 0 || !(which & 1u << actions[i]))
            continue;
        enum dsn_action action = (enum dsn_action)actions[i];
        out[n++] = (struct dsn_recipient){
            .address = r->address,
            .orcpt = r->orcpt,
            .action = action,
            .status = status_of(r, action),
            .remote_mta = r->host,
            .diagnostic = r->status,
            .diagnostic_smtp = r->status_smtp,
            .last_attempt_s = clock_wall_ms() / 1000,
            .will_retry_until_s = action == DSN_DELAYED ? until_ms / 1000 : 0,
        };
    }
    return n;
}

static void log_double(const struct attempt *a, const struct record_recipient *recipients, const int *actions)
{
    char id[QUEUE_ID_TEXT_MAX];
    queue_id_print(&a->id, id);
    for (size_t i = 0; i < a->record.count; i++)
        if (actions[i] == DSN_FAILED)
            log_event(LOG_WARN, "queue.nobody_to_tell", LOG_Z("id", id), LOG_STR("to", recipients[i].address),
                      LOG_STR("status", recipients[i].status));
}

/* The report as an entry of the same shard. */
static enum st make_entry(struct report *out, const struct attempt *a, struct str to, uint8_t level, struct err *e)
{
    struct queue *q = a->q;
    int64_t now = clock_wall_ms();
    size_t at = str_rfind_char(to, '@');
    struct str domain = at == STR_NPOS ? STR_NONE : str_from(to, at + 1);
    bool local = domain.n == 0;
    if (!local)
        TRY(directory_domain_is_local(q->directory, domain, &local, e));
    ENSURE(domain.n <= RECORD_DOMAIN_MAX, e, ST_PERM, "The sender's domain is too long");
    if (!local)
        memcpy(out->domain, domain.p, domain.n);
    struct record_recipient recipient = {.address = to, .state = RECORD_PENDING, .notify = ACCEPT_NOTIFY_NEVER};
    struct record record = {
        .report = level,
        .smtputf8 = !str_is_ascii(to) || a->record.smtputf8,
        .body = str_is_ascii(buf_str(&out->bytes)) ? ACCEPT_BODY_7BIT : ACCEPT_BODY_8BITMIME,
        .domain = str_of(out->domain),
        .size = out->bytes.n,
        .skip = (uint32_t)sizeof "Return-Path: <>\r\n" - 1,
        .arrived_ms = now,
        .next_ms = now,
        .recipients = &recipient,
        .count = 1,
    };
    struct queue_id id = queue_id_next(shard_number(a->slot->shard), now, &q->id_counter);
    memcpy(recipient.key, id.b, QUEUE_ID_SIZE);
    record.blob = out->blob.id = kv_blob_id_of(buf_str(&out->bytes));
    out->blob.bytes = buf_str(&out->bytes);
    record_encode(&record, &out->record);
    ENSURE(buf_ok(&out->record), e, ST_LIMIT, "The report is too large");
    out->change = (struct shard_change){.id = id,
                                        .record = buf_str(&out->record),
                                        .is_new = true,
                                        .due_ms = now,
                                        .domain = str_of(out->domain),
                                        .blob = record.blob};
    return ST_OK;
}

static enum st write_report(struct report *out, const struct attempt *a, const struct dsn_recipient *recipients, size_t count,
                            struct str to, const struct settings *settings, struct err *e)
{
    struct queue *q = a->q;
    char id[QUEUE_ID_TEXT_MAX], unique[QUEUE_ID_TEXT_MESSAGE + 1];
    struct queue_id name = queue_id_next(shard_number(a->slot->shard), clock_wall_ms(), &q->id_counter);
    bool full = a->record.ret == ACCEPT_RET_FULL && recipients[0].action == DSN_FAILED &&
                a->record.body != ACCEPT_BODY_BINARYMIME; /* RFC 3030: a report consists of lines */
    size_t full_max = full ? (size_t)settings->queue_report_message_max : 0;
    DEFER(buf_release) struct buf original = BUF_INIT(REPORT_HEADER_MAX + full_max + 1);
    queue_id_print(&a->id, id);
    queue_id_print_message(&name, unique);
    TRY(read_original(a, full_max, &original, e));
    int64_t now = clock_wall_ms();
    struct dsn dsn = {
        .to = to,
        .from_host = str_of(q->hostname),
        .envid = a->record.envid,
        .id = str_of(id),
        .unique = str_of(unique),
        .now = {.epoch_s = now / 1000, .zone_min = (int16_t)clock_zone_minutes(now)},
        .arrived_s = a->record.arrived_ms / 1000,
        .message = buf_str(&original),
        .full = full && attempt_size(a) <= original.n,
        .message_max = full_max,
        .utf8 = a->record.smtputf8,
        .recipients = recipients,
        .count = count,
    };
    buf_add_z(&out->bytes, "Return-Path: <>\r\n");
    return dsn_build(&dsn, &out->bytes, e);
}

enum st report_build(struct report *out, const struct attempt *a, const struct record_recipient *recipients, const int *actions,
                     unsigned which, bool *made, struct err *e)
{
    const struct settings *settings = settings_current();
    uint8_t level;
    struct str to = addressee(a, settings, &level);
    enum st st = ST_OK;
    *made = false;
    *out = (struct report){.bytes = BUF_INIT(REPORT_OVERHEAD_MAX + (size_t)settings->queue_report_message_max),
                           .record = BUF_INIT(RECORD_SIZE_MAX)};
    if (level == 2 && which & 1u << DSN_FAILED)
        log_double(a, recipients, actions);
    struct arena arena = ARENA_INIT(RECORD_ARENA_MAX);
    struct dsn_recipient *list = to.n > 0 ? ARENA_ARRAY(&arena, a->record.count, struct dsn_recipient) : NULL;
    size_t count =
        list ? fill_recipients(a, recipients, actions, which, list, a->record.arrived_ms + settings->queue_expiry_ms) : 0;
    if (count > 0 && (level == 1 || which & 1u << DSN_FAILED)) {
        st = write_report(out, a, list, count, to, settings, e);
        if (st == ST_OK)
            st = make_entry(out, a, to, level, e);
        *made = st == ST_OK;
    }
    arena_release(&arena);
    settings_unref(settings);
    return st;
}

void report_release(struct report *r)
{
    buf_release(&r->bytes);
    buf_release(&r->record);
}
