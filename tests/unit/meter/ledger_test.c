#include "meter/ledger.h"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fault.h"
#include "base/log.h"
#include "base/mem.h"
#include "store_world.h"

/* What an SQL query answers, as text; valid until the next call. */
static const char *ask(struct world *world, const char *sql)
{
    static char answer[4096];
    char path[MG_FOLDER_PATH_BYTES];
    struct mg_db *db;
    struct mg_stmt *stmt;
    bool row;
    CHECK_OK(mg_folder_path(world->data, "moongate.db", path));
    CHECK_OK(mg_db_open(path, MG_DB_READ, &db, NULL));
    CHECK_OK(mg_db_prepare(db, sql, &stmt));
    CHECK_OK(mg_stmt_step(stmt, &row));
    mg_view text = row ? mg_stmt_text(stmt, 0) : MG_VIEW("no row");
    snprintf(answer, sizeof answer, "%.*s", MG_FMT(text));
    mg_db_close(db);
    return answer;
}

static const char *get_timeline(struct world *world, const char *id,
                                struct mg_timeline *out_timeline)
{
    static char bytes[65536];
    char path[MG_FOLDER_PATH_BYTES];
    struct mg_db *db;
    struct mg_stmt *stmt;
    bool row;
    CHECK_OK(mg_folder_path(world->data, "moongate.db", path));
    CHECK_OK(mg_db_open(path, MG_DB_READ, &db, NULL));
    CHECK_OK(mg_db_prepare(db, "SELECT detail FROM exchanges WHERE id = ?", &stmt));
    mg_stmt_bind_text(stmt, 1, mg_view_cstr(id));
    CHECK_OK(mg_stmt_step(stmt, &row));
    CHECK(row);
    mg_view detail = mg_stmt_blob(stmt, 0);
    CHECK(detail.len <= sizeof bytes);
    memcpy(bytes, detail.ptr, detail.len);
    mg_db_close(db);
    CHECK_OK(mg_ledger_decode(mg_view_of(bytes, detail.len), out_timeline));
    return bytes;
}

static struct mg_timeline an_exchange(const char *id)
{
    static const uint64_t phase_us[] = {1, 10, 11, 12, 13, 14, 15, 16, 200500, 300000, 300100};
    struct mg_timeline timeline = world_timeline(0);
    memcpy(timeline.phase_us, phase_us, sizeof phase_us);
    timeline.upstream_us = 299000;
    timeline.session = MG_VIEW("s");
    timeline.stream = true;
    timeline.generation = 4;
    snprintf(timeline.id, sizeof timeline.id, "%s", id);
    return timeline;
}

static struct mg_attempt_record a_failure(void)
{
    return (struct mg_attempt_record){
        .start_us = 20,
        .end_us = 100000,
        .mark_us = {0, 0, 0, 5, 90000, 0, 99999},
        .target = MG_VIEW("alpha/big"),
        .provider = MG_VIEW("alpha"),
        .model = MG_VIEW("big"),
        .why = MG_VIEW("first choice"),
        .error = MG_VIEW("Overloaded"),
        .class_ = MG_CLASS_overloaded,
        .action = MG_ACTION_fallback,
        .status = 529,
        .number = 1,
        .credential = MG_VIEW("main"),
        .cost_microusd = 700,
        .usage = {.input_tokens = 10},
    };
}

static struct mg_attempt_record a_success(uint16_t number)
{
    return (struct mg_attempt_record){
        .start_us = 100100,
        .end_us = 199000,
        .mark_us = {0, 0, 0, 5, 50000, 100000, 198000},
        .target = MG_VIEW("beta/small"),
        .provider = MG_VIEW("beta"),
        .model = MG_VIEW("small"),
        .reason = MG_REASON_fallback,
        .status = 200,
        .number = number,
        .entry = 1,
        .credential = MG_VIEW("spare"),
        .waited_us = 430000,
        .resumed_bytes = 812,
        .cost_microusd = 2000,
        .usage = {12, 34, 0, 0, 0, true},
    };
}

static void record_exchange(struct world *world, const char *id)
{
    static struct mg_timeline timeline;
    timeline = an_exchange(id);
    timeline.attempt_count = 2;
    timeline.attempts[0] = a_failure();
    timeline.attempts[1] = a_success(2);
    world_record(world, &timeline);
}

