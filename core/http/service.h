/* service.h - a small request/response server on a loop, for planes with little policy of their own: the admin
 * plane and the simulated providers.
 *
 * It accepts connections, reads whole requests (bounded, with deadlines), hands them to one function one after the
 * other, and writes answers: in one piece, as a chunked stream, or byte by byte for those who must misbehave. Requests
 * that cannot be parsed are answered here. Everything is for the loop thread.
 *
 *     handler ─▶ answer                                  at once or later, exactly once
 *             ─▶ begin ─▶ send … ─▶ end | close | reset  a stream
 *             ─▶ raw … ─▶ close | reset                  bytes as they are
 *
 * A call is over with answer, end, close, reset, or when on_gone is called; it must not be touched afterwards. */
#ifndef MG_HTTP_SERVICE_H
#define MG_HTTP_SERVICE_H

#include "http/server.h"
#include "io/listen.h"
#include "io/stream.h"

struct mg_service_call {
    const struct mg_http_request *request;   /* borrowed until the call is over */
    mg_view body;                      /* the same; complete */
    struct mg_loop *loop;              /* borrowed */
    bool local;                        /* came over a unix socket … */
    uint32_t uid;                      /* … from a process of this user, as the kernel says; UINT32_MAX: it does not */
    void *user;                        /* the handler's own */

    /* For calls that are not answered before the handler returns; NULL: not interested. */
    void (*on_gone)(struct mg_service_call *call);   /* the client left or the service stops: the call is over */
    void (*on_room)(struct mg_service_call *call);   /* after MG_E_AGAIN: the client takes bytes again */
};

typedef void (*mg_service_fn)(void *arg, struct mg_service_call *call);

struct mg_service_options {
    struct mg_listen_spec listen;
    struct mg_tls_context *tls;        /* borrowed, reffed inside by each stream; NULL: plain */
    size_t body_bytes;                 /* a longer request body is refused with 413 */
    size_t connections;                /* further ones are closed at once */
    mg_service_fn fn;
    void *arg;
};

struct mg_service {          /* caller-owned memory; the fields belong to service.c */
    struct mg_loop *loop;
    struct mg_service_options options;
    struct mg_http_limits limits;
    struct mg_listener listener;
    struct mg_list open;     /* struct conn */
    size_t count;            /* of them */
    struct mg_buf head;      /* scratch for the head of an answer */
    void (*on_stopped)(void *arg);
    void *stopped_arg;
};

/* Listens from the next turn on; mg_listen_port(&service->listener) is known when it returns. */
MG_MUST_USE mg_err mg_service_start(struct mg_service *service, struct mg_loop *loop,
                                    const struct mg_service_options *options, struct mg_diag *diag);

/* Drops every connection at once (open calls get on_gone), stops listening; on_stopped comes once, later, and is the
 * last touch. */
void mg_service_stop(struct mg_service *service, void (*on_stopped)(void *arg), void *arg);

/* `headers` are whole lines, each with its CRLF, without content-length and transfer-encoding; may be empty. */
void mg_service_answer(struct mg_service_call *call, int status, mg_view headers, mg_view body);
void mg_service_begin(struct mg_service_call *call, int status, mg_view headers);

/* MG_OK; MG_E_AGAIN: taken, wait for on_room; MG_E_CLOSED: the connection is ending and on_gone follows, so those who
 * write little need not look. */
mg_err mg_service_send(struct mg_service_call *call, mg_view bytes);       /* one chunk; empty: nothing */
mg_err mg_service_raw(struct mg_service_call *call, mg_view bytes);
void mg_service_end(struct mg_service_call *call);

void mg_service_close(struct mg_service_call *call);       /* what was written is delivered, then the end of the stream */
void mg_service_reset(struct mg_service_call *call);       /* a TCP reset; what was written may be lost */

#endif
