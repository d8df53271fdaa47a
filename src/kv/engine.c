#include "kv/engine.h"

#include <openssl/evp.h>
#include <stdlib.h>
#include <time.h>

#include "base/check.h"
#include "kv/engine_internal.h"

enum { VERIFY_STEP = 256 << 10 };

/* ---- opening and closing ---- */

enum st kv_open(const struct kv_config *config, struct kv **out, struct err *e)
{
    static const struct {
        const char *name;
        enum st (*open)(const struct kv_config *, struct kv **, struct err *);
    } engines[] = {{"memory", kv_memory_open}, {"rocksdb", kv_rocksdb_open}};
    *out = NULL;
    for (size_t i = 0; i < sizeof engines / sizeof engines[0]; i++)
        if (str_eq(str_of(engines[i].name), str_of(config->engine)))
            return engines[i].open(config, out, e);
    return ERR(e, ST_PERM, "unknown storage engine", "unknown storage engine \"%s\"", config->engine ? config->engine : "");
}

void kv_init(struct kv *kv, const struct kv_engine *engine)
{
    kv->engine = engine;
    kv_watches_init(&kv->watches);
}

void kv_release(struct kv *kv) { kv_watches_release(&kv->watches); }

void kv_close(struct kv *kv)
{
    if (!kv)
        return;
    while (atomic_load(&kv->running) > 0) /* real time, also where the clock is simulated: it waits for threads */
        nanosleep(&(struct timespec){0, 1000000}, NULL);
    kv->engine->close(kv);
}

static void enter(struct kv *kv) { atomic_fetch_add(&kv->running, 1); }

static enum st leave(struct kv *kv, enum st s)
{
    if (s != ST_OK && s != ST_NOTFOUND && s != ST_CONFLICT)
        atomic_fetch_add_explicit(&kv->failures, 1, memory_order_relaxed);
    atomic_fetch_sub(&kv->running, 1);
    return s;
}

static void count(_Atomic uint64_t *counter, uint64_t n) { atomic_fetch_add_explicit(counter, n, memory_order_relaxed); }

static bool is_name(struct str s)
{
    if (s.n == 0 || s.n > KV_PARTITION_NAME_MAX)
        return false;
    for (size_t i = 0; i < s.n; i++) {
        char c = s.p[i];
        if (!(c >= 'a' && c <= 'z') && !ascii_digit(c) && c != '-' && c != '.')
            return false;
    }
    return true;
}

static enum st check_name(struct str partition, struct err *e)
{
    ENSURE(is_name(partition), e, ST_PERM, "bad partition name \"%.*s\"", STR_FMT(str_upto(partition, KV_PARTITION_NAME_MAX)));
    return ST_OK;
}

static enum st check_key(struct str key, struct err *e)
{
    ENSURE(key.n > 0, e, ST_PERM, "empty key");
    ENSURE(key.n <= KV_KEY_MAX, e, ST_LIMIT, "key of %zu bytes is too long", key.n);
    return ST_OK;
}

/* The end of a range may be a key with one byte more, which is how "after this key" is said. */
static enum st check_bound(struct str bound, struct err *e)
{
    ENSURE(bound.n <= KV_KEY_MAX + 1, e, ST_LIMIT, "range bound of %zu bytes is too long", bound.n);
    return ST_OK;
}

/* ---- reading ---- */

enum st kv_get(struct kv *kv, struct str partition, struct str key, struct buf *value, struct err *e)
{
    TRY(check_name(partition, e));
    TRY(check_key(key, e));
    count(&kv->gets, 1);
    enter(kv);
    return leave(kv, kv->engine->get(kv, partition, key, value, e));
}

enum st kv_version(struct kv *kv, struct str partition, uint64_t *version, struct err *e)
{
    TRY(check_name(partition, e));
    count(&kv->gets, 1);
    enter(kv);
    return leave(kv, kv->engine->version(kv, partition, version, e));
}

enum st kv_scan(struct kv *kv, struct str partition, struct str from, struct str to, kv_visit *visit, void *context, struct err *e)
{
    TRY(check_name(partition, e));
    TRY(check_bound(from, e));
    TRY(check_bound(to, e));
    count(&kv->scans, 1);
    if (to.n > 0 && str_cmp(from, to) >= 0)
        return ST_OK;
    enter(kv);
    return leave(kv, kv->engine->scan(kv, partition, from, to, visit, context, e));
}

