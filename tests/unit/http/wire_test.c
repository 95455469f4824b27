/* Runs the pages of tests/wire: bytes in, events out, at every cut. */
#include "base/mem.h"
#include "check.h"
#include "http/client.h"
#include "http/sse.h"

enum { PAGE_BYTES = 1 << 20 };

static const struct mg_http_limits limits = {.target_bytes = 256, .header_bytes = 4096, .header_count = 32, .body_bytes = 64};

/* Events as lines of text. Pieces of one body are one line. */
struct trace {
    struct mg_buf text;
    struct mg_http_client *client;
    bool in_body;
};

typedef void (*run_fn)(struct trace *t, mg_view wire, size_t cut, size_t step);

static void put_shown(struct mg_buf *out, mg_view bytes)
{
    for (size_t i = 0; i < bytes.len; i++) {
        unsigned char c = (unsigned char)bytes.ptr[i];
        if (c == '\n' || c == '\r' || c == '\t')
            CHECK_OK(mg_buf_putf(out, "\\%c", c == '\n' ? 'n' : c == '\r' ? 'r' : 't'));
        else if (c < 0x20 || c > 0x7e)
            CHECK_OK(mg_buf_putf(out, "\\x%02x", c));
        else
            CHECK_OK(mg_buf_putc(out, (char)c));
    }
}

static void line(struct trace *t, const char *word)
{
    if (t->text.len > 0)
        CHECK_OK(mg_buf_putc(&t->text, '\n'));
    CHECK_OK(mg_buf_put(&t->text, mg_view_cstr(word)));
    t->in_body = false;
}

static void show_headers(struct trace *t, struct mg_headers headers)
{
    for (size_t i = 0; i < headers.count; i++) {
        line(t, "header ");
        CHECK_OK(mg_buf_putf(&t->text, "%.*s: ", MG_FMT(headers.items[i].name)));
        put_shown(&t->text, headers.items[i].value);
    }
}

static mg_err on_body(void *arg, mg_view bytes)
{
    struct trace *t = arg;
    if (!t->in_body)
        line(t, "body ");
    t->in_body = true;
    put_shown(&t->text, bytes);
    return MG_OK;
}

static void show_error(struct trace *t, mg_err err)
{
    if (!err)
        return;
    line(t, "error ");
    CHECK_OK(mg_buf_put(&t->text, mg_view_cstr(mg_err_name(err))));
}

static mg_err on_request(void *arg, const struct mg_http_request *r)
{
    struct trace *t = arg;
    line(t, "head ");
    CHECK_OK(mg_buf_putf(&t->text, "%.*s %.*s", MG_FMT(r->method_text), MG_FMT(r->path)));
    if (r->query.len > 0)
        CHECK_OK(mg_buf_putf(&t->text, " ?%.*s", MG_FMT(r->query)));
    CHECK_OK(mg_buf_putf(&t->text, " %s%s", r->keep_alive ? "keep-alive" : "close", r->expect_continue ? " waits-for-100" : ""));
    show_headers(t, r->headers);
    return MG_OK;
}

static mg_err on_request_end(void *arg)
{
    line(arg, "end");
    return MG_OK;
}

static mg_err feed_requests(struct mg_http_server *s, mg_view in)
{
    while (in.len > 0) {
        size_t used;
        MG_TRY(mg_http_server_feed(s, in, &used));
        in = mg_view_skip(in, used);
        if (mg_http_server_complete(s))
            mg_http_server_next(s);
    }
    return MG_OK;
}

static void run_requests(struct trace *t, mg_view wire, size_t cut, size_t step)
{
    static const struct mg_http_server_ops ops = {on_request, on_body, on_request_end};
    struct mg_http_server *s = mg_http_server_new(&limits, &ops, t);
    mg_err err = feed_requests(s, mg_view_head(wire, cut));
    for (mg_view rest = mg_view_skip(wire, cut); !err && rest.len > 0; rest = mg_view_skip(rest, step))
        err = feed_requests(s, mg_view_head(rest, step));
    show_error(t, err);
    mg_http_server_free(s);
}

static mg_err on_answer(void *arg, const struct mg_http_response *r)
{
    struct trace *t = arg;
    line(t, "head ");
    CHECK_OK(mg_buf_putf(&t->text, "%d", r->status));
    show_headers(t, r->headers);
    return MG_OK;
}

static mg_err on_answer_end(void *arg)
{
    line(arg, "end");
    return MG_OK;
}

static void run_answer(struct trace *t, mg_view wire, size_t cut, size_t step)
{
    static const struct mg_http_client_ops ops = {on_answer, on_body, on_answer_end};
    size_t used, len = wire.len;
    bool eof = mg_view_ends(wire, MG_VIEW("\r\neof")) || mg_view_eq(wire, MG_VIEW("eof"));
    if (eof)
        len -= MG_MIN(len, 5);
    wire = mg_view_head(wire, len);
    struct mg_http_client *c = mg_http_client_new(&limits, &ops, t);
    mg_http_client_begin(c, false);
    mg_err err = mg_http_client_feed(c, mg_view_head(wire, cut), &used);
    for (mg_view rest = mg_view_skip(wire, cut); !err && rest.len > 0; rest = mg_view_skip(rest, step))
        err = mg_http_client_feed(c, mg_view_head(rest, step), &used);
    if (!err && eof)
        err = mg_http_client_eof(c);
    if (mg_http_client_keep_alive(c))
        CHECK_OK(mg_buf_put(&t->text, MG_VIEW(" keep-alive")));
    show_error(t, err);
    mg_http_client_free(c);
}

