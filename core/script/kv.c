#include "script/kv.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "base/arena.h"
#include "base/clock.h"
#include "base/limits.h"
#include "base/map.h"
#include "base/mem.h"

/* A space is SHARDS tables by the low bits of the hash. A table grows by linear hashing: bucket `split` of the round is
 * split in two whenever there is a key a bucket, so nothing is ever rehashed as a whole and keys only move upwards.
 *
 *     buckets 0 … split-1 | split … round-1 | round … round+split-1      segment k holds FIRST << k buckets
 *     split in this round | not yet         | their upper halves
 */
enum { SHARDS = 8, FIRST = 4, SEGMENTS = 20 };

struct entry {
    struct entry *next;                /* owned; in the bucket */
    uint64_t hash;
    uint64_t expires_us;               /* monotonic; UINT64_MAX: never */
    double number;
    enum mg_kv_type type;
    bool boolean;
    uint32_t key_len, value_len;
    char bytes[];                      /* key, then a string's value */
};

struct shard {
    pthread_mutex_t lock;
    struct entry **segments[SEGMENTS]; /* owned; NULL until needed */
    size_t round, split;
    size_t count;
};

struct mg_kv_space {
    struct shard shards[SHARDS];
    atomic_size_t keys, bytes;
    _Atomic uint64_t next_expiry_us;   /* no key expires before it */
};

static pthread_mutex_t spaces_lock = PTHREAD_MUTEX_INITIALIZER;
static struct mg_map spaces;

static struct entry **find(struct shard *shard, uint64_t hash, mg_view key);
static mg_err put(struct mg_kv_space *space, struct shard *shard, struct entry **at, struct entry *made);
static void drop(struct mg_kv_space *space, struct shard *shard, struct entry **at);
static mg_err entry_new(mg_view key, uint64_t hash, const struct mg_kv_value *value, uint64_t ttl_ms,
                        struct entry **out);
static mg_err reserve(struct mg_kv_space *space, size_t keys, size_t bytes);
static void make_room(struct mg_kv_space *space, const struct entry *made);

/* ---- spaces, buckets */

static struct mg_kv_space *space_new(void)
{
    struct mg_kv_space *space = mg_new(struct mg_kv_space);
    for (int i = 0; i < SHARDS; i++) {
        pthread_mutex_init(&space->shards[i].lock, NULL);
        space->shards[i].round = FIRST;
    }
    atomic_store(&space->next_expiry_us, UINT64_MAX);
    return space;
}

struct mg_kv_space *mg_kv_space(mg_view project, mg_view instance)
{
    struct mg_arena arena;
    mg_arena_init(&arena, 256);
    mg_view key = mg_arena_printf(&arena, "%zu:%.*s%.*s", project.len, MG_FMT(project), MG_FMT(instance));

    pthread_mutex_lock(&spaces_lock);
    struct mg_kv_space *space = mg_map_get(&spaces, key);
    if (!space) {
        space = space_new();
        mg_map_put(&spaces, key, space);
    }
    pthread_mutex_unlock(&spaces_lock);
    mg_arena_fini(&arena);
    return space;
}

static struct shard *lock(struct mg_kv_space *space, uint64_t hash)
{
    struct shard *shard = &space->shards[hash % SHARDS];
    pthread_mutex_lock(&shard->lock);
    return shard;
}

static void unlock(struct shard *shard)
{
    pthread_mutex_unlock(&shard->lock);
}

static struct entry **bucket(struct shard *shard, size_t index)
{
    int segment = 0;
    size_t size = FIRST;
    for (; index >= size; size = (size_t)FIRST << (segment - 1)) {
        index -= size;
        segment++;
    }
    if (!shard->segments[segment])
        shard->segments[segment] = mg_new_array(struct entry *, size);
    return &shard->segments[segment][index];
}

static size_t index_of(const struct shard *shard, uint64_t hash)
{
    size_t index = (hash / SHARDS) % shard->round;
    return index < shard->split ? (hash / SHARDS) % (2 * shard->round) : index;
}

/* One more bucket: the upper half of bucket `split`. */
static void grow(struct shard *shard)
{
    struct entry **low = bucket(shard, shard->split), **high = bucket(shard, shard->split + shard->round);
    while (*low) {
        if ((*low)->hash / SHARDS % (2 * shard->round) == shard->split) {
            low = &(*low)->next;
            continue;
        }
        struct entry *moved = *low;
        *low = moved->next;
        moved->next = *high;
        *high = moved;
    }
    if (++shard->split == shard->round) {
        shard->round *= 2;
        shard->split = 0;
    }
}

