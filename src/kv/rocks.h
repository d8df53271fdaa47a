/* An open RocksDB database, as the parts of the rocksdb engine share it: handles, locks, error classes, opening, closing, and the
 * way back after a write error. The layout of keys is in doc/formats/rocksdb.md.
 *
 * Locks, in the order in which they may be taken:
 *   collect_lock        one collector at a time
 *   partition stripes   held from the check of the version until the commit is durable
 *   blob stripes        shared by commits that store, link or unlink a blob; exclusive (only tried, never waited for) by the
 *                       collector
 * After a write error RocksDB refuses all writes. When a disk was full it resumes by itself; if not, after a while, the database is
 * closed and opened again. After any other error nobody knows whether the commit is in the log, as far as the log is on the disk at
 * all, until the log was replayed. So the database is reopened at once, and the partitions whose commits were under way are *in
 * doubt* until then: they cannot be read, so that nobody sees a state that turns out not to be the one that came back. If the disk
 * takes no writes at all, the database stays open, for reading everything else. */
#ifndef KV_ROCKS_H
#define KV_ROCKS_H

#include <pthread.h>
#include <rocksdb/c.h>
#include <stdatomic.h>

#include "kv/engine_internal.h"

enum rocks_family {
    ROCKS_DEFAULT, /* "format", epochs of leases */
    ROCKS_META,    /* partitions: versions, keys, links by partition */
    ROCKS_INFO,    /* blobs: facts, uploads in progress, links by blob */
    ROCKS_CHUNK,   /* blobs: bytes */
    ROCKS_FAMILIES,
};

enum {
    ROCKS_FORMAT = 1,
    ROCKS_PARTITION_STRIPES = 1024,
    ROCKS_BLOB_STRIPES = 256,
    ROCKS_SPARE_BATCHES = 16,
};

struct rocks {
    struct kv kv;
    char *path;
    uint64_t disk_reserve;

    rocksdb_options_t *options[ROCKS_FAMILIES]; /* [ROCKS_DEFAULT] also holds those of the database */
    rocksdb_cache_t *cache, *unpacked;
    rocksdb_readoptions_t *read;
    rocksdb_writeoptions_t *write_sync, *write_nosync;

    rocksdb_t *db; /* NULL after a reopening that failed */
    rocksdb_column_family_handle_t *family[ROCKS_FAMILIES];

    /* the gate: calls inside the database, and whether it is shut to new ones */
    atomic_uint inside;
    atomic_bool shut;
    pthread_mutex_t reopen_lock;      /* one thread reopens */
    _Atomic int64_t failing_since_ms; /* first write error since the last success; 0: none. Monotonic clock */
    _Atomic int64_t next_reopen_ms;
    atomic_bool broken;                            /* since a write failed for another reason than a full disk */
    atomic_bool doubtful[ROCKS_PARTITION_STRIPES]; /* counts only while broken: set during every write */
    int64_t reopen_after_ms;                       /* how long RocksDB is given to resume by itself */
    _Atomic int64_t next_disk_check_ms;
    _Atomic uint64_t disk_free, written_since_check; /* bytes; disk_free is one more, and 0 while it is not known */

    pthread_mutex_t partition_stripe[ROCKS_PARTITION_STRIPES];
    pthread_rwlock_t blob_stripe[ROCKS_BLOB_STRIPES];
    struct kv_leases leases;

    pthread_mutex_t spare_lock;
    rocksdb_writebatch_t *spare[ROCKS_SPARE_BATCHES]; /* empty ones that have their memory: a large one is costly to grow */
    size_t spare_count;                               /* under spare_lock */

    pthread_mutex_t collect_lock;
    struct kv_blob_id collect_after; /* under collect_lock */
    bool collect_started;
};

static inline struct rocks *rocks_of(struct kv *kv) { return (struct rocks *)kv; }

enum st rocks_new(const struct kv_config *config, const struct kv_engine *engine, struct rocks **out, struct err *e) MUST_USE;
void rocks_free(struct rocks *r);

/* Every call of the engine is between these two. ST_TEMP while the database is being reopened. A writing call may have to reopen
 * it, waits for all others to leave, and therefore comes neither from within a scan nor with a lock held. */
