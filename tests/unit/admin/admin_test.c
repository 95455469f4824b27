#include "admin/admin.h"

#include <pthread.h>
#include <semaphore.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "check.h"
#include "cli/call.h"
#include "cli/control.h"
#include "store/folder.h"

/* The process behind the plane: what it was asked, and what it shall answer. */
static struct world {
    char dir[64];
    struct mg_admin *admin;
    bool ready;
    int reloads, flushes;
    bool holds_flushes;
    sem_t flushing, go_on;             /* of a flush that is held */
    char project[64], name[64], metadata[128], id[64];
    uint64_t expires_us, overlap_s;
    mg_err key_error;
    unsigned given;
    bool on;
    struct mg_switch row;
    char only[72];
    struct mg_buf body;
    int status;
} w;

static bool ready(void *arg)
{
    CHECK(arg == &w);
    return w.ready;
}

static mg_err metrics(void *arg, struct mg_buf *out)
{
    return mg_buf_put(out, MG_VIEW("moongate_up 1\n"));
}

static mg_err status(void *arg, struct mg_buf *out)
{
    return mg_buf_put(out, MG_VIEW("{\"projects\":[]}"));
}

static void reload(void *arg)
{
    w.reloads++;
}

static void flush(void *arg)
{
    w.flushes++;
    if (!w.holds_flushes)
        return;
    sem_post(&w.flushing);
    sem_wait(&w.go_on);
}

static void fill(struct mg_key *key, char *text)
{
    *key = (struct mg_key){.created_us = 5, .metadata = "{\"a\":1}"};
    snprintf(key->id, sizeof(key->id), "key_1");
    snprintf(key->project, sizeof(key->project), "p");
    snprintf(key->name, sizeof(key->name), "a \"name\"");
    if (text)
        snprintf(text, MG_KEY_TEXT_BYTES, "mg-p-secret");
}

static mg_err key_create(void *arg, mg_view actor, const struct mg_keys_spec *spec, char *out_text,
                         struct mg_key *out_key, struct mg_diag *diag)
{
    snprintf(w.project, sizeof(w.project), "%s", spec->project);
    snprintf(w.name, sizeof(w.name), "%s", spec->name);
    snprintf(w.metadata, sizeof(w.metadata), "%s", spec->metadata ? spec->metadata : "(none)");
    w.expires_us = spec->expires_us;
    if (w.key_error)
        return mg_diag_set(diag, w.key_error, NULL, 0, "there is no project \"%s\"", spec->project);
    fill(out_key, out_text);
    return MG_OK;
}

static mg_err key_revoke(void *arg, mg_view actor, const char *id, struct mg_diag *diag)
{
    snprintf(w.id, sizeof(w.id), "%s", id);
    return w.key_error;
}

static mg_err key_rotate(void *arg, mg_view actor, const char *id, uint64_t overlap_s, struct mg_arena *arena, char *out_text,
                         struct mg_key *out_key, struct mg_diag *diag)
{
    snprintf(w.id, sizeof(w.id), "%s", id);
    w.overlap_s = overlap_s;
    fill(out_key, out_text);
    return MG_OK;
}

static mg_err key_list(void *arg, void (*each)(void *arg, const struct mg_key *key), void *each_arg,
                       struct mg_diag *diag)
{
    struct mg_key key;
    fill(&key, NULL);
    each(each_arg, &key);
    each(each_arg, &key);
    return MG_OK;
}

static mg_err target_list(void *arg, mg_view project, mg_targets_cb each, void *each_arg)
{
    static const struct mg_target_row row = {.project = "p",
                                             .target = "a/b",
                                             .provider = "a",
                                             .model = "b",
                                             .credential_count = 1,
                                             .credentials = {{.name = "main"}}};
    snprintf(w.project, sizeof(w.project), "%.*s", MG_FMT(project));
    if (mg_view_eq(project, MG_VIEW("nobody")))
        return MG_E_NOT_FOUND;
    each(each_arg, &row);
    each(each_arg, &row);
    return MG_OK;
}

