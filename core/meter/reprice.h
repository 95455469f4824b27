/* reprice.h - applies a price catalogue to attempts that are already in the store.
 *
 * An attempt's record is never touched: what it costs by the new prices stands beside it, in
 * `repriced`, and is what every report and export says from then on. Each attempt is priced at the
 * time it began, so a catalogue with dates gives each day its own price. An attempt whose target had
 * a price of its own keeps its cost, unless a list of that project's has its model. One that the
 * catalogue does not know becomes unpriced.
 *
 * It works in pieces, so that nobody waits long for the recorder: read with any connection, write
 * with mg_recorder_write_wait(). Doing it twice changes nothing more. */
#ifndef MG_METER_REPRICE_H
#define MG_METER_REPRICE_H

#include "meter/prices.h"
#include "meter/usage.h"

enum { MG_REPRICE_EXCHANGES = 2000 };  /* of one piece */

struct mg_reprice {
    uint64_t exchanges, attempts;      /* looked at */
    uint64_t changed;                  /* attempts whose cost is another one now */
    uint64_t kept;                     /* attempts whose target had its own price */
    uint64_t unpriced;                 /* attempts with tokens whose price nobody knows now */
    mg_usage_money before_picousd, after_picousd;          /* of all that were looked at */
    uint64_t next_us;                  /* from_us of the next piece */
    bool done;                         /* there is none */
    struct mg_reprice_change *changes; /* owned */
    size_t change_count, change_room;
};

/* Looks at one piece from range->from_us on; range->max_exchanges 0 is MG_REPRICE_EXCHANGES. */
MG_MUST_USE mg_err mg_reprice_read(struct mg_db *db, const struct mg_prices *prices, const struct mg_usage_range *range,
                                   struct mg_reprice *out_reprice);
/* A mg_write_fn: stores the changes of a piece, whose struct is the argument. */
MG_MUST_USE mg_err mg_reprice_write(void *reprice, struct mg_db *db);
void mg_reprice_fini(struct mg_reprice *reprice);            /* harmless on a zeroed one */

#endif
