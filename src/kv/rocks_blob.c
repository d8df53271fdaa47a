#include "kv/rocks_blob.h"

#include <stdlib.h>

enum { UPLOAD_BATCH_BYTES = 1 << 20 }; /* small, so that commits of others get between */

static struct str id_str(const struct kv_blob_id *id) { return str_make(id->sha256, sizeof id->sha256); }

/* ---- storing ---- */

enum st rocks_blob_info(struct rocks *r, struct str id, struct rocks_info *info, struct err *e)
{
    struct rocks_key key = rocks_key_info(id, ROCKS_KIND_FACTS, STR_NONE);
    rocksdb_pinnableslice_t *v;
    TRY(rocks_get(r, ROCKS_INFO, rocks_key_str(&key), &v, e));
    bool ok = rocks_info_decode(rocks_value(v), info);
    rocksdb_pinnableslice_destroy(v);
    ENSURE(ok, e, ST_CORRUPT, "the record of a blob is malformed");
    return ST_OK;
}

static void put_record(struct rocks *r, rocksdb_writebatch_t *batch, struct str id, char kind, const struct rocks_info *info)
{
    struct rocks_key key = rocks_key_info(id, kind, STR_NONE);
    char value[ROCKS_INFO_BYTES];
    rocks_info_encode(info, value);
    rocksdb_writebatch_put_cf(batch, r->family[ROCKS_INFO], key.p, key.n, value, sizeof value);
}

static void delete_record(struct rocks *r, rocksdb_writebatch_t *batch, struct str id, char kind)
{
    struct rocks_key key = rocks_key_info(id, kind, STR_NONE);
    rocksdb_writebatch_delete_cf(batch, r->family[ROCKS_INFO], key.p, key.n);
}

void rocks_blob_put_info(struct rocks *r, rocksdb_writebatch_t *batch, struct str id, const struct rocks_info *info)
{
    put_record(r, batch, id, ROCKS_KIND_FACTS, info);
}

static struct rocks_info info_of(struct str bytes, int64_t now_ms)
{
    return (struct rocks_info){bytes.n, ROCKS_CHUNK_BYTES, now_ms, now_ms};
}

static void put_chunk(struct rocks *r, rocksdb_writebatch_t *batch, struct str id, struct str bytes, uint32_t number)
{
    struct str piece = str_sub(bytes, (size_t)number * ROCKS_CHUNK_BYTES, ROCKS_CHUNK_BYTES);
    struct rocks_key key = rocks_key_chunk(id, number);
    rocksdb_writebatch_put_cf(batch, r->family[ROCKS_CHUNK], key.p, key.n, piece.p, piece.n);
}

void rocks_blob_put(struct rocks *r, rocksdb_writebatch_t *batch, struct str id, struct str bytes, int64_t now_ms)
{
    struct rocks_info info = info_of(bytes, now_ms);
    for (uint32_t i = 0; i < rocks_info_chunks(&info); i++)
        put_chunk(r, batch, id, bytes, i);
    rocks_blob_put_info(r, batch, id, &info);
}

static enum st upload(struct rocks *r, rocksdb_writebatch_t *batch, struct str id, struct str bytes, int64_t now_ms, struct err *e)
{
    struct rocks_info info = info_of(bytes, now_ms);
    uint32_t chunks = rocks_info_chunks(&info);
    put_record(r, batch, id, ROCKS_KIND_UPLOAD, &info);
    for (uint32_t i = 0, waiting = 0; i < chunks; i++) {
        put_chunk(r, batch, id, bytes, i);
        waiting += ROCKS_CHUNK_BYTES;
        if (waiting < UPLOAD_BATCH_BYTES)
            continue;
        TRY(rocks_write(r, batch, false, e));
        rocksdb_writebatch_clear(batch);
        waiting = 0;
    }
    rocks_blob_put_info(r, batch, id, &info);
    delete_record(r, batch, id, ROCKS_KIND_UPLOAD);
    return rocks_write(r, batch, false, e);
}

enum st rocks_blob_upload(struct rocks *r, struct str id, struct str bytes, int64_t now_ms, struct err *e)
{
    rocksdb_writebatch_t *batch = rocksdb_writebatch_create();
    enum st s = upload(r, batch, id, bytes, now_ms, e);
    rocksdb_writebatch_destroy(batch);
    return s;
}

/* ---- reading ---- */

static enum st info_inside(struct rocks *r, struct str id, struct rocks_info *info, struct err *e)
{
    enum st s = rocks_blob_info(r, id, info, e);
    return s == ST_NOTFOUND ? ERR_PUBLIC(e, ST_NOTFOUND, "no such blob") : s;
}

