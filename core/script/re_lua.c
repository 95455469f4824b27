#include "script/modules.h"
#include "script/pattern_lua.h"

/* Compiling takes milliseconds, so it happens while a generation is built and never under traffic. */
enum { OUT_BYTES = 16777216 };

/* The byte offset a search begins at, from the 1-based argument 3. */
static size_t start_of(lua_State *L, const char *what)
{
    if (lua_isnoneornil(L, 3))
        return 0;
    int64_t init = mg_lua_integer(L, 3, what, INT32_MIN, INT32_MAX), len = (int64_t)lua_objlen(L, 2);
    init = init < 0 ? len + init : init - 1;
    return init < 0 ? 0 : init > len ? (size_t)len : (size_t)init;
}

static int regex_find(lua_State *L)
{
    mg_view text;
    size_t from = start_of(L, "regex:find: init");
    struct mg_buf *regions = mg_lua_scan(L, &mg_lua_regex, "regex:find", MG_REGION_LONGEST, from, &text);
    if (!regions)
        return 2;
    int results = mg_region_count(regions) > 0 ? 2 : 0;
    if (results) {
        lua_pushinteger(L, (lua_Integer)(from + mg_region_at(regions, 0)->from) + 1);
        lua_pushinteger(L, (lua_Integer)(from + mg_region_at(regions, 0)->to));
    }
    mg_lua_scratch_end(regions);
    return results;
}

static mg_view region_text(mg_view text, const struct mg_region *region)
{
    return mg_view_of(text.ptr + region->from, region->to - region->from);
}

static int regex_match(lua_State *L)
{
    mg_view text;
    size_t from = start_of(L, "regex:match: init");
    struct mg_buf *regions = mg_lua_scan(L, &mg_lua_regex, "regex:match", MG_REGION_LONGEST, from, &text);
    if (!regions)
        return 2;
    int results = mg_region_count(regions) > 0;
    if (results)
        mg_lua_push_view(L, region_text(text, mg_region_at(regions, 0)));
    mg_lua_scratch_end(regions);
    return results;
}

static int regex_matches(lua_State *L)
{
    mg_view text;
    struct mg_buf *regions = mg_lua_scan(L, &mg_lua_regex, "regex:matches", MG_REGION_LONGEST, 0, &text);
    if (!regions)
        return 2;
    size_t count = mg_region_count(regions);
    lua_createtable(L, (int)count, 0);
    for (size_t i = 0; i < count; i++) {
        mg_lua_push_view(L, region_text(text, mg_region_at(regions, i)));
        lua_rawseti(L, -2, (int)i + 1);
    }
    mg_lua_scratch_end(regions);
    return 1;
}

static int regex_test(lua_State *L)
{
    mg_view text;
    struct mg_buf *regions = mg_lua_scan(L, &mg_lua_regex, "regex:test", MG_REGION_ANY, 0, &text);
    if (!regions)
        return 2;
    lua_pushboolean(L, mg_region_count(regions) > 0);
    mg_lua_scratch_end(regions);
    return 1;
}

/* Pushes what replaces the match: a string as it is, a table's entry, a function's result; nil and false keep it. */
static void push_replacement(lua_State *L, mg_view match)
{
    switch (lua_type(L, 3)) {
    case LUA_TSTRING:
        lua_pushvalue(L, 3);
        return;
    case LUA_TTABLE:
        mg_lua_push_view(L, match);
        lua_rawget(L, 3);
        break;
    default:
        lua_pushvalue(L, 3);
        mg_lua_push_view(L, match);
        mg_lua_callback_enter(L, __builtin_frame_address(0));
        lua_call(L, 1, 1);
        mg_lua_callback_leave(L);
    }
    if (!lua_toboolean(L, -1)) {
        lua_pop(L, 1);
        mg_lua_push_view(L, match);
    }
    if (lua_type(L, -1) != LUA_TSTRING)
        luaL_error(L, "regex:gsub: the replacement must be a string, nil or false, got %s",
                   lua_typename(L, lua_type(L, -1)));
}

static int regex_gsub(lua_State *L)
{
    mg_view text;
    size_t at = 0, i = 0, most = SIZE_MAX;
    if (lua_type(L, 3) != LUA_TSTRING && lua_type(L, 3) != LUA_TTABLE && lua_type(L, 3) != LUA_TFUNCTION)
        mg_lua_bad(L, 3, "regex:gsub: replacement", "a string, a table or a function");
    if (!lua_isnoneornil(L, 4))
        most = (size_t)mg_lua_integer(L, 4, "regex:gsub: n", 0, INT32_MAX);
    struct mg_buf *regions = mg_lua_scan(L, &mg_lua_regex, "regex:gsub", MG_REGION_LONGEST, 0, &text);
    if (!regions)
        return 2;
    struct mg_buf *out = mg_lua_scratch(L, OUT_BYTES);
    for (; i < mg_region_count(regions) && i < most; i++) {
        const struct mg_region *region = mg_region_at(regions, i);
        push_replacement(L, region_text(text, region));
        mg_lua_check(L, mg_buf_put(out, mg_view_of(text.ptr + at, region->from - at)), "regex:gsub");
        mg_lua_check(L, mg_buf_put(out, mg_lua_text(L, -1, "regex:gsub")), "regex:gsub");
        lua_pop(L, 1);
        at = region->to;
        if (i % 1024 == 1023)
            mg_lua_poll(L);
    }
    mg_lua_check(L, mg_buf_put(out, mg_view_skip(text, at)), "regex:gsub");
    mg_lua_push_view(L, mg_buf_view(out));
    mg_lua_scratch_end(out);
    mg_lua_scratch_end(regions);
    lua_pushinteger(L, (lua_Integer)i);
    return 2;
}

static int regex_max_length(lua_State *L)
{
    return mg_lua_max_length(L, &mg_lua_regex, "regex:max_length");
}

static const struct mg_lua_function methods[] = {
    {"find", regex_find, MG_LUA_ANYWHERE, NULL, false},       {"match", regex_match, MG_LUA_ANYWHERE, NULL, false},
    {"matches", regex_matches, MG_LUA_ANYWHERE, NULL, false}, {"test", regex_test, MG_LUA_ANYWHERE, NULL, false},
    {"gsub", regex_gsub, MG_LUA_ANYWHERE, NULL, false},       {"max_length", regex_max_length, MG_LUA_ANYWHERE, NULL, false},
    {NULL, NULL, 0, NULL, false},
};
const struct mg_lua_class mg_lua_regex = {"moongate.Regex", methods, 0x6d670005};

static int re_compile(lua_State *L)
{
    static const char *const names[] = {"caseless", NULL};
    struct mg_pattern pattern = {mg_lua_text(L, 1, "moongate.re.compile: pattern"), false, false};
    if (!lua_isnoneornil(L, 2)) {
        mg_lua_table(L, 2, "moongate.re.compile: options");
        mg_lua_only(L, 2, "moongate.re.compile", names);
        pattern.caseless = mg_lua_field_boolean(L, 2, "caseless", "moongate.re.compile", false);
    }
    lua_newtable(L);
    mg_lua_push_patterns(L, &mg_lua_regex, "moongate.re.compile", &pattern, 1);
    return 1;
}

static const struct mg_lua_function functions[] = {
    {"compile", re_compile, MG_LUA_SETUP, NULL, false},
    {NULL, NULL, 0, NULL, false},
};

const struct mg_lua_module mg_lua_re = {"re", functions, NULL};
