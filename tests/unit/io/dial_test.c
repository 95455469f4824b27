#include "io/dial.h"

#include "world.h"

struct dialled {
    struct mg_dial op;
    int answers;
    mg_err result;
};

static struct end server, client;

static void on_dialled(struct mg_dial *op, mg_err result)
{
    struct dialled *dialled = mg_container_of(op, struct dialled, op);
    dialled->answers++;
    dialled->result = result;
}

static void dial(struct dialled *dialled, const struct mg_endpoint *endpoint, uint32_t timeout_ms)
{
    memset(dialled, 0, sizeof(*dialled));
    mg_dial_start(&dialled->op, &loop, endpoint, timeout_ms, on_dialled);
    CHECK_INT(dialled->answers, 0);
}

static struct mg_endpoint endpoint_for(const char *host)
{
    return (struct mg_endpoint){.host = host, .port = listener.port, .key = host};
}

static void adopt(struct dialled *dialled)
{
    end_init(&client);
    client.stream = dialled->op.stream;
    mg_stream_set_ops(client.stream, &end_ops, &client);
}

/* A bound port that nobody listens on: connecting is refused. */
static int dead_port(int *out_fd)
{
    struct sockaddr_in address = {.sin_family = AF_INET};
    socklen_t size = sizeof(address);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    *out_fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CHECK_INT(bind(*out_fd, (struct sockaddr *)&address, sizeof(address)), 0);
    CHECK_INT(getsockname(*out_fd, (struct sockaddr *)&address, &size), 0);
    return ntohs(address.sin_port);
}

/* 127.0.0.2 with the listener's port and a full backlog: connecting is never answered. */
struct hole {
    int fd;
    int fillers[8];
};

static void hole_open(struct hole *hole)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons((uint16_t)listener.port)};
    CHECK_INT(inet_pton(AF_INET, "127.0.0.2", &address.sin_addr), 1);
    hole->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CHECK_INT(bind(hole->fd, (struct sockaddr *)&address, sizeof(address)), 0);
    CHECK_INT(listen(hole->fd, 0), 0);
    for (size_t i = 0; i < MG_COUNT(hole->fillers); i++) {
        hole->fillers[i] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        (void)connect(hole->fillers[i], (struct sockaddr *)&address, sizeof(address));
    }
}

static void hole_close(struct hole *hole)
{
    for (size_t i = 0; i < MG_COUNT(hole->fillers); i++)
        close(hole->fillers[i]);
    close(hole->fd);
}

TEST(a_literal_address_is_connected_and_marked)
{
    struct dialled dialled;
    world_begin();
    struct mg_endpoint endpoint = endpoint_for("127.0.0.1");
    char want[64];
    snprintf(want, sizeof(want), "127.0.0.1:%d", listener.port);
    world_accept_into(&server);

    dial(&dialled, &endpoint, 5000);
    UNTIL(dialled.answers && server.stream);
    CHECK_OK(dialled.result);
    adopt(&dialled);
    server.echo = true;
    CHECK_OK(end_write(&client, "ping"));
    UNTIL(client.got.len == 4);

    const struct mg_dial_marks *marks = &dialled.op.marks;
    CHECK(marks->start_us && marks->start_us <= marks->dns_us &&
          marks->dns_us <= marks->connect_us && !marks->tls_us);
    CHECK_STR(dialled.op.address, want);
    end_fini(&client);
    end_fini(&server);
    world_end();
}

TEST(a_name_without_addresses_fails)
{
    struct dialled dialled;
    world_begin();
    mg_resolve_override("gone.example", NULL, 0);
    struct mg_endpoint endpoint = endpoint_for("gone.example");

    dial(&dialled, &endpoint, 5000);
    UNTIL(dialled.answers);

    CHECK_INT(dialled.result, MG_E_RESOLVE);
    CHECK_STR(dialled.op.reason, "name does not resolve");
    mg_resolve_override(NULL, NULL, 0);
    world_end();
}

TEST(a_refused_connection_fails_with_the_reason)
{
    struct dialled dialled;
    int fd;
    world_begin();
    struct mg_endpoint endpoint = endpoint_for("127.0.0.1");
    endpoint.port = dead_port(&fd);

    dial(&dialled, &endpoint, 5000);
    UNTIL(dialled.answers);

    CHECK_INT(dialled.result, MG_E_CONNECT);
    CHECK_STR(dialled.op.reason, "connection refused");
    close(fd);
    world_end();
}

