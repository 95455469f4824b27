/* The admin API, line by line. */
#include <stdio.h>
#include <string.h>

#include "admin/admin_parts.h"
#include "base/clock.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/mem.h"
#include "http/json.h"
#include "store/folder.h"
#include "watch/logs.h"
#include "watch/trace.h"

static void healthz(struct mg_admin_job *job);
static void readyz(struct mg_admin_job *job);
static void metrics(struct mg_admin_job *job);
static void status(struct mg_admin_job *job);
static void reload(struct mg_admin_job *job);
static void list_targets(struct mg_admin_job *job);
static void reset_targets(struct mg_admin_job *job);

#define JSON "application/json"
#define TEXT "text/plain; charset=utf-8"

/* clang-format off */
static const struct mg_admin_route routes[] = {
    /* method, path, run, waits, open, type, what it answers, right, scoped, reads */
    {MG_HTTP_GET, "/healthz", healthz, false, true, TEXT, "200 while the process lives", MG_RIGHT_VIEW, true},
    {MG_HTTP_GET, "/readyz", readyz, false, true, TEXT,
     "200 while it serves, 503 before and while it drains; a second line says what is degraded", MG_RIGHT_VIEW, true},
    {MG_HTTP_GET, "/metrics", metrics, false, true, "text/plain; version=0.0.4; charset=utf-8", "Prometheus text", MG_RIGHT_VIEW, true},
    {MG_HTTP_GET, "/admin/v1/status", status, true, false, JSON,
     "projects with their generation and the error of the last reload, listeners, workers, exchanges in flight, the store", MG_RIGHT_VIEW, false},
    {MG_HTTP_POST, "/admin/v1/reload", reload, true, false, JSON, "202: all files are looked at again"},
    {MG_HTTP_GET, "/admin/v1/keys", mg_admin_list_keys, true, false, JSON, "`{\"keys\": [...]}`, never with their text",
     MG_RIGHT_VIEW, true},
    {MG_HTTP_POST, "/admin/v1/keys", mg_admin_create_key, true, false, JSON,
     "takes `{\"project\", \"name\"?, \"expires_us\"?, \"metadata\"?, \"workflows\"?, \"limits\"?}`; 201, and the key's text as "
     "`\"key\"`, once", MG_RIGHT_OPERATE, true},
    {MG_HTTP_PATCH, "/admin/v1/keys/{id}", mg_admin_change_key, true, false, JSON,
     "takes any of `{\"name\", \"expires_us\", \"metadata\", \"workflows\", \"limits\"}`, null for none; 200 when every worker obeys",
     MG_RIGHT_OPERATE, true},
    {MG_HTTP_DELETE, "/admin/v1/keys/{id}", mg_admin_revoke_key, true, false, JSON, "200 when every worker obeys",
     MG_RIGHT_OPERATE, true},
    {MG_HTTP_POST, "/admin/v1/keys/{id}/rotate", mg_admin_rotate_key, true, false, JSON,
     "takes `{\"overlap_s\"?}`: how long the old key stays valid; 201, and the new key's text, once", MG_RIGHT_OPERATE, true},
    {MG_HTTP_GET, "/admin/v1/disabled", mg_admin_list_switches, true, false, JSON,
     "`{\"disabled\": [...]}`: what is disabled by hand, since when, by whom, and what callers are told", MG_RIGHT_VIEW, true},
    {MG_HTTP_POST, "/admin/v1/disable", mg_admin_disable, true, false, JSON,
     "takes `{\"kind\", \"name\", \"project\"?, \"message\"?}`, kind `project`, `key`, `workflow`, `provider` or `plugin`; 200 when "
     "every worker obeys", MG_RIGHT_OPERATE, true},
    {MG_HTTP_POST, "/admin/v1/enable", mg_admin_enable, true, false, JSON,
     "takes `{\"kind\", \"name\", \"project\"?}`; 200 when every worker obeys", MG_RIGHT_OPERATE, true},
    {MG_HTTP_GET, "/admin/v1/members", mg_admin_list_members, true, false, JSON, "`{\"members\": [...]}`, never with their tokens",
     MG_RIGHT_OWN, true},
    {MG_HTTP_POST, "/admin/v1/members", mg_admin_create_member, true, false, JSON,
     "takes `{\"name\", \"role\", \"project\"?, \"expires_us\"?}`, role `owner`, `operator`, `viewer` or `secret-writer`; 201, and "
     "`\"token\"`, once", MG_RIGHT_OWN, true},
    {MG_HTTP_DELETE, "/admin/v1/members/{id}", mg_admin_remove_member, true, false, JSON, "200 when its token is refused",
     MG_RIGHT_OWN, true},
    {MG_HTTP_GET, "/admin/v1/secrets", mg_admin_list_secrets, true, false, JSON,
     "`{\"secrets\": [...]}`: project, name, version, when made, changed and last used; never a value", MG_RIGHT_VIEW, true},
    {MG_HTTP_POST, "/admin/v1/secrets", mg_admin_set_secret, true, false, JSON,
     "takes the value as the body; `?project=NAME&name=NAME`, and `&rotate=1` when there must be one already; the next request uses it", MG_RIGHT_SET_SECRETS, true},
    {MG_HTTP_DELETE, "/admin/v1/secrets", mg_admin_remove_secret, true, false, JSON, "`?project=NAME&name=NAME`", MG_RIGHT_OPERATE, true},
    {MG_HTTP_POST, "/admin/v1/vault/rewrap", mg_admin_rewrap, true, false, JSON,
     "wraps every data key again by the master key that `gateway.lua` names now; `{\"rewrapped\": how many, \"master\"}`", MG_RIGHT_OWN, false},
    {MG_HTTP_GET, "/admin/v1/audit", mg_admin_list_audit, true, false, JSON,
     "`{\"entries\": [...], \"next\"}`, oldest first; `?after=SEQ&limit=N`", MG_RIGHT_OWN, false},
    {MG_HTTP_GET, "/admin/v1/audit/verify", mg_admin_verify_audit, true, false, JSON,
     "`{\"good\", \"entries\", \"head\"}`, and what is wrong with which entry; `?kept=SEQ:HEAD` compares with an earlier head", MG_RIGHT_OWN, false},
    {MG_HTTP_GET, "/admin/v1/targets", list_targets, true, false, JSON,
     "`{\"targets\": [...]}`, each with its credentials: breaker, benches, limits, figures; `?project=NAME` for one project's", MG_RIGHT_VIEW, true},
    {MG_HTTP_POST, "/admin/v1/targets/reset", reset_targets, true, false, JSON,
     "takes `{\"target\", \"project\"?, \"credential\"?}`: closes breakers, ends benches; `{\"reset\": how many credentials}`", MG_RIGHT_OPERATE, true},
    {MG_HTTP_GET, "/admin/v1/responses", mg_admin_list_responses, true, false, JSON,
     "`{\"responses\": [...]}`: how many answers of the Responses API each project keeps, their bytes, the oldest", MG_RIGHT_VIEW, true, true},
    {MG_HTTP_POST, "/admin/v1/responses/erase", mg_admin_erase_responses, true, false, JSON,
     "takes `{\"project\", \"key\"?}`: all that the project keeps, or that key of it; `{\"erased\": how many}`", MG_RIGHT_OPERATE, true},
    {MG_HTTP_GET, "/admin/v1/exports", mg_admin_list_exports, true, false, JSON,
     "`{\"exports\": [...]}`: how far each sink of usage events has got: `next_us`, `waiting` requests, `events` it took, `failures`, `error`",
     MG_RIGHT_VIEW, false},
    {MG_HTTP_GET, "/admin/v1/limits", mg_admin_list_limits, true, false, JSON,
     "`{\"limits\": [...], \"left_out\"}`: whose each is, `max`, `used`, `left`, `free_us` (when something passes again), `full_us`, "
     "`refused`; `?project=NAME`, `limit=N`", MG_RIGHT_VIEW, true},
    {MG_HTTP_GET, "/admin/v1/requests", mg_admin_list_requests, true, false, JSON,
     "`{\"requests\": [...], \"next\"}`; the filters of `moongate logs` as a query: `?status=error&since=10m`", MG_RIGHT_VIEW, true, true},
    {MG_HTTP_GET, "/admin/v1/usage", mg_admin_usage, true, false, JSON,
     "what usage adds up to: `?by=project,metadata.tier&where=model=gpt-6-sol&from=2026-11-01&to=2026-12-01`", MG_RIGHT_VIEW, true, true},
    {MG_HTTP_GET, "/admin/v1/usage/events", mg_admin_usage_events, true, false, JSON,
     "`{\"events\": [...], \"next\"}`, one for each attempt, oldest first; `?from=`, `?to=`, `?limit=`, `?after=` the last `next`", MG_RIGHT_VIEW, true, true},
    {MG_HTTP_POST, "/admin/v1/usage/reprice", mg_admin_usage_reprice, true, false, JSON,
     "takes `{\"from_us\"?, \"to_us\"?, \"prices\"?, \"dry_run\"?}`, prices up to 2000 requests again and says the difference; go on "
     "with `next_us` until `done`", MG_RIGHT_OWN, false, true},
    {MG_HTTP_GET, "/admin/v1/requests/summary", mg_admin_sum_requests, true, false, JSON,
     "`{\"summary\": {...}}` of what the filters select: requests, errors, tokens, cost, percentiles of duration and first token", MG_RIGHT_VIEW, true, true},
    {MG_HTTP_GET, "/admin/v1/requests/series", mg_admin_step_requests, true, false, JSON,
     "`{\"step_us\", \"steps\": [...]}`: the same over time; `steps` (60, at most 400) from `since` (an hour ago) to `until`", MG_RIGHT_VIEW, true, true},
    {MG_HTTP_GET, "/admin/v1/requests/groups", mg_admin_group_requests, true, false, JSON,
     "`{\"by\", \"groups\": [...]}`: the same for the `top` (20, at most 1000) largest values of `by`: a filter's name, `metadata.NAME`", MG_RIGHT_VIEW, true, true},
    {MG_HTTP_GET, "/admin/v1/requests/{id}", mg_admin_show_request, true, false, JSON, "one timeline, attempts and notes included", MG_RIGHT_VIEW, true, true},
};
/* clang-format on */

