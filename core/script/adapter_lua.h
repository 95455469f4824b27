/* adapter_lua.h - inside script/: an adapter's table, made of its file and of those that it extends. */
#ifndef MG_SCRIPT_ADAPTER_LUA_H
#define MG_SCRIPT_ADAPTER_LUA_H

#include <lua.h>
#include <stdbool.h>

enum { MG_ADAPTER_FILE_BYTES = 128 };

/* "adapters/<name>.lua". False: the name is odd, or nothing of it is in this build. */
bool mg_adapter_file(const char *name, char file[MG_ADAPTER_FILE_BYTES]);

/* Push one table; they raise. */
void mg_adapter_push(lua_State *L, const char *name);
/* What the adapter at `index` also speaks, number `number` (from 1): asked at the same place, in the same name. */
void mg_adapter_push_spoken(lua_State *L, int index, int number);

#endif
