/* rows.h - process-wide tables of small records that are found by a text and never go away.
 *
 * What is known of targets, breakers, credentials and gates outlives generations and is shared by all workers. A table
 * takes no lock: a row is made once, zeroed, never moves and lives as long as the process, so a pointer to it may be
 * kept. Any thread. */
#ifndef MG_RELAY_ROWS_H
#define MG_RELAY_ROWS_H

#include <stdatomic.h>

#include "base/limits.h"
#include "base/view.h"

enum { MG_ROWS_SLOTS = 2 * MG_MAX_HEALTH_ROWS };

/* Embedded first in each row. */
struct mg_row {
    uint64_t hash;
    const char *scope, *name;          /* NUL-terminated; scope: the project, or "account:NAME" of a shared one */
    size_t scope_len, name_len;
};

struct mg_rows {                       /* static storage; `size` of a row is set, the rest is zero */
    size_t size;
    void (*init)(void *row);           /* of a zeroed row, before anybody sees it; NULL: none */
    _Atomic uint32_t count;
    _Atomic(struct mg_row *) slots[MG_ROWS_SLOTS];
};

/* The row, made on first use; NULL when the table is full. */
void *mg_rows_find(struct mg_rows *rows, mg_view scope, mg_view name);
/* The row if there is one: for readers, who must not fill the table with names that do not exist. */
void *mg_rows_peek(struct mg_rows *rows, mg_view scope, mg_view name);
/* Calls back for every row of the scope (empty: all), in no order. */
void mg_rows_each(struct mg_rows *rows, mg_view scope, void (*cb)(void *arg, void *row), void *arg);

#endif
