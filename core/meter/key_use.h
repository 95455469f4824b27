/* key_use.h - when each key was last used, for `moongate key list`: written beside the rows of exchanges, at most once a
 * minute and key, so that it costs the recorder next to nothing. Recorder thread only. */
#ifndef MG_METER_KEY_USE_H
#define MG_METER_KEY_USE_H

#include "base/map.h"
#include "store/db.h"

enum { MG_KEY_USE_EVERY_MS = 60000 };  /* the figure may lag so far behind */

struct mg_key_use {
    struct mg_map written;             /* key id → struct, owned; at most MG_MAX_KEYS */
    struct mg_stmt *update;            /* NULL while closed */
};

void mg_key_use_init(struct mg_key_use *use);
void mg_key_use_fini(struct mg_key_use *use);
MG_MUST_USE mg_err mg_key_use_open(struct mg_key_use *use, struct mg_db *db);
void mg_key_use_close(struct mg_key_use *use);

/* In a transaction: an exchange of this key ended then. An unknown key is nobody's and fine. */
MG_MUST_USE mg_err mg_key_use_note(struct mg_key_use *use, mg_view key_id, uint64_t at_us);

/* The transaction was undone: nothing is known to be written. */
void mg_key_use_rollback(struct mg_key_use *use);

#endif
