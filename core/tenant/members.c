#include "tenant/members.h"

#include <stdio.h>

#include "base/clock.h"
#include "base/mem.h"
#include "http/json.h"

static const char *const role_names[MG_ROLE_COUNT] = {"owner", "operator", "viewer", "secret-writer"};

const char *mg_role_name(enum mg_role role)
{
    return role_names[role];
}

bool mg_role_find(mg_view name, enum mg_role *out_role)
{
    for (int i = 0; i < MG_ROLE_COUNT; i++) {
        if (!mg_view_eq(name, mg_view_cstr(role_names[i])))
            continue;
        *out_role = (enum mg_role)i;
        return true;
    }
    return false;
}

bool mg_role_may(enum mg_role role, enum mg_right right)
{
    switch (role) {
    case MG_ROLE_OWNER: return true;
    case MG_ROLE_OPERATOR: return right == MG_RIGHT_VIEW || right == MG_RIGHT_OPERATE;
    case MG_ROLE_VIEWER: return right == MG_RIGHT_VIEW;
    case MG_ROLE_SECRET_WRITER: return right == MG_RIGHT_SET_SECRETS;
    default: return false;
    }
}

/* ---- identities ------------------------------------------------------------------------------ */

void mg_identity_of(const struct mg_member *member, struct mg_identity *out_identity)
{
    out_identity->grant_count = 1;
    out_identity->grants[0] = (struct mg_grant){.role = member->role};
    snprintf(out_identity->name, sizeof out_identity->name, "%s", member->name);
    snprintf(out_identity->grants[0].project, sizeof out_identity->grants[0].project, "%s", member->project);
}

static bool reaches(const struct mg_grant *grant, enum mg_right right, mg_view wanted)
{
    bool there = !*grant->project || !wanted.len || mg_view_eq(wanted, mg_view_cstr(grant->project));
    return there && mg_role_may(grant->role, right);
}

/* The widest of those that reach; two that name different projects leave it open which is meant. */
static const struct mg_grant *choose(const struct mg_identity *identity, enum mg_right right, mg_view wanted, bool *out_several)
{
    const struct mg_grant *best = NULL;
    *out_several = false;
    for (size_t i = 0; i < identity->grant_count; i++) {
        const struct mg_grant *grant = &identity->grants[i];
        if (!reaches(grant, right, wanted))
            continue;
        if (best && *best->project && *grant->project)
            *out_several = *out_several || strcmp(best->project, grant->project) != 0;
        if (!best || !*grant->project)
            best = grant;
    }
    *out_several = *out_several && *best->project;
    return best;
}

mg_err mg_identity_act(const struct mg_identity *identity, enum mg_right right, mg_view wanted, struct mg_member *out_as)
{
    bool several;
    const struct mg_grant *grant = choose(identity, right, wanted, &several);
    if (!grant || wanted.len >= sizeof out_as->project)
        return MG_E_DENIED;
    if (several)
        return MG_E_BAD_REQUEST;
    *out_as = (struct mg_member){.role = grant->role};
    snprintf(out_as->name, sizeof out_as->name, "%s", identity->name);
    snprintf(out_as->project, sizeof out_as->project, "%.*s", MG_FMT(wanted.len ? wanted : mg_view_cstr(grant->project)));
    return MG_OK;
}

/* ---- the store ------------------------------------------------------------------------------- */

static mg_err count_all(struct mg_db *db, size_t *out_count)
{
    struct mg_stmt *stmt;
    bool row = false;
    MG_TRY(mg_db_prepare(db, "SELECT count(*) FROM members", &stmt));
    mg_err err = mg_stmt_step(stmt, &row);
    size_t count = err == MG_OK && row ? (size_t)mg_stmt_int(stmt, 0) : 0;
    mg_stmt_free(stmt);
    if (err == MG_OK)
        *out_count = count;
    return err;
}

mg_err mg_members_create(struct mg_db *db, const struct mg_key_secret *secret, struct mg_member *member,
                         char out_text[MG_KEY_TEXT_BYTES])
{
    struct mg_stmt *stmt;
    size_t count = 0;
    MG_TRY(count_all(db, &count));
    if (count >= MG_MAX_MEMBERS)
        return MG_E_TOO_LARGE;
    member->created_us = mg_wall_us();
    MG_TRY(mg_key_issue_token(secret, out_text, member->hash));
    MG_TRY(mg_db_prepare(db, "INSERT INTO members (name, role, project, hash, created_us, expires_us) VALUES (?, ?, ?, ?, ?, ?)",
                         &stmt));
    mg_stmt_bind_text(stmt, 1, mg_view_cstr(member->name));
    mg_stmt_bind_text(stmt, 2, mg_view_cstr(mg_role_name(member->role)));
    mg_stmt_bind_text(stmt, 3, *member->project ? mg_view_cstr(member->project) : MG_VIEW_NONE);
    mg_stmt_bind_blob(stmt, 4, mg_view_of((const char *)member->hash, sizeof member->hash));
    mg_stmt_bind_int(stmt, 5, (int64_t)member->created_us);
    mg_stmt_bind_int(stmt, 6, (int64_t)member->expires_us);
    mg_err err = mg_stmt_run(stmt);
    mg_stmt_free(stmt);
    return err;
}

