#include "queue/shard.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/bits.h"
#include "base/rd.h"
#include "rt/clock.h"
#include "rt/log.h"
#include "rt/metrics.h"
#include "rt/random.h"
#include "rt/waiting.h"

enum key_kind { KEY_BLOB = 'b', KEY_COMMIT = 'c', KEY_ENTRY = 'i', KEY_OWNER = 'o', KEY_TIME = 't' };
enum { TAKE_TRIES = 20, RESYNC_TRIES = 3, RESYNC_WAIT_MS = 20, CONFLICT_TRIES = 5, NODE_MAX = 64, GHOSTS_MAX = 100000 };

enum shard_state { SHARD_OWNED, SHARD_UNSURE, SHARD_LOST };

struct ghost {                  /* an entry that a commit of unknown outcome may have added */
    struct shard_change change; /* its removal */
    bool real;                  /* it did: to be removed */
};

struct shard {
    struct kv *kv;
    unsigned number;
    char name[SHARD_NAME_MAX], node[NODE_MAX];
    uint64_t epoch;

    pthread_mutex_t lock;
    struct shard_op *first, **last; /* waiting, in order */
    bool leading;
    bool lost; /* what others may ask */
    uint64_t entries_seen;

    /* the leader's */
    enum shard_state state;
    uint64_t version, entries;
    uint64_t token; /* of the last commit that was tried */
    bool doubtful;  /* some outcome was unknown once: removals look whether there is something to remove */
    struct ghost *ghosts;
    size_t ghost_count, ghost_cap;
    struct kv_batch *batch;
};

struct key {
    char b[SHARD_KEY_MAX];
    size_t n;
};
static struct str key_str(const struct key *k) { return (struct str){k->b, k->n}; }
static struct key key_of(enum key_kind kind, const void *rest, size_t n)
{
    struct key k = {{(char)kind}, 1 + n};
    memcpy(k.b + 1, rest, n);
    return k;
}
static struct key key_entry(const struct queue_id *id) { return key_of(KEY_ENTRY, id->b, QUEUE_ID_SIZE); }
static struct key key_time(const struct shard_due *at)
{
    char rest[8 + QUEUE_ID_SIZE];
    be64_put(rest, (uint64_t)at->due_ms);
    memcpy(rest + 8, at->id.b, QUEUE_ID_SIZE);
    return key_of(KEY_TIME, rest, sizeof rest);
}
static struct key key_blob(const struct kv_blob_id *id) { return key_of(KEY_BLOB, id->sha256, KV_BLOB_ID_SIZE); }
static struct key key_single(enum key_kind kind) { return key_of(kind, "", 0); }

void shard_name_print(unsigned number, char out[SHARD_NAME_MAX]) { snprintf(out, SHARD_NAME_MAX, "queue-%02x", number & 0xffff); }

bool shard_name_parse(struct str name, unsigned *number)
{
    if (!str_starts(name, STR("queue-")) || name.n < 8 || name.n > 10)
        return false;
    *number = 0;
    for (size_t i = 6; i < name.n; i++) {
        int digit = ascii_hex_value(name.p[i]);
        if (digit < 0)
            return false;
        *number = *number << 4 | (unsigned)digit;
    }
    char again[SHARD_NAME_MAX];
    shard_name_print(*number, again);
    return str_eq(name, str_of(again));
}

unsigned shard_number(const struct shard *s) { return s->number; }
struct str shard_name(const struct shard *s) { return str_of(s->name); }

bool shard_lost(struct shard *s)
{
    pthread_mutex_lock(&s->lock);
    bool lost = s->lost;
    pthread_mutex_unlock(&s->lock);
    return lost;
}

uint64_t shard_entries(struct shard *s)
{
    pthread_mutex_lock(&s->lock);
    uint64_t n = s->entries_seen;
    pthread_mutex_unlock(&s->lock);
    return n;
}

/* ---- state on the disk ---- */

static void add_commit_record(struct shard *s, uint64_t entries)
{
    char bytes[16];
    struct key k = key_single(KEY_COMMIT);
    le64_put(bytes, s->token);
    le64_put(bytes + 8, entries);
    kv_batch_put(s->batch, key_str(&k), str_make(bytes, sizeof bytes));
}

