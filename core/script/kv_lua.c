#include "script/args.h"

#include "base/limits.h"
#include "script/kv.h"
#include "script/modules.h"

enum { IN = MG_LUA_HOOKS | MG_LUA_IN(new) };

static const char *const ttl_only[] = {"ttl_ms", NULL};

/* Which space a name is in; *key loses the prefix "shared:". */
static struct mg_kv_space *space_of(lua_State *L, mg_view *key, const char *what)
{
    struct mg_instance *instance = mg_lua_of(L)->run ? mg_lua_of(L)->run->instance : NULL;
    mg_view shared = MG_VIEW("shared:");
    if (!instance) {
        luaL_error(L, "%s: only plugins have a kv space", what);
        return NULL;
    }
    if (!mg_view_starts(*key, shared)) {
        if (!instance->kv)
            instance->kv = mg_kv_space(mg_view_cstr(instance->project), mg_view_cstr(instance->name));
        return instance->kv;
    }
    if (!instance->kv_shared)
        instance->kv_shared = mg_kv_space(mg_view_cstr(instance->project), MG_VIEW_NONE);
    *key = mg_view_skip(*key, shared.len);
    return instance->kv_shared;
}

static struct mg_kv_space *key_argument(lua_State *L, const char *what, mg_view *out_key)
{
    *out_key = mg_lua_text(L, 1, what);
    struct mg_kv_space *space = space_of(L, out_key, what);
    if (out_key->len == 0 || out_key->len > MG_KV_KEY_BYTES || memchr(out_key->ptr, '\0', out_key->len))
        luaL_error(L, "%s must have from 1 to %d bytes and no NUL", what, MG_KV_KEY_BYTES);
    return space;
}

static struct mg_kv_value value_argument(lua_State *L, int index, const char *what)
{
    switch (lua_type(L, index)) {
    case LUA_TNIL:
        return (struct mg_kv_value){MG_KV_NONE, MG_VIEW_NONE, 0, false};
    case LUA_TSTRING:
        return (struct mg_kv_value){MG_KV_STRING, mg_lua_text(L, index, what), 0, false};
    case LUA_TNUMBER:
        return (struct mg_kv_value){MG_KV_NUMBER, MG_VIEW_NONE, mg_lua_number(L, index, what), false};
    case LUA_TBOOLEAN:
        return (struct mg_kv_value){MG_KV_BOOL, MG_VIEW_NONE, 0, lua_toboolean(L, index)};
    default:
        mg_lua_bad(L, index, what, "a string, a number, true, false or nil");
    }
}

static void push_value(lua_State *L, const struct mg_kv_value *value)
{
    switch (value->type) {
    case MG_KV_STRING:
        mg_lua_push_view(L, value->string);
        break;
    case MG_KV_NUMBER:
        lua_pushnumber(L, value->number);
        break;
    case MG_KV_BOOL:
        lua_pushboolean(L, value->boolean);
        break;
    default:
        lua_pushnil(L);
    }
}

static int fail(lua_State *L, mg_err err, const char *what)
{
    if (err == MG_E_TOO_LARGE)
        return mg_lua_fail(L, "too_large", false, "%s: a value has at most %d bytes", what, MG_MAX_KV_VALUE_BYTES);
    if (err == MG_E_BUSY)
        return mg_lua_fail(L, "quota", false, "%s: the space is full (%d keys, %d bytes)", what, MG_MAX_KV_KEYS,
                           MG_MAX_KV_BYTES);
    return mg_lua_fail_err(L, err, what);
}

static uint64_t ttl_field(lua_State *L, int index, const char *what)
{
    return (uint64_t)mg_lua_field_integer(L, index, "ttl_ms", what, 1, INT64_C(1) << 53, 0);
}

static int kv_get(lua_State *L)
{
    mg_view key;
    struct mg_kv_value value;
    struct mg_kv_space *space = key_argument(L, "moongate.kv.get: key", &key);
    struct mg_buf *scratch = mg_lua_scratch(L, MG_MAX_KV_VALUE_BYTES);
    mg_err err = mg_kv_get(space, key, scratch, &value);
    if (err != MG_OK)
        return fail(L, err, "moongate.kv.get");
    push_value(L, &value);
    mg_lua_scratch_end(scratch);
    return 1;
}

