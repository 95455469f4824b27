#include "gateway/keeper.h"

#include <stdio.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/map.h"
#include "base/mem.h"
#include "http/json_members.h"
#include "http/json_scan.h"
#include "store/folder.h"

enum { SWEEP_MS = 60000, SWEEP_THREADS = 256, COMPLAIN_EVERY = 256 };

struct mg_keeper {
    struct mg_keeper_options options;
    struct mg_loop loop;
    uv_thread_t thread;
    struct mg_db *db;                  /* reads; NULL: not open */
    struct mg_map keys;                /* project → struct mg_seal_key, one reference each */
    struct mg_list waiting;            /* jobs that write, for the next transaction */
    struct mg_list writing;            /* those of the one that runs; the recorder's meanwhile */
    bool busy;                         /* … which there is */
    bool sweeping;                     /* … or a sweep waits for its turn */
    bool ending;
    struct mg_post written;            /* the recorder is done */
    struct mg_post end;
    struct mg_timer sweep;
    unsigned complaints;
    _Atomic uint64_t waiting_bytes, kept, deleted, found, lost, forgotten;
};

static void on_written(struct mg_post *post);
static void write_next(struct mg_keeper *keeper);
static void on_sweep(struct mg_timer *timer);

static void add(_Atomic uint64_t *counter, uint64_t n)
{
    atomic_fetch_add_explicit(counter, n, memory_order_relaxed);
}

/* ---- jobs -------------------------------------------------------------------------------------- */

struct mg_keep_job *mg_keep_job_new(struct mg_keeper *keeper, struct mg_loop *home, unsigned *owed, enum mg_keep_kind kind)
{
    struct mg_keep_job *job = mg_new(struct mg_keep_job);
    mg_arena_init(&job->arena, 1024);
    mg_list_init(&job->link);
    job->keeper = keeper;
    job->home = home;
    job->owed = owed;
    job->kind = kind;
    return job;
}

/* On the worker. */
static void on_home(struct mg_post *post)
{
    struct mg_keep_job *job = mg_container_of(post, struct mg_keep_job, post);
    (*job->owed)--;
    if (job->arg)
        job->done(job->arg, job);
    mg_arena_fini(&job->arena);
    mg_free(job);
}

static void go_home(struct mg_keep_job *job)
{
    job->post.run = on_home;
    mg_loop_post(job->home, &job->post);
}

static bool writes(const struct mg_keep_job *job)
{
    return job->kind == MG_KEEP_PUT || job->kind == MG_KEEP_DELETE;
}

void mg_keep_job_abandon(struct mg_keep_job *job)
{
    if (job)
        job->arg = NULL;
}

/* ---- keys -------------------------------------------------------------------------------------- */

/* Of the job's project; NULL: nothing is encrypted. */
static mg_err key_of(const struct mg_keep_job *job, struct mg_seal_key **out_key)
{
    struct mg_keeper *keeper = job->keeper;
    struct mg_diag diag = {.line = 0};
    mg_view project = job->project;
    *out_key = mg_map_get(&keeper->keys, project);
    if (*out_key || !keeper->options.desk)
        return MG_OK;
    mg_err err = mg_desk_data_key(keeper->options.desk, project, out_key, &diag);
    if (err == MG_OK)
        mg_map_put(&keeper->keys, project, *out_key);
    else
        mg_log_error("responses.no_key", "project=%.*s reason=\"%s\"", MG_FMT(project), diag.text);
    return err;
}

/* A response that is moved to another project, id or time does not open; nor does a secret that is put here. */
static struct mg_seal_place place_of(struct mg_keep_job *job, mg_view id, uint64_t created_us)
{
    return (struct mg_seal_place){job->project, mg_arena_printf(&job->arena, "response/%.*s", MG_FMT(id)), created_us};
}

/* Ids of what was answered, so that it can be named. */
static void list_items(struct mg_keep_job *job)
{
    struct mg_json_member m;
    mg_view output = mg_json_member(mg_json_member(job->document, MG_VIEW("response")), MG_VIEW("output"));
    for (size_t at = 0; job->item_count < MG_MAX_RESPONSE_ITEMS && mg_json_next_member(output, &at, &m);) {
        mg_view id = mg_json_plain(mg_json_member(m.value, MG_VIEW("id")));
        if (!id.len || id.len > MG_MAX_RESPONSE_ID_BYTES)
            continue;
        if (!job->items)
            job->items = mg_arena_array(&job->arena, mg_view, MG_MAX_RESPONSE_ITEMS);
        job->items[job->item_count++] = id;
    }
}

