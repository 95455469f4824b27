#include "gateway/worker.h"

#include <assert.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "gateway/exchange.h"
#include "meter/record.h"

enum { SCRATCH_BYTES = 262144, LAST_BYTES_MS = 5000 };

/* ---- what others post ------------------------------------------------------------------------ */

struct post {
    struct mg_post post;
    struct mg_worker *worker;
    struct mg_ack *ack;                /* NULL: nobody waits */
    int fd;
    struct mg_tls_context *tls;
    struct mg_generation *generation;
    struct mg_script *script;
    struct mg_keyring *keyring;
    struct mg_switches *switches;
    uint32_t project;
};

static struct post *new_post(struct mg_worker *worker, struct mg_ack *ack, void (*run)(struct mg_post *post))
{
    struct post *post = mg_new(struct post);
    post->worker = worker;
    post->ack = ack;
    post->post.run = run;
    return post;
}

static void acknowledge(struct post *post)
{
    struct mg_ack *ack = post->ack;
    mg_free(post);
    if (ack && atomic_fetch_sub(&ack->left, 1) == 1)
        ack->done(ack);
}

/* ---- live generations ------------------------------------------------------------------------ */

static void live_free(struct mg_live *live)
{
    mg_list_remove(&live->link);
    mg_live_drop_plans(live);
    mg_script_free(live->script);
    mg_generation_unref(live->generation);
    mg_free(live);
}

void mg_live_enter(struct mg_live *live)
{
    live->in_flight++;
}

static void report_taint(struct mg_worker *worker, struct mg_live *live)
{
    live->tainted = true;
    if (worker->on_tainted)
        worker->on_tainted(worker->on_tainted_arg, live->generation->project);
}

void mg_live_leave(struct mg_worker *worker, struct mg_live *live)
{
    assert(live->in_flight > 0);
    if (live->script && !live->tainted && !live->retired && mg_script_tainted(live->script))
        report_taint(worker, live);
    if (--live->in_flight == 0 && live->retired)
        live_free(live);
}

static void retire(struct mg_live *live)
{
    if (!live)
        return;
    live->retired = true;
    if (live->in_flight == 0)
        live_free(live);
}

/* Plugins are told, the rest looks at `off`. */
static void obey_switches(struct mg_worker *worker, struct mg_live *live)
{
    live->off = mg_switches_of(worker->switches, mg_view_cstr(live->generation->config->name));
    if (live->script)
        mg_script_set_switches(live->script, live->off);
}

/* What one exchange of the project has to find room for, whichever workflow it names. */
static size_t record_bytes(const struct mg_config_project *config)
{
    uint32_t attempts = config->allow_direct ? config->direct_max_attempts : 0;
    for (int i = 0; i < config->workflow_count; i++)
        attempts = MG_MAX(attempts, config->workflows[i].max_attempts);
    return mg_record_worst_case(attempts) + mg_record_metadata_room(MG_MAX_METADATA_BYTES);
}

static struct mg_live *live_new(struct mg_worker *worker, struct mg_generation *generation, struct mg_script *script)
{
    struct mg_live *live = mg_new(struct mg_live);
    live->generation = generation;
    live->script = script;
    live->share = mg_fair_share(&worker->fair, mg_view_cstr(generation->config->name));
    live->share->record_bytes = record_bytes(generation->config);
    live->policy = script ? &mg_script_policy : &mg_trusted_policy;
    live->policy_arg = script ? (void *)script : (void *)worker->trusted;
    if (script)
        mg_script_attach(script, &worker->loop, worker->trusted);
    mg_list_push_back(&worker->lives, &live->link);
    obey_switches(worker, live);
    return live;
}

static void fit_project(struct mg_worker *worker, uint32_t project)
{
    if (project < worker->project_cap)
        return;
    uint32_t cap = MG_MAX(project + 1, worker->project_cap * 2 + 8);
    worker->projects = mg_realloc(worker->projects, cap * sizeof *worker->projects);
    memset(worker->projects + worker->project_cap, 0, (cap - worker->project_cap) * sizeof *worker->projects);
    worker->project_cap = cap;
}

struct mg_live *mg_worker_project(struct mg_worker *worker, mg_view name)
{
    return mg_map_get(&worker->project_names, name);
}

