/* clock.h - time, in microseconds, with a fake for tests.
 *
 * Monotonic time measures; wall time is for people and records. On a worker read the loop's
 * cached time (mg_loop_now_us), which costs one clock call per loop turn. Thread safe. */
#ifndef MG_BASE_CLOCK_H
#define MG_BASE_CLOCK_H

#include <stdint.h>

uint64_t mg_mono_us(void);             /* CLOCK_MONOTONIC; never goes back */
uint64_t mg_wall_us(void);             /* since 1970-01-01 UTC */
uint64_t mg_thread_cpu_us(void);       /* CPU time of the calling thread */

/* Tests only: while `fake` is not 0 both clocks answer it. */
void mg_clock_fake(uint64_t fake_us);

#endif
