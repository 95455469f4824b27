#include "cli/act.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/limits.h"
#include "base/mem.h"
#include "cli/cli.h"
#include "cli/control.h"
#include "cli/place.h"
#include "config/config.h"
#include "vault/desk.h"

static mg_err ask(const struct mg_act *act, const char *data_dir, struct mg_buf *out, int *out_status, struct mg_diag *diag);
static mg_err ask_store(const struct mg_act *act, const char *data_dir, struct mg_buf *out, struct mg_diag *diag);
static mg_err with_store(const struct mg_act *act, const char *data_dir, struct mg_buf *out, struct mg_diag *diag);
static mg_err open_desk(const struct mg_act *act, const char *data_dir, struct mg_db *db, struct mg_desk **out_desk,
                        struct mg_diag *diag);
static mg_err in_transaction(const struct mg_act *act, const struct mg_act_store *store, struct mg_desk *desk, struct mg_buf *out,
                             struct mg_diag *diag);
static int show(const struct mg_act *act, int status, struct mg_buf *answer);

int mg_act_run(const struct mg_act *act)
{
    struct mg_diag diag = {.line = 0};
    struct mg_buf answer;
    char data_dir[MG_FOLDER_PATH_BYTES];
    int status = 0;
    if (mg_place_data(act->data, act->config, data_dir, &diag) != MG_OK)
        return mg_cli_failed(act->command, &diag);
    mg_buf_init(&answer, MG_MAX_RESPONSE_BODY_BYTES);
    mg_err err = ask(act, data_dir, &answer, &status, &diag);
    int end = err == MG_OK ? show(act, status, &answer) : mg_cli_failed(act->command, &diag);
    if (answer.ptr)
        mg_wipe(answer.ptr, answer.cap);
    mg_buf_fini(&answer);
    return end;
}

static mg_err ask(const struct mg_act *act, const char *data_dir, struct mg_buf *out, int *out_status, struct mg_diag *diag)
{
    mg_err err = mg_control_request(data_dir, act->method, act->path, act->body, out_status, out, diag);
    if (err != MG_E_NOT_FOUND)
        return err;
    *out_status = 200;
    *diag = (struct mg_diag){.line = 0};
    err = ask_store(act, data_dir, out, diag);
    if (err != MG_OK && !*diag->text)
        mg_diag_set(diag, err, NULL, 0, "%s", mg_err_text(err));
    return err;
}

static mg_err ask_store(const struct mg_act *act, const char *data_dir, struct mg_buf *out, struct mg_diag *diag)
{
    int lock = -1;
    MG_TRY(mg_folder_create(data_dir, diag));
    mg_err err = mg_folder_lock(data_dir, &lock, diag);
    if (err == MG_E_BUSY)
        return mg_diag_set(diag, err, NULL, 0, "a gateway runs in %s and does not answer", data_dir);
    MG_TRY(err);
    err = with_store(act, data_dir, out, diag);
    mg_folder_unlock(lock);
    return err;
}

static mg_err with_store(const struct mg_act *act, const char *data_dir, struct mg_buf *out, struct mg_diag *diag)
{
    char path[MG_FOLDER_PATH_BYTES], actor[80];
    struct mg_key_secret secret;
    struct mg_json *body = NULL;
    struct mg_arena arena;
    struct mg_db *db;
    MG_TRY(mg_folder_path(data_dir, "moongate.db", path));
    MG_TRY(mg_key_secret_load(data_dir, &secret, diag));
    MG_TRY(mg_db_open(path, MG_DB_WRITE, &db, diag));
    mg_arena_init(&arena, 4096);
    mg_control_actor(actor, sizeof(actor));
    mg_err err = act->body.len ? mg_json_parse(act->body, act->body.len, &body, NULL) : MG_OK;
    const struct mg_act_store store = {db, &secret, &arena, body, actor};
    struct mg_desk *desk = NULL;
    if (err == MG_OK && act->audit)
        err = open_desk(act, data_dir, db, &desk, diag);
    if (err == MG_OK)
        err = in_transaction(act, &store, desk, out, diag);
    if (err == MG_E_STORE)
        mg_diag_set(diag, err, path, 0, "%s", mg_db_message(db));
    mg_db_rollback(db);
    mg_desk_close(desk);
    mg_db_close(db);
    mg_json_free(body);
    mg_arena_fini(&arena);
    mg_wipe(&secret, sizeof(secret));
    return err;
}

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

/* With the audit log, whose key the master key of the configuration wraps. */
static mg_err open_desk(const struct mg_act *act, const char *data_dir, struct mg_db *db, struct mg_desk **out_desk,
                        struct mg_diag *diag)
{
    struct mg_arena arena;
    struct mg_config_gateway *config = NULL;
    mg_arena_init(&arena, 1024);
    mg_err err = mg_config_load_gateway(mg_place_config(act->config, &arena), &config, diag);
    mg_arena_fini(&arena);
    if (err == MG_OK) {
        const struct mg_desk_options options = {
            .vault = {.data_dir = data_dir, .master = &config->vault_master, .previous = &config->vault_previous},
            .write = write_direct,
            .arg = db,
        };
        err = mg_desk_open(&options, out_desk, diag);
    }
    mg_config_gateway_free(config);
    return err;
}