const struct mg_admin_route *mg_admin_routes(size_t *out_count)
{
    *out_count = MG_COUNT(routes);
    return routes;
}

/* Of all projects, unless the route keeps its caller within one. */
static const char *who_may(const struct mg_admin_route *route)
{
    if (route->open)
        return "everybody";
    switch (route->right) {
    case MG_RIGHT_VIEW:
        return route->scoped ? "viewer" : "viewer of all projects";
    case MG_RIGHT_OPERATE:
        return route->scoped ? "operator" : "operator of all projects";
    case MG_RIGHT_SET_SECRETS:
        return route->scoped ? "secret-writer" : "secret-writer of all projects";
    default:
        return route->scoped ? "owner" : "owner of all projects";
    }
}

mg_err mg_admin_put_reference(struct mg_buf *out)
{
    static const char *const methods[] = {[MG_HTTP_GET] = "GET",
                                          [MG_HTTP_POST] = "POST",
                                          [MG_HTTP_PATCH] = "PATCH",
                                          [MG_HTTP_DELETE] = "DELETE"};
    for (size_t i = 0; i < MG_COUNT(routes); i++)
        MG_TRY(mg_buf_putf(out, "| %s | `%s` | %s | %s |\n", methods[routes[i].method],
                           routes[i].path, who_may(&routes[i]), routes[i].text));
    return MG_OK;
}