enum rocks_intent { ROCKS_READ, ROCKS_WRITE };
enum st rocks_enter(struct rocks *r, enum rocks_intent intent, struct err *e) MUST_USE;
void rocks_leave(struct rocks *r);
/* The same for a call on a partition: ST_TEMP also while it is in doubt. */
enum st rocks_enter_partition(struct rocks *r, enum rocks_intent intent, struct str partition, struct err *e) MUST_USE;
/* After a write that failed, outside of enter and leave: reopens the database if it is broken, so that the truth can be read. */
void rocks_recover(struct rocks *r);

/* ST_TEMP if there is less room on the disk than the reserve (for what adds mail), or than a quarter of it (for the rest, so that
 * mail can still be deleted). RocksDB needs room to delete, and is kept from running into a full disk. */
enum st rocks_room(struct rocks *r, bool adds_mail, struct err *e) MUST_USE;

/* Maps an error string of the library, frees it, and returns the class. NULL is ST_OK. */
enum st rocks_error(const char *doing, char *error, struct err *e) MUST_USE;

/* An empty batch, and its end. */
rocksdb_writebatch_t *rocks_batch_take(struct rocks *r);
void rocks_batch_give(struct rocks *r, rocksdb_writebatch_t *batch);

/* Writes the batch; sync: durable on return. Errors are ST_TEMP. Counts the bytes for rocks_room. */
enum st rocks_write(struct rocks *r, rocksdb_writebatch_t *batch, bool sync, struct err *e) MUST_USE;
/* The same for the commit of a partition, which is in doubt after an error that leaves its fate open. */
enum st rocks_write_partition(struct rocks *r, rocksdb_writebatch_t *batch, struct str partition, struct err *e) MUST_USE;

/* ST_NOTFOUND, or *value, which the caller destroys. `e` gets no text for ST_NOTFOUND. */
enum st rocks_get(struct rocks *r, enum rocks_family family, struct str key, rocksdb_pinnableslice_t **value,
                  struct err *e) MUST_USE;
static inline struct str rocks_value(const rocksdb_pinnableslice_t *v)
{
    struct str s;
    s.p = rocksdb_pinnableslice_value(v, &s.n);
    return s;
}

/* An iterator over [from, to), an empty bound being none. prefix: the range lies within one partition or blob, so that filters
 * can be used. `to` must live as long as the iterator. */
struct rocks_iterator {
    rocksdb_iterator_t *it;
    rocksdb_readoptions_t *options;
};
struct rocks_iterator rocks_iterate(struct rocks *r, enum rocks_family family, struct str from, struct str to, bool prefix);
void rocks_iterator_release(struct rocks_iterator *i);
static inline struct str rocks_iterator_key(const struct rocks_iterator *i)
{
    struct str s;
    s.p = rocksdb_iter_key(i->it, &s.n);
    return s;
}
static inline struct str rocks_iterator_value(const struct rocks_iterator *i)
{
    struct str s;
    s.p = rocksdb_iter_value(i->it, &s.n);
    return s;
}
enum st rocks_iterator_error(const struct rocks_iterator *i, struct err *e) MUST_USE; /* after the last key */

/* The blob stripes of a commit, each locked once. */
struct rocks_stripes {
    uint64_t bits[ROCKS_BLOB_STRIPES / 64];
};
static inline unsigned rocks_blob_stripe(struct str id) { return (unsigned char)id.p[0]; } /* SHA-256: evenly spread */
static inline void rocks_stripes_add(struct rocks_stripes *s, struct str id)
{
    unsigned i = rocks_blob_stripe(id);
    s->bits[i / 64] |= (uint64_t)1 << i % 64;
}
void rocks_stripes_lock(struct rocks *r, const struct rocks_stripes *s); /* shared */
void rocks_stripes_unlock(struct rocks *r, const struct rocks_stripes *s);
static inline pthread_mutex_t *rocks_partition_lock(struct rocks *r, struct str partition)
{
    return &r->partition_stripe[str_hash(partition) % ROCKS_PARTITION_STRIPES];
}

#endif
