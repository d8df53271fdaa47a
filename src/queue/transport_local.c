/* Local delivery of queued entries: what could not be done at once, reports to our own users, domains that moved to us. */
#include <stdlib.h>

#include "format/trace.h"
#include "queue/local.h"
#include "queue/queue_internal.h"
#include "queue/transport.h"
#include "rt/settings.h"

enum st local_deliver(struct queue *q, const struct local_delivery *d, struct err *e)
{
    const struct settings *settings = settings_current();
    struct account *account;
    struct deliver deliver = {.first = d->first, .message = {.bytes = d->bytes, .digest = d->digest}};
    if (settings->queue_detail_mailbox)
        deliver.mailbox = d->detail;
    settings_unref(settings);
    memcpy(deliver.key, d->key, sizeof deliver.key);
    TRY(account_open(q->store, d->account, &account, e));
    enum st st = deliver_message(account, &deliver, e);
    account_unref(account);
    return st;
}

static bool local_open(struct queue *q, struct str destination, struct transport **out, struct transport_failure *why)
{
    (void)q;
    (void)destination;
    struct transport *t = calloc(1, sizeof *t);
    if (!t) {
        *why = (struct transport_failure){.result = ATTEMPT_TEMP, .status = "4.3.0 Out of memory"};
        return false;
    }
    t->class = &transport_local;
    *out = t;
    return true;
}

static void local_close(struct transport *t) { free(t); }

/* The message as a mailbox keeps it: with Return-Path on top. */
static enum st read_message(struct attempt *a, struct buf *out, struct err *e)
{
    if (a->record.skip == 0)
        trace_return_path_print_text(a->record.reverse_path, out);
    size_t front = out->n;
    TRY(kv_blob_read(a->q->kv, &a->record.blob, 0, (size_t)a->record.size, out, e));
    ENSURE(buf_ok(out), e, ST_TEMP, "Out of memory");
    ENSURE(out->n - front == a->record.size, e, ST_CORRUPT, "The queued message is incomplete");
    return ST_OK;
}

static enum attempt_result full(struct str *status)
{
    const struct settings *settings = settings_current();
    bool final = settings->smtp_full_is_final;
    settings_unref(settings);
    *status = final ? STR("5.2.2 Mailbox full") : STR("4.2.2 Mailbox full");
    return final ? ATTEMPT_PERM : ATTEMPT_TEMP;
}

enum attempt_result local_result(enum st st, struct str *status)
{
    switch (st) {
    case ST_OK:
    case ST_EXISTS:
        *status = STR("2.1.5 Delivered");
        return ATTEMPT_OK;
    case ST_LIMIT:
        return full(status);
    case ST_NOTFOUND:
        *status = STR("5.1.1 No such mailbox");
        return ATTEMPT_PERM;
    case ST_PERM:
    case ST_DENIED:
        *status = STR("5.2.1 Mailbox takes no mail");
        return ATTEMPT_PERM;
    case ST_TEMP:
    case ST_CONFLICT:
    case ST_CORRUPT:
    case ST_BUG:
        break;
    }
    *status = STR("4.3.0 Mail system cannot deliver now");
    return ATTEMPT_TEMP;
}

/* The account behind an address that was queued by name. Several accounts, or elsewhere: the entry is redirected. */
static enum st resolve(struct attempt *a, size_t i, struct err *e)
{
    struct record_recipient *r = &a->record.recipients[i];
    struct directory_route route;
    TRY(directory_resolve(a->q->directory, r->address, &a->arena, &route, e));
    if (route.kind == DIRECTORY_LOCAL && route.count == 1 && route.targets[0].account) {
        r->account = route.targets[0].account;
        r->detail = route.targets[0].detail;
        return ST_OK;
    }
    if (route.kind == DIRECTORY_DISABLED)
        return ERR_PUBLIC(e, route.state == DIRECTORY_SUSPENDED ? ST_TEMP : ST_DENIED, "Mailbox takes no mail");
    ENSURE(route.kind != DIRECTORY_UNKNOWN, e, ST_NOTFOUND, "No such mailbox");
    struct directory_target self = {.address = r->address};
    const struct directory_target *targets = route.kind == DIRECTORY_REMOTE ? &self : route.targets;
    size_t count = route.kind == DIRECTORY_REMOTE ? 1 : route.count;
    for (size_t n = count; n > 0; n--) {
        struct attempt_target *t = ARENA_NEW(&a->arena, struct attempt_target);
        ENSURE(t, e, ST_TEMP, "Out of memory");
        *t = (struct attempt_target){a->targets[i], targets[n - 1].account, targets[n - 1].address, targets[n - 1].detail};
        a->targets[i] = t;
    }
    return ST_OK;
}

static enum st deliver_one(struct attempt *a, size_t i, struct str bytes, struct err *e)
{
    struct record_recipient *r = &a->record.recipients[i];
    if (r->account == 0)
        TRY(resolve(a, i, e));
    if (a->targets[i])
        return ST_OK;
    struct local_delivery d = {.account = r->account, .detail = r->detail, .bytes = bytes};
    memcpy(d.key, r->key, sizeof d.key);
    return local_deliver(a->q, &d, e);
}

static enum transport_state local_deliver_entry(struct transport *t, struct attempt *a)
{
    (void)t;
    struct err e = {0};
    DEFER(buf_release) struct buf bytes = BUF_INIT((size_t)a->record.size + RECORD_ADDRESS_MAX + 64);
    struct str status;
    enum st st = read_message(a, &bytes, &e);
    a->broken_store = st == ST_NOTFOUND || st == ST_CORRUPT;
    if (st != ST_OK)
        attempt_set_all(a, ATTEMPT_TEMP, STR("4.3.0 The message cannot be read now"), false, STR_NONE);
    for (size_t i = 0; i < a->record.count; i++) {
        if (!attempt_open(a, i))
            continue;
        st = deliver_one(a, i, buf_str(&bytes), &e);
        enum attempt_result result = local_result(st, &status);
        if (st == ST_OK && a->targets[i])
            result = ATTEMPT_REDIRECT;
        attempt_set(a, i, result, status, false, STR_NONE);
    }
    return TRANSPORT_READY;
}

const struct transport_class transport_local = {"local", local_open, local_deliver_entry, local_close};
