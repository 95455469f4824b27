/* ask.h - one HTTP request to a key service, an identity provider or another gateway, on a loop of its own: the caller waits.
 *
 * For the few calls of a start, a rewrap, a login or a command; never on a worker. A fresh connection each time, TLS verified, no
 * redirects, bounded in time and by what the caller's buffer takes. */
#ifndef MG_VAULT_ASK_H
#define MG_VAULT_ASK_H

#include <stdatomic.h>

#include "base/buf.h"

struct mg_ask {
    const char *method;
    const char *url;                   /* http(s)://host[:port][/prefix] */
    mg_view path;                      /* appended to the prefix */
    const char *ca;                    /* PEM file; NULL: the system's */
    mg_view headers;                   /* whole lines with their CRLF, without host and content-length */
    mg_view body;
    const char *whom;                  /* for the diag; NULL: "the key service" */
    unsigned total_ms;                 /* 0: 15 s */
    const atomic_bool *cancel;         /* once true it ends with MG_E_CANCELLED; NULL: never */
};

/* MG_OK when there is an answer, whatever its status; a body longer than out_body's maximum is MG_E_PROTOCOL. The diag names the host and what went wrong. */
MG_MUST_USE mg_err mg_ask(const struct mg_ask *ask, int *out_status, struct mg_buf *out_body, struct mg_diag *diag);

/* "host" or "host:port", as the host header has it; false when it is no such URL. */
bool mg_ask_host(const char *url, char *out, size_t size);

/* Whether nobody on the way can read or change it: https, or a port of this machine. */
bool mg_ask_is_private(mg_view url);
bool mg_ask_is_here(mg_view url);      /* plain http on a port of this machine */

#endif
