/* keeper.h - the thread between workers and the responses that are kept in the store.
 *
 *   worker ──post──▶ keeper ──seals──▶ recorder: one transaction for all that wait ──post──▶ worker
 *                      └── reads with a connection of its own, opens ───────────────────post──▶ worker
 *
 * Workers neither wait nor lock: a job is posted, and comes back to the loop that sent it, exactly once, after the commit. So
 * what was told to be kept is on the disk, and whoever asks for it next finds it. What waits to be written is bounded; a job
 * above that comes back at once with MG_E_AGAIN. The keeper also forgets what is too old, once a minute. */
#ifndef MG_GATEWAY_KEEPER_H
#define MG_GATEWAY_KEEPER_H

#include "chat/response_items.h"
#include "io/loop.h"
#include "store/recorder.h"
#include "store/responses.h"
#include "vault/desk.h"

struct mg_keeper;

enum mg_keep_kind {
    MG_KEEP_PUT,
    MG_KEEP_FIND,                      /* one response */
    MG_KEEP_CHAIN,                     /* and all before it */
    MG_KEEP_ITEMS,                     /* items of any, by their ids */
    MG_KEEP_DELETE
};

/* The worker's from mg_keep_job_new() until it is posted, and again when `done` runs. */
struct mg_keep_job {
    struct mg_post post;
    struct mg_list link;               /* the keeper's */
    struct mg_loop *home;              /* whose loop it comes back to */
    unsigned *owed;                    /* of the worker: how many jobs are out; its thread only */
    struct mg_keeper *keeper;
    struct mg_arena arena;             /* owns the views; the job's */
    enum mg_keep_kind kind;
    mg_view project, owner, id;        /* owner empty: any of the project */
    mg_view document;                  /* PUT: {"input":…,"response":…} */
    int64_t parent;                    /* PUT: seq of the response it follows; 0: none */
    struct mg_response_limits limits;  /* PUT */
    int64_t max_bytes;                 /* CHAIN: of all contents */
    struct mg_item_reference *references;        /* ITEMS: filled; `id` of the first that is not found becomes the job's */
    size_t reference_count;
    /* results */
    mg_err err;                        /* as of store/responses.h; MG_E_AGAIN: there is too much to do; MG_E_STORE, MG_E_DENIED: it
                                          cannot be read */
    int64_t seq;                       /* FIND, CHAIN: of the response asked for */
    struct mg_kept *kept;              /* likewise; the first response first */
    size_t kept_count;
    /* private to the keeper */
    mg_view sealed;
    mg_view *items;
    size_t item_count;
    uint64_t created_us;
    void (*done)(void *arg, struct mg_keep_job *job);
    void *arg;                         /* NULL: nobody waits for it any more */
};

struct mg_keeper_options {
    const char *data_dir;
    struct mg_recorder *recorder;      /* borrowed; outlives the keeper */
    struct mg_desk *desk;              /* likewise; NULL: nothing is encrypted */
};

MG_MUST_USE mg_err mg_keeper_start(const struct mg_keeper_options *options, struct mg_keeper **out_keeper, struct mg_diag *diag);
/* After the workers, which have had their jobs back. NULL is a no-op. */
void mg_keeper_stop(struct mg_keeper *keeper);

/* Of the worker that runs on `home`. Fill in the rest with views into its arena. */
struct mg_keep_job *mg_keep_job_new(struct mg_keeper *keeper, struct mg_loop *home, unsigned *owed, enum mg_keep_kind kind);
/* done(arg, job) is called on the job's loop, and the job is freed after it. */
void mg_keep_job_post(struct mg_keep_job *job, void (*done)(void *arg, struct mg_keep_job *job), void *arg);
/* `done` is not called; what was asked for is done all the same. NULL is a no-op. */
void mg_keep_job_abandon(struct mg_keep_job *job);

struct mg_keeper_stats {
    uint64_t kept, deleted, found;     /* since start */
    uint64_t lost;                     /* was to be kept and could not be */
    uint64_t forgotten;                /* too old, or room for others */
    uint64_t waiting_bytes;            /* on their way into the store */
};
void mg_keeper_stats(const struct mg_keeper *keeper, struct mg_keeper_stats *out_stats);       /* any thread */

#endif
