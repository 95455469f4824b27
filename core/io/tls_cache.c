/* Client sessions of all threads. */
#include "base/limits.h"
#include "base/mem.h"
#include "io/shards.h"
#include "io/tls_parts.h"

enum { PER_SHARD = MG_MAX_TLS_SESSIONS / MG_SHARDS };

struct saved {
    struct mg_list age; /* in its shard, the oldest first */
    char *key;          /* owned */
    size_t key_len;
    char *bytes; /* owned; a secret, wiped */
    size_t len;
};

static struct mg_shards shards = MG_SHARDS_INIT; /* key → struct saved */

static void forget(struct mg_shard *shard, struct mg_list *age);

void mg_tls_cache_put(mg_view key, mg_view session)
{
    struct saved *saved = mg_new(struct saved);
    saved->key = mg_strndup(key.ptr, key.len);
    saved->key_len = key.len;
    saved->bytes = mg_strndup(session.ptr, session.len);
    saved->len = session.len;

    struct mg_shard *shard = mg_shards_lock(&shards, key);
    struct saved *old = mg_map_get(&shard->map, key);
    if (old)
        forget(shard, &old->age);
    else if (shard->map.count >= PER_SHARD)
        forget(shard, shard->by_age.next);
    (void)mg_map_put(&shard->map, key, saved);
    mg_list_push_back(&shard->by_age, &saved->age);
    mg_shard_unlock(shard);
}

bool mg_tls_cache_get(mg_view key, struct mg_buf *out_session)
{
    struct mg_shard *shard = mg_shards_lock(&shards, key);
    struct saved *saved = mg_map_get(&shard->map, key);
    bool found = saved && mg_buf_put(out_session, mg_view_of(saved->bytes, saved->len)) == MG_OK;
    mg_shard_unlock(shard);
    return found;
}

void mg_tls_cache_drop(mg_view key)
{
    struct mg_shard *shard = mg_shards_lock(&shards, key);
    struct saved *saved = mg_map_get(&shard->map, key);
    if (saved)
        forget(shard, &saved->age);
    mg_shard_unlock(shard);
}

size_t mg_tls_cache_count(void)
{
    return mg_shards_count(&shards);
}

void mg_tls_cache_clear(void)
{
    mg_shards_clear(&shards, forget);
}

static void forget(struct mg_shard *shard, struct mg_list *age)
{
    struct saved *saved = mg_container_of(age, struct saved, age);
    (void)mg_map_remove(&shard->map, mg_view_of(saved->key, saved->key_len));
    mg_list_remove(&saved->age);
    mg_wipe(saved->bytes, saved->len);
    mg_free(saved->bytes);
    mg_free(saved->key);
    mg_free(saved);
}
