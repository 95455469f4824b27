#include "sim/sim.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/mem.h"
#include "sim/sim_parts.h"
#include "sim/wire.h"

static void stop_and_free(struct mg_sim *sim, bool has_thread);
static void run(void *arg);
static void dispatch(void *arg, struct mg_service_call *call);
static void on_stop(struct mg_post *post);
static void on_stopped(void *arg);
static void on_configure(struct mg_post *post);
static void configure_phases(struct mg_sim *sim);
static void remember(struct mg_sim *sim, const struct mg_service_call *call);
static mg_err put_last(const struct mg_http_request *request, struct mg_buf *out);
static mg_err put_quoted(struct mg_buf *out, mg_view text);
static void forget(struct mg_sim *sim);
static mg_err put_stats(struct mg_sim *sim, struct mg_buf *out);
static mg_err put_figures(const struct mg_sim_figures *figures, bool first, struct mg_buf *out);
static mg_err put_models(struct mg_sim *sim, struct mg_buf *out);
static mg_err put_model(mg_view id, struct mg_buf *out);
static void answer_model(struct mg_sim *sim, struct mg_service_call *call, mg_view id);
static void answer_json(struct mg_service_call *call, mg_err err, const struct mg_buf *body);

/* What can be asked for, under an optional /v1. */
struct route {
    enum mg_http_method method;
    const char *path;
    void (*fn)(struct mg_sim *sim, struct mg_service_call *call);
};

static void chat(struct mg_sim *sim, struct mg_service_call *call);
static void completions(struct mg_sim *sim, struct mg_service_call *call);
static void embeddings(struct mg_sim *sim, struct mg_service_call *call);
static void models(struct mg_sim *sim, struct mg_service_call *call);
static void stats(struct mg_sim *sim, struct mg_service_call *call);
static void reset_stats(struct mg_sim *sim, struct mg_service_call *call);
static void last(struct mg_sim *sim, struct mg_service_call *call);
static void last_body(struct mg_sim *sim, struct mg_service_call *call);
static void phases(struct mg_sim *sim, struct mg_service_call *call);
static void post_phase(struct mg_sim *sim, struct mg_service_call *call);
static void drop_phases(struct mg_sim *sim, struct mg_service_call *call);

static const struct route routes[] = {
    {MG_HTTP_POST, "/chat/completions", chat},
    {MG_HTTP_POST, "/completions", completions},
    {MG_HTTP_POST, "/embeddings", embeddings},
    {MG_HTTP_GET, "/models", models},
    {MG_HTTP_GET, "/_sim/stats", stats},
    {MG_HTTP_DELETE, "/_sim/stats", reset_stats},
    {MG_HTTP_GET, "/_sim/last", last},
    {MG_HTTP_GET, "/_sim/last/body", last_body},
    {MG_HTTP_GET, "/_sim/phase", phases},
    {MG_HTTP_POST, "/_sim/phase", post_phase},
    {MG_HTTP_DELETE, "/_sim/phase", drop_phases},
};

mg_err mg_sim_start(const struct mg_sim_options *options, struct mg_sim **out_sim,
                    struct mg_diag *diag)
{
    struct mg_sim *sim = mg_new(struct mg_sim);
    struct mg_service_options service = {
        .listen = {.host = options->host ? options->host : "127.0.0.1",
                   .port = options->port,
                   .backlog = 4096},
        .tls = options->tls,
        .body_bytes = MG_MAX_BODY_BYTES,
        .connections = MG_MAX_CLIENT_CONNECTIONS,
        .fn = dispatch,
        .arg = sim,
    };
    mg_loop_init(&sim->loop);
    mg_err err = mg_service_start(&sim->service, &sim->loop, &service, diag);
    if (err != MG_OK) {
        mg_loop_fini(&sim->loop);
        mg_free(sim);
        return err;
    }
    sim->reader = mg_sim_reader_new();
    sim->models = mg_sim_models_new(options->models, options->model_count);
    sim->phases = mg_sim_phases_new();
    mg_sim_phases_configure(sim->phases, options->models, options->model_count, mg_mono_us());
    sim->otherwise = options->otherwise;
    sim->random = mg_wall_us() ^ (uint64_t)(uintptr_t)sim;
    mg_map_init(&sim->figures);
    mg_list_init(&sim->by_age);
    mg_buf_init(&sim->last_head, 2 * MG_MAX_HEADER_BYTES + 16384);
    mg_buf_init(&sim->last_body, MG_MAX_BODY_BYTES);
    mg_buf_init(&sim->scratch, MG_MAX_RESPONSE_BODY_BYTES);
    if (uv_thread_create(&sim->thread, run, sim) != 0) {
        stop_and_free(sim, false);
        return mg_diag_set(diag, MG_E_SYSTEM, NULL, 0, "no thread for a simulated provider: %s",
                           strerror(errno));
    }
    *out_sim = sim;
    return MG_OK;
}

