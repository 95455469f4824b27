#include "http/sse.h"

#include "base/mem.h"
#include "http/json_bytes.h"

enum { KEPT_BYTES = 4096 };            /* of a buffer between two blocks */

/* A value inside the block being read: offsets survive the block's move into the tail. */
struct span {
    size_t offset;
    size_t len;
};

struct mg_sse {
    mg_sse_cb cb;
    void *arg;                         /* borrowed; for cb */
    struct mg_buf tail;                /* the block being read, once it is cut */
    struct mg_buf joined;              /* data of a block with several data lines */
    size_t max_event_bytes;
    size_t line;                       /* where the current line begins in the block */
    size_t mark_bytes;                 /* of the byte order mark in front of the block, 3 or 0 */
    size_t data_lines;                 /* seen in the block */
    struct span data;                  /* value of the first of them */
    struct span name;                  /* value of the last event line */
    bool after_cr;                     /* the last byte was a CR: an LF now belongs to it */
    bool begun;                        /* the first line of the stream is over */
    mg_err failed;                     /* final */
};

static mg_err feed(struct mg_sse *sse, mg_view in);
static mg_err read_in_place(struct mg_sse *sse, mg_view *in);
static mg_err read_into_tail(struct mg_sse *sse, mg_view *in);
static size_t cut_line(struct mg_sse *sse, mg_view in, size_t *out_text);
static bool end_line(struct mg_sse *sse, mg_view block, size_t text);
static bool field(mg_view line, mg_view name, struct span *out_value);
static mg_err deliver(struct mg_sse *sse, mg_view raw);
static mg_err join(struct mg_sse *sse, mg_view raw);
static mg_err put_field(struct mg_buf *buf, mg_view name, mg_view value);

struct mg_sse *mg_sse_new(size_t max_event_bytes, mg_sse_cb cb, void *arg)
{
    struct mg_sse *sse = mg_new(struct mg_sse);
    sse->cb = cb;
    sse->arg = arg;
    sse->max_event_bytes = max_event_bytes;
    mg_buf_init(&sse->tail, max_event_bytes + 1);        /* the LF behind a last CR does not count */
    mg_buf_init(&sse->joined, max_event_bytes);
    return sse;
}

void mg_sse_free(struct mg_sse *sse)
{
    if (!sse)
        return;
    mg_buf_fini(&sse->tail);
    mg_buf_fini(&sse->joined);
    mg_free(sse);
}

mg_err mg_sse_feed(struct mg_sse *sse, mg_view chunk)
{
    if (!sse->failed)
        sse->failed = feed(sse, chunk);
    return sse->failed;
}

mg_view mg_sse_finish(const struct mg_sse *sse)
{
    return mg_buf_view(&sse->tail);
}

mg_err mg_sse_put_event(struct mg_buf *buf, mg_view name, mg_view data)
{
    if (mg_view_find(name, "\r\n") != name.len)
        return MG_E_BAD_REQUEST;
    if (name.len > 0)
        MG_TRY(put_field(buf, MG_VIEW("event: "), name));
    for (;;) {
        size_t len = mg_view_find(data, "\r\n");
        MG_TRY(put_field(buf, MG_VIEW("data: "), mg_view_head(data, len)));
        if (len == data.len)
            return mg_buf_put(buf, MG_VIEW("\n"));
        data = mg_view_skip(data, len);
        data = mg_view_skip(data, mg_view_starts(data, MG_VIEW("\r\n")) ? 2 : 1);
    }
}

static mg_err feed(struct mg_sse *sse, mg_view in)
{
    if (in.len > 0 && sse->after_cr && in.ptr[0] == '\n') {
        mg_view lf = mg_view_head(in, 1);
        in = mg_view_skip(in, 1);
        sse->after_cr = false;
        if (sse->tail.len == 0) {
            MG_TRY(deliver(sse, lf));
        } else {
            MG_TRY(mg_buf_put(&sse->tail, lf));
            sse->line++;
        }
    }
    while (in.len > 0)
        MG_TRY(sse->tail.len > 0 ? read_into_tail(sse, &in) : read_in_place(sse, &in));
    return MG_OK;
}

/* The block begins with *in: delivers it from there, or keeps what there is of it. */
static mg_err read_in_place(struct mg_sse *sse, mg_view *in)
{
    mg_view block = *in;
    size_t text;
    for (;;) {
        size_t line = cut_line(sse, mg_view_skip(block, sse->line), &text);
        if (line == 0) {
            *in = mg_view_skip(block, block.len);
            return mg_buf_put(&sse->tail, block);
        }
        bool ended = end_line(sse, block, text);
        sse->line += line;
        if (ended) {
            *in = mg_view_skip(block, sse->line);
            return deliver(sse, mg_view_head(block, sse->line));
        }
    }
}

