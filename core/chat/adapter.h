/* adapter.h - one provider as data, compiled once, executed in C without Lua.
 *
 * The declaration comes from lua/adapters/<name>.lua (script/adapter_lua.c reads it); the compiled
 * adapter knows where bytes that matter stand: content, reasoning, tool calls, finish, usage,
 * in-stream errors, the terminal event. The core knows no vendor: everything vendor-specific is a
 * row of the declaration. Immutable after mg_adapter_new(); shared by all threads.
 *
 * Most paths mean one thing. What some say depends on a word beside them, and those are the `typed`
 * rows: "what stands at `delta` is content when `type` is response.output_text.delta". */
#ifndef MG_CHAT_ADAPTER_H
#define MG_CHAT_ADAPTER_H

#include "base/arena.h"
#include "base/buf.h"
#include "chat/request.h"
#include "http/json_pieces.h"
#include "http/json_scan.h"
#include "meter/failure.h"
#include "meter/timeline.h"

enum {
    MG_ADAPTER_PATHS = 8,
    MG_ADAPTER_RULES = 240,
    MG_ADAPTER_OPERATIONS = 24,
    MG_ADAPTER_REPAIRS = 64,
    MG_ADAPTER_EDITS = 12,
    MG_ADAPTER_HEADERS = 8,
    MG_ADAPTER_AUTHS = 4,
    MG_ADAPTER_VARS = 8,
    MG_ADAPTER_SPEAKS = 4
};

/* Up to MG_ADAPTER_PATHS JSON paths that mean the same thing, NULL-terminated. */
typedef const char *mg_adapter_paths[MG_ADAPTER_PATHS + 1];

struct mg_adapter_rule {               /* first match wins; NULL and 0 match anything */
    int status;
    const char *type, *code;           /* equality with the error's members */
    const char *detail;                /* literal part of what stands beside them (reasons, quota ids), case folded */
    const char *text;                  /* literal part of its message, case folded; never alone: people's words are echoed */
    enum mg_class class_;
};

/* Paths and base URLs may hold {names}: see mg_adapter_expand(). `{model}` is the model that is asked. */
struct mg_adapter_operation {
    const char *surface;               /* "chat", "messages", "generate", "embeddings": what the gateway's surfaces are called */
    const char *path;                  /* appended to the base URL */
    const char *stream_path;           /* the same for a streamed answer; never NULL: `path` where nothing else was said */
};

/* How a request proves who asks. */
#define MG_AUTH_LIST(X)                                                                            \
    X(bearer)       /* `authorization: Bearer <key>`, or what header and prefix say */              \
    X(header)       /* `<header>: <prefix><key>` */                                                 \
    X(query)        /* `?<query>=<key>` */                                                          \
    X(sigv4)        /* AWS Signature Version 4 of `service` */                                      \
    X(gcp)          /* token made of a Google service account, for `scope` */                       \
    X(entra)        /* token of Microsoft Entra, for `scope` */                                     \
    X(none)         /* nobody asks */

enum mg_auth_kind {
#define X(name) MG_AUTH_##name,
    MG_AUTH_LIST(X)
#undef X
    MG_AUTH_COUNT
};

struct mg_adapter_auth {
    enum mg_auth_kind kind;
    const char *header;                /* that carries key or token; "": query, none */
    const char *prefix;                /* before it; "": nothing */
    const char *query;                 /* name of the parameter; NULL: another kind */
    const char *service;               /* sigv4; else NULL */
    const char *scope;                 /* gcp, entra; else NULL */
};

/* A header of every request, or the default of a {name}. */
struct mg_adapter_pair {
    const char *name, *value;
};

/* How a streamed answer is cut into events. */
enum mg_framing { MG_FRAMING_SSE, MG_FRAMING_EVENTSTREAM, MG_FRAMING_NDJSON };

/* What stands at `path` is what `means` says when the word at `tag` is `word` (and the one at `tag2` is `word2`). */
struct mg_adapter_sense {
    const char *word, *word2;          /* word2 NULL: the row has no second tag */
    const char *means;                 /* "content", "tool_name": name of a list of paths beside it, or of a counter */
};

