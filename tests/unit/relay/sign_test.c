/* What becomes of a credential in locked memory. The signature itself is vault/sigv4_test.c's. */
#include "relay/sign.h"

#include "base/mem.h"
#include "check.h"

#define HEAD "POST /model/m/converse HTTP/1.1\r\nHost: h.example\r\ncontent-type: application/json\r\naccept: */*\r\n\r\n"

static bool holds(mg_view text, const char *wanted)
{
    return memmem(text.ptr, text.len, wanted, strlen(wanted)) != NULL;
}

static mg_err sign(const char *credential, struct mg_locked *out, struct mg_sealed **token)
{
    struct mg_body body = {.parts = {MG_VIEW("{}")}, .count = 1, .length = 2};
    struct mg_sign call = {"eu-west-1", "bedrock", MG_VIEW(HEAD), &body, UINT64_C(1440938160000000)};
    (void)mg_seal_key_process();
    CHECK_OK(mg_locked_put(out, MG_VIEW("x-own: kept\r\n")));
    size_t at = out->len;
    CHECK_OK(mg_locked_put(out, mg_view_cstr(credential)));
    return mg_sign_aws(&call, out, at, token);
}

TEST(the_secret_is_gone_when_its_signature_stands_there)
{
    struct mg_sealed *token;
    struct mg_locked *out = mg_locked_take();
    CHECK_OK(sign("AKIDEXAMPLE:the/Secret+Key=", out, &token));
    mg_view lines = mg_view_of(out->ptr, out->len), page = mg_view_of(out->ptr, out->max);
    CHECK(mg_view_starts(lines, MG_VIEW("x-own: kept\r\nx-amz-date: 20150830T123600Z\r\nauthorization: AWS4-HMAC-SHA256 "
                                        "Credential=AKIDEXAMPLE/20150830/eu-west-1/bedrock/aws4_request, "
                                        "SignedHeaders=content-type;host;x-amz-date, Signature=")));
    CHECK(mg_view_ends(lines, MG_VIEW("\r\n")));
    CHECK(!holds(page, "the/Secret"));
    CHECK(token == NULL);
    mg_locked_give(out);
}

TEST(the_head_is_signed_as_the_sdk_of_aws_signs_it)
{
    mg_view head = MG_VIEW("POST /model/anthropic.claude-v9%3A0/converse HTTP/1.1\r\nHost: bedrock-runtime.eu-central-1.amazonaws.com\r\n"
                           "accept-encoding: identity\r\nContent-Type:  application/json \r\ncontent-length: 15\r\n\r\n");
    struct mg_body body = {.parts = {MG_VIEW("{\"messages\""), MG_VIEW(":[]}")}, .count = 2, .length = 15};
    struct mg_sign call = {"eu-central-1", "bedrock", head, &body, UINT64_C(1440938160000000)};
    struct mg_sealed *token;
    struct mg_locked *out = mg_locked_take();
    (void)mg_seal_key_process();
    CHECK_OK(mg_locked_put(out, MG_VIEW("AKIDEXAMPLE:wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY:AQoDYXdzEPT//////////wEXAMPLE")));
    CHECK_OK(mg_sign_aws(&call, out, 0, &token));
    CHECK(holds(mg_view_of(out->ptr, out->len), "Signature=f37fd99f2a33b420e8e1a223c8601da2c7213cc054e448f06bff11b3f2236320\r\n"));
    mg_locked_give(out);
    mg_sealed_unref(token);
}

TEST(a_session_token_is_signed_sent_and_looked_for_in_the_answer)
{
    struct mg_sealed *token;
    struct mg_locked *out = mg_locked_take();
    CHECK_OK(sign("AKIDEXAMPLE:secretsecret:session/token==", out, &token));
    mg_view lines = mg_view_of(out->ptr, out->len);
    CHECK(holds(lines, "SignedHeaders=content-type;host;x-amz-date;x-amz-security-token, "));
    CHECK(mg_view_ends(lines, MG_VIEW("\r\nx-amz-security-token: session/token==\r\n")));
    CHECK(!holds(mg_view_of(out->ptr, out->max), "secretsecret"));
    mg_locked_give(out);

    char echo[] = "should have been x-amz-security-token:session/token==";
    CHECK(mg_sealed_hide(token, echo, strlen(echo), false));
    CHECK_STR(echo, "should have been x-amz-security-token:***************");
    mg_sealed_unref(token);
}

TEST(a_key_of_another_shape_is_none_of_aws)
{
    static const char *const odd[] = {"", "AKID", "AKID:", ":secret", "AKID:secret:token:more", "AKID:sec ret", "AKID:secret\nx: y"};
    for (size_t i = 0; i < MG_COUNT(odd); i++) {
        struct mg_sealed *token;
        struct mg_locked *out = mg_locked_take();
        CHECK_INT(sign(odd[i], out, &token), MG_E_BAD_REQUEST);
        CHECK(token == NULL);
        mg_locked_give(out);
    }
}

static void check_query(const char *head, const char *wanted)
{
    struct mg_locked *out = mg_locked_take();
    CHECK_OK(mg_locked_put(out, MG_VIEW("a key&more")));
    CHECK_OK(mg_sign_query("key", mg_view_cstr(head), out, 0));
    CHECK(mg_view_eq(mg_view_of(out->ptr, out->len), mg_view_cstr(wanted)));
    CHECK(!holds(mg_view_of(out->ptr, out->max), "a key"));
    mg_locked_give(out);
}

TEST(a_key_in_the_address_is_encoded_and_joins_a_query_that_is_there)
{
    check_query("POST /v1/x HTTP/1.1\r\n\r\n", "?key=a%20key%26more");
    check_query("POST /v1/x?alt=sse HTTP/1.1\r\n\r\n", "&key=a%20key%26more");
    CHECK_INT(mg_sign_target_end(MG_VIEW("POST /v1/x?alt=sse HTTP/1.1\r\n\r\n")), strlen("POST /v1/x?alt=sse"));
}

MG_TEST_MAIN()
