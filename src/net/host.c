#include "net/host.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/check.h"
#include "net/host_internal.h"
#include "rt/clock.h"
#include "rt/log.h"
#include "rt/metrics.h"
#include "rt/settings.h"

enum {
    STACK_BYTES = 512 << 10,
    DEADLINES_MS = 200, /* between two looks at the deadlines */
    TICK_MS = 50,       /* between two looks at the threads */
    TICK_BUSY_MS = 5,   /* the same while all of them work */
    RUNNING_MIN = 4,    /* threads that work at the same time at least */
    REFUSALS_MAX = 64,  /* connections beyond the limit that are being refused */
};

enum { SILENCE_MS = 300000 }; /* until a session sets its own timeout */

/* epoll data: listeners and the bell have numbers that no connection has */
#define EPOLL_BELL     UINT64_MAX
#define EPOLL_LISTENER ((uint64_t)1 << 63)

void host_config_load(struct host_config *out)
{
    const struct settings *s = settings_current();
    *out = (struct host_config){.threads = (unsigned)s->net_threads,
                                .running = (unsigned)s->net_threads_running,
                                .connections = (unsigned)s->net_connections,
                                .connections_per_client = (unsigned)s->net_connections_per_client,
                                .write_timeout_ms = (unsigned)s->net_write_timeout_ms,
                                .write_rate_min = (unsigned)s->net_write_rate_min,
                                .tls_timeout_ms = (unsigned)s->net_tls_timeout_ms,
                                .proxy_networks = s->net_proxy_networks};
    settings_unref(s);
}

/* ---- slots: memory of connections, reused but never given back, so that a late event can look at a state word ---- */

struct conn *host_conn(struct host *h, uint32_t slot)
{
    return slot < atomic_load_explicit(&h->slots, memory_order_acquire) ? &h->chunks[slot / HOST_CHUNK][slot % HOST_CHUNK] : NULL;
}

static bool add_chunk_locked(struct host *h)
{
    uint32_t first = h->slots;
    if (first / HOST_CHUNK >= HOST_CHUNKS_MAX)
        return false;
    uint32_t *slots = realloc(h->free_slots, sizeof *slots * (first + HOST_CHUNK));
    if (!slots)
        return false;
    h->free_slots = slots;
    struct conn *chunk = calloc(HOST_CHUNK, sizeof *chunk);
    if (!chunk)
        return false;
    for (uint32_t i = HOST_CHUNK; i-- > 0;) {
        chunk[i].slot = first + i;
        chunk[i].deadline_ms = INT64_MAX;
        chunk[i].fd = -1;
        h->free_slots[h->free_count++] = first + i;
    }
    h->chunks[first / HOST_CHUNK] = chunk;
    atomic_store_explicit(&h->slots, first + HOST_CHUNK, memory_order_release);
    return true;
}

static struct conn *slot_take(struct host *h)
{
    struct conn *c = NULL;
    pthread_mutex_lock(&h->slot_lock);
    if (h->free_count > 0 || add_chunk_locked(h)) {
        uint32_t slot = h->free_slots[--h->free_count];
        c = &h->chunks[slot / HOST_CHUNK][slot % HOST_CHUNK];
    }
    pthread_mutex_unlock(&h->slot_lock);
    return c;
}

static void slot_give(struct host *h, struct conn *c)
{
    pthread_mutex_lock(&h->slot_lock);
    h->free_slots[h->free_count++] = c->slot;
    pthread_mutex_unlock(&h->slot_lock);
}

static void wake_conn(struct session_waker *w)
{
    struct conn *c = (struct conn *)w; /* the waker is its first member */
    if (host_own(c, atomic_load(&c->state) / CONN_GENERATION, CONN_WAKE))
        host_ready(c);
}

