#include "queue/queue.h"

#include <stdio.h>
#include <stdlib.h>

#include "net/tls.h"
#include "queue/queue_internal.h"
#include "queue/route.h"
#include "queue/transport.h"
#include "queue/workers.h"
#include "rt/clock.h"
#include "rt/log.h"
#include "rt/random.h"
#include "rt/settings.h"

/* ---- shards ---- */

static struct window_slot *slot_numbered(struct queue *q, unsigned number)
{
    for (size_t i = 0; i < q->slot_count; i++)
        if (shard_number(q->slots[i]->shard) == number && !shard_lost(q->slots[i]->shard))
            return q->slots[i];
    return NULL;
}

struct window_slot *queue_slot_of(struct queue *q, const struct queue_id *id)
{
    pthread_mutex_lock(&q->window.lock);
    struct window_slot *slot = slot_numbered(q, queue_id_shard(id));
    pthread_mutex_unlock(&q->window.lock);
    return slot;
}

/* In runs: messages that come at the same time belong to one shard and share its commits; over time all shards get the same. */
struct window_slot *queue_slot_for_new(struct queue *q)
{
    struct window_slot *slot = NULL;
    unsigned turn = atomic_fetch_add_explicit(&q->slot_turn, 1, memory_order_relaxed) / QUEUE_RUN;
    pthread_mutex_lock(&q->window.lock);
    for (size_t i = 0; i < q->slot_count && !slot; i++) {
        struct window_slot *s = q->slots[(turn + i) % q->slot_count];
        if (s->adding && !shard_lost(s->shard))
            slot = s;
    }
    pthread_mutex_unlock(&q->window.lock);
    return slot;
}

static enum st add_shard(struct queue *q, unsigned number, bool adding, struct err *e)
{
    struct shard *shard;
    ENSURE(q->slot_count < QUEUE_SLOTS_MAX, e, ST_LIMIT, "Too many queue shards");
    TRY(shard_open(q->kv, number, q->node, QUEUE_LEASE_MS, &shard, e));
    struct window_slot *slot = calloc(1, sizeof *slot);
    if (!slot) {
        shard_close(shard);
        return ERR(e, ST_TEMP, "Out of memory", "opening a queue shard");
    }
    *slot = (struct window_slot){.shard = shard, .more = true, .adding = adding, .renew_ms = clock_mono_ms() + QUEUE_RENEW_MS};
    pthread_mutex_lock(&q->window.lock);
    q->slots[q->slot_count++] = slot;
    pthread_mutex_unlock(&q->window.lock);
    log_event(LOG_INFO, "queue.shard", LOG_STR("shard", shard_name(shard)), LOG_UINT("entries", shard_entries(shard)));
    return ST_OK;
}

struct found { /* shards that exist */
    unsigned numbers[QUEUE_SLOTS_MAX];
    size_t count;
};

static bool visit_partition(void *context, struct str partition, uint64_t version)
{
    struct found *found = context;
    unsigned number;
    (void)version;
    if (shard_name_parse(partition, &number) && found->count < QUEUE_SLOTS_MAX)
        found->numbers[found->count++] = number;
    return true;
}

/* New messages go to as many shards as the setting says; the first free numbers. */
static enum st take_own(struct queue *q, struct err *e)
{
    const struct settings *settings = settings_current();
    size_t wanted = (size_t)settings->queue_shards, adding = 0;
    settings_unref(settings);
    for (size_t i = 0; i < q->slot_count; i++)
        adding += q->slots[i]->adding;
    for (unsigned number = 0; number < SHARDS_MAX && adding < wanted; number++) {
        struct window_slot *slot = slot_numbered(q, number);
        if (slot) {
            adding += !slot->adding;
            slot->adding = true;
            continue;
        }
        enum st st = add_shard(q, number, true, e);
        if (st != ST_OK && st != ST_CONFLICT)
            return st;
        adding += st == ST_OK;
    }
    return ST_OK;
}

enum st queue_take_shards(struct queue *q, bool first, struct err *e)
{
    struct found *found = calloc(1, sizeof *found);
    if (!found)
        return ERR(e, ST_TEMP, "Out of memory", "looking for queue shards");
    enum st st = kv_partitions(q->kv, STR("queue-"), visit_partition, found, e);
    for (size_t i = 0; i < found->count && st == ST_OK; i++) {
        if (slot_numbered(q, found->numbers[i]))
            continue;
        st = add_shard(q, found->numbers[i], false, e);
        if (st == ST_CONFLICT)
            st = ST_OK; /* another node's */
    }
    free(found);
    if (st == ST_OK && first)
        st = take_own(q, e);
    return st;
}

/* ---- open and close ---- */

static bool copy_text(char *to, size_t size, const char *from) { return snprintf(to, size, "%s", from ? from : "") < (int)size; }

