#include "tenant/keystore.h"

#include <stdio.h>

#include "base/clock.h"
#include "base/mem.h"

#define COLUMNS                                                                                                        \
    "id, project, name, hash, created_us, expires_us, revoked_us, last_used_us, metadata, workflows, limits, replaces, " \
    "replaced_by, EXISTS (SELECT 1 FROM switches WHERE kind = 'key' AND name = keys.id)"

/* ---- binding and reading --------------------------------------------------------------------- */

static void bind_time(struct mg_stmt *stmt, int index, uint64_t when_us)
{
    if (when_us)
        mg_stmt_bind_int(stmt, index, (int64_t)when_us);
    else
        mg_stmt_bind_null(stmt, index);
}

static void bind_id(struct mg_stmt *stmt, int index, const char *id)
{
    mg_stmt_bind_text(stmt, index, *id ? mg_view_cstr(id) : MG_VIEW_NONE);
}

static const char *text_of(struct mg_stmt *stmt, int column, struct mg_arena *arena)
{
    return mg_stmt_is_null(stmt, column) ? NULL : mg_arena_dup(arena, mg_stmt_text(stmt, column)).ptr;
}

static void read_row(struct mg_stmt *stmt, struct mg_arena *arena, struct mg_key *key)
{
    *key = (struct mg_key){.created_us = 0};
    snprintf(key->id, sizeof key->id, "%.*s", MG_FMT(mg_stmt_text(stmt, 0)));
    snprintf(key->project, sizeof key->project, "%.*s", MG_FMT(mg_stmt_text(stmt, 1)));
    snprintf(key->name, sizeof key->name, "%.*s", MG_FMT(mg_stmt_text(stmt, 2)));
    mg_view hash = mg_stmt_blob(stmt, 3);
    memcpy(key->hash, hash.ptr, hash.len < sizeof key->hash ? hash.len : sizeof key->hash);
    key->created_us = (uint64_t)mg_stmt_int(stmt, 4);
    key->expires_us = (uint64_t)mg_stmt_int(stmt, 5);
    key->revoked_us = (uint64_t)mg_stmt_int(stmt, 6);
    key->last_used_us = (uint64_t)mg_stmt_int(stmt, 7);
    key->metadata = text_of(stmt, 8, arena);
    key->workflows = text_of(stmt, 9, arena);
    key->limits = text_of(stmt, 10, arena);
    snprintf(key->replaces, sizeof key->replaces, "%.*s", MG_FMT(mg_stmt_text(stmt, 11)));
    snprintf(key->replaced_by, sizeof key->replaced_by, "%.*s", MG_FMT(mg_stmt_text(stmt, 12)));
    key->disabled = mg_stmt_int(stmt, 13) != 0;
}

/* One statement that changes one row. */
static mg_err run_one(struct mg_db *db, struct mg_stmt *stmt)
{
    mg_err err = mg_stmt_run(stmt);
    mg_stmt_free(stmt);
    return err == MG_OK && mg_db_changes(db) == 0 ? MG_E_NOT_FOUND : err;
}

/* ---- one row --------------------------------------------------------------------------------- */

static mg_err insert(struct mg_db *db, const struct mg_key *key)
{
    struct mg_stmt *stmt;
    MG_TRY(mg_db_prepare(db, "INSERT INTO keys (id, project, name, hash, created_us, expires_us, metadata, workflows, limits, "
                             "replaces) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", &stmt));
    mg_stmt_bind_text(stmt, 1, mg_view_cstr(key->id));
    mg_stmt_bind_text(stmt, 2, mg_view_cstr(key->project));
    mg_stmt_bind_text(stmt, 3, mg_view_cstr(key->name));
    mg_stmt_bind_blob(stmt, 4, mg_view_of((const char *)key->hash, sizeof key->hash));
    mg_stmt_bind_int(stmt, 5, (int64_t)key->created_us);
    bind_time(stmt, 6, key->expires_us);
    mg_stmt_bind_text(stmt, 7, mg_view_cstr(key->metadata));
    mg_stmt_bind_text(stmt, 8, mg_view_cstr(key->workflows));
    mg_stmt_bind_text(stmt, 9, mg_view_cstr(key->limits));
    bind_id(stmt, 10, key->replaces);
    return run_one(db, stmt);
}

