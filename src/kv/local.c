#include "kv/local.h"

#include <stdlib.h>

#include "rt/clock.h"

struct kv_watch {
    struct kv_watch_bucket *bucket;
    struct kv_watch *next, *previous;
    kv_notified *fn;
    void *context;
    size_t name_n;
    char name[KV_PARTITION_NAME_MAX];
};

void kv_watches_init(struct kv_watches *w)
{
    for (size_t i = 0; i < KV_WATCH_BUCKETS; i++) {
        pthread_mutex_init(&w->bucket[i].lock, NULL);
        w->bucket[i].first = NULL;
    }
}

void kv_watches_release(struct kv_watches *w)
{
    for (size_t i = 0; i < KV_WATCH_BUCKETS; i++) {
        while (w->bucket[i].first)
            kv_unwatch(w->bucket[i].first); /* NOLINT(clang-analyzer-unix.Malloc): it takes itself out of the list */
        pthread_mutex_destroy(&w->bucket[i].lock);
    }
}

static struct kv_watch_bucket *watch_bucket(struct kv_watches *w, struct str partition)
{
    return &w->bucket[str_hash(partition) % KV_WATCH_BUCKETS];
}

enum st kv_watches_add(struct kv_watches *w, struct str partition, kv_notified *fn, void *context, struct kv_watch **out,
                       struct err *e)
{
    struct kv_watch *new = calloc(1, sizeof *new);
    ENSURE(new, e, ST_TEMP, "out of memory");
    *new = (struct kv_watch){.bucket = watch_bucket(w, partition), .fn = fn, .context = context, .name_n = partition.n};
    memcpy(new->name, partition.p, partition.n);
    pthread_mutex_lock(&new->bucket->lock);
    new->next = new->bucket->first;
    if (new->next)
        new->next->previous = new;
    new->bucket->first = new;
    pthread_mutex_unlock(&new->bucket->lock);
    *out = new;
    return ST_OK;
}

void kv_unwatch(struct kv_watch *w)
{
    if (!w)
        return;
    struct kv_watch_bucket *bucket = w->bucket;
    pthread_mutex_lock(&bucket->lock);
    if (w->next)
        w->next->previous = w->previous;
    if (w->previous)
        w->previous->next = w->next;
    else
        bucket->first = w->next;
    pthread_mutex_unlock(&bucket->lock);
    free(w);
}

void kv_watches_notify(struct kv_watches *w, struct str partition)
{
    struct kv_watch_bucket *bucket = watch_bucket(w, partition);
    pthread_mutex_lock(&bucket->lock);
    for (struct kv_watch *i = bucket->first; i; i = i->next)
        if (str_eq((struct str){i->name, i->name_n}, partition))
            i->fn(i->context, partition);
    pthread_mutex_unlock(&bucket->lock);
}

struct kv_lease {
    struct kv_lease *next;
    uint64_t epoch;
    int64_t expires_ms; /* monotonic */
    size_t name_n, holder_n;
    char name[KV_PARTITION_NAME_MAX], holder[KV_PARTITION_NAME_MAX];
};

void kv_leases_init(struct kv_leases *l)
{
    *l = (struct kv_leases){.count = 0};
    pthread_mutex_init(&l->lock, NULL);
}

void kv_leases_release(struct kv_leases *l)
{
    for (size_t i = 0; i < KV_LEASE_BUCKETS; i++)
        while (l->bucket[i]) {
            struct kv_lease *gone = l->bucket[i];
            l->bucket[i] = gone->next;
            free(gone);
        }
    pthread_mutex_destroy(&l->lock);
}

static struct kv_lease **lease_slot(struct kv_leases *l, struct str name)
{
    struct kv_lease **at = &l->bucket[str_hash(name) % KV_LEASE_BUCKETS];
    while (*at && !str_eq((struct str){(*at)->name, (*at)->name_n}, name))
        at = &(*at)->next;
    return at;
}

static enum st lease_find_or_add(struct kv_leases *l, const struct kv_epochs *epochs, struct str name, struct kv_lease **out,
                                 struct err *e)
{
    struct kv_lease **slot = lease_slot(l, name);
    if (!*slot) {
        ENSURE(l->count < KV_LEASES_MAX, e, ST_LIMIT, "too many leases");
        uint64_t epoch;
        TRY(epochs->load(epochs->context, name, &epoch, e));
        struct kv_lease *new = calloc(1, sizeof *new);
        ENSURE(new, e, ST_TEMP, "out of memory");
        *new = (struct kv_lease){.epoch = epoch, .name_n = name.n};
        memcpy(new->name, name.p, name.n);
        *slot = new;
        l->count++;
    }
    *out = *slot;
    return ST_OK;
}

static bool lease_is_of(const struct kv_lease *lease, struct str holder)
{
    return str_eq((struct str){lease->holder, lease->holder_n}, holder);
}

static enum st lease_take_locked(struct kv_leases *l, const struct kv_epochs *epochs, struct str name, struct str holder,
                                 int64_t expires_ms, uint64_t *epoch, struct err *e)
{
    struct kv_lease *lease = NULL;
    TRY(lease_find_or_add(l, epochs, name, &lease, e));
    bool runs = lease->holder_n && lease->expires_ms > clock_mono_ms();
    ENSURE(!runs || lease_is_of(lease, holder), e, ST_CONFLICT, "lease %.*s is held by %.*s", STR_FMT(name), (int)lease->holder_n,
           lease->holder);
    if (!runs) {
        TRY(epochs->save(epochs->context, name, lease->epoch + 1, e));
        lease->epoch++;
        memcpy(lease->holder, holder.p, holder.n);
        lease->holder_n = holder.n;
    }
    lease->expires_ms = expires_ms;
    *epoch = lease->epoch;
    return ST_OK;
}

enum st kv_leases_take(struct kv_leases *l, const struct kv_epochs *epochs, struct str name, struct str holder, unsigned ttl_ms,
                       uint64_t *epoch, struct err *e)
{
    pthread_mutex_lock(&l->lock);
    enum st s = lease_take_locked(l, epochs, name, holder, clock_mono_ms() + ttl_ms, epoch, e);
    pthread_mutex_unlock(&l->lock);
    return s;
}

enum st kv_leases_drop(struct kv_leases *l, struct str name, struct str holder, struct err *e)
{
    pthread_mutex_lock(&l->lock);
    struct kv_lease *lease = *lease_slot(l, name);
    bool held = lease && lease->holder_n && lease_is_of(lease, holder);
    if (held)
        lease->holder_n = 0;
    pthread_mutex_unlock(&l->lock);
    ENSURE(held, e, ST_NOTFOUND, "lease %.*s is not held by %.*s", STR_FMT(name), STR_FMT(holder));
    return ST_OK;
}
