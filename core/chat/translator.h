/* translator.h - who maps one dialect's conversation to another's: the seam between C and the Lua files of lua/dialects.
 *
 * Bodies are mapped whole, once per attempt. A stream is mapped piece by piece: Lua is asked when a block begins, ends or
 * something rare happens, and answers with the bytes of whole events and with a frame; the pieces of text between are put
 * into that frame by weave.c, without Lua. Loop thread only. */
#ifndef MG_CHAT_TRANSLATOR_H
#define MG_CHAT_TRANSLATOR_H

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "chat/adapter.h"
#include "meter/timeline.h"

struct mg_model;
struct mg_resumed;

enum { MG_FRAME_PIECES = 12, MG_DELTAS = 64, MG_WARNING_BYTES = 512 };

/* How each piece of a block's text is written: literals with places for the piece and for a running number. */
struct mg_frame {
    struct mg_buf text;                /* the literals, one behind the other */
    int count;
    struct mg_frame_piece {
        enum { MG_PIECE_LITERAL, MG_PIECE_TEXT, MG_PIECE_SEQ } kind;
        uint32_t len;                  /* of the literal */
    } pieces[MG_FRAME_PIECES];
};

/* What one translation is about; borrowed while it lasts. */
struct mg_translation {
    const char *client;                /* dialects: of who asked … */
    const char *provider;              /* … and of who answers */
    const char *vendor;                /* the adapter's name */
    const char *task;                  /* what is asked, in the dialects' `tasks`; NULL: a conversation */
    mg_view model;                     /* asked of the provider */
    mg_view asked_model;               /* by the client: what its answers call it */
    mg_view id;                        /* of the exchange, without its prefix: what ids of an answer are made of */
    mg_view request;                   /* the client's body */
    mg_view memo;                      /* JSON that the request's dialect left for the answer's; empty: nothing */
    uint64_t created_s;                /* unix time */
    uint32_t max_output;               /* tokens the target can write; 0: nobody knows */
    const struct mg_model *known;      /* of the catalogue; NULL: nobody knows the model */
    bool stream;
    bool include_usage;                /* an openai_chat client asked for the usage chunk */
    bool lenient;                      /* what would be refused is dropped */
    bool prefill;                      /* the target goes on from a turn of the assistant at the end */
};

/* What a translation has to say beside its result; in the arena given. */
struct mg_translation_report {
    mg_view dropped;                   /* names of fields, comma separated; empty: none */
    mg_view param, message;            /* MG_E_BAD_REQUEST: what is refused and why … */
    bool always;                       /* … and lenient clients are refused, too */
    mg_view code;                      /* … and the error's code, if it has one of its own */
    mg_view memo;                      /* for mg_translation of the answer */
};

/* One step of a stream, as a provider's event says it. Texts are JSON strings with quotes; an empty view: absent. */
struct mg_delta {
    enum mg_delta_kind {
        MG_DELTA_TEXT, MG_DELTA_REASONING, MG_DELTA_REFUSAL,
        MG_DELTA_TOOL,                 /* a call begins, or a piece of its arguments */
        MG_DELTA_FINISH,               /* text: the reason */
        MG_DELTA_OPAQUE                /* what only Lua understands: number `opaque` of the event's list */
    } kind;
    int choice, tool;                  /* tool: the provider's own number */
    mg_view text, id, name;
    mg_view signature;                 /* of a call: what its provider wants back with it */
    int opaque;
};

/* A block of the client's stream. */
struct mg_block {
    enum mg_delta_kind kind;           /* not FINISH, not OPAQUE */
    int choice;
    int index;                         /* of the blocks of its choice, from 0 */
    int tool;                          /* of the tool calls of its choice, from 0 */
    mg_view id, name, signature;       /* JSON strings; of a tool call */
    mg_view text;                      /* MG_WRITE_CLOSE, when the dialect wants it: all of it as a JSON string */
};

enum mg_write { MG_WRITE_START, MG_WRITE_OPEN, MG_WRITE_CLOSE, MG_WRITE_OPAQUE, MG_WRITE_FINISH, MG_WRITE_DONE };

struct mg_write_call {
    enum mg_write what;
    const struct mg_block *block;      /* OPEN, CLOSE */
    struct mg_frame *frame;            /* OPEN: filled; without pieces the block is written whole at its end */
    int opaque;                        /* OPAQUE */
    int choice;                        /* FINISH */
    mg_view reason;                    /* FINISH: the provider's word, a JSON string */
    enum mg_finish end;                /* FINISH: what the tap takes it for, should the dialect not know the word */
    bool has_tools;                    /* FINISH: this choice called one */
    const struct mg_usage *usage;      /* FINISH, DONE */
    uint64_t *seq;                     /* the running number, read and written */
};

struct mg_stream_style {               /* of the client's dialect */
    bool one_block;                    /* a block begins when the one before has ended */
    bool wants_text;
};

struct mg_translated;                  /* one stream under way; the translator's */

struct mg_translator_ops {
    /* MG_E_BAD_REQUEST with the report filled: refused. MG_E_SCRIPT: the dialect failed; it is in the log. */
    mg_err (*request)(void *arg, const struct mg_translation *what, struct mg_arena *arena, mg_view *out_body,
                      struct mg_translation_report *report);
    /* MG_E_PROTOCOL: this is no answer of the provider's dialect. */
    mg_err (*answer)(void *arg, const struct mg_translation *what, struct mg_arena *arena, mg_view body, mg_view *out_body);
    mg_err (*begin)(void *arg, const struct mg_translation *what, struct mg_translated **out_stream, struct mg_stream_style *out_style);
    void (*end)(struct mg_translated *stream);       /* NULL is a no-op */
    /* A rare event as deltas, at most MG_DELTAS; their views live until the next call. */
    mg_err (*read)(struct mg_translated *stream, mg_view name, mg_view data, struct mg_delta *deltas, int *out_count);
    /* Appends whole events to out. */
    mg_err (*write)(struct mg_translated *stream, const struct mg_write_call *call, struct mg_buf *out);
    /* From now on the stream is the rest of `sent`, whole events that its client has; what they said is put into *resumed.
     * MG_E_DENIED: there is something in them that cannot be gone on with. */
    mg_err (*resume)(struct mg_translated *stream, mg_view sent, struct mg_resumed *resumed, uint64_t *out_seq);
};

struct mg_translator {
    const struct mg_translator_ops *ops;
    void *arg;
};

#endif
