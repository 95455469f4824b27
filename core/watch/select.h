/* select.h - which rows of a block a query chooses. Column by column: a condition that no word or number of a column can meet
 * costs nothing, the others a few operations a row. */
#ifndef MG_WATCH_SELECT_H
#define MG_WATCH_SELECT_H

#include "watch/query.h"

struct mg_selection {
    uint32_t from, to;                 /* rows outside are not chosen */
    uint32_t count;                    /* rows that are */
    uint8_t chosen[MG_BLOCK_ROWS];     /* 1: chosen; only from `from` to `to` */
    uint8_t words[MG_BLOCK_ROWS];      /* scratch: which words of a column match */
};

/* Rows with since_us <= at_us < until_us that meet all conditions; since and until of the query are the caller's business.
 * MG_E_STORE: a column of the block that is needed is damaged. */
MG_MUST_USE mg_err mg_select(struct mg_block *block, const struct mg_query *query, uint64_t since_us, uint64_t until_us,
                             struct mg_selection *out_selection);

/* The text is one of the condition's patterns; `negate` is not asked. */
bool mg_condition_matches(const struct mg_condition *condition, mg_view text);

#endif
