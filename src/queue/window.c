#include "queue/window.h"

#include <stdlib.h>

#include "base/bits.h"
#include "base/check.h"
#include "rt/clock.h"

bool window_init(struct window *w)
{
    pthread_condattr_t attr;
    *w = (struct window){.limit_first = 3, .limit_max = 10};
    w->run_last = &w->run_first;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    bool ok = pthread_mutex_init(&w->lock, NULL) == 0 && pthread_cond_init(&w->work, &attr) == 0 &&
              pthread_cond_init(&w->load, &attr) == 0;
    pthread_condattr_destroy(&attr);
    return ok;
}

struct at_hand *window_keep(struct window *w, struct str record, struct str message)
{
    size_t bytes = record.n + message.n;
    if (message.n > WINDOW_AT_HAND_MAX)
        return NULL;
    if (atomic_fetch_add(&w->at_hand_bytes, bytes) > WINDOW_AT_HAND_BYTES) {
        atomic_fetch_sub(&w->at_hand_bytes, bytes);
        return NULL;
    }
    struct at_hand *h = malloc(sizeof *h + bytes);
    if (!h) {
        atomic_fetch_sub(&w->at_hand_bytes, bytes);
        return NULL;
    }
    h->record_n = record.n;
    h->message_n = message.n;
    memcpy(h->bytes, record.p, record.n);
    memcpy(h->bytes + record.n, message.p, message.n);
    return h;
}

void window_forget(struct window *w, struct at_hand **at_hand)
{
    if (*at_hand)
        atomic_fetch_sub(&w->at_hand_bytes, (*at_hand)->record_n + (*at_hand)->message_n);
    free(*at_hand);
    *at_hand = NULL;
}

static void destination_free(struct destination *d)
{
    for (struct skip *s = d->skips, *next; s; s = next) {
        next = s->next;
        free(s);
    }
    pthread_cond_destroy(&d->more);
    free(d->name);
    free(d);
}

void window_release(struct window *w)
{
    for (size_t i = 0; i < WINDOW_BUCKETS; i++)
        for (struct window_entry *entry = w->entries[i], *next; entry; entry = next) {
            next = entry->hash_next;
            free(entry->at_hand);
            free(entry);
        }
    for (size_t i = 0; i < DESTINATION_BUCKETS; i++)
        for (struct destination *d = w->destinations[i], *next; d; d = next) {
            next = d->hash_next;
            destination_free(d);
        }
    pthread_cond_destroy(&w->load);
    pthread_cond_destroy(&w->work);
    pthread_mutex_destroy(&w->lock);
}

/* ---- destinations ---- */

static struct destination *destination_new(struct window *w, struct str name)
{
    pthread_condattr_t attr;
    struct destination *d = calloc(1, sizeof *d);
    char *copy = d ? malloc(name.n + 1) : NULL;
    if (!copy) {
        free(d);
        return NULL;
    }
    memcpy(copy, name.p, name.n);
    copy[name.n] = '\0';
    d->name = copy;
    d->last = &d->first;
    d->limit = w->limit_first;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&d->more, &attr);
    pthread_condattr_destroy(&attr);
    return d;
}

struct destination *window_destination(struct window *w, struct str name, bool make)
{
    struct destination **at = &w->destinations[str_hash(name) % DESTINATION_BUCKETS];
    for (struct destination *d = *at; d; d = d->hash_next)
        if (str_eq(str_of(d->name), name))
            return d;
    struct destination *d = make ? destination_new(w, name) : NULL;
    if (d) {
        d->hash_next = *at;
        *at = d;
        w->destination_count++;
    }
    return d;
}

void window_destination_put(struct window *w, struct destination *d)
{
    bool blocked = d->blocked_ms > clock_mono_ms() && w->destination_count < WINDOW_SIZE;
    if (d->ready > 0 || d->busy > 0 || d->active > 0 || d->refs > 0 || d->runnable || d->skips || blocked)
        return;
    struct destination **at = &w->destinations[str_hash(str_of(d->name)) % DESTINATION_BUCKETS];
    while (*at != d)
        at = &(*at)->hash_next;
    *at = d->hash_next;
    w->destination_count--;
    destination_free(d);
}

/* Waking a connection for each entry costs more than sending it, if the other host is near. Some connection must be waiting: it is
 * the one that finds out if those at work hang (WINDOW_PARK_MS). */
static bool soon_done(const struct destination *d)
{
    unsigned working = d->active > d->parked ? d->active - d->parked : 0;
    return d->parked > 0 && working > 0 && d->took_us > 0 && (int64_t)d->ready * d->took_us <= (int64_t)working * WINDOW_SOON_US;
}

void window_run(struct window *w, struct destination *d)
{
    if (d->ready == 0 || w->stopping || soon_done(d))
        return;
    if (d->parked > 0) {
        pthread_cond_signal(&d->more);
        if (d->ready <= d->parked)
            return;
    }
    if (d->runnable || d->active >= d->limit)
        return;
    d->runnable = true;
    d->run_next = NULL;
    *w->run_last = d;
    w->run_last = &d->run_next;
    pthread_cond_signal(&w->work);
}

struct destination *window_pick(struct window *w)
{
    struct destination *d = w->run_first;
    if (!d)
        return NULL;
    w->run_first = d->run_next;
    if (!w->run_first)
        w->run_last = &w->run_first;
    d->runnable = false;
    d->active++;
    return d;
}

void window_leave(struct window *w, struct destination *d)
{
    check(d->active > 0);
    d->active--;
    window_run(w, d);
    window_destination_put(w, d);
}

/* ---- entries ---- */

