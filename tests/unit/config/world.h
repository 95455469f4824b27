/* world.h - a folder with configuration files, for the tests of config/. */
#ifndef MG_TESTS_CONFIG_WORLD_H
#define MG_TESTS_CONFIG_WORLD_H

#include <sys/stat.h>
#include <unistd.h>

#include "check.h"
#include "config/config.h"

static char dir[64];

/* A folder of its own for each test. */
static void begin(void)
{
    snprintf(dir, sizeof dir, "/tmp/mg_config_XXXXXX");
    CHECK(mkdtemp(dir) != NULL);
}

static void end(void)
{
    char command[128];
    snprintf(command, sizeof command, "rm -rf %s", dir);
    CHECK(system(command) == 0);
}

static const char *put(const char *name, const char *text)
{
    static char path[256];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    for (char *slash = path + strlen(dir) + 1; (slash = strchr(slash, '/')); *slash++ = '/') {
        *slash = '\0';
        mkdir(path, 0700);
    }
    FILE *file = fopen(path, "w");
    CHECK(file != NULL);
    fputs(text, file);
    fclose(file);
    chmod(path, 0600);
    return path;
}

__attribute__((unused)) static struct mg_config_project *load(const char *text)
{
    struct mg_config_project *config = NULL;
    struct mg_diag diag = {"", 0, ""};
    mg_err err = mg_config_load_project(put("projects/demo.lua", text), &config, &diag);
    if (err)
        check_failed(__FILE__, __LINE__, "%s:%d: %s", diag.file, diag.line, diag.text);
    return config;
}

/* All mistakes of a project, one a line: "line: text". */
__attribute__((unused)) static const char *mistakes(const char *text)
{
    static char out[16384];
    struct mg_config_project *config = NULL;
    struct mg_config_report report;
    size_t used = 0;
    mg_config_report_init(&report);
    out[0] = '\0';
    if (mg_config_check_project(put("projects/demo.lua", text), &config, &report) == MG_OK)
        mg_config_project_free(config);
    for (int i = 0; i < report.count; i++)
        used += (size_t)snprintf(out + used, sizeof out - used, "%d: %s\n", report.diags[i].line, report.diags[i].text);
    mg_config_report_fini(&report);
    return out;
}

__attribute__((unused)) static bool says(const char *text, const char *expected)
{
    const char *got = mistakes(text);
    if (strstr(got, expected))
        return true;
    fprintf(stderr, "got:  %swant: %s\n", got, expected);
    return false;
}

#define PROVIDERS "providers = { a = { base_url = 'http://127.0.0.1:1/v1' }, b = { base_url = 'http://127.0.0.1:2/v1' } },"

#endif
