/* Building a project's Lua: its state, the functions of its file, its plugins, in the order they run.
 *
 *   1. the sandbox
 *   2. the project file is evaluated again, for its functions only; each is found by its key path
 *   3. instances: inline:<workflow>, inline, then the entries of `plugins`
 *   4. each plugin: manifest, init.lua, validate(config), new(config)
 *
 * Every stay in Lua is a call of its own with a budget; the first error ends the build. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/limits.h"
#include "base/mem.h"
#include "script/args.h"
#include "script/filter.h"
#include "script/fetch.h"
#include "script/instance.h"
#include "script/json_lua.h"
#include "script/plugins.h"
#include "script/sandbox.h"
#include "script/secrets_lua.h"

struct builder {
    struct mg_script *script;
    struct mg_diag *diag;
    char shown[256];                   /* the project file, as messages call it */
    int root;                          /* what it returned; registry reference */
    struct mg_instance file_instance;  /* whose code its top level is */
    const struct mg_manifest *manifest;
    const struct mg_plugin_files *files;
    mg_view config_json;
    struct mg_plugged *plugged;        /* being built */
    const char *path[3];               /* key path of the function that is picked; integers as decimal text */
    int position;                      /* in `plugins`, when path[0] is that */
    enum mg_hook hook;
    bool optional;                     /* its absence is no error */
    const char *base_dir;              /* of the project file */
};

static mg_err build(struct builder *builder);
static mg_err enter(struct builder *builder, enum mg_lua_phase phase, struct mg_instance *instance, lua_CFunction body,
                    const char *file, int line, const char *what);
static int run_setup(lua_State *L);
static int run_project_file(lua_State *L);
static mg_err add_inline(struct builder *builder, const struct mg_config_workflow *workflow);
static mg_err add_entry(struct builder *builder, const struct mg_config_plugin *entry);
static mg_err add_plugin(struct builder *builder, const struct mg_config_plugin *entry);
static int pick_function(lua_State *L);
static int run_init_file(lua_State *L);
static int make_plain_self(lua_State *L);
static mg_err set_rules(struct builder *builder, mg_view fail, mg_view stream, int line);

bool mg_script_needed(const struct mg_config_project *config)
{
    bool inline_hooks = config->has_route || config->has_classify || config->has_on_request || config->has_on_attempt ||
                        config->has_on_chunk || config->has_on_response || config->has_on_log ||
                        config->charge == MG_CHARGE_FUNCTION;
    for (int i = 0; i < config->workflow_count && !inline_hooks; i++) {
        const struct mg_config_workflow *w = &config->workflows[i];
        inline_hooks = w->has_route || w->has_classify || w->has_on_request || w->has_on_chunk || w->has_on_response ||
                       w->has_accept || w->offline.has_answer;
    }
    return inline_hooks || config->plugin_count > 0;
}

mg_err mg_script_build(const struct mg_config_project *config, struct mg_script **out_script, struct mg_diag *diag)
{
    struct mg_diag ignored = {.line = 0};
    struct mg_script *script = mg_new(struct mg_script);
    script->config = config;
    script->lua.kind = MG_LUA_PROJECT;
    mg_arena_init(&script->arena, 4096);
    struct builder builder = {.script = script, .diag = diag ? diag : &ignored, .root = LUA_NOREF};
    mg_err err = build(&builder);
    if (err != MG_OK) {
        mg_script_free(script);
        return err;
    }
    for (int i = 0; i < script->count; i++)
        mg_fetch_prepare_for(script->instances[i].base.grants);
    *out_script = script;
    return MG_OK;
}

void mg_script_free(struct mg_script *script)
{
    if (!script)
        return;
    script->dying = script->filters > 0;
    if (script->dying)
        return;                        /* the last filter comes back here */
    mg_sandbox_close(&script->lua);
    mg_arena_fini(&script->arena);
    mg_free(script);
}

