/* moongate admin: who may administer over TCP, and what. */
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/limits.h"
#include "base/mem.h"
#include "cli/act.h"
#include "cli/cli.h"
#include "tenant/members.h"

struct arguments {
    const char *role, *project, *expires, *data, *config;
    bool json;
    const char *name;
};

struct verb {
    const char *name;
    bool needs_name;
    const char *method, *path;                                       /* `%s` is the name */
    mg_err (*offline)(void *arg, const struct mg_act_store *store, struct mg_buf *out, struct mg_diag *diag);
    void (*print)(void *arg, const struct mg_json *answer);
    const char *audit;       /* NULL: it changes nothing */
};

static mg_err create_offline(void *arg, const struct mg_act_store *store, struct mg_buf *out, struct mg_diag *diag);
static mg_err list_offline(void *arg, const struct mg_act_store *store, struct mg_buf *out, struct mg_diag *diag);
static mg_err remove_offline(void *arg, const struct mg_act_store *store, struct mg_buf *out, struct mg_diag *diag);
static void print_new(void *arg, const struct mg_json *member);
static void print_list(void *arg, const struct mg_json *answer);
static void print_removed(void *arg, const struct mg_json *answer);
static int run(const struct verb *verb, struct arguments *a);

static const struct verb verbs[] = {
    {"create", true, "POST", "/admin/v1/members", create_offline, print_new, "member.create"},
    {"list", false, "GET", "/admin/v1/members", list_offline, print_list, NULL},
    {"remove", true, "DELETE", "/admin/v1/members/%s", remove_offline, print_removed, "member.remove"},
};

int mg_cli_admin(int argc, char **argv)
{
    struct arguments a = {.role = NULL};
    const struct mg_option options[] = {
        {"--role", NULL, "ROLE", MG_OPTION_TEXT, &a.role, "create: owner, operator, viewer or secret-writer"},
        {"--project", NULL, "NAME", MG_OPTION_TEXT, &a.project, "create: only in this project; without it in all"},
        {"--expires", NULL, "TIME", MG_OPTION_TEXT, &a.expires, "create: 30d, 12h; without it never"},
        {"--json", NULL, NULL, MG_OPTION_FLAG, &a.json, "print JSON"},
        {"--data", NULL, "DIR", MG_OPTION_TEXT, &a.data, "the data folder instead of the configuration's"},
        {"--config", "-c", "FILE", MG_OPTION_TEXT, &a.config, "gateway.lua, to find the data folder"},
    };
    int end = mg_cli_parse(&argc, argv, options, MG_COUNT(options), 2);
    if (end != MG_CLI_GO)
        return end;
    const struct verb *verb = NULL;
    for (size_t i = 0; i < MG_COUNT(verbs); i++)
        verb = argc > 1 && !strcmp(argv[1], verbs[i].name) ? &verbs[i] : verb;
    if (!verb || verb->needs_name != (argc == 3))
        return mg_cli_complain(MG_EXIT_USAGE, "admin", "say what to do: create NAME --role ROLE, list, or remove NAME");
    a.name = argc == 3 ? argv[2] : "";
    if (strlen(a.name) >= MG_MEMBER_NAME_BYTES || strpbrk(a.name, "/?# "))
        return mg_cli_complain(MG_EXIT_USAGE, "admin", "\"%s\" is no name", a.name);
    if (!strcmp(verb->name, "create") && !a.role)
        return mg_cli_complain(MG_EXIT_USAGE, "admin", "say which role: --role owner, operator, viewer or secret-writer");
    uint64_t expires_us;
    if (a.expires && (!mg_act_duration(a.expires, &expires_us) || !expires_us))
        return mg_cli_complain(MG_EXIT_USAGE, "admin", "--expires needs a time such as 30d or 12h");
    return run(verb, &a);
}

static mg_err put_body(const struct arguments *a, struct mg_buf *out)
{
    uint64_t expires_us = 0;
    MG_TRY(mg_buf_put(out, MG_VIEW("{\"name\":")));
    MG_TRY(mg_act_put_quoted(out, a->name));
    MG_TRY(mg_buf_put(out, MG_VIEW(",\"role\":")));
    MG_TRY(mg_act_put_quoted(out, a->role));
    if (a->project) {
        MG_TRY(mg_buf_put(out, MG_VIEW(",\"project\":")));
        MG_TRY(mg_act_put_quoted(out, a->project));
    }
    if (a->expires && mg_act_duration(a->expires, &expires_us))
        expires_us += mg_wall_us();
    return mg_buf_putf(out, ",\"expires_us\":%llu}", (unsigned long long)expires_us);
}

