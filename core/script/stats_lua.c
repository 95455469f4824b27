#include "script/args.h"

#include "base/mem.h"
#include "relay/stats.h"
#include "script/modules.h"

static void set_number(lua_State *L, const char *name, double number)
{
    lua_pushnumber(L, number);
    lua_setfield(L, -2, name);
}

static mg_view project_of(const struct mg_lua *lua)
{
    if (lua->run && lua->run->call)
        return lua->run->call->project;
    return mg_view_cstr(lua->run && lua->run->instance ? lua->run->instance->project : "");
}

/* A target nobody has called yet has figures of zero: a policy need not ask first. */
static int stats_target(lua_State *L)
{
    struct mg_stats_figures figures;
    mg_view id = mg_lua_text(L, 1, "moongate.stats.target: id");
    mg_stats_read(mg_stats_peek(project_of(mg_lua_of(L)), id), &figures);
    lua_createtable(L, 0, 10);
    set_number(L, "ewma_ms", (double)figures.ewma_us / 1000.0);
    set_number(L, "p50_ms", (double)figures.p50_us / 1000.0);
    set_number(L, "p95_ms", (double)figures.p95_us / 1000.0);
    set_number(L, "p99_ms", (double)figures.p99_us / 1000.0);
    set_number(L, "total_p99_ms", (double)figures.total_p99_us / 1000.0);
    set_number(L, "err_rate", figures.error_rate);
    set_number(L, "inflight", figures.inflight);
    set_number(L, "calls", (double)figures.calls);
    set_number(L, "failures", (double)figures.failures);
    if (figures.rate_limit_known)
        set_number(L, "rate_limit_remaining", (double)figures.rate_limit_remaining);
    return 1;
}

static const struct mg_lua_function functions[] = {
    {"target", stats_target, MG_LUA_HOOKS, "stats", false},
    {NULL, NULL, 0, NULL, false},
};

const struct mg_lua_module mg_lua_stats = {"stats", functions, NULL};
