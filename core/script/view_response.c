#include "script/view_class.h"

#include "base/limits.h"
#include "base/mem.h"
#include "script/json_lua.h"

/* ---- res */

void mg_lua_push_response(lua_State *L, struct mg_call *call, struct mg_call_response *response)
{
    mg_view_push(L, MG_VIEW_response, call, response, 0);
}

static const struct mg_call_response *response_of(const struct mg_lua_view *view)
{
    return view->thing;
}

static int get_id(lua_State *L, const struct mg_lua_view *view)
{
    return mg_view_push_cstr(L, view->call->timeline ? view->call->timeline->id : NULL);
}

static int get_workflow(lua_State *L, const struct mg_lua_view *view)
{
    return mg_view_push_text(L, view->call->workflow);
}

static int get_key_id(lua_State *L, const struct mg_lua_view *view)
{
    return mg_view_push_text(L, view->call->key_id);
}

static int get_session(lua_State *L, const struct mg_lua_view *view)
{
    return mg_view_push_text(L, view->call->session);
}

static int res_status(lua_State *L, const struct mg_lua_view *view)
{
    lua_pushinteger(L, response_of(view)->status);
    return 1;
}

static int res_target(lua_State *L, const struct mg_lua_view *view)
{
    return mg_view_push_text(L, response_of(view)->target);
}

static int res_finish(lua_State *L, const struct mg_lua_view *view)
{
    return mg_view_push_text(L, response_of(view)->finish);
}

static int res_attempts(lua_State *L, const struct mg_lua_view *view)
{
    lua_pushnumber(L, response_of(view)->attempts);
    return 1;
}

static int res_usage(lua_State *L, const struct mg_lua_view *view)
{
    mg_view_push_usage(L, &response_of(view)->usage);
    return 1;
}

static int res_streamed(lua_State *L, const struct mg_lua_view *view)
{
    lua_pushboolean(L, response_of(view)->streamed);
    return 1;
}

static int res_sent(lua_State *L, const struct mg_lua_view *view)
{
    lua_pushboolean(L, response_of(view)->sent);
    return 1;
}

static int res_bytes(lua_State *L, const struct mg_lua_view *view)
{
    lua_pushnumber(L, (double)response_of(view)->body.len);
    return 1;
}

static int response_text(lua_State *L)
{
    const struct mg_lua_view *view = mg_view_self(L, 1, MG_VIEW_response, "res:text");
    mg_view_need_content(L, "res:text", "response");
    mg_lua_push_view(L, response_of(view)->text);
    return 1;
}

static int response_json(lua_State *L)
{
    const struct mg_lua_view *view = mg_view_self(L, 1, MG_VIEW_response, "res:json");
    mg_view_need_content(L, "res:json", "response");
    mg_lua_push_json(L, response_of(view)->body);
    return 1;
}

/* What was sent cannot be taken back. */
static bool is_sent(const struct mg_lua_view *view)
{
    return response_of(view)->sent;
}

static int fail_sent(lua_State *L, const char *what)
{
    return mg_lua_fail(L, "sent", false, "%s: the answer is on its way to the client", what);
}

static int response_replace(lua_State *L)
{
    static const char *const names[] = {"text", "body", NULL};
    const struct mg_lua_view *view = mg_view_self(L, 1, MG_VIEW_response, "res:replace");
    struct mg_hook_outcome outcome = {.kind = MG_HOOK_REPLACE, .status = response_of(view)->status};
    mg_lua_table(L, 2, "res:replace: answer");
    mg_lua_only(L, 2, "res:replace", names);
    mg_view_need_content(L, "res:replace", "response");
    if (is_sent(view))
        return fail_sent(L, "res:replace");
    mg_view_outcome_text(L, view, "res:replace", &outcome);
    mg_lua_field(L, 2, "text");
    bool has_text = !lua_isnil(L, -1);
    if ((outcome.body.len > 0) == has_text)
        return luaL_error(L, "res:replace needs either text or body");
    mg_view_note_change(L, view, "answer replaced", has_text ? response_of(view)->text.len : response_of(view)->body.len,
                        has_text ? outcome.text.len : outcome.body.len);
    mg_lua_push_outcome(L, &outcome);
    return 1;
}

