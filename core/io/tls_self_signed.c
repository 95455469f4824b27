#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <mbedtls/ecp.h>
#include <mbedtls/error.h>
#include <mbedtls/x509_crt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/mem.h"
#include "io/tls_parts.h"

enum { PEM_BYTES = 4096, DAY_S = 86400 };

static int make_key(mbedtls_pk_context *key);
static int describe(mbedtls_x509write_cert *cert, mbedtls_pk_context *key, const char *host);
static int set_validity(mbedtls_x509write_cert *cert);
static int set_host(mbedtls_x509write_cert *cert, const char *host);

mg_err mg_tls_self_signed(const char *host, const char *cert_path, const char *key_path,
                          struct mg_diag *diag)
{
    unsigned char pem[PEM_BYTES] = {0};
    mbedtls_pk_context key;
    mbedtls_x509write_cert cert;
    mg_tls_start_library();
    mbedtls_pk_init(&key);
    mbedtls_x509write_crt_init(&cert);

    mg_err err = MG_OK;
    int code = make_key(&key);
    if (code == 0)
        code = describe(&cert, &key, host);
    if (code == 0)
        code = mbedtls_x509write_crt_pem(&cert, pem, sizeof(pem), mg_tls_random, NULL);
    if (code == 0)
        err = mg_tls_write_file(cert_path, 0644, mg_view_cstr((char *)pem), diag);
    if (code == 0 && err == MG_OK)
        code = mbedtls_pk_write_key_pem(&key, pem, sizeof(pem));
    if (code == 0 && err == MG_OK)
        err = mg_tls_write_file(key_path, 0600, mg_view_cstr((char *)pem), diag);
    if (code != 0) {
        char text[160];
        mbedtls_strerror(code, text, sizeof(text));
        err = mg_diag_set(diag, MG_E_SYSTEM, cert_path, 0, "cannot make a certificate for %s: %s",
                          host, text);
    }
    mg_wipe(pem, sizeof(pem));
    mbedtls_x509write_crt_free(&cert);
    mbedtls_pk_free(&key);
    return err;
}

mg_err mg_tls_write_file(const char *path, unsigned mode, mg_view bytes, struct mg_diag *diag)
{
    char temporary[4096];
    int length = snprintf(temporary, sizeof(temporary), "%s.XXXXXX", path);
    if (length < 0 || (size_t)length >= sizeof(temporary))
        return mg_diag_set(diag, MG_E_SYSTEM, path, 0, "the path is too long");
    int fd = mkstemp(temporary);
    if (fd < 0)
        return mg_diag_set(diag, MG_E_SYSTEM, path, 0, "cannot write: %s", strerror(errno));
    bool written = fchmod(fd, mode) == 0 && write(fd, bytes.ptr, bytes.len) == (ssize_t)bytes.len;
    int saved_errno = errno;
    if (close(fd) != 0 || !written || rename(temporary, path) != 0) {
        mg_diag_set(diag, MG_E_SYSTEM, path, 0, "cannot write: %s",
                    strerror(written ? errno : saved_errno));
        unlink(temporary);
        return MG_E_SYSTEM;
    }
    return MG_OK;
}

static int make_key(mbedtls_pk_context *key)
{
    int code = mbedtls_pk_setup(key, mbedtls_pk_info_from_type(MBEDTLS_PK_ECKEY));
    if (code != 0)
        return code;
    return mbedtls_ecp_gen_key(MBEDTLS_ECP_DP_SECP256R1, mbedtls_pk_ec(*key), mg_tls_random, NULL);
}

static int describe(mbedtls_x509write_cert *cert, mbedtls_pk_context *key, const char *host)
{
    unsigned char serial[16];
    char name[300];
    int code = mg_tls_random(NULL, serial, sizeof(serial));
    if (code != 0)
        return code;
    serial[0] = (unsigned char)((serial[0] & 0x7f) | 0x40); /* positive and of full length */
    snprintf(name, sizeof(name), "CN=%.200s,O=Moongate", host);

    mbedtls_x509write_crt_set_version(cert, MBEDTLS_X509_CRT_VERSION_3);
    mbedtls_x509write_crt_set_md_alg(cert, MBEDTLS_MD_SHA256);
    mbedtls_x509write_crt_set_subject_key(cert, key);
    mbedtls_x509write_crt_set_issuer_key(cert, key);
    if ((code = mbedtls_x509write_crt_set_serial_raw(cert, serial, sizeof(serial))) != 0 ||
        (code = mbedtls_x509write_crt_set_subject_name(cert, name)) != 0 ||
        (code = mbedtls_x509write_crt_set_issuer_name(cert, name)) != 0 ||
        (code = set_validity(cert)) != 0 ||
        (code = mbedtls_x509write_crt_set_basic_constraints(cert, 1, 0)) != 0 ||
        (code = mbedtls_x509write_crt_set_subject_key_identifier(cert)) != 0 ||
        (code = mbedtls_x509write_crt_set_authority_key_identifier(cert)) != 0 ||
        (code = mbedtls_x509write_crt_set_key_usage(cert, MBEDTLS_X509_KU_DIGITAL_SIGNATURE |
                                                              MBEDTLS_X509_KU_KEY_CERT_SIGN)) != 0)
        return code;
    return set_host(cert, host);
}

/* From yesterday, because clocks differ. */
static int set_validity(mbedtls_x509write_cert *cert)
{
    char from[16], until[16];
    struct tm parts;
    time_t now = time(NULL), start = now - DAY_S, end = now + 365 * DAY_S;
    strftime(from, sizeof(from), "%Y%m%d%H%M%S", gmtime_r(&start, &parts));
    strftime(until, sizeof(until), "%Y%m%d%H%M%S", gmtime_r(&end, &parts));
    return mbedtls_x509write_crt_set_validity(cert, from, until);
}

static int set_host(mbedtls_x509write_cert *cert, const char *host)
{
    unsigned char address[16];
    mbedtls_x509_san_list names = {.node.type = MBEDTLS_X509_SAN_DNS_NAME};
    names.node.san.unstructured_name.p = (unsigned char *)(uintptr_t)host;
    names.node.san.unstructured_name.len = strlen(host);
    size_t len = inet_pton(AF_INET, host, address) == 1    ? 4
                 : inet_pton(AF_INET6, host, address) == 1 ? 16
                                                           : 0;
    if (len > 0) {
        names.node.type = MBEDTLS_X509_SAN_IP_ADDRESS;
        names.node.san.unstructured_name.p = address;
        names.node.san.unstructured_name.len = len;
    }
    return mbedtls_x509write_crt_set_subject_alternative_name(cert, &names);
}
