#include "script/answers_lua.h"

#include <string.h>

#include "base/limits.h"
#include "http/headers.h"
#include "script/args.h"
#include "script/json_lua.h"

enum { MAX_DELAY_MS = 600000, OBJECT_BYTES = 65536 };

static void read_class(lua_State *L, int index, const struct mg_attempt_facts *facts, struct mg_verdict *out_verdict);
static void read_client(lua_State *L, int index, struct mg_call *call, struct mg_verdict *out_verdict);
static void read_repair(lua_State *L, int index, struct mg_call *call, struct mg_verdict *out_verdict);
static void read_penalty(lua_State *L, int index, struct mg_call *call, struct mg_verdict *out_verdict);
static void read_headers(lua_State *L, int index, struct mg_call *call, struct mg_attempt_patch *out_patch);

void mg_lua_read_verdict(lua_State *L, int index, struct mg_call *call, const struct mg_attempt_facts *facts,
                         struct mg_verdict *out_verdict)
{
    static const char *const names[] = {"class", "action", "delay_ms", "repair", "penalise", "client", "explain", NULL};
    mg_lua_table(L, index, "verdict");
    mg_lua_field(L, index, "billable");
    if (!lua_isnil(L, -1))
        luaL_error(L, "verdict: billable: what an attempt cost follows from the usage its provider reports; there is no hint");
    lua_pop(L, 1);
    mg_lua_only(L, index, "verdict", names);
    read_class(L, index, facts, out_verdict);

    mg_view action = mg_lua_field_text(L, index, "action", "verdict", MG_VIEW_NONE);
    if (action.len == 0)
        out_verdict->action = mg_class_action(out_verdict->class_);
    else if (!mg_action_find(action, &out_verdict->action))
        luaL_error(L, "verdict: action must be \"accept\", \"retry\", \"fallback\", \"next_key\" or \"fail\", got \"%.40s\"", action.ptr);
    double delay_ms = mg_lua_field_number(L, index, "delay_ms", "verdict", 0);
    if (delay_ms < 0 || delay_ms > (double)MAX_DELAY_MS)
        luaL_error(L, "verdict: delay_ms must be from 0 to %d", (int)MAX_DELAY_MS);
    out_verdict->delay_ms = (uint64_t)delay_ms;
    read_client(L, index, call, out_verdict);
    read_repair(L, index, call, out_verdict);
    read_penalty(L, index, call, out_verdict);
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

static void read_repair(lua_State *L, int index, struct mg_call *call, struct mg_verdict *out_verdict)
{
    mg_view repair = mg_lua_field_text(L, index, "repair", "verdict", MG_VIEW_NONE);
    if (repair.len && out_verdict->action != MG_ACTION_retry)
        luaL_error(L, "verdict: repair goes with action = \"retry\": it changes what is sent to the same target");
    out_verdict->repair = mg_arena_dup(call->arena, repair);
}

static enum mg_penalty_scope read_scope(lua_State *L, int table)
{
    static const char *const scopes[] = {
        [MG_PENALTY_NONE] = "",         [MG_PENALTY_TARGET] = "target",
        [MG_PENALTY_PROVIDER] = "provider", [MG_PENALTY_REGION] = "region",
        [MG_PENALTY_CREDENTIAL] = "credential", [MG_PENALTY_CREDENTIAL_MODEL] = "credential_model"};
    mg_view scope = mg_lua_field_text(L, table, "scope", "verdict: penalise", MG_VIEW("target"));
    for (size_t i = 1; i < sizeof(scopes) / sizeof(scopes[0]); i++) {
        if (mg_view_eq(scope, mg_view_cstr(scopes[i])))
            return (enum mg_penalty_scope)i;
    }
    luaL_error(L, "verdict: penalise: scope must be \"target\", \"provider\", \"region\", \"credential\" or \"credential_model\", "
               "got \"%.40s\"", scope.ptr);
    return MG_PENALTY_NONE;
}

/* What is left out is the class's own: no bench, its weight. */
static void read_penalty(lua_State *L, int index, struct mg_call *call, struct mg_verdict *out_verdict)
{
    static const char *const names[] = {"scope", "for_ms", "weight", "reason", NULL};
    struct mg_penalty penalty = {.weight = -1};
    mg_lua_field(L, index, "penalise");
    if (!lua_isnil(L, -1)) {
        int table = lua_gettop(L);
        mg_lua_table(L, table, "verdict: field 'penalise'");
        mg_lua_only(L, table, "verdict: penalise", names);
        penalty.scope = read_scope(L, table);
        penalty.for_ms = (uint64_t)mg_lua_field_integer(L, table, "for_ms", "verdict: penalise", 0, MG_MAX_PENALTY_MS, 0);
        mg_lua_field(L, table, "weight");
        bool given = !lua_isnil(L, -1);
        lua_pop(L, 1);
        double weight = mg_lua_field_number(L, table, "weight", "verdict: penalise", -1);
        if (given && (weight < 0 || weight > 1))
            luaL_error(L, "verdict: penalise: weight must be from 0 to 1");
        penalty.weight = weight;
        penalty.reason =
            mg_arena_dup(call->arena, mg_lua_field_text(L, table, "reason", "verdict: penalise", MG_VIEW_NONE));
    }
    lua_pop(L, 1);
    out_verdict->penalise = penalty;
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
