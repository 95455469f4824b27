/* dialect_fuzz.c - requests, answers and events of every dialect for every other: whatever is JSON is translated or refused,
 * what comes out is JSON, and no dialect fails. The first byte says which: bits 0-1 whose, 2-3 for whom, 4-5 what, 6 lenient. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "chat/translator.h"
#include "http/json_scan.h"
#include "script/script.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char *const names[] = {"openai_chat", "openai_responses", "anthropic", "gemini"};
static const struct mg_translator_ops *const ops = &mg_trusted_translator;
static struct mg_trusted *trusted;

static void must(bool true_, const char *what)
{
    if (!true_) {
        fputs(what, stderr);
        abort();
    }
}

static void close_state(void)
{
    mg_trusted_free(trusted);
    mg_script_fini();
}

static void open_state(void)
{
    struct mg_diag diag = {.line = 0};
    must(mg_script_init(&diag) == MG_OK && mg_trusted_new(&trusted, &diag) == MG_OK, "no trusted state\n");
    atexit(close_state);
}

static void map_request(const struct mg_translation *what, struct mg_arena *arena)
{
    struct mg_translation_report report;
    mg_view body = MG_VIEW_NONE;
    mg_err err = ops->request(trusted, what, arena, &body, &report);
    must(err != MG_E_SCRIPT, "a request made a dialect fail\n");
    must(err != MG_OK || mg_json_check(body, NULL) == MG_OK, "a request became what is no JSON\n");
    must(err != MG_OK || !report.memo.len || mg_json_check(report.memo, NULL) == MG_OK, "a memo is no JSON\n");
}

static void map_answer(const struct mg_translation *what, struct mg_arena *arena)
{
    mg_view body = MG_VIEW_NONE;
    mg_err err = ops->answer(trusted, what, arena, what->request, &body);
    must(err != MG_E_SCRIPT, "an answer made a dialect fail\n");
    must(err != MG_OK || mg_json_check(body, NULL) == MG_OK, "an answer became what is no JSON\n");
}

/* What the event says goes to the client's side where it is opaque: the rest is not Lua's. */
static void map_event(const struct mg_translation *what)
{
    static struct mg_delta deltas[MG_DELTAS];
    struct mg_translated *stream = NULL;
    struct mg_stream_style style;
    struct mg_buf out;
    uint64_t seq = 0;
    int count = 0;
    must(ops->begin(trusted, what, &stream, &style) == MG_OK, "a stream does not begin\n");
    mg_buf_init(&out, 1 << 20);
    struct mg_write_call start = {.what = MG_WRITE_START, .seq = &seq};
    must(ops->write(stream, &start, &out) == MG_OK, "a stream does not start\n");
    mg_err err = ops->read(stream, MG_VIEW_NONE, what->request, deltas, &count);
    must(err != MG_E_SCRIPT, "an event made a dialect fail\n");
    for (int i = 0; err == MG_OK && i < count; i++) {
        struct mg_write_call call = {.what = MG_WRITE_OPAQUE, .opaque = deltas[i].opaque, .seq = &seq};
        if (deltas[i].kind == MG_DELTA_OPAQUE)
            must(ops->write(stream, &call, &out) != MG_E_SCRIPT, "something opaque made a dialect fail\n");
    }
    mg_buf_fini(&out);
    ops->end(stream);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct mg_arena arena;
    if (!trusted)
        open_state();
    if (size < 2 || size > 65536)
        return 0;
    unsigned bits = data[0], kind = bits >> 4 & 3;
    struct mg_translation what = {
        .client = names[kind == 0 ? bits & 3 : bits >> 2 & 3], .provider = names[kind == 0 ? bits >> 2 & 3 : bits & 3],
        .vendor = "fuzz", .model = MG_VIEW("claude-opus-4-6"), .asked_model = MG_VIEW("chat"), .id = MG_VIEW("01"),
        .request = mg_view_of((const char *)data + 1, size - 1), .created_s = 1, .lenient = bits >> 6 & 1,
    };
    mg_arena_init(&arena, 4096);
    if (kind == 0)
        map_request(&what, &arena);
    else if (kind == 1)
        map_answer(&what, &arena);
    else
        map_event(&what);
    mg_arena_fini(&arena);
    return 0;
}
