#include "admin/admin.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "admin/admin_parts.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/mem.h"
#include "io/tls.h"
#include "store/folder.h"

static mg_err listen_tcp(struct mg_admin *admin, const struct mg_admin_options *options,
                         struct mg_diag *diag);
static mg_err listen_local(struct mg_admin *admin, struct mg_diag *diag);
static void run(void *arg);
static void stop_services(struct mg_admin *admin);
static void on_stop(struct mg_post *post);
static void on_service_stopped(void *arg);
static void end_when_idle(struct mg_admin *admin);
static void admin_free(struct mg_admin *admin);
static void dispatch(void *arg, struct mg_service_call *call);
static const struct mg_admin_route *find(const struct mg_http_request *request,
                                         char id[MG_ADMIN_ID_BYTES], bool *out_other_method);
static bool matches(const char *pattern, mg_view path, char id[MG_ADMIN_ID_BYTES]);
static struct mg_admin_job *job_new(struct mg_admin *admin, struct mg_service_call *call,
                                    const struct mg_admin_route *route, const char *id, const struct mg_member *who);
static void job_answer(struct mg_admin_job *job);
static void job_free(struct mg_admin_job *job);
static void start_next(struct mg_admin *admin, struct mg_admin_lane *lane);
static void on_work(uv_work_t *work);
static void on_worked(uv_work_t *work, int status);
static void on_gone(struct mg_service_call *call);
static void answer_error(struct mg_admin *admin, struct mg_service_call *call, int status,
                         const char *code, const char *message);

mg_err mg_admin_start(const struct mg_admin_options *options, struct mg_admin **out_admin,
                      struct mg_diag *diag)
{
    struct mg_admin *admin = mg_new(struct mg_admin);
    admin->ops = options->ops;
    admin->arg = options->arg;
    admin->token = mg_strdup(options->token);
    admin->data_dir = mg_strdup(options->data_dir);
    mg_list_init(&admin->acts.waiting);
    mg_list_init(&admin->reads.waiting);
    mg_loop_init(&admin->loop);
    mg_err err = listen_local(admin, diag);
    if (err == MG_OK) {
        admin->stopping++;
        err = listen_tcp(admin, options, diag);
        admin->stopping += admin->has_tcp;
    }
    if (err == MG_OK && uv_thread_create(&admin->thread, run, admin) != 0)
        err = mg_diag_set(diag, MG_E_SYSTEM, NULL, 0, "no thread for the admin plane: %s",
                          strerror(errno));
    if (err == MG_OK) {
        *out_admin = admin;
        return MG_OK;
    }
    if (admin->stopping) {
        stop_services(admin);
        mg_loop_run(&admin->loop);
    }
    admin_free(admin);
    return err;
}

struct stop {
    struct mg_post post;
    struct mg_admin *admin;
};

void mg_admin_stop(struct mg_admin *admin)
{
    if (!admin)
        return;
    struct stop message = {.post.run = on_stop, .admin = admin};
    mg_loop_post(&admin->loop, &message.post);
    uv_thread_join(&admin->thread);
    admin_free(admin);
}

int mg_admin_port(const struct mg_admin *admin)
{
    return admin->has_tcp ? mg_listen_port(&admin->tcp.listener) : 0;
}

static mg_err listen_tcp(struct mg_admin *admin, const struct mg_admin_options *options,
                         struct mg_diag *diag)
{
    if (!options->listen || !options->listen->host)
        return MG_OK;
    struct mg_service_options service = {
        .listen = {.host = options->listen->host, .port = options->listen->port},
        .body_bytes = MG_MAX_ADMIN_BODY_BYTES,
        .connections = MG_ADMIN_CONNECTIONS,
        .fn = dispatch,
        .arg = admin,
    };
    const struct mg_config_tls_server *tls = &options->listen->tls;
    const struct mg_tls_server_options server = {
        .cert_file = tls->cert, .key_file = tls->key, .client_ca_file = tls->client_ca};
    if (tls->cert)
        MG_TRY(mg_tls_server_new(&server, &service.tls, diag));
    mg_err err = mg_service_start(&admin->tcp, &admin->loop, &service, diag);
    if (err != MG_OK)
        mg_tls_unref(service.tls);
    admin->has_tcp = err == MG_OK;
    return err;
}