static void on_install(struct mg_post *mail)
{
    struct post *post = mg_container_of(mail, struct post, post);
    struct mg_worker *worker = post->worker;
    struct mg_generation *generation = post->generation;
    fit_project(worker, generation->project);
    struct mg_live *before = worker->projects[generation->project];
    struct mg_live *live = live_new(worker, generation, post->script);
    worker->projects[generation->project] = live;
    mg_map_put(&worker->project_names, mg_view_cstr(generation->config->name), live);
    retire(before);
    acknowledge(post);
}

void mg_worker_install(struct mg_worker *worker, struct mg_generation *generation, struct mg_script *script,
                       struct mg_ack *ack)
{
    struct post *post = new_post(worker, ack, on_install);
    post->generation = generation;
    post->script = script;
    mg_loop_post(&worker->loop, &post->post);
}

static void on_remove(struct mg_post *mail)
{
    struct post *post = mg_container_of(mail, struct post, post);
    struct mg_worker *worker = post->worker;
    struct mg_live *live = post->project < worker->project_cap ? worker->projects[post->project] : NULL;
    if (live) {
        mg_map_remove(&worker->project_names, mg_view_cstr(live->generation->config->name));
        worker->projects[post->project] = NULL;
        retire(live);
    }
    acknowledge(post);
}

void mg_worker_remove(struct mg_worker *worker, uint32_t project, struct mg_ack *ack)
{
    struct post *post = new_post(worker, ack, on_remove);
    post->project = project;
    mg_loop_post(&worker->loop, &post->post);
}

static void on_keyring(struct mg_post *mail)
{
    struct post *post = mg_container_of(mail, struct post, post);
    mg_keyring_unref(post->worker->keyring);
    post->worker->keyring = post->keyring;
    post->worker->keyring_number++;
    acknowledge(post);
}

void mg_worker_set_keyring(struct mg_worker *worker, struct mg_keyring *keyring, struct mg_ack *ack)
{
    struct post *post = new_post(worker, ack, on_keyring);
    post->keyring = keyring;
    mg_loop_post(&worker->loop, &post->post);
}

static void on_switches(struct mg_post *mail)
{
    struct post *post = mg_container_of(mail, struct post, post);
    struct mg_worker *worker = post->worker;
    struct mg_switches *before = worker->switches;
    worker->switches = post->switches;
    MG_LIST_EACH(link, next, &worker->lives)
        obey_switches(worker, mg_container_of(link, struct mg_live, link));
    mg_switches_unref(before);
    acknowledge(post);
}

void mg_worker_set_switches(struct mg_worker *worker, struct mg_switches *switches, struct mg_ack *ack)
{
    struct post *post = new_post(worker, ack, on_switches);
    post->switches = switches;
    mg_loop_post(&worker->loop, &post->post);
}

/* ---- connections ----------------------------------------------------------------------------- */

static void on_take(struct mg_post *mail)
{
    struct post *post = mg_container_of(mail, struct post, post);
    if (post->worker->draining) {
        close(post->fd);
        atomic_fetch_sub_explicit(&post->worker->connections, 1, memory_order_relaxed);
    } else {
        mg_client_accept(post->worker, post->fd, post->tls);
    }
    mg_tls_unref(post->tls);
    acknowledge(post);
}

void mg_worker_take(struct mg_worker *worker, int fd, struct mg_tls_context *tls)
{
    struct post *post = new_post(worker, NULL, on_take);
    post->fd = fd;
    post->tls = mg_tls_ref(tls);
    atomic_fetch_add_explicit(&worker->connections, 1, memory_order_relaxed);
    mg_loop_post(&worker->loop, &post->post);
}

static void on_drain(struct mg_post *mail)
{
    struct post *post = mg_container_of(mail, struct post, post);
    struct mg_worker *worker = post->worker;
    worker->draining = true;
    MG_LIST_EACH(link, next, &worker->clients)
        mg_client_drain(mg_container_of(link, struct mg_client, link));
    acknowledge(post);
}

void mg_worker_drain(struct mg_worker *worker)
{
    struct post *post = new_post(worker, NULL, on_drain);
    mg_loop_post(&worker->loop, &post->post);
}

/* ---- the thread ------------------------------------------------------------------------------ */

