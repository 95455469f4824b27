#include "http/event_stream.h"

#include "base/mem.h"

enum { PRELUDE_BYTES = 12, SUM_BYTES = 4, STRING_TYPE = 7 };

struct mg_event_stream {
    mg_event_frame_cb cb;
    void *arg;                         /* borrowed; for cb */
    struct mg_buf kept;                /* the frame that is cut */
    size_t max_frame_bytes;
    mg_err failed;                     /* final */
};

struct mg_event_stream *mg_event_stream_new(size_t max_frame_bytes, mg_event_frame_cb cb, void *arg)
{
    struct mg_event_stream *stream = mg_new(struct mg_event_stream);
    stream->cb = cb;
    stream->arg = arg;
    stream->max_frame_bytes = max_frame_bytes;
    mg_buf_init(&stream->kept, max_frame_bytes);
    return stream;
}

void mg_event_stream_free(struct mg_event_stream *stream)
{
    if (!stream)
        return;
    mg_buf_fini(&stream->kept);
    mg_free(stream);
}

size_t mg_event_stream_pending(const struct mg_event_stream *stream)
{
    return stream->kept.len;
}

static uint32_t number_at(mg_view bytes, size_t at)
{
    const unsigned char *p = (const unsigned char *)bytes.ptr + at;
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

/* CRC-32 as in Ethernet and zlib, four bits at a time. */
static uint32_t sum_of(mg_view bytes)
{
    static const uint32_t table[16] = {0x00000000, 0x1db71064, 0x3b6e20c8, 0x26d930ac, 0x76dc4190, 0x6b6b51f4, 0x4db26158, 0x5005713c,
                                       0xedb88320, 0xf00f9344, 0xd6d6a3e8, 0xcb61b38c, 0x9b64c2b0, 0x86d3d2d4, 0xa00ae278, 0xbdbdf21c};
    uint32_t sum = UINT32_MAX;
    for (size_t i = 0; i < bytes.len; i++) {
        sum ^= (unsigned char)bytes.ptr[i];
        sum = sum >> 4 ^ table[sum & 15];
        sum = sum >> 4 ^ table[sum & 15];
    }
    return ~sum;
}

/* How many bytes of a frame that begins like this are needed before more can be said of it. */
static mg_err wanted(const struct mg_event_stream *stream, mg_view begun, size_t *out_bytes)
{
    *out_bytes = PRELUDE_BYTES;
    if (begun.len < PRELUDE_BYTES)
        return MG_OK;
    uint32_t total = number_at(begun, 0), headers = number_at(begun, 4);
    if (sum_of(mg_view_head(begun, 8)) != number_at(begun, 8) || total < PRELUDE_BYTES + SUM_BYTES ||
        headers > total - PRELUDE_BYTES - SUM_BYTES)
        return MG_E_BAD_REQUEST;
    *out_bytes = total;
    return total > stream->max_frame_bytes ? MG_E_TOO_LARGE : MG_OK;
}

/* ---- headers ----------------------------------------------------------------------------------- */

static bool take(mg_view *rest, size_t len, mg_view *out)
{
    *out = mg_view_head(*rest, len);
    *rest = mg_view_skip(*rest, len);
    return out->len == len;
}

/* The value of a header of that type; what is no text is passed over. */
static bool take_value(mg_view *rest, unsigned char type, mg_view *out)
{
    static const unsigned char fixed[] = {0, 0, 1, 2, 4, 8, 0, 0, 8, 16};
    mg_view len;
    if (type >= sizeof fixed)
        return false;
    if (type != STRING_TYPE && type != STRING_TYPE - 1)
        return take(rest, fixed[type], out);
    return take(rest, 2, &len) && take(rest, (size_t)((unsigned char)len.ptr[0] << 8 | (unsigned char)len.ptr[1]), out);
}

static void note(struct mg_event_frame *frame, mg_view name, mg_view value)
{
    const struct {
        const char *name;
        mg_view *slot;
    } known[] = {{":message-type", &frame->message_type},   {":event-type", &frame->event_type},
                 {":exception-type", &frame->exception_type}, {":error-code", &frame->error_code},
                 {":error-message", &frame->error_message}};
    for (size_t i = 0; i < MG_COUNT(known); i++)
        if (mg_view_eq(name, mg_view_cstr(known[i].name)))
            *known[i].slot = value;
}

static mg_err read_headers(mg_view rest, struct mg_event_frame *frame)
{
    while (rest.len > 0) {
        mg_view byte, name, value;
        if (!take(&rest, 1, &byte) || !take(&rest, (unsigned char)byte.ptr[0], &name) || !name.len || !take(&rest, 1, &byte))
            return MG_E_BAD_REQUEST;
        unsigned char type = (unsigned char)byte.ptr[0];
        if (!take_value(&rest, type, &value))
            return MG_E_BAD_REQUEST;
        if (type == STRING_TYPE)
            note(frame, name, value);
    }
    return MG_OK;
}

static mg_err deliver(struct mg_event_stream *stream, mg_view whole)
{
    struct mg_event_frame frame = {.payload = MG_VIEW_NONE};
    mg_view body = mg_view_head(whole, whole.len - SUM_BYTES);
    size_t headers = number_at(whole, 4);
    if (sum_of(body) != number_at(whole, body.len))
        return MG_E_BAD_REQUEST;
    MG_TRY(read_headers(mg_view_head(mg_view_skip(body, PRELUDE_BYTES), headers), &frame));
    frame.payload = mg_view_skip(body, PRELUDE_BYTES + headers);
    return stream->cb(stream->arg, &frame);
}

/* ---- feeding ----------------------------------------------------------------------------------- */

/* The frame is cut: what is still needed of it is taken over. */
static mg_err feed_kept(struct mg_event_stream *stream, mg_view *in)
{
    size_t bytes;
    MG_TRY(wanted(stream, mg_buf_view(&stream->kept), &bytes));
    mg_view more = mg_view_head(*in, bytes - stream->kept.len);
    *in = mg_view_skip(*in, more.len);
    MG_TRY(mg_buf_put(&stream->kept, more));
    MG_TRY(wanted(stream, mg_buf_view(&stream->kept), &bytes));
    if (stream->kept.len < bytes)
        return MG_OK;
    mg_err err = deliver(stream, mg_buf_view(&stream->kept));
    mg_buf_clear(&stream->kept);
    return err;
}

static mg_err feed(struct mg_event_stream *stream, mg_view in)
{
    while (in.len > 0) {
        size_t bytes;
        if (stream->kept.len) {
            MG_TRY(feed_kept(stream, &in));
            continue;
        }
        MG_TRY(wanted(stream, in, &bytes));
        if (in.len < bytes)
            return mg_buf_put(&stream->kept, in);
        mg_view whole = mg_view_head(in, bytes);
        in = mg_view_skip(in, bytes);
        MG_TRY(deliver(stream, whole));
    }
    return MG_OK;
}

mg_err mg_event_stream_feed(struct mg_event_stream *stream, mg_view chunk)
{
    if (!stream->failed)
        stream->failed = feed(stream, chunk);
    return stream->failed;
}
