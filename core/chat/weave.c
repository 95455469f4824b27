#include "chat/weave.h"

#include <stdio.h>
#include <string.h>

#include "base/limits.h"
#include "base/mem.h"
#include "chat/resumed.h"

enum { OUT_BYTES = 65536, MAX_CHOICES = 8, SEQ_BYTES = 24 };

/* A block as it is written. Where blocks may interleave several are open at once. */
struct written {
    struct mg_block block;
    struct mg_frame frame;
    struct mg_buf text;                /* a JSON string without its last quote, where the dialect wants it */
};

/* A tool call. Its arguments are followed, so that it is known when another may begin. */
struct tool {
    struct tool *next;
    int upstream;                      /* the provider's number */
    struct written written;            /* id, name and signature of the block are owned */
    struct mg_json_pieces arguments;
    struct mg_buf waiting;             /* insides of the strings that came while another block was open */
    enum { TOOL_WAITING, TOOL_OPEN, TOOL_CLOSED } state;
    bool has_arguments;                /* something of them came */
};

struct choice {
    int blocks, tools;                 /* begun so far */
    bool open;                         /* `written`, a block that is no tool call */
    struct written written;
    struct tool *calls, **calls_end;
    char finish[48];                   /* the reason as a JSON string; "": none yet */
};

struct mg_weave {
    const struct mg_translator *translator;
    struct mg_translated *stream;
    struct mg_stream_style style;
    const struct mg_weave_ops *ops;
    void *arg;
    struct mg_tap client;              /* what was emitted, as its reader sees it */
    struct mg_buf out;                 /* from `emitted` on not handed out yet */
    size_t emitted;
    struct mg_buf quoted;
    struct mg_resumed *resumed;        /* owned; what the client has already; NULL: nothing */
    uint64_t seq;
    int tool_count;
    size_t waiting;                    /* bytes of all calls that wait … */
    size_t named;                      /* … and of the ids, names and signatures of all calls */
    bool started, ended;
    bool busy, doomed;                 /* inside mg_weave_event() or _end(); freed meanwhile */
    struct choice choices[MAX_CHOICES];
};

static mg_err apply(struct mg_weave *weave, const struct mg_delta *delta);

static void init_written(struct written *written)
{
    mg_buf_init(&written->text, MG_MAX_TRANSLATED_BYTES);
    mg_buf_init(&written->frame.text, OUT_BYTES);
}

static void fini_written(struct written *written)
{
    mg_buf_fini(&written->text);
    mg_buf_fini(&written->frame.text);
}

mg_err mg_weave_new(const struct mg_translator *translator, const struct mg_translation *what, const struct mg_adapter *client,
                    const struct mg_weave_ops *ops, void *arg, struct mg_weave **out_weave)
{
    struct mg_weave *weave = mg_new(struct mg_weave);
    weave->translator = translator;
    weave->ops = ops;
    weave->arg = arg;
    mg_buf_init(&weave->out, MG_MAX_TRANSLATED_BYTES);
    mg_buf_init(&weave->quoted, MG_MAX_TRANSLATED_BYTES);
    mg_tap_init(&weave->client, client, true);
    for (int i = 0; i < MAX_CHOICES; i++) {
        init_written(&weave->choices[i].written);
        weave->choices[i].calls_end = &weave->choices[i].calls;
    }
    mg_err err = mg_buf_reserve(&weave->out, OUT_BYTES);
    if (err == MG_OK)
        err = translator->ops->begin(translator->arg, what, &weave->stream, &weave->style);
    if (err == MG_OK)
        *out_weave = weave;
    else
        mg_weave_free(weave);
    return err;
}

static void free_tool(struct tool *tool)
{
    mg_buf_fini(&tool->waiting);
    fini_written(&tool->written);
    mg_free((void *)tool->written.block.id.ptr);
    mg_free((void *)tool->written.block.name.ptr);
    mg_free((void *)tool->written.block.signature.ptr);
    mg_free(tool);
}

