/* Reads what adapter_merge.c makes of an adapter's files into plain data. */
#include "script/adapter_lua.h"

#include <stdio.h>
#include <string.h>

#include "base/embed.h"
#include "base/mem.h"
#include "script/args.h"
#include "script/json_lua.h"
#include "script/sandbox.h"
#include "script/trusted.h"

enum { MAX_SET_BYTES = 1024, MAX_TYPED = 32, MAX_KNOWN_BYTES = 640 };

struct loader {
    const char *name, *file;
    int speaks;                        /* which of what it speaks besides is wanted, from 1; 0: itself */
    struct mg_arena *arena;
    struct mg_adapter_decl *decl;
};

static int load(lua_State *L);
static void read_identity(lua_State *L, struct loader *loader, int table);
static void read_auth(lua_State *L, struct loader *loader, int table);
static void read_operations(lua_State *L, struct loader *loader, int table);
static void read_usage(lua_State *L, struct loader *loader, int table);
static void read_parts(lua_State *L, struct loader *loader, int table, const char *name);
static void read_error(lua_State *L, struct loader *loader, int table);
static void read_finish(lua_State *L, struct loader *loader, int table);
static void read_rules(lua_State *L, struct loader *loader, int table);
static void read_repairs(lua_State *L, struct loader *loader, int table);
static void read_edits(lua_State *L, struct loader *loader, int table);

static void put_name(void *arg, const char *file)
{
    struct mg_buf *out = arg;
    mg_view name = mg_view_skip(mg_view_cstr(file), strlen("adapters/"));
    name.len -= strlen(".lua");
    if (mg_buf_putf(out, "%s%.*s", out->len ? ", " : "", MG_FMT(name)) != MG_OK)
        return;                        /* enough are named */
}

static mg_err refuse_unknown(const char *name, struct mg_diag *diag)
{
    struct mg_buf known;
    mg_buf_init(&known, MAX_KNOWN_BYTES);
    mg_embedded_each("adapters/", put_name, &known);
    mg_err err = mg_diag_set(diag, MG_E_CONFIG, "", 0, "there is no adapter \"%s\"; there are %.*s", name, MG_FMT(mg_buf_view(&known)));
    mg_buf_fini(&known);
    return err;
}

static mg_err run(struct loader *loader, struct mg_adapter_decl *out_decl, struct mg_diag *diag)
{
    struct mg_lua lua = {.kind = MG_LUA_TRUSTED};
    struct mg_lua_run run = {.phase = MG_LUA_PHASE_load, .load_name = loader->file};
    struct mg_adapter_decl decl = {.name = NULL};
    loader->decl = &decl;
    MG_TRY(mg_sandbox_open(&lua, "moongate", diag));
    enum mg_lua_end end = mg_lua_enter(&lua, &run, MG_LUA_SETUP_US, load, loader);
    mg_err err = MG_OK;
    if (end == MG_LUA_ENDED)
        *out_decl = decl;
    else
        err = mg_diag_set(diag, MG_E_CONFIG, loader->file, 0, "%.*s", (int)strcspn(lua.trace, "\n"), lua.trace);
    mg_sandbox_close(&lua);
    return err;
}

mg_err mg_adapter_load_spoken(const char *name, int speaks, struct mg_arena *arena, struct mg_adapter_decl *out_decl,
                              struct mg_diag *diag)
{
    char file[MG_ADAPTER_FILE_BYTES];
    if (!mg_adapter_file(name, file))
        return refuse_unknown(name, diag);
    struct loader loader = {.name = name, .file = file, .speaks = speaks + 1, .arena = arena};
    return run(&loader, out_decl, diag);
}

mg_err mg_adapter_load(const char *name, struct mg_arena *arena, struct mg_adapter_decl *out_decl, struct mg_diag *diag)
{
    return mg_adapter_load_spoken(name, -1, arena, out_decl, diag);
}

static int load(lua_State *L)
{
    static const char *const names[] = {
        "name",          "dialect",      "base_url",   "converse",   "speaks",          "auth",           "headers",      "forward",
        "vars",          "framing",      "limits",     "operations", "usage_opt_in",    "usage",          "answer",       "chunk",
        "error",         "done",         "done_events", "finish_failed", "finish_cut",   "finish_filtered", "finish_refused",
        "finish_later",  "finish_done",  "rules",      "repairs",    "edits",           "params",         NULL};
    struct loader *loader = mg_lua_of(L)->body_arg;
    mg_adapter_push(L, loader->name);
    if (loader->speaks)
        mg_adapter_push_spoken(L, lua_gettop(L), loader->speaks);
    int table = lua_gettop(L);
    mg_lua_only(L, table, "adapter", names);

    read_identity(L, loader, table);
    read_auth(L, loader, table);
    read_operations(L, loader, table);
    read_usage(L, loader, table);
    read_parts(L, loader, table, "answer");
    read_parts(L, loader, table, "chunk");
    read_error(L, loader, table);
    read_finish(L, loader, table);
    read_rules(L, loader, table);
    read_repairs(L, loader, table);
    read_edits(L, loader, table);
    return 0;
}

