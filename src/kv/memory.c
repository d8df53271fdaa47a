/* The reference engine: everything in sorted maps in memory, under one lock. What is committed is "durable" in the sense of the
 * tests: it is there when a crash that the fault engine plays is over; it is gone with the process. */
#include <stdlib.h>

#include "base/bits.h"
#include "base/check.h"
#include "kv/engine_internal.h"
#include "kv/sorted.h"
#include "rt/clock.h"

enum { SCAN_PAGE_KEYS = 256, SCAN_PAGE_BYTES = 4 << 20 };

struct memory_partition {
    uint64_t version;
    struct sorted keys;
};

struct memory_blob {
    struct str bytes; /* owned */
    int64_t written_ms;
    int64_t touched_ms;  /* last written or unlinked: what the grace period counts from */
    struct sorted links; /* names of partitions */
};

struct memory {
    struct kv kv;
    pthread_mutex_t lock;
    struct sorted partitions; /* item: struct memory_partition */
    struct sorted blobs;      /* item: struct memory_blob */
    struct sorted epochs;     /* of leases: 8 bytes */
    struct kv_leases leases;
    struct kv_blob_id collect_after;
    bool collect_started;
};

static struct memory *memory_of(struct kv *kv) { return (struct memory *)kv; }

/* ---- objects ---- */

static void partition_free(struct memory_partition *p)
{
    if (!p)
        return;
    sorted_release(&p->keys);
    free(p);
}

static void blob_free(struct memory_blob *b)
{
    if (!b)
        return;
    sorted_release(&b->links);
    free((void *)(uintptr_t)b->bytes.p);
    free(b);
}

static struct memory_partition *partition_find(struct memory *m, struct str name)
{
    struct sorted_node *node = sorted_find(&m->partitions, name);
    return node ? node->item : NULL;
}

static struct memory_blob *blob_find(struct memory *m, struct str id)
{
    struct sorted_node *node = sorted_find(&m->blobs, id);
    return node ? node->item : NULL;
}

static struct str id_str(const struct kv_blob_id *id) { return str_make(id->sha256, sizeof id->sha256); }

/* ---- reading ---- */

static enum st memory_get(struct kv *kv, struct str partition, struct str key, struct buf *value, struct err *e)
{
    struct memory *m = memory_of(kv);
    enum st s = ST_OK;
    pthread_mutex_lock(&m->lock);
    struct memory_partition *p = partition_find(m, partition);
    struct sorted_node *node = p ? sorted_find(&p->keys, key) : NULL;
    if (node)
        buf_add(value, node->value);
    else
        s = ERR_PUBLIC(e, ST_NOTFOUND, "no such key");
    pthread_mutex_unlock(&m->lock);
    TRY(s);
    ENSURE(buf_ok(value), e, ST_LIMIT, "value does not fit");
    return ST_OK;
}

static enum st memory_version(struct kv *kv, struct str partition, uint64_t *version, struct err *e)
{
    (void)e;
    struct memory *m = memory_of(kv);
    pthread_mutex_lock(&m->lock);
    struct memory_partition *p = partition_find(m, partition);
    *version = p ? p->version : 0;
    pthread_mutex_unlock(&m->lock);
    return ST_OK;
}

/* Keys and values are copied out, a page at a time, so that visit runs without the lock and may read. */
struct page {
    struct buf bytes;
    size_t count;
    struct {
        size_t key_n, value_n;
    } entry[SCAN_PAGE_KEYS];
};

static bool page_add(struct page *page, struct str key, struct str value)
{
    if (page->count == SCAN_PAGE_KEYS || buf_room(&page->bytes) < key.n + value.n)
        return false;
    buf_add(&page->bytes, key);
    buf_add(&page->bytes, value);
    if (!buf_ok(&page->bytes))
        return false;
    page->entry[page->count].key_n = key.n;
    page->entry[page->count].value_n = value.n;
    page->count++;
    return true;
}