enum st rocks_blob_size(struct kv *kv, const struct kv_blob_id *id, uint64_t *size, struct err *e)
{
    struct rocks *r = rocks_of(kv);
    struct rocks_info info = {0};
    TRY(rocks_enter(r, ROCKS_READ, e));
    enum st s = info_inside(r, id_str(id), &info, e);
    rocks_leave(r);
    *size = info.size;
    return s;
}

static enum st read_chunk(struct rocks *r, struct str id, uint32_t number, size_t from, size_t length, struct buf *out,
                          struct err *e)
{
    struct rocks_key key = rocks_key_chunk(id, number);
    rocksdb_pinnableslice_t *v;
    TRY(rocks_get(r, ROCKS_CHUNK, rocks_key_str(&key), &v, e));
    struct str bytes = rocks_value(v);
    bool whole = from + length <= bytes.n;
    if (whole)
        buf_add(out, str_sub(bytes, from, length));
    rocksdb_pinnableslice_destroy(v);
    ENSURE(whole, e, ST_CORRUPT, "a piece of a blob is short");
    ENSURE(buf_ok(out), e, ST_LIMIT, "blob does not fit");
    return ST_OK;
}

/* By the facts: a blob of several chunks, an empty one, or none. */
static enum st read_chunks(struct rocks *r, struct str id, uint64_t offset, size_t length, struct buf *out, struct err *e)
{
    struct rocks_info info;
    TRY(info_inside(r, id, &info, e));
    uint64_t left = offset < info.size ? info.size - offset : 0;
    if (left > length)
        left = length;
    while (left > 0) {
        size_t from = (size_t)(offset % info.chunk_bytes), n = info.chunk_bytes - from;
        if (n > left)
            n = (size_t)left;
        enum st s = read_chunk(r, id, (uint32_t)(offset / info.chunk_bytes), from, n, out, e);
        if (s == ST_NOTFOUND) { /* collected since we read the facts, or lost */
            TRY(info_inside(r, id, &info, e));
            return ERR_PUBLIC(e, ST_CORRUPT, "a piece of a blob is missing");
        }
        TRY(s);
        offset += n;
        left -= n;
    }
    return ST_OK;
}

/* What lies in the first chunk needs no facts: a first chunk that is not full is the whole blob, written and deleted in one batch
 * with them. Most mail is such. ST_NOTFOUND: an empty blob, or none. */
static enum st read_first(struct rocks *r, struct str id, size_t offset, size_t length, struct buf *out, struct err *e)
{
    struct rocks_key key = rocks_key_chunk(id, 0);
    rocksdb_pinnableslice_t *v;
    TRY(rocks_get(r, ROCKS_CHUNK, rocks_key_str(&key), &v, e));
    buf_add(out, str_sub(rocks_value(v), offset, length));
    rocksdb_pinnableslice_destroy(v);
    ENSURE(buf_ok(out), e, ST_LIMIT, "blob does not fit");
    return ST_OK;
}

enum st rocks_blob_read(struct kv *kv, const struct kv_blob_id *id, uint64_t offset, size_t length, struct buf *out, struct err *e)
{
    struct rocks *r = rocks_of(kv);
    bool first = offset < ROCKS_CHUNK_BYTES && length <= ROCKS_CHUNK_BYTES - (size_t)offset;
    TRY(rocks_enter(r, ROCKS_READ, e));
    enum st s = first ? read_first(r, id_str(id), (size_t)offset, length, out, e) : ST_NOTFOUND;
    if (s == ST_NOTFOUND)
        s = read_chunks(r, id_str(id), offset, length, out, e);
    rocks_leave(r);
    return s;
}

/* ---- reading many ---- */

/* What RocksDB is asked for, and what it says. */
struct together {
    char keys[KV_TOGETHER_MAX][KV_BLOB_ID_SIZE + 4];
    const char *key[KV_TOGETHER_MAX];
    size_t key_n[KV_TOGETHER_MAX];
    rocksdb_pinnableslice_t *values[KV_TOGETHER_MAX];
    char *errors[KV_TOGETHER_MAX];
};

static void ask_together(struct rocks *r, const struct kv_blob_place *places, size_t count, struct together *t)
{
    for (size_t i = 0; i < count; i++) {
        struct rocks_key key = rocks_key_chunk(id_str(&places[i].id), 0);
        memcpy(t->keys[i], key.p, sizeof t->keys[i]);
        t->key[i] = t->keys[i];
        t->key_n[i] = sizeof t->keys[i];
    }
    rocksdb_batched_multi_get_cf(r->db, r->read, r->family[ROCKS_CHUNK], count, t->key, t->key_n, t->values, t->errors, false);
}

