/* The tests in tests/lua, run in the trusted state that the dialects run in. */
#include "script/trusted.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/embed.h"
#include "base/mem.h"
#include "check.h"
#include "http/json_scan.h"
#include "script/args.h"
#include "script/json_lua.h"
#include "script/sandbox.h"
#include "script/script.h"

enum { MAX_FILE = 1 << 20, MAX_RAW = 32, MAX_SPANS = 4096, TESTS_US = 60000000 };

static int failures = -1;

/* Of the checkout; NULL when there is none of that name. */
static char *file_text(const char *name)
{
    const char *folder = getenv("MOONGATE_SOURCE_DIR");
    char path[1024];
    snprintf(path, sizeof(path), "%s/%s", folder ? folder : ".", name);
    FILE *file = fopen(path, "rb");
    if (!file)
        return NULL;
    char *text = mg_alloc(MAX_FILE);
    size_t len = fread(text, 1, MAX_FILE - 1, file);
    text[len] = '\0';
    fclose(file);
    return text;
}

static int push_file(lua_State *L, const char *name)
{
    char *text = file_text(name);
    if (!text)
        return 0;
    lua_pushstring(L, text);
    mg_free(text);
    return 1;
}

static int read_file(lua_State *L)
{
    return push_file(L, luaL_checkstring(L, 1));
}

static int say(lua_State *L)
{
    fputs(luaL_checkstring(L, 1), stderr);
    return 0;
}

static int traceback(lua_State *L)
{
    luaL_checkstring(L, 1);
    return 1;
}

/* "support.world" is tests/lua/support/world.lua, or lua/… for the dialects. */
static int source_of(lua_State *L)
{
    char name[128], path[160];
    snprintf(name, sizeof(name), "%s", luaL_checkstring(L, 1));
    for (char *at = name; *at; at++)
        *at = *at == '.' ? '/' : *at;
    snprintf(path, sizeof(path), "tests/lua/%s.lua", name);
    if (!push_file(L, path)) {
        snprintf(path, sizeof(path), "%s.lua", name);
        const struct mg_embedded_file *file = mg_embedded_find(path);
        if (!file)
            return 0;
        lua_pushlstring(L, file->data, file->size);
    }
    lua_pushfstring(L, "=%s", path);
    return 2;
}

struct spans {
    mg_view items[MAX_SPANS];
    size_t count;
};

static mg_err on_raw(void *arg, const struct mg_json_hit *hit)
{
    struct spans *spans = arg;
    while (spans->count && spans->items[spans->count - 1].ptr >= hit->value.ptr)
        spans->count--;
    CHECK(spans->count < MAX_SPANS);
    spans->items[spans->count++] = hit->value;
    return MG_OK;
}

/* decode(text, paths): as a dialect gets its documents. */
static int decode(lua_State *L)
{
    static struct spans spans;
    const char *paths[MAX_RAW];
    size_t count = 0;
    mg_view text = mg_lua_text(L, 1, "text");
    for (; lua_istable(L, 2) && count < lua_objlen(L, 2); count++) {
        CHECK(count < MAX_RAW);
        lua_rawgeti(L, 2, (int)count + 1);
        paths[count] = luaL_checkstring(L, -1);
        lua_pop(L, 1);
    }
    struct mg_json_error error = {0, ""};
    struct mg_json_paths *compiled = count ? mg_json_paths_new(paths, count) : NULL;
    spans.count = 0;
    mg_err err = mg_json_scan(text, compiled, on_raw, &spans, &error);
    mg_json_paths_free(compiled);
    if (err != MG_OK)
        return mg_lua_fail(L, "invalid_json", false, "at byte %zu: %s", error.offset, error.reason);
    mg_lua_push_json_exact(L, text, spans.items, spans.count);
    return 1;
}

static void push_host(lua_State *L)
{
    static const luaL_Reg functions[] = {
        {"read_file", read_file}, {"say", say}, {"traceback", traceback}, {"decode", decode}, {NULL, NULL},
    };
    lua_newtable(L);
    for (const luaL_Reg *f = functions; f->name; f++) {
        lua_pushcfunction(L, f->func);
        lua_setfield(L, -2, f->name);
    }
}

static int run_tests(lua_State *L)
{
    mg_sandbox_load(L, MG_VIEW("local host = ... local t = require 't' t.start(require 'moongate.json', host) "
                               "for _, name in ipairs(require 'files') do require(name) end return t.count, t.failed"),
                    "=tests/lua");
    mg_sandbox_prelude(L, "environment");
    lua_newtable(L);
    lua_pushcfunction(L, source_of);
    lua_call(L, 2, 1);
    lua_setfenv(L, -2);
    push_host(L);
    lua_call(L, 1, 2);
    CHECK(lua_tointeger(L, -2) > 100);
    failures = (int)lua_tointeger(L, -1);
    return 0;
}

TEST(the_tests_of_the_dialects_pass_in_the_trusted_state)
{
    struct mg_diag diag = {.line = 0};
    struct mg_lua lua = {.kind = MG_LUA_TRUSTED};
    struct mg_lua_run run = {.phase = MG_LUA_PHASE_load, .load_name = "tests/lua"};
    CHECK_OK(mg_script_init(&diag));
    CHECK_OK(mg_sandbox_open(&lua, "moongate", &diag));

    enum mg_lua_end end = mg_lua_enter(&lua, &run, TESTS_US, run_tests, NULL);

    if (end != MG_LUA_ENDED)
        check_failed(__FILE__, __LINE__, "%s", lua.trace);
    CHECK_INT(failures, 0);
    mg_sandbox_close(&lua);
    mg_script_fini();
}

MG_TEST_MAIN()
