#include "io/wheel.h"

#include <stddef.h>
#include <string.h>

#include "base/mem.h"

static void catch_up(struct mg_wheel *wheel, uint64_t tick);
static void queue(struct mg_wheel *wheel, struct mg_timer *timer);
static void take_slots(struct mg_wheel *wheel, uint64_t until_tick, struct mg_list *out);
static void take_slot(struct mg_wheel *wheel, unsigned slot, struct mg_list *out);
static unsigned distance_to_busy(const struct mg_wheel *wheel);

void mg_wheel_init(struct mg_wheel *wheel, uint64_t now_us)
{
    for (unsigned i = 0; i < MG_WHEEL_SLOTS; i++)
        mg_list_init(&wheel->slots[i]);
    memset(wheel->busy, 0, sizeof(wheel->busy));
    wheel->tick = now_us / MG_WHEEL_SLOT_US;
    wheel->armed = 0;
}

void mg_wheel_start(struct mg_wheel *wheel, struct mg_timer *timer, uint64_t now_us,
                    uint64_t due_us, mg_timer_cb cb)
{
    catch_up(wheel, now_us / MG_WHEEL_SLOT_US);
    bool armed = mg_timer_armed(timer);
    timer->due_us = due_us ? due_us : 1;
    timer->cb = cb;
    if (armed && timer->due_us >= timer->tick * MG_WHEEL_SLOT_US)
        return; /* its slot comes first and queues it again */
    if (armed)
        mg_list_remove(&timer->link);
    else
        wheel->armed++;
    queue(wheel, timer);
}

void mg_wheel_cancel(struct mg_wheel *wheel, struct mg_timer *timer)
{
    if (!mg_timer_armed(timer))
        return;
    unsigned slot = (unsigned)(timer->tick % MG_WHEEL_SLOTS);
    mg_list_remove(&timer->link);
    if (mg_list_empty(&wheel->slots[slot]))
        wheel->busy[slot / 64] &= ~(UINT64_C(1) << (slot % 64));
    timer->due_us = 0;
    wheel->armed--;
}

void mg_wheel_advance(struct mg_wheel *wheel, uint64_t now_us)
{
    uint64_t tick = now_us / MG_WHEEL_SLOT_US;
    if (tick <= wheel->tick)
        return;
    struct mg_list ripe;
    mg_list_init(&ripe);
    take_slots(wheel, tick, &ripe);

    for (struct mg_list *item; (item = mg_list_pop_front(&ripe));) {
        struct mg_timer *timer = mg_container_of(item, struct mg_timer, link);
        if (timer->due_us > now_us) {
            queue(wheel, timer);
            continue;
        }
        timer->due_us = 0;
        wheel->armed--;
        timer->cb(timer);
    }
}

uint64_t mg_wheel_next_us(const struct mg_wheel *wheel)
{
    unsigned distance = distance_to_busy(wheel);
    return distance ? (wheel->tick + distance) * MG_WHEEL_SLOT_US : UINT64_MAX;
}

/* The wheel's time stands still while nothing is due; a timer queued from an old time would not
 * reach far enough. */
static void catch_up(struct mg_wheel *wheel, uint64_t tick)
{
    if (tick <= wheel->tick)
        return;
    unsigned distance = distance_to_busy(wheel);
    wheel->tick = distance ? MG_MIN(tick, wheel->tick + distance - 1) : tick;
}

/* Into the slot of its time, or the farthest one there is. */
static void queue(struct mg_wheel *wheel, struct mg_timer *timer)
{
    uint64_t tick = (timer->due_us + MG_WHEEL_SLOT_US - 1) / MG_WHEEL_SLOT_US;
    tick = MG_MAX(tick, wheel->tick + 1);
    timer->tick = MG_MIN(tick, wheel->tick + MG_WHEEL_SLOTS - 1);

    unsigned slot = (unsigned)(timer->tick % MG_WHEEL_SLOTS);
    mg_list_push_back(&wheel->slots[slot], &timer->link);
    wheel->busy[slot / 64] |= UINT64_C(1) << (slot % 64);
}

/* Moves what stands in the slots up to until_tick to out, in their order, and makes it the wheel's
 * time. */
static void take_slots(struct mg_wheel *wheel, uint64_t until_tick, struct mg_list *out)
{
    uint64_t start = wheel->tick;
    for (unsigned distance; (distance = distance_to_busy(wheel));) {
        uint64_t tick = wheel->tick + distance;
        if (tick > until_tick || tick >= start + MG_WHEEL_SLOTS)
            break;
        wheel->tick = tick;
        take_slot(wheel, (unsigned)(tick % MG_WHEEL_SLOTS), out);
    }
    wheel->tick = until_tick;
}

static void take_slot(struct mg_wheel *wheel, unsigned slot, struct mg_list *out)
{
    for (struct mg_list *item; (item = mg_list_pop_front(&wheel->slots[slot]));)
        mg_list_push_back(out, item);
    wheel->busy[slot / 64] &= ~(UINT64_C(1) << (slot % 64));
}

/* Slots from the wheel's time to the next busy one: 1 … MG_WHEEL_SLOTS - 1; 0 when none is. */
static unsigned distance_to_busy(const struct mg_wheel *wheel)
{
    unsigned start = (unsigned)((wheel->tick + 1) % MG_WHEEL_SLOTS);
    unsigned words = MG_WHEEL_SLOTS / 64;
    for (unsigned i = 0; i <= words; i++) {
        unsigned word = (start / 64 + i) % words;
        uint64_t bits = wheel->busy[word];
        if (i == 0)
            bits &= ~UINT64_C(0) << (start % 64);
        else if (i == words)
            bits &= ~(~UINT64_C(0) << (start % 64));
        if (bits) {
            unsigned slot = word * 64 + (unsigned)__builtin_ctzll(bits);
            return (slot + MG_WHEEL_SLOTS - start) % MG_WHEEL_SLOTS + 1;
        }
    }
    return 0;
}
