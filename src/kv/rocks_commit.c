#include "kv/rocks_commit.h"

#include <stdlib.h>

#include "kv/rocks_blob.h"
#include "kv/rocks_key.h"
#include "rt/clock.h"
#include "rt/waiting.h"

enum {
    BLOBS_TOGETHER_BYTES = 4 << 20, /* blobs of one commit beyond this are uploaded before it */
    RANGE_POINTS_MAX = 1000,        /* keys of a range that are deleted one by one */
    DROP_LINKS_TOGETHER = 1000,
};

/* One commit under way. */
struct change {
    struct rocks *r;
    struct str name;
    const struct kv_batch *b;
    unsigned steps;
    int64_t now_ms;
    uint64_t expected;
    rocksdb_writebatch_t *batch;
};

/* ---- versions ---- */

enum st rocks_commit_version(struct rocks *r, struct str partition, uint64_t *version, struct err *e)
{
    struct rocks_key key = rocks_key_meta(partition, ROCKS_KIND_VERSION, STR_NONE);
    rocksdb_pinnableslice_t *v;
    enum st s = rocks_get(r, ROCKS_META, rocks_key_str(&key), &v, e);
    *version = 0;
    if (s == ST_NOTFOUND)
        return ST_OK;
    TRY(s);
    struct str value = rocks_value(v);
    bool ok = value.n == 8;
    if (ok)
        *version = le64_get(value.p);
    rocksdb_pinnableslice_destroy(v);
    ENSURE(ok, e, ST_CORRUPT, "the version of a partition is malformed");
    return ST_OK;
}

static void put_version(struct change *c, uint64_t version)
{
    struct rocks_key key = rocks_key_meta(c->name, ROCKS_KIND_VERSION, STR_NONE);
    char value[8];
    le64_put(value, version);
    rocksdb_writebatch_put_cf(c->batch, c->r->family[ROCKS_META], key.p, key.n, value, sizeof value);
}

/* ---- keys ---- */

static void put_key(struct change *c, struct str key, struct str value)
{
    struct rocks_key k = rocks_key_meta(c->name, ROCKS_KIND_KEY, key);
    rocksdb_writebatch_put_cf(c->batch, c->r->family[ROCKS_META], k.p, k.n, value.p, value.n);
}

static void delete_key(struct change *c, struct str key)
{
    struct rocks_key k = rocks_key_meta(c->name, ROCKS_KIND_KEY, key);
    rocksdb_writebatch_delete_cf(c->batch, c->r->family[ROCKS_META], k.p, k.n);
}

/* What the batch itself put into the range before. */
static void delete_range_of_batch(struct change *c, size_t before, struct str from, struct str to)
{
    for (size_t i = 0; i < before; i++) {
        const struct kv_op *op = &c->b->ops[i];
        struct str key = kv_op_key(c->b, op);
        if (op->kind == KV_OP_PUT && str_cmp(key, from) >= 0 && (to.n == 0 || str_cmp(key, to) < 0))
            delete_key(c, key);
    }
}

/* Range tombstones make all later reads of the partition slower until they are compacted away; journals delete a short range with
 * every commit. So short ranges are deleted key by key. */
static enum st delete_range(struct change *c, size_t number, struct err *e)
{
    const struct kv_op *op = &c->b->ops[number];
    struct str from = kv_op_key(c->b, op), to = kv_op_value(c->b, op);
    struct rocks_key first = rocks_key_meta(c->name, ROCKS_KIND_KEY, from);
    struct rocks_key end = to.n ? rocks_key_meta(c->name, ROCKS_KIND_KEY, to) : rocks_key_meta(c->name, ROCKS_KIND_END, STR_NONE);
    struct rocks_iterator i = rocks_iterate(c->r, ROCKS_META, rocks_key_str(&first), rocks_key_str(&end), true);
    bool few = number <= RANGE_POINTS_MAX;
    for (size_t n = 0; few && rocksdb_iter_valid(i.it); n++, rocksdb_iter_next(i.it)) {
        struct str key = rocks_iterator_key(&i);
        rocksdb_writebatch_delete_cf(c->batch, c->r->family[ROCKS_META], key.p, key.n);
        few = n < RANGE_POINTS_MAX;
    }
    enum st s = rocks_iterator_error(&i, e);
    rocks_iterator_release(&i);
    if (few)
        delete_range_of_batch(c, number, from, to);
    else
        rocksdb_writebatch_delete_range_cf(c->batch, c->r->family[ROCKS_META], first.p, first.n, end.p, end.n);
    return s;
}

