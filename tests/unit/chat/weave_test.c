/* The machine between two dialects, with a translator that writes one short event for each thing it is told:
 * "[start]", "(open kind#index name)", "<piece>", "(close kind#index text)", "[finish reason]", "[done]". */
#include "chat/weave.h"

#include <stdio.h>

#include "base/mem.h"
#include "script/script.h"

#include "check.h"

static struct mg_arena arena;
static struct mg_adapter *adapter;
static struct mg_weave *weave;
static struct mg_tap tap;
static struct mg_stream_style style;
static struct mg_buf out;
static mg_err write_err;
static int flushes;
static mg_view last;                   /* data of the event emitted last */
static bool free_when_emitted, unframed, twice;

static const char *kind_name(enum mg_delta_kind kind)
{
    static const char *const names[] = {"text", "reasoning", "refusal", "tool"};
    return names[kind];
}

static mg_err begin(void *arg, const struct mg_translation *what, struct mg_translated **out_stream, struct mg_stream_style *out_style)
{
    (void)arg, (void)what;
    *out_stream = NULL;
    *out_style = style;
    return MG_OK;
}

static void end(struct mg_translated *stream)
{
    (void)stream;
}

static mg_err frame_of(struct mg_frame *frame)
{
    if (unframed)
        return MG_OK;
    frame->pieces[0] = (struct mg_frame_piece){MG_PIECE_LITERAL, 6};
    frame->pieces[1] = (struct mg_frame_piece){MG_PIECE_TEXT, 0};
    frame->pieces[2] = (struct mg_frame_piece){MG_PIECE_SEQ, 0};
    frame->pieces[3] = (struct mg_frame_piece){MG_PIECE_LITERAL, 2};
    frame->count = 4;
    if (twice) {
        frame->pieces[4] = frame->pieces[3];
        frame->pieces[3] = frame->pieces[1];
        frame->count = 5;
    }
    return mg_buf_put(&frame->text, MG_VIEW("data: \n\n"));
}

static mg_err write_call(struct mg_translated *stream, const struct mg_write_call *call, struct mg_buf *to)
{
    const struct mg_block *block = call->block;
    (void)stream;
    if (write_err != MG_OK)
        return write_err;
    switch (call->what) {
    case MG_WRITE_START: return mg_buf_put(to, MG_VIEW("data: [start]\n\n"));
    case MG_WRITE_OPEN:
        MG_TRY(frame_of(call->frame));
        return mg_buf_putf(to, "data: (open %s#%d %.*s)\n\n", kind_name(block->kind), block->index, MG_FMT(block->name));
    case MG_WRITE_CLOSE: return mg_buf_putf(to, "data: (close %s#%d%.*s)\n\n", kind_name(block->kind), block->index, MG_FMT(block->text));
    case MG_WRITE_OPAQUE: return mg_buf_putf(to, "data: [opaque %d]\n\n", call->opaque);
    case MG_WRITE_FINISH: return mg_buf_putf(to, "data: [finish %.*s%s]\n\n", MG_FMT(call->reason), call->has_tools ? " tools" : "");
    case MG_WRITE_DONE: return mg_buf_putf(to, "data: [done %llu]\n\n", (unsigned long long)call->usage->output_tokens);
    }
    return MG_OK;
}

static const struct mg_translator_ops translator_ops = {.begin = begin, .end = end, .write = write_call};
static const struct mg_translator translator = {&translator_ops, NULL};

static void on_emit(void *arg, const struct mg_sse_event *event, const struct mg_tap_event *seen)
{
    (void)arg, (void)seen;
    CHECK(mg_view_ends(event->raw, MG_VIEW("\n\n")));
    CHECK_OK(mg_buf_put(&out, event->data));
    last = event->data;
    if (free_when_emitted)
        mg_weave_free(weave);
}

static void on_flush(void *arg)
{
    (void)arg;
    flushes++;
}

