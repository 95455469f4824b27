/* moongate serve: the gateway in the foreground, and what a person needs to use it. */
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "cli/cli.h"
#include "cli/run.h"

enum { LISTED_PROJECTS = 16 };

struct keyless { /* which of the listed projects have a key that works */
    const struct mg_builder_status *rows;
    size_t count;
    bool has_key[LISTED_PROJECTS];
    uint64_t now_us;
};

static void on_ready(void *arg, const struct mg_serving *serving);
static void note_key(void *arg, const struct mg_key *key);
static void print_project(const struct mg_serving *serving, const struct mg_builder_status *row,
                          bool has_key);
static void first_key(const struct mg_serving *serving, const char *project);

int mg_cli_serve(int argc, char **argv)
{
    struct mg_serve_options serve = {.port = -1, .admin_port = -1, .on_ready = on_ready};
    const struct mg_option options[] = {
        {"--config", "-c", "FILE", MG_OPTION_TEXT, &serve.config_path,
         "gateway.lua or its folder; without it ./gateway.lua, or the environment"},
        {"--port", "-p", "N", MG_OPTION_PORT, &serve.port,
         "port instead of the configuration's; 0 takes a free one"},
        {"--admin-port", NULL, "N", MG_OPTION_PORT, &serve.admin_port,
         "the same for the admin plane"},
        {"--data", NULL, "DIR", MG_OPTION_TEXT, &serve.data_dir,
         "data folder instead of the configuration's"},
    };
    struct mg_diag diag = {.line = 0};
    int end = mg_cli_parse(&argc, argv, options, MG_COUNT(options), 0);
    if (end != MG_CLI_GO)
        return end;
    mg_err err = mg_serve_run(&serve, &diag);
    if (err == MG_OK)
        return MG_EXIT_OK;
    end = mg_cli_failed("serve", &diag);
    if (err == MG_E_NOT_FOUND && !serve.config_path)
        fprintf(stderr, "To look round without a provider: moongate demo\n");
    return end;
}

static void on_ready(void *arg, const struct mg_serving *serving)
{
    struct mg_builder_status rows[LISTED_PROJECTS];
    struct mg_diag diag;
    size_t count = mg_builder_list(mg_gateway_builder(serving->gateway), rows, LISTED_PROJECTS);
    struct keyless keyless = {
        .rows = rows, .count = MG_MIN(count, (size_t)LISTED_PROJECTS), .now_us = mg_wall_us()};
    bool known = mg_gateway_key_list(serving->gateway, note_key, &keyless, &diag) == MG_OK;
    printf("moongate %s\n", MG_VERSION);
    for (int i = 0; i < serving->config->listen_count; i++)
        printf("  serving  %s%s\n", mg_gateway_address(serving->gateway, i),
               serving->config->listen[i].tls.cert ? " (TLS)" : "");
    if (serving->admin_port)
        printf("  admin    %s:%d (/healthz, /readyz, /metrics)\n", serving->config->admin.host,
               serving->admin_port);
    printf("  data     %s\n", serving->config->data_dir);
    for (size_t i = 0; i < keyless.count; i++)
        print_project(serving, &rows[i], !known || keyless.has_key[i]);
    if (count > LISTED_PROJECTS)
        printf("  and %zu more projects\n", count - LISTED_PROJECTS);
    fflush(stdout);
}

static void note_key(void *arg, const struct mg_key *key)
{
    struct keyless *keyless = arg;
    if (key->revoked_us || (key->expires_us && key->expires_us <= keyless->now_us))
        return;
    for (size_t i = 0; i < keyless->count; i++)
        keyless->has_key[i] |= !strcmp(keyless->rows[i].project, key->project);
}

static void print_project(const struct mg_serving *serving, const struct mg_builder_status *row,
                          bool has_key)
{
    if (*row->error)
        printf("  project  %s does not load: %s\n", row->project, row->error);
    else
        printf("  project  %s, generation %u%s%s\n", row->project, row->number,
               *row->path ? ", " : "", row->path);
    if (!has_key && !*row->path)
        first_key(serving, row->project);
    else if (!has_key)
        printf("           it has no key yet: moongate key create -c %s --project %s\n",
               serving->config->dir, row->project);
    else if (!*row->path)
        printf("           its key was shown when it was made; another one: moongate key create\n");
}

/* The project that the environment describes gets its first key by itself: there is nobody else to
 * make it. */
static void first_key(const struct mg_serving *serving, const char *project)
{
    const struct mg_keys_spec spec = {.project = project, .name = "first key"};
    struct mg_key key;
    struct mg_diag diag = {.line = 0};
    char text[MG_KEY_TEXT_BYTES];
    if (mg_gateway_key_create(serving->gateway, MG_VIEW("moongate"), &spec, text, &key, &diag) != MG_OK) {
        printf("           no key could be made: %s\n", diag.text);
        return;
    }
    printf("\nYour key, shown this once (more: moongate key create):\n\n  %s\n\nTry it:\n\n", text);
    printf(
        "  curl http://localhost:%d/v1/chat/completions \\\n    -H 'Authorization: Bearer %s' \\\n"
        "    -H 'Content-Type: application/json' \\\n"
        "    -d "
        "'{\"model\":\"MODEL\",\"messages\":[{\"role\":\"user\",\"content\":\"Hello\"}]}'\n\n"
        "with one of your provider's models for MODEL, or point an OpenAI SDK at "
        "http://localhost:%d/v1.\n",
        mg_gateway_port(serving->gateway, 0), text, mg_gateway_port(serving->gateway, 0));
    mg_wipe(text, sizeof(text));
}