void mg_script_attach(struct mg_script *script, struct mg_loop *loop, struct mg_trusted *trusted)
{
    script->lua.loop = loop;
    script->trusted = trusted;
}

bool mg_script_tainted(const struct mg_script *script)
{
    return script->tainted;
}

/* "projects/support.lua": the last two parts of the path. */
static void show_path(const char *path, char *out, size_t size)
{
    const char *last = strrchr(path, '/'), *start = path;
    for (const char *p = path; last && p < last; p++) {
        if (*p == '/')
            start = p + 1;
    }
    snprintf(out, size, "%s", path[0] ? start : "project");
}

static const char *folder_of(struct mg_arena *arena, const char *path)
{
    const char *last = strrchr(path, '/');
    return last ? mg_arena_dup(arena, mg_view_of(path, (size_t)(last - path))).ptr : ".";
}

static mg_err build(struct builder *builder)
{
    struct mg_script *script = builder->script;
    const struct mg_config_project *config = script->config;
    MG_TRY(mg_sandbox_open(&script->lua, config->name, builder->diag));
    show_path(config->path, builder->shown, sizeof(builder->shown));
    builder->base_dir = folder_of(&script->arena, config->path);
    builder->file_instance = (struct mg_instance){.name = "inline", .project = config->name, .inline_code = true};
    script->instances = mg_arena_array(&script->arena, struct mg_plugged,
                                       (size_t)(config->workflow_count + 1 + config->plugin_count));

    MG_TRY(enter(builder, MG_LUA_PHASE_load, &builder->file_instance, run_setup, builder->shown, 0, "setting up"));
    if (config->source)
        MG_TRY(enter(builder, MG_LUA_PHASE_load, &builder->file_instance, run_project_file, builder->shown, 0, "reading it again"));
    for (int i = 0; i < config->workflow_count; i++)
        MG_TRY(add_inline(builder, &config->workflows[i]));
    MG_TRY(add_inline(builder, NULL));
    for (int i = 0; i < config->plugin_count; i++)
        MG_TRY(add_entry(builder, &config->plugins[i]));
    luaL_unref(script->lua.L, LUA_REGISTRYINDEX, builder->root);
    return MG_OK;
}

/* --- errors ---------------------------------------------------------------------------------- */

/* "file:12: text" → its parts, when the text begins like that. */
static bool split_position(const char *text, char *file, size_t size, int *line, const char **rest)
{
    for (const char *colon = strchr(text, ':'); colon; colon = strchr(colon + 1, ':')) {
        char *end;
        long number = strtol(colon + 1, &end, 10);
        if (end == colon + 1 || end[0] != ':' || end[1] != ' ' || number <= 0)
            continue;
        snprintf(file, size, "%.*s", (int)(colon - text), text);
        *line = (int)number;
        *rest = end + 2;
        return true;
    }
    return false;
}

static mg_err refuse(struct builder *builder, const char *file, int line, const char *what, enum mg_lua_end end)
{
    struct mg_lua *lua = &builder->script->lua;
    char text[600], where[200];
    const char *rest = text;
    snprintf(where, sizeof(where), "%s", file);
    if (end == MG_LUA_RAISED) {
        snprintf(text, sizeof(text), "%.*s", (int)strcspn(lua->trace, "\n"), lua->trace);
        split_position(text, where, sizeof(where), &line, &rest);
    } else {
        mg_lua_fault_text(lua, end, text, sizeof(text));
    }
    return mg_diag_set(builder->diag, MG_E_CONFIG, where, line, "%s%s%s%s%s", builder->plugged ? builder->plugged->base.name : "",
                       builder->plugged ? ": " : "", what, what[0] ? ": " : "", rest);
}

static mg_err enter(struct builder *builder, enum mg_lua_phase phase, struct mg_instance *instance, lua_CFunction body,
                    const char *file, int line, const char *what)
{
    struct mg_lua_run run = {.instance = instance, .phase = phase, .load_name = file};
    enum mg_lua_end end = mg_lua_enter(&builder->script->lua, &run, MG_LUA_SETUP_US, body, builder);
    return end == MG_LUA_ENDED ? MG_OK : refuse(builder, file, line, what, end);
}

