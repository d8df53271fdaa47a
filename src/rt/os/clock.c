#include "rt/clock.h"

#include <time.h>

static int64_t read_us(clockid_t id)
{
    struct timespec t;
    clock_gettime(id, &t);
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

int64_t clock_wall_ms(void) { return read_us(CLOCK_REALTIME) / 1000; }
int64_t clock_mono_ms(void) { return read_us(CLOCK_MONOTONIC) / 1000; }
int64_t clock_mono_us(void) { return read_us(CLOCK_MONOTONIC); }

int clock_zone_minutes(int64_t wall_ms)
{
    time_t t = (time_t)(wall_ms / 1000);
    struct tm local;
    return localtime_r(&t, &local) ? (int)(local.tm_gmtoff / 60) : 0;
}

void clock_sleep_ms(unsigned ms)
{
    struct timespec t = {ms / 1000, (long)(ms % 1000) * 1000000};
    while (nanosleep(&t, &t) != 0)
        ;
}
