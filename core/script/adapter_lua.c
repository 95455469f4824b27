#include <stdio.h>
#include <string.h>

#include "base/embed.h"
#include "base/mem.h"
#include "script/args.h"
#include "script/sandbox.h"
#include "script/trusted.h"

struct loader {
    const char *name;
    struct mg_arena *arena;
    struct mg_adapter_decl *decl;
};

static int load(lua_State *L);
static void read_auth(lua_State *L, struct loader *loader, int table);
static void read_operations(lua_State *L, struct loader *loader, int table);
static void read_usage(lua_State *L, struct loader *loader, int table);
static void read_parts(lua_State *L, struct loader *loader, int table, const char *name);
static void read_error(lua_State *L, struct loader *loader, int table);
static void read_finish_failed(lua_State *L, struct loader *loader, int table);
static void read_rules(lua_State *L, struct loader *loader, int table);

static bool name_is_plain(const char *name)
{
    return name[0] && strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_-") == strlen(name);
}

/* "openai, …": what can be named. */
static void list_adapters(char *out, size_t size)
{
    const mg_view prefix = MG_VIEW("adapters/");
    size_t at = 0;
    out[0] = '\0';
    for (size_t i = 0; i < mg_embedded_count && at < size; i++) {
        mg_view name = mg_view_cstr(mg_embedded_files[i].name);
        if (!mg_view_starts(name, prefix) || !mg_view_ends(name, MG_VIEW(".lua")))
            continue;
        name = mg_view_head(mg_view_skip(name, prefix.len), name.len - prefix.len - 4);
        at += (size_t)snprintf(out + at, size - at, "%s%.*s", at ? ", " : "", MG_FMT(name));
    }
}

mg_err mg_adapter_load(const char *name, struct mg_arena *arena, struct mg_adapter_decl *out_decl, struct mg_diag *diag)
{
    char file[128];
    snprintf(file, sizeof(file), "adapters/%s.lua", name);
    if (!name_is_plain(name) || !mg_embedded_find(file)) {
        char known[256];
        list_adapters(known, sizeof(known));
        return mg_diag_set(diag, MG_E_CONFIG, "", 0, "there is no adapter \"%s\"; there are %s", name, known);
    }

    struct mg_lua lua = {.kind = MG_LUA_TRUSTED};
    struct mg_lua_run run = {.phase = MG_LUA_PHASE_load, .load_name = file};
    struct mg_adapter_decl decl = {.name = NULL};
    struct loader loader = {.name = file, .arena = arena, .decl = &decl};
    MG_TRY(mg_sandbox_open(&lua, "moongate", diag));
    enum mg_lua_end end = mg_lua_enter(&lua, &run, MG_LUA_SETUP_US, load, &loader);
    mg_err err = MG_OK;
    if (end == MG_LUA_ENDED)
        *out_decl = decl;
    else
        err = mg_diag_set(diag, MG_E_CONFIG, file, 0, "%.*s", (int)strcspn(lua.trace, "\n"), lua.trace);
    mg_sandbox_close(&lua);
    return err;
}

static int load(lua_State *L)
{
    static const char *const names[] = {"name",  "base_url", "auth",  "operations", "usage_opt_in",  "usage", "answer",
                                        "chunk", "error",    "done",  "finish_failed", "rules", "requests_left", NULL};
    struct loader *loader = mg_lua_of(L)->body_arg;
    mg_trusted_run_file(L, loader->name);
    int table = lua_gettop(L);
    mg_lua_table(L, table, "an adapter");
    mg_lua_only(L, table, "adapter", names);

    read_auth(L, loader, table);
    read_operations(L, loader, table);
    read_usage(L, loader, table);
    read_parts(L, loader, table, "answer");
    read_parts(L, loader, table, "chunk");
    read_error(L, loader, table);
    read_finish_failed(L, loader, table);
    read_rules(L, loader, table);
    return 0;
}

/* Copied to the arena; NULL when absent. */
static const char *read_text(lua_State *L, struct loader *loader, int table, const char *name, const char *what)
{
    mg_view text = mg_lua_field_text(L, table, name, what, MG_VIEW_NONE);
    if (text.ptr && memchr(text.ptr, '\0', text.len))
        luaL_error(L, "%s: field '%s' has a NUL in it", what, name);
    return text.ptr ? mg_arena_dup(loader->arena, text).ptr : NULL;
}

