#include "http/sse.h"

#include "base/limits.h"
#include "base/mem.h"
#include "check.h"

/* Events as text: "name|data;", comments as ".", and all raw bytes in a row. */
struct trace {
    struct mg_buf text;
    struct mg_buf raw;
    mg_view chunk;           /* the bytes being fed */
    const char *expected_at; /* where the next raw inside chunk must begin, NULL for anywhere */
    mg_err says;
};

static bool inside(mg_view part, mg_view whole)
{
    return part.ptr >= whole.ptr && part.ptr + part.len <= whole.ptr + whole.len;
}

static mg_err on_event(void *arg, const struct mg_sse_event *event)
{
    struct trace *t = arg;
    CHECK(event->raw.len > 0);
    CHECK_OK(mg_buf_put(&t->raw, event->raw));
    if (inside(event->raw, t->chunk)) {
        CHECK(t->expected_at == NULL || t->expected_at == event->raw.ptr);
        t->expected_at = event->raw.ptr + event->raw.len;
    }
    CHECK(!event->data_in_raw || inside(event->data, event->raw));
    CHECK(!event->is_comment || (event->data.len == 0 && !event->data_in_raw));
    if (event->is_comment)
        CHECK_OK(mg_buf_putf(&t->text, "."));
    else
        CHECK_OK(mg_buf_putf(&t->text, "%.*s|%.*s;", MG_FMT(event->name), MG_FMT(event->data)));
    return t->says;
}

static mg_err feed_copy(struct mg_sse *sse, struct trace *t, mg_view piece)
{
    char *copy = mg_alloc(piece.len);
    if (piece.len)
        memcpy(copy, piece.ptr, piece.len);
    t->chunk = mg_view_of(copy, piece.len);
    t->expected_at = NULL;
    mg_err err = mg_sse_feed(sse, t->chunk);
    mg_free(copy);
    t->chunk = MG_VIEW_NONE;
    return err;
}

static mg_err decode(size_t max, mg_view wire, size_t cut, size_t step, struct trace *t, size_t *out_left)
{
    mg_buf_init(&t->text, 1 << 20);
    mg_buf_init(&t->raw, 1 << 20);
    struct mg_sse *sse = mg_sse_new(max, on_event, t);
    mg_err err = feed_copy(sse, t, mg_view_head(wire, cut));
    for (mg_view rest = mg_view_skip(wire, cut); !err && rest.len > 0; rest = mg_view_skip(rest, step))
        err = feed_copy(sse, t, mg_view_head(rest, step));
    mg_view left = mg_sse_finish(sse);
    *out_left = left.len;
    if (err)
        CHECK_INT(mg_sse_feed(sse, MG_VIEW("data: x\n\n")), err);
    else
        CHECK_OK(mg_buf_put(&t->raw, left));
    mg_sse_free(sse);
    return err;
}

/* The LF of a CRLF that was cut may make a comment of its own: they are left out of the text. */
static void without_comments(struct mg_buf *text)
{
    size_t kept = 0;
    for (size_t i = 0; i < text->len; i++)
        if (text->ptr[text->start + i] != '.')
            text->ptr[text->start + kept++] = text->ptr[text->start + i];
    text->len = kept;
}

static void expect_at(mg_view wire, size_t cut, size_t step, mg_view want, size_t want_left)
{
    struct trace t = {0};
    size_t left;
    CHECK_OK(decode(1000, wire, cut, step, &t, &left));
    without_comments(&t.text);
    if (!mg_view_eq(mg_buf_view(&t.text), want) || left != want_left)
        check_failed(__FILE__, __LINE__, "%.*s\ncut at %zu: %.*s and %zu left", MG_FMT(wire), cut, MG_FMT(mg_buf_view(&t.text)), left);
    CHECK_VIEW(mg_buf_view(&t.raw), wire);
    mg_buf_fini(&t.text);
    mg_buf_fini(&t.raw);
}

static void expect(mg_view wire, mg_view want, size_t left)
{
    for (size_t cut = 0; cut <= wire.len; cut++)
        expect_at(wire, cut, wire.len + 1, want, left);
    for (size_t step = 1; step < 5; step++)
        expect_at(wire, 0, step, want, left);
}

#define EXPECT(wire, want, left) expect(MG_VIEW(wire), MG_VIEW(want), left)

