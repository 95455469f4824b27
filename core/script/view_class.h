/* view_class.h - how a view is declared: a class with fields and methods, one table each.
 *
 * A view is a small userdata that names a thing of the exchange and the run it was pushed in. It is good while that run
 * is the current one and its views have not been ended; afterwards every use raises "request is finished". Nothing has
 * to be nulled one by one, so a view that is forgotten costs nothing and one that is kept in `self` is harmless.
 *
 * The contract test reads mg_view_classes and holds lua/meta to it. */
#ifndef MG_SCRIPT_VIEW_CLASS_H
#define MG_SCRIPT_VIEW_CLASS_H

#include "script/args.h"
#include "script/views.h"

#define MG_VIEW_KIND_LIST(X)                                                                       \
    X(request) X(headers) X(messages) X(message) X(params) X(candidate) X(attempt) X(response) X(record)

enum mg_view_kind {
#define X(name) MG_VIEW_##name,
    MG_VIEW_KIND_LIST(X)
#undef X
    MG_VIEW_KIND_COUNT
};

struct mg_lua_view {
    enum mg_view_kind kind;
    uint32_t index;                    /* message: position from 0 */
    uint64_t serial;                   /* of the run */
    struct mg_call *call;              /* borrowed from the exchange */
    const void *thing;                 /* what the kind needs beside the call; borrowed */
};

struct mg_view_field {
    const char *name;
    int (*get)(lua_State *L, const struct mg_lua_view *view);            /* pushes one value, returns 1 */
    void (*set)(lua_State *L, const struct mg_lua_view *view);           /* takes the value at index 3; NULL: read-only */
};

struct mg_view_class {
    const char *name;                  /* in lua/meta: "moongate.Request" */
    const char *word;                  /* in messages: "req" */
    const struct mg_view_field *fields;          /* ends with name NULL */
    const struct mg_lua_function *methods;       /* ends with name NULL */
    /* What is no field or method (key at index 2): pushes one value, returns 1. NULL: raise. */
    int (*get)(lua_State *L, const struct mg_lua_view *view);
    void (*set)(lua_State *L, const struct mg_lua_view *view);           /* the same, value at index 3 */
    size_t (*length)(const struct mg_lua_view *view);                    /* `#`; NULL: none */
};

extern const struct mg_view_class mg_view_request, mg_view_headers, mg_view_messages, mg_view_message, mg_view_params,
    mg_view_candidate, mg_view_attempt, mg_view_response, mg_view_record;
extern const struct mg_view_class *const mg_view_classes[MG_VIEW_KIND_COUNT];

void mg_view_push(lua_State *L, enum mg_view_kind kind, struct mg_call *call, const void *thing, uint32_t index);

/* The view at `index`, of that kind and still good; else raises. `what` is "req:deny". */
const struct mg_lua_view *mg_view_self(lua_State *L, int index, enum mg_view_kind kind, const char *what);

/* Raises unless the code that runs may see content: "request" or "response". */
void mg_view_need_content(lua_State *L, const char *what, const char *side);

/* A line in the timeline: who changed what. */
void mg_view_note_change(lua_State *L, const struct mg_lua_view *view, const char *what, size_t before, size_t after);

/* Raises when a hook has used up what it may add to its exchange's memory. Call before copying len bytes there. */
void mg_view_reserve(lua_State *L, const struct mg_lua_view *view, size_t len);

/* Reads the table at index 2: status, code, message, text, body; the strings go to the arena. */
void mg_view_outcome_text(lua_State *L, const struct mg_lua_view *view, const char *what, struct mg_hook_outcome *outcome);

/* Pushes a string, or nil when it is empty or NULL. */
int mg_view_push_text(lua_State *L, mg_view text);
int mg_view_push_cstr(lua_State *L, const char *text);
void mg_view_push_usage(lua_State *L, const struct mg_usage *usage);

#endif
