#include "io/stream.h"

#include <netinet/tcp.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "world.h"

static struct end client, server;

/* Whoever started us may have had it ignored. */
__attribute__((constructor)) static void restore_sigpipe(void)
{
    (void)signal(SIGPIPE, SIG_DFL);
}

static void pair(void)
{
    world_begin();
    world_pair(&client, &server);
}

static void finish(void)
{
    end_fini(&client);
    end_fini(&server);
    world_end();
}

TEST(bytes_arrive_in_order_and_are_counted)
{
    pair();
    mg_view parts[] = {MG_VIEW("one "), MG_VIEW(""), MG_VIEW("two "), MG_VIEW("three")};

    CHECK_OK(mg_stream_write(client.stream, parts, MG_COUNT(parts)));
    UNTIL(server.got.len == 13);

    CHECK_VIEW(mg_buf_view(&server.got), MG_VIEW("one two three"));
    CHECK_INT(mg_stream_bytes_out(client.stream), 13);
    CHECK_INT(mg_stream_bytes_in(server.stream), 13);
    CHECK_INT(mg_stream_queued(client.stream), 0);
    finish();
}

TEST(more_parts_than_one_system_call_takes_are_one_run_of_bytes)
{
    enum { PARTS = 500 };
    static mg_view parts[PARTS];
    pair();
    for (int i = 0; i < PARTS; i++)
        parts[i] = MG_VIEW("abc");

    CHECK_OK(mg_stream_write(client.stream, parts, PARTS));
    UNTIL(server.got.len == 3 * PARTS);

    for (size_t i = 0; i < server.got.len; i++)
        CHECK_INT(mg_buf_view(&server.got).ptr[i], "abc"[i % 3]);
    finish();
}

TEST(nagle_is_off_on_both_sides)
{
    pair();
    int on = 0;
    socklen_t size = sizeof(on);
    struct mg_stream *both[] = {client.stream, server.stream};
    /* The handle is the first member of a stream, which only this test may know. */
    for (size_t i = 0; i < MG_COUNT(both); i++) {
        uv_os_fd_t fd;
        CHECK_INT(uv_fileno((uv_handle_t *)both[i], &fd), 0);
        CHECK_INT(getsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, &size), 0);
        CHECK(on);
    }
    finish();
}

TEST(names_its_peer)
{
    char want[64];
    pair();
    snprintf(want, sizeof(want), "127.0.0.1:%d", listener.port);

    CHECK_STR(mg_stream_peer(client.stream), want);
    CHECK(mg_view_starts(mg_view_cstr(mg_stream_peer(server.stream)), MG_VIEW("127.0.0.1:")));

    finish();
}

TEST(a_shutdown_delivers_everything_and_is_seen_as_an_end)
{
    pair();

    CHECK_OK(end_write(&client, "last words"));
    mg_stream_shutdown(client.stream);
    CHECK_INT(end_write(&client, "more"), MG_E_CLOSED);
    UNTIL(server.ended);
    CHECK_VIEW(mg_buf_view(&server.got), MG_VIEW("last words"));
    CHECK(!server.closed);
    mg_stream_shutdown(server.stream);
    UNTIL(client.closed && server.closed);

    CHECK_INT(client.why, MG_OK);
    CHECK_INT(server.why, MG_OK);
    CHECK_INT(client.ended, 0);
    finish();
}

TEST(after_the_peers_end_we_may_still_write)
{
    pair();
    mg_stream_shutdown(client.stream);
    UNTIL(server.ended);
    CHECK(!mg_stream_usable(server.stream));

    CHECK_OK(end_write(&server, "answer"));
    mg_stream_shutdown(server.stream);
    UNTIL(client.closed && server.closed);

    CHECK_INT(client.got.len, 0);
    CHECK_INT(client.why, MG_OK);
    finish();
}

TEST(a_peer_that_never_ends_is_left_after_a_second)
{
    world_begin();
    end_init(&client);
    int fd = world_raw_peer(&server, 0);
    uint64_t start_us = mg_mono_us();

    mg_stream_shutdown(server.stream);
    UNTIL(server.closed);

    CHECK_INT(server.why, MG_OK);
    CHECK(mg_mono_us() - start_us >= 1000000);
    close(fd);
    end_fini(&server);
    world_end();
}

