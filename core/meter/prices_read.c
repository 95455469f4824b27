/* The catalogue's file:
 *
 *     {"version": 1, "collected": "2026-11-24", "source": "…", "providers": [
 *       {"name": "openai", "also": ["azure"], "project": "…", "models": [
 *         {"model": "gpt-6-sol", "match": ["gpt-6-sol-*"], "prices": [
 *           {"from": "2026-09-01", "input": 2000000, "output": 10000000, "cached_read": 200000,
 *            "above": [{"tokens": 272000, "input": 4000000, "output": 15000000}], "request": 5000000000,
 *            "tiers": {"batch": 500, "priority": 2000}}]}]}]}
 *
 * Rates are whole micro-US-dollars per million tokens, `request` per million requests; tiers are thousandths. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/embed.h"
#include "base/hash.h"
#include "base/mem.h"
#include "http/json.h"
#include "meter/prices_parts.h"

struct reader {
    struct mg_prices *prices;
    const char *file;
    mg_view provider, model;           /* where it is, for messages */
    struct mg_diag *diag;
};

__attribute__((format(printf, 2, 3))) static mg_err bad(struct reader *reader, const char *fmt, ...)
{
    char text[160];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    return mg_diag_set(reader->diag, MG_E_CONFIG, reader->file, 0, "%.*s%s%.*s%s%s",
                       MG_FMT(reader->provider), reader->model.len ? "/" : "",
                       MG_FMT(reader->model), reader->provider.len ? ": " : "", text);
}

static const char *keep(struct reader *reader, mg_view text)
{
    return mg_arena_printf(&reader->prices->arena, "%.*s", MG_FMT(text)).ptr;
}

static mg_err each_known(struct reader *reader, const struct mg_json *object,
                         const char *const *known)
{
    for (const struct mg_json *member = mg_json_first(object); member;
         member = mg_json_next(member)) {
        bool found = false;
        for (size_t i = 0; known[i]; i++)
            found |= mg_view_eq(mg_json_key(member), mg_view_cstr(known[i]));
        if (!found)
            return bad(reader, "there is no field \"%.*s\"", MG_FMT(mg_json_key(member)));
    }
    return MG_OK;
}

/* ---- one price */

static mg_err read_number(struct reader *reader, const struct mg_json *value, const char *name,
                          int64_t max, int64_t *out)
{
    int64_t number;
    if (!mg_json_i64(value, &number) || number < 0 || number > max)
        return bad(reader, "%s must be a whole number from 0 to %lld", name, (long long)max);
    *out = number;
    return MG_OK;
}

static mg_err read_rates(struct reader *reader, const struct mg_json *object,
                         int64_t rates[MG_RATE_COUNT])
{
    for (int i = 0; i < MG_RATE_COUNT; i++) {
        const struct mg_json *value = mg_json_get(object, mg_rate_names[i]);
        rates[i] = MG_RATE_NONE;
        if (value)
            MG_TRY(read_number(reader, value, mg_rate_names[i], MG_RATE_MAX, &rates[i]));
    }
    if (rates[MG_RATE_input] == MG_RATE_NONE)
        return bad(reader, "input is missing: micro-US-dollars per million tokens");
    if (rates[MG_RATE_output] == MG_RATE_NONE)
        rates[MG_RATE_output] = 0; /* embeddings write nothing */
    return MG_OK;
}

static mg_err read_steps(struct reader *reader, const struct mg_json *list, struct mg_price *price)
{
    for (const struct mg_json *item = mg_json_first(list); item; item = mg_json_next(item)) {
        int64_t above;
        if (price->step_count > MG_PRICE_STEPS)
            return bad(reader, "more than %d steps in above", MG_PRICE_STEPS);
        struct mg_price_step *step = &price->steps[price->step_count];
        MG_TRY(read_number(reader, mg_json_get(item, "tokens"), "above.tokens", INT64_C(1) << 40,
                           &above));
        if ((uint64_t)above <= step[-1].above)
            return bad(reader, "above must be ordered by tokens");
        MG_TRY(read_rates(reader, item, step->rates));
        step->above = (uint64_t)above;
        price->step_count++;
    }
    return MG_OK;
}

