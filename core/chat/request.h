/* request.h - a client's JSON body as spans: what matters is found in one strict pass, edits are
 * splices, bytes nobody touched are forwarded as they came.
 *
 * mg_request_scan() keeps views into `body`, which must outlive the request. Edits are collected
 * and rendered once by mg_request_render(); the result is the one transformed request that every
 * attempt of the exchange is built from (mg_request_for_attempt splices the model name and the
 * target's parameters into it). */
#ifndef MG_CHAT_REQUEST_H
#define MG_CHAT_REQUEST_H

#include "base/arena.h"
#include "base/err.h"
#include "http/json_scan.h"

/* Where a dialect keeps its messages. All of them are shown as one list: what a dialect keeps apart as the system's words
 * comes first, with the role "system". */
struct mg_request_shape;

struct mg_message {
    mg_view bytes;                     /* the whole JSON value */
    mg_view role;                      /* decoded, "assistant" whatever the dialect calls it; empty when absent */
    mg_view content;                   /* JSON span of its content: string, array or null; empty when absent */
    bool edited;
    bool bare;                         /* not a message object but its content alone */
    bool apart;                        /* the system's words, in a field of their own */
};

struct mg_param {                      /* a top-level field set or removed by a hook */
    mg_view key;                       /* decoded */
    mg_view value;                     /* JSON text; empty: remove */
};

enum { MG_REQUEST_PARAMS = 32, MG_BODY_EDITS = 16, MG_BODY_PARTS = 2 * (MG_REQUEST_PARAMS + 3) + 1 };

/* A change of one top-level field, if it would be sent, or a member inside a list that is dropped (chat/inner.h). `model`, `stream` and `messages` are never changed by one. */
struct mg_body_edit {
    enum { MG_EDIT_DROP, MG_EDIT_RENAME, MG_EDIT_SET } op;
    const char *field;
    const char *to;                    /* RENAME: the new name, whose own value gives way; SET: JSON text */
};

struct mg_form;

struct mg_request {
    const struct mg_request_shape *shape;
    const struct mg_form *form;        /* the body shows the fields of this one (chat/form.h); NULL: it is the body */
    struct mg_arena *arena;            /* borrowed: the exchange's */
    mg_view body;                      /* what the spans point into */
    mg_view model;                     /* decoded; empty when absent */
    mg_view model_span;                /* its JSON string in the body */
    mg_view metadata;                  /* JSON span of the dialect's own `metadata`; empty: absent */
    mg_view store, previous, conversation, include;        /* of the Responses API: the fields' JSON spans; empty: absent */
    struct mg_message *messages;       /* in the arena; count ≤ JSON_SPANS */
    size_t message_count, message_cap;
    mg_view messages_span;             /* the array, or the string of a single one; empty when the body has none */
    mg_view system_span;               /* the system's words that stand apart; the first message; empty: there are none */
    struct mg_param params[MG_REQUEST_PARAMS];
    size_t param_count;
    bool stream;
    bool background;                   /* "background": true; it is only looked at */
    bool wants_usage;                  /* the client asked for the usage chunk itself */
    bool restructured;                 /* messages were inserted or removed */
    bool system_moved;                 /* the system's own field was added or removed */
};

/* A body as pieces: views into the transformed body and into what was spliced in. */
struct mg_body {
    mg_view parts[MG_BODY_PARTS];
    size_t count;
    size_t length;                     /* of all parts */
};

/* MG_E_BAD_REQUEST with *out_error set when the body is not JSON as RFC 8259 has it, has duplicate
 * keys where spans are used, or `model`, `stream`, `messages` have the wrong type; MG_E_TOO_LARGE
 * when there are more messages than the limits allow. */
MG_MUST_USE mg_err mg_request_scan(struct mg_request *request, struct mg_arena *arena, mg_view body,
                                   struct mg_json_error *out_error);

/* The same for a body in another dialect than openai_chat, by its name. */
MG_MUST_USE mg_err mg_request_scan_as(struct mg_request *request, struct mg_arena *arena, const char *dialect, mg_view body,
                                      struct mg_json_error *out_error);

mg_view mg_request_field(const struct mg_request *request, mg_view key);   /* JSON span; empty: absent */
/* json empty: remove. Both are copied. false: the key is not of [A-Za-z0-9_-]+, is `model`, `stream` or `messages`
 * (which have their own doors), json is not valid JSON, or there are too many. */
bool mg_request_set_param(struct mg_request *request, mg_view key, mg_view json);

/* Text of message i (0-based): a string's value, or the text parts joined; in the arena. */
mg_view mg_request_message_text(struct mg_request *request, size_t i);
/* Replaces the content by a string, keeping the message's other members byte for byte. */
void mg_request_message_set(struct mg_request *request, size_t i, mg_view text);
/* MG_E_TOO_LARGE past the limit. role and text are copied. */
MG_MUST_USE mg_err mg_request_message_insert(struct mg_request *request, size_t i, mg_view role, mg_view text);
void mg_request_message_remove(struct mg_request *request, size_t i);

/* The transformed body: `body` itself when nothing was edited, else a new one in the arena that the
 * request is scanned over again. */
MG_MUST_USE mg_err mg_request_render(struct mg_request *request, struct mg_json_error *out_error);

/* What one attempt changes in the transformed body. Empty views and NULL change nothing. */
struct mg_body_change {
    mg_view model;                     /* decoded name to ask the provider for */
    bool drop_model;                   /* the body must not name it: the path does */
    mg_view params[5];                 /* JSON objects whose members are set at the top level; later ones win */
    const char *usage_field, *usage_member;      /* opt in to usage in a stream: "stream_options", "include_usage" */
    const struct mg_body_edit *edits[MG_BODY_EDITS];         /* applied in order to all of the above */
    size_t edit_count;
};

/* The value (JSON text) that an attempt with that change sends as a top-level field; empty: it does not send it. The usage
 * member that is added to a stream counts. */
mg_view mg_request_sends(const struct mg_request *request, const struct mg_body_change *change, mg_view field);

/* The pieces of the attempt's body; they live as long as the arena. MG_E_TOO_LARGE: too many params. */
MG_MUST_USE mg_err mg_request_for_attempt(const struct mg_request *request, struct mg_arena *arena,
                                          const struct mg_body_change *change, struct mg_body *out_body);

/* Rough count of input tokens (bytes / 4 of the body), for records that nobody reported. */
uint64_t mg_request_tokens_estimate(const struct mg_request *request);

#endif
