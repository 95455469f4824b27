/* Who may administer, over the admin API. */
#include <stdio.h>
#include <string.h>

#include "admin/admin_parts.h"
#include "base/log.h"
#include "base/mem.h"
#include "http/json.h"

enum { MEMBER_BYTES = 1024 };

static void put_listed(void *arg, const struct mg_member *member)
{
    struct mg_admin_listing *listing = arg;
    if (mg_admin_covers(listing->job, member->project) && mg_admin_next_listed(listing))
        listing->err = mg_member_put_json(member, NULL, listing->out);
}

void mg_admin_list_members(struct mg_admin_job *job)
{
    struct mg_admin_listing listing = {.job = job, .out = &job->out, .err = mg_buf_put(&job->out, MG_VIEW("{\"members\":["))};
    job->admin->ops->member_list(job->admin->arg, put_listed, &listing);
    mg_admin_put_failed(job, listing.err == MG_OK ? mg_buf_put(&job->out, MG_VIEW("]}")) : listing.err);
}

static void create(struct mg_admin_job *job, struct mg_member *member)
{
    struct mg_diag diag = {.line = 0};
    char text[MG_KEY_TEXT_BYTES];
    mg_err err = job->admin->ops->member_add(job->admin->arg, mg_view_cstr(job->who.name), member, text, &diag);
    if (err != MG_OK) {
        mg_admin_fail(job, err, &diag);
        return;
    }
    mg_admin_did(job, "member.create", member->project, member->name, "%s", mg_role_name(member->role));
    job->status = 201;
    err = mg_buf_reserve(&job->out, MEMBER_BYTES);
    if (err == MG_OK)
        err = mg_member_put_json(member, text, &job->out);
    mg_wipe(text, sizeof text);
    mg_admin_put_failed(job, err);
}

void mg_admin_create_member(struct mg_admin_job *job)
{
    struct mg_member member;
    const char *bad;
    struct mg_json *body = mg_admin_read_body(job);
    if (!body)
        return;
    bool good = mg_member_read(body, &member, &bad);
    mg_json_free(body);
    if (good && !*member.project)
        snprintf(member.project, sizeof member.project, "%s", job->who.project);
    if (!good)
        mg_admin_fail_with(job, 400, "bad_request", bad);
    else if (!mg_admin_covers(job, member.project))
        mg_admin_fail_with(job, 403, "denied", "your role does not reach into this project");
    else
        create(job, &member);
}

struct looked_for {
    const struct mg_admin_job *job;
    bool covered;
};

static void look_at(void *arg, const struct mg_member *member)
{
    struct looked_for *looked_for = arg;
    if (!strcmp(member->name, looked_for->job->id))
        looked_for->covered = mg_admin_covers(looked_for->job, member->project);
}

/* Another project's member is as unknown as one that never was. */
static bool is_its_member(struct mg_admin_job *job)
{
    struct looked_for looked_for = {.job = job};
    if (!*job->who.project)
        return true;
    job->admin->ops->member_list(job->admin->arg, look_at, &looked_for);
    if (!looked_for.covered)
        mg_admin_fail_with(job, 404, "not_found", "there is no such member in your project");
    return looked_for.covered;
}

void mg_admin_remove_member(struct mg_admin_job *job)
{
    struct mg_diag diag = {.line = 0};
    if (!is_its_member(job))
        return;
    mg_err err = job->admin->ops->member_drop(job->admin->arg, mg_view_cstr(job->who.name), job->id, &diag);
    if (err != MG_OK) {
        mg_admin_fail(job, err, &diag);
        return;
    }
    mg_admin_did(job, "member.remove", job->who.project, job->id, "%s", "");
    mg_admin_put_failed(job, mg_buf_putf(&job->out, "{\"name\":\"%s\",\"removed\":true}", job->id));
}
