/* listen.h - a listening socket that hands accepted sockets on as plain file descriptors, so that
 * the thread that accepts can give them to another (mg_stream_accept() on that thread's loop).
 *
 * Out of descriptors, it logs, pauses 100 ms and goes on. Loop thread only, except
 * mg_listen_port(). */
#ifndef MG_IO_LISTEN_H
#define MG_IO_LISTEN_H

#include <sys/socket.h>

#include "base/err.h"
#include "io/loop.h"

struct mg_listen_spec {
    const char *host; /* address or name; NULL or "*" is every address; unused with the others */
    int port;         /* 0 lets the system choose */
    const char *unix_path; /* a unix socket of mode 0600; replaces a stale file; NULL for TCP */
    int fd;                /* a socket that listens already (mg_sd_listen_fd()); 0 for none */
    int backlog;           /* 0 is 1024 */
};

/* Owns fd from now on. It is non-blocking and close-on-exec. */
typedef void (*mg_listen_fd_cb)(void *arg, int fd, const struct sockaddr *peer);

struct mg_listener {      /* caller-owned memory; the fields belong to listen.c */
    struct mg_loop *loop; /* borrowed */
    mg_listen_fd_cb on_fd;
    void (*on_stopped)(void *arg);
    void *arg;
    int fd;
    int port;
    bool paused;         /* out of descriptors */
    char address[160];   /* for people: "127.0.0.1:8080", "unix:/run/x.sock" */
    char unix_path[108]; /* removed at the end; "" otherwise */
    struct mg_timer resume;
    uv_poll_t poll;
};

/* Binds and listens, fills port and address, and accepts from the next turn on. On an error nothing
 * is left behind and diag says what to do. */
MG_MUST_USE mg_err mg_listen_start(struct mg_listener *listener, struct mg_loop *loop,
                                   const struct mg_listen_spec *spec, mg_listen_fd_cb on_fd,
                                   void *arg, struct mg_diag *diag);

/* Accepts what already waits, then closes. on_stopped (may be NULL) comes once, later, as the last
 * touch. */
void mg_listen_stop(struct mg_listener *listener, void (*on_stopped)(void *arg));

static inline int mg_listen_port(const struct mg_listener *listener)
{
    return listener->port;
}

#endif
