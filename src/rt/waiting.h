/* Threads of a pool that runs only so many at a time (net/host) say when they are about to wait for something slow: a disk, a lock
 * that is held across one, a permit, a long computation. Another thread of the pool works meanwhile.
 *
 *   waiting_begin();
 *   fdatasync(fd);
 *   waiting_end();
 *
 * Costs nothing worth mentioning; in threads that belong to no such pool nothing happens. Pairs may be nested. */
#ifndef RT_WAITING_H
#define RT_WAITING_H

#include <pthread.h>

void waiting_begin(void);
void waiting_end(void);

/* A lock that others hold while they wait for a disk. */
void waiting_lock(pthread_mutex_t *lock);

/* The pool's side: called in its own thread, by the outermost pair. NULL: the thread leaves the pool. Kept until then. */
struct waiting_pool {
    void (*begin)(struct waiting_pool *p);
    void (*end)(struct waiting_pool *p);
};
void waiting_join(struct waiting_pool *p);

#endif