static mg_err seal(struct mg_keep_job *job)
{
    struct mg_seal_key *key;
    struct mg_buf out;
    MG_TRY(mg_json_scan(job->document, NULL, NULL, NULL, NULL));     /* a plugin may have answered with anything */
    MG_TRY(key_of(job, &key));
    job->created_us = mg_wall_us();
    job->sealed = job->document;
    list_items(job);
    if (!key)
        return MG_OK;
    struct mg_seal_place place = place_of(job, job->id, job->created_us);
    mg_buf_init(&out, job->document.len + MG_SEAL_EXTRA_BYTES);
    mg_err err = mg_seal_text(key, &place, job->document, &out);
    if (err == MG_OK)
        job->sealed = mg_arena_dup(&job->arena, mg_buf_view(&out));
    mg_buf_fini(&out);
    return err;
}

static mg_err open_link(struct mg_keep_job *job, struct mg_seal_key *key, const struct mg_response_link *link, struct mg_kept *out)
{
    struct mg_buf text;
    struct mg_seal_place place = place_of(job, link->id, link->created_us);
    mg_buf_init(&text, link->sealed.len + 1);
    mg_err err = key ? mg_unseal_text(key, &place, link->sealed, &text) : mg_buf_put(&text, link->sealed);
    mg_view document = err == MG_OK ? mg_arena_dup(&job->arena, mg_buf_view(&text)) : MG_VIEW_NONE;
    mg_buf_fini(&text);
    MG_TRY(err);
    *out = (struct mg_kept){link->id, mg_json_member(document, MG_VIEW("input")), mg_json_member(document, MG_VIEW("response")),
                            link->created_us};
    return out->input.len && out->response.len ? MG_OK : MG_E_DENIED;
}

/* ---- reading ----------------------------------------------------------------------------------- */

/* A file that was replaced is opened anew. */
static mg_err have_db(struct mg_keeper *keeper)
{
    char path[MG_FOLDER_PATH_BYTES];
    struct mg_diag diag;
    if (keeper->db && mg_db_check(keeper->db, &diag) == MG_OK)
        return MG_OK;
    mg_db_close(keeper->db);
    keeper->db = NULL;
    MG_TRY(mg_folder_path(keeper->options.data_dir, "moongate.db", path));
    return mg_db_open(path, MG_DB_READ, &keeper->db, &diag);
}

static mg_err open_chain(struct mg_keep_job *job, const struct mg_response_chain *chain)
{
    struct mg_seal_key *key;
    MG_TRY(key_of(job, &key));
    job->kept = mg_arena_array(&job->arena, struct mg_kept, chain->count);
    job->kept_count = chain->count;
    job->seq = chain->links[chain->count - 1].seq;
    for (size_t i = 0; i < chain->count; i++)
        MG_TRY(open_link(job, key, &chain->links[i], &job->kept[i]));
    return MG_OK;
}

/* Neighbours are mostly of one response, which is opened once. */
static mg_err find_items(struct mg_keep_job *job)
{
    struct mg_response_link link;
    struct mg_seal_key *key;
    struct mg_kept kept = {0};
    MG_TRY(key_of(job, &key));
    MG_TRY(have_db(job->keeper));
    for (size_t i = 0; i < job->reference_count; i++) {
        struct mg_item_reference *reference = &job->references[i];
        job->id = reference->id;
        reference->item = mg_items_find(kept.response, reference->id);
        if (!reference->item.len) {
            MG_TRY(mg_responses_find_item(job->keeper->db, &job->arena, job->project, job->owner, reference->id, mg_wall_us(), &link));
            MG_TRY(open_link(job, key, &link, &kept));
            reference->item = mg_items_find(kept.response, reference->id);
        }
        reference->response_id = kept.id;
        job->max_bytes -= (int64_t)reference->item.len;
        if (!reference->item.len || job->max_bytes < 0)
            return job->max_bytes < 0 ? MG_E_TOO_LARGE : MG_E_NOT_FOUND;
    }
    return MG_OK;
}

static mg_err find(struct mg_keep_job *job)
{
    struct mg_response_chain chain;
    if (job->kind == MG_KEEP_ITEMS)
        return find_items(job);
    bool whole = job->kind == MG_KEEP_CHAIN;
    MG_TRY(have_db(job->keeper));
    MG_TRY(mg_responses_find(job->keeper->db, &job->arena, job->project, job->owner, job->id, whole, whole ? job->max_bytes : INT64_MAX,
                             mg_wall_us(), &chain));
    mg_err err = open_chain(job, &chain);
    if (err == MG_E_DENIED)
        mg_log_error("responses.broken", "project=%.*s id=%.*s its row, or one before it, was changed or moved here",
                     MG_FMT(job->project), MG_FMT(job->id));
    add(&job->keeper->found, err == MG_OK);
    return err;
}

