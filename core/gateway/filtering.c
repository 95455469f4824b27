#include "gateway/filtering.h"

#include "base/log.h"
#include "base/mem.h"
#include "http/json_members.h"

enum { OUTPUTS = 8 };                  /* and as many texts an event */

/* A text of the stream that did not pass as it came. Some dialects say all of a block again at its end. */
struct said {
    struct said *next;
    mg_view came, passed;              /* decoded; in the exchange's arena */
};

/* One logical output of the stream: a choice × content or reasoning. */
struct output {
    int choice;
    enum mg_channel channel;
    bool ended;
    size_t offset, len;                /* of the text span in `event` */
    struct mg_buf event;               /* data of its last event: the pattern for what is flushed later */
    struct mg_buf name;                /* of that event */
    struct mg_buf came, passed;        /* of its block so far, where the dialect repeats blocks */
};

struct mg_filtering {
    enum mg_filter_mode mode;
    struct mg_filter *filter;
    struct output outputs[OUTPUTS];
    int output_count;
    struct mg_buf scratch;             /* a decoded text */
    struct mg_buf quoted[OUTPUTS];         /* replacements of one event */
    struct mg_buf text;                /* of choice 0, when the stream is buffered */
    struct mg_timer flush;
    struct said *said;                 /* blocks that ended */
    uint32_t number;                   /* of the next event, where the dialect counts them */
    bool repeats;                      /* the stream is one of a dialect that says its blocks again */
    bool guarded;                      /* text that no filter can see ends the stream */
    struct mg_exchange *x;
};

static void drop_outputs(struct mg_filtering *f)
{
    for (int i = 0; i < f->output_count; i++) {
        mg_buf_fini(&f->outputs[i].event);
        mg_buf_fini(&f->outputs[i].name);
        mg_buf_fini(&f->outputs[i].came);
        mg_buf_fini(&f->outputs[i].passed);
    }
    f->said = NULL;
    f->output_count = 0;
    f->number = 0;
}

static void end_filtering(void *arg)
{
    struct mg_filtering *f = arg;
    mg_timer_cancel(&f->x->worker->loop, &f->flush);
    drop_outputs(f);
    mg_buf_fini(&f->scratch);
    mg_buf_fini(&f->text);
    for (int i = 0; i < OUTPUTS; i++)
        mg_buf_fini(&f->quoted[i]);
}

bool mg_filtering_begin(struct mg_exchange *x)
{
    struct mg_script *script = x->live->script;
    if (!script || !x->call.request.stream)
        return true;
    enum mg_filter_mode mode = mg_script_filter_mode(script, &x->call);
    if (mode == MG_FILTER_NONE)
        return true;
    if (mode == MG_FILTER_REJECT) {
        mg_exchange_refuse_as(x, 400, MG_VIEW("stream_not_allowed"),
                              MG_VIEW("A plugin of this project must see whole answers and does not allow streaming: "
                                      "ask again without \"stream\": true."), MG_VIEW("stream"), 0);
        return false;
    }
    struct mg_filtering *f = mg_arena_new(&x->arena, struct mg_filtering);
    f->mode = mode;
    f->guarded = mg_script_guards_stream(script, &x->call);
    f->x = x;
    mg_buf_init(&f->scratch, MG_MAX_SSE_EVENT_BYTES);
    mg_buf_init(&f->text, MG_MAX_HELD_BYTES);
    for (int i = 0; i < OUTPUTS; i++)
        mg_buf_init(&f->quoted[i], MG_MAX_SSE_EVENT_BYTES);
    mg_arena_cleanup(&x->arena, end_filtering, f);
    x->filtering = f;
    mg_filtering_restart(x);
    return true;
}

void mg_filtering_restart(struct mg_exchange *x)
{
    struct mg_filtering *f = x->filtering;
    drop_outputs(f);
    mg_buf_clear(&f->text);
    mg_buf_clear(&x->rewritten);
    mg_timer_cancel(&x->worker->loop, &f->flush);
    f->filter = mg_filter_new(x->live->script, &x->call);
}

