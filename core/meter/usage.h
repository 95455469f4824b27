/* usage.h - usage events, one for each attempt, and what they add up to.
 *
 * Events are read out of the store's exchanges: the records that the journal had are the only
 * truth, so an event exists exactly once and its id, "<exchange>/<number>", is the same at every
 * reading. Only what it cost may be changed later (meter/reprice.h). The schema is
 * docs/reference/usage-events.md; it has a version, and grows by members only within it.
 *
 * An event counts at the moment its exchange settled, so that a period that is over never changes.
 * Reads through a connection of the caller's (MG_DB_READ); never on a worker. */
#ifndef MG_METER_USAGE_H
#define MG_METER_USAGE_H

#include "base/buf.h"
#include "meter/timeline.h"
#include "store/db.h"

enum {
    MG_USAGE_VERSION = 1,              /* of the event */
    MG_USAGE_DIMENSIONS = 8,           /* of one report */
    MG_USAGE_FILTERS = 8,
    MG_USAGE_ROWS = 50000,             /* of one report */
    MG_USAGE_NAME = 64,                /* bytes of a metadata field's name */
    MG_USAGE_METADATA_DEPTH = 16,      /* metadata that nests deeper, or has \u0000 in it, is a text in an event */
};

struct mg_usage_event {                /* borrowed until the callback returns */
    const struct mg_timeline *exchange;
    const struct mg_attempt_record *attempt;
    uint64_t at_us;                    /* when the exchange settled; unique and growing: a cursor over exchanges */
    bool interrupted;                  /* a crash cut it off: the input is an estimate, the output is not known */
    bool repriced;                     /* the cost is a later one than that of the time */
    bool priced;
    uint64_t cost_picousd;             /* 0 unless priced */
};

typedef mg_err (*mg_usage_cb)(void *arg, const struct mg_usage_event *event);

struct mg_usage_range {
    uint64_t from_us, to_us;           /* at_us, half open; to_us 0: open */
    unsigned max_exchanges;            /* 0: all of them */
};

/* Oldest first. *out_next is where to go on as from_us: behind the last exchange that was read. An error of the callback
 * ends it and is answered. */
MG_MUST_USE mg_err mg_usage_each(struct mg_db *db, const struct mg_usage_range *range, mg_usage_cb cb, void *arg,
                                 uint64_t *out_next);

/* One JSON object, without a line end. */
MG_MUST_USE mg_err mg_usage_event_json(const struct mg_usage_event *event, struct mg_buf *out);

/* ---- reports */

/* What events may be counted by and chosen by. `metadata` takes the name of a field. */
#define MG_USAGE_DIMENSION_LIST(X)                                                                 \
    X(project) X(key) X(workflow) X(arm) X(provider) X(model) X(served) X(dialect) X(tier) X(credential) X(class) X(reason) \
    X(session) X(charged) X(hour) X(day) X(month) X(metadata)

enum mg_usage_dimension {
#define X(name) MG_USAGE_##name,
    MG_USAGE_DIMENSION_LIST(X)
#undef X
    MG_USAGE_DIMENSION_COUNT
};

struct mg_usage_by {
    enum mg_usage_dimension dimension;
    char field[MG_USAGE_NAME];         /* of metadata */
};

/* "project", "day", "metadata.tier". False: there is no such dimension. */
bool mg_usage_by_find(mg_view name, struct mg_usage_by *out_by);
/* The name back again. */
mg_err mg_usage_by_name(const struct mg_usage_by *by, struct mg_buf *out);

struct mg_usage_query {                /* zeroed: everything, in one row */
    struct mg_usage_range range;
    struct mg_usage_by by[MG_USAGE_DIMENSIONS];
    int by_count;
    struct mg_usage_filter {
        struct mg_usage_by by;
        char value[160];
    } filters[MG_USAGE_FILTERS];       /* all must hold */
    int filter_count;
    const char *only_project;          /* borrowed; what a caller is confined to, a filter of its own; NULL: nothing */
};

__extension__ typedef unsigned __int128 mg_usage_money;

struct mg_usage_sums {
    uint64_t requests;                 /* exchanges with an attempt here */
    uint64_t attempts;
    uint64_t estimated, unpriced, interrupted;   /* attempts of those */
    uint64_t input_tokens, output_tokens, cached_read_tokens, cached_write_tokens, reasoning_tokens;
    uint64_t input_audio_tokens, output_audio_tokens;
    uint64_t images, audio_ms, characters, searches;
    uint64_t estimated_tokens;         /* of the input and output ones */
    uint64_t bytes_sent, bytes_received;
    mg_usage_money cost_picousd, charged_picousd;          /* of all; of those the project pays for */
    uint64_t last_at_us;               /* internal: the exchange counted last */
};

struct mg_usage_report;

/* MG_E_TOO_LARGE: more than MG_USAGE_ROWS rows. */
MG_MUST_USE mg_err mg_usage_report_new(struct mg_db *db, const struct mg_usage_query *query, struct mg_usage_report **out_report);
void mg_usage_report_free(struct mg_usage_report *report);   /* NULL is a no-op */

/* Rows in the order of their values. `values` has by_count of them, empty where an event has none. */
size_t mg_usage_report_rows(const struct mg_usage_report *report);
const struct mg_usage_sums *mg_usage_report_row(const struct mg_usage_report *report, size_t row,
                                                mg_view out_values[MG_USAGE_DIMENSIONS]);
const struct mg_usage_sums *mg_usage_report_total(const struct mg_usage_report *report);

/* US dollars with all twelve decimals, as money adds up: "0.855000000000". */
enum { MG_USAGE_USD = 48 };
const char *mg_usage_usd(char out[MG_USAGE_USD], mg_usage_money picousd);

#endif
