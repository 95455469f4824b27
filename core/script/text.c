#include "script/text.h"

/* Length of the code point at the start of text: 1 for what is not UTF-8. */
static size_t step(mg_view text)
{
    unsigned char c = (unsigned char)text.ptr[0];
    size_t want = c < 0x80 ? 1 : c >= 0xf0 ? 4 : c >= 0xe0 ? 3 : c >= 0xc0 ? 2 : 1;
    if (want == 1)
        return 1;
    return want <= text.len && mg_view_utf8(mg_view_head(text, want), NULL) ? want : 1;
}

static void skip(mg_view *text, size_t n)
{
    text->ptr += n;
    text->len -= n;
}

static bool stopped(uint64_t steps, const atomic_int *stop)
{
    return steps % 1024 == 1023 && stop && *stop;
}

uint64_t mg_text_tokens(mg_view text, const atomic_int *stop)
{
    uint64_t quarters = 0;
    for (uint64_t steps = 0; text.len > 0 && !stopped(steps, stop); steps++) {
        size_t n = step(text);
        bool wide = n > 3 || (n == 3 && (unsigned char)text.ptr[0] >= 0xe2);
        quarters += n == 1 ? 1 : wide ? 4 : 2;
        skip(&text, n);
    }
    return (quarters + 3) / 4;
}

size_t mg_text_length(mg_view text, const atomic_int *stop)
{
    size_t count = 0;
    for (; text.len > 0 && !stopped(count, stop); count++)
        skip(&text, step(text));
    return count;
}

static mg_view skip_points(mg_view text, uint64_t n, const atomic_int *stop)
{
    while (n-- > 0 && text.len > 0 && !stopped(n, stop))
        skip(&text, step(text));
    return text;
}

mg_view mg_text_sub(mg_view text, int64_t i, int64_t j, const atomic_int *stop)
{
    if (i < 0 || j < 0) {
        int64_t length = (int64_t)mg_text_length(text, stop);
        i = i < 0 ? length + i + 1 : i;
        j = j < 0 ? length + j + 1 : j;
    }
    i = i < 1 ? 1 : i;
    if (j < i)
        return mg_view_head(text, 0);
    mg_view rest = skip_points(text, (uint64_t)i - 1, stop);
    mg_view behind = skip_points(rest, (uint64_t)(j - i) + 1, stop);
    return mg_view_head(rest, rest.len - behind.len);
}

mg_view mg_text_truncate(mg_view text, size_t n)
{
    if (text.len <= n)
        return text;
    size_t at = n;
    while (at > 0 && n - at < 3 && ((unsigned char)text.ptr[at] & 0xc0) == 0x80)
        at--;
    /* Continuation bytes that belong to nothing are cut where asked. */
    return mg_view_head(text, ((unsigned char)text.ptr[at] & 0xc0) == 0x80 || at + step(mg_view_of(text.ptr + at, text.len - at)) <= n
                                  ? n
                                  : at);
}
