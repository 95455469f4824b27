/* filter.h - inside script/: what the build has to prepare for streaming filters. */
#ifndef MG_SCRIPT_FILTER_H
#define MG_SCRIPT_FILTER_H

#include "script/state.h"

/* Makes the metatable of the objects that on_chunk gets and returns its registry reference. May raise. */
int mg_filter_make_class(lua_State *L);

#endif
