/* usage_bench.c - what questions about a month cost when the store is large.
 *
 * usage: usage_bench [EXCHANGES [FOLDER]]   Fills a store with so many exchanges (2,000 of one to three attempts, spread over
 * the last thirty days, of fifty projects), then asks what people ask at the end of a month, restores the budgets of all projects as a
 * start does, and prints how long each answer took. With a folder the store is kept there, and used again when it is there already. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "gateway/budgets.h"
#include "meter/ledger.h"
#include "meter/record.h"
#include "meter/usage.h"
#include "store/folder.h"

enum { DAYS = 30, BURST = 500, PROJECTS = 50 };
#define DAY_US UINT64_C(86400000000)

static void must(mg_err err)
{
    if (err) {
        fprintf(stderr, "%s\n", mg_err_text(err));
        exit(1);
    }
}

/* ---- a month of traffic */

static struct mg_attempt_record *add_attempt(struct mg_timeline *timeline, uint64_t nth)
{
    static const char *const models[] = {"gpt-6-sol", "gpt-6-luna", "claude-5", "own-model"};
    struct mg_attempt_record *attempt = &timeline->attempts[timeline->attempt_count++];
    uint64_t cost = (500 + nth % 700) * 2000000 + (100 + nth % 90) * 10000000;
    *attempt = (struct mg_attempt_record){
        .start_us = 20,
        .end_us = 299000,
        .mark_us = {0, 0, 0, 5, 90000, 90100, 298900},
        .target = MG_VIEW("openai/gpt-6-sol"),
        .provider = nth % 3 ? MG_VIEW("openai") : MG_VIEW("other"),
        .model = mg_view_cstr(models[nth % 4]),
        .dialect = MG_VIEW("openai"),
        .credential = MG_VIEW("api_key"),
        .status = 200,
        .number = timeline->attempt_count,
        .reason = timeline->attempt_count > 1 ? MG_REASON_fallback : MG_REASON_first,
        .bytes_sent = 2000,
        .bytes_received = 4000,
        .usage = {.input_tokens = 500 + nth % 700, .output_tokens = 100 + nth % 90, .cached_read_tokens = nth % 400, .reported = true},
        .priced = true,
        .cost_picousd = cost,
        .cost_microusd = cost / 1000000,
    };
    return attempt;
}

static void fill(struct mg_timeline *timeline, uint64_t nth, uint64_t from_us, uint64_t step_us)
{
    static char project[16], key[24], workflow[16], metadata[64];
    unsigned char random[10] = {0};
    memcpy(random, &nth, sizeof nth);
    snprintf(project, sizeof project, "project-%u", (unsigned)(nth % PROJECTS));
    snprintf(key, sizeof key, "key_%04u", (unsigned)(nth * 7 % 40));
    snprintf(workflow, sizeof workflow, "flow-%u", (unsigned)(nth * 11 % 6));
    snprintf(metadata, sizeof metadata, "{\"tier\":\"%s\",\"customer\":\"c%u\"}", nth % 2 ? "gold" : "free", (unsigned)(nth * 13 % 200));
    *timeline = (struct mg_timeline){
        .start_wall_us = from_us + nth * step_us,
        .phase_us = {1, 10, 11, 12, 13, 14, 15, 16, 200500, 300000, 300100},
        .upstream_us = 299000,
        .project = mg_view_cstr(project),
        .workflow = mg_view_cstr(workflow),
        .key_id = mg_view_cstr(key),
        .path = MG_VIEW("/v1/chat/completions"),
        .client = MG_VIEW("127.0.0.1:39346"),
        .user_agent = MG_VIEW("OpenAI/Python 2.8.1"),
        .metadata = mg_view_cstr(metadata),
        .status = 200,
        .stream = true,
        .clean = true,
    };
    mg_exchange_id(timeline->id, timeline->start_wall_us, random);
    for (uint64_t i = 0; i < 1u + (nth % 20 == 0) + (nth % 100 == 0); i++)
        add_attempt(timeline, nth + i);
}

static void record(struct mg_journal *journal, const struct mg_timeline *timeline)
{
    for (unsigned i = 0; i < timeline->attempt_count; i++) {
        must(mg_record_started(journal, timeline, &timeline->attempts[i], 100));
        must(mg_record_settled(journal, timeline, &timeline->attempts[i]));
    }
    must(mg_record_exchange(journal, timeline));
}

