#include "rt/random.h"

uint64_t random_u64(void)
{
    uint64_t v;
    random_bytes(&v, sizeof v);
    return v;
}

uint64_t random_below(uint64_t bound)
{
    if (bound < 2)
        return 0;
    uint64_t limit = UINT64_MAX - UINT64_MAX % bound, v; /* values from limit on would favour the small results */
    do
        v = random_u64();
    while (v >= limit);
    return v % bound;
}
