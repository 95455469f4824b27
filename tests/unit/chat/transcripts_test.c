/* Runs the pages of tests/wire that are named after adapters: what a provider sent, and what its tap made of it, the
 * stream cut at every byte. */
#include "chat/adapter.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "check.h"
#include "http/sse.h"
#include "script/script.h"

enum { PAGE_BYTES = 1 << 20 };

struct trace {
    struct mg_buf text;
    struct mg_tap tap;
};

typedef void (*run_fn)(struct trace *t, mg_view wire, size_t cut);

/* ---- what the tap says, as lines ------------------------------------------------------------- */

static void put_word(struct trace *t, const char *word, mg_view span)
{
    if (span.len)
        CHECK_OK(mg_buf_putf(&t->text, " %s %.*s", word, MG_FMT(span)));
}

static mg_view span_of(mg_view doc, size_t offset, size_t len)
{
    return len ? mg_view_of(doc.ptr + offset, len) : MG_VIEW_NONE;
}

static void show_text(struct trace *t, const char *word, mg_view doc, const struct mg_tap_text *text)
{
    CHECK_OK(mg_buf_putf(&t->text, "%s %d", word, text->choice));
    put_word(t, "=", span_of(doc, text->offset, text->len));
    CHECK_OK(mg_buf_putc(&t->text, '\n'));
}

static void show_tool(struct trace *t, mg_view doc, const struct mg_tap_tool *tool)
{
    CHECK_OK(mg_buf_putf(&t->text, "tool %d.%d", tool->choice, tool->index));
    put_word(t, "id", span_of(doc, tool->id_offset, tool->id_len));
    put_word(t, "name", span_of(doc, tool->name_offset, tool->name_len));
    put_word(t, tool->whole ? "whole" : "arguments", span_of(doc, tool->arguments_offset, tool->arguments_len));
    CHECK_OK(mg_buf_putc(&t->text, '\n'));
}

static void show_flag(struct trace *t, bool set, const char *word)
{
    if (set)
        CHECK_OK(mg_buf_putf(&t->text, "%s\n", word));
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
        CHECK_OK(mg_buf_putf(&t->text, " %s %llu", name, (unsigned long long)count));
}

static void show_usage(struct trace *t)
{
    const struct mg_usage *usage = &t->tap.usage;
    if (!usage->reported)
        return;
    CHECK_OK(mg_buf_put(&t->text, MG_VIEW("usage")));
    put_count(t, "input", usage->input_tokens);
    put_count(t, "output", usage->output_tokens);
    put_count(t, "cached", usage->cached_read_tokens);
    put_count(t, "written", usage->cached_write_tokens);
    put_count(t, "long", t->tap.cached_write_long_tokens);
    put_count(t, "reasoning", usage->reasoning_tokens);
    put_count(t, "input-audio", usage->input_audio_tokens);
    put_count(t, "output-audio", usage->output_audio_tokens);
    CHECK_OK(mg_buf_putc(&t->text, '\n'));
}

static void show_end(struct trace *t)
{
    static const char *const ends[] = {"none", "good", "cut", "filtered", "failed", "refused"};
    const struct mg_tap *tap = &t->tap;
    show_usage(t);
    if (tap->failed)
        CHECK_OK(mg_buf_putf(&t->text, "error %s: %s %s %s\n", mg_class_name(tap->error_class), tap->error_type, tap->error_code,
                             tap->error_message));
    CHECK_OK(mg_buf_putf(&t->text, "end %s %s%s%s%s%s%s", ends[tap->end], tap->finish, tap->finished ? "" : " unfinished",
                         tap->useful ? "" : " useless", tap->refused ? " refused" : "",
                         tap->broken_arguments ? " broken-arguments" : "", tap->skipped ? " skipped" : ""));
    CHECK_OK(mg_buf_putf(&t->text, " model %s tier %s", tap->served[0] ? tap->served : "-", tap->tier[0] ? tap->tier : "-"));
}

/* ---- running --------------------------------------------------------------------------------- */

static const struct mg_adapter *adapter;

static mg_err on_event(void *arg, const struct mg_sse_event *event)
{
    struct trace *t = arg;
    struct mg_tap_event seen;
    memset(&seen, 0x5a, sizeof seen);  /* nothing of it is expected to be zero */
    if (event->is_comment)
        return MG_OK;
    mg_tap_event(&t->tap, event->name, event->data, &seen);
    show_event(t, event->data, &seen);
    return MG_OK;
}

static void run_stream(struct trace *t, mg_view wire, size_t cut)
{
    struct mg_sse *sse = mg_sse_new(1 << 16, on_event, t);
    mg_tap_init(&t->tap, adapter, true);
    CHECK_OK(mg_sse_feed(sse, mg_view_head(wire, cut)));
    CHECK_OK(mg_sse_feed(sse, mg_view_skip(wire, cut)));
    CHECK_OK(mg_sse_feed(sse, MG_VIEW("\n\n")));
    show_end(t);
    mg_sse_free(sse);
}

