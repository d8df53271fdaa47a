/* Serving destinations: one thread takes a destination, opens a connection, and sends what is ready for it. */
#include <stdio.h>
#include <stdlib.h>

#include "queue/queue_internal.h"
#include "queue/route.h"
#include "queue/settle.h"
#include "queue/transport.h"
#include "rt/clock.h"
#include "rt/log.h"
#include "rt/random.h"
#include "rt/settings.h"

enum {
    OPENS_MAX = 5, /* connections tried for one entry in one attempt */
    BLOCK_MAX_MS = 1800000,
    READ_FAILED_MS = 1000,
};

struct serving {
    struct queue *q;
    struct destination *d;
    struct transport *transport;
    struct transport_failure failure;
    struct transport_failure lost; /* the last connection */
    bool failed;                   /* there is no connection to be had: `failure` is everybody's fate */
    bool keep;                     /* wait for more entries */
    unsigned sent;                 /* entries over this connection */
    unsigned sent_max;
    unsigned idle_ms;
};

static struct window *window_of(struct serving *s) { return &s->q->window; }

/* ---- the connection ---- */

static void hang_up(struct serving *s)
{
    if (!s->transport)
        return;
    s->transport->class->close(s->transport);
    s->transport = NULL;
    s->sent = 0;
    atomic_fetch_sub(&s->q->counters.connections, 1);
}

/* The destination's health: slow start after failures, more connections with success. */
static void destination_worked(struct serving *s, int64_t took_us)
{
    struct window *w = window_of(s);
    pthread_mutex_lock(&w->lock);
    s->d->took_us += (took_us - s->d->took_us) / 8;
    s->d->failures = 0;
    s->d->blocked_ms = 0;
    if (s->d->limit < w->limit_max) {
        s->d->limit++;
        window_run(w, s->d);
    }
    pthread_mutex_unlock(&w->lock);
}

static void destination_strained(struct serving *s)
{
    pthread_mutex_lock(&window_of(s)->lock);
    s->d->limit = s->d->limit > 1 ? s->d->limit / 2 : 1;
    pthread_mutex_unlock(&window_of(s)->lock);
}

/* Of a destination where no host answers; doubles. */
static int64_t first_pause_ms(void)
{
    const struct settings *s = settings_current();
    int64_t ms = s->queue_host_pause_ms;
    settings_unref(s);
    return ms;
}

static void destination_dead(struct serving *s)
{
    int64_t first = first_pause_ms();
    pthread_mutex_lock(&window_of(s)->lock);
    int64_t pause = first << (s->d->failures < 5 ? s->d->failures : 5);
    s->d->failures++;
    s->d->limit = 1;
    s->d->blocked_ms = clock_mono_ms() + (pause < BLOCK_MAX_MS ? pause : BLOCK_MAX_MS);
    snprintf(s->d->why, sizeof s->d->why, "%s", s->failure.status);
    pthread_mutex_unlock(&window_of(s)->lock);
    log_event(LOG_WARN, "queue.destination_dead", LOG_Z("destination", s->d->name), LOG_Z("host", s->failure.host),
              LOG_Z("status", s->failure.status));
}

static const struct transport_class *class_of(const struct serving *s)
{
    if (!s->d->name[0])
        return s->q->local;
    return str_starts(str_of(s->d->name), STR(ROUTE_PROGRAM)) ? &transport_program : s->q->remote;
}

static bool connected(struct serving *s)
{
    const struct transport_class *class = class_of(s);
    if (s->transport)
        return true;
    if (s->failed || !class->open(s->q, str_of(s->d->name), &s->transport, &s->failure)) {
        if (!s->failed && s->failure.result == ATTEMPT_TEMP)
            destination_dead(s);
        s->failed = true;
        return false;
    }
    atomic_fetch_add(&s->q->counters.connections, 1);
    return true;
}

static bool blocked(struct serving *s)
{
    pthread_mutex_lock(&window_of(s)->lock);
    bool blocked = s->d->blocked_ms > clock_mono_ms();
    if (blocked && !s->failed) {
        s->failed = true;
        s->failure = (struct transport_failure){.result = ATTEMPT_TEMP};
        snprintf(s->failure.status, sizeof s->failure.status, "%s", s->d->why);
    }
    pthread_mutex_unlock(&window_of(s)->lock);
    return blocked;
}

/* ---- one entry ---- */

