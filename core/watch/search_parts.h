/* search_parts.h - what search.c and search_sums.c share. */
#ifndef MG_WATCH_SEARCH_PARTS_H
#define MG_WATCH_SEARCH_PARTS_H

#include "watch/search.h"
#include "watch/select.h"

struct mg_search {
    struct mg_db *db;                  /* borrowed */
    struct mg_archive *archive;        /* owned */
    struct mg_block **open;            /* owned, in the order of time: rows of the database */
    size_t open_count;
    uint64_t packed_us;                /* at_us of the last packed row: open ones up to it are there too */
    struct mg_selection *selection;    /* owned: of the part that mg_search_part looked at last */
    struct mg_search_effort effort;
};

/* A question begins: counts its effort anew, and says the span of the query. */
void mg_search_begin(struct mg_search *search, const struct mg_query *query, uint64_t *out_since_us, uint64_t *out_until_us);

/* Packed and open blocks, in the order of time. */
size_t mg_search_parts(const struct mg_search *search);

/* Selects in one of them; *out_block is NULL when nothing is chosen there. What is damaged is counted and left out. */
MG_MUST_USE mg_err mg_search_part(struct mg_search *search, const struct mg_query *query, size_t part, uint64_t since_us,
                                  uint64_t until_us, struct mg_block **out_block);

#endif
