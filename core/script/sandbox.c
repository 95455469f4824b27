#include "script/sandbox.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/embed.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/mem.h"
#include "script/alloc.h"
#include "script/co_run.h"
#include "script/compiler.h"
#include "script/matcher.h"
#include "script/safe_lua.h"
#include "script/views.h"
#include "script/watchdog.h"

/* In percent of what is live: with Lua's own 200 a state could use only half of its cap. */
enum { PROJECT_GC_PAUSE = 140 };

static int open_libraries(lua_State *L);
static int run_prelude(lua_State *L);
static void push_host(lua_State *L);
static void push_modules(lua_State *L);
static int host_fatal(lua_State *L);
static int host_raise(lua_State *L);
static int host_load(lua_State *L);
static int host_library(lua_State *L);
static int host_prints_itself(lua_State *L);
static int host_view_iterator(lua_State *L);
static int host_format(lua_State *L);

mg_err mg_sandbox_open(struct mg_lua *lua, const char *project, struct mg_diag *diag)
{
    bool trusted = lua->kind == MG_LUA_TRUSTED;
    lua->cap_bytes = trusted ? 0 : MG_MAX_LUA_STATE_BYTES;
    lua->account = trusted ? NULL : mg_account_ref(project);
    lua->prelude = LUA_NOREF;
    mg_list_init(&lua->co_pool);

    if (!mg_lua_new_state(lua) || lua_cpcall(lua->L, open_libraries, NULL) != 0 || !mg_lua_settle(lua)) {
        mg_sandbox_close(lua);
        return mg_diag_set(diag, MG_E_MEMORY, "", 0, "no memory left for a Lua state of project %s", project);
    }
    struct mg_lua_run run = {.phase = MG_LUA_PHASE_load, .load_name = "boot/prelude.lua"};
    if (mg_lua_enter(lua, &run, MG_LUA_SETUP_US, run_prelude, NULL) != MG_LUA_ENDED) {
        mg_err err = mg_diag_set(diag, lua->denied ? MG_E_MEMORY : MG_E_SCRIPT, "boot/prelude.lua", 0, "%s",
                                 lua->trace[0] ? lua->trace : "no memory left for a Lua state");
        mg_sandbox_close(lua);
        return err;
    }
    return MG_OK;
}

void mg_sandbox_close(struct mg_lua *lua)
{
    mg_co_pool_free(lua);
    mg_lua_close_state(lua);
    mg_account_unref(lua->account);
    lua->account = NULL;
}

static void open_library(lua_State *L, const char *name, lua_CFunction open)
{
    lua_pushcfunction(L, open);
    lua_pushstring(L, name);
    lua_call(L, 1, 0);
}

/* An error outside of a protected call is a mistake of ours; Lua's own answer would be a silent exit. */
static int on_panic(lua_State *L)
{
    (void)L;
    mg_log_error("lua.panic", "an error outside of a protected call");
    abort();
}

static int open_libraries(lua_State *L)
{
    struct mg_lua *lua = mg_lua_of(L);
    lua_atpanic(L, on_panic);
    open_library(L, "", luaopen_base);
    open_library(L, LUA_TABLIBNAME, luaopen_table);
    open_library(L, LUA_STRLIBNAME, luaopen_string);
    open_library(L, LUA_MATHLIBNAME, luaopen_math);
    open_library(L, LUA_OSLIBNAME, luaopen_os);
    open_library(L, LUA_BITLIBNAME, luaopen_bit);
    if (lua->kind == MG_LUA_TRUSTED)
        mg_lua_compiler_on(L);
    else
        mg_lua_compiler_off(L);
    if (lua->kind == MG_LUA_PROJECT)
        lua_gc(L, LUA_GCSETPAUSE, PROJECT_GC_PAUSE);

    /* References are given back outside of protected calls; the list of free ones exists from here on. */
    lua_pushboolean(L, 1);
    luaL_unref(L, LUA_REGISTRYINDEX, luaL_ref(L, LUA_REGISTRYINDEX));
    mg_lua_prepare(L);
    return 0;
}