TEST(what_the_peer_still_sends_after_a_shutdown_does_not_reset_our_last_words)
{
    static char block[1 << 20];
    char answer[16] = "";
    world_begin();
    int fd = world_raw_peer(&server, 0);
    fcntl(fd, F_SETFL, O_NONBLOCK);
    mg_stream_read(server.stream, false);
    CHECK(write(fd, block, 100000) > 0);
    mg_loop_turn(&loop, 0);

    CHECK_OK(end_write(&server, "too large"));
    mg_stream_shutdown(server.stream);
    for (int i = 0; i < 50; i++) {
        (void)!write(fd, block, sizeof(block));
        mg_loop_turn(&loop, 1);
    }

    CHECK_INT(read(fd, answer, sizeof(answer)), 9);
    CHECK_STR(answer, "too large");
    CHECK_INT(read(fd, answer, sizeof(answer)), 0);
    close(fd);
    UNTIL(server.closed);
    CHECK_INT(server.why, MG_OK);
    end_fini(&server);
    world_end();
}

TEST(a_reset_is_no_end)
{
    pair();

    mg_stream_reset(client.stream);
    UNTIL(client.closed && server.closed);

    CHECK_INT(client.why, MG_OK);
    CHECK_INT(server.why, MG_E_CLOSED);
    CHECK_INT(server.ended, 0);
    CHECK_STR(server.reason, "connection reset by peer");
    finish();
}

TEST(a_close_without_unread_bytes_is_an_end)
{
    pair();

    mg_stream_close(client.stream);
    CHECK_INT(client.closed, 0);
    UNTIL(client.closed && server.ended);

    CHECK_INT(server.closed, 0);
    finish();
}

TEST(on_closed_never_comes_from_inside_a_call_and_comes_once)
{
    pair();

    mg_stream_close(client.stream);
    mg_stream_close(client.stream);
    mg_stream_shutdown(client.stream);
    mg_stream_reset(client.stream);
    mg_stream_read(client.stream, true);
    mg_stream_write_timeout(client.stream, 1);
    CHECK_INT(end_write(&client, "x"), MG_E_CLOSED);
    CHECK_INT(client.closed, 0);
    UNTIL(client.closed);

    finish();
}

TEST(a_discarded_stream_calls_nobody)
{
    pair();
    struct mg_stream *stream = client.stream;

    mg_stream_discard(stream);
    client.stream = NULL;
    UNTIL(server.ended);
    mg_stream_discard(NULL);

    CHECK_INT(client.closed, 0);
    mg_buf_fini(&client.got);
    end_fini(&server);
    world_end();
}

TEST(nothing_is_read_while_reading_is_off)
{
    pair();
    mg_stream_read(server.stream, false);

    CHECK_OK(end_write(&client, "patience"));
    for (int i = 0; i < 20; i++)
        mg_loop_turn(&loop, 1);
    CHECK_INT(server.got.len, 0);
    mg_stream_read(server.stream, true);
    UNTIL(server.got.len == 8);

    finish();
}

TEST(an_end_is_noticed_while_reading_is_off)
{
    pair();
    mg_stream_read(server.stream, false);

    mg_stream_close(client.stream);
    UNTIL(server.ended);

    finish();
}

TEST(a_reset_is_noticed_while_reading_is_off)
{
    pair();
    mg_stream_read(server.stream, false);

    mg_stream_reset(client.stream);
    UNTIL(server.closed);

    CHECK_INT(server.why, MG_E_CLOSED);
    finish();
}

TEST(unread_bytes_come_before_the_end)
{
    pair();
    mg_stream_read(server.stream, false);
    CHECK_OK(end_write(&client, "first"));
    mg_stream_close(client.stream);
    for (int i = 0; i < 20; i++)
        mg_loop_turn(&loop, 1);
    CHECK_INT(server.ended, 0);

    mg_stream_read(server.stream, true);
    UNTIL(server.ended);

    CHECK_VIEW(mg_buf_view(&server.got), MG_VIEW("first"));
    finish();
}

