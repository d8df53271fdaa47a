#include "app/progress.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "rt/clock.h"

enum { BAR_WIDTH = 40, INTERVAL_MS = 100 };

void progress_begin(struct progress *p, uint64_t total)
{
    *p = (struct progress){.on = isatty(STDERR_FILENO) == 1, .total = total, .began_ms = clock_mono_ms()};
}

void progress_show(struct progress *p, uint64_t done, uint64_t items)
{
    int64_t now = clock_mono_ms();
    char bar[BAR_WIDTH + 1];
    if (!p->on || now - p->shown_ms < INTERVAL_MS)
        return;
    p->shown_ms = now;
    int64_t took = now - p->began_ms > 0 ? now - p->began_ms : 1;
    unsigned long long rate = (unsigned long long)(items * 1000 / (uint64_t)took);
    if (p->total == 0) {
        fprintf(stderr, "\r%llu messages, %llu/s ", (unsigned long long)items, rate);
        return;
    }
    done = done > p->total ? p->total : done;
    size_t full = (size_t)((double)done / (double)p->total * BAR_WIDTH);
    memset(bar, ' ', BAR_WIDTH);
    memset(bar, '#', full);
    bar[BAR_WIDTH] = '\0';
    fprintf(stderr, "\r[%s] %3d %%  %llu messages, %llu/s ", bar, (int)((double)done / (double)p->total * 100),
            (unsigned long long)items, rate);
}

void progress_end(struct progress *p)
{
    if (p->on)
        fputs("\r\033[K", stderr);
}
