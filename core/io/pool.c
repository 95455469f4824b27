#include "io/pool.h"

#include <assert.h>
#include <string.h>

#include "base/mem.h"

enum { KEY_BYTES = 512, SPARES = 256 };

/* The idle streams of one endpoint; exists only while there are some. */
struct bucket {
    struct mg_list idle; /* struct idle, the newest first */
    int count;
    struct mg_tls_context *tls; /* ref held, so that its address names nobody else */
    size_t key_len;
    char key[];
};

struct idle {
    struct mg_list link; /* in its bucket */
    struct mg_list age;  /* in the pool */
    struct mg_pool *pool;
    struct bucket *bucket;
    struct mg_stream *stream; /* owned */
    uint64_t since_us;
};

static size_t bucket_key(const struct mg_endpoint *endpoint, char out[KEY_BYTES]);
static struct bucket *bucket_for(struct mg_pool *pool, const struct mg_endpoint *endpoint,
                                 bool make);
static struct mg_stream *take_newest(struct mg_pool *pool, const struct mg_endpoint *endpoint);
static struct mg_stream *unlink_idle(struct idle *idle);
static void drop(struct idle *idle);
static void on_idle_data(void *arg, mg_view bytes);
static void on_idle_end(void *arg);
static void on_idle_closed(void *arg, mg_err why);
static void on_sweep(struct mg_timer *timer);
static void set_sweep(struct mg_pool *pool);
static void on_promised_data(void *arg, mg_view bytes);
static void on_promised_end(void *arg);
static void on_promised_closed(void *arg, mg_err why);
static void on_answer(struct mg_defer *answer);
static void on_dialled(struct mg_dial *dial, mg_err result);

static const struct mg_stream_ops idle_ops = {
    .on_data = on_idle_data,
    .on_end = on_idle_end,
    .on_closed = on_idle_closed,
};

/* Between mg_pool_get() and its callback a stream can still die; then the get dials after all. */
static const struct mg_stream_ops promised_ops = {
    .on_data = on_promised_data,
    .on_end = on_promised_end,
    .on_closed = on_promised_closed,
};

void mg_pool_init(struct mg_pool *pool, struct mg_loop *loop)
{
    memset(pool, 0, sizeof(*pool));
    pool->loop = loop;
    mg_map_init(&pool->buckets);
    mg_list_init(&pool->by_age);
    mg_list_init(&pool->spare);
}

void mg_pool_fini(struct mg_pool *pool)
{
    mg_pool_drop_idle(pool);
    for (struct mg_list *item; (item = mg_list_pop_front(&pool->spare));)
        mg_free(mg_container_of(item, struct idle, link));
    assert(pool->buckets.count == 0);
    mg_map_fini(&pool->buckets);
}

void mg_pool_get(struct mg_pool *pool, const struct mg_endpoint *endpoint, struct mg_pool_op *op,
                 uint32_t timeout_ms, mg_pool_cb cb)
{
    struct mg_stream *stream = take_newest(pool, endpoint);
    if (!stream) {
        mg_pool_get_fresh(pool, endpoint, op, timeout_ms, cb);
        return;
    }
    memset(op, 0, sizeof(*op));
    op->pool = pool;
    op->cb = cb;
    op->stream = stream;
    op->reused = true;
    op->timeout_ms = timeout_ms;
    op->dial.endpoint = endpoint;
    op->dial.marks.start_us = mg_loop_now_us(pool->loop);
    mg_stream_set_ops(stream, &promised_ops, op);
    mg_loop_defer(pool->loop, &op->answer, on_answer);
}

void mg_pool_get_fresh(struct mg_pool *pool, const struct mg_endpoint *endpoint,
                       struct mg_pool_op *op, uint32_t timeout_ms, mg_pool_cb cb)
{
    memset(op, 0, sizeof(*op));
    op->pool = pool;
    op->cb = cb;
    pool->stats.dialled++;
    mg_dial_start(&op->dial, pool->loop, endpoint, timeout_ms, on_dialled);
}

