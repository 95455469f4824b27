#include "http/client.h"

#include "base/mem.h"
#include "check.h"

/* What came out of a parser, as text: "200 a=b {body}" an answer. */
struct trace {
    struct mg_buf text;
    struct mg_http_client *client;
    mg_err head_says;
    mg_err body_says;
    mg_err end_says;
    bool kept;               /* what keep_alive said inside on_end */
};

static mg_err trace_head(void *arg, const struct mg_http_response *r)
{
    struct trace *t = arg;
    CHECK_OK(mg_buf_putf(&t->text, "%d", r->status));
    for (size_t i = 0; i < r->headers.count; i++)
        CHECK_OK(mg_buf_putf(&t->text, " %.*s=%.*s", MG_FMT(r->headers.items[i].name), MG_FMT(r->headers.items[i].value)));
    CHECK_OK(mg_buf_putf(&t->text, "%s%s {", r->until_eof ? " until-eof" : "", r->no_body ? " no-body" : ""));
    CHECK(!mg_http_client_complete(t->client));
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
    CHECK(mg_http_client_complete(t->client));
    t->kept = mg_http_client_keep_alive(t->client);
    CHECK_OK(mg_buf_putc(&t->text, '}'));
    return t->end_says;
}

static const struct mg_http_client_ops ops = {trace_head, trace_body, trace_end};
static const struct mg_http_limits limits = {.header_bytes = 999, .header_count = 9, .body_bytes = UINT64_MAX};

/* The bytes of each piece in memory of their own, so that a sanitizer sees a view kept too long. */
static mg_err feed_copy(struct mg_http_client *c, mg_view piece)
{
    size_t used = 0;
    char *copy = mg_strndup(piece.ptr, piece.len);
    mg_err err = mg_http_client_feed(c, mg_view_of(copy, piece.len), &used);
    CHECK(err || used == piece.len);
    mg_free(copy);
    return err;
}

enum { EOF_COMES = 1, TO_HEAD = 2 };

static mg_err parse_at(const struct mg_http_limits *within, mg_view wire, int flags, size_t cut, size_t step, struct trace *t)
{
    mg_buf_init(&t->text, 1 << 20);
    struct mg_http_client *c = t->client = mg_http_client_new(within, &ops, t);
    mg_http_client_begin(c, flags & TO_HEAD);
    mg_err err = feed_copy(c, mg_view_head(wire, cut));
    mg_view rest = mg_view_skip(wire, cut);
    while (!err && rest.len > 0) {
        err = feed_copy(c, mg_view_head(rest, step));
        rest = mg_view_skip(rest, step);
    }
    if (!err && flags & EOF_COMES)
        err = mg_http_client_eof(c);
    if (err) {
        size_t used;
        CHECK_INT(mg_http_client_feed(c, MG_VIEW("x"), &used), err);
        CHECK(!mg_http_client_keep_alive(c));
        CHECK(err != MG_E_PROTOCOL || mg_http_client_reason(c)[0]);
    }
    mg_http_client_free(c);
    return err;
}

static void expect_at(const struct mg_http_limits *within, mg_view wire, int flags, size_t cut, size_t step, mg_err want,
                      mg_view text)
{
    struct trace t = {0};
    mg_err err = parse_at(within, wire, flags, cut, step, &t);
    if (err != want || (text.ptr && !mg_view_eq(mg_buf_view(&t.text), text)))
        check_failed(__FILE__, __LINE__, "%.*s\ncut at %zu: %s %.*s\nwant: %s %.*s", MG_FMT(wire), cut, mg_err_name(err),
                     MG_FMT(mg_buf_view(&t.text)), mg_err_name(want), MG_FMT(text));
    mg_buf_fini(&t.text);
}

static void expect_within(const struct mg_http_limits *within, mg_view wire, int flags, mg_err want, mg_view text)
{
    for (size_t cut = 0; cut <= wire.len; cut++)
        expect_at(within, wire, flags, cut, wire.len + 1, want, text);
    expect_at(within, wire, flags, 0, 1, want, text);
}

#define EXPECT(wire, flags, text) expect_within(&limits, MG_VIEW(wire), flags, MG_OK, MG_VIEW(text))
#define VIOLATES(wire) expect_within(&limits, MG_VIEW(wire), EOF_COMES, MG_E_PROTOCOL, MG_VIEW_NONE)

TEST(reads_answers_with_a_length_and_chunked)
{
    EXPECT("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", 0, "200 Content-Length=5 {hello}");
    EXPECT("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", EOF_COMES, "200 Content-Length=5 {hello}");
    EXPECT("HTTP/1.1 200\r\nContent-Length: 0\r\nX: \r\n\r\n", 0, "200 Content-Length=0 X= {}");
    EXPECT("HTTP/1.1 529 \r\nContent-Length: 0\r\n\r\n", 0, "529 Content-Length=0 {}");
    EXPECT("HTTP/1.1 429 Too Many\xc3\xa9\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n1;x=y\r\n!\r\n0\r\nA: b\r\n\r\n", 0,
           "429 Transfer-Encoding=chunked {hello!}");
}

