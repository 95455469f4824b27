#include "script/args.h"

#include <math.h>
#include <string.h>

#include "base/mem.h"

/* The metatable of scratch buffers is found in the registry under this number: looking up a number allocates nothing. */
enum { SCRATCH_META = 0x6d670001, OPEN_SCRATCHES = 8 };

static const char *found(lua_State *L, int index)
{
    return lua_isnoneornil(L, index) ? "nil" : lua_typename(L, lua_type(L, index));
}

int mg_lua_bad(lua_State *L, int index, const char *what, const char *expected)
{
    luaL_error(L, "%s must be %s, got %s", what, expected, found(L, index));
    __builtin_unreachable();
}

mg_view mg_lua_text(lua_State *L, int index, const char *what)
{
    size_t len = 0;
    if (lua_type(L, index) != LUA_TSTRING)
        mg_lua_bad(L, index, what, "a string");
    const char *text = lua_tolstring(L, index, &len);
    return mg_view_of(text, len);
}

mg_view mg_lua_opt_text(lua_State *L, int index, const char *what, mg_view otherwise)
{
    return lua_isnoneornil(L, index) ? otherwise : mg_lua_text(L, index, what);
}

double mg_lua_number(lua_State *L, int index, const char *what)
{
    if (lua_type(L, index) != LUA_TNUMBER)
        mg_lua_bad(L, index, what, "a number");
    double number = lua_tonumber(L, index);
    if (!isfinite(number))
        luaL_error(L, "%s must be a finite number", what);
    return number;
}

int64_t mg_lua_integer(lua_State *L, int index, const char *what, int64_t min, int64_t max)
{
    if (lua_type(L, index) != LUA_TNUMBER)
        mg_lua_bad(L, index, what, "a whole number");
    double number = lua_tonumber(L, index);
    if (!(number >= (double)min && number <= (double)max) || number != floor(number))
        luaL_error(L, "%s must be a whole number from %f to %f, got %f", what, (double)min, (double)max, number);
    return (int64_t)number;
}

bool mg_lua_boolean(lua_State *L, int index, const char *what)
{
    if (lua_type(L, index) != LUA_TBOOLEAN)
        mg_lua_bad(L, index, what, "true or false");
    return lua_toboolean(L, index);
}

void mg_lua_table(lua_State *L, int index, const char *what)
{
    if (lua_type(L, index) != LUA_TTABLE)
        mg_lua_bad(L, index, what, "a table");
}

void mg_lua_field(lua_State *L, int index, const char *name)
{
    lua_pushstring(L, name);
    lua_rawget(L, index);
}

/* "moongate.http.request: field 'url'", anchored on the stack for the message it is used in. */
static const char *field_name(lua_State *L, const char *what, const char *name)
{
    return lua_pushfstring(L, "%s: field '%s'", what, name);
}

mg_view mg_lua_field_text(lua_State *L, int index, const char *name, const char *what, mg_view otherwise)
{
    mg_lua_field(L, index, name);
    if (!lua_isnil(L, -1)) {
        if (lua_type(L, -1) != LUA_TSTRING)
            mg_lua_bad(L, lua_gettop(L), field_name(L, what, name), "a string");
        otherwise = mg_lua_text(L, -1, what);
    }
    lua_pop(L, 1);                     /* the table keeps it */
    return otherwise;
}

/* Pushes the field and the words for it; false, with nothing pushed, when it is nil. */
static bool push_field(lua_State *L, int index, const char *name, const char *what, const char **out_words)
{
    mg_lua_field(L, index, name);
    if (lua_isnil(L, -1)) {
        lua_pop(L, 1);
        return false;
    }
    *out_words = field_name(L, what, name);
    return true;
}

int64_t mg_lua_field_integer(lua_State *L, int index, const char *name, const char *what, int64_t min, int64_t max,
                             int64_t otherwise)
{
    const char *words;
    if (!push_field(L, index, name, what, &words))
        return otherwise;
    otherwise = mg_lua_integer(L, lua_gettop(L) - 1, words, min, max);
    lua_pop(L, 2);
    return otherwise;
}

