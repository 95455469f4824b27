#include "io/listen.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/fault.h"
#include "base/log.h"
#include "base/mem.h"
#include "io/stream.h"

enum { BACKLOG = 1024, ACCEPTS_PER_TURN = 64, PAUSE_MS = 100 };

static mg_err open_tcp(struct mg_listener *listener, const struct mg_listen_spec *spec,
                       struct mg_diag *diag);
static int bind_one(const struct addrinfo *address, int backlog);
static mg_err open_unix(struct mg_listener *listener, const struct mg_listen_spec *spec,
                        struct mg_diag *diag);
static bool is_alive(const struct sockaddr_un *address);
static void describe(struct mg_listener *listener);
static void on_poll(uv_poll_t *poll, int status, int events);
static void accept_some(struct mg_listener *listener, int most);
static bool is_transient(int error);
static void pause_accepting(struct mg_listener *listener, int error);
static void on_resume(struct mg_timer *timer);
static void on_poll_closed(uv_handle_t *handle);

mg_err mg_listen_start(struct mg_listener *listener, struct mg_loop *loop,
                       const struct mg_listen_spec *spec, mg_listen_fd_cb on_fd, void *arg,
                       struct mg_diag *diag)
{
    memset(listener, 0, sizeof(*listener));
    listener->loop = loop;
    listener->on_fd = on_fd;
    listener->arg = arg;
    if (spec->fd > 0)
        listener->fd = spec->fd;
    else
        MG_TRY(spec->unix_path ? open_unix(listener, spec, diag) : open_tcp(listener, spec, diag));
    describe(listener);

    int status = uv_poll_init(&loop->uv, &listener->poll, listener->fd);
    if (status != 0) {
        close(listener->fd);
        return mg_diag_set(diag, MG_E_SYSTEM, "", 0, "cannot watch %s: %s", listener->address,
                           uv_strerror(status));
    }
    uv_poll_start(&listener->poll, UV_READABLE, on_poll);
    return MG_OK;
}

void mg_listen_stop(struct mg_listener *listener, void (*on_stopped)(void *arg))
{
    listener->on_stopped = on_stopped;
    accept_some(listener, BACKLOG);
    mg_timer_cancel(listener->loop, &listener->resume);
    uv_close((uv_handle_t *)&listener->poll, on_poll_closed);
}

/* Every address is one IPv6 socket that takes IPv4 too, or IPv4 alone where there is no IPv6. */
static mg_err open_tcp(struct mg_listener *listener, const struct mg_listen_spec *spec,
                       struct mg_diag *diag)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE | AI_NUMERICSERV};
    struct addrinfo *found = NULL;
    bool any = !spec->host || !*spec->host || strcmp(spec->host, "*") == 0;
    const char *host = any ? "::" : spec->host;
    char port[8];
    snprintf(port, sizeof(port), "%u", (unsigned)spec->port & 0xffffu);
    int code = getaddrinfo(host, port, &hints, &found);
    if (code != 0)
        return mg_diag_set(diag, MG_E_SYSTEM, "", 0, "cannot listen on %s: %s", host,
                           gai_strerror(code));

    int fd = -1;
    for (const struct addrinfo *one = found; one && fd < 0; one = one->ai_next)
        fd = bind_one(one, spec->backlog > 0 ? spec->backlog : BACKLOG);
    int error = errno;
    freeaddrinfo(found);
    if (fd < 0 && any && error == EAFNOSUPPORT) {
        struct mg_listen_spec v4 = *spec;
        v4.host = "0.0.0.0";
        return open_tcp(listener, &v4, diag);
    }
    if (fd < 0)
        return mg_diag_set(
            diag, error == EADDRINUSE ? MG_E_EXISTS : MG_E_SYSTEM, "", 0,
            "cannot listen on %s port %d: %s", any ? "any address" : host, spec->port,
            error == EADDRINUSE ? "another program listens there already" : strerror(error));
    listener->fd = fd;
    return MG_OK;
}

/* A listening socket, or -1 with errno. */
static int bind_one(const struct addrinfo *address, int backlog)
{
    int on = 1, off = 0;
    int fd = socket(address->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -1;
    (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    if (address->ai_family == AF_INET6)
        (void)setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off));
    if (bind(fd, address->ai_addr, address->ai_addrlen) == 0 && listen(fd, backlog) == 0)
        return fd;
    int error = errno;
    close(fd);
    errno = error;
    return -1;
}

/* Linux gives the socket file the mode of the socket itself, so there is no moment in which others
 * can connect. */
