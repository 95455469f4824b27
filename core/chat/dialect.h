/* dialect.h - what the core itself says in a client's dialect: errors. And whose taps read it.
 *
 * Everything else about a dialect is Lua (lua/dialects). Immutable once loaded; shared by all threads. */
#ifndef MG_CHAT_DIALECT_H
#define MG_CHAT_DIALECT_H

#include "base/arena.h"
#include "base/buf.h"
#include "chat/adapter.h"

enum { MG_DIALECT_HEADERS = 4, MG_DIALECT_REFERENCES = 6, MG_ERROR_PIECES = 12, MG_ERROR_TYPES = 24 };

/* A place in the text of an error; the numbers are those of lua/moongate/dialect.lua. */
enum mg_error_place { MG_ERROR_LITERAL = 0, MG_ERROR_SEQ = 2, MG_ERROR_MESSAGE, MG_ERROR_TYPE, MG_ERROR_CODE, MG_ERROR_PARAM, MG_ERROR_STATUS };

struct mg_error_frame {
    struct {
        enum mg_error_place place;
        const char *literal;
    } pieces[MG_ERROR_PIECES];
    int count;
};

struct mg_dialect {
    const char *name;                  /* "openai_chat" */
    const struct mg_adapter *adapter;  /* reads what is written in it */
    struct mg_error_frame body;        /* of an answer */
    struct mg_error_frame stream;      /* of an event inside a stream; count 0: the body */
    const char *error_event;           /* the event's name; NULL: it has none */
    const char *headers[MG_DIALECT_HEADERS + 1];           /* how headers of its vendor and its SDKs begin; NULL-terminated */
    const char *references[MG_DIALECT_REFERENCES + 1];     /* paths in a request of what one account keeps; NULL-terminated */
    const char *sequence;              /* member of each event that counts them; NULL: none */
    bool no_comments;                  /* its SDKs take a comment in a stream for a document */
    struct {
        int status;
        const char *word;
    } types[MG_ERROR_TYPES];
    int type_count;
    const char *type4, *type5;         /* of other statuses from 400 and from 500 on */
    struct {
        int status, instead;
    } statuses[MG_ERROR_TYPES];        /* what clients of this dialect know another status for */
    int status_count;
};

struct mg_error_text {
    int status;
    mg_view code, message;             /* code at most 128 bytes, message 4,096: more is cut */
    mg_view param;                     /* ptr NULL: null */
    uint64_t seq;                      /* in a stream: how many events came before */
};

int mg_dialect_status(const struct mg_dialect *dialect, int status);
/* JSON in the arena; `in_stream`: for an event of a stream. */
mg_view mg_dialect_error(const struct mg_dialect *dialect, struct mg_arena *arena, const struct mg_error_text *error, bool in_stream);

#endif
