/* The resolver of production: libunbound with its own validation and cache. libunbound resolves in a thread of its own; a thread of
 * ours hands its results to those who wait. */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>
#include <unbound.h>
#include <unistd.h>

#include "base/bits.h"
#include "dns/rdata.h"
#include "dns/resolver_internal.h"
#include "rt/clock.h"
#include "rt/log.h"

enum { TIMEOUT_MS = 10000, CLASS_IN = 1, POLL_MS = 500, PENDING_MAX = 10000 };

static const char *const anchor_files[] = {"/usr/share/dns/root.key", "/var/lib/unbound/root.key", "/etc/unbound/root.key"};

struct unbound {
    struct resolver base;
    struct ub_ctx *ctx;
    unsigned timeout_ms;
    pthread_t thread;
    pthread_mutex_t lock; /* of the waiters */
    pthread_cond_t done;
    atomic_bool stopping;
    atomic_int pending;
    struct question *open; /* that nobody waits for; with the lock */
};

/* One look-up. Shared by who asked and the callback; the last one frees it. One that nobody waits for is the callback's alone. */
struct question {
    struct unbound *u;
    int refs, error;
    bool answered;
    struct ub_result *result;
    /* without waiting */
    enum resolver_type type;
    resolver_done *done;
    void *context;
    struct question *next, **link; /* in u->open */
};

static void question_unref(struct question *q) /* with the lock */
{
    if (--q->refs > 0)
        return;
    if (q->result)
        ub_resolve_free(q->result);
    free(q);
}

static void answered(void *context, int error, struct ub_result *result)
{
    struct question *q = context;
    struct unbound *u = q->u;
    pthread_mutex_lock(&u->lock);
    q->error = error;
    q->result = error ? NULL : result;
    q->answered = true;
    question_unref(q);
    pthread_cond_broadcast(&u->done);
    pthread_mutex_unlock(&u->lock);
    atomic_fetch_sub(&u->pending, 1);
}

static void *process_main(void *context)
{
    struct unbound *u = context;
    struct pollfd fd = {.fd = ub_fd(u->ctx), .events = POLLIN};
    while (!atomic_load(&u->stopping))
        if (poll(&fd, 1, POLL_MS) > 0)
            ub_process(u->ctx);
    return NULL;
}

static int wire_type(enum resolver_type type)
{
    static const int types[] = {
        [RESOLVER_A] = 1, [RESOLVER_AAAA] = 28, [RESOLVER_MX] = 15, [RESOLVER_TXT] = 16, [RESOLVER_TLSA] = 52, [RESOLVER_PTR] = 12};
    return types[type];
}

static enum st fill_answer(const struct ub_result *result, enum resolver_type type, struct arena *arena,
                           struct resolver_answer *out, struct err *e)
{
    ENSURE(!result->bogus, e, ST_TEMP, "4.4.3 DNS answer is not authentic");
    ENSURE(result->rcode == 0 || result->rcode == 3, e, ST_TEMP, "4.4.3 DNS failure (code %d)", result->rcode);
    out->secure = result->secure;
    out->ttl_s = result->ttl > 0 ? (uint32_t)result->ttl : 0;
    out->outcome = result->nxdomain ? RESOLVER_NO_NAME : RESOLVER_NO_DATA;
    if (result->canonname)
        out->name = arena_str(arena, str_trim(str_of(result->canonname)));
    if (out->name.n > 1 && out->name.p[out->name.n - 1] == '.')
        out->name.n--;
    size_t count = 0;
    while (result->havedata && count < RESOLVER_RECORDS_MAX && result->data[count])
        count++;
    out->records = ARENA_ARRAY(arena, count + 1, struct resolver_record);
    ENSURE(out->records, e, ST_LIMIT, "Out of memory");
    for (size_t i = 0; i < count; i++)
        if (rdata_decode(type, str_make(result->data[i], (size_t)result->len[i]), arena, &out->records[out->count]))
            out->count++;
    if (out->count > 0)
        out->outcome = RESOLVER_FOUND;
    return ST_OK;
}

