/* What an engine implements, and what engine.c gives to all of them: argument checks, batches, watches, leases, counters.
 *
 * An engine embeds `struct kv` as its first member and fills a `struct kv_engine`. Its functions get checked arguments: partition
 * names are valid, keys and batches within the limits. They may be called from any thread at once; engine.c lets close() start only
 * after all other calls have returned. */
#ifndef KV_ENGINE_INTERNAL_H
#define KV_ENGINE_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>

#include "kv/engine.h"
#include "kv/local.h"

enum kv_op_kind { KV_OP_PUT, KV_OP_DELETE, KV_OP_DELETE_RANGE, KV_OP_BLOB, KV_OP_LINK, KV_OP_UNLINK };

/* One operation. Its key (of a range: from; of a blob: the id) and its value (of a range: to) lie one after the other in
 * kv_batch.bytes, from `at`. */
struct kv_op {
    enum kv_op_kind kind;
    uint32_t key_n, value_n;
    size_t at;
    struct str blob; /* KV_OP_BLOB: the caller's bytes */
    bool superseded; /* KV_OP_UNLINK: a later operation of the batch links the blob again */
};

struct kv_batch {
    struct buf bytes;
    struct kv_op *ops;
    size_t count, cap;
    size_t blob_ops; /* how many of the ops are BLOB, LINK or UNLINK */
    size_t unlinks;  /* how many are UNLINK */
    bool relinks;    /* a BLOB or LINK came after an UNLINK */
    enum st failed;  /* ST_OK, or why no commit will take it */
    const char *why;
};

static inline struct str kv_op_key(const struct kv_batch *b, const struct kv_op *op)
{
    return (struct str){b->bytes.p + op->at, op->key_n};
}
static inline struct str kv_op_value(const struct kv_batch *b, const struct kv_op *op)
{
    return (struct str){b->bytes.p + op->at + op->key_n, op->value_n};
}
static inline bool kv_op_is_blob(const struct kv_op *op) { return op->kind >= KV_OP_BLOB; }

/* The steps of a commit, in this order. An engine with transactions does them at once; the fault engine does them one by one, as
 * an engine without transactions (RADOS) must. */
enum kv_step {
    KV_STEP_LINKS = 1 << 0, /* blobs stored, links made */
    KV_STEP_KEYS = 1 << 1,  /* the version checked, keys written, the version raised */
    KV_STEP_UNLINKS = 1 << 2,
    KV_STEP_ALL = KV_STEP_LINKS | KV_STEP_KEYS | KV_STEP_UNLINKS,
};

/* The step that carries an operation out; 0 for one that is superseded. */
unsigned kv_op_step(const struct kv_op *op);

struct kv_engine {
    const char *name;
    void (*close)(struct kv *kv); /* frees kv */
    enum st (*get)(struct kv *kv, struct str partition, struct str key, struct buf *value, struct err *e);
    enum st (*version)(struct kv *kv, struct str partition, uint64_t *version, struct err *e);
    enum st (*scan)(struct kv *kv, struct str partition, struct str from, struct str to, kv_visit *visit, void *context,
                    struct err *e);
    enum st (*partitions)(struct kv *kv, struct str prefix, kv_visit_partition *visit, void *context, struct err *e);
    /* steps: bits of enum kv_step. Without KV_STEP_KEYS the version is checked all the same, but not raised, except that
     * KV_STEP_UNLINKS alone checks nothing. */
    enum st (*commit)(struct kv *kv, struct str partition, const struct kv_batch *b, uint64_t expected, unsigned steps,
                      struct err *e);
    enum st (*partition_drop)(struct kv *kv, struct str partition, struct err *e);
    enum st (*blob_size)(struct kv *kv, const struct kv_blob_id *id, uint64_t *size, struct err *e);
    enum st (*blob_read)(struct kv *kv, const struct kv_blob_id *id, uint64_t offset, size_t length, struct buf *out,
                         struct err *e);
    enum st (*blob_read_together)(struct kv *kv, struct kv_blob_place *places, size_t count, struct buf *out, struct err *e);
    enum st (*blobs)(struct kv *kv, const struct kv_blob_id *after, kv_visit_blob *visit, void *context, struct err *e);
    enum st (*links)(struct kv *kv, kv_visit_link *visit, void *context, struct err *e);
    enum st (*collect)(struct kv *kv, int64_t before_ms, size_t max_blobs, size_t *collected, struct err *e);
    enum st (*lease_take)(struct kv *kv, struct str name, struct str holder, unsigned ttl_ms, uint64_t *epoch, struct err *e);
    enum st (*lease_drop)(struct kv *kv, struct str name, struct str holder, struct err *e);
    enum st (*backup)(struct kv *kv, const char *path, struct err *e);
};

struct kv {
    const struct kv_engine *engine;
    struct kv_watches watches;
    _Atomic uint64_t gets, scans, commits, conflicts, failures, bytes_written, blobs_written;
    atomic_uint running; /* calls in progress */
};

void kv_init(struct kv *kv, const struct kv_engine *engine);
void kv_release(struct kv *kv);

/* The constructors that kv_open chooses from. */
enum st kv_memory_open(const struct kv_config *config, struct kv **out, struct err *e) MUST_USE;
enum st kv_rocksdb_open(const struct kv_config *config, struct kv **out, struct err *e) MUST_USE;

#endif