/* What the answer says was acted on. */
static mg_err enter(const struct mg_act *act, const struct mg_act_store *store, struct mg_desk *desk, const struct mg_buf *out)
{
    struct mg_json *answer = NULL;
    MG_TRY(mg_json_parse(mg_buf_view(out), MG_MAX_RESPONSE_BODY_BYTES, &answer, NULL));
    mg_view id = mg_json_string(mg_json_get(answer, "id"));
    const struct mg_audit_entry entry = {
        .actor = mg_view_cstr(store->actor),
        .act = mg_view_cstr(act->audit),
        .project = mg_json_string(mg_json_get(answer, "project")),
        .subject = id.len ? id : mg_json_string(mg_json_get(answer, "name")),
        .detail = MG_VIEW("while no gateway ran"),
    };
    mg_err err = mg_desk_audit_in(desk, store->db, &entry);
    mg_json_free(answer);
    return err;
}

static mg_err in_transaction(const struct mg_act *act, const struct mg_act_store *store, struct mg_desk *desk, struct mg_buf *out,
                             struct mg_diag *diag)
{
    MG_TRY(mg_db_begin(store->db, MG_DB_FULL));
    MG_TRY(act->offline(act->arg, store, out, diag));
    if (desk)
        MG_TRY(enter(act, store, desk, out));
    return mg_db_commit(store->db);
}

/* How many bytes of JSON make one character of a text that nobody should print; 0: it may be printed. */
static size_t unprintable(const unsigned char *at, size_t len)
{
    unsigned code = 0;
    if (at[0] == 0x7f)
        return 1;
    if (len > 1 && at[0] == 0xc2 && at[1] >= 0x80 && at[1] < 0xa0)
        return 2;                      /* the second set of controls */
    if (len < 2 || at[0] != '\\')
        return 0;
    if (strchr("nrtbf", at[1]))
        return 2;
    for (size_t i = 2; i < 6 && at[1] == 'u' && len >= 6; i++)
        code = code << 4 | (unsigned)(at[i] <= '9' ? at[i] - '0' : (at[i] | 0x20) - 'a' + 10);
    return at[1] == 'u' && len >= 6 && (code < 0x20 || (code >= 0x7f && code < 0xa0)) ? 6 : 0;
}

void mg_act_tame(struct mg_buf *answer)
{
    char *text = answer->ptr + answer->start, *out = text;
    for (size_t i = 0, len = answer->len, n; i < len; i += n) {
        const char *at = text + i;
        n = unprintable((const unsigned char *)at, len - i);
        if (n) {
            *out++ = '?';
            continue;
        }
        n = *at == '\\' && len - i > 1 ? 2 : 1;
        memmove(out, at, n);
        out += n;
    }
    answer->len = (size_t)(out - text);
}

static int show(const struct mg_act *act, int status, struct mg_buf *answer)
{
    struct mg_json *json = NULL;
    if (!act->json)
        mg_act_tame(answer);
    if (mg_json_parse(mg_buf_view(answer), MG_MAX_RESPONSE_BODY_BYTES, &json, NULL) != MG_OK)
        return mg_cli_complain(MG_EXIT_FAILED, act->command, "the gateway's answer is not JSON");
    if (status >= 400) {
        mg_view message = mg_json_string(mg_json_path(json, "error.message"));
        mg_cli_complain(MG_EXIT_FAILED, act->command, "%.*s", MG_FMT(message));
    } else if (act->json) {
        printf("%.*s\n", MG_FMT(mg_buf_view(answer)));
    } else {
        act->print(act->arg, json);
    }
    mg_json_free(json);
    return status >= 400 ? MG_EXIT_FAILED : MG_EXIT_OK;
}

mg_err mg_act_put_quoted(struct mg_buf *out, const char *text)
{
    MG_TRY(mg_buf_putc(out, '"'));
    MG_TRY(mg_buf_put_json(out, mg_view_cstr(text)));
    return mg_buf_putc(out, '"');
}

bool mg_act_duration(const char *text, uint64_t *out_us)
{
    static const struct {
        char unit;
        uint64_t seconds;
    } units[] = {{'s', 1}, {'m', 60}, {'h', 3600}, {'d', 86400}, {'w', 604800}};
    mg_view number = mg_view_cstr(text);
    uint64_t value;
    if (number.len < 2 || !mg_view_u64(mg_view_head(number, number.len - 1), &value) || value > 1000000)
        return false;
    for (size_t i = 0; i < MG_COUNT(units); i++) {
        if (units[i].unit != number.ptr[number.len - 1])
            continue;
        *out_us = value * units[i].seconds * 1000000;
        return true;
    }
    return false;
}

const char *mg_act_when(char out[32], const struct mg_json *us, const char *never)
{
    int64_t value = 0;
    struct tm parts;
    if (!mg_json_i64(us, &value) || value <= 0)
        return never;
    time_t seconds = (time_t)(value / 1000000);
    strftime(out, 32, "%Y-%m-%d %H:%M", localtime_r(&seconds, &parts));
    return out;
}