static const char *need_text(lua_State *L, struct loader *loader, int table, const char *name, const char *what)
{
    const char *text = read_text(L, loader, table, name, what);
    if (!text || !text[0])
        luaL_error(L, "%s: field '%s' is missing", what, name);
    return text;
}

/* Pushes the field, which must be a table, and returns its index; 0 (and nothing pushed) when it is absent. */
static int open_table(lua_State *L, int table, const char *name, const char *const *names)
{
    mg_lua_field(L, table, name);
    if (lua_isnil(L, -1)) {
        lua_pop(L, 1);
        return 0;
    }
    mg_lua_table(L, lua_gettop(L), name);
    if (names)
        mg_lua_only(L, lua_gettop(L), name, names);
    return lua_gettop(L);
}

static void read_paths(lua_State *L, struct loader *loader, int table, const char *name, mg_adapter_paths out)
{
    int top = lua_gettop(L);
    int list = table ? open_table(L, table, name, NULL) : 0;
    int count = list ? (int)lua_objlen(L, list) : 0;
    if (count > MG_ADAPTER_PATHS)
        luaL_error(L, "'%s' has more than %d paths", name, (int)MG_ADAPTER_PATHS);
    for (int i = 0; i < count; i++) {
        lua_rawgeti(L, list, i + 1);
        out[i] = mg_arena_dup(loader->arena, mg_lua_text(L, lua_gettop(L), name)).ptr;
        lua_pop(L, 1);
    }
    lua_settop(L, top);
}

static void read_auth(lua_State *L, struct loader *loader, int table)
{
    static const char *const auth_names[] = {"header", "prefix", NULL};
    static const char *const opt_in_names[] = {"field", "member", NULL};
    struct mg_adapter_decl *decl = loader->decl;
    decl->name = need_text(L, loader, table, "name", "adapter");
    decl->base_url = need_text(L, loader, table, "base_url", "adapter");
    decl->done = read_text(L, loader, table, "done", "adapter");
    decl->limits.requests_left = read_text(L, loader, table, "requests_left", "adapter");

    int auth = open_table(L, table, "auth", auth_names);
    if (!auth)
        luaL_error(L, "adapter: field 'auth' is missing");
    decl->auth_header = need_text(L, loader, auth, "header", "auth");
    decl->auth_prefix = read_text(L, loader, auth, "prefix", "auth");
    if (!decl->auth_prefix)
        decl->auth_prefix = "";
    int opt_in = open_table(L, table, "usage_opt_in", opt_in_names);
    if (opt_in) {
        decl->usage_opt_in_field = need_text(L, loader, opt_in, "field", "usage_opt_in");
        decl->usage_opt_in_member = need_text(L, loader, opt_in, "member", "usage_opt_in");
    }
    lua_settop(L, table);
}

static void read_operations(lua_State *L, struct loader *loader, int table)
{
    static const char *const surfaces[] = {"chat", "completions", "embeddings", "models", NULL};
    struct mg_adapter_decl *decl = loader->decl;
    int operations = open_table(L, table, "operations", surfaces);
    if (!operations)
        luaL_error(L, "adapter: field 'operations' is missing");
    for (int i = 0; surfaces[i]; i++) {
        const char *path = read_text(L, loader, operations, surfaces[i], "operations");
        if (!path)
            continue;
        if (path[0] != '/')
            luaL_error(L, "operations: '%s' must begin with a slash", surfaces[i]);
        decl->operations[decl->operation_count++] = (struct mg_adapter_operation){surfaces[i], path};
    }
    lua_settop(L, table);
}

