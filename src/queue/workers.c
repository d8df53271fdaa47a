#include "queue/workers.h"

#include <pthread.h>
#include <stdlib.h>

#include "queue/queue_internal.h"
#include "queue/settle.h"
#include "rt/clock.h"
#include "rt/log.h"
#include "rt/settings.h"

enum { STACK_BYTES = 1 << 20, STOP_SLICE_MS = 20 };

struct workers {
    struct queue *q;
    pthread_t loader;
    bool loader_runs;
    size_t count;
    atomic_uint running;
    pthread_t threads[];
};

static void *loader_main(void *context)
{
    struct workers *w = context;
    queue_load_loop(w->q);
    return NULL;
}

static void *worker_main(void *context)
{
    struct workers *w = context;
    queue_work_loop(w->q);
    atomic_fetch_sub(&w->running, 1);
    return NULL;
}

static bool start(struct workers *w, pthread_t *thread, void *(*main)(void *))
{
    pthread_attr_t attr;
    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, STACK_BYTES);
    bool ok = pthread_create(thread, &attr, main, w) == 0;
    pthread_attr_destroy(&attr);
    return ok;
}

enum st workers_start(struct queue *q, struct workers **out, struct err *e)
{
    const struct settings *settings = settings_current();
    size_t wanted = (size_t)settings->queue_threads;
    settings_unref(settings);
    struct workers *w = calloc(1, sizeof *w + wanted * sizeof w->threads[0]);
    *out = NULL;
    if (!w)
        return ERR(e, ST_TEMP, "Out of memory", "starting the queue");
    w->q = q;
    atomic_store(&q->stopping, false);
    atomic_store(&q->breaking, false);
    q->window.stopping = false;
    enum st st = settler_start(q, &q->settler, e);
    if (st != ST_OK) {
        free(w);
        return st;
    }
    w->loader_runs = start(w, &w->loader, loader_main);
    for (; w->count < wanted; w->count++) {
        atomic_fetch_add(&w->running, 1);
        if (!start(w, &w->threads[w->count], worker_main)) {
            atomic_fetch_sub(&w->running, 1);
            break;
        }
    }
    if (!w->loader_runs || w->count == 0) {
        workers_stop(w, 0);
        return ERR(e, ST_TEMP, "Cannot start threads", "the queue's");
    }
    *out = w;
    return ST_OK;
}

void workers_stop(struct workers *w, unsigned wait_ms)
{
    struct queue *q = w->q;
    int64_t until = clock_mono_ms() + wait_ms;
    atomic_store(&q->stopping, true);
    pthread_mutex_lock(&q->window.lock);
    q->window.stopping = true;
    pthread_cond_broadcast(&q->window.work);
    pthread_cond_broadcast(&q->window.load);
    for (size_t i = 0; i < DESTINATION_BUCKETS; i++)
        for (struct destination *d = q->window.destinations[i]; d; d = d->hash_next)
            pthread_cond_broadcast(&d->more);
    pthread_mutex_unlock(&q->window.lock);
    while (atomic_load(&w->running) > 0 && clock_mono_ms() < until)
        clock_sleep_ms(STOP_SLICE_MS);
    atomic_store(&q->breaking, true);
    lines_break(&q->lines);
    for (size_t i = 0; i < w->count; i++)
        pthread_join(w->threads[i], NULL);
    if (w->loader_runs)
        pthread_join(w->loader, NULL);
    settler_stop(q->settler);
    q->settler = NULL;
    free(w);
}
