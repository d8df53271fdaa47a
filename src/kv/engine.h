/* The storage engine contract. The weakest engine (RADOS) sets it, so that one machine and a thousand run the same code.
 *
 * partition  an ordered map of binary keys to values, with a version. Keys compare bytewise. A commit applies all of its batch or
 *            nothing, is durable on return, and is refused with ST_CONFLICT unless the partition's version is the expected one;
 *            it makes the version expected + 1. Nothing is atomic across partitions. A partition that was never written has
 *            version 0 and no keys.
 * blob       bytes written once, named by their SHA-256, read by range. Blobs given with a batch are durable before its commit.
 *            A blob lives while at least one partition links it; an unlinked blob is collected after a grace period, never at once.
 * watch      a best-effort beacon that a partition changed; may be lost, doubled, late. The truth is read from the partition.
 * lease      a named lock that expires, with an epoch that only grows.
 *
 * Limits, for every engine: KV_* below; beyond them ST_LIMIT. Threads: every function may be called from any thread at once, but a
 * kv_batch belongs to one. Functions block on I/O; hold no lock of another module across them.
 * Errors: ST_TEMP (I/O, disk full, cluster not reachable: nothing or all of the commit happened; re-read the version to know),
 * ST_CONFLICT, ST_NOTFOUND, ST_LIMIT, ST_CORRUPT (checksum), ST_PERM (malformed name, empty key). After ST_TEMP from kv_commit the
 * caller must re-read the partition. What it then reads is final: a commit that is not there does not come back. While the engine
 * cannot know, reading that partition gives ST_TEMP, too. */
#ifndef KV_ENGINE_H
#define KV_ENGINE_H

#include "base/buf.h"
#include "base/err.h"

enum {
    KV_PARTITION_NAME_MAX = 64,    /* bytes: lower case letters, digits, '-' and '.' */
    KV_KEY_MAX = 512,              /* bytes */
    KV_VALUE_MAX = 1 << 20,        /* bytes */
    KV_BATCH_MAX_BYTES = 64 << 20, /* keys and values of one batch, blobs not counted */
    KV_BATCH_MAX_OPS = 200000,
    KV_BLOB_ID_SIZE = 32, /* SHA-256 */
};
#define KV_BLOB_MAX ((uint64_t)1 << 31) /* bytes */

struct kv;       /* an open engine */
struct kv_batch; /* the changes of one commit, in memory */

struct kv_blob_id {
    uint8_t sha256[KV_BLOB_ID_SIZE];
};

struct kv_config {
    const char *engine;          /* "rocksdb", "memory" (and "rados" where it is built in) */
    const char *path;            /* data directory (rocksdb), created if missing; ignored by memory */
    uint64_t cache_bytes;        /* block cache; 0 = the engine's default */
    uint64_t blob_cache_bytes;   /* pieces of blobs as they were read (rocksdb); 0 = the engine's default */
    unsigned background_threads; /* compaction and flush; 0 = the engine's default */
    uint64_t disk_reserve_bytes; /* with less free room on the disk mail is refused with ST_TEMP (rocksdb); 0 = the default */
};

enum st kv_open(const struct kv_config *config, struct kv **out, struct err *e) MUST_USE;
void kv_close(struct kv *kv); /* waits for running calls of other threads; NULL is fine */

/* ---- reading ---- */

/* Appends the value to *value. ST_NOTFOUND if there is no such key (value untouched). */
enum st kv_get(struct kv *kv, struct str partition, struct str key, struct buf *value, struct err *e) MUST_USE;
enum st kv_version(struct kv *kv, struct str partition, uint64_t *version, struct err *e) MUST_USE;

/* Calls visit for the keys of [from, to) in order; an empty `to` is the end of the partition. The views live until visit
 * returns; visit may call kv_get and kv_scan, not kv_commit. Returns ST_OK also when visit stopped it (false). A scan sees, for
 * each page of an unspecified size, a state that existed; it may straddle commits. */
typedef bool kv_visit(void *context, struct str key, struct str value);
enum st kv_scan(struct kv *kv, struct str partition, struct str from, struct str to, kv_visit *visit, void *context,
                struct err *e) MUST_USE;

/* Names of all partitions that start with prefix, in order. For fsck, backup and background work, not for serving. */
typedef bool kv_visit_partition(void *context, struct str partition, uint64_t version);
enum st kv_partitions(struct kv *kv, struct str prefix, kv_visit_partition *visit, void *context, struct err *e) MUST_USE;

/* ---- writing ---- */

struct kv_batch *kv_batch_new(struct kv *kv); /* NULL without memory */
void kv_batch_free(struct kv_batch *b);
void kv_batch_clear(struct kv_batch *b); /* ready for the next one */

/* Keys and values are copied. Errors (memory, limits) are kept in the batch and returned by kv_commit. A later operation on the
 * same key wins. */
void kv_batch_put(struct kv_batch *b, struct str key, struct str value);
void kv_batch_delete(struct kv_batch *b, struct str key);
void kv_batch_delete_range(struct kv_batch *b, struct str from, struct str to); /* [from, to), as of this commit */