/* ---- without waiting ---- */

static void open_add(struct question *q) /* with the lock */
{
    q->next = q->u->open;
    q->link = &q->u->open;
    if (q->next)
        q->next->link = &q->next;
    q->u->open = q;
}

static void open_remove(struct question *q) /* with the lock */
{
    *q->link = q->next;
    if (q->next)
        q->next->link = q->link;
}

/* libunbound's callback, without any lock of its own, so that the answer may lead to another question. */
static void told(void *context, int error, struct ub_result *result)
{
    struct question *q = context;
    struct unbound *u = q->u;
    DEFER(arena_release) struct arena arena = ARENA_INIT(1 << 20);
    struct resolver_answer answer = {0};
    pthread_mutex_lock(&u->lock);
    open_remove(q);
    pthread_mutex_unlock(&u->lock);
    atomic_fetch_sub(&u->pending, 1);
    bool known = error == 0 && result && fill_answer(result, q->type, &arena, &answer, NULL) == ST_OK;
    q->done(q->context, known ? &answer : NULL);
    if (result)
        ub_resolve_free(result);
    free(q);
}

static enum st unbound_start(struct resolver *r, enum resolver_type type, struct str name, resolver_done *done, void *context)
{
    struct unbound *u = (struct unbound *)r;
    struct question *q = atomic_load(&u->stopping) ? NULL : calloc(1, sizeof *q);
    if (!q)
        return ST_TEMP;
    *q = (struct question){.u = u, .type = type, .done = done, .context = context};
    pthread_mutex_lock(&u->lock);
    open_add(q);
    pthread_mutex_unlock(&u->lock);
    if (atomic_fetch_add(&u->pending, 1) < PENDING_MAX &&
        ub_resolve_async(u->ctx, name.p, wire_type(type), CLASS_IN, q, told, NULL) == 0)
        return ST_OK;
    atomic_fetch_sub(&u->pending, 1);
    pthread_mutex_lock(&u->lock);
    open_remove(q);
    pthread_mutex_unlock(&u->lock);
    free(q);
    return ST_TEMP;
}

/* The thread has ended and libunbound is gone: nobody else will answer these. */
static void end_open(struct unbound *u)
{
    for (struct question *q; (q = u->open); free(q)) {
        open_remove(q); /* NOLINT(clang-analyzer-unix.Malloc): it takes q out of the list, so the next one is another */
        q->done(q->context, NULL);
    }
}

/* ---- waiting ---- */

static enum st wait_for(struct unbound *u, struct question *q, int id, struct err *e)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += u->timeout_ms / 1000;
    until.tv_nsec += (long)(u->timeout_ms % 1000) * 1000000;
    if (until.tv_nsec >= 1000000000) {
        until.tv_sec++;
        until.tv_nsec -= 1000000000;
    }
    int wait = 0;
    pthread_mutex_lock(&u->lock);
    while (!q->answered && wait != ETIMEDOUT)
        wait = pthread_cond_timedwait(&u->done, &u->lock, &until);
    bool late = !q->answered;
    pthread_mutex_unlock(&u->lock);
    if (late && ub_cancel(u->ctx, id) == 0) {
        pthread_mutex_lock(&u->lock);
        if (!q->answered) /* cancelled: the callback will not come */
            q->refs--;
        pthread_mutex_unlock(&u->lock);
        atomic_fetch_sub(&u->pending, 1);
    }
    ENSURE(!late, e, ST_TEMP, "4.4.3 DNS does not answer");
    ENSURE(q->error == 0 && q->result, e, ST_TEMP, "4.4.3 DNS failure (%s)", ub_strerror(q->error));
    return ST_OK;
}

