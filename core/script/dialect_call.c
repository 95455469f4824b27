/* Loading a dialect, and what its functions are called with: the decoded document and the context. */
#include "script/dialect_call.h"

#include <stdio.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "meter/models.h"
#include "script/args.h"
#include "script/json_lua.h"
#include "script/sandbox.h"

/* The registry has what every context shares under this number. */
enum { CTX_META = 0x6d670900, BURST_US = 100000, MAX_RAW_PATHS = 32 };

mg_err mg_dialect_run(struct mg_dialect_job *job, lua_CFunction body, const char *what)
{
    struct mg_lua *lua = &job->trusted->lua;
    struct mg_lua_run stay = {.phase = MG_LUA_PHASE_load, .load_name = "lua/dialects"};
    enum mg_lua_end end = mg_lua_enter(lua, &stay, BURST_US, body, job);
    if (lua->late) {
        lua->late = 0;
        mg_log_warn("lua.slow", "dialect=%s", what);
    }
    if (end == MG_LUA_ENDED)
        return MG_OK;
    if (job->refused)
        return MG_E_BAD_REQUEST;
    mg_log_error("dialect.failed", "%s: %s", what, lua->trace);
    return MG_E_SCRIPT;
}

/* ---- loading ----------------------------------------------------------------------------------- */

static void get_field(lua_State *L, int table, const char *name, int type, const char *what)
{
    lua_getfield(L, table, name);
    if (lua_type(L, -1) != type)
        luaL_error(L, "%s: field '%s' is a %s", what, name, luaL_typename(L, -1));
}

static struct mg_json_paths *read_raw(lua_State *L, int table, const char *name, const char *what)
{
    const char *texts[MAX_RAW_PATHS];
    size_t count = 0;
    lua_getfield(L, table, name);
    int list = lua_gettop(L);
    for (; lua_istable(L, list) && count < lua_objlen(L, list); count++) {
        if (count == MAX_RAW_PATHS)
            luaL_error(L, "%s: more than %d paths of 'raw.%s'", what, (int)MAX_RAW_PATHS, name);
        lua_rawgeti(L, list, (int)count + 1);
        texts[count] = luaL_checkstring(L, -1);
        lua_pop(L, 1);                 /* the list keeps it */
    }
    lua_pop(L, 1);
    struct mg_json_paths *paths = count ? mg_json_paths_try_new(texts, count) : NULL;
    if (count && !paths)
        luaL_error(L, "%s: a path of 'raw.%s' is none", what, name);
    return paths;
}

static bool read_flag(lua_State *L, int table, const char *name)
{
    lua_getfield(L, table, name);
    bool is = lua_toboolean(L, -1);
    lua_pop(L, 1);
    return is;
}

static int load_dialect(lua_State *L)
{
    struct mg_dialect_job *job = mg_lua_of(L)->body_arg;
    struct mg_trusted *trusted = job->trusted;
    struct mg_lua_dialect *dialect = &trusted->dialects[trusted->dialect_count];
    char file[64];
    snprintf(file, sizeof file, "dialects/%s.lua", job->name);
    mg_trusted_run_file(L, file);
    int table = lua_gettop(L);
    luaL_checktype(L, table, LUA_TTABLE);
    snprintf(dialect->name, sizeof dialect->name, "%s", job->name);
    get_field(L, table, "raw", LUA_TTABLE, file);
    int raw = lua_gettop(L);
    dialect->raw_request = read_raw(L, raw, "request", file);
    dialect->raw_answer = read_raw(L, raw, "answer", file);
    dialect->raw_event = read_raw(L, raw, "event", file);
    lua_getfield(L, table, "stream");
    if (lua_istable(L, -1)) {
        int stream = lua_gettop(L);
        dialect->style = (struct mg_stream_style){read_flag(L, stream, "one_block"), read_flag(L, stream, "wants_text")};
        dialect->wants_request = read_flag(L, stream, "wants_request");
    }
    lua_pushvalue(L, table);
    dialect->ref = luaL_ref(L, LUA_REGISTRYINDEX);
    return 0;
}

static const struct mg_lua_dialect *find(struct mg_trusted *trusted, const char *name)
{
    for (int i = 0; i < trusted->dialect_count; i++)
        if (strcmp(trusted->dialects[i].name, name) == 0)
            return &trusted->dialects[i];
    return NULL;
}

static void drop(struct mg_lua_dialect *dialect)
{
    mg_json_paths_free(dialect->raw_request);
    mg_json_paths_free(dialect->raw_answer);
    mg_json_paths_free(dialect->raw_event);
}

