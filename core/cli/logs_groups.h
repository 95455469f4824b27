/* logs_groups.h - how `moongate logs --by` shows what requests come to. */
#ifndef MG_CLI_LOGS_GROUPS_H
#define MG_CLI_LOGS_GROUPS_H

#include "http/json.h"

/* The answer of GET /admin/v1/requests/groups as a table on stdout; false: it has no groups. */
bool mg_logs_print_groups(const struct mg_json *answer);

#endif