TEST(an_exchange_becomes_one_row_that_says_how_it_went)
{
    struct world world;
    world_start(&world, check_fresh_path("data"));

    record_exchange(&world, "req_a");
    mg_recorder_flush(world.recorder);

    CHECK_STR(
        ask(&world, "SELECT id||' '||start_us||' '||project||' '||workflow||' '||key_id||' "
                    "'||path||' '||session||' '||"
                    "provider||' '||model||' '||status||' '||class||' '||attempts||' '||generation "
                    "FROM exchanges"),
        "req_a 1764000000000000 acme fast key_1 /v1/chat/completions s beta small 200 none 2 4");
    CHECK_STR(ask(&world, "SELECT (at_us - start_us)||' '||duration_us||' '||overhead_us||' "
                          "'||ttft_us||' '||input_tokens||' '||"
                          "output_tokens||' '||flags FROM exchanges"),
              "300100 300100 1100 200100 22 34 43");
    CHECK_STR(
        ask(&world, "SELECT replace(replace(tried, char(10), '|'), char(9), '/') FROM exchanges"),
        "|alpha/big|beta/small|");
    CHECK_STR(ask(&world, "SELECT waited_us||' '||cost_microusd FROM exchanges"), "430000 2700");
    world_stop(&world);
}

TEST(a_row_says_why_its_attempts_were_made)
{
    static const struct {
        enum mg_reason reason;
        int flag;
    } rows[] = {{MG_REASON_retry, MG_ROW_REPEATED},
                {MG_REASON_fallback, MG_ROW_FELL_OVER},
                {MG_REASON_hedge, MG_ROW_HEDGED},
                {MG_REASON_rescue, MG_ROW_RESCUED}};
    static struct mg_timeline timeline;
    struct world world;
    char want[16];
    for (size_t i = 0; i < MG_COUNT(rows); i++) {
        struct mg_attempt_record failure = a_failure(), success = a_success(2);
        world_start(&world, check_fresh_path("data"));
        timeline = an_exchange("req_a");
        timeline.attempt_count = 2;
        success.reason = rows[i].reason;
        CHECK_OK(mg_record_started(world.journal, &timeline, &failure, 7));
        CHECK_OK(mg_record_settled(world.journal, &timeline, &failure));
        CHECK_OK(mg_record_started(world.journal, &timeline, &success, 7));
        CHECK_OK(mg_record_settled(world.journal, &timeline, &success));
        CHECK_OK(mg_record_exchange(world.journal, &timeline));
        mg_recorder_flush(world.recorder);

        snprintf(want, sizeof want, "%d", rows[i].flag);
        CHECK_STR(ask(&world, "SELECT flags & 240 FROM exchanges"), want);
        world_stop(&world);
    }
}

TEST(the_detail_gives_the_whole_timeline_back)
{
    static struct mg_timeline timeline;
    struct world world;
    world_start(&world, check_fresh_path("data"));
    record_exchange(&world, "req_a");
    mg_recorder_flush(world.recorder);

    get_timeline(&world, "req_a", &timeline);

    CHECK_STR(timeline.id, "req_a");
    CHECK_INT(timeline.attempt_count, 2);
    CHECK_INT(timeline.phase_us[MG_PHASE_commit], 200500);
    CHECK_VIEW(timeline.attempts[0].target, MG_VIEW("alpha/big"));
    CHECK_VIEW(timeline.attempts[0].why, MG_VIEW("first choice"));
    CHECK_VIEW(timeline.attempts[0].error, MG_VIEW("Overloaded"));
    CHECK_INT(timeline.attempts[0].class_, MG_CLASS_overloaded);
    CHECK_INT(timeline.attempts[1].reason, MG_REASON_fallback);
    CHECK_INT(timeline.attempts[1].start_us, 100100);
    CHECK_INT(timeline.attempts[1].mark_us[MG_MARK_first_token], 100000);
    CHECK_INT(timeline.attempts[1].usage.output_tokens, 34);
    CHECK_VIEW(timeline.attempts[0].credential, MG_VIEW("main"));
    CHECK_VIEW(timeline.attempts[1].credential, MG_VIEW("spare"));
    CHECK_INT(timeline.attempts[1].waited_us, 430000);
    CHECK_INT(timeline.attempts[1].resumed_bytes, 812);
    CHECK_INT(timeline.attempts[1].cost_microusd, 2000);
    world_stop(&world);
}