static struct output *find_output(struct mg_filtering *f, const struct mg_tap_text *text)
{
    enum mg_channel channel = text->reasoning ? MG_CHANNEL_REASONING : MG_CHANNEL_CONTENT;
    for (int i = 0; i < f->output_count; i++)
        if (f->outputs[i].choice == text->choice && f->outputs[i].channel == channel)
            return &f->outputs[i];
    if (f->output_count == OUTPUTS)
        return NULL;
    struct output *output = &f->outputs[f->output_count++];
    *output = (struct output){.choice = text->choice, .channel = channel};
    mg_buf_init(&output->event, MG_MAX_SSE_EVENT_BYTES);
    mg_buf_init(&output->name, MG_MAX_SSE_EVENT_BYTES);
    mg_buf_init(&output->came, MG_MAX_HELD_BYTES);
    mg_buf_init(&output->passed, MG_MAX_HELD_BYTES);
    return output;
}

static mg_err quote(struct mg_buf *out, mg_view text)
{
    mg_buf_clear(out);
    MG_TRY(mg_buf_putc(out, '"'));
    MG_TRY(mg_buf_put_json(out, text));
    return mg_buf_putc(out, '"');
}

static mg_err filter_text(struct mg_filtering *f, struct output *output, mg_view text, bool final, mg_view *out_text,
                          struct mg_hook_outcome *outcome)
{
    MG_TRY(mg_filter_feed(f->filter, output->choice, output->channel, text, final, out_text, outcome));
    if (f->repeats) {
        MG_TRY(mg_buf_put(&output->came, text));
        MG_TRY(mg_buf_put(&output->passed, *out_text));
    }
    bool keep = f->mode == MG_FILTER_BUFFER && output->choice == 0 && output->channel == MG_CHANNEL_CONTENT;
    return keep ? mg_buf_put(&f->text, *out_text) : MG_OK;
}

/* An event with other texts. Some SDKs go by its name. */
static mg_err put_data(struct mg_buf *out, mg_view name, mg_view data, const struct mg_splice *splices, size_t count)
{
    if (name.len)
        MG_TRY(mg_buf_putf(out, "event: %.*s\n", MG_FMT(name)));
    MG_TRY(mg_buf_put(out, MG_VIEW("data: ")));
    MG_TRY(mg_splice_apply(data, splices, count, out));
    return mg_buf_put(out, MG_VIEW("\n\n"));
}

/* The event that begins there gets the next number: some are added to a stream that counts its events. */
static mg_err number_event(struct mg_filtering *f, size_t from)
{
    struct mg_buf *out = &f->x->rewritten;
    const char *member = f->x->dialect->sequence;
    mg_view event = mg_view_skip(mg_buf_view(out), from);
    mg_view data = member ? mg_view_skip(event, mg_view_search(event, MG_VIEW("data: "))) : MG_VIEW_NONE;
    mg_view number = data.len > 6 ? mg_json_member(mg_view_skip(data, 6), mg_view_cstr(member)) : MG_VIEW_NONE;
    if (!number.len)
        return MG_OK;
    size_t at = (size_t)(number.ptr - event.ptr);
    mg_buf_clear(&f->scratch);
    MG_TRY(mg_buf_put(&f->scratch, mg_view_skip(event, at + number.len)));
    out->len = from + at;
    MG_TRY(mg_buf_putf(out, "%u", f->number++));
    return mg_buf_put(out, mg_buf_view(&f->scratch));
}

/* One more event of that output, with this text. */
static mg_err put_text(struct mg_filtering *f, struct output *output, mg_view text)
{
    size_t from = f->x->rewritten.len;
    MG_TRY(quote(&f->quoted[0], text));
    struct mg_splice splice = {output->offset, output->len, mg_buf_view(&f->quoted[0])};
    MG_TRY(put_data(&f->x->rewritten, mg_buf_view(&output->name), mg_buf_view(&output->event), &splice, 1));
    f->x->sent_events++;
    return number_event(f, from);
}

static void keep_said(struct mg_filtering *f, struct output *output)
{
    mg_view came = mg_buf_view(&output->came), passed = mg_buf_view(&output->passed);
    if (!mg_view_eq(came, passed)) {
        struct said *said = mg_arena_new(&f->x->arena, struct said);
        *said = (struct said){f->said, mg_arena_dup(&f->x->arena, came), mg_arena_dup(&f->x->arena, passed)};
        f->said = said;
    }
    mg_buf_clear(&output->came);
    mg_buf_clear(&output->passed);
}

