/* tls.h - TLS 1.2 and 1.3 behind one narrow seam; nothing else in the project knows which library
 * does it.
 *
 * A context is what many connections share: certificates, what is trusted, ticket keys. It is
 * immutable, ref-counted and may be used by all threads at once. Reloading a certificate is: make a
 * new context, swap the pointer, unref the old one; running connections keep theirs.
 *
 * Peers are verified by default. Sessions are resumed: a server context hands out tickets under
 * keys that rotate; clients keep serialised sessions in one process-wide table of
 * MG_MAX_TLS_SESSIONS. ALPN offers `http/1.1` only.
 *
 * The second half (struct mg_tls) is for io/stream.c alone. */
#ifndef MG_IO_TLS_H
#define MG_IO_TLS_H

#include "base/err.h"
#include "base/view.h"

struct mg_tls_context;
struct mg_loop;

enum mg_tls_version { MG_TLS_ANY, MG_TLS_1_2, MG_TLS_1_3 };

struct mg_tls_server_options {
    const char *cert_file;      /* PEM, the leaf first, then its chain */
    const char *key_file;       /* PEM, not encrypted */
    const char *client_ca_file; /* PEM; vouches for clients' certificates; NULL asks for none */
    enum mg_tls_version only;   /* MG_TLS_ANY: both */
};

struct mg_tls_client_options {
    const char *ca_file;   /* PEM; NULL is $SSL_CERT_FILE, else the system's bundle */
    bool insecure;         /* verify nothing; for tests and for people who insist */
    const char *cert_file; /* our own certificate, when the server asks; NULL for none */
    const char *key_file;
    enum mg_tls_version only;
};

/* Blocking (they read files): not on a worker's loop. diag names the file and what is wrong with
 * it. */
MG_MUST_USE mg_err mg_tls_server_new(const struct mg_tls_server_options *options,
                                     struct mg_tls_context **out_context, struct mg_diag *diag);
MG_MUST_USE mg_err mg_tls_client_new(const struct mg_tls_client_options *options,
                                     struct mg_tls_context **out_context, struct mg_diag *diag);
struct mg_tls_context *mg_tls_ref(struct mg_tls_context *context); /* any thread; NULL stays NULL */
void mg_tls_unref(struct mg_tls_context *context);                 /* any thread; NULL is a no-op */

/* When the leaf certificate of a server (or client) context expires, in seconds since 1970; 0 when
 * there is none. */
uint64_t mg_tls_expires_s(const struct mg_tls_context *context);

/* Writes a fresh P-256 key (mode 0600) and a certificate for host (a name or an address), valid for
 * a year and signed by itself: its own CA for tests and the demo. */
MG_MUST_USE mg_err mg_tls_self_signed(const char *host, const char *cert_path, const char *key_path,
                                      struct mg_diag *diag);

/* --- one connection's session; for io/stream_tls.c --- */

struct mg_tls;

/* How a session reaches the socket. Never called outside the mg_tls_ calls below. */
struct mg_tls_io {
    /* Ciphertext at hand; 0 when there is none. */
    size_t (*recv)(void *arg, char *out, size_t size);
    /* Takes all or fails. */
    mg_err (*send)(void *arg, mg_view bytes);
};

/* Client when name is given (SNI and verification), else server. Names are copied. */
struct mg_tls *mg_tls_new(struct mg_tls_context *context, const char *name, mg_view session_key,
                          const struct mg_tls_io *io, void *arg);
void mg_tls_free(struct mg_tls *tls);

MG_MUST_USE mg_err
mg_tls_handshake(struct mg_tls *tls); /* MG_OK done, MG_E_AGAIN needs bytes, MG_E_TLS */
/* MG_OK with *out_len > 0, MG_E_AGAIN needs bytes, MG_E_CLOSED close_notify came, MG_E_TLS */
MG_MUST_USE mg_err mg_tls_read(struct mg_tls *tls, char *out, size_t size, size_t *out_len);
MG_MUST_USE mg_err mg_tls_write(struct mg_tls *tls, mg_view bytes); /* all or an error */
void mg_tls_close_notify(struct mg_tls *tls);

const char *mg_tls_reason(const struct mg_tls *tls); /* short, for people; "" when nothing failed */
bool mg_tls_resumed(const struct mg_tls *tls);
const char *mg_tls_version_name(const struct mg_tls *tls);

#endif
