/* sandbox.h - for tests: snippets of Lua in a project state, on a thread with the stack a worker has. */
#ifndef MG_TESTS_SANDBOX_H
#define MG_TESTS_SANDBOX_H

#include "script/enter.h"

/* A new state of project "test" with one environment; the watchdog runs. */
void sandbox_open(struct mg_lua *lua);
void sandbox_close(struct mg_lua *lua);

/* Runs the text as a hook with that budget. out_text gets what it returned, as text ("" for nothing;
 * several values are joined by ','), or the error. */
enum mg_lua_end sandbox_run(struct mg_lua *lua, const char *text, uint32_t budget_us, char *out_text, size_t size);

/* Runs fn on a thread with a 16 MB stack and waits for it. A failed CHECK inside ends the test. */
void sandbox_thread(void (*fn)(void));

#endif