double mg_lua_field_number(lua_State *L, int index, const char *name, const char *what, double otherwise)
{
    const char *words;
    if (!push_field(L, index, name, what, &words))
        return otherwise;
    otherwise = mg_lua_number(L, lua_gettop(L) - 1, words);
    lua_pop(L, 2);
    return otherwise;
}

bool mg_lua_field_boolean(lua_State *L, int index, const char *name, const char *what, bool otherwise)
{
    const char *words;
    if (!push_field(L, index, name, what, &words))
        return otherwise;
    otherwise = mg_lua_boolean(L, lua_gettop(L) - 1, words);
    lua_pop(L, 2);
    return otherwise;
}

static bool listed(const char *const *names, const char *name)
{
    for (; *names; names++)
        if (strcmp(*names, name) == 0)
            return true;
    return false;
}

static void unknown_key(lua_State *L, const char *what, const char *const *names)
{
    const char *key = lua_type(L, -2) == LUA_TSTRING ? lua_tostring(L, -2) : found(L, -2);
    luaL_Buffer list;
    luaL_buffinit(L, &list);
    for (int i = 0; names[i]; i++) {
        luaL_addstring(&list, i ? ", " : "");
        luaL_addstring(&list, names[i]);
    }
    luaL_pushresult(&list);
    luaL_error(L, "%s: unknown field '%s' (known: %s)", what, key, lua_tostring(L, -1));
}

void mg_lua_only(lua_State *L, int index, const char *what, const char *const *names)
{
    for (lua_pushnil(L); lua_next(L, index); lua_pop(L, 1))
        if (lua_type(L, -2) != LUA_TSTRING || !listed(names, lua_tostring(L, -2)))
            unknown_key(L, what, names);
}

struct scratch {
    struct mg_buf buf;
    struct mg_lua *lua;                /* NULL: given back */
};

void mg_lua_scratch_end(struct mg_buf *buf)
{
    struct scratch *scratch = mg_container_of(buf, struct scratch, buf);
    mg_buf_fini(buf);
    if (scratch->lua)
        scratch->lua->scratches--;
    scratch->lua = NULL;
}

static int scratch_gc(lua_State *L)
{
    struct scratch *scratch = lua_touserdata(L, 1);
    mg_lua_scratch_end(&scratch->buf);
    return 0;
}

struct mg_buf *mg_lua_scratch(lua_State *L, size_t max)
{
    struct mg_lua *lua = mg_lua_of(L);
    if (lua->scratches >= OPEN_SCRATCHES)
        lua_gc(L, LUA_GCCOLLECT, 0);
    struct scratch *scratch = lua_newuserdata(L, sizeof *scratch);
    struct mg_buf *buf = &scratch->buf;
    mg_buf_init(buf, max);
    scratch->lua = NULL;
    lua_rawgeti(L, LUA_REGISTRYINDEX, SCRATCH_META);
    if (lua_isnil(L, -1)) {
        lua_pop(L, 1);
        lua_createtable(L, 0, 2);
        lua_pushcfunction(L, scratch_gc);
        lua_setfield(L, -2, "__gc");
        lua_pushboolean(L, false);
        lua_setfield(L, -2, "__metatable");
        lua_pushvalue(L, -1);
        lua_rawseti(L, LUA_REGISTRYINDEX, SCRATCH_META);
    }
    lua_setmetatable(L, -2);
    scratch->lua = lua;
    lua->scratches++;
    return buf;
}

void mg_lua_push_view(lua_State *L, mg_view text)
{
    lua_pushlstring(L, text.ptr ? text.ptr : "", text.len);
}

void mg_lua_check(lua_State *L, mg_err err, const char *what)
{
    if (err != MG_OK)
        luaL_error(L, "%s: %s", what, mg_err_text(err));
}

int mg_lua_fail_err(lua_State *L, mg_err err, const char *what)
{
    char code[32];
    const char *name = mg_err_name(err) + (strncmp(mg_err_name(err), "E_", 2) == 0 ? 2 : 0);
    size_t i = 0;
    for (; name[i] && i < sizeof code - 1; i++)
        code[i] = name[i] >= 'A' && name[i] <= 'Z' ? (char)(name[i] - 'A' + 'a') : name[i];
    code[i] = '\0';
    return mg_lua_fail(L, code, mg_err_retry(err), "%s: %s", what, mg_err_text(err));
}
