/* The request log over HTTP. Whoever belongs to a project sees that project's requests alone. */
#include <stdio.h>

#include "admin/admin_parts.h"
#include "http/json.h"
#include "watch/logs.h"
#include "watch/sums_json.h"
#include "watch/trace.h"

/* A number of the query string that is not a filter. */
static bool read_number(mg_view text, const char *name, unsigned otherwise, unsigned *out_number)
{
    *out_number = otherwise;
    while (text.len > 0) {
        mg_view pair = mg_view_cut(&text, '&');
        uint64_t number;
        if (!mg_view_eq(mg_view_cut(&pair, '='), mg_view_cstr(name)))
            continue;
        if (!mg_view_u64(pair, &number) || number == 0 || number > 100000)
            return false;
        *out_number = (unsigned)number;
    }
    return true;
}

/* What is asked, and a search that knows all that has settled. False after the job has failed. */
static bool prepare(struct mg_admin_job *job, const char *others, struct mg_query *query)
{
    struct mg_admin *admin = job->admin;
    struct mg_diag diag = {.line = 0};
    mg_err err = mg_query_parse(query, mg_buf_view(&job->query), others, &diag);
    if (err == MG_OK && *job->who.project)
        err = mg_query_only_project(query, job->who.project, &diag);
    if (err != MG_OK) {
        mg_admin_fail_with(job, 400, "bad_request", diag.text);
        return false;
    }
    admin->ops->flush(admin->arg);
    err = mg_admin_open_store(admin, &diag);
    if (err == MG_OK)
        err = mg_search_refresh(admin->search, &diag);
    if (err != MG_OK)
        mg_admin_fail(job, err, &diag);
    return err == MG_OK;
}

static void end(struct mg_admin_job *job, mg_err err)
{
    struct mg_diag diag = {.line = 0};
    if (err != MG_OK)
        mg_admin_fail(job, err, &diag);
}

void mg_admin_list_requests(struct mg_admin_job *job)
{
    struct mg_query query = {.limit = 0};
    if (prepare(job, "", &query))
        end(job, mg_logs_page_json(job->admin->search, &query, &job->out));
}

void mg_admin_sum_requests(struct mg_admin_job *job)
{
    struct mg_query query = {.limit = 0};
    if (prepare(job, "", &query))
        end(job, mg_sums_json(job->admin->search, &query, &job->out));
}

void mg_admin_step_requests(struct mg_admin_job *job)
{
    struct mg_query query = {.limit = 0};
    unsigned steps;
    if (!read_number(mg_buf_view(&job->query), "steps", 60, &steps) || steps > MG_SEARCH_STEPS) {
        mg_admin_fail_with(job, 400, "bad_request", "steps must be a number from 1 to 400");
        return;
    }
    if (prepare(job, "steps", &query))
        end(job, mg_series_json(job->admin->search, &query, steps, &job->out));
}

void mg_admin_group_requests(struct mg_admin_job *job)
{
    struct mg_query query = {.limit = 0};
    struct mg_diag diag = {.line = 0};
    char room[128];
    mg_view by = MG_VIEW_NONE, rest = mg_buf_view(&job->query);
    unsigned top;
    if (!read_number(rest, "top", 20, &top) || top > MG_SEARCH_GROUPS) {
        mg_admin_fail_with(job, 400, "bad_request", "top must be a number from 1 to 1000");
        return;
    }
    while (rest.len > 0) {
        mg_view pair = mg_view_cut(&rest, '&');
        if (mg_view_eq(mg_view_cut(&pair, '='), MG_VIEW("by")))
            by = mg_query_decode(pair, room, sizeof room);
    }
    if (!prepare(job, "by top", &query))
        return;
    mg_err err = mg_groups_json(job->admin->search, &query, by, top, &job->out, &diag);
    if (err == MG_E_BAD_REQUEST)
        mg_admin_fail_with(job, 400, "bad_request", diag.text);
    else
        end(job, err);
}

/* Of the timeline that was written to the answer. */
static bool is_of_its_project(struct mg_admin_job *job)
{
    struct mg_json *timeline = NULL;
    if (!*job->who.project)
        return true;
    bool ours = mg_json_parse(mg_buf_view(&job->out), MG_MAX_RESPONSE_BODY_BYTES, &timeline, NULL) == MG_OK &&
                mg_view_eq(mg_json_string(mg_json_get(timeline, "project")), mg_view_cstr(job->who.project));
    mg_json_free(timeline);
    return ours;
}

void mg_admin_show_request(struct mg_admin_job *job)
{
    struct mg_admin *admin = job->admin;
    struct mg_diag diag = {.line = 0};
    admin->ops->flush(admin->arg);
    mg_err err = mg_admin_open_store(admin, &diag);
    if (err == MG_OK)
        err = mg_watch_trace_json(admin->search, mg_view_cstr(job->id), &job->out);
    if (err == MG_OK && !is_of_its_project(job))
        err = MG_E_NOT_FOUND;
    if (err == MG_E_NOT_FOUND)
        mg_admin_fail_with(job, 404, "not_found",
                           "there is no such request, or it has not settled yet");
    else if (err != MG_OK)
        mg_admin_fail(job, err, &diag);
}
