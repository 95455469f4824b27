/* search_bench.c - the request log at size: what a row takes, how fast rows are stored and packed, what questions cost.
 *
 * usage: search_bench [ROWS [FOLDER]]   Makes a folder of ROWS exchanges (1,000,000; ten days of them) and asks it everything that
 * the console asks, cold (columns not in memory yet) and warm. With FOLDER the rows are kept there, and used again when they
 * are there already. Times are of CPU: other processes do not count. Then 200,000 more go through a journal and the recorder and are packed: CPU of both. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "meter/ledger.h"
#include "meter/packer.h"
#include "meter/record.h"
#include "store/folder.h"
#include "watch/search.h"

enum { RECORDED = 200000, ROUNDS = 7 };
static const uint64_t began_us = 1764000000000000u;
static uint64_t span_us = 10 * UINT64_C(86400000000);

static void must(mg_err err)
{
    if (err) {
        fprintf(stderr, "%s\n", mg_err_text(err));
        exit(1);
    }
}

/* ---- exchanges as a few projects of different sizes make them */

static uint64_t state = 88172645463325252u;

static uint64_t draw(void)
{
    state ^= state << 13;
    state ^= state >> 7;
    return state ^= state << 17;
}

/* Small numbers are likelier. */
static unsigned skewed(unsigned count)
{
    double x = (double)(draw() >> 11) / 9007199254740992.0;
    return (unsigned)(x * x * x * count);
}

static uint64_t around(double median)
{
    double x = 0;
    for (int i = 0; i < 4; i++)
        x += (double)(draw() >> 11) / 9007199254740992.0 - 0.5;
    return (uint64_t)(median * exp(x * 1.6));
}

struct texts {
    char project[32], workflow[32], key[40], session[40], metadata[160], model[40], target[80], client[32];
};

static void fill(struct mg_timeline *timeline, struct texts *texts, uint64_t wall_us)
{
    static const char *const providers[] = {"openai", "anthropic", "gemini", "azure", "bedrock", "mistral", "groq"};
    unsigned char random[10];
    unsigned project = skewed(20), provider = skewed(7), failed = draw() % 20 == 0;
    uint64_t chance[2] = {draw(), draw()}, first_us = around(600000), end_us = first_us + around(2400000);
    memcpy(random, chance, sizeof random);
    snprintf(texts->project, sizeof texts->project, "project-%u", project);
    snprintf(texts->workflow, sizeof texts->workflow, "flow-%u", project * 3 + skewed(3));
    snprintf(texts->key, sizeof texts->key, "key_%016u", project * 25 + skewed(25));
    snprintf(texts->session, sizeof texts->session, "session-%llu", (unsigned long long)(wall_us / 2000000 * 50 + draw() % 50));
    snprintf(texts->metadata, sizeof texts->metadata, "{\"team\":\"team-%u\",\"user\":\"user-%u\",\"feature\":\"f%u\"}", skewed(40),
             skewed(50000), skewed(12));
    snprintf(texts->model, sizeof texts->model, "model-%u-%u", provider, skewed(6));
    snprintf(texts->target, sizeof texts->target, "%s/%s", providers[provider], texts->model);
    snprintf(texts->client, sizeof texts->client, "10.0.%u.%u:%u", skewed(8), skewed(250), (unsigned)(draw() % 60000));
    *timeline = (struct mg_timeline){
        .start_wall_us = wall_us,
        .phase_us = {1, 10, 60, 70, 90, 95, 96, 120, first_us, end_us, end_us + 40},
        .upstream_us = end_us - around(300),
        .project = mg_view_cstr(texts->project),
        .workflow = mg_view_cstr(texts->workflow),
        .key_id = mg_view_cstr(texts->key),
        .session = mg_view_cstr(texts->session),
        .metadata = mg_view_cstr(texts->metadata),
        .path = MG_VIEW("/v1/chat/completions"),
        .client = mg_view_cstr(texts->client),
        .user_agent = MG_VIEW("OpenAI/Python 2.8.1"),
        .explain = MG_VIEW("default policy: in order"),
        .generation = 7,
        .status = failed ? 503 : 200,
        .class_ = failed ? MG_CLASS_overloaded : MG_CLASS_none,
        .stream = draw() % 2,
        .clean = !failed,
        .bytes_in = around(4000),
        .bytes_out = around(2000),
        .attempt_count = 1,
    };
    timeline->attempts[0] = (struct mg_attempt_record){
        .start_us = 120,
        .end_us = end_us - 100,
        .mark_us = {0, 0, 0, 60, first_us - 900, first_us - 100, end_us - 120},
        .target = mg_view_cstr(texts->target),
        .provider = mg_view_cstr(providers[provider]),
        .model = mg_view_cstr(texts->model),
        .why = MG_VIEW("default policy: in order"),
        .address = MG_VIEW("162.159.140.245:443"),
        .credential = MG_VIEW("api_key"),
        .dialect = MG_VIEW("openai_chat"),
        .class_ = timeline->class_,
        .status = timeline->status,
        .number = 1,
        .reused = true,
        .priced = true,
        .cost_picousd = around(800000000),
        .cost_microusd = around(800),
        .usage = {around(900), around(250), draw() % 3 ? 0 : around(500), 0, 0, true},
    };
    mg_exchange_id(timeline->id, wall_us, random);
}