static mg_err listen_local(struct mg_admin *admin, struct mg_diag *diag)
{
    char path[MG_FOLDER_PATH_BYTES];
    MG_TRY(mg_folder_path(admin->data_dir, "control.sock", path));
    const struct mg_service_options service = {
        .listen = {.unix_path = path},
        .body_bytes = MG_MAX_ADMIN_BODY_BYTES,
        .connections = MG_ADMIN_CONNECTIONS,
        .fn = dispatch,
        .arg = admin,
    };
    return mg_service_start(&admin->local, &admin->loop, &service, diag);
}

static void run(void *arg)
{
    struct mg_admin *admin = arg;
    mg_loop_run(&admin->loop);
}

static void on_stop(struct mg_post *post)
{
    stop_services(mg_container_of(post, struct stop, post)->admin);
}

static void forget_waiting(struct mg_admin_lane *lane)
{
    for (struct mg_list *item; (item = mg_list_pop_front(&lane->waiting));)
        job_free(mg_container_of(item, struct mg_admin_job, link));
}

/* Clients are dropped; jobs that run are waited for, those that wait are forgotten. */
static void stop_services(struct mg_admin *admin)
{
    mg_service_stop(&admin->local, on_service_stopped, admin);
    if (admin->has_tcp)
        mg_service_stop(&admin->tcp, on_service_stopped, admin);
    forget_waiting(&admin->acts);
    forget_waiting(&admin->reads);
}

static void on_service_stopped(void *arg)
{
    struct mg_admin *admin = arg;
    admin->stopping--;
    end_when_idle(admin);
}

static void end_when_idle(struct mg_admin *admin)
{
    if (!admin->stopping && !admin->acts.running && !admin->reads.running)
        mg_loop_stop(&admin->loop);
}

static void admin_free(struct mg_admin *admin)
{
    if (admin->has_tcp)
        mg_tls_unref(admin->tcp.options.tls);
    mg_loop_fini(&admin->loop);
    mg_search_free(admin->search);
    mg_db_close(admin->db);
    if (admin->token)
        mg_wipe(admin->token, strlen(admin->token));
    mg_free(admin->token);
    mg_free(admin->data_dir);
    mg_free(admin);
}

static void dispatch(void *arg, struct mg_service_call *call)
{
    struct mg_admin *admin = arg;
    char id[MG_ADMIN_ID_BYTES] = "";
    bool other_method = false;
    struct mg_member who = {.role = MG_ROLE_VIEWER};
    struct mg_admin_refusal refusal;
    const struct mg_admin_route *route = find(call->request, id, &other_method);
    if (!route) {
        answer_error(admin, call, other_method ? 405 : 404,
                     other_method ? "method_not_allowed" : "not_found",
                     other_method ? "this path takes another method" : "there is no such path");
        return;
    }
    if (!route->open && !mg_admin_admit(admin, call, route, &who, &refusal)) {
        answer_error(admin, call, refusal.status, refusal.code, refusal.message);
        return;
    }
    struct mg_admin_lane *lane = route->reads ? &admin->reads : &admin->acts;
    if (route->waits && lane->waiting_count >= MG_ADMIN_JOBS) {
        answer_error(admin, call, 503, "busy", "too many requests wait already");
        return;
    }
    struct mg_admin_job *job = job_new(admin, call, route, id, &who);
    if (!route->waits) {
        route->run(job);
        job_answer(job);
        return;
    }
    job->lane = lane;
    mg_list_push_back(&lane->waiting, &job->link);
    lane->waiting_count++;
    start_next(admin, lane);
}

static const struct mg_admin_route *find(const struct mg_http_request *request,
                                         char id[MG_ADMIN_ID_BYTES], bool *out_other_method)
{
    size_t count;
    const struct mg_admin_route *routes = mg_admin_routes(&count);
    for (size_t i = 0; i < count; i++) {
        if (!matches(routes[i].path, request->path, id))
            continue;
        if (routes[i].method == request->method ||
            (routes[i].method == MG_HTTP_GET && request->method == MG_HTTP_HEAD))
            return &routes[i];
        *out_other_method = true;
    }
    return NULL;
}

/* Segment by segment. An id is what our own ids are made of, so nothing needs decoding. */
static bool matches(const char *pattern, mg_view path, char id[MG_ADMIN_ID_BYTES])
{
    mg_view want = mg_view_cstr(pattern);
    while (want.ptr && path.ptr) {
        mg_view a = mg_view_cut(&want, '/'), b = mg_view_cut(&path, '/');
        if (mg_view_eq(a, MG_VIEW("{id}")) && b.len > 0 && b.len < MG_ADMIN_ID_BYTES)
            snprintf(id, MG_ADMIN_ID_BYTES, "%.*s", MG_FMT(b));
        else if (!mg_view_eq(a, b))
            return false;
    }
    return !want.ptr && !path.ptr;
}

