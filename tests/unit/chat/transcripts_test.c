/* Runs the pages of tests/wire that are named after adapters, and pages that are made wrong. */
#include "chat/transcript.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "check.h"
#include "script/script.h"

enum { PAGE_BYTES = 1 << 20 };

static struct mg_arena arena;
static struct mg_adapter *adapter;

static void load(const char *name)
{
    static struct mg_adapter_decl decl;
    struct mg_diag diag = {.line = 0};
    mg_arena_init(&arena, 4096);
    if (mg_adapter_load(name, &arena, &decl, &diag) != MG_OK || mg_adapter_new(&decl, &adapter, &diag) != MG_OK)
        check_failed(__FILE__, __LINE__, "%s", diag.text);
}

static void unload(void)
{
    mg_adapter_free(adapter);
    mg_arena_fini(&arena);
}

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

static void on_fault(void *arg, const struct mg_transcript_fault *fault)
{
    check_failed(__FILE__, __LINE__, "%s.md:%zu, cut at %zu:\n%.*s\nwant:\n%.*s", (const char *)arg, fault->line, fault->cut,
                 MG_FMT(fault->got), MG_FMT(fault->want));
}

static void check_page(const char *name, int least)
{
    struct mg_diag diag = {.line = 0};
    struct mg_buf page;
    int cases = 0;
    load(name);
    read_page(name, &page);
    if (mg_transcript_run(adapter, mg_buf_view(&page), on_fault, (void *)name, &cases, &diag) != MG_OK)
        check_failed(__FILE__, __LINE__, "%s.md:%d: %s", name, diag.line, diag.text);
    CHECK(cases >= least);
    mg_buf_fini(&page);
    unload();
}

/* Another text in the place of an answer's is found there again; where there was none the answer stays. */
static void check_replacing(const char *name)
{
    struct mg_buf page;
    int texts = 0;
    load(name);
    read_page(name, &page);
    for (mg_view rest = mg_buf_view(&page); rest.len > 0;) {
        mg_view line = mg_view_cut(&rest, '\n');
        if (line.len == 0 || line.ptr[0] != '{')
            continue;
        mg_view text = mg_tap_text_of(adapter, &arena, line);
        mg_view changed = mg_tap_replace_text(adapter, &arena, line, MG_VIEW("\"new\""));
        CHECK_VIEW(text.ptr ? mg_tap_text_of(adapter, &arena, changed) : changed, text.ptr ? MG_VIEW("\"new\"") : line);
        texts += text.ptr != NULL;
    }
    CHECK(texts > 0);
    mg_buf_fini(&page);
    unload();
}

TEST(a_text_takes_the_place_of_all_parts_of_the_old_one)
{
    static const char *const names[] = {"openai_chat", "mistral", "anthropic", "openai_responses", "gemini", "bedrock", "cohere"};
    for (size_t i = 0; i < MG_COUNT(names); i++)
        check_replacing(names[i]);
}

static void count_fault(void *arg, const struct mg_transcript_fault *fault)
{
    (void)fault;
    ++*(int *)arg;
}

static mg_err run_text(const char *page, int *out_faults, int *out_cases, struct mg_diag *diag)
{
    *out_faults = *out_cases = 0;
    return mg_transcript_run(adapter, mg_view_cstr(page), count_fault, out_faults, out_cases, diag);
}

#define FENCE(kind, text) "\n```" kind "\n" text "\n```\n"
#define COUNT "{\"input_tokens\":1}"
#define SAYS "end none  unfinished model - tier -"

TEST(a_page_that_is_wrong_is_told_by_its_line)
{
    struct mg_diag diag = {.line = 0};
    int faults, cases;
    load("anthropic");
    CHECK_OK(run_text("# x\n" FENCE("answer", COUNT) FENCE("tap", SAYS), &faults, &cases, &diag));
    CHECK(faults == 0 && cases == 1);
    CHECK_OK(run_text("# x\n" FENCE("answer", COUNT) FENCE("tap", "end") FENCE("answer", COUNT) FENCE("tap", SAYS), &faults, &cases, &diag));
    CHECK(faults == 1 && cases == 2);
    CHECK(run_text("# x\n\ny\n" FENCE("sh", "ls"), &faults, &cases, &diag) == MG_E_CONFIG);
    CHECK_INT(diag.line, 5);
    CHECK(run_text("# x\n" FENCE("answer", COUNT) FENCE("answer", COUNT), &faults, &cases, &diag) == MG_E_CONFIG);
    CHECK_INT(diag.line, 3);
    CHECK(run_text("# x\n\n```answer", &faults, &cases, &diag) == MG_E_CONFIG);
    CHECK_OK(run_text("", &faults, &cases, &diag));
    unload();
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
    check_page("groq", 2);
    check_page("openrouter", 2);
    check_page("deepseek", 3);
}

MG_TEST_MAIN()
