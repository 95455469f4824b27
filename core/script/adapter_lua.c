#include <stdio.h>
#include <string.h>

#include "base/embed.h"
#include "base/mem.h"
#include "script/args.h"
#include "script/json_lua.h"
#include "script/sandbox.h"
#include "script/trusted.h"

enum { MAX_SET_BYTES = 1024 };

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
static void read_finish(lua_State *L, struct loader *loader, int table);
static void read_rules(lua_State *L, struct loader *loader, int table);
static void read_repairs(lua_State *L, struct loader *loader, int table);

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
    static const char *const names[] = {"name",  "base_url", "auth", "limits",        "operations", "usage_opt_in",    "usage", "answer",
                                        "chunk", "error",    "done", "finish_failed", "finish_cut", "finish_filtered", "rules", "repairs",
                                        NULL};
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
    read_finish(L, loader, table);
    read_rules(L, loader, table);
    read_repairs(L, loader, table);
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

/* A list of texts in the arena, NULL-terminated; NULL when the field is absent. */
static mg_adapter_texts read_texts(lua_State *L, struct loader *loader, int table, const char *name)
{
    int top = lua_gettop(L);
    int list = open_table(L, table, name, NULL);
    if (!list)
        return NULL;
    size_t count = lua_objlen(L, list);
    const char **texts = mg_arena_array(loader->arena, const char *, count + 1);
    for (size_t i = 0; i < count; i++) {
        lua_rawgeti(L, list, (int)i + 1);
        texts[i] = mg_arena_dup(loader->arena, mg_lua_text(L, lua_gettop(L), name)).ptr;
        lua_pop(L, 1);
    }
    texts[count] = NULL;
    lua_settop(L, top);
    return texts;
}

static void read_limits(lua_State *L, struct loader *loader, int table)
{
    static const char *const names[] = {"requests_left", "requests_reset", "tokens_left", "tokens_reset", NULL};
    struct mg_limit_headers *limits = &loader->decl->limits;
    int at = open_table(L, table, "limits", names);
    if (!at)
        return;
    limits->requests_left = read_text(L, loader, at, "requests_left", "limits");
    limits->requests_reset = read_text(L, loader, at, "requests_reset", "limits");
    limits->tokens_left = read_text(L, loader, at, "tokens_left", "limits");
    limits->tokens_reset = read_text(L, loader, at, "tokens_reset", "limits");
    lua_settop(L, table);
}

static void read_auth(lua_State *L, struct loader *loader, int table)
{
    static const char *const auth_names[] = {"header", "prefix", NULL};
    static const char *const opt_in_names[] = {"field", "member", NULL};
    struct mg_adapter_decl *decl = loader->decl;
    decl->name = need_text(L, loader, table, "name", "adapter");
    decl->base_url = need_text(L, loader, table, "base_url", "adapter");
    decl->done = read_text(L, loader, table, "done", "adapter");
    read_limits(L, loader, table);

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
    static const char *const names[] = {"object",       "input",     "output",      "total",        "cached_read",
                                        "cached_write", "reasoning", "input_audio", "output_audio", "model",
                                        "tier",         NULL};
    struct mg_adapter_decl *decl = loader->decl;
    int usage = open_table(L, table, "usage", names);
    read_paths(L, loader, usage, "object", decl->usage_object);
    read_paths(L, loader, usage, "input", decl->usage.input);
    read_paths(L, loader, usage, "output", decl->usage.output);
    read_paths(L, loader, usage, "total", decl->usage.total);
    read_paths(L, loader, usage, "cached_read", decl->usage.cached_read);
    read_paths(L, loader, usage, "cached_write", decl->usage.cached_write);
    read_paths(L, loader, usage, "reasoning", decl->usage.reasoning);
    read_paths(L, loader, usage, "input_audio", decl->usage.input_audio);
    read_paths(L, loader, usage, "output_audio", decl->usage.output_audio);
    read_paths(L, loader, usage, "model", decl->usage.model);
    read_paths(L, loader, usage, "tier", decl->usage.tier);
    lua_settop(L, table);
}

static void read_parts(lua_State *L, struct loader *loader, int table, const char *name)
{
    static const char *const names[] = {"item",   "index", "content",    "reasoning", "tool_call",      "refusal",
                                        "finish", "data",  "tool_index", "tool_name", "tool_arguments", NULL};
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
    READ(tool_index);
    READ(tool_name);
    READ(tool_arguments);
#undef READ
    lua_settop(L, table);
}

