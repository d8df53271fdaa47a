#include "store/change.h"

#include "rt/clock.h"
#include "rt/random.h"
#include "rt/waiting.h"
#include "store/tx.h"

enum {
    CHANGES_MAX = 256,           /* combined into one commit */
    COMMIT_BYTES_MAX = 24 << 20, /* from here on no further change is added */
    PATIENCE_MS = 20000,         /* with other nodes that change the same account */
    BACK_OFF_BITS = 4,           /* of milliseconds */
};

struct change {
    change_apply *apply;
    void *context;
    enum st status;
    struct err err;
    bool done, lead, alone;
    pthread_cond_t cond;
    struct change *next;
};

/* ---- the leader ---- */

static enum st reload(struct account *a, struct err *e)
{
    struct head fresh;
    enum st s = head_load(account_kv(a), a->partition, &fresh, e);
    if (s == ST_OK && fresh.rec.state == RECORD_DYING) {
        head_release(&fresh);
        s = ERR(e, ST_NOTFOUND, "No such account", "account %s was removed", a->name);
    }
    if (s == ST_NOTFOUND) {
        pthread_mutex_lock(&a->lock);
        a->state = ACCOUNT_GONE;
        pthread_mutex_unlock(&a->lock);
    }
    TRY(s);
    pthread_mutex_lock(&a->lock);
    struct head old = a->head;
    for (size_t i = 0; i < fresh.count; i++) {
        const struct mbox *before = head_find(&old, fresh.by_id[i]->id);
        if (before && before->first_recent > fresh.by_id[i]->first_recent)
            fresh.by_id[i]->first_recent = before->first_recent;
    }
    a->head = fresh;
    a->stale = false;
    pthread_mutex_unlock(&a->lock);
    head_release(&old);
    return ST_OK;
}

static void apply_one(struct tx *tx, struct change *c, bool first, bool *fits)
{
    struct tx_savepoint sp;
    c->err = (struct err){0};
    c->status = tx_save(tx, &sp, &c->err);
    if (c->status == ST_OK && c->apply)
        c->status = c->apply(tx, c->context, &c->err);
    *fits = first || tx->bytes <= COMMIT_BYTES_MAX;
    if (c->status == ST_OK && *fits)
        tx_keep(tx, &sp);
    else
        tx_roll_back(tx, &sp);
}

/* Applies changes from `list` on; returns the first one that has to wait for the next commit. */
static struct change *apply_all(struct tx *tx, struct change *list)
{
    struct change *c = list;
    for (int i = 0; c && i < CHANGES_MAX; i++, c = c->next) {
        bool fits;
        if (i > 0 && (c->alone || list->alone))
            return c;
        apply_one(tx, c, i == 0, &fits);
        if (!fits)
            return c;
    }
    return c;
}

/* What a change learnt from the others before it is not true either. */
static void fail_all(struct change *list, const struct change *end, enum st status, const struct err *err)
{
    for (struct change *c = list; c != end; c = c->next) {
        c->status = status;
        c->err = *err;
    }
}

static enum st commit_and_publish(struct account *a, struct tx *tx, struct tx_touched *touched, struct err *e)
{
    TRY(tx_commit(tx, e));
    tx_touch(tx, touched);
    bool removed = tx->rec.state == RECORD_DYING, wants_care = tx->rec.care && !a->head.rec.care;
    if (removed)
        touched->count = SIZE_MAX;
    pthread_mutex_lock(&a->lock);
    if (!tx_publish(tx))
        a->stale = true;
    if (removed)
        a->state = ACCOUNT_GONE;
    pthread_mutex_unlock(&a->lock);
    if (wants_care)
        store_wants_care(a->store, a->id);
    return ST_OK;
}

/* Records that another node wrote since the head was read do not fit the head, and look damaged. */
static bool outrun(struct account *a, const struct change *list, const struct change *end)
{
    bool damaged = false;
    uint64_t version;
    for (const struct change *c = list; c != end; c = c->next)
        damaged |= c->status == ST_CORRUPT || c->status == ST_CONFLICT;
    return damaged && kv_version(account_kv(a), a->partition, &version, NULL) == ST_OK && version != a->head.rec.modseq;
}

/* Where two nodes change an account at once, the one that has to read the head again may lose as long as the other has changes: so
 * it is time that ends this, not a number of attempts. False: enough. */
static bool back_off(unsigned attempt, int64_t deadline_ms)
{
    if (attempt > 1) {
        waiting_begin();
        clock_sleep_ms(1 + (unsigned)random_below(1U << (attempt < BACK_OFF_BITS ? attempt : BACK_OFF_BITS)));
        waiting_end();
    }
    return clock_mono_ms() < deadline_ms;
}

