/* `moongate logs` and `moongate trace` on a store without a gateway: what a person reads, to the
 * letter. */
#include "cli/history.h"

#include <signal.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/mem.h"
#include "cli/cli.h"
#include "store_world.h"

static struct mg_timeline timeline;
static char out[65536], err[4096];

static void settle_environment(bool utf8)
{
    setenv("TZ", "UTC", 1);
    setenv("LC_ALL", utf8 ? "C.UTF-8" : "C", 1);
    tzset();
}

/* Runs a command in a child, so that its output can be read and nothing of it stays. */
static int run(int (*command)(int, char **), const char *const *words)
{
    char *argv[16];
    int argc = 0;
    const char *out_path = check_fresh_path("out"), *err_path = check_fresh_path("err");
    while (words[argc] && argc < 15) {
        argv[argc] = mg_strdup(words[argc]);
        argc++;
    }
    argv[argc] = NULL;
    fflush(NULL);
    pid_t child = fork();
    if (child == 0) {
        if (!freopen(out_path, "w", stdout) || !freopen(err_path, "w", stderr))
            _exit(99);
        int end = command(argc, argv);
        fflush(NULL);
        _exit(end);
    }
    for (int i = 0; i < argc; i++)
        mg_free(argv[i]);
    int status;
    waitpid(child, &status, 0);
    FILE *file = fopen(out_path, "r");
    out[fread(out, 1, sizeof out - 1, file)] = '\0';
    fclose(file);
    file = fopen(err_path, "r");
    err[fread(err, 1, sizeof err - 1, file)] = '\0';
    fclose(file);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

#define RUN(command, ...) run((command), (const char *const[]){__VA_ARGS__, NULL})

/* 2025-11-24 16:00:00 UTC and `second` seconds. */
static void begin_exchange(unsigned second)
{
    static const uint64_t phase_us[] = {4, 22, 25, 29, 33, 61, 62, 78, 1714700, 2409960, 2410000};
    timeline = world_timeline(second);
    memcpy(timeline.phase_us, phase_us, sizeof phase_us);
    timeline.upstream_us = 2409810;
    timeline.plugin_us = 22;
    timeline.key_id = MG_VIEW("key_7");
    timeline.client = MG_VIEW("127.0.0.1");
    timeline.user_agent = MG_VIEW("OpenAI/Python 2.8.1");
    timeline.explain = MG_VIEW("weights 3:1");
    timeline.stream = true;
    timeline.generation = 3;
    timeline.bytes_in = 1843;
    timeline.bytes_out = 9120;
    snprintf(timeline.id, sizeof timeline.id, "req_%026u", second);
}

static void add_attempts(void)
{
    timeline.attempt_count = 2;
    timeline.attempts[0] = (struct mg_attempt_record){
        .start_us = 95,
        .end_us = 402000,
        .mark_us = {1800, 14500, 39000, 39400, 401000, 0, 402000},
        .target = MG_VIEW("alpha/big"),
        .provider = MG_VIEW("alpha"),
        .model = MG_VIEW("big"),
        .why = MG_VIEW("weight 3 of 4"),
        .error = MG_VIEW("Over\x1b[31mloaded"),
        .address = MG_VIEW("192.0.2.7:443"),
        .class_ = MG_CLASS_overloaded,
        .action = MG_ACTION_fallback,
        .status = 529,
        .number = 1,
        .bytes_sent = 1843,
        .bytes_received = 144,
    };
    timeline.attempts[1] = (struct mg_attempt_record){
        .start_us = 402100,
        .end_us = 2007000,
        .mark_us = {0, 0, 0, 70, 1280000, 1312500, 2007000},
        .target = MG_VIEW("beta/small"),
        .provider = MG_VIEW("beta"),
        .model = MG_VIEW("small"),
        .reason = MG_REASON_fallback,
        .status = 200,
        .number = 2,
        .reused = true,
        .bytes_sent = 1843,
        .bytes_received = 9011,
        .usage = {450, 388, 128, 0, 64, true},
    };
    mg_timeline_note(&timeline, timeline.start_mono_us + 66, "plugin", "redact: 2 hits");
}

static const char *two_requests(void)
{
    struct world world;
    world_start(&world, check_fresh_path("data"));
    begin_exchange(1);
    add_attempts();
    world_record(&world, &timeline);
    begin_exchange(90);
    timeline.workflow = MG_VIEW("deep");
    timeline.status = 400;
    timeline.class_ = MG_CLASS_invalid_request;
    timeline.error_code = MG_VIEW("invalid_body");
    timeline.phase_us[MG_PHASE_commit] = timeline.phase_us[MG_PHASE_relay] = 0;
    timeline.phase_us[MG_PHASE_settle] = 180;
    timeline.upstream_us = 0;
    world_record(&world, &timeline);
    world_stop(&world);
    return world.data;
}

TEST(logs_are_a_line_a_request_with_the_newest_at_the_bottom)
{
    settle_environment(true);
    const char *data = two_requests();

    CHECK_INT(RUN(mg_cli_logs, "logs", "--data", data), 0);

    CHECK_STR(out,
              "TIME         REQUEST                        TRY   TTFT  TOTAL    TOKENS  ROUTE\n"
              "Monday, 2025-11-24\n"
              "16:00:03 200 req_00000000000000000000000001   2  1.71s  2.41s   450→388  acme/fast "
              "→ beta/small\n"
              "16:01:30 400 req_00000000000000000000000090   0      -  180µs       0→0  acme/deep "
              "invalid_request\n");
}

TEST(logs_without_utf8_are_ascii)
{
    settle_environment(false);
    const char *data = two_requests();

    CHECK_INT(RUN(mg_cli_logs, "logs", "--data", data), 0);

    for (const char *c = out; *c; c++)
        CHECK((unsigned char)*c < 0x80);
    CHECK(strstr(out, "  180us       0>0  acme/deep invalid_request\n") != NULL);
}

TEST(logs_as_json_are_an_object_a_line)
{
    settle_environment(true);
    const char *data = two_requests();
    struct mg_json *tree;

    CHECK_INT(RUN(mg_cli_logs, "logs", "--json", "--data", data, "--status", "200"), 0);

    mg_view rest = mg_view_cstr(out), line = mg_view_cut(&rest, '\n');
    CHECK_INT(rest.len, 0);
    CHECK_OK(mg_json_parse(line, 65536, &tree, NULL));
    CHECK_VIEW(mg_json_string(mg_json_get(tree, "id")), MG_VIEW("req_00000000000000000000000001"));
    mg_json_free(tree);
}

TEST(logs_obey_their_filters_and_their_number)
{
    settle_environment(true);
    const char *data = two_requests();

    CHECK_INT(RUN(mg_cli_logs, "logs", "--data", data, "--provider", "alpha"), 0);
    CHECK(strstr(out, "001") && !strstr(out, "090"));
    CHECK_INT(RUN(mg_cli_logs, "logs", "--data", data, "-n", "1"), 0);
    CHECK(!strstr(out, "001") && strstr(out, "090"));
    CHECK_INT(RUN(mg_cli_logs, "logs", "--data", data, "--retried"), 0);
    CHECK(strstr(out, "001") && !strstr(out, "090"));
    CHECK_INT(RUN(mg_cli_logs, "logs", "--data", data, "--session", "nobody"), 0);
    CHECK_STR(out, "");
    CHECK(strstr(err, "no such requests in ") != NULL);
    CHECK_INT(RUN(mg_cli_logs, "logs", "--data", data, "--project", "nobody"), 1);
    CHECK(strstr(err, "no key belongs to a project 'nobody'") != NULL);
}

TEST(wrong_words_are_told_what_was_expected)
{
    settle_environment(true);
    const char *data = check_fresh_path("none");

    CHECK_INT(RUN(mg_cli_logs, "logs", "--since", "yesterday", "--data", data), 2);
    CHECK(strstr(err, "moongate logs: since: \"yesterday\" is not a time") != NULL);
    CHECK_INT(RUN(mg_cli_logs, "logs", "-n", "5000", "--data", data), 2);
    CHECK_INT(RUN(mg_cli_logs, "logs", "--data", data), 1);
    CHECK(strstr(err, "no gateway runs and there is no store in ") != NULL);
    CHECK_INT(RUN(mg_cli_trace, "trace", "--data", data), 2);
    CHECK(strstr(err, "which request?") != NULL);
    CHECK_INT(RUN(mg_cli_trace, "trace", "../../keys", "--data", data), 2);
    CHECK_INT(RUN(mg_cli_trace, "trace", "req_1", "--data", two_requests()), 1);
    CHECK(strstr(err, "there is no such request") != NULL);
}

TEST(a_trace_is_a_waterfall)
{
    settle_environment(true);
    const char *data = two_requests();

    CHECK_INT(RUN(mg_cli_trace, "trace", "req_00000000000000000000000001", "--data", data), 0);

    CHECK_STR(
        out,
        "req_00000000000000000000000001  200  2.41 s in all\n"
        "    2025-11-24 16:00:01 UTC · /v1/chat/completions, streamed · project acme · workflow "
        "fast\n"
        "    generation 3 · key key_7 · from 127.0.0.1 · OpenAI/Python 2.8.1 · 1.8kB in, 9.1kB "
        "out\n"
        "    overhead 190 µs · plugins 22 µs · first token 1.71 s\n"
        "    plan: weights 3:1\n"
        "\n"
        "                         0       500ms    1.00s    1.50s    2.00s\n"
        "  read the request      │█                                          │   22 µs\n"
        "  prepare               │█                                          │   56 µs\n"
        "    authenticate 3 µs · admit 4 µs · resolve 4 µs · transform 28 µs · mark 1 µs · route "
        "16 µs\n"
        "1 alpha/big             │░▒▒▒▒▒▒✗                                   │  402 ms  529 "
        "overloaded\n"
        "    first choice · weight 3 of 4\n"
        "    \"Over?[31mloaded\"\n"
        "    dns 1.80 ms · connect 14.5 ms · tls 39.0 ms · sent 39.4 ms · first byte 401 ms · end "
        "402 ms\n"
        "    192.0.2.7:443 · 1.8kB sent, 144B received\n"
        "    → fallback\n"
        "2 beta/small            │       ▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒█████████████│  2.01 s  200 ok\n"
        "    fallback\n"
        "    warm connection · sent 70 µs · first byte 1.28 s · first token 1.31 s · end 2.01 s\n"
        "    1.8kB sent, 9.0kB received · 450 tokens in, 388 out · 128 of them cached · 64 for "
        "reasoning\n"
        "  answer the client     │                              █████████████│  695 ms\n"
        "                          ░ connecting  ▒ waiting for the answer  █ receiving  ✗ failed\n"
        "\n"
        "notes\n"
        "   66 µs  plugin    redact: 2 hits\n");
}

/* A key that is benched, a hedge that loses, a stream that breaks and is resumed. */
static void add_decisions(void)
{
    uint64_t began = timeline.start_mono_us;
    mg_timeline_note(&timeline, began + 80, "skip",
                     "alpha/big: breaker open for 3.2 s more (5 failures in a row)");
    mg_timeline_note(&timeline, began + 83, "skip",
                     "alpha/big: breaker open for 3.2 s more (5 failures in a row)");
    mg_timeline_note(&timeline, began + 85, "wait", "beta/small: full, 3 wait before this one");
    timeline.attempt_count = 3;
    timeline.attempts[0] = (struct mg_attempt_record){
        .start_us = 430000,
        .end_us = 1170000,
        .waited_us = 429900,
        .entry = 1,
        .mark_us = {0, 0, 0, 70, 300000, 310000, 1170000},
        .target = MG_VIEW("beta/small"),
        .provider = MG_VIEW("beta"),
        .model = MG_VIEW("small"),
        .credential = MG_VIEW("main"),
        .error = MG_VIEW("connection reset"),
        .class_ = MG_CLASS_truncated_stream,
        .action = MG_ACTION_fail,
        .status = 200,
        .number = 1,
        .cost_microusd = 412,
    };
    mg_timeline_note(&timeline, began + 630000, "hedge", "no first token after 200 ms");
    timeline.attempts[1] = (struct mg_attempt_record){
        .start_us = 630000,
        .end_us = 110000,
        .target = MG_VIEW("gamma/medium"),
        .provider = MG_VIEW("gamma"),
        .model = MG_VIEW("medium"),
        .credential = MG_VIEW("spare"),
        .reason = MG_REASON_hedge,
        .class_ = MG_CLASS_cancelled,
        .action = MG_ACTION_fail,
        .number = 2,
    };
    mg_timeline_note(&timeline, began + 1600000, "rescue",
                     "the stream broke after 812 bytes; gamma/medium generates again, and what the "
                     "client has is matched");
    timeline.attempts[2] = (struct mg_attempt_record){
        .start_us = 1600000,
        .end_us = 809000,
        .mark_us = {0, 0, 0, 70, 200000, 210000, 809000},
        .target = MG_VIEW("gamma/medium"),
        .provider = MG_VIEW("gamma"),
        .model = MG_VIEW("medium"),
        .reason = MG_REASON_rescue,
        .why = MG_VIEW("rescue after truncated_stream at beta/small"),
        .resumed_bytes = 812,
        .cost_microusd = 40000,
        .status = 200,
        .number = 3,
    };
    mg_timeline_note(&timeline, began + 2409000, "plugin", "redact: 2 hits");
}

static const char *a_request_with_decisions(void)
{
    struct world world;
    world_start(&world, check_fresh_path("data"));
    begin_exchange(1);
    timeline.phase_us[MG_PHASE_commit] = 740000;
    add_decisions();
    world_record(&world, &timeline);
    world_stop(&world);
    return world.data;
}

TEST(decisions_stand_between_the_attempts_they_led_from_and_to)
{
    settle_environment(true);
    const char *data = a_request_with_decisions();

    CHECK_INT(RUN(mg_cli_trace, "trace", "req_00000000000000000000000001", "--data", data), 0);

    CHECK(strstr(out, "overhead 190 µs · plugins 22 µs · cost $0.0404 · first token 740 ms") !=
          NULL);
    CHECK_STR(
        strstr(out, "  skip"),
        "  skip            80 µs │ alpha/big: breaker open for 3.2 s more (5 failures in a row)\n"
        "  wait            85 µs │ beta/small: full, 3 wait before this one\n"
        "1 beta/small            │┄┄┄┄┄┄┄▒▒▒▒▒▒███████████████✗              │  1.17 s  200 "
        "truncated_stream\n"
        "    first that could be asked · waited 430 ms · credential main\n"
        "    \"connection reset\"\n"
        "    sent 70 µs · first byte 300 ms · first token 310 ms · end 1.17 s\n"
        "    0B sent, 0B received · $0.000412\n"
        "    → rescue\n"
        "  hedge          630 ms │ no first token after 200 ms\n"
        "2 gamma/medium          │           ▒▒◂                             │  110 ms  lost, "
        "cancelled\n"
        "    hedge · beside 1 · credential spare\n"
        "    0B sent, 0B received\n"
        "  rescue         1.60 s │ the stream broke after 812 bytes; gamma/medium generates again, "
        "and what\n"
        "                        │ the client has is matched\n"
        "3 gamma/medium          │                            ▒▒▒▒███████████│  809 ms  200 ok\n"
        "    rescue after truncated_stream at beta/small · resumed after 812 bytes\n"
        "    sent 70 µs · first byte 200 ms · first token 210 ms · end 809 ms\n"
        "    0B sent, 0B received · $0.0400\n"
        "  answer the client     │             ██████████████████████████████│  1.67 s\n"
        "                          ┄ held back  ▒ waiting for the answer  █ receiving  ✗ failed  ◂ "
        "lost\n"
        "\n"
        "notes\n"
        "  2.41 s  plugin    redact: 2 hits\n");
}

TEST(a_client_that_leaves_makes_no_loser)
{
    struct world world;
    settle_environment(true);
    world_start(&world, check_fresh_path("data"));
    begin_exchange(1);
    add_decisions();
    timeline.attempt_count = 2;
    timeline.attempts[0].class_ = MG_CLASS_cancelled;
    timeline.attempts[0].end_us =
        timeline.attempts[1].start_us + timeline.attempts[1].end_us - timeline.attempts[0].start_us;
    timeline.class_ = MG_CLASS_cancelled;
    timeline.status = 499;
    timeline.clean = false;
    world_record(&world, &timeline);
    world_stop(&world);

    CHECK_INT(RUN(mg_cli_trace, "trace", timeline.id, "--data", world.data), 0);

    CHECK(strstr(out, "lost") == NULL);
}

TEST(logs_mark_what_was_hedged_or_rescued_and_select_it)
{
    settle_environment(true);
    const char *data = a_request_with_decisions();

    CHECK_INT(RUN(mg_cli_logs, "logs", "--data", data, "--hedged", "--rescued"), 0);
    CHECK(strstr(out, "  acme/fast → gamma/medium rescued\n") != NULL);
    CHECK_INT(RUN(mg_cli_logs, "logs", "--data", data, "--repeated"), 0);
    CHECK_STR(out, "");
    CHECK_INT(RUN(mg_cli_logs, "logs", "--data", data, "--fell-over"), 0);
    CHECK_STR(out, "");
}

TEST(a_trace_fits_a_hundred_columns_whatever_it_says)
{
    struct world world;
    char words[300];
    settle_environment(true);
    world_start(&world, check_fresh_path("data"));
    begin_exchange(1);
    add_attempts();
    for (size_t i = 0; i < sizeof words; i++)
        words[i] = i % 40 == 39 ? ' ' : 'w';
    timeline.explain = timeline.attempts[0].error = timeline.attempts[0].why =
        mg_view_of(words, sizeof words);
    timeline.attempts[0].target = timeline.user_agent = timeline.session = mg_view_of(words, 128);
    world_record(&world, &timeline);
    world_stop(&world);

    CHECK_INT(RUN(mg_cli_trace, "trace", timeline.id, "--data", world.data), 0);

    mg_view rest = mg_view_cstr(out);
    while (rest.len > 0) {
        mg_view line = mg_view_cut(&rest, '\n');
        unsigned columns = 0;
        for (size_t i = 0; i < line.len; i++)
            columns += ((unsigned char)line.ptr[i] & 0xc0) != 0x80;
        CHECK(columns <= 100);
    }
}

TEST(what_a_killed_gateway_left_is_recovered_before_it_is_shown)
{
    const char *data = check_fresh_path("data");
    settle_environment(true);
    pid_t child = fork();
    if (child == 0) {
        struct world world;
        world_start(&world, data);
        begin_exchange(1);
        add_attempts();
        if (mg_record_started(world.journal, &timeline, &timeline.attempts[0], 450) != MG_OK)
            _exit(1);
        kill(getpid(), SIGKILL);
    }
    waitpid(child, NULL, 0);

    CHECK_INT(RUN(mg_cli_trace, "trace", "req_00000000000000000000000001", "--data", data), 0);
    CHECK(
        strstr(out,
               "req_00000000000000000000000001  interrupted: the gateway died before it ended\n") !=
        NULL);
    CHECK(strstr(out, "450 tokens in, 0 out (estimated)") != NULL);
    CHECK_INT(RUN(mg_cli_logs, "logs", "--data", data), 0);
    CHECK(strstr(out, " int req_00000000000000000000000001 ") != NULL);
}

TEST(times_and_counts_are_short)
{
    static const struct {
        uint64_t us;
        const char *text;
    } times[] = {{0, "0 µs"},
                 {999, "999 µs"},
                 {1000, "1.00 ms"},
                 {9994, "9.99 ms"},
                 {9995, "10.0 ms"},
                 {99949, "99.9 ms"},
                 {99950, "100 ms"},
                 {999499, "999 ms"},
                 {999500, "1.00 s"},
                 {9994999, "9.99 s"},
                 {59949999, "59.9 s"},
                 {59950000, "1m00s"},
                 {125000000, "2m05s"},
                 {3599499999u, "59m59s"},
                 {3599500000u, "1h00m"},
                 {12000000000u, "3h20m"}};
    char text[MG_TIME_TEXT];
    settle_environment(true);
    for (size_t i = 0; i < MG_COUNT(times); i++)
        CHECK_STR(mg_history_time(text, times[i].us, false), times[i].text);
    CHECK_STR(mg_history_count(text, 999), "999");
    CHECK_STR(mg_history_count(text, 1843), "1.8k");
    CHECK_STR(mg_history_count(text, 999499), "999k");
    CHECK_STR(mg_history_count(text, 1500000), "1.5M");
}

MG_TEST_MAIN()
