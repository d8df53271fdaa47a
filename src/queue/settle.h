/* Writing down what became of attempts: all that ended at about the same time by one commit for each shard.
 *
 * A connection need not wait for that: the settler, a thread, does it while the connection goes on with its next message. It begins
 * at once, and what ends during its commit is its next one. Until then the entry is busy, so it is not sent twice while the process
 * lives; a crash gives second copies of what had not been written (doc/formats/queue.md, "Attempts").
 *
 * Threads: any. */
#ifndef QUEUE_SETTLE_H
#define QUEUE_SETTLE_H

#include "queue/attempt.h"

enum { SETTLE_TOGETHER_MAX = 64 /* attempts of one commit, and that wait for the settler */ };

struct queue;
struct settler;

struct served { /* an attempt, on the heap */
    struct served *next;
    struct window_entry *entry; /* busy, by this attempt */
    struct attempt attempt;
};

/* Forgets a busy entry. due (may be NULL): where it is found again. */
void settle_release(struct queue *q, struct window_entry *entry, const struct shard_due *due);
/* Writes all results, releases the entries, frees the list's members. Blocks until it is done, or given up: then the entry stays
 * busy, and this process does not send it again. Changes the order of list. At most SETTLE_TOGETHER_MAX. */
void settle_now(struct queue *q, struct served **list, size_t count);

enum st settler_start(struct queue *q, struct settler **out, struct err *e) MUST_USE;
/* Takes it. False: more than enough waits already (the engine is slow or fails); it stays the caller's, to settle now. */
bool settler_take(struct settler *s, struct served **served);
/* Settles what it has, ends the thread, frees. Nobody gives it anything any more. NULL is fine. */
void settler_stop(struct settler *s);

#endif