static mg_err open_unix(struct mg_listener *listener, const struct mg_listen_spec *spec,
                        struct mg_diag *diag)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    size_t len = strlen(spec->unix_path);
    if (len == 0 || len >= sizeof(address.sun_path))
        return mg_diag_set(diag, MG_E_SYSTEM, spec->unix_path, 0,
                           "a socket's path has 1 to %zu bytes", sizeof(address.sun_path) - 1);
    memcpy(address.sun_path, spec->unix_path, len + 1);
    if (is_alive(&address))
        return mg_diag_set(diag, MG_E_EXISTS, spec->unix_path, 0,
                           "another program listens there already");
    struct stat old;
    if (lstat(spec->unix_path, &old) == 0 && S_ISSOCK(old.st_mode))
        unlink(spec->unix_path);

    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0 || fchmod(fd, 0600) != 0 ||
        bind(fd, (struct sockaddr *)&address, sizeof(address)) != 0 ||
        listen(fd, spec->backlog > 0 ? spec->backlog : BACKLOG) != 0) {
        mg_diag_set(diag, MG_E_SYSTEM, spec->unix_path, 0, "cannot listen: %s", strerror(errno));
        if (fd >= 0)
            close(fd);
        return MG_E_SYSTEM;
    }
    listener->fd = fd;
    memcpy(listener->unix_path, spec->unix_path, len + 1);
    return MG_OK;
}

static bool is_alive(const struct sockaddr_un *address)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    bool alive = fd >= 0 && (connect(fd, (const struct sockaddr *)address, sizeof(*address)) == 0 ||
                             errno == EAGAIN);
    if (fd >= 0)
        close(fd);
    return alive;
}

static void describe(struct mg_listener *listener)
{
    struct sockaddr_storage address = {0};
    socklen_t size = sizeof(address);
    (void)getsockname(listener->fd, (struct sockaddr *)&address, &size);
    if (address.ss_family == AF_UNIX) {
        const struct sockaddr_un *path = (const struct sockaddr_un *)&address;
        snprintf(listener->address, sizeof(listener->address), "unix:%s", path->sun_path);
        return;
    }
    mg_address_text((struct sockaddr *)&address, listener->address, sizeof(listener->address));
    listener->port = address.ss_family == AF_INET6
                         ? ntohs(((struct sockaddr_in6 *)&address)->sin6_port)
                         : ntohs(((struct sockaddr_in *)&address)->sin_port);
}

static void on_poll(uv_poll_t *poll, int status, int events)
{
    struct mg_listener *listener = mg_container_of(poll, struct mg_listener, poll);
    (void)events;
    if (status == 0)
        accept_some(listener, ACCEPTS_PER_TURN);
}

static void accept_some(struct mg_listener *listener, int most)
{
    for (int i = 0; i < most && !uv_is_closing((uv_handle_t *)&listener->poll); i++) {
        struct sockaddr_storage peer = {0};
        socklen_t size = sizeof(peer);
        int fd = -1;
        errno = EMFILE;
        if (!mg_fault(MG_FAULT_ACCEPT))
            fd = accept4(listener->fd, (struct sockaddr *)&peer, &size,
                         SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd >= 0) {
            listener->on_fd(listener->arg, fd, (struct sockaddr *)&peer);
        } else if (errno == EAGAIN) {
            return;
        } else if (!is_transient(errno)) {
            pause_accepting(listener, errno);
            return;
        }
    }
}

/* Errors of the connection that was to be accepted, not of us: accept(2) asks to treat them like
 * EAGAIN. */
static bool is_transient(int error)
{
    return error == EINTR || error == ECONNABORTED || error == EPROTO || error == ENETDOWN ||
           error == EHOSTDOWN || error == EHOSTUNREACH || error == ENETUNREACH ||
           error == ENOPROTOOPT || error == EOPNOTSUPP;
}

static void pause_accepting(struct mg_listener *listener, int error)
{
    if (!listener->paused)
        mg_log_warn("accept_paused", "address=%s reason=\"%s\"", listener->address,
                    strerror(error));
    listener->paused = true;
    uv_poll_stop(&listener->poll);
    mg_timer_start(listener->loop, &listener->resume, PAUSE_MS, on_resume);
}

static void on_resume(struct mg_timer *timer)
{
    struct mg_listener *listener = mg_container_of(timer, struct mg_listener, resume);
    listener->paused = false;
    uv_poll_start(&listener->poll, UV_READABLE, on_poll);
}

static void on_poll_closed(uv_handle_t *handle)
{
    struct mg_listener *listener = mg_container_of((uv_poll_t *)handle, struct mg_listener, poll);
    close(listener->fd);
    if (listener->unix_path[0])
        unlink(listener->unix_path);
    if (listener->on_stopped)
        listener->on_stopped(listener->arg);
}
