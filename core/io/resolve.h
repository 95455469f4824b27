/* resolve.h - names to addresses, without blocking and without asking twice.
 *
 * Answers come from a process-wide cache (30 s, failures 1 s; for up to 5 minutes an old answer is
 * given at once while a new one is fetched) or from getaddrinfo() in libuv's pool. Identical
 * lookups of one loop are one lookup. A lookup that runs cannot be stopped, so it owns its memory
 * and fills the cache even when nobody waits any more. Operations are for the loop thread; the
 * cache is shared and locks a shard for a constant number of steps. */
#ifndef MG_IO_RESOLVE_H
#define MG_IO_RESOLVE_H

#include <netinet/in.h>
#include <sys/socket.h>

#include "base/err.h"
#include "base/limits.h"
#include "io/loop.h"

union mg_sockaddr {
    struct sockaddr any;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
};

/* Interleaved by family for happy eyeballs, the resolver's first choice first. */
struct mg_addresses {
    int count; /* at most MG_MAX_DNS_ADDRESSES */
    union mg_sockaddr list[MG_MAX_DNS_ADDRESSES];
};

struct mg_resolve;

/* Once, never from inside mg_resolve_start(), last touch. MG_OK (op->addresses is filled, count >
 * 0) or MG_E_RESOLVE. */
typedef void (*mg_resolve_cb)(struct mg_resolve *op, mg_err result);

struct mg_resolve {                /* caller-owned memory; the fields belong to resolve.c */
    struct mg_addresses addresses; /* with the port filled in */
    mg_resolve_cb cb;
    mg_err result;
    int port;
    struct mg_list waiter;  /* in the running lookup */
    struct mg_defer answer; /* when the answer is known at once */
};

void mg_resolve_start(struct mg_resolve *op, struct mg_loop *loop, const char *host, int port,
                      mg_resolve_cb cb);

/* No callback comes any more and the memory is the caller's. Harmless when nothing runs, on zeroed
 * memory too. */
void mg_resolve_cancel(struct mg_resolve *op);

/* Names in the cache now. Any thread. */
size_t mg_resolve_cached(void);

/* Tests: host answers with these literal addresses, without a lookup or the cache; count 0 makes it
 * fail. NULL host forgets all overrides and empties the cache. Not while lookups run in other
 * threads. */
void mg_resolve_override(const char *host, const char *const *addresses, int count);

/* True when text is a literal IPv4 or IPv6 address (without brackets); fills *out_address if given.
 */
bool mg_resolve_literal(const char *text, int port, union mg_sockaddr *out_address);

#endif