struct configure {
    struct mg_post post;
    struct mg_sim *sim;
    struct mg_sim_models *models; /* given away */
};

void mg_sim_configure(struct mg_sim *sim, const struct mg_config_sim_model *list, int model_count)
{
    struct configure *message = mg_new(struct configure);
    message->sim = sim;
    message->models = mg_sim_models_new(list, model_count);
    message->post.run = on_configure;
    mg_loop_post(&sim->loop, &message->post);
}

struct stop {
    struct mg_post post;
    struct mg_sim *sim;
};

void mg_sim_stop(struct mg_sim *sim)
{
    if (sim)
        stop_and_free(sim, true);
}

/* Without a thread of its own the loop ends on this one. */
static void stop_and_free(struct mg_sim *sim, bool has_thread)
{
    struct stop message = {.post.run = on_stop, .sim = sim};
    mg_loop_post(&sim->loop, &message.post);
    if (has_thread)
        uv_thread_join(&sim->thread);
    else
        mg_loop_run(&sim->loop);
    mg_loop_fini(&sim->loop);
    for (struct mg_list *item; (item = mg_list_pop_front(&sim->by_age));)
        mg_free(mg_container_of(item, struct mg_sim_figures, link));
    mg_map_fini(&sim->figures);
    mg_sim_reader_free(sim->reader);
    mg_sim_models_free(sim->models);
    mg_sim_phases_free(sim->phases);
    mg_buf_fini(&sim->last_head);
    mg_buf_fini(&sim->last_body);
    mg_buf_fini(&sim->scratch);
    mg_free(sim);
}

int mg_sim_port(const struct mg_sim *sim)
{
    return mg_listen_port(&sim->service.listener);
}

struct mg_sim_figures *mg_sim_figures_of(struct mg_sim *sim, mg_view name)
{
    name = mg_view_head(name, sizeof(((struct mg_sim_figures *)0)->name) - 1);
    struct mg_sim_figures *figures = mg_map_get(&sim->figures, name);
    if (figures)
        return figures;
    if (sim->figure_count >= MG_SIM_STATS_MODELS && !mg_view_eq(name, MG_VIEW("other")))
        return mg_sim_figures_of(sim, MG_VIEW("other"));
    figures = mg_new(struct mg_sim_figures);
    snprintf(figures->name, sizeof(figures->name), "%.*s", MG_FMT(name));
    mg_map_put(&sim->figures, name, figures);
    mg_list_push_back(&sim->by_age, &figures->link);
    sim->figure_count++;
    return figures;
}

void mg_sim_answer_error(struct mg_sim *sim, struct mg_service_call *call, int status,
                         const char *message, const char *param, const char *code)
{
    mg_buf_clear(&sim->scratch);
    if (mg_sim_put_error(message, "invalid_request_error", param, code, &sim->scratch) != MG_OK)
        mg_service_close(call);
    else
        mg_service_answer(call, status, MG_VIEW("content-type: application/json\r\n"),
                          mg_buf_view(&sim->scratch));
}

static void run(void *arg)
{
    struct mg_sim *sim = arg;
    mg_loop_run(&sim->loop);
}

static void on_stop(struct mg_post *post)
{
    struct mg_sim *sim = mg_container_of(post, struct stop, post)->sim;
    mg_service_stop(&sim->service, on_stopped, sim);
}

static void on_stopped(void *arg)
{
    struct mg_sim *sim = arg;
    mg_loop_stop(&sim->loop);
}

static void on_configure(struct mg_post *post)
{
    struct configure *message = mg_container_of(post, struct configure, post);
    struct mg_sim *sim = message->sim;
    bool same = mg_sim_models_equal(sim->models, message->models);
    mg_sim_models_free(same ? message->models : sim->models);
    if (!same) {
        sim->models = message->models;
        configure_phases(sim);
        forget(sim);
    }
    mg_free(message);
}

static void configure_phases(struct mg_sim *sim)
{
    const struct mg_sim_models *models = sim->models;
    struct mg_config_sim_model *copies = mg_alloc(sizeof(*copies) * (size_t)(models->count + 1));
    for (int i = 0; i < models->count; i++)
        copies[i] = *models->list[i].config;
    mg_sim_phases_configure(sim->phases, copies, models->count, mg_loop_now_us(&sim->loop));
    mg_free(copies);
}