/* As read_first: a chunk that is not full is a whole blob. */
static void take_place(struct kv_blob_place *place, rocksdb_pinnableslice_t *value, char *error, struct buf *out)
{
    struct str bytes = value ? rocks_value(value) : STR_NONE;
    place->at = out->n;
    place->n = bytes.n;
    place->found = !error && bytes.n > 0 && bytes.n <= KV_TOGETHER_BYTES && bytes.n <= buf_room(out);
    if (place->found)
        buf_add(out, bytes);
    if (value)
        rocksdb_pinnableslice_destroy(value);
    if (error)
        rocksdb_free(error);
}

enum st rocks_blob_read_together(struct kv *kv, struct kv_blob_place *places, size_t count, struct buf *out, struct err *e)
{
    struct rocks *r = rocks_of(kv);
    struct together t;
    TRY(rocks_enter(r, ROCKS_READ, e));
    ask_together(r, places, count, &t);
    for (size_t i = 0; i < count; i++)
        take_place(&places[i], t.values[i], t.errors[i], out);
    rocks_leave(r);
    ENSURE(buf_ok(out), e, ST_TEMP, "out of memory");
    return ST_OK;
}

/* ---- walking through all blobs ---- */

/* What ROCKS_INFO has of one id. */
struct entry {
    struct kv_blob_id id;
    struct rocks_info info, upload;
    bool has_info, has_upload;
    uint32_t links;
};

/* Reads the records of the id under the iterator and moves it behind them. */
static enum st read_entry(rocksdb_iterator_t *it, struct entry *out, struct err *e)
{
    *out = (struct entry){.links = 0};
    for (bool first = true; rocksdb_iter_valid(it); first = false, rocksdb_iter_next(it)) {
        struct str key, value;
        key.p = rocksdb_iter_key(it, &key.n);
        ENSURE(key.n > KV_BLOB_ID_SIZE, e, ST_CORRUPT, "the key of a blob is malformed");
        if (first)
            memcpy(out->id.sha256, key.p, KV_BLOB_ID_SIZE);
        else if (memcmp(out->id.sha256, key.p, KV_BLOB_ID_SIZE) != 0)
            break;
        value.p = rocksdb_iter_value(it, &value.n);
        char kind = key.p[KV_BLOB_ID_SIZE];
        if (kind == ROCKS_KIND_LINK)
            out->links += out->links < UINT32_MAX;
        else if (kind == ROCKS_KIND_FACTS)
            out->has_info = rocks_info_decode(value, &out->info);
        else if (kind == ROCKS_KIND_UPLOAD)
            out->has_upload = rocks_info_decode(value, &out->upload);
    }
    return ST_OK;
}

static struct rocks_key after_blob(const struct kv_blob_id *id) { return rocks_key_info(id_str(id), (char)0xff, STR_NONE); }

static struct rocks_iterator iterate_after(struct rocks *r, const struct kv_blob_id *after)
{
    struct rocks_key from = {.n = 0};
    if (after)
        from = after_blob(after);
    return rocks_iterate(r, ROCKS_INFO, rocks_key_str(&from), STR_NONE, false);
}

static enum st visit_entries(const struct rocks_iterator *i, kv_visit_blob *visit, void *context, struct err *e)
{
    while (rocksdb_iter_valid(i->it)) {
        struct entry x;
        TRY(read_entry(i->it, &x, e));
        struct kv_blob_info info = {x.id, x.info.size, x.info.written_ms, x.links};
        if (x.has_info && !visit(context, &info))
            return ST_OK;
    }
    return rocks_iterator_error(i, e);
}

enum st rocks_blob_visit(struct kv *kv, const struct kv_blob_id *after, kv_visit_blob *visit, void *context, struct err *e)
{
    struct rocks *r = rocks_of(kv);
    TRY(rocks_enter(r, ROCKS_READ, e));
    struct rocks_iterator i = iterate_after(r, after);
    enum st s = visit_entries(&i, visit, context, e);
    rocks_iterator_release(&i);
    rocks_leave(r);
    return s;
}

static enum st visit_links(const struct rocks_iterator *i, kv_visit_link *visit, void *context, struct err *e)
{
    for (; rocksdb_iter_valid(i->it); rocksdb_iter_next(i->it)) {
        struct str key = rocks_iterator_key(i);
        ENSURE(key.n > KV_BLOB_ID_SIZE, e, ST_CORRUPT, "the key of a blob is malformed");
        if (key.p[KV_BLOB_ID_SIZE] != ROCKS_KIND_LINK)
            continue;
        struct kv_blob_id id;
        memcpy(id.sha256, key.p, sizeof id.sha256);
        if (!visit(context, &id, str_from(key, KV_BLOB_ID_SIZE + 1)))
            return ST_OK;
    }
    return rocks_iterator_error(i, e);
}

