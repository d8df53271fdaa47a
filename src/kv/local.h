/* Watches and leases of engines that serve one process: no other process can change or lock anything, so both live in memory. The
 * epochs of leases are kept by the engine. Every function may be called from any thread. */
#ifndef KV_LOCAL_H
#define KV_LOCAL_H

#include <pthread.h>

#include "kv/engine.h"

enum { KV_WATCH_BUCKETS = 256, KV_LEASES_MAX = 65536, KV_LEASE_BUCKETS = 64 };

struct kv_watch_bucket {
    pthread_mutex_t lock; /* rank: leaf; held while the callbacks run, so that kv_unwatch waits for them */
    struct kv_watch *first;
};
struct kv_watches {
    struct kv_watch_bucket bucket[KV_WATCH_BUCKETS];
};

void kv_watches_init(struct kv_watches *w);
void kv_watches_release(struct kv_watches *w); /* frees watches that were left */
enum st kv_watches_add(struct kv_watches *w, struct str partition, kv_notified *fn, void *context, struct kv_watch **out,
                       struct err *e) MUST_USE;
void kv_watches_notify(struct kv_watches *w, struct str partition);

struct kv_lease;
struct kv_leases {
    pthread_mutex_t lock; /* held across `save` */
    struct kv_lease *bucket[KV_LEASE_BUCKETS];
    size_t count;
};

/* Reads (0 if there is none) and durably writes the epoch of a lease. */
struct kv_epochs {
    enum st (*load)(void *context, struct str name, uint64_t *epoch, struct err *e);
    enum st (*save)(void *context, struct str name, uint64_t epoch, struct err *e);
    void *context;
};

void kv_leases_init(struct kv_leases *l);
void kv_leases_release(struct kv_leases *l);
/* As kv_lease_take and kv_lease_drop. The epoch grows with each take that is not a renewal of a lease that still runs. Expiry is
 * measured on the monotonic clock. */
enum st kv_leases_take(struct kv_leases *l, const struct kv_epochs *epochs, struct str name, struct str holder, unsigned ttl_ms,
                       uint64_t *epoch, struct err *e) MUST_USE;
enum st kv_leases_drop(struct kv_leases *l, struct str name, struct str holder, struct err *e) MUST_USE;

#endif
