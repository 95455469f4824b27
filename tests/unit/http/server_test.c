#include "http/server.h"

#include "base/limits.h"
#include "base/mem.h"
#include "check.h"

/* What came out of a parser, as text: "POST /path?query a=b {body}" a request. */
struct trace {
    struct mg_buf text;
    mg_err head_says;        /* what on_head returns */
    mg_err body_says;
    mg_err end_says;
    uint64_t limit;          /* for mg_http_server_limit_body() in on_head, 0 for none */
    struct mg_http_server *server;
};

static mg_err trace_head(void *arg, const struct mg_http_request *r)
{
    struct trace *t = arg;
    CHECK_OK(mg_buf_putf(&t->text, "%.*s %.*s", MG_FMT(r->method_text), MG_FMT(r->path)));
    if (r->query.len)
        CHECK_OK(mg_buf_putf(&t->text, "?%.*s", MG_FMT(r->query)));
    for (size_t i = 0; i < r->headers.count; i++)
        CHECK_OK(mg_buf_putf(&t->text, " %.*s=%.*s", MG_FMT(r->headers.items[i].name), MG_FMT(r->headers.items[i].value)));
    CHECK_OK(mg_buf_putf(&t->text, "%s%s {", r->keep_alive ? "" : " close", r->expect_continue ? " expect" : ""));
    if (t->limit)
        mg_http_server_limit_body(t->server, t->limit);
    return t->head_says;
}

static mg_err trace_body(void *arg, mg_view bytes)
{
    struct trace *t = arg;
    CHECK(bytes.len > 0);
    CHECK_OK(mg_buf_put(&t->text, bytes));
    return t->body_says;
}

static mg_err trace_end(void *arg)
{
    struct trace *t = arg;
    CHECK_OK(mg_buf_putc(&t->text, '}'));
    return t->end_says;
}

static const struct mg_http_server_ops ops = {trace_head, trace_body, trace_end};

static mg_err feed_all(struct mg_http_server *s, mg_view in)
{
    while (in.len > 0) {
        size_t used = 0;
        mg_err err = mg_http_server_feed(s, in, &used);
        CHECK(used <= in.len);
        if (err)
            return err;
        CHECK(used > 0);
        in = mg_view_skip(in, used);
        if (mg_http_server_complete(s))
            mg_http_server_next(s);
    }
    return MG_OK;
}

/* The bytes of each piece in memory of their own, so that a sanitizer sees a view kept too long. */
static mg_err feed_copy(struct mg_http_server *s, mg_view piece)
{
    char *copy = mg_strndup(piece.ptr, piece.len);
    mg_err err = feed_all(s, mg_view_of(copy, piece.len));
    mg_free(copy);
    return err;
}

static mg_err parse_at(const struct mg_http_limits *limits, mg_view wire, size_t cut, size_t step, struct trace *t)
{
    mg_buf_init(&t->text, 1 << 20);
    struct mg_http_server *s = t->server = mg_http_server_new(limits, &ops, t);
    mg_err err = feed_copy(s, mg_view_head(wire, cut));
    mg_view rest = mg_view_skip(wire, cut);
    while (!err && rest.len > 0) {
        err = feed_copy(s, mg_view_head(rest, step));
        rest = mg_view_skip(rest, step);
    }
    if (err) {
        size_t used = 1;
        CHECK_INT(mg_http_server_feed(s, MG_VIEW("x"), &used), err);
        CHECK_INT(used, 0);
    }
    mg_http_server_free(s);
    return err;
}

static void expect_at(const struct mg_http_limits *limits, mg_view wire, size_t cut, size_t step, mg_err want,
                      mg_view text)
{
    struct trace t = {0};
    mg_err err = parse_at(limits, wire, cut, step, &t);
    if (err != want || (text.ptr && !mg_view_eq(mg_buf_view(&t.text), text)))
        check_failed(__FILE__, __LINE__, "%.*s\ncut at %zu: %s %.*s\nwant: %s %.*s", MG_FMT(wire), cut, mg_err_name(err),
                     MG_FMT(mg_buf_view(&t.text)), mg_err_name(want), MG_FMT(text));
    mg_buf_fini(&t.text);
}

