/* A file that `extends` another says only what differs: tables with names are merged (unless they say `extends = false`),
 * lists take the place of the base's (`false` removes), rules, repairs and edits stand before the base's. */
#include <stdio.h>
#include <string.h>

#include "base/embed.h"
#include "base/mem.h"
#include "script/adapter_lua.h"
#include "script/args.h"
#include "script/trusted.h"

enum { MAX_EXTENDS = 4 };

static bool name_is_plain(const char *name)
{
    return name[0] && strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_-") == strlen(name);
}

bool mg_adapter_file(const char *name, char file[MG_ADAPTER_FILE_BYTES])
{
    snprintf(file, MG_ADAPTER_FILE_BYTES, "adapters/%s.lua", name);
    return name_is_plain(name) && mg_embedded_find(file);
}

static bool is_list(lua_State *L, int index)
{
    return lua_objlen(L, index) > 0;
}

static bool is_map(lua_State *L, int index)
{
    return lua_istable(L, index) && !is_list(L, index);
}

static bool key_is(lua_State *L, int index, const char *name)
{
    return lua_type(L, index) == LUA_TSTRING && strcmp(lua_tostring(L, index), name) == 0;
}

/* Appends the list at `from` to the one at `to`. */
static void append(lua_State *L, int to, int from)
{
    int count = (int)lua_objlen(L, from), at = (int)lua_objlen(L, to);
    for (int i = 1; i <= count; i++) {
        lua_rawgeti(L, from, i);
        lua_rawseti(L, to, at + i);
    }
}

/* A table that says `extends = false` takes the place of the base's. */
static bool stands_alone(lua_State *L, int index)
{
    lua_getfield(L, index, "extends");
    bool alone = lua_isboolean(L, -1);
    lua_pop(L, 1);
    lua_pushnil(L);
    lua_setfield(L, index, "extends");
    return alone;
}

/* Both at positive indexes; what stands in `over` is said of `base`. */
static void merge(lua_State *L, int base, int over)
{
    luaL_checkstack(L, 8, "adapter");
    for (lua_pushnil(L); lua_next(L, over);) {
        int value = lua_gettop(L), key = value - 1;
        lua_pushvalue(L, key);
        lua_rawget(L, base);
        int old = lua_gettop(L);
        bool alone = is_map(L, value) && stands_alone(L, value);
        bool stays_first = key_is(L, key, "rules") || key_is(L, key, "repairs") || key_is(L, key, "edits");
        if (stays_first && lua_istable(L, old) && lua_istable(L, value)) {
            append(L, value, old);
        } else if (is_map(L, old) && is_map(L, value) && !key_is(L, key, "auth") && !alone) {
            merge(L, old, value);
            lua_settop(L, key);
            continue;
        }
        lua_pushvalue(L, key);
        if (lua_isboolean(L, value) && !lua_toboolean(L, value))
            lua_pushnil(L);
        else
            lua_pushvalue(L, value);
        lua_rawset(L, base);
        lua_settop(L, key);
    }
}

/* What the file says, over what those say that it extends. */
static void push_adapter(lua_State *L, const char *name, int depth)
{
    char file[MG_ADAPTER_FILE_BYTES];
    if (!mg_adapter_file(name, file))
        luaL_error(L, "there is no adapter \"%s\" to extend", name);
    if (depth == MAX_EXTENDS)
        luaL_error(L, "\"%s\": more than %d adapters extend one another", name, (int)MAX_EXTENDS);
    luaL_checkstack(L, 8, "adapter");
    mg_trusted_run_file(L, file);
    int table = lua_gettop(L);
    mg_lua_table(L, table, "an adapter");
    mg_view base = mg_lua_field_text(L, table, "extends", "adapter", MG_VIEW_NONE);
    if (!base.ptr)
        return;
    push_adapter(L, base.ptr, depth + 1);
    lua_pushnil(L);
    lua_setfield(L, table, "extends");
    merge(L, table + 1, table);
    lua_replace(L, table);
}

void mg_adapter_push(lua_State *L, const char *name)
{
    push_adapter(L, name, 0);
}

void mg_adapter_push_spoken(lua_State *L, int index, int number)
{
    static const char *const shared[] = {"base_url", "auth", "limits", "headers", "vars"};
    mg_lua_field(L, index, "speaks");
    mg_lua_table(L, lua_gettop(L), "speaks");
    lua_rawgeti(L, lua_gettop(L), number);
    int entry = lua_gettop(L);
    bool differs = lua_istable(L, entry);
    mg_view base = differs ? mg_lua_field_text(L, entry, "extends", "speaks", MG_VIEW("")) : mg_lua_text(L, entry, "speaks");
    push_adapter(L, base.ptr, 0);
    int spoken = lua_gettop(L);
    lua_newtable(L);
    for (size_t i = 0; i < MG_COUNT(shared); i++) {
        lua_getfield(L, index, shared[i]);
        lua_setfield(L, -2, shared[i]);
    }
    merge(L, spoken, lua_gettop(L));
    if (differs) {
        lua_pushnil(L);
        lua_setfield(L, entry, "extends");
        merge(L, spoken, entry);
    }
    lua_pushnil(L);
    lua_setfield(L, spoken, "speaks");
    lua_settop(L, spoken);
}
