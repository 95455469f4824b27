/* Tokens and keys: the examples of RFC 7515 (appendices A.2 and A.3), and what is done to them. */
#include "tenant/jwt.h"

#include <stdio.h>

#include "base/limits.h"
#include "check.h"

#define CLAIMS "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ"
#define RSA_N                                                                                                                      \
    "ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_"     \
    "YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxv" \
    "b3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ"
#define RSA_SIGNATURE                                                                                                              \
    "cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKB" \
    "YNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6Bf" \
    "I7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw"
#define RSA_TOKEN "eyJhbGciOiJSUzI1NiJ9." CLAIMS "." RSA_SIGNATURE
#define EC_SIGNATURE "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q"
#define EC_TOKEN "eyJhbGciOiJFUzI1NiJ9." CLAIMS "." EC_SIGNATURE
#define RSA_KEY "\"kty\":\"RSA\",\"n\":\"" RSA_N "\",\"e\":\"AQAB\""
#define EC_X "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU"
#define EC_Y "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"
#define EC_KEY "\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"" EC_X "\",\"y\":\"" EC_Y "\""

static mg_err read_keys(const char *text, struct mg_jwks **out_keys, const char **out_why)
{
    struct mg_json *set = NULL;
    CHECK_OK(mg_json_parse(mg_view_cstr(text), 1 << 20, &set, NULL));
    mg_err err = mg_jwks_read(set, out_keys, out_why);
    mg_json_free(set);
    return err;
}

static struct mg_jwks *keys_of(const char *text)
{
    struct mg_jwks *keys = NULL;
    const char *why = "";
    mg_err err = read_keys(text, &keys, &why);
    if (err != MG_OK)
        check_failed(__FILE__, __LINE__, "%s: %s", text, why);
    return keys;
}

/* What verifying this token with these keys gives. */
static mg_err verdict(const char *keys_text, const char *token)
{
    struct mg_jwks *keys = keys_of(keys_text);
    struct mg_jwt jwt;
    const char *why = "";
    mg_err err = mg_jwt_read(mg_view_cstr(token), &jwt, &why);
    if (err == MG_OK) {
        err = mg_jwt_verify(&jwt, keys, &why);
        mg_jwt_fini(&jwt);
    }
    CHECK(err == MG_OK || *why);
    mg_jwks_free(keys);
    return err;
}

TEST(the_examples_of_the_standard_verify)
{
    CHECK_OK(verdict("{\"keys\":[{" RSA_KEY "}]}", RSA_TOKEN));
    CHECK_OK(verdict("{\"keys\":[{" EC_KEY "}]}", EC_TOKEN));
    CHECK_OK(verdict("{\"keys\":[{" EC_KEY "},{" RSA_KEY "}]}", RSA_TOKEN));
    CHECK_OK(verdict("{\"keys\":[{" EC_KEY "},{" RSA_KEY "}]}", EC_TOKEN));
}

TEST(the_claims_can_be_read)
{
    struct mg_jwt jwt;
    const char *why = "";
    CHECK_OK(mg_jwt_read(MG_VIEW(EC_TOKEN), &jwt, &why));

    CHECK_INT(jwt.alg, MG_JWT_ES256);
    CHECK_INT(jwt.kid.len, 0);
    CHECK_VIEW(mg_json_string(mg_json_get(jwt.claims, "iss")), MG_VIEW("joe"));
    CHECK_INT(jwt.signature_len, 64);
    mg_jwt_fini(&jwt);
}

TEST(no_byte_of_a_token_can_be_changed)
{
    static const char *const tokens[] = {RSA_TOKEN, EC_TOKEN};
    struct mg_jwks *keys = keys_of("{\"keys\":[{" EC_KEY "},{" RSA_KEY "}]}");
    for (size_t t = 0; t < 2; t++) {
        char text[1024];
        size_t len = (size_t)snprintf(text, sizeof text, "%s", tokens[t]);
        for (size_t i = 0; i < len; i++) {
            struct mg_jwt jwt;
            const char *why = "";
            char kept = text[i];
            text[i] = kept == 'A' ? 'B' : 'A';
            if (mg_jwt_read(mg_view_of(text, len), &jwt, &why) == MG_OK) {
                if (mg_jwt_verify(&jwt, keys, &why) == MG_OK)
                    check_failed(__FILE__, __LINE__, "token %zu verifies with byte %zu changed", t, i);
                mg_jwt_fini(&jwt);
            }
            text[i] = kept;
        }
    }
    mg_jwks_free(keys);
}

