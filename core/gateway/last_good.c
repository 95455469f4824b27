#include "gateway/last_good.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <uv.h>

#include "base/list.h"
#include "base/mem.h"
#include "script/crypto.h"

enum { SHARDS = 16, BUCKETS = 1024, SHARD_BYTES = MG_MAX_LAST_GOOD_BYTES / SHARDS, OLD_ONES = 2 };

struct entry {
    struct mg_list recent;             /* in the shard, the latest first */
    struct entry *next;                /* in its bucket; or among those to be let go */
    struct mg_last_good_key key;
    uint64_t stored_us, until_us;
    atomic_uint refs;                  /* the shard's, and readers that copy */
    size_t len;
    char bytes[];
};

struct shard {
    uv_mutex_t lock;
    struct entry *buckets[BUCKETS];
    struct mg_list recent;
    size_t bytes;
};

static struct shard shards[SHARDS];    /* process life */
static uv_once_t once = UV_ONCE_INIT;

static void begin(void)
{
    for (int i = 0; i < SHARDS; i++) {
        if (uv_mutex_init(&shards[i].lock) != 0)
            abort();
        mg_list_init(&shards[i].recent);
    }
}

void mg_last_good_key(mg_view project, mg_view surface, mg_view body, struct mg_last_good_key *out_key)
{
    mg_view parts[] = {project, surface, body};
    uint8_t digests[MG_COUNT(parts)][MG_DIGEST_BYTES] = {{0}};
    size_t len;
    mg_err err = mg_crypto_init();
    for (size_t i = 0; i < MG_COUNT(parts) && err == MG_OK; i++)
        err = mg_crypto_digest(MG_VIEW("sha256"), parts[i], NULL, digests[i], &len);
    uint8_t whole[MG_DIGEST_BYTES] = {0};
    if (err == MG_OK)
        err = mg_crypto_digest(MG_VIEW("sha256"), mg_view_of((const char *)digests, sizeof digests), NULL, whole, &len);
    if (err != MG_OK)
        abort();                       /* no digest, no key: another request's answer might be found */
    memcpy(out_key->digest, whole, sizeof out_key->digest);
}

static struct shard *shard_of(const struct mg_last_good_key *key)
{
    uv_once(&once, begin);
    return &shards[key->digest[0] % SHARDS];
}

static struct entry **place_of(struct shard *shard, const struct mg_last_good_key *key)
{
    size_t bucket = ((size_t)key->digest[1] << 8 | key->digest[2]) % BUCKETS;
    struct entry **place = &shard->buckets[bucket];
    while (*place && memcmp((*place)->key.digest, key->digest, sizeof key->digest) != 0)
        place = &(*place)->next;
    return place;
}

static size_t size_of(const struct entry *entry)
{
    return sizeof *entry + entry->len;
}

/* Out of the shard and onto the list of what is freed when the lock is gone. */
static void take_out(struct shard *shard, struct entry **place, struct entry **gone)
{
    struct entry *entry = *place;
    *place = entry->next;
    mg_list_remove(&entry->recent);
    shard->bytes -= size_of(entry);
    entry->next = *gone;
    *gone = entry;
}

static struct entry *oldest(struct shard *shard)
{
    return mg_list_empty(&shard->recent) ? NULL : mg_container_of(shard->recent.prev, struct entry, recent);
}

static void let_go(struct entry *entry)
{
    if (atomic_fetch_sub_explicit(&entry->refs, 1, memory_order_acq_rel) == 1)
        mg_free(entry);
}

static void let_all_go(struct entry *gone)
{
    while (gone) {
        struct entry *next = gone->next;
        let_go(gone);
        gone = next;
    }
}

