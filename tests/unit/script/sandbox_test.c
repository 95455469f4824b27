/* What hostile or broken Lua must not be able to do. Each snippet is a plugin's code in a project state. */
#include "sandbox.h"

#include "base/clock.h"
#include "base/fault.h"
#include "base/limits.h"
#include "base/mem.h"
#include "check.h"
#include "script/sandbox.h"

static char text[4096];

/* --- runaways: each ends in time with a deadline or memory error, and leaves nothing behind ------ */

enum { BUDGET_US = 30000, LATE_US = 1000000 };   /* what is late is far below "never" and far above a busy machine */

static const struct {
    const char *name, *code;
} runaways[] = {
    {"empty loop", "while true do end"},
    {"repeat", "repeat until false"},
    {"goto", "::top:: goto top"},
    {"numeric for", "for i = 1, 1e300 do end"},
    {"arithmetic", "local x = 0 while true do x = x * 1.000001 + 1 end"},
    {"tail recursion", "local function f() return f() end f()"},
    {"mutual tail recursion", "local g local function f() return g() end g = function() return f() end f()"},
    {"loop under pcall", "while true do pcall(function() while true do end end) end"},
    {"pcall in a loop", "while true do pcall(error, 'x') end"},
    {"pcall calls itself", "local function f() pcall(f) pcall(f) end f()"},
    {"pcall chain", "local function f() return pcall(f) end while true do f() end"},
    {"xpcall whose handler loops", "xpcall(function() error 'x' end, function() while true do end end)"},
    {"xpcall in the handler", "local function h() xpcall(error, h) end while true do xpcall(error, h) end"},
    {"loop in a coroutine", "coroutine.wrap(function() while true do end end)()"},
    {"coroutine under pcall", "while true do pcall(coroutine.wrap(function() while true do end end)) end"},
    {"coroutines that yield for ever", "local co = coroutine.wrap(function() while true do coroutine.yield() end end) while true do co() end"},
    {"__index", "local t = setmetatable({}, {__index = function(t, k) while true do end end}) return t.x"},
    {"__index chain", "local t t = setmetatable({}, {__index = function(_, k) return t[k + 1] end}) while true do pcall(function() return t[1] end) end"},
    {"__tostring", "tostring(setmetatable({}, {__tostring = function() while true do end end}))"},
    {"__concat", "local t = setmetatable({}, {__concat = function() while true do end end}) return t .. 'x'"},
    {"__call", "setmetatable({}, {__call = function() while true do end end})()"},
    {"__eq", "local m = {__eq = function() while true do end end} return setmetatable({}, m) == setmetatable({}, m)"},
    {"iterator", "for _ in function() return 1 end do end"},
    {"match .-b", "return ('a'):rep(300000):match('.-b')"},
    {"match nested", "return ('a'):rep(3000):match(('a*'):rep(20) .. 'b')"},
    {"match %b()", "local s = ('('):rep(200000) while true do s:match('%b()') end"},
    {"match back reference", "return ('a'):rep(100000):match('(.-)(.-)%1%2b')"},
    {"find with a frontier", "local s = ('a'):rep(200000) while true do s:find('%f[b].*c') end"},
    {"a huge set", "local set = '[' .. ('x'):rep(200000) .. ']' return ('a'):rep(100000):match(set .. '+')"},
    {"gsub bomb", "return ('a'):rep(100000):gsub('.-b', 'x')"},
    {"gsub with a function", "return ('a'):rep(100000):gsub('a', function() for i = 1, 1e9 do end end)"},
    {"gmatch bomb", "for _ in ('a'):rep(200000):gmatch('.-.-b') do end"},
    {"sort whose order lies", "local t = {} for i = 1, 1000 do t[i] = i end while true do table.sort(t, function() return true end) end"},
    {"sort of one long string", "local s = ('x'):rep(1000000) local t = {} for i = 1, 20000 do t[i] = s end table.sort(t)"},
    {"sort that loops", "table.sort({1, 2, 3}, function() while true do end end)"},
    {"string building", "local s = '' while true do s = s .. 'x' end"},
    {"allocation churn", "while true do local t = {{}, {}, {}} end"},
    {"strings without end", "local i = 0 while true do i = i + 1 local s = ('k'):rep(100) .. i end"},
    {"table.move", "table.move({}, 1, 1e15, 2)"},
    {"table.concat", "local t = {} for i = 1, 1e5 do t[i] = 'x' end while true do table.concat(t) end"},
    {"string.rep of nothing", "while true do (''):rep(1e9) end"},
    {"unpack", "while true do pcall(unpack, {}, 1, 7000) end"},
    {"select", "local function f(...) return select('#', ...) end while true do f(unpack({}, 1, 5000)) end"},
    {"format", "while true do ('%99.99f'):format(1e308) end"},
    {"os.date", "while true do os.date('%c') end"},
    {"swallowing the deadline",
     "local function stubborn() while true do pcall(function() while true do end end) end end "
     "while true do xpcall(stubborn, stubborn) coroutine.resume(coroutine.create(stubborn)) end"},
};