static mg_err read_tiers(struct reader *reader, const struct mg_json *map, struct mg_price *price)
{
    for (const struct mg_json *item = mg_json_first(map); item; item = mg_json_next(item)) {
        int64_t permille;
        mg_view name = mg_json_key(item);
        if (price->tier_count == MG_PRICE_TIERS)
            return bad(reader, "more than %d tiers", MG_PRICE_TIERS);
        struct mg_price_tier *tier = &price->tiers[price->tier_count++];
        if (name.len == 0 || name.len >= sizeof tier->name)
            return bad(reader, "a tier's name has 1 to 15 bytes");
        for (int i = 0; i < price->tier_count - 1; i++)
            if (mg_view_ieq(mg_view_cstr(price->tiers[i].name), name))
                return bad(reader, "the tier %.*s is there twice", MG_FMT(name));
        MG_TRY(read_number(reader, item, "a tier", 100000, &permille));
        memcpy(tier->name, name.ptr, name.len);
        tier->permille = (uint32_t)permille;
    }
    return MG_OK;
}

static mg_err read_date(struct reader *reader, mg_view text, uint64_t *out_us)
{
    char copy[16] = "", *end;
    struct tm tm = {0};
    if (text.len == 10)
        memcpy(copy, text.ptr, text.len);
    end = strptime(copy, "%Y-%m-%d", &tm);
    int day = tm.tm_mday, month = tm.tm_mon;       /* timegm makes a March day of a 31st of February */
    time_t second = timegm(&tm);
    if (text.len != 10 || !end || *end || tm.tm_mday != day || tm.tm_mon != month)
        return bad(reader, "from must be a date: \"2026-11-24\" (UTC)");
    *out_us = (uint64_t)MG_MAX(second, (time_t)0) * 1000000u;
    return MG_OK;
}

static mg_err read_price(struct reader *reader, const struct mg_json *object,
                         struct mg_price *price)
{
    static const char *const known[] = {"from",
#define X(name, parent) #name,
                                        MG_RATE_LIST(X)
#undef X
                                            "request",
                                        "above",
                                        "tiers", NULL};
    const struct mg_json *from = mg_json_get(object, "from"), *request = mg_json_get(object, "request");
    int64_t fee = 0;
    *price = (struct mg_price){.step_count = 1};
    MG_TRY(each_known(reader, object, known));
    if (from)
        MG_TRY(read_date(reader, mg_json_string(from), &price->from_us));
    MG_TRY(read_rates(reader, object, price->steps[0].rates));
    if (request)
        MG_TRY(read_number(reader, request, "request", MG_RATE_MAX, &fee));
    price->request = (uint64_t)fee;
    MG_TRY(read_steps(reader, mg_json_get(object, "above"), price));
    return read_tiers(reader, mg_json_get(object, "tiers"), price);
}

/* ---- models and lists */

static mg_err read_prices(struct reader *reader, const struct mg_json *list,
                          struct mg_price_model *model)
{
    size_t count = mg_json_count(list);
    if (!mg_json_is(list, MG_JSON_ARRAY) || count == 0 || count > MG_PRICE_PERIODS)
        return bad(reader, "prices must be a list of 1 to %d prices", MG_PRICE_PERIODS);
    model->prices = mg_arena_array(&reader->prices->arena, struct mg_price, count);
    for (const struct mg_json *item = mg_json_first(list); item; item = mg_json_next(item)) {
        struct mg_price *price = &model->prices[model->count];
        MG_TRY(read_price(reader, item, price));
        if (model->count > 0 && price->from_us <= price[-1].from_us)
            return bad(reader, "prices must be ordered by from");
        model->count++;
    }
    return MG_OK;
}

