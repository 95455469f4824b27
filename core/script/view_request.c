#include "script/view_class.h"

#include "base/clock.h"
#include "base/hash.h"
#include "base/mem.h"
#include "http/headers.h"
#include "io/loop.h"
#include "relay/caller_keys.h"
#include "script/json_lua.h"

void mg_lua_push_request(lua_State *L, struct mg_call *call)
{
    mg_view_push(L, MG_VIEW_request, call, NULL, 0);
}

/* ---- req */

#define TEXT_FIELD(name, expression)                                                               \
    static int get_##name(lua_State *L, const struct mg_lua_view *view)                            \
    {                                                                                              \
        return mg_view_push_text(L, (expression));                                                 \
    }

TEXT_FIELD(id, mg_view_cstr(view->call->timeline ? view->call->timeline->id : NULL))
TEXT_FIELD(workflow, view->call->workflow)
TEXT_FIELD(model, view->call->request.model)
TEXT_FIELD(dialect, mg_view_cstr(view->call->dialect))
TEXT_FIELD(surface, mg_view_cstr(view->call->surface))
TEXT_FIELD(key_id, view->call->key_id)
TEXT_FIELD(session, view->call->session)

static int get_stream(lua_State *L, const struct mg_lua_view *view)
{
    lua_pushboolean(L, view->call->request.stream);
    return 1;
}

static int push_object(lua_State *L, mg_view json)
{
    mg_lua_push_json(L, json.len ? json : MG_VIEW("{}"));
    return 1;
}

static int get_key_metadata(lua_State *L, const struct mg_lua_view *view)
{
    return push_object(L, view->call->key_metadata);
}

static int get_metadata(lua_State *L, const struct mg_lua_view *view)
{
    return push_object(L, view->call->metadata);
}

static int get_deadline_ms(lua_State *L, const struct mg_lua_view *view)
{
    uint64_t now_us = view->call->loop ? mg_loop_now_us(view->call->loop) : mg_mono_us();
    uint64_t left_us = view->call->deadline_us > now_us ? view->call->deadline_us - now_us : 0;
    uint64_t left_ms = left_us / 1000;
    lua_pushnumber(L, (double)left_ms);
    return 1;
}

static int get_tokens_in_est(lua_State *L, const struct mg_lua_view *view)
{
    lua_pushnumber(L, (double)mg_request_tokens_estimate(&view->call->request));
    return 1;
}

static int get_headers(lua_State *L, const struct mg_lua_view *view)
{
    mg_view_push(L, MG_VIEW_headers, view->call, view->call->headers, 0);
    return 1;
}

static int get_params(lua_State *L, const struct mg_lua_view *view)
{
    mg_view_push(L, MG_VIEW_params, view->call, NULL, 0);
    return 1;
}

static int get_messages(lua_State *L, const struct mg_lua_view *view)
{
    mg_view_push(L, MG_VIEW_messages, view->call, NULL, 0);
    return 1;
}

static int get_tools(lua_State *L, const struct mg_lua_view *view)
{
    mg_view_need_content(L, "req.tools", "request");
    mg_lua_push_json(L, mg_request_field(&view->call->request, MG_VIEW("tools")));
    return 1;
}

static int request_respond(lua_State *L)
{
    static const char *const names[] = {"status", "text", "body", NULL};
    const struct mg_lua_view *view = mg_view_self(L, 1, MG_VIEW_request, "req:respond");
    struct mg_hook_outcome outcome = {.kind = MG_HOOK_RESPOND, .status = 200};
    mg_lua_table(L, 2, "req:respond: answer");
    mg_lua_only(L, 2, "req:respond", names);
    mg_view_outcome_text(L, view, "req:respond", &outcome);
    if ((outcome.body.len > 0) == (outcome.text.len > 0))
        return luaL_error(L, "req:respond needs either text or body");
    mg_lua_push_outcome(L, &outcome);
    return 1;
}

static int request_deny(lua_State *L)
{
    static const char *const names[] = {"status", "code", "message", NULL};
    const struct mg_lua_view *view = mg_view_self(L, 1, MG_VIEW_request, "req:deny");
    struct mg_hook_outcome outcome = {.kind = MG_HOOK_DENY, .status = 403, .code = MG_VIEW("denied"),
                                      .message = MG_VIEW("The request was refused by a policy.")};
    if (lua_isnoneornil(L, 2)) {
        lua_settop(L, 1);
        lua_newtable(L);
    }
    mg_lua_table(L, 2, "req:deny: reason");
    mg_lua_only(L, 2, "req:deny", names);
    mg_view_outcome_text(L, view, "req:deny", &outcome);
    if (outcome.status < 400)
        return luaL_error(L, "req:deny: status must be from 400 to 599, got %d", outcome.status);
    mg_lua_push_outcome(L, &outcome);
    return 1;
}