TEST(reads_until_the_connection_ends_when_nothing_frames_the_body)
{
    EXPECT("HTTP/1.1 200 OK\r\n\r\nhello", EOF_COMES, "200 until-eof {hello}");
    EXPECT("HTTP/1.0 200 OK\r\n\r\n", EOF_COMES, "200 until-eof {}");
    EXPECT("HTTP/1.1 200 OK\r\n\r\nhello", 0, "200 until-eof {hello");
}

TEST(expects_no_body_to_head_and_of_204_and_304)
{
    EXPECT("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", TO_HEAD, "200 Content-Length=5 no-body {}");
    EXPECT("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", TO_HEAD, "200 Transfer-Encoding=chunked no-body {}");
    EXPECT("HTTP/1.1 200 OK\r\n\r\n", TO_HEAD, "200 no-body {}");
    EXPECT("HTTP/1.1 204 No Content\r\n\r\n", 0, "204 no-body {}");
    EXPECT("HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", 0, "304 Content-Length=5 no-body {}");
}

TEST(skips_interim_answers_but_not_for_ever)
{
    EXPECT("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx", 0,
           "200 Content-Length=1 {x}");
    EXPECT("HTTP/1.1 100 Continue\r\nConnection: close\r\n\r\nHTTP/1.1 204 x\r\n\r\n", 0, "204 no-body {}");
#define CONTINUE "HTTP/1.1 100 Continue\r\n\r\n"
    EXPECT(CONTINUE CONTINUE CONTINUE CONTINUE CONTINUE CONTINUE CONTINUE CONTINUE "HTTP/1.1 204 x\r\n\r\n", 0, "204 no-body {}");
    VIOLATES(CONTINUE CONTINUE CONTINUE CONTINUE CONTINUE CONTINUE CONTINUE CONTINUE CONTINUE "HTTP/1.1 204 x\r\n\r\n");
    VIOLATES("HTTP/1.1 100 Continue\r\nContent-Length: 1\r\n\r\nxHTTP/1.1 204 x\r\n\r\n");
    VIOLATES("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n");
    VIOLATES("HTTP/1.1 100 Continue\r\n\r\n");
}

TEST(tells_a_closed_connection_from_a_truncated_answer)
{
    expect_within(&limits, MG_VIEW(""), EOF_COMES, MG_E_CLOSED, MG_VIEW(""));
    VIOLATES("H");
    VIOLATES("HTTP/1.1 200 OK\r\n");
    VIOLATES("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhell");
    VIOLATES("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n");
    VIOLATES("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n");
}

TEST(blames_the_upstream_for_everything_it_does_wrong)
{
    VIOLATES("HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n");
    VIOLATES("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n0\r\n\r\n");
    VIOLATES("HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\nx");
    VIOLATES("HTTP/1.1 200 OK\r\nContent-Length: 1, 1\r\n\r\nx");
    VIOLATES("HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\nx");
    VIOLATES("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n");
    VIOLATES("HTTP/1.1 200 OK\r\nTransfer-Encoding: identity\r\n\r\n");
    VIOLATES("HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n");
    VIOLATES("HTTP/2.0 200 OK\r\n\r\n");
    VIOLATES("HTTP/0.9 200 OK\r\n\r\n");
    VIOLATES("HTTP/1.1 020 OK\r\n\r\n");
    VIOLATES("HTTP/1.1 20 OK\r\n\r\n");
    VIOLATES("HTTP/1.1 2000 OK\r\n\r\n");
    VIOLATES("HTTP/1.1 200 OK\nContent-Length: 0\r\n\r\n");
    VIOLATES("HTTP/1.1 200 OK\r\nContent-Length: 0\n\r\n");
    VIOLATES("HTTP/1.1 200 OK\r\nX: a\r\n b\r\nContent-Length: 0\r\n\r\n");
    VIOLATES("HTTP/1.1 200 OK\r\nX : a\r\nContent-Length: 0\r\n\r\n");
    VIOLATES("HTTP/1.1 200 OK\r\nX: a\0\r\nContent-Length: 0\r\n\r\n");
    VIOLATES("\r\nHTTP/1.1 204 OK\r\n\r\n");
    VIOLATES("RTSP/1.0 204 OK\r\n\r\n");
    VIOLATES("SSH-2.0-OpenSSH\r\n");
    VIOLATES("<html>");
}

TEST(bounds_header_lines_and_body)
{
    const struct mg_http_limits small = {.header_bytes = 21, .header_count = 2, .body_bytes = 4};
    expect_within(&small, MG_VIEW("HTTP/1.1 204 a\r\na: 123456789012\r\n\r\n"), 0, MG_OK, MG_VIEW("204 a=123456789012 no-body {}"));
    expect_within(&small, MG_VIEW("HTTP/1.1 204 a\r\na: 12345678901234567\r\n\r\n"), 0, MG_E_PROTOCOL, MG_VIEW(""));
    expect_within(&small, MG_VIEW("HTTP/1.1 204 a\r\na:\r\nb:\r\nc:\r\n\r\n"), 0, MG_E_PROTOCOL, MG_VIEW(""));
    expect_within(&small, MG_VIEW("HTTP/1.1 200 a\r\n\r\n1234"), EOF_COMES, MG_OK, MG_VIEW("200 until-eof {1234}"));
    expect_within(&small, MG_VIEW("HTTP/1.1 200 a\r\n\r\n12345"), EOF_COMES, MG_E_PROTOCOL, MG_VIEW_NONE);
}

