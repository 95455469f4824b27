/* jwt_fuzz.c - a token that is read has a head, claims and a signature inside its text, and no key of ours signed it unless its text
 * is that of ours; a set of keys that is read has some. The token is the first line, the set the rest. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/limits.h"
#include "tenant/jwt.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Of RFC 7515, A.3. */
#define SET                                                                                                                        \
    "{\"keys\":[{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU\","                          \
    "\"y\":\"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0\"}]}"
#define TOKEN                                                                                                                      \
    "eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.DtEhU3ljbEg8" \
    "L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q"

static void must(bool true_, const char *what)
{
    if (!true_) {
        fputs(what, stderr);
        abort();
    }
}

static struct mg_jwks *keys_of(mg_view text)
{
    struct mg_json *set = NULL;
    struct mg_jwks *keys = NULL;
    const char *why = NULL;
    if (mg_json_parse(text, 65536, &set, NULL) != MG_OK)
        return NULL;
    mg_err err = mg_jwks_read(set, &keys, &why);
    must((err == MG_OK) == (keys != NULL) && (keys || why), "a set without keys or reason\n");
    must(!keys || (mg_jwks_count(keys) > 0 && mg_jwks_count(keys) <= MG_MAX_OIDC_KEYS), "an odd number of keys\n");
    mg_json_free(set);
    return keys;
}

static void check_token(mg_view text, const struct mg_jwt *jwt, const struct mg_jwks *ours)
{
    const char *why = NULL;
    must(mg_json_is(jwt->head, MG_JSON_OBJECT) && mg_json_is(jwt->claims, MG_JSON_OBJECT), "a token without parts\n");
    must(jwt->signature_len > 0 && jwt->signature_len <= sizeof jwt->signature, "an odd signature\n");
    must(jwt->signed_part.ptr == text.ptr && jwt->signed_part.len < text.len, "another text is signed\n");
    if (mg_jwt_verify(jwt, ours, &why) == MG_OK)
        must(mg_view_eq(jwt->signed_part, mg_view_head(MG_VIEW(TOKEN), jwt->signed_part.len)), "a forged token\n");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct mg_jwks *ours;
    mg_view in = mg_view_of((const char *)data, size);
    mg_view token = mg_view_head(in, mg_view_find(in, "\n"));
    struct mg_jwt jwt;
    const char *why = NULL;
    if (!ours)
        ours = keys_of(MG_VIEW(SET));
    struct mg_jwks *theirs = keys_of(mg_view_skip(in, token.len + 1));
    if (mg_jwt_read(token, &jwt, &why) == MG_OK) {
        check_token(token, &jwt, ours);
        if (theirs)
            (void)!mg_jwt_verify(&jwt, theirs, &why);
        mg_jwt_fini(&jwt);
    } else {
        must(why != NULL, "refused without a reason\n");
    }
    mg_jwks_free(theirs);
    return 0;
}
