#include "script/pending.h"

#include <assert.h>
#include <stdlib.h>

#include "base/arena.h"
#include "base/mem.h"
#include "script/pattern_prefix.h"
#include "script/pattern_text.h"

enum { PREFIX_BYTES = 65536 };

struct word {
    mg_view text;                      /* in the arena; folded when it is caseless */
    bool caseless;
};

struct mg_pending {
    struct mg_arena arena;
    struct word *words;                /* sorted: exact ones, then folded ones */
    size_t word_count, exact_count;
    size_t longest;                    /* of the words */
    hs_database_t *db;                 /* owned; of the beginnings of patterns; NULL: there are none */
};

bool mg_pattern_is_fixed(const struct mg_pattern *pattern)
{
    for (size_t i = 0; i < pattern->text.len; i++)
        if ((unsigned char)pattern->text.ptr[i] >= 0x80)
            return pattern->word && !pattern->caseless;
    return pattern->word;
}

bool mg_pattern_looks_back(const struct mg_pattern *pattern)
{
    if (pattern->word)
        return mg_pattern_is_word_byte(pattern->text.ptr[0]);
    for (size_t i = 0; i < pattern->text.len; i++)
        if (pattern->text.ptr[i] == '\\' && i + 1 < pattern->text.len && strchr("bB", pattern->text.ptr[++i]))
            return true;
    return false;
}

static char fold(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

/* ---- building */

static int by_kind_and_text(const void *a, const void *b)
{
    const struct word *x = a, *y = b;
    if (x->caseless != y->caseless)
        return x->caseless ? 1 : -1;
    int order = memcmp(x->text.ptr, y->text.ptr, MG_MIN(x->text.len, y->text.len));
    return order ? order : (x->text.len > y->text.len) - (x->text.len < y->text.len);
}

static void add_word(struct mg_pending *pending, const struct mg_pattern *pattern)
{
    char *copy = mg_arena_alloc(&pending->arena, pattern->text.len);
    for (size_t i = 0; i < pattern->text.len; i++)
        copy[i] = pattern->caseless ? fold(pattern->text.ptr[i]) : pattern->text.ptr[i];
    pending->words[pending->word_count++] = (struct word){mg_view_of(copy, pattern->text.len), pattern->caseless};
    pending->longest = MG_MAX(pending->longest, pattern->text.len);
    pending->exact_count += !pattern->caseless;
}

static bool compile(struct mg_pending *pending, const struct mg_vectorscan *hs, const struct mg_pattern *list, size_t count)
{
    const char **texts = mg_new_array(const char *, count + 1);
    unsigned *flags = mg_new_array(unsigned, count + 1);
    hs_compile_error_t *error = NULL;
    unsigned n = 0;
    bool known = true;
    for (size_t i = 0; i < count && known; i++) {
        struct mg_buf prefix;
        if (mg_pattern_is_fixed(&list[i]))
            continue;
        mg_buf_init(&prefix, PREFIX_BYTES);
        known = mg_pattern_prefix(&list[i], &prefix);
        texts[n] = mg_arena_strdup(&pending->arena, mg_buf_cstr(&prefix));
        flags[n++] = HS_FLAG_SOM_LEFTMOST | HS_FLAG_UTF8 | HS_FLAG_DOTALL | (list[i].caseless ? HS_FLAG_CASELESS : 0u);
        mg_buf_fini(&prefix);
    }
    if (known && n > 0 && hs->compile_ext_multi(texts, flags, NULL, NULL, n, HS_MODE_BLOCK, NULL, &pending->db, &error) !=
                              HS_SUCCESS) {
        hs->free_compile_error(error);
        known = false;
    }
    mg_free(texts);
    mg_free(flags);
    return known;
}

struct mg_pending *mg_pending_new(const struct mg_vectorscan *hs, const struct mg_pattern *list, size_t count)
{
    struct mg_pending *pending = mg_new(struct mg_pending);
    mg_arena_init(&pending->arena, 1024);
    pending->words = mg_new_array(struct word, count);
    for (size_t i = 0; i < count; i++)
        if (mg_pattern_is_fixed(&list[i]))
            add_word(pending, &list[i]);
    qsort(pending->words, pending->word_count, sizeof(struct word), by_kind_and_text);
    if (compile(pending, hs, list, count))
        return pending;
    mg_pending_free(hs, pending);
    return NULL;
}

void mg_pending_free(const struct mg_vectorscan *hs, struct mg_pending *pending)
{
    if (!pending)
        return;
    if (pending->db)
        hs->free_database(pending->db);
    mg_free(pending->words);
    mg_arena_fini(&pending->arena);
    mg_free(pending);
}

/* ---- words */

static int compare(const struct word *word, mg_view tail)
{
    size_t n = MG_MIN(word->text.len, tail.len);
    for (size_t i = 0; i < n; i++) {
        unsigned char a = (unsigned char)word->text.ptr[i];
        unsigned char b = (unsigned char)(word->caseless ? fold(tail.ptr[i]) : tail.ptr[i]);
        if (a != b)
            return a < b ? -1 : 1;
    }
    return word->text.len < tail.len ? -1 : 0;
}

/* Whether a word of words[from … to-1] begins with the tail. */
static bool begins_word(const struct mg_pending *pending, size_t from, size_t to, mg_view tail)
{
    while (from < to) {
        size_t middle = from + (to - from) / 2;
        int order = compare(&pending->words[middle], tail);
        if (order == 0)
            return true;
        if (order < 0)
            from = middle + 1;
        else
            to = middle;
    }
    return false;
}

static size_t pending_word(const struct mg_pending *pending, mg_view text)
{
    assert(text.ptr || text.len == 0);
    for (size_t len = MG_MIN(pending->longest, text.len); len > 0; len--) {
        mg_view tail = mg_view_of(text.ptr + text.len - len, len);
        bool inside = len < text.len && mg_pattern_is_word_byte(text.ptr[text.len - len - 1]) &&
                      mg_pattern_is_word_byte(tail.ptr[0]);
        if (!inside && (begins_word(pending, 0, pending->exact_count, tail) ||
                        begins_word(pending, pending->exact_count, pending->word_count, tail)))
            return len;
    }
    return 0;
}

/* ---- patterns */

static int on_match(unsigned id, unsigned long long from, unsigned long long to, unsigned flags, void *arg)
{
    size_t *first = arg;
    *first = MG_MIN(*first, (size_t)from);
    return 0;
}

mg_err mg_pending_scan(const struct mg_vectorscan *hs, const struct mg_pending *pending, hs_scratch_t **hs_scratch,
                       mg_view text, size_t *out_len)
{
    size_t first = text.len;
    if (pending->db) {
        if (hs->alloc_scratch(pending->db, hs_scratch) != HS_SUCCESS)
            return MG_E_MEMORY;
        if (hs->scan(pending->db, text.ptr ? text.ptr : "", (unsigned)text.len, 0, *hs_scratch, on_match, &first) != HS_SUCCESS)
            return MG_E_SYSTEM;
    }
    *out_len = MG_MAX(text.len - first, pending_word(pending, text));
    return MG_OK;
}
