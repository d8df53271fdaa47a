#include "serve/smtp/rates.h"

#include <stdatomic.h>
#include <stdlib.h>

#include "base/str.h"

struct smtp_rates {
    _Atomic int64_t due_us[RATES_SLOTS];
};

struct smtp_rates *smtp_rates_new(void) { return calloc(1, sizeof(struct smtp_rates)); }
void smtp_rates_free(struct smtp_rates *r) { free(r); }

bool rate_take(_Atomic int64_t *due_us, int64_t step_us, int64_t window_us, int64_t now_ms)
{
    int64_t now = now_ms * 1000, due = atomic_load(due_us), next;
    do {
        next = (due > now ? due : now) + step_us;
        if (next - now > window_us)
            return false;
    } while (!atomic_compare_exchange_weak(due_us, &due, next));
    return true;
}

bool smtp_rates_take(struct smtp_rates *r, uint64_t account, int64_t count, int64_t window_ms, int64_t now_ms)
{
    if (!r || count <= 0)
        return true;
    size_t slot = str_hash(str_make(&account, sizeof account)) % RATES_SLOTS;
    return rate_take(&r->due_us[slot], window_ms * 1000 / count, window_ms * 1000, now_ms);
}