/* ---- reading --------------------------------------------------------------------------------- */

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

/* A table of names and texts. */
static int read_pairs(lua_State *L, struct loader *loader, int table, const char *name, struct mg_adapter_pair *out, int max)
{
    int pairs = open_table(L, table, name, NULL), count = 0;
    if (!pairs)
        return 0;
    for (lua_pushnil(L); lua_next(L, pairs); lua_pop(L, 1)) {
        int value = lua_gettop(L);
        if (count == max)
            luaL_error(L, "'%s' has more than %d rows", name, max);
        out[count].name = mg_arena_dup(loader->arena, mg_lua_text(L, value - 1, name)).ptr;
        out[count++].value = mg_arena_dup(loader->arena, mg_lua_text(L, value, name)).ptr;
    }
    lua_settop(L, table);
    return count;
}

static void read_speaks(lua_State *L, struct loader *loader, int table)
{
    struct mg_adapter_decl *decl = loader->decl;
    int list = open_table(L, table, "speaks", NULL);
    int count = list ? (int)lua_objlen(L, list) : 0;
    if (count > MG_ADAPTER_SPEAKS)
        luaL_error(L, "'speaks' has more than %d rows", (int)MG_ADAPTER_SPEAKS);
    for (int i = 0; i < count; i++) {
        char file[MG_ADAPTER_FILE_BYTES];
        lua_rawgeti(L, list, i + 1);
        int entry = lua_gettop(L);
        mg_view name = lua_istable(L, entry) ? mg_lua_field_text(L, entry, "extends", "speaks", MG_VIEW(""))
                                             : mg_lua_text(L, entry, "speaks");
        decl->speaks[i] = mg_arena_dup(loader->arena, name).ptr;
        if (!mg_adapter_file(decl->speaks[i], file))
            luaL_error(L, "speaks: there is no adapter \"%s\"", decl->speaks[i]);
    }
    decl->speaks_count = count;
    lua_settop(L, table);
}

static void read_framing(lua_State *L, struct loader *loader, int table)
{
    static const char *const names[] = {"sse", "eventstream", "ndjson"};
    mg_view name = mg_lua_field_text(L, table, "framing", "adapter", MG_VIEW("sse"));
    for (size_t i = 0; i < MG_COUNT(names); i++)
        if (mg_view_eq(name, mg_view_cstr(names[i]))) {
            loader->decl->framing = (enum mg_framing)i;
            return;
        }
    luaL_error(L, "adapter: there is no framing \"%s\"", name.ptr);
}

static void read_identity(lua_State *L, struct loader *loader, int table)
{
    struct mg_adapter_decl *decl = loader->decl;
    decl->name = need_text(L, loader, table, "name", "adapter");
    decl->dialect = need_text(L, loader, table, "dialect", "adapter");
    decl->base_url = read_text(L, loader, table, "base_url", "adapter");
    decl->done = read_text(L, loader, table, "done", "adapter");
    decl->done_events = read_texts(L, loader, table, "done_events");
    decl->forward = read_texts(L, loader, table, "forward");
    decl->header_count = read_pairs(L, loader, table, "headers", decl->headers, MG_ADAPTER_HEADERS);
    decl->var_count = read_pairs(L, loader, table, "vars", decl->vars, MG_ADAPTER_VARS);
    read_framing(L, loader, table);
    read_speaks(L, loader, table);
    read_limits(L, loader, table);
}

static void read_opt_in(lua_State *L, struct loader *loader, int table)
{
    static const char *const names[] = {"field", "member", "always", NULL};
    int opt_in = open_table(L, table, "usage_opt_in", names);
    bool asks = opt_in && !mg_lua_field_boolean(L, opt_in, "always", "usage_opt_in", false);
    loader->decl->usage_optional = opt_in;
    if (asks) {
        loader->decl->usage_opt_in_field = need_text(L, loader, opt_in, "field", "usage_opt_in");
        loader->decl->usage_opt_in_member = need_text(L, loader, opt_in, "member", "usage_opt_in");
    }
    lua_settop(L, table);
}

