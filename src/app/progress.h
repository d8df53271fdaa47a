/* A progress bar on standard error, where that is a terminal; silent elsewhere. */
#ifndef APP_PROGRESS_H
#define APP_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>

struct progress {
    bool on;
    uint64_t total; /* 0: unknown */
    int64_t began_ms, shown_ms;
};

void progress_begin(struct progress *p, uint64_t total);
/* `items` are counted for the rate, `done` of `total` for the bar. */
void progress_show(struct progress *p, uint64_t done, uint64_t items);
void progress_end(struct progress *p);

#endif