/* ---- blocks, without a recorder */

static size_t frame(char *out, enum mg_journal_type type, size_t bytes)
{
    out[0] = (char)type;
    out[1] = (char)(bytes & 0xff);
    out[2] = (char)(bytes >> 8);
    return bytes + 3;
}

static mg_view detail_of(char *room, const struct mg_timeline *timeline)
{
    size_t len = 0;
    len += frame(room + len, MG_JOURNAL_STARTED, mg_record_encode_started(room + len + 3, timeline, &timeline->attempts[0], 800));
    len += frame(room + len, MG_JOURNAL_SETTLED, mg_record_encode_settled(room + len + 3, timeline, &timeline->attempts[0], true));
    len += frame(room + len, MG_JOURNAL_EXCHANGE, mg_record_encode_exchange(room + len + 3, timeline, true));
    return mg_view_of(room, len);
}

static void put_row(struct mg_block *block, uint64_t at_us)
{
    static struct mg_timeline timeline;
    static struct texts texts;
    static char room[16384];
    fill(&timeline, &texts, at_us - 3000000);
    struct mg_block_row row = {
        .at_us = at_us,
        .flags = (timeline.stream ? MG_ROW_STREAM : 0) | (timeline.clean ? MG_ROW_CLEAN : 0),
        .id = mg_view_cstr(timeline.id),
        .detail = detail_of(room, &timeline),
    };
    must(mg_block_put(block, &row));
}

static void make_blocks(const char *folder, uint64_t rows)
{
    double put_us = 0;
    for (uint64_t done = 0; done < rows;) {
        struct mg_block *block = mg_block_new(true);
        uint64_t count = MG_MIN(rows - done, (uint64_t)MG_BLOCK_ROWS), before = mg_thread_cpu_us();
        for (uint64_t i = 0; i < count; i++, done++)
            put_row(block, began_us + span_us / rows * done + done % 7);
        must(mg_block_write(block, folder, NULL));
        mg_block_free(block);
        put_us += (double)(mg_thread_cpu_us() - before);
        if (isatty(2))
            fprintf(stderr, "\r%llu of %llu rows", (unsigned long long)done, (unsigned long long)rows);
    }
    if (isatty(2))
        fprintf(stderr, "\n");
    printf("made: %.2f us a row, drawing included\n", put_us / (double)rows);
}

/* ---- questions */

struct asked {
    struct mg_search *search;
    const char *query;
    enum mg_field field;
    mg_view metadata_key;
    uint64_t answer;                   /* something of it, so that a reader sees that it is one */
};

static mg_err count_row(void *arg, const struct mg_logs_row *row)
{
    (void)row;
    ++*(uint64_t *)arg;
    return MG_OK;
}

static mg_err count_group(void *arg, const struct mg_group *group)
{
    *(uint64_t *)arg += group->summary.count;
    return MG_OK;
}

static void ask_page(struct asked *asked, const struct mg_query *query)
{
    struct mg_search_cursor next;
    must(mg_search_page(asked->search, query, count_row, &asked->answer, &next));
}

static void ask_summary(struct asked *asked, const struct mg_query *query)
{
    struct mg_summary summary;
    must(mg_search_summary(asked->search, query, &summary));
    asked->answer = summary.count;
}

