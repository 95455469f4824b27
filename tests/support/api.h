/* api.h - for tests: snippets of Lua as a hook of a plugin, with an exchange around them.
 *
 * The exchange is one chat request with three messages, two candidates, a failed attempt and an answer; snippets find
 * them as the globals req, candidates, att, res and rec. Snippets in phases that may wait run in a coroutine on a loop. */
#ifndef MG_TESTS_API_H
#define MG_TESTS_API_H

#include "io/loop.h"
#include "script/state.h"

struct api {
    struct mg_lua lua;
    struct mg_loop loop;
    struct mg_arena arena;
    struct mg_call call;
    struct mg_timeline timeline;
    struct mg_headers headers;
    struct mg_call_response response;
    struct mg_attempt_facts facts;
    struct mg_candidate candidates[2];
    struct mg_instance instance;       /* inline code of project "test": change it to take its rights away */
    uint32_t budget_us;                /* CPU of a snippet; 0: plenty */
    bool has_outcome;                  /* the snippet returned one */
    struct mg_hook_outcome outcome;
    char result[8192];
};

void api_open(struct api *api);
void api_close(struct api *api);

/* What the snippet returned, joined by ','; or "error: " and its message. Lives until the next call. */
const char *api_run(struct api *api, enum mg_lua_phase phase, const char *code);

/* A table of them: code and what comes of it. */
struct api_row {
    const char *code, *want;
};
void api_check(struct api *api, enum mg_lua_phase phase, const struct api_row *rows, size_t count);
#define API_CHECK(api, phase, rows) api_check((api), MG_LUA_PHASE_##phase, (rows), sizeof(rows) / sizeof((rows)[0]))

#endif
