#include "cli/call.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/limits.h"
#include "io/resolve.h"

struct calling {
    const struct mg_call_spec *spec;
    int status;
    bool complete;
};

static mg_err on_head(void *arg, const struct mg_http_response *response);
static mg_err on_body(void *arg, mg_view bytes);
static mg_err on_end(void *arg);
static mg_err dial(const struct mg_call_spec *spec, int *out_fd, struct mg_diag *diag);
static mg_err dial_address(int fd, const struct sockaddr *address, socklen_t size,
                           const char *where, struct mg_diag *diag);
static mg_err send_request(const struct mg_call_spec *spec, int fd, struct mg_diag *diag);
static mg_err send_all(int fd, mg_view bytes, struct mg_diag *diag);
static mg_err read_answer(struct calling *calling, int fd, struct mg_diag *diag);
static mg_err failed(struct mg_diag *diag, const char *what);

static const struct mg_http_client_ops client_ops = {on_head, on_body, on_end};

mg_err mg_call(const struct mg_call_spec *spec, int *out_status, struct mg_diag *diag)
{
    struct calling calling = {.spec = spec};
    int fd = -1;
    MG_TRY(dial(spec, &fd, diag));
    mg_err err = send_request(spec, fd, diag);
    if (err == MG_OK)
        err = read_answer(&calling, fd, diag);
    close(fd);
    if (err == MG_OK)
        *out_status = calling.status;
    return err;
}

static mg_err on_head(void *arg, const struct mg_http_response *response)
{
    struct calling *calling = arg;
    calling->status = response->status;
    if (calling->spec->on_head)
        calling->spec->on_head(calling->spec->arg, response);
    return MG_OK;
}

static mg_err on_body(void *arg, mg_view bytes)
{
    struct calling *calling = arg;
    return calling->spec->on_body(calling->spec->arg, bytes);
}

static mg_err on_end(void *arg)
{
    struct calling *calling = arg;
    calling->complete = true;
    return MG_OK;
}

static mg_err dial(const struct mg_call_spec *spec, int *out_fd, struct mg_diag *diag)
{
    struct sockaddr_un local = {.sun_family = AF_UNIX};
    union mg_sockaddr address;
    struct timeval patience = {.tv_sec = spec->timeout_s};
    const struct sockaddr *to = (const struct sockaddr *)&local;
    socklen_t size = sizeof(local);
    if (spec->unix_path) {
        if (strlen(spec->unix_path) >= sizeof(local.sun_path))
            return mg_diag_set(diag, MG_E_NOT_FOUND, spec->unix_path, 0,
                               "this path is too long for a socket");
        memcpy(local.sun_path, spec->unix_path, strlen(spec->unix_path) + 1);
    } else {
        if (!mg_resolve_literal(spec->host, spec->port, &address))
            return mg_diag_set(diag, MG_E_RESOLVE, NULL, 0, "%s is not an address", spec->host);
        to = &address.any;
        size = to->sa_family == AF_INET6 ? sizeof(address.v6) : sizeof(address.v4);
    }
    int fd = socket(to->sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return failed(diag, "socket");
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
    mg_err err = dial_address(fd, to, size, spec->unix_path ? spec->unix_path : spec->host, diag);
    if (err != MG_OK)
        close(fd);
    else
        *out_fd = fd;
    return err;
}

static mg_err dial_address(int fd, const struct sockaddr *address, socklen_t size,
                           const char *where, struct mg_diag *diag)
{
    if (connect(fd, address, size) == 0)
        return MG_OK;
    if (errno == ENOENT || errno == ECONNREFUSED || errno == ENOTDIR)
        return mg_diag_set(diag, MG_E_NOT_FOUND, NULL, 0, "nothing listens at %s", where);
    return failed(diag, where);
}

static mg_err send_request(const struct mg_call_spec *spec, int fd, struct mg_diag *diag)
{
    struct mg_buf head;
    mg_buf_init(&head, MG_MAX_HEADER_BYTES);
    mg_err err = mg_buf_putf(
        &head,
        "%s %s HTTP/1.1\r\nhost: localhost\r\ncontent-length: %zu\r\nconnection: close\r\n%s\r\n",
        spec->method, spec->path, spec->body.len, spec->headers);
    if (err == MG_OK)
        err = send_all(fd, mg_buf_view(&head), diag);
    if (err == MG_OK)
        err = send_all(fd, spec->body, diag);
    mg_buf_fini(&head);
    return err;
}

static mg_err send_all(int fd, mg_view bytes, struct mg_diag *diag)
{
    while (bytes.len) {
        ssize_t n = send(fd, bytes.ptr, bytes.len, MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return failed(diag, "send");
        bytes = mg_view_skip(bytes, (size_t)n);
    }
    return MG_OK;
}

static mg_err read_answer(struct calling *calling, int fd, struct mg_diag *diag)
{
    char bytes[16384];
    struct mg_http_client *client =
        mg_http_client_new(&mg_http_limits_default, &client_ops, calling);
    mg_http_client_begin(client, !strcmp(calling->spec->method, "HEAD"));
    mg_err err = MG_OK;
    while (err == MG_OK && !calling->complete) {
        size_t used;
        ssize_t n = recv(fd, bytes, sizeof(bytes), 0);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            err = failed(diag, "receive");
        else if (n > 0)
            err = mg_http_client_feed(client, mg_view_of(bytes, (size_t)n), &used);
        else
            err = mg_http_client_eof(client);
    }
    if (err == MG_E_CLOSED || err == MG_E_PROTOCOL)
        mg_diag_set(diag, err, NULL, 0, "the answer was cut short");
    mg_http_client_free(client);
    return err;
}

/* What errno says. */
static mg_err failed(struct mg_diag *diag, const char *what)
{
    if (errno == EAGAIN || errno == EWOULDBLOCK || errno == ETIMEDOUT)
        return mg_diag_set(diag, MG_E_TIMEOUT, NULL, 0, "%s: no answer in time", what);
    return mg_diag_set(diag, errno == EACCES ? MG_E_DENIED : MG_E_IO, NULL, 0, "%s: %s", what,
                       strerror(errno));
}
