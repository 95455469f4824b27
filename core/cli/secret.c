/* moongate secret, moongate vault, moongate audit: through the running gateway, or in the store when none runs.
 *
 * A secret is read from standard input, or from the terminal without showing it; never from an argument, which every
 * process of the machine can read. Both ways give the same JSON (what the admin API answers), which is then printed. */
#include <stdio.h>
#include <string.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#include "admin/admin.h"
#include "base/limits.h"
#include "base/mem.h"
#include "cli/act.h"
#include "cli/cli.h"
#include "cli/control.h"
#include "cli/place.h"
#include "http/json.h"
#include "store/folder.h"

struct arguments {
    const char *command;     /* "secret" */
    const char *project, *name, *kept, *data, *config;
    int after;               /* of audit */
    bool json;
    char actor[80];          /* who does it */
    struct mg_buf value;     /* of set and rotate; wiped */
    char data_dir[MG_FOLDER_PATH_BYTES];
};

/* One verb: its HTTP request, the same without a gateway, and how the answer is shown. */
struct verb {
    const char *command, *name;
    bool needs_name, needs_value;
    const char *method;
    mg_err (*put_path)(const struct arguments *a, struct mg_buf *out);
    mg_err (*offline)(struct arguments *a, struct mg_desk *desk, struct mg_buf *out, struct mg_diag *diag);
    int (*print)(const struct arguments *a, const struct mg_json *answer);
};

static mg_err put_set(const struct arguments *a, struct mg_buf *out);
static mg_err put_rotate(const struct arguments *a, struct mg_buf *out);
static mg_err put_secrets(const struct arguments *a, struct mg_buf *out);
static mg_err put_remove(const struct arguments *a, struct mg_buf *out);
static mg_err put_rewrap(const struct arguments *a, struct mg_buf *out);
static mg_err put_audit(const struct arguments *a, struct mg_buf *out);
static mg_err put_verify(const struct arguments *a, struct mg_buf *out);
static mg_err set_offline(struct arguments *a, struct mg_desk *desk, struct mg_buf *out, struct mg_diag *diag);
static mg_err rotate_offline(struct arguments *a, struct mg_desk *desk, struct mg_buf *out, struct mg_diag *diag);
static mg_err list_offline(struct arguments *a, struct mg_desk *desk, struct mg_buf *out, struct mg_diag *diag);
static mg_err remove_offline(struct arguments *a, struct mg_desk *desk, struct mg_buf *out, struct mg_diag *diag);
static mg_err rewrap_offline(struct arguments *a, struct mg_desk *desk, struct mg_buf *out, struct mg_diag *diag);
static mg_err audit_offline(struct arguments *a, struct mg_desk *desk, struct mg_buf *out, struct mg_diag *diag);
static mg_err verify_offline(struct arguments *a, struct mg_desk *desk, struct mg_buf *out, struct mg_diag *diag);
static int print_set(const struct arguments *a, const struct mg_json *answer);
static int print_list(const struct arguments *a, const struct mg_json *answer);
static int print_removed(const struct arguments *a, const struct mg_json *answer);
static int print_rewrapped(const struct arguments *a, const struct mg_json *answer);
static int print_audit(const struct arguments *a, const struct mg_json *answer);
static int print_report(const struct arguments *a, const struct mg_json *answer);
static int run(const struct verb *verb, struct arguments *a);
static bool read_value(struct arguments *a);

static const struct verb verbs[] = {
    {"secret", "set", true, true, "POST", put_set, set_offline, print_set},
    {"secret", "rotate", true, true, "POST", put_rotate, rotate_offline, print_set},
    {"secret", "list", false, false, "GET", put_secrets, list_offline, print_list},
    {"secret", "remove", true, false, "DELETE", put_remove, remove_offline, print_removed},
    {"vault", "rewrap", false, false, "POST", put_rewrap, rewrap_offline, print_rewrapped},
    {"audit", "list", false, false, "GET", put_audit, audit_offline, print_audit},
    {"audit", "verify", false, false, "GET", put_verify, verify_offline, print_report},
};

