/* json_members.h - walk the members of one object, or the elements of one array, without a tree.
 *
 * Only for text that mg_json_scan() has accepted: validity is not checked again, and malformed
 * text would only give wrong spans, never a read outside `container`. */
#ifndef MG_HTTP_JSON_MEMBERS_H
#define MG_HTTP_JSON_MEMBERS_H

#include "base/view.h"

struct mg_json_member {
    mg_view key;             /* between the quotes, still escaped; empty for an array's element */
    mg_view value;           /* a string with its quotes */
    mg_view member;          /* from the key's quote to the value's end; = value for an element */
};

/* Start with *at = 0; false at the end, or when `container` is neither object nor array. */
bool mg_json_next_member(mg_view container, size_t *at, struct mg_json_member *out_member);

/* The value of the member with that (unescaped) key; empty when there is none. */
mg_view mg_json_member(mg_view object, mg_view key);

/* The inside of a string span when it has no escape; else empty. For names and enums. */
mg_view mg_json_plain(mg_view string);

#endif