static mg_err target_reset(void *arg, const struct mg_targets_reset *what, unsigned *out_count,
                           struct mg_diag *diag)
{
    snprintf(w.name, sizeof(w.name), "%s|%s|%s", what->project, what->target, what->credential);
    if (!strcmp(what->target, "none"))
        return mg_diag_set(diag, MG_E_NOT_FOUND, NULL, 0, "no project has a target none");
    *out_count = 3;
    return MG_OK;
}

/* One member of each role; "mga-ROLE" is its token, and "mga-ROLE@p" that of one in project p alone. */
static mg_err identify(void *arg, mg_view token, struct mg_identity *out_identity, const char **out_why)
{
    struct mg_member member = {.name = "alice"};
    mg_view role = mg_view_skip(token, MG_MIN(token.len, (size_t)4));
    mg_view project = role;
    role = mg_view_cut(&project, '@');
    snprintf(member.project, sizeof(member.project), "%.*s", MG_FMT(project));
    if (!mg_view_starts(token, MG_VIEW("mga-")) || !mg_role_find(role, &member.role))
        return MG_E_DENIED;
    mg_identity_of(&member, out_identity);
    return MG_OK;
}

static mg_err key_change(void *arg, mg_view actor, const char *id, const struct mg_keys_spec *spec, struct mg_arena *arena,
                         struct mg_key *out_key, struct mg_diag *diag)
{
    snprintf(w.id, sizeof(w.id), "%s", id);
    w.given = spec->given;
    fill(out_key, NULL);
    return MG_OK;
}

static mg_err switch_set(void *arg, bool on, const struct mg_switch *row, const char *only, struct mg_switch *out_row,
                         struct mg_diag *diag)
{
    w.on = on;
    w.row = *row;
    snprintf(w.only, sizeof(w.only), "%s", only);
    *out_row = *row;
    return MG_OK;
}

static mg_err switch_list(void *arg, void (*each)(void *arg, const struct mg_switch *row), void *each_arg,
                          struct mg_diag *diag)
{
    const struct mg_switch ours = {.kind = MG_SWITCH_WORKFLOW, .project = "p", .name = "chat"};
    const struct mg_switch theirs = {.kind = MG_SWITCH_WORKFLOW, .project = "q", .name = "hidden"};
    each(each_arg, &ours);
    each(each_arg, &theirs);
    return MG_OK;
}

static const struct mg_admin_ops ops = {
    .identify = identify,
    .key_change = key_change,
    .switch_set = switch_set,
    .switch_list = switch_list,
    .ready = ready,
    .metrics = metrics,
    .status = status,
    .reload = reload,
    .flush = flush,
    .key_create = key_create,
    .key_revoke = key_revoke,
    .key_rotate = key_rotate,
    .key_list = key_list,
    .target_list = target_list,
    .target_reset = target_reset,
};

static void start(const char *token)
{
    static const struct mg_config_listen listen = {.host = "127.0.0.1"};
    struct mg_diag diag = {.line = 0};
    w = (struct world){.ready = true};
    snprintf(w.dir, sizeof(w.dir), "/tmp/mg-admin-XXXXXX");
    CHECK(mkdtemp(w.dir) != NULL);
    mg_buf_init(&w.body, 1 << 20);
    const struct mg_admin_options options = {
        .listen = &listen, .token = token, .data_dir = w.dir, .ops = &ops, .arg = &w};
    CHECK_OK(mg_admin_start(&options, &w.admin, &diag));
}

static void stop(void)
{
    char path[MG_FOLDER_PATH_BYTES];
    mg_admin_stop(w.admin);
    mg_buf_fini(&w.body);
    CHECK_OK(mg_folder_path(w.dir, "control.sock", path));
    CHECK(access(path, F_OK) != 0);
    rmdir(w.dir);
}

