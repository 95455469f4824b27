/* SipHash: Aumasson and Bernstein, "SipHash: a fast short-input PRF" (2012); one compression and
 * three finalisation rounds as used for hash tables. */
#include "base/map.h"

#include <pthread.h>
#include <sys/random.h>

#include "base/mem.h"

struct mg_map_slot {
    char *key;               /* owned; NULL when never used */
    size_t len;
    uint64_t hash;
    void *value;             /* NULL in a tombstone */
};

static uint64_t seed[2];
static pthread_once_t seed_once = PTHREAD_ONCE_INIT;

static void draw_seed(void)
{
    if (getrandom(seed, sizeof seed, 0) != (ssize_t)sizeof seed)
        seed[0] = (uint64_t)(uintptr_t)&seed;
}

static inline uint64_t rotl(uint64_t x, int bits)
{
    return x << bits | x >> (64 - bits);
}

static inline void sip_round(uint64_t v[4])
{
    v[0] += v[1];
    v[1] = rotl(v[1], 13) ^ v[0];
    v[0] = rotl(v[0], 32);
    v[2] += v[3];
    v[3] = rotl(v[3], 16) ^ v[2];
    v[0] += v[3];
    v[3] = rotl(v[3], 21) ^ v[0];
    v[2] += v[1];
    v[1] = rotl(v[1], 17) ^ v[2];
    v[2] = rotl(v[2], 32);
}

/* The bytes behind the last whole word; those are read twice rather than one by one. */
static inline uint64_t load_rest(mg_view bytes, size_t rest)
{
    uint64_t word = 0;
    if (bytes.len >= 8 && rest) {
        memcpy(&word, bytes.ptr + bytes.len - 8, 8);
        return word >> (64 - 8 * rest);
    }
    for (size_t i = rest; i > 0; i--)
        word = word << 8 | (unsigned char)bytes.ptr[i - 1];
    return word;
}

uint64_t mg_hash(mg_view bytes)
{
    pthread_once(&seed_once, draw_seed);
    uint64_t v[4] = {seed[0] ^ 0x736f6d6570736575u, seed[1] ^ 0x646f72616e646f6du,
                     seed[0] ^ 0x6c7967656e657261u, seed[1] ^ 0x7465646279746573u};
    uint64_t word = 0;
    size_t whole = bytes.len & ~(size_t)7;
    for (size_t i = 0; i < whole; i += 8) {
        memcpy(&word, bytes.ptr + i, 8);
        v[3] ^= word;
        sip_round(v);
        v[0] ^= word;
    }
    word = load_rest(bytes, bytes.len - whole) | (uint64_t)bytes.len << 56;
    v[3] ^= word;
    sip_round(v);
    v[0] ^= word;
    v[2] ^= 0xff;
    for (int i = 0; i < 3; i++)
        sip_round(v);
    return v[0] ^ v[1] ^ v[2] ^ v[3];
}

void mg_map_init(struct mg_map *map)
{
    *map = (struct mg_map){0};
}

void mg_map_fini(struct mg_map *map)
{
    for (size_t i = 0; i < map->cap; i++)
        mg_free(map->slots[i].key);
    mg_free(map->slots);
    mg_map_init(map);
}

static bool slot_is(const struct mg_map_slot *slot, mg_view key, uint64_t hash)
{
    return slot->value && slot->hash == hash && mg_view_eq(mg_view_of(slot->key, slot->len), key);
}

static struct mg_map_slot *find(const struct mg_map *map, mg_view key, uint64_t hash)
{
    for (size_t i = 0; i < map->cap; i++) {
        struct mg_map_slot *slot = &map->slots[(hash + i) & (map->cap - 1)];
        if (!slot->key)
            return NULL;
        if (slot_is(slot, key, hash))
            return slot;
    }
    return NULL;
}

void *mg_map_get(const struct mg_map *map, mg_view key)
{
    struct mg_map_slot *slot = map->count ? find(map, key, mg_hash(key)) : NULL;
    return slot ? slot->value : NULL;
}

static void insert(struct mg_map *map, struct mg_map_slot entry)
{
    for (size_t i = 0;; i++) {
        struct mg_map_slot *slot = &map->slots[(entry.hash + i) & (map->cap - 1)];
        if (slot->key)
            continue;
        *slot = entry;
        map->count++;
        map->used++;
        return;
    }
}

/* Doubles when live entries need it; else only sweeps the tombstones out. */
static void grow(struct mg_map *map)
{
    struct mg_map old = *map;
    size_t cap = old.cap == 0 ? 8 : old.count * 2 >= old.cap ? old.cap * 2 : old.cap;
    *map = (struct mg_map){.slots = mg_new_array(struct mg_map_slot, cap), .cap = cap};
    for (size_t i = 0; i < old.cap; i++) {
        if (old.slots[i].value)
            insert(map, old.slots[i]);
        else
            mg_free(old.slots[i].key);
    }
    mg_free(old.slots);
}

void *mg_map_put(struct mg_map *map, mg_view key, void *value)
{
    uint64_t hash = mg_hash(key);
    struct mg_map_slot *slot = find(map, key, hash);
    if (slot) {
        void *before = slot->value;
        slot->value = value;
        return before;
    }
    if ((map->used + 1) * 4 > map->cap * 3)
        grow(map);
    insert(map, (struct mg_map_slot){mg_strndup(key.ptr, key.len), key.len, hash, value});
    return NULL;
}

void *mg_map_remove(struct mg_map *map, mg_view key)
{
    struct mg_map_slot *slot = find(map, key, mg_hash(key));
    if (!slot)
        return NULL;
    void *before = slot->value;
    slot->value = NULL;
    map->count--;
    return before;
}

bool mg_map_next(const struct mg_map *map, size_t *at, mg_view *out_key, void **out_value)
{
    for (; *at < map->cap; (*at)++) {
        struct mg_map_slot *slot = &map->slots[*at];
        if (!slot->value)
            continue;
        *out_key = mg_view_of(slot->key, slot->len);
        *out_value = slot->value;
        (*at)++;
        return true;
    }
    return false;
}