static const struct verb *find_verb(const char *command, const char *name)
{
    for (size_t i = 0; i < MG_COUNT(verbs); i++)
        if (!strcmp(verbs[i].command, command) && !strcmp(verbs[i].name, name))
            return &verbs[i];
    return NULL;
}

/* ---- the commands */

int mg_cli_secret(int argc, char **argv)
{
    struct arguments a = {.command = "secret", .project = "default"};
    const struct mg_option options[] = {
        {"--project", NULL, "NAME", MG_OPTION_TEXT, &a.project, "whose secret it is (default); gateway is for gateway.lua"},
        {"--json", NULL, NULL, MG_OPTION_FLAG, &a.json, "print JSON"},
        {"--data", NULL, "DIR", MG_OPTION_TEXT, &a.data, "the data folder instead of the configuration's"},
        {"--config", "-c", "FILE", MG_OPTION_TEXT, &a.config, "gateway.lua, to find the data folder and the master key"},
    };
    int end = mg_cli_parse(&argc, argv, options, MG_COUNT(options), 2);
    if (end != MG_CLI_GO)
        return end;
    const struct verb *verb = argc > 1 ? find_verb("secret", argv[1]) : NULL;
    if (!verb)
        return mg_cli_complain(MG_EXIT_USAGE, "secret", "say what to do: set NAME, rotate NAME, list or remove NAME");
    if (verb->needs_name != (argc == 3))
        return mg_cli_complain(MG_EXIT_USAGE, "secret",
                               verb->needs_name ? "%s needs the name of a secret; its value comes from standard input or a prompt"
                                                : "%s takes no argument", verb->name);
    a.name = argv[2];
    if (verb->needs_name && (!mg_secret_name_is_good(mg_view_cstr(a.name)) || !mg_secret_name_is_good(mg_view_cstr(a.project))))
        return mg_cli_complain(MG_EXIT_USAGE, "secret", "a name is at most %d letters, digits, `_`, `-` and `.`",
                               MG_SECRET_NAME_BYTES - 1);
    return run(verb, &a);
}

int mg_cli_vault(int argc, char **argv)
{
    struct arguments a = {.command = "vault"};
    const struct mg_option options[] = {
        {"--json", NULL, NULL, MG_OPTION_FLAG, &a.json, "print JSON"},
        {"--data", NULL, "DIR", MG_OPTION_TEXT, &a.data, "the data folder instead of the configuration's"},
        {"--config", "-c", "FILE", MG_OPTION_TEXT, &a.config, "gateway.lua, to find the data folder and the master key"},
    };
    int end = mg_cli_parse(&argc, argv, options, MG_COUNT(options), 1);
    if (end != MG_CLI_GO)
        return end;
    const struct verb *verb = argc > 1 ? find_verb("vault", argv[1]) : NULL;
    return verb ? run(verb, &a)
                : mg_cli_complain(MG_EXIT_USAGE, "vault", "say what to do: rewrap");
}

int mg_cli_audit(int argc, char **argv)
{
    struct arguments a = {.command = "audit"};
    const struct mg_option options[] = {
        {"--kept", NULL, "SEQ:HEAD", MG_OPTION_TEXT, &a.kept, "verify: what an earlier verify said, to compare with"},
        {"--after", NULL, "SEQ", MG_OPTION_INT, &a.after, "entries behind this one (0)"},
        {"--json", NULL, NULL, MG_OPTION_FLAG, &a.json, "print JSON"},
        {"--data", NULL, "DIR", MG_OPTION_TEXT, &a.data, "the data folder instead of the configuration's"},
        {"--config", "-c", "FILE", MG_OPTION_TEXT, &a.config, "gateway.lua, to find the data folder and the master key"},
    };
    int end = mg_cli_parse(&argc, argv, options, MG_COUNT(options), 1);
    if (end != MG_CLI_GO)
        return end;
    const struct verb *verb = find_verb("audit", argc > 1 ? argv[1] : "list");
    return verb ? run(verb, &a)
                : mg_cli_complain(MG_EXIT_USAGE, "audit", "there is only `moongate audit` and `moongate audit verify`");
}

