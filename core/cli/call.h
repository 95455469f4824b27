/* call.h - one blocking HTTP/1.1 request, for the CLI: plain TCP to this machine, or a unix socket.
 *
 * The answer is handed on as it arrives. No redirects, no TLS, no retries. */
#ifndef MG_CLI_CALL_H
#define MG_CLI_CALL_H

#include "http/client.h"

struct mg_call_spec {
    const char *unix_path;   /* NULL: TCP */
    const char *host;        /* literal IPv4 or IPv6 address; with a unix path unused */
    int port;
    const char *method, *path;
    const char *headers;     /* whole lines with their CRLF, without host and content-length; may be "" */
    mg_view body;
    unsigned timeout_s;      /* between two pieces of the answer */
    void (*on_head)(void *arg, const struct mg_http_response *response);     /* NULL: not interested */
    mg_err (*on_body)(void *arg, mg_view bytes);                             /* an error ends the call */
    void *arg;
};

/* MG_OK when the answer is complete, whatever its status. MG_E_NOT_FOUND: nobody listens; MG_E_TIMEOUT, MG_E_CLOSED,
 * MG_E_PROTOCOL (cut short), MG_E_IO, or what on_body returned. The diag has a sentence for all but the last. */
MG_MUST_USE mg_err mg_call(const struct mg_call_spec *spec, int *out_status, struct mg_diag *diag);

#endif
