#include "cli/history.h"

#include <inttypes.h>
#include <stdlib.h>
#include <strings.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/mem.h"
#include "cli/cli.h"
#include "cli/control.h"
#include "meter/ledger.h"
#include "tenant/keystore.h"
#include "watch/logs.h"

static mg_err ask_gateway(struct mg_history *history, struct mg_buf *out, struct mg_diag *diag);
static mg_err ask_store(struct mg_history *history, struct mg_buf *out, struct mg_diag *diag);
static mg_err recover(struct mg_history *history, struct mg_diag *diag);

mg_err mg_history_ask(struct mg_history *history, struct mg_json **out_answer, struct mg_diag *diag)
{
    struct mg_buf out;
    mg_buf_init(&out, MG_LOGS_JSON_BYTES);
    mg_err err = ask_gateway(history, &out, diag);
    if (err == MG_E_CONNECT)
        err = ask_store(history, &out, diag);
    if (err == MG_OK &&
        mg_json_parse(mg_buf_view(&out), MG_LOGS_JSON_BYTES, out_answer, NULL) != MG_OK)
        err = mg_diag_set(diag, MG_E_PROTOCOL, "", 0, "the answer is not JSON");
    mg_buf_fini(&out);
    return err;
}

/* ---- is there such a project, such a key? ------------------------------------------------------ */

static mg_err keys_offline(const void *arg, struct mg_db *db, struct mg_buf *out)
{
    struct mg_arena arena;
    struct mg_key *keys = NULL;
    size_t count = 0;
    (void)arg;
    mg_arena_init(&arena, 65536);
    mg_err err = mg_keystore_load(db, &arena, &keys, &count);
    if (err == MG_OK)
        err = mg_buf_put(out, MG_VIEW("{\"keys\":["));
    for (size_t i = 0; err == MG_OK && i < count; i++)
        err = mg_buf_putf(out, "%s{\"id\":\"%s\",\"project\":\"%s\"}", i ? "," : "", keys[i].id, keys[i].project);
    mg_arena_fini(&arena);
    return err == MG_OK ? mg_buf_put(out, MG_VIEW("]}")) : err;
}

static bool has(const struct mg_json *answer, const char *member, const char *value)
{
    for (const struct mg_json *key = mg_json_first(mg_json_get(answer, "keys")); key; key = mg_json_next(key))
        if (mg_view_eq(mg_json_string(mg_json_get(key, member)), mg_view_cstr(value)))
            return true;
    return false;
}

int mg_history_known(const struct mg_history *history, const char *command, const char *project, const char *key)
{
    struct mg_history asks = *history;
    struct mg_diag diag = {.line = 0};
    struct mg_json *answer;
    int end = MG_EXIT_OK;
    asks.path = "/admin/v1/keys";
    asks.offline = keys_offline;
    asks.recovered = true;
    if ((!project && !key) || mg_history_ask(&asks, &answer, &diag) != MG_OK)
        return end;
    if (project && !has(answer, "project", project))
        end = mg_cli_complain(MG_EXIT_FAILED, command, "no key belongs to a project '%s'; `moongate key list` shows them", project);
    else if (key && !has(answer, "id", key))
        end = mg_cli_complain(MG_EXIT_FAILED, command, "there is no key '%s'; `moongate key list` shows all", key);
    mg_json_free(answer);
    return end;
}

/* The sentence of an error answer. */
static mg_err refused(int status, mg_view body, struct mg_diag *diag)
{
    struct mg_json *tree = NULL;
    mg_err err = status == 404 ? MG_E_NOT_FOUND : MG_E_BAD_REQUEST;
    if (mg_json_parse(body, MG_LOGS_JSON_BYTES, &tree, NULL) != MG_OK)
        tree = NULL;
    mg_view message = mg_json_string(mg_json_path(tree, "error.message"));
    if (message.len > 0)
        mg_diag_set(diag, err, "", 0, "%.*s", MG_FMT(message));
    else
        mg_diag_set(diag, err, "", 0, "the gateway answered with status %d", status);
    mg_json_free(tree);
    return err;
}

/* MG_E_CONNECT: no gateway runs. */
static mg_err ask_gateway(struct mg_history *history, struct mg_buf *out, struct mg_diag *diag)
{
    int status = 0;
    mg_err err = mg_control_request(history->data_dir, "GET", history->path, MG_VIEW_NONE, &status,
                                    out, diag);
    if (err == MG_E_NOT_FOUND)
        return MG_E_CONNECT;
    if (err == MG_OK && status != 200)
        return refused(status, mg_buf_view(out), diag);
    return err;
}

static mg_err ask_store(struct mg_history *history, struct mg_buf *out, struct mg_diag *diag)
{
    char path[MG_FOLDER_PATH_BYTES];
    struct mg_db *db;
    MG_TRY(recover(history, diag));
    MG_TRY(mg_folder_path(history->data_dir, "moongate.db", path));
    mg_err err = mg_db_open(path, MG_DB_READ, &db, diag);
    if (err == MG_E_NOT_FOUND)
        return mg_diag_set(
            diag, err, "", 0,
            "no gateway runs and there is no store in %s (--data says where to look)",
            history->data_dir);
    MG_TRY(err);
    mg_buf_clear(out);
    err = history->offline(history->arg, db, out);
    if (err == MG_E_NOT_FOUND)
        mg_diag_set(diag, err, "", 0,
                    "there is no such request in %s (-c or --data says where to look)", path);
    else if (err != MG_OK)
        mg_diag_set(diag, err, path, 0, "%s",
                    err == MG_E_STORE ? mg_db_message(db) : mg_err_text(err));
    mg_db_close(db);
    return err;
}

