/* pool.h - warm upstream connections of one loop.
 *
 * Idle streams are kept per endpoint (equal key and the same TLS context), at most MG_MAX_POOL_IDLE
 * of them for at most MG_MAX_POOL_IDLE_MS, and the newest is given out first. An idle stream that
 * receives anything, ends or fails is dropped. A stream that was reused may turn out dead on its
 * first use: then ask again with mg_pool_get_fresh(). */
#ifndef MG_IO_POOL_H
#define MG_IO_POOL_H

#include "base/map.h"
#include "io/dial.h"

struct mg_pool_stats {
    uint64_t reused;  /* gets answered with an idle stream */
    uint64_t dialled; /* gets that dialled */
    uint64_t failed;  /* dials that failed */
    uint64_t dropped; /* idle streams that died, aged or did not fit */
    uint32_t idle;    /* now */
};

struct mg_pool {
    struct mg_loop *loop;  /* borrowed */
    struct mg_map buckets; /* tls pointer and key → struct bucket, owned */
    struct mg_list by_age; /* struct idle, the oldest first */
    struct mg_list spare;  /* struct idle without a stream, for reuse */
    uint32_t spares;
    struct mg_timer sweep;
    struct mg_pool_stats stats;
};

struct mg_pool_op;

/* Once, never from inside mg_pool_get(), last touch. Results as in dial.h; on MG_OK op->stream is
 * the caller's. */
typedef void (*mg_pool_cb)(struct mg_pool_op *op, mg_err result);

/* Caller-owned memory. In the callback read stream, reused and dial.{marks,reason,address}; the
 * rest belongs to pool.c. */
struct mg_pool_op {
    struct mg_stream *stream;
    bool reused; /* it has served before */
    struct mg_dial dial;
    struct mg_pool *pool;
    mg_pool_cb cb;          /* NULL when nothing runs */
    uint32_t timeout_ms;    /* for a dial after all */
    struct mg_defer answer; /* an idle stream was found */
};

void mg_pool_init(struct mg_pool *pool, struct mg_loop *loop);
void mg_pool_fini(struct mg_pool *pool); /* drops what is idle; no get may be running */

void mg_pool_get(struct mg_pool *pool, const struct mg_endpoint *endpoint, struct mg_pool_op *op,
                 uint32_t timeout_ms, mg_pool_cb cb);
void mg_pool_get_fresh(struct mg_pool *pool, const struct mg_endpoint *endpoint,
                       struct mg_pool_op *op, uint32_t timeout_ms, mg_pool_cb cb);

/* No callback comes any more and the memory is the caller's at once. Harmless when nothing runs, on
 * zeroed memory too. */
void mg_pool_cancel(struct mg_pool_op *op);

/* Takes the stream, whoever its owner was: kept when usable and drained and there is room (and the
 * key is below 500 bytes), else closed. */
void mg_pool_put(struct mg_pool *pool, const struct mg_endpoint *endpoint,
                 struct mg_stream *stream);

void mg_pool_drop_idle(struct mg_pool *pool);

#endif