/* *token and *entries are 0 in a shard that was never written. */
static enum st read_commit_record(struct shard *s, uint64_t *token, uint64_t *entries, struct err *e)
{
    DEFER(buf_release) struct buf value = BUF_INIT(64);
    struct key k = key_single(KEY_COMMIT);
    enum st st = kv_get(s->kv, shard_name(s), key_str(&k), &value, e);
    *token = *entries = 0;
    if (st == ST_NOTFOUND)
        return ST_OK;
    TRY(st);
    ENSURE(value.n == 16, e, ST_CORRUPT, "The queue's commit record is damaged");
    *token = le64_get(value.p);
    *entries = le64_get(value.p + 8);
    return ST_OK;
}

static enum st still_owner(struct shard *s, bool *mine, struct err *e)
{
    DEFER(buf_release) struct buf value = BUF_INIT(256);
    struct key k = key_single(KEY_OWNER);
    enum st st = kv_get(s->kv, shard_name(s), key_str(&k), &value, e);
    *mine = st == ST_OK && value.n >= 8 && le64_get(value.p) == s->epoch && str_eq(str_from(buf_str(&value), 8), str_of(s->node));
    return st == ST_NOTFOUND ? ST_OK : st;
}

static void write_owner(struct shard *s)
{
    char bytes[8 + NODE_MAX];
    size_t n = strlen(s->node);
    struct key k = key_single(KEY_OWNER);
    le64_put(bytes, s->epoch);
    memcpy(bytes + 8, s->node, n);
    kv_batch_put(s->batch, key_str(&k), str_make(bytes, 8 + n));
}

/* The new owner's first commit moves the version, so that a commit which the old owner has under way is refused. */
static enum st take_over(struct shard *s, struct err *e)
{
    for (unsigned i = 0; i < TAKE_TRIES; i++) {
        uint64_t token;
        TRY(kv_version(s->kv, shard_name(s), &s->version, e));
        TRY(read_commit_record(s, &token, &s->entries, e));
        kv_batch_clear(s->batch);
        s->token = random_u64();
        write_owner(s);
        add_commit_record(s, s->entries);
        enum st st = kv_commit(s->kv, shard_name(s), s->batch, s->version, e);
        if (st != ST_CONFLICT) {
            s->version++;
            s->entries_seen = s->entries;
            return st;
        }
    }
    return ERR(e, ST_TEMP, "The queue is busy", "%s changes all the time", s->name);
}

enum st shard_open(struct kv *kv, unsigned number, const char *node, unsigned lease_ms, struct shard **out, struct err *e)
{
    *out = NULL;
    ENSURE(number < SHARDS_MAX && strlen(node) < NODE_MAX, e, ST_PERM, "Bad shard number or node name");
    struct shard *s = calloc(1, sizeof *s);
    struct kv_batch *batch = s ? kv_batch_new(kv) : NULL;
    if (!batch) {
        free(s);
        return ERR(e, ST_TEMP, "Out of memory", "opening a queue shard");
    }
    s->kv = kv;
    s->number = number;
    s->batch = batch;
    s->last = &s->first;
    shard_name_print(number, s->name);
    memcpy(s->node, node, strlen(node) + 1);
    pthread_mutex_init(&s->lock, NULL);
    enum st st = kv_lease_take(kv, shard_name(s), str_of(node), lease_ms, &s->epoch, e);
    if (st == ST_OK)
        st = take_over(s, e);
    if (st != ST_OK) {
        kv_batch_free(s->batch);
        pthread_mutex_destroy(&s->lock);
        free(s);
        return st;
    }
    metrics_add(METRIC_QUEUE_MESSAGES, (int64_t)s->entries);
    *out = s;
    return ST_OK;
}

void shard_close(struct shard *s)
{
    if (!s)
        return;
    struct err e = {0};
    if (!s->lost && kv_lease_drop(s->kv, shard_name(s), str_of(s->node), &e) != ST_OK)
        log_event(LOG_WARN, "queue.lease", LOG_Z("shard", s->name), LOG_ERR(&e));
    metrics_add(METRIC_QUEUE_MESSAGES, -(int64_t)s->entries);
    kv_batch_free(s->batch);
    pthread_mutex_destroy(&s->lock);
    free(s->ghosts);
    free(s);
}

