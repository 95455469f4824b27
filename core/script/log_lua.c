#include "script/args.h"

#include "base/clock.h"
#include "base/limits.h"
#include "base/log.h"
#include "io/loop.h"
#include "script/json_lua.h"
#include "script/log_lua.h"

enum { LINE_BYTES = 384 };             /* of message and fields together; the log cuts at 512 with ours */

/* The project's name says whose line it is; nothing of a plugin is ever a format. */
static void write_line(const struct mg_lua *lua, enum mg_log_level level, mg_view text)
{
    const struct mg_instance *instance = lua->run ? lua->run->instance : NULL;
    const struct mg_call *call = lua->run ? lua->run->call : NULL;
    text.len = mg_view_utf8_floor(mg_view_head(text, LINE_BYTES));
    mg_log(level, "plugin", "project=%s instance=%s request=%s %.*s", instance ? instance->project : "-",
           instance ? instance->name : "-", call && call->timeline ? call->timeline->id : "-", MG_FMT(text));
    if (call && call->timeline && level > MG_LOG_DEBUG)
        mg_timeline_note(call->timeline, lua->loop ? mg_loop_now_us(lua->loop) : mg_mono_us(), "log", "%s: %.*s",
                         instance ? instance->name : "-", MG_FMT(text));
}

/* True when the line is over the instance's rate; the first one over it leaves a warning in its place. */
static bool over_rate(const struct mg_lua *lua)
{
    struct mg_instance *instance = lua->run ? lua->run->instance : NULL;
    uint64_t second = mg_mono_us() / 1000000;
    if (!instance)
        return false;
    if (instance->log_second != second) {
        instance->log_second = second;
        instance->log_lines = 0;
    }
    if (++instance->log_lines == MG_MAX_LOG_LINES_PER_S + 1)
        mg_log_warn("plugin", "project=%s instance=%s logs more than %d lines a second: dropping the rest of this one",
                    instance->project, instance->name, MG_MAX_LOG_LINES_PER_S);
    return instance->log_lines > MG_MAX_LOG_LINES_PER_S;
}

void mg_lua_log(lua_State *L, enum mg_log_level level, mg_view text)
{
    const struct mg_lua *lua = mg_lua_of(L);
    if (!over_rate(lua))
        write_line(lua, level, text);
}

static int log_at(lua_State *L, enum mg_log_level level, const char *what)
{
    mg_view message = mg_lua_text(L, 1, what);
    const char *why = NULL;
    if (lua_isnoneornil(L, 2)) {
        mg_lua_log(L, level, message);
        return 0;
    }
    lua_settop(L, 2);
    if (!lua_istable(L, 2))
        mg_lua_bad(L, 2, what, "a message and a table of fields");
    struct mg_buf *line = mg_lua_scratch(L, 65536);
    mg_err err = mg_buf_put(line, mg_view_head(message, LINE_BYTES));
    if (err == MG_OK)
        err = mg_buf_putc(line, ' ');
    if (err == MG_OK)
        err = mg_lua_put_json(L, 2, line, &why);
    if (err == MG_E_BAD_REQUEST) {
        mg_lua_scratch_end(line);
        return luaL_error(L, "%s: the fields hold %s", what, why);
    }
    mg_lua_log(L, level, mg_buf_view(line));
    mg_lua_scratch_end(line);
    return 0;
}

static int log_debug(lua_State *L)
{
    return log_at(L, MG_LOG_DEBUG, "moongate.log.debug: message");
}

static int log_info(lua_State *L)
{
    return log_at(L, MG_LOG_INFO, "moongate.log.info: message");
}

static int log_warn(lua_State *L)
{
    return log_at(L, MG_LOG_WARN, "moongate.log.warn: message");
}

static int log_error(lua_State *L)
{
    return log_at(L, MG_LOG_ERROR, "moongate.log.error: message");
}

static const struct mg_lua_function functions[] = {
    {"debug", log_debug, MG_LUA_ANYWHERE, NULL, false},
    {"info", log_info, MG_LUA_ANYWHERE, NULL, false},
    {"warn", log_warn, MG_LUA_ANYWHERE, NULL, false},
    {"error", log_error, MG_LUA_ANYWHERE, NULL, false},
    {NULL, NULL, 0, NULL, false},
};

const struct mg_lua_module mg_lua_log_module = {"log", functions, NULL};
