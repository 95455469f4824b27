/* event_stream_fuzz.c - however a body is cut, the same frames and the same end come out. The first byte chooses the cut;
 * with its lowest bit the sums of the frames are made right, so that what is behind them is reached. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "http/event_stream.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { MOST = 512 };

static uint32_t crc(const uint8_t *bytes, size_t len)
{
    uint32_t sum = UINT32_MAX;
    for (size_t i = 0; i < len; i++) {
        sum ^= bytes[i];
        for (int bit = 0; bit < 8; bit++)
            sum = sum & 1 ? sum >> 1 ^ UINT32_C(0xedb88320) : sum >> 1;
    }
    return ~sum;
}

static void store(uint8_t *at, uint32_t number)
{
    for (int i = 0; i < 4; i++)
        at[i] = (uint8_t)(number >> (24 - 8 * i));
}

static void repair(uint8_t *bytes, size_t len)
{
    while (len >= 16) {
        size_t total = 16 + bytes[3] % MG_MIN(len - 15, 200u);
        store(bytes, (uint32_t)total);
        store(bytes + 4, bytes[7] % (uint32_t)(total - 15));
        store(bytes + 8, crc(bytes, 8));
        store(bytes + total - 4, crc(bytes, total - 4));
        bytes += total;
        len -= total;
    }
}

static mg_err on_frame(void *arg, const struct mg_event_frame *frame)
{
    return mg_buf_putf(arg, "%.*s|%.*s|%.*s|%.*s|%.*s|%zu:%.*s;", MG_FMT(frame->message_type), MG_FMT(frame->event_type),
                       MG_FMT(frame->exception_type), MG_FMT(frame->error_code), MG_FMT(frame->error_message), frame->payload.len,
                       MG_FMT(frame->payload));
}

static mg_err decode(mg_view in, size_t step, struct mg_buf *told)
{
    mg_buf_init(told, 64 * in.len + 64);
    struct mg_event_stream *stream = mg_event_stream_new(MOST, on_frame, told);
    mg_err err = MG_OK;
    for (mg_view rest = in; !err && rest.len > 0; rest = mg_view_skip(rest, step))
        err = mg_event_stream_feed(stream, mg_view_head(rest, step));
    mg_event_stream_free(stream);
    return err;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct mg_buf whole, cut;
    if (size < 2)
        return 0;
    uint8_t *bytes = mg_alloc(size - 1);
    memcpy(bytes, data + 1, size - 1);
    if (data[0] & 1)
        repair(bytes, size - 1);
    mg_view in = mg_view_of((const char *)bytes, size - 1);
    mg_err err = decode(in, in.len, &whole);
    if (decode(in, 1u + data[0] / 2, &cut) != err || !mg_view_eq(mg_buf_view(&whole), mg_buf_view(&cut))) {
        fputs("a cut changed what came out\n", stderr);
        abort();
    }
    mg_buf_fini(&whole);
    mg_buf_fini(&cut);
    mg_free(bytes);
    return 0;
}