struct mg_adapter_typed {
    const char *path;
    const char *tag;                   /* path of the word, in an object around `path`; NULL: the event's name or type */
    const char *tag2;                  /* … in that object or one inside it; NULL: one word decides */
    const char *otherwise;             /* what it means beside any other word, or none; NULL: nothing */
    const struct mg_adapter_sense *senses;
    int sense_count;
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

/* Counters that one of the two sums leaves out, as bits. */
enum { MG_EXCLUDES_CACHED_READ = 1, MG_EXCLUDES_CACHED_WRITE = 2, MG_EXCLUDES_REASONING = 4 };

struct mg_adapter_decl {
    const char *name;                  /* file of lua/adapters */
    const char *dialect;               /* "openai_chat": file of lua/dialects that speaks of the conversation */
    const char *base_url;              /* may hold {names}; NULL: each has its own, the configuration says it */
    const char *converse;              /* surface of the operation that carries a conversation in its dialect */
    const char *speaks[MG_ADAPTER_SPEAKS];       /* adapters whose dialect is offered under the same base URL, too */
    int speaks_count;
    struct mg_adapter_auth auth[MG_ADAPTER_AUTHS];         /* the first is used unless the configuration names another kind */
    int auth_count;
    struct mg_adapter_pair headers[MG_ADAPTER_HEADERS];    /* of every request; lower case */
    int header_count;
    mg_adapter_texts forward;          /* headers of a client of the same dialect that are handed on, instead of those above */
    struct mg_adapter_pair vars[MG_ADAPTER_VARS];          /* defaults of {names}; one without must be given, mg_adapter_give() */
    int var_count;
    enum mg_framing framing;
    struct mg_limit_headers limits;
    struct mg_adapter_operation operations[MG_ADAPTER_OPERATIONS];
    int operation_count;
    const char *usage_opt_in_field;    /* "stream_options" … */
    const char *usage_opt_in_member;   /* … "include_usage": set to true upstream; NULL: always reported */
    bool usage_optional;               /* a client of the dialect who did not ask for usage expects none */
    struct {
        mg_adapter_paths input, output, total, cached_read, cached_write, reasoning, input_audio, output_audio;
        mg_adapter_paths input_more;   /* input that `input` leaves out and no other counter tells */
        mg_adapter_paths cached_write_long;      /* the part of cached_write that is kept for an hour */
        mg_adapter_paths seconds, searches;      /* of sound; units of reranking */
        mg_adapter_paths model, tier;  /* what the answer says it was served by: prices go by it */
        uint8_t excludes;              /* MG_EXCLUDES_*: counters that input or output, as told here, do not contain */
        uint8_t may_exclude;           /* … of which that holds only when they are larger than it */
        bool partial;                  /* a report may leave counters out that an earlier one told: they stay */
    } usage;
    mg_adapter_paths usage_object;     /* the member cut from chunks of a client who did not ask */
    struct mg_adapter_parts {
        mg_adapter_paths item;         /* one choice or other unit of the answer: an event without any is only usage */
        mg_adapter_paths index;        /* of a choice, when it is not its place in the list */
        mg_adapter_paths content, reasoning, tool_call, refusal, finish, data;
        mg_adapter_paths image;        /* a picture that was made: data that is counted */
        mg_adapter_paths tool_index, tool_id, tool_name, tool_arguments; /* of each tool call of a choice */
        mg_adapter_paths type;         /* what kind of event it is; absent: its name in the stream says it */
        mg_adapter_paths block;        /* number of the part of the answer that an event is about: arguments are those
                                        * of a tool call only when their block began with a name */
        mg_adapter_paths blocked;      /* why the provider's policy stopped it, beside or instead of a finish reason */
        mg_adapter_paths rare;         /* what only Lua can tell of; may also stand in another list */
        const struct mg_adapter_typed *typed;
        int typed_count;
    } answer, chunk;                   /* of a whole answer, of one streamed event; `data`: embeddings and the like */
    mg_adapter_paths error;            /* an in-band error object */
    struct {
        mg_adapter_paths type, code, message, param;
        mg_adapter_paths detail;       /* more words about the kind of error, all of them matter */
        mg_adapter_paths retry_after;  /* "12s": when to come back */
        mg_adapter_paths mark;         /* a member whose value "error" makes a flat document an error */
    } error_shape;
    mg_adapter_texts retry_texts;      /* "try again in ": a time follows in the message */
    mg_adapter_texts error_events;     /* names or types of events that mean an error; NULL: none */
    const char *error_type_header;     /* header of an error answer that says its type; NULL: none */
    const char *done;                  /* data of the terminal event; NULL: none */
    mg_adapter_texts done_events;      /* names or types of terminal events; NULL: none */
    mg_adapter_texts finish_failed;    /* finish reasons that are failures */
    mg_adapter_texts finish_cut;       /* … of an answer that a length limit cut: complete for the protocol */
    mg_adapter_texts finish_filtered;  /* … that the provider's policy cut */
    mg_adapter_texts finish_refused;   /* … of a model that declined */
    mg_adapter_texts finish_later;     /* … of an answer that is made elsewhere and fetched later */
    mg_adapter_texts finish_done;      /* … of a good one; NULL: all the others are good, else all the others are failures */
    struct mg_adapter_repair repairs[MG_ADAPTER_REPAIRS];
    int repair_count;
    struct mg_body_edit edits[MG_ADAPTER_EDITS]; /* of every request: what its dialect has and this provider spells otherwise */
    int edit_count;
    const char *params;                /* JSON object whose members every conversation gets; NULL: none */
    struct mg_adapter_rule rules[MG_ADAPTER_RULES];
    int rule_count;
};

struct mg_adapter;                     /* compiled */

/* MG_E_CONFIG when a path does not compile or there are too many. Copies what it needs. */
MG_MUST_USE mg_err mg_adapter_new(const struct mg_adapter_decl *decl, struct mg_adapter **out_adapter,
                                  struct mg_diag *diag);
void mg_adapter_free(struct mg_adapter *adapter);

/* A value for a {name}, in place of its default; borrowed. Before mg_adapter_new(). False: there are too many. */
MG_MUST_USE bool mg_adapter_give(struct mg_adapter_decl *decl, const char *name, const char *value);

const struct mg_adapter_decl *mg_adapter_declaration(const struct mg_adapter *adapter);
const char *mg_adapter_path(const struct mg_adapter *adapter, const char *surface);   /* NULL: not offered */
const struct mg_adapter_operation *mg_adapter_operation(const struct mg_adapter *adapter, const char *surface);   /* NULL: not offered */
const struct mg_adapter_operation *mg_adapter_converse(const struct mg_adapter *adapter);    /* NULL: no conversation is offered */

/* One {name} of a path or base URL. */
struct mg_adapter_value {
    const char *name;
    mg_view value;
};

/* Appends text with every {name} replaced by the first value of that name, else by the declared default. A value is
 * percent-encoded as one segment, slashes too. MG_E_CONFIG: a name has no value (or a brace is not closed), and
 * *out_name (may be NULL) views it; MG_E_TOO_LARGE. */
MG_MUST_USE mg_err mg_adapter_expand(const struct mg_adapter_decl *decl, const char *text, const struct mg_adapter_value *values,
                                     size_t count, struct mg_buf *out, mg_view *out_name);

const char *mg_auth_kind_name(enum mg_auth_kind kind);                                /* "bearer" */
bool mg_auth_kind_find(mg_view name, enum mg_auth_kind *out_kind);

/* How a finished answer ended. */
enum mg_finish { MG_FINISH_NONE, MG_FINISH_DONE, MG_FINISH_CUT, MG_FINISH_FILTERED, MG_FINISH_FAILED, MG_FINISH_REFUSED };

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
    uint64_t cached_write_long_tokens; /* subset of usage.cached_write_tokens: kept for an hour, at another price */
    struct mg_usage said;              /* the counters as the provider spells them */
    uint64_t said_more;                /* … of input that stands beside them */
    uint64_t tool_blocks;              /* blocks that began as tool calls, a bit each */
    int call_base, call_total;         /* of calls without numbers: that of the one at place 0 of the list, and how many so far */
    int call_places;                   /* places of the list that such calls began at since call_base: all up to the last */
    uint64_t images, audio_ms, searches;         /* what is counted beside tokens */
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
enum { MG_TAP_TEXTS = 8, MG_TAP_FINISHED = 8, MG_TAP_TOOLS = 16 };

/* A piece of one tool call in a chunk. The spans are JSON strings (with quotes) in the scanned document; len 0: absent.
 * Pieces of one call have the same index, which is no other call's of that choice. */
struct mg_tap_tool {
    int choice, index;
    bool whole;                        /* the arguments are a JSON object, all of them, and no string */
    size_t id_offset, id_len;
    size_t name_offset, name_len;
    size_t arguments_offset, arguments_len;
};

/* Texts and tools stand in document order, each for itself; offsets tell their order among each other. */
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
    bool refusal;                      /* the content is the model's refusal */
    struct mg_tap_text refused;        /* its text; len 0: none */
    bool lost_tools;                   /* there are more tool calls than `tools` has room for */
    bool more_tools;                   /* … or some in a form that cannot be followed: whole ones, too */
    bool more_text;                    /* there is text beside these: too many, or in another form than a string */
    bool rare;                         /* something of it only the adapter's dialect, in Lua, can tell: lost tools and more text, too */
    int text_count, tool_count;

