/* tap_fuzz.c - lines of the input are events of one answer (a word in front is an event's name), then it all is a whole
 * answer and an error body, of a provider of each dialect. Whatever they hold: spans stay inside their event, texts end,
 * counts stay within bounds, and a text that was put in place of another is found again. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "http/wait.h"
#include "script/script.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool true_, const char *what)
{
    if (!true_) {
        fputs(what, stderr);
        abort();
    }
}

static const char *const names[] = {"openai", "mistral", "anthropic", "openai_responses", "gemini", "bedrock", "cohere"};

static const struct mg_adapter *adapter(size_t i)
{
    static struct mg_adapter *adapters[MG_COUNT(names)];
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

#define MUST_END(text) must(memchr(text, '\0', sizeof(text)) != NULL, #text " does not end\n")

static void check_tap(const struct mg_tap *tap)
{
    MUST_END(tap->finish);
    MUST_END(tap->error_type);
    MUST_END(tap->error_code);
    MUST_END(tap->error_message);
    MUST_END(tap->error_param);
    MUST_END(tap->error_detail);
    must(tap->call_count <= MG_TAP_CALLS, "too many calls\n");
    must(mg_tap_retry_ms(tap) <= MG_WAIT_MAX_MS, "too long a wait\n");
    static const int statuses[] = {0, 200, 400, 429, 503};
    for (size_t i = 0; i < sizeof statuses / sizeof statuses[0]; i++)
        must(mg_adapter_hint(tap->adapter, statuses[i], tap) < MG_CLASS_COUNT, "no class\n");
}

static void must_be_string(mg_view doc, size_t offset, size_t len)
{
    must(len == 0 || (offset + len <= doc.len && len >= 2 && doc.ptr[offset] == '"' && doc.ptr[offset + len - 1] == '"'),
         "no string in the event\n");
}

static void check_event(mg_view doc, const struct mg_tap_event *seen)
{
    must(seen->text_count <= MG_TAP_TEXTS && seen->tool_count <= MG_TAP_TOOLS && seen->finished_count <= MG_TAP_FINISHED,
         "too much of something\n");
    must(seen->cut_offset + seen->cut_len <= doc.len, "a cut outside the event\n");
    for (int i = 0; i < seen->text_count; i++)
        must_be_string(doc, seen->texts[i].offset, seen->texts[i].len);
    must_be_string(doc, seen->refused.offset, seen->refused.len);
    for (int i = 0; i < seen->tool_count; i++) {
        const struct mg_tap_tool *tool = &seen->tools[i];
        must_be_string(doc, tool->id_offset, tool->id_len);
        must_be_string(doc, tool->name_offset, tool->name_len);
        if (!tool->whole)
            must_be_string(doc, tool->arguments_offset, tool->arguments_len);
        must(tool->arguments_offset + tool->arguments_len <= doc.len && tool->index >= 0, "a call outside the event\n");
    }
}

static void check_text(const struct mg_adapter *one, mg_view in)
{
    struct mg_arena arena;
    mg_arena_init(&arena, 4096);
    mg_view text = mg_tap_text_of(one, &arena, in);
    mg_view changed = mg_tap_replace_text(one, &arena, in, MG_VIEW("a\"\n"));
    if (text.ptr)
        must(mg_view_eq(mg_tap_text_of(one, &arena, changed), MG_VIEW("a\"\n")), "not the new text\n");
    else
        must(mg_view_eq(in, changed), "a text where there was none\n");
    mg_arena_fini(&arena);
}

static void check_adapter(const struct mg_adapter *one, mg_view in)
{
    struct mg_tap tap;
    mg_tap_init(&tap, one, true);
    for (mg_view rest = in; rest.len > 0;) {
        struct mg_tap_event seen;
        mg_view line = mg_view_cut(&rest, '\n'), name = tap.events % 7 == 3 ? MG_VIEW("error") : MG_VIEW_NONE;
        if (line.len && line.ptr[0] >= 'a' && line.ptr[0] <= 'z')
            name = mg_view_cut(&line, ' ');
        mg_tap_event(&tap, name, line, &seen);
        check_event(line, &seen);
    }
    check_tap(&tap);
    mg_tap_init(&tap, one, false);
    mg_tap_body(&tap, in);
    check_tap(&tap);
    check_text(one, in);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    for (size_t i = 0; i < MG_COUNT(names); i++)
        check_adapter(adapter(i), mg_view_of((const char *)data, size));
    return 0;
}
