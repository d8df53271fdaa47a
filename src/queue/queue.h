/* The durable queue: messages for other hosts, and what could not be settled at once. Records, keys and crash states:
 * doc/formats/queue.md.
 *
 * An *entry* is one message for one destination: all its recipients there, with one schedule. A message to recipients in three
 * domains is three entries that share the message's bytes and the first 18 characters of their name ("<message>.<number>"). Entries
 * live in shards, partitions `queue-00`, `queue-01`, ... of the engine, each owned under a lease by one node, so that another node
 * takes them over when this one dies.
 *
 * Memory: a bounded window of due entries; the rest stays in the engine in time order. Threads: everything may be called from any
 * thread. Errors: ST_TEMP (engine, or the shard belongs to another node now), ST_NOTFOUND (no such entry), ST_CONFLICT (entry is
 * being delivered at this moment and the wish cannot wait), ST_PERM (malformed name). */
#ifndef QUEUE_QUEUE_H
#define QUEUE_QUEUE_H

#include "auth/directory.h"
#include "base/buf.h"
#include "base/err.h"
#include "store/store.h"

struct queue;
struct resolver;
struct transport_class;

struct queue_config {
    struct store *store;         /* its engine keeps the queue */
    struct directory *directory; /* local addresses, where reports go */
    struct resolver *resolver;   /* dns/resolver.h; NULL: only address literals and static routes can be reached */
    const char *hostname;        /* our name: EHLO, reports, loop detection */
    const char *node;            /* name of this process for leases (lower case letters, digits, '-', '.'); NULL: hostname */
    const char *relay;           /* "HOST:PORT": all mail for other domains goes there; NULL or "": by settings and DNS */
    const char *spool_dir;       /* for large messages (rt/spool); NULL: memory only */
    const struct transport_class *remote; /* tests: instead of SMTP */
};

/* Takes the leases of its shards and reads where they stand. Keeps the config's references until queue_close. */
enum st queue_open(const struct queue_config *config, struct queue **out, struct err *e) MUST_USE;
/* Starts the threads that deliver. Without it the queue takes and administers, but nothing leaves. */
enum st queue_start(struct queue *q, struct err *e) MUST_USE;
/* Begins no more attempts, waits up to wait_ms for those under way, then breaks their connections and waits for the threads.
 * Entries whose attempts were broken stay in the queue. */
void queue_stop(struct queue *q, unsigned wait_ms);
void queue_close(struct queue *q); /* after queue_stop; drops the leases. NULL is fine */

/* One pass of everything that is due now, in the calling thread: tests and tools, instead of queue_start. *next_ms (may be NULL):
 * wall clock of the next due entry, 0 if there is none. */
enum st queue_run_once(struct queue *q, int64_t *next_ms, struct err *e) MUST_USE;

/* ---- administration ---- */

enum queue_recipient_state { QUEUE_PENDING = 1, QUEUE_DELIVERED, QUEUE_FAILED };

struct queue_recipient_info {
    struct str address;
    enum queue_recipient_state state;
    struct str status; /* the last reply or reason, one line; empty before the first attempt */
    struct str host;   /* that said so, or empty */
};
struct queue_info {
    char id[32];            /* "<message>.<number>", NUL-terminated */
    struct str sender;      /* empty for <> */
    struct str destination; /* domain; empty: local delivery */
    int64_t arrived_ms;     /* wall clock */
    int64_t next_ms;        /* next attempt; 0 while held */
    int64_t expires_ms;     /* returned to the sender then */
    uint64_t size;          /* bytes of the message */
    unsigned attempts;
    bool held, active; /* active: being delivered now */
    const struct queue_recipient_info *recipients;
    size_t count;
};

struct queue_filter {
    struct str sender, recipient; /* substring, ASCII case-insensitive; empty: any */
    struct str domain;            /* the whole destination; empty: any */
    bool held_only;
};
/* Visits entries in order of shard and arrival. The views live until visit returns; false stops. filter NULL: all. */
typedef bool queue_visit(void *context, const struct queue_info *info);
enum st queue_list(struct queue *q, const struct queue_filter *filter, queue_visit *visit, void *context, struct err *e) MUST_USE;
/* id: an entry, or a message: then all its entries. */
enum st queue_show(struct queue *q, struct str id, queue_visit *visit, void *context, struct err *e) MUST_USE;
/* Appends up to `length` bytes of the message from offset. */
enum st queue_read(struct queue *q, struct str id, uint64_t offset, size_t length, struct buf *out, struct err *e) MUST_USE;

enum queue_action {
    QUEUE_RETRY,   /* attempt now, also if the hosts did not answer a short while ago */
    QUEUE_HOLD,    /* no attempts and no expiry until released */
    QUEUE_RELEASE, /* attempt now */
    QUEUE_DROP,    /* forget it, tell nobody */
    QUEUE_BOUNCE,  /* give up now and report to the sender */
};
/* Does it to an entry, to all entries of a message, or (queue_act_all) to all that pass the filter. *done: how many. An entry that
 * is being delivered at this moment gets HOLD, DROP and BOUNCE when the attempt has ended without success; RETRY is met already. */
enum st queue_act(struct queue *q, struct str id, enum queue_action action, size_t *done, struct err *e) MUST_USE;
enum st queue_act_all(struct queue *q, const struct queue_filter *filter, enum queue_action action, size_t *done,
                      struct err *e) MUST_USE;
/* Forgets what is known of hosts that did not answer, and attempts everything that is not held now. */
enum st queue_flush(struct queue *q, size_t *done, struct err *e) MUST_USE;

struct queue_stats {
    uint64_t accepted;                    /* entries taken since the start */
    uint64_t delivered, deferred, failed; /* recipients, by attempts since the start */
    uint64_t reports;                     /* DSNs made */
    uint64_t entries;                     /* in the shards of this node, counted at open and kept up */
    uint64_t window, active, connections; /* entries in memory; under way; open connections */
    unsigned shards;                      /* owned */
};
void queue_stats(struct queue *q, struct queue_stats *out);

#endif
