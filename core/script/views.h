/* views.h - what plugins see of requests, candidates, attempts and responses: lazy userdata.
 *
 * A view points into its exchange and belongs to the run (mg_lua_of(L)->run) that was current when
 * it was pushed. mg_lua_end_views() ends all views of the current run: later uses raise "request is
 * finished". Each function pushes exactly one value and may raise. */
#ifndef MG_SCRIPT_VIEWS_H
#define MG_SCRIPT_VIEWS_H

#include "script/state.h"

void mg_lua_push_request(lua_State *L, struct mg_call *call);
/* An array of candidate views, also indexed by id: candidates["openai/gpt-5"]. */
void mg_lua_push_candidates(lua_State *L, const struct mg_candidate *candidates, int count);
/* A plain table: what the workflow says about choosing targets. */
void mg_lua_push_flow(lua_State *L, const struct mg_call *call);
void mg_lua_push_attempt(lua_State *L, struct mg_call *call, const struct mg_attempt_facts *facts);
void mg_lua_push_response(lua_State *L, struct mg_call *call, struct mg_call_response *response);
/* on_log: the record that is about to be kept; metadata, explain and notes may be rewritten. */
void mg_lua_push_record(lua_State *L, struct mg_call *call);

/* Pushes the three values of a `for` loop and returns true when the value at index is a view that ipairs() walks
 * (req.messages): the sandbox's ipairs asks here before it takes the value for a table. */
bool mg_lua_push_view_iterator(lua_State *L, int index);

/* Ends all views of lua->run. Not protected: must not raise or allocate Lua memory. */
void mg_lua_end_views(struct mg_lua *lua);

#endif
