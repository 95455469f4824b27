/* view.h - borrowed bytes: a pointer and a length, never a NUL-terminated promise.
 *
 * A view owns nothing. It never outlives the callback that received it unless its bytes are
 * copied (mg_arena_dup, mg_buf_put). All functions accept an empty view whose ptr is NULL. */
#ifndef MG_BASE_VIEW_H
#define MG_BASE_VIEW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

typedef struct mg_view {
    const char *ptr;         /* borrowed */
    size_t len;
} mg_view;

#define MG_VIEW(literal) ((mg_view){("" literal ""), sizeof(literal) - 1})
#define MG_VIEW_NONE ((mg_view){NULL, 0})
/* For printf("%.*s"): the length is cut at INT_MAX. */
#define MG_FMT(v) (int)((v).len > 0x7fffffff ? 0x7fffffff : (v).len), ((v).ptr ? (v).ptr : "")

static inline mg_view mg_view_of(const char *ptr, size_t len)
{
    return (mg_view){ptr, len};
}

static inline mg_view mg_view_cstr(const char *text)
{
    return (mg_view){text, text ? strlen(text) : 0};
}

static inline bool mg_view_empty(mg_view v)
{
    return v.len == 0;
}

static inline bool mg_view_eq(mg_view a, mg_view b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.ptr, b.ptr, a.len) == 0);
}

/* The first n bytes, or all of them when there are fewer. */
static inline mg_view mg_view_head(mg_view v, size_t n)
{
    return (mg_view){v.ptr, n < v.len ? n : v.len};
}

/* All but the first n bytes. */
static inline mg_view mg_view_skip(mg_view v, size_t n)
{
    if (n > v.len)
        n = v.len;
    return (mg_view){v.ptr ? v.ptr + n : NULL, v.len - n};
}

static inline bool mg_view_starts(mg_view v, mg_view prefix)
{
    return v.len >= prefix.len && mg_view_eq(mg_view_head(v, prefix.len), prefix);
}

static inline bool mg_view_ends(mg_view v, mg_view suffix)
{
    return v.len >= suffix.len && mg_view_eq(mg_view_skip(v, v.len - suffix.len), suffix);
}

/* ASCII case folded equality, for header names and the like. */
bool mg_view_ieq(mg_view a, mg_view b);

/* Index of the first byte that is in `set` (a C string), v.len when there is none. */
size_t mg_view_find(mg_view v, const char *set);

/* Index of the first occurrence of needle, v.len when there is none. */
size_t mg_view_search(mg_view v, mg_view needle);

/* Without leading and trailing spaces and tabs. */
mg_view mg_view_trim(mg_view v);

/* Cuts the part before the first `separator` off *rest and returns it; *rest becomes what follows
 * (empty with ptr NULL when there was no separator). For loops over comma lists. */
mg_view mg_view_cut(mg_view *rest, char separator);

/* Decimal digits only, no sign, no blanks; false when v is anything else or overflows. */
bool mg_view_u64(mg_view v, uint64_t *out_value);

/* Shell-like glob with `*` only, case sensitive; linear in v. */
bool mg_view_glob(mg_view pattern, mg_view v);

/* True when equal; time depends on the lengths only. For secrets. */
bool mg_view_eq_ct(mg_view a, mg_view b);

/* Length of the longest prefix that does not end inside a UTF-8 sequence. */
size_t mg_view_utf8_floor(mg_view v);

/* True when v is valid UTF-8 (RFC 3629); else *out_bad, if given, is the offset of the bad byte. */
bool mg_view_utf8(mg_view v, size_t *out_bad);

/* Bytes that steer a terminal or end a line: C0, DEL and, in UTF-8, C1. */
bool mg_view_has_controls(mg_view v);

#endif