TEST(a_request_without_an_attempt_is_a_row_too)
{
    static struct mg_timeline timeline;
    struct world world;
    world_start(&world, check_fresh_path("data"));
    timeline = an_exchange("req_refused");
    timeline.status = 400;
    timeline.class_ = MG_CLASS_invalid_request;

    CHECK_OK(mg_record_exchange(world.journal, &timeline));
    mg_recorder_flush(world.recorder);

    CHECK_STR(ask(&world, "SELECT status||' '||class||' '||attempts||' '||(provider IS NULL)||' "
                          "'||(ttft_us IS NULL) FROM exchanges"),
              "400 invalid_request 0 1 1");
    world_stop(&world);
}

TEST(rows_are_in_the_order_they_were_recorded_and_no_two_share_a_time)
{
    struct world world;
    char id[16];
    world_start(&world, check_fresh_path("data"));

    for (int i = 0; i < 50; i++) {
        snprintf(id, sizeof id, "req_%02d", i);
        record_exchange(&world, id);
    }
    world_stop(&world);
    world_start(&world, world.data);
    record_exchange(&world, "req_50");
    mg_recorder_flush(world.recorder);

    CHECK_STR(ask(&world, "SELECT count(*)||' '||group_concat(DISTINCT ok) FROM "
                          "(SELECT substr(id, 5) + 0 = row_number() OVER (ORDER BY at_us) - 1 AS "
                          "ok FROM exchanges)"),
              "51 1");
    world_stop(&world);
}

TEST(exchanges_of_several_workers_stand_in_the_order_they_ended)
{
    static struct mg_timeline timeline;
    struct world world = {.data = check_fresh_path("data"), .ledger = mg_ledger_new()};
    struct mg_recorder_options options = {world.data, 2, 1 << 20, mg_ledger_sink(world.ledger)};
    CHECK_OK(mg_folder_create(world.data, NULL));
    CHECK_OK(mg_recorder_start(&options, &world.recorder, NULL));

    for (unsigned i = 0; i < 10; i++) {
        char id[16];
        snprintf(id, sizeof id, "%u", i);
        timeline = an_exchange(id);
        timeline.start_wall_us += i * 1000u;
        CHECK_OK(mg_record_exchange(mg_recorder_journal(world.recorder, i * 7 / 2 % 2), &timeline));
    }
    mg_recorder_flush(world.recorder);

    CHECK_STR(
        ask(&world, "SELECT group_concat(id, '') FROM (SELECT id FROM exchanges ORDER BY at_us)"),
        "0123456789");
    CHECK_STR(ask(&world, "SELECT count(*) FROM exchanges WHERE at_us = start_us + duration_us"),
              "10");
    world_stop(&world);
}

TEST(an_open_exchange_survives_the_freeing_of_ring_room)
{
    static struct mg_timeline timeline;
    struct mg_attempt_record failure = a_failure(), success = a_success(2);
    struct world world;
    struct mg_journal_stats stats;
    world_start(&world, check_fresh_path("data"));
    timeline = an_exchange("req_long");
    timeline.attempt_count = 2;

    CHECK_OK(mg_record_started(world.journal, &timeline, &failure, 7));
    CHECK_OK(mg_record_settled(world.journal, &timeline, &failure));
    CHECK_OK(mg_record_started(world.journal, &timeline, &success, 7));
    for (int i = 0; i < 20000; i++) {
        char id[16];
        snprintf(id, sizeof id, "req_%d", i);
        while (!mg_journal_reserve(world.journal, mg_record_worst_case(2)))
            mg_recorder_flush(world.recorder);
        record_exchange(&world, id);
        mg_journal_unreserve(world.journal, mg_record_worst_case(2));
    }
    mg_recorder_flush(world.recorder);
    mg_journal_stats(world.journal, &stats);
    CHECK(stats.records >= 100003);
    CHECK_STR(ask(&world, "SELECT group_concat(id) FROM open_exchanges"), "req_long");
    CHECK_OK(mg_record_settled(world.journal, &timeline, &success));
    CHECK_OK(mg_record_exchange(world.journal, &timeline));
    mg_recorder_flush(world.recorder);

    get_timeline(&world, "req_long", &timeline);
    CHECK_VIEW(timeline.attempts[0].error, MG_VIEW("Overloaded"));
    CHECK_VIEW(timeline.attempts[1].model, MG_VIEW("small"));
    CHECK_STR(ask(&world, "SELECT count(*) FROM open_exchanges"), "0");
    world_stop(&world);
}

