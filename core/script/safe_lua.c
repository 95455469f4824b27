#include "script/safe_lua.h"

#include <string.h>

/* --- table.sort: a heap sort, because its worst case is its usual one -------------------------- */

struct sorter {
    lua_State *L;                      /* 1: the table, 2: nil or the function */
    struct mg_lua *lua;
    bool has_less;
    unsigned steps;
};

static bool less(struct sorter *sorter, int a, int b);
static void sift_down(struct sorter *sorter, int root, int count);

int mg_lua_sort(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TTABLE);
    if (!lua_isnoneornil(L, 2))
        luaL_checktype(L, 2, LUA_TFUNCTION);
    lua_settop(L, 2);
    luaL_checkstack(L, 8, NULL);

    struct sorter sorter = {.L = L, .lua = mg_lua_of(L), .has_less = !lua_isnil(L, 2)};
    int count = (int)lua_objlen(L, 1);
    mg_lua_callback_enter(L, __builtin_frame_address(0));
    for (int root = count / 2; root >= 1; root--)
        sift_down(&sorter, root, count);
    for (int last = count; last > 1; last--) {
        lua_rawgeti(L, 1, 1);
        lua_rawgeti(L, 1, last);
        lua_rawseti(L, 1, 1);
        lua_rawseti(L, 1, last);
        sift_down(&sorter, 1, last - 1);
    }
    mg_lua_callback_leave(L);
    return 0;
}

/* Lets the value at `root` sink until no child is greater. */
static void sift_down(struct sorter *sorter, int root, int count)
{
    lua_State *L = sorter->L;
    lua_rawgeti(L, 1, root);           /* 3: the value that sinks */
    int child;
    while ((child = 2 * root) <= count) {
        lua_rawgeti(L, 1, child);
        if (child < count) {
            lua_rawgeti(L, 1, child + 1);
            if (less(sorter, -2, -1)) {
                lua_remove(L, -2);
                child++;
            } else {
                lua_pop(L, 1);
            }
        }
        if (!less(sorter, 3, -1)) {
            lua_pop(L, 1);
            break;
        }
        lua_rawseti(L, 1, root);
        root = child;
    }
    lua_rawseti(L, 1, root);
}

/* Comparing long strings is work too: it is counted by their length. */
static bool less(struct sorter *sorter, int a, int b)
{
    lua_State *L = sorter->L;
    sorter->steps += 1 + (unsigned)(lua_type(L, a) == LUA_TSTRING ? lua_objlen(L, a) / 64 : 0);
    if (sorter->steps >= 1024) {
        sorter->steps = 0;
        mg_lua_poll(L);
    }
    if (!sorter->has_less)
        return lua_lessthan(L, a, b);

    a = a < 0 ? lua_gettop(L) + a + 1 : a;
    b = b < 0 ? lua_gettop(L) + b + 1 : b;
    lua_pushvalue(L, 2);
    lua_pushvalue(L, a);
    lua_pushvalue(L, b);
    lua_call(L, 2, 1);
    bool result = lua_toboolean(L, -1);
    lua_pop(L, 1);
    return result;
}

/* --- string.format --------------------------------------------------------------------------- */

static bool has_pointer_option(const char *format, size_t len)
{
    for (size_t i = 0; i + 1 < len; i++) {
        if (format[i] != '%')
            continue;
        i++;
        while (i < len && strchr("-+ #0123456789.", format[i]) && format[i] != '\0')
            i++;
        if (i < len && format[i] == 'p')
            return true;
    }
    return false;
}

int mg_lua_format(lua_State *L)
{
    size_t len;
    const char *format = luaL_checklstring(L, 1, &len);
    if (has_pointer_option(format, len))
        return luaL_error(L, "invalid option '%%p' to 'format'");

    int count = lua_gettop(L);
    luaL_checkstack(L, 3, NULL);
    for (int i = 2; i <= count; i++) {
        int type = lua_type(L, i);
        if (type == LUA_TSTRING || type == LUA_TNUMBER || type == LUA_TNIL || type == LUA_TBOOLEAN)
            continue;
        mg_lua_callback_enter(L, __builtin_frame_address(0));
        lua_pushvalue(L, lua_upvalueindex(2));
        lua_pushvalue(L, i);
        lua_call(L, 1, 1);
        mg_lua_callback_leave(L);
        lua_replace(L, i);
    }
    lua_pushvalue(L, lua_upvalueindex(1));
    lua_insert(L, 1);
    lua_call(L, count, LUA_MULTRET);
    return lua_gettop(L);
}
