/* moongate key: keys of clients, through the running gateway, or in the store when none runs.
 *
 * Both ways give the same JSON (what the admin API answers), which is then printed. */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "admin/admin.h"
#include "base/clock.h"
#include "base/limits.h"
#include "base/mem.h"
#include "cli/cli.h"
#include "cli/control.h"
#include "cli/place.h"
#include "http/json.h"
#include "tenant/keystore.h"

struct arguments {
    const char *project, *name, *expires, *metadata, *overlap, *data, *config;
    bool json;
    const char *id;      /* of revoke and rotate */
    uint64_t expires_us; /* wall clock; 0: never */
    uint64_t overlap_us;
    char data_dir[MG_FOLDER_PATH_BYTES];
};

/* One verb: its HTTP request, the same without a gateway, and how the answer is shown. */
struct verb {
    const char *name;
    bool needs_id;
    const char *method, *path;                                                 /* `%s` is the id */
    mg_err (*put_body)(const struct arguments *arguments, struct mg_buf *out); /* NULL: none */
    mg_err (*offline)(struct arguments *arguments, struct mg_db *db,
                      const struct mg_key_secret *secret, struct mg_buf *out, struct mg_diag *diag);
    void (*print)(const struct arguments *arguments, const struct mg_json *answer);
};

static mg_err put_create(const struct arguments *a, struct mg_buf *out);
static mg_err put_rotate(const struct arguments *a, struct mg_buf *out);
static mg_err create_offline(struct arguments *a, struct mg_db *db,
                             const struct mg_key_secret *secret, struct mg_buf *out,
                             struct mg_diag *diag);
static mg_err list_offline(struct arguments *a, struct mg_db *db,
                           const struct mg_key_secret *secret, struct mg_buf *out,
                           struct mg_diag *diag);
static mg_err revoke_offline(struct arguments *a, struct mg_db *db,
                             const struct mg_key_secret *secret, struct mg_buf *out,
                             struct mg_diag *diag);
static mg_err rotate_offline(struct arguments *a, struct mg_db *db,
                             const struct mg_key_secret *secret, struct mg_buf *out,
                             struct mg_diag *diag);
static mg_err replace_key(const struct arguments *a, struct mg_db *db,
                          const struct mg_key_secret *secret, const struct mg_key *old,
                          struct mg_buf *out);
static void print_new(const struct arguments *a, const struct mg_json *key);
static void print_list(const struct arguments *a, const struct mg_json *answer);
static void print_revoked(const struct arguments *a, const struct mg_json *answer);
static int run(const struct verb *verb, struct arguments *a);
static mg_err ask(const struct verb *verb, struct arguments *a, struct mg_buf *out, int *out_status,
                  struct mg_diag *diag);
static mg_err ask_store(const struct verb *verb, struct arguments *a, struct mg_buf *out,
                        struct mg_diag *diag);
static mg_err with_store(const struct verb *verb, struct arguments *a, struct mg_buf *out,
                         struct mg_diag *diag);
static int show(const struct verb *verb, const struct arguments *a, int status,
                const struct mg_buf *answer);
static bool read_duration(const char *text, uint64_t *out_us);
static bool is_object(const char *text);
static mg_err put_new(struct mg_buf *out, const struct mg_key *key, char text[MG_KEY_TEXT_BYTES]);
static mg_err put_quoted(struct mg_buf *out, const char *text);
static const char *when(char out[32], const struct mg_json *us, const char *never);

static const struct verb verbs[] = {
    {"create", false, "POST", "/admin/v1/keys", put_create, create_offline, print_new},
    {"list", false, "GET", "/admin/v1/keys", NULL, list_offline, print_list},
    {"revoke", true, "DELETE", "/admin/v1/keys/%s", NULL, revoke_offline, print_revoked},
    {"rotate", true, "POST", "/admin/v1/keys/%s/rotate", put_rotate, rotate_offline, print_new},
};

