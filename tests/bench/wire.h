/* wire.h - what the mock and the load generator stand on: a non-blocking socket, plain or TLS, under an edge-triggered
 * epoll, and a clock in nanoseconds.
 *
 * They must cost far less than what they measure, so this is not the gateway's own loop: one read or write is one
 * system call and nothing is allocated while bytes flow. TLS is the project's (io/tls.h). One thread. */
#ifndef MG_BENCH_WIRE_H
#define MG_BENCH_WIRE_H

#include <stdint.h>
#include <sys/types.h>

#include "base/view.h"
#include "io/tls.h"

struct wire {
    int fd;                  /* owned; -1: closed */
    struct mg_tls *tls;      /* owned; NULL: plain */
    bool secure;             /* no handshake stands before the bytes */
    bool ending;             /* the peer sends no more */
    bool drained;            /* the socket had no more bytes at the last look */
    char *queue;             /* owned; what the socket has not taken */
    size_t queue_from, queue_len, queue_size;
};

/* Takes fd, makes it non-blocking with TCP_NODELAY and watches it; events carry `owner`. TLS: client when name is
 * given, else server. Aborts when the system has no room: a benchmark must not limp. */
void wire_open(struct wire *wire, int epoll, int fd, struct mg_tls_context *tls, const char *name, void *owner);
void wire_close(struct wire *wire);                  /* again is a no-op */

/* What epoll said. False when the connection is lost. Drives the handshake and what is queued. */
bool wire_woken(struct wire *wire, uint32_t events);

/* Bytes > 0, 0 when there are none now, -1 when the peer has ended or the connection is lost. */
ssize_t wire_read(struct wire *wire, char *out, size_t size);

/* Sends what fits and queues the rest; false when the connection is lost. */
bool wire_write(struct wire *wire, mg_view bytes);

/* A listener of 127.0.0.1 on *port (0: any; it is written back), or a connection to it. */
int wire_listen(int *port);
int wire_connect(int port);

uint64_t now_ns(void);
_Noreturn void die(const char *what);                /* with errno's words */
void raise_file_limit(void);

#endif
