#include "relay/gradient.h"

#include <math.h>

#include "base/mem.h"

enum { START = 16, USUAL_WEIGHT = 64, LATELY_WEIGHT = 8, BUSY_WEIGHT = 128 };

/* A dip comes when the limit was held down for that many times itself, lasts until those of before have ended and that
 * many more, and lets a quarter in, but no fewer than DIP_LIMIT. */
enum { DIP_EVERY = 128, DIP_CALLS = 32, DIP_WEIGHT = 8, DIP_PART = 4, DIP_LIMIT = 4 };

/* How much later than usual a first token may come before the limit shrinks, how steeply at most, and what a failure
 * leaves of it. As many calls as the limit lets in go the whole way together, but never fewer than STEP_CALLS. */
static const double TOLERANCE = 2.0, STEEPEST = 0.5, STEP_CALLS = 5.0, FAILURE_LEAVES = 0.9;

static void learn_usual(struct mg_gradient *gradient, double latency_us, int weight);
static void note_lately(struct mg_gradient *gradient, double latency_us);
static void note_busy(struct mg_gradient *gradient, uint32_t inflight);
static void follow(struct mg_gradient *gradient);

uint32_t mg_gradient_start(uint32_t max)
{
    return MG_MIN(max, (uint32_t)START);
}

static void note_good(struct mg_gradient *gradient, double latency_us)
{
    note_lately(gradient, latency_us);
    if (gradient->dip > 0) {
        /* The first to end began before it. */
        if (--gradient->dip < DIP_CALLS)
            learn_usual(gradient, latency_us, DIP_WEIGHT);
        gradient->lately_us = gradient->dip ? gradient->lately_us : gradient->usual_us;
        return;
    }
    if (latency_us < gradient->usual_us || gradient->busy * 2 < gradient->limit || gradient->usual_us == 0)
        learn_usual(gradient, latency_us, USUAL_WEIGHT);
    follow(gradient);
}

uint32_t mg_gradient_note(struct mg_gradient *gradient, uint32_t max, uint32_t inflight, uint64_t latency_us, bool ok)
{
    if (gradient->limit == 0)
        gradient->limit = mg_gradient_start(max);
    note_busy(gradient, inflight);
    if (ok)
        note_good(gradient, (double)MG_MAX(latency_us, 1u));
    else
        gradient->limit *= FAILURE_LEAVES;
    gradient->limit = MG_MAX(1.0, MG_MIN(gradient->limit, (double)max));
    return (uint32_t)gradient->limit;
}

/* No call counts for more than double. */
static void learn_usual(struct mg_gradient *gradient, double latency_us, int weight)
{
    double usual = gradient->usual_us;
    gradient->usual_us = usual > 0 ? usual + (MG_MIN(latency_us, 2 * usual) - usual) / weight : latency_us;
}

static void note_lately(struct mg_gradient *gradient, double latency_us)
{
    double lately = gradient->lately_us;
    gradient->lately_us = lately > 0 ? lately + (latency_us - lately) / LATELY_WEIGHT : latency_us;
}

/* Calls that end together leave an empty gate, and were many all the same. */
static void note_busy(struct mg_gradient *gradient, uint32_t inflight)
{
    double busy = gradient->busy;
    gradient->busy = inflight > busy ? inflight : busy + (inflight - busy) / BUSY_WEIGHT;
}

static void begin_dip(struct mg_gradient *gradient)
{
    gradient->pressed = 0;
    gradient->dip = DIP_CALLS + (uint32_t)gradient->busy;
    gradient->limit = MG_MIN(gradient->limit, MG_MAX(gradient->limit / DIP_PART, (double)DIP_LIMIT));
}

static void follow(struct mg_gradient *gradient)
{
    double slope = MG_MAX(STEEPEST, MG_MIN(1.0, TOLERANCE * gradient->usual_us / gradient->lately_us));
    double wanted = gradient->limit * slope + sqrt(gradient->limit);
    bool used = gradient->busy * 2 >= gradient->limit;       /* else latency says nothing about more */
    if (wanted < gradient->limit || used)
        gradient->limit += (wanted - gradient->limit) / MG_MAX(gradient->limit, STEP_CALLS);
    if (slope < 1)
        gradient->pressed++;
    else if (gradient->pressed > 0)
        gradient->pressed--;
    if (gradient->pressed >= DIP_EVERY * gradient->limit)
        begin_dip(gradient);
}
