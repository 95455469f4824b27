#include "cli/cli.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/view.h"

struct command {
    const char *name;
    int (*run)(int argc, char **argv);
    const char *arguments;
    const char *summary; /* "" is not listed */
};

static const struct command commands[] = {
#define X(name, fn, arguments, summary) {name, mg_cli_##fn, arguments, summary},
    MG_COMMAND_LIST(X)
#undef X
};

static FILE *help_out; /* where help goes; NULL: stdout */

static int help(int argc, char **argv);
static int help_of(const struct command *command);
static void print_commands(FILE *out);
static void print_help(const char *name, const struct mg_option *options, size_t count);
static int unknown(const char *name);
static const struct command *find(const char *name);
static const struct mg_option *find_option(const struct mg_option *options, size_t count,
                                           mg_view name);
static int take(const char *command, const struct mg_option *option, mg_view inline_value, int *at,
                int argc, char **argv);
static int take_int(const char *command, const struct mg_option *option, const char *text);
static int take_item(const char *command, const struct mg_option *option, const char *text);

int mg_cli_main(int argc, char **argv)
{
    if (argc < 2) {
        print_commands(stdout);
        return MG_EXIT_OK;
    }
    const char *name = argv[1];
    if (!strcmp(name, "help") || !strcmp(name, "--help") || !strcmp(name, "-h"))
        return help(argc - 1, argv + 1);
    if (!strcmp(name, "--version"))
        name = "version";
    const struct command *command = find(name);
    return command ? command->run(argc - 1, argv + 1) : unknown(name);
}

int mg_cli_version(int argc, char **argv)
{
    int end = mg_cli_parse(&argc, argv, NULL, 0, 0);
    if (end != MG_CLI_GO)
        return end;
    printf("moongate %s\n", MG_VERSION);
    return MG_EXIT_OK;
}

int mg_cli_parse(int *argc, char **argv, const struct mg_option *options, size_t count,
                 int max_rest)
{
    const char *command = argv[0];
    int rest = 1, end = MG_CLI_GO;
    bool only_rest = false;
    for (int at = 1; at < *argc && end == MG_CLI_GO; at++) {
        char *word = argv[at];
        if (only_rest || word[0] != '-' || !word[1]) {
            argv[rest++] = word;
            continue;
        }
        if (!strcmp(word, "--")) {
            only_rest = true;
            continue;
        }
        if (!strcmp(word, "--help") || !strcmp(word, "-h")) {
            print_help(command, options, count);
            return MG_EXIT_OK;
        }
        mg_view value = mg_view_cstr(word);
        mg_view name = mg_view_cut(&value, '=');
        const struct mg_option *option = find_option(options, count, name);
        if (!option)
            end = mg_cli_complain(MG_EXIT_USAGE, command,
                                  "unknown option %s (see: moongate help %s)", word, command);
        else
            end = take(command, option, value, &at, *argc, argv);
    }
    if (end == MG_CLI_GO && rest - 1 > max_rest)
        end = mg_cli_complain(MG_EXIT_USAGE, command, "one argument too many: %s",
                              argv[max_rest + 1]);
    *argc = rest;
    return end;
}

int mg_cli_complain(int exit_code, const char *name, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    fprintf(stderr, "moongate %s: ", name);
    vfprintf(stderr, fmt, args);
    fputc('\n', stderr);
    va_end(args);
    return exit_code;
}

int mg_cli_failed(const char *name, const struct mg_diag *diag)
{
    char text[sizeof(diag->file) + sizeof(diag->text) + 32];
    mg_diag_print(diag, text, sizeof(text));
    return mg_cli_complain(MG_EXIT_FAILED, name, "%s", text);
}

const struct mg_paint *mg_cli_paint(FILE *out)
{
    static const struct mg_paint none = {"", "", "", "", "", "", ""};
    static const struct mg_paint colours = {"\033[1m",  "\033[2m",  "\033[31m", "\033[32m",
                                            "\033[33m", "\033[36m", "\033[0m"};
    const char *no_color = getenv("NO_COLOR");
    return isatty(fileno(out)) && !(no_color && *no_color) ? &colours : &none;
}

/* Levenshtein with one row; words longer than the row count as unlike. */
int mg_cli_distance(const char *a, const char *b)
{
    enum { LONGEST = 64 };
    size_t width = strlen(b);
    int row[LONGEST + 1];
    if (strlen(a) > LONGEST || width > LONGEST)
        return LONGEST;
    for (size_t j = 0; j <= width; j++)
        row[j] = (int)j;
    for (size_t i = 0; a[i]; i++) {
        int diagonal = row[0];
        row[0] = (int)i + 1;
        for (size_t j = 0; j < width; j++) {
            int swapped = diagonal + (a[i] != b[j]);
            diagonal = row[j + 1];
            row[j + 1] = MG_MIN(swapped, MG_MIN(row[j], row[j + 1]) + 1);
        }
    }
    return row[width];
}

static int help(int argc, char **argv)
{
    if (argc < 2 || !strcmp(argv[1], "help")) {
        print_commands(stdout);
        return MG_EXIT_OK;
    }
    const struct command *command = find(argv[1]);
    return command ? help_of(command) : unknown(argv[1]);
}

