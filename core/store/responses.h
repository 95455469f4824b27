/* responses.h - the table of responses that clients may go on from, fetch and delete.
 *
 * A response follows another or none: chains grow at their ends, and never into themselves, because a response follows only
 * what was there before. All that began with one response are a *thread*: a thread is kept as long as its newest response may
 * be, and forgotten as a whole, so that no conversation loses its beginning. What one project keeps is bounded by
 * mg_response_limits; the threads that would be forgotten next make room for a new response.
 *
 * Contents are opaque here, and sealed by whoever hands them in. Nothing finds a row without its project. Functions that change
 * something run in the caller's transaction (the recorder's); those that look take any connection. */
#ifndef MG_STORE_RESPONSES_H
#define MG_STORE_RESPONSES_H

#include "base/arena.h"
#include "store/db.h"

/* How much a project may keep. */
struct mg_response_limits {
    uint64_t max_age_us;               /* of a thread, since its newest response */
    int64_t max_count;                 /* responses */
    int64_t max_bytes;                 /* of all their contents */
};

struct mg_response_row {
    mg_view project, id;
    mg_view owner;                     /* whose it is within the project: the first of a key's ids */
    int64_t parent;                    /* seq of the response it follows; 0: none */
    uint64_t created_us;               /* wall clock */
    mg_view sealed;
    const mg_view *items;              /* ids of what was answered, by which it can be found */
    size_t item_count;
};

/* MG_E_TOO_LARGE: it does not fit into what its project may keep, and nothing was changed. An id that is taken goes to the new
 * one; what followed the old one still does. *out_gone: how many older responses made room. */
MG_MUST_USE mg_err mg_responses_put(struct mg_db *db, const struct mg_response_row *row, const struct mg_response_limits *limits,
                                    uint64_t now_us, uint64_t *out_gone);

/* One response of a chain. */
struct mg_response_link {
    int64_t seq;
    mg_view id;                        /* under which it was kept; another may have taken it since */
    uint64_t created_us;
    mg_view sealed;
};

struct mg_response_chain {
    struct mg_response_link *links;    /* in the arena, the first response first; the last is the one asked for */
    size_t count;
    mg_view owner;                     /* of the one asked for */
};

/* The response alone (`whole` false), or with all before it. MG_E_NOT_FOUND: there is none, or it is another owner's (owner
 * not empty), or one before it is gone; MG_E_TOO_LARGE: more than max_bytes of contents, or a chain above
 * MG_MAX_RESPONSE_CHAIN. */
MG_MUST_USE mg_err mg_responses_find(struct mg_db *db, struct mg_arena *arena, mg_view project, mg_view owner, mg_view id,
                                     bool whole, int64_t max_bytes, uint64_t now_us, struct mg_response_chain *out_chain);

/* The response that an item was answered in. MG_E_NOT_FOUND as above. */
MG_MUST_USE mg_err mg_responses_find_item(struct mg_db *db, struct mg_arena *arena, mg_view project, mg_view owner, mg_view item,
                                          uint64_t now_us, struct mg_response_link *out_link);

/* MG_E_NOT_FOUND as above. What followed it can be fetched, and not be gone on from. */
MG_MUST_USE mg_err mg_responses_delete(struct mg_db *db, mg_view project, mg_view owner, mg_view id, uint64_t now_us);

/* Forgets threads whose time is over, at most `max_threads`. *out_more: others wait. */
MG_MUST_USE mg_err mg_responses_sweep(struct mg_db *db, uint64_t now_us, unsigned max_threads, uint64_t *out_gone, bool *out_more);

/* Forgets all of a project, or of one owner in it (not empty). */
MG_MUST_USE mg_err mg_responses_erase(struct mg_db *db, mg_view project, mg_view owner, uint64_t *out_gone);

/* What each project keeps, by name. */
struct mg_response_sum {
    mg_view project;                   /* borrowed until the callback returns */
    int64_t count, bytes;
    uint64_t oldest_us;                /* wall clock; of its oldest response */
};
MG_MUST_USE mg_err mg_responses_sums(struct mg_db *db, void (*each)(void *arg, const struct mg_response_sum *sum), void *arg);

#endif