static mg_err end_output(struct mg_filtering *f, struct output *output, struct mg_hook_outcome *outcome)
{
    mg_view rest;
    if (output->ended)
        return MG_OK;
    output->ended = true;
    MG_TRY(filter_text(f, output, MG_VIEW_NONE, true, &rest, outcome));
    if (f->repeats)
        keep_said(f, output);
    return rest.len ? put_text(f, output, rest) : MG_OK;
}

/* The JSON string that begins at `at`, quotes included. */
static mg_view string_at(mg_view data, size_t at)
{
    size_t end = at + 1;
    while (end < data.len && data.ptr[end] != '"')
        end += data.ptr[end] == '\\' ? 2 : 1;
    return mg_view_head(mg_view_skip(data, at), MG_MIN(end + 1, data.len) - at);
}

static const struct said *find_said(const struct said *said, struct mg_buf *scratch, mg_view string)
{
    mg_view text;
    if (mg_json_span_text(string, scratch, &text) == MG_OK)
        for (; said; said = said->next)
            if (mg_view_eq(said->came, text))
                return said;
    return NULL;
}

/* An event that says blocks again: every "text" or "refusal" that did not pass as it came is what passed. */
static mg_err put_repeated(const struct said *blocks, struct mg_buf *scratch, const struct mg_sse_event *event, struct mg_buf *out)
{
    mg_view data = event->data, key = MG_VIEW_NONE;
    size_t from = 0;
    MG_TRY(mg_buf_putf(out, "event: %.*s\ndata: ", MG_FMT(event->name)));
    for (size_t at = mg_view_find(data, "\""); at < data.len; at += mg_view_find(mg_view_skip(data, at), "\"")) {
        mg_view string = string_at(data, at);
        bool text = mg_view_eq(key, MG_VIEW("\"text\"")) || mg_view_eq(key, MG_VIEW("\"refusal\""));
        const struct said *said = text ? find_said(blocks, scratch, string) : NULL;
        if (said) {
            MG_TRY(mg_buf_put(out, mg_view_head(mg_view_skip(data, from), at - from)));
            MG_TRY(mg_buf_putc(out, '"'));
            MG_TRY(mg_buf_put_json(out, said->passed));
            MG_TRY(mg_buf_putc(out, '"'));
            from = at + string.len;
        }
        at += string.len;
        key = string;
    }
    MG_TRY(mg_buf_put(out, mg_view_skip(data, from)));
    return mg_buf_put(out, MG_VIEW("\n\n"));
}

static bool finishes(const struct mg_tap_event *seen, int choice)
{
    for (int i = 0; i < seen->finished_count; i++)
        if (seen->finished[i] == choice)
            return true;
    return false;
}

/* There is text of that output in the event itself. */
static bool speaks(const struct mg_tap_event *seen, const struct output *output)
{
    for (int i = 0; i < seen->text_count; i++)
        if (seen->texts[i].choice == output->choice && seen->texts[i].reasoning == (output->channel == MG_CHANNEL_REASONING))
            return true;
    return false;
}

/* content_block_stop, response.output_text.done: a text that belongs to the block comes before its end, or nowhere. */
static bool closes_block(mg_view name)
{
    return mg_view_ends(name, MG_VIEW("_stop")) || mg_view_ends(name, MG_VIEW(".done"));
}

/* Those that end with this event and are not ended by a text in it. What is said in a later block begins anew. */
static mg_err end_outputs(struct mg_filtering *f, const struct mg_sse_event *event, const struct mg_tap_event *seen,
                          struct mg_hook_outcome *outcome)
{
    for (int i = 0; i < f->output_count; i++) {
        struct output *output = &f->outputs[i];
        bool ends = finishes(seen, output->choice) || closes_block(event->name);
        if (seen->done || (ends && !speaks(seen, output)))
            MG_TRY(end_output(f, output, outcome));
    }
    return MG_OK;
}

static void on_flush_due(struct mg_timer *timer);

static void arm_flush(struct mg_filtering *f)
{
    uint32_t due_ms = f->filter ? mg_filter_flush_in_ms(f->filter) : 0;
    if (due_ms)
        mg_timer_start(&f->x->worker->loop, &f->flush, due_ms, on_flush_due);
}

