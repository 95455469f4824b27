/* shards.h - a map that all threads share: in parts with a lock each, whose items are in order of age.
 *
 * Items are the caller's and embed their place in that order; the oldest makes room for a new one. Any thread. */
#ifndef MG_IO_SHARDS_H
#define MG_IO_SHARDS_H

#include <pthread.h>
#include <stdbool.h>

#include "base/list.h"
#include "base/map.h"

enum { MG_SHARDS = 16 };

struct mg_shard {
    pthread_mutex_t lock;
    struct mg_map map;       /* key → item */
    struct mg_list by_age;   /* the oldest first; linked by the items */
    bool ready;
};

struct mg_shards {           /* static storage: MG_SHARDS_INIT */
    struct mg_shard shards[MG_SHARDS];
};
#define MG_SHARDS_INIT {{[0 ... MG_SHARDS - 1] = {.lock = PTHREAD_MUTEX_INITIALIZER}}}

/* The key's part, locked until mg_shard_unlock(). */
struct mg_shard *mg_shards_lock(struct mg_shards *shards, mg_view key);
void mg_shard_unlock(struct mg_shard *shard);

size_t mg_shards_count(struct mg_shards *shards);

/* forget() takes the item out of map and order and frees it. */
void mg_shards_clear(struct mg_shards *shards, void (*forget)(struct mg_shard *shard, struct mg_list *age));

#endif
