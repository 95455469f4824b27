#include "script/patterns.h"

#include <assert.h>
#include <pthread.h>

#include "base/list.h"
#include "base/mem.h"
#include "script/pattern_text.h"
#include "script/pending.h"
#include "script/regions.h"
#include "script/vectorscan.h"

struct mg_patterns {
    struct mg_list link;               /* in `sets` */
    int refs;                          /* under sets_lock */
    struct mg_buf key;                 /* what it was compiled from: equal keys are one set */
    hs_database_t *db;                 /* owned */
    uint32_t max_width;
    bool unordered;                    /* matches may come out of the order of their ends */
    bool looks_back;                   /* some pattern asks what stands before its match */
    struct mg_pending *pending;        /* owned; NULL: what the end of a text may become cannot be told */
    struct rule {
        uint8_t edges;                 /* where a word may not go on */
        uint16_t len;                  /* every match has so many bytes, and the library need not find where one
                                        * begins, which is dear to compile; 0: it tells */
    } *rules;                          /* owned; of each pattern */
};

struct mg_patterns_scratch {
    hs_scratch_t *hs;                  /* owned; NULL until the first scan */
    struct mg_buf clean;               /* a text whose bytes outside UTF-8 were replaced */
};

static pthread_mutex_t sets_lock = PTHREAD_MUTEX_INITIALIZER;
static struct mg_list sets = {&sets, &sets};

enum { EDGE_LEFT = 1, EDGE_RIGHT = 2 };

/* ---- compiling */

static struct rule rule_of(const struct mg_pattern *pattern)
{
    if (!pattern->word)
        return (struct rule){0, 0};
    bool left = mg_pattern_is_word_byte(pattern->text.ptr[0]);
    bool right = mg_pattern_is_word_byte(pattern->text.ptr[pattern->text.len - 1]);
    return (struct rule){(uint8_t)((left ? EDGE_LEFT : 0) | (right ? EDGE_RIGHT : 0)),
                         mg_pattern_is_fixed(pattern) ? (uint16_t)pattern->text.len : 0};
}

static unsigned flags_of(const struct mg_pattern *pattern)
{
    unsigned caseless = pattern->caseless ? HS_FLAG_CASELESS : 0;
    return mg_pattern_is_fixed(pattern) ? caseless : caseless | HS_FLAG_SOM_LEFTMOST | HS_FLAG_UTF8 | HS_FLAG_DOTALL;
}

/* What Vectorscan takes: parallel arrays, C strings. */
struct compile {
    const char **texts;                /* owned, and so is each */
    unsigned *flags, *ids;             /* owned */
    size_t count;
};

static void compile_free(struct compile *c)
{
    for (size_t i = 0; i < c->count && c->texts; i++)
        mg_free((void *)(uintptr_t)c->texts[i]);
    mg_free(c->texts);
    mg_free(c->flags);
    mg_free(c->ids);
}

static mg_err compile_init(struct compile *c, const struct mg_pattern *list, size_t count, struct mg_diag *diag)
{
    *c = (struct compile){mg_new_array(const char *, count), mg_new_array(unsigned, count),
                          mg_new_array(unsigned, count), count};
    for (size_t i = 0; i < count; i++) {
        const char *why = mg_pattern_refuse(&list[i]);
        if (why)
            return mg_diag_set(diag, MG_E_CONFIG, "", (int)i + 1, "pattern %zu: %s", i + 1, why);
        c->texts[i] = mg_pattern_expression(&list[i]);
        c->flags[i] = flags_of(&list[i]);
        c->ids[i] = (unsigned)i;
    }
    return MG_OK;
}

/* Width and order of all that the library tells about. */
static void inspect(const struct mg_vectorscan *hs, const struct compile *c, struct mg_patterns *patterns)
{
    for (size_t i = 0; i < c->count; i++) {
        uint32_t width = patterns->rules[i].len;
        patterns->max_width = MG_MAX(patterns->max_width, width);
        if (width)
            continue;
        hs_expr_info_t *info = NULL;
        hs_compile_error_t *error = NULL;
        if (hs->expression_info(c->texts[i], c->flags[i], &info, &error) != HS_SUCCESS) {
            hs->free_compile_error(error);
            patterns->max_width = UINT32_MAX;
            patterns->unordered = true;
            continue;
        }
        patterns->max_width = MG_MAX(patterns->max_width, info->max_width);
        patterns->unordered |= info->unordered_matches != 0;
        mg_free(info);
    }
}

