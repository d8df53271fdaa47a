/* Listing and changing entries for administration. */
#include <stdlib.h>

#include "queue/queue_internal.h"
#include "queue/route.h"
#include "rt/clock.h"
#include "rt/log.h"
#include "rt/settings.h"

enum { ACT_PAGE = 256, LIST_PAGE = 256 };

/* ---- showing ---- */

static bool filter_passes(const struct queue_filter *f, const struct record *r)
{
    if (!f)
        return true;
    if (f->held_only && !r->held)
        return false;
    if (f->domain.n && !str_eq_nocase(f->domain, r->domain))
        return false;
    if (f->sender.n && str_find_nocase(r->reverse_path, f->sender) == STR_NPOS)
        return false;
    for (size_t i = 0; f->recipient.n && i < r->count; i++)
        if (str_find_nocase(r->recipients[i].address, f->recipient) != STR_NPOS)
            return true;
    return f->recipient.n == 0;
}

static bool is_active(struct queue *q, const struct queue_id *id)
{
    pthread_mutex_lock(&q->window.lock);
    const struct window_entry *entry = window_find(&q->window, id);
    bool active = entry && entry->busy;
    pthread_mutex_unlock(&q->window.lock);
    return active;
}

static bool show(struct queue *q, const struct queue_id *id, const struct record *r, struct arena *arena, queue_visit *visit,
                 void *context)
{
    struct queue_recipient_info *recipients = ARENA_ARRAY(arena, r->count, struct queue_recipient_info);
    if (!recipients)
        return true;
    for (size_t i = 0; i < r->count; i++)
        recipients[i] = (struct queue_recipient_info){.address = r->recipients[i].address,
                                                      .state = (enum queue_recipient_state)r->recipients[i].state,
                                                      .status = r->recipients[i].status,
                                                      .host = r->recipients[i].host};
    const struct settings *settings = settings_current();
    struct queue_info info = {.sender = r->reverse_path,
                              .destination = r->domain,
                              .arrived_ms = r->arrived_ms,
                              .next_ms = r->held ? 0 : r->next_ms,
                              .expires_ms = r->arrived_ms + settings->queue_expiry_ms,
                              .size = r->size - r->skip,
                              .attempts = r->attempts,
                              .held = r->held,
                              .active = is_active(q, id),
                              .recipients = recipients,
                              .count = r->count};
    settings_unref(settings);
    queue_id_print(id, info.id);
    return visit(context, &info);
}

struct listing {
    struct queue *q;
    const struct queue_filter *filter;
    const struct queue_id *message; /* only its entries; NULL: all */
    queue_visit *visit;
    void *context;
    bool stopped;
    size_t seen;
};

static bool of_message(const struct queue_id *id, const struct queue_id *message)
{
    return !message || memcmp(id->b, message->b, QUEUE_ID_MESSAGE) == 0;
}

static bool list_entry(void *context, const struct queue_id *id, struct str value)
{
    struct listing *l = context;
    struct arena arena = ARENA_INIT(RECORD_ARENA_MAX);
    struct record record;
    struct err e = {0};
    if (!of_message(id, l->message))
        return false;
    if (record_decode(value, &arena, &record, &e) != ST_OK) {
        log_event(LOG_ERROR, "queue.unreadable", LOG_ERR(&e));
    } else if (filter_passes(l->filter, &record)) {
        l->seen++;
        l->stopped = !show(l->q, id, &record, &arena, l->visit, l->context);
    }
    arena_release(&arena);
    return !l->stopped;
}

static size_t slots(struct queue *q)
{
    pthread_mutex_lock(&q->window.lock);
    size_t n = q->slot_count;
    pthread_mutex_unlock(&q->window.lock);
    return n;
}

enum st queue_list(struct queue *q, const struct queue_filter *filter, queue_visit *visit, void *context, struct err *e)
{
    struct listing l = {.q = q, .filter = filter, .visit = visit, .context = context};
    size_t count = slots(q);
    for (size_t i = 0; i < count && !l.stopped; i++)
        if (!shard_lost(q->slots[i]->shard))
            TRY(shard_scan_entries(q->slots[i]->shard, &(struct queue_id){0}, list_entry, &l, e));
    return ST_OK;
}

/* The name of an entry or a message, and its shard. */
static enum st find(struct queue *q, struct str text, struct queue_id *id, bool *whole, struct window_slot **slot, struct err *e)
{
    ENSURE(queue_id_parse(text, id, whole), e, ST_PERM,
           "Not the name of a queued message (18 letters and digits, or with .NUMBER)");
    *slot = queue_slot_of(q, id);
    ENSURE(*slot, e, ST_NOTFOUND, "No such message in the queue");
    return ST_OK;
}