static void set_lost(struct shard *s)
{
    s->state = SHARD_LOST;
    pthread_mutex_lock(&s->lock);
    s->lost = true;
    pthread_mutex_unlock(&s->lock);
    log_event(LOG_WARN, "queue.shard_lost", LOG_Z("shard", s->name), LOG_Z("node", s->node));
}

enum st shard_renew(struct shard *s, unsigned lease_ms, struct err *e)
{
    uint64_t epoch = 0;
    enum st st = kv_lease_take(s->kv, shard_name(s), str_of(s->node), lease_ms, &epoch, e);
    bool other = st == ST_CONFLICT || (st == ST_OK && epoch != s->epoch);
    if (!other)
        return st;
    pthread_mutex_lock(&s->lock);
    s->lost = true;
    pthread_mutex_unlock(&s->lock);
    return ERR(e, ST_CONFLICT, "The queue belongs to another server now", "%s", s->name);
}

/* ---- building one commit ---- */

struct counts { /* references to blobs as this commit leaves them */
    struct {
        struct kv_blob_id id;
        int64_t before, now;
        bool used;
    } * slots;
    size_t mask;
};

static enum st counts_find(struct shard *s, struct counts *c, const struct kv_blob_id *id, int64_t **now, struct err *e)
{
    size_t at = (size_t)le64_get(id->sha256) & c->mask;
    while (c->slots[at].used && memcmp(c->slots[at].id.sha256, id->sha256, KV_BLOB_ID_SIZE) != 0)
        at = (at + 1) & c->mask;
    if (!c->slots[at].used) {
        DEFER(buf_release) struct buf value = BUF_INIT(64);
        struct key k = key_blob(id);
        enum st st = kv_get(s->kv, shard_name(s), key_str(&k), &value, e);
        if (st != ST_OK && st != ST_NOTFOUND)
            return st;
        ENSURE(st == ST_NOTFOUND || value.n == 8, e, ST_CORRUPT, "A reference count of the queue is damaged");
        c->slots[at].used = true;
        c->slots[at].id = *id;
        c->slots[at].before = c->slots[at].now = st == ST_OK ? (int64_t)le64_get(value.p) : 0;
    }
    *now = &c->slots[at].now;
    return ST_OK;
}

static void counts_write(struct shard *s, const struct counts *c)
{
    for (size_t i = 0; i <= c->mask; i++) {
        if (!c->slots[i].used || c->slots[i].now == c->slots[i].before)
            continue;
        struct key k = key_blob(&c->slots[i].id);
        char bytes[8];
        le64_put(bytes, (uint64_t)c->slots[i].now);
        if (c->slots[i].now > 0)
            kv_batch_put(s->batch, key_str(&k), str_make(bytes, sizeof bytes));
        else
            kv_batch_delete(s->batch, key_str(&k));
        if (c->slots[i].now <= 0 && c->slots[i].before > 0)
            kv_batch_unlink(s->batch, &c->slots[i].id);
    }
}

/* After an outcome was unknown an entry may be gone already: then nothing of it counts again. */
static enum st already_gone(struct shard *s, const struct queue_id *id, bool *gone, struct err *e)
{
    *gone = false;
    if (!s->doubtful)
        return ST_OK;
    DEFER(buf_release) struct buf value = BUF_INIT(KV_VALUE_MAX);
    enum st st = shard_get(s, id, &value, e);
    *gone = st == ST_NOTFOUND;
    return *gone ? ST_OK : st;
}

