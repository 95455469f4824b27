/* cli.h - the command line: finding a subcommand, its options, and how it talks to a terminal.
 *
 * Every subcommand is one function `int mg_cli_<fn>(int argc, char **argv)` with a row in cli/commands.h; argv[0] is
 * the subcommand's name and the result is the process's exit code. Each begins with mg_cli_parse(), which is what
 * makes --help, errors and spelling the same everywhere. Main thread only. */
#ifndef MG_CLI_CLI_H
#define MG_CLI_CLI_H

#include <stdio.h>

#include "base/err.h"
#include "cli/commands.h"

enum mg_exit {
    MG_EXIT_OK = 0,
    MG_EXIT_FAILED = 1,      /* it was understood and did not work */
    MG_EXIT_USAGE = 2,       /* it was not understood; nothing was done */
};

enum mg_option_kind {
    MG_OPTION_FLAG,          /* out is bool *: set to true */
    MG_OPTION_TEXT,          /* out is const char **: borrowed from argv */
    MG_OPTION_INT,           /* out is int *: 0 … 2147483647 */
    MG_OPTION_PORT,          /* out is int *: 0 … 65535 */
    MG_OPTION_LIST,          /* out is struct mg_option_list *: may be given several times; borrowed from argv */
};

struct mg_option_list {
    const char *items[16];
    int count;
};

struct mg_option {
    const char *name;        /* "--port" */
    const char *letter;      /* "-p"; NULL for none */
    const char *value;       /* what the value is, for the help text: "N"; NULL for a flag */
    enum mg_option_kind kind;
    void *out;               /* borrowed; keeps its value when the option is not given */
    const char *help;        /* one sentence without a full stop */
};

/* Finds and runs the subcommand of argv[1]. Without one it prints the list. */
int mg_cli_main(int argc, char **argv);

/* Takes the options out of argv, in any order and as `--name value` or `--name=value`, until `--`. *argc and argv are
 * left with argv[0] and at most max_rest other arguments. Answers MG_CLI_GO, or the exit code to return at once:
 * MG_EXIT_OK after --help was printed, MG_EXIT_USAGE after a complaint was. */
enum { MG_CLI_GO = -1 };
int mg_cli_parse(int *argc, char **argv, const struct mg_option *options, size_t count, int max_rest);

/* "moongate NAME: sentence" on stderr; the answer is the exit code given. */
int mg_cli_complain(int exit_code, const char *name, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* The same for a diag, with file and line when it has them; MG_EXIT_FAILED. */
int mg_cli_failed(const char *name, const struct mg_diag *diag);

/* Escape sequences for out, or "" when it is no terminal or NO_COLOR is set. */
struct mg_paint {
    const char *bold, *dim, *red, *green, *yellow, *cyan, *off;
};
const struct mg_paint *mg_cli_paint(FILE *out);

/* Writes what `moongate help NAME` says of every listed command, as Markdown. */
void mg_cli_help_page(FILE *out);

/* How alike two words are: the number of edits from one to the other, at most 64. For suggestions. */
int mg_cli_distance(const char *a, const char *b);

#define X(name, fn, arguments, summary) int mg_cli_##fn(int argc, char **argv);
MG_COMMAND_LIST(X)
#undef X

#endif