/* Until `room` more bytes fit; and a few of those whose time is over, so that they do not stay for good. */
static void make_room(struct shard *shard, size_t room, uint64_t now_us, struct entry **gone)
{
    int old_ones = 0;
    for (struct entry *entry; (entry = oldest(shard)) != NULL;) {
        bool over = entry->until_us <= now_us && old_ones++ < OLD_ONES;
        if (!over && shard->bytes + room <= SHARD_BYTES)
            break;
        take_out(shard, place_of(shard, &entry->key), gone);
    }
}

static struct entry *new_entry(const struct mg_last_good_key *key, mg_view answer, uint64_t now_us, uint64_t max_age_ms)
{
    struct entry *entry = mg_alloc(sizeof *entry + answer.len);
    entry->key = *key;
    entry->stored_us = now_us;
    entry->until_us = now_us + max_age_ms * 1000;
    entry->len = answer.len;
    atomic_init(&entry->refs, 1);
    mg_list_init(&entry->recent);
    memcpy(entry->bytes, answer.ptr, answer.len);
    return entry;
}

void mg_last_good_put(const struct mg_last_good_key *key, mg_view answer, uint64_t now_us, uint64_t max_age_ms)
{
    if (answer.len == 0 || answer.len > MG_LAST_GOOD_ANSWER_BYTES)
        return;
    struct shard *shard = shard_of(key);
    struct entry *entry = new_entry(key, answer, now_us, max_age_ms), *gone = NULL;
    uv_mutex_lock(&shard->lock);
    struct entry **place = place_of(shard, key);
    if (*place)
        take_out(shard, place, &gone);
    make_room(shard, size_of(entry), now_us, &gone);
    place = place_of(shard, key);
    entry->next = *place;
    *place = entry;
    mg_list_push_front(&shard->recent, &entry->recent);
    shard->bytes += size_of(entry);
    uv_mutex_unlock(&shard->lock);
    let_all_go(gone);
}

/* With a reference, so that it may be copied without the lock. */
static struct entry *find(const struct mg_last_good_key *key, uint64_t now_us)
{
    struct shard *shard = shard_of(key);
    uv_mutex_lock(&shard->lock);
    struct entry *entry = *place_of(shard, key);
    if (entry && entry->until_us <= now_us)
        entry = NULL;
    if (entry) {
        atomic_fetch_add_explicit(&entry->refs, 1, memory_order_relaxed);
        mg_list_remove(&entry->recent);
        mg_list_push_front(&shard->recent, &entry->recent);
    }
    uv_mutex_unlock(&shard->lock);
    return entry;
}

mg_view mg_last_good_get(const struct mg_last_good_key *key, uint64_t now_us, uint64_t max_age_ms, struct mg_arena *arena,
                         uint64_t *out_age_ms)
{
    mg_view answer = MG_VIEW_NONE;
    struct entry *entry = find(key, now_us);
    if (!entry)
        return answer;
    uint64_t age_ms = now_us > entry->stored_us ? (now_us - entry->stored_us) / 1000 : 0;    /* loops' clocks differ a little */
    if (age_ms <= max_age_ms) {
        *out_age_ms = age_ms;
        answer = mg_arena_dup(arena, mg_view_of(entry->bytes, entry->len));
    }
    let_go(entry);
    return answer;
}

void mg_last_good_clear(void)
{
    uv_once(&once, begin);
    for (int i = 0; i < SHARDS; i++) {
        struct entry *gone = NULL;
        uv_mutex_lock(&shards[i].lock);
        for (struct entry *entry; (entry = oldest(&shards[i])) != NULL;)
            take_out(&shards[i], place_of(&shards[i], &entry->key), &gone);
        uv_mutex_unlock(&shards[i].lock);
        let_all_go(gone);
    }
}

size_t mg_last_good_bytes(void)
{
    size_t bytes = 0;
    uv_once(&once, begin);
    for (int i = 0; i < SHARDS; i++) {
        uv_mutex_lock(&shards[i].lock);
        bytes += shards[i].bytes;
        uv_mutex_unlock(&shards[i].lock);
    }
    return bytes;
}