static enum st add_change(struct shard *s, const struct shard_change *c, struct counts *counts, int64_t *entries, struct err *e)
{
    struct key entry = key_entry(&c->id);
    struct key was = key_time(&(struct shard_due){c->was_due_ms, c->id}), due = key_time(&(struct shard_due){c->due_ms, c->id});
    bool removed = c->record.n == 0, gone = false;
    if (removed)
        TRY(already_gone(s, &c->id, &gone, e));
    if (c->was_due_ms > 0 && c->was_due_ms != c->due_ms)
        kv_batch_delete(s->batch, key_str(&was));
    if (removed)
        kv_batch_delete(s->batch, key_str(&entry));
    else
        kv_batch_put(s->batch, key_str(&entry), c->record);
    if (!removed && c->due_ms > 0 && c->due_ms != c->was_due_ms)
        kv_batch_put(s->batch, key_str(&due), c->domain);
    if (gone || (!removed && !c->is_new))
        return ST_OK;
    int64_t *now = NULL;
    TRY(counts_find(s, counts, &c->blob, &now, e));
    if (!now)
        return ERR_PUBLIC(e, ST_BUG, "Mail system failure");
    *now += removed ? -1 : 1;
    *entries += removed ? -1 : 1;
    return ST_OK;
}

static enum st add_op(struct shard *s, const struct shard_op *op, struct counts *counts, int64_t *entries, struct err *e)
{
    for (size_t i = 0; i < op->blob_count; i++)
        kv_batch_blob(s->batch, &op->blobs[i].id, op->blobs[i].bytes);
    for (size_t i = 0; i < op->count; i++)
        TRY(add_change(s, &op->changes[i], counts, entries, e));
    return ST_OK;
}

/* ---- unknown outcomes ---- */

/* The last commit, which added the ghosts that are not real yet, did happen or not. */
static void ghosts_decided(struct shard *s, bool applied)
{
    size_t kept = 0;
    for (size_t i = 0; i < s->ghost_count; i++)
        if (applied || s->ghosts[i].real) {
            s->ghosts[kept] = s->ghosts[i];
            s->ghosts[kept++].real = true;
        }
    s->ghost_count = kept;
}

static bool ghost_add(struct shard *s, const struct shard_change *c)
{
    if (s->ghost_count == s->ghost_cap) {
        size_t cap = s->ghost_cap ? s->ghost_cap * 2 : 16;
        struct ghost *grown = cap <= GHOSTS_MAX ? realloc(s->ghosts, cap * sizeof *grown) : NULL;
        if (!grown)
            return false;
        s->ghosts = grown;
        s->ghost_cap = cap;
    }
    s->ghosts[s->ghost_count++] = (struct ghost){{.id = c->id, .was_due_ms = c->due_ms, .blob = c->blob}, false};
    return true;
}

static void ghosts_keep(struct shard *s, const struct shard_op *group)
{
    for (const struct shard_op *op = group; op; op = op->next)
        for (size_t i = 0; i < op->count; i++)
            if (op->changes[i].is_new && !ghost_add(s, &op->changes[i]))
                log_event(LOG_ERROR, "queue.ghost", LOG_Z("shard", s->name), LOG_Z("why", "too many; a message may go out twice"));
}

/* Removes what an undecided commit added after all: its senders were told to try again. */
static enum st ghosts_remove(struct shard *s, struct counts *counts, int64_t *entries, struct err *e)
{
    for (size_t i = 0; i < s->ghost_count; i++)
        TRY(add_change(s, &s->ghosts[i].change, counts, entries, e));
    return ST_OK;
}

/* Asks the engine where we stand. *applied: the last commit that was tried did happen. */
static enum st resync(struct shard *s, bool *applied, struct err *e)
{
    uint64_t token, entries, version;
    bool mine;
    TRY(still_owner(s, &mine, e));
    if (!mine) {
        set_lost(s);
        return ERR(e, ST_TEMP, "The queue belongs to another server now", "%s", s->name);
    }
    TRY(kv_version(s->kv, shard_name(s), &version, e));
    TRY(read_commit_record(s, &token, &entries, e));
    *applied = token == s->token;
    s->version = version;
    s->entries = entries;
    s->state = SHARD_OWNED;
    return ST_OK;
}

static enum st decide(struct shard *s, bool *applied, struct err *e)
{
    enum st st = ST_TEMP;
    s->doubtful = true;
    s->state = SHARD_UNSURE;
    for (unsigned i = 0; i < RESYNC_TRIES && s->state == SHARD_UNSURE; i++) {
        if (i > 0)
            clock_sleep_ms(RESYNC_WAIT_MS);
        st = resync(s, applied, e);
    }
    return st;
}

