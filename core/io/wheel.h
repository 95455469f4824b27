/* wheel.h - a coarse timer wheel: thousands of deadlines for the price of one libuv timer.
 *
 *   slots[1024] of 5 ms each = 5.12 s; a later timer waits in the last slot it can reach and is
 *   queued again from there. `busy` has a bit for every slot that is not empty.
 *
 * A timer never fires early and fires at most one slot late. Postponing an armed timer only stores
 * the new time: it is queued again when its old slot comes round, so an idle deadline that is
 * pushed on every read costs two stores. This file knows no loop; timers of a loop are started with
 * mg_timer_start() of io/loop.h. Loop thread only. */
#ifndef MG_IO_WHEEL_H
#define MG_IO_WHEEL_H

#include <stdbool.h>
#include <stdint.h>

#include "base/list.h"

enum { MG_WHEEL_SLOTS = 1024, MG_WHEEL_SLOT_US = 5000 };

struct mg_timer;

/* The timer is disarmed before the call and may be started again or freed inside it. */
typedef void (*mg_timer_cb)(struct mg_timer *timer);

/* Embedded in its owner and found with mg_container_of(). All zeros is a disarmed timer. */
struct mg_timer {
    struct mg_list link; /* in its slot while armed */
    uint64_t due_us;     /* monotonic; 0 when disarmed */
    uint64_t tick;       /* the slot time it is queued for; due_us may be later */
    mg_timer_cb cb;
};

struct mg_wheel {
    struct mg_list slots[MG_WHEEL_SLOTS];
    uint64_t busy[MG_WHEEL_SLOTS / 64];
    uint64_t tick;  /* slot times up to this one have been served */
    uint32_t armed; /* timers in the wheel */
};

void mg_wheel_init(struct mg_wheel *wheel, uint64_t now_us);

/* Arms or re-arms. A due time that is not after now_us fires in the next slot. */
void mg_wheel_start(struct mg_wheel *wheel, struct mg_timer *timer, uint64_t now_us,
                    uint64_t due_us, mg_timer_cb cb);
void mg_wheel_cancel(struct mg_wheel *wheel, struct mg_timer *timer); /* harmless when disarmed */

/* Calls back every timer that is due at now_us. Timers started by a callback wait for the next
 * call. */
void mg_wheel_advance(struct mg_wheel *wheel, uint64_t now_us);

/* When mg_wheel_advance() has something to look at next; UINT64_MAX when nothing is armed. */
uint64_t mg_wheel_next_us(const struct mg_wheel *wheel);

static inline bool mg_timer_armed(const struct mg_timer *timer)
{
    return timer->due_us != 0;
}

#endif