/* ---- asking */

static mg_err write_direct(void *arg, mg_write_fn fn, void *fn_arg)
{
    struct mg_db *db = arg;
    mg_err err = mg_db_begin(db, MG_DB_FULL);
    if (err == MG_OK)
        err = fn(fn_arg, db);
    if (err == MG_OK)
        err = mg_db_commit(db);
    mg_db_rollback(db);
    return err;
}

static mg_err at_desk(const struct verb *verb, struct arguments *a, const struct mg_config_gateway *config, struct mg_buf *out,
                      struct mg_diag *diag)
{
    char path[MG_FOLDER_PATH_BYTES];
    struct mg_db *db;
    struct mg_desk *desk;
    struct mg_desk_options options = {
        .vault = {.data_dir = a->data_dir, .master = &config->vault_master, .previous = &config->vault_previous},
        .write = write_direct,
    };
    MG_TRY(mg_folder_path(a->data_dir, "moongate.db", path));
    MG_TRY(mg_db_open(path, MG_DB_WRITE, &db, diag));
    options.arg = db;
    mg_err err = mg_desk_open(&options, &desk, diag);
    if (err == MG_OK) {
        err = verb->offline(a, desk, out, diag);
        mg_desk_close(desk);
    }
    mg_db_close(db);
    return err;
}

static mg_err ask_store(const struct verb *verb, struct arguments *a, struct mg_buf *out, struct mg_diag *diag)
{
    struct mg_arena arena;
    struct mg_config_gateway *config = NULL;
    int lock = -1;
    mg_arena_init(&arena, 1024);
    mg_err err = mg_config_load_gateway(mg_place_config(a->config, &arena), &config, diag);
    mg_arena_fini(&arena);
    if (err == MG_OK)
        err = mg_folder_create(a->data_dir, diag);
    if (err == MG_OK)
        err = mg_folder_lock(a->data_dir, &lock, diag);
    if (err == MG_E_BUSY)
        mg_diag_set(diag, err, NULL, 0, "a gateway runs in %s and does not answer", a->data_dir);
    if (err == MG_OK)
        err = at_desk(verb, a, config, out, diag);
    mg_folder_unlock(lock);
    mg_config_gateway_free(config);
    return err;
}

static mg_err ask(const struct verb *verb, struct arguments *a, struct mg_buf *out, int *out_status, struct mg_diag *diag)
{
    struct mg_buf path;
    mg_buf_init(&path, 1024);
    mg_err err = verb->put_path(a, &path);
    if (err == MG_OK)
        err = mg_control_request(a->data_dir, verb->method, mg_buf_cstr(&path), mg_buf_view(&a->value), out_status, out, diag);
    mg_buf_fini(&path);
    if (err != MG_E_NOT_FOUND)
        return err;
    *out_status = 200;
    return ask_store(verb, a, out, diag);
}

static int show(const struct verb *verb, const struct arguments *a, int status, struct mg_buf *answer)
{
    struct mg_json *json = NULL;
    int end = MG_EXIT_FAILED;
    if (!a->json)
        mg_act_tame(answer);
    if (mg_json_parse(mg_buf_view(answer), MG_MAX_RESPONSE_BODY_BYTES, &json, NULL) != MG_OK)
        return mg_cli_complain(MG_EXIT_FAILED, a->command, "the gateway's answer is not JSON");
    if (status >= 400)
        mg_cli_complain(MG_EXIT_FAILED, a->command, "%.*s", MG_FMT(mg_json_string(mg_json_path(json, "error.message"))));
    else
        end = verb->print(a, json);
    if (status < 400 && a->json)
        printf("%.*s\n", MG_FMT(mg_buf_view(answer)));
    mg_json_free(json);
    return end;
}