/* "E_NOT_FOUND" is the code "not_found". */
void mg_admin_fail(struct mg_admin_job *job, mg_err err, const struct mg_diag *diag)
{
    char code[32] = "";
    const char *name = mg_err_name(err) + 2;
    for (size_t i = 0; name[i] && i < sizeof(code) - 1; i++)
        code[i] = (char)(name[i] >= 'A' && name[i] <= 'Z' ? name[i] + 32 : name[i]);
    mg_admin_fail_with(job, mg_err_status(err) ? mg_err_status(err) : 500, code,
                       diag && *diag->text ? diag->text : mg_err_text(err));
}

void mg_admin_fail_with(struct mg_admin_job *job, int http_status, const char *code,
                        const char *message)
{
    mg_buf_clear(&job->out);
    job->status = http_status;
    mg_err err = mg_buf_putf(&job->out, "{\"error\":{\"code\":\"%s\",\"message\":\"", code);
    if (err == MG_OK)
        err = mg_buf_put_json(&job->out, mg_view_cstr(message));
    if (err == MG_OK)
        err = mg_buf_put(&job->out, MG_VIEW("\"}}"));
    if (err != MG_OK)
        mg_buf_clear(&job->out);
}

static void healthz(struct mg_admin_job *job)
{
    mg_admin_put_failed(job, mg_buf_put(&job->out, MG_VIEW("ok\n")));
}

