/* modules.h - the modules of `moongate.*`, one line each; the table itself is declared in state.h. */
#ifndef MG_SCRIPT_MODULES_H
#define MG_SCRIPT_MODULES_H

#include "script/state.h"

extern const struct mg_lua_module mg_lua_crypto, mg_lua_http, mg_lua_json, mg_lua_kv, mg_lua_log_module, mg_lua_re,
    mg_lua_secrets, mg_lua_stats, mg_lua_text_module, mg_lua_time;

#endif