struct conn *host_conn_new(struct host *h, const struct host_listener *l, int fd)
{
    struct conn *c = atomic_fetch_add(&h->open, 1) < h->limit.connections + REFUSALS_MAX ? slot_take(h) : NULL;
    if (!c) {
        atomic_fetch_sub(&h->open, 1);
        return NULL;
    }
    c->waker.wake = wake_conn;
    c->host = h;
    c->listener = l;
    c->fd = fd;
    c->phase = CONN_SESSION;
    c->outcome = SESSION_INPUT;
    c->armed_once = c->saw_eof = c->told_stop = c->counted = false;
    c->timeout_ms = SILENCE_MS;
    c->news = 0;
    c->lingered = c->out_at = 0;
    c->session = NULL;
    c->ssl = NULL;
    c->in = BUF_INIT(SESSION_INPUT_MAX);
    c->out = BUF_INIT(SESSION_OUTPUT_MAX);
    c->peer = (struct session_peer){0};
    recorder_start(&c->recorder, clock_mono_ms());
    c->deadline_ms = INT64_MAX;
    atomic_fetch_or(&c->state, CONN_LIVE | CONN_RUNNING); /* from here on others see it */
    atomic_fetch_add(&h->listener_open[l - h->listeners], 1);
    metrics_add(METRIC_CONNECTIONS_OPEN, 1);
    return c;
}

bool host_is_full(const struct conn *c)
{
    const struct host *h = c->host;
    unsigned here = c->listener->connections;
    return h->open > h->limit.connections || (here && h->listener_open[c->listener - h->listeners] > here);
}

void host_conn_free(struct conn *c)
{
    struct host *h = c->host;
    if (c->session)
        c->session->class->free(c->session); /* unsubscribes: nobody wakes it after this */
    c->session = NULL;
    SSL_free(c->ssl);
    c->ssl = NULL;
    close(c->fd);
    c->fd = -1;
    buf_release(&c->in);
    buf_release(&c->out);
    if (c->counted)
        clients_leave(h->clients, c->peer.address);
    c->deadline_ms = INT64_MAX;
    uint64_t generation = atomic_load(&c->state) / CONN_GENERATION;
    atomic_fetch_sub(&h->listener_open[c->listener - h->listeners], 1);
    atomic_store(&c->state, (generation + 1) * CONN_GENERATION);
    slot_give(h, c);
    atomic_fetch_sub(&h->open, 1);
    metrics_add(METRIC_CONNECTIONS_OPEN, -1);
}

/* ---- owning ---- */

bool host_own(struct conn *c, uint64_t generation, unsigned bits)
{
    uint64_t old = atomic_load(&c->state);
    do {
        if (old / CONN_GENERATION != generation || !(old & CONN_LIVE))
            return false;
    } while (!atomic_compare_exchange_weak(&c->state, &old, old | CONN_RUNNING | bits));
    return !(old & CONN_RUNNING);
}

void host_ready(struct conn *c)
{
    struct host *h = c->host;
    c->next_ready = NULL;
    pthread_mutex_lock(&h->ready_lock);
    if (h->ready_last)
        h->ready_last->next_ready = c;
    else
        h->ready_first = c;
    h->ready_last = c;
    if (!h->bell_rung) {
        h->bell_rung = true;
        uint64_t one = 1;
        ssize_t n = write(h->bell, &one, sizeof one);
        (void)n;
    }
    pthread_mutex_unlock(&h->ready_lock);
}

/* The next of the ready queue; silences the bell with the last one. *ending: the thread shall end. */
static struct conn *ready_take(struct host *h, bool *ending)
{
    pthread_mutex_lock(&h->ready_lock);
    struct conn *c = h->ready_first;
    if (c) {
        h->ready_first = c->next_ready;
        if (!h->ready_first)
            h->ready_last = NULL;
    }
    *ending = h->ending && !c;
    if (!h->ready_first && h->bell_rung && !h->ending) {
        uint64_t count;
        ssize_t n = read(h->bell, &count, sizeof count);
        (void)n;
        h->bell_rung = false;
    }
    pthread_mutex_unlock(&h->ready_lock);
    return c;
}

