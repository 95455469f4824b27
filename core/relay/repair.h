/* repair.h - known changes of a request for a target that answered "I do not know this field", and which targets need them.
 *
 * A repair is a row of the adapter's declaration; a set of them is a bitmap of row numbers. Before an attempt is built
 * its lane asks what the target is known to need, so that only the first request pays for the lesson:
 *
 *     lane->repairs |= mg_repair_known(memory, now_us);
 *     mg_repair_fill(adapter, lane->repairs, &change);
 *
 * and after an error answer, when nothing was sent to the client yet and few repairs were made in this exchange:
 *
 *     int row = mg_repair_find(adapter, status, tap, request, &change);       (facts.repair = mg_repair_name(adapter, row))
 *     … the verdict says action retry and names the repair …
 *     lane->repairs |= mg_repair_bit(row), mg_repair_learn(memory, adapter, row, now_us);
 *
 * A repair whose field the attempt did not send, or that was applied already, is never found: there is no loop. Memory
 * is a row per target of all generations; any thread, relaxed atomics. */
#ifndef MG_RELAY_REPAIR_H
#define MG_RELAY_REPAIR_H

#include "chat/adapter.h"
#include "chat/request.h"

enum { MG_REPAIR_TTL_S = 3600 };

typedef uint64_t mg_repairs;           /* bit n: row n of the declaration */

struct mg_repair_memory;

/* Lives as long as the process; NULL when the table is full: nothing is remembered then. */
struct mg_repair_memory *mg_repair_memory(mg_view scope, mg_view target);

/* The repairs that were learned of the target within the last hour. */
mg_repairs mg_repair_known(struct mg_repair_memory *memory, uint64_t now_us);

/* Remembers it for an hour, and forgets one that does the opposite. Nothing when the row is `once` or memory is NULL. */
void mg_repair_learn(struct mg_repair_memory *memory, const struct mg_adapter *adapter, int row, uint64_t now_us);

/* Puts the edits of the set into the change, those it has among them not twice; what has no room is left out. */
void mg_repair_fill(const struct mg_adapter *adapter, mg_repairs repairs, struct mg_body_change *change);

/* The first row that fits an error answer to a request that was sent with that change; -1: none. */
int mg_repair_find(const struct mg_adapter *adapter, int status, const struct mg_tap *tap, const struct mg_request *request,
                   const struct mg_body_change *change);

static inline mg_repairs mg_repair_bit(int row)
{
    return row < 0 ? 0 : UINT64_C(1) << row;
}

/* What a verdict calls it; empty for -1. */
mg_view mg_repair_name(const struct mg_adapter *adapter, int row);

#endif
