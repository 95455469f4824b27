#include "http/service.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/mem.h"
#include "check.h"

/* One service, one blocking client socket, one loop turned by hand. */
static struct mg_loop loop;
static struct mg_service service;
static struct mg_service_call *open_call;
static char got[1 << 20];
static size_t got_len;
static bool ended, stopped;
static int gone;

static void on_gone(struct mg_service_call *call)
{
    CHECK(call == open_call);
    open_call = NULL;
    gone++;
}

/* /echo answers the body, /later leaves the call open, /stream sends two chunks, /cut ends without
 * the last one. */
static void handle(void *arg, struct mg_service_call *call)
{
    mg_view path = call->request->path;
    CHECK(arg == &service);
    if (mg_view_eq(path, MG_VIEW("/later"))) {
        call->on_gone = on_gone;
        open_call = call;
    } else if (mg_view_eq(path, MG_VIEW("/stream"))) {
        mg_service_begin(call, 200, MG_VIEW("x-kind: stream\r\n"));
        CHECK_OK(mg_service_send(call, MG_VIEW("hello ")));
        CHECK_OK(mg_service_send(call, MG_VIEW("world")));
        mg_service_end(call);
    } else if (mg_view_eq(path, MG_VIEW("/cut"))) {
        mg_service_begin(call, 200, MG_VIEW_NONE);
        CHECK_OK(mg_service_send(call, MG_VIEW("hello")));
        mg_service_close(call);
    } else if (mg_view_eq(path, MG_VIEW("/reset"))) {
        mg_service_reset(call);
    } else {
        mg_service_answer(call, 200, MG_VIEW("x-kind: echo\r\n"), call->body);
    }
}

static int start(void)
{
    struct mg_service_options options = {.listen = {.host = "127.0.0.1"},
                                         .body_bytes = 100000,
                                         .connections = 4,
                                         .fn = handle,
                                         .arg = &service};
    struct mg_diag diag;
    gone = 0, stopped = false, open_call = NULL;
    mg_loop_init(&loop);
    CHECK_OK(mg_service_start(&service, &loop, &options, &diag));
    return mg_listen_port(&service.listener);
}

static void on_stopped(void *arg)
{
    (void)arg;
    stopped = true;
}

static void stop(void)
{
    mg_service_stop(&service, on_stopped, NULL);
    for (int i = 0; i < 100 && !stopped; i++)
        mg_loop_turn(&loop, 10);
    CHECK(stopped);
    mg_loop_fini(&loop);
}

