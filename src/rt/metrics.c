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

void metrics_print(struct buf *out)
{
    for (size_t i = 0; i < METRIC_COUNT; i++)
        buf_printf(out, "# HELP postrider_%s %s\n# TYPE postrider_%s %s\npostrider_%s %lld\n", rows[i].name, rows[i].help,
                   rows[i].name, rows[i].type, rows[i].name, (long long)metrics_get((enum metric)i));
}
