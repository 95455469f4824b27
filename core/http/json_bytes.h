/* json_bytes.h - the two loops that see every byte: runs inside strings and runs inside lines;
 * private to core/http. Each exists twice, for SSE2 and portable; both are tested. */
#ifndef MG_HTTP_JSON_BYTES_H
#define MG_HTTP_JSON_BYTES_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#ifdef __SSE2__
#include <emmintrin.h>
#endif

typedef const unsigned char *mg_bytes;

#define MG_BYTES_ALL(byte) (UINT64_C(0x0101010101010101) * (byte))

/* Not zero when a byte of the word is less than n, which is at most 0x80. */
#define MG_BYTES_BELOW(word, n) (((word) - MG_BYTES_ALL(n)) & ~(word) & MG_BYTES_ALL(0x80))

/* The first byte of [at, end) that is not plain ASCII of a JSON string, or end: a quote, a
 * backslash, a control byte or one from 0x80 on. */
static inline mg_bytes mg_skip_plain_portable(mg_bytes at, mg_bytes end)
{
    for (uint64_t word; end - at >= 8; at += 8) {
        memcpy(&word, at, sizeof word);
        if ((word & MG_BYTES_ALL(0x80)) | MG_BYTES_BELOW(word, 0x20) |
            MG_BYTES_BELOW(word ^ MG_BYTES_ALL('"'), 1) | MG_BYTES_BELOW(word ^ MG_BYTES_ALL('\\'), 1))
            break;
    }
    while (at < end && *at >= 0x20 && *at < 0x80 && *at != '"' && *at != '\\')
        at++;
    return at;
}

/* The first CR or LF of [at, end), or end. */
static inline mg_bytes mg_skip_line_portable(mg_bytes at, mg_bytes end)
{
    for (uint64_t word; end - at >= 8; at += 8) {
        memcpy(&word, at, sizeof word);
        if (MG_BYTES_BELOW(word ^ MG_BYTES_ALL('\n'), 1) | MG_BYTES_BELOW(word ^ MG_BYTES_ALL('\r'), 1))
            break;
    }
    while (at < end && *at != '\n' && *at != '\r')
        at++;
    return at;
}

#ifdef __SSE2__

/* The bytes of a block that are not plain. With its bit 1 turned over, the quote stands right above the control bytes;
 * signed, those from 0x80 on are below them. */
static inline __m128i mg_odd_bytes(mg_bytes at)
{
    __m128i block = _mm_loadu_si128((const __m128i *)(const void *)at);
    __m128i below = _mm_cmplt_epi8(_mm_xor_si128(block, _mm_set1_epi8('"' ^ ' ')), _mm_set1_epi8(' ' + 1));
    return _mm_or_si128(below, _mm_cmpeq_epi8(block, _mm_set1_epi8('\\')));
}

static inline mg_bytes mg_skip_plain(mg_bytes at, mg_bytes end)
{
    while (end - at >= 16) {
        int mask = _mm_movemask_epi8(mg_odd_bytes(at));
        if (mask)
            return at + __builtin_ctz((unsigned)mask);
        at += 16;
        while (end - at >= 32 && !_mm_movemask_epi8(_mm_or_si128(mg_odd_bytes(at), mg_odd_bytes(at + 16))))
            at += 32;
    }
    return mg_skip_plain_portable(at, end);
}

static inline mg_bytes mg_skip_line(mg_bytes at, mg_bytes end)
{
    const __m128i lf = _mm_set1_epi8('\n'), cr = _mm_set1_epi8('\r');
    for (; end - at >= 16; at += 16) {
        __m128i block = _mm_loadu_si128((const __m128i *)(const void *)at);
        int mask = _mm_movemask_epi8(_mm_or_si128(_mm_cmpeq_epi8(block, lf), _mm_cmpeq_epi8(block, cr)));
        if (mask)
            return at + __builtin_ctz((unsigned)mask);
    }
    return mg_skip_line_portable(at, end);
}

#else

static inline mg_bytes mg_skip_plain(mg_bytes at, mg_bytes end)
{
    return mg_skip_plain_portable(at, end);
}

static inline mg_bytes mg_skip_line(mg_bytes at, mg_bytes end)
{
    return mg_skip_line_portable(at, end);
}

#endif

/* The quote that closes a valid string whose inside begins at `at`, or end. */
static inline mg_bytes mg_skip_to_quote(mg_bytes at, mg_bytes end)
{
    for (;;) {
#ifdef __SSE2__
        const __m128i quote = _mm_set1_epi8('"'), backslash = _mm_set1_epi8('\\');
        for (; end - at >= 16; at += 16) {
            __m128i block = _mm_loadu_si128((const __m128i *)(const void *)at);
            if (_mm_movemask_epi8(_mm_or_si128(_mm_cmpeq_epi8(block, quote), _mm_cmpeq_epi8(block, backslash))))
                break;
        }
#endif
        while (at < end && *at != '"' && *at != '\\')
            at++;
        if (end - at < 2)
            return at < end && *at == '"' ? at : end;
        if (*at == '"')
            return at;
        at += 2;
    }
}

/* Length of the valid UTF-8 sequence of two to four bytes at `at`, 0 when there is none. */
static inline size_t mg_utf8_sequence_portable(mg_bytes at, mg_bytes end)
{
    size_t left = (size_t)(end - at);
    unsigned char lead = at[0], low = 0x80, high = 0xbf;
    if (left < 2 || lead < 0xc2 || lead > 0xf4)
        return 0;
    if (lead < 0xe0)
        return (at[1] & 0xc0) == 0x80 ? 2 : 0;
    if (lead < 0xf0) {       /* shuts out overlong forms and surrogates */
        low = lead == 0xe0 ? 0xa0 : low;
        high = lead == 0xed ? 0x9f : high;
    } else {                 /* overlong forms and what is above U+10FFFF */
        low = lead == 0xf0 ? 0x90 : low;
        high = lead == 0xf4 ? 0x8f : high;
    }
    size_t len = lead < 0xf0 ? 3 : 4;
    if (left < len || at[1] < low || at[1] > high || (at[2] & 0xc0) != 0x80)
        return 0;
    return len == 3 || (at[3] & 0xc0) == 0x80 ? len : 0;
}

/* The same, by masks over a word where bytes stand in it in their order. */
static inline size_t mg_utf8_sequence(mg_bytes at, mg_bytes end)
{
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    uint32_t word;
    if (end - at >= 4) {
        memcpy(&word, at, sizeof word);
        if ((word & 0x00c0c0f0) == 0x008080e0)   /* neither E0 80..9F nor ED A0..BF */
            return (word & 0x200f) != 0 && (word & 0x200f) != 0x200d ? 3 : 0;
        if ((word & 0x0000c0e0) == 0x000080c0)   /* neither C0 nor C1 */
            return (word & 0x1e) != 0 ? 2 : 0;
    }
#endif
    return mg_utf8_sequence_portable(at, end);
}

#endif