/* What the window believed may be old: only the record says what is due, and for whom. */
static bool still_due(struct serving *s, struct window_entry *entry, struct attempt *a)
{
    char space[DESTINATION_NAME_MAX];
    struct buf name = {space, 0, sizeof space, sizeof space, false};
    if (a->record.held || a->record.next_ms > clock_wall_ms()) {
        settle_release(s->q, entry, &a->was);
        return false;
    }
    route_destination(s->q, a->record.domain, &name);
    if (str_eq(buf_str(&name), str_of(s->d->name)))
        return true;
    settle_release(s->q, entry, NULL); /* the routes changed; the entry is gone now */
    queue_offer(s->q, a->slot, &a->was, a->record.domain);
    return false;
}

/* The record could not be read. */
static void unreadable(struct serving *s, struct window_entry *entry, enum st st, const struct err *e)
{
    char id[QUEUE_ID_TEXT_MAX];
    queue_id_print(&entry->id, id);
    log_event(LOG_ERROR, "queue.unreadable", LOG_Z("id", id), LOG_ERR(e));
    if (st != ST_TEMP)
        return; /* it stays busy: nobody tries it again before a restart */
    if (!atomic_load(&s->q->stopping))
        clock_sleep_ms(READ_FAILED_MS);
    struct shard_due due = entry->due;
    settle_release(s->q, entry, &due); /* the loader finds it again */
}

/* What is at hand is believed for less time than a lease lasts: after a long sleep of this process the shard may be another node's,
 * and the entry settled there. */
static enum st begin_attempt(struct serving *s, struct window_entry *entry, struct attempt *a, struct err *e)
{
    bool fresh = clock_wall_ms() - entry->due.due_ms < QUEUE_RENEW_MS;
    if (entry->at_hand && fresh && !shard_lost(entry->slot->shard))
        return attempt_begin_at_hand(a, s->q, entry->slot, &entry->id, &entry->at_hand, e);
    return attempt_begin(a, s->q, entry->slot, &entry->id, e);
}

/* NULL: there is nothing to do for it now. */
static struct served *begin_entry(struct serving *s, struct window_entry *entry)
{
    struct err e = {0};
    struct served *served = calloc(1, sizeof *served);
    if (!served) {
        unreadable(s, entry, ERR(&e, ST_TEMP, "Out of memory", "an attempt"), &e);
        return NULL;
    }
    served->entry = entry;
    enum st st = begin_attempt(s, entry, &served->attempt, &e);
    if (st == ST_OK && still_due(s, entry, &served->attempt))
        return served;
    if (st == ST_NOTFOUND)
        settle_release(s->q, entry, NULL);
    else if (st != ST_OK)
        unreadable(s, entry, st, &e);
    attempt_release(&served->attempt);
    free(served);
    return NULL;
}

/* Sends it, over several connections if need be. */
static void deliver_entry(struct serving *s, struct attempt *a)
{
    for (unsigned opens = 0; attempt_open_count(a) > 0;) {
        size_t before = attempt_open_count(a);
        if (!s->transport && opens++ >= OPENS_MAX) {
            attempt_set_all(a, ATTEMPT_TEMP, str_of(s->lost.status), s->lost.smtp, str_of(s->lost.host));
            return;
        }
        if (!connected(s)) {
            attempt_set_all(a, s->failure.result, str_of(s->failure.status), s->failure.smtp, str_of(s->failure.host));
            return;
        }
        enum transport_state state = s->transport->class->deliver(s->transport, a);
        size_t left = attempt_open_count(a);
        if (state == TRANSPORT_GONE) {
            s->lost = s->transport->lost;
            hang_up(s);
            destination_strained(s);
        } else if (left == before) {
            attempt_set_all(a, ATTEMPT_TEMP, STR("4.3.0 No progress"), false, STR_NONE);
        }
        struct err e = {0};
        if (left > 0 && left < before && attempt_save(a, &e) != ST_OK)
            log_event(LOG_WARN, "queue.unsettled", LOG_ERR(&e));
    }
}

static bool any_delivered(const struct attempt *a)
{
    for (size_t i = 0; i < a->record.count; i++)
        if (a->results[i] == ATTEMPT_OK || a->results[i] == ATTEMPT_RELAYED)
            return true;
    return false;
}

/* By the settler, if there is one. What is no connection to another host is not to get ahead of its record: a program that has run
 * is not followed by its next run before that is durable. */
static void settle(struct serving *s, struct served *served)
{
    bool later = s->q->settler && s->transport && s->transport->class == s->q->remote;
    if (!later || !settler_take(s->q->settler, &served))
        settle_now(s->q, &served, 1);
}