static mg_err compile(struct mg_patterns *patterns, const struct mg_pattern *list, size_t count, struct mg_diag *diag)
{
    const struct mg_vectorscan *hs;
    struct compile c = {0};
    hs_compile_error_t *error = NULL;
    MG_TRY(mg_vectorscan(&hs, diag));
    mg_err err = compile_init(&c, list, count, diag);
    if (err == MG_OK && hs->compile_ext_multi(c.texts, c.flags, c.ids, NULL, (unsigned)count, HS_MODE_BLOCK, NULL,
                                              &patterns->db, &error) != HS_SUCCESS) {
        int at = error && error->expression >= 0 ? error->expression + 1 : 0;
        err = mg_diag_set(diag, MG_E_CONFIG, "", at, "pattern %d: %s", at, error ? error->message : "out of memory");
        hs->free_compile_error(error);
    }
    if (err == MG_OK) {
        patterns->rules = mg_new_array(struct rule, count);
        for (size_t i = 0; i < count; i++) {
            patterns->rules[i] = rule_of(&list[i]);
            patterns->looks_back |= mg_pattern_looks_back(&list[i]);
        }
        inspect(hs, &c, patterns);
        patterns->pending = mg_pending_new(hs, list, count);
    }
    compile_free(&c);
    return err;
}

/* ---- sets by content */

static mg_err put_key(struct mg_buf *key, const struct mg_pattern *list, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        MG_TRY(mg_buf_putf(key, "%zu%c%c:", list[i].text.len, list[i].word ? 'w' : 'p', list[i].caseless ? 'i' : 's'));
        MG_TRY(mg_buf_put(key, list[i].text));
    }
    return MG_OK;
}

/* With the lock held. */
static struct mg_patterns *find_set(mg_view key)
{
    assert(key.ptr);                   /* a set is never empty */
    MG_LIST_EACH(item, next, &sets) {
        struct mg_patterns *patterns = mg_container_of(item, struct mg_patterns, link);
        mg_view its = mg_buf_view(&patterns->key);
        if (its.ptr && mg_view_eq(its, key)) {
            patterns->refs++;
            return patterns;
        }
    }
    return NULL;
}

static void destroy(struct mg_patterns *patterns)
{
    const struct mg_vectorscan *hs;
    if (patterns->db && mg_vectorscan(&hs, NULL) == MG_OK) {
        hs->free_database(patterns->db);
        mg_pending_free(hs, patterns->pending);
    }
    mg_buf_fini(&patterns->key);
    mg_free(patterns->rules);
    mg_free(patterns);
}

/* Two threads may compile the same set at once; the second one then throws its own away. */
mg_err mg_patterns_new(const struct mg_pattern *list, size_t count, struct mg_patterns **out_patterns,
                       struct mg_diag *diag)
{
    struct mg_patterns *patterns = mg_new(struct mg_patterns), *other;
    mg_buf_init(&patterns->key, 2 * MG_PATTERN_SET_BYTES);
    patterns->refs = 1;
    mg_err err = MG_OK;
    if (count == 0 || count > MG_PATTERN_SET)
        err = mg_diag_set(diag, MG_E_CONFIG, "", 0, "a set has from 1 to %d patterns and words", MG_PATTERN_SET);
    if (err == MG_OK && put_key(&patterns->key, list, count) != MG_OK)
        err = mg_diag_set(diag, MG_E_CONFIG, "", 0, "a set has at most %d bytes", MG_PATTERN_SET_BYTES);

    pthread_mutex_lock(&sets_lock);
    other = err == MG_OK ? find_set(mg_buf_view(&patterns->key)) : NULL;
    pthread_mutex_unlock(&sets_lock);
    if (err == MG_OK && !other) {
        err = compile(patterns, list, count, diag);
        pthread_mutex_lock(&sets_lock);
        other = err == MG_OK ? find_set(mg_buf_view(&patterns->key)) : NULL;
        if (err == MG_OK && !other)
            mg_list_push_back(&sets, &patterns->link);
        pthread_mutex_unlock(&sets_lock);
    }
    if (err != MG_OK || other)
        destroy(patterns);
    if (err == MG_OK)
        *out_patterns = other ? other : patterns;
    return err;
}

void mg_patterns_unref(struct mg_patterns *patterns)
{
    if (!patterns)
        return;
    pthread_mutex_lock(&sets_lock);
    bool last = --patterns->refs == 0;
    if (last)
        mg_list_remove(&patterns->link);
    pthread_mutex_unlock(&sets_lock);
    if (last)
        destroy(patterns);
}

