/* attempt.h - one upstream call: connect, send, read, tap, and say how it ended.
 *
 *   IDLE ─start─▶ [TOKEN] ─▶ CONNECTING ─▶ SENDING ─▶ WAITING ─head─▶ READING ─▶ ENDING ─▶ IDLE
 *                    ▲           ▲            │ dead pooled connection before a byte of the answer
 *                    │           └────────────┘ (once, on a fresh one; not counted as an attempt)
 *                    └───── 401 for a token that was good before (once; not counted either) ──┘ from READING
 *
 * The attempt decides nothing about policy: it ends with facts and a hint (the class that status,
 * body, stream and timers suggest), and the relay asks the taxonomy. What it hands on before its
 * end (events, body bytes) came out of a 2xx answer that has not failed so far. Loop thread only. */
#ifndef MG_RELAY_ATTEMPT_H
#define MG_RELAY_ATTEMPT_H

#include "chat/request.h"
#include "http/client.h"
#include "http/sse.h"
#include "io/pool.h"
#include "relay/feed.h"
#include "relay/frames.h"
#include "relay/policy.h"
#include "relay/upstream.h"

struct mg_attempt;
struct mg_raw;

/* All come from the loop, never from inside mg_attempt_start(). */
struct mg_attempt_ops {
    void (*on_head)(void *arg, int status, struct mg_headers headers);       /* of a 2xx answer; borrowed until on_end */
    void (*on_event)(void *arg, const struct mg_sse_event *event, const struct mg_tap_event *seen);
    void (*on_flush)(void *arg);       /* after the events of one read (views into them end here): write them together */
    void (*on_body)(void *arg, mg_view bytes);   /* of a whole answer: all at once when it fits HELD_BYTES, else as it comes */
    void (*on_redial)(void *arg);      /* a dead warm connection is replaced: the request goes out again now; may be NULL */
    void (*on_end)(void *arg);         /* once, last touch; read facts, tap, body and ok */
};

struct mg_attempt_call {               /* what to send; borrowed until on_end */
    struct mg_loop *loop;
    struct mg_pool *pool;
    const struct mg_upstream *upstream;
    const struct mg_adapter *adapter;  /* its own, or another that it speaks */
    mg_view head;                      /* complete request head, but for the lines that hold secrets */
    int credential;                    /* of the upstream; -1: none. Its line is put in when all is ready to be sent */
    struct mg_sealed *caller_key;      /* sent in its place; NULL: the client brought none for this provider */
    const struct mg_body *body;
    struct mg_feed *feed;              /* what follows the body and is still arriving; NULL: nothing */
    bool stream;
    const struct mg_raw *raw;          /* what comes is handed on as it is, whatever its status; NULL: it is judged. See raw.h */
    bool free;                         /* nobody bills it: it has no usage */
    bool plain;                        /* no conversation: whatever JSON a 2xx answer is will do, and what is none is handed on as it comes */
    bool once;                         /* never sent twice: not even when a pooled connection turns out to be dead */
    bool whole;                        /* somebody judges all of it: more is held, and what outgrows that has failed */
    struct mg_timeouts timeouts;
    uint64_t deadline_us;              /* monotonic; every timer is cut to it */
    struct mg_attempt_record *record;  /* marks and counts are stored here */
    const struct mg_attempt_ops *ops;
    void *arg;
};

enum mg_attempt_state {
    MG_ATTEMPT_IDLE,                   /* not started, or ended and the memory is the caller's */
    MG_ATTEMPT_TOKEN,                  /* its key is good for a token only, which is being made */
    MG_ATTEMPT_CONNECTING,             /* asked the pool for a connection */
    MG_ATTEMPT_SENDING,                /* head and body are going out */
    MG_ATTEMPT_WAITING,                /* all sent, no head of the answer yet */
    MG_ATTEMPT_READING,                /* the answer is arriving */
    MG_ATTEMPT_ENDING                  /* the end is known and will be told this turn */
};

struct mg_attempt {                    /* caller-owned memory, zeroed before the first use; fields belong to attempt.c */
    enum mg_attempt_state state;
    struct mg_attempt_call call;
    uint64_t start_us;
    struct mg_token_wait *token_wait;  /* owned; NULL: nobody makes one */
    struct mg_sealed *token;           /* one reference: sent in the key's place; NULL: the key itself is */
    bool renewed;                      /* a token was refused, and another one was made */
    struct mg_pool_op connect;
    struct mg_stream *stream;          /* owned while not NULL */
    struct mg_http_client *client;     /* owned; kept between attempts */
    struct mg_sealed *sent_secret;     /* one reference: the credential that was sent, to find it in the answer; NULL: none */
    struct mg_sealed_trail trails[2];  /* of its text and of its reasoning, where it is looked for over several events */
    struct mg_frames *frames;          /* owned; of this answer, when it is a stream */
    struct mg_timer timer;             /* connect, then first token, then idle */
    struct mg_timer total;
    struct mg_defer end;
    size_t sent_part, sent_offset;     /* how far the body went */
    uint64_t first_token_due_us;       /* when the first-token timer fires; 0: not all is sent */
    uint64_t head_us;
    bool answered;                     /* bytes of the answer came on this connection */
    uint32_t reads, pieces;            /* the answer came in so many reads, its body in so many of the parser's pieces */
    bool echoed;                       /* the credential stood in the answer */
    bool paused;                       /* the client is slow: no idle timer */
    bool streaming_body;               /* a whole answer outgrew HELD_BYTES and is passed on */
    bool event_stream;                 /* the answer is framed as events */
    bool as_is;                        /* … is no JSON, and handed on from its first byte on */
    bool feeding_rest;                 /* the feed is taken, and not at its end */
    bool may_be_events;                /* … or may turn out to be: its head does not say */
    mg_view feeding;                   /* bytes the event decoder is reading */
    bool watch_flush;                  /* events were handed on since the last on_flush */
    size_t prelude_bytes;              /* of events before the first content, which the owner holds, or of blanks before a body */
    uint64_t progress_us;              /* when content or a finish came last, or the client took up again */
    struct mg_json_pieces passed;      /* of a whole answer that is passed on */

    /* For the owner, valid in on_end. */
    bool ok;                           /* the answer is complete and nothing is wrong with it */
    struct mg_attempt_facts facts;     /* candidate, number, reason and tries are the relay's to fill */
    struct mg_tap tap;
    struct mg_buf body;                /* of an answer that was not handed on; ≤ HELD_BYTES */
    struct mg_headers headers;         /* of the answer */
    mg_view content_type;              /* of them, without parameters; ptr NULL: it has none */
    struct mg_buf tail;                /* last bytes of an answer that is passed on: usage stands there */
    char address[64];                  /* of the peer; "" when none was reached */
};

void mg_attempt_start(struct mg_attempt *attempt, const struct mg_attempt_call *call);

/* Closes the connection at once; on_end never comes. The record keeps what was seen. Harmless when idle. */
void mg_attempt_cancel(struct mg_attempt *attempt);

/* What came is complete on the wire and yet of no use: the attempt ends as a failure. From a callback of its ops. */
void mg_attempt_spoil(struct mg_attempt *attempt, enum mg_class hint, const char *why);

void mg_attempt_pause(struct mg_attempt *attempt, bool paused);

/* Frees what is kept between attempts. */
void mg_attempt_fini(struct mg_attempt *attempt);

#endif
