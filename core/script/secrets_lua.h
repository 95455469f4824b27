/* secrets_lua.h - secrets of the vault in the hands of Lua: a handle that says which one, never what it is.
 *
 * A handle is made by moongate.secrets.ref() or stands in a plugin's config where the project file has `secret "x"`. C puts
 * the secret in its place where a request is written or a digest is made, for an instance that is granted "secret:x" at that
 * moment. "secret:x" binds it to every origin that the instance is granted letter by letter, "secret:x@ORIGIN" to that one. */
#ifndef MG_SCRIPT_SECRETS_LUA_H
#define MG_SCRIPT_SECRETS_LUA_H

#include "script/state.h"
#include "vault/secret.h"

enum { MG_SECRET_ORIGINS = 64 };

struct mg_lua_secret {
    char name[MG_SECRET_NAME_BYTES];
    char prefix[8];          /* "Bearer "; may be empty */
};

/* The handle at index; NULL: something else stands there. */
const struct mg_lua_secret *mg_lua_to_secret(lua_State *L, int index);

/* Raises unless the instance that runs is granted it. The slot is the project's; what: the function, for the message. */
struct mg_secret_slot *mg_lua_secret_slot(lua_State *L, const struct mg_lua_secret *secret, const char *what);

/* Where the instance may send it, NULL-terminated; borrowed from the grants. */
void mg_lua_secret_origins(const struct mg_instance *instance, const char *name, const char *out[MG_SECRET_ORIGINS + 1]);

/* Is it granted, to any origin? Also for "x@ORIGIN" grants. */
bool mg_lua_secret_granted(const struct mg_instance *instance, const char *name);

/* As mg_lua_push_json(), with a handle for each {"$secret": NAME}: a configuration. */
void mg_lua_push_config(lua_State *L, mg_view json);

#endif