static const struct mg_view_field request_fields[] = {
    {"id", get_id, NULL},
    {"workflow", get_workflow, NULL},
    {"model", get_model, NULL},
    {"dialect", get_dialect, NULL},
    {"surface", get_surface, NULL},
    {"stream", get_stream, NULL},
    {"key_id", get_key_id, NULL},
    {"key_metadata", get_key_metadata, NULL},
    {"metadata", get_metadata, NULL},
    {"session", get_session, NULL},
    {"deadline_ms", get_deadline_ms, NULL},
    {"tokens_in_est", get_tokens_in_est, NULL},
    {"headers", get_headers, NULL},
    {"params", get_params, NULL},
    {"messages", get_messages, NULL},
    {"tools", get_tools, NULL},
    {NULL, NULL, NULL},
};
static const struct mg_lua_function request_methods[] = {
    {"respond", request_respond, MG_LUA_IN(on_request), NULL, false},
    {"deny", request_deny, MG_LUA_IN(on_request), NULL, false},
    {NULL, NULL, 0, NULL, false},
};
const struct mg_view_class mg_view_request = {
    "moongate.Request", "req", request_fields, request_methods, NULL, NULL, NULL};

/* ---- headers, of a client or of an upstream */

static bool is_credential(mg_view name)
{
    static const char *const hidden[] = {"authorization", "proxy-authorization", "cookie",     "cookie2",
                                         "set-cookie",    "set-cookie2",         "api-key",    "x-api-key",
                                         "x-goog-api-key", "x-amz-security-token", NULL};
    for (int i = 0; hidden[i]; i++)
        if (mg_view_ieq(name, mg_view_cstr(hidden[i])))
            return true;
    mg_view brought = MG_VIEW(MG_CALLER_HEADER);
    return mg_view_ieq(mg_view_head(name, brought.len), brought);
}

static int headers_get(lua_State *L, const struct mg_lua_view *view)
{
    const struct mg_headers *headers = view->thing;
    mg_view name = mg_lua_text(L, 2, "a header's name");
    const mg_view *value = headers && !is_credential(name) ? mg_headers_find(*headers, name) : NULL;
    if (value)
        mg_lua_push_view(L, *value);
    else
        lua_pushnil(L);
    return 1;
}

const struct mg_view_class mg_view_headers = {"moongate.Headers", "headers", NULL, NULL, headers_get, NULL, NULL};

/* ---- req.params */

/* What names the content rather than how to treat it. Anything that is not a plain scalar counts as content too. */
static bool is_content_param(mg_view name, mg_view json)
{
    static const char *const content[] = {"input", "prompt", "suffix", "user", "safety_identifier", NULL};
    if (json.len && (json.ptr[0] == '{' || json.ptr[0] == '['))
        return true;
    for (int i = 0; content[i]; i++)
        if (mg_view_eq(name, mg_view_cstr(content[i])))
            return true;
    return false;
}

static mg_view param_json(const struct mg_request *request, mg_view name)
{
    for (size_t i = request->param_count; i > 0; i--)
        if (mg_view_eq(request->params[i - 1].key, name))
            return request->params[i - 1].value;
    return mg_request_field(request, name);
}

static int params_get(lua_State *L, const struct mg_lua_view *view)
{
    mg_view name = mg_lua_text(L, 2, "a parameter's name");
    if (mg_view_eq(name, MG_VIEW("messages")))
        return luaL_error(L, "req.params.messages: use req.messages");
    mg_view json = param_json(&view->call->request, name);
    if (is_content_param(name, json))
        mg_view_need_content(L, "req.params", "request");
    mg_lua_push_json(L, json);
    return 1;
}