TEST(an_injected_connect_failure_fails_the_dial)
{
    struct dialled dialled;
    world_begin();
    struct mg_endpoint endpoint = endpoint_for("127.0.0.1");
    mg_fault_arm(MG_FAULT_CONNECT, 1);

    dial(&dialled, &endpoint, 5000);
    UNTIL(dialled.answers);

    CHECK_INT(dialled.result, MG_E_CONNECT);
    world_end();
}

TEST(an_injected_resolve_failure_fails_the_dial)
{
    struct dialled dialled;
    world_begin();
    struct mg_endpoint endpoint = endpoint_for("127.0.0.1");
    mg_fault_arm(MG_FAULT_RESOLVE, 1);

    dial(&dialled, &endpoint, 5000);
    UNTIL(dialled.answers);

    CHECK_INT(dialled.result, MG_E_RESOLVE);
    world_end();
}

TEST(a_refusing_address_is_passed_over_at_once)
{
    static const char *const addresses[] = {"127.0.0.3", "127.0.0.1"};
    struct dialled dialled;
    world_begin();
    mg_resolve_override("two.example", addresses, 2);
    struct mg_endpoint endpoint = endpoint_for("two.example");
    world_accept_into(&server);

    dial(&dialled, &endpoint, 5000);
    UNTIL(dialled.answers && server.stream);

    CHECK_OK(dialled.result);
    CHECK(dialled.op.marks.connect_us - dialled.op.marks.dns_us < 200000);
    mg_stream_discard(dialled.op.stream);
    end_fini(&server);
    mg_resolve_override(NULL, NULL, 0);
    world_end();
}

TEST(a_silent_address_is_passed_over_after_a_quarter_second)
{
    static const char *const addresses[] = {"127.0.0.2", "127.0.0.1"};
    struct dialled dialled;
    struct hole hole;
    world_begin();
    hole_open(&hole);
    mg_resolve_override("two.example", addresses, 2);
    struct mg_endpoint endpoint = endpoint_for("two.example");
    world_accept_into(&server);

    dial(&dialled, &endpoint, 5000);
    UNTIL(dialled.answers && server.stream);

    uint64_t took_us = dialled.op.marks.connect_us - dialled.op.marks.dns_us;
    CHECK_OK(dialled.result);
    CHECK(took_us >= 250000 && took_us < 2000000);
    CHECK(mg_view_starts(mg_view_cstr(dialled.op.address), MG_VIEW("127.0.0.1:")));
    mg_stream_discard(dialled.op.stream);
    end_fini(&server);
    hole_close(&hole);
    mg_resolve_override(NULL, NULL, 0);
    world_end();
}

TEST(all_silent_addresses_end_at_the_deadline)
{
    struct dialled dialled;
    struct hole hole;
    world_begin();
    hole_open(&hole);
    struct mg_endpoint endpoint = endpoint_for("127.0.0.2");

    dial(&dialled, &endpoint, 100);
    UNTIL(dialled.answers);

    CHECK_INT(dialled.result, MG_E_TIMEOUT);
    CHECK_STR(dialled.op.reason, "no connection in time");
    hole_close(&hole);
    world_end();
}

TEST(a_cancelled_dial_calls_nobody_whenever_it_happens)
{
    static const char *const addresses[] = {"127.0.0.2", "127.0.0.1"};
    struct hole hole;
    world_begin();
    hole_open(&hole);
    mg_resolve_override("two.example", addresses, 2);
    struct mg_endpoint endpoint = endpoint_for("two.example");
    for (int turns = 0; turns < 8; turns++) {
        struct dialled *dialled = mg_new(struct dialled);
        dial(dialled, &endpoint, 5000);
        for (int i = 0; i < turns && !dialled->answers; i++)
            mg_loop_turn(&loop, 100);
        int answers = dialled->answers;
        if (answers)
            mg_stream_discard(dialled->op.stream);
        mg_dial_cancel(&dialled->op);
        mg_dial_cancel(&dialled->op);
        CHECK_INT(dialled->answers, answers);
        mg_free(dialled);
        mg_loop_turn(&loop, 0);
    }
    hole_close(&hole);
    mg_resolve_override(NULL, NULL, 0);
    world_end();
}

