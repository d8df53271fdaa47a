/* The embedded engine: RocksDB. Here: reading, leases, backup. Commits in rocks_commit.c, blobs in rocks_blob.c, the database in
 * rocks.c. */
#include <unistd.h>

#include "kv/rocks.h"
#include "kv/rocks_blob.h"
#include "kv/rocks_commit.h"
#include "kv/rocks_key.h"

/* ---- reading ---- */

static enum st get_inside(struct rocks *r, struct str partition, struct str key, struct buf *value, struct err *e)
{
    struct rocks_key k = rocks_key_meta(partition, ROCKS_KIND_KEY, key);
    rocksdb_pinnableslice_t *v;
    enum st s = rocks_get(r, ROCKS_META, rocks_key_str(&k), &v, e);
    ENSURE(s != ST_NOTFOUND, e, ST_NOTFOUND, "no such key");
    TRY(s);
    buf_add(value, rocks_value(v));
    rocksdb_pinnableslice_destroy(v);
    ENSURE(buf_ok(value), e, ST_LIMIT, "value does not fit");
    return ST_OK;
}

static enum st engine_get(struct kv *kv, struct str partition, struct str key, struct buf *value, struct err *e)
{
    struct rocks *r = rocks_of(kv);
    TRY(rocks_enter_partition(r, ROCKS_READ, partition, e));
    enum st s = get_inside(r, partition, key, value, e);
    rocks_leave(r);
    return s;
}

static enum st engine_version(struct kv *kv, struct str partition, uint64_t *version, struct err *e)
{
    struct rocks *r = rocks_of(kv);
    TRY(rocks_enter_partition(r, ROCKS_READ, partition, e));
    enum st s = rocks_commit_version(r, partition, version, e);
    rocks_leave(r);
    return s;
}

static enum st engine_scan(struct kv *kv, struct str partition, struct str from, struct str to, kv_visit *visit, void *context,
                           struct err *e)
{
    struct rocks *r = rocks_of(kv);
    struct rocks_key first = rocks_key_meta(partition, ROCKS_KIND_KEY, from);
    struct rocks_key end =
        to.n ? rocks_key_meta(partition, ROCKS_KIND_KEY, to) : rocks_key_meta(partition, ROCKS_KIND_END, STR_NONE);
    size_t head = partition.n + 2;
    TRY(rocks_enter_partition(r, ROCKS_READ, partition, e));
    struct rocks_iterator i = rocks_iterate(r, ROCKS_META, rocks_key_str(&first), rocks_key_str(&end), true);
    bool more = true;
    for (; more && rocksdb_iter_valid(i.it); rocksdb_iter_next(i.it))
        more = visit(context, str_from(rocks_iterator_key(&i), head), rocks_iterator_value(&i));
    enum st s = more ? rocks_iterator_error(&i, e) : ST_OK;
    rocks_iterator_release(&i);
    rocks_leave(r);
    return s;
}

/* From one partition to the next by seeking: the least key behind all of a partition is its name and the byte behind NUL. */
static enum st visit_partitions(const struct rocks_iterator *i, struct str prefix, kv_visit_partition *visit, void *context,
                                struct err *e)
{
    while (rocksdb_iter_valid(i->it)) {
        struct str name, rest;
        char kind;
        ENSURE(rocks_key_meta_parse(rocks_iterator_key(i), &name, &kind, &rest), e, ST_CORRUPT, "a key is malformed");
        if (!str_starts(name, prefix))
            return ST_OK;
        struct rocks_key behind = rocks_key_meta(name, '\0', STR_NONE);
        behind.p[--behind.n - 1] = '\1';
        struct str value = rocks_iterator_value(i);
        bool has_version = kind == ROCKS_KIND_VERSION && value.n == 8; /* not, if only links were left by a crash */
        name = (struct str){behind.p, name.n};                         /* the view of the iterator ends with the next move */
        if (has_version && !visit(context, name, le64_get(value.p)))
            return ST_OK;
        rocksdb_iter_seek(i->it, behind.p, behind.n);
    }
    return rocks_iterator_error(i, e);
}

static enum st engine_partitions(struct kv *kv, struct str prefix, kv_visit_partition *visit, void *context, struct err *e)
{
    struct rocks *r = rocks_of(kv);
    TRY(rocks_enter(r, ROCKS_READ, e));
    struct rocks_iterator i = rocks_iterate(r, ROCKS_META, prefix, STR_NONE, false);
    enum st s = visit_partitions(&i, prefix, visit, context, e);
    rocks_iterator_release(&i);
    rocks_leave(r);
    return s;
}