TEST(bounds_an_endless_reason_phrase)
{
    struct mg_buf wire;
    mg_buf_init(&wire, 10000);
    CHECK_OK(mg_buf_put(&wire, MG_VIEW("HTTP/1.1 200 ")));
    for (int i = 0; i < 2000; i++)
        CHECK_OK(mg_buf_putc(&wire, 'x'));
    expect_at(&limits, mg_buf_view(&wire), 0, 0, 100, MG_E_PROTOCOL, MG_VIEW(""));
    mg_buf_fini(&wire);
}

TEST(reuses_a_connection_only_after_a_clean_end)
{
    static const struct {
        const char *wire;
        int flags;
        mg_err err;
        bool kept;
    } rows[] = {
        {"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx", 0, MG_OK, true},
        {"HTTP/1.1 204 OK\r\n\r\n", 0, MG_OK, true},
        {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 0, MG_OK, true},
        {"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nConnection: close\r\n\r\nx", 0, MG_OK, false},
        {"HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\nx", 0, MG_OK, false},
        {"HTTP/1.0 200 OK\r\nContent-Length: 1\r\nConnection: keep-alive\r\n\r\nx", 0, MG_OK, true},
        {"HTTP/1.1 200 OK\r\n\r\nx", EOF_COMES, MG_OK, false},
        {"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nxy", 0, MG_E_PROTOCOL, false},
        {"HTTP/1.1 204 OK\r\n\r\nx", 0, MG_E_PROTOCOL, false},
        {"HTTP/1.1 204 OK\r\n\r\nHTTP/1.1 204 OK\r\n\r\n", 0, MG_E_PROTOCOL, false},
        {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n\r\n", 0, MG_E_PROTOCOL, false},
    };
    for (size_t i = 0; i < MG_COUNT(rows); i++) {
        struct trace t = {0};
        mg_view wire = mg_view_cstr(rows[i].wire);
        CHECK_INT(parse_at(&limits, wire, rows[i].flags, wire.len, 1, &t), rows[i].err);
        CHECK_INT(t.kept, rows[i].kept);
        CHECK(mg_view_ends(mg_buf_view(&t.text), MG_VIEW("}")));
        mg_buf_fini(&t.text);
    }
}

TEST(counts_bytes_behind_the_end_as_a_violation_at_every_cut)
{
    expect_within(&limits, MG_VIEW("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nxy"), 0, MG_E_PROTOCOL, MG_VIEW("200 Content-Length=1 {x}"));
}

TEST(reads_one_answer_after_the_other)
{
    struct trace t = {0};
    size_t used;
    mg_buf_init(&t.text, 1000);
    struct mg_http_client *c = t.client = mg_http_client_new(&limits, &ops, &t);

    mg_http_client_begin(c, false);
    CHECK(!mg_http_client_started(c));
    CHECK_OK(mg_http_client_feed(c, MG_VIEW("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n"), &used));
    CHECK(mg_http_client_started(c));
    CHECK_OK(mg_http_client_feed(c, MG_VIEW("\r\nx"), &used));
    CHECK(mg_http_client_keep_alive(c));
    mg_http_client_begin(c, true);
    CHECK(!mg_http_client_started(c) && !mg_http_client_complete(c) && !mg_http_client_keep_alive(c));
    CHECK_OK(mg_http_client_feed(c, MG_VIEW("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n"), &used));
    mg_http_client_begin(c, false);
    CHECK_INT(mg_http_client_feed(c, MG_VIEW("bad"), &used), MG_E_PROTOCOL);
    mg_http_client_begin(c, false);
    CHECK_OK(mg_http_client_feed(c, MG_VIEW("HTTP/1.1 204 x\r\n\r\n"), &used));

    CHECK_VIEW(mg_buf_view(&t.text), MG_VIEW("200 Content-Length=1 {x}200 Content-Length=1 no-body {}204 no-body {}"));
    mg_http_client_free(c);
    mg_buf_fini(&t.text);
}

TEST(hands_back_what_a_callback_returned_and_stops)
{
    struct trace t[] = {{.head_says = MG_E_CANCELLED}, {.body_says = MG_E_CANCELLED}, {.end_says = MG_E_CANCELLED}};
    const char *const want[] = {"200 Content-Length=2 {", "200 Content-Length=2 {x", "200 Content-Length=2 {xy}"};
    for (size_t i = 0; i < MG_COUNT(t); i++) {
        CHECK_INT(parse_at(&limits, MG_VIEW("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nxy"), 0, 0, 1, &t[i]), MG_E_CANCELLED);
        CHECK_VIEW(mg_buf_view(&t[i].text), mg_view_cstr(want[i]));
        mg_buf_fini(&t[i].text);
    }
}

MG_TEST_MAIN()