void mg_pool_cancel(struct mg_pool_op *op)
{
    mg_loop_defer_cancel(&op->answer);
    mg_dial_cancel(&op->dial);
    if (op->cb)
        mg_stream_discard(op->stream);
    op->stream = NULL;
    op->cb = NULL;
}

void mg_pool_put(struct mg_pool *pool, const struct mg_endpoint *endpoint, struct mg_stream *stream)
{
    struct bucket *bucket = NULL;
    if (mg_stream_usable(stream) && mg_stream_queued(stream) == 0)
        bucket = bucket_for(pool, endpoint, true);
    if (!bucket || bucket->count >= MG_MAX_POOL_IDLE) {
        pool->stats.dropped++;
        mg_stream_discard(stream);
        return;
    }
    struct mg_list *spare = mg_list_pop_front(&pool->spare);
    if (spare)
        pool->spares--;
    struct idle *idle = spare ? mg_container_of(spare, struct idle, link) : mg_new(struct idle);
    *idle = (struct idle){
        .pool = pool, .bucket = bucket, .stream = stream, .since_us = mg_loop_now_us(pool->loop)};
    mg_list_push_front(&bucket->idle, &idle->link);
    mg_list_push_back(&pool->by_age, &idle->age);
    bucket->count++;
    pool->stats.idle++;
    mg_stream_set_ops(stream, &idle_ops, idle);
    mg_stream_write_timeout(stream, 0);
    mg_stream_read(stream, true);
    if (!mg_timer_armed(&pool->sweep))
        set_sweep(pool);
}

void mg_pool_drop_idle(struct mg_pool *pool)
{
    while (!mg_list_empty(&pool->by_age))
        drop(mg_container_of(pool->by_age.next, struct idle, age));
    mg_timer_cancel(pool->loop, &pool->sweep);
}

static size_t bucket_key(const struct mg_endpoint *endpoint, char out[KEY_BYTES])
{
    size_t len = strlen(endpoint->key);
    if (len > KEY_BYTES - sizeof(endpoint->tls))
        return 0;
    memcpy(out, &endpoint->tls, sizeof(endpoint->tls));
    memcpy(out + sizeof(endpoint->tls), endpoint->key, len);
    return sizeof(endpoint->tls) + len;
}

/* NULL when there is none and none is to be made, or when the key is too long to pool. */
static struct bucket *bucket_for(struct mg_pool *pool, const struct mg_endpoint *endpoint,
                                 bool make)
{
    char key[KEY_BYTES];
    size_t key_len = bucket_key(endpoint, key);
    struct bucket *bucket = key_len ? mg_map_get(&pool->buckets, mg_view_of(key, key_len)) : NULL;
    if (bucket || !make || !key_len)
        return bucket;
    bucket = mg_alloc(sizeof(*bucket) + key_len);
    mg_list_init(&bucket->idle);
    bucket->tls = mg_tls_ref(endpoint->tls);
    bucket->key_len = key_len;
    memcpy(bucket->key, key, key_len);
    (void)mg_map_put(&pool->buckets, mg_view_of(key, key_len), bucket);
    return bucket;
}

static struct mg_stream *take_newest(struct mg_pool *pool, const struct mg_endpoint *endpoint)
{
    struct bucket *bucket = bucket_for(pool, endpoint, false);
    if (!bucket)
        return NULL;
    struct mg_stream *stream = unlink_idle(mg_container_of(bucket->idle.next, struct idle, link));
    if (mg_stream_usable(stream))
        return stream;
    pool->stats.dropped++;
    mg_stream_discard(stream);
    return take_newest(pool, endpoint);
}

