/* proxy.h - the words exchanged with an HTTP proxy to get a tunnel (RFC 9110, CONNECT). For
 * io/dial.c. */
#ifndef MG_IO_PROXY_H
#define MG_IO_PROXY_H

#include "io/dial.h"

enum {
    MG_PROXY_REQUEST_BYTES = 2048,
    MG_PROXY_ANSWER_BYTES = 8192, /* of the answer's head */
};

enum { MG_PROXY_BROKEN = -2, MG_PROXY_MORE = -1, MG_PROXY_OK = 0 };

/* Writes the request and returns its length. */
size_t mg_proxy_request(const struct mg_proxy *proxy, const char *host, int port,
                        char out[MG_PROXY_REQUEST_BYTES]);

/* What came so far: MG_PROXY_MORE, MG_PROXY_OK (2xx, and nothing behind the head), MG_PROXY_BROKEN,
 * or the status. */
int mg_proxy_answer(mg_view answer);

#endif