static void ask_series(struct asked *asked, const struct mg_query *query)
{
    static struct mg_summary steps[MG_SEARCH_STEPS];
    uint64_t since_us = query->since_us ? query->since_us : began_us, until_us = query->until_us ? query->until_us : began_us + span_us;
    must(mg_search_series(asked->search, query, since_us, (until_us - since_us) / 120 + 1, 120, steps));
    for (int i = 0; i < 120; i++)
        asked->answer += steps[i].count;
}

static void ask_groups(struct asked *asked, const struct mg_query *query)
{
    must(mg_search_groups(asked->search, query, asked->field, asked->metadata_key, 20, count_group, &asked->answer));
}

static double once(struct asked *asked, void (*ask)(struct asked *, const struct mg_query *))
{
    static struct mg_query query;
    query = (struct mg_query){0};
    must(mg_query_parse(&query, mg_view_cstr(asked->query), "", NULL));
    asked->answer = 0;
    uint64_t before = mg_thread_cpu_us();
    ask(asked, &query);
    return (double)(mg_thread_cpu_us() - before) / 1000;
}

static int by_size(const void *a, const void *b)
{
    return *(const double *)a < *(const double *)b ? -1 : *(const double *)a > *(const double *)b;
}

static double worst_ms;

static void ask(struct mg_search *search, const char *what, void (*fn)(struct asked *, const struct mg_query *), struct asked asked)
{
    double warm[ROUNDS], cold = 0;
    asked.search = search;
    cold = once(&asked, fn);
    for (int i = 0; i < ROUNDS; i++)
        warm[i] = once(&asked, fn);
    qsort(warm, ROUNDS, sizeof warm[0], by_size);
    worst_ms = MG_MAX(worst_ms, warm[ROUNDS - 1]);
    printf("%-58s cold %7.1f ms   warm %7.1f   slowest %7.1f   (%llu)\n", what, cold, warm[ROUNDS / 2], warm[ROUNDS - 1],
           (unsigned long long)asked.answer);
}

static void ask_all(struct mg_search *search)
{
    uint64_t end_us = began_us + span_us;
    char hour[96], day[96];
    snprintf(hour, sizeof hour, "since=%llu&until=%llu", (unsigned long long)(end_us - 3600000000u), (unsigned long long)end_us);
    snprintf(day, sizeof day, "since=%llu&until=%llu", (unsigned long long)(end_us - 86400000000u), (unsigned long long)end_us);
    ask(search, "page: newest", ask_page, (struct asked){.query = "limit=100"});
    ask(search, "page: errors of a project", ask_page, (struct asked){.query = "limit=100&project=project-7&status=error"});
    ask(search, "page: one session", ask_page, (struct asked){.query = "session=session-44110000011"});
    ask(search, "page: metadata nobody has", ask_page, (struct asked){.query = "metadata.team=nobody"});
    ask(search, "page: slowest of all", ask_page, (struct asked){.query = "sort=latency&limit=100"});
    ask(search, "page: dearest of a model", ask_page, (struct asked){.query = "sort=cost&model=model-2-*"});
    ask(search, "page: rare, deep", ask_page, (struct asked){.query = "project=project-19&provider=groq&min_latency=9s"});
    ask(search, "summary: everything", ask_summary, (struct asked){.query = ""});
    ask(search, "summary: a day", ask_summary, (struct asked){.query = day});
    ask(search, "summary: errors of a provider", ask_summary, (struct asked){.query = "status=error&provider=anthropic"});
    ask(search, "summary: a team by metadata", ask_summary, (struct asked){.query = "metadata.team=team-3"});
    ask(search, "series: everything, 120 steps", ask_series, (struct asked){.query = ""});
    ask(search, "series: an hour", ask_series, (struct asked){.query = hour});
    ask(search, "series: a project", ask_series, (struct asked){.query = "project=project-3"});
    ask(search, "groups: by model", ask_groups, (struct asked){.query = "", .field = MG_FIELD_model});
    ask(search, "groups: by workflow of a day", ask_groups, (struct asked){.query = day, .field = MG_FIELD_workflow});
    ask(search, "groups: by user (50,000)", ask_groups, (struct asked){.query = "", .field = MG_FIELD_user});
    ask(search, "groups: by metadata of a day", ask_groups,
        (struct asked){.query = day, .field = MG_FIELD_metadata, .metadata_key = MG_VIEW("team")});
    printf("slowest warm answer: %.1f ms\n", worst_ms);
}

