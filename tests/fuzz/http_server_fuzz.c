/* http_server_fuzz.c - however a stream of requests is cut, the same requests come out, and what is let
 * through has one reading only. The first byte of the input chooses the cut. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "http/server.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct mg_http_limits limits = {.target_bytes = 256, .header_bytes = 1024, .header_count = 16, .body_bytes = 512};

static void must(bool true_, const char *what)
{
    if (!true_) {
        fputs(what, stderr);
        abort();
    }
}

static void note(struct mg_buf *log, mg_view bytes)
{
    must(mg_buf_put(log, bytes) == MG_OK && mg_buf_putc(log, '\n') == MG_OK, "log is full\n");
}

static mg_err on_head(void *arg, const struct mg_http_request *r)
{
    const struct mg_headers h = r->headers;
    note(arg, r->method_text);
    note(arg, r->target);
    note(arg, r->path);
    note(arg, r->query);
    for (size_t i = 0; i < h.count; i++) {
        note(arg, h.items[i].name);
        note(arg, h.items[i].value);
        must(mg_http_is_token(h.items[i].name) && mg_http_is_field_value(h.items[i].value), "a header cannot be written\n");
    }
    must(mg_http_is_target(r->target) && mg_http_is_token(r->method_text), "a request line cannot be written\n");
    must(!(r->chunked && r->has_length), "two framings\n");
    must(mg_headers_count(h, MG_VIEW("host")) == 1 || r->version_minor == 0, "no Host\n");
    must(mg_headers_count(h, MG_VIEW("content-length")) == r->has_length, "several lengths\n");
    must(mg_headers_count(h, MG_VIEW("transfer-encoding")) == r->chunked, "several codings\n");
    must(r->content_length <= limits.body_bytes, "a body over the limit was announced\n");
    must(mg_buf_putf(arg, "%d %d %d ", r->keep_alive, r->expect_continue, r->version_minor) == MG_OK, "log is full\n");
    return MG_OK;
}

static mg_err on_body(void *arg, mg_view bytes)
{
    must(bytes.len > 0 && mg_buf_put(arg, bytes) == MG_OK, "log is full\n");
    return MG_OK;
}

static mg_err on_end(void *arg)
{
    must(mg_buf_putc(arg, '\0') == MG_OK, "log is full\n");
    return MG_OK;
}

static const struct mg_http_server_ops ops = {on_head, on_body, on_end};

static mg_err feed(struct mg_http_server *s, mg_view in)
{
    while (in.len > 0) {
        size_t used = 0;
        mg_err err = mg_http_server_feed(s, in, &used);
        must(used <= in.len, "used more than there was\n");
        if (err)
            return err;
        must(used > 0, "no progress\n");
        in = mg_view_skip(in, used);
        if (mg_http_server_complete(s))
            mg_http_server_next(s);
    }
    return MG_OK;
}

static mg_err parse(mg_view in, size_t cut, size_t step, struct mg_buf *log)
{
    struct mg_http_server *s = mg_http_server_new(&limits, &ops, log);
    mg_err err = feed(s, mg_view_head(in, cut));
    for (mg_view rest = mg_view_skip(in, cut); !err && rest.len > 0; rest = mg_view_skip(rest, step))
        err = feed(s, mg_view_head(rest, step));
    must((err != MG_OK) == (mg_http_server_reason(s)[0] != '\0'), "an error without a reason\n");
    mg_http_server_free(s);
    return err;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    mg_view in = mg_view_skip(mg_view_of((const char *)data, size), 1);
    size_t cuts[] = {0, size ? data[0] : 0, 0}, steps[] = {SIZE_MAX / 2, SIZE_MAX / 2, 1};
    struct mg_buf logs[3];
    mg_err errs[3];
    for (size_t i = 0; i < 3; i++) {
        mg_buf_init(&logs[i], 8 * size + 4096);
        errs[i] = parse(in, cuts[i], steps[i], &logs[i]);
    }
    /* Which of two faults is met first may depend on the cut: not whether there is one. */
    for (size_t i = 1; i < 3; i++)
        must(!errs[i] == !errs[0] && mg_view_eq(mg_buf_view(&logs[i]), mg_buf_view(&logs[0])), "a cut changed what was read\n");
    for (size_t i = 0; i < 3; i++)
        mg_buf_fini(&logs[i]);
    return 0;
}