static void dispatch(void *arg, struct mg_service_call *call)
{
    struct mg_sim *sim = arg;
    mg_view path = call->request->path;
    if (mg_view_starts(path, MG_VIEW("/v1/")))
        path = mg_view_skip(path, 3);
    if (!mg_view_starts(path, MG_VIEW("/_sim/")))
        remember(sim, call);
    bool other_method = false;
    for (size_t i = 0; i < MG_COUNT(routes); i++) {
        if (!mg_view_eq(path, mg_view_cstr(routes[i].path)))
            continue;
        if (routes[i].method == call->request->method) {
            routes[i].fn(sim, call);
            return;
        }
        other_method = true;
    }
    if (mg_view_starts(path, MG_VIEW("/models/")) && call->request->method == MG_HTTP_GET)
        answer_model(sim, call, mg_view_skip(path, 8));
    else if (other_method)
        mg_sim_answer_error(sim, call, 405, "Not allowed to use this method on this endpoint.",
                            NULL, NULL);
    else
        mg_sim_answer_error(sim, call, 404, "Invalid URL.", NULL, NULL);
}

static void chat(struct mg_sim *sim, struct mg_service_call *call)
{
    mg_sim_play(sim, call, MG_SIM_CHAT);
}

static void completions(struct mg_sim *sim, struct mg_service_call *call)
{
    mg_sim_play(sim, call, MG_SIM_COMPLETIONS);
}

static void embeddings(struct mg_sim *sim, struct mg_service_call *call)
{
    mg_sim_play(sim, call, MG_SIM_EMBEDDINGS);
}

static void models(struct mg_sim *sim, struct mg_service_call *call)
{
    mg_buf_clear(&sim->scratch);
    answer_json(call, put_models(sim, &sim->scratch), &sim->scratch);
}

static void stats(struct mg_sim *sim, struct mg_service_call *call)
{
    mg_buf_clear(&sim->scratch);
    answer_json(call, put_stats(sim, &sim->scratch), &sim->scratch);
}

static void reset_stats(struct mg_sim *sim, struct mg_service_call *call)
{
    forget(sim);
    for (int i = 0; i < sim->models->count; i++) {
        struct mg_sim_model *model = &sim->models->list[i];
        model->calls = 0;
        for (int k = 0; k < model->config->fault_count; k++)
            model->fired[k] = 0;
    }
    mg_sim_phases_restart(sim->phases, mg_loop_now_us(&sim->loop));
    mg_service_answer(call, 204, MG_VIEW_NONE, MG_VIEW_NONE);
}

static void last(struct mg_sim *sim, struct mg_service_call *call)
{
    if (sim->last_head.len)
        answer_json(call, MG_OK, &sim->last_head);
    else
        mg_sim_answer_error(sim, call, 404, "No request yet.", NULL, NULL);
}

static void last_body(struct mg_sim *sim, struct mg_service_call *call)
{
    mg_service_answer(call, 200, MG_VIEW("content-type: application/octet-stream\r\n"),
                      mg_buf_view(&sim->last_body));
}

static void phases(struct mg_sim *sim, struct mg_service_call *call)
{
    mg_buf_clear(&sim->scratch);
    answer_json(call, mg_sim_phases_print(sim->phases, mg_loop_now_us(&sim->loop), &sim->scratch),
                &sim->scratch);
}

static void post_phase(struct mg_sim *sim, struct mg_service_call *call)
{
    char why[128] = "there are enough phases";
    if (mg_sim_phases_post(sim->phases, call->body, mg_loop_now_us(&sim->loop), why) == MG_OK)
        mg_service_answer(call, 204, MG_VIEW_NONE, MG_VIEW_NONE);
    else
        mg_sim_answer_error(sim, call, 400, why, NULL, NULL);
}

static void drop_phases(struct mg_sim *sim, struct mg_service_call *call)
{
    mg_sim_phases_clear(sim->phases);
    mg_service_answer(call, 204, MG_VIEW_NONE, MG_VIEW_NONE);
}

static void remember(struct mg_sim *sim, const struct mg_service_call *call)
{
    mg_buf_clear(&sim->last_head);
    mg_buf_shrink(&sim->last_body, 1 << 20);
    sim->calls++;
    if (put_last(call->request, &sim->last_head) != MG_OK ||
        mg_buf_put(&sim->last_body, call->body) != MG_OK)
        mg_log_debug("request not remembered", "bytes=%zu", call->body.len);
}

static mg_err put_last(const struct mg_http_request *request, struct mg_buf *out)
{
    MG_TRY(mg_buf_put(out, MG_VIEW("{\"method\":")));
    MG_TRY(put_quoted(out, request->method_text));
    MG_TRY(mg_buf_put(out, MG_VIEW(",\"target\":")));
    MG_TRY(put_quoted(out, request->target));
    MG_TRY(mg_buf_put(out, MG_VIEW(",\"headers\":[")));
    for (size_t i = 0; i < request->headers.count; i++) {
        MG_TRY(mg_buf_put(out, i ? MG_VIEW(",[") : MG_VIEW("[")));
        MG_TRY(put_quoted(out, request->headers.items[i].name));
        MG_TRY(mg_buf_putc(out, ','));
        MG_TRY(put_quoted(out, request->headers.items[i].value));
        MG_TRY(mg_buf_putc(out, ']'));
    }
    return mg_buf_put(out, MG_VIEW("]}"));
}

