#include "relay/rates.h"

#include <string.h>

#include "config/config.h"

static double rate(const struct mg_price *price, enum mg_rate which)
{
    int64_t value = price->steps[0].rates[which];
    return value == MG_RATE_NONE ? 0 : (double)value;
}

static void take_own(struct mg_candidate *candidate)
{
    const struct mg_config_target *target = candidate->target;
    candidate->priced = target->priced;
    candidate->price_in_microusd = target->price_in_microusd;
    candidate->price_out_microusd = target->price_out_microusd;
}

static void take_listed(struct mg_candidate *candidate, const struct mg_call *call)
{
    mg_view model = mg_view_cstr(candidate->target->model);
    struct mg_price_call asked = {
        .project = call->project,
        .provider = mg_view_cstr(candidate->provider),
        .vendor = mg_view_cstr(candidate->vendor),
        .model = mg_view_eq(model, MG_VIEW("*")) ? call->request.model : model,
        .at_us = call->timeline->start_wall_us,
    };
    const struct mg_price *price = mg_prices_find(call->prices, &asked);
    candidate->priced = price != NULL;
    if (!price)
        return;
    candidate->price_in_microusd = rate(price, MG_RATE_input);
    candidate->price_out_microusd = rate(price, MG_RATE_output);
}

/* As the call will be priced (relay/lane.c). */
static void look_up(struct mg_candidate *candidate, const struct mg_call *call)
{
    candidate->rated = true;
    if (candidate->target->priced && !mg_prices_own(call->prices, call->project))
        take_own(candidate);
    else
        take_listed(candidate, call);
}

bool mg_candidate_rates(struct mg_candidate *candidate, const struct mg_call *call, double *out_in, double *out_out)
{
    if (!candidate->rated)
        look_up(candidate, call);
    if (!candidate->priced)
        return false;
    *out_in = candidate->price_in_microusd;
    *out_out = candidate->price_out_microusd;
    return true;
}