const struct mg_lua_dialect *mg_dialect_of(struct mg_trusted *trusted, const char *name)
{
    const struct mg_lua_dialect *found = find(trusted, name);
    if (found || trusted->dialect_count == MG_DIALECTS)
        return found;
    struct mg_lua_dialect *fresh = &trusted->dialects[trusted->dialect_count];
    struct mg_dialect_job job = {.trusted = trusted, .name = name};
    *fresh = (struct mg_lua_dialect){.ref = LUA_NOREF};
    if (mg_dialect_run(&job, load_dialect, name) != MG_OK) {
        drop(fresh);
        return NULL;
    }
    trusted->dialect_count++;
    return fresh;
}

void mg_trusted_dialects_free(struct mg_trusted *trusted)
{
    for (int i = 0; i < trusted->dialect_count; i++)
        drop(&trusted->dialects[i]);
    trusted->dialect_count = 0;
    mg_buf_fini(&trusted->written);
}

/* ---- documents --------------------------------------------------------------------------------- */

struct raw_spans {
    struct mg_arena *arena;
    mg_view *items;
    size_t count, cap;
};

/* Hits come in the order of their ends: what stands inside this one came before it, and goes. */
static mg_err on_raw(void *arg, const struct mg_json_hit *hit)
{
    struct raw_spans *spans = arg;
    while (spans->count && spans->items[spans->count - 1].ptr >= hit->value.ptr)
        spans->count--;
    if (spans->count == spans->cap) {
        size_t cap = spans->cap ? spans->cap * 2 : 16;
        mg_view *grown = mg_arena_array(spans->arena, mg_view, cap);
        if (spans->count)
            memcpy(grown, spans->items, spans->count * sizeof *grown);
        spans->items = grown;
        spans->cap = cap;
    }
    spans->items[spans->count++] = hit->value;
    return MG_OK;
}

mg_err mg_lua_take_document(struct mg_arena *arena, mg_view body, const struct mg_json_paths *raw, struct mg_lua_document *out_document)
{
    struct raw_spans spans = {.arena = arena};
    MG_TRY(mg_json_scan(body, raw, on_raw, &spans, NULL));
    *out_document = (struct mg_lua_document){body, spans.items, spans.count};
    return MG_OK;
}

mg_err mg_dialect_take(struct mg_dialect_job *job, mg_view body, const struct mg_json_paths *raw)
{
    return mg_lua_take_document(job->arena, body, raw, &job->document);
}

void mg_dialect_push(lua_State *L, const struct mg_dialect_job *job)
{
    mg_lua_push_json_exact(L, job->document.body, job->document.raw, job->document.raw_count);
}

void mg_dialect_push_method(lua_State *L, const struct mg_lua_dialect *dialect, const char *name)
{
    lua_rawgeti(L, LUA_REGISTRYINDEX, dialect->ref);
    lua_getfield(L, -1, name);
    lua_remove(L, -2);
    if (!lua_isfunction(L, -1))
        luaL_error(L, "dialect %s has no %s", dialect->name, name);
}

/* … or what it does with a task. */
static void push_task(lua_State *L, const struct mg_lua_dialect *dialect, const char *task, const char *name)
{
    lua_rawgeti(L, LUA_REGISTRYINDEX, dialect->ref);
    const char *const at[] = {"tasks", task, name};
    for (size_t i = 0; i < MG_COUNT(at) && lua_istable(L, -1); i++) {
        lua_getfield(L, -1, at[i]);
        lua_remove(L, -2);
    }
    if (!lua_isfunction(L, -1))
        luaL_error(L, "dialect %s has no tasks.%s.%s", dialect->name, task, name);
}

void mg_dialect_push_function(lua_State *L, const struct mg_lua_dialect *dialect, const struct mg_dialect_job *job, const char *name)
{
    if (job->what->task)
        push_task(L, dialect, job->what->task, name);
    else
        mg_dialect_push_method(L, dialect, name);
}

void mg_dialect_set_text(lua_State *L, const char *name, mg_view text)
{
    if (!text.len)
        return;
    mg_lua_push_view(L, text);
    lua_setfield(L, -2, name);
}

void mg_dialect_set_flag(lua_State *L, const char *name, bool is)
{
    if (!is)
        return;
    lua_pushboolean(L, is);
    lua_setfield(L, -2, name);
}

void mg_dialect_set_number(lua_State *L, const char *name, double number)
{
    lua_pushnumber(L, number);
    lua_setfield(L, -2, name);
}

/* ---- the context ------------------------------------------------------------------------------- */

static void join(struct mg_arena *arena, mg_view *list, mg_view name)
{
    if (list->len + name.len + 1 <= MG_WARNING_BYTES)
        *list = mg_arena_printf(arena, "%.*s%s%.*s", MG_FMT(*list), list->len ? "," : "", MG_FMT(name));
}

