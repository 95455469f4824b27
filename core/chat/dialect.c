#include "chat/dialect.h"

#include <stdio.h>

enum { CODE_BYTES = 128, MESSAGE_BYTES = 4096, ERROR_BYTES = 65536 };

int mg_dialect_status(const struct mg_dialect *dialect, int status)
{
    for (int i = 0; i < dialect->status_count; i++)
        if (dialect->statuses[i].status == status)
            return dialect->statuses[i].instead;
    return status;
}

static const char *type_of(const struct mg_dialect *dialect, int status)
{
    for (int i = 0; i < dialect->type_count; i++)
        if (dialect->types[i].status == status)
            return dialect->types[i].word;
    return status < 500 ? dialect->type4 : dialect->type5;
}

static mg_err put_string(struct mg_buf *out, mg_view text)
{
    if (!text.ptr)
        return mg_buf_put(out, MG_VIEW("null"));
    MG_TRY(mg_buf_putc(out, '"'));
    MG_TRY(mg_buf_put_json(out, text));
    return mg_buf_putc(out, '"');
}

static mg_err put_place(struct mg_buf *out, const struct mg_dialect *dialect, enum mg_error_place place,
                        const struct mg_error_text *error)
{
    switch (place) {
    case MG_ERROR_MESSAGE: return put_string(out, mg_view_head(error->message, MESSAGE_BYTES));
    case MG_ERROR_TYPE: return put_string(out, mg_view_cstr(type_of(dialect, error->status)));
    case MG_ERROR_CODE: return put_string(out, mg_view_head(error->code, CODE_BYTES));
    case MG_ERROR_PARAM: return put_string(out, error->param);
    case MG_ERROR_STATUS: return mg_buf_putf(out, "%d", error->status);
    case MG_ERROR_SEQ: return mg_buf_putf(out, "%llu", (unsigned long long)error->seq);
    case MG_ERROR_LITERAL: break;
    }
    return MG_OK;
}

static mg_err put_frame(struct mg_buf *out, const struct mg_dialect *dialect, const struct mg_error_frame *frame,
                        const struct mg_error_text *error)
{
    for (int i = 0; i < frame->count; i++) {
        if (frame->pieces[i].place == MG_ERROR_LITERAL)
            MG_TRY(mg_buf_put(out, mg_view_cstr(frame->pieces[i].literal)));
        else
            MG_TRY(put_place(out, dialect, frame->pieces[i].place, error));
    }
    return MG_OK;
}

mg_view mg_dialect_error(const struct mg_dialect *dialect, struct mg_arena *arena, const struct mg_error_text *error, bool in_stream)
{
    const struct mg_error_frame *frame = in_stream && dialect->stream.count ? &dialect->stream : &dialect->body;
    struct mg_buf out;
    mg_buf_init(&out, ERROR_BYTES);
    mg_view body = put_frame(&out, dialect, frame, error) == MG_OK ? mg_arena_dup(arena, mg_buf_view(&out))
                                                                   : MG_VIEW("{\"error\":{\"message\":\"internal error\"}}");
    mg_buf_fini(&out);
    return body;
}
