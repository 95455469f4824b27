/* sign.h - what a credential becomes that is not sent as it is: a signature of AWS, a parameter of the address.
 *
 * All of it happens in locked memory, between opening a secret and the write that sends the request. */
#ifndef MG_RELAY_SIGN_H
#define MG_RELAY_SIGN_H

#include "chat/request.h"
#include "vault/sealed.h"

/* A credential of AWS as the vault holds it: ACCESS_KEY_ID:SECRET or ACCESS_KEY_ID:SECRET:SESSION_TOKEN. */
struct mg_aws_key {
    mg_view id, secret, token;         /* views into it; token: may be empty */
};
bool mg_aws_key_parse(mg_view text, struct mg_aws_key *out_key);

struct mg_sign {                       /* all borrowed */
    const char *region, *service;      /* of AWS */
    mg_view head;                      /* complete request head: `host`, `content-type` and what begins with `x-amz` is signed */
    const struct mg_body *body;
    uint64_t now_us;                   /* wall clock */
};

/* Replaces what stands in `out` from `at` on, a credential of AWS, by the header lines that prove it. out_token: the session
 * token, sealed, as it is what the answer may repeat; NULL when there is none. MG_E_BAD_REQUEST: it is no such credential. */
MG_MUST_USE mg_err mg_sign_aws(const struct mg_sign *sign, struct mg_locked *out, size_t at, struct mg_sealed **out_token);

/* Replaces what stands in `out` from `at` on by `?name=` (`&name=` when the target has a query) and that, percent-encoded. */
MG_MUST_USE mg_err mg_sign_query(const char *name, mg_view head, struct mg_locked *out, size_t at);

/* Where the request target of a head ends. */
size_t mg_sign_target_end(mg_view head);

#endif
