/* client.h - one client connection: reads requests, hands each to an exchange, in order.
 *
 * One exchange at a time: bytes of later pipelined requests wait, at most PIPELINE_BYTES of them,
 * then reading stops. Slow and idle clients are bounded by the timers of the gateway's `limits`. */
#ifndef MG_GATEWAY_CLIENT_H
#define MG_GATEWAY_CLIENT_H

#include "gateway/worker.h"
#include "http/server.h"

struct mg_exchange;

/* What a client had sent before it could know of the drain is answered. */
enum { MG_DRAIN_GRACE_MS = 100, MG_DRAIN_UPLOAD_MS = 10000 };

struct mg_client {
    struct mg_list link;               /* of the worker */
    struct mg_worker *worker;          /* borrowed */
    struct mg_stream *stream;          /* owned; NULL once closed */
    struct mg_http_server *http;       /* owned */
    struct mg_exchange *exchange;      /* owned; NULL between requests */
    struct mg_buf waiting;             /* pipelined bytes */
    struct mg_timer timer;             /* header, body, idle: one at a time */
    struct mg_defer resume;            /* feed what waits, from the loop */
    bool paused;                       /* reading is off because enough waits */
    bool closing;                      /* no further request is read */
    bool drains;                       /* it is in the middle of a long upload: see mg_client_drains() */
};

/* fd is owned from now on. */
void mg_client_accept(struct mg_worker *worker, int fd, struct mg_tls_context *tls);

/* The exchange is settled and gone: serve the next request, or close. */
void mg_client_done(struct mg_client *client, bool keep_alive);

/* Closes after the exchange that runs, or that begins within MG_DRAIN_GRACE_MS; else then. */
void mg_client_drain(struct mg_client *client);

/* Its body is not read, and its timer does not run, until it need not wait any more. */
void mg_client_wait(struct mg_client *client, bool wait);

/* Should this request be answered before all of it came, what still comes is thrown away for up to MG_DRAIN_UPLOAD_MS before the
 * connection ends: most clients write first and read then, and a reset would take the answer from them. */
void mg_client_drains(struct mg_client *client);

/* At once, unless its last bytes are leaving; cancels the exchange. */
void mg_client_close(struct mg_client *client);

/* At once, whatever is leaving. */
void mg_client_cut(struct mg_client *client);

#endif
