/* A sealed secret opens only where it belongs, and is found wherever somebody repeats it. */
#include "vault/sealed.h"

#include <stdio.h>

#include "base/mem.h"
#include "check.h"

static const unsigned char key_bytes[MG_SEAL_KEY_BYTES] = "thirty-two bytes of a data key..";

static struct mg_seal_place place_of(const char *project, const char *name, uint64_t version)
{
    return (struct mg_seal_place){mg_view_cstr(project), mg_view_cstr(name), version};
}

static mg_err try_open(struct mg_seal_key *key, struct mg_seal_place place, mg_view bytes, mg_view wanted)
{
    struct mg_locked *plain = mg_locked_take();
    mg_err err = mg_unseal(key, &place, bytes, plain);
    if (err == MG_OK)
        CHECK(mg_view_eq(mg_view_of(plain->ptr, plain->len), wanted));
    else
        CHECK(plain->len == 0);
    mg_locked_give(plain);
    return err;
}

TEST(ciphertext_opens_in_its_place_and_in_no_other)
{
    static const struct {
        const char *project, *name;
        uint64_t version;
    } others[] = {{"blue", "openai", 3}, {"red", "openai-2", 3}, {"red", "openai", 2}, {"re", "dopenai", 3},
                  {"redo", "penai", 3},  {"", "redopenai", 3},   {"red", "openai", 0}};
    struct mg_seal_key *key = mg_seal_key_new(key_bytes);
    struct mg_seal_place home = place_of("red", "openai", 3);
    struct mg_buf sealed;
    mg_buf_init(&sealed, 1000);

    CHECK_OK(mg_seal(key, &home, MG_VIEW("sk-one"), &sealed));

    CHECK_OK(try_open(key, home, mg_buf_view(&sealed), MG_VIEW("sk-one")));
    for (size_t i = 0; i < MG_COUNT(others); i++)
        CHECK(try_open(key, place_of(others[i].project, others[i].name, others[i].version), mg_buf_view(&sealed),
                       MG_VIEW("")) == MG_E_DENIED);
    mg_buf_fini(&sealed);
    mg_seal_key_unref(key);
}

TEST(no_altered_or_shortened_ciphertext_opens)
{
    struct mg_seal_key *key = mg_seal_key_new(key_bytes);
    struct mg_seal_place home = place_of("red", "openai", 1);
    struct mg_buf sealed;
    mg_buf_init(&sealed, 1000);
    CHECK_OK(mg_seal(key, &home, MG_VIEW("sk-one"), &sealed));

    for (size_t i = 0; i < sealed.len; i++) {
        CHECK(try_open(key, home, mg_view_head(mg_buf_view(&sealed), i), MG_VIEW("")) == MG_E_DENIED);
        sealed.ptr[i] = (char)(sealed.ptr[i] ^ 0x10);
        CHECK(try_open(key, home, mg_buf_view(&sealed), MG_VIEW("")) == MG_E_DENIED);
        sealed.ptr[i] = (char)(sealed.ptr[i] ^ 0x10);
    }
    mg_buf_fini(&sealed);
    mg_seal_key_unref(key);
}

TEST(another_key_opens_nothing)
{
    struct mg_seal_key *key = mg_seal_key_new(key_bytes);
    struct mg_seal_place home = place_of("red", "openai", 1);
    struct mg_buf sealed;
    mg_buf_init(&sealed, 1000);

    CHECK_OK(mg_seal(key, &home, MG_VIEW("sk-one"), &sealed));

    CHECK(try_open(mg_seal_key_process(), home, mg_buf_view(&sealed), MG_VIEW("")) == MG_E_DENIED);
    mg_buf_fini(&sealed);
    mg_seal_key_unref(key);
}