/* ---- leases: held in memory, as no other process can open the database; only epochs are stored ---- */

static struct rocks_key epoch_key(struct str name) { return rocks_key_default(STR("epoch."), name); }

static enum st epoch_load(void *context, struct str name, uint64_t *epoch, struct err *e)
{
    struct rocks_key k = epoch_key(name);
    rocksdb_pinnableslice_t *v;
    enum st s = rocks_get(context, ROCKS_DEFAULT, rocks_key_str(&k), &v, e);
    *epoch = 0;
    if (s == ST_NOTFOUND)
        return ST_OK;
    TRY(s);
    struct str value = rocks_value(v);
    bool ok = value.n == 8;
    if (ok)
        *epoch = le64_get(value.p);
    rocksdb_pinnableslice_destroy(v);
    ENSURE(ok, e, ST_CORRUPT, "the epoch of a lease is malformed");
    return ST_OK;
}

static enum st epoch_save(void *context, struct str name, uint64_t epoch, struct err *e)
{
    struct rocks *r = context;
    struct rocks_key k = epoch_key(name);
    char value[8];
    le64_put(value, epoch);
    rocksdb_writebatch_t *batch = rocksdb_writebatch_create();
    rocksdb_writebatch_put_cf(batch, r->family[ROCKS_DEFAULT], k.p, k.n, value, sizeof value);
    enum st s = rocks_write(r, batch, true, e);
    rocksdb_writebatch_destroy(batch);
    return s;
}

static enum st engine_lease_take(struct kv *kv, struct str name, struct str holder, unsigned ttl_ms, uint64_t *epoch, struct err *e)
{
    struct rocks *r = rocks_of(kv);
    const struct kv_epochs epochs = {epoch_load, epoch_save, r};
    TRY(rocks_enter(r, ROCKS_WRITE, e));
    enum st s = kv_leases_take(&r->leases, &epochs, name, holder, ttl_ms, epoch, e);
    rocks_leave(r);
    return s;
}

static enum st engine_lease_drop(struct kv *kv, struct str name, struct str holder, struct err *e)
{
    return kv_leases_drop(&rocks_of(kv)->leases, name, holder, e);
}

/* ---- backup ---- */

/* A checkpoint: hard links to the immutable files, copies of the rest. Memtables are flushed first, so the copy is whole. */
static enum st backup_inside(struct rocks *r, const char *path, struct err *e)
{
    char *error = NULL;
    rocksdb_checkpoint_t *checkpoint = rocksdb_checkpoint_object_create(r->db, &error);
    TRY(rocks_error("preparing a backup", error, e));
    rocksdb_checkpoint_create(checkpoint, path, 0, &error);
    rocksdb_checkpoint_object_destroy(checkpoint);
    return rocks_error("writing a backup", error, e);
}

static enum st engine_backup(struct kv *kv, const char *path, struct err *e)
{
    struct rocks *r = rocks_of(kv);
    if (access(path, F_OK) == 0)
        return ERR(e, ST_EXISTS, "the directory for the backup exists already", "backup: %s exists", path);
    TRY(rocks_enter(r, ROCKS_READ, e));
    enum st s = backup_inside(r, path, e);
    rocks_leave(r);
    return s;
}

static void engine_close(struct kv *kv) { rocks_free(rocks_of(kv)); }

enum st kv_rocksdb_open(const struct kv_config *config, struct kv **out, struct err *e)
{
    static const struct kv_engine engine = {
        .name = "rocksdb",
        .close = engine_close,
        .get = engine_get,
        .version = engine_version,
        .scan = engine_scan,
        .partitions = engine_partitions,
        .commit = rocks_commit,
        .partition_drop = rocks_commit_drop,
        .blob_size = rocks_blob_size,
        .blob_read = rocks_blob_read,
        .blob_read_together = rocks_blob_read_together,
        .blobs = rocks_blob_visit,
        .links = rocks_blob_visit_links,
        .collect = rocks_blob_collect,
        .lease_take = engine_lease_take,
        .lease_drop = engine_lease_drop,
        .backup = engine_backup,
    };
    struct rocks *r;
    TRY(rocks_new(config, &engine, &r, e));
    enum st s = rocks_commit_finish_drops(r, e);
    if (s == ST_OK)
        *out = &r->kv;
    else
        rocks_free(r);
    return s;
}