bool mg_admin_covers(const struct mg_admin_job *job, const char *project)
{
    return !*job->who.project || !strcmp(job->who.project, project);
}

static struct mg_admin_job *job_new(struct mg_admin *admin, struct mg_service_call *call,
                                    const struct mg_admin_route *route, const char *id, const struct mg_member *who)
{
    struct mg_admin_job *job = mg_new(struct mg_admin_job);
    job->admin = admin;
    job->call = call;
    job->route = route;
    job->status = 200;
    job->who = *who;
    memcpy(job->id, id, MG_ADMIN_ID_BYTES);
    mg_buf_init(&job->query, MG_MAX_REQUEST_LINE_BYTES);
    mg_buf_init(&job->body, MG_MAX_ADMIN_BODY_BYTES);
    mg_buf_init(&job->out, MG_MAX_RESPONSE_BODY_BYTES);
    if (mg_buf_put(&job->query, call->request->query) != MG_OK ||
        mg_buf_put(&job->body, call->body) != MG_OK)
        mg_log_error("admin request not copied", "bytes=%zu", call->body.len);
    call->user = job;
    call->on_gone = on_gone;
    return job;
}

static void job_answer(struct mg_admin_job *job)
{
    char lines[128];
    bool good = job->status < 400;
    int len = snprintf(lines, sizeof(lines), "content-type: %s\r\n%s%s",
                       good ? job->route->type : "application/json",
                       job->status == 401 ? "www-authenticate: Bearer\r\n" : "",
                       job->status == 503 ? "retry-after: 1\r\n" : "");
    if (job->call)
        mg_service_answer(job->call, job->status, mg_view_of(lines, (size_t)len),
                          mg_buf_view(&job->out));
    job_free(job);
}

static void job_free(struct mg_admin_job *job)
{
    if (job->out.ptr)
        mg_wipe(job->out.ptr, job->out.cap); /* it may hold the text of a key */
    if (job->body.ptr)
        mg_wipe(job->body.ptr, job->body.cap); /* or a secret */
    mg_buf_fini(&job->query);
    mg_buf_fini(&job->body);
    mg_buf_fini(&job->out);
    mg_free(job);
}

/* One job of a lane at a time: the store's connection belongs to whichever reads. */
static void start_next(struct mg_admin *admin, struct mg_admin_lane *lane)
{
    if (lane->running)
        return;
    struct mg_list *item = mg_list_pop_front(&lane->waiting);
    if (!item)
        return;
    lane->waiting_count--;
    lane->running = mg_container_of(item, struct mg_admin_job, link);
    if (uv_queue_work(&admin->loop.uv, &lane->running->work, on_work, on_worked) != 0)
        on_worked(&lane->running->work, UV_ENOMEM);
}

static void on_work(uv_work_t *work)
{
    struct mg_admin_job *job = mg_container_of(work, struct mg_admin_job, work);
    job->route->run(job);
}

static void on_worked(uv_work_t *work, int status)
{
    struct mg_admin_job *job = mg_container_of(work, struct mg_admin_job, work);
    struct mg_admin *admin = job->admin;
    struct mg_admin_lane *lane = job->lane;
    lane->running = NULL;
    if (status != 0)
        mg_admin_fail_with(job, 503, "busy", "no thread is free");
    job_answer(job);
    mg_loop_wipe_reads(&admin->loop);
    if (admin->stopping > 0)
        start_next(admin, lane);
    else
        end_when_idle(admin);
}

static void on_gone(struct mg_service_call *call)
{
    struct mg_admin_job *job = call->user;
    job->call = NULL;
}

static void answer_error(struct mg_admin *admin, struct mg_service_call *call, int status,
                         const char *code, const char *message)
{
    static const struct mg_admin_route none = {.type = "application/json"};
    struct mg_admin_job *job = job_new(admin, call, &none, (char[MG_ADMIN_ID_BYTES]){0}, &(struct mg_member){.role = MG_ROLE_VIEWER});
    mg_admin_fail_with(job, status, code, message);
    job_answer(job);
}