static mg_err read_patterns(struct reader *reader, const struct mg_json *match,
                            struct mg_price_list *list, const struct mg_price_model *model)
{
    for (const struct mg_json *item = mg_json_first(match); item; item = mg_json_next(item)) {
        mg_view glob = mg_json_string(item);
        if (glob.len == 0)
            return bad(reader, "match must be a list of patterns");
        list->patterns[list->pattern_count++] =
            (struct mg_price_pattern){mg_arena_dup(&reader->prices->arena, glob), model};
    }
    return MG_OK;
}

static mg_err read_model(struct reader *reader, const struct mg_json *object,
                         struct mg_price_list *list)
{
    static const char *const known[] = {"model", "match", "prices", NULL};
    struct mg_price_model *model = &list->models[list->model_count];
    reader->model = mg_json_string(mg_json_get(object, "model"));
    if (reader->model.len == 0)
        return bad(reader, "model is missing");
    MG_TRY(each_known(reader, object, known));
    model->name = keep(reader, reader->model);
    MG_TRY(read_prices(reader, mg_json_get(object, "prices"), model));
    MG_TRY(read_patterns(reader, mg_json_get(object, "match"), list, model));
    if (mg_map_put(&list->by_name, reader->model, model))
        return bad(reader, "it is there twice");
    list->model_count++;
    reader->prices->models++;
    reader->model = MG_VIEW_NONE;
    return MG_OK;
}

static size_t literal_bytes(mg_view glob)
{
    size_t stars = 0;
    for (size_t i = 0; i < glob.len; i++)
        stars += glob.ptr[i] == '*';
    return glob.len - stars;
}

static int by_literal(const void *a, const void *b)
{
    size_t first = literal_bytes(((const struct mg_price_pattern *)a)->glob);
    size_t second = literal_bytes(((const struct mg_price_pattern *)b)->glob);
    return first > second ? -1 : first < second;
}

static size_t count_patterns(const struct mg_json *models)
{
    size_t count = 0;
    for (const struct mg_json *item = mg_json_first(models); item; item = mg_json_next(item))
        count += mg_json_count(mg_json_get(item, "match"));
    return count;
}

static mg_err own_name(struct reader *reader, struct mg_price_list *list, mg_view name)
{
    char key[256];
    int len = snprintf(key, sizeof key, "%s%c%.*s", list->project, '\0', MG_FMT(name));
    if (name.len == 0 || (size_t)len >= sizeof key)
        return bad(reader, "the provider's name is missing or too long");
    if (mg_map_put(&reader->prices->by_owner, mg_view_of(key, (size_t)len), list))
        return bad(reader, "there are two lists of this name");
    return MG_OK;
}

static mg_err read_list(struct reader *reader, const struct mg_json *object,
                        struct mg_price_list *list)
{
    static const char *const known[] = {"name", "also", "project", "models", NULL};
    const struct mg_json *models = mg_json_get(object, "models");
    struct mg_arena *arena = &reader->prices->arena;
    mg_view project = mg_json_string(mg_json_get(object, "project"));
    reader->provider = mg_json_string(mg_json_get(object, "name"));
    MG_TRY(each_known(reader, object, known));
    list->name = keep(reader, reader->provider);
    list->project = keep(reader, project);
    list->models = mg_arena_array(arena, struct mg_price_model, mg_json_count(models) + 1);
    list->patterns = mg_arena_array(arena, struct mg_price_pattern, count_patterns(models) + 1);
    MG_TRY(own_name(reader, list, reader->provider));
    reader->prices->projects += project.len > 0;
    for (const struct mg_json *item = mg_json_first(mg_json_get(object, "also")); item;
         item = mg_json_next(item))
        MG_TRY(own_name(reader, list, mg_json_string(item)));
    for (const struct mg_json *item = mg_json_first(models); item; item = mg_json_next(item))
        MG_TRY(read_model(reader, item, list));
    if (list->pattern_count > 1)
        qsort(list->patterns, list->pattern_count, sizeof list->patterns[0], by_literal);
    reader->provider = MG_VIEW_NONE;
    return MG_OK;
}

