#include "chat/transcript.h"

#include "base/mem.h"
#include "http/sse.h"

enum { OUT_BYTES = 1 << 20, EVENT_BYTES = 1 << 20 };

/* What came out of one run. */
struct trace {
    struct mg_buf text;
    struct mg_tap tap;
    mg_err err;                        /* the first that went wrong in writing it */
};

static void keep(struct trace *t, mg_err err)
{
    if (!t->err)
        t->err = err;
}

/* ---- what the tap says, as lines ------------------------------------------------------------- */

static void put_word(struct trace *t, const char *word, mg_view span)
{
    if (span.len)
        keep(t, mg_buf_putf(&t->text, " %s %.*s", word, MG_FMT(span)));
}

static mg_view span_of(mg_view doc, size_t offset, size_t len)
{
    return len ? mg_view_of(doc.ptr + offset, len) : MG_VIEW_NONE;
}

static void show_text(struct trace *t, const char *word, mg_view doc, const struct mg_tap_text *text)
{
    keep(t, mg_buf_putf(&t->text, "%s %d", word, text->choice));
    put_word(t, "=", span_of(doc, text->offset, text->len));
    keep(t, mg_buf_putc(&t->text, '\n'));
}

static void show_tool(struct trace *t, mg_view doc, const struct mg_tap_tool *tool)
{
    keep(t, mg_buf_putf(&t->text, "tool %d.%d", tool->choice, tool->index));
    put_word(t, "id", span_of(doc, tool->id_offset, tool->id_len));
    put_word(t, "name", span_of(doc, tool->name_offset, tool->name_len));
    put_word(t, tool->whole ? "whole" : "arguments", span_of(doc, tool->arguments_offset, tool->arguments_len));
    keep(t, mg_buf_putc(&t->text, '\n'));
}

static void show_flag(struct trace *t, bool set, const char *word)
{
    if (set)
        keep(t, mg_buf_putf(&t->text, "%s\n", word));
}

static void show_event(struct trace *t, mg_view doc, const struct mg_tap_event *seen)
{
    for (int i = 0; i < seen->text_count; i++)
        show_text(t, seen->texts[i].reasoning ? "reasoning" : "content", doc, &seen->texts[i]);
    if (seen->refused.len)
        show_text(t, "refusal", doc, &seen->refused);
    for (int i = 0; i < seen->tool_count; i++)
        show_tool(t, doc, &seen->tools[i]);
    show_flag(t, seen->rare, "rare");
    show_flag(t, seen->content && !seen->text_count && !seen->tool_count && !seen->refused.len, "data");
    show_flag(t, seen->lost_tools, "lost tools");
    show_flag(t, seen->more_text, "more text");
    show_flag(t, seen->malformed, "malformed");
    show_flag(t, seen->finish, "finish");
    show_flag(t, seen->done, "done");
}

static void put_count(struct trace *t, const char *name, uint64_t count)
{
    if (count)
        keep(t, mg_buf_putf(&t->text, " %s %llu", name, (unsigned long long)count));
}

static void show_usage(struct trace *t)
{
    const struct mg_usage *usage = &t->tap.usage;
    if (!usage->reported)
        return;
    keep(t, mg_buf_put(&t->text, MG_VIEW("usage")));
    put_count(t, "input", usage->input_tokens);
    put_count(t, "output", usage->output_tokens);
    put_count(t, "cached", usage->cached_read_tokens);
    put_count(t, "written", usage->cached_write_tokens);
    put_count(t, "long", t->tap.cached_write_long_tokens);
    put_count(t, "reasoning", usage->reasoning_tokens);
    put_count(t, "input-audio", usage->input_audio_tokens);
    put_count(t, "output-audio", usage->output_audio_tokens);
    keep(t, mg_buf_putc(&t->text, '\n'));
}

static void show_end(struct trace *t)
{
    static const char *const ends[] = {"none", "good", "cut", "filtered", "failed", "refused"};
    const struct mg_tap *tap = &t->tap;
    show_usage(t);
    if (tap->failed)
        keep(t, mg_buf_putf(&t->text, "error %s: %s %s %s\n", mg_class_name(tap->error_class), tap->error_type, tap->error_code,
                             tap->error_message));
    keep(t, mg_buf_putf(&t->text, "end %s %s%s%s%s%s%s", ends[tap->end], tap->finish, tap->finished ? "" : " unfinished",
                         tap->useful ? "" : " useless", tap->refused ? " refused" : "",
                         tap->broken_arguments ? " broken-arguments" : "", tap->skipped ? " skipped" : ""));
    keep(t, mg_buf_putf(&t->text, " model %s tier %s", tap->served[0] ? tap->served : "-", tap->tier[0] ? tap->tier : "-"));
}

/* ---- running --------------------------------------------------------------------------------- */

static mg_err on_event(void *arg, const struct mg_sse_event *event)
{
    struct trace *t = arg;
    struct mg_tap_event seen;
    if (event->is_comment)
        return MG_OK;
    mg_tap_event(&t->tap, event->name, event->data, &seen);
    show_event(t, event->data, &seen);
    return t->err;
}

