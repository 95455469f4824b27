/* moongate key: keys of clients. */
#include <stdio.h>
#include <string.h>

#include "admin/admin.h"
#include "base/clock.h"
#include "base/limits.h"
#include "base/mem.h"
#include "cli/act.h"
#include "cli/cli.h"
#include "tenant/keystore.h"

enum { PATH_BYTES = 128 };

struct arguments {
    const char *project, *name, *expires, *metadata, *workflows, *overlap, *message, *data, *config;
    struct mg_option_list limits;
    bool no_limits, json;
    const char *id;          /* of revoke, rotate, update, disable and enable */
    uint64_t overlap_us;
};

/* One verb: its HTTP request, the same without a gateway, and how the answer is shown. */
struct verb {
    const char *name;
    bool needs_id;
    const char *method, *path;                                       /* `%s` is the id */
    mg_err (*put_body)(const struct arguments *a, struct mg_buf *out);         /* NULL: none */
    mg_err (*offline)(void *arg, const struct mg_act_store *store, struct mg_buf *out, struct mg_diag *diag);
    void (*print)(void *arg, const struct mg_json *answer);
    const char *audit;       /* NULL: it changes nothing */
};

static mg_err put_create(const struct arguments *a, struct mg_buf *out);
static mg_err put_update(const struct arguments *a, struct mg_buf *out);
static mg_err put_rotate(const struct arguments *a, struct mg_buf *out);
static mg_err create_offline(void *arg, const struct mg_act_store *store, struct mg_buf *out, struct mg_diag *diag);
static mg_err update_offline(void *arg, const struct mg_act_store *store, struct mg_buf *out, struct mg_diag *diag);
static mg_err list_offline(void *arg, const struct mg_act_store *store, struct mg_buf *out, struct mg_diag *diag);
static mg_err revoke_offline(void *arg, const struct mg_act_store *store, struct mg_buf *out, struct mg_diag *diag);
static mg_err rotate_offline(void *arg, const struct mg_act_store *store, struct mg_buf *out, struct mg_diag *diag);
static void print_new(void *arg, const struct mg_json *key);
static void print_updated(void *arg, const struct mg_json *key);
static void print_list(void *arg, const struct mg_json *answer);
static void print_revoked(void *arg, const struct mg_json *answer);
static const char *complaint_about(const struct verb *verb, struct arguments *a);
static int run(const struct verb *verb, struct arguments *a);

static const struct verb verbs[] = {
    {"create", false, "POST", "/admin/v1/keys", put_create, create_offline, print_new, "key.create"},
    {"list", false, "GET", "/admin/v1/keys", NULL, list_offline, print_list, NULL},
    {"update", true, "PATCH", "/admin/v1/keys/%s", put_update, update_offline, print_updated, "key.change"},
    {"revoke", true, "DELETE", "/admin/v1/keys/%s", NULL, revoke_offline, print_revoked, "key.revoke"},
    {"rotate", true, "POST", "/admin/v1/keys/%s/rotate", put_rotate, rotate_offline, print_new, "key.rotate"},
};

