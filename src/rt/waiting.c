#include "rt/waiting.h"

#include <stddef.h>

static _Thread_local struct waiting_pool *pool;
static _Thread_local unsigned depth;

void waiting_join(struct waiting_pool *p) { pool = p; }

void waiting_begin(void)
{
    if (depth++ == 0 && pool)
        pool->begin(pool);
}

void waiting_end(void)
{
    if (--depth == 0 && pool)
        pool->end(pool);
}

void waiting_lock(pthread_mutex_t *lock)
{
    if (pthread_mutex_trylock(lock) == 0)
        return;
    waiting_begin();
    pthread_mutex_lock(lock);
    waiting_end();
}
