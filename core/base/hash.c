#include "base/hash.h"

/* Odd constants from the fractional parts of the square roots of 2, 3 and 5. */
static const uint64_t K1 = 0x6a09e667f3bcc909u, K2 = 0xbb67ae8584caa73bu, K3 = 0x3c6ef372fe94f82bu;

static uint64_t fold(uint64_t a, uint64_t b)
{
    __uint128_t product = (__uint128_t)a * b;
    return (uint64_t)product ^ (uint64_t)(product >> 64);
}

static uint64_t load(const char *at, size_t n)
{
    uint64_t word = 0;
    memcpy(&word, at, n);
    return word;
}

uint64_t mg_fingerprint(mg_view bytes)
{
    uint64_t a = K1 ^ bytes.len, b = K2;
    const char *at = bytes.ptr;
    size_t left = bytes.len;
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