enum st rocks_blob_visit_links(struct kv *kv, kv_visit_link *visit, void *context, struct err *e)
{
    struct rocks *r = rocks_of(kv);
    TRY(rocks_enter(r, ROCKS_READ, e));
    struct rocks_iterator i = iterate_after(r, NULL);
    enum st s = visit_links(&i, visit, context, e);
    rocks_iterator_release(&i);
    rocks_leave(r);
    return s;
}

/* ---- the collector ---- */

static bool is_garbage(const struct entry *x, int64_t before_ms)
{
    if (x->links > 0)
        return false;
    if (x->has_info)
        return x->info.touched_ms < before_ms;
    return x->has_upload && x->upload.touched_ms < before_ms;
}

static enum st delete_blob(struct rocks *r, const struct entry *x, struct err *e)
{
    struct str id = id_str(&x->id);
    const struct rocks_info *info = x->has_info ? &x->info : &x->upload;
    rocksdb_writebatch_t *batch = rocksdb_writebatch_create();
    delete_record(r, batch, id, ROCKS_KIND_FACTS);
    delete_record(r, batch, id, ROCKS_KIND_UPLOAD);
    for (uint32_t i = 0; i < rocks_info_chunks(info); i++) {
        struct rocks_key key = rocks_key_chunk(id, i);
        rocksdb_writebatch_delete_cf(batch, r->family[ROCKS_CHUNK], key.p, key.n);
    }
    /* Not synced: what is written later is behind it in the log, so no order of events is lost in a crash. */
    enum st s = rocks_write(r, batch, false, e);
    rocksdb_writebatch_destroy(batch);
    return s;
}

/* Decides again under the lock of the blob, which every commit that stores or links it holds too. */
static enum st collect_locked(struct rocks *r, const struct kv_blob_id *id, int64_t before_ms, size_t *collected, struct err *e)
{
    struct rocks_key from = rocks_key_info(id_str(id), ROCKS_KIND_FACTS, STR_NONE), to = after_blob(id);
    struct rocks_iterator i = rocks_iterate(r, ROCKS_INFO, rocks_key_str(&from), rocks_key_str(&to), true);
    struct entry x;
    enum st s = read_entry(i.it, &x, e);
    if (s == ST_OK)
        s = rocks_iterator_error(&i, e);
    rocks_iterator_release(&i);
    TRY(s);
    if (!is_garbage(&x, before_ms))
        return ST_OK;
    TRY(delete_blob(r, &x, e));
    *collected += x.has_info;
    return ST_OK;
}

static enum st collect_one(struct rocks *r, const struct entry *x, int64_t before_ms, size_t *collected, struct err *e)
{
    pthread_rwlock_t *lock = &r->blob_stripe[rocks_blob_stripe(id_str(&x->id))];
    if (!is_garbage(x, before_ms) || pthread_rwlock_trywrlock(lock) != 0)
        return ST_OK; /* in use by a commit: another time */
    enum st s = collect_locked(r, &x->id, before_ms, collected, e);
    pthread_rwlock_unlock(lock);
    return s;
}

static enum st collect_from(struct rocks *r, const struct rocks_iterator *i, int64_t before_ms, size_t max_blobs, size_t *collected,
                            struct err *e)
{
    for (size_t n = 0; n < max_blobs; n++) {
        if (!rocksdb_iter_valid(i->it)) {
            r->collect_started = false; /* the next call begins anew */
            return rocks_iterator_error(i, e);
        }
        struct entry x;
        TRY(read_entry(i->it, &x, e));
        TRY(collect_one(r, &x, before_ms, collected, e));
        r->collect_after = x.id;
        r->collect_started = true;
    }
    return ST_OK;
}

enum st rocks_blob_collect(struct kv *kv, int64_t before_ms, size_t max_blobs, size_t *collected, struct err *e)
{
    struct rocks *r = rocks_of(kv);
    TRY(rocks_enter(r, ROCKS_WRITE, e));
    pthread_mutex_lock(&r->collect_lock);
    struct rocks_iterator i = iterate_after(r, r->collect_started ? &r->collect_after : NULL);
    enum st s = collect_from(r, &i, before_ms, max_blobs, collected, e);
    rocks_iterator_release(&i);
    pthread_mutex_unlock(&r->collect_lock);
    rocks_leave(r);
    return s;
}
