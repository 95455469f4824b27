#include "http/headers.h"

#include "base/mem.h"
#include "check.h"

static const struct mg_header items[] = {
    {MG_VIEW("Host"), MG_VIEW("a")},
    {MG_VIEW("Connection"), MG_VIEW("keep-alive ,X-Trace,")},
    {MG_VIEW("accept"), MG_VIEW("one")},
    {MG_VIEW("ACCEPT"), MG_VIEW("two")},
    {MG_VIEW("connection"), MG_VIEW("Close")},
    {MG_VIEW("x-empty"), MG_VIEW("")},
};
static const struct mg_headers headers = {items, MG_COUNT(items)};

TEST(finds_the_first_field_of_a_name_in_any_case)
{
    CHECK_VIEW(mg_headers_get(headers, MG_VIEW("Accept")), MG_VIEW("one"));
    CHECK_INT(mg_headers_count(headers, MG_VIEW("accept")), 2);
    CHECK(mg_headers_find(headers, MG_VIEW("accep")) == NULL);
    CHECK(mg_headers_find(headers, MG_VIEW("x-empty")) != NULL);
    CHECK_INT(mg_headers_get(headers, MG_VIEW("absent")).len, 0);
    CHECK(mg_headers_find((struct mg_headers){NULL, 0}, MG_VIEW("host")) == NULL);
}

TEST(looks_for_tokens_in_every_field_and_every_part_of_its_list)
{
    CHECK(mg_headers_has_token(headers, MG_VIEW("connection"), MG_VIEW("x-trace")));
    CHECK(mg_headers_has_token(headers, MG_VIEW("connection"), MG_VIEW("keep-alive")));
    CHECK(mg_headers_has_token(headers, MG_VIEW("connection"), MG_VIEW("close")));
    CHECK(!mg_headers_has_token(headers, MG_VIEW("connection"), MG_VIEW("trace")));
    CHECK(!mg_headers_has_token(headers, MG_VIEW("x-empty"), MG_VIEW("close")));
}

TEST(knows_hop_by_hop_fields_and_those_connection_names)
{
    CHECK(mg_header_is_hop_by_hop(headers, MG_VIEW("Transfer-Encoding")));
    CHECK(mg_header_is_hop_by_hop(headers, MG_VIEW("te")));
    CHECK(mg_header_is_hop_by_hop(headers, MG_VIEW("Upgrade")));
    CHECK(mg_header_is_hop_by_hop(headers, MG_VIEW("X-Trace")));
    CHECK(!mg_header_is_hop_by_hop(headers, MG_VIEW("Content-Type")));
    CHECK(!mg_header_is_hop_by_hop(headers, MG_VIEW("t")));
}

TEST(keeps_credentials_and_traces_of_the_client_from_going_upstream)
{
    static const char *const denied[] = {
        "Authorization", "X-API-Key", "api-key",      "x-goog-api-key",      "Cookie",
        "Origin",        "Referer",   "Forwarded",    "X-Forwarded-For",     "X-Real-IP",
        "Via",           "Host",      "Expect",       "Accept-Encoding",     "Content-Length",
        "Sec-Fetch-Mode", "sec-ch-ua", "X-Moongate-Session", "Proxy-Authorization",
        "OpenAI-Organization"};
    static const char *const passed[] = {
        "Content-Type", "Accept", "User-Agent", "X-Stainless-Lang", "anthropic-version", "traceparent",
        "X-Client-Request-Id", "secret", "x-forwarde", "viaduct", "authorizatio", "x"};
    for (size_t i = 0; i < MG_COUNT(denied); i++)
        if (!mg_header_is_denied_upstream(mg_view_cstr(denied[i])))
            check_failed(__FILE__, __LINE__, "%s goes upstream", denied[i]);
    for (size_t i = 0; i < MG_COUNT(passed); i++)
        if (mg_header_is_denied_upstream(mg_view_cstr(passed[i])))
            check_failed(__FILE__, __LINE__, "%s is held back", passed[i]);
}

