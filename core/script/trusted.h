/* trusted.h - inside script/: the worker's own Lua, which answers when a project has nothing to say. */
#ifndef MG_SCRIPT_TRUSTED_H
#define MG_SCRIPT_TRUSTED_H

#include "chat/translator.h"
#include "http/json_scan.h"
#include "script/enter.h"

enum { MG_DIALECTS = 16 };

/* One file of lua/dialects, loaded when it is first needed. */
struct mg_lua_dialect {
    char name[32];
    int ref;                           /* registry reference of what the file returned */
    struct mg_json_paths *raw_request, *raw_answer, *raw_event;      /* owned; members that stay JSON text; NULL: none */
    struct mg_stream_style style;
    bool wants_request;                /* the stream's writer repeats what was asked */
};

struct mg_trusted {
    struct mg_lua lua;
    int route, classify;               /* registry references of the functions */
    struct mg_lua_dialect dialects[MG_DIALECTS];
    int dialect_count;
    struct mg_buf written;             /* a translated document; its memory is kept */
};

/* A checked document and what stays text in it; views. */
struct mg_lua_document {
    mg_view body;
    const mg_view *raw;                /* in the arena */
    size_t raw_count;
};

MG_MUST_USE mg_err mg_lua_take_document(struct mg_arena *arena, mg_view body, const struct mg_json_paths *raw,
                                        struct mg_lua_document *out_document);

/* A stream that is translated: who writes it, and the registry reference of the writer's state. */
struct mg_translated_side {
    struct mg_trusted *trusted;
    const struct mg_lua_dialect *client;
    int writer;
};

struct mg_translated_side mg_translated_client(const struct mg_translated *stream);

/* dialect_resume.c: `resume` of the translator. */
mg_err mg_translated_resume(struct mg_translated *stream, mg_view sent, struct mg_resumed *resumed, uint64_t *out_seq);

void mg_trusted_dialects_free(struct mg_trusted *trusted);

/* Loads the text of an embedded file in a strict environment and pushes what it returns. May raise. */
void mg_trusted_run_file(lua_State *L, const char *name);

#endif
