/* The examples of AWS's test suite and documentation, and what AWS's own SDK makes of a call of Bedrock. */
#include "vault/sigv4.h"

#include "base/mem.h"
#include "check.h"
#include "vault/sealed.h"

#define SCOPE "Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, "
#define SUITE "AWS4-HMAC-SHA256 " SCOPE

static struct mg_sigv4_header host = {MG_VIEW("host"), MG_VIEW("example.amazonaws.com")};

static struct mg_sigv4 example(const char *method, const char *target)
{
    (void)mg_seal_key_process();       /* starts the library of crypto */
    return (struct mg_sigv4){
        .access_key = MG_VIEW("AKIDEXAMPLE"), .secret_key = MG_VIEW("wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"),
        .region = MG_VIEW("us-east-1"), .service = MG_VIEW("service"), .method = mg_view_cstr(method),
        .target = mg_view_cstr(target), .headers = &host, .header_count = 1, .now_us = UINT64_C(1440938160000000)};
}

static void check_signed(const struct mg_sigv4 *request, const char *wanted)
{
    struct mg_sigv4_signed out;
    CHECK_OK(mg_sigv4_sign(request, &out));
    CHECK_STR(out.date, "20150830T123600Z");
    CHECK_STR(out.authorization, wanted);
}

TEST(get_vanilla)
{
    struct mg_sigv4 request = example("GET", "/");
    check_signed(&request, SUITE "SignedHeaders=host;x-amz-date, "
                 "Signature=5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31");
}

TEST(post_vanilla)
{
    struct mg_sigv4 request = example("POST", "/");
    check_signed(&request, SUITE "SignedHeaders=host;x-amz-date, "
                 "Signature=5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b");
}

TEST(get_slashes_and_dot_segments_are_one_slash)
{
    struct mg_sigv4 request = example("GET", "//./");
    check_signed(&request, SUITE "SignedHeaders=host;x-amz-date, "
                 "Signature=5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31");
}

TEST(get_unreserved)
{
    struct mg_sigv4 request = example("GET", "/-._~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz");
    check_signed(&request, SUITE "SignedHeaders=host;x-amz-date, "
                 "Signature=07ef7494c76fa4850883e2b006601f940f8a34d404d0cfa977f52a65bbf5f24f");
}

TEST(get_vanilla_query_order_key)
{
    struct mg_sigv4 request = example("GET", "/?Param2=value2&Param1=value1");
    check_signed(&request, SUITE "SignedHeaders=host;x-amz-date, "
                 "Signature=b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500");
}

TEST(get_header_value_trim)
{
    struct mg_sigv4_header headers[] = {
        {MG_VIEW("my-header2"), MG_VIEW(" \"a   b   c\"")}, {MG_VIEW("my-header1"), MG_VIEW(" value1")}, host};
    struct mg_sigv4 request = example("GET", "/");
    request.headers = headers;
    request.header_count = MG_COUNT(headers);
    check_signed(&request, SUITE "SignedHeaders=host;my-header1;my-header2;x-amz-date, "
                 "Signature=acc3ed3afb60bb290fc8d2dd0098b9911fcaa05412b367055dee359757a9c736");
}

TEST(post_of_a_form_in_parts)
{
    struct mg_sigv4_header headers[] = {{MG_VIEW("content-type"), MG_VIEW("application/x-www-form-urlencoded")}, host};
    mg_view body[] = {MG_VIEW("Param1="), MG_VIEW("value1")};
    struct mg_sigv4 request = example("POST", "/");
    request.headers = headers;
    request.header_count = MG_COUNT(headers);
    request.body = body;
    request.body_count = MG_COUNT(body);
    check_signed(&request, SUITE "SignedHeaders=content-type;host;x-amz-date, "
                 "Signature=ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a");
}

TEST(iam_as_the_documentation_has_it)
{
    struct mg_sigv4_header headers[] = {{MG_VIEW("content-type"), MG_VIEW("application/x-www-form-urlencoded; charset=utf-8")},
                                        {MG_VIEW("host"), MG_VIEW("iam.amazonaws.com")}};
    struct mg_sigv4 request = example("GET", "/?Action=ListUsers&Version=2010-05-08");
    request.headers = headers;
    request.header_count = MG_COUNT(headers);
    request.service = MG_VIEW("iam");
    check_signed(&request, "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/iam/aws4_request, "
                 "SignedHeaders=content-type;host;x-amz-date, "
                 "Signature=5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7");
}

TEST(a_model_with_a_colon_is_encoded_once_more_and_a_session_token_is_signed)
{
    struct mg_sigv4_header headers[] = {{MG_VIEW("host"), MG_VIEW("bedrock-runtime.eu-central-1.amazonaws.com")},
                                        {MG_VIEW("content-type"), MG_VIEW("application/json")}};
    mg_view body = MG_VIEW("{\"messages\":[]}");
    struct mg_sigv4 request = example("POST", "/model/anthropic.claude-v9%3A0/converse");
    request.headers = headers;
    request.header_count = MG_COUNT(headers);
    request.body = &body;
    request.body_count = 1;
    request.region = MG_VIEW("eu-central-1");
    request.service = MG_VIEW("bedrock");
    request.session_token = MG_VIEW("AQoDYXdzEPT//////////wEXAMPLE");
    check_signed(&request, "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/eu-central-1/bedrock/aws4_request, "
                 "SignedHeaders=content-type;host;x-amz-date;x-amz-security-token, "
                 "Signature=f37fd99f2a33b420e8e1a223c8601da2c7213cc054e448f06bff11b3f2236320");
}

TEST(more_headers_or_parameters_than_there_is_room_for_are_refused)
{
    struct mg_sigv4_signed out;
    struct mg_sigv4_header many[MG_SIGV4_HEADERS];
    for (size_t i = 0; i < MG_COUNT(many); i++)
        many[i] = host;
    struct mg_sigv4 request = example("GET", "/?a&b&c&d&e&f&g&h&i&j&k&l&m&n&o&p&q");
    CHECK_INT(mg_sigv4_sign(&request, &out), MG_E_TOO_LARGE);
    request = example("GET", "/");
    request.headers = many;
    request.header_count = MG_COUNT(many);
    CHECK_INT(mg_sigv4_sign(&request, &out), MG_E_TOO_LARGE);
}

MG_TEST_MAIN()