/* ---- through a recorder */

static uint64_t recorder_us(struct mg_recorder *recorder)
{
    struct mg_recorder_stats stats;
    mg_recorder_flush(recorder);
    mg_recorder_flush(recorder); /* the figure is of the beat before */
    mg_recorder_stats(recorder, &stats);
    return stats.cpu_us;
}

static void record(struct mg_journal *journal, struct mg_recorder *recorder, unsigned rows)
{
    static struct mg_timeline timeline;
    static struct texts texts;
    for (unsigned i = 0; i < rows; i++) {
        fill(&timeline, &texts, began_us + span_us + i * UINT64_C(400));
        must(mg_record_started(journal, &timeline, &timeline.attempts[0], 100));
        must(mg_record_settled(journal, &timeline, &timeline.attempts[0]));
        must(mg_record_exchange(journal, &timeline));
        if (i % 4000 == 3999)
            mg_recorder_flush(recorder);
    }
}

static void pack(struct mg_db *db, struct mg_recorder *recorder, unsigned rows)
{
    uint32_t packed, all = 0;
    uint64_t before = mg_thread_cpu_us(), recorder_before = recorder_us(recorder);
    do {
        must(mg_pack_rows(db, recorder, MG_BLOCK_ROWS, 0, &packed, NULL));
        all += packed;
    } while (packed > 0);
    uint64_t deleting_us = recorder_us(recorder) - recorder_before;
    printf("packer: %.2f us a row of its own thread, %.2f of the recorder's (%u of %u rows)\n",
           (double)(mg_thread_cpu_us() - before) / all, (double)deleting_us / all, all, rows);
}

static void run(const char *data, uint64_t rows)
{
    char path[MG_FOLDER_PATH_BYTES], folder[MG_FOLDER_PATH_BYTES];
    struct mg_recorder *recorder;
    struct mg_ledger *ledger = mg_ledger_new();
    struct mg_db *db;
    struct mg_recorder_options options = {data, 1, 16 << 20, mg_ledger_sink(ledger)};
    struct mg_archive_stats stats;
    must(mg_folder_create(data, NULL));
    must(mg_folder_path(data, "requests", folder));
    if (mkdir(folder, 0700) == 0)
        make_blocks(folder, rows);
    must(mg_recorder_start(&options, &recorder, NULL));
    must(mg_folder_path(data, "moongate.db", path));
    must(mg_db_open(path, MG_DB_READ, &db, NULL));

    struct mg_search *search = mg_search_new(db);
    must(mg_search_refresh(search, NULL));
    ask_all(search);
    mg_search_free(search);

    struct mg_archive *archive = mg_archive_new(db);
    must(mg_archive_refresh(archive, NULL));
    for (size_t i = 0; i < mg_archive_count(archive); i++)
        mg_archive_block(archive, i);
    mg_archive_stats(archive, &stats);
    printf("disk: %.1f bytes a row in %llu blocks\n", (double)stats.bytes / (double)rows, (unsigned long long)stats.blocks);
    mg_archive_free(archive);

    unsigned recorded = (unsigned)MG_MIN(rows, (uint64_t)RECORDED);
    uint64_t before = recorder_us(recorder);
    record(mg_recorder_journal(recorder, 0), recorder, recorded);
    printf("recorder: %.2f us a row\n", (double)(recorder_us(recorder) - before) / recorded);
    pack(db, recorder, recorded);
    mg_db_close(db);
    mg_recorder_stop(recorder);
    mg_ledger_free(ledger);
}

int main(int argc, char **argv)
{
    uint64_t rows = argc > 1 ? strtoull(argv[1], NULL, 10) : 1000000;
    char data[] = "/tmp/search_bench.XXXXXX", command[64];
    if (argc > 2) {
        run(argv[2], rows);
        return 0;
    }
    if (!mkdtemp(data))
        return 1;
    run(data, rows);
    snprintf(command, sizeof command, "rm -rf %s", data);
    return system(command) != 0;
}