static int help_of(const struct command *command)
{
    char name[32], ask[] = "--help";
    snprintf(name, sizeof(name), "%s", command->name);
    char *asked[] = {name, ask, NULL};
    return command->run(2, asked);
}

void mg_cli_help_page(FILE *out)
{
    help_out = out;
    for (size_t i = 0; i < MG_COUNT(commands); i++) {
        if (!*commands[i].summary)
            continue;
        fprintf(out, "\n## moongate %s\n\n```text\n", commands[i].name);
        help_of(&commands[i]);
        fprintf(out, "```\n");
    }
    help_out = NULL;
}

static void print_commands(FILE *out)
{
    fprintf(out, "moongate %s, a gateway between your code and AI providers\n\n", MG_VERSION);
    fprintf(out, "usage: moongate COMMAND [OPTIONS]\n\n");
    for (size_t i = 0; i < MG_COUNT(commands); i++) {
        if (*commands[i].summary)
            fprintf(out, "  %-9s %s\n", commands[i].name, commands[i].summary);
    }
    fprintf(out,
            "\n`moongate help COMMAND` says what a command takes. Start with `moongate demo`.\n");
}

static void print_help(const char *name, const struct mg_option *options, size_t count)
{
    FILE *out = help_out ? help_out : stdout;
    const struct command *command = find(name);
    bool has_arguments = command && *command->arguments;
    fprintf(out, "usage: moongate %s%s%s\n", name, has_arguments ? " " : "",
            has_arguments ? command->arguments : "");
    if (command && *command->summary)
        fprintf(out, "\n%s\n", command->summary);
    fprintf(out, "\n");
    for (size_t i = 0; i < count; i++) {
        char left[64];
        snprintf(left, sizeof(left), "%s%s%s%s%s", options[i].letter ? options[i].letter : "",
                 options[i].letter ? ", " : "", options[i].name, options[i].value ? " " : "",
                 options[i].value ? options[i].value : "");
        fprintf(out, "  %-24s %s\n", left, options[i].help);
    }
    fprintf(out, "  %-24s %s\n", "-h, --help", "print this");
}

static int unknown(const char *name)
{
    const char *nearest = NULL;
    int best = 3; /* further away is not a slip of the finger */
    for (size_t i = 0; i < MG_COUNT(commands); i++) {
        int distance = mg_cli_distance(name, commands[i].name);
        if (*commands[i].summary && distance < best) {
            best = distance;
            nearest = commands[i].name;
        }
    }
    if (nearest)
        fprintf(stderr, "moongate: there is no command \"%s\"; did you mean \"%s\"?\n", name,
                nearest);
    else
        fprintf(stderr, "moongate: there is no command \"%s\" (see: moongate help)\n", name);
    return MG_EXIT_USAGE;
}

static const struct command *find(const char *name)
{
    for (size_t i = 0; i < MG_COUNT(commands); i++) {
        if (!strcmp(commands[i].name, name))
            return &commands[i];
    }
    return NULL;
}

static const struct mg_option *find_option(const struct mg_option *options, size_t count,
                                           mg_view name)
{
    for (size_t i = 0; i < count; i++) {
        if (mg_view_eq(name, mg_view_cstr(options[i].name)) ||
            (options[i].letter && mg_view_eq(name, mg_view_cstr(options[i].letter))))
            return &options[i];
    }
    return NULL;
}

/* inline_value.ptr is NULL when the word had no '='. */
static int take(const char *command, const struct mg_option *option, mg_view inline_value, int *at,
                int argc, char **argv)
{
    if (option->kind == MG_OPTION_FLAG) {
        if (inline_value.ptr)
            return mg_cli_complain(MG_EXIT_USAGE, command, "%s takes no value", option->name);
        *(bool *)option->out = true;
        return MG_CLI_GO;
    }
    const char *text = inline_value.ptr;
    if (!text && *at + 1 < argc)
        text = argv[++*at];
    if (!text)
        return mg_cli_complain(MG_EXIT_USAGE, command, "%s needs a value: %s", option->name,
                               option->value);
    if (option->kind == MG_OPTION_INT || option->kind == MG_OPTION_PORT)
        return take_int(command, option, text);
    if (option->kind == MG_OPTION_LIST)
        return take_item(command, option, text);
    *(const char **)option->out = text;
    return MG_CLI_GO;
}

static int take_item(const char *command, const struct mg_option *option, const char *text)
{
    struct mg_option_list *list = option->out;
    if (list->count == (int)MG_COUNT(list->items))
        return mg_cli_complain(MG_EXIT_USAGE, command, "%s may be given %d times", option->name, list->count);
    list->items[list->count++] = text;
    return MG_CLI_GO;
}

static int take_int(const char *command, const struct mg_option *option, const char *text)
{
    uint64_t value, most = option->kind == MG_OPTION_PORT ? 65535 : 2147483647;
    if (!mg_view_u64(mg_view_cstr(text), &value) || value > most)
        return mg_cli_complain(MG_EXIT_USAGE, command,
                               "%s needs a number from 0 to %d, not \"%s\"", option->name,
                               (int)most, text);
    *(int *)option->out = (int)value;
    return MG_CLI_GO;
}