static mg_err read_all(struct reader *reader, const struct mg_json *tree)
{
    static const char *const known[] = {"version", "collected", "source", "unit", "providers", NULL};
    const struct mg_json *lists = mg_json_get(tree, "providers");
    struct mg_prices *prices = reader->prices;
    int64_t version = 0;
    if (!mg_json_i64(mg_json_get(tree, "version"), &version) || version != 1)
        return bad(reader, "this is no price catalogue: \"version\" must be 1 (see: moongate prices import)");
    MG_TRY(each_known(reader, tree, known));
    if (!mg_json_is(lists, MG_JSON_ARRAY))
        return bad(reader, "providers is missing");
    prices->collected = keep(reader, mg_json_string(mg_json_get(tree, "collected")));
    prices->source = keep(reader, mg_json_string(mg_json_get(tree, "source")));
    prices->lists = mg_arena_array(&prices->arena, struct mg_price_list, mg_json_count(lists) + 1);
    for (const struct mg_json *item = mg_json_first(lists); item; item = mg_json_next(item)) {
        struct mg_price_list *list = &prices->lists[prices->list_count++];
        mg_map_init(&list->by_name);
        MG_TRY(read_list(reader, item, list));
    }
    return MG_OK;
}

mg_err mg_prices_parse(mg_view json, const char *file, struct mg_prices **out_prices,
                       struct mg_diag *diag)
{
    struct mg_json *tree;
    struct mg_json_error error = {0, "it is too long"};
    mg_err err = mg_json_parse(json, MG_PRICES_MAX_BYTES, &tree, &error);
    if (err != MG_OK)
        return mg_diag_set(diag, MG_E_CONFIG, file, 0, "it is no JSON: %s at byte %zu", error.reason,
                           error.offset);
    struct mg_prices *prices = mg_new(struct mg_prices);
    struct reader reader = {.prices = prices, .file = file, .diag = diag};
    mg_arena_init(&prices->arena, 16384);
    mg_map_init(&prices->by_owner);
    prices->fingerprint = mg_fingerprint(json);
    err = read_all(&reader, tree);
    mg_json_free(tree);
    if (err != MG_OK) {
        mg_prices_free(prices);
        return err;
    }
    *out_prices = prices;
    return MG_OK;
}

static mg_err read_file(FILE *file, struct mg_buf *out)
{
    for (;;) {
        MG_TRY(mg_buf_reserve(out, 65536));
        size_t n = fread(mg_buf_tail(out), 1, 65536, file);
        mg_buf_grew(out, n);
        if (n == 0)
            return ferror(file) ? MG_E_SYSTEM : MG_OK;
    }
}

mg_err mg_prices_load(const char *path, struct mg_prices **out_prices, struct mg_diag *diag)
{
    struct mg_buf text;
    FILE *file = fopen(path, "rbe");
    if (!file)
        return mg_diag_set(diag, MG_E_CONFIG, path, 0, "cannot read the price catalogue: %s",
                           strerror(errno));
    mg_buf_init(&text, MG_PRICES_MAX_BYTES + 65536);
    mg_err err = read_file(file, &text);
    fclose(file);
    if (err == MG_OK)
        err = mg_prices_parse(mg_buf_view(&text), path, out_prices, diag);
    else
        mg_diag_set(diag, err, path, 0, "cannot read the price catalogue: %s", mg_err_text(err));
    mg_buf_fini(&text);
    return err;
}

mg_err mg_prices_builtin(struct mg_prices **out_prices, struct mg_diag *diag)
{
    const struct mg_embedded_file *file = mg_embedded_find("config/prices.json");
    if (!file)
        return mg_diag_set(diag, MG_E_NOT_FOUND, "config/prices.json", 0, "the binary carries no prices");
    return mg_prices_parse(mg_view_of(file->data, file->size), "config/prices.json", out_prices, diag);
}