static void expect_within(const struct mg_http_limits *limits, mg_view wire, mg_err want, mg_view text)
{
    for (size_t cut = 0; cut <= wire.len; cut++)
        expect_at(limits, wire, cut, wire.len + 1, want, text);
    expect_at(limits, wire, 0, 1, want, text);
}

static void expect(const char *wire, size_t len, mg_err want, const char *text)
{
    expect_within(&mg_http_limits_default, mg_view_of(wire, len), want, mg_view_cstr(text));
}

#define EXPECT(wire, text) expect("" wire "", sizeof(wire) - 1, MG_OK, text)
#define REFUSED(wire) expect("" wire "", sizeof(wire) - 1, MG_E_BAD_REQUEST, NULL)

TEST(reads_requests_with_and_without_a_body)
{
    EXPECT("GET / HTTP/1.1\r\nHost: a\r\n\r\n", "GET / Host=a {}");
    EXPECT("GET /a%20b?c=d?e HTTP/1.1\r\nHost: a:80\r\nX:\r\nY: \t z \t\r\n\r\n", "GET /a%20b?c=d?e Host=a:80 X= Y=z {}");
    EXPECT("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello", "POST / Host=a Content-Length=5 {hello}");
    EXPECT("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n", "POST / Host=a Content-Length=0 {}");
    EXPECT("PUT / HTTP/1.1\r\nhost: [::1]:8080\r\n\r\n", "PUT / host=[::1]:8080 {}");
    EXPECT("PURGE /x HTTP/1.1\r\nhost: a\r\n\r\n", "PURGE /x host=a {}");
    EXPECT("OPTIONS * HTTP/1.1\r\nhost: a\r\n\r\n", "OPTIONS * host=a {}");
}

TEST(takes_chunk_framing_off_and_drops_trailers)
{
    EXPECT("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nA;x=y;z=\"q\"\r\n, world!!!\r\n0\r\n\r\n",
           "POST / Host=a Transfer-Encoding=chunked {hello, world!!!}");
    EXPECT("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: Chunked\r\n\r\n1\r\nx\r\n0\r\nDigest: y\r\nHost: b\r\n\r\n",
           "POST / Host=a Transfer-Encoding=Chunked {x}");
}

TEST(answers_pipelined_requests_one_by_one)
{
    EXPECT("GET /1 HTTP/1.1\r\nHost: a\r\n\r\nPOST /2 HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabcGET /3 HTTP/1.1\r\nHost: a\r\n\r\n",
           "GET /1 Host=a {}POST /2 Host=a Content-Length=3 {abc}GET /3 Host=a {}");
    EXPECT("POST /1 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\nGET /2 HTTP/1.1\r\nHost: a\r\n\r\n",
           "POST /1 Host=a Transfer-Encoding=chunked {x}GET /2 Host=a {}");
    EXPECT("\r\nGET /1 HTTP/1.1\r\nHost: a\r\n\r\n\r\nGET /2 HTTP/1.1\r\nHost: a\r\n\r\n", "GET /1 Host=a {}GET /2 Host=a {}");
}

TEST(knows_who_keeps_the_connection_and_who_waits_for_100)
{
    EXPECT("GET / HTTP/1.1\r\nHost: a\r\nConnection: x, Close\r\n\r\n", "GET / Host=a Connection=x, Close close {}");
    EXPECT("GET / HTTP/1.0\r\n\r\n", "GET / close {}");
    EXPECT("GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n", "GET / Connection=Keep-Alive {}");
    EXPECT("POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\nx",
           "POST / Host=a Expect=100-continue Content-Length=1 expect {x}");
    EXPECT("POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n\r\n", "POST / Host=a Expect=100-continue {}");
    EXPECT("POST / HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\nx",
           "POST / Expect=100-continue Content-Length=1 close {x}");
}

