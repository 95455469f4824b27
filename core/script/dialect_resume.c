/* What was sent of a stream that broke off goes to its dialect's `stream.resume(s, events)`, which puts the writer's state
 * where it was and tells the parts that the client has. */
#include "base/limits.h"
#include "base/log.h"
#include "chat/resumed.h"
#include "http/sse.h"
#include "script/args.h"
#include "script/json_lua.h"
#include "script/trusted.h"

enum { BURST_US = 500000, EVENTS = 65536 };

struct resuming {
    struct mg_translated_side side;
    struct mg_arena arena;
    struct mg_lua_document *events;
    size_t count, cap;
    struct mg_resumed *resumed;
    uint64_t seq;
    bool possible;
};

static mg_err on_event(void *arg, const struct mg_sse_event *event)
{
    struct resuming *r = arg;
    if (event->is_comment)
        return MG_OK;
    if (r->count == EVENTS)
        return MG_E_TOO_LARGE;
    if (r->count == r->cap) {
        size_t cap = r->cap ? 2 * r->cap : 64;
        struct mg_lua_document *grown = mg_arena_array(&r->arena, struct mg_lua_document, cap);
        if (r->count)
            memcpy(grown, r->events, r->count * sizeof *grown);
        r->events = grown;
        r->cap = cap;
    }
    mg_view data = mg_arena_dup(&r->arena, event->data);
    return mg_lua_take_document(&r->arena, data, r->side.client->raw_event, &r->events[r->count++]);
}

static void push_events(lua_State *L, const struct resuming *r)
{
    lua_createtable(L, (int)r->count, 0);
    for (size_t i = 0; i < r->count; i++) {
        const struct mg_lua_document *event = &r->events[i];
        mg_lua_push_json_exact(L, event->body, event->raw, event->raw_count);
        lua_rawseti(L, -2, (int)i + 1);
    }
}

static enum mg_delta_kind kind_of(lua_State *L, mg_view name)
{
    static const char *const names[] = {"text", "reasoning", "refusal", "tool"};
    for (int i = 0; i < 4; i++)
        if (mg_view_eq(name, mg_view_cstr(names[i])))
            return (enum mg_delta_kind)i;
    luaL_error(L, "resume: there is no part of kind '%s'", name.ptr);
    return MG_DELTA_TEXT;
}

/* The texts stay on the stack while they are copied. */
static void add_part(lua_State *L, struct resuming *r)
{
    int part = lua_gettop(L);
    luaL_checktype(L, part, LUA_TTABLE);
    enum mg_delta_kind kind = kind_of(L, mg_lua_field_text(L, part, "kind", "kind", MG_VIEW_NONE));
    mg_view text = mg_lua_field_text(L, part, "text", "text", MG_VIEW_NONE);
    mg_view id = mg_lua_field_text(L, part, "id", "id", MG_VIEW_NONE);
    mg_view name = mg_lua_field_text(L, part, "name", "name", MG_VIEW_NONE);
    mg_lua_check(L, mg_resumed_add(r->resumed, kind, text, id, name), "what was sent");
}

static void read_state(lua_State *L, struct resuming *r, int state)
{
    mg_lua_field(L, state, "parts");
    int parts = lua_gettop(L);
    luaL_checktype(L, parts, LUA_TTABLE);
    for (int i = 1; i <= (int)lua_objlen(L, parts); i++) {
        lua_rawgeti(L, parts, i);
        add_part(L, r);
        lua_settop(L, parts);
    }
    r->resumed->open = mg_lua_field_boolean(L, state, "open", "open", false);
    mg_view before = mg_lua_field_text(L, state, "before", "before", MG_VIEW_NONE);
    mg_lua_check(L, mg_buf_put(&r->resumed->before, before), "what was sent");
}

static int call_resume(lua_State *L)
{
    struct resuming *r = mg_lua_of(L)->body_arg;
    lua_rawgeti(L, LUA_REGISTRYINDEX, r->side.client->ref);
    lua_getfield(L, -1, "stream");
    lua_getfield(L, -1, "resume");
    if (lua_isnil(L, -1))
        return 0;
    lua_rawgeti(L, LUA_REGISTRYINDEX, r->side.writer);
    int writer = lua_gettop(L);
    lua_pushvalue(L, writer - 1);
    lua_pushvalue(L, writer);
    push_events(L, r);
    lua_call(L, 2, 1);
    if (!lua_istable(L, -1))
        return 0;
    r->possible = true;
    read_state(L, r, lua_gettop(L));
    lua_getfield(L, writer, "seq");
    r->seq = (uint64_t)lua_tonumber(L, -1);
    return 0;
}

static mg_err enter(struct resuming *r)
{
    struct mg_lua *lua = &r->side.trusted->lua;
    struct mg_lua_run stay = {.phase = MG_LUA_PHASE_load, .load_name = "lua/dialects"};
    enum mg_lua_end end = mg_lua_enter(lua, &stay, BURST_US, call_resume, r);
    lua->late = 0;
    if (end == MG_LUA_ENDED)
        return r->possible ? MG_OK : MG_E_DENIED;
    mg_log_error("dialect.failed", "%s: %s", r->side.client->name, lua->trace);
    return MG_E_SCRIPT;
}

mg_err mg_translated_resume(struct mg_translated *stream, mg_view sent, struct mg_resumed *resumed, uint64_t *out_seq)
{
    struct resuming r = {.side = mg_translated_client(stream), .resumed = resumed};
    mg_arena_init(&r.arena, 16384);
    struct mg_sse *sse = mg_sse_new(MG_MAX_SSE_EVENT_BYTES, on_event, &r);
    mg_err err = mg_sse_feed(sse, sent);
    mg_sse_free(sse);
    if (err == MG_OK)
        err = enter(&r);
    if (err == MG_OK)
        *out_seq = r.seq;
    mg_arena_fini(&r.arena);
    return err;
}
