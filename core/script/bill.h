/* bill.h - a billing script: Lua that is given usage events, oldest first, and makes an invoice of them.
 *
 * The file returns { event = function(event) … end, invoice = function() return "text" end }. It runs
 * outside the gateway, for whoever asks for a bill, in a state with nothing but the language: no
 * files, no network, no clock, so the same events give the same bill. Events are tables as
 * docs/reference/usage-events.md lists them; null is nil. Blocking; for the CLI.
 *
 * Or a plugin with the hooks on_bill and on_invoice, as a project lists it, in the sandbox that plugins have. */
#ifndef MG_SCRIPT_BILL_H
#define MG_SCRIPT_BILL_H

#include "base/buf.h"
#include "config/config.h"
#include "http/json.h"

enum { MG_BILL_TEXT_BYTES = 16 << 20 };

struct mg_bill;

/* The diag has the script's own words, with its file and line. */
MG_MUST_USE mg_err mg_bill_open(const char *path, struct mg_bill **out_bill, struct mg_diag *diag);
/* `name`: the instance (`as`), or the plugin when there is one of it. The project outlives the bill; mg_script_init() was called. */
MG_MUST_USE mg_err mg_bill_open_plugin(const struct mg_config_project *project, const char *name, struct mg_bill **out_bill,
                                       struct mg_diag *diag);
MG_MUST_USE mg_err mg_bill_event(struct mg_bill *bill, const struct mg_json *event, struct mg_diag *diag);
MG_MUST_USE mg_err mg_bill_invoice(struct mg_bill *bill, struct mg_buf *out, struct mg_diag *diag);
void mg_bill_close(struct mg_bill *bill);                    /* NULL is a no-op */

#endif
