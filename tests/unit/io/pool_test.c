#include "io/pool.h"

#include "world.h"

struct got {
    struct mg_pool_op op;
    int answers;
    mg_err result;
};

static struct mg_pool pool;
static struct mg_endpoint endpoint;
static struct end server, other;

static void on_got(struct mg_pool_op *op, mg_err result)
{
    struct got *got = mg_container_of(op, struct got, op);
    got->answers++;
    got->result = result;
}

static void get(struct got *got)
{
    memset(got, 0, sizeof(*got));
    mg_pool_get(&pool, &endpoint, &got->op, 5000, on_got);
    CHECK_INT(got->answers, 0);
}

static void begin(void)
{
    world_begin();
    mg_pool_init(&pool, &loop);
    endpoint = (struct mg_endpoint){.host = "127.0.0.1", .port = listener.port, .key = "one"};
}

static void finish(void)
{
    mg_pool_fini(&pool);
    world_end();
}

static void get_fresh_into(struct got *got, struct end *end)
{
    world_accept_into(end);
    get(got);
    UNTIL(got->answers && end->stream);
    CHECK_OK(got->result);
}

TEST(a_returned_stream_is_given_out_again)
{
    struct got first, second;
    begin();
    get_fresh_into(&first, &server);
    CHECK(!first.op.reused);

    mg_pool_put(&pool, &endpoint, first.op.stream);
    CHECK_INT(pool.stats.idle, 1);
    get(&second);
    UNTIL(second.answers);

    CHECK(second.op.reused);
    CHECK(second.op.stream == first.op.stream);
    CHECK_INT(pool.stats.reused, 1);
    CHECK_INT(pool.stats.dialled, 1);
    CHECK_INT(pool.stats.idle, 0);
    mg_stream_discard(second.op.stream);
    end_fini(&server);
    finish();
}

TEST(the_newest_comes_first)
{
    struct got one, two, third;
    begin();
    get_fresh_into(&one, &server);
    get_fresh_into(&two, &other);

    mg_pool_put(&pool, &endpoint, one.op.stream);
    mg_pool_put(&pool, &endpoint, two.op.stream);
    get(&third);
    UNTIL(third.answers);

    CHECK(third.op.stream == two.op.stream);
    mg_stream_discard(third.op.stream);
    mg_pool_drop_idle(&pool);
    end_fini(&server);
    end_fini(&other);
    finish();
}

TEST(another_key_or_another_tls_context_is_another_endpoint)
{
    struct got first;
    struct mg_tls_context *tls;
    struct mg_diag diag;
    begin();
    CHECK_OK(mg_tls_client_new(&(struct mg_tls_client_options){.insecure = true}, &tls, &diag));
    get_fresh_into(&first, &server);
    mg_pool_put(&pool, &endpoint, first.op.stream);

    struct mg_endpoint renamed = endpoint, secured = endpoint;
    renamed.key = "two";
    secured.tls = tls;
    struct got a = {0}, b = {0};
    mg_pool_get(&pool, &renamed, &a.op, 5000, on_got);
    mg_pool_get(&pool, &secured, &b.op, 5000, on_got);

    CHECK_INT(pool.stats.idle, 1);
    CHECK_INT(pool.stats.dialled, 3);
    mg_pool_cancel(&a.op);
    mg_pool_cancel(&b.op);
    CHECK_INT(a.answers + b.answers, 0);
    mg_tls_unref(tls);
    mg_pool_drop_idle(&pool);
    end_fini(&server);
    finish();
}

TEST(an_idle_stream_whose_peer_ends_resets_or_speaks_is_dropped)
{
    for (int what = 0; what < 3; what++) {
        struct got first;
        begin();
        get_fresh_into(&first, &server);
        mg_pool_put(&pool, &endpoint, first.op.stream);

        if (what == 0)
            mg_stream_close(server.stream);
        else if (what == 1)
            mg_stream_reset(server.stream);
        else
            CHECK_OK(end_write(&server, "HTTP/1.1 408 Request Timeout\r\n\r\n"));
        UNTIL(pool.stats.idle == 0);

        CHECK_INT(pool.stats.dropped, 1);
        CHECK_INT(pool.buckets.count, 0);
        end_fini(&server);
        finish();
    }
}

TEST(a_stream_that_dies_between_the_get_and_its_answer_is_replaced)
{
    struct got first, second;
    begin();
    get_fresh_into(&first, &server);
    mg_pool_put(&pool, &endpoint, first.op.stream);
    world_accept_into(&other);

    get(&second);
    mg_stream_set_ops(server.stream, NULL, NULL);
    mg_stream_reset(server.stream);
    end_closed(&server, MG_OK);
    mg_loop_defer_cancel(&second.op.answer); /* the answer is late by a turn */
    UNTIL(second.answers && other.stream);

    CHECK_OK(second.result);
    CHECK(!second.op.reused);
    CHECK_INT(pool.stats.dialled, 2);
    mg_stream_discard(second.op.stream);
    mg_buf_fini(&server.got);
    end_fini(&other);
    finish();
}

