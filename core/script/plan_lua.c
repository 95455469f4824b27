#include "script/answers_lua.h"

#include <stdio.h>
#include <string.h>

#include "base/limits.h"
#include "script/args.h"

enum {
    MAX_MS = 86400000,
    DEFAULT_BACKOFF_MS = 500,          /* the wire reference's failure taxonomy, after the official SDKs */
    DEFAULT_BACKOFF_MAX_MS = 8000,
    MAX_HEDGES = MG_MAX_HEDGES,
    WHAT_BYTES = 64,
};

static const int64_t MAX_MICROUSD = 1000000000000;     /* a million dollars for one request */

struct reader {
    struct mg_call *call;
    const struct mg_candidate *candidates;
    int count;
};

static void read_entry(lua_State *L, const struct reader *reader, int number, struct mg_plan_entry *out_entry);
static void read_group(lua_State *L, const struct reader *reader, int entry, const char *what,
                       struct mg_plan_entry *out_entry);
static int read_target(lua_State *L, const struct reader *reader, int table, const char *what);
static void read_timers(lua_State *L, int entry, const char *what, struct mg_timeouts *timeouts);
static void read_backoff(lua_State *L, int entry, const char *what, struct mg_plan_entry *out_entry);
static uint32_t read_hedge(lua_State *L, int entry, const char *what);
static void read_budget(lua_State *L, int plan, struct mg_plan *out_plan);
static void read_cache(lua_State *L, int plan, struct mg_call *call, struct mg_plan *out_plan);
static void read_exhausted(lua_State *L, int plan, struct mg_call *call, struct mg_plan *out_plan);

void mg_lua_read_plan(lua_State *L, int index, struct mg_call *call, const struct mg_candidate *candidates, int count,
                      struct mg_plan *out_plan)
{
    static const char *const names[] = {"attempts", "budget", "sticky", "cache", "on_exhausted", "explain", NULL};
    struct reader reader = {.call = call, .candidates = candidates, .count = count};
    mg_lua_table(L, index, "plan");
    mg_lua_only(L, index, "plan", names);

    mg_lua_field(L, index, "attempts");
    int attempts = lua_gettop(L);
    mg_lua_table(L, attempts, "plan: field 'attempts'");
    int entries = (int)lua_objlen(L, attempts);
    if (entries < 1 || entries > MG_MAX_PLAN_ATTEMPTS)
        luaL_error(L, "plan: attempts must have from 1 to %d entries, got %d", (int)MG_MAX_PLAN_ATTEMPTS, entries);
    for (int i = 0; i < entries; i++) {
        lua_rawgeti(L, attempts, i + 1);
        read_entry(L, &reader, i + 1, &out_plan->entries[i]);
        lua_settop(L, attempts);
    }
    out_plan->count = entries;
    lua_pop(L, 1);

    out_plan->deadline_ms = UINT32_MAX;          /* the request's own holds: a cached plan must not carry another's */
    out_plan->max_attempts = call->default_max_attempts;
    read_budget(L, index, out_plan);
    read_cache(L, index, call, out_plan);
    read_exhausted(L, index, call, out_plan);
    out_plan->sticky = mg_arena_dup(call->arena, mg_lua_field_text(L, index, "sticky", "plan", MG_VIEW_NONE));
    out_plan->explain = mg_arena_dup(call->arena, mg_lua_field_text(L, index, "explain", "plan", MG_VIEW_NONE));
}

/* The entry is on top of the stack. */
static void read_entry(lua_State *L, const struct reader *reader, int number, struct mg_plan_entry *out_entry)
{
    static const char *const single[] = {"target", "timeouts_ms", "tries", "backoff", "hedge_after_ms", "patch", NULL};
    static const char *const group[] = {"pick", "of", "latency_bound_ms", "timeouts_ms", "tries", "backoff",
                                        "hedge_after_ms", "patch", NULL};
    char what[WHAT_BYTES];
    snprintf(what, sizeof(what), "plan: attempts[%d]", number);
    int entry = lua_gettop(L);
    mg_lua_table(L, entry, what);

    *out_entry = (struct mg_plan_entry){.choice_count = 1};
    mg_lua_field(L, entry, "of");
    if (lua_isnil(L, -1)) {
        mg_lua_only(L, entry, what, single);
        out_entry->choices[0] = (struct mg_plan_choice){read_target(L, reader, entry, what), 1};
    } else {
        mg_lua_only(L, entry, what, group);
        read_group(L, reader, entry, what, out_entry);
    }
    out_entry->timeouts = reader->candidates[out_entry->choices[0].candidate].target->timeouts;
    read_timers(L, entry, what, &out_entry->timeouts);
    out_entry->tries = (uint32_t)mg_lua_field_integer(L, entry, "tries", what, 1, MG_MAX_ATTEMPTS, 1);
    read_backoff(L, entry, what, out_entry);
    out_entry->hedge_after_ms = read_hedge(L, entry, what);
    mg_lua_field(L, entry, "patch");
    if (!lua_isnil(L, -1))
        out_entry->patch = mg_lua_read_object(L, lua_gettop(L), reader->call, what);
}

