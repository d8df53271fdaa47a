#include "rt/recorder.h"

void recorder_start(struct recorder *r, int64_t now_ms)
{
    r->start_ms = now_ms;
    r->count = 0;
}

static uint32_t clip(size_t n) { return n < UINT32_MAX ? (uint32_t)n : UINT32_MAX; }

void recorder_add(struct recorder *r, int64_t now_ms, unsigned what, unsigned result, size_t in, size_t out)
{
    uint32_t i = r->count++ % RECORDER_EVENTS;
    r->events[i].at_ms = clip(now_ms > r->start_ms ? (size_t)(now_ms - r->start_ms) : 0);
    r->events[i].what = (uint16_t)what;
    r->events[i].result = (uint16_t)result;
    r->events[i].in = clip(in);
    r->events[i].out = clip(out);
}

void recorder_print(const struct recorder *r, const char *const *whats, const char *const *results, struct buf *out)
{
    uint32_t first = r->count > RECORDER_EVENTS ? r->count - RECORDER_EVENTS : 0;
    if (first)
        buf_printf(out, "(%u before) ", first);
    for (uint32_t n = first; n < r->count; n++) {
        uint32_t i = n % RECORDER_EVENTS;
        buf_printf(out, "%s+%ums %s>%s %u/%u", n == first ? "" : " ", r->events[i].at_ms, whats[r->events[i].what],
                   results[r->events[i].result], r->events[i].in, r->events[i].out);
    }
}
