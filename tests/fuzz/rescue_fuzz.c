/* rescue_fuzz.c - two streams with a line "====" between: what the client has is at every moment either what was sent or,
 * where the new attempt has said more than that, all that it said; and every event it gets can be read. Where the texts
 * differ nothing more goes out. The first byte says how the streams are cut. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "relay/rescue.h"
#include "script/script.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { TEXTS = 64, MAX_EVENT = 8192 };

enum kind { CONTENT, REASONING, NAME, ARGUMENTS };

struct text {
    enum kind kind;
    int choice, call;
    struct mg_buf sent, said, client;
};

static struct world {
    struct mg_rescue *rescue;
    struct mg_tap tap;
    struct text texts[TEXTS];
    int count;
    bool resuming, diverged, full;
} world;

static const struct mg_adapter *adapter;

static void must(bool true_, const char *what)
{
    if (!true_) {
        fputs(what, stderr);
        abort();
    }
}

static void load(void)
{
    static struct mg_arena arena;
    static struct mg_adapter_decl decl;
    static struct mg_adapter *loaded;
    struct mg_diag diag = {.line = 0};
    mg_arena_init(&arena, 4096);
    must(mg_adapter_load("openai", &arena, &decl, &diag) == MG_OK && mg_adapter_new(&decl, &loaded, &diag) == MG_OK, "no adapter\n");
    adapter = loaded;
}

static struct text *text_at(enum kind kind, int choice, int call)
{
    for (int i = 0; i < world.count; i++)
        if (world.texts[i].kind == kind && world.texts[i].choice == choice && world.texts[i].call == call)
            return &world.texts[i];
    if (world.count == TEXTS) {
        world.full = true;
        return NULL;
    }
    struct text *text = &world.texts[world.count++];
    *text = (struct text){.kind = kind, .choice = choice, .call = call};
    mg_buf_init(&text->sent, 1 << 20);
    mg_buf_init(&text->said, 1 << 20);
    mg_buf_init(&text->client, 1 << 20);
    return text;
}

enum side { SENT = 1, SAID = 2, CLIENT = 4 };

static void add(int sides, enum kind kind, int choice, int call, mg_view data, size_t offset, size_t len)
{
    struct text *text = text_at(kind, choice, call);
    if (!text || !len)
        return;
    must(offset + len <= data.len && len >= 2 && data.ptr[offset] == '"', "a span is no string\n");
    mg_view span = mg_view_of(data.ptr + offset, len);
    must(!(sides & SENT) || mg_json_unescape(span, &text->sent) == MG_OK, "sent\n");
    must(!(sides & SAID) || mg_json_unescape(span, &text->said) == MG_OK, "said\n");
    must(!(sides & CLIENT) || mg_json_unescape(span, &text->client) == MG_OK, "client\n");
}

static void add_event(int sides, mg_view data, const struct mg_tap_event *seen)
{
    for (int i = 0; i < seen->text_count; i++)
        add(sides, seen->texts[i].reasoning ? REASONING : CONTENT, seen->texts[i].choice, 0, data, seen->texts[i].offset,
            seen->texts[i].len);
    for (int i = 0; i < seen->tool_count; i++) {
        const struct mg_tap_tool *tool = &seen->tools[i];
        add(sides, NAME, tool->choice, tool->index, data, tool->name_offset, tool->name_len);
        add(sides, ARGUMENTS, tool->choice, tool->index, data, tool->arguments_offset, tool->arguments_len);
    }
}

static void check_client(void)
{
    for (int i = 0; i < world.count; i++) {
        mg_view sent = mg_buf_view(&world.texts[i].sent), said = mg_buf_view(&world.texts[i].said);
        mg_view client = mg_buf_view(&world.texts[i].client);
        if (world.diverged)
            continue;
        must(mg_view_eq(client, said.len > sent.len ? said : sent), "the client has something else\n");
        must(mg_view_starts(client, said), "other words were not told\n");
    }
}

static mg_err on_event(void *arg, const struct mg_sse_event *event)
{
    (void)arg;
    struct mg_sse_event out;
    struct mg_tap_event seen = {.content = false}, out_seen;
    if (!event->is_comment)
        mg_tap_event(&world.tap, event->name, event->data, &seen);
    if (!world.resuming) {
        (void)mg_rescue_record(world.rescue, event, &seen);
        add_event(SENT | CLIENT, event->data, &seen);
        return mg_rescue_possible(world.rescue) ? MG_OK : MG_E_CANCELLED;
    }
    enum mg_resume_step step = mg_rescue_event(world.rescue, adapter, event, &seen, &out, &out_seen);
    must(!world.diverged || step == MG_RESUME_DIVERGED, "it went on with other words\n");
    world.diverged = step == MG_RESUME_DIVERGED;
    if (!world.diverged && !seen.error)
        add_event(SAID, event->data, &seen);
    if (step == MG_RESUME_FORWARD) {
        struct mg_tap_event again = {.content = false};
        struct mg_tap tap;
        mg_tap_init(&tap, adapter, true);
        if (!out.is_comment)
            mg_tap_event(&tap, out.name, out.data, &again);
        must(!again.malformed && again.text_count == out_seen.text_count && again.tool_count == out_seen.tool_count &&
             again.finished_count == seen.finished_count && again.cut_len == out_seen.cut_len, "an event was spoilt\n");
        add_event(CLIENT, out.data, &again);
    }
    check_client();
    return MG_OK;
}

static bool feed(mg_view bytes, size_t step)
{
    mg_err err = MG_OK;
    struct mg_sse *sse = mg_sse_new(MAX_EVENT, on_event, NULL);
    for (; !err && bytes.len > 0; bytes = mg_view_skip(bytes, step))
        err = mg_sse_feed(sse, mg_view_head(bytes, step));
    mg_sse_free(sse);
    return err == MG_OK;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct mg_arena arena;
    mg_view in = mg_view_skip(mg_view_of((const char *)data, size), 1);
    size_t cut = mg_view_search(in, MG_VIEW("====\n")), step = size ? 1 + data[0] : 1;
    if (!adapter)
        load();
    mg_arena_init(&arena, 4096);
    world = (struct world){.rescue = mg_rescue_new(&arena)};
    mg_tap_init(&world.tap, adapter, true);
    if (feed(mg_view_head(in, cut), step) && !world.full) {
        world.resuming = true;
        mg_tap_init(&world.tap, adapter, true);
        mg_rescue_regenerate(world.rescue);
        (void)feed(mg_view_skip(in, cut + 5), step);
    }
    for (int i = 0; i < world.count; i++) {
        mg_buf_fini(&world.texts[i].sent);
        mg_buf_fini(&world.texts[i].said);
        mg_buf_fini(&world.texts[i].client);
    }
    mg_arena_fini(&arena);
    return 0;
}
