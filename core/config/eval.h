/* eval.h - inside config/: one throwaway Lua state that reads one configuration file.
 *
 * The state is capped in memory (32 MB) and CPU time (1 s), has its compiler off and takes text
 * only. What runs first is lua/boot/config.lua; it evaluates, checks and flattens, and gives back
 * plain tables, which the caller copies out in its `fill`. Any thread; one file at a time each. */
#ifndef MG_CONFIG_EVAL_H
#define MG_CONFIG_EVAL_H

#include <lua.h>

#include "config/config.h"

enum { MG_EVAL_CHUNKS = 64 };

struct mg_eval {
    const char *function;            /* of lua/boot/config.lua: "gateway", "project" … */
    const char *file;                /* as messages show it */
    const char *dir;                 /* absolute folder of the file */
    const char *name;                /* of the project */
    const char *text;                /* of the file; NULL: none */
    struct mg_arena *arena;          /* borrowed; what fill keeps is copied here */
    struct mg_config_report *report; /* borrowed; gets every error and every file that was read */
    /* Copies the result at `index` out. Runs protected: may raise, so it holds nothing. */
    void (*fill)(struct mg_eval *eval, lua_State *L, int index);
    void *out; /* for fill */

    bool absent;                  /* the function gave nothing and no error */
    bool filled;                  /* fill ran to its end */
    struct mg_buf file_text;      /* of the file being read */
    size_t used_bytes, max_bytes; /* of the Lua heap */
    uint64_t stop_us;             /* thread CPU time at which the state is stopped */
    bool stopped;                 /* it was */
    bool open; /* the state stands; before that LuaJIT bears no failing allocation */
    const char *chunks[MG_EVAL_CHUNKS]; /* the files behind the chunk names c1, c2, … */
    int chunk_count;
    int stop_chunk, stop_line; /* where it was stopped; 0: unknown */
};

/* MG_E_CONFIG after anything went into the report. */
MG_MUST_USE mg_err mg_eval_run(struct mg_eval *eval);

/* `out` is the mg_config_gateway, or the mg_config_project. */
void mg_config_fill_gateway(struct mg_eval *eval, lua_State *L, int index);
void mg_config_fill_project(struct mg_eval *eval, lua_State *L, int index);

#endif
