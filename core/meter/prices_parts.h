/* prices_parts.h - what a catalogue is made of; private to core/meter. prices.c asks, prices_read.c reads. */
#ifndef MG_METER_PRICES_PARTS_H
#define MG_METER_PRICES_PARTS_H

#include "base/arena.h"
#include "base/map.h"
#include "meter/prices.h"

extern const char *const mg_rate_names[MG_RATE_COUNT];

struct mg_price_pattern {
    mg_view glob;
    const struct mg_price_model *model;
};

struct mg_price_model {
    const char *name;
    struct mg_price *prices;           /* by from_us; ≥ 1 */
    int count;
};

struct mg_price_list {                 /* of one provider */
    const char *project, *name;
    struct mg_price_model *models;
    size_t model_count;
    struct mg_map by_name;             /* → struct mg_price_model */
    struct mg_price_pattern *patterns; /* the most literal characters first */
    size_t pattern_count;
};

struct mg_prices {
    struct mg_arena arena;             /* everything but the maps */
    struct mg_price_list *lists;
    size_t list_count;
    struct mg_map by_owner;            /* "project\0provider" → struct mg_price_list */
    size_t projects;                   /* lists of projects' own */
    const char *collected, *source;
    uint64_t fingerprint;
    size_t models;
};

#endif
