/* tls_parts.h - what the files of the TLS seam share: io/tls_context.c, io/tls_session.c,
 * io/tls_cache.c, io/tls_self_signed.c. */
#ifndef MG_IO_TLS_PARTS_H
#define MG_IO_TLS_PARTS_H

#include <mbedtls/ssl.h>
#include <mbedtls/ssl_ticket.h>
#include <mbedtls/x509_crt.h>
#include <stdatomic.h>
#include <stdint.h>

#include "base/buf.h"
#include "io/tls.h"

/* Parsed CA certificates, shared between the contexts that name the same unchanged file. */
struct mg_tls_trust {
    struct mg_tls_trust *next; /* the next in the process's list */
    int refs;                  /* under the list's lock */
    char *path;                /* owned */
    uint64_t stamp;            /* size and time of the file when it was read */
    mbedtls_x509_crt certs;
};

struct mg_tls_context {
    atomic_int refs;
    uint64_t id; /* unique in the process; part of the key of a session */
    bool is_server;
    bool has_cert;
    struct mg_tls_trust *trust; /* ref held; NULL when nothing is trusted */
    mbedtls_ssl_config config;
    mbedtls_x509_crt certs;
    mbedtls_pk_context key;
    mbedtls_ssl_ticket_context tickets; /* server; locks itself and rotates its keys */
};

/* The system's random numbers, as mbedTLS asks for them: no state, so nothing to share or lock. */
int mg_tls_random(void *unused, unsigned char *out, size_t size);

/* Must have been called before anything of PSA is used. Any thread, any number of times. */
void mg_tls_start_library(void);

/* A server session calls these through the library; the second notes a resumption on the current
 * session. */
int mg_tls_ticket_write(void *tickets, const mbedtls_ssl_session *session, unsigned char *start,
                        const unsigned char *end, size_t *out_len, uint32_t *out_lifetime);
int mg_tls_ticket_parse(void *tickets, mbedtls_ssl_session *session, unsigned char *bytes,
                        size_t len);

/* tls_cache.c: serialised client sessions. Any thread; each locks one shard for a copy. */
void mg_tls_cache_put(mg_view key, mg_view session);
bool mg_tls_cache_get(mg_view key, struct mg_buf *out_session);
void mg_tls_cache_drop(mg_view key);
size_t mg_tls_cache_count(void);
void mg_tls_cache_clear(void);

/* Writes a whole file by renaming, with the mode. */
mg_err mg_tls_write_file(const char *path, unsigned mode, mg_view bytes, struct mg_diag *diag);

#endif