/* --- the project file ------------------------------------------------------------------------ */

static int run_setup(lua_State *L)
{
    struct builder *builder = mg_lua_of(L)->body_arg;
    builder->script->on_chunk_class = mg_filter_make_class(L);
    return 0;
}

static void push_about(lua_State *L, const struct mg_instance *instance)
{
    lua_createtable(L, 0, 3);
    lua_pushstring(L, instance->project);
    lua_setfield(L, -2, "project");
    lua_pushstring(L, instance->plugin);
    lua_setfield(L, -2, "plugin");
    lua_pushstring(L, instance->name);
    lua_setfield(L, -2, "instance");
}

static void push_project_environment(lua_State *L, const struct builder *builder)
{
    mg_sandbox_prelude(L, "project_environment");
    push_about(L, &builder->file_instance);
    lua_call(L, 1, 1);
}

static int run_project_file(lua_State *L)
{
    struct builder *builder = mg_lua_of(L)->body_arg;
    mg_sandbox_load(L, mg_view_cstr(builder->script->config->source),
                    lua_pushfstring(L, "=%s", builder->shown));
    push_project_environment(L, builder);
    lua_setfenv(L, -2);
    lua_call(L, 0, 1);
    if (!lua_istable(L, -1))
        luaL_error(L, "the file returned a %s this time", luaL_typename(L, -1));
    builder->root = luaL_ref(L, LUA_REGISTRYINDEX);
    return 0;
}

/* --- inline functions ------------------------------------------------------------------------ */

static struct mg_plugged *new_instance(struct builder *builder, const char *name)
{
    struct mg_script *script = builder->script;
    struct mg_plugged *plugged = &script->instances[script->count];
    *plugged = (struct mg_plugged){.self = LUA_NOREF, .when_stream = -1};
    plugged->base = (struct mg_instance){.name = name, .project = script->config->name};
    for (int i = 0; i < MG_HOOK_COUNT; i++) {
        plugged->function[i] = LUA_NOREF;
        plugged->burst_us[i] = mg_bursts[i].hard_us;
    }
    plugged->closed[MG_HOOK_ON_LOG] = true;
    builder->plugged = plugged;
    return plugged;
}

/* has NULL: whichever are there. An instance without any function is left out. */
static mg_err pick_all(struct builder *builder, const bool has[MG_HOOK_COUNT])
{
    bool any = false;
    for (int i = 0; i < (has ? MG_HOOK_COUNT : MG_HOOK_OF_PLUGINS); i++) {
        if (has && !has[i])
            continue;
        builder->optional = has == NULL;
        builder->hook = (enum mg_hook)i;
        MG_TRY(enter(builder, MG_LUA_PHASE_load, &builder->file_instance, pick_function, builder->shown, 0,
                     mg_hook_name((enum mg_hook)i)));
        any = any || builder->plugged->function[i] != LUA_NOREF;
    }
    if (any)
        builder->script->count++;
    builder->plugged = NULL;
    return MG_OK;
}

