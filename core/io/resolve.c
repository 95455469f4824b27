/* A start is answered by, in this order: the fault point, a literal, an override, the cache, a
 * lookup that runs already on this loop, a new lookup. */
#include "io/resolve.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <netdb.h>
#include <stdatomic.h>
#include <string.h>

#include "base/fault.h"
#include "base/mem.h"
#include "io/loop_parts.h"
#include "io/shards.h"

enum {
    NAME_BYTES = 254, /* DNS names are at most 253 characters */
    PER_SHARD = MG_MAX_DNS_ENTRIES / MG_SHARDS,
    FRESH_US = 30 * 1000000,
    FAILED_US = 1000000,
    STALE_US = 300 * 1000000,
};

/* What is remembered of a name. Failures have no addresses. */
struct name {
    struct mg_list age; /* in its shard, the oldest answer first */
    uint64_t fresh_until_us;
    uint64_t stale_until_us; /* its addresses are better than nothing until then */
    struct mg_addresses addresses;
    char host[NAME_BYTES];
};

static struct mg_shards shards = MG_SHARDS_INIT; /* host → struct name */

/* One getaddrinfo() that runs in libuv's pool. Owns itself: nobody needs to wait for it. */
struct lookup {
    uv_getaddrinfo_t request;
    struct mg_loop *loop;   /* borrowed; its fini waits for us */
    struct mg_list link;    /* in the loop's running ones */
    struct mg_list waiters; /* struct mg_resolve */
    char host[NAME_BYTES];
};

struct mg_resolve_loop {
    struct mg_list running;
};

struct override {
    struct override *next;
    struct mg_addresses addresses;
    char host[NAME_BYTES];
};

static _Atomic(struct override *) overrides; /* changed by tests only, while nothing runs */

enum found { NOTHING, FRESH, STALE };

static void answer_later(struct mg_resolve *op, struct mg_loop *loop, mg_err result);
static void on_answer(struct mg_defer *answer);
static void finish(struct mg_resolve *op, mg_err result);
static bool find_override(const char *host, struct mg_addresses *out_addresses);
static enum found find_cached(const char *host, uint64_t now_us,
                              struct mg_addresses *out_addresses);
static void remember(const char *host, uint64_t now_us, const struct mg_addresses *addresses);
static void forget(struct mg_shard *shard, struct mg_list *age);
static struct lookup *look_up(struct mg_loop *loop, const char *host);
static void on_looked_up(uv_getaddrinfo_t *request, int status, struct addrinfo *found);
static void interleave(const struct addrinfo *found, struct mg_addresses *out_addresses);
static bool lower(const char *host, char *out_host);

void mg_resolve_start(struct mg_resolve *op, struct mg_loop *loop, const char *host, int port,
                      mg_resolve_cb cb)
{
    char name[NAME_BYTES];
    op->cb = cb;
    op->port = port;
    op->addresses.count = 0;
    mg_list_init(&op->waiter);
    mg_list_init(&op->answer.link);

    if (mg_fault(MG_FAULT_RESOLVE) || !lower(host, name)) {
        answer_later(op, loop, MG_E_RESOLVE);
        return;
    }
    if (mg_resolve_literal(name, port, &op->addresses.list[0])) {
        op->addresses.count = 1;
        answer_later(op, loop, MG_OK);
        return;
    }
    if (find_override(name, &op->addresses)) {
        answer_later(op, loop, MG_OK);
        return;
    }
    enum found found = find_cached(name, mg_loop_now_us(loop), &op->addresses);
    struct lookup *lookup = found == FRESH ? NULL : look_up(loop, name);
    if (found == NOTHING && lookup)
        mg_list_push_back(&lookup->waiters, &op->waiter);
    else
        answer_later(op, loop, MG_OK);
}

void mg_resolve_cancel(struct mg_resolve *op)
{
    if (op->waiter.next)
        mg_list_remove(&op->waiter);
    mg_loop_defer_cancel(&op->answer);
}

size_t mg_resolve_cached(void)
{
    return mg_shards_count(&shards);
}

