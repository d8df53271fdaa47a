#include "queue/settle.h"

#include <stdlib.h>

#include "queue/queue_internal.h"
#include "rt/clock.h"

struct settler {
    struct queue *q;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t work;
    struct served *first, **last;
    size_t count;
    bool waiting, stopping;
};

void settle_release(struct queue *q, struct window_entry *entry, const struct shard_due *due)
{
    struct window_slot *slot = entry->slot;
    pthread_mutex_lock(&q->window.lock);
    window_done(&q->window, entry);
    if (due && due->due_ms > 0)
        window_note(&q->window, slot, due, clock_wall_ms());
    pthread_mutex_unlock(&q->window.lock);
}

static int by_slot(const void *pa, const void *pb)
{
    const struct served *a = *(struct served *const *)pa, *b = *(struct served *const *)pb;
    return a->attempt.slot < b->attempt.slot ? -1 : a->attempt.slot > b->attempt.slot;
}

/* One commit for all of a shard; one by one if that does not work. */
static void settle_run(struct queue *q, struct served **list, size_t count)
{
    struct attempt *attempts[SETTLE_TOGETHER_MAX];
    struct err e = {0};
    for (size_t i = 0; i < count; i++)
        attempts[i] = &list[i]->attempt;
    bool together = count > 1 && attempt_settle_many(attempts, count, &e) == ST_OK;
    for (size_t i = 0; i < count; i++)
        if (together || attempt_settle_surely(attempts[i]))
            settle_release(q, list[i]->entry, &attempts[i]->was);
}

void settle_now(struct queue *q, struct served **list, size_t count)
{
    pthread_mutex_lock(&q->window.lock);
    for (size_t i = 0; i < count; i++)
        list[i]->attempt.wish = list[i]->entry->wish;
    pthread_mutex_unlock(&q->window.lock);
    if (count > 1)
        qsort(list, count, sizeof(void *), by_slot);
    for (size_t from = 0, to; from < count; from = to) {
        for (to = from + 1; to < count && list[to]->attempt.slot == list[from]->attempt.slot;)
            to++;
        settle_run(q, list + from, to - from);
    }
    for (size_t i = 0; i < count; i++) {
        attempt_release(&list[i]->attempt);
        free(list[i]);
    }
}

/* ---- the thread ---- */

/* All that wait. 0: it is over. */
static size_t next_batch(struct settler *s, struct served *list[SETTLE_TOGETHER_MAX])
{
    size_t n = 0;
    pthread_mutex_lock(&s->lock);
    while (!s->first && !s->stopping) {
        s->waiting = true;
        pthread_cond_wait(&s->work, &s->lock);
        s->waiting = false;
    }
    for (struct served *served = s->first; served; served = served->next)
        list[n++] = served;
    s->first = NULL;
    s->last = &s->first;
    s->count = 0;
    pthread_mutex_unlock(&s->lock);
    return n;
}

static void *settler_main(void *context)
{
    struct settler *s = context;
    struct served *list[SETTLE_TOGETHER_MAX];
    for (size_t n; (n = next_batch(s, list)) > 0;)
        settle_now(s->q, list, n);
    return NULL;
}

enum st settler_start(struct queue *q, struct settler **out, struct err *e)
{
    struct settler *s = calloc(1, sizeof *s);
    *out = NULL;
    ENSURE(s, e, ST_TEMP, "Out of memory");
    s->q = q;
    s->last = &s->first;
    pthread_mutex_init(&s->lock, NULL);
    pthread_cond_init(&s->work, NULL);
    if (pthread_create(&s->thread, NULL, settler_main, s) != 0) {
        pthread_cond_destroy(&s->work);
        pthread_mutex_destroy(&s->lock);
        free(s);
        return ERR(e, ST_TEMP, "Cannot start threads", "the queue's settler");
    }
    *out = s;
    return ST_OK;
}

bool settler_take(struct settler *s, struct served **served)
{
    pthread_mutex_lock(&s->lock);
    bool room = s->count < SETTLE_TOGETHER_MAX;
    bool wake = room && s->waiting;
    if (room) {
        (*served)->next = NULL;
        *s->last = *served;
        s->last = &(*served)->next;
        s->count++;
        *served = NULL;
    }
    pthread_mutex_unlock(&s->lock);
    if (wake)
        pthread_cond_signal(&s->work);
    return room;
}

void settler_stop(struct settler *s)
{
    if (!s)
        return;
    pthread_mutex_lock(&s->lock);
    s->stopping = true;
    pthread_cond_signal(&s->work);
    pthread_mutex_unlock(&s->lock);
    pthread_join(s->thread, NULL);
    pthread_cond_destroy(&s->work);
    pthread_mutex_destroy(&s->lock);
    free(s);
}