TEST(a_token_cut_anywhere_is_none)
{
    struct mg_jwks *keys = keys_of("{\"keys\":[{" EC_KEY "}]}");
    mg_view token = MG_VIEW(EC_TOKEN);
    for (size_t len = 0; len < token.len; len++) {
        struct mg_jwt jwt;
        const char *why = "";
        if (mg_jwt_read(mg_view_head(token, len), &jwt, &why) != MG_OK)
            continue;
        CHECK(mg_jwt_verify(&jwt, keys, &why) != MG_OK);
        mg_jwt_fini(&jwt);
    }
    mg_jwks_free(keys);
}

TEST(a_key_is_for_its_own_algorithm)
{
    /* {"alg":"ES256"} with the RSA signature, and the other way round */
    CHECK_INT(verdict("{\"keys\":[{" RSA_KEY "}]}", "eyJhbGciOiJFUzI1NiJ9." CLAIMS "." RSA_SIGNATURE), MG_E_NOT_FOUND);
    CHECK_INT(verdict("{\"keys\":[{" EC_KEY "}]}", RSA_TOKEN), MG_E_NOT_FOUND);
    CHECK_INT(verdict("{\"keys\":[{" RSA_KEY "},{" EC_KEY "}]}", "eyJhbGciOiJFUzI1NiJ9." CLAIMS "." RSA_SIGNATURE), MG_E_DENIED);
    CHECK_INT(verdict("{\"keys\":[{" RSA_KEY "},{" EC_KEY "}]}", "eyJhbGciOiJSUzI1NiJ9." CLAIMS "." EC_SIGNATURE), MG_E_DENIED);
}

TEST(a_key_is_found_by_its_name)
{
    /* {"alg":"ES256","kid":"b"} over other bytes than were signed: found, and then refused. */
#define NAMED "eyJhbGciOiJFUzI1NiIsImtpZCI6ImIifQ." CLAIMS "." EC_SIGNATURE
    CHECK_INT(verdict("{\"keys\":[{\"kid\":\"b\"," EC_KEY "}]}", NAMED), MG_E_DENIED);
    CHECK_INT(verdict("{\"keys\":[{\"kid\":\"a\"," EC_KEY "}]}", NAMED), MG_E_NOT_FOUND);
    CHECK_INT(verdict("{\"keys\":[{" EC_KEY "}]}", NAMED), MG_E_NOT_FOUND);
    CHECK_INT(verdict("{\"keys\":[{\"kid\":\"b\"," RSA_KEY "}]}", NAMED), MG_E_NOT_FOUND);
    CHECK_INT(verdict("{\"keys\":[{\"kid\":\"a\"," EC_KEY "},{\"kid\":\"b\"," EC_KEY "}]}", EC_TOKEN), MG_E_NOT_FOUND);    /* which? */
    CHECK_OK(verdict("{\"keys\":[{\"kid\":\"a\"," EC_KEY "},{\"kid\":\"b\"," RSA_KEY "}]}", EC_TOKEN));
}

TEST(what_is_no_key_for_signatures_is_passed_over)
{
    static const char *const useless[] = {
        "{}", "1", "null", "\"x\"", "[]",
        "{\"kty\":\"oct\",\"k\":\"c2VjcmV0\"}",
        "{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"" EC_X "\"}",
        "{\"use\":\"enc\"," EC_KEY "}", "{\"use\":1," EC_KEY "}",
        "{\"key_ops\":[\"sign\"]," EC_KEY "}", "{\"key_ops\":\"verify\"," EC_KEY "}",
        "{\"alg\":\"RS256\"," EC_KEY "}", "{\"alg\":\"HS256\"," RSA_KEY "}", "{\"alg\":\"PS256\"," RSA_KEY "}", "{\"alg\":\"none\"," RSA_KEY "}",
        "{\"kty\":\"EC\",\"crv\":\"P-384\",\"x\":\"" EC_X "\",\"y\":\"" EC_Y "\"}",
        "{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"" EC_X "\",\"y\":\"" EC_X "\"}",       /* not on the curve */
        "{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"" EC_X "\"}", "{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"AA\",\"y\":\"" EC_Y "\"}",
        "{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"" EC_X "AA\",\"y\":\"" EC_Y "\"}",
        "{\"kty\":\"RSA\",\"n\":\"" RSA_N "\"}", "{\"kty\":\"RSA\",\"n\":\"" RSA_N "\",\"e\":\"AQ\"}",        /* e = 1 */
        "{\"kty\":\"RSA\",\"n\":\"" RSA_N "\",\"e\":\"AA\"}", "{\"kty\":\"RSA\",\"n\":\"" RSA_N "\",\"e\":\"AQAC\"}",     /* 0, even */
        "{\"kty\":\"RSA\",\"n\":\"" RSA_N "\",\"e\":\"\"}", "{\"kty\":\"RSA\",\"n\":\"\",\"e\":\"AQAB\"}",
        "{\"kty\":\"RSA\",\"n\":\"ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbj\",\"e\":\"AQAB\"}",            /* 264 bits */
        "{\"kty\":\"RSA\",\"n\":\"" RSA_N "\",\"e\":\"AQABAQABAQABAQAB\"}", "{\"kty\":\"RSA\",\"n\":\"" RSA_N RSA_N RSA_N "\",\"e\":\"AQAB\"}",
        "{\"kty\":\"RSA\",\"n\":\"" RSA_N "=\",\"e\":\"AQAB\"}", "{\"kty\":\"RSA\",\"n\":1,\"e\":2}",
    };
    for (size_t i = 0; i < sizeof useless / sizeof *useless; i++) {
        char text[4096];
        struct mg_jwks *keys = NULL;
        const char *why = "";
        snprintf(text, sizeof text, "{\"keys\":[%s]}", useless[i]);
        if (read_keys(text, &keys, &why) != MG_E_BAD_REQUEST)
            check_failed(__FILE__, __LINE__, "taken: %s", useless[i]);
        CHECK(strstr(why, "none of its keys") != NULL);
        snprintf(text, sizeof text, "{\"keys\":[%s,{" EC_KEY "}]}", useless[i]);
        keys = keys_of(text);
        CHECK_INT(mg_jwks_count(keys), 1);
        mg_jwks_free(keys);
    }
}