/* What the input that was sent costs, as it is known when an attempt starts. */
static void price(struct mg_attempt_record *attempt)
{
    attempt->priced = attempt->own_price = true;
    attempt->cost_picousd = 154000001;
    attempt->vendor = MG_VIEW("acme");
}

/* Appends in a process that dies; `flush` has it recorded before. */
static void die_with_open_attempt(const char *data, bool flush)
{
    pid_t child = fork();
    if (child == 0) {
        static struct mg_timeline timeline;
        struct mg_attempt_record failure = a_failure(), success = a_success(2);
        struct world world;
        world_start(&world, data);
        record_exchange(&world, "req_whole");
        timeline = an_exchange("req_cut");
        price(&success);
        if (mg_record_started(world.journal, &timeline, &failure, 7) != MG_OK ||
            mg_record_settled(world.journal, &timeline, &failure) != MG_OK ||
            mg_record_started(world.journal, &timeline, &success, 77) != MG_OK ||
            mg_record_redialed(world.journal, &timeline, &success) != MG_OK)
            _exit(1);
        if (flush)
            mg_recorder_flush(world.recorder);
        kill(getpid(), SIGKILL);
    }
    waitpid(child, NULL, 0);
}

static void check_interrupted(struct world *world)
{
    static struct mg_timeline timeline;
    CHECK_STR(ask(world, "SELECT group_concat(id) FROM (SELECT id FROM exchanges ORDER BY at_us)"),
              "req_whole,req_cut");
    CHECK_STR(ask(world,
                  "SELECT project||' '||workflow||' '||key_id||' '||start_us||' '||status||' "
                  "'||class||' '||attempts||' '||"
                  "flags||' '||input_tokens||' '||provider||' '||cost_microusd FROM exchanges WHERE id = 'req_cut'"),
              "acme fast key_1 1764000000000000 0 cancelled 2 44 87 beta 855");
    get_timeline(world, "req_cut", &timeline);
    CHECK_VIEW(timeline.error_code, MG_VIEW("interrupted"));
    CHECK_VIEW(timeline.attempts[0].error, MG_VIEW("Overloaded"));
    CHECK_INT(timeline.attempts[0].usage.input_tokens, 10);
    CHECK_VIEW(timeline.attempts[1].error, MG_VIEW("the gateway was interrupted"));
    CHECK_INT(timeline.attempts[1].class_, MG_CLASS_cancelled);
    CHECK_INT(timeline.attempts[1].usage.input_tokens, 77);
    CHECK(!timeline.attempts[1].usage.reported);
    CHECK_INT(timeline.attempts[1].cost_picousd, 154000001);
    CHECK(timeline.attempts[1].priced && timeline.attempts[1].own_price);
    CHECK_VIEW(timeline.attempts[1].vendor, MG_VIEW("acme"));
    CHECK(timeline.attempts[1].redialed && !timeline.attempts[0].redialed);
    CHECK_STR(ask(world, "SELECT count(*) FROM open_exchanges"), "0");
}

TEST(an_attempt_that_a_killed_gateway_never_settled_is_billed_by_estimate_once)
{
    mg_log_level(MG_LOG_OFF);
    for (int flush = 0; flush < 2; flush++) {
        struct world world;
        const char *data = check_fresh_path("data");
        die_with_open_attempt(data, flush);

        world_start(&world, data);
        check_interrupted(&world);
        world_stop(&world);
        world_start(&world, data);
        check_interrupted(&world);
        world_stop(&world);
    }
    mg_log_level(MG_LOG_INFO);
}