static void params_set(lua_State *L, const struct mg_lua_view *view)
{
    mg_view name = mg_lua_text(L, 2, "a parameter's name");
    if (mg_lua_of(L)->run->phase != MG_LUA_PHASE_on_request)
        luaL_error(L, "req.params can be changed in on_request only, not in %s",
                   mg_lua_phase_name(mg_lua_of(L)->run->phase));
    mg_view before = param_json(&view->call->request, name);
    if (is_content_param(name, before))
        mg_view_need_content(L, "req.params", "request");
    const char *what = lua_pushfstring(L, "req.params.%s", name.ptr);
    struct mg_buf *out = mg_lua_scratch(L, MG_MAX_BODY_BYTES);
    if (!lua_isnil(L, 3))
        mg_lua_must_json(L, 3, out, what);
    size_t len = out->len;
    mg_view_reserve(L, view, len);
    bool done = mg_request_set_param(&view->call->request, name, mg_buf_view(out));
    mg_lua_scratch_end(out);
    if (!done)
        luaL_error(L, "%s: a parameter is named with letters, digits, '_' and '-', is not model, stream or "
                      "messages, and at most %d are changed", what, MG_REQUEST_PARAMS);
    mg_view_note_change(L, view, what + 4, before.len, len);
}

const struct mg_view_class mg_view_params = {"moongate.Params", "req.params", NULL, NULL, params_get, params_set, NULL};

/* ---- req.messages */

static size_t messages_length(const struct mg_lua_view *view)
{
    return view->call->request.message_count;
}

static int messages_get(lua_State *L, const struct mg_lua_view *view)
{
    if (lua_type(L, 2) != LUA_TNUMBER)
        mg_lua_bad(L, 2, "an index of req.messages", "a number");
    double at = lua_tonumber(L, 2);
    if (!(at >= 1 && at <= (double)messages_length(view)) || at != (double)(uint32_t)at)
        lua_pushnil(L);
    else
        mg_view_push(L, MG_VIEW_message, view->call, NULL, (uint32_t)at - 1);
    return 1;
}

static size_t message_position(lua_State *L, const struct mg_lua_view *view, const char *what, size_t most)
{
    return (size_t)mg_lua_integer(L, 2, what, 1, (int64_t)most) - 1;
}

static void set_message(lua_State *L, const struct mg_lua_view *view, size_t i, mg_view text)
{
    struct mg_request *request = &view->call->request;
    size_t before = request->messages[i].content.len;
    mg_view_reserve(L, view, 2 * text.len);
    mg_request_message_set(request, i, text);
    mg_view_note_change(L, view, lua_pushfstring(L, "messages[%d]", (int)i + 1), before, text.len);
}

static void insert_message(lua_State *L, const struct mg_lua_view *view, size_t i, mg_view role, mg_view text)
{
    mg_view_reserve(L, view, 2 * text.len);
    if (mg_request_message_insert(&view->call->request, i, role, text) != MG_OK)
        luaL_error(L, "req.messages: no room for another message");
    mg_view_note_change(L, view, lua_pushfstring(L, "messages[%d] inserted", (int)i + 1), 0, text.len);
}

static int messages_set(lua_State *L)
{
    const struct mg_lua_view *view = mg_view_self(L, 1, MG_VIEW_messages, "req.messages:set");
    size_t i = message_position(L, view, "req.messages:set: i", messages_length(view));
    mg_view text = mg_lua_text(L, 3, "req.messages:set: text");
    mg_view_need_content(L, "req.messages:set", "request");
    set_message(L, view, i, text);
    return 0;
}

static int messages_insert(lua_State *L)
{
    static const char *const names[] = {"role", "text", NULL};
    const struct mg_lua_view *view = mg_view_self(L, 1, MG_VIEW_messages, "req.messages:insert");
    size_t i = message_position(L, view, "req.messages:insert: i", messages_length(view) + 1);
    mg_lua_table(L, 3, "req.messages:insert: message");
    mg_lua_only(L, 3, "req.messages:insert", names);
    mg_view role = mg_lua_field_text(L, 3, "role", "req.messages:insert", MG_VIEW_NONE);
    mg_view text = mg_lua_field_text(L, 3, "text", "req.messages:insert", MG_VIEW_NONE);
    if (role.len == 0 || !text.ptr)
        return luaL_error(L, "req.messages:insert: message needs role and text");
    mg_view_need_content(L, "req.messages:insert", "request");
    insert_message(L, view, i, role, text);
    return 0;
}

static int messages_remove(lua_State *L)
{
    const struct mg_lua_view *view = mg_view_self(L, 1, MG_VIEW_messages, "req.messages:remove");
    size_t i = message_position(L, view, "req.messages:remove: i", messages_length(view));
    mg_view_need_content(L, "req.messages:remove", "request");
    size_t before = view->call->request.messages[i].bytes.len;
    mg_request_message_remove(&view->call->request, i);
    mg_view_note_change(L, view, lua_pushfstring(L, "messages[%d] removed", (int)i + 1), before, 0);
    return 0;
}

