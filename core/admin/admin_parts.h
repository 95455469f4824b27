/* admin_parts.h - what the files of admin/ share. */
#ifndef MG_ADMIN_ADMIN_PARTS_H
#define MG_ADMIN_ADMIN_PARTS_H

#include "admin/admin.h"
#include "http/service.h"
#include "store/db.h"
#include "watch/search.h"

enum { MG_ADMIN_JOBS = 64, MG_ADMIN_CONNECTIONS = 256, MG_ADMIN_ID_BYTES = 64 };

struct mg_admin_job;
struct mg_json;

/* One line of the API. `run` fills the job's status and out; it runs on the pool when `waits`, else on the loop. */
struct mg_admin_route {
    enum mg_http_method method;
    const char *path;        /* a `{id}` segment matches anything and lands in job->id */
    void (*run)(struct mg_admin_job *job);
    bool waits;
    bool open;               /* answers without a token */
    const char *type;        /* content type of the answer */
    const char *text;        /* what it answers, for the reference page */
    enum mg_right right;     /* that its caller needs; missing: an owner's */
    bool scoped;             /* it keeps within job->who.project by itself; else only members of all projects may call it */
    bool reads;              /* through admin->db, and perhaps for long: what `waits` otherwise does not wait for it */
};

/* One request. It owns copies, because the client may leave while it runs. */
struct mg_admin_job {
    struct mg_list link;     /* while it waits for its turn */
    struct mg_admin *admin;
    struct mg_admin_lane *lane;        /* where it waits and runs */
    struct mg_service_call *call;      /* NULL once the client is gone */
    const struct mg_admin_route *route;
    char id[MG_ADMIN_ID_BYTES];
    struct mg_member who;    /* asks: name for the log, role, and the project it is confined to ("": none) */
    struct mg_buf query, body;
    int status;
    struct mg_buf out;
    uv_work_t work;
};

/* Jobs that run one after the other. */
struct mg_admin_lane {
    struct mg_list waiting;  /* struct mg_admin_job */
    size_t waiting_count;
    struct mg_admin_job *running;      /* on the pool; NULL when none is */
};

struct mg_admin {
    uv_thread_t thread;
    struct mg_loop loop;
    struct mg_service tcp, local;
    bool has_tcp;
    char *token;             /* owned; NULL: none */
    char *data_dir;          /* owned */
    const struct mg_admin_ops *ops;
    void *arg;
    struct mg_db *db;        /* owned; opened by the first job that needs it; only jobs that read touch it */
    struct mg_search *search; /* owned; goes over what db reads */
    struct mg_identity identity;       /* of whoever calls, while it is looked at; large */
    uint64_t refusal_logged_us;        /* monotonic */
    uint32_t local_uid;                /* who came last over the unix socket … */
    char local_name[40];               /* … and that user's name; "": nobody yet */
    struct mg_admin_lane acts, reads;  /* a key is revoked while a year of usage is added up */
    int stopping;            /* services that have not stopped yet */
    bool stopped;
};

/* caller.c */
struct mg_admin_refusal {
    int status;
    const char *code, *message;        /* static */
};
/* Who calls, and as whom it may make this call; false: what to answer instead. Over TCP a token says who it is, the unix socket
 * belongs to its owner. The header x-moongate-project confines a call to one project. */
bool mg_admin_admit(struct mg_admin *admin, const struct mg_service_call *call, const struct mg_admin_route *route,
                    struct mg_member *out_who, struct mg_admin_refusal *out_refusal);

/* May this job touch that project? */
bool mg_admin_covers(const struct mg_admin_job *job, const char *project);

/* vault_routes.c */
/* Somebody did something that the audit log knows already: a line in the log. */
void mg_admin_did(struct mg_admin_job *job, const char *act, const char *project, const char *subject, const char *detail, ...)
    __attribute__((format(printf, 5, 6)));
/* The same of what is no write to the store: it is entered in the audit log here. */
void mg_admin_acted(struct mg_admin_job *job, const char *act, const char *project, const char *subject, const char *detail, ...)
    __attribute__((format(printf, 5, 6)));
void mg_admin_list_secrets(struct mg_admin_job *job);
void mg_admin_set_secret(struct mg_admin_job *job);
void mg_admin_remove_secret(struct mg_admin_job *job);
void mg_admin_rewrap(struct mg_admin_job *job);
void mg_admin_list_audit(struct mg_admin_job *job);
void mg_admin_verify_audit(struct mg_admin_job *job);

/* The table, and what fills a job. */
const struct mg_admin_route *mg_admin_routes(size_t *out_count);
void mg_admin_fail(struct mg_admin_job *job, mg_err err, const struct mg_diag *diag);
void mg_admin_fail_with(struct mg_admin_job *job, int status, const char *code, const char *message);

/* admin->db is open after MG_OK. */
MG_MUST_USE mg_err mg_admin_open_store(struct mg_admin *admin, struct mg_diag *diag);
/* The job's body, which must be a JSON object; NULL after the job has failed. */
struct mg_json *mg_admin_read_body(struct mg_admin_job *job);

/* An answer that could not be written. MG_OK is a no-op. */
void mg_admin_put_failed(struct mg_admin_job *job, mg_err err);

/* Writes the items of a list, with commas between them. */
struct mg_admin_listing {
    struct mg_admin_job *job;
    struct mg_buf *out;
    size_t count;
    mg_err err;              /* the first that happened */
};
bool mg_admin_next_listed(struct mg_admin_listing *listing);     /* true: the next one may be written */

/* requests.c */
void mg_admin_list_requests(struct mg_admin_job *job);
void mg_admin_show_request(struct mg_admin_job *job);
void mg_admin_sum_requests(struct mg_admin_job *job);
void mg_admin_step_requests(struct mg_admin_job *job);
void mg_admin_group_requests(struct mg_admin_job *job);

/* keys.c */
void mg_admin_list_keys(struct mg_admin_job *job);
void mg_admin_create_key(struct mg_admin_job *job);
void mg_admin_change_key(struct mg_admin_job *job);
void mg_admin_revoke_key(struct mg_admin_job *job);
void mg_admin_rotate_key(struct mg_admin_job *job);

/* switches.c */
void mg_admin_list_switches(struct mg_admin_job *job);
void mg_admin_disable(struct mg_admin_job *job);
void mg_admin_enable(struct mg_admin_job *job);

/* members.c */
void mg_admin_list_members(struct mg_admin_job *job);
void mg_admin_create_member(struct mg_admin_job *job);
void mg_admin_remove_member(struct mg_admin_job *job);

/* exports.c */
void mg_admin_list_exports(struct mg_admin_job *job);

/* responses.c */
void mg_admin_list_responses(struct mg_admin_job *job);
void mg_admin_erase_responses(struct mg_admin_job *job);

/* limits.c */
void mg_admin_list_limits(struct mg_admin_job *job);

/* usage.c */
void mg_admin_usage(struct mg_admin_job *job);
void mg_admin_usage_events(struct mg_admin_job *job);
void mg_admin_usage_reprice(struct mg_admin_job *job);

#endif