TEST(decodes_events_at_every_cut)
{
    EXPECT("data: hello\n\n", "|hello;", 0);
    EXPECT("data: {\"a\":1}\n\ndata: [DONE]\n\n", "|{\"a\":1};|[DONE];", 0);
    EXPECT("event: delta\ndata: x\n\nevent: stop\ndata: y\n\n", "delta|x;stop|y;", 0);
    EXPECT("data:x\n\ndata:  two\n\n", "|x;| two;", 0);
    EXPECT("data\n\ndata:\n\n", "|;|;", 0);
    EXPECT("data: a\ndata: b\ndata:\ndata: d\n\n", "|a\nb\n\nd;", 0);
    EXPECT("id: 7\nretry: 100\ndata: x\nfoo: bar\nnocolon\n\n", "|x;", 0);
    EXPECT("event: a\nevent: b\ndata: x\n\ndata: y\n\n", "b|x;|y;", 0);
    EXPECT("dat: x\ndatax: y\ndata : z\nDATA: w\n data: v\n\n", "", 0);
    EXPECT("event\ndata: x\n\n", "|x;", 0);
}

TEST(takes_every_kind_of_line_end)
{
    EXPECT("data: a\r\n\r\ndata: b\r\n\r\n", "|a;|b;", 0);
    EXPECT("data: a\r\rdata: b\r\r", "|a;|b;", 0);
    EXPECT("data: a\r\n\ndata: b\n\r\ndata: c\r\rdata: d\r\n\r", "|a;|b;|c;|d;", 0);
    EXPECT("data: a\rdata: b\r\ndata: c\n\n", "|a\nb\nc;", 0);
    EXPECT("event: e\rdata: a\n\r", "e|a;", 0);
}

TEST(passes_comments_and_blank_lines_on)
{
    EXPECT(": ping\n\ndata: x\n\n:\n\n\n\n\ndata: y\n\n", "|x;|y;", 0);
    EXPECT(": c\ndata: x\n: d\n\n", "|x;", 0);
    EXPECT("event: ping\n\ndata: x\n\n", "|x;", 0);

    struct trace t = {0};
    size_t left;
    CHECK_OK(decode(1000, MG_VIEW(": ping\n\n\nevent: ping\n\ndata: x\n\n"), 0, 1000, &t, &left));
    CHECK_VIEW(mg_buf_view(&t.text), MG_VIEW("...|x;"));
    mg_buf_fini(&t.text);
    mg_buf_fini(&t.raw);
}

TEST(skips_a_byte_order_mark_at_the_start_only)
{
    EXPECT("\xef\xbb\xbf" "data: x\n\ndata: y\n\n", "|x;|y;", 0);
    EXPECT("\xef\xbb\xbf" "data: x\ndata: y\n\n", "|x\ny;", 0);
    EXPECT("\xef\xbb\xbf\n\ndata: x\n\n", "|x;", 0);
    EXPECT("data: x\n\n\xef\xbb\xbf" "data: y\n\n", "|x;", 0);
    EXPECT("\xef\xbb" "data: x\n\n", "", 0);
}

TEST(tells_what_an_unfinished_stream_left)
{
    EXPECT("", "", 0);
    EXPECT("data: x\n\ndata: y\n", "|x;", 8);
    EXPECT("data: x", "", 7);
    EXPECT("data: x\n\nd", "|x;", 1);
}

TEST(leaves_events_in_the_chunk_they_came_with)
{
    struct trace t = {0};
    mg_buf_init(&t.text, 1000);
    mg_buf_init(&t.raw, 1000);
    struct mg_sse *sse = mg_sse_new(1000, on_event, &t);
    t.chunk = MG_VIEW("data: a\n\n: c\n\ndata: b\ndata: c\n\nda");
    CHECK_OK(mg_sse_feed(sse, t.chunk));
    CHECK(t.expected_at == t.chunk.ptr + t.chunk.len - 2);
    mg_sse_free(sse);
    mg_buf_fini(&t.text);
    mg_buf_fini(&t.raw);
}

TEST(bounds_an_event_at_every_cut)
{
    const mg_view fits = MG_VIEW("data: y\n\ndata: 123\n\ndata: z\n\n"), too_long = MG_VIEW("data: y\n\ndata: 1234\n\ndata: z\n\n");
    const mg_view endless = MG_VIEW("data: y\n\ndata: 12345678901234567890");
    for (size_t cut = 0; cut <= fits.len; cut++) {
        struct trace t = {0};
        size_t left;
        CHECK_OK(decode(11, fits, cut, 100, &t, &left));
        without_comments(&t.text);
        CHECK_VIEW(mg_buf_view(&t.text), MG_VIEW("|y;|123;|z;"));
        mg_buf_fini(&t.text);
        mg_buf_fini(&t.raw);
    }
    for (size_t cut = 0; cut <= too_long.len; cut++)
        for (int i = 0; i < 2; i++) {
            struct trace t = {0};
            size_t left;
            CHECK_INT(decode(11, i ? endless : too_long, cut, 100, &t, &left), MG_E_TOO_LARGE);
            CHECK_VIEW(mg_buf_view(&t.text), MG_VIEW("|y;"));
            mg_buf_fini(&t.text);
            mg_buf_fini(&t.raw);
        }
}

