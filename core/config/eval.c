#include "config/eval.h"

#include <lauxlib.h>
#include <luajit.h>
#include <lualib.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#include "base/clock.h"
#include "base/embed.h"
#include "base/fault.h"
#include "base/limits.h"
#include "base/mem.h"
#include "config/file.h"
#include "http/json_schema.h"

enum {
    MAX_BYTES = 32 << 20,
    SPARE_BYTES = 16 << 20,
    MAX_CPU_MS = 1000,
    INSTRUCTIONS_PER_LOOK = 10000
};

static int run(lua_State *L);
static void take_errors(struct mg_eval *eval, lua_State *L, int index);
static void report(struct mg_eval *eval, const char *file, int line, const char *text);
static void report_crash(struct mg_eval *eval, const char *message);
static void *allocate(void *arg, void *ptr, size_t old_size, size_t size);
static void look(lua_State *L, lua_Debug *activation);
static void find_culprit(struct mg_eval *eval, lua_State *L);
static struct mg_eval *eval_of(lua_State *L);
static void open_host(lua_State *L);

mg_err mg_eval_run(struct mg_eval *eval)
{
    eval->max_bytes = MAX_BYTES;
    mg_buf_init(&eval->file_text, MG_MAX_LUA_SOURCE_BYTES);
    lua_State *L = lua_newstate(allocate, eval);
    if (!L) {
        report(eval, eval->file, 0, "there is no memory to read it");
        return MG_E_CONFIG;
    }
    eval->open = true;
    luaJIT_setmode(L, 0, LUAJIT_MODE_ENGINE | LUAJIT_MODE_OFF);
    eval->stop_us = mg_thread_cpu_us() + MAX_CPU_MS * 1000;
    int failed = lua_cpcall(L, run, eval);
    lua_sethook(L, NULL, 0, 0);
    if (failed)
        report_crash(eval, lua_isstring(L, -1) ? lua_tostring(L, -1)
                                               : "it raised a value that is not a text");
    lua_close(L);
    mg_buf_fini(&eval->file_text);
    return eval->filled || eval->absent ? MG_OK : MG_E_CONFIG;
}

static int run(lua_State *L)
{
    struct mg_eval *eval = lua_touserdata(L, 1);
    lua_pushlightuserdata(L, eval);
    lua_setfield(L, LUA_REGISTRYINDEX, "eval");
    open_host(L); /* pushes what lua/boot/config.lua returns */
    lua_getfield(L, -1, eval->function);
    lua_pushstring(L, eval->file);
    lua_pushstring(L, eval->dir);
    bool gateway = strcmp(eval->function, "gateway") == 0;
    if (!gateway)
        lua_pushstring(L, eval->name);
    lua_pushstring(L, eval->text); /* nil when NULL */
    lua_sethook(L, look, LUA_MASKCOUNT, INSTRUCTIONS_PER_LOOK);
    lua_call(L, gateway ? 3 : 4, 2);
    lua_sethook(L, NULL, 0, 0);

    int flat = lua_gettop(L) - 1;
    take_errors(eval, L, flat + 1);
    eval->absent = lua_isnil(L, flat) && eval->report->total == 0;
    if (!lua_isnil(L, flat)) {
        eval->fill(eval, L, flat);
        eval->filled = true;
    }
    return 0;
}

/* ---- errors */

static void take_errors(struct mg_eval *eval, lua_State *L, int index)
{
    for (int i = 1; lua_istable(L, index); i++) {
        lua_rawgeti(L, index, i);
        if (lua_isnil(L, -1))
            break;
        lua_getfield(L, -1, "file");
        lua_getfield(L, -2, "line");
        lua_getfield(L, -3, "text");
        report(eval, lua_tostring(L, -3), (int)lua_tointeger(L, -2), lua_tostring(L, -1));
        lua_pop(L, 4);
    }
}

/* Keeps them sorted by file and line; the last ones fall off. */
static void report(struct mg_eval *eval, const char *file, int line, const char *text)
{
    struct mg_config_report *out = eval->report;
    out->total++;
    int at = out->count;
    while (at > 0 && strcmp(out->diags[at - 1].file, file) == 0 && out->diags[at - 1].line > line)
        at--;
    if (at == MG_CONFIG_DIAGS)
        return;
    if (out->count < MG_CONFIG_DIAGS)
        out->count++;
    memmove(&out->diags[at + 1], &out->diags[at],
            (size_t)(out->count - at - 1) * sizeof out->diags[0]);
    (void)mg_diag_set(&out->diags[at], MG_E_CONFIG, file, line, "%s", text);
}