mg_err mg_keystore_find(struct mg_db *db, const char *id, struct mg_arena *arena, struct mg_key *out_key)
{
    struct mg_stmt *stmt;
    bool row = false;
    MG_TRY(mg_db_prepare(db, "SELECT " COLUMNS " FROM keys WHERE id = ?", &stmt));
    mg_stmt_bind_text(stmt, 1, mg_view_cstr(id));
    mg_err err = mg_stmt_step(stmt, &row);
    if (err == MG_OK && row)
        read_row(stmt, arena, out_key);
    mg_stmt_free(stmt);
    return err == MG_OK && !row ? MG_E_NOT_FOUND : err;
}

mg_err mg_keystore_revoke(struct mg_db *db, const char *id, uint64_t now_us)
{
    struct mg_stmt *stmt;
    MG_TRY(mg_db_prepare(db, "UPDATE keys SET revoked_us = ? WHERE id = ? AND revoked_us IS NULL", &stmt));
    mg_stmt_bind_int(stmt, 1, (int64_t)now_us);
    mg_stmt_bind_text(stmt, 2, mg_view_cstr(id));
    return run_one(db, stmt);
}

static mg_err retire(struct mg_db *db, const struct mg_key *old, uint64_t until_us, const char *replaced_by)
{
    struct mg_stmt *stmt;
    MG_TRY(mg_db_prepare(db, "UPDATE keys SET expires_us = ?, revoked_us = ?, replaced_by = ? WHERE id = ?", &stmt));
    bind_time(stmt, 1, until_us && (!old->expires_us || until_us < old->expires_us) ? until_us : old->expires_us);
    bind_time(stmt, 2, until_us ? 0 : mg_wall_us());
    mg_stmt_bind_text(stmt, 3, mg_view_cstr(replaced_by));
    mg_stmt_bind_text(stmt, 4, mg_view_cstr(old->id));
    return run_one(db, stmt);
}

/* ---- acts ------------------------------------------------------------------------------------ */

mg_err mg_keystore_create(struct mg_db *db, const struct mg_key_secret *secret, const struct mg_keys_spec *spec,
                          char out_text[MG_KEY_TEXT_BYTES], struct mg_key *out_key)
{
    struct mg_key key;
    MG_TRY(mg_key_issue(secret, spec->project, spec->name, spec->expires_us, spec->metadata, out_text, &key));
    key.workflows = spec->workflows;
    key.limits = spec->limits;
    MG_TRY(insert(db, &key));
    *out_key = key;
    return MG_OK;
}

static bool is_over(const struct mg_key *key, uint64_t now_us)
{
    return key->revoked_us || (key->expires_us && key->expires_us <= now_us);
}

mg_err mg_keystore_rotate(struct mg_db *db, const struct mg_key_secret *secret, const char *id, uint64_t until_us,
                          struct mg_arena *arena, char out_text[MG_KEY_TEXT_BYTES], struct mg_key *out_key)
{
    struct mg_key old, key;
    MG_TRY(mg_keystore_find(db, id, arena, &old));
    if (is_over(&old, mg_wall_us()) || *old.replaced_by)
        return MG_E_NOT_FOUND;
    MG_TRY(mg_key_issue(secret, old.project, old.name, old.expires_us, old.metadata, out_text, &key));
    key.workflows = old.workflows;
    key.limits = old.limits;
    memcpy(key.replaces, old.id, sizeof key.replaces);
    MG_TRY(insert(db, &key));
    MG_TRY(retire(db, &old, until_us, key.id));
    *out_key = key;
    return MG_OK;
}

