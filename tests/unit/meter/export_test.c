#include "meter/export.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "store_world.h"

static void record_one(struct world *world, unsigned i)
{
    static struct mg_timeline timeline;
    timeline = world_exchange(i, 10);
    snprintf(timeline.id, sizeof timeline.id, "req_%026u", i);
    struct mg_attempt_record *attempt = world_attempt(&timeline, "a", "m", MG_CLASS_none);
    CHECK_OK(mg_record_started(world->journal, &timeline, attempt, 1));
    CHECK_OK(mg_record_settled(world->journal, &timeline, attempt));
    CHECK_OK(mg_record_exchange(world->journal, &timeline));
}

static void record_some(struct world *world, unsigned from, unsigned count)
{
    for (unsigned i = from; i < from + count; i++)
        record_one(world, i);
    mg_recorder_flush(world->recorder);
}

/* A sink that takes batches, or not, and remembers what it took. */
struct probe {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    unsigned refuse;                   /* so many batches more */
    bool take_and_fail;                /* it has them, and says that it has not */
    unsigned seen[64];                 /* how often the event of exchange i came */
    unsigned tried;
    char last_id[48];
    bool closed;
    bool hang, let_go;                 /* a send does not come back before it is let go */
    unsigned came_back;                /* sends that touch this no more */
};

static struct probe probe;

static void count_events(mg_view lines)
{
    while (lines.len > 0) {
        mg_view line = mg_view_cut(&lines, '\n');
        size_t at = mg_view_search(line, MG_VIEW("\"id\":\"req_")) + 10;
        uint64_t number = 0;
        CHECK(mg_view_u64(mg_view_of(line.ptr + at, 26), &number));
        probe.seen[number]++;
    }
}

static mg_err take(void *arg, const struct mg_export_batch *batch, struct mg_diag *diag)
{
    pthread_mutex_lock(&probe.lock);
    probe.tried++;
    bool refused = probe.refuse > 0;
    probe.refuse -= refused;
    if (!refused || probe.take_and_fail)
        count_events(batch->events);
    snprintf(probe.last_id, sizeof probe.last_id, "%s", batch->id);
    pthread_cond_broadcast(&probe.changed);
    while (probe.hang && !probe.let_go)
        pthread_cond_wait(&probe.changed, &probe.lock);
    probe.came_back++;
    pthread_cond_broadcast(&probe.changed);
    pthread_mutex_unlock(&probe.lock);
    return refused ? mg_diag_set(diag, MG_E_CONNECT, "", 0, "no") : MG_OK;
}

static void on_close(void *arg)
{
    probe.closed = true;
}

static struct mg_export *start(struct world *world, unsigned max_exchanges)
{
    static const struct mg_export_sink blank = {.name = "probe", .send = take, .close = on_close};
    struct mg_export_sink sink = blank;
    struct mg_export *exporter;
    sink.max_exchanges = max_exchanges;
    CHECK_OK(mg_export_start(world->data, world->recorder, &sink, &exporter, NULL));
    return exporter;
}

static void fresh(struct world *world)
{
    probe = (struct probe){.refuse = 0};
    pthread_mutex_init(&probe.lock, NULL);
    pthread_cond_init(&probe.changed, NULL);
    world_open(world);
}

TEST(a_sink_gets_what_settles_after_it_was_named_and_each_event_once)
{
    struct world world;
    fresh(&world);
    record_some(&world, 0, 5);
    struct mg_export *exporter = start(&world, 3);
    record_some(&world, 5, 10);
    mg_export_stop(exporter);

    for (unsigned i = 0; i < 15; i++)
        CHECK_INT(probe.seen[i], i < 5 ? 0 : 1);
    CHECK(probe.closed);
    world_stop(&world);
}

TEST(a_sink_that_fails_gets_the_same_batch_again_and_nothing_is_lost)
{
    struct world world;
    fresh(&world);
    struct mg_export *exporter = start(&world, 4);
    char id[48];
    probe.refuse = 1;
    record_some(&world, 0, 4);
    pthread_mutex_lock(&probe.lock);
    while (probe.tried < 1)
        pthread_cond_wait(&probe.changed, &probe.lock);
    memcpy(id, probe.last_id, sizeof id);
    while (probe.tried < 2)
        pthread_cond_wait(&probe.changed, &probe.lock);
    CHECK_STR(probe.last_id, id);
    pthread_mutex_unlock(&probe.lock);
    mg_export_stop(exporter);

    for (unsigned i = 0; i < 4; i++)
        CHECK_INT(probe.seen[i], 1);
    world_stop(&world);
}