/* Over the unix socket. */
static const char *local(const char *method, const char *path, const char *body)
{
    struct mg_diag diag = {.line = 0};
    mg_buf_clear(&w.body);
    CHECK_OK(
        mg_control_request(w.dir, method, path, mg_view_cstr(body), &w.status, &w.body, &diag));
    return mg_buf_cstr(&w.body);
}

static mg_err put_body(void *arg, mg_view bytes)
{
    return mg_buf_put(&w.body, bytes);
}

/* Over TCP. */
static int remote(const char *method, const char *path, const char *headers)
{
    struct mg_diag diag = {.line = 0};
    const struct mg_call_spec spec = {.host = "127.0.0.1",
                                      .port = mg_admin_port(w.admin),
                                      .method = method,
                                      .path = path,
                                      .headers = headers,
                                      .timeout_s = 5,
                                      .on_body = put_body};
    mg_buf_clear(&w.body);
    CHECK_OK(mg_call(&spec, &w.status, &diag));
    return w.status;
}

TEST(health_readiness_and_metrics_need_no_token)
{
    start(NULL);
    CHECK_INT(remote("GET", "/healthz", ""), 200);
    CHECK_STR(mg_buf_cstr(&w.body), "ok\n");
    CHECK_INT(remote("GET", "/metrics", ""), 200);
    CHECK_STR(mg_buf_cstr(&w.body), "moongate_up 1\n");
    CHECK_INT(remote("GET", "/readyz", ""), 200);
    w.ready = false;
    CHECK_INT(remote("GET", "/readyz", ""), 503);
    stop();
}

TEST(the_api_is_off_over_tcp_without_a_token_and_open_on_the_socket)
{
    start(NULL);
    CHECK_INT(remote("GET", "/admin/v1/status", ""), 401);
    CHECK_INT(remote("GET", "/admin/v1/status", "authorization: Bearer \r\n"), 401);
    CHECK_STR(local("GET", "/admin/v1/status", ""), "{\"projects\":[]}");
    CHECK_INT(w.status, 200);
    stop();
}

TEST(a_role_may_do_what_the_table_says)
{
    static const struct {
        const char *method, *path;
        int viewer, operator_, writer, bound_viewer;
    } rows[] = {
        {"GET", "/admin/v1/status", 200, 200, 403, 403},
        {"GET", "/admin/v1/keys", 200, 200, 403, 200},
        {"POST", "/admin/v1/reload", 403, 403, 403, 403},
        {"DELETE", "/admin/v1/keys/key_1", 403, 200, 403, 403},
        {"GET", "/admin/v1/disabled", 200, 200, 403, 200},
        {"POST", "/admin/v1/disable", 403, 400, 403, 403},       /* allowed, but there is no body */
        {"GET", "/admin/v1/members", 403, 403, 403, 403},
    };
    start(NULL);
    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
        CHECK_INT(remote(rows[i].method, rows[i].path, "authorization: Bearer mga-viewer\r\n"), rows[i].viewer);
        CHECK_INT(remote(rows[i].method, rows[i].path, "authorization: Bearer mga-operator\r\n"), rows[i].operator_);
        CHECK_INT(remote(rows[i].method, rows[i].path, "authorization: Bearer mga-secret-writer\r\n"), rows[i].writer);
        CHECK_INT(remote(rows[i].method, rows[i].path, "authorization: Bearer mga-viewer@p\r\n"), rows[i].bound_viewer);
        CHECK_INT(remote(rows[i].method, rows[i].path, "authorization: Bearer mga-nobody\r\n"), 401);
    }
    stop();
}