enum st kv_partitions(struct kv *kv, struct str prefix, kv_visit_partition *visit, void *context, struct err *e)
{
    if (prefix.n > 0)
        TRY(check_name(prefix, e));
    enter(kv);
    return leave(kv, kv->engine->partitions(kv, prefix, visit, context, e));
}

/* ---- batches ---- */

struct kv_batch *kv_batch_new(struct kv *kv)
{
    (void)kv;
    struct kv_batch *b = calloc(1, sizeof *b);
    if (b)
        buf_init(&b->bytes, KV_BATCH_MAX_BYTES);
    return b;
}

void kv_batch_free(struct kv_batch *b)
{
    if (!b)
        return;
    buf_release(&b->bytes);
    free(b->ops);
    free(b);
}

void kv_batch_clear(struct kv_batch *b)
{
    buf_clear(&b->bytes);
    b->count = b->blob_ops = b->unlinks = 0;
    b->relinks = false;
    b->failed = ST_OK;
    b->why = NULL;
}

static void batch_fail(struct kv_batch *b, enum st class, const char *why)
{
    if (b->failed != ST_OK)
        return;
    b->failed = class;
    b->why = why;
}

static bool batch_grow(struct kv_batch *b)
{
    if (b->count >= KV_BATCH_MAX_OPS) {
        batch_fail(b, ST_LIMIT, "too many operations in one commit");
        return false;
    }
    if (b->count < b->cap)
        return true;
    size_t cap = b->cap ? b->cap * 2 : 16;
    struct kv_op *ops = reallocarray(b->ops, cap, sizeof *ops);
    if (!ops) {
        batch_fail(b, ST_TEMP, "out of memory");
        return false;
    }
    b->ops = ops;
    b->cap = cap;
    return true;
}

static struct kv_op *batch_add(struct kv_batch *b, enum kv_op_kind kind, struct str key, struct str value)
{
    if (b->failed != ST_OK || !batch_grow(b))
        return NULL;
    size_t at = b->bytes.n;
    bool fits = key.n + value.n <= buf_room(&b->bytes);
    buf_add(&b->bytes, key);
    buf_add(&b->bytes, value);
    if (!buf_ok(&b->bytes)) {
        batch_fail(b, fits ? ST_TEMP : ST_LIMIT, fits ? "out of memory" : "too many bytes in one commit");
        return NULL;
    }
    struct kv_op *op = &b->ops[b->count++];
    *op = (struct kv_op){.kind = kind, .key_n = (uint32_t)key.n, .value_n = (uint32_t)value.n, .at = at};
    b->blob_ops += kv_op_is_blob(op);
    b->unlinks += kind == KV_OP_UNLINK;
    b->relinks |= b->unlinks > 0 && (kind == KV_OP_BLOB || kind == KV_OP_LINK);
    return op;
}

static bool batch_key_ok(struct kv_batch *b, struct str key)
{
    if (key.n == 0)
        batch_fail(b, ST_PERM, "empty key");
    if (key.n > KV_KEY_MAX)
        batch_fail(b, ST_LIMIT, "key too long");
    return b->failed == ST_OK;
}

void kv_batch_put(struct kv_batch *b, struct str key, struct str value)
{
    if (value.n > KV_VALUE_MAX)
        batch_fail(b, ST_LIMIT, "value too long");
    if (batch_key_ok(b, key))
        batch_add(b, KV_OP_PUT, key, value);
}

void kv_batch_delete(struct kv_batch *b, struct str key)
{
    if (batch_key_ok(b, key))
        batch_add(b, KV_OP_DELETE, key, STR_NONE);
}

void kv_batch_delete_range(struct kv_batch *b, struct str from, struct str to)
{
    if (from.n > KV_KEY_MAX + 1 || to.n > KV_KEY_MAX + 1)
        batch_fail(b, ST_LIMIT, "range bound too long");
    else if (to.n == 0 || str_cmp(from, to) < 0)
        batch_add(b, KV_OP_DELETE_RANGE, from, to);
}

static struct str id_str(const struct kv_blob_id *id) { return str_make(id->sha256, sizeof id->sha256); }

void kv_batch_blob(struct kv_batch *b, const struct kv_blob_id *id, struct str bytes)
{
    if (bytes.n > KV_BLOB_MAX)
        batch_fail(b, ST_LIMIT, "blob too long");
    struct kv_op *op = batch_add(b, KV_OP_BLOB, id_str(id), STR_NONE);
    if (op)
        op->blob = bytes;
}

