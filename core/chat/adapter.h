/* adapter.h - one provider dialect as data, compiled once, executed in C without Lua.
 *
 * The declaration comes from lua/adapters/<name>.lua (script/adapter_lua.c reads it); the compiled
 * adapter knows where bytes that matter stand: content, reasoning, tool calls, finish, usage,
 * in-stream errors, the terminal event. The core knows no vendor: everything vendor-specific is a
 * row of the declaration. Immutable after mg_adapter_new(); shared by all threads. */
#ifndef MG_CHAT_ADAPTER_H
#define MG_CHAT_ADAPTER_H

#include "base/arena.h"
#include "base/buf.h"
#include "chat/request.h"
#include "http/json_pieces.h"
#include "http/json_scan.h"
#include "meter/failure.h"
#include "meter/timeline.h"

enum { MG_ADAPTER_PATHS = 8, MG_ADAPTER_RULES = 240, MG_ADAPTER_OPERATIONS = 8, MG_ADAPTER_REPAIRS = 64 };

/* Up to MG_ADAPTER_PATHS JSON paths that mean the same thing, NULL-terminated. */
typedef const char *mg_adapter_paths[MG_ADAPTER_PATHS + 1];

struct mg_adapter_rule {               /* first match wins; NULL and 0 match anything */
    int status;
    const char *type, *code;           /* equality with the error's members */
    const char *detail;                /* literal part of what stands beside them (reasons, quota ids), case folded */
    const char *text;                  /* literal part of its message, case folded; never alone: people's words are echoed */
    enum mg_class class_;
};

struct mg_adapter_operation {
    const char *surface;               /* "chat", "completions", "embeddings" */
    const char *path;                  /* appended to the base URL */
};

/* Names of the headers that tell an account's limits; NULL: this provider names none. */
struct mg_limit_headers {
    const char *requests_left, *requests_reset, *tokens_left, *tokens_reset;
};

/* Texts of a declaration, NULL-terminated; NULL: none. */
typedef const char *const *mg_adapter_texts;

/* One change of a request after an answer that says which field it dislikes: tried once, then remembered per target for
 * an hour (relay/repair.h). It fits when the error names the field (its param, or its message) and one of codes or
 * texts is the error's. The Lua row may list several fields; each is a row here. */
struct mg_adapter_repair {
    const char *name;                  /* what a verdict calls it */
    int status;                        /* 0: any */
    mg_adapter_texts codes;            /* equality with the error's code or type */
    mg_adapter_texts texts;            /* literal part of its message, case folded */
    bool once;                         /* depends on this one request: not remembered */
    struct mg_body_edit edit;
};

struct mg_adapter_decl {
    const char *name;
    const char *base_url;
    const char *auth_header;           /* "authorization" */
    const char *auth_prefix;           /* "Bearer " */
    struct mg_limit_headers limits;
    struct mg_adapter_operation operations[MG_ADAPTER_OPERATIONS];
    int operation_count;
    const char *usage_opt_in_field;    /* "stream_options" … */
    const char *usage_opt_in_member;   /* … "include_usage": set to true upstream; NULL: always reported */
    struct {
        mg_adapter_paths input, output, total, cached_read, cached_write, reasoning, input_audio, output_audio;
        mg_adapter_paths model, tier;  /* what the answer says it was served by: prices go by it */
    } usage;
    mg_adapter_paths usage_object;     /* the member cut from chunks of a client who did not ask */
    struct {
        mg_adapter_paths item;         /* one choice or other unit of the answer: an event without any is only usage */
        mg_adapter_paths index;        /* of a choice, when it is not its place in the list */
        mg_adapter_paths content, reasoning, tool_call, refusal, finish, data;
        mg_adapter_paths tool_index, tool_name, tool_arguments;          /* of each tool call of a choice */
    } answer, chunk;                   /* of a whole answer, of one streamed event; `data`: embeddings and the like */
    mg_adapter_paths error;            /* an in-band error object */
    struct {
        mg_adapter_paths type, code, message, param;
        mg_adapter_paths detail;       /* more words about the kind of error, all of them matter */
        mg_adapter_paths retry_after;  /* "12s": when to come back */
        mg_adapter_paths mark;         /* a member whose value "error" makes a flat document an error */
    } error_shape;
    mg_adapter_texts retry_texts;      /* "try again in ": a time follows in the message */
    const char *error_event;           /* SSE event name that means error; NULL: none */
    const char *done;                  /* data of the terminal event; NULL: none */
    mg_adapter_texts finish_failed;    /* finish reasons that are failures */
    mg_adapter_texts finish_cut;       /* … of an answer that a length limit cut: complete for the protocol */
    mg_adapter_texts finish_filtered;  /* … that the provider's policy cut */
    struct mg_adapter_repair repairs[MG_ADAPTER_REPAIRS];
    int repair_count;
    struct mg_adapter_rule rules[MG_ADAPTER_RULES];
    int rule_count;
};

struct mg_adapter;                     /* compiled */