/* From the first key >= from that lies below `to` (empty: no end). */
static void page_fill(struct page *page, const struct sorted *map, struct str from, struct str to)
{
    buf_clear(&page->bytes);
    page->count = 0;
    for (struct sorted_node *node = sorted_from(map, from); node; node = sorted_next(node))
        if ((to.n > 0 && str_cmp(node->key, to) >= 0) || !page_add(page, node->key, node->value))
            return;
}

static struct page *page_new(void)
{
    struct page *page = calloc(1, sizeof *page);
    if (page)
        buf_init(&page->bytes, SCAN_PAGE_BYTES);
    return page;
}

static void page_free(struct page *page)
{
    buf_release(&page->bytes);
    free(page);
}

/* false: visit has stopped the scan. *after becomes the last key and a zero byte: the least key behind it. */
static bool page_visit(const struct page *page, kv_visit *visit, void *context, struct buf *after)
{
    const char *p = page->bytes.p;
    struct str key = STR_NONE;
    for (size_t i = 0; i < page->count; i++) {
        key = (struct str){p, page->entry[i].key_n};
        struct str value = {p + key.n, page->entry[i].value_n};
        p = value.p + value.n;
        if (!visit(context, key, value))
            return false;
    }
    buf_clear(after);
    buf_add(after, key);
    buf_add_c(after, '\0');
    return true;
}

static enum st memory_scan(struct kv *kv, struct str partition, struct str from, struct str to, kv_visit *visit, void *context,
                           struct err *e)
{
    struct memory *m = memory_of(kv);
    struct page *page = page_new();
    ENSURE(page, e, ST_TEMP, "out of memory");
    DEFER(buf_release) struct buf at = BUF_INIT(KV_KEY_MAX + 2);
    buf_add(&at, from);
    bool failed = false, more = true;
    while (more && !failed) {
        pthread_mutex_lock(&m->lock);
        struct memory_partition *p = partition_find(m, partition);
        page->count = 0;
        if (p)
            page_fill(page, &p->keys, buf_str(&at), to);
        pthread_mutex_unlock(&m->lock);
        failed = !buf_ok(&page->bytes) || !buf_ok(&at);
        more = page->count > 0 && page_visit(page, visit, context, &at);
    }
    page_free(page);
    ENSURE(!failed, e, ST_TEMP, "out of memory");
    return ST_OK;
}

static enum st memory_partitions(struct kv *kv, struct str prefix, kv_visit_partition *visit, void *context, struct err *e)
{
    struct memory *m = memory_of(kv);
    char name[KV_PARTITION_NAME_MAX + 1];
    size_t name_n = prefix.n;
    if (name_n)
        memcpy(name, prefix.p, name_n);
    (void)e;
    for (;;) {
        pthread_mutex_lock(&m->lock);
        struct sorted_node *node = sorted_from(&m->partitions, (struct str){name, name_n});
        bool there = node && str_starts(node->key, prefix);
        uint64_t version = there ? ((struct memory_partition *)node->item)->version : 0;
        if (there)
            memcpy(name, node->key.p, name_n = node->key.n);
        pthread_mutex_unlock(&m->lock);
        if (!there || !visit(context, (struct str){name, name_n}, version))
            return ST_OK;
        name[name_n++] = '\0'; /* the least name behind it */
    }
}

/* ---- commit: first all memory is taken and all conditions are checked, then nothing can fail ---- */

struct prepared {
    struct sorted_node *node; /* of a put: the key; of a link: the partition's name */
    struct sorted_node *blob; /* of a blob: the node with the blob as item */
};

struct change {
    struct memory *m;
    struct str name;
    const struct kv_batch *b;
    unsigned steps;
    struct sorted_node *partition; /* prepared, if it may be new */
    struct prepared *ops;
    int64_t now_ms;
};

static void change_release(struct change *c)
{
    for (size_t i = 0; c->ops && i < c->b->count; i++) {
        sorted_node_free(c->ops[i].node);
        if (c->ops[i].blob)
            blob_free(c->ops[i].blob->item);
        sorted_node_free(c->ops[i].blob);
    }
    if (c->partition)
        partition_free(c->partition->item);
    sorted_node_free(c->partition);
    free(c->ops);
}

