/* raw.h - a request that goes to a vendor as its client made it, and an answer that comes back as it is.
 *
 * For calls that no surface of the gateway offers. Nothing is spliced, translated or judged: whatever status comes is the
 * answer, and what comes of it is handed on as it arrives. Errors are held until they are complete (up to HELD_BYTES), since
 * some repeat the key that they refuse. Beside that, what the adapter can read of usage and of errors is read: for records,
 * limits and breakers. Loop thread only. */
#ifndef MG_RELAY_RAW_H
#define MG_RELAY_RAW_H

#include "relay/attempt.h"

struct mg_raw {                        /* borrowed by the relay until on_done */
    const struct mg_adapter *adapter;  /* whose taps read the answer, whose headers are sent */
    mg_view method;
    mg_view target;                    /* of the request line: path and query */
    mg_view body;
    mg_view model;                     /* for records */
    bool head;                         /* HEAD: the answer has no body */
    bool once;                         /* nobody can tell whether it may be sent twice */
    bool known;                        /* the answer is one of those that the adapter can read */
    bool counts;                       /* tokens that nobody reports are estimated by bytes */
    bool priced;                       /* the prices below were given */
    double fixed_microusd;             /* of the call */
    double megabyte_microusd;          /* of a million bytes, both ways */
};

/* What a call costs whose tokens nobody can read. */
uint64_t mg_raw_cost_picousd(const struct mg_raw *raw, uint64_t bytes);

/* --- for attempt.c and judge.c: the steps of an attempt whose call has a `raw` -------------------------------- */

MG_MUST_USE mg_err mg_raw_on_head(struct mg_attempt *attempt);
MG_MUST_USE mg_err mg_raw_on_body(struct mg_attempt *attempt, mg_view bytes);
/* The answer is complete: its class, for breaker and key. */
enum mg_class mg_raw_judge(struct mg_attempt *attempt);
/* … and what was held of it is handed on. */
void mg_raw_let_go(struct mg_attempt *attempt);
void mg_raw_usage(struct mg_attempt *attempt);

/* It ended with a complete answer, whatever that says. */
bool mg_raw_is_answered(const struct mg_attempt *attempt);

#endif
