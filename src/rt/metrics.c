#include "rt/metrics.h"

#include <stdatomic.h>
#include <stddef.h>

/* A cell on a cache line of its own, so that busy counters do not disturb each other. */
static struct {
    _Alignas(64) _Atomic int64_t value;
} cells[METRIC_COUNT];

static const struct {
    const char *name, *help, *type;
} rows[METRIC_COUNT] = {
#define COUNTER_ROW(id, name, help) {name, help, "counter"},
#define GAUGE_ROW(id, name, help)   {name, help, "gauge"},
    METRICS(COUNTER_ROW, GAUGE_ROW)};

void metrics_add(enum metric m, int64_t n) { atomic_fetch_add_explicit(&cells[m].value, n, memory_order_relaxed); }
int64_t metrics_get(enum metric m) { return atomic_load_explicit(&cells[m].value, memory_order_relaxed); }

/* ---- histograms ---- */

enum { BOUNDS = 11, FIRST_BITS = 4 }; /* 2^4, 2^6, ... 2^24 us */

static struct {
    _Alignas(64) _Atomic uint64_t count[BOUNDS + 1]; /* the last: beyond all bounds */
    _Atomic int64_t sum_us;
} times[METRIC_TIME_COUNT];

static const struct {
    const char *name, *help;
} time_rows[METRIC_TIME_COUNT] = {
#define TIME_ROW(id, name, help) {name, help},
    METRICS_HISTOGRAMS(TIME_ROW)};

static int64_t bound_us(size_t i) { return (int64_t)1 << (FIRST_BITS + 2 * i); }

void metrics_took(enum metric_histogram h, int64_t us)
{
    size_t i = 0;
    while (i < BOUNDS && us > bound_us(i))
        i++;
    atomic_fetch_add_explicit(&times[h].count[i], 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&times[h].sum_us, us, memory_order_relaxed);
}

uint64_t metrics_took_within(enum metric_histogram h, int64_t us)
{
    uint64_t n = 0;
    for (size_t i = 0; i < BOUNDS && bound_us(i) <= us; i++)
        n += atomic_load_explicit(&times[h].count[i], memory_order_relaxed);
    return n;
}

static void print_time(enum metric_histogram h, struct buf *out)
{
    const char *name = time_rows[h].name;
    uint64_t n = 0;
    buf_printf(out, "# HELP postrider_%s %s\n# TYPE postrider_%s histogram\n", name, time_rows[h].help, name);
    for (size_t i = 0; i < BOUNDS; i++) {
        n += atomic_load_explicit(&times[h].count[i], memory_order_relaxed);
        buf_printf(out, "postrider_%s_bucket{le=\"%lld.%06lld\"} %llu\n", name, (long long)(bound_us(i) / 1000000),
                   (long long)(bound_us(i) % 1000000), (unsigned long long)n);
    }
    n += atomic_load_explicit(&times[h].count[BOUNDS], memory_order_relaxed);
    int64_t sum_us = atomic_load_explicit(&times[h].sum_us, memory_order_relaxed);
    buf_printf(out, "postrider_%s_bucket{le=\"+Inf\"} %llu\npostrider_%s_sum %lld.%06lld\npostrider_%s_count %llu\n", name,
               (unsigned long long)n, name, (long long)(sum_us / 1000000), (long long)(sum_us % 1000000), name,
               (unsigned long long)n);
}

void metrics_print(struct buf *out)
{
    for (size_t i = 0; i < METRIC_COUNT; i++)
        buf_printf(out, "# HELP postrider_%s %s\n# TYPE postrider_%s %s\npostrider_%s %lld\n", rows[i].name, rows[i].help,
                   rows[i].name, rows[i].type, rows[i].name, (long long)metrics_get((enum metric)i));
    for (size_t h = 0; h < METRIC_TIME_COUNT; h++)
        print_time((enum metric_histogram)h, out);
}