static int kv_set(lua_State *L)
{
    static const char *const names[] = {"ttl_ms", "nx", NULL};
    mg_view key;
    struct mg_kv_options options = {0, false};
    struct mg_kv_space *space = key_argument(L, "moongate.kv.set: key", &key);
    if (lua_gettop(L) < 2)
        mg_lua_bad(L, 2, "moongate.kv.set: value", "given (nil deletes)");
    struct mg_kv_value value = value_argument(L, 2, "moongate.kv.set: value");
    if (!lua_isnoneornil(L, 3)) {
        mg_lua_table(L, 3, "moongate.kv.set: options");
        mg_lua_only(L, 3, "moongate.kv.set", names);
        options.ttl_ms = ttl_field(L, 3, "moongate.kv.set");
        options.only_new = mg_lua_field_boolean(L, 3, "nx", "moongate.kv.set", false);
    }
    mg_err err = mg_kv_set(space, key, &value, options);
    if (err != MG_OK && err != MG_E_EXISTS)
        return fail(L, err, "moongate.kv.set");
    lua_pushboolean(L, err == MG_OK);
    return 1;
}

static int kv_incr(lua_State *L)
{
    static const char *const names[] = {"ttl_ms", "init", NULL};
    mg_view key;
    double by = 1, init = 0, number = 0;
    uint64_t ttl_ms = 0;
    struct mg_kv_space *space = key_argument(L, "moongate.kv.incr: key", &key);
    if (!lua_isnoneornil(L, 2))
        by = mg_lua_number(L, 2, "moongate.kv.incr: n");
    if (!lua_isnoneornil(L, 3)) {
        mg_lua_table(L, 3, "moongate.kv.incr: options");
        mg_lua_only(L, 3, "moongate.kv.incr", names);
        ttl_ms = ttl_field(L, 3, "moongate.kv.incr");
        init = mg_lua_field_number(L, 3, "init", "moongate.kv.incr", 0);
    }
    mg_err err = mg_kv_incr(space, key, by, init, ttl_ms, &number);
    if (err == MG_E_BAD_REQUEST)
        return mg_lua_fail(L, "not_a_number", false, "moongate.kv.incr: what is there is no number");
    if (err != MG_OK)
        return fail(L, err, "moongate.kv.incr");
    lua_pushnumber(L, number);
    return 1;
}

static int kv_cas(lua_State *L)
{
    mg_view key;
    bool done = false;
    uint64_t ttl_ms = 0;
    struct mg_kv_space *space = key_argument(L, "moongate.kv.cas: key", &key);
    if (lua_gettop(L) < 3)
        mg_lua_bad(L, 3, "moongate.kv.cas: value", "given (nil deletes)");
    struct mg_kv_value expected = value_argument(L, 2, "moongate.kv.cas: expected");
    struct mg_kv_value value = value_argument(L, 3, "moongate.kv.cas: value");
    if (!lua_isnoneornil(L, 4)) {
        mg_lua_table(L, 4, "moongate.kv.cas: options");
        mg_lua_only(L, 4, "moongate.kv.cas", ttl_only);
        ttl_ms = ttl_field(L, 4, "moongate.kv.cas");
    }
    mg_err err = mg_kv_cas(space, key, &expected, &value, ttl_ms, &done);
    if (err != MG_OK)
        return fail(L, err, "moongate.kv.cas");
    lua_pushboolean(L, done);
    return 1;
}

static int kv_del(lua_State *L)
{
    mg_view key;
    struct mg_kv_space *space = key_argument(L, "moongate.kv.del: key", &key);
    lua_pushboolean(L, mg_kv_del(space, key));
    return 1;
}

static int kv_scan(lua_State *L)
{
    mg_view prefix = mg_lua_text(L, 1, "moongate.kv.scan: prefix");
    int64_t limit = lua_isnoneornil(L, 2) ? 100 : mg_lua_integer(L, 2, "moongate.kv.scan: limit", 1, MG_KV_SCAN);
    bool shared = mg_view_starts(prefix, MG_VIEW("shared:"));
    struct mg_kv_space *space = space_of(L, &prefix, "moongate.kv.scan");
    struct mg_buf *keys = mg_lua_scratch(L, 2 * MG_MAX_KV_BYTES);
    size_t count = 0;
    mg_err err = mg_kv_scan(space, prefix, (size_t)limit, keys, &count);
    if (err != MG_OK)
        return fail(L, err, "moongate.kv.scan");
    lua_createtable(L, (int)count, 0);
    const char *key = mg_buf_view(keys).ptr;
    for (int i = 1; key && i <= (int)count; i++, key += strlen(key) + 1) {
        if (shared)
            lua_pushfstring(L, "shared:%s", key);
        else
            lua_pushstring(L, key);
        lua_rawseti(L, -2, i);
    }
    mg_lua_scratch_end(keys);
    return 1;
}

static const struct mg_lua_function functions[] = {
    {"get", kv_get, IN, "kv", false},   {"set", kv_set, IN, "kv", false}, {"incr", kv_incr, IN, "kv", false},
    {"cas", kv_cas, IN, "kv", false},   {"del", kv_del, IN, "kv", false}, {"scan", kv_scan, IN, "kv", false},
    {NULL, NULL, 0, NULL, false},
};

const struct mg_lua_module mg_lua_kv = {"kv", functions, NULL};
