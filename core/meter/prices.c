#include "meter/prices.h"

#include <string.h>

#include "base/mem.h"
#include "meter/prices_parts.h"

__extension__ typedef unsigned __int128 u128;

const char *const mg_rate_names[MG_RATE_COUNT] = {
#define X(name, parent) #name,
    MG_RATE_LIST(X)
#undef X
};

static const enum mg_rate parents[MG_RATE_COUNT] = {
#define X(name, parent) MG_RATE_##parent,
    MG_RATE_LIST(X)
#undef X
};

/* ---- one price */

struct mg_price mg_price_simple(uint64_t input_rate, uint64_t output_rate)
{
    struct mg_price price = {.step_count = 1};
    for (int i = 0; i < MG_RATE_COUNT; i++)
        price.steps[0].rates[i] = MG_RATE_NONE;
    price.steps[0].rates[MG_RATE_input] = (int64_t)MG_MIN(input_rate, (uint64_t)MG_RATE_MAX);
    price.steps[0].rates[MG_RATE_output] = (int64_t)MG_MIN(output_rate, (uint64_t)MG_RATE_MAX);
    return price;
}

/* The cliff counts all input, cached or not, and what it changes holds for every token. */
static const struct mg_price_step *step_for(const struct mg_price *price, uint64_t input_tokens)
{
    int i = price->step_count - 1;
    while (i > 0 && input_tokens <= price->steps[i].above)
        i--;
    return &price->steps[i];
}

static uint32_t permille_of(const struct mg_price *price, mg_view tier)
{
    for (int i = 0; i < price->tier_count; i++)
        if (mg_view_ieq(mg_view_cstr(price->tiers[i].name), tier))
            return price->tiers[i].permille;
    return 1000;
}

/* A rate of its own, else the parent's; a parent without one is free. */
static uint64_t rate_of(const struct mg_price_step *step, enum mg_rate rate)
{
    int64_t own = step->rates[rate];
    if (own == MG_RATE_NONE)
        own = step->rates[parents[rate]];
    return own == MG_RATE_NONE ? 0 : (uint64_t)own;
}

/* Takes `wanted` tokens out of what is left of the parent: a provider that counts more parts than
 * there is whole is charged no token twice. */
static u128 charge(uint64_t *left, uint64_t wanted, const struct mg_price_step *step,
                   enum mg_rate rate)
{
    uint64_t taken = MG_MIN(*left, wanted);
    *left -= taken;
    return (u128)taken * rate_of(step, rate);
}

/* What is not counted in tokens; a second of sound is the unit, a thousandth of it is counted. */
static u128 units(const struct mg_price_step *step, const struct mg_usage *usage)
{
    u128 sum = (u128)usage->images * rate_of(step, MG_RATE_image);
    sum += ((u128)usage->audio_ms * rate_of(step, MG_RATE_audio_second) + 500) / 1000;
    sum += (u128)usage->characters * rate_of(step, MG_RATE_character);
    return sum + (u128)usage->searches * rate_of(step, MG_RATE_search);
}

uint64_t mg_price_cost(const struct mg_price *price, const struct mg_usage *usage, mg_view tier)
{
    const struct mg_price_step *step = step_for(price, usage->input_tokens);
    uint64_t input = usage->input_tokens, output = usage->output_tokens;
    u128 sum = charge(&input, usage->cached_read_tokens, step, MG_RATE_cached_read);
    sum += charge(&input, usage->cached_write_tokens, step, MG_RATE_cached_write);
    sum += charge(&input, usage->input_audio_tokens, step, MG_RATE_input_audio);
    sum += charge(&input, input, step, MG_RATE_input);
    sum += charge(&output, usage->output_audio_tokens, step, MG_RATE_output_audio);
    sum += charge(&output, usage->reasoning_tokens, step, MG_RATE_reasoning);
    sum += charge(&output, output, step, MG_RATE_output);

    if (mg_usage_units(usage))
        sum += units(step, usage);

    uint32_t permille = tier.len > 0 ? permille_of(price, tier) : 1000;
    if (permille != 1000)
        sum = (sum * permille + 500) / 1000;
    if (usage->input_tokens > 0 || usage->output_tokens > 0 || mg_usage_units(usage))
        sum += price->request;
    return sum > UINT64_MAX ? UINT64_MAX : (uint64_t)sum;
}

uint64_t mg_microusd(uint64_t picousd)
{
    return picousd / 1000000u + (picousd % 1000000u > 0);
}

/* ---- finding */