TEST(get_fresh_passes_over_what_is_idle)
{
    struct got first, second;
    begin();
    get_fresh_into(&first, &server);
    mg_pool_put(&pool, &endpoint, first.op.stream);
    world_accept_into(&other);
    memset(&second, 0, sizeof(second));

    mg_pool_get_fresh(&pool, &endpoint, &second.op, 5000, on_got);
    UNTIL(second.answers && other.stream);

    CHECK(!second.op.reused);
    CHECK_INT(pool.stats.idle, 1);
    mg_stream_discard(second.op.stream);
    mg_pool_drop_idle(&pool);
    end_fini(&server);
    end_fini(&other);
    finish();
}

TEST(a_stream_that_is_not_clean_is_not_kept)
{
    for (int what = 0; what < 2; what++) {
        static char block[100000];
        mg_view part = mg_view_of(block, sizeof(block));
        struct got first;
        begin();
        get_fresh_into(&first, &server);
        if (what == 0) {
            mg_stream_close(server.stream);
            for (int i = 0; i < 20 && mg_stream_usable(first.op.stream); i++)
                mg_loop_turn(&loop, 10);
            CHECK(!mg_stream_usable(first.op.stream));
        } else {
            mg_stream_read(server.stream, false);
            while (mg_stream_queued(first.op.stream) == 0)
                CHECK_OK(mg_stream_write(first.op.stream, &part, 1));
        }

        mg_pool_put(&pool, &endpoint, first.op.stream);

        CHECK_INT(pool.stats.idle, 0);
        CHECK_INT(pool.stats.dropped, 1);
        end_fini(&server);
        finish();
    }
}

TEST(idle_streams_are_dropped_at_their_age)
{
    struct got first;
    begin();
    get_fresh_into(&first, &server);
    uint64_t put_us = mg_mono_us();
    mg_clock_fake(put_us);
    mg_loop_turn(&loop, 0);
    mg_pool_put(&pool, &endpoint, first.op.stream);

    mg_clock_fake(put_us + MG_MAX_POOL_IDLE_MS * UINT64_C(1000) - 1000000);
    mg_loop_turn(&loop, 0);
    mg_wheel_advance(&loop.wheel, mg_mono_us());
    CHECK_INT(pool.stats.idle, 1);
    mg_clock_fake(put_us + MG_MAX_POOL_IDLE_MS * UINT64_C(1000) + 20000);
    mg_loop_turn(&loop, 0);
    mg_wheel_advance(&loop.wheel, mg_mono_us());
    CHECK_INT(pool.stats.idle, 0);

    mg_clock_fake(0);
    end_fini(&server);
    finish();
}

TEST(no_more_than_the_limit_are_kept_of_one_endpoint)
{
    enum { N = MG_MAX_POOL_IDLE + 3 };
    static struct got gots[N];
    int fds[2];
    begin();
    for (int i = 0; i < N; i++) {
        CHECK_INT(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds), 0);
        gots[i].op.stream = mg_stream_accept(&loop, fds[0], NULL, NULL, NULL);
        gots[i].answers = fds[1];
    }

    for (int i = 0; i < N; i++)
        mg_pool_put(&pool, &endpoint, gots[i].op.stream);

    CHECK_INT(pool.stats.idle, MG_MAX_POOL_IDLE);
    CHECK_INT(pool.stats.dropped, 3);
    for (int i = 0; i < N; i++)
        close(gots[i].answers);
    UNTIL(pool.stats.idle == 0);
    finish();
}

TEST(a_cancelled_get_calls_nobody_and_leaks_nothing)
{
    begin();
    struct got first;
    get_fresh_into(&first, &server);
    mg_pool_put(&pool, &endpoint, first.op.stream);

    struct got *warm = mg_new(struct got), *cold = mg_new(struct got);
    get(warm);
    get(cold);
    mg_pool_cancel(&warm->op);
    mg_pool_cancel(&cold->op);
    CHECK_INT(warm->answers + cold->answers, 0);
    mg_free(warm);
    mg_free(cold);
    UNTIL(server.ended);

    end_fini(&server);
    finish();
}

TEST(a_failed_dial_is_reported_and_counted)
{
    struct got got;
    begin();
    mg_fault_arm(MG_FAULT_CONNECT, 1);

    get(&got);
    UNTIL(got.answers);

    CHECK_INT(got.result, MG_E_CONNECT);
    CHECK(!got.op.stream);
    CHECK_INT(pool.stats.failed, 1);
    finish();
}

MG_TEST_MAIN()
