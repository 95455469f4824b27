#include "relay/units.h"

#include "relay/relay.h"

static mg_view text_of(mg_view json, struct mg_buf *scratch)
{
    mg_view text = json;
    return json.len && json.ptr[0] == '"' && mg_json_span_text(json, scratch, &text) != MG_OK ? MG_VIEW_NONE : text;
}

static uint64_t characters(mg_view text)
{
    uint64_t count = 0;
    for (size_t i = 0; i < text.len; i++)
        count += ((unsigned char)text.ptr[i] & 0xc0) != 0x80;
    return count;
}

void mg_units_count(const struct mg_lane *lane, struct mg_usage *usage)
{
    const struct mg_attempt *attempt = &lane->attempt;
    mg_view surface = mg_view_cstr(lane->relay->call.surface);
    bool answered = attempt->facts.status >= 200 && attempt->facts.status < 300 && attempt->tap.content;
    bool speaks = mg_view_eq(surface, MG_VIEW("audio_speech")), draws = mg_view_starts(surface, MG_VIEW("image")) && !usage->images;
    if (!answered || !(speaks || (draws && attempt->streaming_body)))
        return;
    struct mg_buf scratch;
    mg_view field = mg_request_field(lane->request, speaks ? MG_VIEW("input") : MG_VIEW("n"));
    mg_buf_init(&scratch, field.len + 1);
    mg_view text = text_of(field, &scratch);
    if (speaks)
        usage->characters = characters(text);
    else if (!mg_view_u64(text, &usage->images))
        usage->images = 1;
    mg_buf_fini(&scratch);
}
