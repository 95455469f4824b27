#include "base/hash.h"

#include "check.h"

TEST(every_length_and_every_bit_counts)
{
    enum { LENGTHS = 200 };
    static char bytes[LENGTHS + 1];
    static uint64_t seen[LENGTHS];
    memset(bytes, 'a', sizeof bytes);
    for (size_t n = 0; n < LENGTHS; n++) {
        seen[n] = mg_fingerprint(mg_view_of(bytes, n));
        for (size_t m = 0; m < n; m++)
            CHECK(seen[m] != seen[n]);
    }
    uint64_t whole = mg_fingerprint(mg_view_of(bytes, LENGTHS));
    for (size_t bit = 0; bit < LENGTHS * 8; bit++) {
        bytes[bit / 8] ^= (char)(1 << bit % 8);
        CHECK(mg_fingerprint(mg_view_of(bytes, LENGTHS)) != whole);
        bytes[bit / 8] ^= (char)(1 << bit % 8);
    }
}

TEST(equal_bytes_have_equal_fingerprints_wherever_they_stand)
{
    char a[300], b[301];
    for (size_t i = 0; i < sizeof a; i++)
        a[i] = b[i + 1] = (char)(i * 7);

    CHECK(mg_fingerprint(mg_view_of(a, sizeof a)) == mg_fingerprint(mg_view_of(b + 1, sizeof a)));
}

MG_TEST_MAIN()
