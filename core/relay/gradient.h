/* gradient.h - the limit of an adaptive gate, found from how late first tokens come.
 *
 * The limit follows the ratio of the usual latency to the latest, so it shrinks when calls queue up at the target, and
 * is pushed up by its root, to see whether there is room. What is usual is learned only from calls that had room, or a
 * queue of our own making would become the measure. When the limit has been held down for long it is cut to a quarter
 * for a moment: then either the latency falls, or the target is slower than it was and that is what is usual now.
 *
 * Plain arithmetic without a clock; the caller sees to it that one thread is in here at a time. */
#ifndef MG_RELAY_GRADIENT_H
#define MG_RELAY_GRADIENT_H

#include <stdbool.h>
#include <stdint.h>

struct mg_gradient {                   /* all zeros is a new one */
    double limit;                      /* 0: nothing was noted yet */
    double usual_us, lately_us;        /* time to the first token */
    double busy;                       /* most in flight of late; falls slowly */
    uint32_t pressed;                  /* good calls while latency held the limit down, less those while it did not */
    uint32_t dip;                      /* good calls that are left of that moment */
};

/* What a new one lets in. */
uint32_t mg_gradient_start(uint32_t max);

/* A call ended. inflight: with it; latency_us: 0 only when it was not ok. Returns the new limit, 1 … max. */
uint32_t mg_gradient_note(struct mg_gradient *gradient, uint32_t max, uint32_t inflight, uint64_t latency_us, bool ok);

#endif