static void check_clean(struct mg_lua *lua, const char *name)
{
    if (lua_gethook(lua->L) || lua_gethookmask(lua->L) || lua->stop || lua_gettop(lua->L) != MG_LUA_FLOOR)
        check_failed(__FILE__, __LINE__, "%s left something behind", name);
    char answer[64];
    enum mg_lua_end end = sandbox_run(lua, "local n = 0 for i = 1, 100 do n = n + i end return n", 1000000, answer, sizeof(answer));
    if (end != MG_LUA_ENDED || strcmp(answer, "5050") != 0)
        check_failed(__FILE__, __LINE__, "after %s the state is broken: %s", name, answer);
}

static void run_all_runaways(void)
{
    struct mg_lua lua;
    sandbox_open(&lua);
    for (size_t i = 0; i < MG_COUNT(runaways); i++) {
        uint64_t began_us = mg_thread_cpu_us();
        enum mg_lua_end end = sandbox_run(&lua, runaways[i].code, BUDGET_US, text, sizeof(text));
        uint64_t took_us = mg_thread_cpu_us() - began_us;

        if (end != MG_LUA_OVERRAN && end != MG_LUA_STARVED)
            check_failed(__FILE__, __LINE__, "%s ended by itself: %s", runaways[i].name, text);
        if (took_us > LATE_US)
            check_failed(__FILE__, __LINE__, "%s took %llu ms", runaways[i].name, (unsigned long long)took_us / 1000);
        if (getenv("VERBOSE"))
            printf("  %-32s %6.1f ms  %s\n", runaways[i].name, (double)took_us / 1000, text);
        check_clean(&lua, runaways[i].name);
    }
    sandbox_close(&lua);
}

TEST(stops_every_runaway_in_time_and_leaves_no_hook_behind)
{
    sandbox_thread(run_all_runaways);
}

/* A deadline may pass anywhere: in an allocation, a collection, an unwind, the host's own C. */
static void interrupt_at_random(void)
{
    struct mg_lua lua;
    sandbox_open(&lua);
    uint32_t seed = 12345;
    int overran = 0;
    for (int i = 0; i < 800; i++) {
        seed = seed * 1664525 + 1013904223;
        const char *code = runaways[(seed >> 8) % MG_COUNT(runaways)].code;
        if (sandbox_run(&lua, code, (seed >> 20) % 1500, text, sizeof(text)) == MG_LUA_OVERRAN)
            overran++;
        CHECK(!lua_gethook(lua.L) && !lua.stop);
    }
    CHECK(overran > 700);
    check_clean(&lua, "random interrupts");
    sandbox_close(&lua);
}

TEST(survives_interrupts_at_random_moments)
{
    sandbox_thread(interrupt_at_random);
}

/* --- memory ---------------------------------------------------------------------------------- */

