/* check.h - `moongate check`: what is wrong with a configuration, all of it at once, without
 * starting anything. */
#ifndef MG_CLI_CHECK_H
#define MG_CLI_CHECK_H

#include <stdio.h>

struct mg_check_totals {
    int projects, workflows, providers; /* of files without mistakes */
    int mistakes;
};

/* Checks gateway.lua at path and projects/ beside it, or (path NULL) the project of the
 * environment. Each mistake is a line of `out`: "file:line: key.path: sentence". */
void mg_check(const char *path, FILE *out, struct mg_check_totals *out_totals);

int mg_cli_check(int argc, char **argv);

/* Every adapter of the configuration's own folder (adapters_dir): a line for each that does not load, with its file. */
void mg_check_adapters(FILE *out, struct mg_check_totals *totals);

#endif
