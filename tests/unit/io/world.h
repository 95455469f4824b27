/* world.h - what the tests of io/ share: a loop, a listener on port 0, and ends of streams that
 * remember what happened.
 *
 * Waiting is for an event: UNTIL(condition) turns the loop. Every test ends with world_end(), which
 * asserts that uv_loop_close() finds nothing left open. */
#ifndef MG_TESTS_IO_WORLD_H
#define MG_TESTS_IO_WORLD_H

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/fault.h"
#include "base/limits.h"
#include "base/mem.h"
#include "check.h"
#include "io/listen.h"
#include "io/loop.h"
#include "io/stream.h"
#include "io/tls.h"

struct end {
    struct mg_stream *stream; /* NULL once closed */
    struct mg_buf got;
    int opened, secured, ended, drained, closed;
    bool echo;       /* writes back what it gets */
    bool count_only; /* counts bytes instead of keeping them */
    size_t counted;
    mg_err why;
    char reason[128];
};

static struct mg_loop loop;
static struct mg_listener listener;
static struct mg_tls_context *server_tls; /* of streams the listener accepts; NULL for plain */
static struct end *accept_into[16];       /* who gets the next accepted streams */
static int accept_next, accept_count;
static bool stopped;

#define UNTIL(cond)                                                                                \
    do {                                                                                           \
        uint64_t until_us_ = mg_mono_us() + 80000000;                                              \
        while (!(cond)) {                                                                          \
            if (mg_mono_us() > until_us_)                                                          \
                check_failed(__FILE__, __LINE__, "never: %s", #cond);                              \
            mg_loop_turn(&loop, 100);                                                              \
        }                                                                                          \
    } while (0)

static inline void end_opened(void *arg)
{
    ((struct end *)arg)->opened++;
}

static inline void end_secured(void *arg)
{
    ((struct end *)arg)->secured++;
}

static inline void end_data(void *arg, mg_view bytes)
{
    struct end *end = arg;
    end->counted += bytes.len;
    if (!end->count_only)
        CHECK_OK(mg_buf_put(&end->got, bytes));
    if (end->echo)
        (void)!mg_stream_write(end->stream, &bytes, 1);
}

static inline void end_ended(void *arg)
{
    ((struct end *)arg)->ended++;
}

static inline void end_drained(void *arg)
{
    ((struct end *)arg)->drained++;
}

static inline void end_closed(void *arg, mg_err why)
{
    struct end *end = arg;
    end->closed++;
    end->why = why;
    snprintf(end->reason, sizeof(end->reason), "%s", mg_stream_reason(end->stream));
    end->stream = NULL;
}

static const struct mg_stream_ops end_ops = {end_opened, end_secured, end_data,
                                             end_ended,  end_drained, end_closed};

static inline void end_init(struct end *end)
{
    memset(end, 0, sizeof(*end));
    mg_buf_init(&end->got, 64 << 20);
}

static inline mg_err end_write(struct end *end, const char *text)
{
    mg_view part = mg_view_cstr(text);
    return mg_stream_write(end->stream, &part, 1);
}

/* Closes when still open, waits for on_closed, frees. */
static inline void end_fini(struct end *end)
{
    if (end->stream)
        mg_stream_close(end->stream);
    UNTIL(!end->stream);
    CHECK_INT(end->closed, 1);
    mg_buf_fini(&end->got);
}

static inline void world_on_fd(void *arg, int fd, const struct sockaddr *peer)
{
    (void)arg;
    (void)peer;
    if (accept_next == accept_count) {
        close(fd);
        return;
    }
    struct end *end = accept_into[accept_next++];
    end->stream = mg_stream_accept(&loop, fd, server_tls, &end_ops, end);
}

static inline void world_accept_into(struct end *end)
{
    end_init(end);
    accept_into[accept_count++] = end;
}

static inline void world_stopped(void *arg)
{
    (void)arg;
    stopped = true;
}

static inline void world_begin(void)
{
    struct mg_listen_spec spec = {.host = "127.0.0.1"};
    struct mg_diag diag;
    mg_clock_fake(0);
    mg_loop_init(&loop);
    accept_next = accept_count = 0;
    stopped = false;
    server_tls = NULL;
    CHECK_OK(mg_listen_start(&listener, &loop, &spec, world_on_fd, NULL, &diag));
}

static inline void world_end(void)
{
    mg_listen_stop(&listener, world_stopped);
    UNTIL(stopped);
    mg_tls_unref(server_tls);
    mg_loop_fini(&loop);
}

static inline struct sockaddr_in world_address(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons((uint16_t)listener.port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return address;
}

static inline void world_connect(struct end *client)
{
    struct sockaddr_in address = world_address();
    end_init(client);
    client->stream = mg_stream_connect(&loop, (struct sockaddr *)&address, &end_ops, client);
}

/* A connected pair over the listener. */
static inline void world_pair(struct end *client, struct end *server)
{
    world_accept_into(server);
    world_connect(client);
    UNTIL(client->opened && server->stream);
}

/* A blocking socket connected to the listener: a peer that the test drives by hand. */
static inline int world_raw_peer(struct end *server, int receive_bytes)
{
    struct sockaddr_in address = world_address();
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (receive_bytes)
        (void)setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &receive_bytes, sizeof(receive_bytes));
    world_accept_into(server);
    CHECK_INT(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    UNTIL(server->stream);
    return fd;
}

#endif