static const char *const bombs[] = {
    "local t = {} for i = 1, 1e9 do t[i] = {} end",
    "return ('x'):rep(1e9)",
    "local s = 'x' while true do s = s .. s end",
    "local t = {} while true do t[#t + 1] = ('x'):rep(100000) .. #t end",
    "return ('%s'):rep(1e6):format(unpack({}, 1, 5000))",
    "local t = {} for i = 1, 1e9 do t['k' .. i] = i end",
    "return ('x'):rep(1e6):gsub('x', ('y'):rep(1000))",
    "local t = {} for i = 1, 1e6 do t[i] = ('x'):rep(10) end return table.concat(t, ('y'):rep(1000))",
    "local t = {} while true do t[#t + 1] = coroutine.create(function() end) end",
    "local t = {} while true do t[#t + 1] = function() return t end end",
    "local function f(...) return f(1, ...) end f()",
    "local t = {} while true do pcall(function() while true do t[#t + 1] = {} end end) end",
    "local t = {} while true do coroutine.wrap(function() pcall(function() while true do t[#t + 1] = {} end end) end)() end",
    "local t = {} for i = 1, 100 do t[i] = ('x'):rep(1e6) .. i end",
    "string.format('%s', ('x'):rep(5e6)):upper():lower():reverse():rep(3)",
};

static void run_all_bombs(void)
{
    struct mg_lua lua;
    sandbox_open(&lua);
    for (size_t i = 0; i < MG_COUNT(bombs); i++) {
        enum mg_lua_end end = sandbox_run(&lua, bombs[i], 5000000, text, sizeof(text));
        if (end == MG_LUA_ENDED || end == MG_LUA_OVERRAN)
            check_failed(__FILE__, __LINE__, "no clean refusal of: %s (%s)", bombs[i], text);
        CHECK(lua.used_bytes <= MG_MAX_LUA_STATE_BYTES);
        check_clean(&lua, bombs[i]);
    }
    sandbox_close(&lua);
}

TEST(refuses_every_allocation_bomb_and_goes_on)
{
    sandbox_thread(run_all_bombs);
}

static void fail_each_allocation(void)
{
    const char *code = "local t = {} for i = 1, 30 do t[i] = ('k' .. i):gsub('k', function(c) return c .. i end) end "
                       "local co = coroutine.wrap(function() coroutine.yield(#table.concat(t)) end) "
                       "local ok = pcall(error, {}) return co(), ok";
    struct mg_lua lua;
    sandbox_open(&lua);
    int refused = 0;
    for (int nth = 1; nth < 400; nth++) {
        mg_fault_arm(MG_FAULT_LUA_ALLOC, nth);
        enum mg_lua_end end = sandbox_run(&lua, code, 1000000, text, sizeof(text));
        mg_fault_arm(MG_FAULT_LUA_ALLOC, 0);
        if (end == MG_LUA_STARVED)
            refused++;
        else
            CHECK(end == MG_LUA_ENDED);
    }
    CHECK(refused > 50);
    check_clean(&lua, "failing allocations");
    sandbox_close(&lua);
}

TEST(survives_the_failure_of_each_single_allocation)
{
    sandbox_thread(fail_each_allocation);
}

/* --- the C stack ----------------------------------------------------------------------------- */

static const char *const recursions[] = {
    "local function f() return (('x'):gsub('x', f)) end f()",
    "local function f() table.sort({1, 2}, f) end f()",
    "local t t = setmetatable({}, {__index = function() return ('x'):gsub('x', t) end}) return ('x'):gsub('x', t)",
    "local m = {} m.__lt = function() table.sort {setmetatable({}, m), setmetatable({}, m)} return true end m.__lt()",
    "local t t = setmetatable({}, {__tostring = function() return ('%s'):format(t) end}) return tostring(t)",
    "local function f() return coroutine.wrap(f)() end f()",
    "local function f() local ok, why = coroutine.resume(coroutine.create(f)) if not ok then error(why, 0) end end f()",
    "local function f() return (('x'):gsub('x', coroutine.wrap(f))) end f()",
    "local function f() return f() + 1 end f()",
    "local t = {} for i = 1, 1e5 do t = {t} end local s = ('('):rep(5000) return s:match(('(.'):rep(40))",
    "return ('x'):rep(1000):match(('x?'):rep(1000))",
    "local function f() return pcall(f) and f() end local ok, why = f() error(why or 'no', 0)",
};

static void run_all_recursions(void)
{
    struct mg_lua lua;
    sandbox_open(&lua);
    for (size_t i = 0; i < MG_COUNT(recursions); i++) {
        enum mg_lua_end end = sandbox_run(&lua, recursions[i], 200000, text, sizeof(text));
        if (end == MG_LUA_ENDED)
            check_failed(__FILE__, __LINE__, "no end of: %s (%s)", recursions[i], text);
        if (getenv("VERBOSE"))
            printf("  %s\n    %s\n", recursions[i], text);
        check_clean(&lua, recursions[i]);
    }
    sandbox_close(&lua);
}