/* A prefix of an answer is none, and says nothing. */
static void run_answer(struct trace *t, mg_view wire, size_t cut)
{
    struct mg_tap part;
    mg_tap_init(&part, adapter, false);
    mg_tap_body(&part, mg_view_head(wire, cut));
    if (cut < mg_view_trim(wire).len)
        CHECK(part.malformed && !part.useful && !part.finished && !part.usage.reported);

    struct mg_arena arena;
    mg_arena_init(&arena, 4096);
    mg_tap_init(&t->tap, adapter, false);
    mg_tap_body(&t->tap, wire);
    mg_view text = mg_tap_text_of(adapter, &arena, wire);
    if (text.ptr)
        CHECK_OK(mg_buf_putf(&t->text, "text %.*s\n", MG_FMT(text)));
    show_end(t);
    mg_view changed = mg_tap_replace_text(adapter, &arena, wire, MG_VIEW("\"new\""));
    if (text.ptr)
        CHECK_VIEW(mg_tap_text_of(adapter, &arena, changed), MG_VIEW("\"new\""));
    else
        CHECK_VIEW(changed, wire);
    mg_arena_fini(&arena);
}

static void check_case(mg_view title, run_fn run, mg_view wire, mg_view want)
{
    for (size_t cut = 0; cut <= wire.len; cut++) {
        struct trace t;
        mg_buf_init(&t.text, PAGE_BYTES);
        run(&t, wire, cut);
        if (!mg_view_eq(mg_buf_view(&t.text), want))
            check_failed(__FILE__, __LINE__, "%.*s, cut at %zu:\n%.*s\nwant:\n%.*s", MG_FMT(title), cut,
                         MG_FMT(mg_buf_view(&t.text)), MG_FMT(want));
        mg_buf_fini(&t.text);
    }
}

/* ---- pages ----------------------------------------------------------------------------------- */

static void read_page(const char *name, struct mg_buf *out)
{
    char path[4096];
    const char *source = getenv("MOONGATE_SOURCE_DIR");
    snprintf(path, sizeof path, "%s/tests/wire/%s.md", source ? source : ".", name);
    FILE *file = fopen(path, "rbe");
    if (!file)
        check_failed(__FILE__, __LINE__, "%s cannot be opened", path);
    mg_buf_init(out, PAGE_BYTES);
    CHECK_OK(mg_buf_reserve(out, PAGE_BYTES));
    mg_buf_grew(out, fread(mg_buf_tail(out), 1, PAGE_BYTES, file));
    fclose(file);
}

/* The next fenced block: its kind and its text. */
static bool cut_block(mg_view *page, mg_view *out_kind, mg_view *out_block)
{
    size_t at = mg_view_search(*page, MG_VIEW("\n```"));
    if (at == page->len)
        return false;
    mg_view rest = mg_view_skip(*page, at + 4);
    *out_kind = mg_view_head(rest, mg_view_find(rest, "\n"));
    rest = mg_view_skip(rest, out_kind->len + 1);
    size_t end = mg_view_search(rest, MG_VIEW("\n```\n"));
    CHECK(end < rest.len);
    *out_block = mg_view_head(rest, end);
    *page = mg_view_skip(rest, end + 4);
    return true;
}

static void check_page(const char *name, size_t least)
{
    struct mg_arena arena;
    struct mg_adapter_decl decl;
    struct mg_adapter *loaded = NULL;
    struct mg_diag diag = {.line = 0};
    struct mg_buf page;
    mg_arena_init(&arena, 4096);
    if (mg_adapter_load(name, &arena, &decl, &diag) != MG_OK || mg_adapter_new(&decl, &loaded, &diag) != MG_OK)
        check_failed(__FILE__, __LINE__, "%s", diag.text);
    adapter = loaded;
    read_page(name, &page);
    mg_view rest = mg_buf_view(&page), kind, wire, want;
    size_t cases = 0;
    for (; cut_block(&rest, &kind, &wire); cases++) {
        mg_view tap = MG_VIEW_NONE;
        bool stream = mg_view_eq(kind, MG_VIEW("stream"));
        CHECK(stream || mg_view_eq(kind, MG_VIEW("answer")));
        CHECK(cut_block(&rest, &tap, &want) && mg_view_eq(tap, MG_VIEW("tap")));
        check_case(wire, stream ? run_stream : run_answer, wire, want);
    }
    CHECK(cases >= least);
    mg_buf_fini(&page);
    mg_adapter_free(loaded);
    mg_arena_fini(&arena);
}

TEST(anthropic_is_read_as_its_page_says)
{
    check_page("anthropic", 8);
}

TEST(responses_are_read_as_their_page_says)
{
    check_page("openai_responses", 8);
}

TEST(gemini_is_read_as_its_page_says)
{
    check_page("gemini", 8);
}

TEST(bedrock_is_read_as_its_page_says)
{
    check_page("bedrock", 6);
}

TEST(cohere_is_read_as_its_page_says)
{
    check_page("cohere", 4);
}

TEST(vendors_of_the_openai_dialect_are_read_as_their_pages_say)
{
    check_page("openai_chat", 4);
    check_page("mistral", 3);
    check_page("together", 1);
    check_page("xai", 2);
}

MG_TEST_MAIN()