void host_arm(struct conn *c, bool write)
{
    uint64_t generation = atomic_load(&c->state) / CONN_GENERATION;
    struct epoll_event e = {.events = (write ? EPOLLOUT : EPOLLIN | EPOLLRDHUP) | EPOLLONESHOT,
                            .data.u64 = (generation & 0x7fffffff) << 32 | c->slot};
    int op = c->armed_once ? EPOLL_CTL_MOD : EPOLL_CTL_ADD;
    c->armed_once = true;
    check(epoll_ctl(c->host->epoll, op, c->fd, &e) == 0 || errno == ENOMEM || errno == ENOSPC);
}

/* ---- the threads ---- */

static void take_event(struct worker *w, uint64_t data)
{
    struct host *h = w->host;
    struct conn *c = host_conn(h, (uint32_t)data);
    if (!c)
        return;
    uint64_t generation = atomic_load(&c->state) / CONN_GENERATION;
    if ((generation & 0x7fffffff) == data >> 32 && host_own(c, generation, CONN_IO))
        conn_run(w, c);
}

static void accept_one(struct worker *w, const struct host_listener *l)
{
    int fd = accept4(l->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0) {
        if (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS) {
            log_event(LOG_ERROR, "net.accept_failed", LOG_Z("error", strerror(errno)));
            clock_sleep_ms(20); /* the listener stays ready: without a pause all threads would spin */
        }
        return;
    }
    struct conn *c = host_conn_new(w->host, l, fd);
    if (c) {
        atomic_fetch_add(&w->host->accepted, 1);
        metrics_one(METRIC_CONNECTIONS);
        conn_accepted(w, c);
        return;
    }
    atomic_fetch_add(&w->host->refused, 1);
    metrics_one(METRIC_CONNECTIONS_REFUSED);
    close(fd);
}

/* Waits for one event and works it off: a thread that took two connections would let the second wait for the first. */
static void one_event(struct worker *w, bool *ending)
{
    struct host *h = w->host;
    struct epoll_event e;
    places_polling(&h->places);
    int n = epoll_wait(h->epoll, &e, 1, -1);
    places_polled(&h->places, n == 1);
    if (n != 1)
        return;
    if (e.data.u64 == EPOLL_BELL) {
        struct conn *c = ready_take(h, ending);
        if (c)
            conn_run(w, c);
    } else if (e.data.u64 & EPOLL_LISTENER) {
        accept_one(w, &h->listeners[e.data.u64 & ~EPOLL_LISTENER]);
    } else {
        take_event(w, e.data.u64);
    }
}

static void worker_waits(struct waiting_pool *p) { places_waiting(&((struct worker *)p)->host->places); }
static void worker_goes_on(struct waiting_pool *p) { places_waited(&((struct worker *)p)->host->places); }

static void *worker_main(void *context)
{
    struct worker *w = context;
    struct places *places = &w->host->places;
    waiting_join(&w->waiting);
    bool ending = !places_enter(places, &w->seat);
    while (!ending) {
        one_event(w, &ending);
        if (!ending && !places_again(places, &w->seat))
            ending = true;
    }
    places_leave(places);
    waiting_join(NULL);
    return NULL;
}

static void look_at_deadlines(struct host *h, int64_t now)
{
    uint32_t slots = atomic_load_explicit(&h->slots, memory_order_acquire);
    for (uint32_t i = 0; i < slots; i++) {
        struct conn *c = host_conn(h, i);
        uint64_t state = atomic_load_explicit(&c->state, memory_order_relaxed);
        if (atomic_load_explicit(&c->deadline_ms, memory_order_relaxed) > now || (state & CONN_RUNNING))
            continue;
        if (host_own(c, state / CONN_GENERATION, CONN_TIMEOUT))
            host_ready(c);
    }
}

/* Looks at all deadlines a few times a second, which is cheaper than a wheel that each park and each wake-up has to lock; and at
 * the threads. */