static void on_stop(struct mg_post *mail)
{
    struct post *post = mg_container_of(mail, struct post, post);
    struct mg_worker *worker = post->worker;
    worker->draining = true;
    MG_LIST_EACH(link, next, &worker->clients)
        mg_client_close(mg_container_of(link, struct mg_client, link));
    mg_loop_stop(&worker->loop);
    acknowledge(post);
}

static void free_exchanges(struct mg_worker *worker)
{
    struct mg_list *link;
    while ((link = mg_list_pop_front(&worker->idle_exchanges)))
        mg_exchange_free(mg_container_of(link, struct mg_exchange, link));
}

/* Answers that are complete may leave; a client that does not take them holds nobody up. */
static void end_clients(struct mg_worker *worker)
{
    uint64_t until_us = mg_mono_us() + LAST_BYTES_MS * 1000;
    while (!mg_list_empty(&worker->clients)) {
        mg_loop_turn(&worker->loop, 10);
        if (mg_mono_us() < until_us)
            continue;
        MG_LIST_EACH(link, next, &worker->clients)
            mg_client_cut(mg_container_of(link, struct mg_client, link));
    }
}

/* Everything is closed on the worker's own thread, so that what belongs to its loop never meets another. The loop itself
 * ends after the thread: who posted the order to stop may still be waking it. */
static void close_down(struct mg_worker *worker)
{
    end_clients(worker);
    while (worker->keeping > 0)
        mg_loop_turn(&worker->loop, 10);         /* each comes back: the keeper outlives its workers */
    mg_loop_turn(&worker->loop, 0);    /* exchanges that ended with them are recycled */
    for (uint32_t i = 0; i < worker->project_cap; i++)
        retire(worker->projects[i]);
    mg_free(worker->projects);
    worker->projects = NULL;
    worker->project_cap = 0;
    mg_map_fini(&worker->project_names);
    free_exchanges(worker);
    mg_fair_fini(&worker->fair);
    mg_keyring_unref(worker->keyring);
    mg_switches_unref(worker->switches);
    mg_trusted_free(worker->trusted);
    mg_pool_fini(&worker->pool);
    mg_buf_fini(&worker->scratch);
}

static void run(void *arg)
{
    struct mg_worker *worker = arg;
    mg_loop_run(&worker->loop);
    close_down(worker);
}

static void take_limits(struct mg_worker *worker)
{
    worker->http_limits = mg_http_limits_default;
    worker->http_limits.header_bytes = worker->config->limits.header_bytes;
    worker->http_limits.body_bytes = MG_MAX(worker->config->limits.body_bytes, worker->config->limits.upload_bytes);
}

mg_err mg_worker_start(struct mg_worker *worker, unsigned index, const struct mg_config_gateway *config,
                       struct mg_journal *journal, struct mg_metrics *metrics, struct mg_diag *diag)
{
    *worker = (struct mg_worker){.index = index, .config = config, .journal = journal, .metrics = metrics};
    MG_TRY(mg_trusted_new(&worker->trusted, diag));
    worker->translator = (struct mg_translator){&mg_trusted_translator, worker->trusted};
    take_limits(worker);
    mg_loop_init(&worker->loop);
    worker->loop.owner = worker;
    mg_pool_init(&worker->pool, &worker->loop);
    mg_map_init(&worker->project_names);
    mg_fair_init(&worker->fair, &config->overload, &worker->loop, journal);
    mg_list_init(&worker->lives);
    mg_list_init(&worker->clients);
    mg_list_init(&worker->idle_exchanges);
    mg_buf_init(&worker->scratch, SCRATCH_BYTES);
    uv_thread_options_t options = {.flags = UV_THREAD_HAS_STACK_SIZE, .stack_size = MG_MAX_LUA_STACK_BYTES};
    if (uv_thread_create_ex(&worker->thread, &options, run, worker) != 0) {
        close_down(worker);
        mg_loop_fini(&worker->loop);
        return mg_diag_set(diag, MG_E_SYSTEM, NULL, 0, "worker %u: no thread could be started", index);
    }
    return MG_OK;
}

void mg_worker_stop(struct mg_worker *worker)
{
    struct post *post = new_post(worker, NULL, on_stop);
    mg_loop_post(&worker->loop, &post->post);
    uv_thread_join(&worker->thread);
    mg_loop_fini(&worker->loop);
}
