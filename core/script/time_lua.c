#include "script/args.h"

#include "base/clock.h"
#include "base/mem.h"
#include "io/loop.h"
#include "script/co.h"
#include "script/modules.h"
#include "script/time.h"

/* A configuration file must say the same each time it is read, so it sees no clock. */
enum { CLOCK = MG_LUA_ANYWHERE & ~MG_LUA_IN(load), SLEEP_MS = 60000 };

static int time_now_ms(lua_State *L)
{
    uint64_t ms = mg_wall_us() / 1000;
    lua_pushnumber(L, (double)ms);
    return 1;
}

static int time_mono_ms(lua_State *L)
{
    lua_pushnumber(L, (double)mg_mono_us() / 1000.0);
    return 1;
}

static int time_parse(lua_State *L)
{
    int64_t ms = 0;
    mg_view text = mg_lua_text(L, 1, "moongate.time.parse: text");
    if (mg_time_parse(text, &ms) != MG_OK)
        return mg_lua_fail(L, "invalid_time", false, "'%.*s' is no RFC 3339 time", MG_FMT(mg_view_head(text, 64)));
    lua_pushnumber(L, (double)ms);
    return 1;
}

static int time_format(lua_State *L)
{
    char text[MG_TIME_BYTES];
    double ms = mg_lua_number(L, 1, "moongate.time.format: ms");
    if (!(ms > -1e14 && ms < 1e15) || mg_time_format((int64_t)ms, text) != MG_OK)
        return luaL_error(L, "moongate.time.format: ms must be within the years 0 to 9999");
    lua_pushstring(L, text);
    return 1;
}

static int time_cron_next(lua_State *L)
{
    int64_t next = 0;
    mg_view expression = mg_lua_text(L, 1, "moongate.time.cron_next: expression");
    int64_t after = lua_isnoneornil(L, 2) && mg_lua_of(L)->run->phase != MG_LUA_PHASE_load
                        ? (int64_t)(mg_wall_us() / 1000)
                        : mg_lua_integer(L, 2, "moongate.time.cron_next: after_ms", 0, INT64_C(1) << 53);
    mg_err err = mg_cron_next(expression, after, &next);
    if (err == MG_E_BAD_REQUEST)
        return luaL_error(L, "moongate.time.cron_next: '%s' is no cron expression", expression.ptr);
    if (err != MG_OK)
        return mg_lua_fail(L, "never", false, "'%.*s' is not due within nine years", MG_FMT(expression));
    lua_pushnumber(L, (double)next);
    return 1;
}

/* ---- sleep */

struct sleep {
    struct mg_wait wait;
    struct mg_loop *loop;
    struct mg_timer timer;
    uint64_t delay_ms;
};

static void on_due(struct mg_timer *timer)
{
    mg_co_done(&mg_container_of(timer, struct sleep, timer)->wait);
}

static void sleep_start(struct mg_wait *wait, struct mg_loop *loop)
{
    struct sleep *op = mg_container_of(wait, struct sleep, wait);
    op->loop = loop;
    mg_timer_start(loop, &op->timer, op->delay_ms, on_due);
}

static void sleep_cancel(struct mg_wait *wait)
{
    struct sleep *op = mg_container_of(wait, struct sleep, wait);
    mg_timer_cancel(op->loop, &op->timer);
}

static int sleep_push(struct mg_wait *wait, lua_State *L)
{
    return 0;
}

static void sleep_free(struct mg_wait *wait)
{
    mg_free(mg_container_of(wait, struct sleep, wait));
}

static int time_sleep(lua_State *L)
{
    int64_t delay_ms = mg_lua_integer(L, 1, "moongate.time.sleep: ms", 0, SLEEP_MS);
    struct sleep *op = mg_new(struct sleep);
    op->wait = (struct mg_wait){sleep_start, sleep_cancel, sleep_push, sleep_free, NULL, false};
    op->delay_ms = (uint64_t)delay_ms;
    return mg_co_wait(L, &op->wait);
}

static const struct mg_lua_function functions[] = {
    {"now_ms", time_now_ms, CLOCK, NULL, false},
    {"mono_ms", time_mono_ms, CLOCK, NULL, false},
    {"sleep", time_sleep, MG_LUA_WAITING, NULL, true},
    {"parse", time_parse, MG_LUA_ANYWHERE, NULL, false},
    {"format", time_format, MG_LUA_ANYWHERE, NULL, false},
    {"cron_next", time_cron_next, MG_LUA_ANYWHERE, NULL, false},
    {NULL, NULL, 0, NULL, false},
};

const struct mg_lua_module mg_lua_time = {"time", functions, NULL};
