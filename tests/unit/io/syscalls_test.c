/* What a keep-alive request costs in system calls. libuv and our code call the C library through
 * this program's own symbols, so the wrappers below see every call; the peer is a thread that uses
 * send() and recv(), which are not wrapped. */
#include <pthread.h>
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <sys/uio.h>

#include "world.h"

enum { REQUESTS = 200 };

enum call { READ, WRITE, EPOLL_WAIT, OTHER, CALLS };

static _Thread_local bool counting;
static int counts[CALLS];

static void note(enum call call)
{
    if (counting)
        counts[call]++;
}

ssize_t read(int fd, void *out, size_t size)
{
    note(READ);
    return syscall(SYS_read, fd, out, size);
}

ssize_t write(int fd, const void *bytes, size_t size)
{
    note(WRITE);
    return syscall(SYS_write, fd, bytes, size);
}

ssize_t writev(int fd, const struct iovec *parts, int count)
{
    note(WRITE);
    return syscall(SYS_writev, fd, parts, count);
}

ssize_t sendmsg(int fd, const struct msghdr *message, int flags)
{
    note(WRITE);
    return syscall(SYS_sendmsg, fd, message, flags);
}

int epoll_wait(int fd, struct epoll_event *events, int most, int timeout_ms)
{
    note(EPOLL_WAIT);
    return (int)syscall(SYS_epoll_pwait, fd, events, most, timeout_ms, NULL, 8);
}

int epoll_pwait(int fd, struct epoll_event *events, int most, int timeout_ms, const sigset_t *mask)
{
    note(EPOLL_WAIT);
    return (int)syscall(SYS_epoll_pwait, fd, events, most, timeout_ms, mask, 8);
}

int epoll_ctl(int fd, int op, int target, struct epoll_event *event)
{
    note(OTHER);
    return (int)syscall(SYS_epoll_ctl, fd, op, target, event);
}

static struct end server;
static struct mg_timer idle;

static void on_idle(struct mg_timer *timer)
{
    (void)timer;
}

/* As an HTTP server does it: head and body in one write, and the idle deadline is pushed. */
static void answer(void *arg, mg_view bytes)
{
    struct end *end = arg;
    mg_view parts[] = {MG_VIEW("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n"), MG_VIEW("ok")};
    end->counted += bytes.len;
    mg_timer_start(&loop, &idle, 75000, on_idle);
    CHECK_OK(mg_stream_write(end->stream, parts, MG_COUNT(parts)));
}

static void *ask(void *arg)
{
    int fd = *(int *)arg;
    char got[256];
    for (int i = 0; i < REQUESTS; i++) {
        if (send(fd, "GET / HTTP/1.1\r\n\r\n", 18, 0) != 18 || recv(fd, got, sizeof(got), 0) <= 0)
            break;
    }
    return NULL;
}

TEST(a_keep_alive_request_costs_one_wait_one_read_and_one_write)
{
    static struct mg_stream_ops ops;
    pthread_t thread;
    world_begin();
    int fd = world_raw_peer(&server, 0);
    ops = end_ops;
    ops.on_data = answer;
    mg_stream_set_ops(server.stream, &ops, &server);
    mg_loop_turn(&loop, 1);
    mg_timer_start(&loop, &idle, 75000, on_idle);
    CHECK_INT(pthread_create(&thread, NULL, ask, &fd), 0);

    memset(counts, 0, sizeof(counts));
    counting = true;
    while (server.counted < REQUESTS * 18)
        uv_run(&loop.uv, UV_RUN_ONCE);
    counting = false;

    pthread_join(thread, NULL);
    CHECK_INT(counts[READ], REQUESTS);
    CHECK_INT(counts[WRITE], REQUESTS);
    CHECK(counts[EPOLL_WAIT] <= REQUESTS + 5);
    CHECK(counts[EPOLL_WAIT] >= REQUESTS);
    CHECK_INT(counts[OTHER], 0);
    mg_timer_cancel(&loop, &idle);
    close(fd);
    end_fini(&server);
    world_end();
}

TEST(a_pause_in_which_nothing_comes_costs_no_system_call)
{
    world_begin();
    int fd = world_raw_peer(&server, 0);
    mg_loop_turn(&loop, 1);

    memset(counts, 0, sizeof(counts));
    counting = true;
    for (int i = 0; i < 100; i++) {
        mg_stream_read(server.stream, false);
        mg_stream_read(server.stream, true);
        mg_loop_turn(&loop, 0);
    }
    counting = false;

    CHECK_INT(counts[READ] + counts[WRITE] + counts[OTHER], 0);
    CHECK_INT(counts[EPOLL_WAIT], 100);
    close(fd);
    end_fini(&server);
    world_end();
}

MG_TEST_MAIN()