static enum mg_pick read_pick(lua_State *L, int entry, const char *what)
{
    static const char *const names[] = {
        [MG_PICK_WEIGHTED] = "weighted", [MG_PICK_HASH] = "hash",         [MG_PICK_LEAST_INFLIGHT] = "least_inflight",
        [MG_PICK_P2C] = "p2c",           [MG_PICK_CHEAPEST] = "cheapest",
    };
    mg_view pick = mg_lua_field_text(L, entry, "pick", what, MG_VIEW("weighted"));
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (mg_view_eq(pick, mg_view_cstr(names[i])))
            return (enum mg_pick)i;
    }
    luaL_error(L, "%s: pick must be \"weighted\", \"hash\", \"least_inflight\", \"p2c\" or \"cheapest\", got \"%.40s\"", what,
               pick.ptr);
    return MG_PICK_WEIGHTED;
}

/* The list `of` is on top of the stack. */
static void read_group(lua_State *L, const struct reader *reader, int entry, const char *what,
                       struct mg_plan_entry *out_entry)
{
    static const char *const names[] = {"target", "weight", NULL};
    int list = lua_gettop(L);
    mg_lua_table(L, list, what);
    int count = (int)lua_objlen(L, list);
    if (count < 1 || count > MG_MAX_PLAN_CHOICES)
        luaL_error(L, "%s: of must have from 1 to %d targets, got %d", what, (int)MG_MAX_PLAN_CHOICES, count);

    double sum = 0;
    for (int i = 0; i < count; i++) {
        char inner[WHAT_BYTES + 16];
        snprintf(inner, sizeof(inner), "%s.of[%d]", what, i + 1);
        lua_rawgeti(L, list, i + 1);
        int choice = lua_gettop(L);
        mg_lua_table(L, choice, inner);
        mg_lua_only(L, choice, inner, names);
        double weight = mg_lua_field_number(L, choice, "weight", inner, 1);
        if (weight < 0)
            luaL_error(L, "%s: weight must not be negative", inner);
        out_entry->choices[i] = (struct mg_plan_choice){read_target(L, reader, choice, inner), weight};
        sum += weight;
        lua_settop(L, list);
    }
    if (sum <= 0)
        luaL_error(L, "%s: all weights are 0", what);
    out_entry->choice_count = count;
    out_entry->pick = read_pick(L, entry, what);
    out_entry->latency_bound_ms = (uint32_t)mg_lua_field_integer(L, entry, "latency_bound_ms", what, 1, MAX_MS, 0);
    if (out_entry->latency_bound_ms && out_entry->pick != MG_PICK_CHEAPEST)
        luaL_error(L, "%s: latency_bound_ms goes with pick = \"cheapest\"", what);
}

/* The candidate that the table's `target` names: nothing else can be named, so a plan cannot leave its project. */
static int read_target(lua_State *L, const struct reader *reader, int table, const char *what)
{
    mg_view id = mg_lua_field_text(L, table, "target", what, MG_VIEW_NONE);
    if (id.len == 0)
        luaL_error(L, "%s: target must be the id of a candidate", what);
    for (int i = 0; i < reader->count; i++) {
        if (mg_view_eq(id, mg_view_cstr(reader->candidates[i].target->id)))
            return i;
    }
    char known[256];
    size_t at = 0;
    for (int i = 0; i < reader->count && at < sizeof(known); i++)
        at += (size_t)snprintf(known + at, sizeof(known) - at, "%s%s", i ? ", " : "", reader->candidates[i].target->id);
    return luaL_error(L, "%s: no candidate is called \"%.80s\"; there are %s", what, id.ptr, known);
}

static void read_timer(lua_State *L, int table, const char *name, const char *what, uint32_t *timer_ms)
{
    *timer_ms = (uint32_t)mg_lua_field_integer(L, table, name, what, 1, MAX_MS, *timer_ms);
}

static void read_timers(lua_State *L, int entry, const char *what, struct mg_timeouts *timeouts)
{
    static const char *const names[] = {"connect", "first_token", "idle", "total", NULL};
    char inner[WHAT_BYTES + 16];
    snprintf(inner, sizeof(inner), "%s.timeouts_ms", what);
    mg_lua_field(L, entry, "timeouts_ms");
    if (lua_isnil(L, -1))
        return;
    int table = lua_gettop(L);
    mg_lua_table(L, table, inner);
    mg_lua_only(L, table, inner, names);
    read_timer(L, table, "connect", inner, &timeouts->connect_ms);
    read_timer(L, table, "first_token", inner, &timeouts->first_token_ms);
    read_timer(L, table, "idle", inner, &timeouts->idle_ms);
    read_timer(L, table, "total", inner, &timeouts->total_ms);
}