int mg_cli_key(int argc, char **argv)
{
    struct arguments a = {.project = "default", .name = ""};
    const struct mg_option options[] = {
        {"--project", NULL, "NAME", MG_OPTION_TEXT, &a.project,
         "create: whose key it is (default)"},
        {"--name", NULL, "TEXT", MG_OPTION_TEXT, &a.name, "create: what you call it"},
        {"--expires", NULL, "TIME", MG_OPTION_TEXT, &a.expires,
         "create: 30d, 12h, 90m; without it never"},
        {"--metadata", NULL, "JSON", MG_OPTION_TEXT, &a.metadata,
         "create: an object that policies can read"},
        {"--overlap", NULL, "TIME", MG_OPTION_TEXT, &a.overlap,
         "rotate: how long the old key stays valid (0)"},
        {"--json", NULL, NULL, MG_OPTION_FLAG, &a.json, "print JSON"},
        {"--data", NULL, "DIR", MG_OPTION_TEXT, &a.data,
         "the data folder instead of the configuration's"},
        {"--config", "-c", "FILE", MG_OPTION_TEXT, &a.config,
         "gateway.lua, to find the data folder"},
    };
    int end = mg_cli_parse(&argc, argv, options, MG_COUNT(options), 2);
    if (end != MG_CLI_GO)
        return end;
    const struct verb *verb = NULL;
    for (size_t i = 0; i < MG_COUNT(verbs); i++)
        verb = argc > 1 && !strcmp(argv[1], verbs[i].name) ? &verbs[i] : verb;
    if (!verb)
        return mg_cli_complain(MG_EXIT_USAGE, "key",
                               "say what to do: create, list, revoke ID or rotate ID");
    if (verb->needs_id != (argc == 3))
        return mg_cli_complain(MG_EXIT_USAGE, "key",
                               verb->needs_id ? "%s needs the id of a key (see: moongate key list)"
                                              : "%s takes no argument",
                               verb->name);
    a.id = argv[2];
    if (verb->needs_id && (strlen(a.id) >= sizeof(((struct mg_key *)0)->id) ||
                           strspn(a.id, "abcdefghijklmnopqrstuvwxyz"
                                        "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-") != strlen(a.id)))
        return mg_cli_complain(MG_EXIT_USAGE, "key", "\"%s\" is not the id of a key", a.id);
    if (a.expires && (!read_duration(a.expires, &a.expires_us) || !a.expires_us))
        return mg_cli_complain(MG_EXIT_USAGE, "key",
                               "--expires needs a time such as 30d or 12h, not \"%s\"", a.expires);
    if (a.overlap && !read_duration(a.overlap, &a.overlap_us))
        return mg_cli_complain(MG_EXIT_USAGE, "key",
                               "--overlap needs a time such as 15m or 1d, not \"%s\"", a.overlap);
    if (a.metadata && !is_object(a.metadata))
        return mg_cli_complain(MG_EXIT_USAGE, "key",
                               "--metadata needs a JSON object of at most %d bytes",
                               MG_MAX_METADATA_BYTES);
    a.expires_us += a.expires ? mg_wall_us() : 0;
    return run(verb, &a);
}

static int run(const struct verb *verb, struct arguments *a)
{
    struct mg_diag diag = {.line = 0};
    struct mg_buf answer;
    int status = 0;
    if (mg_place_data(a->data, a->config, a->data_dir, &diag) != MG_OK)
        return mg_cli_failed("key", &diag);
    mg_buf_init(&answer, MG_MAX_RESPONSE_BODY_BYTES);
    mg_err err = ask(verb, a, &answer, &status, &diag);
    int end = err == MG_OK ? show(verb, a, status, &answer) : mg_cli_failed("key", &diag);
    if (answer.ptr)
        mg_wipe(answer.ptr, answer.cap);
    mg_buf_fini(&answer);
    return end;
}