void kv_batch_link(struct kv_batch *b, const struct kv_blob_id *id) { batch_add(b, KV_OP_LINK, id_str(id), STR_NONE); }
void kv_batch_unlink(struct kv_batch *b, const struct kv_blob_id *id) { batch_add(b, KV_OP_UNLINK, id_str(id), STR_NONE); }

unsigned kv_op_step(const struct kv_op *op)
{
    switch (op->kind) {
    case KV_OP_PUT:
    case KV_OP_DELETE:
    case KV_OP_DELETE_RANGE:
        return KV_STEP_KEYS;
    case KV_OP_BLOB:
    case KV_OP_LINK:
        return KV_STEP_LINKS;
    case KV_OP_UNLINK:
        return op->superseded ? 0 : KV_STEP_UNLINKS;
    }
    return 0;
}

static int compare_blob_ops(const void *x, const void *y, void *batch)
{
    const size_t *a = x, *b = y;
    const struct kv_batch *all = batch;
    int c = str_cmp(kv_op_key(all, &all->ops[*a]), kv_op_key(all, &all->ops[*b]));
    return c ? c : (*a > *b) - (*a < *b);
}

/* Unlinks are carried out after links, so an unlink that a later link of the same blob takes back must be dropped. */
static enum st settle_links(struct kv_batch *b, struct err *e)
{
    if (!b->relinks)
        return ST_OK;
    size_t *order = calloc(b->blob_ops, sizeof *order), n = 0;
    ENSURE(order, e, ST_TEMP, "out of memory");
    for (size_t i = 0; i < b->count; i++)
        if (kv_op_is_blob(&b->ops[i]))
            order[n++] = i;
    qsort_r(order, n, sizeof *order, compare_blob_ops, b);
    for (size_t i = n; i-- > 1;) { /* from the last operation of each blob to its first */
        struct kv_op *op = &b->ops[order[i - 1]], *later = &b->ops[order[i]];
        bool linked_later = later->kind != KV_OP_UNLINK || later->superseded;
        if (op->kind == KV_OP_UNLINK)
            op->superseded = linked_later && str_eq(kv_op_key(b, op), kv_op_key(b, later));
    }
    free(order);
    return ST_OK;
}

static void count_commit(struct kv *kv, const struct kv_batch *b, enum st s)
{
    if (s == ST_CONFLICT)
        count(&kv->conflicts, 1);
    if (s != ST_OK)
        return;
    uint64_t bytes = b->bytes.n, blobs = 0;
    for (size_t i = 0; b->blob_ops && i < b->count; i++)
        if (b->ops[i].kind == KV_OP_BLOB) {
            bytes += b->ops[i].blob.n;
            blobs++;
        }
    count(&kv->commits, 1);
    count(&kv->bytes_written, bytes);
    count(&kv->blobs_written, blobs);
}

enum st kv_commit(struct kv *kv, struct str partition, struct kv_batch *b, uint64_t expected, struct err *e)
{
    TRY(check_name(partition, e));
    ENSURE(b->failed == ST_OK, e, b->failed, "%s", b->why);
    ENSURE(expected < UINT64_MAX, e, ST_PERM, "partition version out of range");
    TRY(settle_links(b, e));
    enter(kv);
    enum st s = kv->engine->commit(kv, partition, b, expected, KV_STEP_ALL, e);
    count_commit(kv, b, s);
    return leave(kv, s);
}

enum st kv_partition_drop(struct kv *kv, struct str partition, struct err *e)
{
    TRY(check_name(partition, e));
    enter(kv);
    return leave(kv, kv->engine->partition_drop(kv, partition, e));
}

/* ---- blobs ---- */

struct kv_blob_id kv_blob_id_of(struct str bytes)
{
    struct kv_blob_id id;
    unsigned n = 0;
    int done = EVP_Digest(bytes.p, bytes.n, id.sha256, &n, EVP_sha256(), NULL);
    check(done == 1 && n == sizeof id.sha256); /* fails only without memory or without the algorithm */
    return id;
}

enum st kv_blob_size(struct kv *kv, const struct kv_blob_id *id, uint64_t *size, struct err *e)
{
    enter(kv);
    return leave(kv, kv->engine->blob_size(kv, id, size, e));
}

enum st kv_blob_read(struct kv *kv, const struct kv_blob_id *id, uint64_t offset, size_t length, struct buf *out, struct err *e)
{
    count(&kv->gets, 1);
    enter(kv);
    return leave(kv, kv->engine->blob_read(kv, id, offset, length, out, e));
}

