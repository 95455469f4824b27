#include "http/ndjson.h"

#include "base/mem.h"

struct mg_ndjson {
    mg_ndjson_cb cb;
    void *arg;                         /* borrowed; for cb */
    struct mg_buf kept;                /* the line that is cut */
    mg_err failed;                     /* final */
};

struct mg_ndjson *mg_ndjson_new(size_t max_line_bytes, mg_ndjson_cb cb, void *arg)
{
    struct mg_ndjson *lines = mg_new(struct mg_ndjson);
    lines->cb = cb;
    lines->arg = arg;
    mg_buf_init(&lines->kept, max_line_bytes);
    return lines;
}

void mg_ndjson_free(struct mg_ndjson *lines)
{
    if (!lines)
        return;
    mg_buf_fini(&lines->kept);
    mg_free(lines);
}

static mg_err deliver(struct mg_ndjson *lines, mg_view line)
{
    if (line.len > lines->kept.max)
        return MG_E_TOO_LARGE;
    if (mg_view_ends(line, MG_VIEW("\r")))
        line.len--;
    return mg_view_trim(line).len ? lines->cb(lines->arg, line) : MG_OK;
}

static mg_err deliver_kept(struct mg_ndjson *lines)
{
    mg_err err = deliver(lines, mg_buf_view(&lines->kept));
    mg_buf_clear(&lines->kept);
    return err;
}

static mg_err feed(struct mg_ndjson *lines, mg_view in)
{
    while (in.len > 0) {
        mg_view line = mg_view_head(in, mg_view_find(in, "\n"));
        bool whole = line.len < in.len;
        in = mg_view_skip(in, line.len + whole);
        if (whole && !lines->kept.len) {
            MG_TRY(deliver(lines, line));
            continue;
        }
        MG_TRY(mg_buf_put(&lines->kept, line));
        if (whole)
            MG_TRY(deliver_kept(lines));
    }
    return MG_OK;
}

mg_err mg_ndjson_feed(struct mg_ndjson *lines, mg_view chunk)
{
    if (!lines->failed)
        lines->failed = feed(lines, chunk);
    return lines->failed;
}

mg_err mg_ndjson_finish(struct mg_ndjson *lines)
{
    if (!lines->failed)
        lines->failed = deliver_kept(lines);
    return lines->failed;
}
