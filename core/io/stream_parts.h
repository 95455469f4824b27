/* stream_parts.h - what io/stream.c (life and reading), io/stream_write.c and io/stream_tls.c
 * share. Nobody else. */
#ifndef MG_IO_STREAM_PARTS_H
#define MG_IO_STREAM_PARTS_H

#include <uv.h>

#include "base/buf.h"
#include "io/loop.h"
#include "io/stream.h"
#include "io/tls.h"

enum mg_stream_state {
    MG_STREAM_CONNECTING, /* waits for the system's answer to connect() */
    MG_STREAM_OPEN,       /* bytes flow */
    MG_STREAM_SECURING,   /* TLS handshake; only ciphertext flows */
    MG_STREAM_FLUSHING,   /* the owner is done; what is queued still goes out */
    MG_STREAM_LINGERING,  /* FIN is sent; waits for the peer's, throws away what comes before it */
    MG_STREAM_CLOSING,    /* uv_close() was called */
};

/* What a slow peer costs; exists only while bytes are queued. */
struct mg_stream_queue {
    uv_write_t request;
    bool flown;            /* the request is libuv's */
    struct mg_buf flying;  /* given to libuv */
    struct mg_buf waiting; /* goes next */
    uint64_t taken_before; /* bytes the peer had acknowledged when the stall timer last looked */
};

struct mg_stream {
    union {
        uv_handle_t handle;
        uv_stream_t stream;
        uv_tcp_t tcp;
        uv_pipe_t pipe;
    } uv;
    union {
        uv_connect_t connect;
        uv_shutdown_t shutdown;
    } request;
    struct mg_loop *loop;            /* borrowed */
    const struct mg_stream_ops *ops; /* borrowed; NULL when nobody listens */
    void *arg;                       /* borrowed; the ops' */
    enum mg_stream_state state;
    mg_err why;         /* for on_closed */
    const char *reason; /* static text, or the TLS session's; NULL when there is none */
    bool reading;       /* the owner wants bytes */
    bool armed;         /* libuv reads */
    bool ended;         /* the peer's end was seen (TLS: close_notify) */
    bool raw_ended;     /* the socket's end was seen */
    bool hears_out;     /* mg_stream_hear_out() */
    bool mute;          /* … and a write has failed: nothing more is written */
    bool told_full;     /* the owner got MG_E_AGAIN and waits for on_drain */
    size_t overdrawn;   /* bytes taken since then */
    uint32_t write_timeout_ms;
    /* SECURING: handshake · OPEN, FLUSHING: write stall · LINGERING: patience */
    struct mg_timer timer;
    struct mg_stream_queue *queue; /* owned; NULL while nothing is queued */
    struct mg_tls *tls;            /* owned; NULL when plain */
    struct mg_buf cipher; /* ciphertext not decrypted yet; empty without memory most of the time */
    mg_view at_hand;      /* behind `cipher`, in the loop's read buffer; during one read only */
    struct mg_list hand;  /* in the loop's queue of handshakes */
    struct mg_defer resume; /* decrypt what was held back */
    uint64_t bytes_in;
    uint64_t bytes_out;
    char *peer; /* owned; NULL until asked for */
};

/* stream.c */
void mg_stream_set_state(struct mg_stream *stream, enum mg_stream_state state);
/* Harmless when it is closing already; reason lives as long as the stream. */
void mg_stream_fail(struct mg_stream *stream, mg_err why, const char *reason);
void mg_stream_arm(struct mg_stream *stream); /* libuv reads, unless at the end */
void mg_stream_deliver(struct mg_stream *stream, mg_view bytes);
void mg_stream_peer_ended(struct mg_stream *stream);
void mg_stream_on_timer(struct mg_timer *timer);
void mg_stream_flushed(struct mg_stream *stream); /* the queue is empty while FLUSHING */

/* stream_write.c */
/* To the socket, or the queue; takes all. */
mg_err mg_stream_send(struct mg_stream *stream, const mg_view *parts, size_t count);
void mg_stream_stall_look(struct mg_stream *stream); /* the write stall timer fired */
void mg_stream_queue_free(struct mg_stream *stream);

/* stream_tls.c */
void mg_stream_tls_start(struct mg_stream *stream, struct mg_tls_context *context, const char *name,
                         mg_view session_key);
bool mg_stream_tls_wants(const struct mg_stream *stream); /* room for more ciphertext */
void mg_stream_tls_take(struct mg_stream *stream, mg_view bytes);
void mg_stream_tls_raw_end(struct mg_stream *stream);
mg_err mg_stream_tls_write(struct mg_stream *stream, const mg_view *parts, size_t count);
void mg_stream_tls_finish(struct mg_stream *stream); /* close_notify */
void mg_stream_tls_resume(struct mg_stream *stream); /* reading is on again */
void mg_stream_tls_free(struct mg_stream *stream);

#endif
