#include "gateway/answer.h"

#include <assert.h>

#include "base/limits.h"

void mg_answer_init(struct mg_answer *answer, struct mg_stream *stream, struct mg_buf *scratch)
{
    *answer = (struct mg_answer){.stream = stream, .scratch = scratch};
    mg_buf_init(&answer->held, MG_MAX_BUFFERED_BYTES);
}

void mg_answer_fini(struct mg_answer *answer)
{
    mg_buf_fini(&answer->held);
}

void mg_answer_forget(struct mg_answer *answer)
{
    assert(!answer->committed);
    mg_buf_clear(&answer->held);
    answer->part_count = 0;
    if (answer->copy)
        mg_buf_clear(answer->copy);
}

mg_err mg_answer_add(struct mg_answer *answer, mg_view bytes)
{
    if (bytes.len == 0 || answer->ended)
        return MG_OK;
    if (answer->copy && mg_buf_put(answer->copy, bytes) != MG_OK)
        answer->copy = NULL;
    mg_view *last = answer->part_count ? &answer->parts[answer->part_count - 1] : NULL;
    if (last && last->ptr + last->len == bytes.ptr) {
        last->len += bytes.len;
        return MG_OK;
    }
    mg_err err = answer->part_count == MG_ANSWER_PARTS ? mg_answer_flush(answer) : MG_OK;
    answer->parts[answer->part_count++] = bytes;
    return err;
}

static size_t gathered(const struct mg_answer *answer)
{
    size_t bytes = 0;
    for (size_t i = 0; i < answer->part_count; i++)
        bytes += answer->parts[i].len;
    return bytes;
}

static mg_err keep(struct mg_answer *answer)
{
    mg_err err = MG_OK;
    for (size_t i = 0; i < answer->part_count && err == MG_OK; i++)
        err = mg_buf_put(&answer->held, answer->parts[i]);
    answer->part_count = 0;            /* even on failure: nobody promised the bytes for longer */
    return err;
}

/* What the client's queue does not take is never left out: an answer with a hole looks whole, a reset does not. */
static mg_err write_parts(struct mg_answer *answer, const mg_view *parts, size_t count)
{
    mg_err err = answer->stream ? mg_stream_write(answer->stream, parts, count) : MG_E_CLOSED;
    if (err != MG_E_TOO_LARGE)
        return err;
    mg_stream_reset(answer->stream);
    return MG_E_CLOSED;
}

mg_err mg_answer_flush(struct mg_answer *answer)
{
    size_t bytes = gathered(answer);
    if (bytes == 0 || answer->ended)
        return MG_OK;
    if (!answer->committed)
        return keep(answer);
    char size[MG_HTTP_CHUNK_HEAD];
    mg_view framed[MG_ANSWER_PARTS + 2];
    size_t count = 0;
    if (answer->chunked)
        framed[count++] = mg_view_of(size, mg_http_chunk_head(size, bytes));
    memcpy(&framed[count], answer->parts, answer->part_count * sizeof *framed);
    count += answer->part_count;
    if (answer->chunked)
        framed[count++] = MG_HTTP_CHUNK_TAIL;
    answer->part_count = 0;
    answer->bytes += bytes;
    return answer->head_only ? MG_OK : write_parts(answer, framed, count);
}

static mg_err put_framing(struct mg_answer *answer, struct mg_buf *head, uint64_t length)
{
    if (length != UINT64_MAX)
        MG_TRY(mg_http_put_header_u64(head, MG_VIEW("content-length"), length));
    else if (answer->chunked)
        MG_TRY(mg_http_put_own(head, MG_VIEW("transfer-encoding"), MG_VIEW("chunked")));
    return mg_http_put_own(head, MG_VIEW("connection"), answer->keep_alive ? MG_VIEW("keep-alive") : MG_VIEW("close"));
}

/* The head in the worker's scratch buffer. */
static mg_err build_head(struct mg_answer *answer, int status, mg_view headers, uint64_t length)
{
    struct mg_buf *head = answer->scratch;
    mg_buf_clear(head);
    MG_TRY(mg_http_put_status_line(head, status));
    MG_TRY(mg_buf_put(head, headers));
    MG_TRY(put_framing(answer, head, length));
    return mg_http_put_end(head);
}

mg_err mg_answer_commit(struct mg_answer *answer, int status, mg_view headers, uint64_t length)
{
    assert(!answer->committed);
    MG_TRY(keep(answer));
    answer->committed = true;
    answer->chunked = length == UINT64_MAX && !answer->old_client;
    if (length == UINT64_MAX && answer->old_client)
        answer->keep_alive = false;
    MG_TRY(build_head(answer, status, headers, length));

    char size[MG_HTTP_CHUNK_HEAD];
    mg_view held = mg_buf_view(&answer->held);
    mg_view parts[4] = {mg_buf_view(answer->scratch)};
    size_t count = 1;
    bool body = held.len > 0 && !answer->head_only;
    if (body && answer->chunked)
        parts[count++] = mg_view_of(size, mg_http_chunk_head(size, held.len));
    if (body)
        parts[count++] = held;
    if (body && answer->chunked)
        parts[count++] = MG_HTTP_CHUNK_TAIL;
    answer->bytes += held.len;
    mg_err err = write_parts(answer, parts, count);
    mg_buf_fini(&answer->held);
    return err;
}

void mg_answer_end(struct mg_answer *answer, bool clean)
{
    if (answer->ended)
        return;
    answer->ended = true;
    if (!clean) {
        answer->keep_alive = false;
        return;
    }
    mg_view last = MG_HTTP_CHUNK_LAST;
    if (answer->chunked && !answer->head_only && write_parts(answer, &last, 1) == MG_E_CLOSED)
        answer->keep_alive = false;
}

void mg_answer_whole(struct mg_answer *answer, int status, mg_view headers, mg_view body)
{
    assert(!answer->committed);
    mg_answer_forget(answer);
    answer->committed = answer->ended = true;
    bool bodiless = status == 204 || status == 304;    /* a body behind these would be read as the next answer */
    if (bodiless)
        body = MG_VIEW_NONE;
    if (build_head(answer, status, headers, bodiless ? UINT64_MAX : body.len) != MG_OK) {
        answer->keep_alive = false;
        return;
    }
    mg_view parts[2] = {mg_buf_view(answer->scratch), body};
    answer->bytes += body.len;
    if (write_parts(answer, parts, answer->head_only ? 1 : 2) == MG_E_CLOSED)
        answer->keep_alive = false;
}
