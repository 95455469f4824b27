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
#include "meter/models.h"

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

static int push_plain(lua_State *L)
{
    struct mg_locked *plain = lua_touserdata(L, 1);
    lua_pushlstring(L, plain->ptr, plain->len);
    return 1;
}

/* env(name): the value. One that was asked for as a secret before has left the environment. */
static int host_env(lua_State *L)
{
    const char *name = luaL_checkstring(L, 1), *value = getenv(name);
    struct mg_sealed *sealed = value && *value ? NULL : mg_secret_env_is_set(name) ? mg_secret_from_env(name) : NULL;
    if (!sealed) {
        lua_pushstring(L, value);
        return 1;
    }
    lua_pushcfunction(L, push_plain);
    struct mg_locked *plain = mg_locked_take();
    mg_err err = mg_sealed_open(sealed, plain);
    lua_pushlightuserdata(L, plain);
    int failed = err == MG_OK ? lua_pcall(L, 1, 1, 0) : 1;
    mg_locked_give(plain);
    mg_sealed_unref(sealed);
    return failed ? luaL_error(L, "the variable %s cannot be read", name) : 1;
}

/* has_env(name): whether it is set and not empty. */
static int host_has_env(lua_State *L)
{
    lua_pushboolean(L, mg_secret_env_is_set(luaL_checkstring(L, 1)));
    return 1;
}

/* The ciphertext in `file_text`, or nil and why not. */
static int push_sealed(lua_State *L, mg_err err)
{
    struct mg_buf *text = &eval_of(L)->file_text;
    if (err == MG_OK) {
        mg_view bytes = mg_buf_view(text);
        lua_pushlstring(L, bytes.ptr, bytes.len);
        return 1;
    }
    lua_pushnil(L);
    lua_pushstring(L, err == MG_E_BAD_REQUEST ? "expected a secret of printable text, found an empty one, one with control "
                                                "characters or one above 8192 bytes"
                                              : mg_err_text(err));
    return 2;
}

/* secret_env(name): ciphertext of the value, which is overwritten in the environment; nil when it is not set. */
static int host_secret_env(lua_State *L)
{
    struct mg_buf *text = &eval_of(L)->file_text;
    struct mg_sealed *sealed = mg_secret_from_env(luaL_checkstring(L, 1));
    if (!sealed)
        return 0;
    mg_buf_clear(text);
    struct mg_locked *plain = mg_locked_take();
    mg_err err = mg_sealed_open(sealed, plain);
    if (err == MG_OK)
        err = mg_secret_print(MG_VIEW_NONE, MG_VIEW_NONE, mg_view_of(plain->ptr, plain->len), text);
    mg_locked_give(plain);
    mg_sealed_unref(sealed);
    return push_sealed(L, err);
}

/* Reads a file into `file_text`; NULL, or why not. */
static const char *read_here(lua_State *L, bool is_private)
{
    const char *path = luaL_checkstring(L, 1);
    struct mg_config_report *out = eval_of(L)->report;
    if (out->file_count == MG_CONFIG_FILES)
        luaL_error(L, "more than %d files", (int)MG_CONFIG_FILES);
    out->files[out->file_count++] = mg_arena_strdup(&out->arena, path);

    struct mg_buf *text = &eval_of(L)->file_text; /* a raised error leaves it to mg_eval_run() */
    mg_buf_clear(text);
    return mg_config_file_read(path, is_private, text, &out->hash);
}

static int push_why(lua_State *L, const char *why)
{
    lua_pushnil(L);
    lua_pushstring(L, why);
    return 2;
}

/* read(path): the bytes of a file, or nil and why. */
static int host_read(lua_State *L)
{
    const char *why = read_here(L, false);
    if (why)
        return push_why(L, why);
    mg_view bytes = mg_buf_view(&eval_of(L)->file_text);
    lua_pushlstring(L, bytes.ptr ? bytes.ptr : "", bytes.len);
    return 1;
}