/* What a kind says when the row does not. */
static struct mg_adapter_auth usual_auth(enum mg_auth_kind kind)
{
    struct mg_adapter_auth auth = {.kind = kind, .header = "", .prefix = ""};
    if (kind == MG_AUTH_bearer || kind == MG_AUTH_gcp || kind == MG_AUTH_entra) {
        auth.header = "authorization";
        auth.prefix = "Bearer ";
    }
    if (kind == MG_AUTH_sigv4)
        auth.header = "authorization";
    return auth;
}

static void read_one_auth(lua_State *L, struct loader *loader, int row)
{
    static const char *const names[] = {"kind", "header", "prefix", "query", "service", "scope", NULL};
    struct mg_adapter_decl *decl = loader->decl;
    enum mg_auth_kind kind;
    mg_lua_table(L, row, "auth");
    mg_lua_only(L, row, "auth", names);
    const char *name = need_text(L, loader, row, "kind", "auth");
    if (!mg_auth_kind_find(mg_view_cstr(name), &kind))
        luaL_error(L, "auth: there is no kind \"%s\"", name);
    if (decl->auth_count == MG_ADAPTER_AUTHS)
        luaL_error(L, "'auth' has more than %d rows", (int)MG_ADAPTER_AUTHS);
    struct mg_adapter_auth *auth = &decl->auth[decl->auth_count++];
    *auth = usual_auth(kind);
    const char *header = read_text(L, loader, row, "header", "auth"), *prefix = read_text(L, loader, row, "prefix", "auth");
    auth->header = header ? header : auth->header;
    auth->prefix = prefix ? prefix : auth->prefix;
    if (kind == MG_AUTH_header && !auth->header[0])
        luaL_error(L, "auth: field 'header' is missing");
    if (kind == MG_AUTH_query)
        auth->query = need_text(L, loader, row, "query", "auth");
    if (kind == MG_AUTH_sigv4)
        auth->service = need_text(L, loader, row, "service", "auth");
    if (kind == MG_AUTH_gcp || kind == MG_AUTH_entra)
        auth->scope = need_text(L, loader, row, "scope", "auth");
}

/* One row, or a list of them: the first is the usual one. */
static void read_auth(lua_State *L, struct loader *loader, int table)
{
    int auth = open_table(L, table, "auth", NULL);
    if (!auth)
        luaL_error(L, "adapter: field 'auth' is missing");
    if (lua_objlen(L, auth) == 0)
        read_one_auth(L, loader, auth);
    for (int i = 1; i <= (int)lua_objlen(L, auth); i++) {
        lua_rawgeti(L, auth, i);
        read_one_auth(L, loader, lua_gettop(L));
        lua_settop(L, auth);
    }
    lua_settop(L, table);
    read_opt_in(L, loader, table);
}

static const char *read_path(lua_State *L, struct loader *loader, int table, const char *name, const char *surface)
{
    const char *path = read_text(L, loader, table, name, surface);
    if (path && path[0] != '/')
        luaL_error(L, "operations: '%s' must begin with a slash", surface);
    return path;
}

static void read_operation(lua_State *L, struct loader *loader, int operations, const char *surface)
{
    static const char *const names[] = {"path", "stream_path", NULL};
    struct mg_adapter_operation operation = {.surface = surface};
    lua_getfield(L, operations, surface);
    int row = lua_gettop(L);
    if (lua_istable(L, row)) {
        mg_lua_only(L, row, surface, names);
        operation.path = read_path(L, loader, row, "path", surface);
        operation.stream_path = read_path(L, loader, row, "stream_path", surface);
    } else if (!lua_isnil(L, row)) {
        operation.path = read_path(L, loader, operations, surface, surface);
    }
    lua_settop(L, operations);
    if (!operation.path)
        return;
    if (!operation.stream_path)
        operation.stream_path = operation.path;
    loader->decl->operations[loader->decl->operation_count++] = operation;
}

static void read_operations(lua_State *L, struct loader *loader, int table)
{
    static const char *const surfaces[] = {
        "chat",   "responses",   "completions",  "embeddings",   "messages",     "count_tokens",         "generate",
        "embed",  "models",      "images",       "image_edits",  "audio_speech", "audio_transcriptions", "audio_translations",
        "files",  "moderations", "rerank",       "response_tokens", "batch_embed", "converse", "image_variations",
        "file", "file_content", NULL};
    struct mg_adapter_decl *decl = loader->decl;
    int operations = open_table(L, table, "operations", surfaces);
    if (!operations)
        luaL_error(L, "adapter: field 'operations' is missing");
    for (int i = 0; surfaces[i]; i++)
        read_operation(L, loader, operations, surfaces[i]);
    decl->converse = need_text(L, loader, table, "converse", "adapter");
    lua_getfield(L, operations, decl->converse);
    if (lua_isnil(L, -1))
        luaL_error(L, "adapter: 'converse' names no operation: \"%s\"", decl->converse);
    lua_settop(L, table);
}