/* The running gateway knows best; the store is only touched when there is none. */
static mg_err ask(const struct verb *verb, struct arguments *a, struct mg_buf *out, int *out_status,
                  struct mg_diag *diag)
{
    char path[128];
    struct mg_buf body;
    mg_buf_init(&body, MG_MAX_ADMIN_BODY_BYTES);
    mg_err err = verb->put_body ? verb->put_body(a, &body) : MG_OK;
    if (err == MG_OK) {
        snprintf(path, sizeof(path), verb->needs_id ? verb->path : "%s",
                 verb->needs_id ? a->id : verb->path);
        err = mg_control_request(a->data_dir, verb->method, path, mg_buf_view(&body), out_status,
                                 out, diag);
    }
    mg_buf_fini(&body);
    if (err != MG_E_NOT_FOUND)
        return err;
    *out_status = 200;
    return ask_store(verb, a, out, diag);
}

static mg_err ask_store(const struct verb *verb, struct arguments *a, struct mg_buf *out,
                        struct mg_diag *diag)
{
    int lock = -1;
    MG_TRY(mg_folder_create(a->data_dir, diag));
    mg_err err = mg_folder_lock(a->data_dir, &lock, diag);
    if (err == MG_E_BUSY)
        return mg_diag_set(diag, err, NULL, 0, "a gateway runs in %s and does not answer",
                           a->data_dir);
    MG_TRY(err);
    err = with_store(verb, a, out, diag);
    mg_folder_unlock(lock);
    return err;
}

static mg_err with_store(const struct verb *verb, struct arguments *a, struct mg_buf *out,
                         struct mg_diag *diag)
{
    char path[MG_FOLDER_PATH_BYTES];
    struct mg_key_secret secret;
    struct mg_db *db;
    MG_TRY(mg_folder_path(a->data_dir, "moongate.db", path));
    MG_TRY(mg_key_secret_load(a->data_dir, &secret, diag));
    MG_TRY(mg_db_open(path, MG_DB_WRITE, &db, diag));
    mg_err err = mg_db_begin(db, MG_DB_FULL);
    if (err == MG_OK)
        err = verb->offline(a, db, &secret, out, diag);
    if (err == MG_OK)
        err = mg_db_commit(db);
    if (err == MG_E_STORE)
        mg_diag_set(diag, err, path, 0, "%s", mg_db_message(db));
    mg_db_rollback(db);
    mg_db_close(db);
    mg_wipe(&secret, sizeof(secret));
    return err;
}

static int show(const struct verb *verb, const struct arguments *a, int status,
                const struct mg_buf *answer)
{
    struct mg_json *json = NULL;
    if (mg_json_parse(mg_buf_view(answer), MG_MAX_RESPONSE_BODY_BYTES, &json, NULL) != MG_OK)
        return mg_cli_complain(MG_EXIT_FAILED, "key", "the gateway's answer is not JSON");
    if (status >= 400) {
        mg_view message = mg_json_string(mg_json_path(json, "error.message"));
        mg_cli_complain(MG_EXIT_FAILED, "key", "%.*s", MG_FMT(message));
    } else if (a->json) {
        printf("%.*s\n", MG_FMT(mg_buf_view(answer)));
    } else {
        verb->print(a, json);
    }
    mg_json_free(json);
    return status >= 400 ? MG_EXIT_FAILED : MG_EXIT_OK;
}

static mg_err put_create(const struct arguments *a, struct mg_buf *out)
{
    MG_TRY(mg_buf_put(out, MG_VIEW("{\"project\":")));
    MG_TRY(put_quoted(out, a->project));
    MG_TRY(mg_buf_put(out, MG_VIEW(",\"name\":")));
    MG_TRY(put_quoted(out, a->name));
    return mg_buf_putf(out, ",\"expires_us\":%llu,\"metadata\":%s}",
                       (unsigned long long)a->expires_us, a->metadata ? a->metadata : "null");
}