static void report_crash(struct mg_eval *eval, const char *message)
{
    if (!eval->stopped) {
        report(eval, eval->file, 0, message);
        return;
    }
    const char *file = eval->stop_chunk > 0 && eval->stop_chunk <= eval->chunk_count
                           ? eval->chunks[eval->stop_chunk - 1]
                           : eval->file;
    report(eval, file, eval->stop_line,
           "reading was stopped after 1 s of work; is there a loop that does not end?");
}

/* ---- limits */

/* Wipes what it gives back: secrets pass through here. */
static void *allocate(void *arg, void *ptr, size_t old_size, size_t size)
{
    struct mg_eval *eval = arg;
    size_t old = ptr ? old_size : 0;
    if (eval->open && size > old && mg_fault(MG_FAULT_LUA_ALLOC))
        return NULL;
    if (size > old && eval->used_bytes + (size - old) > eval->max_bytes) {
        eval->max_bytes = MAX_BYTES + SPARE_BYTES; /* once, so that the report has room */
        return NULL;
    }
    void *fresh = NULL;
    if (size > 0) {
        fresh = mg_try_realloc(NULL, size);
        if (!fresh)
            return NULL;
        if (ptr)
            memcpy(fresh, ptr, MG_MIN(old, size));
    }
    if (ptr) {
        mg_wipe(ptr, old);
        mg_free(ptr);
    }
    eval->used_bytes = eval->used_bytes + size - old;
    return fresh;
}

/* Once the time is up every instruction raises, so that no pcall can go on. */
static void look(lua_State *L, lua_Debug *activation)
{
    struct mg_eval *eval = eval_of(L);
    (void)activation;
    if (!eval->stopped && mg_thread_cpu_us() < eval->stop_us)
        return;
    if (!eval->stopped)
        find_culprit(eval, L);
    eval->stopped = true;
    lua_sethook(L, look, LUA_MASKCOUNT, 1);
    luaL_error(L, "stopped");
}

static void find_culprit(struct mg_eval *eval, lua_State *L)
{
    lua_Debug at;
    for (int level = 0; level < 64 && lua_getstack(L, level, &at); level++) {
        lua_getinfo(L, "Sl", &at);
        if (at.short_src[0] != 'c' || at.short_src[1] < '1' || at.short_src[1] > '9' ||
            at.currentline <= 0)
            continue;
        eval->stop_chunk = (int)strtol(at.short_src + 1, NULL, 10);
        eval->stop_line = at.currentline;
        return;
    }
}

/* ---- what lua/boot/config.lua is given */

static struct mg_eval *eval_of(lua_State *L)
{
    lua_getfield(L, LUA_REGISTRYINDEX, "eval");
    struct mg_eval *eval = lua_touserdata(L, -1);
    lua_pop(L, 1);
    return eval;
}

/* module(name, …): the value of lua/boot/<name>.lua, called with the rest. */
static int host_module(lua_State *L)
{
    const char *name = lua_pushfstring(L, "@boot/%s.lua", luaL_checkstring(L, 1));
    const struct mg_embedded_file *file = mg_embedded_find(name + 1);
    if (!file)
        return luaL_error(L, "%s is missing from the binary", name);
    if (luaL_loadbufferx(L, file->data, file->size, name, "t") != 0)
        return lua_error(L);
    lua_replace(L, 1);
    lua_pop(L, 1);
    lua_call(L, lua_gettop(L) - 1, 1);
    return 1;
}

/* load(text, file) → chunk, or nil and a message; the chunk is called c<n>. */
static int host_load(lua_State *L)
{
    struct mg_eval *eval = eval_of(L);
    size_t size;
    const char *text = luaL_checklstring(L, 1, &size);
    if (eval->chunk_count == MG_EVAL_CHUNKS)
        return luaL_error(L, "more than %d files", (int)MG_EVAL_CHUNKS);
    eval->chunks[eval->chunk_count++] =
        mg_arena_strdup(&eval->report->arena, luaL_checkstring(L, 2));
    const char *chunk = lua_pushfstring(L, "=c%d", eval->chunk_count);
    if (luaL_loadbufferx(L, text, size, chunk, "t") == 0)
        return 1;
    lua_pushnil(L);
    lua_insert(L, -2);
    return 2;
}

