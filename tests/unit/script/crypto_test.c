#include "script/crypto.h"

#include "base/mem.h"
#include "check.h"

static struct mg_buf out;

/* Empties and uses one buffer; the view lives until the next call. */
static mg_view hex(const uint8_t *bytes, size_t len)
{
    mg_buf_init(&out, 4096);
    CHECK_OK(mg_crypto_hex(mg_view_of((const char *)bytes, len), &out));
    return mg_buf_view(&out);
}

TEST(digests_match_published_vectors)
{
    static const struct {
        const char *algorithm, *data, *hex;
    } rows[] = {
        {"sha256", "abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"},
        {"sha256", "", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},
        {"sha384", "abc", "cb00753f45a35e8bb5a03d699ac65007272c32ab0eded1631a8b605a43ff5bed8086072ba1e7cc2358baeca134c825a7"},
    };
    uint8_t digest[MG_DIGEST_BYTES];
    size_t len;

    for (size_t i = 0; i < MG_COUNT(rows); i++) {
        CHECK_OK(mg_crypto_digest(mg_view_cstr(rows[i].algorithm), mg_view_cstr(rows[i].data), NULL, digest, &len));
        CHECK_VIEW(hex(digest, len), mg_view_cstr(rows[i].hex));
        mg_buf_fini(&out);
    }
    CHECK_INT(mg_crypto_digest(MG_VIEW("md5"), MG_VIEW("x"), NULL, digest, &len), MG_E_NOT_FOUND);
}

TEST(long_data_is_hashed_in_steps_that_can_be_stopped)
{
    static char data[1000000];
    uint8_t digest[MG_DIGEST_BYTES];
    atomic_int stop = 0;
    size_t len;
    memset(data, 'a', sizeof data);

    CHECK_OK(mg_crypto_digest(MG_VIEW("sha256"), mg_view_of(data, sizeof data), &stop, digest, &len));
    CHECK_VIEW(hex(digest, len), MG_VIEW("cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0"));
    mg_buf_fini(&out);
    stop = 1;
    CHECK_INT(mg_crypto_digest(MG_VIEW("sha256"), mg_view_of(data, sizeof data), &stop, digest, &len), MG_E_TIMEOUT);
}

TEST(hmac_matches_rfc_4231)
{
    uint8_t digest[MG_DIGEST_BYTES];
    size_t len;

    CHECK_OK(mg_crypto_hmac(MG_VIEW("sha256"), MG_VIEW("Jefe"), MG_VIEW("what do ya want for nothing?"), NULL, digest, &len));
    CHECK_VIEW(hex(digest, len), MG_VIEW("5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"));
    mg_buf_fini(&out);
    CHECK_INT(mg_crypto_hmac(MG_VIEW("sha1"), MG_VIEW("k"), MG_VIEW("x"), NULL, digest, &len), MG_E_NOT_FOUND);
}

TEST(ed25519_matches_rfc_8032)
{
    struct mg_buf key, signature;
    CHECK_OK(mg_crypto_init());
    mg_buf_init(&key, 64);
    mg_buf_init(&signature, 128);
    CHECK_OK(mg_crypto_unhex(MG_VIEW("3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c"), &key));
    CHECK_OK(mg_crypto_unhex(MG_VIEW("92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da"
                                     "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"), &signature));
    mg_view k = mg_buf_view(&key), s = mg_buf_view(&signature);

    CHECK(mg_crypto_ed25519_verify(k, MG_VIEW("\x72"), s));
    CHECK(!mg_crypto_ed25519_verify(k, MG_VIEW("\x73"), s));
    CHECK(!mg_crypto_ed25519_verify(k, MG_VIEW("\x72"), mg_view_head(s, 63)));
    CHECK(!mg_crypto_ed25519_verify(mg_view_head(k, 31), MG_VIEW("\x72"), s));
    mg_buf_fini(&key);
    mg_buf_fini(&signature);
}

TEST(uuids_are_of_version_4_and_differ)
{
    char a[MG_UUID_BYTES], b[MG_UUID_BYTES];
    CHECK_OK(mg_crypto_init());

    mg_crypto_uuid(a);
    mg_crypto_uuid(b);

    CHECK_INT(strlen(a), 36);
    CHECK(a[14] == '4' && strchr("89ab", a[19]) && a[8] == '-' && a[23] == '-');
    CHECK(strcmp(a, b) != 0);
}

TEST(base64_goes_there_and_back_in_both_alphabets)
{
    static const struct {
        const char *data, *plain, *url;
    } rows[] = {{"", "", ""}, {"f", "Zg==", "Zg"}, {"fo", "Zm8=", "Zm8"}, {"foo", "Zm9v", "Zm9v"},
                {"\xfb\xff\xfe", "+//+", "-__-"}};
    struct mg_buf text, back;
    mg_buf_init(&text, 64);
    mg_buf_init(&back, 64);

    for (size_t i = 0; i < MG_COUNT(rows); i++)
        for (int url = 0; url <= 1; url++) {
            mg_buf_clear(&text);
            mg_buf_clear(&back);
            CHECK_OK(mg_crypto_base64(mg_view_cstr(rows[i].data), url, &text));
            CHECK_VIEW(mg_buf_view(&text), mg_view_cstr(url ? rows[i].url : rows[i].plain));
            CHECK_OK(mg_crypto_unbase64(mg_buf_view(&text), url, &back));
            CHECK_VIEW(mg_buf_view(&back), mg_view_cstr(rows[i].data));
        }
    mg_buf_fini(&text);
    mg_buf_fini(&back);
}

TEST(decoders_refuse_what_is_not_of_the_encoding)
{
    static const char *const bad64[] = {"Z", "Zg", "Zg=", "Zg== ", "Z g=", "Zh==", "Zg==Zg==", "-__-", "Zm9v\n", "===="};
    static const char *const bad_hex[] = {"0", "0g", "00 ", "0x00", "00:11"};
    mg_buf_init(&out, 64);

    for (size_t i = 0; i < MG_COUNT(bad64); i++)
        CHECK_INT(mg_crypto_unbase64(mg_view_cstr(bad64[i]), false, &out), MG_E_BAD_REQUEST);
    CHECK_INT(mg_crypto_unbase64(MG_VIEW("Zg=="), true, &out), MG_E_BAD_REQUEST);
    for (size_t i = 0; i < MG_COUNT(bad_hex); i++)
        CHECK_INT(mg_crypto_unhex(mg_view_cstr(bad_hex[i]), &out), MG_E_BAD_REQUEST);
    CHECK_OK(mg_crypto_unhex(MG_VIEW("00fFAa"), &out));
    CHECK_VIEW(mg_buf_view(&out), MG_VIEW("\0\xff\xaa"));
    mg_buf_fini(&out);
}

TEST(what_does_not_fit_is_refused)
{
    struct mg_buf small;
    mg_buf_init(&small, 8);

    CHECK_INT(mg_crypto_base64(MG_VIEW("123456789"), false, &small), MG_E_TOO_LARGE);
    CHECK_INT(mg_crypto_hex(MG_VIEW("12345"), &small), MG_E_TOO_LARGE);
    mg_buf_fini(&small);
}

MG_TEST_MAIN()
