/* bill_parts.h - inside script/: a bill that a plugin makes, and how both kinds are given events. */
#ifndef MG_SCRIPT_BILL_PARTS_H
#define MG_SCRIPT_BILL_PARTS_H

#include <lua.h>

#include "script/bill.h"

/* Pushes a JSON value as Lua has it: null is nil. May raise. */
void mg_bill_push(lua_State *L, const struct mg_json *value);

struct mg_bill_plugin;

/* As the functions of bill.h. */
MG_MUST_USE mg_err mg_bill_plugin_open(const struct mg_config_project *project, const char *name,
                                       struct mg_bill_plugin **out_plugin, struct mg_diag *diag);
MG_MUST_USE mg_err mg_bill_plugin_event(struct mg_bill_plugin *plugin, const struct mg_json *event, struct mg_diag *diag);
MG_MUST_USE mg_err mg_bill_plugin_invoice(struct mg_bill_plugin *plugin, struct mg_buf *out, struct mg_diag *diag);
void mg_bill_plugin_close(struct mg_bill_plugin *plugin);   /* NULL is a no-op */

#endif