void mg_weave_free(struct mg_weave *weave)
{
    if (!weave)
        return;
    if (weave->busy) {
        weave->doomed = true;          /* whoever it was emitted to wants no more */
        return;
    }
    weave->translator->ops->end(weave->stream);
    for (int i = 0; i < MAX_CHOICES; i++) {
        struct choice *choice = &weave->choices[i];
        for (struct tool *tool = choice->calls, *next; tool; tool = next) {
            next = tool->next;
            free_tool(tool);
        }
        fini_written(&choice->written);
    }
    mg_buf_fini(&weave->out);
    mg_buf_fini(&weave->quoted);
    if (weave->resumed)
        mg_resumed_fini(weave->resumed);
    mg_free(weave->resumed);
    mg_free(weave);
}

/* ---- out --------------------------------------------------------------------------------------- */

/* The buffer may only move when nobody holds views into it. */
static mg_err room(struct mg_weave *weave, size_t bytes)
{
    if (bytes <= weave->out.cap - weave->out.start - weave->out.len)
        return MG_OK;
    if (weave->emitted)
        weave->ops->flush(weave->arg);
    mg_weave_flushed(weave);
    return mg_buf_reserve(&weave->out, bytes);
}

void mg_weave_flushed(struct mg_weave *weave)
{
    mg_buf_consume(&weave->out, weave->emitted);
    weave->emitted = 0;
}

static mg_err put_seq(struct mg_weave *weave)
{
    char text[SEQ_BYTES];
    int len = snprintf(text, sizeof text, "%llu", (unsigned long long)weave->seq++);
    return mg_buf_put(&weave->out, mg_view_of(text, (size_t)len));
}

/* At most; a frame may have several places for the same text. */
static size_t framed_bytes(const struct mg_frame *frame, size_t text)
{
    size_t bytes = frame->text.len;
    for (int i = 0; i < frame->count; i++)
        bytes += frame->pieces[i].kind == MG_PIECE_TEXT ? text : frame->pieces[i].kind == MG_PIECE_SEQ ? SEQ_BYTES : 0;
    return bytes;
}

/* before, span, after: one JSON string whose quotes stand in before and after, or in the span itself. */
static mg_err put_framed(struct mg_weave *weave, const struct mg_frame *frame, mg_view before, mg_view span, mg_view after)
{
    size_t at = 0;
    MG_TRY(room(weave, framed_bytes(frame, before.len + span.len + after.len)));
    for (int i = 0; i < frame->count; i++) {
        const struct mg_frame_piece *piece = &frame->pieces[i];
        if (piece->kind == MG_PIECE_LITERAL) {
            MG_TRY(mg_buf_put(&weave->out, mg_view_head(mg_view_skip(mg_buf_view(&frame->text), at), piece->len)));
            at += piece->len;
        } else if (piece->kind == MG_PIECE_SEQ) {
            MG_TRY(put_seq(weave));
        } else {
            MG_TRY(mg_buf_put(&weave->out, before));
            MG_TRY(mg_buf_put(&weave->out, span));
            MG_TRY(mg_buf_put(&weave->out, after));
        }
    }
    return MG_OK;
}

/* Lua's events are built apart, so that the buffer does not move under views that are out. */
static mg_err write(struct mg_weave *weave, struct mg_write_call *call)
{
    struct mg_buf events;
    mg_buf_init(&events, MG_MAX_TRANSLATED_BYTES);
    call->seq = &weave->seq;
    mg_err err = weave->translator->ops->write(weave->stream, call, &events);
    if (err == MG_OK)
        err = room(weave, events.len);
    if (err == MG_OK)
        err = mg_buf_put(&weave->out, mg_buf_view(&events));
    mg_buf_fini(&events);
    return err;
}

static mg_view line_value(mg_view *rest, const char *field)
{
    mg_view line = mg_view_head(*rest, mg_view_find(*rest, "\n"));
    if (!mg_view_starts(line, mg_view_cstr(field)))
        return MG_VIEW_NONE;
    *rest = mg_view_skip(*rest, line.len + 1);
    return mg_view_skip(line, strlen(field));
}

/* Our own events: an optional "event: " line, one "data: " line, a blank line. */
static void emit_event(struct mg_weave *weave, mg_view raw)
{
    struct mg_tap_event seen;
    mg_view rest = raw;
    struct mg_sse_event event = {.raw = raw, .data_in_raw = true};
    event.name = line_value(&rest, "event: ");
    event.data = line_value(&rest, "data: ");
    event.is_comment = !event.data.ptr;
    if (event.is_comment)
        seen = (struct mg_tap_event){.content = false};
    else
        mg_tap_event(&weave->client, event.name, event.data, &seen);
    seen.cut_len = 0;                  /* the dialect knew whether usage was asked for */
    seen.usage_only = false;
    weave->ops->emit(weave->arg, &event, &seen);
}

