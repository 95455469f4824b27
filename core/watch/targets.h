/* targets.h - the state of one target and its credentials, as people and Prometheus are shown it.
 *
 * gateway/targets.h fills the rows from what relay/ keeps; here they are only written out. Field
 * names in JSON are stable: snake_case; moments end in _us and are wall clock since 1970, so that
 * what is read later is still true; 0 there is "not known", null is "until a human acts". */
#ifndef MG_WATCH_TARGETS_H
#define MG_WATCH_TARGETS_H

#include "base/buf.h"
#include "relay/breaker.h"
#include "relay/credential.h"
#include "relay/gate.h"
#include "relay/stats.h"

enum { MG_TARGETS_SHOWN = 2048 };      /* targets of one scrape; those over that are left out and counted */

struct mg_target_credential {
    const char *name;                  /* "": the provider needs no key */
    struct mg_breaker_view breaker;
    struct mg_credential_view key;     /* with all models */
    struct mg_credential_view model;   /* with this one */
};

/* All times are monotonic; names are borrowed from the configuration. */
struct mg_target_row {
    const char *project, *target, *provider, *model;
    const char *region, *account;      /* NULL: none */
    struct mg_stats_figures figures;
    struct mg_estimate_figures estimate;         /* what bytes are there in tokens, and how far off that is */
    struct mg_gate_view gate;
    double retires_days;               /* until its vendor takes the model away; 0: it is gone; below 0: not known */
    double retry_tokens;
    uint32_t retry_burst;
    struct mg_target_credential credentials[MG_MAX_CREDENTIALS];
    int credential_count;              /* ≥ 1: a provider without keys has one without a name */
    uint64_t now_us, wall_us;          /* when it was read */
};

/* Why a credential is not to be used now, or that it is: what the JSON says and the terminal shows. */
struct mg_target_health {
    const char *state;                 /* "closed" "ramp" "half_open" "open" "limited" "benched", from good to bad */
    char why[64];                      /* "5 failures in a row", "auth", "no requests left"; "" when closed */
    uint64_t until_us;                 /* monotonic; 0: not known; UINT64_MAX: until a human acts */
    int rank;                          /* of the state: 0 is good */
};
void mg_target_credential_health(const struct mg_target_credential *credential, uint64_t now_us,
                                 struct mg_target_health *out_health);
/* Of the credential that is best off: what the target as a whole can do. */
void mg_target_row_health(const struct mg_target_row *row, struct mg_target_health *out_health);

/* One JSON object. */
MG_MUST_USE mg_err mg_target_row_json(const struct mg_target_row *row, struct mg_buf *out);

/* Prometheus text, which wants all samples of a metric together: rows are added one by one, each metric gathers its own,
 * and the end puts them in order. Rows past MG_TARGETS_SHOWN are only counted. */
enum { MG_TARGET_METRICS = 11 };
struct mg_targets_scrape {             /* fields belong to targets.c */
    struct mg_buf metrics[MG_TARGET_METRICS];
    size_t count;                      /* rows that were added */
    mg_err err;                        /* the first that happened */
};
void mg_targets_scrape_init(struct mg_targets_scrape *scrape);
void mg_targets_scrape_add(void *scrape, const struct mg_target_row *row);
MG_MUST_USE mg_err mg_targets_scrape_end(struct mg_targets_scrape *scrape, struct mg_buf *out);    /* frees its room */

#endif
