/* Lines of the admin API about secrets, the master key and the audit log. A secret comes as a body of its own, so that no
 * parser copies it; it is wiped with the job. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "admin/admin_parts.h"
#include "base/log.h"
#include "base/mem.h"
#include "watch/json_out.h"
#include "watch/query.h"

enum { AUDIT_PAGE = 1000 };

struct query {
    const char *name;        /* of the parameter */
    char value[160];
};

/* Every parameter must be one of these, and fit. */
static bool read_query(struct mg_admin_job *job, struct query *wanted, size_t count)
{
    mg_view rest = mg_buf_view(&job->query);
    while (rest.len) {
        mg_view value = mg_view_cut(&rest, '&'), name = mg_view_cut(&value, '=');
        bool known = false;
        for (size_t i = 0; i < count; i++) {
            if (!mg_view_eq(name, mg_view_cstr(wanted[i].name)) || value.len >= sizeof wanted[i].value)
                continue;
            char room[sizeof wanted[i].value];
            mg_view decoded = mg_query_decode(value, room, sizeof room);
            snprintf(wanted[i].value, sizeof wanted[i].value, "%.*s", MG_FMT(decoded));
            known = true;
        }
        if (!known) {
            mg_admin_fail_with(job, 400, "bad_request", "the query has a parameter that is not known here, or too long");
            return false;
        }
    }
    return true;
}

static struct mg_desk *desk_of(struct mg_admin_job *job)
{
    return job->admin->ops->desk(job->admin->arg);
}

static void answer(struct mg_admin_job *job, mg_err err)
{
    if (err != MG_OK)
        mg_admin_fail(job, err, NULL);
}

/* Names are people's to choose, and a line of the log is not. */
static const char *plain(char *text, char blank)
{
    for (char *at = text; *at; at++)
        *at = *at == '"' ? '\'' : *at == ' ' ? blank : *at;
    return text;
}

static void say(const struct mg_admin_job *job, const struct mg_act_entry *entry)
{
    struct mg_act_entry copy = *entry;
    mg_log_info(entry->act, "project=%s subject=%s detail=\"%s\" by=%s", plain(copy.project, '_'), plain(copy.subject, '_'),
                plain(copy.detail, ' '), job->who.name);
}

void mg_admin_did(struct mg_admin_job *job, const char *act, const char *project, const char *subject, const char *detail, ...)
{
    struct mg_act_entry entry = {.act = act};
    va_list args;
    va_start(args, detail);
    mg_act_entry_say_v(&entry, project, subject, detail, args);
    va_end(args);
    say(job, &entry);
}

static mg_err nothing(void *arg, struct mg_db *db)
{
    (void)arg;
    (void)db;
    return MG_OK;
}

void mg_admin_acted(struct mg_admin_job *job, const char *act, const char *project, const char *subject, const char *detail, ...)
{
    struct mg_act_entry entry = {.actor = mg_view_cstr(job->who.name), .act = act};
    va_list args;
    va_start(args, detail);
    mg_act_entry_say_v(&entry, project, subject, detail, args);
    va_end(args);
    say(job, &entry);
    mg_err err = job->admin->ops->desk ? mg_desk_act(desk_of(job), &entry, nothing, NULL) : MG_OK;
    if (err != MG_OK)
        mg_log_error("audit.lost", "act=%s subject=%s by=%s reason=\"%s\"", act, subject, job->who.name, mg_err_text(err));
}

static bool reaches(struct mg_admin_job *job, const char *project)
{
    if (mg_admin_covers(job, project))
        return true;
    mg_admin_fail_with(job, 403, "denied", "your role does not reach into this project");
    return false;
}

/* ---- secrets */

struct secret_list {
    struct mg_json_out json;
    const char *project;     /* only its; "": all */
};

