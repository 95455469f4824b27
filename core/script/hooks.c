/* What all hooks share: who is concerned, one protected call, faults and quarantine.
 *
 *   healthy ─ 5 faults in 60 s ─▶ quarantined (30 s) ─▶ trial ─ ok ─▶ healthy
 *                                     ▲                   │
 *                                     └──── fault ────────┘  twice as long, up to 15 min          */
#include <stdio.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "io/loop.h"
#include "script/instance.h"
#include "script/sandbox.h"

enum {
    FAULT_WINDOW_US = 60000000,
    QUARANTINE_MS = 30000,
    MAX_QUARANTINE_MS = 900000,
    RESET_US = 10000,
};

const struct mg_burst mg_bursts[MG_HOOK_COUNT] = {
    [MG_HOOK_ON_REQUEST] = {2000, 10000}, [MG_HOOK_ROUTE] = {500, 2000},    [MG_HOOK_ON_ATTEMPT] = {300, 2000},
    [MG_HOOK_CLASSIFY] = {200, 1000},     [MG_HOOK_ON_CHUNK] = {200, 1000}, [MG_HOOK_ON_RESPONSE] = {2000, 10000},
    [MG_HOOK_ON_LOG] = {500, 5000},       [MG_HOOK_ACCEPT] = {2000, 10000}, [MG_HOOK_OFFLINE] = {2000, 10000},
    [MG_HOOK_CHARGE] = {200, 1000},       [MG_HOOK_ON_BILL] = {1000, 50000}, [MG_HOOK_ON_INVOICE] = {1000000, 10000000},
};

const enum mg_lua_phase mg_hook_phases[MG_HOOK_COUNT] = {
    [MG_HOOK_ON_REQUEST] = MG_LUA_PHASE_on_request, [MG_HOOK_ROUTE] = MG_LUA_PHASE_route,
    [MG_HOOK_ON_ATTEMPT] = MG_LUA_PHASE_on_attempt, [MG_HOOK_CLASSIFY] = MG_LUA_PHASE_classify,
    [MG_HOOK_ON_CHUNK] = MG_LUA_PHASE_on_chunk,     [MG_HOOK_ON_RESPONSE] = MG_LUA_PHASE_on_response,
    [MG_HOOK_ON_LOG] = MG_LUA_PHASE_on_log,         [MG_HOOK_ACCEPT] = MG_LUA_PHASE_accept,
    [MG_HOOK_OFFLINE] = MG_LUA_PHASE_offline,       [MG_HOOK_CHARGE] = MG_LUA_PHASE_charge,
    [MG_HOOK_ON_BILL] = MG_LUA_PHASE_on_bill,       [MG_HOOK_ON_INVOICE] = MG_LUA_PHASE_on_invoice,
};

static int run_hook(lua_State *L);
static int run_reset(lua_State *L);
static void quarantine(struct mg_plugged *plugged, uint64_t now_us);

uint64_t mg_script_now_us(const struct mg_script *script)
{
    return script->lua.loop ? mg_loop_now_us(script->lua.loop) : mg_mono_us();
}

/* --- who is concerned ------------------------------------------------------------------------ */

static bool concerns(const struct mg_plugged *plugged, const struct mg_call *call)
{
    if (plugged->workflow && !mg_view_eq(mg_view_cstr(plugged->workflow), call->workflow))
        return false;
    if (plugged->when_stream >= 0 && plugged->when_stream != (int)call->request.stream)
        return false;
    if (!plugged->when_workflows)
        return true;
    for (size_t i = 0; plugged->when_workflows[i]; i++) {
        if (mg_view_glob(mg_view_cstr(plugged->when_workflows[i]), call->workflow))
            return true;
    }
    return false;
}

enum mg_ready mg_plugged_ready(const struct mg_script *script, const struct mg_plugged *plugged, enum mg_hook hook,
                               const struct mg_call *call)
{
    if (plugged->function[hook] == LUA_NOREF || !concerns(plugged, call))
        return MG_NOT_CONCERNED;
    if (plugged->off)
        return MG_DISABLED;
    if (plugged->quarantined_until_us > mg_script_now_us(script))
        return MG_QUARANTINED;
    return MG_READY;
}

const char *mg_plugged_why_not(const struct mg_plugged *plugged, enum mg_ready ready, struct mg_arena *arena)
{
    if (ready != MG_DISABLED)
        return "is quarantined after repeated faults";
    return *plugged->off->message ? mg_arena_printf(arena, "is disabled by hand (%s)", plugged->off->message).ptr
                                  : "is disabled by hand";
}

/* By the name of this instance, or of the plugin with all its instances. */
void mg_script_set_switches(struct mg_script *script, const struct mg_switched *switched)
{
    for (int i = 0; i < script->count; i++) {
        struct mg_plugged *plugged = &script->instances[i];
        plugged->off = mg_switched_find(switched, MG_SWITCH_PLUGIN, mg_view_cstr(plugged->base.name));
        if (!plugged->off && plugged->base.plugin)
            plugged->off = mg_switched_find(switched, MG_SWITCH_PLUGIN, mg_view_cstr(plugged->base.plugin));
    }
}

