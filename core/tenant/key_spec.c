#include "tenant/key_spec.h"

#include <math.h>

#include "base/limits.h"
#include "base/mem.h"
#include "http/json.h"

enum { MICRO = 1000000, BURST_PART = 6, NAME_BYTES = 72 };     /* the defaults of `limits` in lua/boot/project.lua */

/* ---- limits ---------------------------------------------------------------------------------- */

/* Missing and null are 0. */
static bool read_count(const struct mg_json *limits, const char *name, int64_t max, int64_t *out_count)
{
    const struct mg_json *value = mg_json_get(limits, name);
    *out_count = 0;
    if (!value || mg_json_is(value, MG_JSON_NULL))
        return true;
    return mg_json_i64(value, out_count) && *out_count >= 1 && *out_count <= max;
}

static bool read_period(const struct mg_json *budget, enum mg_period *out_period)
{
    static const char *const names[] = {"day", "week", "month"};
    const struct mg_json *per = mg_json_get(budget, "per");
    *out_period = MG_PERIOD_MONTH;
    for (int i = 0; i < MG_PERIOD_COUNT; i++) {
        if (!mg_view_eq(mg_json_string(per), mg_view_cstr(names[i])))
            continue;
        *out_period = (enum mg_period)i;
        return true;
    }
    return !per;
}

static bool read_budget(const struct mg_json *budget, struct mg_limit_set *set)
{
    enum mg_period period;
    double usd = mg_json_double(mg_json_get(budget, "usd"), 0), soft = mg_json_double(mg_json_get(budget, "soft"), 0.8);
    if (!mg_json_is(budget, MG_JSON_OBJECT) || !read_period(budget, &period) || set->budget_microusd[period])
        return false;
    if (!(usd >= 0.000001 && usd <= 10000000) || !(soft >= 0 && soft <= 1))
        return false;
    set->budget_microusd[period] = (uint64_t)llround(usd * MICRO);
    set->soft_microusd[period] = (uint64_t)llround(usd * soft * MICRO);
    return true;
}

static bool read_budgets(const struct mg_json *budget, struct mg_limit_set *set)
{
    if (!budget || mg_json_is(budget, MG_JSON_NULL))
        return true;
    if (!mg_json_is(budget, MG_JSON_ARRAY))
        return read_budget(budget, set);
    for (const struct mg_json *item = mg_json_first(budget); item; item = mg_json_next(item))
        if (!read_budget(item, set))
            return false;
    return true;
}

static bool knows_all(const struct mg_json *limits)
{
    static const char *const names[] = {"requests_per_minute", "burst", "tokens_per_minute", "concurrency", "budget"};
    for (const struct mg_json *member = mg_json_first(limits); member; member = mg_json_next(member)) {
        bool known = false;
        for (size_t i = 0; i < MG_COUNT(names); i++)
            known = known || mg_view_eq(mg_json_key(member), mg_view_cstr(names[i]));
        if (!known)
            return false;
    }
    return true;
}

bool mg_key_limits_read(const struct mg_json *limits, struct mg_limit_set *out_set, const char **out_bad)
{
    struct mg_limit_set set = {.any = mg_json_first(limits) != NULL};
    int64_t requests, burst, tokens, concurrency;
    *out_bad = "\"limits\" must be an object of requests_per_minute, burst, tokens_per_minute, concurrency and budget";
    if (!mg_json_is(limits, MG_JSON_OBJECT) || !knows_all(limits))
        return false;
    *out_bad = "\"limits\": a number is missing, no whole number above 0, or too large";
    if (!read_count(limits, "requests_per_minute", 10000000, &requests) || !read_count(limits, "burst", 10000000, &burst) ||
        !read_count(limits, "tokens_per_minute", 1000000000, &tokens) ||
        !read_count(limits, "concurrency", 1000000, &concurrency))
        return false;
    *out_bad = "\"limits.burst\" needs requests_per_minute beside it, and is at most that";
    if (burst > requests)
        return false;
    *out_bad = "\"limits.budget\" must be {\"per\": \"day\", \"week\" or \"month\", \"usd\", \"soft\"?}, or a list with one for "
               "each period";
    if (!read_budgets(mg_json_get(limits, "budget"), &set))
        return false;
    set.requests_per_minute = (uint32_t)requests;
    set.burst = requests ? (uint32_t)(burst ? burst : MG_MAX(requests / BURST_PART, 1)) : 0;
    set.tokens_per_minute = (uint64_t)tokens;
    set.concurrency = (uint32_t)concurrency;
    *out_set = set;
    return true;
}

/* ---- the whole ------------------------------------------------------------------------------- */

