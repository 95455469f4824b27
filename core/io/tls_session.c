#include <mbedtls/error.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "io/tls_parts.h"

enum { SESSION_BYTES = 16384 };

struct mg_tls {
    mbedtls_ssl_context ssl;
    struct mg_tls_context *context; /* ref held */
    const struct mg_tls_io *io;     /* borrowed, static */
    void *arg;                      /* borrowed; the io's */
    char *cache_key;                /* owned; NULL for servers */
    size_t cache_key_len;
    bool offered; /* the client has a session to resume */
    bool full;    /* a certificate was looked at: not resumed */
    bool resumed; /* server: a ticket was accepted */
    bool done;    /* the handshake is */
    bool starved; /* the library asked for bytes and there were none */
    char reason[128];
};

static void offer_session(struct mg_tls *tls);
static void keep_session(struct mg_tls *tls);
static int bio_send(void *arg, const unsigned char *bytes, size_t len);
static int bio_recv(void *arg, unsigned char *out, size_t size);
static int on_certificate(void *arg, mbedtls_x509_crt *cert, int depth, uint32_t *flags);
static mg_err explain(struct mg_tls *tls, int code);
static const char *verify_text(uint32_t flags);
static const char *alert_text(int alert);

static _Thread_local struct mg_tls
    *shaking; /* the server session whose handshake this thread drives */

struct mg_tls *mg_tls_new(struct mg_tls_context *context, const char *name, mg_view session_key,
                          const struct mg_tls_io *io, void *arg)
{
    struct mg_tls *tls = mg_new(struct mg_tls);
    tls->context = mg_tls_ref(context);
    tls->io = io;
    tls->arg = arg;
    mbedtls_ssl_init(&tls->ssl);
    int code = mbedtls_ssl_setup(&tls->ssl, &context->config);
    if (code == 0 && name)
        code = mbedtls_ssl_set_hostname(&tls->ssl, name);
    if (code != 0) {
        (void)explain(tls, code); /* mg_tls_handshake() reports it */
        return tls;
    }
    mbedtls_ssl_set_bio(&tls->ssl, tls, bio_send, bio_recv, NULL);
    mbedtls_ssl_set_verify(&tls->ssl, on_certificate, tls);
    if (name) {
        tls->cache_key_len = sizeof(context->id) + strlen(name) + 1 + session_key.len;
        tls->cache_key = mg_alloc(tls->cache_key_len);
        memcpy(tls->cache_key, &context->id, sizeof(context->id));
        memcpy(tls->cache_key + sizeof(context->id), name, strlen(name) + 1);
        if (session_key.len)
            memcpy(tls->cache_key + tls->cache_key_len - session_key.len, session_key.ptr,
                   session_key.len);
        offer_session(tls);
    }
    return tls;
}

void mg_tls_free(struct mg_tls *tls)
{
    if (!tls)
        return;
    mbedtls_ssl_free(&tls->ssl);
    mg_tls_unref(tls->context);
    mg_free(tls->cache_key);
    mg_free(tls);
}

mg_err mg_tls_handshake(struct mg_tls *tls)
{
    if (tls->reason[0])
        return MG_E_TLS;
    shaking = tls;
    int code = mbedtls_ssl_handshake(&tls->ssl);
    shaking = NULL;
    if (code == MBEDTLS_ERR_SSL_WANT_READ || code == MBEDTLS_ERR_SSL_WANT_WRITE)
        return MG_E_AGAIN;
    if (code == 0) {
        tls->done = true;
        if (tls->cache_key &&
            mbedtls_ssl_get_version_number(&tls->ssl) == MBEDTLS_SSL_VERSION_TLS1_2)
            keep_session(tls);
        return MG_OK;
    }
    if (tls->offered) /* it may be the session's fault: not twice */
        mg_tls_cache_drop(mg_view_of(tls->cache_key, tls->cache_key_len));
    return explain(tls, code);
}

mg_err mg_tls_read(struct mg_tls *tls, char *out, size_t size, size_t *out_len)
{
    for (;;) {
        tls->starved = false;
        int code = mbedtls_ssl_read(&tls->ssl, (unsigned char *)out, size);
        if (code > 0) {
            *out_len = (size_t)code;
            return MG_OK;
        }
        if (code == MBEDTLS_ERR_SSL_RECEIVED_NEW_SESSION_TICKET) {
            keep_session(tls);
            continue;
        }
        if (code == MBEDTLS_ERR_SSL_WANT_READ) {
            if (tls->starved)
                return MG_E_AGAIN;
            continue; /* it has a message of the handshake to look at first */
        }
        if (code == MBEDTLS_ERR_SSL_PEER_CLOSE_NOTIFY || code == 0)
            return MG_E_CLOSED;
        return explain(tls, code);
    }
}

