/* retiring.h - `moongate models --retiring`: what workflows call that its vendor takes away. */
#ifndef MG_CLI_RETIRING_H
#define MG_CLI_RETIRING_H

#include <stdbool.h>

/* A line for each target of each workflow of the configuration (NULL: where it usually is) whose model is gone or will be within
 * MG_MODEL_SOON_DAYS; with json an object a line. The exit code: MG_EXIT_FAILED when there is one, so that a cron job notices. */
int mg_retiring_list(const char *config, bool json);

#endif
