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

/* Entries of one shard that are changed together: one commit for a page. */
struct acting {
    struct queue *q;
    struct window_slot *slot;
    enum queue_action action;
    size_t count;
    struct {
        struct window_entry *entry;
        struct attempt attempt;
        struct buf value;
    } list[ACT_PAGE];
};

/* Makes the entry ours. Not there, or under way (then it is told what is wished): it is left out. *met: the wish is. */
static enum st acting_claim(struct acting *g, const struct queue_id *id, bool *met, struct err *e)
{
    struct window *w = &g->q->window;
    bool none;
    *met = false;
    pthread_mutex_lock(&w->lock);
    struct window_entry *entry = window_claim(w, g->slot, id, &none);
    if (!entry && !none) {
        window_find(w, id)->wish |= g->action == QUEUE_RETRY || g->action == QUEUE_RELEASE ? 0 : wish_of(g->action);
        *met = true;
    }
    pthread_mutex_unlock(&w->lock);
    if (!entry)
        return none ? ERR(e, ST_TEMP, "Out of memory", "claiming an entry") : ST_OK;
    struct attempt *a = &g->list[g->count].attempt;
    enum st st = attempt_begin(a, g->q, g->slot, id, e);
    if (st == ST_OK) {
        a->wish = wish_of(g->action);
        g->list[g->count].entry = entry;
        buf_init(&g->list[g->count++].value, RECORD_SIZE_MAX);
        *met = true;
        return ST_OK;
    }
    attempt_release(a);
    pthread_mutex_lock(&w->lock);
    window_done(w, entry);
    pthread_mutex_unlock(&w->lock);
    return st == ST_NOTFOUND ? ST_OK : st;
}

/* Hold, release and retry change only the schedule. */
static enum st reschedule(struct acting *g, struct err *e)
{
    struct shard_change *changes = calloc(g->count, sizeof *changes);
    if (!changes)
        return ERR(e, ST_TEMP, "Out of memory", "acting on the queue");
    bool ok = true;
    for (size_t i = 0; i < g->count; i++) {
        struct attempt *a = &g->list[i].attempt;
        int64_t was = a->was.due_ms;
        if (g->action == QUEUE_HOLD)
            a->record.held = true;
        else
            a->record.next_ms = clock_wall_ms();
        if (g->action == QUEUE_RELEASE)
            a->record.held = false;
        a->was.due_ms = a->record.held ? 0 : a->record.next_ms;
        record_encode(&a->record, &g->list[i].value);
        ok = ok && buf_ok(&g->list[i].value);
        changes[i] = (struct shard_change){.id = a->id,
                                           .record = buf_str(&g->list[i].value),
                                           .was_due_ms = was,
                                           .due_ms = a->was.due_ms,
                                           .domain = a->record.domain,
                                           .blob = a->record.blob};
    }
    struct shard_op op = {.changes = changes, .count = g->count};
    enum st st = ok ? shard_commit(g->slot->shard, &op, e) : ERR_PUBLIC(e, ST_LIMIT, "Queue record is too large");
    free(changes);
    return st;
}

static enum st settle(struct acting *g, struct err *e)
{
    struct attempt *list[ACT_PAGE];
    for (size_t i = 0; i < g->count; i++) {
        list[i] = &g->list[i].attempt;
        if (g->action == QUEUE_BOUNCE)
            attempt_set_all(list[i], ATTEMPT_PERM, STR("5.0.0 Given up by the administrator"), false, STR_NONE);
    }
    return attempt_settle_many(list, g->count, e);
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

static void acting_end(struct acting *g)
{
    for (size_t i = 0; i < g->count; i++) {
        struct attempt *a = &g->list[i].attempt;
        pthread_mutex_lock(&g->q->window.lock);
        window_done(&g->q->window, g->list[i].entry);
        pthread_mutex_unlock(&g->q->window.lock);
        if (a->wish & WINDOW_WISH_RETRY)
            unblock(g->q, a->record.domain);
        if (a->was.due_ms > 0)
            queue_offer(g->q, g->slot, &a->was, a->record.domain);
        attempt_release(a);
        buf_release(&g->list[i].value);
    }
    g->count = 0;
}

/* At most ACT_PAGE ids of one shard. */
static enum st act_on(struct acting *g, const struct queue_id *ids, size_t count, size_t *done, struct err *e)
{
    enum st st = ST_OK;
    size_t met = 0;
    for (size_t i = 0; i < count && st == ST_OK; i++) {
        bool one;
        st = acting_claim(g, &ids[i], &one, e);
        met += one;
    }
    bool schedule_only = g->action != QUEUE_DROP && g->action != QUEUE_BOUNCE;
    if (st == ST_OK && g->count > 0)
        st = schedule_only ? reschedule(g, e) : settle(g, e);
    acting_end(g);
    *done += st == ST_OK ? met : 0;
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

static enum st act_slot(struct acting *g, struct picking *p, size_t *done, struct err *e)
{
    p->last = p->message ? *p->message : (struct queue_id){0};
    do {
        p->count = 0;
        p->more = false;
        struct queue_id from = p->last;
        TRY(shard_scan_entries(g->slot->shard, &from, pick_entry, p, e));
        TRY(act_on(g, p->list, p->count, done, e));
    } while (p->more);
    return ST_OK;
}

struct act { /* what the calls below need beside each other, too large for the stack */
    struct acting acting;
    struct picking picking;
};

static struct act *act_new(struct queue *q, enum queue_action action)
{
    struct act *act = calloc(1, sizeof *act);
    if (!act)
        return NULL;
    act->acting.q = q;
    act->acting.action = action;
    if (action == QUEUE_RETRY || action == QUEUE_RELEASE)
        hosts_forget(q->hosts);
    return act;
}

enum st queue_act(struct queue *q, struct str text, enum queue_action action, size_t *done, struct err *e)
{
    struct queue_id id = {0};
    struct window_slot *slot = NULL;
    bool whole = false;
    *done = 0;
    enum st st = find(q, text, &id, &whole, &slot, e);
    if (st != ST_OK || !slot)
        return st;
    struct act *act = act_new(q, action);
    if (!act)
        return ERR(e, ST_TEMP, "Out of memory", "acting on the queue");
    act->acting.slot = slot;
    act->picking.message = &id;
    st = whole ? act_slot(&act->acting, &act->picking, done, e) : act_on(&act->acting, &id, 1, done, e);
    free(act);
    ENSURE(st != ST_OK || *done > 0, e, ST_NOTFOUND, "No such message in the queue");
    return st;
}

enum st queue_act_all(struct queue *q, const struct queue_filter *filter, enum queue_action action, size_t *done, struct err *e)
{
    struct act *act = act_new(q, action);
    size_t count = slots(q);
    enum st st = ST_OK;
    *done = 0;
    if (!act)
        return ERR(e, ST_TEMP, "Out of memory", "acting on the queue");
    act->picking.filter = filter;
    for (size_t i = 0; i < count && st == ST_OK; i++) {
        act->acting.slot = q->slots[i];
        if (!shard_lost(q->slots[i]->shard))
            st = act_slot(&act->acting, &act->picking, done, e);
    }
    free(act);
    return st;
}

enum st queue_flush(struct queue *q, size_t *done, struct err *e) { return queue_act_all(q, NULL, QUEUE_RETRY, done, e); }
