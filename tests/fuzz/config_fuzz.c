/* config_fuzz.c - whatever stands in a project file, reading it ends: in a project, or in mistakes that have words and a
 * line of that file. The text is evaluated, so this shakes the sandbox too. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "config/eval.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool true_, const char *what)
{
    if (!true_) {
        fputs(what, stderr);
        abort();
    }
}

static int lines_of(const char *text)
{
    int lines = 1;
    for (; *text; text++)
        lines += *text == '\n' || *text == '\r';         /* Lua counts a lone CR as well */
    return lines;
}

static void check_mistakes(const struct mg_config_report *report, const char *text)
{
    must(report->count > 0 && report->count <= MG_CONFIG_DIAGS && report->total >= report->count, "refused without a word\n");
    for (int i = 0; i < report->count; i++) {
        const struct mg_diag *diag = &report->diags[i];
        must(diag->text[0] && diag->file[0], "a mistake without words\n");
        must(diag->line >= 0 && diag->line <= lines_of(text), "a line that the file has not\n");
    }
}

static void check_project(const struct mg_config_project *config)
{
    must(config->provider_count > 0 && (config->workflow_count > 0 || config->allow_direct), "a project that serves nothing\n");
    for (int i = 0; i < config->target_count; i++)
        must(config->targets[i].provider >= 0 && config->targets[i].provider < config->provider_count, "a target of no provider\n");
    for (int i = 0; i < config->workflow_count; i++)
        for (int a = 0; a < config->workflows[i].arm_count; a++)
            must(config->workflows[i].arms[a].target < config->target_count, "an arm without target\n");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct mg_config_report *report = mg_new(struct mg_config_report);
    struct mg_config_project *config = mg_new(struct mg_config_project);
    char *text = mg_strndup((const char *)data, size);   /* ends at a NUL, as a file with one is refused before */
    mg_arena_init(&config->arena, 4096);
    mg_config_report_init(report);
    struct mg_eval eval = {.function = "project", .file = "fuzz.lua", .dir = "/nowhere/projects", .name = "fuzz", .text = text,
                           .arena = &config->arena, .report = report, .fill = mg_config_fill_project, .out = config};
    if (mg_eval_run(&eval) == MG_OK)
        check_project(config);
    else
        check_mistakes(report, text);
    mg_config_project_free(config);
    mg_config_report_fini(report);
    mg_free(report);
    mg_free(text);
    return 0;
}
