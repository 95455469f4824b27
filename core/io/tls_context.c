#include <errno.h>
#include <mbedtls/error.h>
#include <psa/crypto.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>

#include "base/mem.h"
#include "io/tls_parts.h"

enum { TICKET_LIFETIME_S = 4 * 3600 };

#if !defined(MBEDTLS_THREADING_C)
#error "all workers share contexts: mbedTLS must be built with MBEDTLS_THREADING_C, as Debian's is"
#endif

#define SYSTEM_BUNDLE "/etc/ssl/certs/ca-certificates.crt"

static struct mg_tls_context *context_new(bool is_server, enum mg_tls_version only);
static mg_err load_own(struct mg_tls_context *context, const char *cert_file, const char *key_file,
                       struct mg_diag *diag);
static mg_err load_trust(struct mg_tls_context *context, const char *path, struct mg_diag *diag);
static void trust_unref(struct mg_tls_trust *trust);
static mg_err setup_tickets(struct mg_tls_context *context, struct mg_diag *diag);
static mg_err complain(struct mg_diag *diag, const char *path, int code);

/* ChaCha20-Poly1305 first: without AES instructions in the library's default build it is the
 * fastest, and it needs no constant-time tables. Everything here is forward secret and
 * authenticated. */
static const int ciphersuites[] = {
    MBEDTLS_TLS1_3_CHACHA20_POLY1305_SHA256,
    MBEDTLS_TLS1_3_AES_128_GCM_SHA256,
    MBEDTLS_TLS1_3_AES_256_GCM_SHA384,
    MBEDTLS_TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
    MBEDTLS_TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
    MBEDTLS_TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
    MBEDTLS_TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
    MBEDTLS_TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
    MBEDTLS_TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
    0,
};

static const char *alpn[] = {"http/1.1", NULL};

static pthread_mutex_t trust_lock = PTHREAD_MUTEX_INITIALIZER;
static struct mg_tls_trust *trusts; /* under trust_lock */

mg_err mg_tls_server_new(const struct mg_tls_server_options *options,
                         struct mg_tls_context **out_context, struct mg_diag *diag)
{
    struct mg_tls_context *context = context_new(true, options->only);
    mg_err err = load_own(context, options->cert_file, options->key_file, diag);
    if (err == MG_OK && options->client_ca_file)
        err = load_trust(context, options->client_ca_file, diag);
    if (err == MG_OK)
        err = setup_tickets(context, diag);
    if (err != MG_OK) {
        mg_tls_unref(context);
        return err;
    }
    bool mutual = options->client_ca_file != NULL;
    mbedtls_ssl_conf_authmode(&context->config,
                              mutual ? MBEDTLS_SSL_VERIFY_REQUIRED : MBEDTLS_SSL_VERIFY_NONE);
    *out_context = context;
    return MG_OK;
}

/* `insecure` is OPTIONAL and not NONE: the chain is looked at either way, which tells a full
 * handshake from a resumed one. */
mg_err mg_tls_client_new(const struct mg_tls_client_options *options,
                         struct mg_tls_context **out_context, struct mg_diag *diag)
{
    struct mg_tls_context *context = context_new(false, options->only);
    mg_err err = MG_OK;
    const char *bundle = options->ca_file ? options->ca_file : getenv("SSL_CERT_FILE");
    if (!options->insecure)
        err = load_trust(context, bundle && *bundle ? bundle : SYSTEM_BUNDLE, diag);
    if (err == MG_OK && options->cert_file)
        err = load_own(context, options->cert_file, options->key_file, diag);
    if (err != MG_OK) {
        mg_tls_unref(context);
        return err;
    }
    mbedtls_ssl_conf_authmode(&context->config, options->insecure ? MBEDTLS_SSL_VERIFY_OPTIONAL
                                                                  : MBEDTLS_SSL_VERIFY_REQUIRED);
    mbedtls_ssl_conf_tls13_enable_signal_new_session_tickets(
        &context->config, MBEDTLS_SSL_TLS1_3_SIGNAL_NEW_SESSION_TICKETS_ENABLED);
    *out_context = context;
    return MG_OK;
}