TEST(bounds_an_event_that_ends_in_crlf_alike_at_every_cut)
{
    static const struct {
        mg_view wire;
        mg_err want;
    } rows[] = {{MG_VIEW("data: 1\r\n\r\n"), MG_OK}, {MG_VIEW("data: 12\r\n\r\n"), MG_E_TOO_LARGE}, {MG_VIEW("data: 123\n\n"), MG_E_TOO_LARGE}};
    for (size_t i = 0; i < MG_COUNT(rows); i++)
        for (size_t cut = 0; cut <= rows[i].wire.len; cut++) {
            struct trace t = {0};
            size_t left;
            CHECK_INT(decode(10, rows[i].wire, cut, 100, &t, &left), rows[i].want);
            mg_buf_fini(&t.text);
            mg_buf_fini(&t.raw);
        }
}

TEST(refuses_an_endless_line_and_an_event_without_end)
{
    static const char *const lines[] = {"x", "data: x\n", ":\n", "\xf0\x9f\x98\x80"};
    for (size_t i = 0; i < MG_COUNT(lines); i++) {
        struct trace t = {0};
        mg_buf_init(&t.text, 10);
        mg_buf_init(&t.raw, 10);
        struct mg_sse *sse = mg_sse_new(MG_MAX_SSE_EVENT_BYTES, on_event, &t);
        mg_err err = MG_OK;
        size_t fed = 0;
        for (; !err; fed += strlen(lines[i]))
            err = mg_sse_feed(sse, mg_view_cstr(lines[i]));
        CHECK_INT(err, MG_E_TOO_LARGE);
        CHECK(fed > MG_MAX_SSE_EVENT_BYTES && fed < MG_MAX_SSE_EVENT_BYTES + 20);
        mg_sse_free(sse);
        mg_buf_fini(&t.text);
        mg_buf_fini(&t.raw);
    }
}

TEST(hands_back_what_the_callback_returned_and_stops)
{
    struct trace t = {.says = MG_E_CANCELLED};
    size_t left;
    CHECK_INT(decode(1000, MG_VIEW("data: x\n\ndata: y\n\n"), 0, 100, &t, &left), MG_E_CANCELLED);
    CHECK_VIEW(mg_buf_view(&t.text), MG_VIEW("|x;"));
    mg_buf_fini(&t.text);
    mg_buf_fini(&t.raw);
}

TEST(writes_events_that_read_back_as_they_were)
{
    static const struct {
        mg_view name, data, wire, want;
    } rows[] = {
        {MG_VIEW(""), MG_VIEW("x"), MG_VIEW("data: x\n\n"), MG_VIEW("|x;")},
        {MG_VIEW("error"), MG_VIEW("{}"), MG_VIEW("event: error\ndata: {}\n\n"), MG_VIEW("error|{};")},
        {MG_VIEW(""), MG_VIEW(""), MG_VIEW("data: \n\n"), MG_VIEW("|;")},
        {MG_VIEW(""), MG_VIEW("a\nb\r\nc\rd\n"), MG_VIEW("data: a\ndata: b\ndata: c\ndata: d\ndata: \n\n"), MG_VIEW("|a\nb\nc\nd\n;")},
        {MG_VIEW(""), MG_VIEW(" lead"), MG_VIEW("data:  lead\n\n"), MG_VIEW("| lead;")},
    };
    for (size_t i = 0; i < MG_COUNT(rows); i++) {
        struct mg_buf buf;
        mg_buf_init(&buf, 1000);
        CHECK_OK(mg_sse_put_event(&buf, rows[i].name, rows[i].data));
        CHECK_VIEW(mg_buf_view(&buf), rows[i].wire);
        expect(mg_buf_view(&buf), rows[i].want, 0);
        mg_buf_fini(&buf);
    }
}

TEST(refuses_to_write_a_name_with_a_line_end)
{
    struct mg_buf buf;
    mg_buf_init(&buf, 1000);
    CHECK_INT(mg_sse_put_event(&buf, MG_VIEW("a\ndata: x"), MG_VIEW("y")), MG_E_BAD_REQUEST);
    CHECK_INT(mg_sse_put_event(&buf, MG_VIEW("a\r"), MG_VIEW("y")), MG_E_BAD_REQUEST);
    CHECK_INT(buf.len, 0);
    mg_buf_fini(&buf);
}

MG_TEST_MAIN()
