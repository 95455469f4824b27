/* limits.h - what is left of a limit, as people and Prometheus are shown it.
 *
 * gateway/limit_list.h finds the limits; here they are only written out. Field names in JSON are stable: snake_case; moments
 * end in _us and are wall clock since 1970. A metadata value or a key is never a label of a metric: there may be as many as
 * clients make; metrics show whichever of a rule has used most of it. */
#ifndef MG_WATCH_LIMITS_H
#define MG_WATCH_LIMITS_H

#include "base/buf.h"
#include "base/map.h"
#include "tenant/limits.h"

enum { MG_LIMITS_SHOWN = 4096 };       /* limits in the metrics of one scrape; those over that are left out and counted */

/* One limit of whoever it counts. */
struct mg_limit_item {
    const struct mg_limit_rule *rule;  /* project, workflow, scope, field */
    const struct mg_limit_row *row;    /* borrowed; NULL: not used yet */
    const char *value;                 /* metadata value or key id; "": of the whole, or of those who sent none */
    const char *name;                  /* of the key; "": none */
    bool own;                          /* the key's own, not of the configuration */
    bool shared;                       /* by all values that found no room */
    int slot;
    struct mg_limit_figures figures;
    uint64_t wall_us;                  /* when it was read */
};

/* How much of it is used, 1: all. */
double mg_limit_item_share(const struct mg_limit_item *item);

/* One JSON object. */
MG_MUST_USE mg_err mg_limit_item_json(const struct mg_limit_item *item, struct mg_buf *out);

/* Prometheus text: items are added in any order, the end sorts them by rule. */
struct mg_limits_group;
struct mg_limits_scrape {              /* fields belong to limits.c */
    struct mg_map by_rule;
    struct mg_limits_group *groups;    /* owned */
    size_t count, cap, over;
};
void mg_limits_scrape_init(struct mg_limits_scrape *scrape);
void mg_limits_scrape_add(void *scrape, const struct mg_limit_item *item);
MG_MUST_USE mg_err mg_limits_scrape_end(struct mg_limits_scrape *scrape, struct mg_buf *out);      /* frees its room */

#endif