enum st queue_show(struct queue *q, struct str text, queue_visit *visit, void *context, struct err *e)
{
    struct queue_id id = {0};
    struct window_slot *slot = NULL;
    bool whole = false;
    enum st found = find(q, text, &id, &whole, &slot, e);
    if (found != ST_OK || !slot)
        return found;
    struct listing l = {.q = q, .message = &id, .visit = visit, .context = context};
    if (whole) {
        TRY(shard_scan_entries(slot->shard, &id, list_entry, &l, e));
    } else {
        DEFER(buf_release) struct buf value = BUF_INIT(KV_VALUE_MAX);
        enum st st = shard_get(slot->shard, &id, &value, e);
        if (st != ST_NOTFOUND) {
            TRY(st);
            list_entry(&l, &id, buf_str(&value));
        }
    }
    ENSURE(l.seen > 0, e, ST_NOTFOUND, "No such message in the queue");
    return ST_OK;
}

struct first { /* of a message's entries */
    const struct queue_id *message;
    struct queue_id id;
    bool found;
};

static bool first_entry(void *context, const struct queue_id *id, struct str value)
{
    struct first *f = context;
    (void)value;
    f->found = of_message(id, f->message);
    f->id = *id;
    return false;
}

enum st queue_read(struct queue *q, struct str text, uint64_t offset, size_t length, struct buf *out, struct err *e)
{
    struct queue_id id = {0};
    struct window_slot *slot = NULL;
    bool whole = false;
    enum st found = find(q, text, &id, &whole, &slot, e);
    if (found != ST_OK || !slot)
        return found;
    struct first first = {&id, id, !whole};
    if (whole)
        TRY(shard_scan_entries(slot->shard, &id, first_entry, &first, e));
    ENSURE(first.found, e, ST_NOTFOUND, "No such message in the queue");
    struct attempt a;
    enum st st = attempt_begin(&a, q, slot, &first.id, e);
    if (st == ST_OK)
        st = attempt_read(&a, offset, length, out, e);
    attempt_release(&a);
    return st;
}

/* ---- acting ---- */

static unsigned wish_of(enum queue_action action)
{
    switch (action) {
    case QUEUE_HOLD:
        return WINDOW_WISH_HOLD;
    case QUEUE_DROP:
        return WINDOW_WISH_DROP;
    case QUEUE_BOUNCE:
        return WINDOW_WISH_BOUNCE;
    case QUEUE_RETRY:
    case QUEUE_RELEASE:
        break;
    }
    return WINDOW_WISH_RETRY;
}

/* Hold, release and retry change only the schedule. */
static enum st reschedule(struct attempt *a, enum queue_action action, struct err *e)
{
    DEFER(buf_release) struct buf value = BUF_INIT(RECORD_SIZE_MAX);
    int64_t was = a->was.due_ms;
    if (action == QUEUE_HOLD) {
        a->record.held = true;
    } else {
        a->record.held = a->record.held && action != QUEUE_RELEASE;
        a->record.next_ms = clock_wall_ms();
    }
    a->was.due_ms = a->record.held ? 0 : a->record.next_ms;
    record_encode(&a->record, &value);
    ENSURE(buf_ok(&value), e, ST_LIMIT, "Queue record is too large");
    struct shard_change change = {.id = a->id,
                                  .record = buf_str(&value),
                                  .was_due_ms = was,
                                  .due_ms = a->was.due_ms,
                                  .domain = a->record.domain,
                                  .blob = a->record.blob};
    struct shard_op op = {.changes = &change, .count = 1};
    return shard_commit(a->slot->shard, &op, e);
}

static enum st act_claimed(struct attempt *a, enum queue_action action, struct err *e)
{
    a->wish = wish_of(action);
    switch (action) {
    case QUEUE_RETRY:
    case QUEUE_HOLD:
    case QUEUE_RELEASE:
        return reschedule(a, action, e);
    case QUEUE_DROP:
        return attempt_settle(a, NULL, e);
    case QUEUE_BOUNCE:
        attempt_set_all(a, ATTEMPT_PERM, STR("5.0.0 Given up by the administrator"), false, STR_NONE);
        return attempt_settle(a, NULL, e);
    }
    return ST_OK;
}

/* Who asks for an attempt now wants one, whatever is known of the hosts. */
static void unblock(struct queue *q, struct str domain)
{
    char space[DESTINATION_NAME_MAX];
    struct buf name = {space, 0, sizeof space, sizeof space, false};
    route_destination(q, domain, &name);
    pthread_mutex_lock(&q->window.lock);
    struct destination *d = window_destination(&q->window, buf_str(&name), false);
    if (d)
        d->blocked_ms = 0;
    pthread_mutex_unlock(&q->window.lock);
}

