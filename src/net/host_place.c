/* Which of the host's threads run. A thread that runs polls or works; one that said it waits (rt/waiting.h) does not count.
 *
 *            places_enter                  places_waiting
 *   standing by ------------> running: poll <-> work -----------> waiting
 *        ^                       |                                   |
 *        +-----------------------+ <---------------------------------+ places_waited
 *          places_again: too many
 *
 * Somebody is let in when the last polling thread gets work, or one says that it waits, while fewer than `most` run. */
#include "net/host_internal.h"

void places_init(struct places *p, unsigned most)
{
    pthread_mutex_init(&p->lock, NULL);
    pthread_cond_init(&p->free, NULL);
    p->base = most;
    p->most = most;
}

void places_release(struct places *p)
{
    pthread_mutex_destroy(&p->lock);
    pthread_cond_destroy(&p->free);
}

static bool enter_locked(struct places *p)
{
    p->standing_by++;
    while (p->running >= p->most && !p->ending)
        pthread_cond_wait(&p->free, &p->lock);
    p->standing_by--;
    p->running++;
    return !p->ending;
}

bool places_enter(struct places *p)
{
    pthread_mutex_lock(&p->lock);
    bool go_on = enter_locked(p);
    pthread_mutex_unlock(&p->lock);
    return go_on;
}

void places_leave(struct places *p)
{
    pthread_mutex_lock(&p->lock);
    p->running--;
    pthread_mutex_unlock(&p->lock);
}

bool places_again(struct places *p)
{
    if (atomic_load_explicit(&p->running, memory_order_relaxed) <= atomic_load_explicit(&p->most, memory_order_relaxed))
        return true; /* the end comes by the bell */
    bool go_on = true;
    pthread_mutex_lock(&p->lock);
    if (p->running > p->most && !p->ending) {
        p->running--;
        go_on = enter_locked(p);
    }
    pthread_mutex_unlock(&p->lock);
    return go_on;
}

static void let_in_locked(struct places *p)
{
    if (p->running < p->most && p->standing_by > 0)
        pthread_cond_signal(&p->free);
}

void places_polling(struct places *p) { atomic_fetch_add(&p->polling, 1); }

void places_polled(struct places *p, bool work)
{
    atomic_fetch_add_explicit(&p->polls, 1, memory_order_relaxed);
    if (atomic_fetch_sub(&p->polling, 1) != 1 || !work)
        return;
    pthread_mutex_lock(&p->lock);
    let_in_locked(p);
    pthread_mutex_unlock(&p->lock);
}

void places_waiting(struct places *p)
{
    atomic_fetch_add(&p->waiting, 1);
    pthread_mutex_lock(&p->lock);
    p->running--;
    if (atomic_load(&p->polling) == 0)
        let_in_locked(p);
    pthread_mutex_unlock(&p->lock);
}

void places_waited(struct places *p)
{
    pthread_mutex_lock(&p->lock);
    p->running++;
    pthread_mutex_unlock(&p->lock);
    atomic_fetch_sub(&p->waiting, 1);
}

bool places_look(struct places *p)
{
    uint64_t polls = atomic_load(&p->polls);
    bool busy = atomic_load(&p->polling) == 0, stuck = busy && polls == p->polls_seen;
    p->polls_seen = polls;
    if (!stuck && (busy || atomic_load(&p->most) == p->base))
        return busy;
    pthread_mutex_lock(&p->lock);
    if (!stuck) {
        atomic_store(&p->most, atomic_load(&p->most) - 1);
    } else if (p->standing_by > 0) {
        atomic_store(&p->most, atomic_load(&p->most) + 1);
        pthread_cond_signal(&p->free);
    }
    pthread_mutex_unlock(&p->lock);
    return true;
}

void places_end(struct places *p)
{
    pthread_mutex_lock(&p->lock);
    p->ending = true;
    pthread_cond_broadcast(&p->free);
    pthread_mutex_unlock(&p->lock);
}