static int run(const struct verb *verb, struct arguments *a)
{
    char path[160];
    struct mg_buf body;
    mg_buf_init(&body, MG_MAX_ADMIN_BODY_BYTES);
    mg_err err = a->role ? put_body(a, &body) : MG_OK;
    if (strstr(verb->path, "%s"))
        snprintf(path, sizeof(path), verb->path, a->name);
    else
        snprintf(path, sizeof(path), "%s", verb->path);
    const struct mg_act act = {.command = "admin", .data = a->data, .config = a->config, .method = verb->method, .path = path,
                               .body = mg_buf_view(&body), .json = a->json, .audit = verb->audit, .offline = verb->offline, .print = verb->print,
                               .arg = a};
    int end = err == MG_OK ? mg_act_run(&act) : mg_cli_complain(MG_EXIT_USAGE, "admin", "these arguments are too long");
    mg_buf_fini(&body);
    return end;
}

static mg_err create_offline(void *arg, const struct mg_act_store *store, struct mg_buf *out, struct mg_diag *diag)
{
    struct mg_member member;
    const char *bad;
    char text[MG_KEY_TEXT_BYTES];
    if (!mg_member_read(store->body, &member, &bad))
        return mg_diag_set(diag, MG_E_BAD_REQUEST, NULL, 0, "%s", bad);
    mg_err err = mg_members_create(store->db, store->secret, &member, text);
    if (err == MG_E_EXISTS)
        return mg_diag_set(diag, err, NULL, 0, "there is a member %s already", member.name);
    if (err == MG_OK)
        err = mg_member_put_json(&member, text, out);
    mg_wipe(text, sizeof(text));
    return err;
}

static mg_err list_offline(void *arg, const struct mg_act_store *store, struct mg_buf *out, struct mg_diag *diag)
{
    struct mg_member *members = NULL;
    size_t count = 0;
    MG_TRY(mg_members_load(store->db, store->arena, &members, &count));
    MG_TRY(mg_buf_put(out, MG_VIEW("{\"members\":[")));
    for (size_t i = 0; i < count; i++) {
        if (i)
            MG_TRY(mg_buf_putc(out, ','));
        MG_TRY(mg_member_put_json(&members[i], NULL, out));
    }
    return mg_buf_put(out, MG_VIEW("]}"));
}

static mg_err remove_offline(void *arg, const struct mg_act_store *store, struct mg_buf *out, struct mg_diag *diag)
{
    const struct arguments *a = arg;
    mg_err err = mg_members_remove(store->db, a->name);
    if (err == MG_E_NOT_FOUND)
        return mg_diag_set(diag, err, NULL, 0, "there is no member %s", a->name);
    return err == MG_OK ? mg_buf_putf(out, "{\"name\":\"%s\",\"removed\":true}", a->name) : err;
}

/* The token alone on stdout, as with keys. */
static void print_new(void *arg, const struct mg_json *member)
{
    const struct arguments *a = arg;
    mg_view token = mg_json_string(mg_json_get(member, "token"));
    fprintf(stderr, "%s is %s of %s. The token is shown this once:\n", a->name, a->role, a->project ? a->project : "all projects");
    printf("%.*s\n", MG_FMT(token));
}

static void print_list(void *arg, const struct mg_json *answer)
{
    char created[32], expires[32];
    const struct mg_json *members = mg_json_get(answer, "members");
    printf("%-24s %-14s %-16s %-17s %s\n", "NAME", "ROLE", "PROJECT", "CREATED", "EXPIRES");
    for (const struct mg_json *member = mg_json_first(members); member; member = mg_json_next(member)) {
        mg_view name = mg_json_string(mg_json_get(member, "name")), role = mg_json_string(mg_json_get(member, "role"));
        mg_view project = mg_json_string(mg_json_get(member, "project"));
        printf("%-24.*s %-14.*s %-16.*s %-17s %s\n", MG_FMT(name), MG_FMT(role), MG_FMT(project.len ? project : MG_VIEW("(all)")),
               mg_act_when(created, mg_json_get(member, "created_us"), "-"),
               mg_act_when(expires, mg_json_get(member, "expires_us"), "never"));
    }
}

static void print_removed(void *arg, const struct mg_json *answer)
{
    const struct arguments *a = arg;
    printf("%s may not administer any more\n", a->name);
}