void mg_resolve_override(const char *host, const char *const *addresses, int count)
{
    if (!host) {
        for (struct override *next, *one = atomic_exchange(&overrides, NULL); one; one = next) {
            next = one->next;
            mg_free(one);
        }
        mg_shards_clear(&shards, forget);
        return;
    }
    struct override *one = mg_new(struct override);
    (void)lower(host, one->host);
    for (int i = 0; i < count && i < MG_MAX_DNS_ADDRESSES; i++)
        if (mg_resolve_literal(addresses[i], 0, &one->addresses.list[one->addresses.count]))
            one->addresses.count++;
    one->next = atomic_load(&overrides);
    atomic_store(&overrides, one);
}

bool mg_resolve_literal(const char *text, int port, union mg_sockaddr *out_address)
{
    union mg_sockaddr address;
    memset(&address, 0, sizeof(address));
    if (uv_ip4_addr(text, port, &address.v4) != 0 && uv_ip6_addr(text, port, &address.v6) != 0)
        return false;
    if (out_address)
        *out_address = address;
    return true;
}

/* A thread of libuv's pool may be inside getaddrinfo() and cannot be called back from there. */
void mg_resolve_loop_fini(struct mg_loop *loop)
{
    if (!loop->resolve)
        return;
    MG_LIST_EACH(item, next, &loop->resolve->running)
    (void)uv_cancel((uv_req_t *)&mg_container_of(item, struct lookup, link)->request);
    while (!mg_list_empty(&loop->resolve->running))
        uv_run(&loop->uv, UV_RUN_ONCE);
    mg_free(loop->resolve);
    loop->resolve = NULL;
}

static void answer_later(struct mg_resolve *op, struct mg_loop *loop, mg_err result)
{
    op->result = result;
    mg_loop_defer(loop, &op->answer, on_answer);
}

static void on_answer(struct mg_defer *answer)
{
    struct mg_resolve *op = mg_container_of(answer, struct mg_resolve, answer);
    finish(op, op->result);
}

/* Answers carry no port: it is the asker's. */
static void finish(struct mg_resolve *op, mg_err result)
{
    for (int i = 0; i < op->addresses.count; i++) {
        union mg_sockaddr *address = &op->addresses.list[i];
        if (address->any.sa_family == AF_INET)
            address->v4.sin_port = htons((uint16_t)op->port);
        else
            address->v6.sin6_port = htons((uint16_t)op->port);
    }
    op->cb(op, op->addresses.count > 0 ? result : MG_E_RESOLVE);
}

static bool find_override(const char *host, struct mg_addresses *out_addresses)
{
    for (struct override *one = atomic_load_explicit(&overrides, memory_order_acquire); one;
         one = one->next) {
        if (strcmp(one->host, host) == 0) {
            *out_addresses = one->addresses;
            return true;
        }
    }
    return false;
}

/* The first to find a stale answer refreshes it; the others go on with it for another second. */
static enum found find_cached(const char *host, uint64_t now_us, struct mg_addresses *out_addresses)
{
    enum found found = NOTHING;
    struct mg_shard *shard = mg_shards_lock(&shards, mg_view_cstr(host));
    struct name *name = mg_map_get(&shard->map, mg_view_cstr(host));
    if (name && now_us < name->fresh_until_us)
        found = FRESH;
    else if (name && name->addresses.count > 0 && now_us < name->stale_until_us)
        found = STALE;
    if (found != NOTHING)
        *out_addresses = name->addresses;
    if (found == STALE)
        name->fresh_until_us = now_us + FAILED_US;
    mg_shard_unlock(shard);
    return found;
}