static int run(const struct verb *verb, struct arguments *a)
{
    struct mg_diag diag = {.line = 0};
    struct mg_buf answer;
    int status = 0;
    if (mg_place_data(a->data, a->config, a->data_dir, &diag) != MG_OK)
        return mg_cli_failed(a->command, &diag);
    mg_control_actor(a->actor, sizeof a->actor);
    mg_buf_init(&a->value, MG_SECRET_BYTES + 2);
    if (verb->needs_value && !read_value(a))
        return mg_cli_complain(MG_EXIT_USAGE, a->command, "expected a value of 1 to %d bytes on standard input", MG_SECRET_BYTES);
    mg_buf_init(&answer, MG_MAX_RESPONSE_BODY_BYTES);
    mg_err err = ask(verb, a, &answer, &status, &diag);
    int end = err == MG_OK ? show(verb, a, status, &answer) : mg_cli_failed(a->command, &diag);
    if (a->value.ptr)
        mg_wipe(a->value.ptr, a->value.cap);
    mg_buf_fini(&a->value);
    mg_buf_fini(&answer);
    return end;
}

/* ---- the value */

static bool read_all(struct arguments *a)
{
    if (mg_buf_reserve(&a->value, MG_SECRET_BYTES + 2) != MG_OK)       /* at once: growing would leave copies */
        return false;
    for (;;) {
        ssize_t n = read(STDIN_FILENO, mg_buf_tail(&a->value), MG_SECRET_BYTES + 2 - a->value.len);
        if (n <= 0)
            break;
        mg_buf_grew(&a->value, (size_t)n);
        if (a->value.len == MG_SECRET_BYTES + 2)
            break;
        if (isatty(STDIN_FILENO) && memchr(a->value.ptr, '\n', a->value.len))
            break;
    }
    while (a->value.len && (a->value.ptr[a->value.len - 1] == '\n' || a->value.ptr[a->value.len - 1] == '\r'))
        a->value.len--;
    return a->value.len > 0 && a->value.len <= MG_SECRET_BYTES;
}

/* On a terminal nothing is shown of it. */
static bool read_value(struct arguments *a)
{
    struct termios before, quiet;
    bool terminal = isatty(STDIN_FILENO) && tcgetattr(STDIN_FILENO, &before) == 0;
    if (!terminal)
        return read_all(a);
    quiet = before;
    quiet.c_lflag &= ~(tcflag_t)ECHO;
    fprintf(stderr, "value of %s (not shown): ", a->name);
    tcsetattr(STDIN_FILENO, TCSAFLUSH, &quiet);
    bool good = read_all(a);
    tcsetattr(STDIN_FILENO, TCSAFLUSH, &before);
    fputc('\n', stderr);
    return good;
}

/* ---- requests */

static mg_err put_set(const struct arguments *a, struct mg_buf *out)
{
    return mg_buf_putf(out, "/admin/v1/secrets?project=%s&name=%s", a->project, a->name);
}

static mg_err put_rotate(const struct arguments *a, struct mg_buf *out)
{
    return mg_buf_putf(out, "/admin/v1/secrets?project=%s&name=%s&rotate=1", a->project, a->name);
}

static mg_err put_secrets(const struct arguments *a, struct mg_buf *out)
{
    return mg_buf_put(out, MG_VIEW("/admin/v1/secrets"));
}

static mg_err put_remove(const struct arguments *a, struct mg_buf *out)
{
    return mg_buf_putf(out, "/admin/v1/secrets?project=%s&name=%s", a->project, a->name);
}

static mg_err put_rewrap(const struct arguments *a, struct mg_buf *out)
{
    return mg_buf_put(out, MG_VIEW("/admin/v1/vault/rewrap"));
}