/* ---- operations */

mg_err mg_kv_get(struct mg_kv_space *space, mg_view key, struct mg_buf *scratch, struct mg_kv_value *out_value)
{
    uint64_t hash = mg_hash(key), now_us = mg_mono_us();
    mg_err err = MG_OK;
    mg_buf_clear(scratch);
    *out_value = (struct mg_kv_value){MG_KV_NONE, MG_VIEW_NONE, 0, false};

    struct shard *shard = lock(space, hash);
    struct entry *entry = *find(shard, hash, key);
    if (entry && entry->expires_us > now_us) {
        *out_value = (struct mg_kv_value){entry->type, MG_VIEW_NONE, entry->number, entry->boolean};
        err = mg_buf_put(scratch, mg_view_of(entry->bytes + entry->key_len, entry->value_len));
    }
    unlock(shard);
    out_value->string = mg_buf_view(scratch);
    return err;
}

mg_err mg_kv_set(struct mg_kv_space *space, mg_view key, const struct mg_kv_value *value, struct mg_kv_options options)
{
    uint64_t hash = mg_hash(key), now_us = mg_mono_us();
    struct entry *made = NULL;
    if (value->type != MG_KV_NONE)
        MG_TRY(entry_new(key, hash, value, options.ttl_ms, &made));
    make_room(space, made);

    struct shard *shard = lock(space, hash);
    struct entry **at = find(shard, hash, key);
    bool exists = *at && (*at)->expires_us > now_us;
    mg_err err = options.only_new && exists ? MG_E_EXISTS : put(space, shard, at, made);
    unlock(shard);
    if (err != MG_OK)
        mg_free(made);
    return err;
}

mg_err mg_kv_incr(struct mg_kv_space *space, mg_view key, double by, double init, uint64_t ttl_ms, double *out_number)
{
    uint64_t hash = mg_hash(key), now_us = mg_mono_us();
    struct mg_kv_value fresh = {MG_KV_NUMBER, MG_VIEW_NONE, init + by, false};
    struct entry *made = NULL;
    MG_TRY(entry_new(key, hash, &fresh, ttl_ms, &made));
    make_room(space, made);

    mg_err err = MG_OK;
    struct shard *shard = lock(space, hash);
    struct entry **at = find(shard, hash, key);
    if (*at && (*at)->expires_us > now_us) {
        err = (*at)->type == MG_KV_NUMBER ? MG_OK : MG_E_BAD_REQUEST;
        if (err == MG_OK)
            *out_number = (*at)->number += by;
    } else {
        err = put(space, shard, at, made);
        if (err == MG_OK) {
            *out_number = fresh.number;
            made = NULL;
        }
    }
    unlock(shard);
    mg_free(made);
    return err;
}

static bool equals(const struct entry *entry, const struct mg_kv_value *value)
{
    if (!entry || entry->type != value->type)
        return !entry && value->type == MG_KV_NONE;
    switch (entry->type) {
    case MG_KV_NUMBER:
        return entry->number == value->number;
    case MG_KV_BOOL:
        return entry->boolean == value->boolean;
    default:
        return mg_view_eq(mg_view_of(entry->bytes + entry->key_len, entry->value_len), value->string);
    }
}

mg_err mg_kv_cas(struct mg_kv_space *space, mg_view key, const struct mg_kv_value *expected,
                 const struct mg_kv_value *value, uint64_t ttl_ms, bool *out_done)
{
    uint64_t hash = mg_hash(key), now_us = mg_mono_us();
    struct entry *made = NULL;
    if (value->type != MG_KV_NONE)
        MG_TRY(entry_new(key, hash, value, ttl_ms, &made));
    make_room(space, made);

    mg_err err = MG_OK;
    bool done = false;
    struct shard *shard = lock(space, hash);
    struct entry **at = find(shard, hash, key);
    bool alive = *at && (*at)->expires_us > now_us;
    if (equals(alive ? *at : NULL, expected)) {
        err = put(space, shard, at, made);
        done = err == MG_OK;
    }
    unlock(shard);
    if (!done)
        mg_free(made);
    if (err == MG_OK)
        *out_done = done;
    return err;
}