static enum st unbound_lookup(struct resolver *r, enum resolver_type type, struct str name, struct arena *arena,
                              struct resolver_answer *out, struct err *e)
{
    struct unbound *u = (struct unbound *)r;
    struct question *q = calloc(1, sizeof *q);
    if (!q)
        return ERR(e, ST_TEMP, "Out of memory", "looking up %.*s", STR_FMT(name));
    *q = (struct question){.u = u, .refs = 2};
    int id = 0;
    enum st st = ST_OK;
    if (atomic_fetch_add(&u->pending, 1) >= PENDING_MAX ||
        ub_resolve_async(u->ctx, name.p, wire_type(type), CLASS_IN, q, answered, &id) != 0) {
        atomic_fetch_sub(&u->pending, 1);
        q->refs = 1;
        st = ERR_PUBLIC(e, ST_TEMP, "4.4.3 DNS cannot be asked now");
    }
    if (st == ST_OK)
        st = wait_for(u, q, id, e);
    if (st == ST_OK)
        st = fill_answer(q->result, type, arena, out, e);
    pthread_mutex_lock(&u->lock);
    question_unref(q);
    pthread_mutex_unlock(&u->lock);
    return st;
}

static void unbound_close(struct resolver *r)
{
    struct unbound *u = (struct unbound *)r;
    atomic_store(&u->stopping, true);
    pthread_join(u->thread, NULL);
    ub_ctx_delete(u->ctx);
    end_open(u);
    pthread_cond_destroy(&u->done);
    pthread_mutex_destroy(&u->lock);
    free(u);
}

static const struct resolver_class unbound_class = {unbound_lookup, unbound_start, unbound_close};

static bool add_forwarders(struct ub_ctx *ctx, const char *list)
{
    struct str rest = str_of(list ? list : ""), one;
    char z[64];
    if (rest.n == 0)
        return ub_ctx_resolvconf(ctx, NULL) == 0;
    if (str_eq(rest, STR("none")))
        return true;
    while (str_split(&rest, ' ', &one)) {
        if (one.n == 0)
            continue;
        if (one.n >= sizeof z)
            return false;
        memcpy(z, one.p, one.n);
        z[one.n] = '\0';
        if (ub_ctx_set_fwd(ctx, z) != 0)
            return false;
    }
    return true;
}

static bool add_anchor(struct ub_ctx *ctx, const char *file)
{
    if (file)
        return ub_ctx_add_ta_file(ctx, file) == 0;
    for (size_t i = 0; i < sizeof anchor_files / sizeof *anchor_files; i++)
        if (access(anchor_files[i], R_OK) == 0)
            return ub_ctx_add_ta_file(ctx, anchor_files[i]) == 0;
    log_event(LOG_WARN, "dns.no_anchor", LOG_Z("why", "no DNSSEC root key was found (package dns-root-data): no answer is secure"));
    return true;
}

enum st resolver_open(const struct resolver_config *config, struct resolver **out, struct err *e)
{
    *out = NULL;
    struct unbound *u = calloc(1, sizeof *u);
    struct ub_ctx *ctx = u ? ub_ctx_create() : NULL;
    if (!ctx) {
        free(u);
        return ERR(e, ST_TEMP, "Out of memory", "opening the resolver");
    }
    u->base.class = &unbound_class;
    u->ctx = ctx;
    u->timeout_ms = config->timeout_ms ? config->timeout_ms : TIMEOUT_MS;
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&u->done, &attr);
    pthread_condattr_destroy(&attr);
    pthread_mutex_init(&u->lock, NULL);
    const char *what = NULL;
    if (!add_forwarders(ctx, config->forwarders))
        what = "the forwarders";
    else if (!add_anchor(ctx, config->anchor_file))
        what = "the DNSSEC keys";
    else if (ub_ctx_async(ctx, 1) != 0 || pthread_create(&u->thread, NULL, process_main, u) != 0)
        what = "its thread";
    if (!what) {
        *out = &u->base;
        return ST_OK;
    }
    ub_ctx_delete(ctx);
    pthread_cond_destroy(&u->done);
    pthread_mutex_destroy(&u->lock);
    free(u);
    return ERR(e, ST_PERM, "The resolver cannot be set up", "%s", what);
}
