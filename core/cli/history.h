/* history.h - what `logs` and `trace` share: where the answers come from and how values are shown.
 *
 * The running gateway answers; when none runs, the store does, after what a killed gateway left in
 * its journals was recovered into it. Either way it is the same JSON. */
#ifndef MG_CLI_HISTORY_H
#define MG_CLI_HISTORY_H

#include <stdio.h>

#include "http/json.h"
#include "store/db.h"
#include "store/folder.h"

struct mg_history {
    char data_dir[MG_FOLDER_PATH_BYTES];
    const char *path;        /* of the admin API, with its query */
    mg_err (*offline)(const void *arg, struct mg_db *db, struct mg_buf *out);   /* the same from the store */
    const void *arg;
    bool recovered;          /* journals were looked at already, or are not to be */
};

/* *out_answer is the caller's to free. MG_E_NOT_FOUND: there is no such request, or no store at
 * all; the diag has a sentence for every error. */
MG_MUST_USE mg_err mg_history_ask(struct mg_history *history, struct mg_json **out_answer, struct mg_diag *diag);

/* For an answer that holds nothing of a project or a key (NULL: none was named): complains and answers MG_EXIT_FAILED when no
 * key tells of it, else MG_EXIT_OK. */
int mg_history_known(const struct mg_history *history, const char *command, const char *project, const char *key);

/* Whether the terminal's locale is UTF-8. */
bool mg_history_utf8(void);

/* Columns of the terminal behind out; `otherwise` when it is none. */
unsigned mg_history_columns(FILE *out, unsigned otherwise);

/* "870 µs", "12.3 ms", "1.25 s", "2m05s", "3h20m"; "us" without UTF-8. Without a blank when tight. */
enum { MG_TIME_TEXT = 24 };
const char *mg_history_time(char out[MG_TIME_TEXT], uint64_t us, bool tight);

/* "980", "1.2k", "3.4M": bytes and tokens. */
const char *mg_history_count(char out[MG_TIME_TEXT], uint64_t count);

/* Prints at most `columns` characters (0: all) and answers how many. What could steer a terminal
 * is shown as '?'; what is cut ends in an ellipsis. */
unsigned mg_history_put(FILE *out, mg_view text, unsigned columns);

/* The same, filled up with blanks. */
void mg_history_pad(FILE *out, mg_view text, unsigned columns);

#endif