TEST(ends_deep_recursion_before_the_c_stack_does)
{
    sandbox_thread(run_all_recursions);
}

/* Levels that an error jumped over must not count: or a plugin would lose gsub for good. */
TEST(counts_only_callbacks_that_are_still_running)
{
    struct mg_lua lua;
    sandbox_open(&lua);

    enum mg_lua_end end = sandbox_run(&lua,
                                      "for i = 1, 100 do pcall(string.gsub, 'x', 'x', function() error 'x' end) end "
                                      "return (('x'):gsub('x', function() return 'y' end))",
                                      1000000, text, sizeof(text));

    CHECK_STR(text, "y");
    CHECK(end == MG_LUA_ENDED);
    sandbox_close(&lua);
}

TEST(uses_most_of_its_memory_before_it_is_refused)
{
    struct mg_lua lua;
    sandbox_open(&lua);

    /* 5 MB that live, and strings that come and go beside them */
    enum mg_lua_end end = sandbox_run(&lua,
                                      "local t = {} for i = 1, 500 do t[i] = ('x'):rep(10000) .. i end "
                                      "for i = 1, 100000 do local s = ('y'):rep(100) .. i end return #t",
                                      5000000, text, sizeof(text));

    CHECK_STR(text, "500");
    CHECK(end == MG_LUA_ENDED);
    sandbox_close(&lua);
}

/* --- escapes --------------------------------------------------------------------------------- */

/* Each returns what the plugin got hold of; it must be exactly this. */
static const struct {
    const char *code, *got;
} escapes[] = {
    {"return io, debug, package, ffi, jit, module", "nil,nil,nil,nil,nil,nil"},
    {"return load, loadstring, loadfile, dofile, string.dump", "nil,nil,nil,nil,nil"},
    {"return getfenv, setfenv, newproxy, collectgarbage, gcinfo", "nil,nil,nil,nil,nil"},
    {"return os.execute, os.getenv, os.exit, os.remove, os.rename, os.tmpname, os.setlocale", "nil,nil,nil,nil,nil,nil,nil"},
    {"return pcall(require, 'io')", "false,there is no module 'io' here"},
    {"return (pcall(require, 'ffi'))", "false"},
    {"return (pcall(require, '../boot/prelude'))", "false"},
    {"return (pcall(require, 'moongate.../x'))", "false"},
    {"return getmetatable('')", ""},
    {"return ('').__index, ('').__metatable", "nil,nil"},
    {"string.upper = function() return 'poison' end return ('x'):upper()", "X"},
    {"return (pcall(setmetatable, '', {}))", "false"},
    {"return (pcall(setmetatable, print, {}))", "false"},
    {"return getmetatable(moongate)", "false"},
    {"return (pcall(setmetatable, moongate, {}))", "false"},
    {"return rawget(moongate, '__index'), _G == _G._G, rawget(_G, 'moongate') == moongate", "nil,true,true"},
    {"return tostring(print):find('0x'), tostring({}):find('0x'), tostring(coroutine.create(print)):find('0x')", "nil,nil,nil"},
    {"return (tostring(print):gsub('%d+', 'N'))", "function: #N"},
    {"return pcall(string.format, '%p', print)", "false,invalid option '%p' to 'format'"},
    {"return (pcall(string.format, '%5p', {}))", "false"},
    {"return (('%s'):format(print):gsub('%d+', 'N'))", "function: #N"},
    {"return ('%%p %d'):format(3)", "%p 3"},
    {"return pcall(error, setmetatable({}, {__tostring = function() return 'x' end}))", "false,table"},
    {"return select('#', pcall(unpack, {}, 1, 2^31 - 1))", "2"},
    {"return (pcall(unpack, {}, -2^31, 2^31 - 1))", "false"},
    {"return (pcall(unpack, {}, 0, 1e8))", "false"},
    {"return pcall(table.insert, {}, -2^30, 1)", "false,bad argument #2 to 'insert' (position out of bounds)"},
    {"return (pcall(string.rep, 'x', 2^40))", NULL},
    {"return bit.tobit(2^53), bit.lshift(1, 64), (pcall(bit.tohex, 1, -2^31))", "0,1,true"},
    {"return (pcall(string.byte, ('x'):rep(1e5), 1, -1))", "false"},
    {"return coroutine.running()", "nil"},
    {"local co = coroutine.create(function() return coroutine.running() end) local _, me = coroutine.resume(co) return me == co", "true"},
    {"local co co = coroutine.create(function() return coroutine.resume(co) end) return coroutine.resume(co)",
     "true,false,cannot resume a coroutine that runs or waits"},
    {"return coroutine.isyieldable, coroutine.close", "nil,nil"},
    {"local t = setmetatable({}, {__gc = function() error 'x' end}) t = nil return 1", "1"},
    {"return _VERSION, type(_G)", "Lua 5.1,table"},
    {"x = 1 return _G.x, rawget(_G, 'x')", "1,1"},
    {"local ok, why = pcall(string.match, 'x', '(') return why", "unfinished capture"},
    {"return pcall(string.gsub, 'x', '%', '')", NULL},
    {"return pcall(next, {}, 'nope')", NULL},
    {"return type(math.random()), math.randomseed", "number,nil"},
    {"local ok, why = xpcall(function() error({}) end, function(e) return type(e) end) return ok, why", "false,table"},
    {"return ('abc'):rep(3, '-')", "abc-abc-abc"},
};

