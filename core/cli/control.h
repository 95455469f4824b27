/* control.h - one request to the gateway that runs in a data folder, over its unix socket; or to one elsewhere.
 *
 * The socket is the admin API without a token: whoever may open it (mode 0600) may use it. The environment may name another gateway:
 *
 *     MOONGATE_URL       its admin address: https://host:port, or plain http on this machine
 *     MOONGATE_TOKEN     what it is shown: a member's token, or what `moongate login` printed
 *     MOONGATE_CA        PEM bundle to trust in place of the system's
 *     MOONGATE_PROJECT   confines every request to this project; with the socket too
 *
 * Blocking; for the CLI. */
#ifndef MG_CLI_CONTROL_H
#define MG_CLI_CONTROL_H

#include "base/buf.h"

enum { MG_CONTROL_TIMEOUT_S = 30 };

/* Any HTTP status is MG_OK; the body is appended to out_body. MG_E_NOT_FOUND: no gateway listens there (never of one elsewhere, so that nobody takes the store here for its); MG_E_TIMEOUT,
 * MG_E_PROTOCOL, MG_E_IO: it does and did not answer well. The diag has a sentence for all but MG_OK. */
MG_MUST_USE mg_err mg_control_request(const char *data_dir, const char *method, const char *path, mg_view body,
                                      int *out_status, struct mg_buf *out_body, struct mg_diag *diag);

/* "local:root", or "local:root(alice)" when alice became root for this command: who acts here. A gateway asks the kernel for the
 * first and is told the second. Cut to size. */
void mg_control_actor(char *out, size_t size);

/* What may stand for the text in a query: everything but plain characters percent-encoded. */
MG_MUST_USE mg_err mg_control_put_escaped(struct mg_buf *out, const char *text);

#endif
