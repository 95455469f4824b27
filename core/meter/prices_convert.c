/* genai-prices v2 → our catalogue:
 *
 *     [{"id": "openai", "models": [{"id": "gpt-6-sol", "match": {"starts_with": "gpt-6-sol"},
 *       "prices": {"input_mtok": {"base": 2, "tiers": [{"start": 272000, "price": 4}]}, "output_mtok": 10}}]}]
 *
 * `prices` may be a list whose entries begin at a date; the last one that is active counts. Its tiers
 * are cliffs on all input, strictly above `start`, as ours are. */
#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "http/json.h"
#include "meter/prices_parts.h"

static const char *const keys[MG_RATE_TOKENS] = {
    [MG_RATE_input] = "input_mtok",
    [MG_RATE_output] = "output_mtok",
    [MG_RATE_cached_read] = "cache_read_mtok",
    [MG_RATE_cached_write] = "cache_write_mtok",
    [MG_RATE_reasoning] = "output_reasoning_mtok",
    [MG_RATE_input_audio] = "input_audio_mtok",
    [MG_RATE_output_audio] = "output_audio_mtok",
};

/* Names under which the same provider is configured here. */
static const struct {
    const char *id, *also;
} aliases[] = {{"x-ai", "xai"}, {"google", "gemini"}};

struct writer {
    struct mg_buf *out;
    struct mg_prices_import *import;
    struct mg_map taken;               /* model ids of the provider */
};

/* US dollars as micro-US-dollars; false: finer than that, or no price. */
static bool rate_of(const struct mg_json *number, int64_t *out_rate)
{
    double micro = mg_json_double(number, -1) * 1e6;
    if (micro < 0 || micro > (double)MG_RATE_MAX || fabs(micro - round(micro)) > 1e-4)
        return false;
    *out_rate = llround(micro);
    return true;
}

/* The step that begins there, made and put in order when it is new. NULL: there are too many. */
static struct mg_price_step *step_at(struct mg_price *price, uint64_t above)
{
    int at = 1;
    while (at < price->step_count && price->steps[at].above < above)
        at++;
    if (at < price->step_count && price->steps[at].above == above)
        return &price->steps[at];
    if (price->step_count > MG_PRICE_STEPS)
        return NULL;
    memmove(&price->steps[at + 1], &price->steps[at],
            sizeof price->steps[0] * (size_t)(price->step_count - at));
    price->steps[at] = price->steps[at - 1];
    price->steps[at].above = above;
    price->step_count++;
    return &price->steps[at];
}

static bool read_tiers(const struct mg_json *tiers, enum mg_rate rate, struct mg_price *price)
{
    for (const struct mg_json *tier = mg_json_first(tiers); tier; tier = mg_json_next(tier)) {
        int64_t start, cost;
        if (!mg_json_i64(mg_json_get(tier, "start"), &start) || start <= 0 ||
            !rate_of(mg_json_get(tier, "price"), &cost))
            return false;
        struct mg_price_step *step = step_at(price, (uint64_t)start);
        if (!step)
            return false;
        for (; step < price->steps + price->step_count; step++)
            step->rates[rate] = cost;
    }
    return true;
}

static bool read_key(const struct mg_json *value, enum mg_rate rate, struct mg_price *price)
{
    bool tiered = mg_json_is(value, MG_JSON_OBJECT);
    int64_t base;
    if (!rate_of(tiered ? mg_json_get(value, "base") : value, &base))
        return false;
    for (int i = 0; i < price->step_count; i++)
        price->steps[i].rates[rate] = base;
    return read_tiers(tiered ? mg_json_get(value, "tiers") : NULL, rate, price);
}

/* US dollars per thousand requests. */
static bool read_fee(const struct mg_json *value, struct mg_price *price)
{
    int64_t micro = 0;
    if (value && !rate_of(value, &micro))
        return false;
    price->request = (uint64_t)micro * 1000;
    return price->request <= (uint64_t)MG_RATE_MAX;
}

static bool read_price(const struct mg_json *object, struct mg_price *out_price)
{
    struct mg_price price = {.step_count = 1};
    for (int i = 0; i < MG_RATE_COUNT; i++)
        price.steps[0].rates[i] = MG_RATE_NONE;
    for (int i = 0; i < MG_RATE_TOKENS; i++) {
        const struct mg_json *value = mg_json_get(object, keys[i]);
        if (value && !read_key(value, (enum mg_rate)i, &price))
            return false;
    }
    if (price.steps[0].rates[MG_RATE_input] == MG_RATE_NONE || !read_fee(mg_json_get(object, "requests_kcount"), &price))
        return false;
    *out_price = price;
    return true;
}