/* ---- writing ----------------------------------------------------------------------------------- */

static void complain(struct mg_keeper *keeper, const struct mg_keep_job *job)
{
    add(&keeper->lost, 1);
    if (keeper->complaints++ % COMPLAIN_EVERY == 0)
        mg_log_warn("responses.lost", "project=%.*s bytes=%zu reason=\"%s\" lost=%llu clients cannot go on from these responses",
                    MG_FMT(job->project), job->document.len, mg_err_text(job->err),
                    (unsigned long long)atomic_load_explicit(&keeper->lost, memory_order_relaxed));
}

/* One that does not fit is no reason to lose the others; a store that fails undoes them all. */
static mg_err write_job(struct mg_keep_job *job, struct mg_db *db, uint64_t *gone)
{
    uint64_t now_us = mg_wall_us(), made_room = 0;
    if (job->err != MG_OK)
        return MG_OK;                  /* it could not be sealed */
    if (job->kind == MG_KEEP_DELETE) {
        job->err = mg_responses_delete(db, job->project, job->owner, job->id, now_us);
        return job->err == MG_E_NOT_FOUND ? MG_OK : job->err;
    }
    struct mg_response_row row = {job->project, job->id, job->owner, job->parent, job->created_us, job->sealed, job->items, job->item_count};
    job->err = mg_responses_put(db, &row, &job->limits, now_us, &made_room);
    *gone += made_room;
    return job->err == MG_E_TOO_LARGE ? MG_OK : job->err;
}

/* On the recorder's thread. */
static mg_err write_all(void *arg, struct mg_db *db)
{
    struct mg_keeper *keeper = arg;
    uint64_t gone = 0;
    bool more = false;
    MG_LIST_EACH(link, next, &keeper->writing)
        MG_TRY(write_job(mg_container_of(link, struct mg_keep_job, link), db, &gone));
    uint64_t swept = 0;
    if (keeper->sweeping)
        MG_TRY(mg_responses_sweep(db, mg_wall_us(), SWEEP_THREADS, &swept, &more));
    keeper->sweeping = more;
    add(&keeper->forgotten, gone + swept);
    return MG_OK;
}

static void end_job(struct mg_keeper *keeper, struct mg_keep_job *job, mg_err result)
{
    if (result != MG_OK && (job->err == MG_OK || job->err == MG_E_NOT_FOUND))
        job->err = result;             /* of the transaction */
    if (job->kind == MG_KEEP_DELETE)
        add(&keeper->deleted, job->err == MG_OK);
    else if (job->err == MG_OK)
        add(&keeper->kept, 1);
    else
        complain(keeper, job);
    atomic_fetch_sub_explicit(&keeper->waiting_bytes, job->document.len, memory_order_relaxed);
    go_home(job);
}

/* On the recorder's thread, after the commit. */
static void on_commit(void *arg, mg_err result)
{
    struct mg_keeper *keeper = arg;
    for (struct mg_list *link; (link = mg_list_pop_front(&keeper->writing));)
        end_job(keeper, mg_container_of(link, struct mg_keep_job, link), result);
    keeper->sweeping = keeper->sweeping && result == MG_OK; /* a store that fails is swept at the next turn, not at once */
    keeper->written.run = on_written;
    mg_loop_post(&keeper->loop, &keeper->written);
}

static void on_written(struct mg_post *post)
{
    struct mg_keeper *keeper = mg_container_of(post, struct mg_keeper, written);
    keeper->busy = false;
    write_next(keeper);
}

static void end_if_idle(struct mg_keeper *keeper)
{
    if (!keeper->ending || keeper->busy)
        return;
    mg_timer_cancel(&keeper->loop, &keeper->sweep);
    mg_loop_stop(&keeper->loop);
}

/* All that came while the last transaction ran is one transaction. */
static void write_next(struct mg_keeper *keeper)
{
    if (!keeper->busy && (!mg_list_empty(&keeper->waiting) || (keeper->sweeping && !keeper->ending))) {
        for (struct mg_list *link; (link = mg_list_pop_front(&keeper->waiting));)
            mg_list_push_back(&keeper->writing, link);
        keeper->busy = true;
        mg_recorder_write(keeper->options.recorder, write_all, on_commit, keeper);
    }
    end_if_idle(keeper);
}

