/* last_good.h - the last good answer to each request, kept in memory for the time when nothing answers.
 *
 * One store for the process, all workers. A key is a digest of project, surface and the transformed body, so an answer
 * can only be found by the same project with byte for byte the same request; whoever holds a key of the project can find
 * it. At most LAST_GOOD_BYTES are kept, what was not wanted for longest goes first, and what is older than its writer
 * allowed is never found again and goes when others come. Nothing is written to disk.
 *
 * Any thread. A shard's lock is held for pointer work only: bytes are copied and freed outside of it. */
#ifndef MG_GATEWAY_LAST_GOOD_H
#define MG_GATEWAY_LAST_GOOD_H

#include "base/arena.h"
#include "base/limits.h"

enum { MG_LAST_GOOD_ANSWER_BYTES = 262144 };     /* larger answers are not kept */

struct mg_last_good_key {
    uint8_t digest[32];
};

void mg_last_good_key(mg_view project, mg_view surface, mg_view body, struct mg_last_good_key *out_key);

/* Copies the answer, in place of an older one of that key. It may be found for max_age_ms from now on (monotonic). */
void mg_last_good_put(const struct mg_last_good_key *key, mg_view answer, uint64_t now_us, uint64_t max_age_ms);

/* A copy in the arena; empty: there is none that is young enough. *out_age_ms is its age. */
mg_view mg_last_good_get(const struct mg_last_good_key *key, uint64_t now_us, uint64_t max_age_ms, struct mg_arena *arena,
                         uint64_t *out_age_ms);

void mg_last_good_clear(void);                   /* forgets all */
size_t mg_last_good_bytes(void);                 /* that are kept, what it takes to keep them included */

#endif
