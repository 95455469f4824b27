/* The text of a whole answer, and another one in its place. */
#include "base/mem.h"
#include "chat/tap_parts.h"

/* The content strings of the first choice, in document order; NULL: none, or the answer is no JSON. */
static struct mg_text_span *texts_of(const struct mg_adapter *adapter, struct mg_arena *arena, mg_view body)
{
    struct mg_tap tap;
    struct mg_look look;
    mg_tap_init(&tap, adapter, false);
    mg_look_at(&look, &tap, &adapter->answer, body);
    look.texts_arena = arena;
    look.last_text = &look.first_text;
    return mg_look_scan(&look) == MG_OK ? look.first_text : NULL;
}

mg_view mg_tap_text_of(const struct mg_adapter *adapter, struct mg_arena *arena, mg_view body)
{
    struct mg_text_span *first = texts_of(adapter, arena, body);
    struct mg_buf whole;
    mg_buf_init(&whole, body.len + 1);
    for (struct mg_text_span *text = first; text; text = text->next)
        if (mg_json_unescape(text->span, &whole) != MG_OK)
            mg_buf_clear(&whole);      /* not of a string that was found valid */
    mg_view copy = first ? mg_arena_dup(arena, mg_buf_view(&whole)) : MG_VIEW_NONE;
    mg_buf_fini(&whole);
    return copy;
}

static mg_err put_replaced(struct mg_buf *out, mg_view body, const struct mg_text_span *first, mg_view text)
{
    for (const struct mg_text_span *old = first; old; old = old->next, text = MG_VIEW_NONE) {
        size_t before = (size_t)(old->span.ptr - body.ptr);
        MG_TRY(mg_buf_put(out, mg_view_head(body, before)));
        MG_TRY(mg_buf_putc(out, '"'));
        MG_TRY(mg_buf_put_json(out, text));
        MG_TRY(mg_buf_putc(out, '"'));
        body = mg_view_skip(body, before + old->span.len);
    }
    return mg_buf_put(out, body);
}

mg_view mg_tap_replace_text(const struct mg_adapter *adapter, struct mg_arena *arena, mg_view body, mg_view text)
{
    const struct mg_text_span *first = texts_of(adapter, arena, body);
    if (!first)
        return body;
    struct mg_buf out;
    mg_buf_init(&out, body.len + text.len * 6 + 2);
    mg_view whole = put_replaced(&out, body, first, text) == MG_OK ? mg_arena_dup(arena, mg_buf_view(&out)) : body;
    mg_buf_fini(&out);
    return whole;
}