/* One commit for as many changes of the list as fit; `rest` is what did not. ST_CONFLICT: another node was first. */
static enum st attempt(struct account *a, struct change *list, struct change **rest, struct tx_touched *touched, struct err *e)
{
    struct tx tx;
    enum st s = ST_OK;
    *rest = NULL;
    if (a->stale) { /* another node changed we do not know what */
        TRY(reload(a, e));
        *touched = (struct tx_touched){.count = SIZE_MAX, .modseq = a->head.rec.modseq};
    }
    TRY(tx_begin(&tx, a, e));
    *rest = apply_all(&tx, list);
    if (outrun(a, list, *rest)) {
        a->stale = true;
        s = ST_CONFLICT;
    } else if (tx.dirty) {
        s = commit_and_publish(a, &tx, touched, e);
    }
    tx_end(&tx);
    return s;
}

/* Returns the changes that are still to be made. */
static struct change *run_changes(struct account *a, struct change *list, struct tx_touched *touched)
{
    struct err err = {0};
    struct change *rest;
    int64_t deadline_ms = clock_mono_ms() + PATIENCE_MS;
    enum st s = attempt(a, list, &rest, touched, &err);
    for (unsigned i = 1; s == ST_CONFLICT && back_off(i, deadline_ms); i++)
        s = attempt(a, list, &rest, touched, &err);
    if (s == ST_CONFLICT)
        s = ERR(&err, ST_TEMP, "The mailbox is changing too fast", "account %s: conflicts without end", a->name);
    if (s != ST_OK)
        fail_all(list, rest, s, &err);
    return rest;
}

/* Under the lock: everything up to `end` has its result. */
static void finish(struct change *list, const struct change *end)
{
    while (list != end) {
        struct change *next = list->next; /* it may be gone as soon as its thread has the lock */
        list->done = true;
        pthread_cond_signal(&list->cond);
        list = next;
    }
}

static void hand_over(struct account *a)
{
    if (!a->waiting) {
        a->leading = false;
        return;
    }
    a->waiting->lead = true;
    pthread_cond_signal(&a->waiting->cond);
}

/* Under the lock, which is let go meanwhile. The leader is the first that waits, so its own change is in this round. */
static void lead(struct account *a)
{
    struct tx_touched touched = {.count = 0};
    struct change *list = a->waiting;
    a->waiting = NULL;
    a->waiting_end = &a->waiting;
    pthread_mutex_unlock(&a->lock);
    struct change *rest = run_changes(a, list, &touched);
    if (touched.count > 0) /* before any of them returns: a session must find its own change */
        account_notify(a, touched.ids, touched.count, touched.modseq);
    pthread_mutex_lock(&a->lock);
    struct change **last = &list;
    while (*last != rest)
        last = &(*last)->next;
    *last = NULL;
    if (rest) { /* they came first */
        struct change *end = rest;
        while (end->next)
            end = end->next;
        end->next = a->waiting;
        if (!a->waiting)
            a->waiting_end = &end->next;
        a->waiting = rest;
    }
    finish(list, NULL);
    hand_over(a);
}

static enum st run(struct account *a, change_apply *apply, void *context, bool alone, struct err *e)
{
    struct change c = {.apply = apply, .context = context, .alone = alone, .cond = PTHREAD_COND_INITIALIZER};
    pthread_mutex_lock(&a->lock);
    if (a->state == ACCOUNT_GONE) {
        pthread_mutex_unlock(&a->lock);
        return ERR(e, ST_NOTFOUND, "No such account", "account %s was removed", a->name);
    }
    *a->waiting_end = &c;
    /* cppcheck-suppress autoVariables ; c is out of the queue before this returns */
    a->waiting_end = &c.next;
    if (!a->leading) {
        a->leading = true;
        c.lead = true;
    }
    if (!c.lead) {
        waiting_begin(); /* for the commit of another thread */
        while (!c.done && !c.lead)
            pthread_cond_wait(&c.cond, &a->lock);
        waiting_end();
    }
    if (!c.done)
        lead(a);
    pthread_mutex_unlock(&a->lock);
    pthread_cond_destroy(&c.cond);
    if (c.status != ST_OK && e)
        *e = c.err;
    return c.status;
}

enum st change_run(struct account *a, change_apply *apply, void *context, struct err *e)
{
    return run(a, apply, context, false, e);
}

enum st change_run_alone(struct account *a, change_apply *apply, void *context, struct err *e)
{
    return run(a, apply, context, true, e);
}