static mg_err on_event(void *arg, const struct mg_sse_event *event)
{
    struct trace *t = arg;
    if (event->is_comment)
        return MG_OK;
    line(t, "event ");
    if (event->name.len > 0)
        CHECK_OK(mg_buf_putf(&t->text, "%.*s ", MG_FMT(event->name)));
    put_shown(&t->text, event->data);
    return MG_OK;
}

static void run_stream(struct trace *t, mg_view wire, size_t cut, size_t step)
{
    struct mg_sse *sse = mg_sse_new(4096, on_event, t);
    mg_err err = mg_sse_feed(sse, mg_view_head(wire, cut));
    for (mg_view rest = mg_view_skip(wire, cut); !err && rest.len > 0; rest = mg_view_skip(rest, step))
        err = mg_sse_feed(sse, mg_view_head(rest, step));
    mg_view left = mg_sse_finish(sse);
    if (left.len > 0) {
        line(t, "left ");
        put_shown(&t->text, left);
    }
    show_error(t, err);
    mg_sse_free(sse);
}

/* The bytes that a block stands for. */
static void put_wire(struct mg_buf *out, mg_view block, mg_view line_end)
{
    for (size_t i = 0; i < block.len; i++) {
        char c = block.ptr[i], next = i + 1 < block.len ? block.ptr[i + 1] : '\n';
        char hex[3] = {0};
        if (c == '\n') {
            CHECK_OK(mg_buf_put(out, line_end));
        } else if (c != '\\') {
            CHECK_OK(mg_buf_putc(out, c));
        } else if (next == 'x') {
            CHECK(i + 3 < block.len);
            memcpy(hex, block.ptr + i + 2, 2);
            CHECK_OK(mg_buf_putc(out, (char)strtol(hex, NULL, 16)));
            i += 3;
        } else {
            CHECK(memchr("nrt\\\n", next, 5));
            if (next != '\n')
                CHECK_OK(mg_buf_putc(out, next == 'n' ? '\n' : next == 'r' ? '\r' : next == 't' ? '\t' : '\\'));
            i++;
        }
    }
}

static void check_case(mg_view title, run_fn run, mg_view wire, mg_view want)
{
    for (size_t cut = 0; cut <= wire.len + 1; cut++) {
        struct trace t = {0};
        mg_buf_init(&t.text, PAGE_BYTES);
        run(&t, wire, cut <= wire.len ? cut : 0, cut <= wire.len ? wire.len + 1 : 1);
        if (!mg_view_eq(mg_buf_view(&t.text), want))
            check_failed(__FILE__, __LINE__, "%.*s, cut at %zu:\n%.*s\nwant:\n%.*s", MG_FMT(title), cut, MG_FMT(mg_buf_view(&t.text)), MG_FMT(want));
        mg_buf_fini(&t.text);
    }
}

/* Cuts the next fenced block of that kind off *page; its last line end is not part of it. */
static bool cut_block(mg_view *page, const char *kind, mg_view *out_block)
{
    char open[32];
    snprintf(open, sizeof open, "\n```%s\n", kind);
    size_t at = mg_view_search(*page, mg_view_cstr(open));
    if (at == page->len)
        return false;
    mg_view rest = mg_view_skip(*page, at + strlen(open));
    size_t end = mg_view_search(rest, MG_VIEW("\n```\n"));
    CHECK(end < rest.len);
    *out_block = mg_view_head(rest, end);
    *page = mg_view_skip(rest, end);
    return true;
}

static void read_page(const char *name, struct mg_buf *out)
{
    char path[4096];
    const char *source = getenv("MOONGATE_SOURCE_DIR");
    snprintf(path, sizeof path, "%s/tests/wire/%s", source ? source : ".", name);
    FILE *file = fopen(path, "rbe");
    if (!file)
        check_failed(__FILE__, __LINE__, "%s cannot be opened", path);
    mg_buf_init(out, PAGE_BYTES);
    CHECK_OK(mg_buf_reserve(out, PAGE_BYTES));
    mg_buf_grew(out, fread(mg_buf_tail(out), 1, PAGE_BYTES, file));
    fclose(file);
}

static void check_page(const char *name, const char *kind, mg_view line_end, run_fn run, size_t least)
{
    struct mg_buf page;
    read_page(name, &page);
    mg_view rest = mg_buf_view(&page), block, want;
    size_t cases = 0;
    for (; cut_block(&rest, kind, &block); cases++) {
        struct mg_buf wire;
        mg_buf_init(&wire, PAGE_BYTES);
        CHECK(cut_block(&rest, "events", &want));
        put_wire(&wire, block, line_end);
        check_case(mg_view_head(block, mg_view_find(block, "\n")), run, mg_buf_view(&wire), want);
        mg_buf_fini(&wire);
    }
    CHECK(cases >= least);
    mg_buf_fini(&page);
}

TEST(requests_are_read_as_their_page_says)
{
    check_page("http-requests.md", "request", MG_VIEW("\r\n"), run_requests, 14);
}

TEST(answers_are_read_as_their_page_says)
{
    check_page("http-answers.md", "answer", MG_VIEW("\r\n"), run_answer, 9);
}

TEST(streams_are_read_as_their_page_says)
{
    check_page("sse.md", "stream", MG_VIEW("\n"), run_stream, 6);
}

MG_TEST_MAIN()
