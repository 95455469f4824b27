/* json_pieces.h - is a JSON text that comes in pieces complete, broken, or still growing?
 *
 * Keeps a few bytes of state and none of the text. Stricter than nothing, laxer than json_scan.h: duplicate keys, lone
 * surrogates and numbers out of range pass, and bytes from 0x80 on are taken as they are. Nesting deeper than
 * MG_JSON_PIECES_DEPTH is no longer followed and then counts as complete. */
#ifndef MG_HTTP_JSON_PIECES_H
#define MG_HTTP_JSON_PIECES_H

#include <stdbool.h>
#include <stdint.h>

#include "base/view.h"

enum { MG_JSON_PIECES_DEPTH = 128 };

struct mg_json_pieces {                /* zeroed: nothing came yet */
    uint64_t objects[MG_JSON_PIECES_DEPTH / 64];             /* a bit per open container: it is an object */
    uint8_t depth;
    uint8_t state;
    uint8_t step;                      /* of a literal, of \uXXXX */
    bool in_key;
    bool outgrown;
};

/* The next bytes of the text. False: it can never become JSON; stays so. */
bool mg_json_pieces_feed(struct mg_json_pieces *pieces, mg_view bytes);

/* The same for bytes that stand in a JSON string span (with its quotes), which json_scan.h found valid. */
bool mg_json_pieces_feed_string(struct mg_json_pieces *pieces, mg_view span);

bool mg_json_pieces_complete(const struct mg_json_pieces *pieces);  /* one value and nothing else; blanks are no matter */
bool mg_json_pieces_empty(const struct mg_json_pieces *pieces);     /* nothing but blanks came */

#endif