static mg_err put_audit(const struct arguments *a, struct mg_buf *out)
{
    return mg_buf_putf(out, "/admin/v1/audit?after=%d", a->after);
}

static mg_err put_verify(const struct arguments *a, struct mg_buf *out)
{
    MG_TRY(mg_buf_put(out, MG_VIEW("/admin/v1/audit/verify?kept=")));
    return mg_control_put_escaped(out, a->kept ? a->kept : "");
}

/* ---- without a gateway */

static mg_err change(struct arguments *a, struct mg_desk *desk, enum mg_desk_set how, struct mg_buf *out, struct mg_diag *diag)
{
    uint64_t version;
    MG_TRY(mg_desk_set(desk, mg_view_cstr(a->actor), how, mg_view_cstr(a->project), mg_view_cstr(a->name), mg_buf_view(&a->value),
                       &version, diag));
    return mg_buf_putf(out, "{\"project\":\"%s\",\"name\":\"%s\",\"version\":%llu}", a->project, a->name,
                       (unsigned long long)version);
}

static mg_err set_offline(struct arguments *a, struct mg_desk *desk, struct mg_buf *out, struct mg_diag *diag)
{
    return change(a, desk, MG_DESK_SET, out, diag);
}

static mg_err rotate_offline(struct arguments *a, struct mg_desk *desk, struct mg_buf *out, struct mg_diag *diag)
{
    return change(a, desk, MG_DESK_ROTATE, out, diag);
}

static mg_err say(mg_err err, const char *what, struct mg_diag *diag)
{
    return err == MG_OK ? MG_OK : mg_diag_set(diag, err, NULL, 0, "%s: %s", what, mg_err_text(err));
}

static mg_err list_offline(struct arguments *a, struct mg_desk *desk, struct mg_buf *out, struct mg_diag *diag)
{
    return say(mg_admin_put_secrets(desk, "", out), "the secrets cannot be listed", diag);
}

static mg_err remove_offline(struct arguments *a, struct mg_desk *desk, struct mg_buf *out, struct mg_diag *diag)
{
    MG_TRY(mg_desk_remove(desk, mg_view_cstr(a->actor), mg_view_cstr(a->project), mg_view_cstr(a->name), diag));
    return mg_buf_put(out, MG_VIEW("{\"removed\":true}"));
}

static mg_err rewrap_offline(struct arguments *a, struct mg_desk *desk, struct mg_buf *out, struct mg_diag *diag)
{
    unsigned count;
    MG_TRY(mg_desk_rewrap(desk, mg_view_cstr(a->actor), NULL, &count, diag));
    return mg_buf_putf(out, "{\"rewrapped\":%u,\"master\":\"%s\"}", count, mg_desk_master(desk));
}

static mg_err audit_offline(struct arguments *a, struct mg_desk *desk, struct mg_buf *out, struct mg_diag *diag)
{
    return say(mg_admin_put_audit(desk, (uint64_t)a->after, 0, out), "the audit log cannot be read", diag);
}

static mg_err verify_offline(struct arguments *a, struct mg_desk *desk, struct mg_buf *out, struct mg_diag *diag)
{
    struct mg_audit_report report;
    mg_err err = mg_desk_audit_verify(desk, a->kept ? mg_view_cstr(a->kept) : MG_VIEW_NONE, &report);
    MG_TRY(say(err, "the audit log cannot be verified", diag));
    return mg_admin_put_report(&report, out);
}

/* ---- answers */

/* "2026-11-24 10:15" in local time. */
static const char *when(char out[32], const struct mg_json *us)
{
    int64_t value = 0;
    struct tm parts;
    if (!mg_json_i64(us, &value) || value <= 0)
        return "-";
    time_t seconds = (time_t)(value / 1000000);
    strftime(out, 32, "%Y-%m-%d %H:%M:%S", localtime_r(&seconds, &parts));
    return out;
}

static long long number(const struct mg_json *object, const char *name)
{
    int64_t value = 0;
    (void)mg_json_i64(mg_json_get(object, name), &value);
    return value;
}

