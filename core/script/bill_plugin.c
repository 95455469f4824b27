/* A plugin makes the bill: it is built as a worker would build it, alone, and called outside any exchange. */
#include "script/bill_parts.h"

#include <string.h>

#include "base/mem.h"
#include "script/args.h"
#include "script/instance.h"

struct mg_bill_plugin {
    struct mg_config_project project;  /* a copy without its functions and other plugins; strings are borrowed */
    struct mg_script *script;          /* owned */
    const struct mg_json *event;       /* of the call in progress */
    struct mg_buf *out;                /* likewise */
};

/* ---- opening */

/* "invoicing" is also what "moongate/invoicing@^1" is called. */
static bool is_called(const struct mg_config_plugin *entry, mg_view name)
{
    mg_view use = mg_view_cstr(entry->use);
    use = mg_view_head(use, mg_view_find(use, "@"));
    mg_view bare = mg_view_skip(use, MG_MIN(mg_view_find(use, "/") + 1, use.len));
    return mg_view_eq(mg_view_cstr(entry->as), name) || mg_view_eq(use, name) || mg_view_eq(bare, name);
}

static const struct mg_config_plugin *entry_of(const struct mg_config_project *project, mg_view name)
{
    for (int i = 0; i < project->plugin_count; i++)
        if (project->plugins[i].use && is_called(&project->plugins[i], name))
            return &project->plugins[i];
    return NULL;
}

static void copy_alone(struct mg_config_project *copy, const struct mg_config_project *project, const struct mg_config_plugin *entry)
{
    *copy = (struct mg_config_project){
        .name = project->name,
        .path = project->path,
        .plugins = (struct mg_config_plugin *)entry,
        .plugin_count = 1,
    };
}

static bool makes_bills(const struct mg_script *script)
{
    const struct mg_plugged *plugged = script->count == 1 ? &script->instances[0] : NULL;
    return plugged && plugged->function[MG_HOOK_ON_BILL] != LUA_NOREF && plugged->function[MG_HOOK_ON_INVOICE] != LUA_NOREF;
}

mg_err mg_bill_plugin_open(const struct mg_config_project *project, const char *name, struct mg_bill_plugin **out_plugin,
                           struct mg_diag *diag)
{
    const struct mg_config_plugin *entry = entry_of(project, mg_view_cstr(name));
    if (!entry)
        return mg_diag_set(diag, MG_E_NOT_FOUND, project->path, 0, "the project lists no plugin \"%s\": plugins = { { use = \"%s\", config = { … } } }",
                           name, name);
    struct mg_bill_plugin *plugin = mg_new(struct mg_bill_plugin);
    copy_alone(&plugin->project, project, entry);
    mg_err err = mg_script_build(&plugin->project, &plugin->script, diag);
    if (err == MG_OK && !makes_bills(plugin->script))
        err = mg_diag_set(diag, MG_E_CONFIG, project->path, entry->line, "the plugin \"%s\" makes no bills: it has no on_bill and on_invoice", name);
    if (err != MG_OK) {
        mg_bill_plugin_close(plugin);
        return err;
    }
    *out_plugin = plugin;
    return MG_OK;
}

void mg_bill_plugin_close(struct mg_bill_plugin *plugin)
{
    if (!plugin)
        return;
    mg_script_free(plugin->script);
    mg_free(plugin);
}

/* ---- calling */

static mg_err call(struct mg_bill_plugin *plugin, enum mg_hook hook, lua_CFunction body, struct mg_diag *diag)
{
    struct mg_lua *lua = &plugin->script->lua;
    struct mg_plugged *plugged = &plugin->script->instances[0];
    struct mg_lua_run run = {.instance = &plugged->base, .phase = mg_hook_phases[hook]};
    char text[256];
    enum mg_lua_end end = mg_lua_enter(lua, &run, plugged->burst_us[hook], body, plugin);
    if (end == MG_LUA_ENDED)
        return MG_OK;
    mg_lua_fault_text(lua, end, text, sizeof text);
    return mg_diag_set(diag, MG_E_SCRIPT, NULL, 0, "%s: %s: %s", plugged->base.name, mg_hook_name(hook), text);
}

static void push_hook(lua_State *L, const struct mg_bill_plugin *plugin, enum mg_hook hook)
{
    const struct mg_plugged *plugged = &plugin->script->instances[0];
    lua_rawgeti(L, LUA_REGISTRYINDEX, plugged->function[hook]);
    lua_rawgeti(L, LUA_REGISTRYINDEX, plugged->self);
}

static int run_event(lua_State *L)
{
    const struct mg_bill_plugin *plugin = mg_lua_of(L)->body_arg;
    push_hook(L, plugin, MG_HOOK_ON_BILL);
    mg_bill_push(L, plugin->event);
    lua_call(L, 2, 0);
    return 0;
}

mg_err mg_bill_plugin_event(struct mg_bill_plugin *plugin, const struct mg_json *event, struct mg_diag *diag)
{
    plugin->event = event;
    return call(plugin, MG_HOOK_ON_BILL, run_event, diag);
}

static int run_invoice(lua_State *L)
{
    const struct mg_bill_plugin *plugin = mg_lua_of(L)->body_arg;
    push_hook(L, plugin, MG_HOOK_ON_INVOICE);
    lua_call(L, 1, 1);
    mg_view text = mg_lua_text(L, lua_gettop(L), "what on_invoice returns");
    if (mg_buf_put(plugin->out, text) != MG_OK)
        luaL_error(L, "the bill is too long");
    return 0;
}

mg_err mg_bill_plugin_invoice(struct mg_bill_plugin *plugin, struct mg_buf *out, struct mg_diag *diag)
{
    plugin->out = out;
    return call(plugin, MG_HOOK_ON_INVOICE, run_invoice, diag);
}
