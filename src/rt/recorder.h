/* A flight recorder: the last few things that happened to a session or the like, kept in a fixed ring and told only if it ends
 * abnormally. Costs RECORDER_EVENTS * 16 bytes. One owner at a time. */
#ifndef RT_RECORDER_H
#define RT_RECORDER_H

#include <stdint.h>

#include "base/buf.h"

enum { RECORDER_EVENTS = 8 };

struct recorder {
    int64_t start_ms; /* monotonic */
    uint32_t count;   /* since the start */
    struct {
        uint32_t at_ms; /* since start_ms */
        uint16_t what, result;
        uint32_t in, out;
    } events[RECORDER_EVENTS];
};

void recorder_start(struct recorder *r, int64_t now_ms);
void recorder_add(struct recorder *r, int64_t now_ms, unsigned what, unsigned result, size_t in, size_t out);
/* "+12ms START>INPUT 0/45 ...": the oldest first; `whats` and `results` are the words for the numbers. */
void recorder_print(const struct recorder *r, const char *const *whats, const char *const *results, struct buf *out);

#endif
