/* `moongate targets` as a person reads it, answered by an admin plane with made-up targets. */
#include <pthread.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "admin/admin.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "check.h"
#include "cli/cli.h"
#include "folder.h"
#include "store/folder.h"

static char out[65536], err[4096];
static const char *data;
static struct mg_admin *admin;
static char asked[256];                /* the last order; under the lock: the admin plane has threads of its own */
static pthread_mutex_t asked_lock = PTHREAD_MUTEX_INITIALIZER;

static const char *last_asked(void)
{
    static char copy[sizeof asked];
    pthread_mutex_lock(&asked_lock);
    memcpy(copy, asked, sizeof copy);
    pthread_mutex_unlock(&asked_lock);
    return copy;
}

static struct mg_target_row a_target(const char *project, const char *name)
{
    return (struct mg_target_row){
        .project = project,
        .target = name,
        .provider = "openai",
        .model = "gpt-5",
        .figures = {.p50_us = 210000,
                    .p95_us = 900000,
                    .p99_us = 1500000,
                    .error_rate = 0.25,
                    .calls = 1234,
                    .inflight = 3},
        .retry_tokens = 7.5,
        .retry_burst = 10,
        .credentials = {{.name = "", .breaker = {.ramp = 1}}},
        .credential_count = 1,
        .now_us = mg_mono_us(),
        .wall_us = mg_wall_us(),
    };
}

static void make_ill(struct mg_target_row *row)
{
    uint64_t now = row->now_us;
    row->gate = (struct mg_gate_view){.inflight = 8, .limit = 8, .waiting = 2};
    row->region = "eu";
    row->credential_count = 3;
    row->credentials[0] = (struct mg_target_credential){
        .name = "main",
        .breaker = {.state = MG_BREAKER_OPEN,
                    .until_us = now + 7230000000u,
                    .calls = 9,
                    .failures = 5.5,
                    .opened = 2,
                    .reason = "5 failures in a row"},
    };
    row->credentials[1] = (struct mg_target_credential){
        .name = "spare",
        .breaker = {.ramp = 1},
        .key = {.benched_until_us = UINT64_MAX, .why = MG_CLASS_auth},
    };
    row->credentials[2] = (struct mg_target_credential){
        .name = "third",
        .breaker = {.state = MG_BREAKER_RAMP,
                    .ramp = 0.4,
                    .until_us = now + 7230000000u,
                    .opened = 1,
                    .reason = "slow"},
        .model = {.benched_until_us = now + 7230000000u,
                  .why = MG_CLASS_rate_limited,
                  .requests_known = true,
                  .requests_left = 12,
                  .tokens_known = true,
                  .tokens_left = 34000,
                  .tokens_reset_us = now + 7230000000u},
    };
}

static mg_err target_list(void *arg, mg_view project, mg_targets_cb each, void *each_arg)
{
    struct mg_target_row ill = a_target("acme", "openai/gpt-5"),
                         well = a_target("acme", "house/qwen"),
                         other = a_target("globex", "house/qwen");
    make_ill(&ill);
    well.figures = (struct mg_stats_figures){.calls = 0};
    if (mg_view_eq(project, MG_VIEW("nobody")))
        return MG_E_NOT_FOUND;
    if (project.len == 0 || mg_view_eq(project, MG_VIEW("acme"))) {
        each(each_arg, &ill);
        each(each_arg, &well);
    }
    if (project.len == 0)
        each(each_arg, &other);
    return MG_OK;
}

static mg_err target_reset(void *arg, const struct mg_targets_reset *what, unsigned *out_count,
                           struct mg_diag *diag)
{
    pthread_mutex_lock(&asked_lock);
    snprintf(asked, sizeof asked, "%s|%s|%s", what->project, what->target, what->credential);
    pthread_mutex_unlock(&asked_lock);
    *out_count = *what->credential ? 1 : 3;
    if (!strcmp(what->target, "none"))
        return mg_diag_set(diag, MG_E_NOT_FOUND, NULL, 0, "no project has a target none");
    return MG_OK;
}

static void start(void)
{
    static const struct mg_admin_ops ops = {.target_list = target_list,
                                            .target_reset = target_reset};
    struct mg_diag diag = {.line = 0};
    setenv("LC_ALL", "C.UTF-8", 1);
    mg_log_level(MG_LOG_OFF);
    data = check_fresh_path("data");
    CHECK_OK(mg_folder_create(data, NULL));
    const struct mg_admin_options options = {.data_dir = data, .ops = &ops};
    CHECK_OK(mg_admin_start(&options, &admin, &diag));
}