static void await_tries(unsigned tries)
{
    pthread_mutex_lock(&probe.lock);
    while (probe.tried < tries)
        pthread_cond_wait(&probe.changed, &probe.lock);
    pthread_mutex_unlock(&probe.lock);
}

TEST(a_batch_comes_again_as_it_was_whatever_settled_meanwhile)
{
    struct world world;
    fresh(&world);
    struct mg_export *exporter = start(&world, 0);
    char id[48];
    probe.refuse = 1;
    probe.take_and_fail = true;
    record_some(&world, 0, 1);
    await_tries(1);
    memcpy(id, probe.last_id, sizeof id);
    record_some(&world, 1, 5);
    await_tries(2);
    CHECK_STR(probe.last_id, id);
    mg_export_stop(exporter);

    CHECK_INT(probe.seen[0], 2);
    for (unsigned i = 1; i < 6; i++)
        CHECK_INT(probe.seen[i], 1);
    world_stop(&world);
}

TEST(whoever_asks_is_told_how_an_export_is)
{
    struct world world;
    struct mg_export_state state;
    fresh(&world);
    struct mg_export *exporter = start(&world, 0);
    mg_export_state(exporter, &state);
    CHECK_STR(state.name, "probe");
    CHECK_INT(state.failures + state.events + state.waiting_since_us + state.taken_us, 0);

    probe.refuse = 1;
    record_some(&world, 0, 2);
    await_tries(1);
    for (int i = 0; i < 1000 && state.failures == 0; i++, usleep(1000))
        mg_export_state(exporter, &state);
    CHECK_STR(state.error, "no");
    CHECK_INT(state.failed_in_row, 1);
    CHECK(state.waiting_since_us >= UINT64_C(1000000) * BEGAN_S && state.failing_since_us > 0);

    await_tries(2);
    for (int i = 0; i < 1000 && state.events == 0; i++, usleep(1000))
        mg_export_state(exporter, &state);
    CHECK_INT(state.events, 2);
    CHECK_INT(state.failed_in_row + state.waiting_since_us + state.failing_since_us, 0);
    CHECK(!*state.error && state.taken_us > 0);
    mg_export_stop(exporter);
    world_stop(&world);
}

TEST(a_sink_that_never_comes_back_is_left_behind)
{
    struct world world;
    fresh(&world);
    struct mg_export *exporter = start(&world, 0);
    probe.hang = true;
    record_some(&world, 0, 1);
    await_tries(1);
    uint64_t began_us = mg_mono_us();
    mg_export_stop(exporter);
    CHECK(mg_mono_us() - began_us >= MG_EXPORT_LAST_MS * 1000u && mg_mono_us() - began_us < 3 * MG_EXPORT_LAST_MS * 1000u);
    world_stop(&world);                /* and it may come back when nothing is left that it knew */
    pthread_mutex_lock(&probe.lock);
    probe.let_go = true;
    pthread_cond_broadcast(&probe.changed);
    while (probe.came_back < 1)
        pthread_cond_wait(&probe.changed, &probe.lock);
    pthread_mutex_unlock(&probe.lock);
    usleep(200000);                    /* whatever it does then, it must not do */
    CHECK(!probe.closed);
    CHECK_INT(probe.tried, 1);
}