struct mg_tls_context *mg_tls_ref(struct mg_tls_context *context)
{
    if (context)
        atomic_fetch_add_explicit(&context->refs, 1, memory_order_relaxed);
    return context;
}

void mg_tls_unref(struct mg_tls_context *context)
{
    if (!context || atomic_fetch_sub_explicit(&context->refs, 1, memory_order_acq_rel) > 1)
        return;
    mbedtls_ssl_config_free(&context->config);
    mbedtls_x509_crt_free(&context->certs);
    mbedtls_pk_free(&context->key);
    mbedtls_ssl_ticket_free(&context->tickets);
    trust_unref(context->trust);
    mg_free(context);
}

uint64_t mg_tls_expires_s(const struct mg_tls_context *context)
{
    if (!context->has_cert)
        return 0;
    const mbedtls_x509_time *until = &context->certs.valid_to;
    struct tm parts = {
        .tm_year = until->year - 1900,
        .tm_mon = until->mon - 1,
        .tm_mday = until->day,
        .tm_hour = until->hour,
        .tm_min = until->min,
        .tm_sec = until->sec,
    };
    return (uint64_t)timegm(&parts);
}

int mg_tls_random(void *unused, unsigned char *out, size_t size)
{
    (void)unused;
    while (size > 0) {
        ssize_t got = getrandom(out, MG_MIN(size, (size_t)256), 0);
        if (got < 0 && errno != EINTR)
            return MBEDTLS_ERR_SSL_INTERNAL_ERROR;
        if (got > 0) {
            out += got;
            size -= (size_t)got;
        }
    }
    return 0;
}

/* The library fills some tables when they are first asked for, without a lock: PSA's start those of AES, the second line
 * that of the cipher suites. */
static void start_library(void)
{
    if (psa_crypto_init() != PSA_SUCCESS)
        abort();
    (void)mbedtls_ssl_list_ciphersuites();
}

void mg_tls_start_library(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, start_library);
}

static struct mg_tls_context *context_new(bool is_server, enum mg_tls_version only)
{
    static _Atomic uint64_t last_id;
    mg_tls_start_library();
    struct mg_tls_context *context = mg_new(struct mg_tls_context);
    atomic_init(&context->refs, 1);
    context->id = atomic_fetch_add(&last_id, 1) + 1;
    context->is_server = is_server;
    mbedtls_ssl_config_init(&context->config);
    mbedtls_x509_crt_init(&context->certs);
    mbedtls_pk_init(&context->key);
    mbedtls_ssl_ticket_init(&context->tickets);

    mbedtls_ssl_config *config = &context->config;
    if (mbedtls_ssl_config_defaults(config,
                                    is_server ? MBEDTLS_SSL_IS_SERVER : MBEDTLS_SSL_IS_CLIENT,
                                    MBEDTLS_SSL_TRANSPORT_STREAM, MBEDTLS_SSL_PRESET_DEFAULT) != 0)
        abort();
    mbedtls_ssl_conf_rng(config, mg_tls_random, NULL);
    mbedtls_ssl_conf_ciphersuites(config, ciphersuites);
    mbedtls_ssl_conf_min_tls_version(config, only == MG_TLS_1_3 ? MBEDTLS_SSL_VERSION_TLS1_3
                                                                : MBEDTLS_SSL_VERSION_TLS1_2);
    mbedtls_ssl_conf_max_tls_version(config, only == MG_TLS_1_2 ? MBEDTLS_SSL_VERSION_TLS1_2
                                                                : MBEDTLS_SSL_VERSION_TLS1_3);
    if (mbedtls_ssl_conf_alpn_protocols(config, alpn) != 0)
        abort();
    return context;
}

