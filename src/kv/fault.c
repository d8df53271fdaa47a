#include "kv/fault.h"

#include <stdlib.h>

#include "kv/engine_internal.h"

struct fault {
    struct kv kv;
    struct kv *inner;
    bool split;
    pthread_mutex_t lock; /* of what follows; leaf */
    struct kv_fault_plan plan;
    uint64_t seen;
    bool fired, crashed;
};

static struct fault *fault_of(struct kv *kv) { return (struct fault *)kv; }

/* What to do with one operation: carry it out or not, and what to answer (ST_OK: what the inner engine says). */
struct verdict {
    bool run;
    enum st class;
};

static struct verdict judge(struct fault *f, enum kv_fault_kind kind)
{
    struct verdict v = {true, ST_OK};
    pthread_mutex_lock(&f->lock);
    if (f->crashed) {
        v = (struct verdict){false, ST_TEMP};
    } else if (f->plan.kinds & kind) {
        f->seen++;
        if (f->plan.at && f->seen >= f->plan.at && f->seen - f->plan.at <= f->plan.more) {
            v = (struct verdict){f->plan.applied, f->plan.class == ST_OK ? ST_TEMP : f->plan.class};
            f->fired = true;
            f->crashed = f->plan.crash;
        }
    }
    pthread_mutex_unlock(&f->lock);
    return v;
}

static enum st answer(struct verdict v, enum st inner, struct err *e)
{
    if (v.class == ST_OK)
        return inner;
    return ERR_PUBLIC(e, v.class, "a fault was injected");
}

/* ---- reading: a failed read gives nothing ---- */

static enum st before_read(struct fault *f, struct err *e) { return answer(judge(f, KV_FAULT_READ), ST_OK, e); }

static enum st fault_get(struct kv *kv, struct str partition, struct str key, struct buf *value, struct err *e)
{
    struct fault *f = fault_of(kv);
    TRY(before_read(f, e));
    return kv_get(f->inner, partition, key, value, e);
}

static enum st fault_version(struct kv *kv, struct str partition, uint64_t *version, struct err *e)
{
    struct fault *f = fault_of(kv);
    TRY(before_read(f, e));
    return kv_version(f->inner, partition, version, e);
}

static enum st fault_scan(struct kv *kv, struct str partition, struct str from, struct str to, kv_visit *visit, void *context,
                          struct err *e)
{
    struct fault *f = fault_of(kv);
    TRY(before_read(f, e));
    return kv_scan(f->inner, partition, from, to, visit, context, e);
}

static enum st fault_partitions(struct kv *kv, struct str prefix, kv_visit_partition *visit, void *context, struct err *e)
{
    struct fault *f = fault_of(kv);
    TRY(before_read(f, e));
    return kv_partitions(f->inner, prefix, visit, context, e);
}

static enum st fault_blob_size(struct kv *kv, const struct kv_blob_id *id, uint64_t *size, struct err *e)
{
    struct fault *f = fault_of(kv);
    TRY(before_read(f, e));
    return kv_blob_size(f->inner, id, size, e);
}

static enum st fault_blob_read(struct kv *kv, const struct kv_blob_id *id, uint64_t offset, size_t length, struct buf *out,
                               struct err *e)
{
    struct fault *f = fault_of(kv);
    TRY(before_read(f, e));
    return kv_blob_read(f->inner, id, offset, length, out, e);
}

static enum st fault_blob_read_together(struct kv *kv, struct kv_blob_place *places, size_t count, struct buf *out, struct err *e)
{
    struct fault *f = fault_of(kv);
    TRY(before_read(f, e));
    return kv_blob_read_together(f->inner, places, count, out, e);
}

static enum st fault_blobs(struct kv *kv, const struct kv_blob_id *after, kv_visit_blob *visit, void *context, struct err *e)
{
    struct fault *f = fault_of(kv);
    TRY(before_read(f, e));
    return kv_blobs(f->inner, after, visit, context, e);
}

static enum st fault_links(struct kv *kv, kv_visit_link *visit, void *context, struct err *e)
{
    struct fault *f = fault_of(kv);
    TRY(before_read(f, e));
    return kv_links(f->inner, visit, context, e);
}

/* ---- writing ---- */

static enum st run_steps(struct fault *f, struct str partition, const struct kv_batch *b, uint64_t expected, unsigned steps,
                         struct err *e)
{
    struct verdict v = judge(f, KV_FAULT_COMMIT);
    return answer(v, v.run ? f->inner->engine->commit(f->inner, partition, b, expected, steps, e) : ST_OK, e);
}

static unsigned steps_needed(const struct kv_batch *b)
{
    unsigned steps = KV_STEP_KEYS; /* always: the version */
    for (size_t i = 0; i < b->count; i++)
        steps |= kv_op_step(&b->ops[i]);
    return steps;
}

