#include "script/view_class.h"

#include "base/clock.h"
#include "base/limits.h"
#include "base/mem.h"
#include "http/json_scan.h"
#include "io/loop.h"
#include "script/json_lua.h"

/* Metatables stand in the registry under META + kind. What a run's views share is one number: run->views holds the
 * serial they were made with, lua->views_made the last serial of the state. */
enum { META = 0x6d670010, ARENA_BYTES = 2 * MG_MAX_BODY_BYTES };

static const char FINISHED[] = "request is finished";

const struct mg_view_class *const mg_view_classes[MG_VIEW_KIND_COUNT] = {
#define X(name) &mg_view_##name,
    MG_VIEW_KIND_LIST(X)
#undef X
};

/* ---- life */

static uint64_t serial_of(struct mg_lua *lua)
{
    if (!lua->run->views)
        lua->run->views = ++lua->views_made;
    return lua->run->views;
}

static bool alive(const struct mg_lua *lua, const struct mg_lua_view *view)
{
    return lua->run && lua->run->views && lua->run->views == view->serial;
}

void mg_lua_end_views(struct mg_lua *lua)
{
    if (lua->run)
        lua->run->views = 0;
}

/* ---- fields */

static int unknown(lua_State *L, const struct mg_view_class *class_)
{
    if (lua_type(L, 2) == LUA_TSTRING)
        return luaL_error(L, "%s has no field '%s'", class_->word, lua_tostring(L, 2));
    return luaL_error(L, "%s has no field of type %s", class_->word, lua_typename(L, lua_type(L, 2)));
}

/* Upvalue 1 maps a name to the number of a field, or to a method. */
static int on_index(lua_State *L)
{
    const struct mg_lua_view *view = lua_touserdata(L, 1);
    if (!alive(mg_lua_of(L), view))
        return luaL_error(L, FINISHED);
    const struct mg_view_class *class_ = mg_view_classes[view->kind];
    lua_pushvalue(L, 2);
    lua_rawget(L, lua_upvalueindex(1));
    if (lua_type(L, -1) == LUA_TNUMBER)
        return class_->fields[lua_tointeger(L, -1)].get(L, view);
    if (!lua_isnil(L, -1))
        return 1;
    return class_->get ? class_->get(L, view) : unknown(L, class_);
}

static int on_newindex(lua_State *L)
{
    const struct mg_lua_view *view = lua_touserdata(L, 1);
    if (!alive(mg_lua_of(L), view))
        return luaL_error(L, FINISHED);
    const struct mg_view_class *class_ = mg_view_classes[view->kind];
    lua_pushvalue(L, 2);
    lua_rawget(L, lua_upvalueindex(1));
    bool is_field = lua_type(L, -1) == LUA_TNUMBER;
    const struct mg_view_field *field = is_field ? &class_->fields[lua_tointeger(L, -1)] : NULL;
    if (lua_isnil(L, -1) && !class_->set)
        return unknown(L, class_);
    void (*set)(lua_State *, const struct mg_lua_view *) = field ? field->set : class_->set;
    if (!set || (!field && !lua_isnil(L, -1)))
        return luaL_error(L, "%s.%s is read-only", class_->word, lua_type(L, 2) == LUA_TSTRING ? lua_tostring(L, 2) : "?");
    lua_settop(L, 3);
    set(L, view);
    return 0;
}

static int on_length(lua_State *L)
{
    const struct mg_lua_view *view = lua_touserdata(L, 1);
    if (!alive(mg_lua_of(L), view))
        return luaL_error(L, FINISHED);
    lua_pushinteger(L, (lua_Integer)mg_view_classes[view->kind]->length(view));
    return 1;
}

static int on_tostring(lua_State *L)
{
    const struct mg_lua_view *view = lua_touserdata(L, 1);
    lua_pushstring(L, mg_view_classes[view->kind]->name);
    return 1;
}

/* Pushes the table that maps names to fields and methods. */
static void push_names(lua_State *L, const struct mg_view_class *class_)
{
    lua_newtable(L);
    for (int i = 0; class_->fields && class_->fields[i].name; i++) {
        lua_pushinteger(L, i);
        lua_setfield(L, -2, class_->fields[i].name);
    }
    for (const struct mg_lua_function *method = class_->methods; method && method->name; method++) {
        mg_lua_push_function(L, method);
        lua_setfield(L, -2, method->name);
    }
}

static void push_metatable(lua_State *L, enum mg_view_kind kind)
{
    const struct mg_view_class *class_ = mg_view_classes[kind];
    lua_rawgeti(L, LUA_REGISTRYINDEX, META + (int)kind);
    if (!lua_isnil(L, -1))
        return;
    lua_pop(L, 1);
    lua_newtable(L);
    push_names(L, class_);
    lua_pushvalue(L, -1);
    lua_pushcclosure(L, on_index, 1);
    lua_setfield(L, -3, "__index");
    lua_pushcclosure(L, on_newindex, 1);
    lua_setfield(L, -2, "__newindex");
    lua_pushcfunction(L, on_tostring);
    lua_setfield(L, -2, "__tostring");
    if (class_->length) {
        lua_pushcfunction(L, on_length);
        lua_setfield(L, -2, "__len");
    }
    lua_pushboolean(L, false);
    lua_setfield(L, -2, "__metatable");
    lua_pushvalue(L, -1);
    lua_rawseti(L, LUA_REGISTRYINDEX, META + (int)kind);
}

void mg_view_push(lua_State *L, enum mg_view_kind kind, struct mg_call *call, const void *thing, uint32_t index)
{
    struct mg_lua_view *view = lua_newuserdata(L, sizeof *view);
    *view = (struct mg_lua_view){kind, index, serial_of(mg_lua_of(L)), call, thing};
    push_metatable(L, kind);
    lua_setmetatable(L, -2);
}

