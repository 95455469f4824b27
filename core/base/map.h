/* map.h - bytes to pointer, open addressing, keyed with SipHash-1-3 under a per-process seed, so
 * that a peer who chooses keys cannot choose collisions. Keys are copied; values are borrowed.
 * Not thread safe; concurrent readers of a map nobody changes are fine. */
#ifndef MG_BASE_MAP_H
#define MG_BASE_MAP_H

#include "base/view.h"

struct mg_map_slot;

struct mg_map {
    struct mg_map_slot *slots;         /* owned */
    size_t cap;                        /* a power of two, or 0 */
    size_t count;
    size_t used;                       /* count and tombstones */
};

void mg_map_init(struct mg_map *map);
void mg_map_fini(struct mg_map *map);
void *mg_map_get(const struct mg_map *map, mg_view key);           /* NULL when absent */
void *mg_map_put(struct mg_map *map, mg_view key, void *value);    /* the old value or NULL; value is not NULL */
void *mg_map_remove(struct mg_map *map, mg_view key);              /* the old value or NULL */

/* Iterates in no order: start with *at = 0; false at the end. Do not change the map meanwhile. */
bool mg_map_next(const struct mg_map *map, size_t *at, mg_view *out_key, void **out_value);

uint64_t mg_hash(mg_view bytes);       /* SipHash-1-3 under the process seed */

#endif