TEST(the_same_secret_never_looks_the_same)
{
    struct mg_seal_place home = place_of("red", "openai", 1);
    struct mg_buf a, b;
    mg_buf_init(&a, 1000);
    mg_buf_init(&b, 1000);

    CHECK_OK(mg_seal(mg_seal_key_process(), &home, MG_VIEW("sk-one"), &a));
    CHECK_OK(mg_seal(mg_seal_key_process(), &home, MG_VIEW("sk-one"), &b));

    CHECK(!mg_view_eq(mg_buf_view(&a), mg_buf_view(&b)));
    mg_buf_fini(&a);
    mg_buf_fini(&b);
}

static struct mg_sealed *seal_text(const char *text)
{
    struct mg_sealed *sealed;
    struct mg_seal_place home = place_of("red", "openai", 1);
    CHECK_OK(mg_sealed_from(mg_seal_key_process(), &home, mg_view_cstr(text), &sealed));
    return sealed;
}

TEST(stars_stand_over_a_secret_wherever_it_is_repeated)
{
    static const struct {
        const char *text, *wanted;
        bool cut;
    } rows[] = {
        {"no key here", "no key here", true},
        {"sk-proj-1234567", "***************", false},
        {"key sk-proj-1234567 is wrong", "key *************** is wrong", false},
        {"sk-proj-1234567sk-proj-1234567", "******************************", false},
        {"sk-proj-1234568", "sk-proj-1234568", true},
        {"sk-sk-proj-1234567", "sk-***************", true},
        {"sssk-proj-1234567s", "ss***************s", true},
        {"key sk-proj-123", "key ***********", true},
        {"key sk-proj-123", "key sk-proj-123", false},
        {"key sk-proj", "key sk-proj", true},
        {"", "", true},
    };
    struct mg_sealed *secret = seal_text("sk-proj-1234567");
    for (size_t i = 0; i < MG_COUNT(rows); i++) {
        char text[64];
        snprintf(text, sizeof text, "%s", rows[i].text);

        bool found = mg_sealed_hide(secret, text, strlen(text), rows[i].cut);

        CHECK_STR(text, rows[i].wanted);
        CHECK(found == (strcmp(rows[i].text, rows[i].wanted) != 0));
    }
    mg_sealed_unref(secret);
}

TEST(stars_stand_over_a_secret_in_whatever_form_it_is_repeated)
{
    static const struct {
        const char *secret, *text, *wanted;
    } rows[] = {
        {"sk-proj-1234567", "key sk-proj-1234567 is wrong", "key *************** is wrong"},
        {"sk-proj-1234567", "{\"k\":\"c2stcHJvai0xMjM0NTY3\"}", "{\"k\":\"********************\"}"},              /* of it alone */
        {"sk-proj-1234567", "Basic OnNrLXByb2otMTIzNDU2Nw==", "Basic On*******************w=="},                    /* ":" before */
        {"sk-proj-1234567", "dTpzay1wcm9qLTEyMzQ1Njc=", "dTp*******************c="},                                /* "u:" before */
        {"sk-proj-1234567", "QmVhcmVyIHNrLXByb2otMTIzNDU2Nw==", "QmVhcmVyIH*******************w=="},               /* "Bearer " */
        {"sk-proj-1234567", "c2stcHJvai0xMjM0NTY4", "c2stcHJvai0xMjM0NTY4"},
        {"wJalr/XUtn+FEMI=", "wJalr\\/XUtn+FEMI= or wJalr%2FXUtn%2BFEMI%3D", "***************** or **********************"},
        {"wJalr/XUtn+FEMI=", "wJalr/XUtn+FEMI=", "****************"},
        {"say\"this\\now", "say\\\"this\\\\now", "**************"},
    };
    for (size_t i = 0; i < MG_COUNT(rows); i++) {
        char text[96];
        struct mg_sealed *secret = seal_text(rows[i].secret);
        snprintf(text, sizeof text, "%s", rows[i].text);

        bool found = mg_sealed_hide_all_forms(secret, text, strlen(text), false);

        CHECK_STR(text, rows[i].wanted);
        CHECK(found == (strcmp(rows[i].text, rows[i].wanted) != 0));
        mg_sealed_unref(secret);
    }
}