int mg_cli_key(int argc, char **argv)
{
    struct arguments a = {.project = "default"};
    const struct mg_option options[] = {
        {"--project", NULL, "NAME", MG_OPTION_TEXT, &a.project, "create: whose key it is (default)"},
        {"--name", NULL, "TEXT", MG_OPTION_TEXT, &a.name, "create, update: what you call it"},
        {"--workflows", NULL, "A,B", MG_OPTION_TEXT, &a.workflows,
         "create, update: the only models it may name; '' is all of the project"},
        {"--limit", NULL, "NAME=N", MG_OPTION_LIST, &a.limits,
         "create, update: requests_per_minute, burst, tokens_per_minute, concurrency, or budget=USD/day, /week, /month; "
         "several times for several"},
        {"--no-limits", NULL, NULL, MG_OPTION_FLAG, &a.no_limits, "update: none of its own any more"},
        {"--expires", NULL, "TIME", MG_OPTION_TEXT, &a.expires, "create, update: 30d, 12h, 90m, or never"},
        {"--metadata", NULL, "JSON", MG_OPTION_TEXT, &a.metadata, "create, update: an object that policies can read"},
        {"--overlap", NULL, "TIME", MG_OPTION_TEXT, &a.overlap, "rotate: how long the old key stays valid (0)"},
        {"--message", NULL, "TEXT", MG_OPTION_TEXT, &a.message, "disable: what its callers are told"},
        {"--json", NULL, NULL, MG_OPTION_FLAG, &a.json, "print JSON"},
        {"--data", NULL, "DIR", MG_OPTION_TEXT, &a.data, "the data folder instead of the configuration's"},
        {"--config", "-c", "FILE", MG_OPTION_TEXT, &a.config, "gateway.lua, to find the data folder"},
    };
    if (argc > 1 && (!strcmp(argv[1], "disable") || !strcmp(argv[1], "enable")))
        return mg_cli_switch(argc, argv);
    int end = mg_cli_parse(&argc, argv, options, MG_COUNT(options), 2);
    if (end != MG_CLI_GO)
        return end;
    const struct verb *verb = NULL;
    for (size_t i = 0; i < MG_COUNT(verbs); i++)
        verb = argc > 1 && !strcmp(argv[1], verbs[i].name) ? &verbs[i] : verb;
    if (!verb)
        return mg_cli_complain(MG_EXIT_USAGE, "key",
                               "say what to do: create, list, update ID, rotate ID, revoke ID, disable ID or enable ID");
    if (verb->needs_id != (argc == 3))
        return mg_cli_complain(MG_EXIT_USAGE, "key",
                               verb->needs_id ? "%s needs the id of a key (see: moongate key list)" : "%s takes no argument",
                               verb->name);
    a.id = argv[2];
    const char *complaint = complaint_about(verb, &a);
    return complaint ? mg_cli_complain(MG_EXIT_USAGE, "key", "%s", complaint) : run(verb, &a);
}