/* A failure does not push out addresses that worked a moment ago. */
static void remember(const char *host, uint64_t now_us, const struct mg_addresses *addresses)
{
    struct mg_shard *shard = mg_shards_lock(&shards, mg_view_cstr(host));
    struct name *name = mg_map_get(&shard->map, mg_view_cstr(host));
    bool failed = addresses->count == 0;
    if (!name) {
        if (shard->map.count >= PER_SHARD)
            forget(shard, shard->by_age.next);
        name = mg_new(struct name);
        memcpy(name->host, host, strlen(host) + 1);
        (void)mg_map_put(&shard->map, mg_view_cstr(host), name);
        mg_list_init(&name->age);
    }
    mg_list_remove(&name->age);
    mg_list_push_back(&shard->by_age, &name->age);
    name->fresh_until_us = now_us + (failed ? FAILED_US : FRESH_US);
    if (!failed) {
        name->addresses = *addresses;
        name->stale_until_us = now_us + STALE_US;
    } else if (now_us >= name->stale_until_us) {
        name->addresses.count = 0;
    }
    mg_shard_unlock(shard);
}

static void forget(struct mg_shard *shard, struct mg_list *age)
{
    struct name *name = mg_container_of(age, struct name, age);
    (void)mg_map_remove(&shard->map, mg_view_cstr(name->host));
    mg_list_remove(&name->age);
    mg_free(name);
}

/* The lookup of host that runs on this loop, or a new one; NULL when the system refuses. */
static struct lookup *look_up(struct mg_loop *loop, const char *host)
{
    if (!loop->resolve) {
        loop->resolve = mg_new(struct mg_resolve_loop);
        mg_list_init(&loop->resolve->running);
    }
    MG_LIST_EACH(item, next, &loop->resolve->running)
    {
        struct lookup *running = mg_container_of(item, struct lookup, link);
        if (strcmp(running->host, host) == 0)
            return running;
    }
    static const struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
    struct lookup *lookup = mg_new(struct lookup);
    lookup->loop = loop;
    mg_list_init(&lookup->waiters);
    memcpy(lookup->host, host, strlen(host) + 1);
    if (uv_getaddrinfo(&loop->uv, &lookup->request, on_looked_up, lookup->host, NULL, &hints) !=
        0) {
        mg_free(lookup);
        return NULL;
    }
    mg_list_push_back(&loop->resolve->running, &lookup->link);
    return lookup;
}

static void on_looked_up(uv_getaddrinfo_t *request, int status, struct addrinfo *found)
{
    struct lookup *lookup = mg_container_of(request, struct lookup, request);
    struct mg_addresses addresses = {.count = 0};
    mg_list_remove(&lookup->link);
    if (status == 0)
        interleave(found, &addresses);
    uv_freeaddrinfo(found);
    if (status != UV_ECANCELED)
        remember(lookup->host, mg_loop_now_us(lookup->loop), &addresses);

    for (struct mg_list *item; (item = mg_list_pop_front(&lookup->waiters));) {
        struct mg_resolve *op = mg_container_of(item, struct mg_resolve, waiter);
        op->addresses = addresses;
        finish(op, MG_OK);
    }
    mg_free(lookup);
}

/* Families take turns, beginning with the system's first choice; within a family its order is kept.
 */
static void interleave(const struct addrinfo *found, struct mg_addresses *out_addresses)
{
    int family = found ? found->ai_family : AF_UNSPEC;
    const struct addrinfo *at[2] = {found, found};
    for (int turn = 0; out_addresses->count < MG_MAX_DNS_ADDRESSES && (at[0] || at[1]); turn ^= 1) {
        const struct addrinfo *one = at[turn];
        while (one && (one->ai_family == family) == (turn == 1))
            one = one->ai_next;
        at[turn] = one ? one->ai_next : NULL;
        if (!one || one->ai_addrlen > sizeof(union mg_sockaddr))
            continue;
        if (one->ai_family == AF_INET || one->ai_family == AF_INET6)
            memcpy(&out_addresses->list[out_addresses->count++], one->ai_addr, one->ai_addrlen);
    }
}

static bool lower(const char *host, char *out_host)
{
    size_t len = strlen(host);
    if (len == 0 || len >= NAME_BYTES)
        return false;
    for (size_t i = 0; i <= len; i++)
        out_host[i] = (char)tolower((unsigned char)host[i]);
    return true;
}