static void put_secret(void *arg, const struct mg_vault_entry *entry)
{
    struct secret_list *list = arg;
    struct mg_json_out *json = &list->json;
    if (*list->project && strcmp(list->project, entry->project) != 0)
        return;
    mg_json_out_open(json, NULL, '{');
    mg_json_out_text(json, "project", mg_view_cstr(entry->project));
    mg_json_out_text(json, "name", mg_view_cstr(entry->name));
    mg_json_out_number(json, "version", entry->version);
    mg_json_out_number(json, "created_us", entry->created_us);
    mg_json_out_number(json, "changed_us", entry->changed_us);
    mg_json_out_number(json, "last_used_us", entry->last_used_us);
    mg_json_out_close(json, '}');
}

mg_err mg_admin_put_secrets(struct mg_desk *desk, const char *project, struct mg_buf *out)
{
    struct secret_list list = {.json = {.buf = out}, .project = project};
    mg_json_out_open(&list.json, NULL, '{');
    mg_json_out_open(&list.json, "secrets", '[');
    MG_TRY(mg_desk_list(desk, put_secret, &list));
    mg_json_out_close(&list.json, ']');
    mg_json_out_close(&list.json, '}');
    return mg_json_out_end(&list.json);
}

void mg_admin_list_secrets(struct mg_admin_job *job)
{
    answer(job, mg_admin_put_secrets(desk_of(job), job->who.project, &job->out));
}

static void look_away(void *arg, const struct mg_target_row *row)
{
    (void)arg;
    (void)row;
}

static bool is_configured(const struct mg_admin_job *job, const char *project)
{
    return strcmp(project, MG_SECRETS_OF_GATEWAY) == 0 ||
           job->admin->ops->target_list(job->admin->arg, mg_view_cstr(project), look_away, NULL) == MG_OK;
}

void mg_admin_set_secret(struct mg_admin_job *job)
{
    struct query query[] = {{"project", ""}, {"name", ""}, {"rotate", ""}};
    struct mg_diag diag = {.line = 0};
    uint64_t version = 0;
    if (!read_query(job, query, 3) || !reaches(job, query[0].value))
        return;
    enum mg_desk_set how = strcmp(query[2].value, "1") == 0 ? MG_DESK_ROTATE : MG_DESK_SET;
    mg_err err = mg_desk_set(desk_of(job), mg_view_cstr(job->who.name), how, mg_view_cstr(query[0].value),
                             mg_view_cstr(query[1].value), mg_buf_view(&job->body), &version, &diag);
    if (err != MG_OK) {
        mg_admin_fail(job, err, &diag);
        return;
    }
    mg_log_info("secret.set", "project=%s name=%s version=%llu by=%s", query[0].value, query[1].value,
                (unsigned long long)version, job->who.name);
    job->admin->ops->secret_changed(job->admin->arg, mg_view_cstr(query[0].value), mg_view_cstr(query[1].value));
    answer(job, mg_buf_putf(&job->out, "{\"project\":\"%s\",\"name\":\"%s\",\"version\":%llu,\"project_known\":%s}",
                            query[0].value, query[1].value, (unsigned long long)version,
                            is_configured(job, query[0].value) ? "true" : "false"));
}

void mg_admin_remove_secret(struct mg_admin_job *job)
{
    struct query query[] = {{"project", ""}, {"name", ""}};
    struct mg_diag diag = {.line = 0};
    if (!read_query(job, query, 2) || !reaches(job, query[0].value))
        return;
    mg_err err = mg_desk_remove(desk_of(job), mg_view_cstr(job->who.name), mg_view_cstr(query[0].value),
                                mg_view_cstr(query[1].value), &diag);
    if (err != MG_OK) {
        mg_admin_fail(job, err, &diag);
        return;
    }
    mg_log_info("secret.removed", "project=%s name=%s by=%s", query[0].value, query[1].value, job->who.name);
    answer(job, mg_buf_put(&job->out, MG_VIEW("{\"removed\":true}")));
}

