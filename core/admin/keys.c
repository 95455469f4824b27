/* Keys of clients over the admin API. */
#include <stdio.h>
#include <string.h>

#include "admin/admin_parts.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/mem.h"
#include "http/json.h"

/* A name that begins with a comma gets it in front of its quote. */
static mg_err put_member(struct mg_buf *out, const char *name, const char *text)
{
    bool comma = name[0] == ',';
    MG_TRY(mg_buf_putf(out, "%s\"%s\":\"", comma ? "," : "", name + comma));
    MG_TRY(mg_buf_put_json(out, mg_view_cstr(text)));
    return mg_buf_putc(out, '"');
}

static const char *or_null(const char *json)
{
    return json ? json : "null";
}

mg_err mg_admin_put_key(const struct mg_key *key, const char *text, struct mg_buf *out)
{
    MG_TRY(mg_buf_putc(out, '{'));
    MG_TRY(put_member(out, "id", key->id));
    MG_TRY(put_member(out, ",project", key->project));
    MG_TRY(put_member(out, ",name", key->name));
    MG_TRY(mg_buf_putf(out, ",\"created_us\":%llu,\"expires_us\":%llu,\"revoked_us\":%llu,\"last_used_us\":%llu",
                       (unsigned long long)key->created_us, (unsigned long long)key->expires_us,
                       (unsigned long long)key->revoked_us, (unsigned long long)key->last_used_us));
    MG_TRY(mg_buf_putf(out, ",\"metadata\":%s,\"workflows\":%s,\"limits\":%s", or_null(key->metadata), or_null(key->workflows),
                       or_null(key->limits)));
    if (*key->replaces)
        MG_TRY(put_member(out, ",replaces", key->replaces));
    if (*key->replaced_by)
        MG_TRY(put_member(out, ",replaced_by", key->replaced_by));
    if (key->disabled)
        MG_TRY(mg_buf_put(out, MG_VIEW(",\"disabled\":true")));
    if (text)
        MG_TRY(put_member(out, ",key", text));
    return mg_buf_putc(out, '}');
}

static void put_listed(void *arg, const struct mg_key *key)
{
    struct mg_admin_listing *listing = arg;
    if (mg_admin_covers(listing->job, key->project) && mg_admin_next_listed(listing))
        listing->err = mg_admin_put_key(key, NULL, listing->out);
}

void mg_admin_list_keys(struct mg_admin_job *job)
{
    struct mg_diag diag = {.line = 0};
    struct mg_admin_listing listing = {.job = job, .out = &job->out, .err = mg_buf_put(&job->out, MG_VIEW("{\"keys\":["))};
    mg_err err = job->admin->ops->key_list(job->admin->arg, put_listed, &listing, &diag);
    if (err != MG_OK)
        mg_admin_fail(job, err, &diag);
    else
        mg_admin_put_failed(job, listing.err == MG_OK ? mg_buf_put(&job->out, MG_VIEW("]}")) : listing.err);
}

/* The text leaves memory with the answer's buffer. */
static void answer_new_key(struct mg_admin_job *job, const struct mg_key *key, char text[MG_KEY_TEXT_BYTES])
{
    job->status = 201;
    mg_err err = mg_buf_reserve(&job->out, MG_ADMIN_KEY_BYTES);        /* growing later would leave a copy behind */
    if (err == MG_OK)
        err = mg_admin_put_key(key, text, &job->out);
    mg_wipe(text, MG_KEY_TEXT_BYTES);
    mg_admin_put_failed(job, err);
}

static void create(struct mg_admin_job *job, const struct mg_keys_spec *spec)
{
    struct mg_diag diag = {.line = 0};
    struct mg_key key;
    char text[MG_KEY_TEXT_BYTES];
    if (!mg_admin_covers(job, spec->project)) {
        mg_admin_fail_with(job, 403, "denied", "your role does not reach into this project");
        return;
    }
    mg_err err = job->admin->ops->key_create(job->admin->arg, mg_view_cstr(job->who.name), spec, text, &key, &diag);
    if (err != MG_OK) {
        mg_admin_fail(job, err, &diag);
        return;
    }
    mg_admin_did(job, "key.create", key.project, key.id, "%s", key.name);
    answer_new_key(job, &key, text);
}