/* Hands the stream out; the node becomes a spare and an empty bucket goes. */
static struct mg_stream *unlink_idle(struct idle *idle)
{
    struct mg_pool *pool = idle->pool;
    struct bucket *bucket = idle->bucket;
    struct mg_stream *stream = idle->stream;
    mg_list_remove(&idle->link);
    mg_list_remove(&idle->age);
    pool->stats.idle--;
    if (--bucket->count == 0) {
        (void)mg_map_remove(&pool->buckets, mg_view_of(bucket->key, bucket->key_len));
        mg_tls_unref(bucket->tls);
        mg_free(bucket);
    }
    if (pool->spares < SPARES) {
        pool->spares++;
        mg_list_push_front(&pool->spare, &idle->link);
    } else {
        mg_free(idle);
    }
    return stream;
}

static void drop(struct idle *idle)
{
    idle->pool->stats.dropped++;
    mg_stream_discard(unlink_idle(idle));
}

static void on_idle_data(void *arg, mg_view bytes)
{
    (void)bytes;
    drop(arg);
}

static void on_idle_end(void *arg)
{
    drop(arg);
}

static void on_idle_closed(void *arg, mg_err why)
{
    struct idle *idle = arg;
    (void)why;
    idle->pool->stats.dropped++;
    (void)unlink_idle(idle);
}

static void on_sweep(struct mg_timer *timer)
{
    struct mg_pool *pool = mg_container_of(timer, struct mg_pool, sweep);
    uint64_t now_us = mg_loop_now_us(pool->loop);
    while (!mg_list_empty(&pool->by_age)) {
        struct idle *oldest = mg_container_of(pool->by_age.next, struct idle, age);
        if (oldest->since_us + MG_MAX_POOL_IDLE_MS * 1000 > now_us)
            break;
        drop(oldest);
    }
    set_sweep(pool);
}

/* One timer for all: the oldest goes first. */
static void set_sweep(struct mg_pool *pool)
{
    if (mg_list_empty(&pool->by_age))
        return;
    struct idle *oldest = mg_container_of(pool->by_age.next, struct idle, age);
    uint64_t age_us = mg_loop_now_us(pool->loop) - oldest->since_us;
    uint64_t left_us =
        MG_MAX_POOL_IDLE_MS * 1000 - MG_MIN(age_us, (uint64_t)MG_MAX_POOL_IDLE_MS * 1000);
    mg_timer_start(pool->loop, &pool->sweep, left_us / 1000 + 1, on_sweep);
}

static void promise_broken(struct mg_pool_op *op, struct mg_stream *stream)
{
    struct mg_pool *pool = op->pool;
    mg_loop_defer_cancel(&op->answer);
    mg_stream_discard(stream);
    pool->stats.dropped++;
    mg_pool_get_fresh(pool, op->dial.endpoint, op, op->timeout_ms, op->cb);
}

static void on_promised_data(void *arg, mg_view bytes)
{
    struct mg_pool_op *op = arg;
    (void)bytes;
    promise_broken(op, op->stream);
}

static void on_promised_end(void *arg)
{
    struct mg_pool_op *op = arg;
    promise_broken(op, op->stream);
}

static void on_promised_closed(void *arg, mg_err why)
{
    (void)why;
    promise_broken(arg, NULL);
}

static void on_answer(struct mg_defer *answer)
{
    struct mg_pool_op *op = mg_container_of(answer, struct mg_pool_op, answer);
    mg_pool_cb cb = op->cb;
    op->pool->stats.reused++;
    op->cb = NULL;
    mg_stream_set_ops(op->stream, NULL, NULL);
    cb(op, MG_OK);
}

static void on_dialled(struct mg_dial *dial, mg_err result)
{
    struct mg_pool_op *op = mg_container_of(dial, struct mg_pool_op, dial);
    mg_pool_cb cb = op->cb;
    if (result != MG_OK)
        op->pool->stats.failed++;
    op->cb = NULL;
    op->stream = dial->stream;
    cb(op, result);
}
