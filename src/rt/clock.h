/* Time. The real clock and the simulated one (rt/os/, rt/sim/) are chosen at link time; nobody else asks the system for the time.
 * Threads: any. */
#ifndef RT_CLOCK_H
#define RT_CLOCK_H

#include <stdint.h>

int64_t clock_wall_ms(void); /* milliseconds since 1970-01-01 UTC; may jump */
int64_t clock_mono_ms(void); /* milliseconds from an unknown start; only grows. For timeouts */
int64_t clock_mono_us(void); /* the same in microseconds. For measuring */
/* Minutes east of UTC of the local zone at this moment (for Date fields). */
int clock_zone_minutes(int64_t wall_ms);
/* Sleeps; in the simulation it only moves the clock. */
void clock_sleep_ms(unsigned ms);

/* Simulation only (not linked into the programs). */
void clock_sim_set(int64_t wall_ms);
void clock_sim_advance(int64_t ms);

#endif
