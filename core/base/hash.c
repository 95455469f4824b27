#include "base/hash.h"

/* Odd constants from the fractional parts of the square roots of 2, 3 and 5. */
static const uint64_t K1 = 0x6a09e667f3bcc909u, K2 = 0xbb67ae8584caa73bu, K3 = 0x3c6ef372fe94f82bu;

static inline uint64_t fold(uint64_t a, uint64_t b)
{
    __uint128_t product = (__uint128_t)a * b;
    return (uint64_t)product ^ (uint64_t)(product >> 64);
}

static inline uint64_t load(const char *at, size_t n)
{
    uint64_t word = 0;
    memcpy(&word, at, n);
    return word;
}

/* Four lanes that do not wait for each other, 64 bytes a step. */
static mg_view fold_blocks(uint64_t lanes[4], mg_view bytes)
{
    const char *at = bytes.ptr;
    size_t left = bytes.len;
    for (; left >= 64; at += 64, left -= 64) {
        lanes[0] = fold(lanes[0] ^ load(at, 8), K2 ^ load(at + 8, 8));
        lanes[1] = fold(lanes[1] ^ load(at + 16, 8), K3 ^ load(at + 24, 8));
        lanes[2] = fold(lanes[2] ^ load(at + 32, 8), K1 ^ load(at + 40, 8));
        lanes[3] = fold(lanes[3] ^ load(at + 48, 8), K2 ^ load(at + 56, 8));
    }
    return mg_view_of(at, left);
}

uint64_t mg_fingerprint(mg_view bytes)
{
    uint64_t lanes[4] = {K1 ^ bytes.len, K2, K3, ~K1};
    mg_view rest = fold_blocks(lanes, bytes);
    uint64_t a = lanes[0] ^ lanes[2], b = lanes[1] ^ lanes[3];
    const char *at = rest.ptr;
    size_t left = rest.len;
    for (; left >= 16; at += 16, left -= 16) {
        a = fold(a ^ load(at, 8), K2);
        b = fold(b ^ load(at + 8, 8), K3);
    }
    if (left >= 8) {
        a = fold(a ^ load(at, 8), K2);
        at += 8;
        left -= 8;
    }
    if (left)
        b = fold(b ^ load(at, left) ^ (uint64_t)left << 56, K3);
    return fold(a ^ K3, b ^ K1);
}