bool mg_script_has(const struct mg_script *script, enum mg_hook hook, const struct mg_call *call)
{
    for (int i = 0; i < script->count; i++) {
        if (mg_plugged_ready(script, &script->instances[i], hook, call) != MG_NOT_CONCERNED)
            return true;
    }
    return false;
}

/* --- one call -------------------------------------------------------------------------------- */

bool mg_hook_sync(const struct mg_hook_call *call)
{
    struct mg_script *script = call->script;
    struct mg_lua_run run = {
        .call = call->call, .instance = &call->plugged->base, .phase = mg_hook_phases[call->hook]};
    uint64_t began_us = mg_mono_us();
    enum mg_lua_end end =
        mg_lua_enter(&script->lua, &run, call->plugged->burst_us[call->hook], run_hook, (void *)call);
    uint64_t cpu_us = mg_lua_took_us(&script->lua, began_us);

    if (end == MG_LUA_ENDED)
        mg_hook_done(script, call->plugged, call->hook, call->call, cpu_us);
    else
        mg_hook_failed(script, call->plugged, call->hook, call->call, end, cpu_us);
    return end == MG_LUA_ENDED;
}

static int run_hook(lua_State *L)
{
    const struct mg_hook_call *call = mg_lua_of(L)->body_arg;
    lua_rawgeti(L, LUA_REGISTRYINDEX, call->plugged->function[call->hook]);
    int count = 0;
    if (call->plugged->self != LUA_NOREF) {
        lua_rawgeti(L, LUA_REGISTRYINDEX, call->plugged->self);
        count = 1;
    }
    count += call->push(L, call->arg);
    lua_call(L, count, 2);
    call->read(L, lua_gettop(L) - 1, call->arg);
    return 0;
}

static void note(struct mg_script *script, const struct mg_plugged *plugged, enum mg_hook hook, struct mg_call *call,
                 uint64_t cpu_us, const char *fault)
{
    if (!call->timeline)
        return;
    call->timeline->plugin_us += cpu_us;
    if (hook == MG_HOOK_ON_CHUNK && !fault)
        return;                        /* a stream has too many of them */
    mg_timeline_note(call->timeline, mg_script_now_us(script), "plugin", "%s %s %llu us%s%s", plugged->base.name,
                     mg_hook_name(hook), (unsigned long long)cpu_us, fault ? ": " : "", fault ? fault : "");
}

void mg_hook_done(struct mg_script *script, struct mg_plugged *plugged, enum mg_hook hook, struct mg_call *call,
                  uint64_t cpu_us)
{
    plugged->calls++;
    if (cpu_us > mg_bursts[hook].soft_us)
        plugged->slow++;
    if (plugged->quarantined_until_us) {
        plugged->quarantined_until_us = 0;
        plugged->quarantine_ms = 0;
        mg_log_info("plugin.recovered", "project=%s instance=%s", plugged->base.project, plugged->base.name);
    }
    note(script, plugged, hook, call, cpu_us, NULL);
}

void mg_hook_failed(struct mg_script *script, struct mg_plugged *plugged, enum mg_hook hook, struct mg_call *call,
                    enum mg_lua_end end, uint64_t cpu_us)
{
    char text[256];
    uint64_t now_us = mg_script_now_us(script);
    mg_lua_fault_text(&script->lua, end, text, sizeof(text));
    note(script, plugged, hook, call, cpu_us, text);
    mg_log_warn("plugin.fault", "project=%s instance=%s hook=%s %s", plugged->base.project, plugged->base.name,
                mg_hook_name(hook), text);
    if (end == MG_LUA_OVERRAN || end == MG_LUA_STARVED) {
        struct mg_lua_run run = {.phase = mg_hook_phases[hook]};
        script->tainted = true;
        (void)mg_lua_enter(&script->lua, &run, RESET_US, run_reset, NULL);
    }

    plugged->calls++;
    plugged->faults++;
    plugged->fault_us[plugged->fault_next] = now_us;
    plugged->fault_next = (plugged->fault_next + 1) % MG_FAULTS_TO_QUARANTINE;
    uint64_t oldest_us = plugged->fault_us[plugged->fault_next];
    bool trial = plugged->quarantined_until_us != 0;
    if (trial || (oldest_us && now_us - oldest_us <= FAULT_WINDOW_US))
        quarantine(plugged, now_us);
}

static int run_reset(lua_State *L)
{
    mg_sandbox_prelude(L, "reset");
    lua_call(L, 0, 0);
    return 0;
}

static void quarantine(struct mg_plugged *plugged, uint64_t now_us)
{
    bool again = plugged->quarantine_ms != 0;
    plugged->quarantine_ms = again ? MG_MIN(plugged->quarantine_ms * 2, (uint32_t)MAX_QUARANTINE_MS) : QUARANTINE_MS;
    plugged->quarantined_until_us = now_us + (uint64_t)plugged->quarantine_ms * 1000;
    mg_log_warn("plugin.quarantined", "project=%s instance=%s for_ms=%u faults=%llu", plugged->base.project,
                plugged->base.name, plugged->quarantine_ms, (unsigned long long)plugged->faults);
}