/* Names go into a header line. */
static bool is_name(mg_view name)
{
    for (size_t i = 0; i < name.len; i++)
        if (name.ptr[i] <= 0x20 || name.ptr[i] > 0x7e || name.ptr[i] == ',')
            return false;
    return name.len > 0 && name.len <= 64;
}

static int ctx_drop(lua_State *L)
{
    struct mg_dialect_job *job = mg_lua_of(L)->body_arg;
    mg_view name = mg_lua_text(L, 1, "drop: field");
    if (job->report && is_name(name))
        join(job->arena, &job->report->dropped, name);
    return 0;
}

static int ctx_refuse(lua_State *L)
{
    struct mg_dialect_job *job = mg_lua_of(L)->body_arg;
    mg_view param = mg_lua_opt_text(L, 1, "refuse: param", MG_VIEW_NONE);
    mg_view message = mg_lua_text(L, 2, "refuse: message");
    bool always = lua_toboolean(L, 3);
    mg_view code = mg_lua_opt_text(L, 4, "refuse: code", MG_VIEW_NONE);
    if (!job->report)
        return 0;
    if (job->what->lenient && !always) {
        if (is_name(param))
            join(job->arena, &job->report->dropped, param);
        return 0;
    }
    job->report->param = mg_arena_dup(job->arena, param);
    job->report->message = mg_arena_dup(job->arena, message);
    job->report->code = mg_arena_dup(job->arena, code);
    job->report->always = always;
    job->refused = true;
    return luaL_error(L, "refused");
}

/* What the catalogue does not say is absent: the dialect then goes by what it knows of names itself, or tries. */
static void push_caps(lua_State *L, const struct mg_translation *what)
{
    const struct mg_model *known = what->known;
    lua_createtable(L, 0, 4);
    mg_dialect_set_flag(L, "prefill", what->prefill || (known && known->can[MG_ABILITY_prefill] == MG_KNOWN_YES));
    if (what->max_output)
        mg_dialect_set_number(L, "max_output", what->max_output);
    if (known && known->can[MG_ABILITY_reasoning] != MG_NOT_KNOWN) {
        lua_pushboolean(L, known->can[MG_ABILITY_reasoning] == MG_KNOWN_YES);
        lua_setfield(L, -2, "reasoning");
    }
    if (known && known->refuses) {
        lua_pushfstring(L, "%s%s", known->refuses, known->can[MG_ABILITY_prefill] == MG_KNOWN_NO ? " prefill" : "");
        lua_setfield(L, -2, "refuses");
    }
}

/* The functions stand once in a table behind all contexts. */
static void push_ctx_meta(lua_State *L)
{
    lua_rawgeti(L, LUA_REGISTRYINDEX, CTX_META);
    if (!lua_isnil(L, -1))
        return;
    lua_pop(L, 1);
    lua_createtable(L, 0, 3);
    lua_pushcfunction(L, ctx_drop);
    lua_pushvalue(L, -1);
    lua_setfield(L, -3, "drop");
    lua_setfield(L, -2, "warn");
    lua_pushcfunction(L, ctx_refuse);
    lua_setfield(L, -2, "refuse");
    lua_createtable(L, 0, 1);
    lua_insert(L, -2);
    lua_setfield(L, -2, "__index");
    lua_pushvalue(L, -1);
    lua_rawseti(L, LUA_REGISTRYINDEX, CTX_META);
}

void mg_dialect_push_ctx(lua_State *L, const struct mg_dialect_job *job)
{
    const struct mg_translation *what = job->what;
    lua_createtable(L, 0, 12);
    mg_dialect_set_text(L, "model", what->model);
    mg_dialect_set_text(L, "asked_model", what->asked_model);
    mg_dialect_set_text(L, "vendor", mg_view_cstr(what->vendor));
    mg_dialect_set_text(L, "id", what->id);
    mg_dialect_set_text(L, "client", mg_view_cstr(what->client));
    mg_dialect_set_text(L, "provider", mg_view_cstr(what->provider));
    mg_dialect_set_flag(L, "stream", what->stream);
    mg_dialect_set_flag(L, "lenient", what->lenient);
    mg_dialect_set_flag(L, "include_usage", what->include_usage);
    mg_dialect_set_number(L, "created", (double)what->created_s);
    if (what->memo.len) {
        mg_lua_push_json_exact(L, what->memo, NULL, 0);
        lua_setfield(L, -2, "memo");
    }
    if (what->prefill || what->max_output || what->known) {
        push_caps(L, what);
        lua_setfield(L, -2, "caps");
    }
    push_ctx_meta(L);
    lua_setmetatable(L, -2);
}