TEST(does_not_take_up_an_offer_to_switch_protocols)
{
    EXPECT("GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: x\r\n\r\nGET /2 HTTP/1.1\r\nHost: a\r\n\r\n",
           "GET / Host=a Connection=Upgrade, HTTP2-Settings Upgrade=h2c HTTP2-Settings=x {}GET /2 Host=a {}");
}

TEST(takes_the_path_of_an_absolute_target)
{
    EXPECT("GET http://b.example/x?y HTTP/1.1\r\nHost: a\r\n\r\n", "GET /x?y Host=a {}");
    EXPECT("GET HTTPS://b:1 HTTP/1.1\r\nHost: a\r\n\r\n", "GET / Host=a {}");
    EXPECT("GET http://b?y HTTP/1.1\r\nHost: a\r\n\r\n", "GET /?y Host=a {}");
    REFUSED("GET http:///x HTTP/1.1\r\nHost: a\r\n\r\n");
    REFUSED("GET ftp://a/x HTTP/1.1\r\nHost: a\r\n\r\n");
}

TEST(refuses_framing_that_two_parsers_could_read_in_two_ways)
{
#define POST "POST / HTTP/1.1\r\nHost: a\r\n"
    REFUSED(POST "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n");
    REFUSED(POST "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n");
    REFUSED(POST "Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello");
    REFUSED(POST "Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello!");
    REFUSED(POST "Content-Length: 5, 5\r\n\r\nhello");
    REFUSED(POST "Content-Length: +5\r\n\r\nhello");
    REFUSED(POST "Content-Length: -5\r\n\r\nhello");
    REFUSED(POST "Content-Length: 0x5\r\n\r\nhello");
    REFUSED(POST "Content-Length: 5 5\r\n\r\nhello");
    REFUSED(POST "Content-Length: 5x\r\n\r\nhello");
    REFUSED(POST "Content-Length:\r\n\r\n");
    REFUSED(POST "Content-Length: 18446744073709551616\r\n\r\n");
    REFUSED(POST "Content-Length: 99999999999999999999999\r\n\r\n");
    REFUSED(POST "Transfer-Encoding: identity\r\n\r\n");
    REFUSED(POST "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n");
    REFUSED(POST "Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n");
    REFUSED(POST "Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n");
    REFUSED(POST "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n");
    REFUSED(POST "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n");
    REFUSED(POST "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n");
    REFUSED(POST "Transfer-Encoding: \"chunked\"\r\n\r\n0\r\n\r\n");
    REFUSED(POST "Transfer-Encoding: chunked;q=1\r\n\r\n0\r\n\r\n");
    REFUSED(POST "Transfer-Encoding: \x0b" "chunked\r\n\r\n0\r\n\r\n");
    REFUSED(POST "Transfer-Encoding:\r\n\r\n");
    REFUSED(POST "Transfer-Encoding\r\n: chunked\r\n\r\n0\r\n\r\n");
    REFUSED("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n");
}

TEST(refuses_broken_chunks)
{
#define CHUNKED POST "Transfer-Encoding: chunked\r\n\r\n"
    REFUSED(CHUNKED "x\r\n");
    REFUSED(CHUNKED "\r\n");
    REFUSED(CHUNKED "-1\r\nx\r\n0\r\n\r\n");
    REFUSED(CHUNKED "0x1\r\nx\r\n0\r\n\r\n");
    REFUSED(CHUNKED "1 \r\nx\r\n0\r\n\r\n");
    REFUSED(CHUNKED " 1\r\nx\r\n0\r\n\r\n");
    REFUSED(CHUNKED "1\nx\r\n0\r\n\r\n");
    REFUSED(CHUNKED "1\r\nx\n0\r\n\r\n");
    REFUSED(CHUNKED "1\r\nx0\r\n\r\n");
    REFUSED(CHUNKED "1\r\nxy\r\n0\r\n\r\n");
    REFUSED(CHUNKED "1\rx\r\n0\r\n\r\n");
    REFUSED(CHUNKED "1;a\nx\r\n0\r\n\r\n");
    REFUSED(CHUNKED "1;a\rb\r\nx\r\n0\r\n\r\n");
    REFUSED(CHUNKED "10000000000000000\r\n");
    REFUSED(CHUNKED "0\r\nbad trailer\r\n\r\n");
    REFUSED(CHUNKED "0\r\na: b\n\r\n");
    REFUSED(CHUNKED "0\r\n\n");
}