/* Requests go on while the store is in trouble, so it is no reason to send them elsewhere. */
static mg_err put_ready(struct mg_admin_job *job)
{
    struct mg_recorder_trouble trouble = {.since_us = 0};
    if (job->admin->ops->store_trouble)
        job->admin->ops->store_trouble(job->admin->arg, &trouble);
    MG_TRY(mg_buf_put(&job->out, MG_VIEW("ready\n")));
    if (!trouble.since_us)
        return MG_OK;
    return mg_buf_putf(
        &job->out,
        "degraded: the store cannot be written for %llu s: %s; the journal is %u %% full\n",
        (unsigned long long)((mg_wall_us() - trouble.since_us) / 1000000), trouble.reason,
        trouble.journal_percent);
}

static void readyz(struct mg_admin_job *job)
{
    bool ready = job->admin->ops->ready(job->admin->arg);
    if (ready)
        mg_admin_put_failed(job, put_ready(job));
    else
        mg_admin_fail_with(job, 503, "not_ready", "the gateway does not serve yet, or drains");
}

static void metrics(struct mg_admin_job *job)
{
    mg_admin_put_failed(job, job->admin->ops->metrics(job->admin->arg, &job->out));
}

static void status(struct mg_admin_job *job)
{
    mg_admin_put_failed(job, job->admin->ops->status(job->admin->arg, &job->out));
}

static void reload(struct mg_admin_job *job)
{
    job->admin->ops->reload(job->admin->arg);
    mg_admin_acted(job, "reload", "", "", "%s", "");
    job->status = 202;
    mg_admin_put_failed(job, mg_buf_put(&job->out, MG_VIEW("{\"reloading\":true}")));
}

bool mg_admin_next_listed(struct mg_admin_listing *listing)
{
    if (listing->err == MG_OK && listing->count++)
        listing->err = mg_buf_putc(listing->out, ',');
    return listing->err == MG_OK;
}

static void put_target(void *arg, const struct mg_target_row *row)
{
    struct mg_admin_listing *listing = arg;
    if (mg_admin_next_listed(listing))
        listing->err = mg_target_row_json(row, listing->out);
}

/* ?project= is all there is to ask for. */
static bool asked_project(struct mg_admin_job *job, char *room, size_t size, mg_view *out_project)
{
    mg_view value = mg_buf_view(&job->query);
    bool any = value.len > 0;
    mg_view name = mg_view_cut(&value, '=');
    *out_project = mg_query_decode(value, room, size);
    return !any || (mg_view_eq(name, MG_VIEW("project")) && value.len > 0);
}

