/* What is left of every limit. */
#include <stdio.h>
#include <string.h>

#include "admin/admin_parts.h"
#include "watch/query.h"

enum { USUAL = 1000 };

struct asked {
    char project[80];                  /* "": all that its caller may see */
    uint64_t most;
};

static bool read_parameter(struct asked *asked, mg_view name, mg_view value)
{
    char room[sizeof asked->project];
    if (mg_view_eq(name, MG_VIEW("limit")))
        return mg_view_u64(value, &asked->most) && asked->most > 0 && asked->most <= MG_LIMITS_MOST;
    if (!mg_view_eq(name, MG_VIEW("project")) || !value.len || value.len >= sizeof room)
        return false;
    mg_view project = mg_query_decode(value, room, sizeof room);
    snprintf(asked->project, sizeof asked->project, "%.*s", MG_FMT(project));
    return true;
}

static bool read_query(struct mg_admin_job *job, struct asked *asked)
{
    mg_view rest = mg_buf_view(&job->query);
    while (rest.len) {
        mg_view value = mg_view_cut(&rest, '&'), name = mg_view_cut(&value, '=');
        if (!read_parameter(asked, name, value))
            return false;
    }
    return true;
}

void mg_admin_list_limits(struct mg_admin_job *job)
{
    struct mg_admin *admin = job->admin;
    struct asked asked = {.most = USUAL};
    if (!read_query(job, &asked)) {
        mg_admin_fail_with(job, 400, "bad_request", "only ?project=NAME and limit=1…10000 can be asked for");
        return;
    }
    bool covered = !*asked.project || mg_admin_covers(job, asked.project);
    const char *project = *asked.project ? asked.project : job->who.project;
    mg_err err = covered ? admin->ops->limit_list(admin->arg, mg_view_cstr(project), asked.most, &job->out) : MG_E_NOT_FOUND;
    if (err == MG_E_NOT_FOUND)
        mg_admin_fail_with(job, 404, "not_found", "there is no such project");
    else
        mg_admin_put_failed(job, err);
}
