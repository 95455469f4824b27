/* Who calls the admin plane, and as whom it then acts: one role, in one project or in all. */
#include <stdio.h>

#include "admin/admin_parts.h"
#include "base/clock.h"
#include "base/log.h"
#include "http/json.h"
#include "watch/logs.h"

enum { REFUSALS_LOGGED_US = 1000000 };

/* ---- who is it? ------------------------------------------------------------------------------ */

static void become(struct mg_identity *identity, mg_view name)
{
    identity->grant_count = 1;
    identity->grants[0] = (struct mg_grant){.role = MG_ROLE_OWNER};
    snprintf(identity->name, sizeof identity->name, "%.*s", MG_FMT(name));
}

/* Whoever opened the socket has every right, so its word on who it is will do for the log. */
static void name_local(const struct mg_service_call *call, struct mg_identity *out_identity)
{
    mg_view said = mg_headers_get(call->request->headers, MG_VIEW("x-moongate-actor"));
    bool plain = said.len > 0 && said.len < sizeof out_identity->name;
    for (size_t i = 0; i < said.len; i++)
        plain = plain && said.ptr[i] > ' ' && said.ptr[i] < 0x7f && said.ptr[i] != '"';
    become(out_identity, plain ? said : MG_VIEW("local"));
}

/* MG_OK, or MG_E_DENIED and MG_E_AGAIN with why. */
static mg_err identify(const struct mg_admin *admin, const struct mg_service_call *call, struct mg_identity *out_identity,
                       const char **out_why)
{
    if (call->local) {
        name_local(call, out_identity);
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
            return mg_logs_decode(value, room, size);
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
