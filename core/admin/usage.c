/* The lines of the admin API about usage and what it costs. */
#include <inttypes.h>

#include "admin/admin_parts.h"
#include "base/limits.h"
#include "http/json.h"
#include "watch/usage.h"

typedef mg_err (*answer)(struct mg_db *db, const struct mg_usage_query *query, struct mg_buf *out);

static void ask(struct mg_admin_job *job, answer fn)
{
    struct mg_admin *admin = job->admin;
    struct mg_diag diag = {.line = 0};
    struct mg_usage_query query = {.by_count = 0};
    if (mg_usage_parse_query(&query, mg_buf_view(&job->query), &diag) != MG_OK) {
        mg_admin_fail_with(job, 400, "bad_request", diag.text);
        return;
    }
    if (*job->who.project && mg_usage_confine(&query, job->who.project, &diag) != MG_OK) {
        mg_admin_fail_with(job, 400, "bad_request", diag.text);
        return;
    }
    admin->ops->flush(admin->arg);
    mg_err err = mg_admin_open_store(admin, &diag);
    if (err == MG_OK)
        err = fn(admin->db, &query, &job->out);
    if (err == MG_E_TOO_LARGE)
        mg_admin_fail_with(job, 400, "too_large", "that is too much for one answer: ask for a shorter period or fewer dimensions");
    else if (err != MG_OK)
        mg_admin_fail(job, err, &diag);
}

void mg_admin_usage(struct mg_admin_job *job)
{
    ask(job, mg_usage_report_json);
}

void mg_admin_usage_events(struct mg_admin_job *job)
{
    ask(job, mg_usage_events_json);
}

static bool read_time(const struct mg_json *body, const char *name, uint64_t *out_us)
{
    int64_t value = 0;
    const struct mg_json *member = mg_json_get(body, name);
    if (member && (!mg_json_i64(member, &value) || value < 0))
        return false;
    *out_us = (uint64_t)value;
    return true;
}

void mg_admin_usage_reprice(struct mg_admin_job *job)
{
    struct mg_admin *admin = job->admin;
    struct mg_diag diag = {.line = 0};
    struct mg_usage_range range = {.max_exchanges = MG_REPRICE_EXCHANGES};
    struct mg_reprice piece = {0};
    char path[4096];
    struct mg_json *body = mg_admin_read_body(job);
    if (!body)
        return;
    mg_view prices = mg_json_string(mg_json_get(body, "prices"));
    bool dry_run = mg_json_bool(mg_json_get(body, "dry_run"), false);
    bool good = read_time(body, "from_us", &range.from_us) && read_time(body, "to_us", &range.to_us) && prices.len < sizeof path;
    snprintf(path, sizeof path, "%.*s", MG_FMT(prices));
    mg_json_free(body);
    if (!good) {
        mg_admin_fail_with(job, 400, "bad_request", "\"from_us\" and \"to_us\" are microseconds since 1970, \"prices\" is a path");
        return;
    }
    admin->ops->flush(admin->arg);
    mg_err err = mg_admin_open_store(admin, &diag);
    if (err == MG_OK)
        err = admin->ops->reprice(admin->arg, admin->db, *path ? path : NULL, &range, dry_run, &piece, &diag);
    if (err == MG_OK)
        err = mg_usage_reprice_json(&piece, &job->out);
    mg_reprice_fini(&piece);
    if (err == MG_E_CONFIG)
        mg_admin_fail_with(job, 400, "bad_request", diag.text);
    else if (err != MG_OK)
        mg_admin_fail(job, err, &diag);
}
