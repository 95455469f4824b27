/* moongate sim: a simulated provider in the foreground, for tests, benchmarks and the curious. */
#include "sim/sim.h"

#include <signal.h>
#include <string.h>
#include <sys/resource.h>

#include "base/mem.h"
#include "cli/cli.h"
#include "io/tls.h"
#include "sim/faults.h"

struct arguments {
    const char *host;
    int port, ttft_ms, tokens_per_s, output_tokens;
    const char *fault;
    int every, after, count;
    const char *cert, *key;
    bool faults;
};

static int run(const struct arguments *arguments, struct mg_tls_context *tls);
static int print_faults(void);
static void raise_descriptors(void);
static void wait_for_signal(const sigset_t *set);

int mg_cli_sim(int argc, char **argv)
{
    struct arguments a = {.host = "127.0.0.1", .every = 1};
    const struct mg_option options[] = {
        {"--host", NULL, "ADDRESS", MG_OPTION_TEXT, &a.host, "where to listen (127.0.0.1)"},
        {"--port", "-p", "N", MG_OPTION_PORT, &a.port,
         "port; 0, the default, takes a free one and prints it"},
        {"--ttft-ms", NULL, "N", MG_OPTION_INT, &a.ttft_ms, "time to the first token (0)"},
        {"--tokens-per-s", NULL, "N", MG_OPTION_INT, &a.tokens_per_s,
         "pace after it; 0, the default, is no pause"},
        {"--output-tokens", NULL, "N", MG_OPTION_INT, &a.output_tokens, "length of an answer (48)"},
        {"--fault", NULL, "NAME[:VALUE]", MG_OPTION_TEXT, &a.fault,
         "what goes wrong; --faults lists the names"},
        {"--every", NULL, "N", MG_OPTION_INT, &a.every, "with --fault: each Nth call (1)"},
        {"--after", NULL, "N", MG_OPTION_INT, &a.after,
         "with --fault: N calls pass before the first"},
        {"--count", NULL, "N", MG_OPTION_INT, &a.count,
         "with --fault: N times; 0, the default, for ever"},
        {"--tls-cert", NULL, "FILE", MG_OPTION_TEXT, &a.cert,
         "PEM certificate; with --tls-key it speaks TLS"},
        {"--tls-key", NULL, "FILE", MG_OPTION_TEXT, &a.key, "PEM key"},
        {"--faults", NULL, NULL, MG_OPTION_FLAG, &a.faults,
         "list everything that can go wrong, and end"},
    };
    int end = mg_cli_parse(&argc, argv, options, MG_COUNT(options), 0);
    if (end != MG_CLI_GO)
        return end;
    if (a.faults)
        return print_faults();
    if (!a.cert != !a.key)
        return mg_cli_complain(MG_EXIT_USAGE, "sim", "--tls-cert and --tls-key go together");
    struct mg_tls_context *tls = NULL;
    struct mg_diag diag = {.line = 0};
    const struct mg_tls_server_options server = {.cert_file = a.cert, .key_file = a.key};
    if (a.cert && mg_tls_server_new(&server, &tls, &diag) != MG_OK)
        return mg_cli_failed("sim", &diag);
    end = run(&a, tls);
    mg_tls_unref(tls);
    return end;
}

static int run(const struct arguments *a, struct mg_tls_context *tls)
{
    char name[128] = "fault:";
    struct mg_config_fault fault = {.every = a->every, .after = a->after, .count = a->count};
    struct mg_config_sim_model model = {.model = "*",
                                        .ttft_ms = a->ttft_ms,
                                        .tokens_per_s = a->tokens_per_s,
                                        .output_tokens = a->output_tokens};
    if (a->fault) {
        enum mg_sim_fault found;
        snprintf(name, sizeof(name), "fault:%s", a->fault);
        if (!mg_sim_fault_of_model(mg_view_cstr(name), &found, &fault.value))
            return mg_cli_complain(MG_EXIT_USAGE, "sim",
                                   "there is no fault \"%s\" (see: moongate sim --faults)",
                                   a->fault);
        fault.name = mg_sim_faults[found].name;
        model.faults = &fault;
        model.fault_count = 1;
    }
    struct mg_sim_options options = {.models = &model,
                                     .model_count = a->fault ? 1 : 0,
                                     .otherwise = model,
                                     .host = a->host,
                                     .port = a->port,
                                     .tls = tls};
    struct mg_sim *sim;
    struct mg_diag diag = {.line = 0};
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGTERM);
    pthread_sigmask(SIG_BLOCK, &set, NULL); /* before there are threads: all inherit it */
    raise_descriptors();
    signal(SIGPIPE, SIG_IGN);
    if (mg_sim_start(&options, &sim, &diag) != MG_OK)
        return mg_cli_failed("sim", &diag);
    printf("simulated provider on %s://%s:%d/v1\n", tls ? "https" : "http", a->host,
           mg_sim_port(sim));
    fflush(stdout);
    wait_for_signal(&set);
    mg_sim_stop(sim);
    return MG_EXIT_OK;
}

static int print_faults(void)
{
    static const char *const kinds[] = {"another answer", "the connection", "the stream",
                                        "the content"};
    for (int kind = MG_SIM_ANSWER; kind <= MG_SIM_CONTENT; kind++) {
        printf("%s%s:\n", kind ? "\n" : "", kinds[kind]);
        for (int i = 1; i < MG_SIM_FAULT_COUNT; i++) {
            if ((int)mg_sim_faults[i].kind == kind)
                printf("  %-22s %s\n", mg_sim_faults[i].name, mg_sim_faults[i].text);
        }
    }
    printf("\nAs a model name: \"fault:NAME\" or \"fault:NAME:VALUE\".\n");
    return MG_EXIT_OK;
}

/* A benchmark opens ten thousand streams. */
static void raise_descriptors(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return;
    limit.rlim_cur = limit.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &limit) != 0)
        fprintf(stderr, "moongate sim: the limit of open files stays as it is\n");
}

static void wait_for_signal(const sigset_t *set)
{
    int signal_number;
    while (sigwait(set, &signal_number) != 0) {
    }
}