static bool is_system(const struct mg_message *message)
{
    return mg_view_eq(message->role, MG_VIEW("system")) || mg_view_eq(message->role, MG_VIEW("developer"));
}

/* Behind the system messages that lead: into the last of them when its content is a plain string. */
static int messages_append_system(lua_State *L)
{
    const struct mg_lua_view *view = mg_view_self(L, 1, MG_VIEW_messages, "req.messages:append_system");
    mg_view text = mg_lua_text(L, 2, "req.messages:append_system: text");
    struct mg_request *request = &view->call->request;
    size_t leading = 0;
    mg_view_need_content(L, "req.messages:append_system", "request");
    while (leading < request->message_count && is_system(&request->messages[leading]))
        leading++;
    const struct mg_message *last = leading ? &request->messages[leading - 1] : NULL;
    if (!last || !mg_view_starts(last->content, MG_VIEW("\""))) {
        insert_message(L, view, leading, last ? last->role : MG_VIEW("system"), text);
        return 0;
    }
    mg_view_reserve(L, view, last->content.len + text.len);
    mg_view before = mg_request_message_text(request, leading - 1);
    mg_view joined = mg_arena_printf(view->call->arena, "%.*s\n\n%.*s", MG_FMT(before), MG_FMT(text));
    set_message(L, view, leading - 1, joined);
    return 0;
}

static const struct mg_lua_function messages_methods[] = {
    {"set", messages_set, MG_LUA_IN(on_request), NULL, false},
    {"insert", messages_insert, MG_LUA_IN(on_request), NULL, false},
    {"remove", messages_remove, MG_LUA_IN(on_request), NULL, false},
    {"append_system", messages_append_system, MG_LUA_IN(on_request), NULL, false},
    {NULL, NULL, 0, NULL, false},
};
const struct mg_view_class mg_view_messages = {"moongate.Messages", "req.messages", NULL,           messages_methods,
                                               messages_get,        NULL,           messages_length};

/* ---- req.messages[i] */

static const struct mg_message *message_of(lua_State *L, const struct mg_lua_view *view)
{
    if (view->index >= view->call->request.message_count)
        luaL_error(L, "there is no message %d any more", (int)view->index + 1);
    return &view->call->request.messages[view->index];
}

static int get_role(lua_State *L, const struct mg_lua_view *view)
{
    return mg_view_push_text(L, message_of(L, view)->role);
}

static int get_index(lua_State *L, const struct mg_lua_view *view)
{
    message_of(L, view);
    lua_pushinteger(L, (lua_Integer)view->index + 1);
    return 1;
}

static int get_bytes(lua_State *L, const struct mg_lua_view *view)
{
    lua_pushnumber(L, (double)message_of(L, view)->content.len);
    return 1;
}

static int get_hash(lua_State *L, const struct mg_lua_view *view)
{
    char text[20];
    snprintf(text, sizeof text, "%016llx", (unsigned long long)mg_fingerprint(message_of(L, view)->content));
    lua_pushstring(L, text);
    return 1;
}

static int message_text(lua_State *L)
{
    const struct mg_lua_view *view = mg_view_self(L, 1, MG_VIEW_message, "message:text");
    message_of(L, view);
    mg_view_need_content(L, "message:text", "request");
    mg_view_reserve(L, view, message_of(L, view)->content.len);
    mg_lua_push_view(L, mg_request_message_text(&view->call->request, view->index));
    return 1;
}

static int message_json(lua_State *L)
{
    const struct mg_lua_view *view = mg_view_self(L, 1, MG_VIEW_message, "message:json");
    const struct mg_message *message = message_of(L, view);
    mg_view_need_content(L, "message:json", "request");
    mg_lua_push_json(L, message->content);
    return 1;
}

static const struct mg_view_field message_fields[] = {
    {"role", get_role, NULL},
    {"index", get_index, NULL},
    {"bytes", get_bytes, NULL},
    {"hash", get_hash, NULL},
    {NULL, NULL, NULL},
};
static const struct mg_lua_function message_methods[] = {
    {"text", message_text, MG_LUA_HOOKS, NULL, false},
    {"json", message_json, MG_LUA_HOOKS, NULL, false},
    {NULL, NULL, 0, NULL, false},
};
const struct mg_view_class mg_view_message = {
    "moongate.Message", "message", message_fields, message_methods, NULL, NULL, NULL};