static int response_deny(lua_State *L)
{
    static const char *const names[] = {"status", "code", "message", NULL};
    const struct mg_lua_view *view = mg_view_self(L, 1, MG_VIEW_response, "res:deny");
    struct mg_hook_outcome outcome = {.kind = MG_HOOK_DENY, .status = 403, .code = MG_VIEW("response_denied"),
                                      .message = MG_VIEW("The answer was withheld by a policy.")};
    lua_settop(L, 2);
    if (lua_isnil(L, 2)) {
        lua_settop(L, 1);
        lua_newtable(L);
    }
    mg_lua_table(L, 2, "res:deny: reason");
    mg_lua_only(L, 2, "res:deny", names);
    mg_view_outcome_text(L, view, "res:deny", &outcome);
    if (outcome.status < 400)
        return luaL_error(L, "res:deny: status must be from 400 to 599, got %d", outcome.status);
    if (is_sent(view))
        return fail_sent(L, "res:deny");
    mg_lua_push_outcome(L, &outcome);
    return 1;
}

static int response_retry(lua_State *L)
{
    static const char *const names[] = {"reason", NULL};
    const struct mg_lua_view *view = mg_view_self(L, 1, MG_VIEW_response, "res:retry");
    mg_lua_table(L, 2, "res:retry: reason");
    mg_lua_only(L, 2, "res:retry", names);
    mg_view reason = mg_lua_field_text(L, 2, "reason", "res:retry", MG_VIEW_NONE);
    if (reason.len == 0)
        return luaL_error(L, "res:retry: field 'reason' must say why");
    if (is_sent(view))
        return fail_sent(L, "res:retry");
    mg_view_reserve(L, view, reason.len);
    struct mg_hook_outcome outcome = {.kind = MG_HOOK_RETRY, .message = mg_arena_dup(view->call->arena, reason)};
    mg_lua_push_outcome(L, &outcome);
    return 1;
}

static const struct mg_view_field response_fields[] = {
    {"id", get_id, NULL},
    {"workflow", get_workflow, NULL},
    {"key_id", get_key_id, NULL},
    {"session", get_session, NULL},
    {"status", res_status, NULL},
    {"target", res_target, NULL},
    {"finish", res_finish, NULL},
    {"attempts", res_attempts, NULL},
    {"usage", res_usage, NULL},
    {"streamed", res_streamed, NULL},
    {"sent", res_sent, NULL},
    {"bytes", res_bytes, NULL},
    {NULL, NULL, NULL},
};
static const struct mg_lua_function response_methods[] = {
    {"text", response_text, MG_LUA_IN(on_response) | MG_LUA_IN(accept), NULL, false},
    {"json", response_json, MG_LUA_IN(on_response) | MG_LUA_IN(accept), NULL, false},
    {"replace", response_replace, MG_LUA_IN(on_response), NULL, false},
    {"deny", response_deny, MG_LUA_IN(on_response), NULL, false},
    {"retry", response_retry, MG_LUA_IN(on_response), NULL, false},
    {NULL, NULL, 0, NULL, false},
};
const struct mg_view_class mg_view_response = {
    "moongate.Response", "res", response_fields, response_methods, NULL, NULL, NULL};

/* ---- rec, for on_log */

void mg_lua_push_record(lua_State *L, struct mg_call *call)
{
    mg_view_push(L, MG_VIEW_record, call, NULL, 0);
}

static struct mg_timeline *timeline_of(const struct mg_lua_view *view)
{
    return view->call->timeline;
}

static int rec_status(lua_State *L, const struct mg_lua_view *view)
{
    lua_pushinteger(L, timeline_of(view)->status);
    return 1;
}

static int rec_class(lua_State *L, const struct mg_lua_view *view)
{
    return mg_view_push_cstr(L, mg_class_name(timeline_of(view)->class_));
}

static int rec_error_code(lua_State *L, const struct mg_lua_view *view)
{
    return mg_view_push_text(L, timeline_of(view)->error_code);
}

static int rec_stream(lua_State *L, const struct mg_lua_view *view)
{
    lua_pushboolean(L, timeline_of(view)->stream);
    return 1;
}

