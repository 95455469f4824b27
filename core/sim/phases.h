/* phases.h - how a simulated provider's health changes while it runs: outages, slow times, tightening limits.
 *
 * A track is for the models and API keys its globs match, and goes through its phases one after the other, each for a
 * time or a number of calls. A phase lets a share of the calls fail, changes the pace, and limits requests per key. All
 * tracks that match a call act on it; the first that makes it fail decides how. After its last phase a track does
 * nothing more, or begins again.
 *
 * One per simulator, its loop thread only. Times are monotonic microseconds, passed in. */
#ifndef MG_SIM_PHASES_H
#define MG_SIM_PHASES_H

#include "base/buf.h"
#include "config/config.h"
#include "sim/faults.h"

enum { MG_SIM_TRACKS = 64, MG_SIM_TRACK_PHASES = 32, MG_SIM_LIMITED_KEYS = 64 };

struct mg_sim_phases;

struct mg_sim_phases *mg_sim_phases_new(void);
void mg_sim_phases_free(struct mg_sim_phases *phases);     /* NULL is a no-op */

/* The phases of the configuration: what it said before is forgotten, what was posted stays. */
void mg_sim_phases_configure(struct mg_sim_phases *phases, const struct mg_config_sim_model *models, int count,
                             uint64_t now_us);

/* A track as JSON, see sim.h; it takes the place of the one with the same model and key. MG_E_BAD_REQUEST: out_why says
 * what is wrong. MG_E_TOO_LARGE: there are enough tracks. */
MG_MUST_USE mg_err mg_sim_phases_post(struct mg_sim_phases *phases, mg_view json, uint64_t now_us, char out_why[128]);
void mg_sim_phases_clear(struct mg_sim_phases *phases);    /* what was posted */
void mg_sim_phases_restart(struct mg_sim_phases *phases, uint64_t now_us);     /* what was configured */

struct mg_sim_effect {
    enum mg_sim_fault fault;           /* NONE: this call goes well */
    int value;                         /* of the fault */
    int ttft_ms, tokens_per_s;         /* -1: as the model has it */
    uint32_t limit;                    /* requests per window; 0: there is no limit, and the two below mean nothing */
    uint32_t left;
    uint64_t reset_ms;                 /* until the window ends, at least 1 */
    bool refused;                      /* the limit is why it fails; fault is rate_limited */
};

/* Counts the call. `random` is stepped. */
void mg_sim_phases_apply(struct mg_sim_phases *phases, mg_view model, mg_view key, uint64_t now_us, uint64_t *random,
                         struct mg_sim_effect *out_effect);

/* Where every track stands, as a JSON array. */
MG_MUST_USE mg_err mg_sim_phases_print(struct mg_sim_phases *phases, uint64_t now_us, struct mg_buf *out);

#endif
