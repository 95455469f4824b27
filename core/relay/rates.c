#include "relay/rates.h"

#include <math.h>

#include "base/mem.h"

static int64_t for_a_million(double microusd)
{
    return (int64_t)MG_MIN(microusd * 1e6, (double)MG_RATE_MAX);
}

const struct mg_price *mg_target_price(const struct mg_config_target *target, struct mg_price *room)
{
    if (!target->priced)
        return NULL;
    *room = mg_price_simple((uint64_t)llround(target->price_in_microusd), (uint64_t)llround(target->price_out_microusd));
    room->steps[0].rates[MG_RATE_cached_read] = llround(target->price_cached_read_microusd);
    room->steps[0].rates[MG_RATE_cached_write] = llround(target->price_cached_write_microusd);
    room->steps[0].rates[MG_RATE_image] = for_a_million(target->price_image_microusd);
    room->steps[0].rates[MG_RATE_audio_second] = for_a_million(target->price_minute_microusd / 60);
    room->steps[0].rates[MG_RATE_character] = llround(target->price_characters_microusd);
    room->steps[0].rates[MG_RATE_search] = for_a_million(target->price_search_microusd);
    return room;
}

static double rate(const struct mg_price *price, enum mg_rate which)
{
    int64_t value = price->steps[0].rates[which];
    return value == MG_RATE_NONE ? 0 : (double)value;
}

/* As the call will be priced (relay/lane.c). */
static void look_up(struct mg_candidate *candidate, const struct mg_call *call)
{
    struct mg_price own;
    mg_view model = mg_view_cstr(candidate->target->model);
    struct mg_price_call asked = {
        .project = call->project,
        .provider = mg_view_cstr(candidate->provider),
        .vendor = mg_view_cstr(candidate->vendor),
        .model = mg_view_eq(model, MG_VIEW("*")) ? call->request.model : model,
        .own = mg_target_price(candidate->target, &own),
        .at_us = call->timeline->start_wall_us,
    };
    const struct mg_price *price = mg_prices_find(call->prices, &asked);
    candidate->rated = true;
    candidate->priced = price != NULL;
    candidate->price_in_microusd = price ? rate(price, MG_RATE_input) : 0;
    candidate->price_out_microusd = price ? rate(price, MG_RATE_output) : 0;
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
