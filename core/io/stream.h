/* stream.h - a connected byte stream: TCP or unix socket, plain or TLS.
 *
 * Streams are heap objects of this module. Their life is
 *
 *   mg_stream_accept()  ─▶ [handshake ─▶ on_secure] ─▶ on_data… ─▶ [on_end] ─▶ on_closed
 *   mg_stream_connect() ─▶ on_open ─▶ [mg_stream_secure() ─▶ on_secure] ─▶ …
 *
 * on_closed comes exactly once, never from inside a call the owner made, and is the last touch: the
 * stream is freed after it. It also comes after mg_stream_close(); mg_stream_discard() is the way
 * to end a stream without hearing of it again. No other callback comes after any of the ending
 * calls.
 *
 * Reading is on from the start and bytes arrive in the loop's shared buffer: a stream owns no
 * buffer while nothing waits in it. With reading off, the end of the peer is still noticed (on_end
 * or on_closed) unless unread bytes stand before it; under TLS, reading must be on to see it.
 *
 * Writing tries the socket first and copies only what does not fit. Memory of one stream is bounded
 * by 2 × MG_MAX_WRITE_QUEUE_BYTES plus two writes, plus under TLS 128 KiB of ciphertext held back
 * and the library's own 34 KiB; an idle stream owns 0.6 KiB and those 34. Loop thread only. */
#ifndef MG_IO_STREAM_H
#define MG_IO_STREAM_H

#include <sys/socket.h>

#include "base/err.h"
#include "base/view.h"

struct mg_loop;
struct mg_stream;
struct mg_tls_context;

/* Any of them may be NULL. All may call back into the stream, closing it included. */
struct mg_stream_ops {
    void (*on_open)(void *arg);   /* mg_stream_connect() succeeded */
    void (*on_secure)(void *arg); /* the TLS handshake is done; plain streams never call it */
    void (*on_data)(void *arg, mg_view bytes); /* never empty; valid in the callback only */
    void (*on_end)(void *arg);                 /* the peer sends no more; we may still write */
    void (*on_drain)(void *arg); /* after MG_E_AGAIN: the queue fell below a quarter of its mark */
    /* MG_OK we ended it · E_CLOSED peer reset, or left without close_notify · E_TIMEOUT peer took
     * no byte, or handshake too slow · E_TLS see mg_stream_reason() · E_CONNECT · E_IO */
    void (*on_closed)(void *arg, mg_err why);
};

/* Takes the connected socket fd (closed on every path). `tls` (borrowed, reffed inside; NULL for
 * plain) makes the stream shake hands as a server. The ops table is borrowed and must outlive the
 * stream. */
struct mg_stream *mg_stream_accept(struct mg_loop *loop, int fd, struct mg_tls_context *tls,
                                   const struct mg_stream_ops *ops, void *arg);

/* Starts connecting; the answer is on_open or on_closed(MG_E_CONNECT). AF_INET, AF_INET6 or
 * AF_UNIX. */
struct mg_stream *mg_stream_connect(struct mg_loop *loop, const struct sockaddr *address,
                                    const struct mg_stream_ops *ops, void *arg);

/* Starts the client's handshake on an open plain stream; the answer is on_secure or on_closed.
 * `name` is sent as SNI and verified; sessions are resumed among streams of one context that give
 * the same session_key (both copied). */
void mg_stream_secure(struct mg_stream *stream, struct mg_tls_context *tls, const char *name,
                      mg_view session_key);

/* A new owner. NULL ops: nobody listens. */
void mg_stream_set_ops(struct mg_stream *stream, const struct mg_stream_ops *ops, void *arg);

/* Flow control. Off also holds back what TLS has already decrypted. Turning it on never calls back
 * inline. */
void mg_stream_read(struct mg_stream *stream, bool on);

/* Sends the parts as one run of bytes, as few system calls and TLS records as possible.
 * MG_OK: taken. MG_E_AGAIN: taken, but stop until on_drain. MG_E_CLOSED: not taken, the stream is
 * ending or its handshake is not done. MG_E_TOO_LARGE: not taken, the caller went on writing long
 * after MG_E_AGAIN. */
MG_MUST_USE mg_err mg_stream_write(struct mg_stream *stream, const mg_view *parts, size_t count);

/* A peer that answers before it has read everything resets the connection behind its answer: from now on, when a write fails
 * so while reading is on, what had come is still read, and on_closed comes after it. */
void mg_stream_hear_out(struct mg_stream *stream);

size_t mg_stream_queued(const struct mg_stream *stream); /* bytes the socket has not taken yet */

/* While bytes are queued: on_closed(MG_E_TIMEOUT) once the peer takes none for so long. 0 (the
 * start) is never. */
void mg_stream_write_timeout(struct mg_stream *stream, uint32_t timeout_ms);

/* Clean end: everything queued, close_notify, FIN, then waits up to a second for the peer's end, so
 * that unread bytes do not turn our last ones into a reset. Gives up like
 * mg_stream_write_timeout(), or after 10 s of no progress. */
void mg_stream_shutdown(struct mg_stream *stream);

/* At once; what is queued is lost. */
void mg_stream_close(struct mg_stream *stream);

/* At once and with a TCP reset, which the peer cannot take for an end. */
void mg_stream_reset(struct mg_stream *stream);

/* mg_stream_close() and no callback any more; NULL is a no-op. */
void mg_stream_discard(struct mg_stream *stream);

/* True while the stream can be written: open, handshake done, not ending, and the peer has not
 * ended. */
bool mg_stream_usable(const struct mg_stream *stream);

/* "192.0.2.1:443", "[2001:db8::1]:443" or "unix"; "" when first asked after the end. */
const char *mg_stream_peer(struct mg_stream *stream);

/* From the socket and given to the socket: TLS's own bytes included. */
uint64_t mg_stream_bytes_in(const struct mg_stream *stream);
uint64_t mg_stream_bytes_out(const struct mg_stream *stream);

bool mg_stream_is_tls(const struct mg_stream *stream);
bool mg_stream_resumed(const struct mg_stream *stream); /* the handshake reused a session */
const char *mg_stream_tls_version(const struct mg_stream *stream); /* "TLSv1.3"; "" when plain */

/* Why the stream failed, for people: "certificate expired". "" when there is nothing to add to the
 * mg_err. Valid inside on_closed. */
const char *mg_stream_reason(const struct mg_stream *stream);

/* "192.0.2.1:443" into out, cut to size. */
void mg_address_text(const struct sockaddr *address, char *out, size_t size);

#endif