static void read_error(lua_State *L, struct loader *loader, int table)
{
    static const char *const names[] = {"object", "type",        "code", "message",     "param", "event",
                                        "detail", "retry_after", "mark", "retry_texts", NULL};
    struct mg_adapter_decl *decl = loader->decl;
    int error = open_table(L, table, "error", names);
    if (!error)
        luaL_error(L, "adapter: field 'error' is missing");
    read_paths(L, loader, error, "object", decl->error);
    read_paths(L, loader, error, "type", decl->error_shape.type);
    read_paths(L, loader, error, "code", decl->error_shape.code);
    read_paths(L, loader, error, "message", decl->error_shape.message);
    read_paths(L, loader, error, "param", decl->error_shape.param);
    read_paths(L, loader, error, "detail", decl->error_shape.detail);
    read_paths(L, loader, error, "retry_after", decl->error_shape.retry_after);
    read_paths(L, loader, error, "mark", decl->error_shape.mark);
    decl->retry_texts = read_texts(L, loader, error, "retry_texts");
    decl->error_event = read_text(L, loader, error, "event", "error");
    lua_settop(L, table);
}

static void read_finish(lua_State *L, struct loader *loader, int table)
{
    loader->decl->finish_failed = read_texts(L, loader, table, "finish_failed");
    loader->decl->finish_cut = read_texts(L, loader, table, "finish_cut");
    loader->decl->finish_filtered = read_texts(L, loader, table, "finish_filtered");
}

static void read_rule(lua_State *L, struct loader *loader, int number)
{
    static const char *const names[] = {"status", "type", "code", "detail", "text", "class", NULL};
    struct mg_adapter_rule *out = &loader->decl->rules[number - 1];
    char what[32];
    snprintf(what, sizeof(what), "rules[%d]", number);
    int rule = lua_gettop(L);
    mg_lua_table(L, rule, what);
    mg_lua_only(L, rule, what, names);
    out->status = (int)mg_lua_field_integer(L, rule, "status", what, 100, 599, 0);
    out->type = read_text(L, loader, rule, "type", what);
    out->code = read_text(L, loader, rule, "code", what);
    out->detail = read_text(L, loader, rule, "detail", what);
    out->text = read_text(L, loader, rule, "text", what);
    const char *name = need_text(L, loader, rule, "class", what);
    if (!mg_class_find(mg_view_cstr(name), &out->class_))
        luaL_error(L, "%s: there is no class \"%s\"", what, name);
    if (!out->status && !out->type && !out->code && !out->detail)
        luaL_error(L, out->text ? "%s: a text needs a status, type or code beside it: errors repeat what people wrote"
                                : "%s matches everything", what);
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

static void read_edit(lua_State *L, struct loader *loader, int row, const char *what, struct mg_body_edit *out)
{
    int top = lua_gettop(L);
    const char *rename = read_text(L, loader, row, "rename", what);
    mg_lua_field(L, row, "set");
    bool sets = !lua_isnil(L, -1);
    if (rename && sets)
        luaL_error(L, "%s: a field is renamed or set, not both", what);
    *out = (struct mg_body_edit){.op = rename ? MG_EDIT_RENAME : sets ? MG_EDIT_SET : MG_EDIT_DROP, .to = rename};
    if (sets) {
        int value = lua_gettop(L);
        struct mg_buf *json = mg_lua_scratch(L, MAX_SET_BYTES);
        mg_lua_must_json(L, value, json, what);
        out->to = mg_arena_dup(loader->arena, mg_buf_view(json)).ptr;
        mg_lua_scratch_end(json);
    }
    lua_settop(L, top);
}

/* A row for each of its fields. */
static void read_repair(lua_State *L, struct loader *loader, int number)
{
    static const char *const names[] = {"name", "status", "codes", "texts", "fields", "rename", "set", "once", NULL};
    struct mg_adapter_decl *decl = loader->decl;
    char what[32];
    snprintf(what, sizeof(what), "repairs[%d]", number);
    int row = lua_gettop(L);
    mg_lua_table(L, row, what);
    mg_lua_only(L, row, what, names);
    struct mg_adapter_repair repair = {
        .name = need_text(L, loader, row, "name", what),
        .status = (int)mg_lua_field_integer(L, row, "status", what, 400, 599, 0),
        .codes = read_texts(L, loader, row, "codes"),
        .texts = read_texts(L, loader, row, "texts"),
        .once = mg_lua_field_boolean(L, row, "once", what, false),
    };
    read_edit(L, loader, row, what, &repair.edit);
    mg_adapter_texts field = read_texts(L, loader, row, "fields");
    if (!field || !*field || (!repair.codes && !repair.texts))
        luaL_error(L, "%s: it needs 'fields', and 'codes' or 'texts'", what);
    for (; *field; field++) {
        if (decl->repair_count == MG_ADAPTER_REPAIRS)
            luaL_error(L, "more than %d repairs", (int)MG_ADAPTER_REPAIRS);
        repair.edit.field = *field;
        decl->repairs[decl->repair_count++] = repair;
    }
}

static void read_repairs(lua_State *L, struct loader *loader, int table)
{
    int list = open_table(L, table, "repairs", NULL);
    int count = list ? (int)lua_objlen(L, list) : 0;
    for (int i = 1; i <= count; i++) {
        lua_rawgeti(L, list, i);
        read_repair(L, loader, i);
        lua_settop(L, list);
    }
    lua_settop(L, table);
}