TEST(a_member_of_one_project_sees_and_touches_nothing_else)
{
    start(NULL);
    CHECK_INT(remote("GET", "/admin/v1/disabled", "authorization: Bearer mga-operator@p\r\n"), 200);
    CHECK(strstr(mg_buf_cstr(&w.body), "chat") != NULL);
    CHECK(strstr(mg_buf_cstr(&w.body), "hidden") == NULL);
    CHECK_INT(remote("GET", "/admin/v1/keys", "authorization: Bearer mga-operator@q\r\n"), 200);
    CHECK(strstr(mg_buf_cstr(&w.body), "key_1") == NULL);

    CHECK_INT(remote("DELETE", "/admin/v1/keys/key_1", "authorization: Bearer mga-operator@q\r\n"), 404);
    CHECK_STR(w.id, "");
    CHECK_INT(remote("DELETE", "/admin/v1/keys/key_1", "authorization: Bearer mga-operator@p\r\n"), 200);
    CHECK_STR(w.id, "key_1");
    stop();
}

static void on_refusal(void *arg, const struct mg_http_response *response)
{
    CHECK_VIEW(mg_headers_get(response->headers, MG_VIEW("www-authenticate")), MG_VIEW("Bearer"));
    *(bool *)arg = true;
}

static mg_err ignore(void *arg, mg_view bytes)
{
    return MG_OK;
}

TEST(a_refusal_asks_for_a_token)
{
    struct mg_diag diag = {.line = 0};
    bool asked = false;
    start("s3cret");
    const struct mg_call_spec spec = {.host = "127.0.0.1", .port = mg_admin_port(w.admin), .method = "GET", .path = "/admin/v1/status",
                                      .headers = "", .timeout_s = 5, .on_head = on_refusal, .on_body = ignore, .arg = &asked};
    CHECK_OK(mg_call(&spec, &w.status, &diag));
    CHECK_INT(w.status, 401);
    CHECK(asked);
    stop();
}

TEST(over_tcp_only_the_right_token_is_let_in)
{
    static const struct {
        const char *headers;
        int status;
    } rows[] = {
        {"", 401},
        {"authorization: Bearer wrong\r\n", 401},
        {"authorization: Bearer s3cret-\r\n", 401},
        {"authorization: Bearer s3cre\r\n", 401},
        {"authorization: Basic s3cret\r\n", 401},
        {"authorization: s3cret\r\n", 401},
        {"authorization: Bearer s3cret\r\n", 200},
        {"Authorization: bearer s3cret\r\n", 200},
    };
    start("s3cret");
    for (size_t i = 0; i < MG_COUNT(rows); i++)
        CHECK_INT(remote("GET", "/admin/v1/status", rows[i].headers), rows[i].status);
    stop();
}

TEST(the_socket_is_for_its_owner_alone)
{
    char path[MG_FOLDER_PATH_BYTES];
    struct stat info;
    start(NULL);
    CHECK_OK(mg_folder_path(w.dir, "control.sock", path));
    CHECK_INT(stat(path, &info), 0);
    CHECK_INT(info.st_mode & 0777, 0600);
    stop();
}

TEST(a_key_is_made_with_what_was_asked_and_its_text_is_answered)
{
    start(NULL);
    CHECK_STR(
        local("POST", "/admin/v1/keys",
              "{\"project\":\"p\",\"name\":\"caf\\u00e9\",\"expires_us\":99,\"metadata\":{\"x\":[1]"
              "}}"),
        "{\"id\":\"key_1\",\"project\":\"p\",\"name\":\"a "
        "\\\"name\\\"\",\"created_us\":5,\"expires_us\":0,"
        "\"revoked_us\":0,\"last_used_us\":0,\"metadata\":{\"a\":1},\"workflows\":null,\"limits\":null,\"key\":\"mg-p-secret\"}");
    CHECK_INT(w.status, 201);
    CHECK_STR(w.project, "p");
    CHECK_STR(w.name, "caf\xc3\xa9");
    CHECK_INT(w.expires_us, 99);
    CHECK_STR(w.metadata, "{\"x\":[1]}");
    stop();
}