static void open_weave(bool one_block, bool wants_text)
{
    static const struct mg_weave_ops ops = {.emit = on_emit, .flush = on_flush};
    static struct mg_adapter_decl decl;
    struct mg_diag diag = {.line = 0};
    if (!adapter) {
        mg_arena_init(&arena, 4096);
        CHECK_OK(mg_adapter_load("openai_chat", &arena, &decl, &diag));
        CHECK_OK(mg_adapter_new(&decl, &adapter, &diag));
    }
    style = (struct mg_stream_style){one_block, wants_text};
    write_err = MG_OK;
    free_when_emitted = unframed = twice = false;
    flushes = 0;
    mg_buf_fini(&out);
    mg_buf_init(&out, 1 << 24);
    mg_tap_init(&tap, adapter, true);
    struct mg_translation what = {.stream = true};
    CHECK_OK(mg_weave_new(&translator, &what, adapter, &ops, NULL, &weave));
}

static mg_err feed(const char *data)
{
    struct mg_tap_event seen;
    struct mg_sse_event event = {.data = mg_view_cstr(data), .raw = mg_view_cstr(data)};
    mg_tap_event(&tap, event.name, event.data, &seen);
    return mg_weave_event(weave, &tap, &event, &seen);
}

static void text(const char *what)
{
    char data[256];
    snprintf(data, sizeof data, "{\"choices\":[{\"index\":0,\"delta\":{%s}}]}", what);
    CHECK_OK(feed(data));
}

static void call(int index, const char *name, const char *arguments)
{
    char data[256];
    snprintf(data, sizeof data, "{\"choices\":[{\"index\":0,\"delta\":{\"tool_calls\":[{\"index\":%d,\"function\":{%s%s%s\"arguments\":\"%s\"}}]}}]}",
             index, *name ? "\"name\":\"" : "", name, *name ? "\"," : "", arguments);
    CHECK_OK(feed(data));
}

static void finish(const char *reason)
{
    char data[256];
    snprintf(data, sizeof data, "{\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"%s\"}]}", reason);
    CHECK_OK(feed(data));
    CHECK_OK(feed("{\"choices\":[],\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":5}}"));
    CHECK_OK(feed("[DONE]"));
}

static void check_out(const char *want)
{
    CHECK_VIEW(mg_buf_view(&out), mg_view_cstr(want));
    mg_weave_free(weave);
    weave = NULL;
}

TEST(a_block_ends_before_another_begins_and_the_end_waits_for_usage)
{
    open_weave(true, false);
    text("\"reasoning_content\":\"a\"");
    text("\"content\":\"b\"");
    text("\"content\":\"c\\n\"");
    finish("stop");
    check_out("[start](open reasoning#0 )\"a\"0(close reasoning#0)(open text#1 )\"b\"1\"c\\n\"2(close text#1)[finish \"stop\"][done 5]");
}

TEST(text_of_a_block_is_told_at_its_end_to_whoever_wants_it)
{
    open_weave(true, true);
    text("\"content\":\"b\\\"\"");
    text("\"content\":\"c\"");
    call(0, "f", "{}");
    finish("tool_calls");
    check_out("[start](open text#0 )\"b\\\"\"0\"c\"1(close text#0\"b\\\"c\")(open tool#1 \"f\")\"{}\"2(close tool#1\"{}\")[finish \"tool_calls\" tools][done 5]");
}

TEST(a_call_between_the_pieces_of_another_waits_for_its_end)
{
    open_weave(true, false);
    call(0, "f", "{\\\"a\\\":");
    call(1, "g", "{");
    call(2, "h", "{}");
    call(1, "", "}");
    call(0, "", "1}");
    call(1, "", "");
    finish("tool_calls");
    check_out("[start](open tool#0 \"f\")\"{\\\"a\\\":\"0\"1}\"1(close tool#0)(open tool#1 \"g\")\"{}\"2(close tool#1)(open tool#2 \"h\")\"{}\"3(close tool#2)"
              "[finish \"tool_calls\" tools][done 5]");
}

