/* dialect_fuzz.c - requests, answers, events and streams of every dialect for every other: whatever is JSON is translated or
 * refused, what comes out is JSON, and no dialect fails. The first byte says which: bits 0-1 the client's dialect, 2-4 the
 * provider's, 5-6 what it is, 7 lenient. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "chat/translator.h"
#include "chat/weave.h"
#include "http/json_scan.h"
#include "script/script.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { CLIENTS = 4, PROVIDERS = 6 };
enum { A_REQUEST, AN_ANSWER, AN_EVENT, A_STREAM };

static const char *const names[PROVIDERS] = {"openai_chat", "openai_responses", "anthropic", "gemini", "bedrock", "cohere"};
static const char *const models[PROVIDERS] = {"gpt-5.2", "gpt-5.2", "claude-opus-4-6", "gemini-3-pro", "eu.anthropic.claude-opus-4-6-v1:0",
                                              "command-a-plus-05-2026"};
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

static const struct mg_adapter *adapter(unsigned i)
{
    static struct mg_adapter *adapters[PROVIDERS];
    static struct mg_adapter_decl decl;
    static struct mg_arena arena;
    struct mg_diag diag = {.line = 0};
    if (!arena.first_bytes)
        mg_arena_init(&arena, 4096);
    if (!adapters[i])
        must(mg_adapter_load(names[i], &arena, &decl, &diag) == MG_OK && mg_adapter_new(&decl, &adapters[i], &diag) == MG_OK,
             "there is no adapter\n");
    return adapters[i];
}

struct woven {
    struct mg_weave *weave;
    struct mg_tap tap;
};

static void on_emit(void *arg, const struct mg_sse_event *event, const struct mg_tap_event *seen)
{
    (void)arg, (void)seen;
    bool last = mg_view_eq(event->data, MG_VIEW("[DONE]"));
    must(last || event->is_comment || mg_json_check(event->data, NULL) == MG_OK, "an event became what is no JSON\n");
}

static void on_flush(void *arg)
{
    (void)arg;
}

static mg_err on_event(void *arg, const struct mg_sse_event *event)
{
    struct woven *woven = arg;
    struct mg_tap_event seen = {.content = false};
    if (!event->is_comment)
        mg_tap_event(&woven->tap, event->name, event->data, &seen);
    if (woven->tap.failed || woven->tap.broken_arguments)
        return MG_E_CANCELLED;         /* as an attempt does */
    mg_err err = mg_weave_event(woven->weave, &woven->tap, event, &seen);
    must(err != MG_E_SCRIPT, "an event of a stream made a dialect fail\n");
    return err;
}

/* All of a stream, as its provider sends it. */
static void map_stream(const struct mg_translation *what, unsigned client, unsigned provider)
{
    static const struct mg_weave_ops weave_ops = {.emit = on_emit, .flush = on_flush};
    const struct mg_translator translator = {ops, trusted};
    static struct woven woven;
    must(mg_weave_new(&translator, what, adapter(client), &weave_ops, NULL, &woven.weave) == MG_OK, "a stream does not begin\n");
    mg_tap_init(&woven.tap, adapter(provider), true);
    struct mg_sse *sse = mg_sse_new(65536, on_event, &woven);
    if (mg_sse_feed(sse, what->request) == MG_OK)
        must(mg_weave_end(woven.weave, &woven.tap) != MG_E_SCRIPT, "the end of a stream made a dialect fail\n");
    mg_sse_free(sse);
    mg_weave_free(woven.weave);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct mg_arena arena;
    if (!trusted)
        open_state();
    if (size < 2 || size > 65536)
        return 0;
    unsigned bits = data[0], client = bits % CLIENTS, provider = (bits >> 2 & 7) % PROVIDERS, kind = bits >> 5 & 3;
    struct mg_translation what = {
        .client = names[client], .provider = names[provider], .vendor = "fuzz", .model = mg_view_cstr(models[provider]),
        .asked_model = MG_VIEW("chat"), .id = MG_VIEW("01"), .request = mg_view_of((const char *)data + 1, size - 1), .created_s = 1,
        .lenient = bits >> 7, .include_usage = true,
    };
    mg_arena_init(&arena, 4096);
    switch (kind) {
    case A_REQUEST: map_request(&what, &arena); break;
    case AN_ANSWER: map_answer(&what, &arena); break;
    case AN_EVENT: map_event(&what); break;
    case A_STREAM: map_stream(&what, client, provider); break;
    }
    mg_arena_fini(&arena);
    return 0;
}
