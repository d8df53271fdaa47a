#include "queue/hosts.h"

#include <pthread.h>
#include <stdlib.h>

#include "rt/clock.h"
#include "rt/settings.h"

enum { WAYS = 4, PAUSE_MAX_MS = 1800000 };

struct host {
    uint64_t hash; /* 0: free */
    int64_t dead_until_ms, used_ms;
    unsigned failures;
};

struct hosts {
    pthread_mutex_t lock;
    size_t sets;
    struct host *table;
};

struct hosts *hosts_new(size_t entries)
{
    struct hosts *h = calloc(1, sizeof *h);
    if (!h)
        return NULL;
    h->sets = entries / WAYS + 1;
    h->table = calloc(h->sets * WAYS, sizeof *h->table);
    if (!h->table) {
        free(h);
        return NULL;
    }
    pthread_mutex_init(&h->lock, NULL);
    return h;
}

void hosts_free(struct hosts *h)
{
    if (!h)
        return;
    pthread_mutex_destroy(&h->lock);
    free(h->table);
    free(h);
}

/* The host's place; with make the place of the one not used for longest. */
static struct host *find(struct hosts *h, struct str name, bool make)
{
    uint64_t hash = str_hash(name) | 1;
    struct host *set = h->table + hash / 2 % h->sets * WAYS, *oldest = set;
    for (unsigned i = 0; i < WAYS; i++) {
        if (set[i].hash == hash)
            return &set[i];
        if (set[i].used_ms < oldest->used_ms)
            oldest = &set[i];
    }
    if (!make)
        return NULL;
    *oldest = (struct host){.hash = hash};
    return oldest;
}

bool hosts_usable(struct hosts *h, struct str host, int64_t *until_ms)
{
    int64_t until = 0, now = clock_mono_ms();
    pthread_mutex_lock(&h->lock);
    struct host *known = find(h, host, false);
    if (known)
        until = known->dead_until_ms;
    pthread_mutex_unlock(&h->lock);
    if (until_ms)
        *until_ms = until;
    return until <= now;
}

static int64_t first_pause_ms(void)
{
    const struct settings *s = settings_current();
    int64_t ms = s->queue_host_pause_ms;
    settings_unref(s);
    return ms;
}

void hosts_failed(struct hosts *h, struct str host)
{
    int64_t now = clock_mono_ms(), first = first_pause_ms();
    pthread_mutex_lock(&h->lock);
    struct host *known = find(h, host, true);
    if (known->dead_until_ms <= now) { /* those that fail at the same time count once */
        int64_t pause = first << (known->failures < 6 ? known->failures : 6);
        known->failures++;
        known->dead_until_ms = now + (pause < PAUSE_MAX_MS ? pause : PAUSE_MAX_MS);
    }
    known->used_ms = now;
    pthread_mutex_unlock(&h->lock);
}

void hosts_worked(struct hosts *h, struct str host)
{
    pthread_mutex_lock(&h->lock);
    struct host *known = find(h, host, false);
    if (known)
        *known = (struct host){0};
    pthread_mutex_unlock(&h->lock);
}

void hosts_forget(struct hosts *h)
{
    pthread_mutex_lock(&h->lock);
    for (size_t i = 0; i < h->sets * WAYS; i++)
        h->table[i] = (struct host){0};
    pthread_mutex_unlock(&h->lock);
}
