#include "rt/clock.h"

#include <stdatomic.h>

static _Atomic int64_t wall = 1700000000000, mono = 1000000;

int64_t clock_wall_ms(void) { return wall; }
int64_t clock_mono_ms(void) { return mono; }
int64_t clock_mono_us(void) { return mono * 1000; }

int clock_zone_minutes(int64_t wall_ms)
{
    (void)wall_ms;
    return 60;
}

void clock_sim_set(int64_t wall_ms) { wall = wall_ms; }

void clock_sim_advance(int64_t ms)
{
    wall += ms;
    mono += ms;
}

void clock_sleep_ms(unsigned ms) { clock_sim_advance(ms); }