/* Stores `bytes` (borrowed until kv_commit returns; may be a mapped file) under its id, which the caller computed with
 * kv_blob_id_of, and links it to the partition of the commit. Storing a blob that exists costs one read. */
void kv_batch_blob(struct kv_batch *b, const struct kv_blob_id *id, struct str bytes);
/* Links or unlinks an existing blob; kv_commit gives ST_NOTFOUND if the blob to link is gone. Links are a set per (partition,
 * blob), not a count: the caller counts its references. Links are made durable before the commit, unlinks after it, so a crash
 * leaves at most a link too many, which fsck and the collector repair. */
void kv_batch_link(struct kv_batch *b, const struct kv_blob_id *id);
void kv_batch_unlink(struct kv_batch *b, const struct kv_blob_id *id);

/* Applies the batch if the partition has version `expected`, durably. The batch stays the caller's and unchanged. */
enum st kv_commit(struct kv *kv, struct str partition, struct kv_batch *b, uint64_t expected, struct err *e) MUST_USE;

/* Deletes a partition, its links and its version (it is as if never written). For removing an account; repeatable after a crash. */
enum st kv_partition_drop(struct kv *kv, struct str partition, struct err *e) MUST_USE;

/* ---- blobs ---- */

struct kv_blob_id kv_blob_id_of(struct str bytes);
enum st kv_blob_size(struct kv *kv, const struct kv_blob_id *id, uint64_t *size, struct err *e) MUST_USE;
/* Appends up to `length` bytes from `offset`; fewer at the end of the blob. */
enum st kv_blob_read(struct kv *kv, const struct kv_blob_id *id, uint64_t offset, size_t length, struct buf *out,
                     struct err *e) MUST_USE;

/* Reads small blobs whole in one go, which costs an engine less than one after the other. They are appended to *out in this order;
 * not found is also what is empty, larger than KV_TOGETHER_BYTES, damaged, or does not fit any more: kv_blob_read tells. */
enum { KV_TOGETHER_MAX = 64, KV_TOGETHER_BYTES = 64 << 10 };
struct kv_blob_place {
    struct kv_blob_id id; /* in */
    bool found;           /* out */
    size_t at, n;         /* out: where in *out */
};
enum st kv_blob_read_together(struct kv *kv, struct kv_blob_place *places, size_t count, struct buf *out, struct err *e) MUST_USE;

struct kv_blob_info {
    struct kv_blob_id id;
    uint64_t size;
    int64_t written_ms; /* wall clock of the last kv_batch_blob of it */
    uint32_t links;     /* number of partitions that link it, saturating */
};
typedef bool kv_visit_blob(void *context, const struct kv_blob_info *info);
/* All blobs with id > *after (NULL: all), in order. */
enum st kv_blobs(struct kv *kv, const struct kv_blob_id *after, kv_visit_blob *visit, void *context, struct err *e) MUST_USE;
typedef bool kv_visit_link(void *context, const struct kv_blob_id *id, struct str partition);
enum st kv_links(struct kv *kv, kv_visit_link *visit, void *context, struct err *e) MUST_USE;
/* Deletes blobs without links that were written, and lost a link, before `before_ms`; looks at no more than `max_blobs` a call,
 * going on where the last call stopped. Safe against a concurrent kv_batch_blob or link of the same blob. *collected may be NULL.
 */
enum st kv_collect(struct kv *kv, int64_t before_ms, size_t max_blobs, size_t *collected, struct err *e) MUST_USE;
/* Reads a blob whole and compares its digest: ST_CORRUPT if it differs. */
enum st kv_blob_verify(struct kv *kv, const struct kv_blob_id *id, struct err *e) MUST_USE;

/* ---- watch, lease, backup ---- */

struct kv_watch;
/* `fn` is called from any thread, must be quick, and may be called until kv_unwatch has returned. It must not call kv_watch,
 * kv_unwatch or kv_notify, nor take a lock that is held around kv_unwatch. */
typedef void kv_notified(void *context, struct str partition);
enum st kv_watch(struct kv *kv, struct str partition, kv_notified *fn, void *context, struct kv_watch **out,
                 struct err *e) MUST_USE;
void kv_unwatch(struct kv_watch *w);
void kv_notify(struct kv *kv, struct str partition);

/* Takes or renews the lease `name` for `holder` (both as partition names) for ttl_ms. ST_CONFLICT while another holds it. *epoch
 * grows with each change of holder. */
enum st kv_lease_take(struct kv *kv, struct str name, struct str holder, unsigned ttl_ms, uint64_t *epoch, struct err *e) MUST_USE;
enum st kv_lease_drop(struct kv *kv, struct str name, struct str holder, struct err *e) MUST_USE;

/* A consistent copy of everything into the new directory `path` while the engine runs. */
enum st kv_backup(struct kv *kv, const char *path, struct err *e) MUST_USE;

struct kv_stats {
    uint64_t gets, scans, commits, conflicts, failures, bytes_written, blobs_written;
};
void kv_stats(struct kv *kv, struct kv_stats *out);

#endif