static int run_prelude(lua_State *L)
{
    const struct mg_embedded_file *file = mg_embedded_find("boot/prelude.lua");
    if (!file)
        return luaL_error(L, "boot/prelude.lua is missing from this build");
    mg_sandbox_load(L, mg_view_of(file->data, file->size), "=boot/prelude.lua");
    push_host(L);
    lua_pushvalue(L, LUA_GLOBALSINDEX);
    lua_call(L, 2, 1);
    luaL_checktype(L, -1, LUA_TTABLE);
    mg_lua_of(L)->prelude = luaL_ref(L, LUA_REGISTRYINDEX);
    return 0;
}

void mg_sandbox_prelude(lua_State *L, const char *function)
{
    lua_rawgeti(L, LUA_REGISTRYINDEX, mg_lua_of(L)->prelude);
    lua_getfield(L, -1, function);
    lua_remove(L, -2);
}

/* --- what the prelude gets ------------------------------------------------------------------- */

static void push_host(lua_State *L)
{
    static const luaL_Reg functions[] = {
        {"fatal", host_fatal},   {"raise", host_raise},     {"load", host_load},
        {"library", host_library}, {"prints_itself", host_prints_itself}, {"format", host_format},
        {"find", mg_lua_find},   {"match", mg_lua_match},   {"gmatch", mg_lua_gmatch},
        {"gsub", mg_lua_gsub},   {"sort", mg_lua_sort},     {"view_iterator", host_view_iterator},
        {NULL, NULL},
    };
    lua_newtable(L);
    for (const luaL_Reg *f = functions; f->name; f++) {
        lua_pushcfunction(L, f->func);
        lua_setfield(L, -2, f->name);
    }
    push_modules(L);
    lua_setfield(L, -2, "modules");
    lua_pushlightuserdata(L, (void *)mg_co_tag);
    lua_setfield(L, -2, "tag");
    lua_pushinteger(L, MG_MAX_LUA_COROUTINE_DEPTH);
    lua_setfield(L, -2, "max_coroutines");
    lua_pushboolean(L, mg_lua_of(L)->kind == MG_LUA_TRUSTED);
    lua_setfield(L, -2, "trusted");
}

static void push_modules(lua_State *L)
{
    lua_newtable(L);
    for (size_t i = 0; mg_lua_modules[i]; i++) {
        const struct mg_lua_module *module = mg_lua_modules[i];
        lua_newtable(L);
        for (const struct mg_lua_function *f = module->functions; f && f->name; f++) {
            mg_lua_push_function(L, f);
            lua_setfield(L, -2, f->name);
        }
        if (module->open) {
            int top = lua_gettop(L);
            module->open(L);
            lua_settop(L, top);
        }
        lua_setfield(L, -2, module->name);
    }
}

static int host_fatal(lua_State *L)
{
    lua_pushboolean(L, mg_lua_fatal(mg_lua_of(L)));
    return 1;
}

static int host_raise(lua_State *L)
{
    mg_lua_poll(L);
    lua_pushliteral(L, "not enough memory");
    return lua_error(L);
}

/* load(text, chunk name, environment) */
static int host_load(lua_State *L)
{
    size_t len;
    const char *text = luaL_checklstring(L, 1, &len);
    mg_sandbox_load(L, mg_view_of(text, len), luaL_checkstring(L, 2));
    lua_pushvalue(L, 3);
    lua_setfenv(L, -2);
    return 1;
}

/* library(name): text of lua/moongate/<name>.lua, or nil */
static int host_library(lua_State *L)
{
    char path[128];
    snprintf(path, sizeof(path), "moongate/%s.lua", luaL_checkstring(L, 1));
    const struct mg_embedded_file *file = strchr(path + 9, '/') ? NULL : mg_embedded_find(path);
    if (!file)
        return 0;
    lua_pushlstring(L, file->data, file->size);
    return 1;
}

static int host_prints_itself(lua_State *L)
{
    bool prints = luaL_getmetafield(L, 1, "__tostring");
    lua_pushboolean(L, prints);
    return 1;
}

static int host_view_iterator(lua_State *L)
{
    if (mg_lua_push_view_iterator(L, 1))
        return 3;
    return luaL_error(L, "bad argument #1 to 'ipairs' (table expected, got %s)", luaL_typename(L, 1));
}

