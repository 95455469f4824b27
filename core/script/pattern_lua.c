#include "script/pattern_lua.h"

#include "base/mem.h"

/* The scratch of a state stands in the registry under this number. */
enum { SCRATCH = 0x6d670004, REGION_BYTES = MG_PATTERN_REGIONS * (int)sizeof(struct mg_region) };

static int on_gc(lua_State *L)
{
    struct mg_patterns **patterns = lua_touserdata(L, 1);
    mg_patterns_unref(*patterns);
    *patterns = NULL;
    return 0;
}

static int on_scratch_gc(lua_State *L)
{
    struct mg_patterns_scratch **scratch = lua_touserdata(L, 1);
    mg_patterns_scratch_free(*scratch);
    *scratch = NULL;
    return 0;
}

static struct mg_patterns_scratch *scratch_of(lua_State *L)
{
    lua_rawgeti(L, LUA_REGISTRYINDEX, SCRATCH);
    struct mg_patterns_scratch **scratch = lua_touserdata(L, -1);
    lua_pop(L, 1);
    if (scratch)
        return *scratch;
    scratch = lua_newuserdata(L, sizeof(void *));
    *scratch = NULL;
    lua_createtable(L, 0, 1);
    lua_pushcfunction(L, on_scratch_gc);
    lua_setfield(L, -2, "__gc");
    lua_setmetatable(L, -2);
    lua_rawseti(L, LUA_REGISTRYINDEX, SCRATCH);
    return *scratch = mg_patterns_scratch_new();
}

static void push_metatable(lua_State *L, const struct mg_lua_class *class_)
{
    lua_rawgeti(L, LUA_REGISTRYINDEX, class_->meta);
    if (!lua_isnil(L, -1))
        return;
    lua_pop(L, 1);
    lua_createtable(L, 0, 3);
    lua_newtable(L);
    for (const struct mg_lua_function *method = class_->methods; method->name; method++) {
        mg_lua_push_function(L, method);
        lua_setfield(L, -2, method->name);
    }
    lua_setfield(L, -2, "__index");
    lua_pushcfunction(L, on_gc);
    lua_setfield(L, -2, "__gc");
    lua_pushboolean(L, false);
    lua_setfield(L, -2, "__metatable");
    lua_pushvalue(L, -1);
    lua_rawseti(L, LUA_REGISTRYINDEX, class_->meta);
}

void mg_lua_push_patterns(lua_State *L, const struct mg_lua_class *class_, const char *what,
                          const struct mg_pattern *list, size_t count)
{
    struct mg_diag diag = {.text = ""};
    struct mg_patterns **patterns = lua_newuserdata(L, sizeof(void *));
    *patterns = NULL;
    push_metatable(L, class_);
    lua_setmetatable(L, -2);
    lua_pushvalue(L, -2);
    lua_setfenv(L, -2);
    lua_remove(L, -2);
    if (mg_patterns_new(list, count, patterns, &diag) != MG_OK)
        luaL_error(L, "%s: %s", what, diag.text);
}

static struct mg_patterns *self_of(lua_State *L, const struct mg_lua_class *class_, const char *what)
{
    bool same = false;
    if (lua_type(L, 1) == LUA_TUSERDATA && lua_getmetatable(L, 1)) {
        push_metatable(L, class_);
        same = lua_rawequal(L, -1, -2);
        lua_pop(L, 2);
    }
    if (!same)
        luaL_error(L, "%s: call it with ':' on a %s", what, class_->name);
    return *(struct mg_patterns **)lua_touserdata(L, 1);
}

struct mg_buf *mg_lua_scan(lua_State *L, const struct mg_lua_class *class_, const char *what,
                                 enum mg_region_rule rule, size_t from, mg_view *out_text)
{
    struct mg_lua *lua = mg_lua_of(L);
    struct mg_patterns *patterns = self_of(L, class_, what);
    if (lua_type(L, 2) != LUA_TSTRING)
        luaL_error(L, "%s: text must be a string, got %s", what, lua_typename(L, lua_type(L, 2)));
    *out_text = mg_view_skip(mg_lua_text(L, 2, what), from);
    struct mg_patterns_scratch *scratch = scratch_of(L);
    struct mg_buf *regions = mg_lua_scratch(L, REGION_BYTES);
    mg_err err = mg_patterns_scan(patterns, scratch, *out_text, rule, &lua->stop, regions);
    mg_lua_poll(L);
    if (err == MG_OK)
        return regions;
    mg_lua_scratch_end(regions);
    if (err == MG_E_TOO_LARGE)
        mg_lua_fail(L, "too_large", false, "%s: the text, or what was found in it, is too large", what);
    else
        mg_lua_fail_err(L, err, what);
    return NULL;
}

bool mg_lua_pending(lua_State *L, const struct mg_lua_class *class_, const char *what, struct mg_buf *regions,
                    size_t *out_start)
{
    mg_err err = mg_patterns_pending(self_of(L, class_, what), scratch_of(L), mg_lua_text(L, 2, what), regions, out_start);
    if (err != MG_E_NOT_FOUND)
        mg_lua_check(L, err, what);
    return err == MG_OK;
}

int mg_lua_max_length(lua_State *L, const struct mg_lua_class *class_, const char *what)
{
    uint32_t width = mg_patterns_max_width(self_of(L, class_, what));
    if (width == UINT32_MAX)
        lua_pushnil(L);
    else
        lua_pushnumber(L, width);
    return 1;
}