static mg_err put_rotate(const struct arguments *a, struct mg_buf *out)
{
    return mg_buf_putf(out, "{\"overlap_s\":%llu}", (unsigned long long)(a->overlap_us / 1000000));
}

static mg_err create_offline(struct arguments *a, struct mg_db *db,
                             const struct mg_key_secret *secret, struct mg_buf *out,
                             struct mg_diag *diag)
{
    struct mg_key key;
    char text[MG_KEY_TEXT_BYTES];
    MG_TRY(mg_key_issue(secret, a->project, a->name, a->expires_us, a->metadata, text, &key));
    MG_TRY(mg_keystore_insert(db, &key));
    return put_new(out, &key, text);
}

static mg_err list_offline(struct arguments *a, struct mg_db *db,
                           const struct mg_key_secret *secret, struct mg_buf *out,
                           struct mg_diag *diag)
{
    struct mg_arena arena;
    struct mg_key *keys = NULL;
    size_t count = 0;
    mg_arena_init(&arena, 4096);
    mg_err err = mg_keystore_load(db, &arena, &keys, &count);
    if (err == MG_OK)
        err = mg_buf_put(out, MG_VIEW("{\"keys\":["));
    for (size_t i = 0; i < count && err == MG_OK; i++) {
        err = i ? mg_buf_putc(out, ',') : MG_OK;
        if (err == MG_OK)
            err = mg_admin_put_key(&keys[i], NULL, out);
    }
    mg_arena_fini(&arena);
    return err == MG_OK ? mg_buf_put(out, MG_VIEW("]}")) : err;
}

static mg_err revoke_offline(struct arguments *a, struct mg_db *db,
                             const struct mg_key_secret *secret, struct mg_buf *out,
                             struct mg_diag *diag)
{
    mg_err err = mg_keystore_revoke(db, a->id, mg_wall_us());
    if (err == MG_E_NOT_FOUND)
        return mg_diag_set(diag, err, NULL, 0, "there is no key %s", a->id);
    MG_TRY(err);
    return mg_buf_putf(out, "{\"id\":\"%s\",\"revoked\":true}", a->id);
}

/* A second key like the old one, which stays valid for the overlap. */
static mg_err rotate_offline(struct arguments *a, struct mg_db *db,
                             const struct mg_key_secret *secret, struct mg_buf *out,
                             struct mg_diag *diag)
{
    struct mg_arena arena;
    struct mg_key *keys = NULL;
    const struct mg_key *old = NULL;
    size_t count = 0;
    mg_arena_init(&arena, 4096);
    mg_err err = mg_keystore_load(db, &arena, &keys, &count);
    for (size_t i = 0; i < count && err == MG_OK; i++)
        old = !strcmp(keys[i].id, a->id) && !keys[i].revoked_us ? &keys[i] : old;
    if (err == MG_OK)
        err = old ? replace_key(a, db, secret, old, out)
                  : mg_diag_set(diag, MG_E_NOT_FOUND, NULL, 0, "there is no valid key %s", a->id);
    mg_arena_fini(&arena);
    return err;
}

static mg_err replace_key(const struct arguments *a, struct mg_db *db,
                          const struct mg_key_secret *secret, const struct mg_key *old,
                          struct mg_buf *out)
{
    struct mg_key key;
    char text[MG_KEY_TEXT_BYTES];
    MG_TRY(
        mg_key_issue(secret, old->project, old->name, old->expires_us, old->metadata, text, &key));
    MG_TRY(mg_keystore_insert(db, &key));
    if (a->overlap_us)
        MG_TRY(mg_keystore_expire(db, a->id, mg_wall_us() + a->overlap_us));
    else
        MG_TRY(mg_keystore_revoke(db, a->id, mg_wall_us()));
    return put_new(out, &key, text);
}

static mg_err put_new(struct mg_buf *out, const struct mg_key *key, char text[MG_KEY_TEXT_BYTES])
{
    MG_TRY(mg_buf_reserve(out, 4 * MG_MAX_METADATA_BYTES));
    mg_err err = mg_admin_put_key(key, text, out);
    mg_wipe(text, MG_KEY_TEXT_BYTES);
    return err;
}