/* The functions that stand directly in the project (workflow NULL) or in a workflow. */
static mg_err add_inline(struct builder *builder, const struct mg_config_workflow *workflow)
{
    const struct mg_config_project *config = builder->script->config;
    struct mg_arena *arena = &builder->script->arena;
    const bool of_project[MG_HOOK_COUNT] = {
        [MG_HOOK_ON_REQUEST] = config->has_on_request, [MG_HOOK_ROUTE] = config->has_route,
        [MG_HOOK_ON_ATTEMPT] = config->has_on_attempt, [MG_HOOK_CLASSIFY] = config->has_classify,
        [MG_HOOK_ON_CHUNK] = config->has_on_chunk,     [MG_HOOK_ON_RESPONSE] = config->has_on_response,
        [MG_HOOK_ON_LOG] = config->has_on_log,         [MG_HOOK_CHARGE] = config->charge == MG_CHARGE_FUNCTION};
    const bool of_workflow[MG_HOOK_COUNT] = {
        [MG_HOOK_ON_REQUEST] = workflow && workflow->has_on_request, [MG_HOOK_ROUTE] = workflow && workflow->has_route,
        [MG_HOOK_CLASSIFY] = workflow && workflow->has_classify,     [MG_HOOK_ON_CHUNK] = workflow && workflow->has_on_chunk,
        [MG_HOOK_ON_RESPONSE] = workflow && workflow->has_on_response, [MG_HOOK_ACCEPT] = workflow && workflow->has_accept,
        [MG_HOOK_OFFLINE] = workflow && workflow->offline.has_answer};

    const char *name = workflow ? mg_arena_printf(arena, "inline:%s", workflow->name).ptr : "inline";
    struct mg_plugged *plugged = new_instance(builder, name);
    plugged->workflow = workflow ? workflow->name : NULL;
    plugged->base.inline_code = true;
    if (config->inline_grant && mg_read_strings(mg_view_cstr(config->inline_grant), arena, &plugged->base.grants) != MG_OK)
        return mg_diag_set(builder->diag, MG_E_CONFIG, builder->shown, 0, "inline.grant: expected a list of strings");
    const char *stream = workflow ? workflow->chunk_stream : config->chunk_stream;
    MG_TRY(set_rules(builder, mg_view_cstr(config->inline_fail), mg_view_cstr(stream), workflow ? workflow->line : 0));
    builder->path[0] = workflow ? "workflows" : NULL;
    builder->path[1] = workflow ? workflow->name : NULL;
    builder->position = 0;
    return pick_all(builder, workflow ? of_workflow : of_project);
}

/* Fail modes and stream rule over what the stage says. */
static mg_err set_rules(struct builder *builder, mg_view fail, mg_view stream, int line)
{
    struct mg_plugged *plugged = builder->plugged;
    int modes[MG_HOOK_COUNT];
    for (int i = 0; i < MG_HOOK_COUNT; i++)
        modes[i] = plugged->closed[i];
    if (fail.len && mg_read_fail_modes(fail, modes) != MG_OK)
        return mg_diag_set(builder->diag, MG_E_CONFIG, builder->shown, line, "%s: fail: expected hooks with \"open\" or \"closed\"",
                           plugged->base.name);
    for (int i = 0; i < MG_HOOK_COUNT; i++)
        plugged->closed[i] = modes[i] == 1;
    if (stream.len && mg_read_stream_rule(stream, &plugged->stream) != MG_OK)
        return mg_diag_set(builder->diag, MG_E_CONFIG, builder->shown, line, "%s: stream: expected {mode, hold, max_hold_ms, channels}",
                           plugged->base.name);
    return MG_OK;
}

static void load_file_function(lua_State *L, struct builder *builder, const char *name)
{
    char path[512], chunk[320];
    const char *slash = strrchr(builder->shown, '/');
    snprintf(path, sizeof(path), "%s/%s", builder->base_dir, name);
    snprintf(chunk, sizeof(chunk), "=%.*s%s", slash ? (int)(slash - builder->shown + 1) : 0, builder->shown, name);

    struct mg_buf *text = mg_lua_scratch(L, MG_MAX_LUA_SOURCE_BYTES);
    mg_err err = mg_read_file(path, text);
    if (err != MG_OK)
        luaL_error(L, "file \"%s\": %s", name, mg_err_text(err));
    mg_sandbox_load(L, mg_buf_view(text), chunk);
    mg_lua_scratch_end(text);
    push_project_environment(L, builder);
    lua_setfenv(L, -2);
    lua_call(L, 0, 1);
    if (lua_type(L, -1) != LUA_TFUNCTION)
        luaL_error(L, "file \"%s\" must return a function, got a %s", name, luaL_typename(L, -1));
}