static void run_all_escapes(void)
{
    struct mg_lua lua;
    sandbox_open(&lua);
    for (size_t i = 0; i < MG_COUNT(escapes); i++) {
        enum mg_lua_end end = sandbox_run(&lua, escapes[i].code, 1000000, text, sizeof(text));
        if (escapes[i].got && (end != MG_LUA_ENDED || strcmp(text, escapes[i].got) != 0))
            check_failed(__FILE__, __LINE__, "%s\n  gave %s\n  want %s", escapes[i].code, text, escapes[i].got);
        check_clean(&lua, escapes[i].code);
    }
    sandbox_close(&lua);
}

TEST(gives_plugins_nothing_that_leads_out)
{
    sandbox_thread(run_all_escapes);
}

/* What one environment changes, the next does not see. */
TEST(keeps_environments_apart)
{
    struct mg_lua lua;
    sandbox_open(&lua);

    sandbox_run(&lua,
                "leak = 1 string.rep = nil table.concat = nil moongate.log.info = nil pcall = nil "
                "rawset(moongate, 'json', nil) getmetatable = nil coroutine.resume = nil",
                1000000, text, sizeof(text));
    enum mg_lua_end end = sandbox_run(&lua,
                                      "return leak, type(string.rep), ('x').rep, type(table.concat), "
                                      "type(moongate.log.info), type(pcall), type(coroutine.resume)",
                                      1000000, text, sizeof(text));

    CHECK(end == MG_LUA_ENDED);
    CHECK_STR(text, "nil,function,function,function,function,function,function");
    sandbox_close(&lua);
}

/* --- loading --------------------------------------------------------------------------------- */

TEST(takes_text_only)
{
    struct mg_lua lua;
    sandbox_open(&lua);

    CHECK(sandbox_run(&lua, "\x1bLJ\x02\x08", 1000000, text, sizeof(text)) == MG_LUA_RAISED);
    CHECK(strstr(text, "bytecode") || strstr(text, "mode"));
    CHECK(sandbox_run(&lua, "return +", 1000000, text, sizeof(text)) == MG_LUA_RAISED);
    CHECK(strstr(text, "snippet:1:"));
    sandbox_close(&lua);
}