TEST(a_set_is_bounded)
{
    static const char *const none[] = {"{}", "[]", "1", "{\"keys\":{}}", "{\"keys\":1}"};
    static char text[65536];
    struct mg_jwks *keys = NULL;
    const char *why = "";
    for (size_t i = 0; i < sizeof none / sizeof *none; i++)
        CHECK_INT(read_keys(none[i], &keys, &why), MG_E_BAD_REQUEST);
    for (int count = MG_MAX_OIDC_KEYS; count <= MG_MAX_OIDC_KEYS + 1; count++) {
        size_t at = (size_t)snprintf(text, sizeof text, "{\"keys\":[{}");
        for (int i = 0; i < count; i++)
            at += (size_t)snprintf(text + at, sizeof text - at, ",{\"kid\":\"k%d\"," EC_KEY "}", i);
        snprintf(text + at, sizeof text - at, "]}");
        CHECK_INT(read_keys(text, &keys, &why), count == MG_MAX_OIDC_KEYS ? MG_OK : MG_E_TOO_LARGE);
        if (count == MG_MAX_OIDC_KEYS) {
            CHECK_INT(mg_jwks_count(keys), MG_MAX_OIDC_KEYS);
            mg_jwks_free(keys);
        }
    }
}

TEST(what_is_too_long_is_not_looked_at)
{
    static char text[MG_MAX_OIDC_TOKEN_BYTES + 2];
    struct mg_jwt jwt;
    const char *why = "";
    memset(text, 'a', sizeof text);
    text[1] = text[3] = '.';
    CHECK_INT(mg_jwt_read(mg_view_of(text, MG_MAX_OIDC_TOKEN_BYTES), &jwt, &why), MG_E_BAD_REQUEST);
    CHECK_INT(mg_jwt_read(mg_view_of(text, MG_MAX_OIDC_TOKEN_BYTES + 1), &jwt, &why), MG_E_TOO_LARGE);
}

TEST(heads_that_say_what_is_not_known_here_are_refused)
{
    static const struct {
        const char *head;              /* before base64url */
        const char *why;
    } rows[] = {
        {"bm9uZQ", "head"},                                                        /* none */
        {"eyJhbGciOiJub25lIn0", "RS256 or ES256"},                                 /* {"alg":"none"} */
        {"eyJhbGciOiJIUzI1NiJ9", "RS256 or ES256"},                                /* {"alg":"HS256"} */
        {"e30", "RS256 or ES256"},                                                 /* {} */
        {"eyJhbGciOjF9", "RS256 or ES256"},                                        /* {"alg":1} */
        {"eyJhbGciOiJFUzI1NiIsImNyaXQiOltdfQ", "crit"},                            /* {"alg":"ES256","crit":[]} */
        {"eyJhbGciOiJFUzI1NiIsInR5cCI6ImxvZ291dCtqd3QifQ", "no ID token"},         /* {"alg":"ES256","typ":"logout+jwt"} */
        {"eyJhbGciOiJFUzI1NiIsInR5cCI6MX0", "no ID token"},                        /* {"alg":"ES256","typ":1} */
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char text[1024];
        struct mg_jwt jwt;
        const char *why = "";
        snprintf(text, sizeof text, "%s." CLAIMS "." EC_SIGNATURE, rows[i].head);
        CHECK_INT(mg_jwt_read(mg_view_cstr(text), &jwt, &why), MG_E_BAD_REQUEST);
        if (!strstr(why, rows[i].why))
            check_failed(__FILE__, __LINE__, "%s: %s", rows[i].head, why);
    }
}

MG_TEST_MAIN()