TEST(keys_are_listed_without_their_text)
{
    start(NULL);
    const char *answer = local("GET", "/admin/v1/keys", "");
    CHECK_INT(w.status, 200);
    CHECK(strstr(answer, "{\"keys\":[{\"id\":\"key_1\"") == answer);
    CHECK(strstr(answer, "},{") != NULL);
    CHECK(strstr(answer, "secret") == NULL);
    stop();
}

TEST(a_key_is_revoked_and_rotated_by_its_id)
{
    start(NULL);
    local("DELETE", "/admin/v1/keys/key_77", "");
    CHECK_INT(w.status, 200);
    CHECK_STR(w.id, "key_77");
    local("POST", "/admin/v1/keys/key_78/rotate", "{\"overlap_s\":60}");
    CHECK_INT(w.status, 201);
    CHECK_STR(w.id, "key_78");
    CHECK_INT(w.overlap_s, 60);
    local("POST", "/admin/v1/keys/key_78/rotate", "");
    CHECK_INT(w.status, 201);
    CHECK_INT(w.overlap_s, 0);
    stop();
}

TEST(targets_are_listed_all_or_of_one_project)
{
    start(NULL);
    const char *answer = local("GET", "/admin/v1/targets", "");
    CHECK_INT(w.status, 200);
    CHECK_STR(w.project, "");
    CHECK(strstr(answer, "{\"targets\":[{\"project\":\"p\",\"target\":\"a/b\",") == answer);
    CHECK(strstr(answer, "]},{\"project\"") != NULL);
    local("GET", "/admin/v1/targets?project=caf%C3%A9", "");
    CHECK_INT(w.status, 200);
    CHECK_STR(w.project, "caf\xc3\xa9");
    local("GET", "/admin/v1/targets?project=nobody", "");
    CHECK_INT(w.status, 404);
    local("GET", "/admin/v1/targets?colour=red", "");
    CHECK_INT(w.status, 400);
    stop();
}

TEST(a_target_is_reset_by_its_name)
{
    start(NULL);
    CHECK_STR(local("POST", "/admin/v1/targets/reset", "{\"target\":\"a/b\"}"), "{\"reset\":3}");
    CHECK_INT(w.status, 200);
    CHECK_STR(w.name, "|a/b|");
    local("POST", "/admin/v1/targets/reset",
          "{\"target\":\"a\",\"project\":\"p\",\"credential\":\"main\"}");
    CHECK_STR(w.name, "p|a|main");
    CHECK_STR(local("POST", "/admin/v1/targets/reset", "{\"target\":\"none\"}"),
              "{\"error\":{\"code\":\"not_found\",\"message\":\"no project has a target none\"}}");
    CHECK_INT(w.status, 404);
    stop();
}

TEST(a_refusal_says_why)
{
    static const struct {
        const char *method, *path, *body;
        int status;
        const char *code;
    } rows[] = {
        {"POST", "/admin/v1/keys", "", 400, "bad_request"},
        {"POST", "/admin/v1/keys", "[]", 400, "bad_request"},
        {"POST", "/admin/v1/keys", "{\"project\":1}", 400, "bad_request"},
        {"POST", "/admin/v1/keys", "{\"project\":\"p\",\"name\":1}", 400, "bad_request"},
        {"POST", "/admin/v1/keys", "{\"project\":\"p\",\"metadata\":[]}", 400, "bad_request"},
        {"POST", "/admin/v1/keys", "{\"project\":\"p\",\"expires_us\":-1}", 400, "bad_request"},
        {"POST", "/admin/v1/keys/k/rotate", "{\"overlap_s\":\"x\"}", 400, "bad_request"},
        {"POST", "/admin/v1/targets/reset", "{}", 400, "bad_request"},
        {"POST", "/admin/v1/targets/reset", "{\"target\":1}", 400, "bad_request"},
        {"POST", "/admin/v1/targets/reset", "{\"target\":\"a\",\"project\":[]}", 400,
         "bad_request"},
        {"GET", "/admin/v1/targets/reset", "", 405, "method_not_allowed"},
        {"GET", "/admin/v1/requests?nonsense=1", "", 400, "bad_request"},
        {"PUT", "/admin/v1/keys", "", 405, "method_not_allowed"},
        {"GET", "/admin/v1/keys/", "", 404, "not_found"},
        {"GET", "/nothing", "", 404, "not_found"},
        {"GET", "/", "", 404, "not_found"},
    };
    start(NULL);
    for (size_t i = 0; i < MG_COUNT(rows); i++) {
        char want[64];
        snprintf(want, sizeof(want), "{\"error\":{\"code\":\"%s\",\"message\":\"", rows[i].code);
        const char *answer = local(rows[i].method, rows[i].path, rows[i].body);
        if (w.status != rows[i].status || strstr(answer, want) != answer)
            check_failed(__FILE__, __LINE__, "%s %s: %d %s", rows[i].method, rows[i].path, w.status,
                         answer);
    }
    w.key_error = MG_E_NOT_FOUND;
    CHECK_STR(local("POST", "/admin/v1/keys", "{\"project\":\"x\"}"),
              "{\"error\":{\"code\":\"not_found\",\"message\":\"there is no project \\\"x\\\"\"}}");
    CHECK_INT(w.status, 404);
    stop();
}