static void serve_entry(struct serving *s, struct window_entry *entry)
{
    struct served *served = begin_entry(s, entry);
    if (!served)
        return;
    int64_t began_us = clock_mono_us();
    deliver_entry(s, &served->attempt);
    int64_t took_us = clock_mono_us() - began_us;
    bool good = any_delivered(&served->attempt);
    settle(s, served);
    if (good)
        destination_worked(s, took_us);
    if (s->transport && ++s->sent >= s->sent_max)
        hang_up(s);
}

/* ---- putting off a whole destination ---- */

static void put_off(struct serving *s, struct window_entry *first)
{
    struct served *list[SETTLE_TOGETHER_MAX];
    size_t count = 0;
    int64_t not_before = 0, pause = first_pause_ms();
    pthread_mutex_lock(&window_of(s)->lock);
    if (s->failure.result == ATTEMPT_TEMP && s->d->blocked_ms > clock_mono_ms())
        not_before = clock_wall_ms() + (s->d->blocked_ms - clock_mono_ms()) + (int64_t)random_below((uint64_t)pause);
    pthread_mutex_unlock(&window_of(s)->lock);
    for (struct window_entry *entry = first; entry;) {
        struct served *served = begin_entry(s, entry);
        if (served) {
            struct attempt *a = &served->attempt;
            attempt_set_all(a, s->failure.result, str_of(s->failure.status), s->failure.smtp, str_of(s->failure.host));
            a->not_before_ms = not_before;
            list[count++] = served;
        }
        pthread_mutex_lock(&window_of(s)->lock);
        entry = count < SETTLE_TOGETHER_MAX ? window_take(window_of(s), s->d) : NULL;
        pthread_mutex_unlock(&window_of(s)->lock);
    }
    settle_now(s->q, list, count);
}

/* ---- the loop ---- */

static void wait_until(pthread_cond_t *cond, struct window *w, int64_t mono_ms)
{
    struct timespec until = {.tv_sec = (time_t)(mono_ms / 1000), .tv_nsec = (long)(mono_ms % 1000) * 1000000};
    pthread_cond_timedwait(cond, &w->lock, &until);
}

/* The next entry; waits a little for one while the connection is good and no other destination needs the thread. */
static struct window_entry *next_entry(struct serving *s)
{
    struct window *w = window_of(s);
    pthread_mutex_lock(&w->lock);
    int64_t now = clock_mono_ms(), until = now + s->idle_ms;
    struct window_entry *entry = NULL;
    if (!w->stopping && !atomic_load(&s->q->stopping))
        entry = window_take(w, s->d);
    while (!entry && s->keep && s->transport && !w->stopping && now < until && !(w->run_first && w->idle == 0)) {
        s->d->parked++;
        wait_until(&s->d->more, w, now + WINDOW_PARK_MS < until ? now + WINDOW_PARK_MS : until);
        s->d->parked--;
        now = clock_mono_ms();
        if (!w->stopping)
            entry = window_take(w, s->d);
    }
    pthread_mutex_unlock(&w->lock);
    return entry;
}

void queue_serve(struct queue *q, struct destination *d, struct window_entry *first, bool keep)
{
    const struct settings *settings = settings_current();
    struct serving s = {.q = q,
                        .d = d,
                        .keep = keep && d->name[0],
                        .sent_max = (unsigned)settings->queue_messages_per_connection,
                        .idle_ms = (unsigned)settings->queue_connection_idle_ms};
    settings_unref(settings);
    for (struct window_entry *entry = first ? first : next_entry(&s); entry; entry = next_entry(&s)) {
        if (!s.transport && !s.failed)
            blocked(&s);
        if (s.failed)
            put_off(&s, entry);
        else
            serve_entry(&s, entry);
    }
    hang_up(&s);
    pthread_mutex_lock(&q->window.lock);
    window_leave(&q->window, d);
    pthread_mutex_unlock(&q->window.lock);
}

void queue_work_loop(struct queue *q)
{
    struct window *w = &q->window;
    pthread_mutex_lock(&w->lock);
    while (!w->stopping) {
        struct destination *d = window_pick(w);
        if (!d) {
            w->idle++;
            pthread_cond_wait(&w->work, &w->lock);
            w->idle--;
            continue;
        }
        struct window_entry *first = window_take(w, d);
        window_run(w, d); /* there may be work for one more beside us */
        pthread_mutex_unlock(&w->lock);
        queue_serve(q, d, first, true);
        pthread_mutex_lock(&w->lock);
    }
    pthread_mutex_unlock(&w->lock);
}
