#include "cli/logs_groups.h"

#include <stdio.h>

#include "cli/cli.h"
#include "cli/history.h"

enum { VALUE_COLUMNS = 32 };

static uint64_t number(const struct mg_json *object, const char *path)
{
    int64_t value = 0;
    return mg_json_i64(mg_json_path(object, path), &value) && value > 0 ? (uint64_t)value : 0;
}

static void print_time(const struct mg_json *group, const char *path)
{
    char text[MG_TIME_TEXT];
    uint64_t us = number(group, path);
    printf(" %7s", us ? mg_history_time(text, us, true) : "-");
}

static void print_group(const struct mg_json *group)
{
    const struct mg_paint *paint = mg_cli_paint(stdout);
    char input[MG_TIME_TEXT], output[MG_TIME_TEXT];
    uint64_t count = number(group, "count"), errors = number(group, "errors");
    mg_view value = mg_json_string(mg_json_get(group, "value"));
    mg_history_pad(stdout, value.len ? value : MG_VIEW("-"), VALUE_COLUMNS);
    printf(" %9llu %s%6.2f%%%s", (unsigned long long)count, errors ? paint->red : "", count ? 100.0 * (double)errors / (double)count : 0.0,
           errors ? paint->off : "");
    print_time(group, "duration_us.p50");
    print_time(group, "duration_us.p95");
    print_time(group, "ttft_us.p50");
    printf(" %7s %7s %10.4f\n", mg_history_count(input, number(group, "input_tokens")),
           mg_history_count(output, number(group, "output_tokens")), (double)number(group, "cost_microusd") / 1e6);
}

bool mg_logs_print_groups(const struct mg_json *answer)
{
    const struct mg_paint *paint = mg_cli_paint(stdout);
    const struct mg_json *group = mg_json_first(mg_json_get(answer, "groups"));
    if (!group)
        return false;
    printf("%s", paint->dim);
    mg_history_pad(stdout, mg_json_string(mg_json_get(answer, "by")), VALUE_COLUMNS);
    printf(" %9s %7s %7s %7s %7s %7s %7s %10s%s\n", "REQUESTS", "ERRORS", "P50", "P95", "TTFT", "IN", "OUT", "USD", paint->off);
    for (; group; group = mg_json_next(group))
        print_group(group);
    return true;
}
