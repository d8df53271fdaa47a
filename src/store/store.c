#include "store/store.h"

#include <stdlib.h>

#include "rt/waiting.h"
#include "store/account.h"
#include "store/store_internal.h"

void store_config_defaults(struct store_config *c)
{
    *c = (struct store_config){.accounts_cached = 20000,
                               .journal_max_changes = 20000,
                               .mailboxes_max = 10000,
                               .blob_grace_s = 3600,
                               .message_max_bytes = UINT64_C(256) << 20};
}

enum st store_open(struct kv *kv, const struct store_config *config, struct store **out, struct err *e)
{
    *out = NULL;
    struct store *s = calloc(1, sizeof *s);
    if (!s)
        return ERR(e, ST_TEMP, "Out of memory", "opening the store");
    s->kv = kv;
    s->config = *config;
    s->buckets = 1024;
    while (s->buckets < config->accounts_cached && s->buckets < (size_t)1 << 20)
        s->buckets *= 2;
    s->table = calloc(s->buckets, sizeof(struct account *));
    if (!s->table) {
        free(s);
        return ERR(e, ST_TEMP, "Out of memory", "opening the store");
    }
    pthread_mutex_init(&s->lock, NULL);
    pthread_mutex_init(&s->care_lock, NULL);
    *out = s;
    return ST_OK;
}

struct kv *store_kv(struct store *s) { return s->kv; }

/* ---- the table of open accounts ---- */

static struct account **bucket(struct store *s, account_id id)
{
    uint64_t h = id * UINT64_C(0x9e3779b97f4a7c15);
    return &s->table[(h >> 32) & (s->buckets - 1)];
}

static struct account *find(struct store *s, account_id id)
{
    struct account *a = *bucket(s, id);
    while (a && a->id != id)
        a = a->hash_next;
    return a;
}

static void idle_remove(struct store *s, struct account *a)
{
    if (!a->idle)
        return;
    *(a->idle_before ? &a->idle_before->idle_next : &s->idle_first) = a->idle_next;
    *(a->idle_next ? &a->idle_next->idle_before : &s->idle_last) = a->idle_before;
    a->idle_next = a->idle_before = NULL;
    a->idle = false;
    s->idle_count--;
}

static void idle_add(struct store *s, struct account *a)
{
    a->idle = true;
    a->idle_before = s->idle_last;
    *(s->idle_last ? &s->idle_last->idle_next : &s->idle_first) = a;
    s->idle_last = a;
    s->idle_count++;
}

static void unlist(struct store *s, struct account *a)
{
    if (!a->listed)
        return;
    struct account **at = bucket(s, a->id);
    while (*at != a)
        at = &(*at)->hash_next;
    *at = a->hash_next;
    a->listed = false;
}

static void account_free(struct account *a)
{
    head_release(&a->head);
    free(a->open_err);
    pthread_mutex_destroy(&a->lock);
    pthread_mutex_destroy(&a->watch_lock);
    pthread_cond_destroy(&a->opened);
    free(a);
}

struct account *account_new(struct store *s, account_id id)
{
    struct account *a = calloc(1, sizeof *a);
    if (!a)
        return NULL;
    a->store = s;
    a->id = id;
    account_partition(id, a->name);
    a->partition = str_of(a->name);
    a->waiting_end = &a->waiting;
    atomic_init(&a->refs, 1);
    pthread_mutex_init(&a->lock, NULL);
    pthread_mutex_init(&a->watch_lock, NULL);
    pthread_cond_init(&a->opened, NULL);
    return a;
}

/* An existing handle with one reference more, or a new one that the caller must open (*fresh). */
static struct account *get_handle(struct store *s, account_id id, bool *fresh)
{
    pthread_mutex_lock(&s->lock);
    struct account *a = find(s, id);
    *fresh = !a;
    if (a) {
        atomic_fetch_add(&a->refs, 1);
        idle_remove(s, a);
    } else if ((a = account_new(s, id))) {
        a->hash_next = *bucket(s, id);
        *bucket(s, id) = a;
        a->listed = true;
    }
    pthread_mutex_unlock(&s->lock);
    return a;
}

void account_forget(struct account *a)
{
    pthread_mutex_lock(&a->store->lock);
    unlist(a->store, a);
    pthread_mutex_unlock(&a->store->lock);
}

