#include <assert.h>

#include "http/json_scan.h"

static size_t skip_blanks(mg_view doc, size_t at);
static size_t skip_blanks_back(mg_view doc, size_t at);
static bool neighbours(mg_view doc, const struct mg_json_hit *left, const struct mg_json_hit *right);
static mg_view cut_run(mg_view doc, const struct mg_json_hit *first, const struct mg_json_hit *last);
static void check(mg_view doc, const struct mg_splice *splices, size_t count);

mg_view mg_json_cut_span(mg_view doc, const struct mg_json_hit *hit)
{
    return cut_run(doc, hit, hit);
}

size_t mg_json_cuts(mg_view doc, const struct mg_json_hit *hits, size_t count, struct mg_splice *out)
{
    size_t written = 0;
    for (size_t i = 0, run; i < count; i = run + 1) {
        for (run = i; run + 1 < count && neighbours(doc, &hits[run], &hits[run + 1]); run++)
            ;
        mg_view span = cut_run(doc, &hits[i], &hits[run]);
        out[written++] = (struct mg_splice){(size_t)(span.ptr - doc.ptr), span.len, MG_VIEW_NONE};
    }
    return written;
}

size_t mg_splice_length(mg_view doc, const struct mg_splice *splices, size_t count)
{
    size_t len = doc.len;
    check(doc, splices, count);
    for (size_t i = 0; i < count; i++)
        len = len - splices[i].len + splices[i].with.len;
    return len;
}

mg_err mg_splice_apply(mg_view doc, const struct mg_splice *splices, size_t count, struct mg_buf *out)
{
    size_t done = 0;
    MG_TRY(mg_buf_reserve(out, mg_splice_length(doc, splices, count)));
    for (size_t i = 0; i < count; i++) {
        MG_TRY(mg_buf_put(out, mg_view_head(mg_view_skip(doc, done), splices[i].offset - done)));
        MG_TRY(mg_buf_put(out, splices[i].with));
        done = splices[i].offset + splices[i].len;
    }
    return mg_buf_put(out, mg_view_skip(doc, done));
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

static size_t skip_blanks(mg_view doc, size_t at)
{
    while (at < doc.len && is_blank(doc.ptr[at]))
        at++;
    return at;
}

/* The place behind the last byte in front of `at` that is not blank. */
static size_t skip_blanks_back(mg_view doc, size_t at)
{
    while (at > 0 && is_blank(doc.ptr[at - 1]))
        at--;
    return at;
}

static size_t begin_of(mg_view doc, const struct mg_json_hit *hit)
{
    return (size_t)(hit->member.ptr - doc.ptr);
}

static size_t end_of(mg_view doc, const struct mg_json_hit *hit)
{
    return begin_of(doc, hit) + hit->member.len;
}

/* True when nothing but one comma stands between them. */
static bool neighbours(mg_view doc, const struct mg_json_hit *left, const struct mg_json_hit *right)
{
    size_t comma = skip_blanks(doc, end_of(doc, left));
    return comma < doc.len && doc.ptr[comma] == ',' && skip_blanks(doc, comma + 1) == begin_of(doc, right);
}

/* With the comma in front of it, or, at the front of the container, with the one behind it. */
static mg_view cut_run(mg_view doc, const struct mg_json_hit *first, const struct mg_json_hit *last)
{
    size_t begin = begin_of(doc, first), end = end_of(doc, last);
    if (!first->first) {
        begin = skip_blanks_back(doc, begin);
        assert(begin > 0 && doc.ptr[begin - 1] == ',');
        begin--;
    } else {
        size_t comma = skip_blanks(doc, end);
        if (comma < doc.len && doc.ptr[comma] == ',')
            end = skip_blanks(doc, comma + 1);
    }
    return mg_view_of(doc.ptr + begin, end - begin);
}

static void check(mg_view doc, const struct mg_splice *splices, size_t count)
{
    size_t done = 0;
    for (size_t i = 0; i < count; i++) {
        assert(splices[i].offset >= done && splices[i].offset <= doc.len);
        assert(splices[i].len <= doc.len - splices[i].offset);
        done = splices[i].offset + splices[i].len;
    }
}
