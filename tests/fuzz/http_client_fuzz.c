/* http_client_fuzz.c - however an answer is cut, the same answer comes out, and only a violation is said of
 * it. The first byte of the input chooses the cut, the second whether HEAD was asked and EOF comes. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "http/client.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct mg_http_limits limits = {.header_bytes = 1024, .header_count = 16, .body_bytes = 4096};

struct run {
    struct mg_buf log;
    struct mg_http_client *client;
    int heads;
    int ends;
};

static void must(bool true_, const char *what)
{
    if (!true_) {
        fputs(what, stderr);
        abort();
    }
}

static mg_err on_head(void *arg, const struct mg_http_response *r)
{
    struct run *run = arg;
    must(run->heads++ == 0 && r->status >= 200 && r->status <= 999, "an odd head\n");
    must(!(r->chunked && r->has_length), "two framings\n");
    must(r->until_eof == !(r->no_body || r->chunked || r->has_length), "no end of the body\n");
    for (size_t i = 0; i < r->headers.count; i++) {
        const struct mg_header *h = &r->headers.items[i];
        must(mg_http_is_token(h->name) && mg_http_is_field_value(h->value), "a header cannot be written\n");
        must(mg_buf_putf(&run->log, "%.*s=%.*s\n", MG_FMT(h->name), MG_FMT(h->value)) == MG_OK, "log is full\n");
    }
    must(mg_buf_putf(&run->log, "%d ", r->status) == MG_OK, "log is full\n");
    return MG_OK;
}

static mg_err on_body(void *arg, mg_view bytes)
{
    struct run *run = arg;
    must(run->heads == 1 && run->ends == 0 && bytes.len > 0, "a body out of place\n");
    must(mg_buf_put(&run->log, bytes) == MG_OK, "log is full\n");
    return MG_OK;
}

static mg_err on_end(void *arg)
{
    struct run *run = arg;
    must(run->heads == 1 && run->ends++ == 0, "an end out of place\n");
    must(mg_buf_putc(&run->log, '\0') == MG_OK, "log is full\n");
    return MG_OK;
}

static const struct mg_http_client_ops ops = {on_head, on_body, on_end};

static mg_err parse(mg_view in, int flags, size_t cut, size_t step, struct run *run)
{
    size_t used;
    struct mg_http_client *c = run->client = mg_http_client_new(&limits, &ops, run);
    mg_http_client_begin(c, flags & 1);
    mg_err err = mg_http_client_feed(c, mg_view_head(in, cut), &used);
    for (mg_view rest = mg_view_skip(in, cut); !err && rest.len > 0; rest = mg_view_skip(rest, step)) {
        err = mg_http_client_feed(c, mg_view_head(rest, step), &used);
        must(err || used == MG_MIN(step, rest.len), "bytes were left\n");
    }
    if (!err && flags & 2)
        err = mg_http_client_eof(c);
    must(err == MG_OK || err == MG_E_PROTOCOL || (err == MG_E_CLOSED && in.len == 0), "an odd error\n");
    must((err != MG_OK) == (mg_http_client_reason(c)[0] != '\0'), "an error without a reason\n");
    must(err == MG_OK || !mg_http_client_keep_alive(c), "a broken connection is kept\n");
    must(mg_http_client_complete(c) == (run->ends == 1), "complete without an end\n");
    mg_http_client_free(c);
    return err;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    mg_view in = mg_view_skip(mg_view_of((const char *)data, size), 2);
    int flags = size > 1 ? data[1] : 0;
    size_t cuts[] = {0, size ? data[0] : 0, 0}, steps[] = {SIZE_MAX / 2, SIZE_MAX / 2, 1};
    struct run runs[3] = {0};
    mg_err errs[3];
    for (size_t i = 0; i < 3; i++) {
        mg_buf_init(&runs[i].log, 8 * size + 4096);
        errs[i] = parse(in, flags, cuts[i], steps[i], &runs[i]);
    }
    for (size_t i = 1; i < 3; i++)
        must(errs[i] == errs[0] && mg_view_eq(mg_buf_view(&runs[i].log), mg_buf_view(&runs[0].log)), "a cut changed what was read\n");
    for (size_t i = 0; i < 3; i++)
        mg_buf_fini(&runs[i].log);
    return 0;
}
