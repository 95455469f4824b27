#include "script/secrets_lua.h"

#include <stdio.h>
#include <string.h>

#include "script/args.h"
#include "script/json_lua.h"
#include "script/modules.h"

static const char CLASS[] = "moongate.Secret";

/* What follows the name in "secret:NAME…": "" or "@ORIGIN"; NULL: the grant is about something else. */
static const char *binding_of(const char *grant, const char *name)
{
    size_t len = strlen(name);
    if (strncmp(grant, "secret:", 7) != 0 || strncmp(grant + 7, name, len) != 0)
        return NULL;
    const char *rest = grant + 7 + len;
    return *rest == '\0' || *rest == '@' ? rest : NULL;
}

bool mg_lua_secret_granted(const struct mg_instance *instance, const char *name)
{
    for (size_t i = 0; instance && instance->grants && instance->grants[i]; i++)
        if (binding_of(instance->grants[i], name))
            return true;
    return false;
}

/* Patterns are no place to send a secret to: whoever owns a name below the star would get it. */
static int add_exact(const struct mg_instance *instance, const char *out[MG_SECRET_ORIGINS + 1], int count)
{
    for (size_t i = 0; instance->grants[i] && count < MG_SECRET_ORIGINS; i++)
        if (strncmp(instance->grants[i], "net:", 4) == 0 && !strchr(instance->grants[i], '*'))
            out[count++] = instance->grants[i] + 4;
    return count;
}

void mg_lua_secret_origins(const struct mg_instance *instance, const char *name, const char *out[MG_SECRET_ORIGINS + 1])
{
    int count = 0;
    for (size_t i = 0; instance && instance->grants && instance->grants[i] && count < MG_SECRET_ORIGINS; i++) {
        const char *binding = binding_of(instance->grants[i], name);
        if (binding && *binding == '@' && !strchr(binding, '*'))
            out[count++] = binding + 1;
        else if (binding && !*binding)
            count = add_exact(instance, out, count);
    }
    out[count] = NULL;
}

const struct mg_lua_secret *mg_lua_to_secret(lua_State *L, int index)
{
    const struct mg_lua_secret *secret = lua_touserdata(L, index);
    if (!secret || !lua_getmetatable(L, index))
        return NULL;
    luaL_getmetatable(L, CLASS);
    bool ours = lua_rawequal(L, -1, -2);
    lua_pop(L, 2);
    return ours ? secret : NULL;
}

struct mg_secret_slot *mg_lua_secret_slot(lua_State *L, const struct mg_lua_secret *secret, const char *what)
{
    const struct mg_instance *instance = mg_lua_of(L)->run ? mg_lua_of(L)->run->instance : NULL;
    if (!mg_lua_secret_granted(instance, secret->name))
        luaL_error(L, "%s needs the permission secret:%s: add grant = { \"secret:%s\" } to %s", what, secret->name, secret->name,
                   instance ? instance->name : "the plugin");
    return mg_secret_slot_of(mg_view_cstr(instance->project), mg_view_cstr(secret->name));
}

static void push_secret(lua_State *L, mg_view name, const char *prefix)
{
    struct mg_lua_secret *secret = lua_newuserdata(L, sizeof *secret);
    *secret = (struct mg_lua_secret){.name = ""};
    snprintf(secret->name, sizeof secret->name, "%.*s", MG_FMT(name));
    snprintf(secret->prefix, sizeof secret->prefix, "%s", prefix);
    luaL_getmetatable(L, CLASS);
    lua_setmetatable(L, -2);
}

static int secrets_ref(lua_State *L)
{
    const char *what = "moongate.secrets.ref";
    mg_view name = mg_lua_text(L, 1, "moongate.secrets.ref: name");
    if (!mg_secret_name_is_good(name))
        return luaL_error(L, "%s: a name has at most %d letters, digits, `_`, `-` and `.`", what, MG_SECRET_NAME_BYTES - 1);
    push_secret(L, name, "");
    (void)mg_lua_secret_slot(L, mg_lua_to_secret(L, -1), what);
    return 1;
}

static int secrets_bearer(lua_State *L)
{
    const struct mg_lua_secret *secret = mg_lua_to_secret(L, 1);
    if (!secret)
        mg_lua_bad(L, 1, "moongate.secrets.bearer: secret", "what moongate.secrets.ref gives");
    push_secret(L, mg_view_cstr(secret->name), "Bearer ");
    return 1;
}

static int to_text(lua_State *L)
{
    const struct mg_lua_secret *secret = mg_lua_to_secret(L, 1);
    lua_pushfstring(L, "secret(%s)", secret ? secret->name : "");
    return 1;
}

/* Replaces the value on top of the stack, and all below it. */
static void resolve(lua_State *L, int depth)
{
    if (!lua_istable(L, -1) || depth > 64)
        return;
    luaL_checkstack(L, 6, "a configuration");
    lua_pushliteral(L, "$secret");
    lua_rawget(L, -2);
    if (lua_type(L, -1) == LUA_TSTRING) {
        mg_view name = mg_lua_text(L, -1, "$secret");
        push_secret(L, name, "");
        lua_replace(L, -3);
        lua_pop(L, 1);
        return;
    }
    lua_pop(L, 1);
    for (lua_pushnil(L); lua_next(L, -2);) {
        lua_pushvalue(L, -2);
        lua_insert(L, -2);
        resolve(L, depth + 1);
        lua_rawset(L, -4);             /* an assignment to a key that is there */
    }
}

void mg_lua_push_config(lua_State *L, mg_view json)
{
    mg_lua_push_json(L, json);
    resolve(L, 0);
}

static void secrets_open(lua_State *L)
{
    luaL_newmetatable(L, CLASS);
    lua_pushcfunction(L, to_text);
    lua_setfield(L, -2, "__tostring");
    lua_pushboolean(L, 0);
    lua_setfield(L, -2, "__metatable");
    lua_pop(L, 1);
}

static const struct mg_lua_function functions[] = {
    {"ref", secrets_ref, MG_LUA_ANYWHERE & ~MG_LUA_IN(load), "secret", false},
    {"bearer", secrets_bearer, MG_LUA_ANYWHERE & ~MG_LUA_IN(load), NULL, false},
    {NULL, NULL, 0, NULL, false},
};

const struct mg_lua_module mg_lua_secrets = {"secrets", functions, secrets_open};