/* Held long enough: transforms let go of what they have, in an event of its own. */
static void on_flush_due(struct mg_timer *timer)
{
    struct mg_filtering *f = mg_container_of(timer, struct mg_filtering, flush);
    struct mg_exchange *x = f->x;
    struct mg_hook_outcome outcome;
    for (int i = 0; x->answer.committed && i < f->output_count; i++) {
        mg_view text;
        struct output *output = &f->outputs[i];
        if (output->ended || filter_text(f, output, MG_VIEW_NONE, false, &text, &outcome) != MG_OK || !text.len)
            continue;
        if (put_text(f, output, text) != MG_OK)
            mg_log_warn("filter.flush", "exchange=%s", x->timeline->id);
    }
    mg_deliver_ops.on_flush(x);
    arm_flush(f);
}

static mg_err remember(struct output *output, const struct mg_sse_event *event, const struct mg_tap_text *text)
{
    mg_buf_clear(&output->event);
    mg_buf_clear(&output->name);
    output->offset = text->offset;
    output->len = text->len;
    MG_TRY(mg_buf_put(&output->name, event->name));
    return mg_buf_put(&output->event, event->data);
}

/* Fills splices for the texts of one event; they come in document order. */
static mg_err filter_texts(struct mg_filtering *f, const struct mg_sse_event *event, const struct mg_tap_event *seen,
                           struct mg_splice *splices, size_t *count, struct mg_hook_outcome *outcome)
{
    for (int i = 0; i < seen->text_count; i++) {
        const struct mg_tap_text *text = &seen->texts[i];
        struct output *output = find_output(f, text);
        mg_view decoded, passed;
        if (!output)
            return MG_E_TOO_LARGE;
        MG_TRY(remember(output, event, text));
        MG_TRY(mg_json_span_text(mg_view_of(event->data.ptr + text->offset, text->len), &f->scratch, &decoded));
        output->ended = finishes(seen, text->choice);
        MG_TRY(filter_text(f, output, decoded, output->ended, &passed, outcome));
        if (mg_view_eq(passed, decoded))
            continue;
        MG_TRY(quote(&f->quoted[i], passed));
        splices[(*count)++] = (struct mg_splice){text->offset, text->len, mg_buf_view(&f->quoted[i])};
    }
    return MG_OK;
}

static mg_err put_event(struct mg_filtering *f, const struct mg_sse_event *event, const struct mg_tap_event *seen,
                        struct mg_hook_outcome *out_outcome)
{
    struct mg_exchange *x = f->x;
    struct mg_splice splices[OUTPUTS + 1];
    size_t count = 0;
    MG_TRY(filter_texts(f, event, seen, splices, &count, out_outcome));
    arm_flush(f);
    bool cut = seen->cut_len && !mg_exchange_keeps_usage(x);
    if (cut)
        splices[count++] = (struct mg_splice){seen->cut_offset, seen->cut_len, MG_VIEW_NONE};
    if (count == 0)
        return f->said && !seen->text_count ? put_repeated(f->said, &f->scratch, event, &x->rewritten)
                                            : mg_buf_put(&x->rewritten, event->raw);
    for (size_t at = count - 1; cut && at > 0 && splices[at - 1].offset > splices[at].offset; at--) {
        struct mg_splice earlier = splices[at];
        splices[at] = splices[at - 1];
        splices[at - 1] = earlier;
    }
    return put_data(&x->rewritten, event->name, event->data, splices, count);
}

mg_err mg_filtering_event(struct mg_exchange *x, const struct mg_sse_event *event, const struct mg_tap_event *seen,
                          struct mg_hook_outcome *out_outcome)
{
    struct mg_filtering *f = x->filtering;
    if (seen->more_text && f->guarded)
        return MG_E_DENIED;
    f->repeats |= mg_view_starts(event->name, MG_VIEW("response."));
    if (seen->finish || seen->done || closes_block(event->name))
        MG_TRY(end_outputs(f, event, seen, out_outcome));
    if (seen->usage_only && !mg_exchange_keeps_usage(x))
        return MG_OK;
    size_t from = x->rewritten.len;
    mg_err err = put_event(f, event, seen, out_outcome);
    if (err == MG_OK && !event->is_comment)
        err = number_event(f, from);
    if (err != MG_OK)
        x->rewritten.len = from;       /* what passed before it still goes out */
    return err;
}