static const struct mg_price_list *list_of(const struct mg_prices *prices, mg_view project,
                                           mg_view provider)
{
    char key[256];
    if (project.len + provider.len + 1 > sizeof key)
        return NULL;
    if (project.len > 0)
        memcpy(key, project.ptr, project.len);
    key[project.len] = '\0';
    if (provider.len > 0)
        memcpy(key + project.len + 1, provider.ptr, provider.len);
    return mg_map_get(&prices->by_owner, mg_view_of(key, project.len + 1 + provider.len));
}

static bool is_digits(mg_view text)
{
    uint64_t number;
    return mg_view_u64(text, &number);
}

/* "-2026-10-01" and "-20261001" at the end are a snapshot of the model before them. */
static mg_view without_date(mg_view model)
{
    mg_view end = mg_view_skip(model, model.len - MG_MIN(model.len, (size_t)11));
    if (end.len == 11 && end.ptr[0] == '-' && end.ptr[5] == '-' && end.ptr[8] == '-' &&
        is_digits(mg_view_of(end.ptr + 1, 4)) && is_digits(mg_view_of(end.ptr + 6, 2)) &&
        is_digits(mg_view_of(end.ptr + 9, 2)))
        return mg_view_head(model, model.len - 11);
    end = mg_view_skip(model, model.len - MG_MIN(model.len, (size_t)9));
    if (end.len == 9 && end.ptr[0] == '-' && is_digits(mg_view_skip(end, 1)))
        return mg_view_head(model, model.len - 9);
    return MG_VIEW_NONE;
}

static const struct mg_price_model *named(const struct mg_price_list *list, mg_view model)
{
    if (model.len == 0)
        return NULL;
    const struct mg_price_model *found = mg_map_get(&list->by_name, model);
    mg_view bare = found ? MG_VIEW_NONE : without_date(model);
    return bare.len > 0 ? mg_map_get(&list->by_name, bare) : found;
}

static const struct mg_price_model *matched(const struct mg_price_list *list, mg_view model)
{
    for (size_t i = 0; i < list->pattern_count && model.len > 0; i++)
        if (mg_view_glob(list->patterns[i].glob, model))
            return list->patterns[i].model;
    return NULL;
}

static const struct mg_price_model *model_of(const struct mg_price_list *list, mg_view served,
                                             mg_view asked)
{
    const struct mg_price_model *model = named(list, served);
    if (!model)
        model = named(list, asked);
    if (!model)
        model = matched(list, served);
    return model ? model : matched(list, asked);
}

static const struct mg_price *price_at(const struct mg_price_model *model, uint64_t at_us)
{
    for (int i = model->count - 1; i >= 0; i--)
        if (model->prices[i].from_us <= at_us)
            return &model->prices[i];
    return NULL;
}

static const struct mg_price *price_in(const struct mg_price_list *list,
                                       const struct mg_price_call *call)
{
    const struct mg_price_model *model = list ? model_of(list, call->served, call->model) : NULL;
    return model ? price_at(model, call->at_us) : NULL;
}

/* In the lists of a project, or in everybody's. */
static const struct mg_price *listed(const struct mg_prices *prices, mg_view project,
                                     const struct mg_price_call *call)
{
    const struct mg_price *price = price_in(list_of(prices, project, call->provider), call);
    if (!price && call->vendor.len > 0)
        price = price_in(list_of(prices, project, call->vendor), call);
    return price;
}

const struct mg_price *mg_prices_find(const struct mg_prices *prices,
                                      const struct mg_price_call *call)
{
    const struct mg_price *price = NULL;
    if (prices && prices->projects > 0 && call->project.len > 0)
        price = listed(prices, call->project, call);
    if (!price)
        price = call->own;
    return price || !prices ? price : listed(prices, MG_VIEW_NONE, call);
}

/* ---- the whole */

struct mg_prices_facts mg_prices_facts(const struct mg_prices *prices)
{
    return (struct mg_prices_facts){prices->collected, prices->source, prices->fingerprint,
                                    prices->models};
}

void mg_prices_each(const struct mg_prices *prices, mg_prices_cb cb, void *arg)
{
    for (size_t i = 0; i < prices->list_count; i++) {
        const struct mg_price_list *list = &prices->lists[i];
        for (size_t m = 0; m < list->model_count; m++)
            cb(arg, list->project, list->name, list->models[m].name, list->models[m].prices,
               list->models[m].count);
    }
}

void mg_prices_free(struct mg_prices *prices)
{
    if (!prices)
        return;
    for (size_t i = 0; i < prices->list_count; i++)
        mg_map_fini(&prices->lists[i].by_name);
    mg_map_fini(&prices->by_owner);
    mg_arena_fini(&prices->arena);
    mg_free(prices);
}