static mg_err load_own(struct mg_tls_context *context, const char *cert_file, const char *key_file,
                       struct mg_diag *diag)
{
    int code = mbedtls_x509_crt_parse_file(&context->certs, cert_file);
    if (code != 0)
        return complain(diag, cert_file, code);
    if (!key_file)
        return mg_diag_set(diag, MG_E_CONFIG, cert_file, 0, "a certificate needs its key file");
    code = mbedtls_pk_parse_keyfile(&context->key, key_file, NULL, mg_tls_random, NULL);
    if (code != 0)
        return complain(diag, key_file, code);
    if (mbedtls_pk_check_pair(&context->certs.pk, &context->key, mg_tls_random, NULL) != 0)
        return mg_diag_set(diag, MG_E_CONFIG, key_file, 0,
                           "this is not the key of the certificate in %s", cert_file);
    code = mbedtls_ssl_conf_own_cert(&context->config, &context->certs, &context->key);
    if (code != 0)
        return complain(diag, cert_file, code);
    context->has_cert = true;
    return MG_OK;
}

/* The system's bundle is some 140 certificates: it is parsed once, not once per context. */
static mg_err load_trust(struct mg_tls_context *context, const char *path, struct mg_diag *diag)
{
    struct stat file;
    if (stat(path, &file) != 0)
        return mg_diag_set(diag, MG_E_CONFIG, path, 0, "cannot read the CA certificates: %s",
                           strerror(errno));
    uint64_t stamp = (uint64_t)file.st_mtim.tv_sec * 1000000007u ^ (uint64_t)file.st_mtim.tv_nsec ^
                     (uint64_t)file.st_size << 40 ^ (uint64_t)file.st_ino << 20;
    int code = 0;
    pthread_mutex_lock(&trust_lock);
    struct mg_tls_trust *trust = trusts;
    while (trust && (trust->stamp != stamp || strcmp(trust->path, path) != 0))
        trust = trust->next;
    if (!trust) {
        trust = mg_new(struct mg_tls_trust);
        trust->path = mg_strdup(path);
        trust->stamp = stamp;
        mbedtls_x509_crt_init(&trust->certs);
        code = mbedtls_x509_crt_parse_file(&trust->certs, path);
        trust->next = trusts;
        trusts = trust;
    }
    trust->refs++;
    context->trust = trust;
    bool empty = trust->certs.version == 0;
    pthread_mutex_unlock(&trust_lock);

    if (code < 0 || empty) /* positive: so many of them are of a kind we do not know */
        return complain(diag, path, code);
    mbedtls_ssl_conf_ca_chain(&context->config, &trust->certs, NULL);
    return MG_OK;
}

static void trust_unref(struct mg_tls_trust *trust)
{
    if (!trust)
        return;
    pthread_mutex_lock(&trust_lock);
    bool last = --trust->refs == 0;
    struct mg_tls_trust **at = &trusts;
    while (last && *at != trust)
        at = &(*at)->next;
    if (last)
        *at = trust->next;
    pthread_mutex_unlock(&trust_lock);
    if (!last)
        return;
    mbedtls_x509_crt_free(&trust->certs);
    mg_free(trust->path);
    mg_free(trust);
}

static mg_err setup_tickets(struct mg_tls_context *context, struct mg_diag *diag)
{
    int code = mbedtls_ssl_ticket_setup(&context->tickets, mg_tls_random, NULL,
                                        MBEDTLS_CIPHER_AES_256_GCM, TICKET_LIFETIME_S);
    if (code != 0)
        return complain(diag, "session tickets", code);
    mbedtls_ssl_conf_session_tickets_cb(&context->config, mg_tls_ticket_write, mg_tls_ticket_parse,
                                        &context->tickets);
    return MG_OK;
}

static mg_err complain(struct mg_diag *diag, const char *path, int code)
{
    char text[160] = "no certificate in it";
    if (code == MBEDTLS_ERR_PK_FILE_IO_ERROR || code == MBEDTLS_ERR_X509_FILE_IO_ERROR)
        return mg_diag_set(diag, MG_E_CONFIG, path, 0, "cannot read the file: %s", strerror(errno));
    if (code != 0)
        mbedtls_strerror(code, text, sizeof(text));
    return mg_diag_set(diag, MG_E_CONFIG, path, 0, "not usable: %s", text);
}