static void emit_all(struct mg_weave *weave)
{
    while (weave->emitted < weave->out.len && !weave->doomed) {
        mg_view rest = mg_view_skip(mg_buf_view(&weave->out), weave->emitted);
        size_t end = mg_view_search(rest, MG_VIEW("\n\n"));
        mg_view raw = mg_view_head(rest, MG_MIN(end + 2, rest.len));
        weave->emitted += raw.len;
        emit_event(weave, raw);
    }
}

/* ---- blocks ------------------------------------------------------------------------------------ */

static mg_err end_block(struct mg_weave *weave, struct written *written)
{
    struct mg_write_call call = {.what = MG_WRITE_CLOSE, .block = &written->block};
    if (written->text.len) {
        MG_TRY(mg_buf_putc(&written->text, '"'));
        written->block.text = mg_buf_view(&written->text);
    }
    mg_err err = write(weave, &call);
    written->block.text = MG_VIEW_NONE;
    mg_buf_clear(&written->text);
    return err;
}

static mg_err close_block(struct mg_weave *weave, struct choice *choice)
{
    if (!choice->open)
        return MG_OK;
    choice->open = false;
    return end_block(weave, &choice->written);
}

/* A block without a frame is written whole at its end. */
static bool keeps_text(const struct mg_weave *weave, const struct written *written)
{
    return weave->style.wants_text || !written->frame.count;
}

static mg_err keep_text(struct mg_weave *weave, struct written *written, mg_view inside)
{
    return keeps_text(weave, written) ? mg_buf_put(&written->text, inside) : MG_OK;
}

static mg_err piece_of_call(struct mg_weave *weave, struct tool *tool, mg_view inside)
{
    if (!inside.len)
        return MG_OK;
    MG_TRY(keep_text(weave, &tool->written, inside));
    return put_framed(weave, &tool->written.frame, MG_VIEW("\""), inside, MG_VIEW("\""));
}

static mg_err close_tool(struct mg_weave *weave, struct tool *tool)
{
    if (tool->state != TOOL_OPEN)
        return MG_OK;
    if (!tool->has_arguments)
        MG_TRY(piece_of_call(weave, tool, MG_VIEW("{}")));   /* some say nothing of none; others cannot read that */
    tool->state = TOOL_CLOSED;
    mg_err err = end_block(weave, &tool->written);
    mg_buf_fini(&tool->written.text);
    return err;
}

static struct tool *open_tool(const struct choice *choice)
{
    for (struct tool *tool = choice->calls; tool; tool = tool->next)
        if (tool->state == TOOL_OPEN)
            return tool;
    return NULL;
}

static mg_err begin_block(struct mg_weave *weave, struct choice *choice, struct written *written)
{
    written->block.index = choice->blocks++;
    mg_buf_clear(&written->frame.text);
    written->frame.count = 0;
    mg_buf_clear(&written->text);
    struct mg_write_call call = {.what = MG_WRITE_OPEN, .block = &written->block, .frame = &written->frame};
    MG_TRY(write(weave, &call));
    return keeps_text(weave, written) ? mg_buf_putc(&written->text, '"') : MG_OK;
}

/* The call's block begins, with what waited of it. */
static mg_err begin_tool(struct mg_weave *weave, struct choice *choice, struct tool *tool)
{
    MG_TRY(close_block(weave, choice));
    MG_TRY(begin_block(weave, choice, &tool->written));
    tool->state = TOOL_OPEN;
    weave->waiting -= tool->waiting.len;
    mg_err err = piece_of_call(weave, tool, mg_buf_view(&tool->waiting));
    mg_buf_fini(&tool->waiting);
    return err;
}

static bool is_whole(const struct tool *tool)
{
    return mg_json_pieces_complete(&tool->arguments);
}

