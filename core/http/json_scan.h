/* json_scan.h - find values in a JSON document without building a tree, and edit it by splices.
 *
 * One strict pass decides validity (RFC 8259 as serde_json reads it: valid UTF-8, no lone
 * surrogate escapes, no number beyond the range of a double, no byte order mark) and calls back
 * for every value that one of a compiled set of paths names. Values are views into the document.
 *
 * Keys may occur once in the top-level object and in every object a path leads through; elsewhere
 * duplicates pass unseen, because nobody here reads them. Keys compare after unescaping.
 *
 * No allocation unless an object of interest has more than 64 keys or a key with an escape.
 * Scanning is thread safe; a compiled set of paths is immutable and may be shared. */
#ifndef MG_HTTP_JSON_SCAN_H
#define MG_HTTP_JSON_SCAN_H

#include "base/buf.h"

enum {
    MG_JSON_PATHS = 64,      /* paths of one set */
    MG_JSON_INDEXES = 4,     /* arrays on the way whose index is reported */
    MG_JSON_KEYS = 65536     /* keys held at once to find duplicates; MG_E_TOO_LARGE above */
};

enum mg_json_type {
    MG_JSON_NULL,
    MG_JSON_BOOL,
    MG_JSON_NUMBER,
    MG_JSON_STRING,
    MG_JSON_ARRAY,
    MG_JSON_OBJECT
};

const char *mg_json_type_name(enum mg_json_type type);        /* "object" */

struct mg_json_paths;

/* Compiles paths such as "model", "messages[*].content", "usage.prompt_tokens", "[*].id" or ""
 * (the whole document). A key is any text without '.' and '['; `[*]` is every element of an
 * array. Paths are ours, never a peer's: more than MG_JSON_PATHS, two equal ones or a malformed
 * one is an assertion. Free it when no thread scans with it. */
struct mg_json_paths *mg_json_paths_new(const char *const *paths, size_t count);
void mg_json_paths_free(struct mg_json_paths *paths);         /* NULL is a no-op */

/* The same for paths that come from a configuration: NULL instead of an assertion. */
struct mg_json_paths *mg_json_paths_try_new(const char *const *paths, size_t count);

/* One value that a path names. Borrowed views; the struct itself may be copied and kept as long
 * as the document. */
struct mg_json_hit {
    size_t path;             /* index of the path */
    enum mg_json_type type;
    bool first;              /* nothing stands before it in its object or array */
    mg_view value;           /* its bytes; a string with its quotes */
    mg_view member;          /* in an object: from the key's quote to the value's end; else = value */
    size_t index_count;      /* arrays on the way to it, at most MG_JSON_INDEXES are told */
    size_t index[MG_JSON_INDEXES];     /* position in each of them, outermost first */
};

/* Position in the innermost array on the way; 0 when there is none. */
static inline size_t mg_json_hit_index(const struct mg_json_hit *hit)
{
    return hit->index_count ? hit->index[hit->index_count - 1] : 0;
}

/* Called in document order of the values' ends: children before the container they are in. An
 * error stops the scan and is handed back by it. */
typedef mg_err (*mg_json_hit_cb)(void *arg, const struct mg_json_hit *hit);

struct mg_json_error {
    size_t offset;           /* of the byte that is wrong; the length when the document ends early */
    const char *reason;      /* static, fits behind "at byte 12: " */
};

/* MG_E_BAD_REQUEST when the document is not valid, nests deeper than MG_MAX_JSON_DEPTH or repeats
 * a key (a caller that scans an upstream's bytes translates it); MG_E_TOO_LARGE past
 * MG_JSON_KEYS; MG_E_MEMORY; or what the callback returned. out_err may be NULL and is written
 * on the first three. Hits before the error were reported: act on them only after MG_OK. paths
 * may be NULL: validity alone. */
MG_MUST_USE mg_err mg_json_scan(mg_view doc, const struct mg_json_paths *paths, mg_json_hit_cb cb,
                                void *arg, struct mg_json_error *out_err);

/* Validity, and no duplicate key in any object. */
MG_MUST_USE mg_err mg_json_check(mg_view doc, struct mg_json_error *out_err);

/* The functions below take spans of a document that was scanned with MG_OK. */

/* Unescapes a string span (with its quotes) to the end of out. MG_E_BAD_REQUEST when it is none. */
MG_MUST_USE mg_err mg_json_unescape(mg_view string, struct mg_buf *out);

/* The text of a string span: a view into it when nothing is escaped, else unescaped into scratch
 * (which is emptied first). MG_E_BAD_REQUEST when it is no string. */
MG_MUST_USE mg_err mg_json_span_text(mg_view string, struct mg_buf *scratch, mg_view *out_text);

/* False when the span is something else or does not fit. "12", "12.0" and "1.2e1" are all 12. */
bool mg_json_span_u64(mg_view number, uint64_t *out_value);
bool mg_json_span_double(mg_view number, double *out_value);
bool mg_json_span_bool(mg_view literal, bool *out_value);

enum mg_json_type mg_json_span_type(mg_view value);           /* by its first byte */
bool mg_json_span_is_empty(mg_view container);                /* "{ }" and "[]" */

/* An edit: `len` bytes at `offset` give way to `with`. */
struct mg_splice {
    size_t offset;
    size_t len;              /* 0 inserts */
    mg_view with;            /* borrowed; empty deletes */
};

/* The bytes to delete so that a member or element goes away with exactly one comma. hit comes from
 * a scan of doc. To delete several of one document at once use mg_json_cuts(). */
mg_view mg_json_cut_span(mg_view doc, const struct mg_json_hit *hit);

/* Fills out (room for count) with the splices that delete all hits, which are in document order
 * and not inside one another; neighbours are deleted together. Returns how many it wrote. */
size_t mg_json_cuts(mg_view doc, const struct mg_json_hit *hits, size_t count,
                    struct mg_splice *out);

/* Splices are sorted by offset and do not overlap; anything else is our mistake (assertion).
 * Two insertions at one place happen in the order given. */
size_t mg_splice_length(mg_view doc, const struct mg_splice *splices, size_t count);
MG_MUST_USE mg_err mg_splice_apply(mg_view doc, const struct mg_splice *splices, size_t count,
                                   struct mg_buf *out);       /* appends */

#endif