    /* Not zeroed: the counts say what is in them. */
    struct mg_tap_text texts[MG_TAP_TEXTS];
    struct mg_tap_tool tools[MG_TAP_TOOLS];
};

/* Looks at one event of a stream; adds to tap what it says. No allocation. */
void mg_tap_event(struct mg_tap *tap, mg_view name, mg_view data, struct mg_tap_event *out_event);
/* Looks at a whole answer (or error body). */
void mg_tap_body(struct mg_tap *tap, mg_view body);
/* The value of the header `error_type_header`, up to the first ':'; the body's own word wins. */
void mg_tap_error_header(struct mg_tap *tap, mg_view value);

/* When to come back, as the error's own members or its message say it; 0: they do not. */
uint64_t mg_tap_retry_ms(const struct mg_tap *tap);

/* Text of the first choice of a whole answer, decoded, in the arena; empty when there is none. */
mg_view mg_tap_text_of(const struct mg_adapter *adapter, struct mg_arena *arena, mg_view body);
/* The answer with that text in its place (of several parts: in the first, the others become empty); every other byte
 * stays. body itself when it has no text. */
mg_view mg_tap_replace_text(const struct mg_adapter *adapter, struct mg_arena *arena, mg_view body, mg_view text);

/* The class an error answer has by the adapter's rules: status (0: none, it came inside a 200), then what the tap has
 * found of type, code, detail and message. */
enum mg_class mg_adapter_hint(const struct mg_adapter *adapter, int status, const struct mg_tap *tap);

#endif