/* All that waited: those whose arguments are whole begin and end, the first other one begins. `all`: no more will come. */
static mg_err let_calls_begin(struct mg_weave *weave, struct choice *choice, bool all)
{
    for (struct tool *tool = choice->calls; tool; tool = tool->next) {
        struct tool *open = weave->style.one_block ? open_tool(choice) : NULL;
        if (open && open != tool && !all && !is_whole(open))
            return MG_OK;
        if (tool->state != TOOL_WAITING)
            continue;
        if (open)
            MG_TRY(close_tool(weave, open));
        MG_TRY(begin_tool(weave, choice, tool));
    }
    return MG_OK;
}

static mg_err end_calls(struct mg_weave *weave, struct choice *choice)
{
    MG_TRY(let_calls_begin(weave, choice, true));
    for (struct tool *tool = choice->calls; tool; tool = tool->next)
        MG_TRY(close_tool(weave, tool));
    return MG_OK;
}

static mg_err begin_text(struct mg_weave *weave, struct choice *choice, const struct mg_delta *delta)
{
    if (choice->open && choice->written.block.kind == delta->kind)
        return MG_OK;
    MG_TRY(close_block(weave, choice));
    if (weave->style.one_block)
        MG_TRY(end_calls(weave, choice));
    choice->written.block = (struct mg_block){.kind = delta->kind, .choice = delta->choice};
    choice->open = true;
    return begin_block(weave, choice, &choice->written);
}

static mg_err add_text(struct mg_weave *weave, struct choice *choice, const struct mg_delta *delta)
{
    if (delta->text.len <= 2)
        return MG_OK;
    MG_TRY(begin_text(weave, choice, delta));
    MG_TRY(keep_text(weave, &choice->written, mg_view_head(mg_view_skip(delta->text, 1), delta->text.len - 2)));
    return put_framed(weave, &choice->written.frame, MG_VIEW_NONE, delta->text, MG_VIEW_NONE);
}

/* ---- tool calls -------------------------------------------------------------------------------- */

static mg_view owned(mg_view text)
{
    char *copy = text.len ? mg_alloc(text.len) : NULL;
    if (copy)
        memcpy(copy, text.ptr, text.len);
    return mg_view_of(copy, text.len);
}

static mg_err new_tool(struct mg_weave *weave, struct choice *choice, const struct mg_delta *delta, struct tool **out_tool)
{
    size_t bytes = delta->id.len + delta->name.len + delta->signature.len;
    if (weave->tool_count == MG_MAX_STREAM_TOOLS || bytes > MG_MAX_TRANSLATED_BYTES - weave->named)
        return MG_E_TOO_LARGE;
    weave->named += bytes;
    struct tool *tool = mg_new(struct tool);
    tool->upstream = delta->tool;
    init_written(&tool->written);
    tool->written.block = (struct mg_block){.kind = MG_DELTA_TOOL, .choice = delta->choice, .tool = choice->tools++,
                                            .id = owned(delta->id), .name = owned(delta->name), .signature = owned(delta->signature)};
    mg_buf_init(&tool->waiting, MG_MAX_TRANSLATED_BYTES);
    *choice->calls_end = tool;
    choice->calls_end = &tool->next;
    weave->tool_count++;
    *out_tool = tool;
    return MG_OK;
}

/* The last call of that number. Some vendors number none, or all the same: a name after whole arguments begins another. */
static struct tool *find_tool(const struct choice *choice, const struct mg_delta *delta)
{
    struct tool *found = NULL;
    for (struct tool *tool = choice->calls; tool; tool = tool->next)
        if (tool->upstream == delta->tool)
            found = tool;
    bool another = found && delta->name.len > 2 && is_whole(found);
    return another ? NULL : found;
}

static mg_err wait_with(struct mg_weave *weave, struct tool *tool, mg_view inside)
{
    if (inside.len > MG_MAX_TRANSLATED_BYTES - weave->waiting)
        return MG_E_TOO_LARGE;
    weave->waiting += inside.len;
    return mg_buf_put(&tool->waiting, inside);
}

static mg_err add_arguments(struct mg_weave *weave, struct tool *tool, mg_view text)
{
    mg_view inside = mg_view_head(mg_view_skip(text, 1), text.len - 2);
    bool ended = tool->state == TOOL_CLOSED && !is_whole(tool);
    (void)mg_json_pieces_feed_string(&tool->arguments, text);     /* broken ones fail the attempt by its own tap */
    if (ended)
        return MG_E_PROTOCOL;          /* something else made it end too early: the client would run half a call */
    if (tool->state == TOOL_CLOSED)
        return MG_OK;                  /* blanks behind whole arguments */
    tool->has_arguments = true;
    return tool->state == TOOL_WAITING ? wait_with(weave, tool, inside) : piece_of_call(weave, tool, inside);
}