TEST(what_is_open_at_a_stop_is_interrupted_at_the_next_start)
{
    static struct mg_timeline timeline;
    struct mg_attempt_record failure = a_failure(), success = a_success(2);
    struct world world;
    world_start(&world, check_fresh_path("data"));
    record_exchange(&world, "req_whole");
    timeline = an_exchange("req_cut");
    price(&success);
    CHECK_OK(mg_record_started(world.journal, &timeline, &failure, 7));
    CHECK_OK(mg_record_settled(world.journal, &timeline, &failure));
    CHECK_OK(mg_record_started(world.journal, &timeline, &success, 77));
    CHECK_OK(mg_record_redialed(world.journal, &timeline, &success));
    world_stop(&world);
    CHECK_STR(ask(&world, "SELECT id FROM open_exchanges"), "req_cut");

    world_start(&world, world.data);
    check_interrupted(&world);
    world_stop(&world);
}

TEST(a_failed_transaction_leaves_the_ledger_as_it_was)
{
    static struct mg_timeline timeline;
    struct mg_attempt_record success = a_success(1);
    struct world world;
    mg_log_level(MG_LOG_OFF);
    world_start(&world, check_fresh_path("data"));
    timeline = an_exchange("req_b");
    timeline.attempt_count = 1;

    /* every step of a life meets a commit that fails */
    mg_fault_arm(MG_FAULT_STORE_WRITE, 1);
    CHECK_OK(mg_record_started(world.journal, &timeline, &success, 7));
    mg_recorder_flush(world.recorder);
    mg_recorder_flush(world.recorder);
    mg_fault_arm(MG_FAULT_STORE_WRITE, 1);
    CHECK_OK(mg_record_settled(world.journal, &timeline, &success));
    mg_recorder_flush(world.recorder);
    mg_recorder_flush(world.recorder);
    mg_fault_arm(MG_FAULT_STORE_WRITE, 1);
    CHECK_OK(mg_record_exchange(world.journal, &timeline));
    mg_recorder_flush(world.recorder);
    mg_recorder_flush(world.recorder);
    mg_fault_arm(MG_FAULT_STORE_WRITE, 1);
    record_exchange(&world, "req_c");
    mg_recorder_flush(world.recorder);
    mg_recorder_flush(world.recorder);

    CHECK_STR(
        ask(&world, "SELECT group_concat(id||' '||attempts||' '||output_tokens) FROM exchanges"),
        "req_b 1 34,req_c 2 34");
    CHECK_STR(ask(&world, "SELECT at_us - start_us FROM exchanges WHERE id = 'req_c'"), "300101");
    world_stop(&world);
    mg_log_level(MG_LOG_INFO);
}

TEST(a_record_nobody_understands_is_dropped_and_the_ring_moves_on)
{
    struct world world;
    static struct mg_timeline timeline;
    struct mg_attempt_record success = a_success(1);
    mg_log_level(MG_LOG_OFF);
    world_start(&world, check_fresh_path("data"));
    timeline = an_exchange("req_unknown");

    CHECK_OK(mg_journal_append(world.journal, MG_JOURNAL_EXCHANGE, MG_VIEW("nonsense")));
    CHECK_OK(mg_record_settled(world.journal, &timeline, &success));
    record_exchange(&world, "req_a");
    mg_recorder_flush(world.recorder);

    CHECK_STR(ask(&world, "SELECT group_concat(id) FROM exchanges"), "req_a");
    world_stop(&world);
    mg_log_level(MG_LOG_INFO);
}

TEST(damaged_detail_is_refused_wherever_it_is_cut)
{
    static struct mg_timeline timeline;
    struct world world;
    world_start(&world, check_fresh_path("data"));
    record_exchange(&world, "req_a");
    mg_recorder_flush(world.recorder);
    const char *bytes = get_timeline(&world, "req_a", &timeline);
    size_t len = (size_t)strtoul(ask(&world, "SELECT length(detail) FROM exchanges"), NULL, 10),
           whole = 0;

    for (size_t cut = 0; cut < len; cut++) {
        char *copy = mg_alloc(cut + 1);
        memcpy(copy, bytes, cut);
        whole += mg_ledger_decode(mg_view_of(copy, cut), &timeline) == MG_OK;
        mg_free(copy);
    }

    CHECK_INT(whole, 5); /* between two records it is only shorter */
    world_stop(&world);
}

MG_TEST_MAIN()