void mg_keystore_explain(struct mg_db *db, const char *id, char *out, size_t size)
{
    struct mg_arena arena;
    struct mg_key key;
    mg_arena_init(&arena, 1024);
    if (mg_keystore_find(db, id, &arena, &key) != MG_OK)
        snprintf(out, size, "there is no key '%s'; `moongate key list` shows all", id);
    else if (*key.replaced_by && key.revoked_us)
        snprintf(out, size, "the key '%s' is revoked already; %s has replaced it", id, key.replaced_by);
    else if (*key.replaced_by)
        snprintf(out, size, "the key '%s' was replaced by %s already: rotate that one", id, key.replaced_by);
    else if (key.revoked_us)
        snprintf(out, size, "the key '%s' is revoked already; `moongate key create` makes a new one", id);
    else
        snprintf(out, size, "the key '%s' has expired; `moongate key update %s --expires 30d` lets it live on", id, id);
    mg_arena_fini(&arena);
}

/* What stays is written back as it was read: one statement for every combination. */
mg_err mg_keystore_change(struct mg_db *db, const char *id, const struct mg_keys_spec *spec, struct mg_arena *arena,
                          struct mg_key *out_key)
{
    struct mg_key key;
    struct mg_stmt *stmt;
    MG_TRY(mg_keystore_find(db, id, arena, &key));
    if (key.revoked_us)
        return MG_E_NOT_FOUND;
    if (spec->given & MG_KEY_NAME)
        snprintf(key.name, sizeof key.name, "%s", spec->name);
    key.expires_us = spec->given & MG_KEY_EXPIRES ? spec->expires_us : key.expires_us;
    key.metadata = spec->given & MG_KEY_METADATA ? spec->metadata : key.metadata;
    key.workflows = spec->given & MG_KEY_WORKFLOWS ? spec->workflows : key.workflows;
    key.limits = spec->given & MG_KEY_LIMITS ? spec->limits : key.limits;
    MG_TRY(mg_db_prepare(db, "UPDATE keys SET name = ?, expires_us = ?, metadata = ?, workflows = ?, limits = ? WHERE id = ?",
                         &stmt));
    mg_stmt_bind_text(stmt, 1, mg_view_cstr(key.name));
    bind_time(stmt, 2, key.expires_us);
    mg_stmt_bind_text(stmt, 3, mg_view_cstr(key.metadata));
    mg_stmt_bind_text(stmt, 4, mg_view_cstr(key.workflows));
    mg_stmt_bind_text(stmt, 5, mg_view_cstr(key.limits));
    mg_stmt_bind_text(stmt, 6, mg_view_cstr(id));
    MG_TRY(run_one(db, stmt));
    *out_key = key;
    return MG_OK;
}

/* ---- all ------------------------------------------------------------------------------------- */

static mg_err count_all(struct mg_db *db, size_t *out_count)
{
    struct mg_stmt *stmt;
    bool row = false;
    MG_TRY(mg_db_prepare(db, "SELECT count(*) FROM keys", &stmt));
    mg_err err = mg_stmt_step(stmt, &row);
    size_t count = err == MG_OK && row ? (size_t)mg_stmt_int(stmt, 0) : 0;
    mg_stmt_free(stmt);
    MG_TRY(err);
    *out_count = count;
    return count > MG_MAX_KEYS ? MG_E_TOO_LARGE : MG_OK;
}

mg_err mg_keystore_load(struct mg_db *db, struct mg_arena *arena, struct mg_key **out_keys, size_t *out_count)
{
    struct mg_stmt *stmt;
    size_t total = 0, count = 0;
    bool row = false;
    MG_TRY(count_all(db, &total));
    struct mg_key *keys = mg_arena_array(arena, struct mg_key, total + 1);
    MG_TRY(mg_db_prepare(db, "SELECT " COLUMNS " FROM keys ORDER BY created_us, id", &stmt));
    mg_err err;
    while ((err = mg_stmt_step(stmt, &row)) == MG_OK && row && count < total)
        read_row(stmt, arena, &keys[count++]);
    mg_stmt_free(stmt);
    MG_TRY(err);
    *out_keys = keys;
    *out_count = count;
    return MG_OK;
}
