/* trusted.h - inside script/: the worker's own Lua, which answers when a project has nothing to say. */
#ifndef MG_SCRIPT_TRUSTED_H
#define MG_SCRIPT_TRUSTED_H

#include "script/enter.h"

struct mg_trusted {
    struct mg_lua lua;
    int route, classify;               /* registry references of the functions */
};

/* Loads the text of an embedded file in a strict environment and pushes what it returns. May raise. */
void mg_trusted_run_file(lua_State *L, const char *name);

#endif
