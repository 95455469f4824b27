/* Client sessions of all threads: shards of a lock, a map and a list in order of age. */
#include <pthread.h>

#include "base/limits.h"
#include "base/list.h"
#include "base/map.h"
#include "base/mem.h"
#include "io/tls_parts.h"

enum { SHARDS = 16, PER_SHARD = MG_MAX_TLS_SESSIONS / SHARDS };

struct saved {
    struct mg_list age; /* in its shard, the oldest first */
    char *key;          /* owned */
    size_t key_len;
    char *bytes; /* owned; a secret, wiped */
    size_t len;
};

static struct shard {
    pthread_mutex_t lock;
    struct mg_map map; /* key → struct saved */
    struct mg_list by_age;
} shards[SHARDS];

static pthread_once_t once = PTHREAD_ONCE_INIT;

static struct shard *lock_shard(mg_view key);
static void forget(struct shard *shard, struct saved *saved);

void mg_tls_cache_put(mg_view key, mg_view session)
{
    struct saved *saved = mg_new(struct saved);
    saved->key = mg_strndup(key.ptr, key.len);
    saved->key_len = key.len;
    saved->bytes = mg_strndup(session.ptr, session.len);
    saved->len = session.len;

    struct shard *shard = lock_shard(key);
    struct saved *old = mg_map_get(&shard->map, key);
    if (old)
        forget(shard, old);
    else if (shard->map.count >= PER_SHARD)
        forget(shard, mg_container_of(shard->by_age.next, struct saved, age));
    (void)mg_map_put(&shard->map, key, saved);
    mg_list_push_back(&shard->by_age, &saved->age);
    pthread_mutex_unlock(&shard->lock);
}

bool mg_tls_cache_get(mg_view key, struct mg_buf *out_session)
{
    struct shard *shard = lock_shard(key);
    struct saved *saved = mg_map_get(&shard->map, key);
    bool found = saved && mg_buf_put(out_session, mg_view_of(saved->bytes, saved->len)) == MG_OK;
    pthread_mutex_unlock(&shard->lock);
    return found;
}

void mg_tls_cache_drop(mg_view key)
{
    struct shard *shard = lock_shard(key);
    struct saved *saved = mg_map_get(&shard->map, key);
    if (saved)
        forget(shard, saved);
    pthread_mutex_unlock(&shard->lock);
}

static void init_shards(void)
{
    for (int i = 0; i < SHARDS; i++) {
        pthread_mutex_init(&shards[i].lock, NULL);
        mg_map_init(&shards[i].map);
        mg_list_init(&shards[i].by_age);
    }
}

size_t mg_tls_cache_count(void)
{
    size_t count = 0;
    pthread_once(&once, init_shards);
    for (int i = 0; i < SHARDS; i++) {
        pthread_mutex_lock(&shards[i].lock);
        count += shards[i].map.count;
        pthread_mutex_unlock(&shards[i].lock);
    }
    return count;
}

void mg_tls_cache_clear(void)
{
    pthread_once(&once, init_shards);
    for (int i = 0; i < SHARDS; i++) {
        pthread_mutex_lock(&shards[i].lock);
        while (!mg_list_empty(&shards[i].by_age))
            forget(&shards[i], mg_container_of(shards[i].by_age.next, struct saved, age));
        mg_map_fini(&shards[i].map);
        mg_map_init(&shards[i].map);
        pthread_mutex_unlock(&shards[i].lock);
    }
}

static struct shard *lock_shard(mg_view key)
{
    pthread_once(&once, init_shards);
    struct shard *shard = &shards[mg_hash(key) >> 32 & (SHARDS - 1)];
    pthread_mutex_lock(&shard->lock);
    return shard;
}

static void forget(struct shard *shard, struct saved *saved)
{
    (void)mg_map_remove(&shard->map, mg_view_of(saved->key, saved->key_len));
    mg_list_remove(&saved->age);
    mg_wipe(saved->bytes, saved->len);
    mg_free(saved->bytes);
    mg_free(saved->key);
    mg_free(saved);
}