/* ---- blobs and links ---- */

static void set_link(struct change *c, struct str id, bool linked)
{
    struct rocks *r = c->r;
    struct rocks_key by_blob = rocks_key_info(id, ROCKS_KIND_LINK, c->name);
    struct rocks_key by_name = rocks_key_meta(c->name, ROCKS_KIND_BLOB, id);
    if (linked) {
        rocksdb_writebatch_put_cf(c->batch, r->family[ROCKS_INFO], by_blob.p, by_blob.n, "", 0);
        rocksdb_writebatch_put_cf(c->batch, r->family[ROCKS_META], by_name.p, by_name.n, "", 0);
    } else {
        rocksdb_writebatch_delete_cf(c->batch, r->family[ROCKS_INFO], by_blob.p, by_blob.n);
        rocksdb_writebatch_delete_cf(c->batch, r->family[ROCKS_META], by_name.p, by_name.n);
    }
}

static enum st put_blob(struct change *c, struct str id, struct str bytes, struct err *e)
{
    struct rocks_info info;
    enum st s = rocks_blob_info(c->r, id, &info, e);
    if (s == ST_NOTFOUND) {
        rocks_blob_put(c->r, c->batch, id, bytes, c->now_ms);
    } else {
        TRY(s);
        info.written_ms = info.touched_ms = c->now_ms;
        rocks_blob_put_info(c->r, c->batch, id, &info);
    }
    set_link(c, id, true);
    return ST_OK;
}

static bool is_in_batch(const struct change *c, struct str id, size_t before)
{
    for (size_t i = 0; i < before; i++)
        if (c->b->ops[i].kind == KV_OP_BLOB && str_eq(kv_op_key(c->b, &c->b->ops[i]), id))
            return true;
    return false;
}

static enum st link_blob(struct change *c, size_t number, struct str id, struct err *e)
{
    struct rocks_info info;
    enum st s = rocks_blob_info(c->r, id, &info, e);
    if (s == ST_NOTFOUND)
        ENSURE(is_in_batch(c, id, number), e, ST_NOTFOUND, "the blob to link does not exist");
    else
        TRY(s);
    set_link(c, id, true);
    return ST_OK;
}

static enum st unlink_blob(struct change *c, struct str id, struct err *e)
{
    struct rocks_info info;
    enum st s = rocks_blob_info(c->r, id, &info, e);
    set_link(c, id, false);
    if (s == ST_NOTFOUND)
        return ST_OK;
    TRY(s);
    info.touched_ms = c->now_ms;
    rocks_blob_put_info(c->r, c->batch, id, &info);
    return ST_OK;
}

/* ---- the commit ---- */

static enum st add_op(struct change *c, size_t number, struct err *e)
{
    const struct kv_op *op = &c->b->ops[number];
    struct str key = kv_op_key(c->b, op);
    switch (op->kind) {
    case KV_OP_PUT:
        put_key(c, key, kv_op_value(c->b, op));
        return ST_OK;
    case KV_OP_DELETE:
        delete_key(c, key);
        return ST_OK;
    case KV_OP_DELETE_RANGE:
        return delete_range(c, number, e);
    case KV_OP_BLOB:
        return put_blob(c, key, op->blob, e);
    case KV_OP_LINK:
        return link_blob(c, number, key, e);
    case KV_OP_UNLINK:
        return unlink_blob(c, key, e);
    }
    return ST_BUG;
}

static enum st fill_batch(struct change *c, struct err *e)
{
    for (size_t i = 0; i < c->b->count; i++)
        if (kv_op_step(&c->b->ops[i]) & c->steps)
            TRY(add_op(c, i, e));
    if (c->steps & KV_STEP_KEYS)
        put_version(c, c->expected + 1);
    return ST_OK;
}

static enum st check_and_write(struct change *c, struct err *e)
{
    uint64_t version;
    TRY(rocks_commit_version(c->r, c->name, &version, e));
    if (c->steps != KV_STEP_UNLINKS)
        ENSURE(version == c->expected, e, ST_CONFLICT, "partition %.*s was changed meanwhile", STR_FMT(c->name));
    TRY(fill_batch(c, e));
    return rocks_write_partition(c->r, c->batch, c->name, e);
}