static mg_err put_rates(struct mg_buf *out, const struct mg_price_step *step)
{
    bool comma = false;
    for (int i = 0; i < MG_RATE_COUNT; i++) {
        if (step->rates[i] == MG_RATE_NONE)
            continue;
        MG_TRY(mg_buf_putf(out, "%s\"%s\":%" PRId64, comma ? "," : "", mg_rate_names[i], step->rates[i]));
        comma = true;
    }
    return MG_OK;
}

static mg_err put_price(struct mg_buf *out, const struct mg_price *price, mg_view from)
{
    MG_TRY(mg_buf_putc(out, '{'));
    if (from.len > 0)
        MG_TRY(mg_buf_putf(out, "\"from\":\"%.*s\",", MG_FMT(from)));
    MG_TRY(put_rates(out, &price->steps[0]));
    if (price->request > 0)
        MG_TRY(mg_buf_putf(out, ",\"request\":%" PRIu64, price->request));
    for (int i = 1; i < price->step_count; i++) {
        MG_TRY(mg_buf_putf(out, "%s{\"tokens\":%" PRIu64 ",", i == 1 ? ",\"above\":[" : ",", price->steps[i].above));
        MG_TRY(put_rates(out, &price->steps[i]));
        MG_TRY(mg_buf_putc(out, '}'));
    }
    return mg_buf_put(out, price->step_count > 1 ? MG_VIEW("]}") : MG_VIEW("}"));
}

static mg_err put_text(struct mg_buf *out, const char *before, mg_view text, const char *after)
{
    MG_TRY(mg_buf_putf(out, "%s\"", before));
    MG_TRY(mg_buf_put_json(out, text));
    return mg_buf_putf(out, "\"%s", after);
}

/* ---- which models a row is for */

static mg_err put_pattern(struct mg_buf *out, size_t *count, const char *before, mg_view text, const char *after)
{
    if (text.len == 0)
        return MG_OK;
    MG_TRY(mg_buf_putf(out, "%s\"%s", (*count)++ ? "," : "", before));
    MG_TRY(mg_buf_put_json(out, text));
    return mg_buf_putf(out, "%s\"", after);
}

/* Rules that are no pattern (regular expressions, several at once) are left out: the id still matches. */
static mg_err put_rule(struct mg_buf *out, size_t *count, const struct mg_json *rule)
{
    MG_TRY(put_pattern(out, count, "", mg_json_string(mg_json_get(rule, "equals")), ""));
    MG_TRY(put_pattern(out, count, "", mg_json_string(mg_json_get(rule, "starts_with")), "*"));
    MG_TRY(put_pattern(out, count, "*", mg_json_string(mg_json_get(rule, "ends_with")), ""));
    MG_TRY(put_pattern(out, count, "*", mg_json_string(mg_json_get(rule, "contains")), "*"));
    for (const struct mg_json *one = mg_json_first(mg_json_get(rule, "or")); one; one = mg_json_next(one))
        MG_TRY(put_rule(out, count, one));
    return MG_OK;
}

/* ---- models */

/* False: an entry cannot be expressed (prices by the hour of the day, finer than a microdollar, none per token). */
static bool read_period(const struct mg_json *entry, struct mg_price *out_price, mg_view *out_from)
{
    const struct mg_json *constraint = mg_json_get(entry, "constraint");
    *out_from = mg_json_string(mg_json_get(constraint, "start_date"));
    if (mg_json_is(constraint, MG_JSON_OBJECT) && out_from->len != 10)
        return false;
    return read_price(mg_json_get(entry, "prices"), out_price);
}

/* A kind that costs what it is part of here, or a use that is not counted: searches, pictures, a longer cache. */
static bool knows_key(mg_view key)
{
    for (int i = 0; i < MG_RATE_TOKENS; i++)
        if (mg_view_eq(key, mg_view_cstr(keys[i])))
            return true;
    return mg_view_eq(key, MG_VIEW("requests_kcount"));
}

static bool knows_all(const struct mg_json *price)
{
    for (const struct mg_json *member = mg_json_first(price); member; member = mg_json_next(member))
        if (!knows_key(mg_json_key(member)))
            return false;
    return true;
}

static bool is_partial(const struct mg_json *model)
{
    const struct mg_json *prices = mg_json_get(model, "prices");
    if (mg_json_count(mg_json_get(model, "price_variants")) > 0)
        return true;
    if (!mg_json_is(prices, MG_JSON_ARRAY))
        return !knows_all(prices);
    for (const struct mg_json *entry = mg_json_first(prices); entry; entry = mg_json_next(entry))
        if (!knows_all(mg_json_get(entry, "prices")))
            return true;
    return false;
}

