/* tap_fuzz.c - lines of the input are events of one answer, then it all is a whole answer and an error body. Whatever
 * they hold: spans stay inside their event, texts end, counts stay within bounds. */
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

static struct mg_adapter *openai(void)
{
    static struct mg_adapter *adapter;
    static struct mg_adapter_decl decl;
    static struct mg_arena arena;
    struct mg_diag diag = {.line = 0};
    if (!adapter) {
        mg_arena_init(&arena, 4096);
        must(mg_adapter_load("openai", &arena, &decl, &diag) == MG_OK && mg_adapter_new(&decl, &adapter, &diag) == MG_OK,
             "there is no adapter\n");
    }
    return adapter;
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
    for (int i = 0; i < seen->tool_count; i++) {
        must_be_string(doc, seen->tools[i].name_offset, seen->tools[i].name_len);
        must_be_string(doc, seen->tools[i].arguments_offset, seen->tools[i].arguments_len);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct mg_tap tap;
    mg_view in = mg_view_of((const char *)data, size);
    mg_tap_init(&tap, openai(), true);
    for (mg_view rest = in; rest.len > 0;) {
        struct mg_tap_event seen;
        mg_view line = mg_view_cut(&rest, '\n');
        mg_tap_event(&tap, tap.events % 7 == 3 ? MG_VIEW("error") : MG_VIEW_NONE, line, &seen);
        check_event(line, &seen);
    }
    check_tap(&tap);
    mg_tap_init(&tap, openai(), false);
    mg_tap_body(&tap, in);
    check_tap(&tap);
    return 0;
}