static struct sorted_node *blob_node_new(struct memory *m, struct str id, struct str bytes, int64_t now_ms)
{
    struct sorted_node *node = sorted_node_new(&m->blobs, id, STR_NONE);
    struct memory_blob *blob = calloc(1, sizeof *blob);
    char *copy = malloc(bytes.n + 1);
    if (!node || !blob || !copy) {
        sorted_node_free(node);
        free(blob);
        free(copy);
        return NULL;
    }
    if (bytes.n)
        memcpy(copy, bytes.p, bytes.n);
    *blob = (struct memory_blob){.bytes = {copy, bytes.n}, .written_ms = now_ms, .touched_ms = now_ms};
    sorted_init(&blob->links);
    node->item = blob;
    return node; /* cppcheck-suppress memleak ; blob->bytes owns it */
}

static bool prepare_partition(struct change *c)
{
    c->partition = sorted_node_new(&c->m->partitions, c->name, STR_NONE);
    struct memory_partition *p = calloc(1, sizeof *p);
    if (!c->partition || !p) {
        free(p);
        return false;
    }
    sorted_init(&p->keys);
    c->partition->item = p;
    return true;
}

/* A link needs its blob, here already or earlier in the batch. */
static bool blob_will_exist(const struct change *c, struct str id, size_t before)
{
    if (blob_find(c->m, id))
        return true;
    for (size_t i = 0; i < before; i++)
        if (c->b->ops[i].kind == KV_OP_BLOB && str_eq(kv_op_key(c->b, &c->b->ops[i]), id))
            return true;
    return false;
}

static enum st prepare_op(struct change *c, size_t i, struct err *e)
{
    const struct kv_op *op = &c->b->ops[i];
    struct str key = kv_op_key(c->b, op);
    if (op->kind == KV_OP_LINK)
        ENSURE(blob_will_exist(c, key, i), e, ST_NOTFOUND, "the blob to link does not exist");
    if (op->kind == KV_OP_PUT)
        c->ops[i].node = sorted_node_new(&c->m->blobs, key, kv_op_value(c->b, op)); /* whichever map: it lends its generator */
    if (op->kind == KV_OP_BLOB || op->kind == KV_OP_LINK)
        c->ops[i].node = sorted_node_new(&c->m->blobs, c->name, STR_NONE);
    if (op->kind == KV_OP_BLOB)
        c->ops[i].blob = blob_node_new(c->m, key, op->blob, c->now_ms);
    bool needs_node = op->kind == KV_OP_PUT || op->kind == KV_OP_BLOB || op->kind == KV_OP_LINK;
    ENSURE((!needs_node || c->ops[i].node) && (op->kind != KV_OP_BLOB || c->ops[i].blob), e, ST_TEMP, "out of memory");
    return ST_OK;
}

static enum st prepare(struct change *c, uint64_t expected, struct err *e)
{
    struct memory_partition *p = partition_find(c->m, c->name);
    if (c->steps != KV_STEP_UNLINKS)
        ENSURE((p ? p->version : 0) == expected, e, ST_CONFLICT, "partition %.*s was changed meanwhile", STR_FMT(c->name));
    c->ops = calloc(c->b->count + 1, sizeof *c->ops);
    ENSURE(c->ops && prepare_partition(c), e, ST_TEMP, "out of memory");
    for (size_t i = 0; i < c->b->count; i++)
        if (kv_op_step(&c->b->ops[i]) & c->steps)
            TRY(prepare_op(c, i, e));
    return ST_OK;
}

static void delete_range(struct sorted *keys, struct str from, struct str to)
{
    struct sorted_node *node = sorted_from(keys, from), *next;
    for (; node && (to.n == 0 || str_cmp(node->key, to) < 0); node = next) {
        next = sorted_next(node);
        sorted_node_free(sorted_remove(keys, node->key));
    }
}