enum st kv_blob_read_together(struct kv *kv, struct kv_blob_place *places, size_t count, struct buf *out, struct err *e)
{
    ENSURE(count <= KV_TOGETHER_MAX, e, ST_LIMIT, "too many blobs to read together");
    if (count == 0)
        return ST_OK;
    atomic_fetch_add_explicit(&kv->gets, count, memory_order_relaxed);
    enter(kv);
    return leave(kv, kv->engine->blob_read_together(kv, places, count, out, e));
}

enum st kv_blobs(struct kv *kv, const struct kv_blob_id *after, kv_visit_blob *visit, void *context, struct err *e)
{
    enter(kv);
    return leave(kv, kv->engine->blobs(kv, after, visit, context, e));
}

enum st kv_links(struct kv *kv, kv_visit_link *visit, void *context, struct err *e)
{
    enter(kv);
    return leave(kv, kv->engine->links(kv, visit, context, e));
}

enum st kv_collect(struct kv *kv, int64_t before_ms, size_t max_blobs, size_t *collected, struct err *e)
{
    size_t n = 0;
    enter(kv);
    enum st s = kv->engine->collect(kv, before_ms, max_blobs, &n, e);
    if (collected)
        *collected = n;
    return leave(kv, s);
}

static enum st digest_blob(struct kv *kv, const struct kv_blob_id *id, EVP_MD_CTX *md, uint64_t size, struct err *e)
{
    DEFER(buf_release) struct buf piece = BUF_INIT(VERIFY_STEP);
    for (uint64_t at = 0; at < size; at += piece.n) {
        buf_clear(&piece);
        TRY(kv_blob_read(kv, id, at, VERIFY_STEP, &piece, e));
        ENSURE(piece.n > 0, e, ST_CORRUPT, "a blob is shorter than its size");
        ENSURE(EVP_DigestUpdate(md, piece.p, piece.n) == 1, e, ST_TEMP, "digest failed");
    }
    struct kv_blob_id got;
    unsigned n = 0;
    ENSURE(EVP_DigestFinal_ex(md, got.sha256, &n) == 1, e, ST_TEMP, "digest failed");
    ENSURE(memcmp(&got, id, sizeof got) == 0, e, ST_CORRUPT, "a blob does not match its digest");
    return ST_OK;
}

enum st kv_blob_verify(struct kv *kv, const struct kv_blob_id *id, struct err *e)
{
    uint64_t size;
    TRY(kv_blob_size(kv, id, &size, e));
    EVP_MD_CTX *md = EVP_MD_CTX_new();
    ENSURE(md, e, ST_TEMP, "out of memory");
    enum st s =
        EVP_DigestInit_ex(md, EVP_sha256(), NULL) == 1 ? digest_blob(kv, id, md, size, e) : ERR_PUBLIC(e, ST_TEMP, "digest failed");
    EVP_MD_CTX_free(md);
    return s;
}

/* ---- watch, lease, backup ---- */

enum st kv_watch(struct kv *kv, struct str partition, kv_notified *fn, void *context, struct kv_watch **out, struct err *e)
{
    TRY(check_name(partition, e));
    return kv_watches_add(&kv->watches, partition, fn, context, out, e);
}

void kv_notify(struct kv *kv, struct str partition) { kv_watches_notify(&kv->watches, partition); }

enum st kv_lease_take(struct kv *kv, struct str name, struct str holder, unsigned ttl_ms, uint64_t *epoch, struct err *e)
{
    TRY(check_name(name, e));
    TRY(check_name(holder, e));
    enter(kv);
    return leave(kv, kv->engine->lease_take(kv, name, holder, ttl_ms, epoch, e));
}

enum st kv_lease_drop(struct kv *kv, struct str name, struct str holder, struct err *e)
{
    TRY(check_name(name, e));
    TRY(check_name(holder, e));
    enter(kv);
    return leave(kv, kv->engine->lease_drop(kv, name, holder, e));
}

enum st kv_backup(struct kv *kv, const char *path, struct err *e)
{
    enter(kv);
    return leave(kv, kv->engine->backup(kv, path, e));
}

void kv_stats(struct kv *kv, struct kv_stats *out)
{
    *out = (struct kv_stats){
        .gets = atomic_load(&kv->gets),
        .scans = atomic_load(&kv->scans),
        .commits = atomic_load(&kv->commits),
        .conflicts = atomic_load(&kv->conflicts),
        .failures = atomic_load(&kv->failures),
        .bytes_written = atomic_load(&kv->bytes_written),
        .blobs_written = atomic_load(&kv->blobs_written),
    };
}