mg_err mg_tls_write(struct mg_tls *tls, mg_view bytes)
{
    while (bytes.len > 0) {
        int code = mbedtls_ssl_write(&tls->ssl, (const unsigned char *)bytes.ptr, bytes.len);
        if (code <= 0)
            return explain(tls, code);
        bytes = mg_view_skip(bytes, (size_t)code);
    }
    return MG_OK;
}

void mg_tls_close_notify(struct mg_tls *tls)
{
    (void)mbedtls_ssl_close_notify(&tls->ssl);
}

const char *mg_tls_reason(const struct mg_tls *tls)
{
    return tls->reason;
}

bool mg_tls_resumed(const struct mg_tls *tls)
{
    return tls->done && (tls->context->is_server ? tls->resumed : tls->offered && !tls->full);
}

const char *mg_tls_version_name(const struct mg_tls *tls)
{
    return tls->done ? mbedtls_ssl_get_version(&tls->ssl) : "";
}

int mg_tls_ticket_write(void *tickets, const mbedtls_ssl_session *session, unsigned char *start,
                        const unsigned char *end, size_t *out_len, uint32_t *out_lifetime)
{
    return mbedtls_ssl_ticket_write(tickets, session, start, end, out_len, out_lifetime);
}

int mg_tls_ticket_parse(void *tickets, mbedtls_ssl_session *session, unsigned char *bytes,
                        size_t len)
{
    int code = mbedtls_ssl_ticket_parse(tickets, session, bytes, len);
    if (code == 0 && shaking)
        shaking->resumed = true;
    return code;
}

static void offer_session(struct mg_tls *tls)
{
    struct mg_buf saved;
    mbedtls_ssl_session session;
    mg_buf_init(&saved, SESSION_BYTES);
    mbedtls_ssl_session_init(&session);
    if (mg_tls_cache_get(mg_view_of(tls->cache_key, tls->cache_key_len), &saved)) {
        mg_view bytes = mg_buf_view(&saved);
        tls->offered =
            mbedtls_ssl_session_load(&session, (const unsigned char *)bytes.ptr, bytes.len) == 0 &&
            mbedtls_ssl_set_session(&tls->ssl, &session) == 0;
        mg_wipe(saved.ptr, saved.cap);
    }
    mbedtls_ssl_session_free(&session);
    mg_buf_fini(&saved);
}

/* Best effort: a session that cannot be kept is a full handshake next time. */
static void keep_session(struct mg_tls *tls)
{
    size_t len = 0;
    struct mg_buf saved;
    mbedtls_ssl_session session;
    mg_buf_init(&saved, SESSION_BYTES);
    mbedtls_ssl_session_init(&session);
    if (mbedtls_ssl_get_session(&tls->ssl, &session) == 0 &&
        mbedtls_ssl_session_save(&session, NULL, 0, &len) == MBEDTLS_ERR_SSL_BUFFER_TOO_SMALL &&
        mg_buf_reserve(&saved, len) == MG_OK &&
        mbedtls_ssl_session_save(&session, (unsigned char *)saved.ptr, len, &len) == 0) {
        mg_tls_cache_put(mg_view_of(tls->cache_key, tls->cache_key_len),
                         mg_view_of(saved.ptr, len));
        mg_wipe(saved.ptr, len);
    }
    mbedtls_ssl_session_free(&session);
    mg_buf_fini(&saved);
}

static int bio_send(void *arg, const unsigned char *bytes, size_t len)
{
    struct mg_tls *tls = arg;
    mg_err err = tls->io->send(tls->arg, mg_view_of((const char *)bytes, len));
    return err == MG_OK ? (int)len : MBEDTLS_ERR_SSL_CONN_EOF;
}

static int bio_recv(void *arg, unsigned char *out, size_t size)
{
    struct mg_tls *tls = arg;
    size_t got = tls->io->recv(tls->arg, (char *)out, size);
    tls->starved = got == 0;
    return got > 0 ? (int)got : MBEDTLS_ERR_SSL_WANT_READ;
}

static int on_certificate(void *arg, mbedtls_x509_crt *cert, int depth, uint32_t *flags)
{
    struct mg_tls *tls = arg;
    (void)cert;
    (void)depth;
    (void)flags;
    tls->full = true;
    return 0;
}

