#include "io/shards.h"

static void lock(struct mg_shard *shard)
{
    pthread_mutex_lock(&shard->lock);
    if (shard->ready)
        return;
    mg_map_init(&shard->map);
    mg_list_init(&shard->by_age);
    shard->ready = true;
}

struct mg_shard *mg_shards_lock(struct mg_shards *shards, mg_view key)
{
    struct mg_shard *shard = &shards->shards[mg_hash(key) >> 32 & (MG_SHARDS - 1)];
    lock(shard);
    return shard;
}

void mg_shard_unlock(struct mg_shard *shard)
{
    pthread_mutex_unlock(&shard->lock);
}

size_t mg_shards_count(struct mg_shards *shards)
{
    size_t count = 0;
    for (int i = 0; i < MG_SHARDS; i++) {
        lock(&shards->shards[i]);
        count += shards->shards[i].map.count;
        mg_shard_unlock(&shards->shards[i]);
    }
    return count;
}

void mg_shards_clear(struct mg_shards *shards,
                     void (*forget)(struct mg_shard *shard, struct mg_list *age))
{
    for (int i = 0; i < MG_SHARDS; i++) {
        struct mg_shard *shard = &shards->shards[i];
        lock(shard);
        while (!mg_list_empty(&shard->by_age))
            forget(shard, shard->by_age.next);
        mg_map_fini(&shard->map);
        mg_map_init(&shard->map);
        mg_shard_unlock(shard);
    }
}
