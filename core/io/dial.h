/* dial.h - one connection to an endpoint: resolve, connect, the proxy's CONNECT, TLS; one deadline
 * over all.
 *
 * Connecting follows RFC 8305: addresses are tried in order, the next one 250 ms after the last or
 * at once when one fails, and the first to answer wins. Behind a proxy every origin, http or https,
 * is reached with CONNECT. */
#ifndef MG_IO_DIAL_H
#define MG_IO_DIAL_H

#include "base/err.h"
#include "base/view.h"
#include "io/loop.h"
#include "io/resolve.h"
#include "io/stream.h"
#include "io/tls.h"

struct mg_proxy {
    char host[256];
    int port;
    char auth[512]; /* "user:password" for Basic, a secret; "" for none */
};

/* Where to connect. Borrowed during a call to mg_dial_start() or mg_pool_get() and until its
 * callback. */
struct mg_endpoint {
    const char *host; /* name or literal address, without brackets */
    int port;
    struct mg_tls_context *tls;   /* client context; NULL for plain http */
    const char *name;             /* SNI and the name to verify; NULL is host */
    const struct mg_proxy *proxy; /* NULL connects directly */
    const char *key;              /* identity: endpoints of equal key are interchangeable */
};

struct mg_dial_marks { /* monotonic loop time at which the step was done; 0 when it was not */
    uint64_t start_us;
    uint64_t dns_us;
    uint64_t connect_us; /* TCP, and the proxy's answer when there is one */
    uint64_t tls_us;
};

struct mg_dial;

/* Once, never from inside mg_dial_start(), last touch. MG_OK: op->stream is the caller's
 * (connected, handshake done, reading on; give it ops at once). Else E_RESOLVE, E_CONNECT,
 * E_TIMEOUT or E_TLS, with op->reason. */
typedef void (*mg_dial_cb)(struct mg_dial *op, mg_err result);

/* Caller-owned memory. In the callback read stream, marks, reason and address; the rest belongs to
 * dial.c. */
struct mg_dial {
    struct mg_stream *stream;
    struct mg_dial_marks marks;
    char reason[128]; /* for people: "connection refused", "certificate expired" */
    char address[64]; /* the peer's address when one was reached */

    struct mg_loop *loop;
    const struct mg_endpoint *endpoint;
    mg_dial_cb cb;
    enum {
        MG_DIAL_IDLE,
        MG_DIAL_RESOLVING,
        MG_DIAL_CONNECTING,
        MG_DIAL_PROXYING,
        MG_DIAL_SECURING
    } state;
    int next;   /* address to try next */
    int flying; /* attempts that have neither succeeded nor failed */
    struct mg_dial_try {
        struct mg_dial *op;
        struct mg_stream *stream; /* owned; NULL when not flying */
    } tries[MG_MAX_DNS_ADDRESSES];
    struct mg_timer deadline;
    struct mg_timer stagger;
    struct mg_resolve resolve;
    char *answer; /* owned; the proxy's answer so far; NULL otherwise */
    size_t answer_len;
};

void mg_dial_start(struct mg_dial *op, struct mg_loop *loop, const struct mg_endpoint *endpoint,
                   uint32_t timeout_ms, mg_dial_cb cb);

/* Gives up: no callback comes any more and the memory is the caller's at once. Harmless when
 * nothing runs, on zeroed memory too. */
void mg_dial_cancel(struct mg_dial *op);

/* Which proxy the environment wants for an origin: HTTPS_PROXY for https, else ALL_PROXY (both also
 * in lower case; http_proxy in lower case only, as HTTP_PROXY can be set by a client under CGI),
 * unless NO_PROXY names the host: "*", "example.com" (and its subdomains), ".example.com", an
 * address, each optionally with ":port". False: connect directly. */
bool mg_proxy_from_env(bool https, const char *host, int port, struct mg_proxy *out_proxy);

/* "http://user:pass@host:3128", "host:3128"; false when it is neither (an https:// or socks proxy).
 */
bool mg_proxy_parse(mg_view url, struct mg_proxy *out_proxy);

#endif
