/* The loader: moves due entries from the time order of the shards into the window, renews leases, takes over shards. */
#include <stdlib.h>

#include "queue/queue_internal.h"
#include "queue/route.h"
#include "rt/clock.h"
#include "rt/log.h"

enum { LOOK_MS = 5000 /* at the longest between looks */, FAILED_MS = 1000 };

struct page_entry {
    struct shard_due due;
    char name[DESTINATION_NAME_MAX];
    size_t name_n;
};

struct page {
    struct queue *q;
    int64_t now_ms;
    struct shard_due until; /* refilling: exclusive end; due_ms 0: none */
    struct str only;        /* refilling: this destination; p NULL: all */
    size_t max, count;
    struct page_entry *list;
    struct shard_due next; /* where it stopped; due_ms 0: everything due was seen */
    int64_t next_due_ms;   /* of the first that is not due; 0: none */
};

static bool visit_due(void *context, const struct shard_due *at, struct str domain)
{
    struct page *p = context;
    if (at->due_ms > p->now_ms) {
        p->next_due_ms = at->due_ms;
        return false;
    }
    if (p->until.due_ms > 0 && shard_due_cmp(at, &p->until) >= 0)
        return false;
    if (p->count == p->max) {
        p->next = *at;
        return false;
    }
    struct page_entry *entry = &p->list[p->count];
    struct buf name = {entry->name, 0, sizeof entry->name, sizeof entry->name, false};
    route_destination(p->q, domain, &name);
    entry->name_n = name.n;
    entry->due = *at;
    if (!p->only.p || str_eq(p->only, buf_str(&name)))
        p->count++;
    return true;
}

/* One page of one shard. *again: there is more and room for it. */
static enum st load_page(struct queue *q, struct window_slot *slot, struct page *page, bool *again, struct err *e)
{
    struct window *w = &q->window;
    *again = false;
    pthread_mutex_lock(&w->lock);
    struct shard_due from = slot->cursor;
    size_t room = w->count < WINDOW_SIZE ? WINDOW_SIZE - w->count : 0;
    bool wanted = slot->more && room > 0;
    /* whoever lowers the cursor while we scan does so below this mark */
    if (wanted) {
        slot->cursor = (struct shard_due){INT64_MAX, {{0}}};
        slot->more = false;
    }
    pthread_mutex_unlock(&w->lock);
    if (!wanted)
        return ST_OK;
    page->now_ms = clock_wall_ms();
    page->max = room < WINDOW_PAGE ? room : WINDOW_PAGE;
    page->count = 0;
    page->next = (struct shard_due){0};
    page->next_due_ms = 0;
    enum st st = shard_scan_due(slot->shard, &from, visit_due, page, e);
    pthread_mutex_lock(&w->lock);
    struct shard_due to = page->next;
    if (st != ST_OK)
        to = from;
    else if (to.due_ms == 0)
        to = (struct shard_due){page->now_ms + 1, {{0}}};
    if (shard_due_cmp(&to, &slot->cursor) < 0)
        slot->cursor = to; /* before window_add, which may lower it */
    for (size_t i = 0; i < page->count && st == ST_OK; i++)
        window_add(w, slot, &page->list[i].due, str_make(page->list[i].name, page->list[i].name_n));
    if (st != ST_OK || page->next.due_ms > 0)
        slot->more = true;
    if (st == ST_OK && page->next_due_ms > 0 && (slot->next_due_ms <= page->now_ms || page->next_due_ms < slot->next_due_ms))
        slot->next_due_ms = page->next_due_ms;
    else if (st == ST_OK && page->next.due_ms == 0 && slot->next_due_ms <= page->now_ms)
        slot->next_due_ms = page->next_due_ms;
    *again = st == ST_OK && slot->more && w->count < WINDOW_SIZE;
    pthread_mutex_unlock(&w->lock);
    return st;
}

static enum st load_slot(struct queue *q, struct window_slot *slot, struct page *page, struct err *e)
{
    bool again = true;
    while (again && !atomic_load(&q->stopping))
        TRY(load_page(q, slot, page, &again, e));
    return ST_OK;
}

/* ---- destinations that had more than their share ---- */

static enum st refill_skip(struct queue *q, struct destination *d, struct skip *skip, struct page *page, struct err *e)
{
    struct window *w = &q->window;
    pthread_mutex_lock(&w->lock);
    struct shard_due from = skip->from;
    page->until = skip->slot->cursor;
    size_t room = w->count < WINDOW_SIZE ? WINDOW_SIZE - w->count : 0,
           share = WINDOW_SHARE > d->ready ? WINDOW_SHARE - d->ready : 0;
    pthread_mutex_unlock(&w->lock);
    page->now_ms = clock_wall_ms();
    page->only = str_of(d->name);
    page->max = room < share ? room : share;
    page->max = page->max < WINDOW_PAGE ? page->max : WINDOW_PAGE;
    page->count = 0;
    page->next = (struct shard_due){0};
    enum st st = page->max > 0 ? shard_scan_due(skip->slot->shard, &from, visit_due, page, e) : ST_OK;
    if (page->max == 0)
        page->next = from;
    pthread_mutex_lock(&w->lock);
    if (st == ST_OK)
        skip->from = page->next.due_ms > 0 ? page->next : page->until;
    for (size_t i = 0; i < page->count && st == ST_OK; i++)
        window_add(w, skip->slot, &page->list[i].due, page->only);
    pthread_mutex_unlock(&w->lock);
    page->only = STR_NONE;
    page->until = (struct shard_due){0};
    return st;
}

