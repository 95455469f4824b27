/* json_patch.h - set and remove members of a JSON document by path, touching no other byte. */
#ifndef MG_SCRIPT_JSON_PATCH_H
#define MG_SCRIPT_JSON_PATCH_H

#include "http/json_scan.h"

enum { MG_JSON_EDITS = MG_JSON_PATHS / 2 };

struct mg_json_edit {
    const char *path;                  /* "stream_options.include_usage", "messages[*].name"; borrowed */
    mg_view value;                     /* JSON text; empty: remove what is there */
};

/* Appends the edited document to out. A member that is absent is added at the end of its object when its path ends in
 * a key; removing what is absent is no error. Paths are those of json_scan.h.
 *
 * MG_E_CONFIG: *out_culprit is no path or not UTF-8, equals another or lies inside another. MG_E_NOT_FOUND: there is no object to
 * add it to. MG_E_BAD_REQUEST: the document is not JSON, see out_error. MG_E_TOO_LARGE: out is full, or more than
 * MG_JSON_EDITS edits or a thousand values to change. */
MG_MUST_USE mg_err mg_json_patch(mg_view doc, const struct mg_json_edit *edits, size_t count, struct mg_buf *out,
                                 struct mg_json_error *out_error, const char **out_culprit);

#endif
