#include "auth/dircache.h"

#include <pthread.h>
#include <stdlib.h>

#include "rt/clock.h"

enum { WAYS = 4, STRIPES = 64 };

struct place {
    uint64_t hash;
    int64_t until_ms; /* 0: free */
    char *p;          /* partition, NUL, key, then the value */
    size_t name_n, value_n;
    bool exists;
};

struct stripe {
    pthread_mutex_t lock;
    uint64_t generation;
};

struct dircache {
    size_t sets; /* a power of two, at least STRIPES */
    unsigned life_ms;
    struct place *places; /* sets * WAYS */
    struct stripe stripe[STRIPES];
};

struct dircache *dircache_new(size_t entries, unsigned life_ms)
{
    struct dircache *c = calloc(1, sizeof *c);
    if (!c)
        return NULL;
    c->life_ms = life_ms;
    c->sets = STRIPES;
    while (c->sets * WAYS < entries && c->sets < (size_t)1 << 24)
        c->sets *= 2;
    c->places = calloc(c->sets * WAYS, sizeof *c->places);
    if (!c->places) {
        free(c);
        return NULL;
    }
    for (size_t i = 0; i < STRIPES; i++)
        pthread_mutex_init(&c->stripe[i].lock, NULL);
    return c;
}

static void place_clear(struct place *p)
{
    if (p->p)
        explicit_bzero(p->p, p->name_n + p->value_n);
    free(p->p);
    *p = (struct place){0};
}

void dircache_free(struct dircache *c)
{
    if (!c)
        return;
    for (size_t i = 0; i < c->sets * WAYS; i++)
        place_clear(&c->places[i]);
    for (size_t i = 0; i < STRIPES; i++)
        pthread_mutex_destroy(&c->stripe[i].lock);
    free(c->places);
    free(c);
}

static uint64_t name_hash(struct str partition, struct str key) { return str_hash(key) * 31 + str_hash(partition); }

static struct stripe *stripe_of(struct dircache *c, uint64_t hash) { return &c->stripe[hash % STRIPES]; }

static bool place_is(const struct place *p, uint64_t hash, struct str partition, struct str key)
{
    return p->until_ms && p->hash == hash && p->name_n == partition.n + 1 + key.n && memcmp(p->p, partition.p, partition.n) == 0 &&
           memcmp(p->p + partition.n + 1, key.p, key.n) == 0;
}

static struct place *set_of(struct dircache *c, uint64_t hash) { return &c->places[(hash & (c->sets - 1)) * WAYS]; }

static struct place *place_find(struct dircache *c, uint64_t hash, struct str partition, struct str key)
{
    struct place *set = set_of(c, hash);
    for (size_t i = 0; i < WAYS; i++)
        if (place_is(&set[i], hash, partition, key))
            return &set[i];
    return NULL;
}

enum dircache_found dircache_get(struct dircache *c, struct str partition, struct str key, struct buf *value, uint64_t *generation)
{
    uint64_t hash = name_hash(partition, key);
    struct stripe *s = stripe_of(c, hash);
    enum dircache_found found = DIRCACHE_MISS;
    int64_t now = clock_mono_ms();
    pthread_mutex_lock(&s->lock);
    struct place *p = place_find(c, hash, partition, key);
    if (p && p->until_ms > now) {
        found = p->exists ? DIRCACHE_HIT : DIRCACHE_ABSENT;
        buf_add(value, str_make(p->p + p->name_n, p->value_n));
    }
    *generation = s->generation;
    pthread_mutex_unlock(&s->lock);
    return found;
}

static struct place *place_for(struct dircache *c, uint64_t hash, struct str partition, struct str key)
{
    struct place *best = place_find(c, hash, partition, key);
    struct place *set = set_of(c, hash);
    for (size_t i = 0; i < WAYS && !best; i++)
        if (!set[i].until_ms)
            best = &set[i];
    if (best)
        return best;
    best = &set[0];
    for (size_t i = 1; i < WAYS; i++)
        if (set[i].until_ms < best->until_ms)
            best = &set[i];
    return best;
}

void dircache_put(struct dircache *c, struct str partition, struct str key, bool exists, struct str value, uint64_t generation)
{
    if (value.n > DIRCACHE_VALUE_MAX || c->life_ms == 0)
        return;
    size_t name_n = partition.n + 1 + key.n;
    char *copy = malloc(name_n + value.n + 1);
    if (!copy)
        return;
    memcpy(copy, partition.p, partition.n);
    copy[partition.n] = '\0';
    memcpy(copy + partition.n + 1, key.p, key.n);
    if (value.n)
        memcpy(copy + name_n, value.p, value.n);
    uint64_t hash = name_hash(partition, key);
    struct stripe *s = stripe_of(c, hash);
    int64_t until = clock_mono_ms() + c->life_ms;
    pthread_mutex_lock(&s->lock);
    bool keep = s->generation == generation;
    if (keep) {
        struct place *p = place_for(c, hash, partition, key);
        place_clear(p);
        *p = (struct place){hash, until, copy, name_n, value.n, exists};
    }
    pthread_mutex_unlock(&s->lock);
    if (!keep)
        free(copy);
}

void dircache_forget(struct dircache *c, struct str partition, struct str key)
{
    uint64_t hash = name_hash(partition, key);
    struct stripe *s = stripe_of(c, hash);
    pthread_mutex_lock(&s->lock);
    s->generation++;
    struct place *p = place_find(c, hash, partition, key);
    if (p)
        place_clear(p);
    pthread_mutex_unlock(&s->lock);
}
