#include "base/view.h"

/* Eight bytes, 'A' to 'Z' made small: bit 7 of `upper` is set for exactly those. */
static uint64_t folded(uint64_t word)
{
    const uint64_t ones = UINT64_C(0x0101010101010101), high = 0x80 * ones;
    uint64_t low = word & ~high;
    uint64_t upper = (low + (0x80 - 'A') * ones) & ~(low + (0x7f - 'Z') * ones) & ~word & high;
    return word | upper >> 2;
}

static const uint64_t SMALL = UINT64_C(0x2020202020202020);        /* the bit that makes a small letter */

/* All of up to seven bytes, some of them twice. */
static uint64_t load(const char *at, size_t len)
{
    uint32_t first = 0, last = 0;
    if (len >= 4) {
        memcpy(&first, at, 4);
        memcpy(&last, at + len - 4, 4);
    } else if (len > 0) {
        first = (uint32_t)((unsigned char)at[0] | (unsigned char)at[len / 2] << 8);
        last = (unsigned char)at[len - 1];
    }
    return (uint64_t)first << 32 | last;
}

static uint64_t load_word(const char *at)
{
    uint64_t word;
    memcpy(&word, at, sizeof word);
    return word;
}

/* Most words are the same in every bit, or differ in more than the size of letters. */
static inline bool same(uint64_t a, uint64_t b)
{
    uint64_t differ = a ^ b;
    return !differ || (!(differ & ~SMALL) && folded(a) == folded(b));
}

bool mg_view_ieq(mg_view a, mg_view b)
{
    size_t at = 0;
    if (a.len != b.len)
        return false;
    for (; a.len - at >= 8; at += 8)
        if (!same(load_word(a.ptr + at), load_word(b.ptr + at)))
            return false;
    if (at == a.len)
        return true;
    if (at > 0)              /* the last eight, some of which were compared before */
        return same(load_word(a.ptr + a.len - 8), load_word(b.ptr + a.len - 8));
    return same(load(a.ptr, a.len), load(b.ptr, a.len));
}

size_t mg_view_find(mg_view v, const char *set)
{
    for (size_t i = 0; i < v.len; i++)
        for (const char *s = set; *s; s++)
            if (v.ptr[i] == *s)
                return i;
    return v.len;
}

size_t mg_view_search(mg_view v, mg_view needle)
{
    if (needle.len == 0)
        return 0;
    if (needle.len > v.len)
        return v.len;
    const char *hit = memmem(v.ptr, v.len, needle.ptr, needle.len);
    return hit ? (size_t)(hit - v.ptr) : v.len;
}

mg_view mg_view_trim(mg_view v)
{
    while (v.len > 0 && (v.ptr[0] == ' ' || v.ptr[0] == '\t'))
        v = mg_view_skip(v, 1);
    while (v.len > 0 && (v.ptr[v.len - 1] == ' ' || v.ptr[v.len - 1] == '\t'))
        v.len--;
    return v;
}

mg_view mg_view_cut(mg_view *rest, char separator)
{
    const char *hit = rest->len ? memchr(rest->ptr, separator, rest->len) : NULL;
    if (!hit) {
        mg_view all = *rest;
        *rest = MG_VIEW_NONE;
        return all;
    }
    mg_view head = mg_view_head(*rest, (size_t)(hit - rest->ptr));
    *rest = mg_view_skip(*rest, head.len + 1);
    return head;
}

bool mg_view_u64(mg_view v, uint64_t *out_value)
{
    uint64_t value = 0;
    if (v.len == 0)
        return false;
    for (size_t i = 0; i < v.len; i++) {
        if (v.ptr[i] < '0' || v.ptr[i] > '9')
            return false;
        uint64_t digit = (uint64_t)(v.ptr[i] - '0');
        if (value > (UINT64_MAX - digit) / 10)
            return false;
        value = value * 10 + digit;
    }
    *out_value = value;
    return true;
}

bool mg_view_glob(mg_view pattern, mg_view v)
{
    size_t p = 0, s = 0, star = SIZE_MAX, mark = 0;
    while (s < v.len) {
        if (p < pattern.len && pattern.ptr[p] == '*') {
            star = p++;
            mark = s;
        } else if (p < pattern.len && pattern.ptr[p] == v.ptr[s]) {
            p++;
            s++;
        } else if (star != SIZE_MAX) {
            p = star + 1;
            s = ++mark;
        } else {
            return false;
        }
    }
    while (p < pattern.len && pattern.ptr[p] == '*')
        p++;
    return p == pattern.len;
}

bool mg_view_eq_ct(mg_view a, mg_view b)
{
    if (a.len != b.len)
        return false;
    volatile unsigned char diff = 0;
    for (size_t i = 0; i < a.len; i++)
        diff = (unsigned char)(diff | (a.ptr[i] ^ b.ptr[i]));
    return diff == 0;
}

/* Length of the sequence that `lead` opens, 0 when it cannot open one. */
static size_t utf8_length(unsigned char lead)
{
    if (lead < 0x80)
        return 1;
    if (lead >= 0xc2 && lead <= 0xdf)
        return 2;
    if (lead >= 0xe0 && lead <= 0xef)
        return 3;
    return lead >= 0xf0 && lead <= 0xf4 ? 4 : 0;
}

size_t mg_view_utf8_floor(mg_view v)
{
    for (size_t back = 1; back <= 3 && back <= v.len; back++) {
        unsigned char c = (unsigned char)v.ptr[v.len - back];
        if ((c & 0xc0) == 0x80)
            continue;
        return utf8_length(c) > back ? v.len - back : v.len;
    }
    return v.len;
}

/* The second byte carries the bounds that shut out overlong forms, surrogates and > U+10FFFF. */
static bool utf8_second_ok(unsigned char lead, unsigned char second)
{
    unsigned char low = lead == 0xe0 ? 0xa0 : lead == 0xf0 ? 0x90 : 0x80;
    unsigned char high = lead == 0xed ? 0x9f : lead == 0xf4 ? 0x8f : 0xbf;
    return second >= low && second <= high;
}

static bool utf8_sequence_ok(const unsigned char *s, size_t length)
{
    if (length > 1 && !utf8_second_ok(s[0], s[1]))
        return false;
    for (size_t i = 2; i < length; i++)
        if ((s[i] & 0xc0) != 0x80)
            return false;
    return true;
}

bool mg_view_utf8(mg_view v, size_t *out_bad)
{
    const unsigned char *s = (const unsigned char *)v.ptr;
    for (size_t i = 0; i < v.len;) {
        uint64_t word;
        if (v.len - i >= sizeof word && (memcpy(&word, s + i, sizeof word), !(word & UINT64_C(0x8080808080808080)))) {
            i += sizeof word;
            continue;                  /* eight ASCII bytes */
        }
        size_t length = utf8_length(s[i]);
        if (length == 0 || length > v.len - i || !utf8_sequence_ok(s + i, length)) {
            if (out_bad)
                *out_bad = i;
            return false;
        }
        i += length;
    }
    return true;
}

bool mg_view_has_controls(mg_view v)
{
    for (size_t i = 0; i < v.len; i++) {
        unsigned char c = (unsigned char)v.ptr[i], next = i + 1 < v.len ? (unsigned char)v.ptr[i + 1] : 0;
        if (c < 0x20 || c == 0x7f || (c == 0xc2 && next >= 0x80 && next < 0xa0))
            return true;
    }
    return false;
}
