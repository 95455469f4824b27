/* Trusted states run compiled, without what this LuaJIT compiles wrongly: docs/decisions/0013. */
#include "script/compiler.h"

#include "check.h"
#include "script/sandbox.h"
#include "script/script.h"

static int load_and_run(lua_State *L)
{
    const char *text = mg_lua_of(L)->body_arg;
    mg_sandbox_load(L, mg_view_cstr(text), "=test");
    mg_sandbox_prelude(L, "environment");
    lua_newtable(L);
    lua_call(L, 1, 1);
    lua_setfenv(L, -2);
    lua_call(L, 0, 2);
    CHECK(lua_tocfunction(L, -2) != NULL);           /* of the stock `next` it is NULL: that is a fast function */
    CHECK(lua_tocfunction(L, -2) == lua_tocfunction(L, -1));
    return 0;
}

static void run(const char *text)
{
    struct mg_diag diag = {.line = 0};
    struct mg_lua lua = {.kind = MG_LUA_TRUSTED};
    struct mg_lua_run stay = {.phase = MG_LUA_PHASE_load, .load_name = "test"};
    CHECK_OK(mg_script_init(&diag));
    CHECK_OK(mg_sandbox_open(&lua, "moongate", &diag));

    enum mg_lua_end end = mg_lua_enter(&lua, &stay, 1000000, load_and_run, (void *)text);

    if (end != MG_LUA_ENDED)
        check_failed(__FILE__, __LINE__, "%s", lua.trace);
    mg_sandbox_close(&lua);
    mg_script_fini();
}

TEST(next_and_pairs_of_a_trusted_state_are_not_the_ones_that_would_be_compiled)
{
    run("return next, (pairs {})");
}

TEST(they_walk_a_table_as_the_stock_ones_do_when_their_loop_is_hot)
{
    run("local sum, list = 0, { 10, 20, x = 30, y = 40 }\n"
        "for round = 1, 500 do\n"
        "  for key, value in pairs(list) do sum = sum + value + #tostring(key) end\n"
        "  for _, value in next, list do sum = sum + value end\n"
        "  if next(list) ~= 1 or next({}) ~= nil then error 'next' end\n"
        "end\n"
        "if sum ~= 500 * 204 then error(sum) end\n"
        "return next, (pairs {})");
}

MG_TEST_MAIN()