static void run_stream(struct trace *t, const struct mg_adapter *adapter, mg_view wire, size_t cut)
{
    struct mg_sse *sse = mg_sse_new(EVENT_BYTES, on_event, t);
    mg_tap_init(&t->tap, adapter, true);
    keep(t, mg_sse_feed(sse, mg_view_head(wire, cut)));
    keep(t, mg_sse_feed(sse, mg_view_skip(wire, cut)));
    keep(t, mg_sse_feed(sse, MG_VIEW("\n\n")));
    show_end(t);
    mg_sse_free(sse);
}

/* A part of an answer is none, and must say nothing. */
static bool part_is_quiet(const struct mg_adapter *adapter, mg_view part)
{
    struct mg_tap tap;
    mg_tap_init(&tap, adapter, false);
    mg_tap_body(&tap, part);
    return tap.malformed && !tap.useful && !tap.finished && !tap.usage.reported;
}

static void run_answer(struct trace *t, const struct mg_adapter *adapter, mg_view wire, size_t cut)
{
    struct mg_arena arena;
    mg_arena_init(&arena, 4096);
    mg_tap_init(&t->tap, adapter, false);
    mg_tap_body(&t->tap, wire);
    mg_view text = mg_tap_text_of(adapter, &arena, wire);
    if (text.ptr)
        keep(t, mg_buf_putf(&t->text, "text %.*s\n", MG_FMT(text)));
    show_end(t);
    if (cut < mg_view_trim(wire).len && !part_is_quiet(adapter, mg_view_head(wire, cut))) {
        mg_buf_clear(&t->text);
        keep(t, mg_buf_put(&t->text, MG_VIEW("what comes before the cut is no answer, and says something")));
    }
    mg_arena_fini(&arena);
}

/* ---- pages ----------------------------------------------------------------------------------- */

struct block {
    mg_view kind, text;
    size_t line;
};

/* The next fenced block behind *at. */
static bool next_block(mg_view page, size_t *at, struct block *out)
{
    mg_view rest = mg_view_skip(page, *at);
    bool first = *at == 0 && mg_view_starts(page, MG_VIEW("```"));      /* no line end stands before it */
    size_t open = first ? 0 : mg_view_search(rest, MG_VIEW("\n```"));
    if (open == rest.len)
        return false;
    out->line = first ? 1 : 2;
    for (size_t i = 0; i < *at + open; i++)
        out->line += page.ptr[i] == '\n';
    rest = mg_view_skip(rest, first ? 3 : open + 4);
    out->kind = mg_view_head(rest, mg_view_find(rest, "\n"));
    rest = mg_view_skip(rest, out->kind.len + 1);
    out->text = mg_view_head(rest, mg_view_search(rest, MG_VIEW("\n```")));
    *at = MG_MIN((size_t)(out->text.ptr - page.ptr) + out->text.len + 4, page.len);
    return true;
}

static mg_err run_case(const struct mg_adapter *adapter, const struct block *block, mg_view want, mg_transcript_cb on_fault, void *arg)
{
    bool stream = mg_view_eq(block->kind, MG_VIEW("stream"));
    struct trace t = {.err = MG_OK};
    mg_buf_init(&t.text, OUT_BYTES);
    for (size_t cut = 0; cut <= block->text.len && !t.err; cut++) {
        mg_buf_clear(&t.text);
        (stream ? run_stream : run_answer)(&t, adapter, block->text, cut);
        if (t.err || mg_view_eq(mg_buf_view(&t.text), want))
            continue;
        struct mg_transcript_fault fault = {block->kind, block->line, cut, mg_buf_view(&t.text), want};
        on_fault(arg, &fault);
        break;
    }
    mg_buf_fini(&t.text);
    return t.err;
}

mg_err mg_transcript_run(const struct mg_adapter *adapter, mg_view page, mg_transcript_cb on_fault, void *arg, int *out_cases,
                         struct mg_diag *diag)
{
    struct block block, want;
    int cases = 0;
    for (size_t at = 0; next_block(page, &at, &block); cases++) {
        if (!mg_view_eq(block.kind, MG_VIEW("stream")) && !mg_view_eq(block.kind, MG_VIEW("answer")))
            return mg_diag_set(diag, MG_E_CONFIG, NULL, (int)block.line, "expected a block \"stream\" or \"answer\", not \"%.*s\"",
                               MG_FMT(block.kind));
        if (!next_block(page, &at, &want) || !mg_view_eq(want.kind, MG_VIEW("tap")))
            return mg_diag_set(diag, MG_E_CONFIG, NULL, (int)block.line, "no block \"tap\" follows: what must come out of it?");
        mg_err err = run_case(adapter, &block, want.text, on_fault, arg);
        if (err != MG_OK)
            return mg_diag_set(diag, err, NULL, (int)block.line, "it is larger than a page may be");
    }
    *out_cases = cases;
    return MG_OK;
}