static mg_view text(const struct mg_json *object, const char *name)
{
    return mg_json_string(mg_json_get(object, name));
}

static int print_set(const struct arguments *a, const struct mg_json *answer)
{
    const struct mg_json *known = mg_json_get(answer, "project_known");
    if (!a->json)
        printf("secret %s of project %s is version %lld; the next request uses it\n", a->name, a->project,
               number(answer, "version"));
    if (known && !mg_json_bool(known, true))
        fprintf(stderr, "moongate secret: no project %s is configured yet\n", a->project);
    return MG_EXIT_OK;
}

static int print_list(const struct arguments *a, const struct mg_json *answer)
{
    char created[32], changed[32], used[32];
    if (a->json)
        return MG_EXIT_OK;
    printf("%-20s %-28s %7s  %-19s %-19s %s\n", "PROJECT", "NAME", "VERSION", "CREATED", "CHANGED", "LAST USE");
    const struct mg_json *secrets = mg_json_get(answer, "secrets");
    for (const struct mg_json *one = mg_json_first(secrets); one; one = mg_json_next(one)) {
        mg_view project = text(one, "project"), name = text(one, "name");
        printf("%-20.*s %-28.*s %7lld  %-19s %-19s %s\n", MG_FMT(project), MG_FMT(name), number(one, "version"),
               when(created, mg_json_get(one, "created_us")), when(changed, mg_json_get(one, "changed_us")),
               when(used, mg_json_get(one, "last_used_us")));
    }
    return MG_EXIT_OK;
}

static int print_removed(const struct arguments *a, const struct mg_json *answer)
{
    if (!a->json)
        printf("secret %s of project %s is removed\n", a->name, a->project);
    return MG_EXIT_OK;
}

static int print_rewrapped(const struct arguments *a, const struct mg_json *answer)
{
    mg_view master = text(answer, "master");
    if (!a->json)
        printf("%lld data keys were wrapped again; all are wrapped by %.*s\n", number(answer, "rewrapped"), MG_FMT(master));
    return MG_EXIT_OK;
}

static int print_audit(const struct arguments *a, const struct mg_json *answer)
{
    char at[32];
    if (a->json)
        return MG_EXIT_OK;
    const struct mg_json *entries = mg_json_get(answer, "entries");
    for (const struct mg_json *one = mg_json_first(entries); one; one = mg_json_next(one)) {
        mg_view actor = text(one, "actor"), act = text(one, "act"), project = text(one, "project");
        mg_view subject = text(one, "subject"), detail = text(one, "detail");
        printf("%6lld  %s  %-12.*s %-16.*s %-16.*s %.*s%s%.*s\n", number(one, "seq"), when(at, mg_json_get(one, "at_us")),
               MG_FMT(actor), MG_FMT(act), MG_FMT(project), MG_FMT(subject), subject.len && detail.len ? ", " : "",
               MG_FMT(detail));
    }
    if (number(answer, "next"))
        printf("more: moongate audit --after %lld\n", number(answer, "next"));
    return MG_EXIT_OK;
}

static int print_report(const struct arguments *a, const struct mg_json *answer)
{
    bool good = mg_json_bool(mg_json_get(answer, "good"), false);
    mg_view what = text(answer, "what"), head = text(answer, "head"), late = text(answer, "begun_late");
    if (!a->json && good)
        printf("%lld entries, nothing was changed. To compare with later: --kept %lld:%.*s\n", number(answer, "entries"),
               number(answer, "entries"), MG_FMT(head));
    else if (!a->json)
        printf("entry %lld %.*s\n", number(answer, "bad_seq"), MG_FMT(what));
    if (!a->json && late.len)
        printf("it did not begin with the store: %.*s. So it is with one from before there was a log, and only then\n", MG_FMT(late));
    return good ? MG_EXIT_OK : MG_EXIT_FAILED;
}