static enum st open_fresh(struct account *a, struct err *e)
{
    struct head head = {0};
    struct err own = {0};
    enum st s = head_load(a->store->kv, a->partition, &head, &own);
    if (s == ST_OK && head.rec.state == RECORD_DYING)
        s = ERR(&own, ST_NOTFOUND, "No such account", "account %s was removed", a->name);
    if (s != ST_OK) {
        head_release(&head);
        account_forget(a);
    }
    bool care = head.rec.care;
    pthread_mutex_lock(&a->lock);
    a->head = head;
    if (s != ST_OK && (a->open_err = malloc(sizeof own)))
        *a->open_err = own;
    a->state = s == ST_OK ? ACCOUNT_OPEN : ACCOUNT_FAILED;
    pthread_cond_broadcast(&a->opened);
    pthread_mutex_unlock(&a->lock);
    if (care)
        store_wants_care(a->store, a->id);
    if (s != ST_OK && e)
        *e = own;
    return s;
}

static enum st open_shared(struct account *a, struct err *e)
{
    pthread_mutex_lock(&a->lock);
    if (a->state == ACCOUNT_OPENING) {
        waiting_begin();
        while (a->state == ACCOUNT_OPENING)
            pthread_cond_wait(&a->opened, &a->lock);
        waiting_end();
    }
    enum st s = ST_OK;
    bool gone = false;
    if (a->state == ACCOUNT_FAILED) {
        s = a->open_err ? a->open_err->class : ERR(e, ST_TEMP, "Out of memory", "opening account %s", a->name);
        if (e && a->open_err)
            *e = *a->open_err;
    } else if (a->state == ACCOUNT_GONE) {
        gone = true;
        s = ERR(e, ST_NOTFOUND, "No such account", "account %s was removed", a->name);
    }
    pthread_mutex_unlock(&a->lock);
    if (gone)
        account_forget(a);
    return s;
}

enum st account_open(struct store *s, account_id id, struct account **out, struct err *e)
{
    *out = NULL;
    bool fresh;
    struct account *a = get_handle(s, id, &fresh);
    if (!a)
        return ERR(e, ST_TEMP, "Out of memory", "opening an account");
    enum st st = fresh ? open_fresh(a, e) : open_shared(a, e);
    if (st == ST_OK)
        *out = a;
    else
        account_unref(a);
    return st;
}

struct account *account_ref(struct account *a)
{
    atomic_fetch_add(&a->refs, 1);
    return a;
}

void account_unref(struct account *a)
{
    if (!a)
        return;
    size_t refs = atomic_load(&a->refs);
    while (refs > 1)
        if (atomic_compare_exchange_weak(&a->refs, &refs, refs - 1))
            return;
    struct store *s = a->store;
    struct account *victim = NULL;
    pthread_mutex_lock(&s->lock);
    if (atomic_fetch_sub(&a->refs, 1) == 1) {
        if (a->listed)
            idle_add(s, a);
        else
            victim = a;
        if (s->idle_count > s->config.accounts_cached) {
            victim = s->idle_first;
            idle_remove(s, victim);
            unlist(s, victim);
        }
    }
    pthread_mutex_unlock(&s->lock);
    if (victim)
        account_free(victim);
}

void store_close(struct store *s)
{
    if (!s)
        return;
    for (struct account *a = s->idle_first, *next; a; a = next) {
        next = a->idle_next;
        account_free(a);
    }
    pthread_mutex_destroy(&s->lock);
    pthread_mutex_destroy(&s->care_lock);
    free(s->care);
    free(s->table);
    free(s);
}

/* ---- background work ---- */

void store_wants_care(struct store *s, account_id id)
{
    pthread_mutex_lock(&s->care_lock);
    bool there = false;
    for (size_t i = 0; i < s->care_count && !there; i++)
        there = s->care[i] == id;
    if (!there && s->care_count < STORE_CARE_MAX) { /* of more, the sweep over all accounts finds the rest */
        account_id *care = reallocarray(s->care, s->care_count + 1, sizeof *care);
        if (care) {
            s->care = care;
            s->care[s->care_count++] = id;
        }
    }
    pthread_mutex_unlock(&s->care_lock);
}