static bool is_view(lua_State *L, int index, enum mg_view_kind kind)
{
    if (lua_type(L, index) != LUA_TUSERDATA || !lua_getmetatable(L, index))
        return false;
    push_metatable(L, kind);
    bool same = lua_rawequal(L, -1, -2);
    lua_pop(L, 2);
    return same;
}

const struct mg_lua_view *mg_view_self(lua_State *L, int index, enum mg_view_kind kind, const char *what)
{
    if (!is_view(L, index, kind))
        luaL_error(L, "%s: call it with ':' on a %s", what, mg_view_classes[kind]->name);
    const struct mg_lua_view *view = lua_touserdata(L, index);
    if (!alive(mg_lua_of(L), view))
        luaL_error(L, FINISHED);
    return view;
}

static int next_message(lua_State *L)
{
    int at = (int)lua_tointeger(L, 2) + 1;
    const struct mg_lua_view *view = mg_view_self(L, 1, MG_VIEW_messages, "ipairs");
    if (at > (int)view->call->request.message_count)
        return 0;
    lua_pushinteger(L, at);
    mg_view_push(L, MG_VIEW_message, view->call, NULL, (uint32_t)at - 1);
    return 2;
}

bool mg_lua_push_view_iterator(lua_State *L, int index)
{
    if (!is_view(L, index, MG_VIEW_messages))
        return false;
    if (index < 0)
        index = lua_gettop(L) + index + 1;
    lua_pushcfunction(L, next_message);
    lua_pushvalue(L, index);
    lua_pushinteger(L, 0);
    return true;
}

/* ---- what the classes share */

void mg_view_need_content(lua_State *L, const char *what, const char *side)
{
    mg_lua_need(L, what, "content", side);
}

void mg_view_note_change(lua_State *L, const struct mg_lua_view *view, const char *what, size_t before, size_t after)
{
    const struct mg_lua_run *run = mg_lua_of(L)->run;
    if (!view->call->timeline)
        return;
    uint64_t now_us = view->call->loop ? mg_loop_now_us(view->call->loop) : mg_mono_us();
    mg_timeline_note(view->call->timeline, now_us, "edit", "%s: %s, %zu -> %zu bytes",
                     run->instance ? run->instance->name : "default", what, before, after);
}

void mg_view_reserve(lua_State *L, const struct mg_lua_view *view, size_t len)
{
    if (len > ARENA_BYTES || view->call->arena->used > ARENA_BYTES - len)
        luaL_error(L, "this exchange holds too many edits (%d MB)", ARENA_BYTES >> 20);
}

static mg_view dup_checked(lua_State *L, const struct mg_lua_view *view, mg_view text)
{
    mg_view_reserve(L, view, text.len);
    return mg_arena_dup(view->call->arena, text);
}

/* A table is written as JSON, a string must be JSON. */
static mg_view outcome_body(lua_State *L, const struct mg_lua_view *view, const char *what)
{
    struct mg_json_error error = {0, ""};
    if (lua_type(L, -1) == LUA_TSTRING) {
        mg_view text = mg_lua_text(L, -1, what);
        if (mg_json_check(text, &error) != MG_OK)
            luaL_error(L, "%s: body is not JSON: at byte %d: %s", what, (int)error.offset, error.reason);
        return dup_checked(L, view, text);
    }
    mg_lua_table(L, lua_gettop(L), "the answer's body");
    struct mg_buf *out = mg_lua_scratch(L, MG_MAX_HELD_BYTES);
    mg_lua_must_json(L, -2, out, what);
    mg_view body = dup_checked(L, view, mg_buf_view(out));
    mg_lua_scratch_end(out);
    lua_pop(L, 1);
    return body;
}

void mg_view_outcome_text(lua_State *L, const struct mg_lua_view *view, const char *what, struct mg_hook_outcome *outcome)
{
    outcome->status = (int)mg_lua_field_integer(L, 2, "status", what, 200, 599, outcome->status);
    outcome->code = dup_checked(L, view, mg_lua_field_text(L, 2, "code", what, outcome->code));
    outcome->message = dup_checked(L, view, mg_lua_field_text(L, 2, "message", what, outcome->message));
    outcome->text = dup_checked(L, view, mg_lua_field_text(L, 2, "text", what, outcome->text));
    mg_lua_field(L, 2, "body");
    if (!lua_isnil(L, -1))
        outcome->body = outcome_body(L, view, what);
    lua_pop(L, 1);
}

int mg_view_push_text(lua_State *L, mg_view text)
{
    if (text.len == 0)
        lua_pushnil(L);
    else
        mg_lua_push_view(L, text);
    return 1;
}

int mg_view_push_cstr(lua_State *L, const char *text)
{
    return mg_view_push_text(L, mg_view_cstr(text));
}

void mg_view_push_usage(lua_State *L, const struct mg_usage *usage)
{
    const struct {
        const char *name;
        uint64_t count;
    } counts[] = {{"input_tokens", usage->input_tokens},
                  {"output_tokens", usage->output_tokens},
                  {"cached_read_tokens", usage->cached_read_tokens},
                  {"cached_write_tokens", usage->cached_write_tokens},
                  {"reasoning_tokens", usage->reasoning_tokens}};
    lua_createtable(L, 0, MG_COUNT(counts) + 1);
    for (size_t i = 0; i < MG_COUNT(counts); i++) {
        lua_pushnumber(L, (double)counts[i].count);
        lua_setfield(L, -2, counts[i].name);
    }
    lua_pushboolean(L, !usage->reported);
    lua_setfield(L, -2, "estimated");
}