TEST(refuses_bare_line_ends_folded_lines_and_odd_names)
{
    REFUSED("GET / HTTP/1.1\nHost: a\r\n\r\n");
    REFUSED("GET / HTTP/1.1\rHost: a\r\n\r\n");
    REFUSED("GET / HTTP/1.1\r\nHost: a\nX: y\r\n\r\n");
    REFUSED("GET / HTTP/1.1\r\nHost: a\rX: y\r\n\r\n");
    REFUSED("GET / HTTP/1.1\r\nHost: a\r\nX: y\rz\r\n\r\n");
    REFUSED("GET / HTTP/1.1\r\nHost: a\r\n\n");
    REFUSED("GET / HTTP/1.1\r\nHost: a\r\n\rGET / HTTP/1.1\r\n");
    REFUSED("GET / HTTP/1.1\r\nHost: a\r\nX: y\r\n z\r\n\r\n");
    REFUSED("GET / HTTP/1.1\r\nHost: a\r\nX: y\r\n\tz\r\n\r\n");
    REFUSED("GET / HTTP/1.1\r\nHost: a\r\nX:\r\n z\r\n\r\n");
    REFUSED("GET / HTTP/1.1\r\n X: y\r\nHost: a\r\n\r\n");
    REFUSED("GET / HTTP/1.1\r\nHost : a\r\n\r\n");
    REFUSED("GET / HTTP/1.1\r\nHost\t: a\r\n\r\n");
    REFUSED("GET / HTTP/1.1\r\nHost: a\r\nX y: z\r\n\r\n");
    REFUSED("GET / HTTP/1.1\r\nHost: a\r\n: z\r\n\r\n");
    REFUSED("GET / HTTP/1.1\r\nHost: a\r\nX(: z\r\n\r\n");
    REFUSED("GET / HTTP/1.1\r\nHost: a\r\nX\xc3\xa9: z\r\n\r\n");
    REFUSED("GET / HTTP/1.1\r\nHost: a\r\nX: a\0b\r\n\r\n");
    REFUSED("GET / HTTP/1.1\r\nHost: a\r\nX\0: b\r\n\r\n");
    REFUSED("GET / HTTP/1.1\r\nHost: a\r\nX: a\x01\r\n\r\n");
    REFUSED("GET / HTTP/1.1\r\nHost: a\r\nX: a\x7f\r\n\r\n");
    REFUSED("GET / HTTP/1.1\r\nHost: a\r\nno colon\r\n\r\n");
    REFUSED("\nGET / HTTP/1.1\r\nHost: a\r\n\r\n");
    REFUSED("\rGET / HTTP/1.1\r\nHost: a\r\n\r\n");
    REFUSED("\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n");
    REFUSED("\r\n\nGET / HTTP/1.1\r\nHost: a\r\n\r\n");
}