/* Blobs that do not fit into the batch are uploaded before the partition is locked. If the commit fails then, they are blobs
 * without links: the retry finds them, or the collector does. */
static enum st upload_large(struct change *c, struct err *e)
{
    uint64_t together = 0;
    for (size_t i = 0; i < c->b->count; i++) {
        const struct kv_op *op = &c->b->ops[i];
        if (op->kind != KV_OP_BLOB || (together += op->blob.n) <= BLOBS_TOGETHER_BYTES)
            continue;
        together -= op->blob.n;
        struct str id = kv_op_key(c->b, op);
        struct rocks_info info;
        enum st s = rocks_blob_info(c->r, id, &info, e);
        if (s == ST_NOTFOUND)
            s = rocks_blob_upload(c->r, id, op->blob, c->now_ms, e);
        TRY(s);
    }
    return ST_OK;
}

static enum st commit_inside(struct change *c, struct err *e)
{
    TRY(rocks_room(c->r, c->b->blob_ops > c->b->unlinks, e));
    struct rocks_stripes stripes = {{0}};
    uint64_t blob_bytes = 0;
    for (size_t i = 0; c->b->blob_ops && i < c->b->count; i++)
        if (kv_op_is_blob(&c->b->ops[i])) {
            rocks_stripes_add(&stripes, kv_op_key(c->b, &c->b->ops[i]));
            blob_bytes += c->b->ops[i].blob.n;
        }
    if (blob_bytes > BLOBS_TOGETHER_BYTES && (c->steps & KV_STEP_LINKS)) {
        rocks_stripes_lock(c->r, &stripes);
        enum st s = upload_large(c, e);
        rocks_stripes_unlock(c->r, &stripes);
        TRY(s);
    }
    pthread_mutex_t *lock = rocks_partition_lock(c->r, c->name);
    waiting_lock(lock);
    rocks_stripes_lock(c->r, &stripes);
    enum st s = check_and_write(c, e);
    rocks_stripes_unlock(c->r, &stripes);
    pthread_mutex_unlock(lock);
    return s;
}

enum st rocks_commit(struct kv *kv, struct str partition, const struct kv_batch *b, uint64_t expected, unsigned steps,
                     struct err *e)
{
    struct rocks *r = rocks_of(kv);
    struct change c = {.r = r, .name = partition, .b = b, .steps = steps, .expected = expected, .now_ms = clock_wall_ms()};
    TRY(rocks_enter_partition(r, ROCKS_WRITE, partition, e));
    c.batch = rocks_batch_take(r);
    enum st s = commit_inside(&c, e);
    rocks_batch_give(r, c.batch);
    rocks_leave(r);
    if (s == ST_TEMP)
        rocks_recover(r);
    return s;
}

/* ---- dropping a partition ---- */

/* First the keys, with a marker, then the links, with the last of them the marker. A crash in between leaves links too many, which
 * the next opening removes. */
static struct rocks_key drop_marker(struct str name) { return rocks_key_default(STR("drop."), name); }

static enum st drop_keys(struct change *c, struct err *e)
{
    struct rocks *r = c->r;
    struct rocks_key marker = drop_marker(c->name);
    struct rocks_key version = rocks_key_meta(c->name, ROCKS_KIND_VERSION, STR_NONE);
    struct rocks_key from = rocks_key_meta(c->name, ROCKS_KIND_KEY, STR_NONE);
    struct rocks_key to = rocks_key_meta(c->name, ROCKS_KIND_END, STR_NONE);
    rocksdb_writebatch_put_cf(c->batch, r->family[ROCKS_DEFAULT], marker.p, marker.n, "", 0);
    rocksdb_writebatch_delete_cf(c->batch, r->family[ROCKS_META], version.p, version.n);
    rocksdb_writebatch_delete_range_cf(c->batch, r->family[ROCKS_META], from.p, from.n, to.p, to.n);
    return rocks_write(r, c->batch, true, e);
}

struct id_page {
    struct kv_blob_id ids[DROP_LINKS_TOGETHER];
    size_t count;
    struct rocks_stripes stripes;
};

