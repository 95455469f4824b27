/* keeping.h - state of the Responses API that this gateway keeps for its clients, so that it works over any provider.
 *
 *   recall   previous_response_id is looked up, and what it stands for is put in front of the new input; the exchange waits
 *   mark     what the request added to the conversation is remembered, as it is sent
 *   tell     response objects on their way to the client say what it asked for, not what its provider was told
 *   save     the answer is written to the store before its last bytes leave: who has read it can go on from it
 *
 * An exchange that has nothing to do with it has no `keeping`, and pays for none of it. Loop thread only. */
#ifndef MG_GATEWAY_KEEPING_H
#define MG_GATEWAY_KEEPING_H

#include "gateway/exchange.h"
#include "gateway/keeper.h"

enum { MG_KEEPING_WAIT_MS = 5000 };    /* for the store; an answer is let go then, and a question refused */

struct mg_keeping {
    struct mg_exchange *x;
    struct mg_keep_job *job;           /* that is out; NULL: none */
    struct mg_timer due;               /* it takes too long */
    void (*late)(struct mg_exchange *x);         /* what happens then */
    void (*resume)(struct mg_exchange *x);       /* the step of the exchange that waits */
    bool store;                        /* the answer is to be kept */
    enum { MG_ANSWER_OPEN, MG_ANSWER_SAVING, MG_ANSWER_SAVED } answer;
    bool complete;                     /* the rest waits for the save alone */
    bool failed;                       /* it could not be saved */
    mg_view previous;                  /* the JSON string of previous_response_id; empty: none */
    int64_t parent;                    /* seq of that response */
    size_t prior, items;               /* items put in front of the input; of all of it before hooks saw it */
    mg_view input;                     /* JSON array: what is kept of it */
    mg_view params, params_reasoning;  /* JSON objects: what a target of the client's dialect is sent, one that reasons as well */
    mg_view own, own_type;             /* an answer of a hook or of offline that waits; its label, or what it is called */
    int own_status;
    struct mg_buf tail;                /* the last event of the stream, and what came behind it */
};

/* Items that are named (`item_reference`) are looked up, too. True: go on. False: it was answered, or waits and calls go_on(x) later. */
bool mg_keeping_recall(struct mg_exchange *x, void (*go_on)(struct mg_exchange *x));

/* The body is final. */
void mg_keeping_mark(struct mg_exchange *x);

/* `event`, or the same with another response object, in *room and the exchange's arena. */
const struct mg_sse_event *mg_keeping_tell(struct mg_exchange *x, const struct mg_sse_event *event, struct mg_sse_event *room);

/* Is this event not to be sent before the answer is saved? */
bool mg_keeping_holds(const struct mg_exchange *x, const struct mg_sse_event *event);
/* Takes what would have been sent of it; the last event begins to be saved. */
void mg_keeping_hold(struct mg_exchange *x, mg_view bytes);

/* The answer is complete and good. False: it waits to be saved; `go_on` is called then. */
bool mg_keeping_save(struct mg_exchange *x, void (*go_on)(struct mg_exchange *x));

/* The same for an answer that no provider gave: one JSON document, or a stream of whole events. */
bool mg_keeping_save_own(struct mg_exchange *x, mg_view body, void (*go_on)(struct mg_exchange *x));

/* What was held goes to the client's answer. */
mg_err mg_keeping_let_go(struct mg_exchange *x);

/* The exchange is settled: nobody waits for the store any more. */
void mg_keeping_end(struct mg_exchange *x);

/* The response with that id as nobody has it: OpenAI's words. `previous`: it was to be gone on from. */
void mg_keeping_refuse(struct mg_exchange *x, mg_view id, bool previous);

/* A job of this exchange, with project, owner and id; the exchange waits for it. late: when it takes too long. */
struct mg_keep_job *mg_keeping_ask(struct mg_exchange *x, enum mg_keep_kind kind, mg_view id);
void mg_keeping_wait(struct mg_exchange *x, struct mg_keep_job *job, void (*done)(void *arg, struct mg_keep_job *job),
                     void (*late)(struct mg_exchange *x));
/* At the beginning of `done`. */
void mg_keeping_came(struct mg_exchange *x);
bool mg_keeping_is_id(mg_view id);

/* responses.c: the paths that fetch, list, delete and cancel. */
void mg_responses_fetch(struct mg_exchange *x);
void mg_responses_list_input(struct mg_exchange *x);
void mg_responses_remove(struct mg_exchange *x);
void mg_responses_cancel(struct mg_exchange *x);

#endif