static mg_err add_call(struct mg_weave *weave, struct choice *choice, const struct mg_delta *delta)
{
    struct tool *tool = find_tool(choice, delta);
    if (!tool)
        MG_TRY(new_tool(weave, choice, delta, &tool));
    MG_TRY(let_calls_begin(weave, choice, false));
    return delta->text.len > 2 ? add_arguments(weave, tool, delta->text) : MG_OK;
}

/* ---- deltas ------------------------------------------------------------------------------------ */

static mg_err add_opaque(struct mg_weave *weave, const struct mg_delta *delta)
{
    struct mg_write_call call = {.what = MG_WRITE_OPAQUE, .opaque = delta->opaque};
    return write(weave, &call);
}

static void keep_finish(struct choice *choice, mg_view reason)
{
    if (reason.len < sizeof choice->finish)
        snprintf(choice->finish, sizeof choice->finish, "%.*s", MG_FMT(reason));
}

static mg_err write_delta(struct mg_weave *weave, const struct mg_delta *delta)
{
    if (delta->choice < 0 || delta->choice >= MAX_CHOICES)
        return MG_OK;                  /* nobody can have asked for so many */
    struct choice *choice = &weave->choices[delta->choice];
    switch (delta->kind) {
    case MG_DELTA_TEXT:
    case MG_DELTA_REASONING:
    case MG_DELTA_REFUSAL: return add_text(weave, choice, delta);
    case MG_DELTA_TOOL: return add_call(weave, choice, delta);
    case MG_DELTA_FINISH: keep_finish(choice, delta->text); return MG_OK;
    case MG_DELTA_OPAQUE: return add_opaque(weave, delta);
    }
    return MG_OK;
}

/* The client's last events of what broke off, which it must have before anything else. */
static mg_err write_before(struct mg_weave *weave)
{
    struct mg_buf *before = &weave->resumed->before;
    mg_err err = room(weave, before->len);
    if (err == MG_OK)
        err = mg_buf_put(&weave->out, mg_buf_view(before));
    mg_buf_clear(before);
    return err;
}

static mg_err apply(struct mg_weave *weave, const struct mg_delta *delta)
{
    struct mg_delta rest = *delta;
    bool passes = true;
    if (weave->resumed)
        MG_TRY(mg_resumed_take(weave->resumed, &rest, &passes));
    if (weave->resumed && passes && delta->kind != MG_DELTA_FINISH)
        MG_TRY(write_before(weave));
    return passes ? write_delta(weave, &rest) : MG_OK;
}

/* Arguments that are an object, as the string that other dialects have. */
static mg_err quote(struct mg_weave *weave, mg_view *text)
{
    mg_buf_clear(&weave->quoted);
    MG_TRY(mg_buf_putc(&weave->quoted, '"'));
    MG_TRY(mg_buf_put_json(&weave->quoted, *text));
    MG_TRY(mg_buf_putc(&weave->quoted, '"'));
    *text = mg_buf_view(&weave->quoted);
    return MG_OK;
}

static mg_err apply_refusal(struct mg_weave *weave, mg_view data, const struct mg_tap_text *at)
{
    struct mg_delta delta = {.kind = MG_DELTA_REFUSAL, .choice = at->choice,
                             .text = mg_view_head(mg_view_skip(data, at->offset), at->len)};
    return apply(weave, &delta);
}

static mg_view span(mg_view data, size_t offset, size_t len)
{
    return mg_view_head(mg_view_skip(data, offset), len);
}

static mg_err apply_text(struct mg_weave *weave, mg_view data, const struct mg_tap_text *at)
{
    struct mg_delta delta = {
        .kind = at->reasoning ? MG_DELTA_REASONING : MG_DELTA_TEXT,
        .choice = at->choice,
        .text = span(data, at->offset, at->len),
    };
    return apply(weave, &delta);
}