static void read_backoff(lua_State *L, int entry, const char *what, struct mg_plan_entry *out_entry)
{
    static const char *const names[] = {"base_ms", "max_ms", "jitter", NULL};
    char inner[WHAT_BYTES + 16];
    snprintf(inner, sizeof(inner), "%s.backoff", what);
    out_entry->backoff_base_ms = DEFAULT_BACKOFF_MS;
    out_entry->backoff_max_ms = DEFAULT_BACKOFF_MAX_MS;
    out_entry->backoff_jitter = 1;
    mg_lua_field(L, entry, "backoff");
    if (lua_isnil(L, -1))
        return;

    int table = lua_gettop(L);
    mg_lua_table(L, table, inner);
    mg_lua_only(L, table, inner, names);
    read_timer(L, table, "base_ms", inner, &out_entry->backoff_base_ms);
    read_timer(L, table, "max_ms", inner, &out_entry->backoff_max_ms);
    out_entry->backoff_jitter = mg_lua_field_number(L, table, "jitter", inner, out_entry->backoff_jitter);
    if (out_entry->backoff_jitter < 0 || out_entry->backoff_jitter > 1)
        luaL_error(L, "%s: jitter must be from 0 to 1", inner);
}

/* Milliseconds, or "p95": those of the target that is asked first. */
static uint32_t read_hedge(lua_State *L, int entry, const char *what)
{
    mg_lua_field(L, entry, "hedge_after_ms");
    bool is_text = lua_type(L, -1) == LUA_TSTRING;
    if (is_text && !mg_view_eq(mg_lua_text(L, lua_gettop(L), what), MG_VIEW("p95")))
        luaL_error(L, "%s: hedge_after_ms must be a number or \"p95\", got \"%.40s\"", what, lua_tostring(L, -1));
    lua_pop(L, 1);
    return is_text ? MG_HEDGE_P95 : (uint32_t)mg_lua_field_integer(L, entry, "hedge_after_ms", what, 1, MAX_MS, 0);
}

/* A budget only tightens: more than the workflow allows is cut to what it allows. */
static void read_budget(lua_State *L, int plan, struct mg_plan *out_plan)
{
    static const char *const names[] = {"deadline_ms", "max_attempts", "max_cost_microusd", "max_hedges", NULL};
    out_plan->max_hedges = 1;
    mg_lua_field(L, plan, "budget");
    if (!lua_isnil(L, -1)) {
        int table = lua_gettop(L);
        mg_lua_table(L, table, "plan: field 'budget'");
        mg_lua_only(L, table, "plan: budget", names);
        int64_t deadline_ms = mg_lua_field_integer(L, table, "deadline_ms", "plan: budget", 1, MAX_MS, MAX_MS);
        int64_t attempts = mg_lua_field_integer(L, table, "max_attempts", "plan: budget", 1, 1000, MG_MAX_ATTEMPTS);
        if (deadline_ms < out_plan->deadline_ms)
            out_plan->deadline_ms = (uint32_t)deadline_ms;
        if (attempts < out_plan->max_attempts)
            out_plan->max_attempts = (uint32_t)attempts;
        out_plan->max_cost_microusd =
            (uint64_t)mg_lua_field_integer(L, table, "max_cost_microusd", "plan: budget", 1, MAX_MICROUSD, 0);
        out_plan->max_hedges = (uint32_t)mg_lua_field_integer(L, table, "max_hedges", "plan: budget", 0, MAX_HEDGES, 1);
    }
    lua_pop(L, 1);
}

static void read_cache(lua_State *L, int plan, struct mg_call *call, struct mg_plan *out_plan)
{
    static const char *const names[] = {"key", "ttl_ms", NULL};
    out_plan->cache_key = MG_VIEW_NONE;
    out_plan->cache_ttl_ms = 0;
    mg_lua_field(L, plan, "cache");
    if (!lua_isnil(L, -1)) {
        int table = lua_gettop(L);
        mg_lua_table(L, table, "plan: field 'cache'");
        mg_lua_only(L, table, "plan: cache", names);
        mg_view key = mg_lua_field_text(L, table, "key", "plan: cache", MG_VIEW_NONE);
        if (key.len == 0)
            luaL_error(L, "plan: cache: key must be a string that is not empty");
        out_plan->cache_key = mg_arena_dup(call->arena, key);
        out_plan->cache_ttl_ms = (uint32_t)mg_lua_field_integer(L, table, "ttl_ms", "plan: cache", 1, 60000, 250);
    }
    lua_pop(L, 1);
}

static void read_exhausted(lua_State *L, int plan, struct mg_call *call, struct mg_plan *out_plan)
{
    static const char *const names[] = {"status", "code", "retry_after_s", NULL};
    out_plan->exhausted_status = 0;
    mg_lua_field(L, plan, "on_exhausted");
    if (!lua_isnil(L, -1)) {
        int table = lua_gettop(L);
        mg_lua_table(L, table, "plan: field 'on_exhausted'");
        mg_lua_only(L, table, "plan: on_exhausted", names);
        out_plan->exhausted_status = (int)mg_lua_field_integer(L, table, "status", "plan: on_exhausted", 400, 599, 503);
        out_plan->exhausted_code = mg_arena_dup(
            call->arena, mg_lua_field_text(L, table, "code", "plan: on_exhausted", MG_VIEW("no_target")));
        out_plan->exhausted_retry_after_s =
            (uint32_t)mg_lua_field_integer(L, table, "retry_after_s", "plan: on_exhausted", 0, 86400, 0);
    }
    lua_pop(L, 1);
}
