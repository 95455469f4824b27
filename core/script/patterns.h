/* patterns.h - many regular expressions and words at once, in time linear in the text, on Vectorscan.
 *
 * The library (libhs.so.5) is large and most projects need none, so it is loaded when the first set is compiled; a
 * machine without it gets an error that names the package. The syntax is PCRE's without captures, back references
 * and look-around. Patterns and texts are UTF-8; bytes of a text that are not match nothing but a dot.
 *
 * Sets are immutable, shared by all threads, and kept by content: the same set compiled on eight workers is one.
 * Scratch memory belongs to one thread at a time and grows to fit every set it was used with. */
#ifndef MG_SCRIPT_PATTERNS_H
#define MG_SCRIPT_PATTERNS_H

#include <stdatomic.h>

#include "base/buf.h"
#include "base/err.h"

enum {
    MG_PATTERN_BYTES = 2048,           /* one pattern or word */
    MG_PATTERN_SET_BYTES = 262144,     /* all of a set */
    MG_PATTERN_SET = 10000,            /* patterns and words of a set */
    MG_PATTERN_COST = 4096,            /* positions of one pattern, repetitions multiplied out: bounds compile time */
    MG_PATTERN_TEXT_BYTES = 8388608,   /* one text */
    MG_PATTERN_OPEN_TEXT_BYTES = 1048576,   /* one text, for a set whose matches have no greatest length */
    MG_PATTERN_PIECE_BYTES = 131072,   /* scanned between two looks at the deadline, where matches are bounded */
    MG_PATTERN_PIECE_WIDTH = 16384,    /* greatest length that counts as bounded there */
    MG_PATTERN_PENDING_BYTES = 16384,  /* end of a text that could still become a match */
    MG_PATTERN_REGIONS = 262144        /* regions found in one text */
};

struct mg_pattern {
    mg_view text;                      /* borrowed until mg_patterns_new() returns */
    bool word;                         /* literal; where it begins or ends with [A-Za-z0-9_], only at a word's edge */
    bool caseless;
};

struct mg_patterns;
struct mg_patterns_scratch;

/* E_CONFIG with a sentence in diag->text: what is wrong with which pattern (diag->line is its number from 1), or that
 * the library is missing. Takes from microseconds to tens of milliseconds: not on a loop. */
MG_MUST_USE mg_err mg_patterns_new(const struct mg_pattern *list, size_t count, struct mg_patterns **out_patterns,
                                   struct mg_diag *diag);
void mg_patterns_unref(struct mg_patterns *patterns);         /* any thread; NULL is a no-op */

/* The longest text any of them can match, in bytes; UINT32_MAX: no bound. For the hold of streaming filters. */
uint32_t mg_patterns_max_width(const struct mg_patterns *patterns);

struct mg_patterns_scratch *mg_patterns_scratch_new(void);
void mg_patterns_scratch_free(struct mg_patterns_scratch *scratch);          /* NULL is a no-op */

struct mg_region {                     /* bytes from … to-1 of the text */
    uint32_t from, to;
    uint32_t pattern;                  /* index into the list */
};

/* How matches become regions that do not overlap, sorted. */
enum mg_region_rule {
    MG_REGION_LONGEST,       /* the leftmost match wins, the longest of those that start there; others give way */
    MG_REGION_UNION,         /* matches that overlap become one region: no matched byte is left outside */
    MG_REGION_ANY            /* the first match that ends, then stop: for yes or no */
};

/* Replaces the contents of `out` by an array of struct mg_region. E_TOO_LARGE: text or regions over their limit;
 * E_TIMEOUT: *stop (may be NULL) became true meanwhile. It is looked at every 1,024 matches and every piece, a fraction
 * of a millisecond; for an unbounded set without matches only at the end, milliseconds for the largest text. */
MG_MUST_USE mg_err mg_patterns_scan(const struct mg_patterns *patterns, struct mg_patterns_scratch *scratch, mg_view text,
                                    enum mg_region_rule rule, const atomic_int *stop, struct mg_buf *out);

/* For streaming filters: where the part of a text begins that has to be held back because more may come. It covers matches
 * that could grow, beginnings of matches, every region of a union scan of the text that reaches into it (these are taken off
 * `regions`), and where a pattern asks for a word's edge, the whole word. It may be more than necessary, never less, but
 * for matches longer than MG_PATTERN_PENDING_BYTES. E_NOT_FOUND: it cannot be told for this set. */
MG_MUST_USE mg_err mg_patterns_pending(const struct mg_patterns *patterns, struct mg_patterns_scratch *scratch,
                                       mg_view text, struct mg_buf *regions, size_t *out_start);

static inline size_t mg_region_count(const struct mg_buf *regions)
{
    return regions->len / sizeof(struct mg_region);
}

static inline const struct mg_region *mg_region_at(const struct mg_buf *regions, size_t i)
{
    return (const struct mg_region *)(const void *)(regions->ptr + regions->start) + i;
}

#endif
