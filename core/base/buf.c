#include "base/buf.h"

#include <stdio.h>

#include "base/mem.h"

enum { FIRST_CAP = 256 };

void mg_buf_init(struct mg_buf *buf, size_t max)
{
    *buf = (struct mg_buf){.max = max};
}

void mg_buf_fini(struct mg_buf *buf)
{
    if (buf->wiped && buf->ptr)
        mg_wipe(buf->ptr, buf->cap);
    mg_free(buf->ptr);
    *buf = (struct mg_buf){.max = buf->max, .wiped = buf->wiped};
}

void mg_buf_clear(struct mg_buf *buf)
{
    buf->start = 0;
    buf->len = 0;
}

void mg_buf_shrink(struct mg_buf *buf, size_t keep)
{
    if (buf->cap > keep)
        mg_buf_fini(buf);
    else
        mg_buf_clear(buf);
}

static void shift(struct mg_buf *buf)
{
    if (buf->start == 0)
        return;
    memmove(buf->ptr, buf->ptr + buf->start, buf->len);
    buf->start = 0;
}

static char *resize(struct mg_buf *buf, size_t cap)
{
    if (!buf->wiped || !buf->ptr)
        return mg_try_realloc(buf->ptr, cap);
    char *moved = mg_try_realloc(NULL, cap);
    if (!moved)
        return NULL;
    memcpy(moved, buf->ptr, buf->start + buf->len);
    mg_wipe(buf->ptr, buf->cap);
    mg_free(buf->ptr);
    return moved;
}

mg_err mg_buf_grow(struct mg_buf *buf, size_t n)
{
    if (n > buf->max || buf->len > buf->max - n)
        return MG_E_TOO_LARGE;
    if (buf->cap - buf->start >= buf->len + n)
        return MG_OK;
    shift(buf);
    if (buf->cap >= buf->len + n)
        return MG_OK;

    size_t want = MG_MAX(buf->len + n, buf->cap * 2);
    want = MG_MAX(MG_MIN(want, buf->max + 1), FIRST_CAP);
    char *grown = resize(buf, want);
    if (!grown)
        return MG_E_MEMORY;
    buf->ptr = grown;
    buf->cap = want;
    return MG_OK;
}

mg_err mg_buf_putc(struct mg_buf *buf, char c)
{
    return mg_buf_put(buf, mg_view_of(&c, 1));
}

mg_err mg_buf_putf(struct mg_buf *buf, const char *fmt, ...)
{
    char small[512];
    va_list args, again;
    va_start(args, fmt);
    va_copy(again, args);
    int n = vsnprintf(small, sizeof small, fmt, args);
    va_end(args);

    mg_err err = MG_OK;
    if (n < (int)sizeof small) {
        err = mg_buf_put(buf, mg_view_of(small, (size_t)n));
    } else if ((err = mg_buf_reserve(buf, (size_t)n + 1)) == MG_OK) {
        vsnprintf(mg_buf_tail(buf), (size_t)n + 1, fmt, again);
        buf->len += (size_t)n;
    }
    va_end(again);
    return err;
}

void mg_buf_consume(struct mg_buf *buf, size_t n)
{
    if (n >= buf->len) {
        mg_buf_clear(buf);
        return;
    }
    buf->start += n;
    buf->len -= n;
}

const char *mg_buf_cstr(struct mg_buf *buf)
{
    if (buf->len == 0)
        return "";
    if (buf->start + buf->len == buf->cap) {
        shift(buf);
        if (buf->len == buf->cap)
            buf->ptr = mg_realloc(buf->ptr, ++buf->cap);
    }
    buf->ptr[buf->start + buf->len] = '\0';
    return buf->ptr + buf->start;
}

static mg_err put_escaped(struct mg_buf *buf, unsigned char c)
{
    switch (c) {
    case '"': return mg_buf_put(buf, MG_VIEW("\\\""));
    case '\\': return mg_buf_put(buf, MG_VIEW("\\\\"));
    case '\n': return mg_buf_put(buf, MG_VIEW("\\n"));
    case '\r': return mg_buf_put(buf, MG_VIEW("\\r"));
    case '\t': return mg_buf_put(buf, MG_VIEW("\\t"));
    default: return mg_buf_putf(buf, "\\u%04x", c);
    }
}

static bool plain(unsigned char c)
{
    return c >= 0x20 && c != '"' && c != '\\';
}

/* Is there a byte in the word that needs an escape? Bytes from 0x80 on may seem to: then they are looked at one by one. */
static bool may_need_escape(uint64_t word)
{
    const uint64_t ones = UINT64_C(0x0101010101010101), highs = ones * 0x80;
    uint64_t quote = word ^ ones * '"', backslash = word ^ ones * '\\';
    return ((word - ones * 0x20) | (quote - ones) | (backslash - ones)) & highs;
}

static size_t plain_run(mg_view text)
{
    size_t n = 0;
    for (uint64_t word; n + sizeof word <= text.len; n += sizeof word) {
        memcpy(&word, text.ptr + n, sizeof word);
        if (may_need_escape(word))
            break;
    }
    while (n < text.len && plain((unsigned char)text.ptr[n]))
        n++;
    return n;
}

static mg_err put_valid_json(struct mg_buf *buf, mg_view text)
{
    while (text.len > 0) {
        size_t n = plain_run(text);
        MG_TRY(mg_buf_put(buf, mg_view_head(text, n)));
        if (n < text.len)
            MG_TRY(put_escaped(buf, (unsigned char)text.ptr[n++]));
        text = mg_view_skip(text, n);
    }
    return MG_OK;
}

mg_err mg_buf_put_json(struct mg_buf *buf, mg_view text)
{
    size_t bad = 0;
    while (!mg_view_utf8(text, &bad)) {
        MG_TRY(put_valid_json(buf, mg_view_head(text, bad)));
        MG_TRY(mg_buf_put(buf, MG_VIEW("\\ufffd")));
        text = mg_view_skip(text, bad + 1);
    }
    return put_valid_json(buf, text);
}