TEST(requests_are_read_from_the_store_after_a_flush)
{
    struct mg_db *db;
    struct mg_diag diag;
    char path[MG_FOLDER_PATH_BYTES];
    start(NULL);
    CHECK_OK(mg_folder_path(w.dir, "moongate.db", path));
    CHECK_OK(mg_db_open(path, MG_DB_WRITE, &db, &diag));

    CHECK_STR(local("GET", "/admin/v1/requests?limit=5", ""), "{\"requests\":[],\"next\":null,\"searched\":0,\"damaged\":0}");
    CHECK_INT(w.flushes, 1);
    local("GET", "/admin/v1/requests/req_none", "");
    CHECK_INT(w.status, 404);

    mg_db_close(db);
    char command[128];
    snprintf(command, sizeof(command), "rm -f %s/moongate.db*", w.dir);
    CHECK_INT(system(command), 0);
    stop();
}

static void *ask_for_usage(void *arg)
{
    struct mg_diag diag = {.line = 0};
    struct mg_buf body;
    int answered = 0;
    mg_buf_init(&body, 1 << 20);
    CHECK_OK(mg_control_request(w.dir, "GET", "/admin/v1/usage", MG_VIEW_NONE, &answered, &body, &diag));
    mg_buf_fini(&body);
    return arg;
}

TEST(a_key_is_revoked_while_somebodys_question_takes_long)
{
    pthread_t asking;
    start(NULL);
    sem_init(&w.flushing, 0, 0);
    sem_init(&w.go_on, 0, 0);
    w.holds_flushes = true;
    CHECK_INT(pthread_create(&asking, NULL, ask_for_usage, NULL), 0);
    sem_wait(&w.flushing);

    local("DELETE", "/admin/v1/keys/key_9", "");

    CHECK_INT(w.status, 200);
    CHECK_STR(w.id, "key_9");
    sem_post(&w.go_on);
    pthread_join(asking, NULL);
    stop();
}

TEST(a_reload_is_started_and_not_waited_for)
{
    start(NULL);
    CHECK_STR(local("POST", "/admin/v1/reload", ""), "{\"reloading\":true}");
    CHECK_INT(w.status, 202);
    CHECK_INT(w.reloads, 1);
    stop();
}

TEST(without_a_gateway_the_socket_says_so)
{
    struct mg_diag diag = {.line = 0};
    struct mg_buf body;
    int answered = 0;
    mg_buf_init(&body, 100);
    CHECK_INT(mg_control_request("/tmp/mg-admin-nowhere", "GET", "/healthz", MG_VIEW_NONE,
                                 &answered, &body, &diag),
              MG_E_NOT_FOUND);
    CHECK(*diag.text);
    mg_buf_fini(&body);
}

MG_TEST_MAIN()