/* One more line, or all of *in, for the block that is kept. */
static mg_err read_into_tail(struct mg_sse *sse, mg_view *in)
{
    size_t before = sse->tail.len, text;
    size_t line = cut_line(sse, *in, &text);
    MG_TRY(mg_buf_put(&sse->tail, mg_view_head(*in, line ? line : in->len)));
    *in = mg_view_skip(*in, line ? line : in->len);
    if (line == 0)
        return MG_OK;

    bool ended = end_line(sse, mg_buf_view(&sse->tail), before - sse->line + text);
    sse->line = sse->tail.len;
    if (!ended)
        return MG_OK;
    mg_err err = deliver(sse, mg_buf_view(&sse->tail));
    mg_buf_shrink(&sse->tail, KEPT_BYTES);
    return err;
}

/* Length of the first line with its end, 0 when it has none yet; *out_text without it. */
static size_t cut_line(struct mg_sse *sse, mg_view in, size_t *out_text)
{
    mg_bytes begin = (mg_bytes)in.ptr, end = begin + in.len;
    if (in.len == 0)
        return 0;
    mg_bytes at = mg_skip_line(begin, end);
    sse->after_cr = false;
    if (at == end)
        return 0;
    size_t text = (size_t)(at - begin), line = text + 1;
    if (*at == '\r') {
        if (line < in.len)
            line += in.ptr[line] == '\n';
        else
            sse->after_cr = true;
    }
    *out_text = text;
    return line;
}

/* The line of `text` bytes at sse->line is complete. True when it is blank and ends the block. */
static bool end_line(struct mg_sse *sse, mg_view block, size_t text)
{
    struct span value;
    mg_view line = mg_view_of(block.ptr + sse->line, text);
    if (!sse->begun && mg_view_starts(line, MG_VIEW("\xef\xbb\xbf"))) {
        sse->mark_bytes = 3;
        line = mg_view_skip(line, 3);
    }
    sse->begun = true;
    size_t offset = (size_t)(line.ptr - block.ptr);
    if (field(line, MG_VIEW("data"), &value)) {
        if (sse->data_lines++ == 0)
            sse->data = (struct span){offset + value.offset, value.len};
    } else if (field(line, MG_VIEW("event"), &value)) {
        sse->name = (struct span){offset + value.offset, value.len};
    }
    return line.len == 0;
}

/* True for the field of that name; its value is what follows the colon and one blank. */
static bool field(mg_view line, mg_view name, struct span *out_value)
{
    if (!mg_view_starts(line, name) || (line.len > name.len && line.ptr[name.len] != ':'))
        return false;
    size_t offset = name.len;
    offset += offset < line.len;
    offset += offset < line.len && line.ptr[offset] == ' ';
    *out_value = (struct span){offset, line.len - offset};
    return true;
}

static mg_err deliver(struct mg_sse *sse, mg_view raw)
{
    if (raw.len - mg_view_ends(raw, MG_VIEW("\r\n")) > sse->max_event_bytes)
        return MG_E_TOO_LARGE;         /* had it been cut before the LF, the LF would come alone */
    struct mg_sse_event event = {
        .name = mg_view_of(raw.ptr + sse->name.offset, sse->name.len),
        .raw = raw,
        .is_comment = sse->data_lines == 0,
        .data_in_raw = sse->data_lines == 1,
    };
    if (sse->data_lines == 1)
        event.data = mg_view_of(raw.ptr + sse->data.offset, sse->data.len);
    if (sse->data_lines > 1) {
        MG_TRY(join(sse, raw));
        event.data = mg_buf_view(&sse->joined);
    }
    sse->line = sse->mark_bytes = sse->data_lines = 0;
    sse->name = sse->data = (struct span){0, 0};
    mg_err err = sse->cb(sse->arg, &event);
    mg_buf_shrink(&sse->joined, KEPT_BYTES);
    return err;
}

/* Walks the lines of a whole block again; only for the rare one with several data lines. */
static mg_err join(struct mg_sse *sse, mg_view raw)
{
    struct span value;
    size_t lines = 0;
    mg_view rest = mg_view_skip(raw, sse->mark_bytes);
    while (rest.len > 0) {
        mg_view line = mg_view_head(rest, mg_view_find(rest, "\r\n"));
        if (field(line, MG_VIEW("data"), &value)) {
            if (lines++ > 0)
                MG_TRY(mg_buf_putc(&sse->joined, '\n'));
            MG_TRY(mg_buf_put(&sse->joined, mg_view_of(line.ptr + value.offset, value.len)));
        }
        rest = mg_view_skip(rest, line.len + 1);
    }
    return MG_OK;
}

static mg_err put_field(struct mg_buf *buf, mg_view name, mg_view value)
{
    MG_TRY(mg_buf_put(buf, name));
    MG_TRY(mg_buf_put(buf, value));
    return mg_buf_putc(buf, '\n');
}
