/* The due entries in memory, by destination: who may be attempted now, who is under way, who waits in the engine. Bounded: past its
 * size entries stay in the engine, and a destination may fill only a share, so that a large backlog for one does not hide others.
 *
 * Threads: any; one lock, not held across store, DNS or network. The loader (load.c) moves entries from the time order of the
 * engine into the window; those that do not fit are found again by cursors:
 *
 *   every key of a shard's time order below its cursor is in the window, or behind a skip mark of its destination, or was settled
 */
#ifndef QUEUE_WINDOW_H
#define QUEUE_WINDOW_H

#include <pthread.h>
#include <stdatomic.h>

#include "queue/shard.h"

enum {
    WINDOW_SIZE = 20000, /* entries */
    WINDOW_SHARE = 2500, /* entries of one destination, waiting */
    WINDOW_PAGE = 500,   /* loaded at once */
    WINDOW_BUCKETS = 16384,
    DESTINATION_BUCKETS = 4096,
    DESTINATION_NAME_MAX = 300,
    WINDOW_AT_HAND_MAX = 64 << 10,  /* of one message */
    WINDOW_AT_HAND_BYTES = 8 << 20, /* of all */
};

/* Those at work are left to take what they can within this time; a connection that waits looks by itself after WINDOW_PARK_MS. */
enum { WINDOW_SOON_US = 2000, WINDOW_PARK_MS = 50 };

enum window_wish { WINDOW_WISH_HOLD = 1, WINDOW_WISH_DROP = 2, WINDOW_WISH_BOUNCE = 4, WINDOW_WISH_RETRY = 8 };

/* A new entry as it was committed, so that its first attempt need not read it again. */
struct at_hand {
    size_t record_n, message_n;
    char bytes[]; /* the record, then the message as others get it */
};

struct window_entry {
    struct window_entry *hash_next, *next;
    struct queue_id id;
    struct shard_due due;
    struct at_hand *at_hand; /* owned; NULL: it is read */
    struct window_slot *slot;
    struct destination *destination;
    bool busy;     /* under way, or being administered: owned by one thread */
    unsigned wish; /* what to do when it is settled */
};

/* A shard as the window sees it. */
struct window_slot {
    struct shard *shard;
    struct shard_due cursor; /* see above */
    int64_t next_due_ms;     /* wall clock of the first key beyond the cursor that is known of; 0: none */
    bool more;               /* there may be due entries from the cursor on */
    bool adding;             /* new messages are put here */
    int64_t renew_ms;        /* monotonic: renew the lease then */
};

struct skip { /* entries of a destination that were passed over */
    struct skip *next;
    struct window_slot *slot;
    struct shard_due from;
};

struct destination {
    struct destination *hash_next, *run_next;
    char *name; /* route_destination() */
    struct window_entry *first, **last;
    size_t ready, busy;
    unsigned active; /* connections, or threads that serve it */
    unsigned limit;  /* of active; grows with success, shrinks with failure */
    unsigned parked; /* connections that wait for entries */
    int64_t took_us; /* an entry lately, on average */
    unsigned refs;   /* by the loader */
    bool runnable;   /* in the line */
    bool refilling;
    pthread_cond_t more;
    int64_t blocked_ms; /* monotonic: no host of it answers; try again then */
    unsigned failures;  /* in a row */
    char why[512];      /* it is blocked */
    struct skip *skips;
};

struct window {
    pthread_mutex_t lock;
    pthread_cond_t work; /* there is a runnable destination */
    pthread_cond_t load; /* the loader has something to do */
    struct window_entry *entries[WINDOW_BUCKETS];
    struct destination *destinations[DESTINATION_BUCKETS];
    size_t count, busy, destination_count;
    struct destination *run_first, **run_last;
    unsigned idle, parked; /* threads */
    unsigned limit_first, limit_max;
    bool stopping, poke; /* poke: the loader shall look */
    atomic_size_t at_hand_bytes;
};

bool window_init(struct window *w);
void window_release(struct window *w); /* no thread uses it any more */

/* ---- without the lock ---- */

/* Copies. NULL: too large, too much is kept already (WINDOW_AT_HAND_BYTES), no memory. */
struct at_hand *window_keep(struct window *w, struct str record, struct str message);
void window_forget(struct window *w, struct at_hand **at_hand); /* frees; NULL is fine */

/* ---- all below: with the lock held ---- */

enum window_added { WINDOW_ADDED, WINDOW_KNOWN, WINDOW_FULL, WINDOW_SKIPPED };
/* Puts a due entry in, or notes where it is found again. */
enum window_added window_add(struct window *w, struct window_slot *slot, const struct shard_due *due, struct str destination);
/* Tells of an entry that was written with this due time: if it is due, the loader will see to it; otherwise when it is. */
void window_note(struct window *w, struct window_slot *slot, const struct shard_due *due, int64_t now_ms);

struct window_entry *window_find(struct window *w, const struct queue_id *id);
/* Makes an entry busy for administration; adds it if it is not there. NULL: it is under way (or no memory: *none). */
struct window_entry *window_claim(struct window *w, struct window_slot *slot, const struct queue_id *id, bool *none);
/* The next entry of the destination, made busy; NULL: none is ready. */
struct window_entry *window_take(struct window *w, struct destination *d);
/* The next destination that may have one more connection: counts as active from now. NULL: none. */
struct destination *window_pick(struct window *w);
/* The connection has ended. */
void window_leave(struct window *w, struct destination *d);
/* Forgets a busy entry. */
void window_done(struct window *w, struct window_entry *entry);
/* Makes a busy entry ready again, first in line. */
void window_again(struct window *w, struct window_entry *entry);
void window_run(struct window *w, struct destination *d);             /* puts it in the line if it may run */
void window_destination_put(struct window *w, struct destination *d); /* frees it when nothing refers to it */
struct destination *window_destination(struct window *w, struct str name, bool make);

#endif