/* --- through a proxy: `server` plays it --- */

static const struct mg_proxy *proxy(void)
{
    static struct mg_proxy here;
    here = (struct mg_proxy){.host = "127.0.0.1", .port = listener.port, .auth = "user:secret"};
    return &here;
}

static void dial_proxy(struct dialled *dialled, struct mg_endpoint *endpoint)
{
    *endpoint =
        (struct mg_endpoint){.host = "origin.example", .port = 443, .key = "k", .proxy = proxy()};
    world_accept_into(&server);
    dial(dialled, endpoint, 5000);
    UNTIL(server.stream && mg_view_ends(mg_buf_view(&server.got), MG_VIEW("\r\n\r\n")));
}

TEST(a_proxy_is_asked_for_a_tunnel)
{
    struct dialled dialled;
    struct mg_endpoint endpoint;
    mg_view answer = MG_VIEW("HTTP/1.1 200 Connection established\r\n\r\n");
    world_begin();
    dial_proxy(&dialled, &endpoint);
    CHECK_VIEW(mg_buf_view(&server.got),
               MG_VIEW("CONNECT origin.example:443 HTTP/1.1\r\nHost: origin.example:443\r\n"
                       "Proxy-Authorization: Basic dXNlcjpzZWNyZXQ=\r\n\r\n"));

    for (size_t i = 0; i < answer.len; i++) {
        mg_view byte = mg_view_of(answer.ptr + i, 1);
        CHECK_INT(dialled.answers, 0);
        CHECK_OK(mg_stream_write(server.stream, &byte, 1));
        mg_loop_turn(&loop, 0);
    }
    UNTIL(dialled.answers);

    CHECK_OK(dialled.result);
    adopt(&dialled);
    CHECK_OK(end_write(&server, "from the origin"));
    UNTIL(client.got.len == 15);
    end_fini(&client);
    end_fini(&server);
    world_end();
}

TEST(a_proxy_that_refuses_fails_the_dial)
{
    struct dialled dialled;
    struct mg_endpoint endpoint;
    world_begin();
    dial_proxy(&dialled, &endpoint);

    CHECK_OK(end_write(&server, "HTTP/1.1 407 Proxy Authentication Required\r\n\r\n"));
    UNTIL(dialled.answers);

    CHECK_INT(dialled.result, MG_E_CONNECT);
    CHECK_STR(dialled.op.reason, "the proxy answered 407");
    end_fini(&server);
    world_end();
}

TEST(a_proxy_that_closes_or_babbles_fails_the_dial)
{
    static char flood[MG_MAX_HEADER_BYTES];
    static const struct {
        const char *answer, *reason;
    } rows[] = {
        {"", "the proxy closed the connection"},
        {"HTTP/1.1 200 OK\r\n\r\nsurprise", "the proxy does not speak HTTP"},
        {flood, "the proxy's answer is too long"},
    };
    memset(flood, 'x', sizeof(flood) - 1);
    memcpy(flood, "HTTP/1.1 200 OK\r\n", 17);
    for (size_t i = 0; i < MG_COUNT(rows); i++) {
        struct dialled dialled;
        struct mg_endpoint endpoint;
        world_begin();
        dial_proxy(&dialled, &endpoint);

        CHECK_OK(end_write(&server, rows[i].answer));
        if (!rows[i].answer[0])
            mg_stream_shutdown(server.stream);
        UNTIL(dialled.answers);

        CHECK_INT(dialled.result, MG_E_CONNECT);
        CHECK_STR(dialled.op.reason, rows[i].reason);
        end_fini(&server);
        world_end();
    }
}

TEST(a_silent_proxy_ends_at_the_deadline)
{
    struct dialled dialled;
    world_begin();
    struct mg_endpoint endpoint = {
        .host = "origin.example", .port = 443, .key = "k", .proxy = proxy()};
    world_accept_into(&server);

    dial(&dialled, &endpoint, 100);
    UNTIL(dialled.answers);

    CHECK_INT(dialled.result, MG_E_TIMEOUT);
    CHECK_STR(dialled.op.reason, "no answer from the proxy in time");
    end_fini(&server);
    world_end();
}

MG_TEST_MAIN()