static mg_err apply_tool(struct mg_weave *weave, mg_view data, const struct mg_tap_tool *at)
{
    struct mg_delta delta = {
        .kind = MG_DELTA_TOOL,
        .choice = at->choice,
        .tool = at->index,
        .id = span(data, at->id_offset, at->id_len),
        .name = span(data, at->name_offset, at->name_len),
        .text = span(data, at->arguments_offset, at->arguments_len),
    };
    if (at->whole)
        MG_TRY(quote(weave, &delta.text));
    return apply(weave, &delta);
}

static size_t place_of(const struct mg_tap_tool *tool)
{
    return tool->id_len ? tool->id_offset : tool->name_len ? tool->name_offset : tool->arguments_offset;
}

/* Texts and calls in the order in which they stand in the event. */
static mg_err apply_seen(struct mg_weave *weave, mg_view data, const struct mg_tap_event *seen)
{
    int text = 0, tool = 0;
    while (text < seen->text_count || tool < seen->tool_count) {
        bool text_first = tool == seen->tool_count ||
                          (text < seen->text_count && seen->texts[text].offset < place_of(&seen->tools[tool]));
        MG_TRY(text_first ? apply_text(weave, data, &seen->texts[text++]) : apply_tool(weave, data, &seen->tools[tool++]));
    }
    return seen->refused.len ? apply_refusal(weave, data, &seen->refused) : MG_OK;
}

static mg_err apply_read(struct mg_weave *weave, const struct mg_sse_event *event)
{
    struct mg_delta deltas[MG_DELTAS];
    int count = 0;
    MG_TRY(weave->translator->ops->read(weave->stream, event->name, event->data, deltas, &count));
    for (int i = 0; i < count; i++)
        MG_TRY(apply(weave, &deltas[i]));
    return MG_OK;
}

/* Of a stream the tap keeps the last reason as text; each choice has its own. */
static void keep_finishes(struct mg_weave *weave, const struct mg_tap *tap, const struct mg_tap_event *seen)
{
    char reason[48];
    int len = snprintf(reason, sizeof reason, "\"%s\"", tap->finish);
    for (int i = 0; i < seen->finished_count && len < (int)sizeof reason; i++)
        if (seen->finished[i] >= 0 && seen->finished[i] < MAX_CHOICES)
            keep_finish(&weave->choices[seen->finished[i]], mg_view_of(reason, (size_t)len));
}

static mg_err start(struct mg_weave *weave)
{
    if (weave->started)
        return MG_OK;
    weave->started = true;
    struct mg_write_call call = {.what = MG_WRITE_START};
    return write(weave, &call);
}

static mg_err finish_choice(struct mg_weave *weave, int number, const struct mg_usage *usage, enum mg_finish end);

/* An answer that its last word calls a failure has not ended: what comes is an error, or another answer. */
static mg_err end(struct mg_weave *weave, const struct mg_tap *tap)
{
    if (weave->ended || !tap->finished || tap->failed || tap->broken_arguments)
        return MG_OK;
    weave->ended = true;
    if (weave->resumed && !mg_resumed_settled(weave->resumed))
        return MG_E_EXISTS;
    if (weave->resumed)
        MG_TRY(write_before(weave));
    MG_TRY(start(weave));
    for (int i = 0; i < MAX_CHOICES; i++)
        if (i == 0 || weave->choices[i].blocks || weave->choices[i].finish[0])
            MG_TRY(finish_choice(weave, i, &tap->usage, tap->end));
    struct mg_write_call call = {.what = MG_WRITE_DONE, .usage = &tap->usage};
    return write(weave, &call);
}

static mg_err take_event(struct mg_weave *weave, const struct mg_tap *tap, const struct mg_sse_event *event,
                         const struct mg_tap_event *seen)
{
    if (event->is_comment || seen->malformed || weave->ended)
        return MG_OK;
    MG_TRY(start(weave));
    MG_TRY(seen->rare ? apply_read(weave, event) : apply_seen(weave, event->data, seen));
    keep_finishes(weave, tap, seen);
    return seen->done ? end(weave, tap) : MG_OK;
}

static mg_err leave(struct mg_weave *weave, mg_err err)
{
    if (err == MG_OK)
        emit_all(weave);
    weave->busy = false;
    if (weave->doomed)
        mg_weave_free(weave);
    return err;
}