static int rec_metadata(lua_State *L, const struct mg_lua_view *view)
{
    mg_lua_push_json(L, timeline_of(view)->metadata.len ? timeline_of(view)->metadata : MG_VIEW("{}"));
    return 1;
}

static int rec_explain(lua_State *L, const struct mg_lua_view *view)
{
    return mg_view_push_text(L, timeline_of(view)->explain);
}

static int rec_notes(lua_State *L, const struct mg_lua_view *view)
{
    lua_pushlstring(L, timeline_of(view)->note, timeline_of(view)->note_bytes);
    return 1;
}

static void push_attempt(lua_State *L, const struct mg_attempt_record *attempt)
{
    lua_createtable(L, 0, 8);
    mg_view_push_text(L, attempt->target);
    lua_setfield(L, -2, "target");
    mg_view_push_text(L, attempt->error);
    lua_setfield(L, -2, "error");
    mg_view_push_text(L, attempt->why);
    lua_setfield(L, -2, "why");
    lua_pushstring(L, mg_reason_name(attempt->reason));
    lua_setfield(L, -2, "reason");
    lua_pushstring(L, mg_class_name(attempt->class_));
    lua_setfield(L, -2, "class");
    lua_pushstring(L, mg_action_name(attempt->action));
    lua_setfield(L, -2, "action");
    lua_pushinteger(L, attempt->status);
    lua_setfield(L, -2, "status");
    mg_view_push_usage(L, &attempt->usage);
    lua_setfield(L, -2, "usage");
}

static int rec_attempts(lua_State *L, const struct mg_lua_view *view)
{
    lua_createtable(L, timeline_of(view)->attempt_count, 0);
    for (int i = 0; i < timeline_of(view)->attempt_count && i < MG_MAX_ATTEMPTS; i++) {
        push_attempt(L, &timeline_of(view)->attempts[i]);
        lua_rawseti(L, -2, i + 1);
    }
    return 1;
}

/* Metadata is content of the record's owner: what is too long for it is refused, not cut. */
static void set_metadata(lua_State *L, const struct mg_lua_view *view)
{
    if (!lua_isnil(L, 3))
        mg_lua_table(L, 3, "rec.metadata");
    struct mg_buf *out = mg_lua_scratch(L, MG_MAX_METADATA_BYTES);
    if (!lua_isnil(L, 3))
        mg_lua_must_json(L, 3, out, "rec.metadata");
    mg_view json = mg_buf_view(out);
    if (mg_view_starts(json, MG_VIEW("[")))
        luaL_error(L, "rec.metadata must be an object, got a list");
    mg_view_reserve(L, view, json.len);
    timeline_of(view)->metadata = mg_arena_dup(view->call->arena, json);
    mg_lua_scratch_end(out);
}

static void set_explain(lua_State *L, const struct mg_lua_view *view)
{
    mg_view text = mg_lua_opt_text(L, 3, "rec.explain", MG_VIEW_NONE);
    mg_view_reserve(L, view, text.len);
    timeline_of(view)->explain = mg_arena_dup(view->call->arena, text);
}

static void set_notes(lua_State *L, const struct mg_lua_view *view)
{
    mg_view text = mg_lua_opt_text(L, 3, "rec.notes", MG_VIEW_NONE);
    struct mg_timeline *timeline = timeline_of(view);
    if (text.len > sizeof timeline->note)
        luaL_error(L, "rec.notes: at most %d bytes", (int)sizeof timeline->note);
    if (text.len)
        memcpy(timeline->note, text.ptr, text.len);
    timeline->note_bytes = (uint16_t)text.len;
}

static const struct mg_view_field record_fields[] = {
    {"id", get_id, NULL},
    {"workflow", get_workflow, NULL},
    {"key_id", get_key_id, NULL},
    {"session", get_session, NULL},
    {"status", rec_status, NULL},
    {"class", rec_class, NULL},
    {"error_code", rec_error_code, NULL},
    {"stream", rec_stream, NULL},
    {"attempts", rec_attempts, NULL},
    {"metadata", rec_metadata, set_metadata},
    {"explain", rec_explain, set_explain},
    {"notes", rec_notes, set_notes},
    {NULL, NULL, NULL},
};
const struct mg_view_class mg_view_record = {"moongate.Record", "rec", record_fields, NULL, NULL, NULL, NULL};
