/* One shard of the queue: a partition that this node owns under a lease, and its commit line. Threads that change the shard at the
 * same time are combined into one commit (one fsync); each learns its own result.
 *
 *   OWNED --commit cannot tell--> UNSURE --read again--> OWNED
 *     |                              |
 *     +--another node took over------+------> LOST (every commit gives ST_TEMP)
 *
 * Every commit writes a token, so that after a failure that cannot tell the shard reads whether it happened. If even that cannot be
 * read, the callers get ST_TEMP; entries that were to be added by that commit are removed as soon as the engine answers again,
 * since their senders were told to try again.
 *
 * Threads: any; the lock is not held across the engine. */
#ifndef QUEUE_SHARD_H
#define QUEUE_SHARD_H

#include <semaphore.h>

#include "kv/engine.h"
#include "queue/id.h"

enum {
    SHARDS_MAX = 65536,
    SHARD_NAME_MAX = 16,
    SHARD_KEY_MAX = 40,
    SHARD_OPS_MAX = 512, /* combined into one commit */
};

/* The fate of one entry in a commit. Views are borrowed until shard_commit returns. */
struct shard_change {
    struct queue_id id;
    struct str record; /* encoded; empty: the entry is removed */
    bool is_new;
    int64_t was_due_ms, due_ms; /* place in the time order before and after; 0: none (held, new, removed) */
    struct str domain;
    struct kv_blob_id blob;
};
struct shard_blob {
    struct kv_blob_id id;
    struct str bytes;
};
struct shard_op {
    const struct shard_change *changes;
    size_t count;
    const struct shard_blob *blobs; /* new bytes that the changes refer to */
    size_t blob_count;
    /* the commit line's */
    struct shard_op *next;
    sem_t wake; /* the result is there, or `lead` is set */
    bool lead;
    enum st result;
    struct err err;
};

struct shard;

/* Takes the lease and becomes the owner. ST_CONFLICT: another node has it. */
enum st shard_open(struct kv *kv, unsigned number, const char *node, unsigned lease_ms, struct shard **out, struct err *e) MUST_USE;
void shard_close(struct shard *s); /* drops the lease */
/* Renews the lease; ST_CONFLICT: lost. */
enum st shard_renew(struct shard *s, unsigned lease_ms, struct err *e) MUST_USE;
unsigned shard_number(const struct shard *s);
struct str shard_name(const struct shard *s);
bool shard_lost(struct shard *s);
uint64_t shard_entries(struct shard *s);

/* All of the op or nothing, durable on return. ST_TEMP: not done, or, if the engine could not even be asked, it will be undone. */
enum st shard_commit(struct shard *s, struct shard_op *op, struct err *e) MUST_USE;

/* ---- reading ---- */

enum st shard_get(struct shard *s, const struct queue_id *id, struct buf *record, struct err *e) MUST_USE;

/* A place in the time order. */
struct shard_due {
    int64_t due_ms;
    struct queue_id id;
};
int shard_due_cmp(const struct shard_due *a, const struct shard_due *b);
typedef bool shard_due_visit(void *context, const struct shard_due *at, struct str domain);
/* Entries from *from on, in time order; false stops. */
enum st shard_scan_due(struct shard *s, const struct shard_due *from, shard_due_visit *visit, void *context,
                       struct err *e) MUST_USE;
/* Entries from id on, by arrival. */
typedef bool shard_entry_visit(void *context, const struct queue_id *id, struct str record);
enum st shard_scan_entries(struct shard *s, const struct queue_id *from, shard_entry_visit *visit, void *context,
                           struct err *e) MUST_USE;

/* The number in "queue-1f"; false: not a shard's name. */
bool shard_name_parse(struct str name, unsigned *number);
void shard_name_print(unsigned number, char out[SHARD_NAME_MAX]);

#endif