TEST(refuses_number_literals_that_load_the_ffi)
{
    static const struct {
        const char *code;
        int line;
    } rows[] = {
        {"return 1LL", 1},           {"return 1ull", 1},        {"return 0x1fULL", 1},     {"return 1i", 1},
        {"x = 2\n\nreturn 3.5e3I", 3}, {"return .5i", 1},         {"local a=1LL", 1},        {"return{1LL}", 1},
        {"return 'a\\\n1LL' .. 2LL", 2}, {"--[[\n]] return 1LL", 2}, {"--[==[ ]] ]==] return 1ll", 1}, {"-- x\n return 1i", 2},
        {"return '1LL'", 0},         {"return [[1LL]]", 0},     {"return [==[ ]] 1LL ]==]", 0}, {"-- 1LL", 0},
        {"--[[ 1LL ]] return 1", 0}, {"return x1LL", 0},        {"return a.b1i", 0},       {"return 0x1e + 1e5", 0},
        {"return 1 --[[LL]]", 0},    {"return \"\\\"1LL\"", 0}, {"return 1 ..\"i\"", 0},   {"return t[1].i", 0},
    };
    for (size_t i = 0; i < MG_COUNT(rows); i++) {
        int line = mg_sandbox_foreign_literal(mg_view_cstr(rows[i].code));
        if (line != rows[i].line)
            check_failed(__FILE__, __LINE__, "%s: line %d, want %d", rows[i].code, line, rows[i].line);
    }
}

/* The scan and the real lexer must not differ about what a number is. */
TEST(finds_every_literal_that_the_lexer_would_take_for_the_ffi_s)
{
    static const char letters[] = "0123456789abcdefxXpPuUlLiIeE._+- '\"[]=\\\n(),;";
    lua_State *L = luaL_newstate();
    luaL_openlibs(L);
    uint32_t seed = 4711;
    int loaded = 0, found = 0;
    for (int n = 0; n < 200000; n++) {
        char code[64] = "return ";
        size_t len = strlen(code);
        seed = seed * 1664525 + 1013904223;
        for (size_t more = 1 + (seed >> 24) % 10; more > 0; more--) {
            seed = seed * 1664525 + 1013904223;
            code[len++] = letters[(seed >> 16) % (sizeof(letters) - 1)];
        }
        code[len] = '\0';
        if (luaL_loadstring(L, code) == 0) {
            loaded++;
            int before = lua_gettop(L);
            bool foreign = lua_pcall(L, 0, LUA_MULTRET, 0) == 0;
            for (int i = before; foreign && i <= lua_gettop(L); i++)
                foreign = lua_type(L, i) > LUA_TTHREAD;    /* cdata */
            foreign = foreign && lua_gettop(L) >= before;
            found += foreign;
            if (foreign && !mg_sandbox_foreign_literal(mg_view_of(code, len)))
                check_failed(__FILE__, __LINE__, "missed in: %s", code);
        }
        lua_settop(L, 0);
    }
    CHECK(loaded > 1000 && found > 10);
    lua_close(L);
}

/* --- errors ---------------------------------------------------------------------------------- */

TEST(tells_where_an_error_happened)
{
    struct mg_lua lua;
    sandbox_open(&lua);

    CHECK(sandbox_run(&lua, "local function inner()\n  local x = nil\n  return x.y\nend\nreturn inner() .. ''", 1000000, text,
                      sizeof(text)) == MG_LUA_RAISED);
    CHECK(strncmp(text, "snippet:3: ", 11) == 0);
    CHECK(strstr(lua.trace, "\n  at snippet:3\n  at snippet:5"));

    CHECK(sandbox_run(&lua, "local n = 1\nwhile true do\n  n = n + 1\nend", 5000, text, sizeof(text)) == MG_LUA_OVERRAN);
    CHECK(strstr(text, "ran past its deadline at snippet:"));
    CHECK(sandbox_run(&lua, "error({ message = 'from a table' })", 1000000, text, sizeof(text)) == MG_LUA_RAISED);
    CHECK_STR(text, "from a table");
    CHECK(sandbox_run(&lua, "error(nil)", 1000000, text, sizeof(text)) == MG_LUA_RAISED);
    CHECK_STR(text, "nil");
    sandbox_close(&lua);
}

TEST(never_runs_tostring_of_an_error_value)
{
    struct mg_lua lua;
    sandbox_open(&lua);

    CHECK(sandbox_run(&lua, "error(setmetatable({}, { __tostring = function() while true do end end, __index = function() while true do end end }))",
                      1000000, text, sizeof(text)) == MG_LUA_RAISED);
    CHECK_STR(text, "error value is a table");
    sandbox_close(&lua);
}

MG_TEST_MAIN()