/* Puts ciphertext in the place of what was read, without the newline at its end. */
static mg_err seal_here(struct mg_buf *text, mg_view project, mg_view name)
{
    struct mg_buf sealed;
    mg_view plain = mg_buf_view(text);
    while (plain.len > 0 && (plain.ptr[plain.len - 1] == '\n' || plain.ptr[plain.len - 1] == '\r'))
        plain.len--;
    mg_buf_init(&sealed, text->max);
    mg_err err = mg_secret_print(project, name, plain, &sealed);
    mg_wipe(text->ptr, text->cap);
    mg_buf_clear(text);
    if (err == MG_OK)
        err = mg_buf_put(text, mg_buf_view(&sealed));
    mg_buf_fini(&sealed);
    return err;
}

/* secret(path, project, name): ciphertext that gives what the vault has under the name, or else the file; nil and why when
 * there is neither. The vault may not be open yet when gateway.lua is read: it is then trusted to have the name. */
static int host_secret(lua_State *L)
{
    mg_view project = mg_view_cstr(luaL_checkstring(L, 2)), name = mg_view_cstr(luaL_checkstring(L, 3));
    const char *why = read_here(L, true);
    struct mg_buf *text = &eval_of(L)->file_text;
    if (!why)
        return push_sealed(L, text->ptr ? seal_here(text, project, name) : MG_E_BAD_REQUEST);
    if (!mg_secret_known(project, name) && strcmp(eval_of(L)->function, "gateway") != 0)
        return push_why(L, why);
    mg_buf_clear(text);
    return push_sealed(L, mg_secret_print_name(project, name, text));
}

/* file(path): true when it can be read, or nil and why. */
static int host_file(lua_State *L)
{
    const char *why = read_here(L, false);
    if (why)
        return push_why(L, why);
    lua_pushboolean(L, true);
    return 1;
}

static int host_utf8(lua_State *L)
{
    size_t size;
    const char *text = luaL_checklstring(L, 1, &size);
    lua_pushboolean(L, mg_view_utf8(mg_view_of(text, size), NULL));
    return 1;
}

/* model(name): whether the catalogue has it, its context window and the most it writes, in tokens; nil: nobody knows. */
static int host_model(lua_State *L)
{
    size_t size;
    const char *name = luaL_checklstring(L, 1, &size);
    const struct mg_model *model = mg_model_find(mg_view_of(name, size));
    lua_pushboolean(L, model != NULL);
    uint32_t tokens[] = {model ? model->context_window : 0, model ? model->max_output : 0};
    for (size_t i = 0; i < MG_COUNT(tokens); i++) {
        if (tokens[i])
            lua_pushinteger(L, (lua_Integer)tokens[i]);
        else
            lua_pushnil(L);
    }
    return 1 + MG_COUNT(tokens);
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

/* A file that decides what an adapter is; once each, and no more than a report has room for. */
static void note_adapter_file(void *arg, const char *path)
{
    struct mg_config_report *out = arg;
    for (int i = 0; i < out->file_count; i++)
        if (strcmp(out->files[i], path) == 0)
            return;
    if (out->file_count == MG_CONFIG_FILES)
        return;
    struct mg_buf text;
    mg_buf_init(&text, MG_MAX_LUA_SOURCE_BYTES);
    out->files[out->file_count++] = mg_arena_strdup(&out->arena, path);
    const char *why = mg_config_file_read(path, false, &text, &out->hash);
    (void)why;                         /* one that is not there is hashed as such */
    mg_buf_fini(&text);
}

/* adapter(name): whether there is one. Those of the operator are files that the project depends on, and they may extend each other. */
static int host_adapter(lua_State *L)
{
    const char *name = lua_pushfstring(L, "adapters/%s.lua", luaL_checkstring(L, 1));
    mg_embedded_each_own("adapters/", name + strlen("adapters/"), note_adapter_file, eval_of(L)->report);
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
                                         {"schema", host_schema}, {"cores", host_cores}, {"model", host_model},
                                         {"has_env", host_has_env}, {"secret_env", host_secret_env},
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