static void *ticker_main(void *context)
{
    struct host *h = context;
    int64_t next = 0;
    while (h->ticking) {
        bool busy = places_look(&h->places);
        int64_t now = clock_mono_ms();
        if (now >= next) {
            look_at_deadlines(h, now);
            next = now + DEADLINES_MS;
        }
        clock_sleep_ms(busy ? TICK_BUSY_MS : TICK_MS);
    }
    return NULL;
}

/* ---- life ---- */

void host_limits(struct host *h, const struct host_config *config)
{
    h->limit.connections = config->connections;
    h->limit.write_timeout_ms = config->write_timeout_ms;
    h->limit.write_rate_min = config->write_rate_min ? config->write_rate_min : 1;
    h->limit.tls_timeout_ms = config->tls_timeout_ms;
    if (h->clients)
        clients_limit(h->clients, config->connections_per_client);
}

static unsigned running_of(const struct host_config *config)
{
    long processors = sysconf(_SC_NPROCESSORS_ONLN);
    unsigned most = config->running ? config->running : (unsigned)(processors > 1 ? processors : 1) * 2;
    if (most < RUNNING_MIN && !config->running)
        most = RUNNING_MIN;
    return most < config->threads ? most : config->threads;
}

enum st host_new(const struct host_config *config, struct host **out, struct err *e)
{
    struct host *h = calloc(1, sizeof *h);
    ENSURE(h, e, ST_TEMP, "out of memory");
    h->config = *config;
    h->epoll = epoll_create1(EPOLL_CLOEXEC);
    h->bell = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    h->clients = clients_new(config->connections_per_client);
    host_limits(h, config);
    places_init(&h->places, running_of(config));
    pthread_mutex_init(&h->ready_lock, NULL);
    pthread_mutex_init(&h->slot_lock, NULL);
    struct epoll_event bell = {.events = EPOLLIN | EPOLLEXCLUSIVE, .data.u64 = EPOLL_BELL};
    enum st s = ST_OK;
    if (h->epoll < 0 || h->bell < 0 || !h->clients || epoll_ctl(h->epoll, EPOLL_CTL_ADD, h->bell, &bell) != 0)
        s = ERR(e, ST_TEMP, "the network could not be set up", "epoll, eventfd: %s", strerror(errno));
    else
        s = proxy_networks_parse(str_of(config->proxy_networks ? config->proxy_networks : ""), &h->proxies, e);
    if (s == ST_OK)
        *out = h;
    else
        host_free(h);
    return s;
}

enum st host_listen(struct host *h, const struct host_listener *listener, struct err *e)
{
    ENSURE(h->listener_count < HOST_LISTENERS_MAX, e, ST_LIMIT, "at most %d listeners are possible", HOST_LISTENERS_MAX);
    h->listeners[h->listener_count++] = *listener;
    return ST_OK;
}

static bool start_thread(pthread_t *thread, void *(*run)(void *), void *context)
{
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, STACK_BYTES);
    bool ok = pthread_create(thread, &attributes, run, context) == 0;
    pthread_attr_destroy(&attributes);
    return ok;
}

static bool start_worker(struct host *h)
{
    struct worker *w = malloc(sizeof *w); /* not zeroed: the pages of its buffer come with their first use */
    if (!w)
        return false;
    w->waiting = (struct waiting_pool){worker_waits, worker_goes_on};
    w->host = h;
    seat_init(&w->seat);
    w->out = conn_output();
    if (!start_thread(&w->thread, worker_main, w)) {
        seat_release(&w->seat);
        buf_release(&w->out);
        free(w);
        return false;
    }
    h->workers[h->worker_count++] = w;
    return true;
}