/* format(stock function, tostring): the safe one */
static int host_format(lua_State *L)
{
    lua_settop(L, 2);
    lua_pushcclosure(L, mg_lua_format, 2);
    return 1;
}

/* --- loading text ---------------------------------------------------------------------------- */

struct source {
    mg_view text;
    bool done;
};

static const char *read_source(lua_State *L, void *arg, size_t *out_size)
{
    (void)L;
    struct source *source = arg;
    *out_size = source->done ? 0 : source->text.len;
    source->done = true;
    return *out_size ? source->text.ptr : NULL;
}

void mg_sandbox_load(lua_State *L, mg_view text, const char *name)
{
    const char *shown = name[0] == '@' || name[0] == '=' ? name + 1 : name;
    if (text.len > MG_MAX_LUA_SOURCE_BYTES)
        luaL_error(L, "%s: more than %d bytes of source", shown, (int)MG_MAX_LUA_SOURCE_BYTES);
    int line = mg_sandbox_foreign_literal(text);
    if (line)
        luaL_error(L, "%s:%d: number literals with LL, ULL or i belong to the FFI, which is not here", shown, line);

    struct source source = {.text = text};
    if (lua_loadx(L, read_source, &source, name, "t") != 0)
        lua_error(L);
}

static size_t long_bracket(mg_view text, size_t at, size_t *out_level);
static size_t skip_long(mg_view text, size_t at, size_t level, int *line);
static size_t skip_quoted(mg_view text, size_t at, int *line);

static bool is_word(unsigned char c)
{
    return isalnum(c) || c == '_' || c >= 128;
}

/* The lexer takes every letter and digit after a digit as part of the number; no number that is not
 * the FFI's has an i, l or u in it. */
int mg_sandbox_foreign_literal(mg_view text)
{
    int line = 1;
    for (size_t at = 0; at < text.len;) {
        unsigned char c = (unsigned char)text.ptr[at];
        unsigned char next = at + 1 < text.len ? (unsigned char)text.ptr[at + 1] : 0;
        size_t level, comment = c == '-' && next == '-' ? 2 : 0;

        if (c == '\n')
            line++;
        if (long_bracket(text, at + comment, &level)) {
            at = skip_long(text, at + comment + level + 2, level, &line);
        } else if (comment) {
            at += mg_view_find(mg_view_skip(text, at), "\n");
        } else if (c == '"' || c == '\'') {
            at = skip_quoted(text, at, &line);
        } else if (isdigit(c) || (c == '.' && isdigit(next))) {
            for (; at < text.len && (is_word((unsigned char)text.ptr[at]) || text.ptr[at] == '.'); at++) {
                if (strchr("iIlLuU", text.ptr[at]) && text.ptr[at] != '\0')
                    return line;
            }
        } else if (is_word(c)) {
            while (at < text.len && is_word((unsigned char)text.ptr[at]))
                at++;
        } else {
            at++;
        }
    }
    return 0;
}

/* True when a long bracket opens here. */
static size_t long_bracket(mg_view text, size_t at, size_t *out_level)
{
    if (at >= text.len || text.ptr[at] != '[')
        return 0;
    size_t level = 0;
    while (at + 1 + level < text.len && text.ptr[at + 1 + level] == '=')
        level++;
    *out_level = level;
    return at + 1 + level < text.len && text.ptr[at + 1 + level] == '[';
}

/* Behind the closing bracket of that level. */
static size_t skip_long(mg_view text, size_t at, size_t level, int *line)
{
    for (; at < text.len; at++) {
        if (text.ptr[at] == '\n')
            ++*line;
        if (text.ptr[at] != ']')
            continue;
        size_t n = 0;
        while (at + 1 + n < text.len && text.ptr[at + 1 + n] == '=')
            n++;
        if (n == level && at + 1 + n < text.len && text.ptr[at + 1 + n] == ']')
            return at + 2 + n;
    }
    return text.len;
}

static size_t skip_quoted(mg_view text, size_t at, int *line)
{
    char quote = text.ptr[at++];
    for (; at < text.len && text.ptr[at] != quote; at++) {
        if (text.ptr[at] == '\\' && at + 1 < text.len)
            at++;
        if (text.ptr[at] == '\n')
            ++*line;
    }
    return at + 1;
}