mg_err mg_weave_event(struct mg_weave *weave, const struct mg_tap *tap, const struct mg_sse_event *event,
                      const struct mg_tap_event *seen)
{
    weave->busy = true;
    return leave(weave, take_event(weave, tap, event, seen));
}

mg_err mg_weave_end(struct mg_weave *weave, const struct mg_tap *tap)
{
    weave->busy = true;
    return leave(weave, end(weave, tap));
}

static mg_err finish_choice(struct mg_weave *weave, int number, const struct mg_usage *usage, enum mg_finish end)
{
    struct choice *choice = &weave->choices[number];
    struct mg_write_call call = {
        .what = MG_WRITE_FINISH,
        .choice = number,
        .reason = mg_view_cstr(choice->finish),
        .end = end,
        .has_tools = choice->tools > 0,
        .usage = usage,
    };
    MG_TRY(end_calls(weave, choice));
    MG_TRY(close_block(weave, choice));
    return write(weave, &call);
}

/* ---- going on with what a client has ------------------------------------------------------------- */

/* A block that is open for the client: its writer is told that it begins, and what it says to that the client has. */
static mg_err reopen(struct mg_weave *weave, struct choice *choice, struct written *written)
{
    size_t before = weave->out.len;
    uint64_t seq = weave->seq;
    MG_TRY(begin_block(weave, choice, written));
    weave->out.len = before;
    weave->seq = seq;
    return keep_text(weave, written, mg_buf_view(&weave->resumed->last_text));
}

static mg_err quoted_text(struct mg_weave *weave, struct mg_buf *text, mg_view *out)
{
    *out = mg_buf_view(text);
    return text->len ? quote(weave, out) : MG_OK;
}

static mg_err add_known_call(struct mg_weave *weave, struct mg_resumed_call *call, bool open)
{
    struct choice *choice = &weave->choices[0];
    struct mg_delta delta = {.kind = MG_DELTA_TOOL, .tool = mg_resumed_number((int)(call - weave->resumed->calls))};
    struct tool *tool = NULL;
    MG_TRY(quoted_text(weave, &call->name, &delta.name));
    MG_TRY(new_tool(weave, choice, &delta, &tool));
    MG_TRY(quoted_text(weave, &call->id, &delta.id));
    tool->written.block.id = owned(delta.id);
    tool->arguments = call->pieces;
    tool->has_arguments = call->arguments.len > 0;
    tool->state = open ? TOOL_OPEN : TOOL_CLOSED;
    return open ? reopen(weave, choice, &tool->written) : MG_OK;
}

static mg_err reopen_text(struct mg_weave *weave, struct choice *choice)
{
    choice->written.block = (struct mg_block){.kind = weave->resumed->last};
    choice->open = true;
    return reopen(weave, choice, &choice->written);
}

/* Texts first: what the writer is told last is what is open. */
static mg_err take_place(struct mg_weave *weave)
{
    struct mg_resumed *resumed = weave->resumed;
    struct choice *choice = &weave->choices[0];
    bool tool = resumed->open && resumed->last == MG_DELTA_TOOL, text = resumed->open && !tool;
    choice->blocks = resumed->parts - resumed->open;
    for (int i = 0; i < resumed->call_count; i++)
        MG_TRY(add_known_call(weave, &resumed->calls[i], tool && i == resumed->call_count - 1));
    return text ? reopen_text(weave, choice) : MG_OK;
}

static mg_err on_sent(void *arg, const struct mg_sse_event *event)
{
    struct mg_weave *weave = arg;
    struct mg_tap_event seen;
    if (!event->is_comment)
        mg_tap_event(&weave->client, event->name, event->data, &seen);
    return MG_OK;
}

mg_err mg_weave_resume(struct mg_weave *weave, mg_view sent, bool goes_on)
{
    struct mg_sse *sse = mg_sse_new(MG_MAX_SSE_EVENT_BYTES, on_sent, weave);
    mg_err err = mg_sse_feed(sse, sent);
    mg_sse_free(sse);
    weave->resumed = mg_new(struct mg_resumed);
    mg_resumed_init(weave->resumed);
    weave->started = true;
    if (err == MG_OK)
        err = weave->translator->ops->resume(weave->stream, sent, weave->resumed, &weave->seq);
    weave->resumed->goes_on = goes_on;
    return err == MG_OK ? take_place(weave) : err;
}
