/* Which of the host's threads run. A thread that runs polls or works; one that said it waits (rt/waiting.h) does not count.
 *
 *            places_enter                  places_waiting
 *   standing by ------------> running: poll <-> work -----------> waiting
 *        ^                       |                                   |
 *        +-----------------------+ <---------------------------------+ places_waited
 *          places_again: too many
 *
 * Somebody is let in when the last polling thread gets work, or one says that it waits, while fewer than `most` run: the one that
 * stood by last, whose stack and buffers are still in the caches. It is given its place before it is woken, outside the lock, so
 * that it need not ask for it. */
#include "net/host_internal.h"

void places_init(struct places *p, unsigned most)
{
    pthread_mutex_init(&p->lock, NULL);
    p->base = most;
    p->most = most;
}

void places_release(struct places *p) { pthread_mutex_destroy(&p->lock); }

void seat_init(struct seat *s) { sem_init(&s->given, 0, 0); }
void seat_release(struct seat *s) { sem_destroy(&s->given); }

/* Under the lock, which is let go. False: the threads shall end. */
static bool enter_locked(struct places *p, struct seat *s)
{
    bool free = p->running < p->most || p->ending;
    if (free) {
        p->running++;
        s->go_on = !p->ending;
    } else {
        s->below = p->standing_by;
        p->standing_by = s;
    }
    pthread_mutex_unlock(&p->lock);
    while (!free)
        free = sem_wait(&s->given) == 0; /* or a signal */
    return s->go_on;
}

/* Under the lock: takes the one that stood by last, and gives it a place. NULL: none. Wake it after the lock. */
static struct seat *let_in_locked(struct places *p)
{
    struct seat *s = p->standing_by;
    if (!s)
        return NULL;
    p->standing_by = s->below;
    s->go_on = !p->ending;
    p->running++;
    return s;
}

static struct seat *let_in_if_free_locked(struct places *p) { return p->running < p->most ? let_in_locked(p) : NULL; }

static void wake(struct seat *s)
{
    if (s)
        sem_post(&s->given);
}

bool places_enter(struct places *p, struct seat *s)
{
    pthread_mutex_lock(&p->lock);
    return enter_locked(p, s);
}

void places_leave(struct places *p)
{
    pthread_mutex_lock(&p->lock);
    p->running--;
    pthread_mutex_unlock(&p->lock);
}

bool places_again(struct places *p, struct seat *s)
{
    if (atomic_load_explicit(&p->running, memory_order_relaxed) <= atomic_load_explicit(&p->most, memory_order_relaxed))
        return true; /* the end comes by the bell */
    pthread_mutex_lock(&p->lock);
    if (p->running > p->most && !p->ending) {
        p->running--;
        return enter_locked(p, s);
    }
    pthread_mutex_unlock(&p->lock);
    return true;
}

void places_polling(struct places *p) { atomic_fetch_add(&p->polling, 1); }

void places_polled(struct places *p, bool work)
{
    atomic_fetch_add_explicit(&p->polls, 1, memory_order_relaxed);
    if (atomic_fetch_sub(&p->polling, 1) != 1 || !work)
        return;
    pthread_mutex_lock(&p->lock);
    struct seat *s = let_in_if_free_locked(p);
    pthread_mutex_unlock(&p->lock);
    wake(s);
}

void places_waiting(struct places *p)
{
    struct seat *s = NULL;
    atomic_fetch_add(&p->waiting, 1);
    pthread_mutex_lock(&p->lock);
    p->running--;
    if (atomic_load(&p->polling) == 0)
        s = let_in_if_free_locked(p);
    pthread_mutex_unlock(&p->lock);
    wake(s);
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
    struct seat *s = NULL;
    pthread_mutex_lock(&p->lock);
    if (!stuck) {
        atomic_store(&p->most, atomic_load(&p->most) - 1);
    } else if (p->standing_by) {
        atomic_store(&p->most, atomic_load(&p->most) + 1);
        s = let_in_locked(p);
    }
    pthread_mutex_unlock(&p->lock);
    wake(s);
    return true;
}

void places_end(struct places *p)
{
    struct seat *s;
    pthread_mutex_lock(&p->lock);
    p->ending = true;
    do {
        s = let_in_locked(p);
        wake(s);
    } while (s);
    pthread_mutex_unlock(&p->lock);
}
