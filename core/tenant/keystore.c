#include "tenant/keystore.h"

#include <stdio.h>

static void bind_time(struct mg_stmt *stmt, int index, uint64_t when_us)
{
    if (when_us)
        mg_stmt_bind_int(stmt, index, (int64_t)when_us);
    else
        mg_stmt_bind_null(stmt, index);
}

mg_err mg_keystore_insert(struct mg_db *db, const struct mg_key *key)
{
    struct mg_stmt *stmt;
    MG_TRY(mg_db_prepare(db, "INSERT INTO keys (id, project, name, hash, created_us, expires_us, metadata) "
                             "VALUES (?, ?, ?, ?, ?, ?, ?)", &stmt));
    mg_stmt_bind_text(stmt, 1, mg_view_cstr(key->id));
    mg_stmt_bind_text(stmt, 2, mg_view_cstr(key->project));
    mg_stmt_bind_text(stmt, 3, mg_view_cstr(key->name));
    mg_stmt_bind_blob(stmt, 4, mg_view_of((const char *)key->hash, sizeof key->hash));
    mg_stmt_bind_int(stmt, 5, (int64_t)key->created_us);
    bind_time(stmt, 6, key->expires_us);
    mg_stmt_bind_text(stmt, 7, mg_view_cstr(key->metadata));
    mg_err err = mg_stmt_run(stmt);
    mg_stmt_free(stmt);
    return err;
}

static mg_err set_time(struct mg_db *db, const char *sql, const char *id, uint64_t when_us)
{
    struct mg_stmt *stmt;
    MG_TRY(mg_db_prepare(db, sql, &stmt));
    mg_stmt_bind_int(stmt, 1, (int64_t)when_us);
    mg_stmt_bind_text(stmt, 2, mg_view_cstr(id));
    mg_err err = mg_stmt_run(stmt);
    mg_stmt_free(stmt);
    return err == MG_OK && mg_db_changes(db) == 0 ? MG_E_NOT_FOUND : err;
}

mg_err mg_keystore_revoke(struct mg_db *db, const char *id, uint64_t now_us)
{
    return set_time(db, "UPDATE keys SET revoked_us = coalesce(revoked_us, ?) WHERE id = ?", id, now_us);
}

mg_err mg_keystore_expire(struct mg_db *db, const char *id, uint64_t when_us)
{
    return set_time(db, "UPDATE keys SET expires_us = ? WHERE id = ?", id, when_us);
}

static void read_row(struct mg_stmt *stmt, struct mg_arena *arena, struct mg_key *key)
{
    snprintf(key->id, sizeof key->id, "%.*s", MG_FMT(mg_stmt_text(stmt, 0)));
    snprintf(key->project, sizeof key->project, "%.*s", MG_FMT(mg_stmt_text(stmt, 1)));
    snprintf(key->name, sizeof key->name, "%.*s", MG_FMT(mg_stmt_text(stmt, 2)));
    mg_view hash = mg_stmt_blob(stmt, 3);
    memcpy(key->hash, hash.ptr, hash.len < sizeof key->hash ? hash.len : sizeof key->hash);
    key->created_us = (uint64_t)mg_stmt_int(stmt, 4);
    key->expires_us = (uint64_t)mg_stmt_int(stmt, 5);
    key->revoked_us = (uint64_t)mg_stmt_int(stmt, 6);
    key->last_used_us = (uint64_t)mg_stmt_int(stmt, 7);
    key->metadata = mg_stmt_is_null(stmt, 8) ? NULL : mg_arena_dup(arena, mg_stmt_text(stmt, 8)).ptr;
}

mg_err mg_keystore_load(struct mg_db *db, struct mg_arena *arena, struct mg_key **out_keys, size_t *out_count)
{
    struct mg_stmt *stmt;
    MG_TRY(mg_db_prepare(db, "SELECT count(*) FROM keys", &stmt));
    bool row = false;
    mg_err err = mg_stmt_step(stmt, &row);
    size_t total = err == MG_OK && row ? (size_t)mg_stmt_int(stmt, 0) : 0;
    mg_stmt_free(stmt);
    MG_TRY(err);
    if (total > MG_MAX_KEYS)
        return MG_E_TOO_LARGE;

    struct mg_key *keys = mg_arena_array(arena, struct mg_key, total + 1);
    size_t count = 0;
    MG_TRY(mg_db_prepare(db, "SELECT id, project, name, hash, created_us, expires_us, revoked_us, last_used_us, metadata "
                             "FROM keys ORDER BY created_us, id", &stmt));
    while ((err = mg_stmt_step(stmt, &row)) == MG_OK && row && count < total)
        read_row(stmt, arena, &keys[count++]);
    mg_stmt_free(stmt);
    MG_TRY(err);
    *out_keys = keys;
    *out_count = count;
    return MG_OK;
}
