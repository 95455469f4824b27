/* ledger.h - the sink of the recorder: turns journal records into rows of the store.
 *
 * It gathers the records of an exchange in memory and writes one row when the exchange settles; an
 * exchange still open when ring room is freed is kept in open_exchanges. What a dead process left
 * open becomes one *interrupted* exchange: attempts that never settled are billed by estimate:
 * the input that was sent, at the price it had then. */
#ifndef MG_METER_LEDGER_H
#define MG_METER_LEDGER_H

#include "meter/timeline.h"
#include "store/recorder.h"

struct mg_ledger;

struct mg_ledger *mg_ledger_new(void);
void mg_ledger_free(struct mg_ledger *ledger);               /* after the recorder stopped; NULL is a no-op */

/* For mg_recorder_options.sink. */
struct mg_sink mg_ledger_sink(struct mg_ledger *ledger);

/* Bits of exchanges.flags. */
enum {
    MG_ROW_STREAM = 1,
    MG_ROW_CLEAN = 2,
    MG_ROW_INTERRUPTED = 4,            /* the process died; filled in at the next start */
    MG_ROW_ESTIMATED = 8,              /* some tokens are our estimate, not the provider's count */
    MG_ROW_REPEATED = 16,              /* an attempt repeated the one before at the same target */
    MG_ROW_FELL_OVER = 32,             /* … was made at the next target because one failed */
    MG_ROW_HEDGED = 64,                /* … was started beside one that was slow */
    MG_ROW_RESCUED = 128,              /* … went on with a stream that broke off */
    MG_ROW_OFFLINE = 256,              /* the workflow's offline answer, since nothing answered */
};

/* Decodes exchanges.detail into *out_timeline, attempts included; views borrow detail.
 * MG_E_PROTOCOL when it is damaged. */
MG_MUST_USE mg_err mg_ledger_decode(mg_view detail, struct mg_timeline *out_timeline);

#endif