static mg_err put_quoted(struct mg_buf *out, mg_view text)
{
    MG_TRY(mg_buf_putc(out, '"'));
    MG_TRY(mg_buf_put_json(out, text));
    return mg_buf_putc(out, '"');
}

/* Figures are set to nothing, not freed: plays hold on to them. */
static void forget(struct mg_sim *sim)
{
    MG_LIST_EACH(item, next, &sim->by_age)
    {
        struct mg_sim_figures *figures = mg_container_of(item, struct mg_sim_figures, link);
        figures->calls = figures->streams = figures->finished = figures->cancelled = 0;
        figures->peak = figures->running;
        memset(figures->faults, 0, sizeof(figures->faults));
    }
    sim->calls = 0;
    mg_buf_clear(&sim->last_head);
    mg_buf_clear(&sim->last_body);
}

static mg_err put_stats(struct mg_sim *sim, struct mg_buf *out)
{
    bool first = true;
    MG_TRY(mg_buf_putf(out, "{\"requests\":%llu,\"connections\":%zu,\"models\":{",
                       (unsigned long long)sim->calls, sim->service.count));
    MG_LIST_EACH(item, next, &sim->by_age)
    {
        const struct mg_sim_figures *figures = mg_container_of(item, struct mg_sim_figures, link);
        if (!figures->calls)
            continue;
        MG_TRY(put_figures(figures, first, out));
        first = false;
    }
    return mg_buf_put(out, MG_VIEW("}}"));
}

static mg_err put_figures(const struct mg_sim_figures *figures, bool first, struct mg_buf *out)
{
    MG_TRY(first ? MG_OK : mg_buf_putc(out, ','));
    MG_TRY(put_quoted(out, mg_view_cstr(figures->name)));
    MG_TRY(mg_buf_putf(out,
                       ":{\"calls\":%llu,\"streams\":%llu,\"finished\":%llu,\"cancelled\":%llu,"
                       "\"running\":%llu,\"peak\":%llu,\"faults\":{",
                       (unsigned long long)figures->calls, (unsigned long long)figures->streams,
                       (unsigned long long)figures->finished,
                       (unsigned long long)figures->cancelled, (unsigned long long)figures->running,
                       (unsigned long long)figures->peak));
    const char *comma = "";
    for (int i = 1; i < MG_SIM_FAULT_COUNT; i++) {
        if (!figures->faults[i])
            continue;
        MG_TRY(mg_buf_putf(out, "%s\"%s\":%llu", comma, mg_sim_faults[i].name,
                           (unsigned long long)figures->faults[i]));
        comma = ",";
    }
    return mg_buf_put(out, MG_VIEW("}}"));
}

/* Names, not globs; two of our own when none is configured. */
static mg_err put_models(struct mg_sim *sim, struct mg_buf *out)
{
    const char *comma = "";
    MG_TRY(mg_buf_put(out, MG_VIEW("{\"object\":\"list\",\"data\":[")));
    for (int i = 0; i < sim->models->count; i++) {
        mg_view id = mg_view_cstr(sim->models->list[i].config->model);
        if (mg_view_find(id, "*") < id.len)
            continue;
        MG_TRY(mg_buf_put(out, mg_view_cstr(comma)));
        MG_TRY(put_model(id, out));
        comma = ",";
    }
    if (!sim->models->count) {
        MG_TRY(put_model(MG_VIEW("sim-small"), out));
        MG_TRY(mg_buf_putc(out, ','));
        MG_TRY(put_model(MG_VIEW("sim-large"), out));
    }
    return mg_buf_put(out, MG_VIEW("]}"));
}

static mg_err put_model(mg_view id, struct mg_buf *out)
{
    MG_TRY(mg_buf_put(out, MG_VIEW("{\"id\":")));
    MG_TRY(put_quoted(out, id));
    return mg_buf_put(
        out, MG_VIEW(",\"object\":\"model\",\"created\":1767225600,\"owned_by\":\"simulated\"}"));
}

static void answer_model(struct mg_sim *sim, struct mg_service_call *call, mg_view id)
{
    mg_buf_clear(&sim->scratch);
    if (sim->models->count && !mg_sim_models_find(sim->models, id))
        mg_sim_answer_error(sim, call, 404, "The model does not exist.", "model",
                            "model_not_found");
    else
        answer_json(call, put_model(id, &sim->scratch), &sim->scratch);
}

static void answer_json(struct mg_service_call *call, mg_err err, const struct mg_buf *body)
{
    if (err == MG_OK)
        mg_service_answer(call, 200, MG_VIEW("content-type: application/json\r\n"),
                          mg_buf_view(body));
    else
        mg_service_close(call);
}
