/* kv.h - the shared dictionary of plugins: in memory, one per process, survives reloads.
 *
 * A space belongs to one instance of one project, or is a project's `shared:` space; its keys and bytes have quotas
 * (MG_MAX_KV_KEYS, MG_MAX_KV_BYTES). Values are strings up to MG_MAX_KV_VALUE_BYTES, numbers and booleans, and may
 * expire; expired keys are as good as absent at once and make room when room is needed.
 *
 * All threads may use a space at once. Each operation is atomic. A lock covers one bucket of the table, that is a
 * constant expected number of steps, because the table grows by one bucket at a time and its hash is keyed. */
#ifndef MG_SCRIPT_KV_H
#define MG_SCRIPT_KV_H

#include "base/buf.h"
#include "base/err.h"
#include "base/view.h"

enum { MG_KV_KEY_BYTES = 256, MG_KV_SCAN = 1000, MG_KV_ENTRY_BYTES = 64 };   /* the last: charged beside key and value */

struct mg_kv_space;

enum mg_kv_type { MG_KV_NONE, MG_KV_STRING, MG_KV_NUMBER, MG_KV_BOOL };

struct mg_kv_value {
    enum mg_kv_type type;              /* MG_KV_NONE: absent */
    mg_view string;                    /* borrowed */
    double number;
    bool boolean;
};

/* What a write may ask for. */
struct mg_kv_options {
    uint64_t ttl_ms;                   /* 0: does not expire */
    bool only_new;                     /* write only when the key is absent */
};

/* The space of (project, instance), made on first use; instance "" is the project's shared one. It lives as long as
 * the process. Takes a lock over all spaces: keep the pointer. */
struct mg_kv_space *mg_kv_space(mg_view project, mg_view instance);

/* out_value->string points into scratch, which is emptied first. Absent is MG_OK with MG_KV_NONE. */
MG_MUST_USE mg_err mg_kv_get(struct mg_kv_space *space, mg_view key, struct mg_buf *scratch,
                             struct mg_kv_value *out_value);

/* Writers fail, and change nothing, with MG_E_BAD_REQUEST (empty key, or a NUL in it), MG_E_TOO_LARGE (key or value too
 * long), MG_E_BUSY (quota) or MG_E_MEMORY.
 * set: MG_E_EXISTS when only_new and there is one; MG_KV_NONE deletes.
 * incr: adds to a number, or to `init` when absent (ttl_ms counts only then); MG_E_BAD_REQUEST when it is no number.
 * cas: writes `value` (MG_KV_NONE deletes) only if what is there equals `expected` (MG_KV_NONE: nothing). */
MG_MUST_USE mg_err mg_kv_set(struct mg_kv_space *space, mg_view key, const struct mg_kv_value *value,
                             struct mg_kv_options options);
MG_MUST_USE mg_err mg_kv_incr(struct mg_kv_space *space, mg_view key, double by, double init, uint64_t ttl_ms,
                              double *out_number);
MG_MUST_USE mg_err mg_kv_cas(struct mg_kv_space *space, mg_view key, const struct mg_kv_value *expected,
                             const struct mg_kv_value *value, uint64_t ttl_ms, bool *out_done);
bool mg_kv_del(struct mg_kv_space *space, mg_view key);       /* true: there was one */

/* The first `limit` (at most MG_KV_SCAN) keys with the prefix, sorted by bytes, each followed by a NUL in out, which is
 * emptied first and should hold MG_MAX_KV_BYTES. Not a snapshot: a key that comes or goes meanwhile may be seen or not,
 * all others are seen once. */
MG_MUST_USE mg_err mg_kv_scan(struct mg_kv_space *space, mg_view prefix, size_t limit, struct mg_buf *out,
                              size_t *out_count);

/* Keys and charged bytes, expired ones that nobody has swept included. */
void mg_kv_used(struct mg_kv_space *space, size_t *out_keys, size_t *out_bytes);

#endif