mg_err mg_members_remove(struct mg_db *db, const char *name)
{
    struct mg_stmt *stmt;
    MG_TRY(mg_db_prepare(db, "DELETE FROM members WHERE name = ?", &stmt));
    mg_stmt_bind_text(stmt, 1, mg_view_cstr(name));
    mg_err err = mg_stmt_run(stmt);
    mg_stmt_free(stmt);
    return err == MG_OK && mg_db_changes(db) == 0 ? MG_E_NOT_FOUND : err;
}

/* False: a role that this version does not know may do nothing. */
static bool read_row(struct mg_stmt *stmt, struct mg_member *member)
{
    *member = (struct mg_member){.created_us = (uint64_t)mg_stmt_int(stmt, 4), .expires_us = (uint64_t)mg_stmt_int(stmt, 5)};
    snprintf(member->name, sizeof member->name, "%.*s", MG_FMT(mg_stmt_text(stmt, 0)));
    snprintf(member->project, sizeof member->project, "%.*s", MG_FMT(mg_stmt_text(stmt, 2)));
    mg_view hash = mg_stmt_blob(stmt, 3);
    if (hash.len != sizeof member->hash)
        return false;
    memcpy(member->hash, hash.ptr, hash.len);
    return mg_role_find(mg_stmt_text(stmt, 1), &member->role);
}

mg_err mg_members_load(struct mg_db *db, struct mg_arena *arena, struct mg_member **out_members, size_t *out_count)
{
    struct mg_stmt *stmt;
    size_t total = 0, count = 0;
    bool row = false;
    MG_TRY(count_all(db, &total));
    struct mg_member *members = mg_arena_array(arena, struct mg_member, total + 1);
    MG_TRY(mg_db_prepare(db, "SELECT name, role, project, hash, created_us, expires_us FROM members ORDER BY name", &stmt));
    mg_err err;
    while ((err = mg_stmt_step(stmt, &row)) == MG_OK && row && count < total)
        count += read_row(stmt, &members[count]);
    mg_stmt_free(stmt);
    MG_TRY(err);
    *out_members = members;
    *out_count = count;
    return MG_OK;
}

/* ---- JSON ------------------------------------------------------------------------------------ */

/* Names stand in log lines and paths. */
static bool is_name(mg_view name)
{
    bool good = name.len > 0 && name.len < MG_MEMBER_NAME_BYTES;
    for (size_t i = 0; i < name.len; i++) {
        char c = name.ptr[i], low = (char)(c | 0x20);
        good = good && ((low >= 'a' && low <= 'z') || (c >= '0' && c <= '9') || (c && strchr("-_.@", c)));
    }
    return good;
}

bool mg_member_read(const struct mg_json *body, struct mg_member *out_member, const char **out_bad)
{
    struct mg_member member = {.expires_us = 0};
    mg_view name = mg_json_string(mg_json_get(body, "name")), project = mg_json_string(mg_json_get(body, "project"));
    const struct mg_json *expires = mg_json_get(body, "expires_us");
    int64_t expires_us = 0;
    *out_bad = "\"name\" must be letters, digits and -_.@, at most 71 of them";
    if (!is_name(name))
        return false;
    *out_bad = "\"role\" must be owner, operator, viewer or secret-writer";
    if (!mg_role_find(mg_json_string(mg_json_get(body, "role")), &member.role))
        return false;
    *out_bad = "\"project\" is too long";
    if (project.len >= sizeof member.project)
        return false;
    *out_bad = "\"expires_us\" must be microseconds since 1970, or 0 for never";
    if (expires && (!mg_json_i64(expires, &expires_us) || expires_us < 0))
        return false;
    snprintf(member.name, sizeof member.name, "%.*s", MG_FMT(name));
    snprintf(member.project, sizeof member.project, "%.*s", MG_FMT(project));
    member.expires_us = (uint64_t)expires_us;
    *out_member = member;
    return true;
}

mg_err mg_member_put_json(const struct mg_member *member, const char *text, struct mg_buf *out)
{
    MG_TRY(mg_buf_putf(out, "{\"name\":\"%s\",\"role\":\"%s\",\"project\":", member->name, mg_role_name(member->role)));
    MG_TRY(mg_buf_put(out, *member->project ? MG_VIEW("\"") : MG_VIEW("null")));
    MG_TRY(mg_buf_put_json(out, mg_view_cstr(member->project)));
    MG_TRY(mg_buf_put(out, *member->project ? MG_VIEW("\"") : MG_VIEW("")));
    MG_TRY(mg_buf_putf(out, ",\"created_us\":%llu,\"expires_us\":%llu", (unsigned long long)member->created_us,
                       (unsigned long long)member->expires_us));
    if (text)
        MG_TRY(mg_buf_putf(out, ",\"token\":\"%s\"", text));
    return mg_buf_putc(out, '}');
}
