/* json_name.h - a key made ready to be compared with many; private to core/http.
 *
 * A tag of eight bytes tells nearly all keys apart before their bytes are looked at: short keys
 * are their own tag, longer ones mix both ends, and very long ones, whose comparison would be
 * dear, are hashed so that nobody can make them collide. */
#ifndef MG_HTTP_JSON_NAME_H
#define MG_HTTP_JSON_NAME_H

#include "base/map.h"

enum { MG_JSON_LONG_NAME = 64 };

struct mg_json_name {
    mg_view text;            /* unescaped; borrowed */
    uint64_t tag;
};

/* The first `len` bytes, at most eight, as a little-endian number. `readable` bytes may be read. */
static inline uint64_t mg_json_name_word(const char *at, size_t len, size_t readable)
{
    uint64_t word = 0;
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    if (readable >= 8 && len > 0) {
        memcpy(&word, at, sizeof word);
        return word & ~UINT64_C(0) >> (64 - 8 * len);
    }
#endif
    for (size_t i = 0; i < len; i++)
        word |= (uint64_t)(unsigned char)at[i] << (8 * i);
    return word;
}

/* `readable` is the distance from the text's begin to the end of the memory it lies in. */
static inline struct mg_json_name mg_json_name(mg_view text, size_t readable)
{
    if (text.len <= 8)
        return (struct mg_json_name){text, mg_json_name_word(text.ptr, text.len, readable)};
    if (text.len > MG_JSON_LONG_NAME)
        return (struct mg_json_name){text, mg_hash(text)};
    uint64_t front = mg_json_name_word(text.ptr, 8, 8), back = mg_json_name_word(text.ptr + text.len - 8, 8, 8);
    return (struct mg_json_name){text, front * UINT64_C(0x9e3779b97f4a7c15) ^ back};
}

static inline bool mg_json_name_eq(const struct mg_json_name *a, const struct mg_json_name *b)
{
    return a->tag == b->tag && a->text.len == b->text.len &&
           (a->text.len <= 8 || memcmp(a->text.ptr, b->text.ptr, a->text.len) == 0);
}

#endif