uint32_t mg_patterns_max_width(const struct mg_patterns *patterns)
{
    return patterns->max_width;
}

/* ---- scanning */

struct mg_patterns_scratch *mg_patterns_scratch_new(void)
{
    struct mg_patterns_scratch *scratch = mg_new(struct mg_patterns_scratch);
    mg_buf_init(&scratch->clean, MG_PATTERN_TEXT_BYTES);
    return scratch;
}

void mg_patterns_scratch_free(struct mg_patterns_scratch *scratch)
{
    const struct mg_vectorscan *hs;
    if (!scratch)
        return;
    if (scratch->hs && mg_vectorscan(&hs, NULL) == MG_OK)
        hs->free_scratch(scratch->hs);
    mg_buf_fini(&scratch->clean);
    mg_free(scratch);
}

/* Vectorscan's answer to a text outside UTF-8 is undefined: a control byte stands in for each such byte, so that all
 * positions stay. */
static mg_err clean_text(struct mg_patterns_scratch *scratch, mg_view *text)
{
    size_t bad;
    if (mg_view_utf8(*text, &bad))
        return MG_OK;
    mg_buf_clear(&scratch->clean);
    for (mg_view rest = *text; rest.len > 0;) {
        bool valid = mg_view_utf8(rest, &bad);
        MG_TRY(mg_buf_put(&scratch->clean, valid ? rest : mg_view_head(rest, bad)));
        if (!valid)
            MG_TRY(mg_buf_putc(&scratch->clean, '\x1a'));
        rest = mg_view_skip(rest, valid ? rest.len : bad + 1);
    }
    *text = mg_buf_view(&scratch->clean);
    return MG_OK;
}

struct scan {
    const struct mg_vectorscan *hs;
    const struct mg_patterns *patterns;
    hs_scratch_t *scratch;
    mg_view text;                      /* all of it */
    struct mg_buf *regions;
    enum mg_region_rule rule;
    const atomic_int *stop;
    size_t base;                       /* where in the text the piece begins */
    size_t from, to;                   /* matches that begin from … to-1 are the piece's */
    uint32_t matches;
    bool ended;                        /* MG_REGION_ANY has its match */
    bool raw;                          /* collect only: the matches are put into order afterwards */
    mg_err err;
};

/* A word ends where it stands on its own. */
static bool is_inside_word(const struct scan *scan, struct mg_region region)
{
    uint8_t edges = scan->patterns->rules[region.pattern].edges;
    if ((edges & EDGE_LEFT) && region.from > 0 && mg_pattern_is_word_byte(scan->text.ptr[region.from - 1]))
        return true;
    return (edges & EDGE_RIGHT) && region.to < scan->text.len && mg_pattern_is_word_byte(scan->text.ptr[region.to]);
}

static int on_match(unsigned id, unsigned long long from, unsigned long long to, unsigned flags, void *arg)
{
    struct scan *scan = arg;
    uint16_t len = scan->patterns->rules[id].len;
    from = len ? to - len : from;
    struct mg_region region = {(uint32_t)(scan->base + from), (uint32_t)(scan->base + to), id};
    if (region.from < scan->from || region.from >= scan->to)
        return 0;
    if (scan->stop && ++scan->matches % 1024 == 0 && *scan->stop)
        scan->err = MG_E_TIMEOUT;
    else if (is_inside_word(scan, region))
        return 0;
    if (scan->err == MG_OK && scan->raw)
        scan->err = mg_buf_put(scan->regions, mg_view_of((const char *)&region, sizeof region));
    else if (scan->err == MG_OK)
        scan->err = mg_regions_add(scan->regions, region, scan->rule == MG_REGION_UNION);
    scan->ended = scan->rule == MG_REGION_ANY;
    return scan->err != MG_OK || scan->ended;
}

static mg_err scan_piece(struct scan *scan, mg_view piece)
{
    hs_error_t result = scan->hs->scan(scan->patterns->db, piece.ptr ? piece.ptr : "", (unsigned)piece.len, 0, scan->scratch,
                                       on_match, scan);
    if (scan->err == MG_OK && result != HS_SUCCESS && result != HS_SCAN_TERMINATED)
        scan->err = MG_E_SYSTEM;
    return scan->err;
}

static size_t boundary_before(mg_view text, size_t at)
{
    while (at > 0 && at < text.len && ((unsigned char)text.ptr[at] & 0xc0) == 0x80)
        at--;
    return at;
}