static void on_sweep(struct mg_timer *timer)
{
    struct mg_keeper *keeper = mg_container_of(timer, struct mg_keeper, sweep);
    if (!keeper->busy)                 /* it is the recorder's while that writes */
        keeper->sweeping = true;
    mg_timer_start(&keeper->loop, timer, keeper->busy ? 1000 : SWEEP_MS, on_sweep);
    write_next(keeper);
}

/* ---- the thread -------------------------------------------------------------------------------- */

/* A sweep that waits in the loop is not the recorder's: nothing here touches `writing` while it is busy. */
static void on_job(struct mg_post *post)
{
    struct mg_keep_job *job = mg_container_of(post, struct mg_keep_job, post);
    struct mg_keeper *keeper = job->keeper;
    if (!writes(job)) {
        job->err = find(job);
        go_home(job);
        return;
    }
    job->err = job->kind == MG_KEEP_PUT ? seal(job) : MG_OK;
    mg_list_push_back(&keeper->waiting, &job->link);
    write_next(keeper);
}

void mg_keep_job_post(struct mg_keep_job *job, void (*done)(void *arg, struct mg_keep_job *job), void *arg)
{
    struct mg_keeper *keeper = job->keeper;
    job->done = done;
    job->arg = arg;
    (*job->owed)++;
    uint64_t before = atomic_fetch_add_explicit(&keeper->waiting_bytes, job->document.len, memory_order_relaxed);
    if (job->document.len && before + job->document.len > MG_MAX_RESPONSE_QUEUE_BYTES) {
        atomic_fetch_sub_explicit(&keeper->waiting_bytes, job->document.len, memory_order_relaxed);
        add(&keeper->lost, 1);
        job->err = MG_E_AGAIN;
        go_home(job);
        return;
    }
    job->post.run = on_job;
    mg_loop_post(&keeper->loop, &job->post);
}

static void run(void *arg)
{
    struct mg_keeper *keeper = arg;
    mg_timer_start(&keeper->loop, &keeper->sweep, 1000, on_sweep);
    mg_loop_run(&keeper->loop);
}

mg_err mg_keeper_start(const struct mg_keeper_options *options, struct mg_keeper **out_keeper, struct mg_diag *diag)
{
    struct mg_keeper *keeper = mg_new(struct mg_keeper);
    keeper->options = *options;
    mg_map_init(&keeper->keys);
    mg_list_init(&keeper->waiting);
    mg_list_init(&keeper->writing);
    mg_loop_init(&keeper->loop);
    if (uv_thread_create(&keeper->thread, run, keeper) != 0) {
        mg_loop_fini(&keeper->loop);
        mg_map_fini(&keeper->keys);
        mg_free(keeper);
        return mg_diag_set(diag, MG_E_SYSTEM, NULL, 0, "no thread could be started for kept responses");
    }
    *out_keeper = keeper;
    return MG_OK;
}

static void on_end(struct mg_post *post)
{
    struct mg_keeper *keeper = mg_container_of(post, struct mg_keeper, end);
    keeper->ending = true;
    end_if_idle(keeper);
}

void mg_keeper_stop(struct mg_keeper *keeper)
{
    mg_view project;
    void *key;
    if (!keeper)
        return;
    keeper->end.run = on_end;
    mg_loop_post(&keeper->loop, &keeper->end);
    uv_thread_join(&keeper->thread);
    mg_loop_fini(&keeper->loop);
    mg_db_close(keeper->db);
    for (size_t at = 0; mg_map_next(&keeper->keys, &at, &project, &key);)
        mg_seal_key_unref(key);
    mg_map_fini(&keeper->keys);
    mg_free(keeper);
}

void mg_keeper_stats(const struct mg_keeper *keeper, struct mg_keeper_stats *out_stats)
{
    *out_stats = (struct mg_keeper_stats){
        .kept = atomic_load_explicit(&keeper->kept, memory_order_relaxed),
        .deleted = atomic_load_explicit(&keeper->deleted, memory_order_relaxed),
        .found = atomic_load_explicit(&keeper->found, memory_order_relaxed),
        .lost = atomic_load_explicit(&keeper->lost, memory_order_relaxed),
        .forgotten = atomic_load_explicit(&keeper->forgotten, memory_order_relaxed),
        .waiting_bytes = atomic_load_explicit(&keeper->waiting_bytes, memory_order_relaxed),
    };
}