static struct window_entry **bucket(struct window *w, const struct queue_id *id)
{
    return &w->entries[(be64_get(id->b + 5) * 0x9e3779b97f4a7c15u >> 40) % WINDOW_BUCKETS];
}

struct window_entry *window_find(struct window *w, const struct queue_id *id)
{
    struct window_entry *entry = *bucket(w, id);
    while (entry && !queue_id_equal(&entry->id, id))
        entry = entry->hash_next;
    return entry;
}

static struct window_entry *entry_new(struct window *w, struct window_slot *slot, const struct shard_due *due)
{
    struct window_entry *entry = calloc(1, sizeof *entry);
    if (!entry)
        return NULL;
    struct window_entry **at = bucket(w, &due->id);
    entry->id = due->id;
    entry->due = *due;
    entry->slot = slot;
    entry->hash_next = *at;
    *at = entry;
    w->count++;
    return entry;
}

static void lower_cursor(struct window *w, struct window_slot *slot, const struct shard_due *due)
{
    if (shard_due_cmp(due, &slot->cursor) < 0)
        slot->cursor = *due;
    if (!slot->more) {
        slot->more = true;
        w->poke = true;
    }
}

static bool skip_mark(struct destination *d, struct window_slot *slot, const struct shard_due *due)
{
    struct skip *s = d->skips;
    while (s && s->slot != slot)
        s = s->next;
    if (!s) {
        s = calloc(1, sizeof *s);
        if (!s)
            return false;
        *s = (struct skip){d->skips, slot, *due};
        d->skips = s;
    }
    if (shard_due_cmp(due, &s->from) < 0)
        s->from = *due;
    return true;
}

enum window_added window_add(struct window *w, struct window_slot *slot, const struct shard_due *due, struct str destination)
{
    if (window_find(w, &due->id))
        return WINDOW_KNOWN;
    struct destination *d = window_destination(w, destination, true);
    bool passed = shard_due_cmp(due, &slot->cursor) < 0; /* the loader will not come by any more */
    if (d && d->ready >= WINDOW_SHARE && passed && skip_mark(d, slot, due))
        return WINDOW_SKIPPED;
    if (d && d->ready >= WINDOW_SHARE && !passed) {
        slot->more = w->poke = true;
        return WINDOW_SKIPPED;
    }
    struct window_entry *entry = d && w->count < WINDOW_SIZE ? entry_new(w, slot, due) : NULL;
    if (!entry) {
        lower_cursor(w, slot, due);
        if (d)
            window_destination_put(w, d);
        return WINDOW_FULL;
    }
    entry->destination = d;
    *d->last = entry;
    d->last = &entry->next;
    d->ready++;
    window_run(w, d);
    return WINDOW_ADDED;
}

void window_note(struct window *w, struct window_slot *slot, const struct shard_due *due, int64_t now_ms)
{
    if (due->due_ms <= now_ms || shard_due_cmp(due, &slot->cursor) < 0) {
        lower_cursor(w, slot, due);
        pthread_cond_signal(&w->load);
    } else if (slot->next_due_ms == 0 || due->due_ms < slot->next_due_ms) {
        slot->next_due_ms = due->due_ms;
        pthread_cond_signal(&w->load);
    }
}

static void unlink_ready(struct destination *d, struct window_entry *entry)
{
    struct window_entry **at = &d->first;
    while (*at != entry)
        at = &(*at)->next;
    *at = entry->next;
    if (!entry->next)
        d->last = at;
    entry->next = NULL;
    d->ready--;
}

struct window_entry *window_claim(struct window *w, struct window_slot *slot, const struct queue_id *id, bool *none)
{
    struct window_entry *entry = window_find(w, id);
    *none = false;
    if (entry && entry->busy)
        return NULL;
    if (entry) {
        unlink_ready(entry->destination, entry);
    } else {
        entry = entry_new(w, slot, &(struct shard_due){0, *id});
        *none = !entry;
    }
    if (entry) {
        window_forget(w, &entry->at_hand); /* it may be changed now */
        entry->busy = true;
        w->busy++;
        if (entry->destination)
            entry->destination->busy++;
    }
    return entry;
}

struct window_entry *window_take(struct window *w, struct destination *d)
{
    struct window_entry *entry = d->first;
    if (!entry)
        return NULL;
    d->first = entry->next;
    if (!d->first)
        d->last = &d->first;
    entry->next = NULL;
    d->ready--;
    entry->busy = true;
    w->busy++;
    d->busy++;
    if (d->ready < WINDOW_SHARE / 4 && d->skips && !d->refilling) {
        d->refilling = true;
        w->poke = true;
        pthread_cond_signal(&w->load);
    }
    return entry;
}

static void entry_free(struct window *w, struct window_entry *entry)
{
    struct window_entry **at = bucket(w, &entry->id);
    while (*at != entry)
        at = &(*at)->hash_next;
    *at = entry->hash_next;
    w->count--;
    window_forget(w, &entry->at_hand);
    free(entry);
    if (w->count == WINDOW_SIZE / 2)
        pthread_cond_signal(&w->load);
}

void window_done(struct window *w, struct window_entry *entry)
{
    struct destination *d = entry->destination;
    check(entry->busy);
    w->busy--;
    entry_free(w, entry);
    if (!d)
        return;
    d->busy--;
    window_destination_put(w, d);
}

void window_again(struct window *w, struct window_entry *entry)
{
    struct destination *d = entry->destination;
    check(entry->busy && d);
    entry->busy = false;
    w->busy--;
    d->busy--;
    entry->next = d->first;
    if (!d->first)
        d->last = &entry->next;
    d->first = entry;
    d->ready++;
    window_run(w, d);
}