/* Runs the command in a child, so that its output can be read. */
static int run(const char *const *words)
{
    char *argv[16];
    int argc = 0, status;
    const char *out_path = check_fresh_path("out"), *err_path = check_fresh_path("err");
    for (; words[argc] && argc < 15; argc++)
        argv[argc] = mg_strdup(words[argc]);
    argv[argc] = NULL;
    fflush(NULL);
    pid_t child = fork();
    if (child == 0) {
        if (!freopen(out_path, "w", stdout) || !freopen(err_path, "w", stderr))
            _exit(99);
        int end = mg_cli_targets(argc, argv);
        fflush(NULL);
        _exit(end);
    }
    for (int i = 0; i < argc; i++)
        mg_free(argv[i]);
    waitpid(child, &status, 0);
    FILE *file = fopen(out_path, "r");
    out[fread(out, 1, sizeof out - 1, file)] = '\0';
    fclose(file);
    file = fopen(err_path, "r");
    err[fread(err, 1, sizeof err - 1, file)] = '\0';
    fclose(file);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

#define RUN(...) run((const char *const[]){"targets", __VA_ARGS__, "--data", data, NULL})

TEST(a_target_is_a_line_and_what_there_is_to_say_of_its_keys_stands_below)
{
    start();

    CHECK_INT(RUN("--project", "acme"), 0);

    CHECK_STR(out, "project acme\n"
                   "TARGET                       STATE      CALLS  FAIL   RUNNING    P50    P95    "
                   "P99  RETRIES\n"
                   "openai/gpt-5@eu              open        1.2k   25%    8/8 +2  210ms  900ms  "
                   "1.50s   7.5/10\n"
                   "    main           open for 2h00m more: 5 failures in a row, opened 2 times; "
                   "5.5 of 9 calls "
                   "failed\n"
                   "                   lately\n"
                   "    spare          benched until somebody resets it: auth\n"
                   "    third          benched for this model for 2h00m more: rate_limited; let in "
                   "again, now 40%, "
                   "all\n"
                   "                   in 2h00m: slow, opened 1 time; 12 requests left; 34k tokens "
                   "left, back in "
                   "2h00m\n"
                   "house/qwen                   closed         0    0%         0      -      -    "
                   "  -   7.5/10\n");
    mg_admin_stop(admin);
}

TEST(projects_stand_apart)
{
    start();

    CHECK_INT(RUN("--project="), 0);

    CHECK(strstr(out, "project acme\n") == out);
    CHECK(strstr(out, "\n\nproject globex\nTARGET") != NULL);
    mg_admin_stop(admin);
}

TEST(json_is_what_the_api_answers)
{
    start();

    CHECK_INT(RUN("--json"), 0);

    CHECK(strstr(out, "{\"targets\":[{\"project\":\"acme\",\"target\":\"openai/gpt-5\"") == out);
    mg_admin_stop(admin);
}

TEST(a_reset_says_what_it_did)
{
    start();

    CHECK_INT(RUN("reset", "openai/gpt-5"), 0);
    CHECK_STR(last_asked(), "|openai/gpt-5|");
    CHECK_STR(out, "openai/gpt-5 is let back in (3 breakers and keys reset)\n");
    CHECK_INT(RUN("reset", "openai", "--project", "acme", "--credential", "ma\"in"), 0);
    CHECK_STR(last_asked(), "acme|openai|ma\"in");
    CHECK_STR(out, "openai is let back in (1 breaker and key reset)\n");
    CHECK_INT(RUN("reset", "none"), 1);
    CHECK_STR(err, "moongate targets: no project has a target none\n");
    mg_admin_stop(admin);
}

TEST(wrong_words_are_told_what_was_expected)
{
    start();

    CHECK_INT(RUN("open"), 2);
    CHECK(strstr(err, "\"open\" is nothing it can do") != NULL);
    CHECK_INT(RUN("reset"), 2);
    CHECK(strstr(err, "reset which target?") != NULL);
    CHECK_INT(RUN("--credential", "main"), 2);
    CHECK_INT(RUN("--project", "nobody"), 1);
    CHECK_STR(err, "moongate targets: there is no such project\n");
    mg_admin_stop(admin);
}

TEST(without_a_gateway_it_says_that_one_must_run)
{
    data = check_fresh_path("none");

    CHECK_INT(RUN("--json"), 1);

    CHECK(strstr(err, "moongate targets: no gateway runs in ") == err);
    CHECK(strstr(err, "how targets are is known only while one does") != NULL);
}

MG_TEST_MAIN()
