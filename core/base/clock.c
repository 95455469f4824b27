#include "base/clock.h"

#include <stdatomic.h>
#include <time.h>

static _Atomic uint64_t fake;

static uint64_t read_clock(clockid_t id)
{
    struct timespec now;
    clock_gettime(id, &now);
    return (uint64_t)now.tv_sec * 1000000u + (uint64_t)now.tv_nsec / 1000u;
}

uint64_t mg_mono_us(void)
{
    uint64_t faked = atomic_load_explicit(&fake, memory_order_relaxed);
    return faked ? faked : read_clock(CLOCK_MONOTONIC);
}

uint64_t mg_wall_us(void)
{
    uint64_t faked = atomic_load_explicit(&fake, memory_order_relaxed);
    return faked ? faked : read_clock(CLOCK_REALTIME);
}

uint64_t mg_thread_cpu_us(void)
{
    return read_clock(CLOCK_THREAD_CPUTIME_ID);
}

void mg_clock_fake(uint64_t fake_us)
{
    atomic_store(&fake, fake_us);
}
