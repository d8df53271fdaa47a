/* Random bytes from the kernel (rt/os/), or a repeatable sequence (rt/sim/), chosen at link time. Threads: any. */
#ifndef RT_RANDOM_H
#define RT_RANDOM_H

#include <stddef.h>
#include <stdint.h>

void random_bytes(void *out, size_t n); /* fit for keys; never fails (aborts if the kernel has no randomness) */
uint64_t random_u64(void);
uint64_t random_below(uint64_t bound); /* 0 .. bound-1 without bias; bound 0 gives 0 */

void random_sim_seed(uint64_t seed); /* simulation only */

#endif