static int dial(int port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    CHECK_INT(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    fcntl(fd, F_SETFL, O_NONBLOCK);
    got_len = 0, ended = false;
    return fd;
}

static void say(int fd, mg_view bytes)
{
    CHECK_INT(write(fd, bytes.ptr, bytes.len), bytes.len);
}

/* Turns the loop until `count` bytes have come or the peer has ended, or it is taking too long. */
static void hear(int fd, size_t count)
{
    for (int i = 0; i < 200 && got_len < count && !ended; i++) {
        mg_loop_turn(&loop, 5);
        ssize_t n = read(fd, got + got_len, sizeof(got) - got_len);
        if (n > 0)
            got_len += (size_t)n;
        else if (n == 0 || (errno != EAGAIN && errno != EINTR))
            ended = true;
    }
}

static mg_view heard(void)
{
    return mg_view_of(got, got_len);
}

static bool heard_has(const char *text)
{
    return mg_view_search(heard(), mg_view_cstr(text)) < got_len;
}

TEST(answers_a_request_cut_anywhere_and_keeps_the_connection)
{
    mg_view wire = MG_VIEW("POST /echo HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\nhello");
    mg_view want = MG_VIEW("HTTP/1.1 200 OK\r\nx-kind: echo\r\ncontent-length: 5\r\n\r\nhello");
    int fd = dial(start());

    for (size_t cut = 1; cut < wire.len; cut++) {
        got_len = 0;
        say(fd, mg_view_head(wire, cut));
        mg_loop_turn(&loop, 5);
        say(fd, mg_view_skip(wire, cut));
        hear(fd, want.len);
        CHECK_VIEW(heard(), want);
    }

    close(fd);
    stop();
}

TEST(answers_pipelined_requests_in_order)
{
    int fd = dial(start());

    say(fd, MG_VIEW("POST /echo HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\n\r\n1"
                    "GET /later HTTP/1.1\r\nhost: a\r\n\r\n"
                    "POST /echo HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\n\r\n3"));
    hear(fd, 40);
    CHECK(heard_has("\r\n\r\n1"));
    for (int i = 0; i < 20 && !open_call; i++)
        mg_loop_turn(&loop, 5);
    CHECK(open_call != NULL);
    CHECK(!heard_has("\r\n\r\n3"));

    mg_service_answer(open_call, 201, MG_VIEW_NONE, MG_VIEW("2"));
    open_call = NULL;
    hear(fd, got_len + 90);
    CHECK(heard_has("HTTP/1.1 201 Created\r\ncontent-length: 1\r\n\r\n2HTTP/1.1 200 OK"));
    CHECK(heard_has("\r\n\r\n3"));
    CHECK_INT(gone, 0);

    close(fd);
    stop();
}

TEST(streams_with_chunk_framing)
{
    int fd = dial(start());

    say(fd, MG_VIEW("GET /stream HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n"));
    hear(fd, sizeof(got));

    CHECK(ended);
    CHECK(heard_has("transfer-encoding: chunked\r\n\r\n6\r\nhello \r\n5\r\nworld\r\n0\r\n\r\n"));
    close(fd);
    stop();
}

TEST(a_cut_stream_has_no_last_chunk)
{
    int fd = dial(start());

    say(fd, MG_VIEW("GET /cut HTTP/1.1\r\nhost: a\r\n\r\n"));
    hear(fd, sizeof(got));

    CHECK(ended);
    CHECK(mg_view_ends(heard(), MG_VIEW("5\r\nhello\r\n")));
    close(fd);
    stop();
}

TEST(a_reset_is_seen_as_one)
{
    int fd = dial(start());
    char byte;

    say(fd, MG_VIEW("GET /reset HTTP/1.1\r\nhost: a\r\n\r\n"));
    for (int i = 0; i < 50; i++)
        mg_loop_turn(&loop, 2);

    CHECK_INT(read(fd, &byte, 1), -1);
    CHECK_INT(errno, ECONNRESET);
    close(fd);
    stop();
}

TEST(a_client_that_leaves_ends_its_open_call)
{
    int fd = dial(start());

    say(fd, MG_VIEW("GET /later HTTP/1.1\r\nhost: a\r\n\r\n"));
    for (int i = 0; i < 50 && !open_call; i++)
        mg_loop_turn(&loop, 5);
    CHECK(open_call != NULL);
    close(fd);
    for (int i = 0; i < 50 && !gone; i++)
        mg_loop_turn(&loop, 5);

    CHECK_INT(gone, 1);
    stop();
}

TEST(stopping_ends_open_calls)
{
    int fd = dial(start());

    say(fd, MG_VIEW("GET /later HTTP/1.1\r\nhost: a\r\n\r\n"));
    for (int i = 0; i < 50 && !open_call; i++)
        mg_loop_turn(&loop, 5);
    stop();

    CHECK_INT(gone, 1);
    close(fd);
}

TEST(refuses_what_it_cannot_read_and_what_is_too_long)
{
    static const struct {
        const char *wire, *want;
    } rows[] = {
        {"GET /echo HTTP/1.1\r\n\r\n", "HTTP/1.1 400 "},
        {"GARBAGE\r\n\r\n", "HTTP/1.1 400 "},
        {"POST /echo HTTP/1.1\r\nhost: a\r\ncontent-length: 100001\r\n\r\n", "HTTP/1.1 413 "},
    };
    for (size_t i = 0; i < MG_COUNT(rows); i++) {
        int fd = dial(start());
        say(fd, mg_view_cstr(rows[i].wire));
        hear(fd, sizeof(got));
        CHECK(ended);
        CHECK(mg_view_starts(heard(), mg_view_cstr(rows[i].want)));
        CHECK(heard_has("connection: close"));
        close(fd);
        stop();
    }
}

TEST(a_client_that_waits_for_100_is_told_to_go_on)
{
    int fd = dial(start());

    say(fd,
        MG_VIEW(
            "POST /echo HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\nexpect: 100-continue\r\n\r\n"));
    hear(fd, 25);
    CHECK_VIEW(heard(), MG_VIEW("HTTP/1.1 100 Continue\r\n\r\n"));
    say(fd, MG_VIEW("ok"));
    hear(fd, 60);
    CHECK(heard_has("\r\n\r\nok"));
    close(fd);
    stop();
}

TEST(closes_clients_above_its_bound)
{
    int port = start();
    int fds[5];
    for (int i = 0; i < 5; i++)
        fds[i] = dial(port);

    hear(fds[4], 1);
    CHECK(ended);
    ended = false;
    say(fds[0], MG_VIEW("POST /echo HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\n\r\n1"));
    hear(fds[0], 40);
    CHECK(heard_has("\r\n\r\n1"));

    for (int i = 0; i < 5; i++)
        close(fds[i]);
    stop();
}

MG_TEST_MAIN()
