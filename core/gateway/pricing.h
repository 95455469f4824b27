/* pricing.h - keeps the price catalogue of a running gateway up to date with its file.
 *
 * <data>/prices.json (moongate prices import) or the binary's own; looked at once a second. A file
 * that does not read is logged once and leaves the prices that are in force. */
#ifndef MG_GATEWAY_PRICING_H
#define MG_GATEWAY_PRICING_H

#include <time.h>

#include "meter/prices.h"

struct mg_pricing {
    struct mg_price_book *book;        /* owned; what workers read */
    const char *data_dir;              /* borrowed */
    struct timespec mtime;             /* of the file when it was last looked at */
};

/* The diag says what is wrong with the file. */
MG_MUST_USE mg_err mg_pricing_start(struct mg_pricing *pricing, const char *data_dir, struct mg_diag *diag);
void mg_pricing_check(struct mg_pricing *pricing);
void mg_pricing_stop(struct mg_pricing *pricing);            /* after the workers; harmless when not started */

#endif