TEST(a_call_that_a_text_interrupts_fails_when_it_goes_on)
{
    open_weave(true, true);
    call(0, "f", "{\\\"a\\\":");
    text("\"content\":\"b\"");
    mg_err err = feed("{\"choices\":[{\"index\":0,\"delta\":{\"tool_calls\":[{\"index\":0,\"function\":{\"arguments\":\"1}\"}}]}}]}");
    CHECK(err == MG_E_PROTOCOL);
    check_out("[start](open tool#0 \"f\")\"{\\\"a\\\":\"0(close tool#0\"{\\\"a\\\":\")(open text#1 )\"b\"1");
}

TEST(blanks_behind_whole_arguments_change_nothing)
{
    open_weave(true, false);
    call(0, "f", "{}");
    text("\"content\":\"b\"");
    call(0, "", "\\n");
    finish("tool_calls");
    check_out("[start](open tool#0 \"f\")\"{}\"0(close tool#0)(open text#1 )\"b\"1(close text#1)[finish \"tool_calls\" tools][done 5]");
}

TEST(all_calls_that_wait_share_one_limit)
{
    enum { PIECE = 1 << 20 };
    open_weave(true, false);
    call(0, "f", "{");
    char *piece = mg_alloc(PIECE), *data = mg_alloc(PIECE + 256);
    memset(piece, ' ', PIECE);
    piece[PIECE - 1] = '\0';
    mg_err err = MG_OK;
    size_t waiting = 0;
    for (int i = 1; err == MG_OK && i < 64; i++) {
        snprintf(data, PIECE + 256, "{\"choices\":[{\"index\":0,\"delta\":{\"tool_calls\":[{\"index\":%d,\"function\":{\"name\":\"g\",\"arguments\":\"%s\"}}]}}]}", i, piece);
        err = feed(data);
        waiting += err == MG_OK ? PIECE - 1 : 0;
    }
    CHECK(err == MG_E_TOO_LARGE);
    CHECK(waiting && waiting <= MG_MAX_TRANSLATED_BYTES);
    mg_free(piece);
    mg_free(data);
    mg_weave_free(weave);
    weave = NULL;
}

TEST(names_of_all_calls_share_one_limit)
{
    enum { NAME = 1 << 19 };
    open_weave(false, false);
    char *name = mg_alloc(NAME), *data = mg_alloc(NAME + 256);
    memset(name, 'f', NAME);
    name[NAME - 1] = '\0';
    mg_err err = MG_OK;
    size_t kept = 0;
    for (int i = 1; err == MG_OK && i < 64; i++) {
        snprintf(data, NAME + 256, "{\"choices\":[{\"index\":0,\"delta\":{\"tool_calls\":[{\"index\":%d,\"function\":{\"name\":\"%s\",\"arguments\":\"{}\"}}]}}]}", i, name);
        err = feed(data);
        kept += err == MG_OK ? NAME - 1 : 0;
        mg_buf_clear(&out);
    }
    CHECK(err == MG_E_TOO_LARGE);
    CHECK(kept && kept <= MG_MAX_TRANSLATED_BYTES);
    mg_free(name);
    mg_free(data);
    mg_weave_free(weave);
    weave = NULL;
}

TEST(calls_may_interleave_where_the_dialect_lets_them)
{
    open_weave(false, false);
    call(0, "f", "{");
    call(1, "g", "{");
    call(0, "", "}");
    call(1, "", "}");
    finish("tool_calls");
    check_out("[start](open tool#0 \"f\")\"{\"0(open tool#1 \"g\")\"{\"1\"}\"2\"}\"3(close tool#0)(close tool#1)[finish \"tool_calls\" tools][done 5]");
}

TEST(a_block_without_a_frame_is_written_whole_at_its_end)
{
    open_weave(true, false);
    unframed = true;
    call(0, "f", "{\\\"a\\\":");
    call(0, "", "1}");
    finish("tool_calls");
    check_out("[start](open tool#0 \"f\")(close tool#0\"{\\\"a\\\":1}\")[finish \"tool_calls\" tools][done 5]");
}

TEST(calls_that_are_written_whole_keep_their_own_arguments_when_several_are_open)
{
    open_weave(false, false);
    unframed = true;
    call(0, "f", "{\\\"a\\\":");
    call(1, "g", "{}");
    call(0, "", "1}");
    finish("tool_calls");
    check_out("[start](open tool#0 \"f\")(open tool#1 \"g\")(close tool#0\"{\\\"a\\\":1}\")(close tool#1\"{}\")[finish \"tool_calls\" tools][done 5]");
}

