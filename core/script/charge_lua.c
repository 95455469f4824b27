/* A project's `charge`: which attempts it pays for. */
#include "meter/charge.h"

#include "script/instance.h"
#include "script/json_lua.h"
#include "script/view_class.h"

struct asking {
    struct mg_call *call;
    const struct mg_attempt_record *attempt;
    bool answered, pays;
};

static void set_text(lua_State *L, const char *name, mg_view text)
{
    mg_view_push_text(L, text);
    lua_setfield(L, -2, name);
}

static void set_number(lua_State *L, const char *name, uint64_t value)
{
    lua_pushnumber(L, (lua_Number)value);
    lua_setfield(L, -2, name);
}

static void set_bool(lua_State *L, const char *name, bool value)
{
    lua_pushboolean(L, value);
    lua_setfield(L, -2, name);
}

static void push_exchange(lua_State *L, const struct mg_timeline *timeline)
{
    lua_createtable(L, 0, 26);
    set_text(L, "id", mg_view_cstr(timeline->id));
    set_number(L, "attempts", timeline->attempt_count);
    set_text(L, "workflow", timeline->workflow);
    set_text(L, "key", timeline->key_id);
    set_text(L, "session", timeline->session);
    mg_lua_push_json(L, timeline->metadata.len ? timeline->metadata : MG_VIEW("{}"));
    lua_setfield(L, -2, "metadata");
}

static void set_usage(lua_State *L, const struct mg_usage *usage)
{
    set_bool(L, "reported", usage->reported);
    set_number(L, "input_tokens", usage->input_tokens);
    set_number(L, "output_tokens", usage->output_tokens);
    set_number(L, "cached_read_tokens", usage->cached_read_tokens);
    set_number(L, "cached_write_tokens", usage->cached_write_tokens);
    set_number(L, "reasoning_tokens", usage->reasoning_tokens);
}

/* Names are those of usage events (meter/usage.h). */
static int push_attempt(lua_State *L, void *arg)
{
    const struct asking *asking = arg;
    const struct mg_attempt_record *attempt = asking->attempt;
    push_exchange(L, asking->call->timeline);
    set_number(L, "attempt", attempt->number);
    set_text(L, "provider", attempt->provider);
    set_text(L, "model", attempt->model);
    set_text(L, "model_served", attempt->served.len ? attempt->served : attempt->model);
    set_text(L, "tier", attempt->tier);
    set_text(L, "arm", attempt->arm);
    set_text(L, "credential", attempt->credential);
    set_text(L, "reason", mg_view_cstr(mg_reason_name(attempt->reason)));
    set_text(L, "class", mg_view_cstr(mg_class_name(attempt->class_)));
    set_number(L, "status", attempt->status);
    set_bool(L, "served", mg_charge_served(asking->call->timeline, attempt));
    set_usage(L, &attempt->usage);
    if (attempt->priced)
        set_number(L, "cost_picousd", attempt->cost_picousd);
    return 1;
}

static void read_answer(lua_State *L, int index, void *arg)
{
    struct asking *asking = arg;
    if (lua_isnil(L, index))
        return;
    if (lua_type(L, index) != LUA_TBOOLEAN)
        luaL_error(L, "charge: expected true, false or nil, got a %s", luaL_typename(L, index));
    asking->pays = lua_toboolean(L, index);
    asking->answered = true;
}

static struct mg_plugged *charger(struct mg_script *script, struct mg_call *call)
{
    for (int i = 0; i < script->count; i++)
        if (mg_plugged_ready(script, &script->instances[i], MG_HOOK_CHARGE, call) != MG_NOT_CONCERNED)
            return &script->instances[i];
    return NULL;
}

static bool is_ready(struct mg_script *script, struct mg_plugged *plugged, struct mg_call *call)
{
    enum mg_ready ready = mg_plugged_ready(script, plugged, MG_HOOK_CHARGE, call);
    if (ready != MG_READY)
        mg_timeline_note(call->timeline, mg_script_now_us(script), "plugin", "%s charge %s: what served is charged",
                         plugged->base.name, mg_plugged_why_not(plugged, ready, call->arena));
    return ready == MG_READY;
}

void mg_script_charge(struct mg_script *script, struct mg_call *call)
{
    struct mg_timeline *timeline = call->timeline;
    struct mg_plugged *plugged = charger(script, call);
    timeline->uncharged = mg_charge_serving(timeline);
    for (unsigned i = 0; plugged && i < timeline->attempt_count && i < 64; i++) {
        struct asking asking = {.call = call, .attempt = &timeline->attempts[i]};
        struct mg_hook_call ask = {.script = script, .plugged = plugged, .hook = MG_HOOK_CHARGE, .call = call,
                                   .push = push_attempt, .read = read_answer, .arg = &asking};
        if (asking.attempt->number == 0)
            continue;
        if (!is_ready(script, plugged, call) || !mg_hook_sync(&ask))
            return;                    /* what is left too */
        if (asking.answered)
            timeline->uncharged = (timeline->uncharged & ~(UINT64_C(1) << i)) | (asking.pays ? 0 : UINT64_C(1) << i);
    }
}