/* Whatever the cuts, at most the first seven bytes are left of a secret that is spelt out, and nothing else is touched. */
static void spell(struct mg_sealed *secret, const char *text, size_t first, size_t second, char out[64])
{
    struct mg_sealed_trail trail = {.count = 0};
    size_t len = strlen(text), ends[] = {first, second, len}, at = 0;
    snprintf(out, 64, "%s", text);
    for (int i = 0; i < 3; at = ends[i++])
        (void)mg_sealed_hide_next(secret, &trail, out + at, ends[i] - at);
}

TEST(a_secret_spelt_out_over_pieces_is_covered_but_for_its_beginning)
{
    static const char *const texts[] = {"is sk-proj-1234567 yours", "sk-proj-1234567", "sk-proj-sk-proj-1234567.",
                                        "sk-proj-1234567sk-proj-1234567", "sk-proj-1234568 no", "sk-proj", ""};
    struct mg_sealed *secret = seal_text("sk-proj-1234567");
    for (size_t t = 0; t < MG_COUNT(texts); t++)
        for (size_t first = 0; first <= strlen(texts[t]); first++)
            for (size_t second = first; second <= strlen(texts[t]); second++) {
                char out[64];
                spell(secret, texts[t], first, second, out);
                CHECK(strstr(out, "-1234567") == NULL && strstr(out, "1234567") == NULL);
                for (size_t i = 0; i < strlen(texts[t]); i++)
                    CHECK(out[i] == texts[t][i] || (out[i] == '*' && strchr("sk-proj1234567", texts[t][i])));
            }
    char out[64];
    spell(secret, "is sk-proj-1234567 yours", 10, 10, out);
    CHECK_STR(out, "is sk-proj******** yours");
    spell(secret, "is sk-proj-1234567 yours", 5, 14, out);
    CHECK_STR(out, "is sk************* yours");
    mg_sealed_unref(secret);
}

TEST(a_secret_spelt_out_byte_by_byte_is_covered_but_for_its_beginning)
{
    char text[] = "is sk-proj-1234567 yours";
    struct mg_sealed *secret = seal_text("sk-proj-1234567");
    struct mg_sealed_trail trail = {.count = 0};
    for (size_t i = 0; i < sizeof text - 1; i++)
        (void)mg_sealed_hide_next(secret, &trail, text + i, 1);
    CHECK_STR(text, "is sk-proj******** yours");
    mg_sealed_unref(secret);
}

TEST(a_secret_too_short_to_tell_from_words_is_left_alone)
{
    char text[] = "test this test";
    struct mg_sealed *secret = seal_text("test");

    CHECK(!mg_sealed_hide(secret, text, sizeof text - 1, true));

    CHECK_STR(text, "test this test");
    mg_sealed_unref(secret);
}

TEST(bytes_of_another_place_make_no_secret)
{
    struct mg_sealed *secret = seal_text("sk-proj-1234567"), *copy = NULL;
    struct mg_seal_place home = place_of("red", "openai", 1), other = place_of("blue", "openai", 1);

    CHECK(mg_sealed_new(mg_seal_key_process(), &other, mg_sealed_bytes(secret), &copy) == MG_E_DENIED);
    CHECK_OK(mg_sealed_new(mg_seal_key_process(), &home, mg_sealed_bytes(secret), &copy));

    char text[] = "sk-proj-1234567";
    CHECK(mg_sealed_hide(copy, text, sizeof text - 1, false));
    mg_sealed_unref(copy);
    mg_sealed_unref(secret);
}

TEST(the_page_of_a_thread_is_empty_when_it_is_given_back)
{
    struct mg_locked *page = mg_locked_take();
    char *ptr = page->ptr;
    CHECK_OK(mg_locked_put(page, MG_VIEW("sk-proj-1234567")));
    mg_locked_give(page);

    page = mg_locked_take();

    CHECK(page->ptr == ptr && page->len == 0);
    for (int i = 0; i < 15; i++)
        CHECK(ptr[i] == 0);
    mg_locked_give(page);
}

MG_TEST_MAIN()