static mg_err put_quoted(struct mg_buf *out, const char *text)
{
    MG_TRY(mg_buf_putc(out, '"'));
    MG_TRY(mg_buf_put_json(out, mg_view_cstr(text)));
    return mg_buf_putc(out, '"');
}

/* The key alone on stdout, so that KEY=$(moongate key create) works; what there is to say about it
 * on stderr. */
static void print_new(const struct arguments *a, const struct mg_json *key)
{
    char expires[32];
    mg_view id = mg_json_string(mg_json_get(key, "id")),
            project = mg_json_string(mg_json_get(key, "project"));
    fprintf(stderr, "key %.*s of project %.*s, expires %s. It is shown this once:\n", MG_FMT(id),
            MG_FMT(project), when(expires, mg_json_get(key, "expires_us"), "never"));
    mg_view text = mg_json_string(mg_json_get(key, "key"));
    printf("%.*s\n", MG_FMT(text));
}

static void print_list(const struct arguments *a, const struct mg_json *answer)
{
    char created[32], expires[32], used[32];
    const struct mg_json *keys = mg_json_get(answer, "keys");
    printf("%-28s %-16s %-20s %-17s %-17s %s\n", "ID", "PROJECT", "NAME", "CREATED", "EXPIRES",
           "LAST USE");
    for (const struct mg_json *key = mg_json_first(keys); key; key = mg_json_next(key)) {
        int64_t revoked = 0;
        mg_view id = mg_json_string(mg_json_get(key, "id"));
        mg_view project = mg_json_string(mg_json_get(key, "project")),
                name = mg_json_string(mg_json_get(key, "name"));
        bool gone = mg_json_i64(mg_json_get(key, "revoked_us"), &revoked) && revoked > 0;
        printf("%-28.*s %-16.*s %-20.*s %-17s %-17s %s\n", MG_FMT(id), MG_FMT(project),
               MG_FMT(name), when(created, mg_json_get(key, "created_us"), "-"),
               gone ? "revoked" : when(expires, mg_json_get(key, "expires_us"), "never"),
               when(used, mg_json_get(key, "last_used_us"), "-"));
    }
}

static void print_revoked(const struct arguments *a, const struct mg_json *answer)
{
    printf("key %s is revoked\n", a->id);
}

/* "2026-11-24 10:15" in local time. */
static const char *when(char out[32], const struct mg_json *us, const char *never)
{
    int64_t value = 0;
    struct tm parts;
    if (!mg_json_i64(us, &value) || value <= 0)
        return never;
    time_t seconds = (time_t)(value / 1000000);
    strftime(out, 32, "%Y-%m-%d %H:%M", localtime_r(&seconds, &parts));
    return out;
}

/* A number and one of s, m, h, d, w. */
static bool read_duration(const char *text, uint64_t *out_us)
{
    static const struct {
        char unit;
        uint64_t seconds;
    } units[] = {{'s', 1}, {'m', 60}, {'h', 3600}, {'d', 86400}, {'w', 604800}};
    mg_view number = mg_view_cstr(text);
    uint64_t value;
    if (number.len < 2 || !mg_view_u64(mg_view_head(number, number.len - 1), &value) ||
        value > 1000000)
        return false;
    for (size_t i = 0; i < MG_COUNT(units); i++) {
        if (units[i].unit == number.ptr[number.len - 1]) {
            *out_us = value * units[i].seconds * 1000000;
            return true;
        }
    }
    return false;
}

static bool is_object(const char *text)
{
    struct mg_json *value = NULL;
    bool good = mg_json_parse(mg_view_cstr(text), MG_MAX_METADATA_BYTES, &value, NULL) == MG_OK &&
                mg_json_is(value, MG_JSON_OBJECT);
    mg_json_free(value);
    return good;
}
