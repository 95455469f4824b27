/* answer.h - the client's side of one exchange: held back, committed, streamed, ended.
 *
 * What is added before the commit is kept (≤ BUFFERED_BYTES) and can be forgotten; the commit writes
 * status, headers and what was kept in one go; after it bytes go straight to the socket, framed as
 * chunks. The answer never reads; whoever feeds it stops on MG_E_AGAIN until the client drains. */
#ifndef MG_GATEWAY_ANSWER_H
#define MG_GATEWAY_ANSWER_H

#include "base/buf.h"
#include "http/headers.h"
#include "io/stream.h"

enum { MG_ANSWER_PARTS = 32 };

struct mg_answer {
    struct mg_stream *stream;          /* borrowed from the client; NULL once it is gone */
    struct mg_buf *scratch;            /* borrowed from the worker */
    struct mg_buf held;                /* before the commit */
    struct mg_buf *copy;               /* borrowed; gets what is added too, and is let go when it is full; NULL: none */
    mg_view parts[MG_ANSWER_PARTS];    /* gathered since the last flush; borrowed until then */
    size_t part_count;
    uint64_t bytes;                    /* body bytes given to the client */
    bool old_client;                   /* HTTP/1.0: the end of the connection ends the body */
    bool head_only;                    /* HEAD */
    bool keep_alive;                   /* the connection serves on after this answer */
    bool committed;
    bool chunked;
    bool ended;
};

void mg_answer_init(struct mg_answer *answer, struct mg_stream *stream, struct mg_buf *scratch);
void mg_answer_fini(struct mg_answer *answer);

/* Forgets what is held. Not after the commit. */
void mg_answer_forget(struct mg_answer *answer);

/* Gathers bytes; they must stay where they are until mg_answer_flush(). MG_E_TOO_LARGE (all three): not
 * committed, and what was gathered is lost because BUFFERED_BYTES are held: forget it all or end.
 * MG_E_AGAIN (all three): taken, but wait for the drain. Harmless after the end. */
MG_MUST_USE mg_err mg_answer_add(struct mg_answer *answer, mg_view bytes);
MG_MUST_USE mg_err mg_answer_flush(struct mg_answer *answer);

/* Writes the head (`headers` is complete lines without the framing ones, which are added here), then what is
 * held. `length` is the body's when it is known, else UINT64_MAX. */
MG_MUST_USE mg_err mg_answer_commit(struct mg_answer *answer, int status, mg_view headers, uint64_t length);

/* A clean end writes what ends the framing; an unclean one leaves it open, so that the client sees a cut. */
void mg_answer_end(struct mg_answer *answer, bool clean);

/* Head and whole body at once. */
void mg_answer_whole(struct mg_answer *answer, int status, mg_view headers, mg_view body);

#endif