/* Pieces overlap: on the left by a few bytes, so that their first one is not taken for the text's start or a word's
 * edge; on the right by the greatest length of a match and a few bytes, for the same reason.
 *
 *       …│lead│ matches that begin here are the piece's │ they may end here   │tail│…
 */
static mg_err scan_pieces(struct scan *scan, size_t width)
{
    mg_view text = scan->text;
    enum { EDGE = 8 };
    for (size_t at = 0; at < text.len && !scan->ended; at += MG_PATTERN_PIECE_BYTES) {
        size_t begin = boundary_before(text, at > EDGE ? at - EDGE : 0);
        size_t end = MG_MIN(at + MG_PATTERN_PIECE_BYTES + width + EDGE, text.len);
        end = boundary_before(text, end);
        scan->base = begin;
        scan->from = at;
        scan->to = at + MG_PATTERN_PIECE_BYTES;
        MG_TRY(scan_piece(scan, mg_view_of(text.ptr + begin, end - begin)));
        if (scan->stop && *scan->stop)
            return MG_E_TIMEOUT;
    }
    return MG_OK;
}

static mg_err put_in_order(struct mg_buf *regions)
{
    struct mg_buf raw = *regions;
    mg_err err = MG_OK;
    mg_buf_init(regions, raw.max);
    mg_regions_sort(&raw);
    for (size_t i = 0; i < mg_region_count(&raw) && err == MG_OK; i++)
        err = mg_regions_add(regions, *mg_region_at(&raw, i), false);
    mg_buf_fini(&raw);
    return err;
}

mg_err mg_patterns_scan(const struct mg_patterns *patterns, struct mg_patterns_scratch *scratch, mg_view text,
                        enum mg_region_rule rule, const atomic_int *stop, struct mg_buf *out)
{
    const struct mg_vectorscan *hs;
    bool bounded = patterns->max_width <= MG_PATTERN_PIECE_WIDTH;
    mg_buf_clear(out);
    if (text.len > (bounded ? MG_PATTERN_TEXT_BYTES : MG_PATTERN_OPEN_TEXT_BYTES))
        return MG_E_TOO_LARGE;
    MG_TRY(mg_vectorscan(&hs, NULL));
    MG_TRY(clean_text(scratch, &text));
    if (hs->alloc_scratch(patterns->db, &scratch->hs) != HS_SUCCESS)
        return MG_E_MEMORY;
    struct scan scan = {.hs = hs, .patterns = patterns, .scratch = scratch->hs, .text = text, .regions = out, .rule = rule,
                        .stop = stop, .to = SIZE_MAX};
    scan.raw = patterns->unordered && rule == MG_REGION_LONGEST;
    bool whole = !bounded || text.len <= MG_PATTERN_PIECE_BYTES;
    MG_TRY(whole ? scan_piece(&scan, text) : scan_pieces(&scan, patterns->max_width));
    return scan.raw ? put_in_order(out) : MG_OK;
}

/* Moves *start to the left until it cuts neither a region nor, where that matters, a word. */
static void spare(const struct mg_patterns *patterns, mg_view text, struct mg_buf *regions, size_t *start)
{
    size_t count = mg_region_count(regions), before;
    do {
        before = *start;
        while (patterns->looks_back && *start > 0 && mg_pattern_is_word_byte(text.ptr[*start - 1]))
            --*start;                  /* what comes next would be taken for a word's beginning */
        for (; count > 0 && mg_region_at(regions, count - 1)->to > *start; count--)
            *start = MG_MIN(*start, (size_t)mg_region_at(regions, count - 1)->from);
    } while (*start != before);
    regions->len = count * sizeof(struct mg_region);
}

mg_err mg_patterns_pending(const struct mg_patterns *patterns, struct mg_patterns_scratch *scratch, mg_view text,
                           struct mg_buf *regions, size_t *out_start)
{
    const struct mg_vectorscan *hs;
    size_t len = 0, skipped = 0;
    if (!patterns->pending)
        return MG_E_NOT_FOUND;
    MG_TRY(mg_vectorscan(&hs, NULL));
    if (text.len > MG_PATTERN_PENDING_BYTES)
        skipped = boundary_before(text, text.len - MG_PATTERN_PENDING_BYTES);
    mg_view end = skipped ? mg_view_of(text.ptr + skipped, text.len - skipped) : text;
    MG_TRY(clean_text(scratch, &end));
    MG_TRY(mg_pending_scan(hs, patterns->pending, &scratch->hs, end, &len));
    size_t start = text.len - len;
    spare(patterns, text, regions, &start);
    *out_start = start;
    return MG_OK;
}