bool mg_filtering_buffers(const struct mg_exchange *x)
{
    return x->filtering && x->filtering->mode == MG_FILTER_BUFFER;
}

mg_view mg_filtering_text(const struct mg_exchange *x)
{
    return mg_buf_view(&x->filtering->text);
}

/* The held stream on its way through another text. */
struct rewrite {
    struct mg_tap tap;
    struct mg_arena *arena;            /* the exchange's */
    mg_view text, quoted;              /* the new text, and as JSON */
    bool placed;                       /* it took the place of the first text; the others become empty */
    bool repeats;                      /* the dialect says its blocks again */
    struct said *said;                 /* those blocks that ended */
    bool first;                        /* the new text is in the block that is open */
    struct mg_buf came, scratch;       /* of that block */
    struct mg_buf out;
};

static mg_err keep_came(struct rewrite *rewrite, mg_view string)
{
    mg_view text;
    if (!rewrite->repeats)
        return MG_OK;
    MG_TRY(mg_json_span_text(string, &rewrite->scratch, &text));
    return mg_buf_put(&rewrite->came, text);
}

static void end_came(struct rewrite *rewrite)
{
    if (!rewrite->came.len)
        return;
    struct said *said = mg_arena_new(rewrite->arena, struct said);
    *said = (struct said){rewrite->said, mg_arena_dup(rewrite->arena, mg_buf_view(&rewrite->came)),
                          rewrite->first ? rewrite->text : MG_VIEW_NONE};
    rewrite->said = said;
    rewrite->first = false;
    mg_buf_clear(&rewrite->came);
}

static mg_err on_held_event(void *arg, const struct mg_sse_event *event)
{
    struct rewrite *rewrite = arg;
    struct mg_tap_event seen = {.content = false};
    struct mg_splice splices[MG_TAP_TEXTS];
    size_t count = 0;
    if (!event->is_comment)
        mg_tap_event(&rewrite->tap, event->name, event->data, &seen);
    if (closes_block(event->name))
        end_came(rewrite);
    for (int i = 0; i < seen.text_count; i++) {
        if (seen.texts[i].choice != 0 || seen.texts[i].reasoning)
            continue;
        mg_view text = rewrite->placed ? MG_VIEW("\"\"") : rewrite->quoted;
        rewrite->first |= !rewrite->placed;
        MG_TRY(keep_came(rewrite, mg_view_head(mg_view_skip(event->data, seen.texts[i].offset), seen.texts[i].len)));
        splices[count++] = (struct mg_splice){seen.texts[i].offset, seen.texts[i].len, text};
        rewrite->placed = true;
    }
    if (!count && rewrite->said)
        return put_repeated(rewrite->said, &rewrite->scratch, event, &rewrite->out);
    return count ? put_data(&rewrite->out, event->name, event->data, splices, count) : mg_buf_put(&rewrite->out, event->raw);
}

mg_err mg_filtering_replace(struct mg_exchange *x, mg_view text)
{
    struct mg_filtering *f = x->filtering;
    struct rewrite rewrite = {.arena = &x->arena, .text = text, .repeats = f->repeats};
    mg_tap_init(&rewrite.tap, mg_relay_answer_adapter(&x->relay), true);
    mg_buf_init(&rewrite.out, MG_MAX_BUFFERED_BYTES);
    mg_buf_init(&rewrite.came, MG_MAX_BUFFERED_BYTES);
    mg_buf_init(&rewrite.scratch, MG_MAX_SSE_EVENT_BYTES);
    struct mg_sse *sse = mg_sse_new(MG_MAX_SSE_EVENT_BYTES, on_held_event, &rewrite);
    mg_err err = quote(&f->quoted[0], text);
    rewrite.quoted = mg_buf_view(&f->quoted[0]);
    if (err == MG_OK)
        err = mg_sse_feed(sse, mg_buf_view(&x->answer.held));
    mg_answer_forget(&x->answer);
    if (err == MG_OK)
        err = mg_answer_add(&x->answer, mg_buf_view(&rewrite.out));
    if (err == MG_OK)
        err = mg_answer_flush(&x->answer);
    mg_sse_free(sse);
    mg_buf_fini(&rewrite.out);
    mg_buf_fini(&rewrite.came);
    mg_buf_fini(&rewrite.scratch);
    return err;
}
