/* log_lua.h - lines that plugins write: into the process's log with project and instance, and into the timeline of the
 * request. At most MG_MAX_LOG_LINES_PER_S an instance; what is over that is dropped with one warning. */
#ifndef MG_SCRIPT_LOG_LUA_H
#define MG_SCRIPT_LOG_LUA_H

#include "base/log.h"
#include "script/state.h"

/* For print and the like; never raises. */
void mg_lua_log(lua_State *L, enum mg_log_level level, mg_view text);

#endif