TEST(keeps_what_speaks_of_the_upstreams_origin_from_reaching_a_client)
{
    CHECK(mg_header_is_denied_downstream(MG_VIEW("Set-Cookie")));
    CHECK(mg_header_is_denied_downstream(MG_VIEW("Strict-Transport-Security")));
    CHECK(mg_header_is_denied_downstream(MG_VIEW("alt-svc")));
    CHECK(mg_header_is_denied_downstream(MG_VIEW("Access-Control-Allow-Origin")));
    CHECK(mg_header_is_denied_downstream(MG_VIEW("x-moongate-provider")));
    CHECK(!mg_header_is_denied_downstream(MG_VIEW("Content-Type")));
    CHECK(!mg_header_is_denied_downstream(MG_VIEW("x-ratelimit-remaining-requests")));
    CHECK(!mg_header_is_denied_downstream(MG_VIEW("Retry-After")));
}

TEST(classifies_a_list_as_single_names_are)
{
    struct mg_header list[] = {
        {MG_VIEW("Connection"), MG_VIEW("keep-alive, X-Trace")}, {MG_VIEW("X-TRACE"), MG_VIEW("1")},
        {MG_VIEW("Via"), MG_VIEW("a")},                          {MG_VIEW("Content-Length"), MG_VIEW("1")},
        {MG_VIEW("X-Moongate-Session"), MG_VIEW("s")},           {MG_VIEW("X-Forwarded-For"), MG_VIEW("s")},
        {MG_VIEW("x"), MG_VIEW("s"), MG_HEADER_LINE},
    };
    mg_headers_classify(list, MG_COUNT(list));

    CHECK_INT(list[0].traits, MG_HEADER_HOP | MG_HEADER_CONNECTION);
    CHECK_INT(list[1].traits, MG_HEADER_HOP);
    CHECK_INT(list[2].traits, MG_HEADER_NOT_UPSTREAM | MG_HEADER_NOT_DOWNSTREAM);
    CHECK_INT(list[3].traits, MG_HEADER_NOT_UPSTREAM | MG_HEADER_NOT_DOWNSTREAM);
    CHECK_INT(list[4].traits, MG_HEADER_NOT_UPSTREAM | MG_HEADER_NOT_DOWNSTREAM);
    CHECK_INT(list[5].traits, MG_HEADER_NOT_UPSTREAM);
    CHECK_INT(list[6].traits, MG_HEADER_LINE);
}

#define IS_DENIED(text) CHECK(mg_header_traits(MG_VIEW(text)) & MG_HEADER_NOT_UPSTREAM);
#define IS_FAMILY(text) CHECK(mg_header_traits(MG_VIEW(text "any")) & MG_HEADER_NOT_UPSTREAM);
#define IS_KEPT(text) CHECK(mg_header_traits(MG_VIEW(text)) & MG_HEADER_NOT_DOWNSTREAM);
#define IS_KEPT_FAMILY(text) CHECK(mg_header_traits(MG_VIEW(text "any")) & MG_HEADER_NOT_DOWNSTREAM);

TEST(knows_every_name_of_its_tables)
{
    MG_DENIED_UPSTREAM_LIST(IS_DENIED)
    MG_DENIED_UPSTREAM_PREFIX_LIST(IS_FAMILY)
    MG_DENIED_DOWNSTREAM_LIST(IS_KEPT)
    MG_DENIED_DOWNSTREAM_PREFIX_LIST(IS_KEPT_FAMILY)
}

TEST(writes_a_head)
{
    struct mg_buf buf;
    mg_buf_init(&buf, 1000);

    CHECK_OK(mg_http_put_request_line(&buf, MG_VIEW("POST"), MG_VIEW("/v1/x?y=%20")));
    CHECK_OK(mg_http_put_header(&buf, MG_VIEW("host"), MG_VIEW("a:1")));
    CHECK_OK(mg_http_put_header_u64(&buf, MG_VIEW("content-length"), UINT64_MAX));
    CHECK_OK(mg_http_put_header_u64(&buf, MG_VIEW("age"), 0));
    CHECK_OK(mg_http_put_header(&buf, MG_VIEW("empty"), MG_VIEW_NONE));
    CHECK_OK(mg_http_put_end(&buf));
    CHECK_OK(mg_http_put_status_line(&buf, 200));
    CHECK_OK(mg_http_put_status_line(&buf, 298));

    CHECK_VIEW(mg_buf_view(&buf), MG_VIEW("POST /v1/x?y=%20 HTTP/1.1\r\nhost: a:1\r\n"
                                          "content-length: 18446744073709551615\r\nage: 0\r\nempty: \r\n\r\n"
                                          "HTTP/1.1 200 OK\r\nHTTP/1.1 298 \r\n"));
    mg_buf_fini(&buf);
}