/* MG_E_CONFIG when a path does not compile or there are too many. Copies what it needs. */
MG_MUST_USE mg_err mg_adapter_new(const struct mg_adapter_decl *decl, struct mg_adapter **out_adapter,
                                  struct mg_diag *diag);
void mg_adapter_free(struct mg_adapter *adapter);

const struct mg_adapter_decl *mg_adapter_declaration(const struct mg_adapter *adapter);
const char *mg_adapter_path(const struct mg_adapter *adapter, const char *surface);   /* NULL: not offered */

/* How a finished answer ended. */
enum mg_finish { MG_FINISH_NONE, MG_FINISH_DONE, MG_FINISH_CUT, MG_FINISH_FILTERED, MG_FINISH_FAILED };

enum { MG_TAP_CALLS = 16 };

/* The arguments of one streamed tool call, followed without being kept. */
struct mg_tap_call {
    int choice, index;
    struct mg_json_pieces arguments;
};

/* What a tap has seen of one answer so far. */
struct mg_tap {
    const struct mg_adapter *adapter;
    bool stream;
    bool content;                      /* text that is not blank, reasoning, tool call, refusal or data was seen */
    bool useful;                       /* … other than reasoning and refusals */
    bool broken_arguments;             /* a finished tool call's arguments are no JSON, and no length limit cut them */
    bool finished;                     /* a finish reason was seen, of every choice that there is */
    bool done;                         /* the terminal event was seen */
    bool refused;
    bool malformed;                    /* the last event was not JSON */
    bool failed;                       /* an in-band error was seen: see error_* */
    uint64_t begun, ended;             /* choices of a stream, a bit each: seen, finished */
    uint32_t events, skipped;
    enum mg_finish end;                /* what `finish` means */
    char finish[40];
    struct mg_usage usage;
    char served[128], tier[16];        /* model and service tier as the answer names them; "": it does not */
    char error_type[64], error_code[64], error_message[256];   /* cut to size, unescaped, printable */
    char error_param[64], error_detail[128];     /* detail: all of them, a blank between */
    uint64_t error_retry_ms;           /* the body's own word on when to come back; 0: none */
    enum mg_class error_class;
    struct mg_tap_call calls[MG_TAP_CALLS];
    int call_count;
    uint64_t content_bytes;            /* of content spans: the estimate when nobody reports usage */
};

void mg_tap_init(struct mg_tap *tap, const struct mg_adapter *adapter, bool stream);

/* One text span of a chunk, for filters: the JSON string (with quotes) inside the event's data. */
struct mg_tap_text {
    size_t offset, len;                /* in the scanned document */
    int choice;
    bool reasoning;
};

/* What one event was. */
enum { MG_TAP_TEXTS = 8, MG_TAP_FINISHED = 8, MG_TAP_TOOLS = 4 };

/* A piece of one tool call in a chunk. The spans are JSON strings (with quotes) in the scanned document; len 0: absent. */
struct mg_tap_tool {
    int choice, index;
    size_t name_offset, name_len;
    size_t arguments_offset, arguments_len;
};

struct mg_tap_event {
    bool content;                      /* carries content, a tool call, reasoning or a refusal */
    bool done;
    bool error;
    bool malformed;                    /* skip it, count it */
    bool usage_only;                   /* no choices: drop it for a client who did not ask */
    bool finish;
    int finished[MG_TAP_FINISHED];     /* the choices that end here */
    int finished_count;
    size_t cut_offset, cut_len;        /* of the usage member with one comma; len 0: none */
    struct mg_tap_text texts[MG_TAP_TEXTS];
    int text_count;
    bool refusal;                      /* the content is the model's refusal */
    struct mg_tap_tool tools[MG_TAP_TOOLS];
    int tool_count;
    bool more_tools;                   /* there are tool calls beside these, or in a form that cannot be followed */
    bool more_text;                    /* there is text beside these: too many, or in another form than a string */
};

/* Looks at one event of a stream; adds to tap what it says. No allocation. */
void mg_tap_event(struct mg_tap *tap, mg_view name, mg_view data, struct mg_tap_event *out_event);
/* Looks at a whole answer (or error body). */
void mg_tap_body(struct mg_tap *tap, mg_view body);

/* When to come back, as the error's own members or its message say it; 0: they do not. */
uint64_t mg_tap_retry_ms(const struct mg_tap *tap);

/* Text of the first choice of a whole answer, decoded, in the arena; empty when there is none. */
mg_view mg_tap_text_of(const struct mg_adapter *adapter, struct mg_arena *arena, mg_view body);
/* The answer with that text in its place; every other byte stays. body itself when it has no text. */
mg_view mg_tap_replace_text(const struct mg_adapter *adapter, struct mg_arena *arena, mg_view body, mg_view text);

/* The class an error answer has by the adapter's rules: status (0: none, it came inside a 200), then what the tap has
 * found of type, code, detail and message. */
enum mg_class mg_adapter_hint(const struct mg_adapter *adapter, int status, const struct mg_tap *tap);

#endif