enum st host_start(struct host *h, struct err *e)
{
    unsigned wanted = h->config.threads < HOST_THREADS_MAX ? h->config.threads : HOST_THREADS_MAX;
    for (size_t i = 0; i < h->listener_count; i++) {
        struct epoll_event l = {.events = EPOLLIN | EPOLLEXCLUSIVE, .data.u64 = EPOLL_LISTENER | i};
        if (epoll_ctl(h->epoll, EPOLL_CTL_ADD, h->listeners[i].fd, &l) != 0)
            return ERR(e, ST_TEMP, "the network could not be set up", "epoll: %s", strerror(errno));
    }
    h->workers = calloc(wanted, sizeof(struct worker *));
    ENSURE(h->workers, e, ST_TEMP, "out of memory");
    while (h->worker_count < wanted && start_worker(h))
        ;
    h->ticking = true;
    if (h->worker_count == 0 || !start_thread(&h->ticker, ticker_main, h)) {
        h->ticking = false;
        return ERR(e, ST_TEMP, "threads could not be started", "pthread_create: %s", strerror(errno));
    }
    return ST_OK;
}

/* Sets a bit on every connection. */
static void tell_all(struct host *h, unsigned bit)
{
    for (uint32_t i = 0; i < h->slots; i++) {
        struct conn *c = host_conn(h, i);
        uint64_t state = atomic_load(&c->state);
        if (host_own(c, state / CONN_GENERATION, bit))
            host_ready(c);
    }
}

static void wait_empty(struct host *h, unsigned ms)
{
    for (int64_t end = clock_mono_ms() + ms; h->open > 0 && clock_mono_ms() < end;)
        clock_sleep_ms(5);
}

static void stop_threads(struct host *h)
{
    if (h->ticking) {
        h->ticking = false;
        pthread_join(h->ticker, NULL);
    }
    pthread_mutex_lock(&h->ready_lock);
    h->ending = h->bell_rung = true;
    uint64_t one = 1;
    ssize_t n = write(h->bell, &one, sizeof one);
    (void)n;
    pthread_mutex_unlock(&h->ready_lock);
    places_end(&h->places);
    /* EPOLLEXCLUSIVE wakes at least one thread at a time; the bell stays rung, so each finds it when it looks again */
    for (unsigned i = 0; i < h->worker_count; i++) {
        pthread_join(h->workers[i]->thread, NULL);
        buf_release(&h->workers[i]->out);
        seat_release(&h->workers[i]->seat);
        free(h->workers[i]);
    }
    h->worker_count = 0;
}

void host_stop(struct host *h, unsigned deadline_ms)
{
    h->stopping = true;
    for (size_t i = 0; i < h->listener_count; i++) {
        epoll_ctl(h->epoll, EPOLL_CTL_DEL, h->listeners[i].fd, NULL);
        shutdown(h->listeners[i].fd, SHUT_RDWR); /* closed by host_free: a thread may be in accept */
    }
    tell_all(h, CONN_STOP);
    wait_empty(h, deadline_ms);
    for (int i = 0; i < 50 && h->open > 0; i++) {
        tell_all(h, CONN_KILL);
        wait_empty(h, 100);
    }
    stop_threads(h);
}

void host_free(struct host *h)
{
    if (!h)
        return;
    for (size_t i = 0; i < h->listener_count; i++)
        if (h->listeners[i].fd >= 0)
            close(h->listeners[i].fd);
    for (uint32_t i = 0; i < h->slots / HOST_CHUNK; i++)
        free(h->chunks[i]);
    free(h->free_slots);
    free(h->workers);
    clients_free(h->clients);
    proxy_networks_free(h->proxies);
    if (h->epoll >= 0)
        close(h->epoll);
    if (h->bell >= 0)
        close(h->bell);
    places_release(&h->places);
    pthread_mutex_destroy(&h->ready_lock);
    pthread_mutex_destroy(&h->slot_lock);
    free(h);
}

void host_stats(struct host *h, struct host_stats *out)
{
    *out = (struct host_stats){h->open, h->accepted, h->refused, h->steps, h->places.waiting};
}
