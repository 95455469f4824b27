#include "meter/key_use.h"

#include "base/limits.h"
#include "base/mem.h"

struct written {
    uint64_t at_us; /* what stands in the store; 0: not known */
};

void mg_key_use_init(struct mg_key_use *use)
{
    mg_map_init(&use->written);
    use->update = NULL;
}

void mg_key_use_fini(struct mg_key_use *use)
{
    mg_view key;
    void *value;
    for (size_t at = 0; mg_map_next(&use->written, &at, &key, &value);)
        mg_free(value);
    mg_map_fini(&use->written);
}

mg_err mg_key_use_open(struct mg_key_use *use, struct mg_db *db)
{
    return mg_db_prepare(
        db, "UPDATE keys SET last_used_us = ?1 WHERE id = ?2 AND coalesce(last_used_us, 0) < ?1",
        &use->update);
}

void mg_key_use_close(struct mg_key_use *use)
{
    mg_stmt_free(use->update);
    use->update = NULL;
}

mg_err mg_key_use_note(struct mg_key_use *use, mg_view key_id, uint64_t at_us)
{
    struct written *written = key_id.len ? mg_map_get(&use->written, key_id) : NULL;
    if (!written) {
        if (!key_id.len || use->written.count >= MG_MAX_KEYS)
            return MG_OK;
        written = mg_new(struct written);
        mg_map_put(&use->written, key_id, written);
    }
    if (written->at_us && at_us < written->at_us + MG_KEY_USE_EVERY_MS * 1000ull)
        return MG_OK;
    written->at_us = at_us;
    mg_stmt_bind_int(use->update, 1, (int64_t)at_us);
    mg_stmt_bind_text(use->update, 2, key_id);
    return mg_stmt_run(use->update);
}

void mg_key_use_rollback(struct mg_key_use *use)
{
    mg_view key;
    void *value;
    for (size_t at = 0; mg_map_next(&use->written, &at, &key, &value);)
        ((struct written *)value)->at_us = 0;
}