static const char *printed(const struct mg_json *value, size_t max, struct mg_arena *arena)
{
    struct mg_buf text;
    mg_buf_init(&text, max);
    bool fits = mg_json_print(value, &text) == MG_OK;
    const char *copy = fits ? mg_arena_dup(arena, mg_buf_view(&text)).ptr : NULL;
    mg_buf_fini(&text);
    return copy;
}

/* False: it is there and of another type. *out_value is NULL when it is not there or null. */
static bool member(const struct mg_json *body, const char *name, enum mg_json_type type, enum mg_key_field field,
                   struct mg_keys_spec *spec, const struct mg_json **out_value)
{
    const struct mg_json *value = mg_json_get(body, name);
    bool none = !value || mg_json_is(value, MG_JSON_NULL);
    spec->given |= value ? (unsigned)field : 0;
    *out_value = none ? NULL : value;
    return none || mg_json_is(value, type);
}

/* Anything may name a model but what would end a line. */
static bool is_list_of_names(const struct mg_json *list)
{
    for (const struct mg_json *item = mg_json_first(list); item; item = mg_json_next(item)) {
        mg_view name = mg_json_string(item);
        if (!name.len || memchr(name.ptr, '\n', name.len))
            return false;
    }
    return true;
}

static bool read_names(const struct mg_json *body, struct mg_arena *arena, struct mg_keys_spec *spec, const char **out_bad)
{
    const struct mg_json *name, *workflows;
    *out_bad = "\"name\" must be a string of at most 71 bytes without control characters";
    if (!member(body, "name", MG_JSON_STRING, MG_KEY_NAME, spec, &name) || mg_json_string(name).len >= NAME_BYTES ||
        mg_view_has_controls(mg_json_string(name)))
        return false;
    spec->name = name ? mg_arena_dup(arena, mg_json_string(name)).ptr : "";
    *out_bad = "\"workflows\" must be a list of names";
    if (!member(body, "workflows", MG_JSON_ARRAY, MG_KEY_WORKFLOWS, spec, &workflows) || !is_list_of_names(workflows))
        return false;
    *out_bad = "\"workflows\" is too long";
    spec->workflows = workflows ? printed(workflows, MG_MAX_KEY_WORKFLOWS_BYTES, arena) : NULL;
    return !workflows || spec->workflows;
}

static bool read_limits(const struct mg_json *body, struct mg_arena *arena, struct mg_keys_spec *spec, const char **out_bad)
{
    const struct mg_json *limits;
    struct mg_limit_set set;
    *out_bad = "\"limits\" must be an object";
    if (!member(body, "limits", MG_JSON_OBJECT, MG_KEY_LIMITS, spec, &limits))
        return false;
    if (!limits)
        return true;
    if (!mg_key_limits_read(limits, &set, out_bad))
        return false;
    *out_bad = "\"limits\" is too long";
    return (spec->limits = printed(limits, MG_MAX_KEY_LIMITS_BYTES, arena)) != NULL;
}

static bool read_metadata(const struct mg_json *body, struct mg_arena *arena, struct mg_keys_spec *spec, const char **out_bad)
{
    const struct mg_json *metadata;
    *out_bad = "\"metadata\" must be an object";
    if (!member(body, "metadata", MG_JSON_OBJECT, MG_KEY_METADATA, spec, &metadata))
        return false;
    *out_bad = "\"metadata\" is too long";
    return !metadata || (spec->metadata = printed(metadata, MG_MAX_METADATA_BYTES, arena));
}

static bool read_expiry(const struct mg_json *body, struct mg_keys_spec *spec, const char **out_bad)
{
    const struct mg_json *expires = mg_json_get(body, "expires_us");
    int64_t expires_us = 0;
    *out_bad = "\"expires_us\" must be microseconds since 1970, or 0 for never";
    if (expires && (!mg_json_i64(expires, &expires_us) || expires_us < 0))
        return false;
    spec->given |= expires ? MG_KEY_EXPIRES : 0;
    spec->expires_us = (uint64_t)expires_us;
    return true;
}

bool mg_key_spec_read(const struct mg_json *body, bool change, struct mg_arena *arena, struct mg_keys_spec *out_spec,
                      const char **out_bad)
{
    struct mg_keys_spec spec = {.name = ""};
    mg_view project = mg_json_string(mg_json_get(body, "project"));
    *out_bad = change ? "\"project\": a key stays in its project" : "\"project\" is missing: the name of a project";
    if (change == (project.len > 0))
        return false;
    spec.project = mg_arena_dup(arena, project).ptr;
    if (!read_names(body, arena, &spec, out_bad) || !read_limits(body, arena, &spec, out_bad) ||
        !read_metadata(body, arena, &spec, out_bad) || !read_expiry(body, &spec, out_bad))
        return false;
    *out_bad = "there is nothing to change";
    if (change && !spec.given)
        return false;
    *out_spec = spec;
    return true;
}
