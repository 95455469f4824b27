/* reprice.h - `moongate usage reprice`, piece by piece: through the running gateway, or in the store when none runs. */
#ifndef MG_CLI_REPRICE_H
#define MG_CLI_REPRICE_H

#include "meter/reprice.h"

struct mg_cli_repriced {               /* of all pieces */
    uint64_t exchanges, attempts, changed, kept, unpriced;
    mg_usage_money before_picousd, after_picousd;
};

/* prices: an absolute path; NULL: the catalogue in force. */
MG_MUST_USE mg_err mg_cli_reprice(const char *data_dir, const char *prices, const struct mg_usage_range *range, bool dry_run,
                                  struct mg_cli_repriced *out_sum, struct mg_diag *diag);

#endif