static enum st make_sure(struct shard *s, struct err *e)
{
    if (s->state == SHARD_LOST || shard_lost(s))
        return ERR(e, ST_TEMP, "The queue belongs to another server now", "%s", s->name);
    if (s->state == SHARD_OWNED)
        return ST_OK;
    bool applied = false;
    TRY(resync(s, &applied, e));
    ghosts_decided(s, applied);
    return ST_OK;
}

/* ---- the commit ---- */

static size_t group_changes(const struct shard_op *group)
{
    size_t n = 0;
    for (; group; group = group->next)
        n += group->count;
    return n;
}

static enum st build(struct shard *s, const struct shard_op *group, struct counts *counts, int64_t *entries, struct err *e)
{
    kv_batch_clear(s->batch);
    memset(counts->slots, 0, (counts->mask + 1) * sizeof *counts->slots);
    *entries = (int64_t)s->entries;
    TRY(ghosts_remove(s, counts, entries, e));
    for (const struct shard_op *op = group; op; op = op->next)
        TRY(add_op(s, op, counts, entries, e));
    counts_write(s, counts);
    s->token++; /* from a random beginning, so that no two owners write the same */
    add_commit_record(s, (uint64_t)(*entries > 0 ? *entries : 0));
    return ST_OK;
}

static void committed(struct shard *s, int64_t entries)
{
    metrics_add(METRIC_QUEUE_MESSAGES, entries - (int64_t)s->entries);
    s->entries = (uint64_t)(entries > 0 ? entries : 0);
    s->ghost_count = 0;
    pthread_mutex_lock(&s->lock);
    s->entries_seen = s->entries;
    pthread_mutex_unlock(&s->lock);
}

static enum st try_commit(struct shard *s, const struct shard_op *group, struct counts *counts, struct err *e)
{
    for (unsigned i = 0; i < CONFLICT_TRIES; i++) {
        int64_t entries;
        bool applied = false;
        TRY(make_sure(s, e));
        TRY(build(s, group, counts, &entries, e));
        enum st st = kv_commit(s->kv, shard_name(s), s->batch, s->version, e);
        if (st == ST_OK) {
            s->version++;
            committed(s, entries);
            return ST_OK;
        }
        if (st != ST_TEMP && st != ST_CONFLICT)
            return st;
        struct err why = {0};
        if (decide(s, &applied, &why) != ST_OK) {
            ghosts_keep(s, group);
            return st == ST_CONFLICT ? ERR(e, ST_TEMP, "The queue cannot be written now", "%s", why.detail) : st;
        }
        if (applied) {
            committed(s, entries);
            return ST_OK;
        }
        if (st == ST_TEMP)
            return st;
    }
    return ERR(e, ST_TEMP, "The queue is busy", "%s changes all the time", s->name);
}

static enum st commit_group(struct shard *s, const struct shard_op *group, struct err *e)
{
    size_t size = 64, want = 2 * (group_changes(group) + s->ghost_count);
    while (size < want)
        size *= 2;
    struct counts counts = {calloc(size, sizeof *counts.slots), size - 1};
    if (!counts.slots)
        return ERR(e, ST_TEMP, "Out of memory", "committing to %s", s->name);
    enum st st = try_commit(s, group, &counts, e);
    free(counts.slots);
    return st;
}

/* One op that is wrong by itself must not fail the others. */
static void commit_each(struct shard *s, struct shard_op *group)
{
    for (struct shard_op *op = group, *next; op; op = next) {
        next = op->next;
        op->next = NULL;
        op->result = commit_group(s, op, &op->err);
        op->next = next;
    }
}

static struct shard_op *take_group(struct shard *s)
{
    pthread_mutex_lock(&s->lock);
    struct shard_op *group = s->first, *last = group;
    for (unsigned n = 1; n < SHARD_OPS_MAX && last->next; n++)
        last = last->next;
    s->first = last->next;
    if (!s->first)
        s->last = &s->first;
    last->next = NULL;
    pthread_mutex_unlock(&s->lock);
    return group;
}

/* The next group is led by the thread that waits longest. It starts before those of this group are woken, so that the engine has
 * something to do. */
