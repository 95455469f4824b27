#include "script/answers_lua.h"

#include <string.h>

#include "base/limits.h"
#include "http/headers.h"
#include "script/args.h"
#include "script/json_lua.h"

enum { MAX_DELAY_MS = 600000, OBJECT_BYTES = 65536 };

static void read_class(lua_State *L, int index, const struct mg_attempt_facts *facts, struct mg_verdict *out_verdict);
static void read_client(lua_State *L, int index, struct mg_call *call, struct mg_verdict *out_verdict);
static void read_headers(lua_State *L, int index, struct mg_call *call, struct mg_attempt_patch *out_patch);

void mg_lua_read_verdict(lua_State *L, int index, struct mg_call *call, const struct mg_attempt_facts *facts,
                         struct mg_verdict *out_verdict)
{
    static const char *const names[] = {"class", "action", "delay_ms", "client", "explain", NULL};
    mg_lua_table(L, index, "verdict");
    mg_lua_only(L, index, "verdict", names);
    read_class(L, index, facts, out_verdict);

    mg_view action = mg_lua_field_text(L, index, "action", "verdict", MG_VIEW_NONE);
    if (action.len == 0)
        out_verdict->action = mg_class_action(out_verdict->class_);
    else if (!mg_action_find(action, &out_verdict->action))
        luaL_error(L, "verdict: action must be \"accept\", \"retry\", \"fallback\" or \"fail\", got \"%.40s\"", action.ptr);
    double delay_ms = mg_lua_field_number(L, index, "delay_ms", "verdict", 0);
    if (delay_ms < 0 || delay_ms > (double)MAX_DELAY_MS)
        luaL_error(L, "verdict: delay_ms must be from 0 to %d", (int)MAX_DELAY_MS);
    out_verdict->delay_ms = (uint64_t)delay_ms;
    read_client(L, index, call, out_verdict);
    out_verdict->explain = mg_arena_dup(call->arena, mg_lua_field_text(L, index, "explain", "verdict", MG_VIEW_NONE));
}

static void read_class(lua_State *L, int index, const struct mg_attempt_facts *facts, struct mg_verdict *out_verdict)
{
    mg_view name = mg_lua_field_text(L, index, "class", "verdict", mg_view_cstr(mg_class_name(facts->hint)));
    if (!mg_class_find(name, &out_verdict->class_))
        luaL_error(L, "verdict: there is no class \"%.40s\"; the list is in the guide on failure taxonomies", name.ptr);
}

static void read_client(lua_State *L, int index, struct mg_call *call, struct mg_verdict *out_verdict)
{
    static const char *const names[] = {"status", "code", "message", NULL};
    mg_lua_field(L, index, "client");
    if (!lua_isnil(L, -1)) {
        int table = lua_gettop(L);
        mg_lua_table(L, table, "verdict: field 'client'");
        mg_lua_only(L, table, "verdict: client", names);
        out_verdict->client_status = (int)mg_lua_field_integer(L, table, "status", "verdict: client", 400, 599, 0);
        out_verdict->client_code =
            mg_arena_dup(call->arena, mg_lua_field_text(L, table, "code", "verdict: client", MG_VIEW_NONE));
        out_verdict->client_message =
            mg_arena_dup(call->arena, mg_lua_field_text(L, table, "message", "verdict: client", MG_VIEW_NONE));
    }
    lua_pop(L, 1);
}

void mg_lua_read_patch(lua_State *L, int index, struct mg_call *call, struct mg_attempt_patch *out_patch)
{
    static const char *const names[] = {"model", "params", "headers", NULL};
    mg_lua_table(L, index, "patch");
    mg_lua_only(L, index, "patch", names);

    mg_view model = mg_lua_field_text(L, index, "model", "patch", MG_VIEW_NONE);
    if (model.len)
        out_patch->model = mg_arena_dup(call->arena, model);
    mg_lua_field(L, index, "params");
    if (!lua_isnil(L, -1))
        out_patch->params = mg_lua_read_object(L, lua_gettop(L), call, "patch: params");
    lua_pop(L, 1);
    mg_lua_field(L, index, "headers");
    if (!lua_isnil(L, -1))
        read_headers(L, lua_gettop(L), call, out_patch);
    lua_pop(L, 1);
}

/* Credentials are the core's to send; a plugin that names them has been fooled or is fooling us. */
static void check_header(lua_State *L, mg_view name, mg_view value)
{
    if (!mg_http_is_token(name) || !mg_http_is_field_value(value))
        luaL_error(L, "patch: headers: \"%.40s\" is no valid header", name.ptr);
    if (mg_header_is_denied_upstream(name) || mg_header_is_hop_by_hop((struct mg_headers){NULL, 0}, name))
        luaL_error(L, "patch: headers: %.40s may not be set here", name.ptr);
}

static void read_headers(lua_State *L, int index, struct mg_call *call, struct mg_attempt_patch *out_patch)
{
    const size_t room = sizeof(out_patch->headers) / sizeof(out_patch->headers[0]);
    mg_lua_table(L, index, "patch: headers");
    lua_pushnil(L);
    while (lua_next(L, index)) {
        int top = lua_gettop(L);
        mg_view name = mg_lua_text(L, top - 1, "patch: headers: each name");
        mg_view value = mg_lua_text(L, top, "patch: headers: each value");
        check_header(L, name, value);
        if (out_patch->header_count == room)
            luaL_error(L, "patch: more than %d headers", (int)room);
        out_patch->headers[out_patch->header_count++] =
            (struct mg_header){.name = mg_arena_dup(call->arena, name), .value = mg_arena_dup(call->arena, value)};
        lua_pop(L, 1);
    }
}

mg_view mg_lua_read_object(lua_State *L, int index, struct mg_call *call, const char *what)
{
    mg_lua_table(L, index, what);
    struct mg_buf *json = mg_lua_scratch(L, OBJECT_BYTES);
    mg_lua_must_json(L, index, json, what);
    mg_view text = mg_buf_view(json);
    if (mg_view_eq(text, MG_VIEW("[]")))
        text = MG_VIEW_NONE;           /* an empty table changes nothing */
    else if (text.ptr[0] != '{')
        luaL_error(L, "%s must be a table of fields, not a list", what);
    text = mg_arena_dup(call->arena, text);
    mg_lua_scratch_end(json);
    return text;
}