static enum st fault_commit(struct kv *kv, struct str partition, const struct kv_batch *b, uint64_t expected, unsigned steps,
                            struct err *e)
{
    struct fault *f = fault_of(kv);
    if (!f->split)
        return run_steps(f, partition, b, expected, steps, e);
    steps &= steps_needed(b);
    if (steps & KV_STEP_LINKS)
        TRY(run_steps(f, partition, b, expected, KV_STEP_LINKS, e));
    if (steps & KV_STEP_KEYS)
        TRY(run_steps(f, partition, b, expected, KV_STEP_KEYS, e));
    if (!(steps & KV_STEP_UNLINKS))
        return ST_OK;
    /* The commit is durable by now. A link that could not be removed is left to the collector; only a crash hides the success. */
    enum st s = run_steps(f, partition, b, expected, KV_STEP_UNLINKS, e);
    pthread_mutex_lock(&f->lock);
    bool crashed = f->crashed;
    pthread_mutex_unlock(&f->lock);
    return crashed ? s : ST_OK;
}

static enum st fault_partition_drop(struct kv *kv, struct str partition, struct err *e)
{
    struct fault *f = fault_of(kv);
    struct verdict v = judge(f, KV_FAULT_CHANGE);
    return answer(v, v.run ? kv_partition_drop(f->inner, partition, e) : ST_OK, e);
}

static enum st fault_collect(struct kv *kv, int64_t before_ms, size_t max_blobs, size_t *collected, struct err *e)
{
    struct fault *f = fault_of(kv);
    struct verdict v = judge(f, KV_FAULT_CHANGE);
    return answer(v, v.run ? kv_collect(f->inner, before_ms, max_blobs, collected, e) : ST_OK, e);
}

static enum st fault_lease_take(struct kv *kv, struct str name, struct str holder, unsigned ttl_ms, uint64_t *epoch, struct err *e)
{
    struct fault *f = fault_of(kv);
    struct verdict v = judge(f, KV_FAULT_CHANGE);
    return answer(v, v.run ? kv_lease_take(f->inner, name, holder, ttl_ms, epoch, e) : ST_OK, e);
}

static enum st fault_lease_drop(struct kv *kv, struct str name, struct str holder, struct err *e)
{
    struct fault *f = fault_of(kv);
    struct verdict v = judge(f, KV_FAULT_CHANGE);
    return answer(v, v.run ? kv_lease_drop(f->inner, name, holder, e) : ST_OK, e);
}

static enum st fault_backup(struct kv *kv, const char *path, struct err *e)
{
    struct fault *f = fault_of(kv);
    TRY(before_read(f, e));
    return kv_backup(f->inner, path, e);
}

/* ---- the test's side ---- */

void kv_fault_plan(struct kv *fault, const struct kv_fault_plan *plan)
{
    struct fault *f = fault_of(fault);
    pthread_mutex_lock(&f->lock);
    f->plan = plan ? *plan : (struct kv_fault_plan){.at = 0};
    f->seen = 0;
    f->fired = false;
    pthread_mutex_unlock(&f->lock);
}

bool kv_fault_fired(struct kv *fault)
{
    struct fault *f = fault_of(fault);
    pthread_mutex_lock(&f->lock);
    bool fired = f->fired;
    pthread_mutex_unlock(&f->lock);
    return fired;
}

uint64_t kv_fault_seen(struct kv *fault)
{
    struct fault *f = fault_of(fault);
    pthread_mutex_lock(&f->lock);
    uint64_t seen = f->seen;
    pthread_mutex_unlock(&f->lock);
    return seen;
}

void kv_fault_restart(struct kv *fault)
{
    struct fault *f = fault_of(fault);
    kv_fault_plan(fault, NULL);
    pthread_mutex_lock(&f->lock);
    f->crashed = false;
    pthread_mutex_unlock(&f->lock);
}

static void fault_close(struct kv *kv)
{
    struct fault *f = fault_of(kv);
    kv_close(f->inner);
    pthread_mutex_destroy(&f->lock);
    kv_release(&f->kv);
    free(f);
}

enum st kv_fault_new(struct kv **inner, bool split, struct kv **out, struct err *e)
{
    static const struct kv_engine engine = {
        .name = "fault",
        .close = fault_close,
        .get = fault_get,
        .version = fault_version,
        .scan = fault_scan,
        .partitions = fault_partitions,
        .commit = fault_commit,
        .partition_drop = fault_partition_drop,
        .blob_size = fault_blob_size,
        .blob_read = fault_blob_read,
        .blob_read_together = fault_blob_read_together,
        .blobs = fault_blobs,
        .links = fault_links,
        .collect = fault_collect,
        .lease_take = fault_lease_take,
        .lease_drop = fault_lease_drop,
        .backup = fault_backup,
    };
    struct fault *f = calloc(1, sizeof *f);
    ENSURE(f, e, ST_TEMP, "out of memory");
    kv_init(&f->kv, &engine);
    pthread_mutex_init(&f->lock, NULL);
    f->split = split;
    f->inner = *inner;
    *inner = NULL;
    *out = &f->kv;
    return ST_OK;
}
