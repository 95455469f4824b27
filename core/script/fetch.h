/* fetch.h - one HTTP request of a plugin: resolve, check, connect, send, collect the answer; redirects; one deadline.
 *
 * Each call opens a connection of its own. The name is resolved here and its addresses are checked before one is
 * dialled, so that a name cannot lead where its origin may not go. Where the environment names a proxy, the proxy
 * resolves. Loop thread only. */
#ifndef MG_SCRIPT_FETCH_H
#define MG_SCRIPT_FETCH_H

#include "base/arena.h"
#include "http/client.h"
#include "io/dial.h"
#include "script/origin.h"
#include "vault/secret.h"

enum { MG_FETCH_REDIRECTS = 3, MG_FETCH_HEADERS = 32, MG_FETCH_SECRETS = 4 };

/* A header whose value is a secret: `prefix` and then it. Sent to the first origin only, and only when that is on its list. */
struct mg_fetch_secret {
    mg_view header, prefix, name;
    struct mg_secret secret;           /* its slot lives as long as the process */
    const char *const *origins;        /* NULL-terminated; no patterns */
};

struct mg_fetch_request {              /* borrowed until mg_fetch_start() returns, `origins` until the callback */
    mg_view method;                    /* "" is GET */
    mg_view url;
    const struct mg_header *headers;   /* host, length, framing and hop-by-hop fields among them are refused */
    size_t header_count;
    const struct mg_fetch_secret *secrets;
    size_t secret_count;               /* ≤ MG_FETCH_SECRETS */
    mg_view body;
    uint32_t timeout_ms;               /* over everything; not 0 */
    size_t max_bytes;                  /* of the answer's body */
    const char *const *origins;        /* allow-list, NULL-terminated */
};

/* Why it failed, for the `code` of Lua's error tables. */
#define MG_FETCH_FAIL_LIST(X)                                                                      \
    X(none, false)                                                                                 \
    X(invalid_url, false)                                                                          \
    X(invalid_header, false)                                                                       \
    X(denied, false)         /* origin, redirect or address is off the list */                     \
    X(resolve, true)                                                                               \
    X(connect, true)                                                                               \
    X(tls, false)                                                                                  \
    X(timeout, true)                                                                               \
    X(closed, true)          /* the peer left before the answer was complete */                    \
    X(protocol, false)                                                                             \
    X(too_large, false)                                                                            \
    X(redirects, false)      /* more than MG_FETCH_REDIRECTS */                                    \
    X(secret, false)         /* one that is to be sent is not in the vault, or does not open */    \
    X(system, false)

enum mg_fetch_fail {
#define X(name, retryable) MG_FETCH_##name,
    MG_FETCH_FAIL_LIST(X)
#undef X
};

const char *mg_fetch_fail_name(enum mg_fetch_fail fail);
bool mg_fetch_fail_retryable(enum mg_fetch_fail fail);

struct mg_fetch;

/* Once, never from inside mg_fetch_start(), last touch: mg_fetch_fini() may be called in it. */
typedef void (*mg_fetch_cb)(struct mg_fetch *op);

struct mg_fetch {                      /* caller-owned memory; in the callback read fail, detail, status, headers, body */
    enum mg_fetch_fail fail;
    char detail[192];                  /* for people */
    int status;
    struct mg_header headers[MG_FETCH_HEADERS];  /* of the answer, in `arena`; more are dropped */
    size_t header_count;
    struct mg_buf body;                /* of the answer */

    mg_fetch_cb cb;
    struct mg_loop *loop;
    enum {
        MG_FETCH_IDLE,
        MG_FETCH_RESOLVING,
        MG_FETCH_DIALING,
        MG_FETCH_TALKING,
        MG_FETCH_ENDING                /* the callback comes at the end of this turn */
    } state;
    bool started;                      /* there is something to free */
    struct mg_arena arena;             /* everything of the request */
    const char *const *origins;        /* borrowed */
    mg_view method, url, target, body_out, fields;       /* in the arena; fields are header lines */
    mg_view secret_fields;             /* the part of `fields` that stays with the first origin */
    struct mg_fetch_secret secrets[MG_FETCH_SECRETS];    /* their strings in the arena, lists borrowed */
    struct mg_sealed *sent[MG_FETCH_SECRETS];  /* one reference each: what was sent of them; NULL: nothing */
    size_t secret_count;
    struct mg_origin first, origin;
    enum mg_origin_right right;
    int redirects;
    size_t max_bytes;
    bool proxied;
    struct mg_proxy proxy;
    struct mg_endpoint endpoint;
    char address[64], key[MG_ORIGIN_BYTES + 80];
    int next_address;
    struct mg_resolve resolve;
    struct mg_dial dial;
    struct mg_stream *stream;          /* owned while talking */
    struct mg_http_client *parser;     /* owned */
    struct mg_buf location;            /* where a redirect leads; empty: no redirect */
    struct mg_timer deadline;
    struct mg_defer end;
};

/* Reads the system's certificates the first time, which takes milliseconds: call it where a generation is built. */
MG_MUST_USE mg_err mg_fetch_prepare(struct mg_diag *diag);
/* The same for an instance whose grants (NULL-terminated, may be NULL) hold a "net:https…"; what goes wrong is told by
 * the first request. */
void mg_fetch_prepare_for(const char *const *grants);
void mg_fetch_release(void);           /* at the end of the process; tests */

void mg_fetch_start(struct mg_fetch *op, struct mg_loop *loop, const struct mg_fetch_request *request, mg_fetch_cb cb);

/* Frees what op holds and closes its connection; no callback comes any more. Harmless when nothing runs. */
void mg_fetch_fini(struct mg_fetch *op);

#endif