static uint8_t read_counters(lua_State *L, int usage, const char *name)
{
    static const char *const counters[] = {"cached_read", "cached_write", "reasoning"};
    int top = lua_gettop(L), list = usage ? open_table(L, usage, name, NULL) : 0;
    uint8_t found = 0;
    for (int i = 1; list && i <= (int)lua_objlen(L, list); i++) {
        lua_rawgeti(L, list, i);
        mg_view counter = mg_lua_text(L, lua_gettop(L), name);
        size_t k = 0;
        while (k < MG_COUNT(counters) && !mg_view_eq(counter, mg_view_cstr(counters[k])))
            k++;
        if (k == MG_COUNT(counters))
            luaL_error(L, "usage: '%s' cannot be left out of a sum", counter.ptr);
        found |= (uint8_t)(1u << k);
        lua_pop(L, 1);
    }
    lua_settop(L, top);
    return found;
}

static void read_usage(lua_State *L, struct loader *loader, int table)
{
    static const char *const names[] = {"object",            "input",     "input_more",  "output",       "total",    "cached_read", "cached_write",
                                        "cached_write_long", "reasoning", "input_audio", "output_audio", "model",    "tier",
                                        "excludes",          "may_exclude", "partial",   "seconds", "searches", NULL};
    struct mg_adapter_decl *decl = loader->decl;
    int usage = open_table(L, table, "usage", names);
    read_paths(L, loader, usage, "object", decl->usage_object);
#define READ(counter) read_paths(L, loader, usage, #counter, decl->usage.counter)
    READ(input);
    READ(input_more);
    READ(output);
    READ(total);
    READ(cached_read);
    READ(cached_write);
    READ(cached_write_long);
    READ(reasoning);
    READ(input_audio);
    READ(output_audio);
    READ(seconds);
    READ(searches);
    READ(model);
    READ(tier);
#undef READ
    decl->usage.excludes = read_counters(L, usage, "excludes");
    decl->usage.may_exclude = read_counters(L, usage, "may_exclude");
    decl->usage.partial = usage && mg_lua_field_boolean(L, usage, "partial", "usage", false);
    lua_settop(L, table);
}

/* by = { ["word"] = "content", ["word other"] = "tool_name" }: a second tag has its word behind a blank */
static void read_senses(lua_State *L, struct loader *loader, int row, struct mg_adapter_typed *out)
{
    int by = open_table(L, row, "by", NULL), count = 0;
    for (lua_pushnil(L); by && lua_next(L, by); lua_pop(L, 1))
        count++;
    struct mg_adapter_sense *senses = mg_arena_array(loader->arena, struct mg_adapter_sense, (size_t)count + 1);
    out->senses = senses;
    for (lua_pushnil(L); by && lua_next(L, by); lua_pop(L, 1)) {
        int value = lua_gettop(L);
        mg_view words = mg_lua_text(L, value - 1, "by");
        size_t blank = out->tag2 ? mg_view_find(words, " ") : words.len;
        senses[out->sense_count++] = (struct mg_adapter_sense){
            .word = mg_arena_dup(loader->arena, mg_view_head(words, blank)).ptr,
            .word2 = out->tag2 ? mg_arena_dup(loader->arena, mg_view_skip(words, blank + 1)).ptr : NULL,
            .means = mg_arena_dup(loader->arena, mg_lua_text(L, value, "by")).ptr,
        };
    }
    lua_settop(L, row);
}

static void read_typed(lua_State *L, struct loader *loader, int parts, struct mg_adapter_parts *out)
{
    static const char *const names[] = {"path", "tag", "tag2", "by", "otherwise", NULL};
    int list = open_table(L, parts, "typed", NULL), count = list ? (int)lua_objlen(L, list) : 0;
    if (count > MAX_TYPED)
        luaL_error(L, "'typed' has more than %d rows", (int)MAX_TYPED);
    struct mg_adapter_typed *rows = mg_arena_array(loader->arena, struct mg_adapter_typed, (size_t)count + 1);
    out->typed = rows;
    out->typed_count = count;
    for (int i = 0; i < count; i++) {
        lua_rawgeti(L, list, i + 1);
        int row = lua_gettop(L);
        mg_lua_table(L, row, "typed");
        mg_lua_only(L, row, "typed", names);
        rows[i] = (struct mg_adapter_typed){
            .path = need_text(L, loader, row, "path", "typed"),
            .tag = read_text(L, loader, row, "tag", "typed"),
            .tag2 = read_text(L, loader, row, "tag2", "typed"),
            .otherwise = read_text(L, loader, row, "otherwise", "typed"),
        };
        read_senses(L, loader, row, &rows[i]);
        lua_settop(L, list);
    }
    lua_settop(L, parts);
}