static enum st read_links(struct change *c, struct id_page *page, struct err *e)
{
    struct rocks_key from = rocks_key_meta(c->name, ROCKS_KIND_BLOB, STR_NONE);
    struct rocks_key to = rocks_key_meta(c->name, ROCKS_KIND_BLOB + 1, STR_NONE);
    struct rocks_iterator i = rocks_iterate(c->r, ROCKS_META, rocks_key_str(&from), rocks_key_str(&to), true);
    *page = (struct id_page){.count = 0};
    for (; page->count < DROP_LINKS_TOGETHER && rocksdb_iter_valid(i.it); rocksdb_iter_next(i.it)) {
        struct str id = str_from(rocks_iterator_key(&i), from.n);
        if (id.n != KV_BLOB_ID_SIZE)
            continue;
        memcpy(page->ids[page->count++].sha256, id.p, KV_BLOB_ID_SIZE);
        rocks_stripes_add(&page->stripes, id);
    }
    enum st s = rocks_iterator_error(&i, e);
    rocks_iterator_release(&i);
    return s;
}

static enum st drop_links(struct change *c, const struct id_page *page, struct err *e)
{
    rocksdb_writebatch_clear(c->batch);
    for (size_t i = 0; i < page->count; i++)
        TRY(unlink_blob(c, str_make(page->ids[i].sha256, KV_BLOB_ID_SIZE), e));
    if (page->count < DROP_LINKS_TOGETHER) {
        struct rocks_key marker = drop_marker(c->name);
        rocksdb_writebatch_delete_cf(c->batch, c->r->family[ROCKS_DEFAULT], marker.p, marker.n);
    }
    return rocks_write(c->r, c->batch, true, e);
}

static enum st drop_inside(struct change *c, struct id_page *page, struct err *e)
{
    TRY(drop_keys(c, e));
    do {
        TRY(read_links(c, page, e));
        rocks_stripes_lock(c->r, &page->stripes);
        enum st s = drop_links(c, page, e);
        rocks_stripes_unlock(c->r, &page->stripes);
        TRY(s);
    } while (page->count == DROP_LINKS_TOGETHER);
    return ST_OK;
}

enum st rocks_commit_drop(struct kv *kv, struct str partition, struct err *e)
{
    struct rocks *r = rocks_of(kv);
    struct id_page *page = malloc(sizeof *page);
    ENSURE(page, e, ST_TEMP, "out of memory");
    enum st s = rocks_enter(r, ROCKS_WRITE, e);
    if (s == ST_OK) {
        struct change c = {.r = r, .name = partition, .now_ms = clock_wall_ms(), .batch = rocksdb_writebatch_create()};
        pthread_mutex_lock(rocks_partition_lock(r, partition));
        s = drop_inside(&c, page, e);
        pthread_mutex_unlock(rocks_partition_lock(r, partition));
        rocksdb_writebatch_destroy(c.batch);
        rocks_leave(r);
    }
    free(page);
    return s;
}

/* A partition that came back after a drop that failed is left alone: its old links are only links too many. */
static enum st finish_drop(struct rocks *r, struct str name, struct err *e)
{
    uint64_t version;
    TRY(rocks_commit_version(r, name, &version, e));
    if (version == 0)
        return rocks_commit_drop(&r->kv, name, e);
    struct rocks_key marker = drop_marker(name);
    rocksdb_writebatch_t *batch = rocksdb_writebatch_create();
    rocksdb_writebatch_delete_cf(batch, r->family[ROCKS_DEFAULT], marker.p, marker.n);
    enum st s = rocks_write(r, batch, true, e);
    rocksdb_writebatch_destroy(batch);
    return s;
}

static enum st find_marker(struct rocks *r, struct rocks_key *name, struct err *e)
{
    struct rocks_key from = drop_marker(STR_NONE), to = rocks_key_default(STR("drop/"), STR_NONE); /* '/' follows '.' */
    struct rocks_iterator i = rocks_iterate(r, ROCKS_DEFAULT, rocks_key_str(&from), rocks_key_str(&to), false);
    name->n = 0;
    if (rocksdb_iter_valid(i.it))
        rocks_key_add(name, str_upto(str_from(rocks_iterator_key(&i), from.n), KV_PARTITION_NAME_MAX));
    enum st s = rocks_iterator_error(&i, e);
    rocks_iterator_release(&i);
    return s;
}

enum st rocks_commit_finish_drops(struct rocks *r, struct err *e)
{
    for (;;) {
        struct rocks_key name;
        TRY(find_marker(r, &name, e));
        if (name.n == 0)
            return ST_OK;
        TRY(finish_drop(r, rocks_key_str(&name), e));
    }
}
