/* accept.h - is an answer what its workflow expects? The part that needs no Lua: `expect.json_schema`. */
#ifndef MG_SCRIPT_ACCEPT_H
#define MG_SCRIPT_ACCEPT_H

#include "chat/call.h"

/* MG_E_DENIED with the reason in the call's arena: the text of the answer is not JSON, or not what the schema says. Answers
 * that only call tools, embeddings, and requests that bring no schema where theirs should hold, pass. */
MG_MUST_USE mg_err mg_accept_schema(struct mg_call *call, const struct mg_call_response *response, mg_view *out_reason);

#endif
