/* script_world.h - for tests of Lua hooks: a project from the text of its file, with a loop, the trusted
 * state and one request. One at a time. */
#ifndef MG_TESTS_SCRIPT_WORLD_H
#define MG_TESTS_SCRIPT_WORLD_H

#include "base/mem.h"
#include "io/loop.h"
#include "script/script.h"

struct script_world {
    struct mg_loop loop;
    struct mg_trusted *trusted;
    struct mg_config_project *config;
    struct mg_script *script;
    struct mg_arena arena;
    struct mg_timeline timeline;
    struct mg_headers headers;
    struct mg_header header_items[4];
    struct mg_call call;
    struct mg_candidate candidates[24];
    int candidate_count;
    struct mg_hook_outcome outcome;    /* of the last run of on_request or on_response … */
    int outcomes;                      /* … and how many there were */
    struct mg_hook_run *run;           /* one that waits */
};

extern struct script_world world;

/* A file beside the projects folder (or in it) that the project will read: "projects/p.lua", "plugins/x/init.lua". */
void world_file(const char *name, const char *text);

/* Builds the project and a request for its workflow "chat". The text of the project file is
 * `return { providers…, workflows = { chat = { targets…, <in_workflow> } }, <in_project> }`. */
void world_open(const char *in_workflow, const char *in_project);
/* The project in a file made by world_file(). False: it has no Lua of its own, so there is no script. */
bool world_open_file(const char *name);
/* The same where the build must fail: the diagnostic, as text. */
const char *world_refused(const char *in_workflow, const char *in_project);
void world_close(void);

/* A new request: JSON body. */
void world_request(const char *body);

void world_on_request(void);
void world_on_response(struct mg_call_response *response);
void world_wait(void);                 /* turns the loop until the run is over */

const char *world_notes(void);         /* of the timeline */

#endif