static void pass_the_lead(struct shard *s)
{
    pthread_mutex_lock(&s->lock);
    struct shard_op *next = s->first;
    s->leading = next != NULL;
    pthread_mutex_unlock(&s->lock);
    if (next) {
        next->lead = true;
        sem_post(&next->wake);
    }
}

/* Commits one group, which begins with the caller's op. Nobody is woken under the lock, and whoever is woken needs no lock: a
 * group of twenty would queue up at it. */
static void lead(struct shard *s)
{
    struct shard_op *group = take_group(s);
    struct err err = {0};
    enum st st = commit_group(s, group, &err);
    bool alone = !group->next;
    if (st != ST_OK && st != ST_TEMP && !alone)
        commit_each(s, group);
    else
        for (struct shard_op *op = group; op; op = op->next) {
            op->result = st;
            op->err = err;
        }
    pass_the_lead(s);
    for (struct shard_op *op = group->next, *next; op; op = next) {
        next = op->next; /* a woken op may be gone at once */
        sem_post(&op->wake);
    }
}

/* Another thread commits for us, or gives us the lead. */
static void wait_in_line(struct shard_op *op)
{
    waiting_begin();
    while (sem_wait(&op->wake) != 0) /* a signal */
        continue;
    waiting_end();
}

enum st shard_commit(struct shard *s, struct shard_op *op, struct err *e)
{
    op->next = NULL;
    op->result = ST_TEMP;
    op->err = (struct err){0};
    sem_init(&op->wake, 0, 0);
    pthread_mutex_lock(&s->lock);
    *s->last = op;
    s->last = &op->next;
    op->lead = !s->leading;
    s->leading = true;
    bool first = op->lead;
    pthread_mutex_unlock(&s->lock);
    if (!first)
        wait_in_line(op);
    if (op->lead)
        lead(s);
    sem_destroy(&op->wake);
    if (op->result != ST_OK && e)
        *e = op->err;
    return op->result;
}

/* ---- reading ---- */

enum st shard_get(struct shard *s, const struct queue_id *id, struct buf *record, struct err *e)
{
    struct key k = key_entry(id);
    return kv_get(s->kv, shard_name(s), key_str(&k), record, e);
}

int shard_due_cmp(const struct shard_due *a, const struct shard_due *b)
{
    if (a->due_ms != b->due_ms)
        return a->due_ms < b->due_ms ? -1 : 1;
    return queue_id_cmp(&a->id, &b->id);
}

struct scan {
    shard_due_visit *due;
    shard_entry_visit *entry;
    void *context;
};

static bool visit_due(void *context, struct str key, struct str value)
{
    const struct scan *scan = context;
    struct shard_due at = {0};
    if (key.n != 1 + 8 + QUEUE_ID_SIZE)
        return true;
    at.due_ms = (int64_t)be64_get(key.p + 1);
    memcpy(at.id.b, key.p + 9, QUEUE_ID_SIZE);
    return scan->due(scan->context, &at, value);
}

enum st shard_scan_due(struct shard *s, const struct shard_due *from, shard_due_visit *visit, void *context, struct err *e)
{
    struct key first = key_time(from), end = key_single((enum key_kind)(KEY_TIME + 1));
    struct scan scan = {.due = visit, .context = context};
    return kv_scan(s->kv, shard_name(s), key_str(&first), key_str(&end), visit_due, &scan, e);
}

static bool visit_entry(void *context, struct str key, struct str value)
{
    const struct scan *scan = context;
    struct queue_id id;
    if (key.n != 1 + QUEUE_ID_SIZE)
        return true;
    memcpy(id.b, key.p + 1, QUEUE_ID_SIZE);
    return scan->entry(scan->context, &id, value);
}

enum st shard_scan_entries(struct shard *s, const struct queue_id *from, shard_entry_visit *visit, void *context, struct err *e)
{
    struct key first = key_entry(from), end = key_single((enum key_kind)(KEY_ENTRY + 1));
    struct scan scan = {.entry = visit, .context = context};
    return kv_scan(s->kv, shard_name(s), key_str(&first), key_str(&end), visit_entry, &scan, e);
}