static void apply_link(struct change *c, struct prepared *op, struct str id)
{
    struct memory_blob *blob = blob_find(c->m, id);
    if (op->blob && !blob) {
        sorted_insert(&c->m->blobs, op->blob);
        blob = op->blob->item;
        op->blob = NULL;
    }
    if (!always(blob))
        return;
    if (op->blob)
        blob->written_ms = blob->touched_ms = c->now_ms;
    sorted_node_free(sorted_insert(&blob->links, op->node));
    op->node = NULL;
}

static void apply_op(struct change *c, struct memory_partition *p, size_t i)
{
    const struct kv_op *op = &c->b->ops[i];
    struct str key = kv_op_key(c->b, op);
    struct memory_blob *blob;
    switch (op->kind) {
    case KV_OP_PUT:
        sorted_node_free(sorted_insert(&p->keys, c->ops[i].node));
        c->ops[i].node = NULL;
        break;
    case KV_OP_DELETE:
        sorted_node_free(sorted_remove(&p->keys, key));
        break;
    case KV_OP_DELETE_RANGE:
        delete_range(&p->keys, key, kv_op_value(c->b, op));
        break;
    case KV_OP_BLOB:
    case KV_OP_LINK:
        apply_link(c, &c->ops[i], key);
        break;
    case KV_OP_UNLINK:
        blob = blob_find(c->m, key);
        if (blob) {
            sorted_node_free(sorted_remove(&blob->links, c->name));
            blob->touched_ms = c->now_ms;
        }
        break;
    }
}

static void apply(struct change *c)
{
    struct memory_partition *p = partition_find(c->m, c->name);
    if (!p && (c->steps & KV_STEP_KEYS)) {
        sorted_insert(&c->m->partitions, c->partition);
        p = c->partition->item;
        c->partition = NULL;
    }
    for (size_t i = 0; i < c->b->count; i++)
        if (kv_op_step(&c->b->ops[i]) & c->steps)
            apply_op(c, p, i);
    if (c->steps & KV_STEP_KEYS)
        p->version++;
}

static enum st memory_commit(struct kv *kv, struct str partition, const struct kv_batch *b, uint64_t expected, unsigned steps,
                             struct err *e)
{
    struct memory *m = memory_of(kv);
    struct change c = {.m = m, .name = partition, .b = b, .steps = steps, .now_ms = clock_wall_ms()};
    pthread_mutex_lock(&m->lock);
    enum st s = prepare(&c, expected, e);
    if (s == ST_OK)
        apply(&c);
    change_release(&c);
    pthread_mutex_unlock(&m->lock);
    return s;
}

static enum st memory_partition_drop(struct kv *kv, struct str partition, struct err *e)
{
    (void)e;
    struct memory *m = memory_of(kv);
    int64_t now_ms = clock_wall_ms();
    pthread_mutex_lock(&m->lock);
    struct sorted_node *node = sorted_remove(&m->partitions, partition);
    if (node)
        partition_free(node->item);
    sorted_node_free(node);
    for (node = sorted_from(&m->blobs, STR_NONE); node; node = sorted_next(node)) {
        struct memory_blob *blob = node->item;
        struct sorted_node *link = sorted_remove(&blob->links, partition);
        if (link)
            blob->touched_ms = now_ms;
        sorted_node_free(link);
    }
    pthread_mutex_unlock(&m->lock);
    return ST_OK;
}

/* ---- blobs ---- */

static enum st memory_blob_size(struct kv *kv, const struct kv_blob_id *id, uint64_t *size, struct err *e)
{
    struct memory *m = memory_of(kv);
    pthread_mutex_lock(&m->lock);
    struct memory_blob *blob = blob_find(m, id_str(id));
    if (blob)
        *size = blob->bytes.n;
    pthread_mutex_unlock(&m->lock);
    ENSURE(blob, e, ST_NOTFOUND, "no such blob");
    return ST_OK;
}

static enum st memory_blob_read(struct kv *kv, const struct kv_blob_id *id, uint64_t offset, size_t length, struct buf *out,
                                struct err *e)
{
    struct memory *m = memory_of(kv);
    pthread_mutex_lock(&m->lock);
    struct memory_blob *blob = blob_find(m, id_str(id));
    if (blob && offset < blob->bytes.n)
        buf_add(out, str_sub(blob->bytes, offset, length));
    pthread_mutex_unlock(&m->lock);
    ENSURE(blob, e, ST_NOTFOUND, "no such blob");
    ENSURE(buf_ok(out), e, ST_LIMIT, "blob does not fit");
    return ST_OK;
}

