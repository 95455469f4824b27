/* The interruptible matcher gives what the stock functions give. */
#include "check.h"

#include "script/enter.h"
#include "script/matcher.h"
#include "script/sandbox.h"

/* ThreadSanitizer makes the C side so slow that a sample has to do; every other build compares all. */
#if defined(__SANITIZE_THREAD__)
enum { EVERY = 17 };
#else
enum { EVERY = 1 };
#endif

/* Runs `code` in a state whose globals are the stock libraries, with our functions in `own`. */
static int run(lua_State *L)
{
    const char *code = mg_lua_of(L)->body_arg;
    lua_newtable(L);
    static const luaL_Reg own[] = {{"find", mg_lua_find},     {"match", mg_lua_match}, {"gmatch", mg_lua_gmatch},
                                   {"gsub", mg_lua_gsub}, {NULL, NULL}};
    for (const luaL_Reg *f = own; f->name; f++) {
        lua_pushcfunction(L, f->func);
        lua_setfield(L, -2, f->name);
    }
    lua_setglobal(L, "own");
    if (luaL_loadstring(L, code) != 0)
        lua_error(L);
    lua_call(L, 0, 0);
    return 0;
}

static void run_lua(const char *code)
{
    struct mg_lua lua = {.kind = MG_LUA_TRUSTED};
    struct mg_lua_run hook = {.phase = MG_LUA_PHASE_load};
    struct mg_diag diag;
    CHECK_OK(mg_sandbox_open(&lua, "test", &diag));
    enum mg_lua_end end = mg_lua_enter(&lua, &hook, 60000000, run, (void *)code);
    if (end != MG_LUA_ENDED)
        fprintf(stderr, "%s\n", lua.trace);
    mg_sandbox_close(&lua);
    CHECK(end == MG_LUA_ENDED);
}

static const char same[] =
    "local function text(...)\n"
    "  local out = {}\n"
    "  for i = 1, select('#', ...) do out[i] = tostring((select(i, ...))) end\n"
    "  return table.concat(out, '|')\n"
    "end\n"
    "function outcome(f, ...)\n"
    "  local function all(ok, ...) return ok and 'ok ' .. text(...) or 'error' end\n"
    "  return all(pcall(f, ...))\n"
    "end\n"
    "local function walk(gmatch, s, p)\n"
    "  local out = {}\n"
    "  for a, b, c in gmatch(s, p) do out[#out + 1] = text(a, b, c) if #out > 50 then break end end\n"
    "  return table.concat(out, ';')\n"
    "end\n"
    "function same(s, p, repl, init)\n"
    "  local rows = {\n"
    "    { 'find', outcome(own.find, s, p, init), outcome(string.find, s, p, init) },\n"
    "    { 'plain', outcome(own.find, s, p, init, true), outcome(string.find, s, p, init, true) },\n"
    "    { 'match', outcome(own.match, s, p, init), outcome(string.match, s, p, init) },\n"
    "    { 'gmatch', outcome(walk, own.gmatch, s, p), outcome(walk, string.gmatch, s, p) },\n"
    "    { 'gsub', outcome(own.gsub, s, p, repl), outcome(string.gsub, s, p, repl) },\n"
    "    { 'gsub n', outcome(own.gsub, s, p, repl, init), outcome(string.gsub, s, p, repl, init) },\n"
    "  }\n"
    "  for _, row in ipairs(rows) do\n"
    "    if row[2] ~= row[3] then\n"
    "      error(('%s(%q, %q, %s, %s): own %s, stock %s'):format(row[1], s, p, tostring(repl), tostring(init), row[2], row[3]))\n"
    "    end\n"
    "  end\n"
    "end\n";

static void run_with_same(const char *code)
{
    char all[16384];
    CHECK((size_t)snprintf(all, sizeof(all), "%slocal every, n = %d, 0\n%s", same, EVERY, code) < sizeof(all));
    run_lua(all);
}

