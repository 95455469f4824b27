/* sim_parts.h - what the files of sim/ share: the server's state, its models, its figures. Loop thread only. */
#ifndef MG_SIM_SIM_PARTS_H
#define MG_SIM_SIM_PARTS_H

#include "base/map.h"
#include "http/service.h"
#include "sim/faults.h"
#include "sim/phases.h"
#include "sim/request.h"
#include "sim/sim.h"

enum { MG_SIM_STATS_MODELS = 1024 };

/* Figures of one model name. */
struct mg_sim_figures {
    char name[129];
    uint64_t calls;
    uint64_t streams;
    uint64_t finished;       /* answered to the end that was meant */
    uint64_t cancelled;      /* the client left first */
    uint64_t running;        /* right now */
    uint64_t peak;           /* the most that ran at once */
    uint64_t faults[MG_SIM_FAULT_COUNT];         /* how often each went wrong */
    struct mg_list link;
};

/* A configured model and where its schedule stands. */
struct mg_sim_model {
    const struct mg_config_sim_model *config;
    uint64_t calls;
    uint64_t *fired;         /* per entry of config->faults */
};

/* A copy of the configuration; replaced as a whole. */
struct mg_sim_models {
    struct mg_arena arena;
    struct mg_sim_model *list;
    int count;
};

struct mg_sim_models *mg_sim_models_new(const struct mg_config_sim_model *models, int count);
void mg_sim_models_free(struct mg_sim_models *models);     /* NULL is a no-op */
bool mg_sim_models_equal(const struct mg_sim_models *a, const struct mg_sim_models *b);    /* as configured */

/* The first whose name or glob matches; NULL: none. */
struct mg_sim_model *mg_sim_models_find(struct mg_sim_models *models, mg_view name);

/* Counts a call with an API key; the fault it shall suffer and its value, or MG_SIM_FAULT_NONE. */
enum mg_sim_fault mg_sim_model_fault(struct mg_sim_model *model, mg_view key, uint64_t *random, int *out_value);

struct mg_sim {
    uv_thread_t thread;
    struct mg_loop loop;
    struct mg_service service;
    struct mg_sim_reader *reader;      /* owned */
    struct mg_sim_models *models;      /* owned */
    struct mg_sim_phases *phases;      /* owned */
    struct mg_config_sim_model otherwise;
    struct mg_map figures;             /* name → struct mg_sim_figures */
    struct mg_list by_age;             /* struct mg_sim_figures, owned */
    size_t figure_count;
    struct mg_buf last_head;           /* JSON */
    struct mg_buf last_body;
    struct mg_buf scratch;             /* for one body or event at a time */
    uint64_t random;
    uint64_t calls;
};

/* NULL-safe figures of a model name: what is over the bound is counted as "other". */
struct mg_sim_figures *mg_sim_figures_of(struct mg_sim *sim, mg_view name);

/* Answers one call of an API surface; it owns the call from here. */
void mg_sim_play(struct mg_sim *sim, struct mg_service_call *call, enum mg_sim_surface surface);

/* An OpenAI error object with a status. */
void mg_sim_answer_error(struct mg_sim *sim, struct mg_service_call *call, int status, const char *message,
                         const char *param, const char *code);

#endif