/* The function at the builder's path. What the configuration saw must be there again. */
static int pick_function(lua_State *L)
{
    struct builder *builder = mg_lua_of(L)->body_arg;
    mg_sandbox_prelude(L, "pick");
    lua_rawgeti(L, LUA_REGISTRYINDEX, builder->root);
    int count = 1;
    for (int i = 0; i < 2 && builder->path[i]; i++, count++)
        lua_pushstring(L, builder->path[i]);
    if (builder->position) {
        lua_pushinteger(L, builder->position);
        count++;
    }
    lua_pushstring(L, mg_hook_name(builder->hook));
    count++;
    if (builder->hook == MG_HOOK_OFFLINE) {
        lua_pushliteral(L, "answer");
        count++;
    }
    lua_call(L, count, 2);

    const char *kind = lua_tostring(L, -2);
    if (!kind && builder->optional)
        return 0;
    if (!kind)
        luaL_error(L, "there was a function here when the file was read first; it must not depend on chance");
    if (strcmp(kind, "file") == 0)
        load_file_function(L, builder, lua_tostring(L, -1));
    builder->plugged->function[builder->hook] = luaL_ref(L, LUA_REGISTRYINDEX);
    return 0;
}

/* --- entries of `plugins` -------------------------------------------------------------------- */

static mg_err add_entry(struct builder *builder, const struct mg_config_plugin *entry)
{
    struct mg_arena *arena = &builder->script->arena;
    struct mg_plugged *plugged = new_instance(builder, entry->as);
    plugged->when_stream = entry->when_stream;
    if (entry->when_workflows && mg_read_strings(mg_view_cstr(entry->when_workflows), arena, &plugged->when_workflows) != MG_OK)
        return mg_diag_set(builder->diag, MG_E_CONFIG, builder->shown, entry->line, "%s: when.workflows: expected a list of strings", entry->as);
    if (entry->grant && mg_read_strings(mg_view_cstr(entry->grant), arena, &plugged->base.grants) != MG_OK)
        return mg_diag_set(builder->diag, MG_E_CONFIG, builder->shown, entry->line, "%s: grant: expected a list of strings", entry->as);
    if (entry->use)
        return add_plugin(builder, entry);

    plugged->base.inline_code = true;
    MG_TRY(set_rules(builder, mg_view_cstr(entry->fail), mg_view_cstr(entry->stream), entry->line));
    builder->config_json = mg_view_cstr(entry->config);
    MG_TRY(enter(builder, MG_LUA_PHASE_load, &builder->file_instance, make_plain_self, builder->shown, entry->line, "setting up"));
    builder->path[0] = "plugins";
    builder->path[1] = NULL;
    builder->position = entry->index;
    return pick_all(builder, NULL);
}

static int make_plain_self(lua_State *L)
{
    struct builder *builder = mg_lua_of(L)->body_arg;
    mg_sandbox_prelude(L, "plain_self");
    lua_newtable(L);
    mg_lua_push_config(L, builder->config_json);
    lua_call(L, 2, 1);
    builder->plugged->self = luaL_ref(L, LUA_REGISTRYINDEX);
    return 0;
}

/* What the version asks for must be granted; the message is the line to add. */
static mg_err check_grants(struct builder *builder, const struct mg_config_plugin *entry, const struct mg_manifest *manifest)
{
    struct mg_lua_run run = {.instance = &builder->plugged->base};
    struct mg_lua lua = {.kind = MG_LUA_PROJECT, .run = &run};
    char missing[400];
    size_t at = 0;
    for (size_t i = 0; manifest->needs[i] && at < sizeof(missing); i++) {
        char kind[32];
        const char *colon = strchr(manifest->needs[i], ':');
        snprintf(kind, sizeof(kind), "%.*s", colon ? (int)(colon - manifest->needs[i]) : 31, manifest->needs[i]);
        bool bound = strcmp(kind, "secret") == 0 && colon && mg_lua_secret_granted(run.instance, colon + 1);
        if (!bound && !mg_lua_may(&lua, kind, colon ? colon + 1 : NULL))
            at += (size_t)snprintf(missing + at, sizeof(missing) - at, "%s\"%s\"", at ? ", " : "", manifest->needs[i]);
    }
    if (at == 0)
        return MG_OK;
    return mg_diag_set(builder->diag, MG_E_CONFIG, builder->shown, entry->line,
                       "%s: %s asks for more than it is granted: add grant = { %s }", entry->as, entry->use, missing);
}