TEST(a_slow_reader_fills_a_bounded_queue_and_drains_it)
{
    enum { BLOCK = 60000 };
    static char block[BLOCK];
    mg_view part = mg_view_of(block, BLOCK);
    size_t written = 0;
    mg_err err;
    pair();
    for (int i = 0; i < BLOCK; i++)
        block[i] = (char)(i % 251);
    mg_stream_read(server.stream, false);

    while ((err = mg_stream_write(client.stream, &part, 1)) == MG_OK)
        written += BLOCK;
    CHECK_INT(err, MG_E_AGAIN);
    written += BLOCK;
    CHECK(mg_stream_queued(client.stream) > MG_MAX_WRITE_QUEUE_BYTES);
    CHECK(mg_stream_queued(client.stream) <= MG_MAX_WRITE_QUEUE_BYTES + BLOCK);
    CHECK_INT(client.drained, 0);

    while ((err = mg_stream_write(client.stream, &part, 1)) == MG_E_AGAIN)
        written += BLOCK;
    CHECK_INT(err, MG_E_TOO_LARGE);
    CHECK(mg_stream_queued(client.stream) <= 2 * MG_MAX_WRITE_QUEUE_BYTES + 2 * BLOCK);

    mg_stream_read(server.stream, true);
    UNTIL(server.got.len == written);
    UNTIL(client.drained == 1);
    for (size_t i = 0; i < written; i++)
        if (mg_buf_view(&server.got).ptr[i] != (char)(i % BLOCK % 251))
            check_failed(__FILE__, __LINE__, "byte %zu differs", i);
    CHECK_INT(mg_stream_queued(client.stream), 0);
    CHECK_INT(mg_stream_bytes_out(client.stream), written);
    finish();
}

TEST(what_is_at_hand_is_still_taken_after_one_write_of_megabytes)
{
    enum { HUGE_BYTES = 16 * 1024 * 1024 };
    char *huge = mg_alloc(HUGE_BYTES);
    mg_view first = mg_view_of(huge, HUGE_BYTES), more = mg_view_of(huge, 60000);
    pair();
    mg_stream_read(server.stream, false);

    CHECK_INT(mg_stream_write(client.stream, &first, 1), MG_E_AGAIN);
    CHECK(mg_stream_queued(client.stream) > 2 * MG_MAX_WRITE_QUEUE_BYTES);
    CHECK_INT(mg_stream_write(client.stream, &more, 1), MG_E_AGAIN);

    mg_free(huge);
    mg_stream_read(server.stream, true);
    UNTIL(client.drained == 1);
    UNTIL(server.got.len == HUGE_BYTES + 60000);
    finish();
}

TEST(a_shutdown_waits_for_a_full_queue)
{
    static char block[100000];
    mg_view part = mg_view_of(block, sizeof(block));
    size_t written = 0;
    mg_err err;
    pair();
    mg_stream_read(server.stream, false);
    do {
        err = mg_stream_write(client.stream, &part, 1);
        written += sizeof(block);
    } while (err == MG_OK);

    mg_stream_shutdown(client.stream);
    mg_stream_read(server.stream, true);
    UNTIL(server.ended);

    CHECK_INT(server.got.len, written);
    mg_stream_close(server.stream);
    UNTIL(client.closed);
    CHECK_INT(client.why, MG_OK);
    finish();
}

TEST(a_peer_that_takes_nothing_is_given_up)
{
    static char block[100000];
    mg_view part = mg_view_of(block, sizeof(block));
    world_begin();
    int fd = world_raw_peer(&server, 4096);
    mg_stream_write_timeout(server.stream, 50);
    while (mg_stream_write(server.stream, &part, 1) == MG_OK)
        continue;

    UNTIL(server.closed);

    CHECK_INT(server.why, MG_E_TIMEOUT);
    CHECK_INT(server.drained, 0);
    close(fd);
    end_fini(&server);
    world_end();
}

TEST(a_peer_that_takes_a_little_now_and_then_is_kept)
{
    static char block[100000];
    mg_view part = mg_view_of(block, sizeof(block));
    world_begin();
    int fd = world_raw_peer(&server, 4096);
    mg_stream_write_timeout(server.stream, 200);
    while (mg_stream_write(server.stream, &part, 1) == MG_OK)
        continue;

    uint64_t start_us = mg_mono_us();
    while (mg_mono_us() - start_us < 600000) {
        CHECK(read(fd, block, 60000) > 0);
        mg_loop_turn(&loop, 50);
    }

    CHECK_INT(server.closed, 0);
    close(fd);
    end_fini(&server);
    world_end();
}

TEST(a_failed_write_closes_the_stream_later)
{
    pair();
    mg_fault_arm(MG_FAULT_WRITE, 1);

    CHECK_INT(end_write(&client, "x"), MG_E_CLOSED);
    CHECK_INT(client.closed, 0);
    UNTIL(client.closed);

    CHECK_INT(client.why, MG_E_CLOSED);
    finish();
}