static enum st memory_blob_read_together(struct kv *kv, struct kv_blob_place *places, size_t count, struct buf *out, struct err *e)
{
    struct memory *m = memory_of(kv);
    pthread_mutex_lock(&m->lock);
    for (size_t i = 0; i < count; i++) {
        const struct memory_blob *blob = blob_find(m, id_str(&places[i].id));
        size_t n = blob ? blob->bytes.n : 0;
        places[i].at = out->n;
        places[i].n = n;
        places[i].found = n > 0 && n <= KV_TOGETHER_BYTES && n <= buf_room(out);
        if (places[i].found)
            buf_add(out, blob->bytes);
    }
    pthread_mutex_unlock(&m->lock);
    ENSURE(buf_ok(out), e, ST_TEMP, "out of memory");
    return ST_OK;
}

/* Copies the facts of the first blob behind *after (NULL: the first of all). */
static bool next_blob(struct memory *m, const struct kv_blob_id *after, struct kv_blob_info *info)
{
    struct sorted_node *node = sorted_from(&m->blobs, after ? id_str(after) : STR_NONE);
    if (node && after && str_eq(node->key, id_str(after)))
        node = sorted_next(node);
    if (!node)
        return false;
    struct memory_blob *blob = node->item;
    memcpy(info->id.sha256, node->key.p, sizeof info->id.sha256);
    info->size = blob->bytes.n;
    info->written_ms = blob->written_ms;
    info->links = blob->links.count > UINT32_MAX ? UINT32_MAX : (uint32_t)blob->links.count;
    return true;
}

static enum st memory_blobs(struct kv *kv, const struct kv_blob_id *after, kv_visit_blob *visit, void *context, struct err *e)
{
    (void)e;
    struct memory *m = memory_of(kv);
    struct kv_blob_info info = {.size = 0};
    struct kv_blob_id at;
    bool there;
    do {
        pthread_mutex_lock(&m->lock);
        there = next_blob(m, after, &info);
        pthread_mutex_unlock(&m->lock);
        at = info.id;
        after = &at;
    } while (there && visit(context, &info));
    return ST_OK;
}

/* The first link behind (*id, name), or the first of a later blob. false: there is none. */
static bool next_link(struct memory *m, struct kv_blob_id *id, char *name, size_t *name_n)
{
    struct sorted_node *node = sorted_from(&m->blobs, id_str(id));
    for (; node; node = sorted_next(node)) {
        struct memory_blob *blob = node->item;
        bool same = str_eq(node->key, id_str(id));
        struct sorted_node *link = sorted_from(&blob->links, same ? (struct str){name, *name_n} : STR_NONE);
        if (!link)
            continue;
        memcpy(id->sha256, node->key.p, sizeof id->sha256);
        memcpy(name, link->key.p, *name_n = link->key.n);
        return true;
    }
    return false;
}

static enum st memory_links(struct kv *kv, kv_visit_link *visit, void *context, struct err *e)
{
    (void)e;
    struct memory *m = memory_of(kv);
    struct kv_blob_id id = {{0}};
    char name[KV_PARTITION_NAME_MAX + 1];
    size_t name_n = 0;
    for (;;) {
        pthread_mutex_lock(&m->lock);
        bool there = next_link(m, &id, name, &name_n);
        pthread_mutex_unlock(&m->lock);
        if (!there || !visit(context, &id, (struct str){name, name_n}))
            return ST_OK;
        name[name_n++] = '\0';
    }
}