static void drop_empty_skips(struct destination *d)
{
    for (struct skip **at = &d->skips; *at;) {
        struct skip *s = *at;
        if (shard_due_cmp(&s->from, &s->slot->cursor) < 0) {
            at = &s->next;
            continue;
        }
        if (shard_due_cmp(&s->from, &s->slot->cursor) > 0)
            s->slot->more = true; /* the cursor was lowered meanwhile */
        *at = s->next;
        free(s);
    }
}

static struct destination *next_refill(struct window *w)
{
    for (size_t i = 0; i < DESTINATION_BUCKETS; i++)
        for (struct destination *d = w->destinations[i]; d; d = d->hash_next)
            if (d->refilling || (d->skips && d->ready == 0 && d->refs == 0)) {
                d->refilling = false;
                d->refs++;
                return d;
            }
    return NULL;
}

static enum st refill(struct queue *q, struct page *page, struct err *e)
{
    struct window *w = &q->window;
    enum st st = ST_OK;
    for (unsigned n = 0; n < DESTINATION_BUCKETS && st == ST_OK; n++) {
        pthread_mutex_lock(&w->lock);
        struct destination *d = next_refill(w);
        struct skip *skips = d ? d->skips : NULL;
        pthread_mutex_unlock(&w->lock);
        if (!d)
            break;
        for (struct skip *s = skips; s && st == ST_OK; s = s->next)
            st = refill_skip(q, d, s, page, e);
        bool full = page->max == 0;
        pthread_mutex_lock(&w->lock);
        d->refs--;
        drop_empty_skips(d);
        window_run(w, d);
        window_destination_put(w, d);
        pthread_mutex_unlock(&w->lock);
        if (full)
            break;
    }
    return st;
}

/* ---- the step and the loop ---- */

enum st queue_load(struct queue *q, int64_t *next_ms, struct err *e)
{
    struct window *w = &q->window;
    struct page page = {.q = q, .list = calloc(WINDOW_PAGE, sizeof *page.list)};
    if (!page.list)
        return ERR(e, ST_TEMP, "Out of memory", "loading the queue");
    enum st st = ST_OK;
    int64_t now = clock_wall_ms(), next = 0;
    pthread_mutex_lock(&w->lock);
    size_t count = q->slot_count;
    w->poke = false;
    for (size_t i = 0; i < count; i++)
        if (q->slots[i]->next_due_ms > 0 && q->slots[i]->next_due_ms <= now)
            q->slots[i]->more = true;
    pthread_mutex_unlock(&w->lock);
    for (size_t i = 0; i < count && st == ST_OK; i++)
        if (!shard_lost(q->slots[i]->shard))
            st = load_slot(q, q->slots[i], &page, e);
    if (st == ST_OK)
        st = refill(q, &page, e);
    pthread_mutex_lock(&w->lock);
    for (size_t i = 0; i < count; i++) {
        int64_t due = q->slots[i]->next_due_ms;
        if (due > 0 && !shard_lost(q->slots[i]->shard) && (next == 0 || due < next))
            next = due;
    }
    pthread_mutex_unlock(&w->lock);
    free(page.list);
    *next_ms = next;
    return st;
}

static void care_for_leases(struct queue *q)
{
    int64_t now = clock_mono_ms();
    struct err e = {0};
    for (size_t i = 0; i < q->slot_count; i++) {
        struct window_slot *slot = q->slots[i];
        if (slot->renew_ms > now || shard_lost(slot->shard))
            continue;
        slot->renew_ms = now + QUEUE_RENEW_MS;
        if (shard_renew(slot->shard, QUEUE_LEASE_MS, &e) != ST_OK)
            log_event(LOG_WARN, "queue.lease", LOG_STR("shard", shard_name(slot->shard)), LOG_ERR(&e));
    }
    if (q->takeover_ms > now)
        return;
    q->takeover_ms = now + QUEUE_TAKEOVER_MS;
    if (queue_take_shards(q, false, &e) != ST_OK)
        log_event(LOG_WARN, "queue.takeover", LOG_ERR(&e));
}

static void wait_ms(struct window *w, int64_t ms)
{
    struct timespec until;
    int64_t at = clock_mono_ms() + ms;
    until.tv_sec = (time_t)(at / 1000);
    until.tv_nsec = (long)(at % 1000) * 1000000;
    pthread_mutex_lock(&w->lock);
    bool more = w->poke || w->stopping;
    if (!more)
        pthread_cond_timedwait(&w->load, &w->lock, &until);
    pthread_mutex_unlock(&w->lock);
}

void queue_load_loop(struct queue *q)
{
    q->takeover_ms = clock_mono_ms() + QUEUE_TAKEOVER_MS;
    while (!atomic_load(&q->stopping)) {
        struct err e = {0};
        int64_t next = 0, wait = LOOK_MS;
        care_for_leases(q);
        if (queue_load(q, &next, &e) != ST_OK) {
            log_event(LOG_WARN, "queue.load", LOG_ERR(&e));
            wait = FAILED_MS;
        } else if (next > 0 && next - clock_wall_ms() < wait) {
            wait = next - clock_wall_ms();
        }
        if (wait > 0)
            wait_ms(&q->window, wait);
    }
}
