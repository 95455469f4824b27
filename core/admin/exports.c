/* How the exports of usage events are. */
#include "admin/admin_parts.h"
#include "config/config.h"
#include "watch/exports.h"

void mg_admin_list_exports(struct mg_admin_job *job)
{
    struct mg_admin *admin = job->admin;
    struct mg_export_state states[MG_CONFIG_EXPORTS];
    struct mg_diag diag = {.line = 0};
    admin->ops->flush(admin->arg);
    int count = admin->ops->export_list(admin->arg, states);
    mg_err err = mg_admin_open_store(admin, &diag);
    if (err == MG_OK)
        err = mg_exports_json(admin->db, states, count, &job->out);
    if (err != MG_OK)
        mg_admin_fail(job, err, &diag);
}