TEST(writing_to_a_peer_that_left_does_not_end_the_process)
{
    world_begin();
    int fd = world_raw_peer(&server, 0);
    close(fd);
    UNTIL(server.ended);

    CHECK_OK(end_write(&server, "answered with a reset"));
    CHECK_INT(end_write(&server, "a broken pipe"), MG_E_CLOSED);
    UNTIL(server.closed);

    CHECK_INT(server.why, MG_E_CLOSED);
    end_fini(&server);
    world_end();
}

TEST(a_refused_connection_says_so)
{
    world_begin();
    struct sockaddr_in address = world_address();
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    socklen_t size = sizeof(address);
    address.sin_port = 0;
    CHECK_INT(bind(fd, (struct sockaddr *)&address, size), 0);
    CHECK_INT(getsockname(fd, (struct sockaddr *)&address, &size), 0);
    end_init(&client);

    client.stream = mg_stream_connect(&loop, (struct sockaddr *)&address, &end_ops, &client);
    UNTIL(client.closed);

    CHECK_INT(client.why, MG_E_CONNECT);
    CHECK_STR(client.reason, "connection refused");
    CHECK_INT(client.opened, 0);
    close(fd);
    end_fini(&client);
    world_end();
}

TEST(an_injected_connect_failure_is_reported_later)
{
    world_begin();
    mg_fault_arm(MG_FAULT_CONNECT, 1);

    world_connect(&client);
    CHECK_INT(client.closed, 0);
    UNTIL(client.closed);

    CHECK_INT(client.why, MG_E_CONNECT);
    end_fini(&client);
    world_end();
}

static void close_on_data(void *arg, mg_view bytes)
{
    struct end *end = arg;
    end->counted += bytes.len;
    mg_stream_close(end->stream);
}

TEST(a_stream_closed_while_it_delivers_delivers_no_more)
{
    static char block[400000];
    static struct mg_stream_ops ops;
    mg_view part = mg_view_of(block, sizeof(block));
    pair();
    ops = end_ops;
    ops.on_data = close_on_data;
    mg_stream_set_ops(server.stream, &ops, &server);

    (void)!mg_stream_write(client.stream, &part, 1);
    UNTIL(server.closed);

    CHECK(server.counted > 0 && server.counted <= MG_LOOP_READ_BYTES);
    finish();
}

TEST(a_new_owner_hears_what_comes_next)
{
    struct end heir;
    pair();
    end_init(&heir);
    heir.stream = server.stream;

    mg_stream_set_ops(server.stream, &end_ops, &heir);
    server.stream = NULL;
    CHECK_OK(end_write(&client, "for the heir"));
    UNTIL(heir.got.len == 12);

    CHECK_INT(server.got.len, 0);
    mg_buf_fini(&server.got);
    end_fini(&client);
    end_fini(&heir);
    world_end();
}

TEST(unix_sockets_work_the_same)
{
    char path[] = "/tmp/mg-stream-XXXXXX";
    struct mg_listener local;
    struct mg_diag diag;
    struct stat file;
    CHECK(mkdtemp(path));
    char name[64];
    snprintf(name, sizeof(name), "%s/socket", path);
    struct mg_listen_spec spec = {.unix_path = name};
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof(address.sun_path), "%s", name);
    world_begin();
    CHECK_OK(mg_listen_start(&local, &loop, &spec, world_on_fd, NULL, &diag));
    CHECK_INT(stat(name, &file), 0);
    CHECK_INT(file.st_mode & 0777, 0600);

    world_accept_into(&server);
    end_init(&client);
    client.stream = mg_stream_connect(&loop, (struct sockaddr *)&address, &end_ops, &client);
    UNTIL(client.opened && server.stream);
    CHECK_STR(mg_stream_peer(client.stream), "unix");
    server.echo = true;
    CHECK_OK(end_write(&client, "hello"));
    UNTIL(client.got.len == 5);
    mg_stream_shutdown(client.stream);
    UNTIL(server.ended);

    end_fini(&client);
    end_fini(&server);
    mg_listen_stop(&local, world_stopped);
    UNTIL(stopped);
    stopped = false;
    CHECK(stat(name, &file) != 0);
    rmdir(path);
    world_end();
}

MG_TEST_MAIN()