static void apply_stage(struct mg_plugged *plugged, const struct mg_manifest *manifest)
{
    plugged->guard = manifest->stage == MG_STAGE_GUARD;
    plugged->base.memory_bytes = manifest->memory_bytes;
    for (int i = 0; i < MG_HOOK_COUNT; i++) {
        bool can_close = i == MG_HOOK_ON_REQUEST || i == MG_HOOK_ON_CHUNK || i == MG_HOOK_ON_RESPONSE;
        bool closed = i == MG_HOOK_ON_LOG || (plugged->guard && can_close);
        plugged->closed[i] = manifest->fail[i] >= 0 ? manifest->fail[i] == 1 : closed;
        if (manifest->burst_us[i])
            plugged->burst_us[i] = MG_MIN(plugged->burst_us[i], manifest->burst_us[i]);
    }
    if (manifest->has_stream)
        plugged->stream = manifest->stream;
}

static mg_err add_plugin(struct builder *builder, const struct mg_config_plugin *entry)
{
    struct mg_arena *arena = &builder->script->arena;
    struct mg_plugged *plugged = builder->plugged;
    struct mg_manifest manifest;
    const struct mg_plugin_files *files;
    mg_view text;

    snprintf(builder->diag->file, sizeof(builder->diag->file), "%s", builder->shown);
    builder->diag->line = entry->line;
    MG_TRY(mg_plugin_find(entry->use, builder->base_dir, arena, &files, builder->diag));
    MG_TRY(mg_plugin_file(files, "plugin.json", arena, &text, builder->diag));
    snprintf(builder->diag->file, sizeof(builder->diag->file), "plugins/%s/plugin.json", files->name);
    builder->diag->line = 0;
    MG_TRY(mg_manifest_read(text, files->name, arena, &manifest, builder->diag));
    plugged->base.plugin = manifest.name;
    MG_TRY(check_grants(builder, entry, &manifest));
    snprintf(builder->diag->file, sizeof(builder->diag->file), "%s", builder->shown);
    builder->diag->line = entry->line;
    MG_TRY(mg_manifest_config(&manifest, mg_view_cstr(entry->config), arena, &builder->config_json, builder->diag));
    struct mg_lua_run run = {.instance = &plugged->base};
    struct mg_lua lua = {.kind = MG_LUA_PROJECT, .run = &run};
    if (manifest.hooks[MG_HOOK_ON_CHUNK] && !mg_lua_may(&lua, "content", "response"))
        return mg_diag_set(builder->diag, MG_E_CONFIG, builder->shown, entry->line,
                           "%s: on_chunk reads answers: add grant = { \"content:response\" }", entry->as);
    apply_stage(plugged, &manifest);
    MG_TRY(set_rules(builder, mg_view_cstr(entry->fail), MG_VIEW_NONE, entry->line));

    builder->manifest = &manifest;
    builder->files = files;
    MG_TRY(enter(builder, MG_LUA_PHASE_load, &plugged->base, run_init_file, files->shown, 0, ""));
    builder->script->count++;
    builder->plugged = NULL;
    return MG_OK;
}

