#include "script/modules.h"

const struct mg_lua_module *const mg_lua_modules[] = {
    &mg_lua_crypto, &mg_lua_http,  &mg_lua_json,        &mg_lua_kv,   &mg_lua_log_module,
    &mg_lua_re,     &mg_lua_secrets, &mg_lua_stats, &mg_lua_text_module, &mg_lua_time, NULL,
};
