/* catalogue.h - what `moongate prices` and `moongate models` have in common: files that are read and replaced whole, dates, dollars. */
#ifndef MG_CLI_CATALOGUE_H
#define MG_CLI_CATALOGUE_H

#include "base/buf.h"

/* The whole file; MG_E_CONFIG, MG_E_TOO_LARGE past out's maximum, with its name in the diag. */
MG_MUST_USE mg_err mg_catalogue_read(const char *path, struct mg_buf *out, struct mg_diag *diag);

/* Into the data folder, which is made when it is not there. Whoever reads it sees the old one or the new one. *out_path: where it is. */
MG_MUST_USE mg_err mg_catalogue_write(const char *data_dir, const char *name, mg_view text, char out_path[], struct mg_diag *diag);

/* A command of the form NAME [list [WHAT] | show WHAT | import FILE]: the verb and what it is about. */
struct mg_catalogue_verb {
    const char *verb, *what;           /* what: NULL when none was given */
};
/* MG_CLI_GO, or the exit code: `verbs` (NULL-terminated) are known, the first is the usual one and needs nothing. `need` says what the
 * others are about. */
int mg_catalogue_verb(const char *command, int argc, char **argv, const char *const *verbs, const char *need, struct mg_catalogue_verb *out);

const char *mg_catalogue_today(char out[16]);                 /* UTC */
const char *mg_catalogue_date(char out[16], uint64_t at_us);  /* "2027-06-01" */

/* Micro-dollars as "2.5"; a rate that is not known is "-". */
const char *mg_catalogue_dollars(char out[24], int64_t microusd);

#endif