TEST(refuses_other_versions_methods_and_targets)
{
    REFUSED("GET /\r\n\r\n");
    REFUSED("GET / HTTP/0.9\r\nHost: a\r\n\r\n");
    REFUSED("GET / HTTP/1.2\r\nHost: a\r\n\r\n");
    REFUSED("GET / HTTP/2.0\r\nHost: a\r\n\r\n");
    REFUSED("GET / HTTP/11\r\nHost: a\r\n\r\n");
    REFUSED("GET / http/1.1\r\nHost: a\r\n\r\n");
    REFUSED("GET / RTSP/1.0\r\nHost: a\r\n\r\n");
    REFUSED("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    REFUSED("get / HTTP/1.1\r\nHost: a\r\n\r\n");
    REFUSED("GARBAGE / HTTP/1.1\r\nHost: a\r\n\r\n");
    REFUSED("CONNECT a:443 HTTP/1.1\r\nHost: a\r\n\r\n");
    REFUSED("GET  / HTTP/1.1\r\nHost: a\r\n\r\n");
    REFUSED("GET /  HTTP/1.1\r\nHost: a\r\n\r\n");
    REFUSED("GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n");
    REFUSED("GET /a\tb HTTP/1.1\r\nHost: a\r\n\r\n");
    REFUSED("GET /a b HTTP/1.1\r\nHost: a\r\n\r\n");
    REFUSED("GET a HTTP/1.1\r\nHost: a\r\n\r\n");
    REFUSED("GET * HTTP/1.1\r\nHost: a\r\n\r\n");
    REFUSED("OPTIONS *x HTTP/1.1\r\nHost: a\r\n\r\n");
    REFUSED("GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n");
    REFUSED("GET /\xc3\xa9 HTTP/1.1\r\nHost: a\r\n\r\n");
    REFUSED("GET /a\0b HTTP/1.1\r\nHost: a\r\n\r\n");
    REFUSED("\x16\x03\x01\x02" "\0\x01");
}

TEST(wants_exactly_one_host)
{
    REFUSED("GET / HTTP/1.1\r\n\r\n");
    REFUSED("GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n");
    REFUSED("GET / HTTP/1.0\r\nHost: a\r\nhost: b\r\n\r\n");
    REFUSED("GET / HTTP/1.1\r\nHost: a, b\r\n\r\n");
    REFUSED("GET / HTTP/1.1\r\nHost: a b\r\n\r\n");
    REFUSED("GET / HTTP/1.1\r\nHost: u@a\r\n\r\n");
    REFUSED("GET / HTTP/1.1\r\nHost: a/b\r\n\r\n");
}

TEST(bounds_target_headers_and_trailers)
{
    const struct mg_http_limits limits = {.target_bytes = 6, .header_bytes = 30, .header_count = 3, .body_bytes = 100};
    expect_within(&limits, MG_VIEW("GET /12345 HTTP/1.1\r\nHost: a\r\n\r\n"), MG_OK, MG_VIEW("GET /12345 Host=a {}"));
    expect_within(&limits, MG_VIEW("GET /123456 HTTP/1.1\r\nHost: a\r\n\r\n"), MG_E_HEADERS_TOO_LARGE, MG_VIEW(""));
    expect_within(&limits, MG_VIEW("GET / HTTP/1.1\r\nHost: a\r\na: 12345678901234567\r\n\r\n"), MG_E_HEADERS_TOO_LARGE, MG_VIEW(""));
    expect_within(&limits, MG_VIEW("GET / HTTP/1.1\r\nHost: a\r\na: 1234567890123456\r\n\r\n"), MG_OK,
                  MG_VIEW("GET / Host=a a=1234567890123456 {}"));
    expect_within(&limits, MG_VIEW("GET / HTTP/1.1\r\nHost: a\r\na: b\r\nc: d\r\n\r\n"), MG_OK, MG_VIEW("GET / Host=a a=b c=d {}"));
    expect_within(&limits, MG_VIEW("GET / HTTP/1.1\r\nHost: a\r\na:\r\nb:\r\nc:\r\n\r\n"), MG_E_HEADERS_TOO_LARGE, MG_VIEW(""));

    const struct mg_http_limits chunked = {.target_bytes = 6, .header_bytes = 60, .header_count = 3, .body_bytes = 100};
#define SMALL "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
    expect_within(&chunked, MG_VIEW(SMALL "0\r\na: b\r\n\r\n"), MG_OK, MG_VIEW("POST / Host=a Transfer-Encoding=chunked {}"));
    expect_within(&chunked, MG_VIEW(SMALL "0\r\na: 12345678901234567890\r\n\r\n"), MG_E_HEADERS_TOO_LARGE, MG_VIEW_NONE);
    expect_within(&chunked, MG_VIEW(SMALL "0\r\na:\r\nb:\r\nc:\r\nd:\r\n\r\n"), MG_E_HEADERS_TOO_LARGE, MG_VIEW_NONE);
    expect_within(&chunked, MG_VIEW(SMALL "1;12345678901234567890123456\r\nx\r\n0\r\n\r\n"), MG_E_HEADERS_TOO_LARGE, MG_VIEW_NONE);
}

TEST(keeps_the_projects_own_limits_by_default)
{
    CHECK_INT(mg_http_limits_default.target_bytes, MG_MAX_REQUEST_LINE_BYTES);
    CHECK_INT(mg_http_limits_default.header_bytes, MG_MAX_HEADER_BYTES);
    CHECK_INT(mg_http_limits_default.header_count, MG_MAX_HEADER_COUNT);
    CHECK_INT(mg_http_limits_default.body_bytes, MG_MAX_BODY_BYTES);
}

TEST(reaches_the_largest_head_and_no_further)
{
    struct mg_buf wire;
    for (size_t surplus = 0; surplus < 2; surplus++) {
        mg_buf_init(&wire, 1 << 20);
        CHECK_OK(mg_buf_put(&wire, MG_VIEW("GET / HTTP/1.1\r\nHost: a\r\nx: ")));
        for (size_t i = 0; i < MG_MAX_HEADER_BYTES - 9 - 5 + surplus; i++)
            CHECK_OK(mg_buf_putc(&wire, 'y'));
        CHECK_OK(mg_buf_put(&wire, MG_VIEW("\r\n\r\n")));
        expect_at(&mg_http_limits_default, mg_buf_view(&wire), 0, 1000, surplus ? MG_E_HEADERS_TOO_LARGE : MG_OK, MG_VIEW_NONE);
        mg_buf_fini(&wire);
    }
}

TEST(refuses_a_body_above_the_limit_before_the_head_is_shown)
{
    const struct mg_http_limits limits = {.target_bytes = 99, .header_bytes = 999, .header_count = 9, .body_bytes = 4};
    expect_within(&limits, MG_VIEW(POST "Content-Length: 4\r\n\r\n1234"), MG_OK, MG_VIEW("POST / Host=a Content-Length=4 {1234}"));
    expect_within(&limits, MG_VIEW(POST "Content-Length: 5\r\n\r\n12345"), MG_E_TOO_LARGE, MG_VIEW(""));
    expect_within(&limits, MG_VIEW(CHUNKED "2\r\n12\r\n2\r\n34\r\n0\r\n\r\n"), MG_OK,
                  MG_VIEW("POST / Host=a Transfer-Encoding=chunked {1234}"));
    expect_within(&limits, MG_VIEW(CHUNKED "2\r\n12\r\n3\r\n345\r\n0\r\n\r\n"), MG_E_TOO_LARGE,
                  MG_VIEW("POST / Host=a Transfer-Encoding=chunked {12"));
}

TEST(lets_the_head_callback_choose_another_body_limit)
{
    struct trace t = {.limit = 3};
    CHECK_INT(parse_at(&mg_http_limits_default, MG_VIEW(POST "Content-Length: 4\r\n\r\n1234"), 0, 99, &t), MG_E_TOO_LARGE);
    CHECK_VIEW(mg_buf_view(&t.text), MG_VIEW("POST / Host=a Content-Length=4 {"));
    mg_buf_fini(&t.text);
    CHECK_INT(parse_at(&mg_http_limits_default, MG_VIEW(CHUNKED "4\r\n1234\r\n0\r\n\r\n"), 0, 99, &t), MG_E_TOO_LARGE);
    mg_buf_fini(&t.text);
    CHECK_INT(parse_at(&mg_http_limits_default, MG_VIEW(POST "Content-Length: 3\r\n\r\n123"), 0, 99, &t), MG_OK);
    mg_buf_fini(&t.text);
}

TEST(hands_back_what_a_callback_returned_and_stops)
{
    struct trace t[] = {{.head_says = MG_E_BUSY}, {.body_says = MG_E_BUSY}, {.end_says = MG_E_BUSY}};
    const char *const want[] = {"POST / Host=a Content-Length=2 {", "POST / Host=a Content-Length=2 {x", "POST / Host=a Content-Length=2 {xy}"};
    for (size_t i = 0; i < MG_COUNT(t); i++) {
        CHECK_INT(parse_at(&mg_http_limits_default, MG_VIEW(POST "Content-Length: 2\r\n\r\nxy"), 0, 1, &t[i]), MG_E_BUSY);
        CHECK_VIEW(mg_buf_view(&t[i].text), mg_view_cstr(want[i]));
        mg_buf_fini(&t[i].text);
    }
}

TEST(says_why_a_request_was_refused)
{
    static const struct {
        const char *wire, *want;
    } rows[] = {
        {"GET / HTTP/1.1\r\n\r\n", "there is no Host"},
        {"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n", "the only Transfer-Encoding spoken here is chunked"},
        {"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "HTTP/2 is not spoken here"},
        {"CONNECT a:443 HTTP/1.1\r\nHost: a\r\n\r\n", "CONNECT is not offered here"},
    };
    for (size_t i = 0; i < MG_COUNT(rows); i++) {
        struct trace t = {0};
        size_t used;
        mg_buf_init(&t.text, 1000);
        struct mg_http_server *s = mg_http_server_new(&mg_http_limits_default, &ops, &t);
        CHECK_STR(mg_http_server_reason(s), "");
        CHECK_INT(mg_http_server_feed(s, mg_view_cstr(rows[i].wire), &used), MG_E_BAD_REQUEST);
        CHECK_STR(mg_http_server_reason(s), rows[i].want);
        mg_http_server_free(s);
        mg_buf_fini(&t.text);
    }
}

TEST(tells_idle_head_and_complete_apart)
{
    struct trace t = {0};
    size_t used;
    mg_buf_init(&t.text, 1000);
    struct mg_http_server *s = mg_http_server_new(&mg_http_limits_default, &ops, &t);

    CHECK(mg_http_server_idle(s) && !mg_http_server_has_head(s) && !mg_http_server_complete(s));
    CHECK_OK(mg_http_server_feed(s, MG_VIEW("\r\n"), &used));
    CHECK(mg_http_server_idle(s));
    CHECK_OK(mg_http_server_feed(s, MG_VIEW("POST / HT"), &used));
    CHECK(!mg_http_server_idle(s) && !mg_http_server_has_head(s));
    CHECK_OK(mg_http_server_feed(s, MG_VIEW("TP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\n"), &used));
    CHECK(mg_http_server_has_head(s) && !mg_http_server_complete(s));
    CHECK_OK(mg_http_server_feed(s, MG_VIEW("xGET"), &used));
    CHECK_INT(used, 1);
    CHECK(mg_http_server_complete(s));
    CHECK_OK(mg_http_server_feed(s, MG_VIEW("GET"), &used));
    CHECK_INT(used, 0);
    mg_http_server_next(s);
    CHECK(mg_http_server_idle(s));
    mg_http_server_free(s);
    mg_buf_fini(&t.text);
}

TEST(leaves_the_head_readable_until_next)
{
    static const struct mg_http_request *seen;
    struct trace t = {0};
    size_t used;
    mg_buf_init(&t.text, 1000);
    struct mg_http_server *s = mg_http_server_new(&mg_http_limits_default, &ops, &t);
    char *wire = mg_strdup("POST /p?q HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\n");
    CHECK_OK(mg_http_server_feed(s, mg_view_cstr(wire), &used));
    memset(wire, 'x', strlen(wire));
    mg_free(wire);
    CHECK_OK(mg_http_server_feed(s, MG_VIEW("z"), &used));

    CHECK(mg_http_server_complete(s));
    seen = mg_http_server_request(s);
    CHECK_VIEW(seen->path, MG_VIEW("/p"));
    CHECK_VIEW(seen->query, MG_VIEW("q"));
    CHECK_INT(seen->method, MG_HTTP_POST);
    CHECK_VIEW(mg_headers_get(seen->headers, MG_VIEW("host")), MG_VIEW("a"));
    mg_http_server_free(s);
    mg_buf_fini(&t.text);
}

/* Lines of a parser are written on without another look: it must not let through what a writer would refuse. */
static mg_err check_lines(void *arg, const struct mg_http_request *r)
{
    struct mg_buf *lines = arg;
    mg_buf_clear(lines);
    for (size_t i = 0; i < r->headers.count; i++) {
        const struct mg_header *header = &r->headers.items[i];
        struct mg_buf checked;
        mg_buf_init(&checked, 1000);
        CHECK_OK(mg_http_put_header(&checked, header->name, header->value));
        CHECK(header->value.len == 0 || mg_view_trim(header->value).len == header->value.len);
        size_t before = lines->len;
        CHECK_OK(mg_http_put_line(lines, header));
        CHECK_VIEW(mg_view_skip(mg_buf_view(lines), before), mg_buf_view(&checked));
        mg_buf_fini(&checked);
    }
    return MG_OK;
}

static mg_err ignore_end(void *arg)
{
    (void)arg;
    return MG_OK;
}

static const struct mg_http_server_ops line_ops = {check_lines, NULL, ignore_end};

/* The lines of a request that is cut in two, or an error. */
static mg_err lines_of(mg_view wire, size_t cut, struct mg_buf *lines)
{
    size_t used;
    struct mg_http_server *s = mg_http_server_new(&mg_http_limits_default, &line_ops, lines);
    mg_err err = mg_http_server_feed(s, mg_view_head(wire, cut), &used);
    if (!err)
        err = mg_http_server_feed(s, mg_view_skip(wire, cut), &used);
    mg_http_server_free(s);
    return err;
}

TEST(lets_no_byte_through_that_a_writer_of_lines_would_refuse)
{
    struct mg_buf lines;
    mg_buf_init(&lines, 1000);
    int passed = 0;
    for (int place = 0; place < 6; place++)
        for (int byte = 0; byte < 256; byte++) {
            char wire[] = "GET / HTTP/1.1\r\nHost: a\r\nxyz: uvw\r\n\r\n";
            static const int at[] = {25, 26, 27, 30, 31, 32};
            wire[at[place]] = (char)byte;
            passed += lines_of(mg_view_of(wire, sizeof wire - 1), sizeof wire - 1, &lines) == MG_OK;
        }
    CHECK(passed > 6 * 64);
    mg_buf_fini(&lines);
}

TEST(keeps_lines_as_they_came_without_blanks_around_the_value)
{
    const mg_view wire = MG_VIEW("GET / HTTP/1.1\r\nHost: a\r\nX-One:  \t b c \t \r\nX-Two:\r\nX-Three:   \r\nx:y\r\n\r\n");
    for (size_t cut = 0; cut <= wire.len; cut++) {
        struct mg_buf lines;
        mg_buf_init(&lines, 1000);
        CHECK_OK(lines_of(wire, cut, &lines));
        CHECK_VIEW(mg_buf_view(&lines), MG_VIEW("Host: a\r\nX-One: b c\r\nX-Two: \r\nX-Three: \r\nx: y\r\n"));
        mg_buf_fini(&lines);
    }
}

MG_TEST_MAIN()