static enum st queue_fill(struct queue *q, const struct queue_config *config, struct err *e)
{
    const struct settings *settings = settings_current();
    size_t hosts = (size_t)settings->queue_hosts_remembered;
    q->window.limit_max = (unsigned)settings->queue_per_destination;
    settings_unref(settings);
    if (q->window.limit_first > q->window.limit_max)
        q->window.limit_first = q->window.limit_max;
    q->store = config->store;
    q->kv = store_kv(config->store);
    q->directory = config->directory;
    q->resolver = config->resolver;
    q->remote = config->remote ? config->remote : &transport_smtp;
    q->local = &transport_local;
    bool ok = copy_text(q->hostname, sizeof q->hostname, config->hostname) &&
              copy_text(q->node, sizeof q->node, config->node ? config->node : config->hostname) &&
              copy_text(q->relay, sizeof q->relay, config->relay) &&
              copy_text(q->spool_dir, sizeof q->spool_dir, config->spool_dir);
    ENSURE(ok, e, ST_PERM, "A name in the queue's configuration is too long");
    for (char *c = q->node; *c; c++) {
        *c = ascii_lower(*c);
        if (!ascii_digit(*c) && !ascii_alpha(*c) && *c != '-' && *c != '.')
            *c = '-';
    }
    q->hosts = hosts_new(hosts);
    ENSURE(q->hosts, e, ST_TEMP, "Out of memory");
    TRY(tls_client_new(false, &q->tls_any, e));
    TRY(tls_client_new(true, &q->tls_verified, e));
    atomic_store(&q->id_counter, (unsigned)random_below(1u << 24));
    return queue_take_shards(q, true, e);
}

enum st queue_open(const struct queue_config *config, struct queue **out, struct err *e)
{
    *out = NULL;
    struct queue *q = calloc(1, sizeof *q);
    if (!q || !window_init(&q->window)) {
        free(q);
        return ERR(e, ST_TEMP, "Out of memory", "opening the queue");
    }
    lines_init(&q->lines);
    enum st st = queue_fill(q, config, e);
    if (st != ST_OK) {
        queue_close(q);
        return st;
    }
    *out = q;
    return ST_OK;
}

void queue_close(struct queue *q)
{
    if (!q)
        return;
    queue_stop(q, 0);
    window_release(&q->window);
    for (size_t i = 0; i < q->slot_count; i++) {
        shard_close(q->slots[i]->shard);
        free(q->slots[i]);
    }
    hosts_free(q->hosts);
    tls_client_free(q->tls_any);
    tls_client_free(q->tls_verified);
    lines_release(&q->lines);
    free(q);
}

enum st queue_start(struct queue *q, struct err *e)
{
    ENSURE(!q->workers, e, ST_EXISTS, "The queue runs already");
    return workers_start(q, &q->workers, e);
}

void queue_stop(struct queue *q, unsigned wait_ms)
{
    if (q->workers)
        workers_stop(q->workers, wait_ms);
    q->workers = NULL;
}

void queue_offer(struct queue *q, struct window_slot *slot, const struct shard_due *due, struct str domain)
{
    struct at_hand *nothing = NULL;
    queue_offer_new(q, slot, due, domain, &nothing);
}

void queue_offer_new(struct queue *q, struct window_slot *slot, const struct shard_due *due, struct str domain,
                     struct at_hand **at_hand)
{
    char space[DESTINATION_NAME_MAX];
    struct buf name = {space, 0, sizeof space, sizeof space, false};
    int64_t now = clock_wall_ms();
    bool is_due = due->due_ms <= now;
    if (is_due)
        route_destination(q, domain, &name);
    pthread_mutex_lock(&q->window.lock);
    enum window_added added = WINDOW_KNOWN;
    if (!is_due)
        window_note(&q->window, slot, due, now);
    else
        added = window_add(&q->window, slot, due, buf_str(&name));
    if (added == WINDOW_ADDED) {
        window_find(&q->window, &due->id)->at_hand = *at_hand;
        *at_hand = NULL;
    } else if (added == WINDOW_FULL) {
        pthread_cond_signal(&q->window.load);
    }
    pthread_mutex_unlock(&q->window.lock);
    window_forget(&q->window, at_hand);
}

enum st queue_run_once(struct queue *q, int64_t *next_ms, struct err *e)
{
    int64_t next = 0;
    for (;;) {
        TRY(queue_load(q, &next, e));
        pthread_mutex_lock(&q->window.lock);
        struct destination *d = window_pick(&q->window);
        pthread_mutex_unlock(&q->window.lock);
        if (!d)
            break;
        queue_serve(q, d, NULL, false);
    }
    if (next_ms)
        *next_ms = next;
    return ST_OK;
}

void queue_stats(struct queue *q, struct queue_stats *out)
{
    *out = (struct queue_stats){
        .accepted = atomic_load(&q->counters.accepted),
        .delivered = atomic_load(&q->counters.delivered),
        .deferred = atomic_load(&q->counters.deferred),
        .failed = atomic_load(&q->counters.failed),
        .reports = atomic_load(&q->counters.reports),
        .connections = atomic_load(&q->counters.connections),
    };
    pthread_mutex_lock(&q->window.lock);
    out->window = q->window.count;
    out->active = q->window.busy;
    for (size_t i = 0; i < q->slot_count; i++) {
        bool lost = shard_lost(q->slots[i]->shard);
        out->shards += !lost;
        out->entries += lost ? 0 : shard_entries(q->slots[i]->shard);
    }
    pthread_mutex_unlock(&q->window.lock);
}
