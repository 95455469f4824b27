/* pending_fuzz.c - a text that comes in pieces is hidden as the whole is, when what is pending is held back. The first byte
 * seeds the cuts; the others become a text over a small alphabet. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "script/patterns.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { TEXT = 400 };

static const struct mg_pattern list[] = {
    {{"sk-[a-c0-1]{2,}", 15}, false, true},   {{"[a-c]+@[a-c.]+[a-c]", 19}, false, false},
    {{"\\b[01]{2,3}\\b", 13}, false, false},  {{"(ab|ba){2}c?|x(?:y|z)*w", 23}, false, false},
    {{"\xc3\xa9+b", 4}, false, false},        {{"cab", 3}, true, true},
    {{"a b", 3}, true, false},                {{"b\xc3\xa9", 3}, true, true},
};

static const char *const letters[] = {"a", "b", "c", "0", "1", " ", "-", "@", ".", "s", "k", "x", "y", "z", "w", "\xc3\xa9", "A", "_"};

static struct mg_patterns *set;
static struct mg_patterns_scratch *scratch;

static void must(bool true_, const char *what)
{
    if (!true_) {
        fputs(what, stderr);
        abort();
    }
}

/* Masks the regions; the rest of the text up to `end` follows as it is. */
static void mask(mg_view text, const struct mg_buf *regions, size_t end, struct mg_buf *out)
{
    size_t at = 0;
    for (size_t i = 0; i < mg_region_count(regions); i++) {
        const struct mg_region *region = mg_region_at(regions, i);
        must(mg_buf_put(out, mg_view_of(text.ptr + at, region->from - at)) == MG_OK, "full\n");
        must(mg_buf_putf(out, "[%u]", region->pattern) == MG_OK, "full\n");
        at = region->to;
    }
    must(mg_buf_put(out, mg_view_head(mg_view_skip(text, at), end - at)) == MG_OK, "full\n");
}

static void stream(mg_view text, unsigned seed, struct mg_buf *out)
{
    struct mg_buf held, regions;
    mg_buf_init(&held, 4 * TEXT);
    mg_buf_init(&regions, 65536);
    for (size_t at = 0; at <= text.len;) {
        seed = seed * 1103515245u + 12345u;
        mg_view rest = mg_view_skip(text, at);
        size_t n = mg_view_utf8_floor(mg_view_head(rest, 1 + (seed >> 16) % 7));
        n = n == 0 ? rest.len < 2 ? rest.len : 2 : n;
        must(mg_buf_put(&held, mg_view_head(rest, n)) == MG_OK, "full\n");
        at += n;
        bool more = at < text.len;
        mg_view window = mg_buf_view(&held);
        must(mg_patterns_scan(set, scratch, window, MG_REGION_UNION, NULL, &regions) == MG_OK, "no scan\n");
        size_t end = window.len;
        must(!more || mg_patterns_pending(set, scratch, window, &regions, &end) == MG_OK, "nothing is told\n");
        mask(window, &regions, end, out);
        mg_buf_consume(&held, end);
        if (!more)
            break;
    }
    mg_buf_fini(&held);
    mg_buf_fini(&regions);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct mg_buf text, whole, pieces, regions;
    if (!set) {
        must(mg_patterns_new(list, MG_COUNT(list), &set, NULL) == MG_OK, "the set does not compile\n");
        scratch = mg_patterns_scratch_new();
    }
    mg_buf_init(&text, 4 * TEXT);
    mg_buf_init(&whole, 16 * TEXT);
    mg_buf_init(&pieces, 16 * TEXT);
    mg_buf_init(&regions, 65536);
    for (size_t i = 1; i < size && i < TEXT; i++)
        must(mg_buf_put(&text, mg_view_cstr(letters[data[i] % MG_COUNT(letters)])) == MG_OK, "full\n");

    must(mg_patterns_scan(set, scratch, mg_buf_view(&text), MG_REGION_UNION, NULL, &regions) == MG_OK, "no scan\n");
    mask(mg_buf_view(&text), &regions, text.len, &whole);
    stream(mg_buf_view(&text), size ? data[0] : 0, &pieces);
    if (!mg_view_eq(mg_buf_view(&whole), mg_buf_view(&pieces))) {
        fprintf(stderr, "text   %.*s\nwhole  %.*s\npieces %.*s\n", MG_FMT(mg_buf_view(&text)), MG_FMT(mg_buf_view(&whole)),
                MG_FMT(mg_buf_view(&pieces)));
        abort();
    }
    mg_buf_fini(&text);
    mg_buf_fini(&whole);
    mg_buf_fini(&pieces);
    mg_buf_fini(&regions);
    return 0;
}
