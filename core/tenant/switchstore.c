#include "tenant/switchstore.h"

#include <stdio.h>

#include "base/mem.h"

static mg_err count_all(struct mg_db *db, size_t *out_count)
{
    struct mg_stmt *stmt;
    bool row = false;
    MG_TRY(mg_db_prepare(db, "SELECT count(*) FROM switches", &stmt));
    mg_err err = mg_stmt_step(stmt, &row);
    size_t count = err == MG_OK && row ? (size_t)mg_stmt_int(stmt, 0) : 0;
    mg_stmt_free(stmt);
    if (err == MG_OK)
        *out_count = count;
    return err;
}

static void bind_id(struct mg_stmt *stmt, enum mg_switch_kind kind, const char *project, const char *name)
{
    mg_stmt_bind_text(stmt, 1, mg_view_cstr(mg_switch_kind_name(kind)));
    mg_stmt_bind_text(stmt, 2, mg_view_cstr(project));
    mg_stmt_bind_text(stmt, 3, mg_view_cstr(name));
}

mg_err mg_switchstore_put(struct mg_db *db, const struct mg_switch *row)
{
    struct mg_stmt *stmt;
    size_t count = 0;
    MG_TRY(count_all(db, &count));
    if (count >= MG_MAX_SWITCHES)
        return MG_E_TOO_LARGE;
    MG_TRY(mg_db_prepare(db, "INSERT INTO switches (kind, project, name, message, actor, since_us) VALUES (?, ?, ?, ?, ?, ?) "
                             "ON CONFLICT (kind, project, name) DO UPDATE SET message = excluded.message, "
                             "actor = excluded.actor, since_us = excluded.since_us", &stmt));
    bind_id(stmt, row->kind, row->project, row->name);
    mg_stmt_bind_text(stmt, 4, mg_view_cstr(row->message));
    mg_stmt_bind_text(stmt, 5, mg_view_cstr(row->actor));
    mg_stmt_bind_int(stmt, 6, (int64_t)row->since_us);
    mg_err err = mg_stmt_run(stmt);
    mg_stmt_free(stmt);
    return err;
}

mg_err mg_switchstore_remove(struct mg_db *db, enum mg_switch_kind kind, const char *project, const char *name)
{
    struct mg_stmt *stmt;
    MG_TRY(mg_db_prepare(db, "DELETE FROM switches WHERE kind = ? AND project = ? AND name = ?", &stmt));
    bind_id(stmt, kind, project, name);
    mg_err err = mg_stmt_run(stmt);
    mg_stmt_free(stmt);
    return err == MG_OK && mg_db_changes(db) == 0 ? MG_E_NOT_FOUND : err;
}

static bool read_row(struct mg_stmt *stmt, struct mg_switch *row)
{
    *row = (struct mg_switch){.since_us = (uint64_t)mg_stmt_int(stmt, 5)};
    snprintf(row->project, sizeof row->project, "%.*s", MG_FMT(mg_stmt_text(stmt, 1)));
    snprintf(row->name, sizeof row->name, "%.*s", MG_FMT(mg_stmt_text(stmt, 2)));
    snprintf(row->message, sizeof row->message, "%.*s", MG_FMT(mg_stmt_text(stmt, 3)));
    snprintf(row->actor, sizeof row->actor, "%.*s", MG_FMT(mg_stmt_text(stmt, 4)));
    return mg_switch_kind_find(mg_stmt_text(stmt, 0), &row->kind);
}

mg_err mg_switchstore_load(struct mg_db *db, struct mg_arena *arena, struct mg_switch **out_rows, size_t *out_count)
{
    struct mg_stmt *stmt;
    size_t total = 0, count = 0;
    bool row = false;
    MG_TRY(count_all(db, &total));
    struct mg_switch *rows = mg_arena_array(arena, struct mg_switch, total + 1);
    MG_TRY(mg_db_prepare(db, "SELECT kind, project, name, message, actor, since_us FROM switches "
                             "ORDER BY since_us, kind, project, name", &stmt));
    mg_err err;
    while ((err = mg_stmt_step(stmt, &row)) == MG_OK && row && count < total)
        count += read_row(stmt, &rows[count]);
    mg_stmt_free(stmt);
    MG_TRY(err);
    *out_rows = rows;
    *out_count = count;
    return MG_OK;
}

static mg_err put_text(struct mg_buf *out, const char *before, const char *text)
{
    MG_TRY(mg_buf_put(out, mg_view_cstr(before)));
    MG_TRY(mg_buf_put_json(out, mg_view_cstr(text)));
    return mg_buf_putc(out, '"');
}

mg_err mg_switch_put_json(const struct mg_switch *row, struct mg_buf *out)
{
    MG_TRY(mg_buf_putf(out, "{\"kind\":\"%s\"", mg_switch_kind_name(row->kind)));
    MG_TRY(put_text(out, ",\"project\":\"", row->project));
    MG_TRY(put_text(out, ",\"name\":\"", row->name));
    MG_TRY(put_text(out, ",\"message\":\"", row->message));
    MG_TRY(put_text(out, ",\"by\":\"", row->actor));
    return mg_buf_putf(out, ",\"since_us\":%llu}", (unsigned long long)row->since_us);
}