static void read_usage(lua_State *L, struct loader *loader, int table)
{
    static const char *const names[] = {"object",      "input",        "output",    "total",
                                        "cached_read", "cached_write", "reasoning", NULL};
    struct mg_adapter_decl *decl = loader->decl;
    int usage = open_table(L, table, "usage", names);
    read_paths(L, loader, usage, "object", decl->usage_object);
    read_paths(L, loader, usage, "input", decl->usage.input);
    read_paths(L, loader, usage, "output", decl->usage.output);
    read_paths(L, loader, usage, "total", decl->usage.total);
    read_paths(L, loader, usage, "cached_read", decl->usage.cached_read);
    read_paths(L, loader, usage, "cached_write", decl->usage.cached_write);
    read_paths(L, loader, usage, "reasoning", decl->usage.reasoning);
    lua_settop(L, table);
}

static void read_parts(lua_State *L, struct loader *loader, int table, const char *name)
{
    static const char *const names[] = {"item", "index", "content", "reasoning", "tool_call", "refusal", "finish", "data", NULL};
    int parts = open_table(L, table, name, names);
    if (!parts)
        luaL_error(L, "adapter: field '%s' is missing", name);
#define READ(part)                                                                                 \
    read_paths(L, loader, parts, #part,                                                            \
               strcmp(name, "answer") == 0 ? loader->decl->answer.part : loader->decl->chunk.part)
    READ(item);
    READ(index);
    READ(content);
    READ(reasoning);
    READ(tool_call);
    READ(refusal);
    READ(finish);
    READ(data);
#undef READ
    lua_settop(L, table);
}

static void read_error(lua_State *L, struct loader *loader, int table)
{
    static const char *const names[] = {"object", "type", "code", "message", "event", NULL};
    struct mg_adapter_decl *decl = loader->decl;
    int error = open_table(L, table, "error", names);
    if (!error)
        luaL_error(L, "adapter: field 'error' is missing");
    read_paths(L, loader, error, "object", decl->error);
    read_paths(L, loader, error, "type", decl->error_shape.type);
    read_paths(L, loader, error, "code", decl->error_shape.code);
    read_paths(L, loader, error, "message", decl->error_shape.message);
    decl->error_event = read_text(L, loader, error, "event", "error");
    lua_settop(L, table);
}

static void read_finish_failed(lua_State *L, struct loader *loader, int table)
{
    int list = open_table(L, table, "finish_failed", NULL);
    size_t count = list ? lua_objlen(L, list) : 0;
    const char **reasons = mg_arena_array(loader->arena, const char *, count + 1);
    for (size_t i = 0; i < count; i++) {
        lua_rawgeti(L, list, (int)i + 1);
        reasons[i] = mg_arena_dup(loader->arena, mg_lua_text(L, lua_gettop(L), "finish_failed")).ptr;
        lua_pop(L, 1);
    }
    loader->decl->finish_failed = reasons;
    lua_settop(L, table);
}

static void read_rule(lua_State *L, struct loader *loader, int number)
{
    static const char *const names[] = {"status", "type", "code", "text", "class", NULL};
    struct mg_adapter_rule *out = &loader->decl->rules[number - 1];
    char what[32];
    snprintf(what, sizeof(what), "rules[%d]", number);
    int rule = lua_gettop(L);
    mg_lua_table(L, rule, what);
    mg_lua_only(L, rule, what, names);
    out->status = (int)mg_lua_field_integer(L, rule, "status", what, 100, 599, 0);
    out->type = read_text(L, loader, rule, "type", what);
    out->code = read_text(L, loader, rule, "code", what);
    out->text = read_text(L, loader, rule, "text", what);
    const char *name = need_text(L, loader, rule, "class", what);
    if (!mg_class_find(mg_view_cstr(name), &out->class_))
        luaL_error(L, "%s: there is no class \"%s\"", what, name);
    if (!out->status && !out->type && !out->code && !out->text)
        luaL_error(L, "%s matches everything", what);
}

static void read_rules(lua_State *L, struct loader *loader, int table)
{
    int list = open_table(L, table, "rules", NULL);
    int count = list ? (int)lua_objlen(L, list) : 0;
    if (count > MG_ADAPTER_RULES)
        luaL_error(L, "more than %d rules", (int)MG_ADAPTER_RULES);
    for (int i = 1; i <= count; i++) {
        lua_rawgeti(L, list, i);
        read_rule(L, loader, i);
        lua_settop(L, list);
    }
    loader->decl->rule_count = count;
    lua_settop(L, table);
}