/* source_of(name) of a plugin's environment: text and chunk name of one of its own files. */
static int plugin_source(lua_State *L)
{
    struct builder *builder = mg_lua_of(L)->body_arg;
    const struct mg_plugin_files *files = lua_touserdata(L, lua_upvalueindex(1));
    const char *name = luaL_checkstring(L, 1);
    char file[128];
    mg_view text;
    if (mg_lua_of(L)->run->phase > MG_LUA_PHASE_new || strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_") != strlen(name))
        return 0;                      /* files are read while a generation is built */
    snprintf(file, sizeof(file), "%.100s.lua", name);
    if (mg_plugin_file(files, file, &builder->script->arena, &text, NULL) != MG_OK)
        return 0;
    lua_pushlstring(L, text.ptr, text.len);
    lua_pushfstring(L, "=%s/%s", files->shown, file);
    return 2;
}

static void push_plugin_environment(lua_State *L, struct builder *builder)
{
    mg_sandbox_prelude(L, "environment");
    push_about(L, &builder->plugged->base);
    lua_pushlightuserdata(L, (void *)builder->files);
    lua_pushcclosure(L, plugin_source, 1);
    lua_call(L, 2, 1);
}

/* Calls M.<name>(config) when it is there; its results stay on the stack. Returns how many, -1: absent. */
static int call_setup(lua_State *L, struct builder *builder, int module, const char *name, enum mg_lua_phase phase)
{
    int before = lua_gettop(L);
    lua_getfield(L, module, name);
    if (lua_isnil(L, -1)) {
        lua_pop(L, 1);
        return -1;
    }
    if (lua_type(L, -1) != LUA_TFUNCTION)
        luaL_error(L, "M.%s must be a function", name);
    mg_lua_of(L)->run->phase = phase;
    mg_lua_push_config(L, builder->config_json);
    lua_call(L, 1, 2);
    return lua_gettop(L) - before;
}

static void take_hooks(lua_State *L, struct builder *builder, int module)
{
    for (int i = 0; i < MG_HOOK_OF_PLUGINS; i++) {
        const char *name = mg_hook_name((enum mg_hook)i);
        lua_getfield(L, module, name);
        bool has = lua_type(L, -1) == LUA_TFUNCTION;
        if (has && !builder->manifest->hooks[i])
            luaL_error(L, "init.lua has the hook %s, which plugin.json does not list", name);
        if (!has && builder->manifest->hooks[i])
            luaL_error(L, "plugin.json lists the hook %s, which init.lua does not have", name);
        if (has)
            builder->plugged->function[i] = luaL_ref(L, LUA_REGISTRYINDEX);
        else
            lua_pop(L, 1);
    }
}

static int run_init_file(lua_State *L)
{
    struct builder *builder = mg_lua_of(L)->body_arg;
    mg_view text;
    if (mg_plugin_file(builder->files, "init.lua", &builder->script->arena, &text, builder->diag) != MG_OK)
        luaL_error(L, "%s", builder->diag->text);
    mg_sandbox_load(L, text, lua_pushfstring(L, "=%s/init.lua", builder->files->shown));
    push_plugin_environment(L, builder);
    lua_setfenv(L, -2);
    lua_call(L, 0, 1);
    int module = lua_gettop(L);
    mg_lua_table(L, module, "what init.lua returns");
    take_hooks(L, builder, module);

    if (call_setup(L, builder, module, "validate", MG_LUA_PHASE_validate) > 0 && !lua_toboolean(L, -2))
        luaL_error(L, "refused its configuration: %s", mg_lua_error_text(L, -1));
    lua_settop(L, module);
    int results = call_setup(L, builder, module, "new", MG_LUA_PHASE_new);
    if (results > 0) {
        lua_pushvalue(L, -results);
        if (lua_isnil(L, -1))
            luaL_error(L, "new failed: %s", mg_lua_error_text(L, -2));
    } else {
        mg_sandbox_prelude(L, "plain_self");
        lua_pushvalue(L, module);
        mg_lua_push_config(L, builder->config_json);
        lua_call(L, 2, 1);
    }
    builder->plugged->self = luaL_ref(L, LUA_REGISTRYINDEX);
    return 0;
}
