#include "cli/reprice.h"

#include <inttypes.h>

#include "base/mem.h"
#include "cli/control.h"
#include "http/json.h"
#include "meter/ledger.h"
#include "store/folder.h"
#include "store/recorder.h"

enum { ANSWER_BYTES = 65536 };

static void add(struct mg_cli_repriced *sum, const struct mg_reprice *piece)
{
    sum->exchanges += piece->exchanges;
    sum->attempts += piece->attempts;
    sum->changed += piece->changed;
    sum->kept += piece->kept;
    sum->unpriced += piece->unpriced;
    sum->before_picousd += piece->before_picousd;
    sum->after_picousd += piece->after_picousd;
}

/* ---- through the gateway */

static mg_err put_body(struct mg_buf *out, const char *prices, const struct mg_usage_range *range, bool dry_run)
{
    MG_TRY(mg_buf_putf(out, "{\"from_us\":%" PRIu64 ",\"to_us\":%" PRIu64 ",\"dry_run\":%s", range->from_us, range->to_us,
                       dry_run ? "true" : "false"));
    if (prices) {
        MG_TRY(mg_buf_put(out, MG_VIEW(",\"prices\":\"")));
        MG_TRY(mg_buf_put_json(out, mg_view_cstr(prices)));
        MG_TRY(mg_buf_putc(out, '"'));
    }
    return mg_buf_putc(out, '}');
}

static uint64_t number(const struct mg_json *tree, const char *name)
{
    int64_t value;
    return mg_json_i64(mg_json_get(tree, name), &value) ? (uint64_t)value : 0;
}

static mg_err read_answer(int status, mg_view text, struct mg_reprice *out_piece, struct mg_diag *diag)
{
    struct mg_json *tree = NULL;
    if (mg_json_parse(text, ANSWER_BYTES, &tree, NULL) != MG_OK)
        return mg_diag_set(diag, MG_E_PROTOCOL, "", 0, "the answer is not JSON");
    mg_view message = mg_json_string(mg_json_path(tree, "error.message"));
    mg_err err = status == 200 ? MG_OK : mg_diag_set(diag, MG_E_BAD_REQUEST, "", 0, "%.*s", MG_FMT(message));
    *out_piece = (struct mg_reprice){
        .exchanges = number(tree, "exchanges"),
        .attempts = number(tree, "attempts"),
        .changed = number(tree, "changed"),
        .kept = number(tree, "kept"),
        .unpriced = number(tree, "unpriced"),
        .before_picousd = number(tree, "before_picousd"),
        .after_picousd = number(tree, "after_picousd"),
        .next_us = number(tree, "next_us"),
        .done = mg_json_bool(mg_json_get(tree, "done"), true),
    };
    mg_json_free(tree);
    return err;
}

/* MG_E_NOT_FOUND: no gateway runs. */
static mg_err ask_piece(const char *data_dir, const char *prices, const struct mg_usage_range *range, bool dry_run,
                        struct mg_reprice *out_piece, struct mg_diag *diag)
{
    struct mg_buf body, answer;
    int status = 0;
    mg_buf_init(&body, ANSWER_BYTES);
    mg_buf_init(&answer, ANSWER_BYTES);
    mg_err err = put_body(&body, prices, range, dry_run);
    if (err == MG_OK)
        err = mg_control_request(data_dir, "POST", "/admin/v1/usage/reprice", mg_buf_view(&body), &status, &answer, diag);
    if (err == MG_OK)
        err = read_answer(status, mg_buf_view(&answer), out_piece, diag);
    mg_buf_fini(&body);
    mg_buf_fini(&answer);
    return err;
}

static mg_err ask_all(const char *data_dir, const char *prices, const struct mg_usage_range *range, bool dry_run,
                      struct mg_cli_repriced *out_sum, struct mg_diag *diag)
{
    struct mg_usage_range rest = *range;
    struct mg_reprice piece = {.done = false};
    while (!piece.done) {
        MG_TRY(ask_piece(data_dir, prices, &rest, dry_run, &piece, diag));
        add(out_sum, &piece);
        rest.from_us = piece.next_us;
    }
    return MG_OK;
}