TEST(a_stream_that_was_cut_has_no_end)
{
    open_weave(true, false);
    text("\"content\":\"b\"");
    CHECK_OK(mg_weave_end(weave, &tap));
    check_out("[start](open text#0 )\"b\"0");
}

TEST(a_last_word_that_is_a_failure_is_no_end)
{
    struct mg_tap_event seen;
    open_weave(true, false);
    text("\"content\":\"b\"");
    mg_tap_event(&tap, MG_VIEW_NONE, MG_VIEW("{\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"error\"}]}"), &seen);
    CHECK(tap.finished && tap.failed);
    CHECK_OK(mg_weave_end(weave, &tap));
    check_out("[start](open text#0 )\"b\"0");
}

TEST(what_follows_the_end_is_not_written)
{
    open_weave(true, false);
    text("\"content\":\"b\"");
    finish("stop");
    text("\"content\":\"c\"");
    CHECK_OK(mg_weave_end(weave, &tap));
    check_out("[start](open text#0 )\"b\"0(close text#0)[finish \"stop\"][done 5]");
}

TEST(a_dialect_that_fails_ends_the_stream)
{
    open_weave(true, false);
    write_err = MG_E_SCRIPT;
    CHECK(feed("{\"choices\":[{\"index\":0,\"delta\":{\"content\":\"a\"}}]}") == MG_E_SCRIPT);
    check_out("");
}

TEST(it_may_be_freed_from_inside_an_event)
{
    open_weave(true, false);
    free_when_emitted = true;
    text("\"content\":\"b\"");
    CHECK_VIEW(mg_buf_view(&out), MG_VIEW("[start]"));
    weave = NULL;
}

TEST(views_into_what_was_emitted_end_with_a_flush)
{
    open_weave(true, false);
    char data[9000];
    char *piece = mg_alloc(8001);
    memset(piece, 'x', 8000);
    piece[8000] = '\0';
    snprintf(data, sizeof data, "{\"choices\":[{\"index\":0,\"delta\":{\"content\":\"%s\"}}]}", piece);
    for (int i = 0; i < 40; i++)
        CHECK_OK(feed(data));
    CHECK(flushes >= 3 && flushes < 10);
    CHECK(out.len > 40 * 8000);
    mg_free(piece);
    mg_weave_free(weave);
    weave = NULL;
}

TEST(a_text_that_a_frame_has_twice_does_not_move_what_was_emitted)
{
    open_weave(true, false);
    twice = true;
    last = MG_VIEW_NONE;
    char data[9000], piece[5001];
    memset(piece, 'x', 5000);
    piece[5000] = '\0';
    snprintf(data, sizeof data, "{\"choices\":[{\"index\":0,\"delta\":{\"content\":\"%s\"}}]}", piece);
    for (int i = 0; i < 40; i++) {
        int before = flushes;
        mg_view held = last;           /* readable until the flush */
        CHECK_OK(feed(data));
        CHECK(i == 0 || flushes > before || mg_view_starts(held, MG_VIEW("\"x")));
    }
    mg_weave_free(weave);
    weave = NULL;
}

TEST(more_calls_than_the_limit_end_the_stream)
{
    open_weave(true, false);
    mg_err err = MG_OK;
    int made = 0;
    for (; err == MG_OK && made < 2 * MG_MAX_STREAM_TOOLS; made++) {
        char data[256];
        snprintf(data, sizeof data, "{\"choices\":[{\"index\":0,\"delta\":{\"tool_calls\":[{\"index\":%d,\"function\":{\"name\":\"f\",\"arguments\":\"{}\"}}]}}]}", made);
        err = feed(data);
    }
    CHECK(err == MG_E_TOO_LARGE);
    CHECK_INT(made, MG_MAX_STREAM_TOOLS + 1);
    mg_weave_free(weave);
    mg_buf_fini(&out);
    mg_adapter_free(adapter);
    mg_arena_fini(&arena);
}

MG_TEST_MAIN()