void mg_admin_rewrap(struct mg_admin_job *job)
{
    struct mg_diag diag = {.line = 0};
    unsigned count = 0;
    mg_err err = job->admin->ops->rewrap(job->admin->arg, mg_view_cstr(job->who.name), &count, &diag);
    if (err != MG_OK) {
        mg_admin_fail(job, err, &diag);
        return;
    }
    const char *master = mg_desk_master(desk_of(job));
    mg_log_info("vault.rewrapped", "keys=%u master=%s by=%s", count, master, job->who.name);
    answer(job, mg_buf_putf(&job->out, "{\"rewrapped\":%u,\"master\":\"%s\"}", count, master));
}

/* ---- audit */

struct page {
    struct mg_json_out json;
    uint64_t last;
    size_t count;
};

static void put_entry(void *arg, const struct mg_audit_entry *entry)
{
    struct page *page = arg;
    struct mg_json_out *json = &page->json;
    mg_json_out_open(json, NULL, '{');
    mg_json_out_number(json, "seq", entry->seq);
    mg_json_out_number(json, "at_us", entry->at_us);
    mg_json_out_text(json, "actor", entry->actor);
    mg_json_out_text(json, "act", entry->act);
    mg_json_out_text(json, "project", entry->project);
    mg_json_out_text(json, "subject", entry->subject);
    mg_json_out_text(json, "detail", entry->detail);
    mg_json_out_close(json, '}');
    page->last = entry->seq;
    page->count++;
}

mg_err mg_admin_put_audit(struct mg_desk *desk, uint64_t after, size_t limit, struct mg_buf *out)
{
    struct page page = {.count = 0};
    limit = limit && limit < AUDIT_PAGE ? limit : AUDIT_PAGE;
    page.json.buf = out;
    mg_json_out_open(&page.json, NULL, '{');
    mg_json_out_open(&page.json, "entries", '[');
    MG_TRY(mg_desk_audit_each(desk, after, limit, put_entry, &page));
    mg_json_out_close(&page.json, ']');
    mg_json_out_number(&page.json, "next", page.count == limit ? page.last : 0);
    mg_json_out_close(&page.json, '}');
    return mg_json_out_end(&page.json);
}

void mg_admin_list_audit(struct mg_admin_job *job)
{
    struct query query[] = {{"after", ""}, {"limit", ""}};
    uint64_t after = 0, limit = 0;
    if (!read_query(job, query, 2))
        return;
    if ((*query[0].value && !mg_view_u64(mg_view_cstr(query[0].value), &after)) ||
        (*query[1].value && !mg_view_u64(mg_view_cstr(query[1].value), &limit)))
        mg_admin_fail_with(job, 400, "bad_request", "after and limit are numbers");
    else
        answer(job, mg_admin_put_audit(desk_of(job), after, (size_t)MG_MIN(limit, (uint64_t)AUDIT_PAGE), &job->out));
}

mg_err mg_admin_put_report(const struct mg_audit_report *report, struct mg_buf *out)
{
    struct mg_json_out json = {.buf = out};
    mg_json_out_open(&json, NULL, '{');
    mg_json_out_bool(&json, "good", report->bad_seq == 0);
    mg_json_out_number(&json, "entries", report->entries);
    mg_json_out_text(&json, "head", mg_view_cstr(report->head));
    if (*report->late)
        mg_json_out_text(&json, "begun_late", mg_view_cstr(report->late));
    if (report->bad_seq) {
        mg_json_out_number(&json, "bad_seq", report->bad_seq);
        mg_json_out_text(&json, "what", mg_view_cstr(report->what));
    }
    mg_json_out_close(&json, '}');
    return mg_json_out_end(&json);
}

void mg_admin_verify_audit(struct mg_admin_job *job)
{
    struct query query[] = {{"kept", ""}};
    struct mg_audit_report report;
    if (!read_query(job, query, 1))
        return;
    mg_err err = mg_desk_audit_verify(desk_of(job), mg_view_cstr(query[0].value), &report);
    if (err == MG_E_BAD_REQUEST)
        mg_admin_fail_with(job, 400, "bad_request", "kept is SEQ:HEAD, as an earlier answer had them");
    else
        answer(job, err == MG_OK ? mg_admin_put_report(&report, &job->out) : err);
}