static mg_err put_periods(struct mg_buf *out, const struct mg_json *prices, bool *out_good)
{
    struct mg_price price;
    mg_view from = MG_VIEW_NONE;
    if (!mg_json_is(prices, MG_JSON_ARRAY)) {
        *out_good = read_price(prices, &price);
        return *out_good ? put_price(out, &price, from) : MG_OK;
    }
    for (const struct mg_json *entry = mg_json_first(prices); entry; entry = mg_json_next(entry)) {
        *out_good = read_period(entry, &price, &from);
        if (!*out_good)
            return MG_OK;
        if (entry != mg_json_first(prices))
            MG_TRY(mg_buf_putc(out, ','));
        MG_TRY(put_price(out, &price, from));
    }
    return MG_OK;
}

static mg_err put_model(struct writer *writer, const struct mg_json *model, bool *io_comma)
{
    struct mg_buf *out = writer->out;
    mg_view id = mg_json_string(mg_json_get(model, "id"));
    size_t before = out->len, patterns = 0;
    bool good = id.len > 0 && !mg_map_get(&writer->taken, id);
    MG_TRY(put_text(out, *io_comma ? ",\n  {\"model\":" : "\n  {\"model\":", id, ",\"match\":["));
    MG_TRY(put_rule(out, &patterns, mg_json_get(model, "match")));
    MG_TRY(mg_buf_put(out, MG_VIEW("],\"prices\":[")));
    if (good)
        MG_TRY(put_periods(out, mg_json_get(model, "prices"), &good));
    if (!good) {
        out->len = before;
        writer->import->left_out++;
        return MG_OK;
    }
    *io_comma = true;
    writer->import->models++;
    writer->import->partial += is_partial(model);
    mg_map_put(&writer->taken, id, writer);
    return mg_buf_put(out, MG_VIEW("]}"));
}

static mg_err put_provider(struct writer *writer, const struct mg_json *provider)
{
    mg_view id = mg_json_string(mg_json_get(provider, "id"));
    bool comma = false;
    MG_TRY(put_text(writer->out, writer->import->providers++ ? ",\n{\"name\":" : "\n{\"name\":", id, ","));
    for (size_t i = 0; i < MG_COUNT(aliases); i++)
        if (mg_view_eq(id, mg_view_cstr(aliases[i].id)))
            MG_TRY(mg_buf_putf(writer->out, "\"also\":[\"%s\"],", aliases[i].also));
    MG_TRY(mg_buf_put(writer->out, MG_VIEW("\"models\":[")));
    mg_map_init(&writer->taken);
    mg_err err = MG_OK;
    for (const struct mg_json *model = mg_json_first(mg_json_get(provider, "models")); model && err == MG_OK;
         model = mg_json_next(model))
        err = put_model(writer, model, &comma);
    mg_map_fini(&writer->taken);
    return err == MG_OK ? mg_buf_put(writer->out, MG_VIEW("]}")) : err;
}

static mg_err convert(const struct mg_json *tree, const char *collected, struct writer *writer)
{
    MG_TRY(put_text(writer->out, "{\"version\":1,\"collected\":", mg_view_cstr(collected),
                    ",\"source\":\"genai-prices\",\"providers\":["));
    for (const struct mg_json *provider = mg_json_first(tree); provider; provider = mg_json_next(provider))
        MG_TRY(put_provider(writer, provider));
    return mg_buf_put(writer->out, MG_VIEW("\n]}\n"));
}

mg_err mg_prices_convert(mg_view json, const char *file, const char *collected, struct mg_buf *out,
                         struct mg_prices_import *out_import, struct mg_diag *diag)
{
    struct mg_json *tree;
    struct mg_json_error error = {0, "it is too long"};
    struct mg_prices_import import = {0};
    struct writer writer = {.out = out, .import = &import};
    struct mg_prices *check;
    if (mg_json_parse(json, MG_PRICES_MAX_BYTES, &tree, &error) != MG_OK)
        return mg_diag_set(diag, MG_E_CONFIG, file, 0, "it is no JSON: %s at byte %zu", error.reason, error.offset);
    bool foreign = mg_json_is(tree, MG_JSON_ARRAY);
    mg_err err = foreign ? convert(tree, collected, &writer) : mg_buf_put(out, json);
    mg_json_free(tree);
    if (err != MG_OK)
        return mg_diag_set(diag, err, file, 0, "it makes a catalogue that is too large");
    MG_TRY(mg_prices_parse(mg_buf_view(out), file, &check, diag));
    if (!foreign) {
        import.models = check->models;
        import.providers = check->list_count;
    }
    mg_prices_free(check);
    *out_import = import;
    return MG_OK;
}
