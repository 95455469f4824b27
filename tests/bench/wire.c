#include "wire.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/mem.h"

static ssize_t raw_read(struct wire *wire, char *out, size_t size);
static bool raw_write(struct wire *wire, mg_view bytes);
static bool flush(struct wire *wire);
static size_t tls_recv(void *arg, char *out, size_t size);
static mg_err tls_send(void *arg, mg_view bytes);
static bool handshake(struct wire *wire);

static const struct mg_tls_io tls_io = {tls_recv, tls_send};

void wire_open(struct wire *wire, int epoll, int fd, struct mg_tls_context *tls, const char *name, void *owner)
{
    struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, .data.ptr = owner};
    char *queue = wire->queue;
    size_t queue_size = wire->queue_size;
    *wire = (struct wire){.fd = fd, .secure = !tls, .queue = queue, .queue_size = queue_size};
    if (fcntl(fd, F_SETFL, O_NONBLOCK) != 0 || setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int)) != 0 ||
        epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) != 0)
        die("socket");
    if (tls)
        wire->tls = mg_tls_new(tls, name, MG_VIEW_NONE, &tls_io, wire);
}

void wire_close(struct wire *wire)
{
    if (wire->fd < 0)
        return;
    mg_tls_free(wire->tls);
    close(wire->fd);
    wire->tls = NULL;
    wire->fd = -1;
    wire->queue_from = wire->queue_len = 0;
}

bool wire_woken(struct wire *wire, uint32_t events)
{
    wire->drained = false;
    if (events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR))
        wire->ending = true;
    return flush(wire) && (wire->secure || handshake(wire));
}

ssize_t wire_read(struct wire *wire, char *out, size_t size)
{
    if (!wire->tls)
        return raw_read(wire, out, size);
    if (!wire->secure)
        return wire->ending ? -1 : 0;
    size_t len = 0;
    mg_err err = mg_tls_read(wire->tls, out, size, &len);
    if (err == MG_OK)
        return (ssize_t)len;
    return err == MG_E_AGAIN && !wire->ending ? 0 : -1;
}

bool wire_write(struct wire *wire, mg_view bytes)
{
    return wire->tls ? mg_tls_write(wire->tls, bytes) == MG_OK : raw_write(wire, bytes);
}

int wire_listen(int *port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)*port)};
    socklen_t len = sizeof(address);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &(int){1}, sizeof(int)) != 0 ||
        bind(fd, (struct sockaddr *)&address, len) != 0 || listen(fd, 4096) != 0 ||
        getsockname(fd, (struct sockaddr *)&address, &len) != 0)
        die("listen");
    *port = ntohs(address.sin_port);
    return fd;
}

int wire_connect(int port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0 || (connect(fd, (struct sockaddr *)&address, sizeof(address)) != 0 && errno != EINPROGRESS))
        die("connect");
    return fd;
}

uint64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

void die(const char *what)
{
    perror(what);
    exit(1);
}

void raise_file_limit(void)
{
    struct rlimit limit = {65536, 65536};
    if (setrlimit(RLIMIT_NOFILE, &limit) == 0 || getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return;
    limit.rlim_cur = limit.rlim_max;
    (void)setrlimit(RLIMIT_NOFILE, &limit);
}

/* A short read has emptied the socket, which saves asking again; but then the end must be asked for. */
static ssize_t raw_read(struct wire *wire, char *out, size_t size)
{
    if (wire->drained)
        return 0;
    ssize_t got = recv(wire->fd, out, size, 0);
    if (got > 0) {
        wire->drained = (size_t)got < size && !wire->ending;
        return got;
    }
    wire->drained = true;
    return got < 0 && errno == EAGAIN ? 0 : -1;
}

static bool raw_write(struct wire *wire, mg_view bytes)
{
    if (wire->queue_len == 0) {
        ssize_t sent = send(wire->fd, bytes.ptr, bytes.len, MSG_NOSIGNAL);
        if (sent < 0 && errno != EAGAIN)
            return false;
        bytes = mg_view_skip(bytes, sent > 0 ? (size_t)sent : 0);
    }
    size_t need = wire->queue_from + wire->queue_len + bytes.len;
    if (bytes.len > 0 && need > wire->queue_size) {
        wire->queue_size = need * 2;
        wire->queue = mg_realloc(wire->queue, wire->queue_size);
    }
    if (bytes.len > 0)
        memcpy(wire->queue + wire->queue_from + wire->queue_len, bytes.ptr, bytes.len);
    wire->queue_len += bytes.len;
    return true;
}

static bool flush(struct wire *wire)
{
    while (wire->queue_len > 0) {
        ssize_t sent = send(wire->fd, wire->queue + wire->queue_from, wire->queue_len, MSG_NOSIGNAL);
        if (sent < 0)
            return errno == EAGAIN || errno == ENOTCONN;
        wire->queue_from += (size_t)sent;
        wire->queue_len -= (size_t)sent;
    }
    wire->queue_from = 0;
    return true;
}

static bool handshake(struct wire *wire)
{
    mg_err err = mg_tls_handshake(wire->tls);
    wire->secure = err == MG_OK;
    if (err != MG_OK && err != MG_E_AGAIN)
        fprintf(stderr, "TLS: %s\n", mg_tls_reason(wire->tls));
    return err == MG_OK || (err == MG_E_AGAIN && !wire->ending);
}

static size_t tls_recv(void *arg, char *out, size_t size)
{
    struct wire *wire = arg;
    ssize_t got = recv(wire->fd, out, size, 0);
    if (got == 0)
        wire->ending = true;
    return got > 0 ? (size_t)got : 0;
}

static mg_err tls_send(void *arg, mg_view bytes)
{
    return raw_write(arg, bytes) ? MG_OK : MG_E_CLOSED;
}
