/* upload.h - a form with files on its way through: its beginning is held, the rest handed on as it comes.
 *
 *   head ─▶ window fills ──────────────────▶ all of it came ─▶ the line, as for any body (and any failover)
 *              └── full ─▶ sealed ─▶ the line begins ─▶ an attempt takes the feed ─▶ … ─▶ all of it came
 *                            │ the client's reading is off while nobody takes, or while the provider's socket is full
 *                            └── no `model` in it: 400
 *
 * Whatever ends the exchange before the client has sent all: the answer goes out at once, what still comes is thrown away for
 * a while (mg_client_drains()), so that whoever writes first and reads then reads it. */
#ifndef MG_GATEWAY_UPLOAD_H
#define MG_GATEWAY_UPLOAD_H

#include "chat/form.h"
#include "gateway/exchange.h"
#include "relay/feed.h"

struct mg_upload {                     /* in the exchange's arena */
    struct mg_exchange *x;
    struct mg_form form;
    struct mg_feed feed;               /* of what is behind the window */
    bool begun;                        /* the line has begun */
    bool ended;                        /* the client has sent all */
};

/* At the head of every request: is the body a form, may it be one here, and is it small enough? False: it was answered. */
MG_MUST_USE bool mg_upload_fits(struct mg_exchange *x);
void mg_upload_refuse_size(struct mg_exchange *x);             /* 413 */

/* From the parser, as mg_exchange_body(). */
MG_MUST_USE mg_err mg_upload_body(struct mg_exchange *x, mg_view bytes);

/* The window is full or all of the body came: does the line begin now? False: it runs already, or it was answered. */
MG_MUST_USE bool mg_upload_begins(struct mg_exchange *x);

/* The request of every surface: what the form's window shows, the JSON body, or nothing where there is no body. */
MG_MUST_USE mg_err mg_upload_scan(struct mg_exchange *x, struct mg_json_error *out_error);

/* What of the call upstream depends on how its surface is asked: method, what is asked for, the form. */
void mg_upload_call(const struct mg_exchange *x, struct mg_relay_call *call);

/* Stops whatever runs for the exchange, so that it can be answered. True: it is with the client already, and was ended. */
bool mg_upload_stop(struct mg_exchange *x);

#endif