/* Who gets the lock knows that the rings' writer is gone. Who does not reads what is there. */
static mg_err recover(struct mg_history *history, struct mg_diag *diag)
{
    char path[MG_FOLDER_PATH_BYTES];
    int lock;
    MG_TRY(mg_folder_path(history->data_dir, "moongate.db", path));
    if (history->recovered || access(path, W_OK) != 0 ||
        mg_folder_lock(history->data_dir, &lock, NULL) != MG_OK)
        return MG_OK;
    struct mg_ledger *ledger = mg_ledger_new();
    struct mg_sink sink = mg_ledger_sink(ledger);
    mg_err err = mg_recorder_recover(history->data_dir, &sink, diag);
    mg_ledger_free(ledger);
    mg_folder_unlock(lock);
    history->recovered = true;
    return err;
}

/* ---- the terminal */

bool mg_history_utf8(void)
{
    static const char *const names[] = {"LC_ALL", "LC_CTYPE", "LANG"};
    for (size_t i = 0; i < MG_COUNT(names); i++) {
        const char *value = getenv(names[i]);
        if (value && *value)
            return strcasestr(value, "UTF-8") || strcasestr(value, "utf8");
    }
    return false;
}

unsigned mg_history_columns(FILE *out, unsigned otherwise)
{
    struct winsize size;
    if (isatty(fileno(out)) && ioctl(fileno(out), TIOCGWINSZ, &size) == 0 && size.ws_col > 0)
        return size.ws_col;
    return otherwise;
}

const char *mg_history_time(char out[MG_TIME_TEXT], uint64_t us, bool tight)
{
    const char *blank = tight ? "" : " ";
    double value = (double)us;
    uint64_t seconds = us / 1000000 + (us % 1000000 >= 500000);
    if (us < 1000)
        snprintf(out, MG_TIME_TEXT, "%" PRIu64 "%s%ss", us, blank, mg_history_utf8() ? "µ" : "u");
    else if (us < 999500)
        snprintf(out, MG_TIME_TEXT, "%.*f%sms",
                 us < 9995    ? 2
                 : us < 99950 ? 1
                              : 0,
                 value / 1e3, blank);
    else if (us < 59950000)
        snprintf(out, MG_TIME_TEXT, "%.*f%ss", us < 9995000 ? 2 : 1, value / 1e6, blank);
    else if (seconds < 3600)
        snprintf(out, MG_TIME_TEXT, "%" PRIu64 "m%02" PRIu64 "s", seconds / 60, seconds % 60);
    else
        snprintf(out, MG_TIME_TEXT, "%" PRIu64 "h%02" PRIu64 "m", seconds / 3600,
                 seconds / 60 % 60);
    return out;
}

const char *mg_history_count(char out[MG_TIME_TEXT], uint64_t count)
{
    if (count < 1000)
        snprintf(out, MG_TIME_TEXT, "%" PRIu64, count);
    else if (count < 999500)
        snprintf(out, MG_TIME_TEXT, "%.*fk", count < 9950 ? 1 : 0, (double)count / 1e3);
    else
        snprintf(out, MG_TIME_TEXT, "%.1fM", (double)count / 1e6);
    return out;
}

/* The length of the character at ptr, at least 1; *out_safe is false for what a terminal obeys. */
static size_t character(const char *ptr, size_t len, bool *out_safe)
{
    const unsigned char *c = (const unsigned char *)ptr;
    size_t size = c[0] < 0x80 ? 1 : c[0] >= 0xf0 ? 4 : c[0] >= 0xe0 ? 3 : 2;
    bool c1 = size == 2 && len >= 2 && c[0] == 0xc2 && c[1] < 0xa0;
    if (size > len || !mg_view_utf8(mg_view_of(ptr, size), NULL)) {
        *out_safe = false;
        return 1;
    }
    *out_safe = c[0] >= 0x20 && c[0] != 0x7f && !c1;
    return size;
}

static unsigned count_characters(mg_view text)
{
    unsigned count = 0;
    bool safe;
    for (size_t i = 0; i < text.len; count++)
        i += character(text.ptr + i, text.len - i, &safe);
    return count;
}

unsigned mg_history_put(FILE *out, mg_view text, unsigned columns)
{
    bool utf8 = mg_history_utf8(), cut = columns > 0 && count_characters(text) > columns, safe;
    unsigned room = cut ? columns - 1 : UINT32_MAX, printed = 0;
    for (size_t i = 0; i < text.len && printed < room; printed++) {
        size_t size = character(text.ptr + i, text.len - i, &safe);
        if (safe && (utf8 || size == 1))
            fwrite(text.ptr + i, 1, size, out);
        else
            fputc('?', out);
        i += size;
    }
    if (cut)
        fputs(utf8 ? "…" : "~", out);
    return printed + cut;
}

void mg_history_pad(FILE *out, mg_view text, unsigned columns)
{
    for (unsigned printed = mg_history_put(out, text, columns); printed < columns; printed++)
        fputc(' ', out);
}
