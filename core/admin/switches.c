/* What is disabled by hand, over the admin API. */
#include <stdio.h>
#include <string.h>

#include "admin/admin_parts.h"
#include "base/clock.h"
#include "base/log.h"
#include "http/json.h"
#include "tenant/switchstore.h"

static void put_listed(void *arg, const struct mg_switch *row)
{
    struct mg_admin_listing *listing = arg;
    if (mg_admin_covers(listing->job, row->project) && mg_admin_next_listed(listing))
        listing->err = mg_switch_put_json(row, listing->out);
}

void mg_admin_list_switches(struct mg_admin_job *job)
{
    struct mg_diag diag = {.line = 0};
    struct mg_admin_listing listing = {.job = job, .out = &job->out, .err = mg_buf_put(&job->out, MG_VIEW("{\"disabled\":["))};
    mg_err err = job->admin->ops->switch_list(job->admin->arg, put_listed, &listing, &diag);
    if (err != MG_OK)
        mg_admin_fail(job, err, &diag);
    else
        mg_admin_put_failed(job, listing.err == MG_OK ? mg_buf_put(&job->out, MG_VIEW("]}")) : listing.err);
}

/* A member that may be missing; false: it is no string, has control characters, or does not fit. */
static bool read_text(const struct mg_json *body, const char *member, char *out, size_t size)
{
    const struct mg_json *value = mg_json_get(body, member);
    mg_view text = mg_json_string(value);
    snprintf(out, size, "%.*s", MG_FMT(text));
    if (mg_view_has_controls(text))
        return false;
    return (!value || mg_json_is(value, MG_JSON_STRING)) && strlen(out) == text.len;
}

static bool read_row(struct mg_admin_job *job, struct mg_switch *row)
{
    struct mg_json *body = mg_admin_read_body(job);
    if (!body)
        return false;
    *row = (struct mg_switch){.since_us = mg_wall_us()};
    bool good = mg_switch_kind_find(mg_json_string(mg_json_get(body, "kind")), &row->kind) &&
                read_text(body, "name", row->name, sizeof row->name) && *row->name &&
                read_text(body, "project", row->project, sizeof row->project) &&
                read_text(body, "message", row->message, sizeof row->message);
    snprintf(row->actor, sizeof row->actor, "%s", job->who.name);
    mg_json_free(body);
    if (!good)
        mg_admin_fail_with(job, 400, "bad_request",
                           "\"kind\" must be project, key, workflow, provider or plugin, \"name\" a name; \"project\" and "
                           "\"message\" (at most 511 bytes) are strings without control characters");
    return good;
}

static void set(struct mg_admin_job *job, bool on)
{
    struct mg_diag diag = {.line = 0};
    struct mg_switch row, done;
    if (!read_row(job, &row))
        return;
    mg_err err = job->admin->ops->switch_set(job->admin->arg, on, &row, job->who.project, &done, &diag);
    if (err != MG_OK) {
        mg_admin_fail(job, err, &diag);
        return;
    }
    mg_admin_did(job, on ? "switch.enable" : "switch.disable", done.project, done.name, "%s", mg_switch_kind_name(done.kind));
    mg_admin_put_failed(job, mg_switch_put_json(&done, &job->out));
}

void mg_admin_disable(struct mg_admin_job *job)
{
    set(job, false);
}

void mg_admin_enable(struct mg_admin_job *job)
{
    set(job, true);
}