TEST(agrees_on_every_kind_of_pattern)
{
    run_with_same(
        "local subjects = { '', 'a', 'abc', 'hello world', 'THE (quick) fox', '  x  ', 'a.b.c', 'f(a(b)c)d', '1234-56', 'a\\0b', '\\255\\128x',\n"
        "  'key = value', '[x]', '^$', 'aaa', ('ab'):rep(50) }\n"
        "local patterns = { '', '.', '.-', '.*', '^', '$', '^$', 'a', 'a*', 'a+', 'a-', 'a?', '^a', 'c$', '%a+', '%A', '%d+', '%s*', '%w', '%W+', '%p',\n"
        "  '%u', '%l+', '%x+', '%c', '%z', '%Z', '%g+', '[abc]', '[^abc]', '[a-c]+', '[^%s]+', '[%w_]+', '[]]', '[^]]', '[a-]', '[-a]', '[%]]', '[a%-c]',\n"
        "  '(a)', '(.)(.)', '()', '(a)()', '((a)(b))', '(.-)%s*=%s*(.-)$', '%b()', '%b[]', '%baa', '%f[%w]%w+', '%f[%z]', '(.)%1', '%1', '(%1)', '(a*(.)%w(%s*))',\n"
        "  '%', '[', '[a', '[^', '[%', '(', ')', '%b', '%b(', '%f', '%fa', '(()', 'a**', '%%', 'a%', '^^', '$$', 'a$b', '.\\0', '[a-%z]', '%é', 'x*y*z*' }\n"
        "local repls = { '', 'x', '%0', '<%0>', '%1', '%2', '%%', '%', '%a', { a = 1, b = false, abc = 'T' }, function(x) return x ~= 'a' and x end,\n"
        "  function() return {} end, function() end }\n"
        "local inits = { nil, 1, 2, 3, -1, -2, -100, 100, 0 }\n"
        "for _, s in ipairs(subjects) do for _, p in ipairs(patterns) do for _, r in ipairs(repls) do\n"
        "  for i = 1, 9, 2 do\n"
        "    n = n + 1\n"
        "    if n % every == 0 then same(s, p, r, inits[i]) end\n"
        "  end\n"
        "end end end\n");
}

TEST(agrees_on_random_patterns)
{
    run_with_same(
        "math.randomseed(os.time())\n"
        "local atoms = { 'a', 'b', '.', '%a', '%d', '%w', '%s', '%W', '[ab]', '[^a]', '[%d-z]', '%b()', '%f[a]', '(', ')', '()', '^', '$', '%1', '%2', '\\0', '1', ' ', '%%', ']', '-' }\n"
        "local suffixes = { '', '', '', '*', '+', '-', '?' }\n"
        "local letters = { 'a', 'b', '1', ' ', '(', ')', '\\0', '-', ']', 'aa' }\n"
        "local repls = { '', '<%0>', '%1', 'x', function(x) return x end, { a = 'T' } }\n"
        "for _ = 1, 20000 / every do\n"
        "  local p, s = {}, {}\n"
        "  for i = 1, math.random(0, 6) do p[i] = atoms[math.random(#atoms)] .. suffixes[math.random(#suffixes)] end\n"
        "  for i = 1, math.random(0, 10) do s[i] = letters[math.random(#letters)] end\n"
        "  same(table.concat(s), table.concat(p), repls[math.random(#repls)], math.random(-3, 6))\n"
        "end\n");
}

TEST(agrees_on_patterns_that_are_too_complex)
{
    run_with_same("for n = 180, 220, 5 do\n"
                  "  local s = ('a'):rep(n)\n"
                  "  same(s, ('a?'):rep(n), 'x') same(s, ('(a)'):rep(30), '%9') same(s, ('(a)'):rep(33), 'x')\n"
                  "end\n");
}

MG_TEST_MAIN()
