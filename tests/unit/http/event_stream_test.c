/* Frames made here by hand, fed at every cut. */
#include "http/event_stream.h"

#include "base/mem.h"
#include "check.h"

enum { MOST = 4096 };

static uint32_t crc(const char *bytes, size_t len)
{
    uint32_t sum = UINT32_MAX;
    for (size_t i = 0; i < len; i++) {
        sum ^= (unsigned char)bytes[i];
        for (int bit = 0; bit < 8; bit++)
            sum = sum & 1 ? sum >> 1 ^ UINT32_C(0xedb88320) : sum >> 1;
    }
    return ~sum;
}

static void put32(struct mg_buf *out, uint32_t number)
{
    char bytes[4] = {(char)(number >> 24), (char)(number >> 16), (char)(number >> 8), (char)number};
    CHECK_OK(mg_buf_put(out, mg_view_of(bytes, 4)));
}

static void put_string_header(struct mg_buf *out, const char *name, const char *value)
{
    CHECK_OK(mg_buf_putc(out, (char)strlen(name)));
    CHECK_OK(mg_buf_put(out, mg_view_cstr(name)));
    CHECK_OK(mg_buf_put(out, mg_view_of("\7\0", 2)));
    CHECK_OK(mg_buf_putc(out, (char)strlen(value)));
    CHECK_OK(mg_buf_put(out, mg_view_cstr(value)));
}

static void put_frame(struct mg_buf *out, mg_view headers, const char *payload)
{
    size_t at = out->len;
    put32(out, (uint32_t)(16 + headers.len + strlen(payload)));
    put32(out, (uint32_t)headers.len);
    put32(out, crc(mg_buf_view(out).ptr + at, 8));
    CHECK_OK(mg_buf_put(out, headers));
    CHECK_OK(mg_buf_put(out, mg_view_cstr(payload)));
    put32(out, crc(mg_buf_view(out).ptr + at, out->len - at));
}

static void put_event(struct mg_buf *out, const char *type, const char *payload)
{
    struct mg_buf headers;
    mg_buf_init(&headers, 1000);
    CHECK_OK(mg_buf_put(&headers, mg_view_of("\4flag\0\1n\4\1\2\3\4\1s\6\0\2ab\2at\10xxxxxxxx\2id\11yyyyyyyyyyyyyyyy", 52)));
    put_string_header(&headers, ":event-type", type);
    put_string_header(&headers, ":message-type", "event");
    put_frame(out, mg_buf_view(&headers), payload);
    mg_buf_fini(&headers);
}

static mg_err on_frame(void *arg, const struct mg_event_frame *frame)
{
    return mg_buf_putf(arg, "%.*s/%.*s%.*s%.*s %.*s;", MG_FMT(frame->message_type), MG_FMT(frame->event_type),
                       MG_FMT(frame->exception_type), MG_FMT(frame->error_code), MG_FMT(frame->payload));
}

/* In pieces of `step` behind the first `cut`. */
static mg_err decode(mg_view wire, size_t cut, size_t step, const char *wanted)
{
    struct mg_buf told;
    mg_buf_init(&told, 65536);
    struct mg_event_stream *stream = mg_event_stream_new(MOST, on_frame, &told);
    mg_err err = mg_event_stream_feed(stream, mg_view_head(wire, cut));
    for (mg_view rest = mg_view_skip(wire, cut); !err && rest.len > 0; rest = mg_view_skip(rest, step))
        err = mg_event_stream_feed(stream, mg_view_head(rest, step));
    CHECK(mg_view_eq(mg_buf_view(&told), mg_view_cstr(wanted)));
    if (err != MG_OK)
        CHECK_INT(mg_event_stream_feed(stream, MG_VIEW("x")), err);
    else
        CHECK_INT(mg_event_stream_pending(stream), 0);
    mg_event_stream_free(stream);
    mg_buf_fini(&told);
    return err;
}

TEST(frames_come_out_the_same_at_every_cut)
{
    struct mg_buf wire, headers;
    mg_buf_init(&wire, 65536);
    mg_buf_init(&headers, 1000);
    put_event(&wire, "messageStart", "{\"role\":\"assistant\"}");
    put_event(&wire, "empty", "");
    put_string_header(&headers, ":message-type", "exception");
    put_string_header(&headers, ":exception-type", "throttlingException");
    put_frame(&wire, mg_buf_view(&headers), "{\"message\":\"slow\"}");
    put_frame(&wire, MG_VIEW_NONE, "bare");
    const char *wanted = "event/messageStart {\"role\":\"assistant\"};event/empty ;"
                         "exception/throttlingException {\"message\":\"slow\"};/ bare;";
    for (size_t cut = 0; cut <= wire.len; cut++)
        CHECK_OK(decode(mg_buf_view(&wire), cut, MOST, wanted));
    for (size_t step = 1; step < 30; step++)
        CHECK_OK(decode(mg_buf_view(&wire), 0, step, wanted));
    mg_buf_fini(&headers);
    mg_buf_fini(&wire);
}

TEST(a_byte_that_changed_is_noticed_and_nothing_of_its_frame_is_told)
{
    struct mg_buf wire;
    mg_buf_init(&wire, 65536);
    put_event(&wire, "a", "{}");
    size_t second = wire.len;
    put_event(&wire, "b", "{}");
    for (size_t at = second; at < wire.len; at++) {
        wire.ptr[wire.start + at] ^= 1;
        mg_err err = decode(mg_buf_view(&wire), wire.len, MOST, "event/a {};");
        CHECK(err == MG_E_BAD_REQUEST || err == MG_E_TOO_LARGE);
        CHECK_INT(decode(mg_buf_view(&wire), 0, 1, "event/a {};"), err);
        wire.ptr[wire.start + at] ^= 1;
    }
    mg_buf_fini(&wire);
}

TEST(headers_that_go_beyond_their_section_are_refused)
{
    static const char *const odd[] = {"\4na", "\1a\7\0\5ab", "\1a\12x", "\1a\4\1\2", "\0\0", "\1a", "\1a\7\0"};
    static const size_t len[] = {3, 7, 4, 5, 2, 2, 4};
    for (size_t i = 0; i < MG_COUNT(odd); i++) {
        struct mg_buf wire;
        mg_buf_init(&wire, 1000);
        put_frame(&wire, mg_view_of(odd[i], len[i]), "{}");
        CHECK_INT(decode(mg_buf_view(&wire), wire.len, MOST, ""), MG_E_BAD_REQUEST);
        mg_buf_fini(&wire);
    }
}

TEST(a_frame_longer_than_what_is_kept_is_refused_at_its_prelude)
{
    struct mg_buf wire;
    mg_buf_init(&wire, 100);
    put32(&wire, MOST + 1);
    put32(&wire, 0);
    put32(&wire, crc(wire.ptr, 8));
    CHECK_INT(decode(mg_buf_view(&wire), 0, 1, ""), MG_E_TOO_LARGE);
    mg_buf_fini(&wire);
}

MG_TEST_MAIN()
