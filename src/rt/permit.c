#include "rt/permit.h"

#include <errno.h>
#include <pthread.h>
#include <time.h>

#include "rt/waiting.h"

enum { WAIT_S = 10, LINE_MAX_WAITING = 64 };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct {
    pthread_cond_t free;
    unsigned limit, held, waiting;
} classes[PERMIT_CLASSES] = {
    [PERMIT_PASSWORD] = {PTHREAD_COND_INITIALIZER, 2, 0, 0},
    [PERMIT_SEARCH] = {PTHREAD_COND_INITIALIZER, 2, 0, 0},
    [PERMIT_IMPORT] = {PTHREAD_COND_INITIALIZER, 2, 0, 0},
};

void permit_limit(enum permit_class class, unsigned limit)
{
    pthread_mutex_lock(&lock);
    classes[class].limit = limit ? limit : 1;
    pthread_cond_broadcast(&classes[class].free);
    pthread_mutex_unlock(&lock);
}

static bool take_locked(enum permit_class class, struct permit *out)
{
    if (classes[class].held >= classes[class].limit)
        return false;
    classes[class].held++;
    *out = (struct permit){class, true};
    return true;
}

bool permit_try(enum permit_class class, struct permit *out)
{
    pthread_mutex_lock(&lock);
    bool got = take_locked(class, out);
    pthread_mutex_unlock(&lock);
    return got;
}

/* Waits for real time, also in simulations: the holder is another thread at work. */
static bool wait_locked(enum permit_class class, struct permit *out)
{
    struct timespec end;
    clock_gettime(CLOCK_MONOTONIC, &end);
    end.tv_sec += WAIT_S;
    classes[class].waiting++;
    bool got;
    int status = 0;
    waiting_begin();
    while (!(got = take_locked(class, out)) && status != ETIMEDOUT)
        status = pthread_cond_clockwait(&classes[class].free, &lock, CLOCK_MONOTONIC, &end);
    waiting_end();
    classes[class].waiting--;
    return got;
}

enum st permit_take(enum permit_class class, struct permit *out, struct err *e)
{
    *out = (struct permit){class, false};
    pthread_mutex_lock(&lock);
    bool got = take_locked(class, out) || (classes[class].waiting < LINE_MAX_WAITING && wait_locked(class, out));
    pthread_mutex_unlock(&lock);
    return got ? ST_OK : ERR_PUBLIC(e, ST_LIMIT, "the server is too busy for this; try again in a moment");
}

void permit_give(struct permit *p)
{
    if (!p->held)
        return;
    p->held = false;
    pthread_mutex_lock(&lock);
    classes[p->class].held--;
    pthread_cond_signal(&classes[p->class].free);
    pthread_mutex_unlock(&lock);
}
