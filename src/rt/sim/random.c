#include "rt/random.h"

#include <stdatomic.h>

static _Atomic uint64_t state = 1;

void random_sim_seed(uint64_t seed) { state = seed; }

static uint64_t next(void) /* SplitMix64 */
{
    uint64_t z = atomic_fetch_add(&state, 0x9e3779b97f4a7c15ULL) + 0x9e3779b97f4a7c15ULL;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
    return z ^ (z >> 31);
}

void random_bytes(void *out, size_t n)
{
    unsigned char *p = out;
    uint64_t v = 0;
    for (size_t i = 0; i < n; i++) {
        if (i % 8 == 0)
            v = next();
        p[i] = (unsigned char)(v >> (8 * (i % 8)));
    }
}