static void change(struct mg_admin_job *job, const struct mg_keys_spec *spec, struct mg_arena *arena)
{
    struct mg_diag diag = {.line = 0};
    struct mg_key key;
    mg_err err = job->admin->ops->key_change(job->admin->arg, mg_view_cstr(job->who.name), job->id, spec, arena, &key, &diag);
    if (err != MG_OK) {
        mg_admin_fail(job, err, &diag);
        return;
    }
    mg_admin_did(job, "key.change", key.project, key.id, "%s", key.name);
    mg_admin_put_failed(job, mg_admin_put_key(&key, NULL, &job->out));
}

static void with_spec(struct mg_admin_job *job, bool is_change)
{
    struct mg_arena arena;
    struct mg_keys_spec spec;
    const char *bad;
    struct mg_json *body = mg_admin_read_body(job);
    if (!body)
        return;
    mg_arena_init(&arena, 4096);
    if (!mg_key_spec_read(body, is_change, &arena, &spec, &bad))
        mg_admin_fail_with(job, 400, "bad_request", bad);
    else if (is_change)
        change(job, &spec, &arena);
    else
        create(job, &spec);
    mg_arena_fini(&arena);
    mg_json_free(body);
}

void mg_admin_create_key(struct mg_admin_job *job)
{
    with_spec(job, false);
}

struct owner {
    const struct mg_admin_job *job;
    bool covered;
    char project[sizeof ((struct mg_key *)0)->project];
};

static void look_at_owner(void *arg, const struct mg_key *key)
{
    struct owner *owner = arg;
    if (strcmp(key->id, owner->job->id) != 0)
        return;
    owner->covered = mg_admin_covers(owner->job, key->project);
    memcpy(owner->project, key->project, sizeof owner->project);
}

/* Is the key of the job's path one of its caller's project? Another's is as unknown as one that never was. */
static bool is_its_key(struct mg_admin_job *job)
{
    struct owner owner = {.job = job};
    struct mg_diag diag = {.line = 0};
    if (!*job->who.project)
        return true;
    if (job->admin->ops->key_list(job->admin->arg, look_at_owner, &owner, &diag) == MG_OK && owner.covered)
        return true;
    mg_admin_fail_with(job, 404, "not_found", "there is no such key in your project");
    return false;
}

void mg_admin_change_key(struct mg_admin_job *job)
{
    if (is_its_key(job))
        with_spec(job, true);
}

void mg_admin_revoke_key(struct mg_admin_job *job)
{
    struct mg_diag diag = {.line = 0};
    struct owner owner = {.job = job};
    if (!is_its_key(job))
        return;
    mg_err err = job->admin->ops->key_list(job->admin->arg, look_at_owner, &owner, &diag);
    if (err == MG_OK)
        err = job->admin->ops->key_revoke(job->admin->arg, mg_view_cstr(job->who.name), job->id, &diag);
    if (err != MG_OK) {
        mg_admin_fail(job, err, &diag);
        return;
    }
    mg_admin_did(job, "key.revoke", owner.project, job->id, "%s", "");
    mg_admin_put_failed(job, mg_buf_putf(&job->out, "{\"id\":\"%s\",\"revoked\":true}", job->id));
}

static void rotate(struct mg_admin_job *job, uint64_t overlap_s)
{
    struct mg_diag diag = {.line = 0};
    struct mg_arena arena;
    struct mg_key key;
    char text[MG_KEY_TEXT_BYTES];
    mg_arena_init(&arena, 4096);
    mg_err err = job->admin->ops->key_rotate(job->admin->arg, mg_view_cstr(job->who.name), job->id, overlap_s, &arena, text, &key, &diag);
    if (err == MG_OK) {
        mg_admin_did(job, "key.rotate", key.project, job->id, "to %s, both for %llu s", key.id,
                       (unsigned long long)overlap_s);
        answer_new_key(job, &key, text);
    } else {
        mg_admin_fail(job, err, &diag);
    }
    mg_arena_fini(&arena);
}

void mg_admin_rotate_key(struct mg_admin_job *job)
{
    int64_t overlap_s = 0;
    struct mg_json *body = job->body.len ? mg_admin_read_body(job) : NULL;
    if (job->body.len && !body)
        return;
    const struct mg_json *overlap = mg_json_get(body, "overlap_s");
    bool good = !overlap || (mg_json_i64(overlap, &overlap_s) && overlap_s >= 0);
    mg_json_free(body);
    if (!good)
        mg_admin_fail_with(job, 400, "bad_request", "\"overlap_s\" must be a number of seconds");
    else if (is_its_key(job))
        rotate(job, (uint64_t)overlap_s);
}