static mg_err explain(struct mg_tls *tls, int code)
{
    char *out = tls->reason;
    size_t size = sizeof(tls->reason);
    const char *text = NULL;
    switch (code) {
    case MBEDTLS_ERR_X509_CERT_VERIFY_FAILED:
        text = verify_text(mbedtls_ssl_get_verify_result(&tls->ssl));
        break;
    case MBEDTLS_ERR_SSL_FATAL_ALERT_MESSAGE:
        snprintf(out, size, "peer refused: %s", alert_text(tls->ssl.MBEDTLS_PRIVATE(in_msg)[1]));
        return MG_E_TLS;
    case MBEDTLS_ERR_SSL_INVALID_RECORD:
        text = tls->done ? "peer sent a broken TLS record" : "peer does not speak TLS";
        break;
    case MBEDTLS_ERR_SSL_BAD_PROTOCOL_VERSION:
        text = "no TLS version in common";
        break;
    case MBEDTLS_ERR_SSL_HANDSHAKE_FAILURE:
        text = "no cipher suite in common";
        break;
    case MBEDTLS_ERR_SSL_NO_APPLICATION_PROTOCOL:
        text = "no application protocol in common";
        break;
    case MBEDTLS_ERR_SSL_NO_CLIENT_CERTIFICATE:
        text = "client showed no certificate";
        break;
    case MBEDTLS_ERR_SSL_INVALID_MAC:
        text = "peer sent a forged or damaged TLS record";
        break;
    case MBEDTLS_ERR_SSL_CONN_EOF:
        text = "connection lost";
        break;
    default:
        mbedtls_strerror(code, out, size);
        return MG_E_TLS;
    }
    snprintf(out, size, "%s", text);
    return MG_E_TLS;
}

static const char *verify_text(uint32_t flags)
{
    static const struct {
        uint32_t flag;
        const char *text;
    } rows[] = {
        {MBEDTLS_X509_BADCERT_MISSING, "peer showed no certificate"},
        {MBEDTLS_X509_BADCERT_EXPIRED, "certificate expired"},
        {MBEDTLS_X509_BADCERT_FUTURE, "certificate is not valid yet"},
        {MBEDTLS_X509_BADCERT_REVOKED, "certificate was revoked"},
        {MBEDTLS_X509_BADCERT_CN_MISMATCH, "certificate is for another name"},
        {MBEDTLS_X509_BADCERT_NOT_TRUSTED, "certificate of an unknown CA"},
        {MBEDTLS_X509_BADCERT_BAD_MD, "certificate is signed with a weak hash"},
        {MBEDTLS_X509_BADCERT_BAD_PK, "certificate has an unacceptable kind of key"},
        {MBEDTLS_X509_BADCERT_BAD_KEY, "certificate has a weak key"},
        {MBEDTLS_X509_BADCERT_KEY_USAGE, "certificate may not be used for this"},
        {MBEDTLS_X509_BADCERT_EXT_KEY_USAGE, "certificate may not be used for this"},
    };
    for (size_t i = 0; i < MG_COUNT(rows); i++)
        if (flags & rows[i].flag)
            return rows[i].text;
    return "certificate refused";
}

static const char *alert_text(int alert)
{
    switch (alert) {
    case MBEDTLS_SSL_ALERT_MSG_HANDSHAKE_FAILURE:
        return "no cipher suite in common";
    case MBEDTLS_SSL_ALERT_MSG_BAD_CERT:
    case MBEDTLS_SSL_ALERT_MSG_UNSUPPORTED_CERT:
    case MBEDTLS_SSL_ALERT_MSG_CERT_UNKNOWN:
        return "it does not accept the certificate";
    case MBEDTLS_SSL_ALERT_MSG_CERT_EXPIRED:
        return "the certificate expired";
    case MBEDTLS_SSL_ALERT_MSG_UNKNOWN_CA:
        return "it does not know the certificate's CA";
    case MBEDTLS_SSL_ALERT_MSG_CERT_REQUIRED:
    case MBEDTLS_SSL_ALERT_MSG_NO_CERT:
        return "it wants a client certificate";
    case MBEDTLS_SSL_ALERT_MSG_PROTOCOL_VERSION:
        return "no TLS version in common";
    case MBEDTLS_SSL_ALERT_MSG_UNRECOGNIZED_NAME:
        return "it does not serve this name";
    case MBEDTLS_SSL_ALERT_MSG_NO_APPLICATION_PROTOCOL:
        return "no application protocol in common";
    default:
        return "TLS alert";
    }
}
