#include "auth/throttle.h"

#include <arpa/inet.h>
#include <pthread.h>
#include <stdlib.h>

#include "rt/clock.h"
#include "rt/settings.h"

enum { WAYS = 4, STRIPES = 32, BLOCK_DOUBLINGS_MAX = 8 };

struct row {
    uint64_t key; /* 0: free */
    uint64_t last_proof;
    int64_t window_ms;  /* failures are counted from here on */
    int64_t blocked_ms; /* until then */
    int64_t seen_ms;    /* last use, for making room */
    uint32_t failures;
    uint32_t blocks; /* how often it was blocked */
    bool good;       /* a (address, account) pair that logged in */
};

struct throttle {
    size_t sets; /* a power of two, at least STRIPES */
    struct row *rows;
    pthread_mutex_t lock[STRIPES];
};

struct throttle *throttle_new(size_t entries)
{
    struct throttle *t = calloc(1, sizeof *t);
    if (!t)
        return NULL;
    t->sets = STRIPES;
    while (t->sets * WAYS < entries && t->sets < (size_t)1 << 22)
        t->sets *= 2;
    t->rows = calloc(t->sets * WAYS, sizeof *t->rows);
    if (!t->rows) {
        free(t);
        return NULL;
    }
    for (size_t i = 0; i < STRIPES; i++)
        pthread_mutex_init(&t->lock[i], NULL);
    return t;
}

void throttle_free(struct throttle *t)
{
    if (!t)
        return;
    for (size_t i = 0; i < STRIPES; i++)
        pthread_mutex_destroy(&t->lock[i]);
    free(t->rows);
    free(t);
}

/* ---- keys ---- */

/* An IPv4 address is one key, an IPv6 address its /64: whoever has one has all of them. */
static uint64_t address_key_of(struct str address)
{
    char text[64] = {0};
    struct in6_addr six;
    if (address.n && address.n < sizeof text) {
        memcpy(text, address.p, address.n);
        if (inet_pton(AF_INET6, text, &six) == 1 && !IN6_IS_ADDR_V4MAPPED(&six))
            return (str_hash(str_make(&six, 8)) ^ 0x6161616161616161u) | 1;
    }
    return (str_hash(address) ^ 0x6161616161616161u) | 1;
}

static uint64_t name_key_of(struct str name) { return (str_hash_nocase(name) ^ 0x6e6e6e6e6e6e6e6eu) | 1; }

static uint64_t pair_key_of(const struct throttle_try *try)
{
    return (address_key_of(try->address) * 0x9e3779b97f4a7c15u ^ name_key_of(try->name)) | 1;
}

/* ---- rows ---- */

static pthread_mutex_t *lock_of(struct throttle *t, uint64_t key) { return &t->lock[(key >> 8) % STRIPES]; }
static struct row *set_of(struct throttle *t, uint64_t key) { return &t->rows[((key >> 8) & (t->sets - 1)) * WAYS]; }

/* With the lock of the key held. */
static struct row *row_find(struct throttle *t, uint64_t key)
{
    struct row *set = set_of(t, key);
    for (size_t i = 0; i < WAYS; i++)
        if (set[i].key == key)
            return &set[i];
    return NULL;
}

/* Makes room by giving up the row that was not seen for longest; one that is blocked only if all are. */
static struct row *row_make(struct throttle *t, uint64_t key, int64_t now)
{
    struct row *row = row_find(t, key), *set = set_of(t, key);
    if (row)
        return row;
    row = &set[0];
    for (size_t i = 0; i < WAYS && row->key; i++) {
        bool blocked = set[i].blocked_ms > now, best_blocked = row->blocked_ms > now;
        if (!set[i].key || (!blocked && best_blocked) || (blocked == best_blocked && set[i].seen_ms < row->seen_ms))
            row = &set[i];
    }
    *row = (struct row){.key = key, .window_ms = now, .seen_ms = now};
    return row;
}

static int64_t blocked_until(struct throttle *t, uint64_t key)
{
    pthread_mutex_lock(lock_of(t, key));
    struct row *row = row_find(t, key);
    int64_t until = row ? row->blocked_ms : 0;
    pthread_mutex_unlock(lock_of(t, key));
    return until;
}

static bool is_good(struct throttle *t, uint64_t key)
{
    pthread_mutex_lock(lock_of(t, key));
    struct row *row = row_find(t, key);
    bool good = row && row->good;
    pthread_mutex_unlock(lock_of(t, key));
    return good;
}

enum st throttle_allow(struct throttle *t, const struct throttle_try *try, unsigned *wait_s, struct err *e)
{
    if (wait_s)
        *wait_s = 0;
    if (str_empty(try->address))
        return ST_OK;
    int64_t now = clock_mono_ms();
    int64_t until = try->loopback ? 0 : blocked_until(t, address_key_of(try->address));
    if (!is_good(t, pair_key_of(try))) {
        int64_t of_name = blocked_until(t, name_key_of(try->name));
        until = of_name > until ? of_name : until;
    }
    if (until <= now)
        return ST_OK;
    unsigned left = (unsigned)((until - now + 999) / 1000);
    if (wait_s)
        *wait_s = left;
    return ERR(e, ST_LIMIT, "too many failed logins, try again later", "throttled: %.*s for %.*s, %u s left", STR_FMT(try->address),
               STR_FMT(try->name), left);
}

static void count_failure(struct throttle *t, uint64_t key, uint64_t proof, int64_t limit, const struct settings *settings)
{
    int64_t now = clock_mono_ms();
    pthread_mutex_lock(lock_of(t, key));
    struct row *row = row_make(t, key, now);
    row->seen_ms = now;
    if (now - row->window_ms > settings->auth_window_ms) {
        row->window_ms = now;
        row->failures = 0;
        row->blocks -= row->blocks > 0;
    }
    if (!proof || proof != row->last_proof)
        row->failures++;
    row->last_proof = proof;
    if (row->failures >= limit) {
        unsigned doublings = row->blocks < BLOCK_DOUBLINGS_MAX ? row->blocks : BLOCK_DOUBLINGS_MAX;
        row->blocked_ms = now + (settings->auth_block_ms << doublings);
        row->blocks++;
        row->failures = 0;
        row->window_ms = now;
    }
    pthread_mutex_unlock(lock_of(t, key));
}

void throttle_failed(struct throttle *t, const struct throttle_try *try)
{
    if (str_empty(try->address))
        return;
    const struct settings *settings = settings_current();
    if (!try->loopback)
        count_failure(t, address_key_of(try->address), try->proof, settings->auth_failures_per_client, settings);
    count_failure(t, name_key_of(try->name), try->proof, settings->auth_failures_per_account, settings);
    settings_unref(settings);
}

void throttle_succeeded(struct throttle *t, const struct throttle_try *try)
{
    if (str_empty(try->address))
        return;
    int64_t now = clock_mono_ms();
    uint64_t pair = pair_key_of(try);
    pthread_mutex_lock(lock_of(t, pair));
    struct row *row = row_make(t, pair, now);
    row->good = true;
    row->seen_ms = now;
    pthread_mutex_unlock(lock_of(t, pair));
}