static bool is_id(const char *id)
{
    return strlen(id) < MG_KEY_ID_BYTES &&
           strspn(id, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-") == strlen(id);
}

static bool is_object(const char *text)
{
    struct mg_json *value = NULL;
    bool good = mg_json_parse(mg_view_cstr(text), MG_MAX_METADATA_BYTES, &value, NULL) == MG_OK &&
                mg_json_is(value, MG_JSON_OBJECT);
    mg_json_free(value);
    return good;
}

/* "requests_per_minute=60", "budget=2.50/day" */
static bool is_limit(const char *text)
{
    static const char *const names[] = {"requests_per_minute", "burst", "tokens_per_minute", "concurrency", "budget"};
    mg_view value = mg_view_cstr(text), name = mg_view_cut(&value, '='), number = mg_view_cut(&value, '/');
    bool known = false;
    for (size_t i = 0; i < MG_COUNT(names); i++)
        known |= mg_view_eq(name, mg_view_cstr(names[i]));
    bool money = mg_view_eq(name, MG_VIEW("budget"));
    size_t point = mg_view_find(number, ".");
    mg_view whole = mg_view_head(number, point), part = money ? mg_view_skip(number, MG_MIN(point + 1, number.len)) : MG_VIEW_NONE;
    uint64_t ignored;
    return known && mg_view_u64(whole, &ignored) && (!part.len || mg_view_u64(part, &ignored)) && (money || (point == number.len && !value.len));
}

/* NULL: none. */
static const char *complaint_about(const struct verb *verb, struct arguments *a)
{
    uint64_t expires_us;
    if (verb->needs_id && !is_id(a->id))
        return "this is not the id of a key (see: moongate key list)";
    if (a->expires && strcmp(a->expires, "never") != 0 && (!mg_act_duration(a->expires, &expires_us) || !expires_us))
        return "--expires needs a time such as 30d or 12h, or never";
    if (a->overlap && !mg_act_duration(a->overlap, &a->overlap_us))
        return "--overlap needs a time such as 15m or 1d";
    if (a->metadata && !is_object(a->metadata))
        return "--metadata needs a JSON object";
    for (int i = 0; i < a->limits.count; i++)
        if (!is_limit(a->limits.items[i]))
            return "--limit needs one of requests_per_minute, burst, tokens_per_minute and concurrency with a whole number, such as "
                   "requests_per_minute=60, or a budget such as budget=25/month";
    if (a->message)
        return "--message belongs to disable";
    return NULL;
}

static int run(const struct verb *verb, struct arguments *a)
{
    char path[PATH_BYTES];
    struct mg_buf body;
    mg_buf_init(&body, MG_MAX_ADMIN_BODY_BYTES);
    mg_err err = verb->put_body ? verb->put_body(a, &body) : MG_OK;
    if (verb->needs_id)
        snprintf(path, sizeof(path), verb->path, a->id);
    else
        snprintf(path, sizeof(path), "%s", verb->path);
    struct mg_act act = {.command = "key", .data = a->data, .config = a->config, .method = verb->method, .path = path,
                         .body = mg_buf_view(&body), .json = a->json, .audit = verb->audit, .offline = verb->offline, .print = verb->print, .arg = a};
    int end = err == MG_OK ? mg_act_run(&act) : mg_cli_complain(MG_EXIT_USAGE, "key", "these arguments are too long");
    mg_buf_fini(&body);
    return end;
}

/* ---- what is asked --------------------------------------------------------------------------- */

static mg_err put_workflows(const char *list, struct mg_buf *out)
{
    mg_view rest = mg_view_cstr(list);
    if (!rest.len)
        return mg_buf_put(out, MG_VIEW(",\"workflows\":null"));
    MG_TRY(mg_buf_put(out, MG_VIEW(",\"workflows\":[")));
    for (int i = 0; rest.ptr; i++) {
        mg_view name = mg_view_trim(mg_view_cut(&rest, ','));
        MG_TRY(mg_buf_put(out, i ? MG_VIEW(",\"") : MG_VIEW("\"")));
        MG_TRY(mg_buf_put_json(out, name));
        MG_TRY(mg_buf_putc(out, '"'));
    }
    return mg_buf_putc(out, ']');
}

/* "25/month" */
static mg_err put_budget(mg_view value, bool first, struct mg_buf *out)
{
    mg_view usd = mg_view_cut(&value, '/');
    MG_TRY(mg_buf_putf(out, "%s{\"usd\":%.*s,\"per\":\"", first ? "" : ",", MG_FMT(usd)));
    MG_TRY(mg_buf_put_json(out, value.len ? value : MG_VIEW("month")));
    return mg_buf_put(out, MG_VIEW("\"}"));
}

static bool is_budget(const char *limit)
{
    return strncmp(limit, "budget=", 7) == 0;
}

static mg_err put_limits(const struct arguments *a, struct mg_buf *out)
{
    int budgets = 0;
    MG_TRY(mg_buf_put(out, MG_VIEW(",\"limits\":{\"budget\":[")));
    for (int i = 0; i < a->limits.count; i++)
        if (is_budget(a->limits.items[i]))
            MG_TRY(put_budget(mg_view_cstr(a->limits.items[i] + 7), budgets++ == 0, out));
    MG_TRY(mg_buf_putc(out, ']'));
    for (int i = 0; i < a->limits.count; i++) {
        mg_view value = mg_view_cstr(a->limits.items[i]), name = mg_view_cut(&value, '=');
        if (is_budget(a->limits.items[i]))
            continue;
        MG_TRY(mg_buf_put(out, MG_VIEW(",\"")));
        MG_TRY(mg_buf_put_json(out, name));
        MG_TRY(mg_buf_putf(out, "\":%.*s", MG_FMT(value)));
    }
    return mg_buf_putc(out, '}');
}

/* Only what was said; each begins with a comma. */
static mg_err put_fields(const struct arguments *a, struct mg_buf *out)
{
    uint64_t expires_us = 0;
    if (a->name) {
        MG_TRY(mg_buf_put(out, MG_VIEW(",\"name\":")));
        MG_TRY(mg_act_put_quoted(out, a->name));
    }
    if (a->workflows)
        MG_TRY(put_workflows(a->workflows, out));
    if (a->metadata)
        MG_TRY(mg_buf_putf(out, ",\"metadata\":%s", a->metadata));
    if (a->expires && mg_act_duration(a->expires, &expires_us))
        expires_us += mg_wall_us();
    if (a->expires)
        MG_TRY(mg_buf_putf(out, ",\"expires_us\":%llu", (unsigned long long)expires_us));
    if (a->no_limits)
        MG_TRY(mg_buf_put(out, MG_VIEW(",\"limits\":null")));
    return a->limits.count && !a->no_limits ? put_limits(a, out) : MG_OK;
}

static mg_err put_create(const struct arguments *a, struct mg_buf *out)
{
    MG_TRY(mg_buf_put(out, MG_VIEW("{\"project\":")));
    MG_TRY(mg_act_put_quoted(out, a->project));
    MG_TRY(put_fields(a, out));
    return mg_buf_putc(out, '}');
}

static mg_err put_update(const struct arguments *a, struct mg_buf *out)
{
    struct mg_buf fields;
    mg_buf_init(&fields, MG_MAX_ADMIN_BODY_BYTES);
    mg_err err = put_fields(a, &fields);
    mg_buf_consume(&fields, MG_MIN(fields.len, (size_t)1));    /* the first comma */
    if (err == MG_OK)
        err = mg_buf_putf(out, "{%.*s}", MG_FMT(mg_buf_view(&fields)));
    mg_buf_fini(&fields);
    return err;
}

static mg_err put_rotate(const struct arguments *a, struct mg_buf *out)
{
    return mg_buf_putf(out, "{\"overlap_s\":%llu}", (unsigned long long)(a->overlap_us / 1000000));
}

/* ---- without a gateway ----------------------------------------------------------------------- */

static mg_err put_new(struct mg_buf *out, const struct mg_key *key, char text[MG_KEY_TEXT_BYTES])
{
    mg_err err = mg_buf_reserve(out, MG_ADMIN_KEY_BYTES);      /* growing later would leave a copy behind */
    if (err == MG_OK)
        err = mg_admin_put_key(key, text, out);
    mg_wipe(text, MG_KEY_TEXT_BYTES);
    return err;
}

static mg_err read_spec(const struct mg_act_store *store, bool change, struct mg_keys_spec *out_spec, struct mg_diag *diag)
{
    const char *bad;
    if (mg_key_spec_read(store->body, change, store->arena, out_spec, &bad))
        return MG_OK;
    return mg_diag_set(diag, MG_E_BAD_REQUEST, NULL, 0, "%s", bad);
}

static mg_err explain(mg_err err, const struct mg_act_store *store, const char *id, struct mg_diag *diag)
{
    char text[256];
    if (err != MG_E_NOT_FOUND)
        return err;
    mg_keystore_explain(store->db, id, text, sizeof text);
    return mg_diag_set(diag, err, NULL, 0, "%s", text);
}

static mg_err create_offline(void *arg, const struct mg_act_store *store, struct mg_buf *out, struct mg_diag *diag)
{
    struct mg_keys_spec spec;
    struct mg_key key;
    char text[MG_KEY_TEXT_BYTES];
    (void)arg;
    MG_TRY(read_spec(store, false, &spec, diag));
    MG_TRY(mg_keystore_create(store->db, store->secret, &spec, text, &key));
    return put_new(out, &key, text);
}

static mg_err update_offline(void *arg, const struct mg_act_store *store, struct mg_buf *out, struct mg_diag *diag)
{
    const struct arguments *a = arg;
    struct mg_keys_spec spec;
    struct mg_key key;
    MG_TRY(read_spec(store, true, &spec, diag));
    MG_TRY(explain(mg_keystore_change(store->db, a->id, &spec, store->arena, &key), store, a->id, diag));
    return mg_admin_put_key(&key, NULL, out);
}

static mg_err list_offline(void *arg, const struct mg_act_store *store, struct mg_buf *out, struct mg_diag *diag)
{
    struct mg_key *keys = NULL;
    size_t count = 0;
    (void)arg;
    (void)diag;
    MG_TRY(mg_keystore_load(store->db, store->arena, &keys, &count));
    MG_TRY(mg_buf_put(out, MG_VIEW("{\"keys\":[")));
    for (size_t i = 0; i < count; i++) {
        if (i)
            MG_TRY(mg_buf_putc(out, ','));
        MG_TRY(mg_admin_put_key(&keys[i], NULL, out));
    }
    return mg_buf_put(out, MG_VIEW("]}"));
}

static mg_err revoke_offline(void *arg, const struct mg_act_store *store, struct mg_buf *out, struct mg_diag *diag)
{
    const struct arguments *a = arg;
    struct mg_key key;
    MG_TRY(explain(mg_keystore_revoke(store->db, a->id, mg_wall_us()), store, a->id, diag));
    MG_TRY(mg_keystore_find(store->db, a->id, store->arena, &key));
    return mg_buf_putf(out, "{\"id\":\"%s\",\"project\":\"%s\",\"revoked\":true}", a->id, key.project);
}

static mg_err rotate_offline(void *arg, const struct mg_act_store *store, struct mg_buf *out, struct mg_diag *diag)
{
    const struct arguments *a = arg;
    struct mg_key key;
    char text[MG_KEY_TEXT_BYTES];
    uint64_t until_us = a->overlap_us ? mg_wall_us() + a->overlap_us : 0;
    MG_TRY(explain(mg_keystore_rotate(store->db, store->secret, a->id, until_us, store->arena, text, &key), store, a->id, diag));
    return put_new(out, &key, text);
}

/* ---- what is shown --------------------------------------------------------------------------- */

/* The key alone on stdout, so that KEY=$(moongate key create) works; what there is to say about it on stderr. */
static void print_new(void *arg, const struct mg_json *key)
{
    char expires[32];
    mg_view id = mg_json_string(mg_json_get(key, "id")), project = mg_json_string(mg_json_get(key, "project"));
    mg_view replaces = mg_json_string(mg_json_get(key, "replaces")), text = mg_json_string(mg_json_get(key, "key"));
    (void)arg;
    fprintf(stderr, "key %.*s of project %.*s, expires %s.%s%.*s%s It is shown this once:\n", MG_FMT(id), MG_FMT(project),
            mg_act_when(expires, mg_json_get(key, "expires_us"), "never"), replaces.len ? " It replaces " : "", MG_FMT(replaces),
            replaces.len ? "." : "");
    printf("%.*s\n", MG_FMT(text));
}

static void print_updated(void *arg, const struct mg_json *key)
{
    const struct arguments *a = arg;
    (void)key;
    printf("key %s is changed\n", a->id);
}

static bool is_past(const struct mg_json *key, const char *field)
{
    int64_t value = 0;
    return mg_json_i64(mg_json_get(key, field), &value) && value > 0 && (uint64_t)value <= mg_wall_us();
}

static const char *status_of(const struct mg_json *key)
{
    if (is_past(key, "revoked_us"))
        return "revoked";
    if (is_past(key, "expires_us"))
        return "expired";
    if (mg_json_bool(mg_json_get(key, "disabled"), false))
        return "disabled";
    return mg_json_string(mg_json_get(key, "replaced_by")).len ? "replaced" : "valid";
}

static void print_names(const struct mg_json *workflows)
{
    if (!mg_json_is(workflows, MG_JSON_ARRAY))
        printf("all");
    for (const struct mg_json *name = mg_json_first(workflows); name; name = mg_json_next(name)) {
        mg_view text = mg_json_string(name);
        printf("%s%.*s", name == mg_json_first(workflows) ? "" : ",", MG_FMT(text));
    }
    printf("\n");
}

static void print_list(void *arg, const struct mg_json *answer)
{
    char expires[32], used[32];
    const struct mg_json *keys = mg_json_get(answer, "keys");
    (void)arg;
    printf("%-28s %-16s %-20s %-9s %-17s %-17s %s\n", "ID", "PROJECT", "NAME", "STATUS", "EXPIRES", "LAST USE", "MODELS");
    for (const struct mg_json *key = mg_json_first(keys); key; key = mg_json_next(key)) {
        mg_view id = mg_json_string(mg_json_get(key, "id")), project = mg_json_string(mg_json_get(key, "project"));
        mg_view name = mg_json_string(mg_json_get(key, "name"));
        printf("%-28.*s %-16.*s %-20.*s %-9s %-17s %-17s ", MG_FMT(id), MG_FMT(project), MG_FMT(name), status_of(key),
               mg_act_when(expires, mg_json_get(key, "expires_us"), "never"),
               mg_act_when(used, mg_json_get(key, "last_used_us"), "-"));
        print_names(mg_json_get(key, "workflows"));
    }
}

static void print_revoked(void *arg, const struct mg_json *answer)
{
    const struct arguments *a = arg;
    (void)answer;
    printf("key %s is revoked\n", a->id);
}
