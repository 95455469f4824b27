/* dialect_call.h - inside script/: one stay in a dialect of lua/dialects, and what every stay needs.
 *
 * A job is what a stay is about; its body finds it in mg_lua_of(L)->body_arg. Functions that take a lua_State may raise. */
#ifndef MG_SCRIPT_DIALECT_CALL_H
#define MG_SCRIPT_DIALECT_CALL_H

#include "script/trusted.h"

struct mg_dialect_job {
    struct mg_trusted *trusted;
    const struct mg_translation *what; /* NULL: an event of a stream under way */
    const struct mg_lua_dialect *from, *to;          /* whole bodies: who reads and who writes */
    struct mg_arena *arena;            /* borrowed; the spans of a document and what comes out */
    struct mg_lua_document document;
    mg_view out_body;                  /* in the arena */
    struct mg_translation_report *report;            /* NULL: nobody asks */
    bool refused;                      /* the dialect refused, and the report says what */
    struct mg_translated *stream;      /* the rest is dialect_stream.c's */
    mg_view event;                     /* its name */
    struct mg_delta *deltas;           /* the caller's MG_DELTAS */
    int delta_count;
    const struct mg_write_call *call;
    struct mg_buf *out;                /* borrowed */
    const char *name;                  /* of a dialect to load */
};

/* MG_E_BAD_REQUEST: refused. MG_E_SCRIPT: it raised, which is in the log. `what` is for that. */
MG_MUST_USE mg_err mg_dialect_run(struct mg_dialect_job *job, lua_CFunction body, const char *what);

/* NULL: there is none of that name, or it does not load. */
const struct mg_lua_dialect *mg_dialect_of(struct mg_trusted *trusted, const char *name);

/* Checks a document and finds what stays text in it. */
MG_MUST_USE mg_err mg_dialect_take(struct mg_dialect_job *job, mg_view body, const struct mg_json_paths *raw);
void mg_dialect_push(lua_State *L, const struct mg_dialect_job *job);
void mg_dialect_push_method(lua_State *L, const struct mg_lua_dialect *dialect, const char *name);
/* The function of the job's task, where it has one. */
void mg_dialect_push_function(lua_State *L, const struct mg_lua_dialect *dialect, const struct mg_dialect_job *job, const char *name);
void mg_dialect_push_ctx(lua_State *L, const struct mg_dialect_job *job);

/* Fields of the table on top; an empty text and false are left out. */
void mg_dialect_set_text(lua_State *L, const char *name, mg_view text);
void mg_dialect_set_flag(lua_State *L, const char *name, bool is);
void mg_dialect_set_number(lua_State *L, const char *name, double number);

/* dialect_stream.c */
mg_err mg_dialect_stream_begin(void *arg, const struct mg_translation *what, struct mg_translated **out_stream,
                               struct mg_stream_style *out_style);
void mg_dialect_stream_end(struct mg_translated *stream);
mg_err mg_dialect_stream_read(struct mg_translated *stream, mg_view name, mg_view data, struct mg_delta *deltas, int *out_count);
mg_err mg_dialect_stream_write(struct mg_translated *stream, const struct mg_write_call *call, struct mg_buf *out);

#endif
