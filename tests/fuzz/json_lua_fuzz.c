/* json_lua_fuzz.c - whatever is JSON becomes a Lua value; what that is written as becomes the same again; nothing else is
 * taken. One state serves all inputs, and its stack is as it was after each. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "http/json_scan.h"
#include "sandbox.h"
#include "script/args.h"
#include "script/enter.h"
#include "script/json_lua.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool true_, const char *what)
{
    if (!true_) {
        fputs(what, stderr);
        abort();
    }
}

static int round_trip(lua_State *L)
{
    const mg_view *in = mg_lua_of(L)->body_arg;
    struct mg_buf *first = mg_lua_scratch(L, 1 << 20), *second = mg_lua_scratch(L, 1 << 20);
    const char *why = NULL;
    int top = lua_gettop(L);
    mg_lua_push_json(L, *in);
    must(mg_lua_put_json(L, -1, first, &why) == MG_OK, "a value that was read cannot be written\n");
    must(mg_json_check(mg_buf_view(first), NULL) == MG_OK, "what is written is no JSON\n");
    mg_lua_push_json(L, mg_buf_view(first));
    must(mg_lua_put_json(L, -1, second, &why) == MG_OK && mg_view_eq(mg_buf_view(first), mg_buf_view(second)),
         "a value changes on its way\n");
    must(lua_gettop(L) == top + 2, "the stack is not as it was\n");
    mg_lua_scratch_end(first);
    mg_lua_scratch_end(second);
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct mg_lua lua;
    mg_view in = mg_view_of((const char *)data, size);
    struct mg_lua_run run = {.phase = MG_LUA_PHASE_route};
    if (!lua.L)
        sandbox_open(&lua);
    if (size == 0 || size > 65536)
        return 0;
    bool valid = mg_json_check(in, NULL) == MG_OK;
    enum mg_lua_end end = mg_lua_enter(&lua, &run, 10000000, round_trip, &in);
    must((end == MG_LUA_ENDED) == valid, lua.trace);
    return 0;
}