TEST(half_a_line_of_a_process_that_died_spoils_no_other)
{
    struct world world;
    char path[512], text[64] = "";
    fresh(&world);
    snprintf(path, sizeof path, "%s/usage.ndjson", world.data);
    FILE *file = fopen(path, "w");
    CHECK(file && fputs("{\"id\":1}\n{\"id\":", file) >= 0 && fclose(file) == 0);
    struct mg_export_sink sink = mg_export_to_file("file", path);
    struct mg_export_batch batch = {.events = MG_VIEW("{\"id\":2}\n"), .count = 1};
    struct mg_diag diag = {.line = 0};

    CHECK_OK(sink.send(sink.arg, &batch, &diag));
    CHECK_OK(sink.send(sink.arg, &batch, &diag));
    file = fopen(path, "r");
    CHECK(fread(text, 1, sizeof text - 1, file) > 0);
    fclose(file);
    CHECK_STR(text, "{\"id\":1}\n{\"id\":\n{\"id\":2}\n{\"id\":2}\n");
    sink.close(sink.arg);
    world_stop(&world);
}

TEST(a_pipe_is_no_file)
{
    struct world world;
    char path[512];
    fresh(&world);
    snprintf(path, sizeof path, "%s/pipe", world.data);
    CHECK_INT(mkfifo(path, 0600), 0);
    struct mg_export_sink sink = mg_export_to_file("file", path);
    struct mg_export_batch batch = {.events = MG_VIEW("{}\n"), .count = 1};
    struct mg_diag diag = {.line = 0};

    CHECK_INT(sink.send(sink.arg, &batch, &diag), MG_E_SYSTEM);    /* nobody reads */
    int reader = open(path, O_RDONLY | O_NONBLOCK);
    CHECK_INT(sink.send(sink.arg, &batch, &diag), MG_E_SYSTEM);
    CHECK(strstr(diag.text, "is no regular file"));
    close(reader);
    sink.close(sink.arg);
    world_stop(&world);
}

TEST(what_a_dead_sink_did_not_take_comes_at_the_next_start)
{
    struct world world;
    fresh(&world);
    struct mg_export *exporter = start(&world, 0);
    probe.refuse = 1000;
    probe.take_and_fail = true;
    record_some(&world, 0, 6);
    mg_export_stop(exporter);
    unsigned before = probe.seen[0];
    CHECK(before >= 1);

    probe.refuse = 0;
    exporter = start(&world, 0);
    mg_export_stop(exporter);
    for (unsigned i = 0; i < 6; i++)
        CHECK_INT(probe.seen[i], before + 1);      /* at least once, with the same ids */
    exporter = start(&world, 0);
    mg_export_stop(exporter);
    CHECK_INT(probe.seen[0], before + 1);
    world_stop(&world);
}

static size_t lines_of(const char *path)
{
    size_t lines = 0;
    int c;
    FILE *file = fopen(path, "r");
    CHECK(file);
    while ((c = getc(file)) != EOF)
        lines += c == '\n';
    fclose(file);
    return lines;
}

TEST(a_file_may_be_moved_away_and_goes_on_as_a_new_one)
{
    struct world world;
    char first[512], second[512];
    fresh(&world);
    snprintf(first, sizeof first, "%s/usage.ndjson", world.data);
    snprintf(second, sizeof second, "%s/usage.1.ndjson", world.data);
    struct mg_export_sink sink = mg_export_to_file("file", first);
    struct mg_export *exporter;
    CHECK_OK(mg_export_start(world.data, world.recorder, &sink, &exporter, NULL));
    record_some(&world, 0, 7);
    mg_export_stop(exporter);
    CHECK_INT(rename(first, second), 0);

    sink = mg_export_to_file("file", first);
    CHECK_OK(mg_export_start(world.data, world.recorder, &sink, &exporter, NULL));
    record_some(&world, 7, 3);
    mg_export_stop(exporter);

    CHECK_INT(lines_of(second), 7);
    CHECK_INT(lines_of(first), 3);
    world_stop(&world);
}

TEST(a_file_that_cannot_be_written_is_told_and_waits)
{
    struct world world;
    fresh(&world);
    struct mg_export_sink sink = mg_export_to_file("file", "/nowhere/at/all");
    struct mg_export_batch batch = {.events = MG_VIEW("{}\n"), .count = 1};
    struct mg_diag diag = {.line = 0};

    CHECK_INT(sink.send(sink.arg, &batch, &diag), MG_E_SYSTEM);
    CHECK(strstr(diag.text, "cannot open /nowhere/at/all"));
    sink.close(sink.arg);
    world_stop(&world);
}

MG_TEST_MAIN()