/* ---- in the store */

static mg_err write_piece(struct mg_db *db, struct mg_reprice *piece)
{
    MG_TRY(mg_db_begin(db, MG_DB_FULL));
    mg_err err = mg_reprice_write(piece, db);
    if (err == MG_OK)
        return mg_db_commit(db);
    mg_db_rollback(db);
    return err;
}

static mg_err price_store(struct mg_db *db, const struct mg_prices *prices, const struct mg_usage_range *range, bool dry_run,
                          struct mg_cli_repriced *out_sum)
{
    struct mg_usage_range rest = *range;
    mg_err err = MG_OK;
    for (bool done = false; !done && err == MG_OK;) {
        struct mg_reprice piece;
        err = mg_reprice_read(db, prices, &rest, &piece);
        if (err == MG_OK && !dry_run && piece.change_count > 0)
            err = write_piece(db, &piece);
        add(out_sum, &piece);
        rest.from_us = piece.next_us;
        done = piece.done;
        mg_reprice_fini(&piece);
    }
    return err;
}

/* What a killed gateway left in its journals comes first. */
static mg_err recover(const char *data_dir, struct mg_diag *diag)
{
    struct mg_ledger *ledger = mg_ledger_new();
    struct mg_sink sink = mg_ledger_sink(ledger);
    mg_err err = mg_recorder_recover(data_dir, &sink, diag);
    mg_ledger_free(ledger);
    return err;
}

static mg_err price_locked(const char *data_dir, const struct mg_prices *prices, const struct mg_usage_range *range, bool dry_run,
                           struct mg_cli_repriced *out_sum, struct mg_diag *diag)
{
    char path[MG_FOLDER_PATH_BYTES];
    struct mg_db *db;
    MG_TRY(recover(data_dir, diag));
    MG_TRY(mg_folder_path(data_dir, "moongate.db", path));
    MG_TRY(mg_db_open(path, MG_DB_WRITE, &db, diag));
    mg_err err = price_store(db, prices, range, dry_run, out_sum);
    if (err != MG_OK)
        mg_diag_set(diag, err, path, 0, "%s", err == MG_E_STORE ? mg_db_message(db) : mg_err_text(err));
    mg_db_close(db);
    return err;
}

static mg_err catalogue(const char *data_dir, const char *path, struct mg_price_book *book, struct mg_prices **out_loaded,
                        const struct mg_prices **out_prices, struct mg_diag *diag)
{
    bool changed;
    if (path) {
        MG_TRY(mg_prices_load(path, out_loaded, diag));
        *out_prices = *out_loaded;
        return MG_OK;
    }
    MG_TRY(mg_price_book_load(book, data_dir, &changed, diag));
    *out_prices = mg_price_book_now(book);
    return MG_OK;
}

static mg_err price_offline(const char *data_dir, const char *path, const struct mg_usage_range *range, bool dry_run,
                            struct mg_cli_repriced *out_sum, struct mg_diag *diag)
{
    struct mg_price_book *book = mg_price_book_new();
    struct mg_prices *loaded = NULL;
    const struct mg_prices *prices = NULL;
    int lock = -1;
    mg_err err = catalogue(data_dir, path, book, &loaded, &prices, diag);
    if (err == MG_OK)
        err = mg_folder_lock(data_dir, &lock, diag);
    if (err == MG_OK)
        err = price_locked(data_dir, prices, range, dry_run, out_sum, diag);
    mg_folder_unlock(lock);
    mg_prices_free(loaded);
    mg_price_book_free(book);
    return err;
}

mg_err mg_cli_reprice(const char *data_dir, const char *prices, const struct mg_usage_range *range, bool dry_run,
                      struct mg_cli_repriced *out_sum, struct mg_diag *diag)
{
    *out_sum = (struct mg_cli_repriced){0};
    mg_err err = ask_all(data_dir, prices, range, dry_run, out_sum, diag);
    return err == MG_E_NOT_FOUND ? price_offline(data_dir, prices, range, dry_run, out_sum, diag) : err;
}