bool mg_kv_del(struct mg_kv_space *space, mg_view key)
{
    uint64_t hash = mg_hash(key), now_us = mg_mono_us();
    struct shard *shard = lock(space, hash);
    struct entry **at = find(shard, hash, key);
    bool alive = *at && (*at)->expires_us > now_us;
    if (*at)
        drop(space, shard, at);
    unlock(shard);
    return alive;
}

/* ---- scanning */

static int by_bytes(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static mg_err collect_bucket(struct shard *shard, size_t index, mg_view prefix, uint64_t now_us, struct mg_buf *out,
                             size_t *count)
{
    for (struct entry *entry = *bucket(shard, index); entry; entry = entry->next) {
        mg_view key = mg_view_of(entry->bytes, entry->key_len);
        if (entry->expires_us <= now_us || !mg_view_starts(key, prefix))
            continue;
        MG_TRY(mg_buf_put(out, key));
        MG_TRY(mg_buf_putc(out, '\0'));
        ++*count;
    }
    return MG_OK;
}

/* Bucket by bucket, upwards: a key that moves meanwhile moves up and is at worst collected twice. */
static mg_err collect(struct mg_kv_space *space, mg_view prefix, struct mg_buf *out, size_t *count)
{
    uint64_t now_us = mg_mono_us();
    for (int i = 0; i < SHARDS; i++) {
        struct shard *shard = &space->shards[i];
        bool more = true;
        for (size_t at = 0; more; at++) {
            pthread_mutex_lock(&shard->lock);
            mg_err err = collect_bucket(shard, at, prefix, now_us, out, count);
            more = at + 1 < shard->round + shard->split;
            unlock(shard);
            MG_TRY(err);
        }
    }
    return MG_OK;
}

mg_err mg_kv_scan(struct mg_kv_space *space, mg_view prefix, size_t limit, struct mg_buf *out, size_t *out_count)
{
    struct mg_buf found;
    size_t count = 0, kept = 0;
    const char **keys = NULL, *last = NULL;
    mg_buf_init(&found, 2 * MG_MAX_KV_BYTES);
    mg_buf_clear(out);

    mg_err err = collect(space, prefix, &found, &count);
    keys = mg_new_array(const char *, count + 1);
    const char *at = mg_buf_view(&found).ptr;
    for (size_t i = 0; at && i < count && err == MG_OK; i++, at += strlen(at) + 1)
        keys[i] = at;
    if (err == MG_OK && count > 0)
        qsort(keys, count, sizeof *keys, by_bytes);
    for (size_t i = 0; i < count && kept < MG_MIN(limit, (size_t)MG_KV_SCAN) && err == MG_OK; i++) {
        if (last && strcmp(last, keys[i]) == 0)
            continue;
        last = keys[i];
        kept++;
        err = mg_buf_put(out, mg_view_of(last, strlen(last) + 1));
    }
    mg_free(keys);
    mg_buf_fini(&found);
    if (err == MG_OK)
        *out_count = kept;
    return err;
}

void mg_kv_used(struct mg_kv_space *space, size_t *out_keys, size_t *out_bytes)
{
    *out_keys = atomic_load(&space->keys);
    *out_bytes = atomic_load(&space->bytes);
}

/* ---- entries */

static size_t charge(const struct entry *entry)
{
    return MG_KV_ENTRY_BYTES + entry->key_len + entry->value_len;
}

static uint64_t expiry(uint64_t ttl_ms)
{
    uint64_t now_us = mg_mono_us();
    return ttl_ms == 0 || ttl_ms > (UINT64_MAX - now_us) / 1000 ? UINT64_MAX : now_us + ttl_ms * 1000;
}

static mg_err entry_new(mg_view key, uint64_t hash, const struct mg_kv_value *value, uint64_t ttl_ms,
                        struct entry **out)
{
    mg_view text = value->type == MG_KV_STRING ? value->string : MG_VIEW_NONE;
    if (key.len == 0 || memchr(key.ptr, '\0', key.len))
        return MG_E_BAD_REQUEST;
    if (key.len > MG_KV_KEY_BYTES || text.len > MG_MAX_KV_VALUE_BYTES)
        return MG_E_TOO_LARGE;
    struct entry *entry = mg_try_realloc(NULL, sizeof *entry + key.len + text.len);
    if (!entry)
        return MG_E_MEMORY;
    *entry = (struct entry){NULL, hash, expiry(ttl_ms), value->number, value->type, value->boolean,
                            (uint32_t)key.len, (uint32_t)text.len};
    memcpy(entry->bytes, key.ptr, key.len);
    if (text.len)
        memcpy(entry->bytes + key.len, text.ptr, text.len);
    *out = entry;
    return MG_OK;
}

/* Where the key is, or the end of its chain. What else has expired in the chain stays: its owner's quota pays. */
static struct entry **find(struct shard *shard, uint64_t hash, mg_view key)
{
    struct entry **at = bucket(shard, index_of(shard, hash));
    while (*at && !((*at)->hash == hash && mg_view_eq(mg_view_of((*at)->bytes, (*at)->key_len), key)))
        at = &(*at)->next;
    return at;
}

static void note_expiry(struct mg_kv_space *space, uint64_t expires_us)
{
    uint64_t old = atomic_load(&space->next_expiry_us);
    while (expires_us < old && !atomic_compare_exchange_weak(&space->next_expiry_us, &old, expires_us))
        ;
}

/* Takes `made` (NULL: delete) in place of what is at `at`. */
static mg_err put(struct mg_kv_space *space, struct shard *shard, struct entry **at, struct entry *made)
{
    struct entry *old = *at;
    if (!made) {
        if (old)
            drop(space, shard, at);
        return MG_OK;
    }
    size_t before = old ? charge(old) : 0, after = charge(made);
    if (after > before || !old)
        MG_TRY(reserve(space, old ? 0 : 1, after > before ? after - before : 0));
    if (after < before)
        atomic_fetch_sub(&space->bytes, before - after);

    made->next = old ? old->next : NULL;
    *at = made;
    mg_free(old);
    note_expiry(space, made->expires_us);
    if (!old && ++shard->count > shard->round + shard->split)
        grow(shard);
    return MG_OK;
}

static void drop(struct mg_kv_space *space, struct shard *shard, struct entry **at)
{
    struct entry *old = *at;
    *at = old->next;
    shard->count--;
    atomic_fetch_sub(&space->keys, 1);
    atomic_fetch_sub(&space->bytes, charge(old));
    mg_free(old);
}

/* ---- quotas */

static bool take(atomic_size_t *counter, size_t n, size_t max)
{
    size_t old = atomic_load(counter);
    do {
        if (n > max || old > max - n)
            return false;
    } while (!atomic_compare_exchange_weak(counter, &old, old + n));
    return true;
}

static mg_err reserve(struct mg_kv_space *space, size_t keys, size_t bytes)
{
    if (!take(&space->keys, keys, MG_MAX_KV_KEYS))
        return MG_E_BUSY;
    if (take(&space->bytes, bytes, MG_MAX_KV_BYTES))
        return MG_OK;
    atomic_fetch_sub(&space->keys, keys);
    return MG_E_BUSY;
}

static void sweep(struct mg_kv_space *space, uint64_t now_us)
{
    atomic_store(&space->next_expiry_us, UINT64_MAX);
    for (int i = 0; i < SHARDS; i++) {
        struct shard *shard = &space->shards[i];
        bool more = true;
        for (size_t index = 0; more; index++) {
            pthread_mutex_lock(&shard->lock);
            struct entry **at = bucket(shard, index);
            while (*at) {
                if ((*at)->expires_us <= now_us) {
                    drop(space, shard, at);
                    continue;
                }
                note_expiry(space, (*at)->expires_us);
                at = &(*at)->next;
            }
            more = index + 1 < shard->round + shard->split;
            unlock(shard);
        }
    }
}

/* Sweeps only when there is no room for `made` and something has expired. Whether it fits is put()'s to say: the key
 * may be there already. */
static void make_room(struct mg_kv_space *space, const struct entry *made)
{
    uint64_t now_us = mg_mono_us();
    if (!made)
        return;
    bool full = atomic_load(&space->keys) >= MG_MAX_KV_KEYS ||
                atomic_load(&space->bytes) + charge(made) > MG_MAX_KV_BYTES;
    if (full && atomic_load(&space->next_expiry_us) <= now_us)
        sweep(space, now_us);
}
