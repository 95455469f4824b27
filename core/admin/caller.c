/* Who calls the admin plane, and as whom it then acts: one role, in one project or in all. */
#include <pwd.h>
#include <stdio.h>
#include <string.h>

#include "admin/admin_parts.h"
#include "base/clock.h"
#include "base/log.h"
#include "http/json.h"
#include "watch/query.h"

enum { REFUSALS_LOGGED_US = 1000000, LONGEST_NAME = 32 };

/* ---- who is it? ------------------------------------------------------------------------------ */

static void become(struct mg_identity *identity, mg_view name)
{
    identity->grant_count = 1;
    identity->grants[0] = (struct mg_grant){.role = MG_ROLE_OWNER};
    snprintf(identity->name, sizeof identity->name, "%.*s", MG_FMT(name));
}

/* A name that can stand in a line of the log. */
static bool is_word(mg_view text)
{
    bool good = text.len > 0 && text.len <= LONGEST_NAME;
    for (size_t i = 0; i < text.len && good; i++)
        good = text.ptr[i] > ' ' && text.ptr[i] < 0x7f && !strchr("\"'()\\", text.ptr[i]);
    return good;
}

/* The user's name, looked up once for those who come one after the other: where names are kept may be slow. */
static const char *user_name(struct mg_admin *admin, uint32_t uid)
{
    struct passwd row, *found = NULL;
    char room[1024];
    if (admin->local_name[0] && admin->local_uid == uid)
        return admin->local_name;
    admin->local_uid = uid;
    if (getpwuid_r(uid, &row, room, sizeof room, &found) == 0 && found && is_word(mg_view_cstr(found->pw_name)))
        snprintf(admin->local_name, sizeof admin->local_name, "%s", found->pw_name);
    else
        snprintf(admin->local_name, sizeof admin->local_name, "%u", uid);
    return admin->local_name;
}

/* "local:root", as the kernel says whose process opened the socket, and beside it whom that process says it acts for, when that
 * is somebody else: "local:root(alice)". */
static void name_local(struct mg_admin *admin, const struct mg_service_call *call, struct mg_identity *out_identity)
{
    char name[sizeof out_identity->name];
    mg_view said = mg_headers_get(call->request->headers, MG_VIEW("x-moongate-actor"));
    const char *user = call->uid == UINT32_MAX ? "?" : user_name(admin, call->uid);
    bool other = is_word(said) && !mg_view_eq(said, mg_view_cstr(user));
    snprintf(name, sizeof name, other ? "local:%s(%.*s)" : "local:%s", user, MG_FMT(said));
    become(out_identity, mg_view_cstr(name));
}

/* MG_OK, or MG_E_DENIED and MG_E_AGAIN with why. */
static mg_err identify(struct mg_admin *admin, const struct mg_service_call *call, struct mg_identity *out_identity,
                       const char **out_why)
{
    if (call->local) {
        name_local(admin, call, out_identity);
        return MG_OK;
    }
    mg_view given = mg_headers_get(call->request->headers, MG_VIEW("authorization"));
    *out_why = "send a token in the header Authorization, behind Bearer, or use the unix socket";
    if (!mg_view_ieq(mg_view_head(given, 7), MG_VIEW("bearer ")))
        return MG_E_DENIED;
    mg_view token = mg_view_trim(mg_view_skip(given, 7));
    if (admin->token && mg_view_eq_ct(token, mg_view_cstr(admin->token))) {
        become(out_identity, MG_VIEW("admin.token"));
        return MG_OK;
    }
    *out_why = "nobody's token is this one, or it has expired";
    return admin->ops->identify(admin->arg, token, out_identity, out_why);
}

/* ---- as whom does it act? -------------------------------------------------------------------- */

/* ?project=NAME */
static mg_view queried_project(mg_view query, char *room, size_t size)
{
    while (query.len) {
        mg_view value = mg_view_cut(&query, '&'), name = mg_view_cut(&value, '=');
        if (mg_view_eq(name, MG_VIEW("project")))
            return mg_query_decode(value, room, size);
    }
    return MG_VIEW_NONE;
}

/* {"project": NAME} */
static mg_view named_project(mg_view body, char *room, size_t size)
{
    struct mg_json *json = NULL;
    if (mg_json_parse(body, MG_MAX_ADMIN_BODY_BYTES, &json, NULL) != MG_OK)
        return MG_VIEW_NONE;
    mg_view name = mg_json_string(mg_json_get(json, "project"));
    size_t len = (size_t)snprintf(room, size, "%.*s", MG_FMT(name));
    mg_json_free(json);
    return len < size ? mg_view_of(room, len) : MG_VIEW_NONE;
}

/* What the call is about tells which project somebody with several means; the header confines any call. */
static mg_err act(const struct mg_service_call *call, const struct mg_admin_route *route, const struct mg_identity *identity,
                  struct mg_member *out_who)
{
    char room[MG_SECRET_NAME_BYTES];
    mg_view confined = mg_headers_get(call->request->headers, MG_VIEW("x-moongate-project"));
    if (confined.len && !mg_secret_name_is_good(confined))
        return MG_E_DENIED;
    mg_err err = mg_identity_act(identity, route->right, confined, out_who);
    if (err != MG_E_BAD_REQUEST)
        return err;
    mg_view meant = queried_project(call->request->query, room, sizeof room);
    if (!meant.len)
        meant = named_project(call->body, room, sizeof room);
    return meant.len ? mg_identity_act(identity, route->right, meant, out_who) : err;
}

/* Without a flood of them: whoever tries tokens shall not fill the log. */
static void log_refusal(struct mg_admin *admin, const char *why)
{
    uint64_t now_us = mg_mono_us();
    if (now_us < admin->refusal_logged_us + REFUSALS_LOGGED_US)
        return;
    admin->refusal_logged_us = now_us;
    mg_log_warn("admin.refused", "reason=\"%s\"", why);
}

bool mg_admin_admit(struct mg_admin *admin, const struct mg_service_call *call, const struct mg_admin_route *route,
                    struct mg_member *out_who, struct mg_admin_refusal *out_refusal)
{
    const char *why = "";
    struct mg_identity *identity = &admin->identity;
    mg_err err = identify(admin, call, identity, &why);
    if (err != MG_OK) {
        log_refusal(admin, why);
        *out_refusal = err == MG_E_AGAIN ? (struct mg_admin_refusal){503, "busy", why} : (struct mg_admin_refusal){401, "unauthorized", why};
        return false;
    }
    err = act(call, route, identity, out_who);
    if (err == MG_E_BAD_REQUEST) {
        *out_refusal = (struct mg_admin_refusal){400, "bad_request",
                                                 "you may do this in several projects: say in which with the header x-moongate-project"};
        return false;
    }
    if (err != MG_OK || (*out_who->project && !route->scoped)) {
        *out_refusal = (struct mg_admin_refusal){403, "denied", "your role does not let you do this"};
        return false;
    }
    return true;
}
