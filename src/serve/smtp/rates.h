/* How much each login sends: a rate for each account, so that a stolen password is not worth much. Fixed memory: accounts share
 * RATES_SLOTS counters by a keyed hash, so two that send at the limit may, rarely, be counted together. Threads: any. Begins anew
 * with the process. */
#ifndef SERVE_SMTP_RATES_H
#define SERVE_SMTP_RATES_H

#include <stdbool.h>
#include <stdint.h>

struct smtp_rates;

enum { RATES_SLOTS = 1 << 14 };

struct smtp_rates *smtp_rates_new(void); /* NULL: no memory */
void smtp_rates_free(struct smtp_rates *r);
/* One more for `account`, which may have `count` in window_ms. False: too many now. r may be NULL: always true. */
bool smtp_rates_take(struct smtp_rates *r, uint64_t account, int64_t count, int64_t window_ms, int64_t now_ms);

/* The counting itself (GCRA): *due_us is when the next one would come if they came evenly. */
bool rate_take(_Atomic int64_t *due_us, int64_t step_us, int64_t window_us, int64_t now_ms);

#endif