TEST(refuses_to_write_what_could_end_a_line_early)
{
    struct mg_buf buf;
    mg_buf_init(&buf, 1000);
    const mg_view name = MG_VIEW("x"), value = MG_VIEW("y");

    CHECK_INT(mg_http_put_header(&buf, name, MG_VIEW("a\r\nb: c")), MG_E_BAD_REQUEST);
    CHECK_INT(mg_http_put_header(&buf, name, MG_VIEW("a\nb")), MG_E_BAD_REQUEST);
    CHECK_INT(mg_http_put_header(&buf, name, MG_VIEW("a\0b")), MG_E_BAD_REQUEST);
    CHECK_INT(mg_http_put_header(&buf, name, MG_VIEW("a\x7f")), MG_E_BAD_REQUEST);
    CHECK_INT(mg_http_put_header(&buf, MG_VIEW("a b"), value), MG_E_BAD_REQUEST);
    CHECK_INT(mg_http_put_header(&buf, MG_VIEW("a:"), value), MG_E_BAD_REQUEST);
    CHECK_INT(mg_http_put_header(&buf, MG_VIEW("a\r\n"), value), MG_E_BAD_REQUEST);
    CHECK_INT(mg_http_put_header(&buf, MG_VIEW_NONE, value), MG_E_BAD_REQUEST);
    CHECK_INT(mg_http_put_request_line(&buf, MG_VIEW("GE T"), MG_VIEW("/")), MG_E_BAD_REQUEST);
    CHECK_INT(mg_http_put_request_line(&buf, MG_VIEW("GET"), MG_VIEW("/ HTTP/1.1")), MG_E_BAD_REQUEST);
    CHECK_INT(mg_http_put_request_line(&buf, MG_VIEW("GET"), MG_VIEW("/\r\n")), MG_E_BAD_REQUEST);
    CHECK_INT(mg_http_put_request_line(&buf, MG_VIEW("GET"), MG_VIEW_NONE), MG_E_BAD_REQUEST);
    CHECK_INT(mg_http_put_status_line(&buf, 99), MG_E_BAD_REQUEST);
    CHECK_INT(mg_http_put_status_line(&buf, 1000), MG_E_BAD_REQUEST);
    CHECK_INT(buf.len, 0);

    CHECK_OK(mg_http_put_header(&buf, name, MG_VIEW("tab\tand \xc3\xa9 pass")));
    mg_buf_fini(&buf);
}

TEST(stops_at_the_buffers_maximum)
{
    struct mg_buf buf;
    mg_buf_init(&buf, 8);
    CHECK_INT(mg_http_put_header(&buf, MG_VIEW("abc"), MG_VIEW("de")), MG_E_TOO_LARGE);
    CHECK_INT(buf.len, 0);
    CHECK_OK(mg_http_put_header(&buf, MG_VIEW("abc"), MG_VIEW("d")));
    mg_buf_fini(&buf);
}

TEST(frames_chunks_in_hexadecimal)
{
    static const struct {
        size_t len;
        mg_view want;
    } rows[] = {{1, MG_VIEW("1\r\n")},        {15, MG_VIEW("f\r\n")},         {16, MG_VIEW("10\r\n")},
                {255, MG_VIEW("ff\r\n")},     {65536, MG_VIEW("10000\r\n")},  {4096, MG_VIEW("1000\r\n")},
                {SIZE_MAX, MG_VIEW("ffffffffffffffff\r\n")}};
    for (size_t i = 0; i < MG_COUNT(rows); i++) {
        char out[MG_HTTP_CHUNK_HEAD];
        CHECK_VIEW(mg_view_of(out, mg_http_chunk_head(out, rows[i].len)), rows[i].want);
    }
}

MG_TEST_MAIN()
