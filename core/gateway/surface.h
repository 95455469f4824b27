/* surface.h - the paths of the data plane, one row each. */
#ifndef MG_GATEWAY_SURFACE_H
#define MG_GATEWAY_SURFACE_H

#include "gateway/exchange.h"

struct mg_surface {
    const char *path;                  /* '*' matches anything */
    enum mg_http_method method;
    const char *name;                  /* what adapters call the operation */
    const char *dialect;               /* of its bodies and errors */
    bool converse;                     /* it carries a conversation: targets may speak another dialect */
    const char *task;                  /* something else that a target of another dialect may be asked for (relay/task.h) */
    bool keeps;                        /* the Responses API: its answers are kept, and gone on from (gateway/keeping.h) */
    bool resumes;                      /* a stream that broke off can go on at another target (relay/rescue.h) */
    bool reweaves;                     /* … by writing on its blocks (relay/sent.h) */
    bool model_in_path;                /* between "models/" and the last ':' … */
    bool stream;                       /* … and there it stands whether the answer is streamed */
    bool passthrough;                  /* any method: see passthrough.h */
    bool free;                         /* nobody bills it */
    bool plain;                        /* no conversation: see mg_attempt_call (relay/attempt.h) */
    enum mg_surface_form {
        MG_FORM_NONE, MG_FORM_MAY,     /* the body is JSON; it may be a form with files instead … */
        MG_FORM_MUST                   /* … or is one always */
    } form;
    bool kept;                         /* about files that a provider keeps: files.h */
    void (*answer)(struct mg_exchange *x);       /* answered here; NULL: relayed to an upstream */
};

/* NULL: no such path; *out_other_method: the path exists under another method. */
const struct mg_surface *mg_surface_find(enum mg_http_method method, mg_view path, bool *out_other_method);

/* The dialect of a request to it. */
const char *mg_surface_dialect_of(const struct mg_surface *surface, struct mg_headers headers);

/* The dialect in which a path that may not exist is answered. */
const char *mg_surface_dialect(mg_view path);

#endif
