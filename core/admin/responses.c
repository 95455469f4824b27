/* What projects keep for the Responses API, and its erasure. */
#include <stdio.h>
#include <string.h>

#include "admin/admin_parts.h"
#include "http/json.h"
#include "store/responses.h"
#include "watch/responses.h"

void mg_admin_list_responses(struct mg_admin_job *job)
{
    struct mg_admin *admin = job->admin;
    struct mg_diag diag = {.line = 0};
    mg_err err = mg_admin_open_store(admin, &diag);
    if (err == MG_OK)
        err = mg_responses_json(admin->db, mg_view_cstr(job->who.project), &job->out);
    if (err != MG_OK)
        mg_admin_fail(job, err, &diag);
}

struct erasure {
    struct mg_act_entry entry;
    char project[80], key[80];         /* key "": all of the project */
    uint64_t gone;
};

static mg_err erase(void *arg, struct mg_db *db)
{
    struct erasure *erasure = arg;
    MG_TRY(mg_responses_erase(db, mg_view_cstr(erasure->project), mg_view_cstr(erasure->key), &erasure->gone));
    mg_act_entry_say(&erasure->entry, erasure->project, erasure->key, "%llu responses", (unsigned long long)erasure->gone);
    return MG_OK;
}

static bool read_text(const struct mg_json *body, const char *name, char *out, size_t size)
{
    const struct mg_json *value = mg_json_get(body, name);
    mg_view text = mg_json_string(value);
    snprintf(out, size, "%.*s", MG_FMT(text));
    return (!value || mg_json_is(value, MG_JSON_STRING)) && strlen(out) == text.len && !mg_view_has_controls(text);
}

/* Also of a project that is configured no more: that is when it is asked for. */
void mg_admin_erase_responses(struct mg_admin_job *job)
{
    struct erasure erasure = {.entry = {.actor = mg_view_cstr(job->who.name), .act = "responses.erase"}};
    struct mg_json *body = mg_admin_read_body(job);
    if (!body)
        return;
    bool good = read_text(body, "project", erasure.project, sizeof erasure.project) && *erasure.project &&
                read_text(body, "key", erasure.key, sizeof erasure.key);
    mg_json_free(body);
    if (!good) {
        mg_admin_fail_with(job, 400, "bad_request", "\"project\" must name a project; \"key\" is the id of a key");
        return;
    }
    if (!mg_admin_covers(job, erasure.project)) {
        mg_admin_fail_with(job, 403, "denied", "your role does not reach into this project");
        return;
    }
    mg_err err = mg_desk_act(job->admin->ops->desk(job->admin->arg), &erasure.entry, erase, &erasure);
    if (err != MG_OK) {
        mg_admin_fail(job, err, NULL);
        return;
    }
    mg_admin_did(job, "responses.erase", erasure.project, erasure.key, "%llu responses", (unsigned long long)erasure.gone);
    mg_admin_put_failed(job, mg_buf_putf(&job->out, "{\"erased\":%llu}", (unsigned long long)erasure.gone));
}
