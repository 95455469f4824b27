/* store_bench.c - what the recorder thread spends on an exchange: journal records to rows of the store.
 *
 * usage: store_bench [EXCHANGES [BURST]]   Prints microseconds of the thread's CPU for each exchange (20,000 of one attempt
 * each, appended in bursts of 500 that are flushed before the next). Instructions: valgrind --tool=callgrind store_bench,
 * then the inclusive count of record_batch divided by the number of exchanges. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "meter/ledger.h"
#include "meter/record.h"
#include "store/folder.h"

static void must(mg_err err)
{
    if (err) {
        fprintf(stderr, "%s\n", mg_err_text(err));
        exit(1);
    }
}

static void fill(struct mg_timeline *timeline, uint64_t nth)
{
    unsigned char random[10] = {0};
    memcpy(random, &nth, sizeof nth);
    *timeline = (struct mg_timeline){
        .start_wall_us = 1764000000000000u + nth * 500,
        .phase_us = {1, 10, 11, 12, 13, 14, 15, 16, 200500, 300000, 300100},
        .upstream_us = 299000,
        .project = MG_VIEW("main"),
        .workflow = MG_VIEW("chat"),
        .key_id = MG_VIEW("key_BbkSMJKh5llGro5U"),
        .path = MG_VIEW("/v1/chat/completions"),
        .client = MG_VIEW("127.0.0.1:39346"),
        .user_agent = MG_VIEW("OpenAI/Python 2.8.1"),
        .explain = MG_VIEW("default policy: in order"),
        .generation = 1,
        .status = 200,
        .stream = true,
        .clean = true,
        .attempt_count = 1,
    };
    timeline->attempts[0] = (struct mg_attempt_record){
        .start_us = 20,
        .end_us = 299000,
        .mark_us = {0, 0, 0, 5, 90000, 90100, 298900},
        .target = MG_VIEW("openai/gpt-5-mini"),
        .provider = MG_VIEW("openai"),
        .model = MG_VIEW("gpt-5-mini"),
        .why = MG_VIEW("default policy: in order"),
        .address = MG_VIEW("162.159.140.245:443"),
        .credential = MG_VIEW("api_key"),
        .status = 200,
        .number = 1,
        .usage = {120, 100, 0, 0, 0, true},
    };
    mg_exchange_id(timeline->id, timeline->start_wall_us, random);
}

static uint64_t cpu_us(struct mg_recorder *recorder)
{
    struct mg_recorder_stats stats;
    mg_recorder_flush(recorder);
    mg_recorder_flush(recorder);       /* the figure is of the beat before */
    mg_recorder_stats(recorder, &stats);
    return stats.cpu_us;
}

int main(int argc, char **argv)
{
    static struct mg_timeline timeline;
    unsigned exchanges = argc > 1 ? (unsigned)strtoul(argv[1], NULL, 10) : 20000;
    unsigned burst = argc > 2 ? (unsigned)strtoul(argv[2], NULL, 10) : 500;
    char data[] = "/tmp/store_bench.XXXXXX", command[64];
    struct mg_recorder *recorder;
    struct mg_ledger *ledger = mg_ledger_new();
    if (!mkdtemp(data))
        return 1;
    struct mg_recorder_options options = {data, 1, 16 << 20, mg_ledger_sink(ledger)};
    must(mg_folder_create(data, NULL));
    must(mg_recorder_start(&options, &recorder, NULL));
    struct mg_journal *journal = mg_recorder_journal(recorder, 0);

    uint64_t before = cpu_us(recorder);
    for (unsigned i = 0; i < exchanges; i++) {
        fill(&timeline, i);
        must(mg_record_started(journal, &timeline, &timeline.attempts[0], 100));
        must(mg_record_settled(journal, &timeline, &timeline.attempts[0]));
        must(mg_record_exchange(journal, &timeline));
        if (i % burst == burst - 1)
            mg_recorder_flush(recorder);
    }
    printf("recorder: %.2f us an exchange\n", (double)(cpu_us(recorder) - before) / exchanges);
    mg_recorder_stop(recorder);
    mg_ledger_free(ledger);
    snprintf(command, sizeof command, "rm -rf %s", data);
    return system(command) != 0;
}