static void read_parts(lua_State *L, struct loader *loader, int table, const char *name)
{
    static const char *const names[] = {"image",      "item",       "index",   "content",   "reasoning",      "tool_call", "refusal", "finish", "data",
                                        "tool_index", "tool_id", "tool_name", "tool_arguments", "type",      "block",   "blocked",
                                        "rare",       "typed",   NULL};
    struct mg_adapter_decl *decl = loader->decl;
    struct mg_adapter_parts *out = strcmp(name, "answer") == 0 ? &decl->answer : &decl->chunk;
    int parts = open_table(L, table, name, names);
    if (!parts)
        luaL_error(L, "adapter: field '%s' is missing", name);
#define READ(part) read_paths(L, loader, parts, #part, out->part)
    READ(item);
    READ(index);
    READ(content);
    READ(reasoning);
    READ(tool_call);
    READ(refusal);
    READ(image);
    READ(finish);
    READ(data);
    READ(tool_index);
    READ(tool_id);
    READ(tool_name);
    READ(tool_arguments);
    READ(type);
    READ(block);
    READ(blocked);
    READ(rare);
#undef READ
    read_typed(L, loader, parts, out);
    lua_settop(L, table);
}

static void read_error(lua_State *L, struct loader *loader, int table)
{
    static const char *const names[] = {"object", "type",        "code", "message",     "param",       "events",
                                        "detail", "retry_after", "mark", "retry_texts", "type_header", NULL};
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
    decl->error_events = read_texts(L, loader, error, "events");
    decl->error_type_header = read_text(L, loader, error, "type_header", "error");
    lua_settop(L, table);
}

static void read_finish(lua_State *L, struct loader *loader, int table)
{
    loader->decl->finish_failed = read_texts(L, loader, table, "finish_failed");
    loader->decl->finish_cut = read_texts(L, loader, table, "finish_cut");
    loader->decl->finish_filtered = read_texts(L, loader, table, "finish_filtered");
    loader->decl->finish_refused = read_texts(L, loader, table, "finish_refused");
    loader->decl->finish_later = read_texts(L, loader, table, "finish_later");
    loader->decl->finish_done = read_texts(L, loader, table, "finish_done");
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

static const char *read_json(lua_State *L, struct loader *loader, int value, const char *what)
{
    struct mg_buf *json = mg_lua_scratch(L, MAX_SET_BYTES);
    mg_lua_must_json(L, value, json, what);
    const char *text = mg_arena_dup(loader->arena, mg_buf_view(json)).ptr;
    mg_lua_scratch_end(json);
    return text;
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
    if (sets)
        out->to = read_json(L, loader, lua_gettop(L), what);
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

/* A row for each of its fields. */
static void read_edit_row(lua_State *L, struct loader *loader, int row)
{
    static const char *const names[] = {"fields", "rename", "set", NULL};
    struct mg_adapter_decl *decl = loader->decl;
    struct mg_body_edit edit;
    mg_lua_table(L, row, "edits");
    mg_lua_only(L, row, "edits", names);
    read_edit(L, loader, row, "edits", &edit);
    mg_adapter_texts field = read_texts(L, loader, row, "fields");
    if (!field || !*field)
        luaL_error(L, "edits: field 'fields' is missing");
    for (; *field; field++) {
        if (decl->edit_count == MG_ADAPTER_EDITS)
            luaL_error(L, "more than %d edits", (int)MG_ADAPTER_EDITS);
        edit.field = *field;
        decl->edits[decl->edit_count++] = edit;
    }
}

static void read_edits(lua_State *L, struct loader *loader, int table)
{
    int list = open_table(L, table, "edits", NULL), count = list ? (int)lua_objlen(L, list) : 0;
    for (int i = 1; i <= count; i++) {
        lua_rawgeti(L, list, i);
        read_edit_row(L, loader, lua_gettop(L));
        lua_settop(L, list);
    }
    lua_settop(L, table);
    int params = open_table(L, table, "params", NULL);
    if (params)
        loader->decl->params = read_json(L, loader, params, "params");
    lua_settop(L, table);
}
