/* sigv4.h - AWS Signature Version 4 of one request, in its authorization header.
 *
 * The date is among what is signed, and so is a session token: who signs sends `x-amz-date` and `x-amz-security-token` with
 * the authorization. Nothing is copied to the heap but what the key store of PSA holds and wipes. */
#ifndef MG_VAULT_SIGV4_H
#define MG_VAULT_SIGV4_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/view.h"

enum {
    MG_SIGV4_HEADERS = 16,             /* signed ones, with the date and the token */
    MG_SIGV4_QUERIES = 16              /* parameters of the query */
};

struct mg_sigv4_header {
    mg_view name;                      /* lower case */
    mg_view value;
};

struct mg_sigv4 {                      /* all borrowed */
    mg_view access_key, secret_key;
    mg_view session_token;             /* empty: none */
    mg_view region, service;
    mg_view method;
    mg_view target;                    /* path and query as they are sent, percent-encoded */
    const struct mg_sigv4_header *headers;       /* to sign, `host` among them, in any order; without date and token */
    size_t header_count;
    const mg_view *body;               /* in parts */
    size_t body_count;
    uint64_t now_us;                   /* wall clock */
};

struct mg_sigv4_signed {
    char date[17];                     /* of x-amz-date: 20150830T123600Z */
    char authorization[1024];          /* holds nothing secret */
};

/* MG_E_TOO_LARGE: more headers, parameters or longer names than there is room for. */
MG_MUST_USE mg_err mg_sigv4_sign(const struct mg_sigv4 *request, struct mg_sigv4_signed *out);

#endif