static enum st act_on(struct queue *q, struct window_slot *slot, const struct queue_id *id, enum queue_action action, struct err *e)
{
    struct window *w = &q->window;
    bool none;
    pthread_mutex_lock(&w->lock);
    struct window_entry *entry = window_claim(w, slot, id, &none);
    if (!entry && !none)
        window_find(w, id)->wish |= action == QUEUE_RETRY || action == QUEUE_RELEASE ? 0 : wish_of(action);
    pthread_mutex_unlock(&w->lock);
    if (!entry)
        return none ? ERR(e, ST_TEMP, "Out of memory", "claiming an entry") : ST_OK;
    struct attempt a;
    enum st st = attempt_begin(&a, q, slot, id, e);
    struct shard_due due = a.was;
    if (st == ST_OK)
        st = act_claimed(&a, action, e);
    if (st == ST_OK) {
        due = a.was;
        if (a.wish & WINDOW_WISH_RETRY)
            unblock(q, a.record.domain);
    }
    pthread_mutex_lock(&w->lock);
    window_done(w, entry);
    pthread_mutex_unlock(&w->lock);
    if (due.due_ms > 0)
        queue_offer(q, slot, &due, a.record.domain);
    attempt_release(&a);
    return st;
}

struct picking { /* a page of entries to act on */
    const struct queue_filter *filter;
    const struct queue_id *message;
    struct queue_id list[ACT_PAGE], last;
    size_t count;
    bool more;
};

static bool pick_entry(void *context, const struct queue_id *id, struct str value)
{
    struct picking *p = context;
    struct arena arena = ARENA_INIT(RECORD_ARENA_MAX);
    struct record record;
    if (!of_message(id, p->message))
        return false;
    if (p->count == ACT_PAGE) {
        p->more = true;
        p->last = *id;
        return false;
    }
    if (!p->filter || (record_decode(value, &arena, &record, NULL) == ST_OK && filter_passes(p->filter, &record)))
        p->list[p->count++] = *id;
    arena_release(&arena);
    return true;
}

static enum st act_slot(struct queue *q, struct window_slot *slot, struct picking *p, enum queue_action action, size_t *done,
                        struct err *e)
{
    p->last = p->message ? *p->message : (struct queue_id){0};
    do {
        p->count = 0;
        p->more = false;
        struct queue_id from = p->last;
        TRY(shard_scan_entries(slot->shard, &from, pick_entry, p, e));
        for (size_t i = 0; i < p->count; i++) {
            enum st st = act_on(q, slot, &p->list[i], action, e);
            if (st != ST_OK && st != ST_NOTFOUND)
                return st;
            *done += st == ST_OK;
        }
    } while (p->more);
    return ST_OK;
}

enum st queue_act(struct queue *q, struct str text, enum queue_action action, size_t *done, struct err *e)
{
    struct queue_id id = {0};
    struct window_slot *slot = NULL;
    bool whole = false;
    *done = 0;
    if (action == QUEUE_RETRY || action == QUEUE_RELEASE)
        hosts_forget(q->hosts);
    enum st found = find(q, text, &id, &whole, &slot, e);
    if (found != ST_OK || !slot)
        return found;
    if (!whole) {
        enum st st = act_on(q, slot, &id, action, e);
        *done = st == ST_OK;
        return st == ST_NOTFOUND ? ERR_PUBLIC(e, ST_NOTFOUND, "No such message in the queue") : st;
    }
    struct picking *p = calloc(1, sizeof *p);
    if (!p)
        return ERR(e, ST_TEMP, "Out of memory", "acting on the queue");
    p->message = &id;
    enum st st = act_slot(q, slot, p, action, done, e);
    free(p);
    ENSURE(st != ST_OK || *done > 0, e, ST_NOTFOUND, "No such message in the queue");
    return st;
}

enum st queue_act_all(struct queue *q, const struct queue_filter *filter, enum queue_action action, size_t *done, struct err *e)
{
    struct picking *p = calloc(1, sizeof *p);
    size_t count = slots(q);
    enum st st = p ? ST_OK : ERR(e, ST_TEMP, "Out of memory", "acting on the queue");
    *done = 0;
    if (action == QUEUE_RETRY || action == QUEUE_RELEASE)
        hosts_forget(q->hosts);
    for (size_t i = 0; i < count && p && st == ST_OK; i++) {
        p->filter = filter;
        if (!shard_lost(q->slots[i]->shard))
            st = act_slot(q, q->slots[i], p, action, done, e);
    }
    free(p);
    return st;
}

enum st queue_flush(struct queue *q, size_t *done, struct err *e) { return queue_act_all(q, NULL, QUEUE_RETRY, done, e); }