static enum st memory_collect(struct kv *kv, int64_t before_ms, size_t max_blobs, size_t *collected, struct err *e)
{
    (void)e;
    struct memory *m = memory_of(kv);
    struct kv_blob_info info = {.size = 0};
    pthread_mutex_lock(&m->lock);
    bool there = true;
    for (size_t i = 0; i < max_blobs && there; i++) {
        there = next_blob(m, m->collect_started ? &m->collect_after : NULL, &info);
        m->collect_started = there; /* at the end the next call begins anew */
        m->collect_after = info.id;
        struct memory_blob *blob = there ? blob_find(m, id_str(&info.id)) : NULL;
        if (!blob || blob->links.count > 0 || blob->touched_ms >= before_ms)
            continue;
        sorted_node_free(sorted_remove(&m->blobs, id_str(&info.id)));
        blob_free(blob);
        ++*collected;
    }
    pthread_mutex_unlock(&m->lock);
    return ST_OK;
}

/* ---- leases, backup, opening ---- */

static enum st epoch_load(void *context, struct str name, uint64_t *epoch, struct err *e)
{
    (void)e;
    struct memory *m = context;
    struct sorted_node *node = sorted_find(&m->epochs, name);
    *epoch = node ? le64_get(node->value.p) : 0;
    return ST_OK;
}

static enum st epoch_save(void *context, struct str name, uint64_t epoch, struct err *e)
{
    struct memory *m = context;
    char value[8];
    le64_put(value, epoch);
    struct sorted_node *node = sorted_node_new(&m->epochs, name, (struct str){value, sizeof value});
    ENSURE(node, e, ST_TEMP, "out of memory");
    sorted_node_free(sorted_insert(&m->epochs, node));
    return ST_OK;
}

static enum st memory_lease_take(struct kv *kv, struct str name, struct str holder, unsigned ttl_ms, uint64_t *epoch, struct err *e)
{
    struct memory *m = memory_of(kv);
    const struct kv_epochs epochs = {epoch_load, epoch_save, m};
    return kv_leases_take(&m->leases, &epochs, name, holder, ttl_ms, epoch, e);
}

static enum st memory_lease_drop(struct kv *kv, struct str name, struct str holder, struct err *e)
{
    return kv_leases_drop(&memory_of(kv)->leases, name, holder, e);
}

static enum st memory_backup(struct kv *kv, const char *path, struct err *e)
{
    (void)kv;
    (void)path;
    return ERR_PUBLIC(e, ST_PERM, "the memory engine keeps nothing and cannot be backed up");
}

static void memory_close(struct kv *kv)
{
    struct memory *m = memory_of(kv);
    for (struct sorted_node *n = sorted_from(&m->partitions, STR_NONE); n; n = sorted_next(n))
        partition_free(n->item);
    for (struct sorted_node *n = sorted_from(&m->blobs, STR_NONE); n; n = sorted_next(n))
        blob_free(n->item);
    sorted_release(&m->partitions);
    sorted_release(&m->blobs);
    sorted_release(&m->epochs);
    kv_leases_release(&m->leases);
    pthread_mutex_destroy(&m->lock);
    kv_release(&m->kv);
    free(m);
}

enum st kv_memory_open(const struct kv_config *config, struct kv **out, struct err *e)
{
    static const struct kv_engine engine = {
        .name = "memory",
        .close = memory_close,
        .get = memory_get,
        .version = memory_version,
        .scan = memory_scan,
        .partitions = memory_partitions,
        .commit = memory_commit,
        .partition_drop = memory_partition_drop,
        .blob_size = memory_blob_size,
        .blob_read = memory_blob_read,
        .blob_read_together = memory_blob_read_together,
        .blobs = memory_blobs,
        .links = memory_links,
        .collect = memory_collect,
        .lease_take = memory_lease_take,
        .lease_drop = memory_lease_drop,
        .backup = memory_backup,
    };
    (void)config;
    struct memory *m = calloc(1, sizeof *m);
    ENSURE(m, e, ST_TEMP, "out of memory");
    kv_init(&m->kv, &engine);
    pthread_mutex_init(&m->lock, NULL);
    sorted_init(&m->partitions);
    sorted_init(&m->blobs);
    sorted_init(&m->epochs);
    kv_leases_init(&m->leases);
    *out = &m->kv;
    return ST_OK;
}