static int host_env(lua_State *L)
{
    lua_pushstring(L, getenv(luaL_checkstring(L, 1)));
    return 1;
}

/* The bytes of a file as a Lua string, or nil and why. */
static int push_file(lua_State *L, bool is_private)
{
    const char *path = luaL_checkstring(L, 1);
    struct mg_config_report *out = eval_of(L)->report;
    if (out->file_count == MG_CONFIG_FILES)
        return luaL_error(L, "more than %d files", (int)MG_CONFIG_FILES);
    out->files[out->file_count++] = mg_arena_strdup(&out->arena, path);

    struct mg_buf *text = &eval_of(L)->file_text; /* a raised error leaves it to mg_eval_run() */
    mg_buf_clear(text);
    const char *why = mg_config_file_read(path, is_private, text, &out->hash);
    if (why) {
        lua_pushnil(L);
        lua_pushstring(L, why);
        return 2;
    }
    mg_view bytes = mg_buf_view(text);
    while (is_private && bytes.len > 0 &&
           (bytes.ptr[bytes.len - 1] == '\n' || bytes.ptr[bytes.len - 1] == '\r'))
        bytes.len--;
    lua_pushlstring(L, bytes.ptr ? bytes.ptr : "", bytes.len);
    if (text->ptr)
        mg_wipe(text->ptr, text->cap);
    return 1;
}

static int host_read(lua_State *L)
{
    return push_file(L, false);
}

/* secret(path): its text without the newline at the end, or nil and why. */
static int host_secret(lua_State *L)
{
    return push_file(L, true);
}

/* file(path): true when it can be read, or nil and why. */
static int host_file(lua_State *L)
{
    int count = push_file(L, false);
    if (count == 1)
        lua_pushboolean(L, true);
    return count;
}

static int host_utf8(lua_State *L)
{
    size_t size;
    const char *text = luaL_checklstring(L, 1, &size);
    lua_pushboolean(L, mg_view_utf8(mg_view_of(text, size), NULL));
    return 1;
}

/* schema(json): true when an answer can be checked by it, or nil and what cannot. */
static int host_schema(lua_State *L)
{
    size_t size;
    const char *text = luaL_checklstring(L, 1, &size);
    struct mg_schema_fault fault = {"", "must be plain data"};
    struct mg_json *schema = NULL;
    bool understood = mg_json_parse(mg_view_of(text, size), MG_MAX_LUA_SOURCE_BYTES, &schema, NULL) == MG_OK &&
                      mg_schema_understood(schema, &fault);
    mg_json_free(schema);              /* before anything that may raise */
    if (understood) {
        lua_pushboolean(L, true);
        return 1;
    }
    lua_pushnil(L);
    lua_pushfstring(L, "%s%s%s", fault.pointer, *fault.pointer ? " " : "", fault.text);
    return 2;
}

static int host_adapter(lua_State *L)
{
    const char *name = lua_pushfstring(L, "adapters/%s.lua", luaL_checkstring(L, 1));
    lua_pushboolean(L, mg_embedded_find(name) != NULL);
    return 1;
}

static int host_cores(lua_State *L)
{
    lua_pushinteger(L, (lua_Integer)MG_MIN(uv_available_parallelism(), 256));
    return 1;
}

static void open_host(lua_State *L)
{
    static const luaL_Reg libraries[] = {{"", luaopen_base},
                                         {"table", luaopen_table},
                                         {"string", luaopen_string},
                                         {"math", luaopen_math},
                                         {"bit", luaopen_bit}};
    static const luaL_Reg functions[] = {{"module", host_module}, {"load", host_load},
                                         {"env", host_env},       {"read", host_read},
                                         {"secret", host_secret}, {"file", host_file},
                                         {"utf8", host_utf8},     {"adapter", host_adapter},
                                         {"schema", host_schema}, {"cores", host_cores},
                                         {NULL, NULL}};
    for (size_t i = 0; i < MG_COUNT(libraries); i++) {
        lua_pushcfunction(L, libraries[i].func);
        lua_pushstring(L, libraries[i].name);
        lua_call(L, 1, 0);
    }
    lua_pushcfunction(L, host_module);
    lua_pushliteral(L, "config");
    lua_newtable(L);
    luaL_register(L, NULL, functions);
    lua_call(L, 2, 1);
}
