/* sigv4.h - AWS Signature Version 4 of one POST. */
#ifndef MG_VAULT_SIGV4_H
#define MG_VAULT_SIGV4_H

#include <stdint.h>

#include "base/buf.h"

struct mg_sigv4 {
    mg_view access_key, secret_key;
    mg_view session_token;             /* empty: none */
    const char *region, *service, *host;
    const char *target;                /* X-Amz-Target */
    mg_view body;
    uint64_t now_us;                   /* wall clock */
};

/* Appends the header lines to send, authorization among them; out must not grow, or copies would stay behind. */
MG_MUST_USE mg_err mg_sigv4_put(const struct mg_sigv4 *request, struct mg_buf *out);

#endif