static void fill_store(const char *data, uint64_t count)
{
    static struct mg_timeline timeline;
    struct mg_recorder *recorder;
    struct mg_recorder_stats stats;
    struct mg_ledger *ledger = mg_ledger_new();
    struct mg_recorder_options options = {data, 1, 16 << 20, mg_ledger_sink(ledger)};
    uint64_t from_us = mg_wall_us() - DAYS * DAY_US, step_us = DAYS * DAY_US / count;
    must(mg_recorder_start(&options, &recorder, NULL));
    for (uint64_t i = 0; i < count; i++) {
        fill(&timeline, i, from_us, step_us);
        record(mg_recorder_journal(recorder, 0), &timeline);
        if (i % BURST == BURST - 1)
            mg_recorder_flush(recorder);
    }
    mg_recorder_flush(recorder);
    mg_recorder_flush(recorder);
    mg_recorder_stats(recorder, &stats);
    printf("recorded %llu exchanges, %.2f us of the recorder each\n", (unsigned long long)count, (double)stats.cpu_us / (double)count);
    mg_recorder_stop(recorder);
    mg_ledger_free(ledger);
}

/* ---- what people ask */

static void ask(struct mg_db *db, const char *by, uint64_t from_us, uint64_t to_us)
{
    struct mg_usage_query query = {.range = {.from_us = from_us, .to_us = to_us}};
    struct mg_usage_report *report;
    mg_view names = mg_view_cstr(by);
    while (names.len > 0)
        if (!mg_usage_by_find(mg_view_cut(&names, ','), &query.by[query.by_count++]))
            must(MG_E_BAD_REQUEST);
    uint64_t began_us = mg_mono_us();
    must(mg_usage_report_new(db, &query, &report));
    const struct mg_usage_sums *total = mg_usage_report_total(report);
    char usd[MG_USAGE_USD];
    printf("%8.1f ms  %-28s %6zu rows  %8llu requests  $ %s\n", (double)(mg_mono_us() - began_us) / 1000, *by ? by : "(total)",
           mg_usage_report_rows(report), (unsigned long long)total->requests, mg_usage_usd(usd, total->cost_picousd));
    mg_usage_report_free(report);
}

/* ---- what a start does */

/* Each project has a month's budget, and each of its customers one. */
static void restore_budgets(const char *data, int count)
{
    static const struct mg_limit_set month = {.any = true, .budget_microusd = {[MG_PERIOD_MONTH] = 1000000000}};
    static const struct mg_limit_field customer[] = {{"customer", {.any = true, .budget_microusd = {[MG_PERIOD_MONTH] = 1000000}}}};
    static struct mg_config_project configs[PROJECTS];
    static char names[PROJECTS][24];
    const struct mg_config_project *all[PROJECTS];
    struct mg_budgets budgets;
    for (int i = 0; i < count; i++) {
        snprintf(names[i], sizeof names[i], "project-%d", i);
        configs[i] = (struct mg_config_project){.name = names[i], .limits = {.own = month, .fields = customer, .field_count = 1}};
        all[i] = &configs[i];
    }
    mg_budgets_init(&budgets, data);
    uint64_t began_us = mg_mono_us();
    must(mg_budgets_restore(&budgets, all, (size_t)count, began_us, mg_wall_us()));
    printf("%8.1f ms  budgets of %d projects, and of their customers, restored\n", (double)(mg_mono_us() - began_us) / 1000, count);
    mg_budgets_fini(&budgets);
}

int main(int argc, char **argv)
{
    static const char *const questions[] = {"", "project", "project,day", "provider,model", "key", "metadata.customer", "project,metadata.tier,workflow"};
    uint64_t count = argc > 1 ? strtoull(argv[1], NULL, 10) : 2000;
    char fresh[] = "/tmp/usage_bench.XXXXXX", path[MG_FOLDER_PATH_BYTES], command[64];
    const char *data = argc > 2 ? argv[2] : mkdtemp(fresh);
    struct mg_db *db;
    must(mg_folder_create(data, NULL));
    must(mg_folder_path(data, "moongate.db", path));
    if (access(path, F_OK) != 0)
        fill_store(data, count);
    must(mg_db_open(path, MG_DB_READ, &db, NULL));
    for (size_t i = 0; i < MG_COUNT(questions); i++)
        ask(db, questions[i], 0, 0);
    ask(db, "project", mg_wall_us() - 10 * DAY_US, mg_wall_us() - 9 * DAY_US);
    mg_db_close(db);
    restore_budgets(data, 1);
    restore_budgets(data, PROJECTS);
    if (argc > 2)
        return 0;
    snprintf(command, sizeof command, "rm -rf %s", data);
    return system(command) != 0;
}
