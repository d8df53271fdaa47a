/* What the files of the queue share. */
#ifndef QUEUE_INTERNAL_H
#define QUEUE_INTERNAL_H

#include <stdatomic.h>

#include "queue/accept.h"
#include "queue/attempt.h"
#include "queue/hosts.h"
#include "queue/lines.h"
#include "queue/queue.h"
#include "queue/record.h"
#include "queue/window.h"

enum {
    QUEUE_LEASE_MS = 30000,
    QUEUE_RENEW_MS = 10000,
    QUEUE_TAKEOVER_MS = 15000, /* between looks for shards that nobody owns any more */
    QUEUE_GRACE_MS = 120000,   /* for accept to deliver locally what it queued too */
    QUEUE_SLOTS_MAX = 4096,
    QUEUE_RUN = 64, /* messages after which new ones go to the next shard */
    QUEUE_NAME_MAX = 256,
};

struct queue_counters {
    atomic_uint_fast64_t accepted, delivered, deferred, failed, reports, connections;
};

struct queue {
    struct kv *kv;
    struct store *store;
    struct directory *directory;
    struct resolver *resolver;
    char hostname[QUEUE_NAME_MAX], node[64], relay[QUEUE_NAME_MAX], spool_dir[QUEUE_NAME_MAX];
    const struct transport_class *remote, *local;

    struct window window; /* its lock also guards slots */
    struct window_slot *slots[QUEUE_SLOTS_MAX];
    size_t slot_count;
    int64_t takeover_ms; /* monotonic */

    atomic_uint id_counter, slot_turn;
    struct queue_counters counters;
    struct hosts *hosts;
    struct lines lines;
    struct tls_client *tls_any, *tls_verified;
    struct workers *workers; /* NULL: not started */
    struct settler *settler; /* NULL: results are written by the thread that has them */
    atomic_bool stopping, breaking;
};

/* Where new messages go; NULL: this node owns no shard. */
struct window_slot *queue_slot_for_new(struct queue *q);
struct window_slot *queue_slot_of(struct queue *q, const struct queue_id *id);
/* Takes leases that are free; called by queue_open and then and now by the loader. */
enum st queue_take_shards(struct queue *q, bool first, struct err *e) MUST_USE;
/* An entry was committed: due now or later. domain: as in its record. */
void queue_offer(struct queue *q, struct window_slot *slot, const struct shard_due *due, struct str domain);
/* The same for a new one. Takes *at_hand (may be NULL). */
void queue_offer_new(struct queue *q, struct window_slot *slot, const struct shard_due *due, struct str domain,
                     struct at_hand **at_hand);

/* load.c: fills the window; one step. *next_ms: wall clock of the next due entry; 0: none known. */
enum st queue_load(struct queue *q, int64_t *next_ms, struct err *e) MUST_USE;
void queue_load_loop(struct queue *q); /* a thread's main, until stopping */

/* worker.c */
void queue_work_loop(struct queue *q); /* a thread's main, until stopping */
/* Serves what window_pick gave, beginning with a taken entry (or NULL), then leaves it. keep: wait a little for more. */
void queue_serve(struct queue *q, struct destination *d, struct window_entry *first, bool keep);

#endif