static void list_targets(struct mg_admin_job *job)
{
    struct mg_admin *admin = job->admin;
    struct mg_admin_listing listing = {.out = &job->out,
                              .err = mg_buf_put(&job->out, MG_VIEW("{\"targets\":["))};
    char room[80];
    mg_view project;
    if (!asked_project(job, room, sizeof room, &project)) {
        mg_admin_fail_with(job, 400, "bad_request", "only ?project=NAME can be asked for");
        return;
    }
    if (*job->who.project && project.len && !mg_view_eq(project, mg_view_cstr(job->who.project)))
        project = MG_VIEW("?");        /* no project is called that, and this is all it learns */
    else if (*job->who.project)
        project = mg_view_cstr(job->who.project);
    if (admin->ops->target_list(admin->arg, project, put_target, &listing) != MG_OK)
        mg_admin_fail_with(job, 404, "not_found", "there is no such project");
    else
        mg_admin_put_failed(job, listing.err == MG_OK ? mg_buf_put(&job->out, MG_VIEW("]}")) : listing.err);
}

/* A member that may be missing; false: it is no string, or too long for a name. */
static bool read_name(const struct mg_json *body, const char *member, char *out, size_t size)
{
    const struct mg_json *value = mg_json_get(body, member);
    mg_view text = mg_json_string(value);
    snprintf(out, size, "%.*s", MG_FMT(text));
    return (!value || mg_json_is(value, MG_JSON_STRING)) && strlen(out) == text.len;
}

static void reset_targets(struct mg_admin_job *job)
{
    char project[80], target[256], credential[80];
    struct mg_admin *admin = job->admin;
    struct mg_diag diag = {.line = 0};
    unsigned count = 0;
    struct mg_json *body = mg_admin_read_body(job);
    if (!body)
        return;
    bool good = read_name(body, "project", project, sizeof project) &&
                read_name(body, "target", target, sizeof target) &&
                read_name(body, "credential", credential, sizeof credential) && *target;
    mg_json_free(body);
    if (!good) {
        mg_admin_fail_with(job, 400, "bad_request",
                           "\"target\" must name a target or a provider; \"project\" and "
                           "\"credential\" are names too");
        return;
    }
    if (*project && !mg_admin_covers(job, project)) {
        mg_admin_fail_with(job, 403, "denied", "your role does not reach into this project");
        return;
    }
    if (*job->who.project)
        snprintf(project, sizeof project, "%s", job->who.project);
    const struct mg_targets_reset what = {project, target, credential};
    mg_err err = admin->ops->target_reset(admin->arg, &what, &count, &diag);
    if (err != MG_OK) {
        mg_admin_fail(job, err, &diag);
        return;
    }
    mg_admin_acted(job, "target.reset", project, target, "%s%s%u credentials", credential, *credential ? ", " : "", count);
    mg_admin_put_failed(job, mg_buf_putf(&job->out, "{\"reset\":%u}", count));
}

/* NULL after the job has failed. */
struct mg_json *mg_admin_read_body(struct mg_admin_job *job)
{
    struct mg_json *body = NULL;
    struct mg_json_error error = {.reason = ""};
    if (mg_json_parse(mg_buf_view(&job->body), MG_MAX_ADMIN_BODY_BYTES, &body, &error) == MG_OK &&
        mg_json_is(body, MG_JSON_OBJECT))
        return body;
    mg_json_free(body);
    char message[160];
    snprintf(message, sizeof(message), "the body must be a JSON object (at byte %zu: %s)",
             error.offset, error.reason && *error.reason ? error.reason : "it is something else");
    mg_admin_fail_with(job, 400, "bad_request", message);
    return NULL;
}

mg_err mg_admin_open_store(struct mg_admin *admin, struct mg_diag *diag)
{
    char path[MG_FOLDER_PATH_BYTES];
    if (admin->db && mg_db_check(admin->db, diag) == MG_OK)
        return MG_OK;
    mg_search_free(admin->search);
    mg_db_close(admin->db);
    admin->search = NULL;
    admin->db = NULL;
    MG_TRY(mg_folder_path(admin->data_dir, "moongate.db", path));
    MG_TRY(mg_db_open(path, MG_DB_READ, &admin->db, diag));
    admin->search = mg_search_new(admin->db);
    return MG_OK;
}

/* An answer that could not be written. */
void mg_admin_put_failed(struct mg_admin_job *job, mg_err err)
{
    if (err != MG_OK)
        mg_admin_fail(job, err, NULL);
}
