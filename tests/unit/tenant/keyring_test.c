#include "check.h"
#include "tenant/keyring.h"

#include <pthread.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"

static const struct mg_key_secret secret = {.bytes = {1, 2, 3}};

static struct mg_key issue(const char *project, char *text)
{
    struct mg_key key;
    CHECK_OK(mg_key_issue(&secret, project, "ci", 0, NULL, text, &key));
    return key;
}

TEST(a_new_key_names_its_project_and_is_never_the_same)
{
    char first[MG_KEY_TEXT_BYTES], second[MG_KEY_TEXT_BYTES];

    struct mg_key a = issue("support", first), b = issue("support", second);

    CHECK(strncmp(first, "mg-support-", 11) == 0);
    CHECK_INT(strlen(first), 11 + 43);
    CHECK_INT(strspn(first + 11, "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"), 43);
    CHECK(strcmp(first, second) != 0);
    CHECK(strcmp(a.id, b.id) != 0);
    CHECK(strncmp(a.id, "key_", 4) == 0);
    CHECK_STR(a.project, "support");
    CHECK_STR(a.name, "ci");
    CHECK(strstr((const char *)a.hash, "support") == NULL);
}

TEST(the_digits_of_a_key_use_all_its_random_bits)
{
    int seen[62] = {0};
    const char *alphabet = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    for (int i = 0; i < 400; i++) {
        char text[MG_KEY_TEXT_BYTES];
        (void)issue("p", text);
        for (const char *c = text + 5 + 1; *c; c++)      /* the first digit of 256 bits is small */
            seen[strchr(alphabet, *c) - alphabet]++;
    }
    for (int i = 0; i < 62; i++)
        CHECK(seen[i] > 400 * 42 / 62 / 2);
}

TEST(the_hash_is_keyed_blake2b_of_the_text)
{
    /* hashlib.blake2b(b"Hi There", key=b"\x0b" * 20 + bytes(12), digest_size=32) */
    static const unsigned char want[MG_KEY_HASH_BYTES] = {0x0e, 0xb9, 0xef, 0xc5, 0x3f, 0x28, 0x23, 0x1f, 0xe9, 0x2d, 0xb9,
                                                          0x41, 0x65, 0x07, 0x1a, 0xb6, 0x87, 0xfb, 0x0d, 0xf1, 0x57, 0xb9,
                                                          0x8e, 0x22, 0x68, 0x41, 0x97, 0x62, 0xd5, 0xc5, 0x67, 0xcb};
    struct mg_key_secret rfc = {.bytes = {0}};
    memset(rfc.bytes, 0x0b, 20);
    struct mg_key key = {.id = "key_rfc"};
    memcpy(key.hash, want, sizeof want);
    struct mg_keyring *keyring = NULL;
    CHECK_OK(mg_keyring_new(&rfc, &key, 1, &keyring));

    CHECK(mg_keyring_find(keyring, MG_VIEW("Hi There"), 0, NULL) != NULL);
    CHECK(mg_keyring_find(keyring, MG_VIEW("Hi there"), 0, NULL) == NULL);
    mg_keyring_unref(keyring);
}

TEST(finds_valid_keys_and_says_why_others_are_refused)
{
    char text[4][MG_KEY_TEXT_BYTES];
    struct mg_key keys[3];
    struct mg_keyring *keyring = NULL;
    const char *why = NULL;
    for (int i = 0; i < 3; i++)
        keys[i] = issue(i == 0 ? "a" : "b", text[i]);
    (void)issue("a", text[3]);
    keys[0].metadata = "{\"team\":\"x\"}";
    keys[1].expires_us = 1000;
    keys[2].revoked_us = 1;
    CHECK_OK(mg_keyring_new(&secret, keys, 3, &keyring));
    CHECK_INT(mg_keyring_count(keyring), 3);

    const struct mg_key *found = mg_keyring_find(keyring, mg_view_cstr(text[0]), 5000, &why);
    CHECK(found != NULL);
    CHECK_STR(found->project, "a");
    CHECK_STR(found->metadata, "{\"team\":\"x\"}");
    CHECK(found->metadata != keys[0].metadata);
    CHECK(why == NULL);
    CHECK(mg_keyring_find(keyring, mg_view_cstr(text[1]), 999, &why) != NULL);
    CHECK(mg_keyring_find(keyring, mg_view_cstr(text[1]), 1000, &why) == NULL);
    CHECK_STR(why, "expired");
    CHECK(mg_keyring_find(keyring, mg_view_cstr(text[2]), 0, &why) == NULL);
    CHECK_STR(why, "revoked");
    CHECK(mg_keyring_find(keyring, mg_view_cstr(text[3]), 0, &why) == NULL);
    CHECK_STR(why, "unknown");
    mg_keyring_unref(keyring);
}

TEST(each_change_of_one_byte_is_another_key)
{
    char text[MG_KEY_TEXT_BYTES];
    struct mg_key key = issue("a", text);
    struct mg_keyring *keyring = NULL;
    CHECK_OK(mg_keyring_new(&secret, &key, 1, &keyring));
    for (size_t i = 0; i < strlen(text); i++) {
        text[i] ^= 1;
        CHECK(mg_keyring_find(keyring, mg_view_cstr(text), 0, NULL) == NULL);
        text[i] ^= 1;
        CHECK(mg_keyring_find(keyring, mg_view_of(text, i), 0, NULL) == NULL);
    }
    CHECK(mg_keyring_find(keyring, MG_VIEW_NONE, 0, NULL) == NULL);
    char huge[4096];
    memset(huge, 'x', sizeof huge);
    CHECK(mg_keyring_find(keyring, mg_view_of(huge, sizeof huge), 0, NULL) == NULL);
    mg_keyring_unref(keyring);
}

TEST(thousands_of_keys_are_all_found)
{
    enum { COUNT = 5000 };
    struct mg_key *keys = mg_new_array(struct mg_key, COUNT);
    char (*texts)[MG_KEY_TEXT_BYTES] = mg_alloc_array(MG_KEY_TEXT_BYTES, COUNT);
    struct mg_keyring *keyring = NULL;
    for (int i = 0; i < COUNT; i++)
        keys[i] = issue("p", texts[i]);
    CHECK_OK(mg_keyring_new(&secret, keys, COUNT, &keyring));

    for (int i = 0; i < COUNT; i++) {
        const struct mg_key *found = mg_keyring_find(keyring, mg_view_cstr(texts[i]), 0, NULL);
        CHECK(found != NULL);
        CHECK_STR(found->id, keys[i].id);
    }
    mg_keyring_unref(keyring);
    mg_free(keys);
    mg_free(texts);
}

TEST(keys_of_one_line_of_rotations_have_one_origin)
{
    char texts[4][MG_KEY_TEXT_BYTES];
    struct mg_key keys[4];
    struct mg_keyring *keyring = NULL;
    for (int i = 0; i < 4; i++)
        keys[i] = issue("p", texts[i]);
    for (int i = 1; i < 3; i++) {
        memcpy(keys[i].replaces, keys[i - 1].id, sizeof keys[i].replaces);
        memcpy(keys[i - 1].replaced_by, keys[i].id, sizeof keys[i].replaced_by);
    }
    CHECK_OK(mg_keyring_new(&secret, keys, 4, &keyring));
    for (int i = 0; i < 3; i++)
        CHECK_STR(mg_keyring_find(keyring, mg_view_cstr(texts[i]), 0, NULL)->origin, keys[0].id);
    CHECK_STR(mg_keyring_find(keyring, mg_view_cstr(texts[3]), 0, NULL)->origin, keys[3].id);
    mg_keyring_unref(keyring);

    CHECK_OK(mg_keyring_new(&secret, keys + 1, 3, &keyring));          /* the first one's row is gone: its id still counts */
    for (int i = 1; i < 3; i++)
        CHECK_STR(mg_keyring_find(keyring, mg_view_cstr(texts[i]), 0, NULL)->origin, keys[0].id);
    mg_keyring_unref(keyring);
}

TEST(an_empty_ring_refuses_and_a_ring_past_the_limit_is_refused)
{
    struct mg_keyring *keyring = NULL;
    CHECK_OK(mg_keyring_new(&secret, NULL, 0, &keyring));
    CHECK(mg_keyring_find(keyring, MG_VIEW("mg-a-b"), 0, NULL) == NULL);
    CHECK(mg_keyring_ref(keyring) == keyring);
    mg_keyring_unref(keyring);
    mg_keyring_unref(keyring);
    mg_keyring_unref(NULL);
    CHECK_INT(mg_keyring_new(&secret, NULL, MG_MAX_KEYS + 1, &keyring), MG_E_TOO_LARGE);
}

TEST(names_that_do_not_fit_are_refused)
{
    char text[MG_KEY_TEXT_BYTES], name[100];
    struct mg_key key;
    memset(name, 'n', sizeof name - 1);
    name[sizeof name - 1] = '\0';
    CHECK_INT(mg_key_issue(&secret, name, "", 0, NULL, text, &key), MG_E_TOO_LARGE);
    CHECK_INT(mg_key_issue(&secret, "p", name, 0, NULL, text, &key), MG_E_TOO_LARGE);
    CHECK_INT(mg_key_issue(&secret, "", "", 0, NULL, text, &key), MG_E_TOO_LARGE);
}

/* ---- the secret's file */

static char dir[64];

static void *load_secret(void *arg)
{
    struct mg_diag diag;
    if (mg_key_secret_load(dir, arg, &diag) != MG_OK)
        memset(arg, 0, sizeof(struct mg_key_secret));
    return NULL;
}

TEST(the_secret_is_made_once_even_when_many_ask_at_the_same_time)
{
    enum { THREADS = 8 };
    pthread_t threads[THREADS];
    struct mg_key_secret secrets[THREADS];
    static const struct mg_key_secret zero;
    struct stat st;
    char root[64] = "/tmp/mg_tenant_XXXXXX", path[128];
    CHECK(mkdtemp(root) != NULL);
    snprintf(dir, sizeof dir, "%.40s/deep/data", root);

    for (int i = 0; i < THREADS; i++)
        CHECK_INT(pthread_create(&threads[i], NULL, load_secret, &secrets[i]), 0);
    for (int i = 0; i < THREADS; i++)
        CHECK_INT(pthread_join(threads[i], NULL), 0);

    for (int i = 0; i < THREADS; i++)
        CHECK(memcmp(&secrets[i], &secrets[0], sizeof secrets[0]) == 0);
    CHECK(memcmp(&secrets[0], &zero, sizeof zero) != 0);
    snprintf(path, sizeof path, "%s/key.secret", dir);
    CHECK_INT(stat(path, &st), 0);
    CHECK_INT(st.st_mode & 0777, 0600);
    CHECK_INT(st.st_nlink, 1);

    struct mg_diag diag;
    struct mg_key_secret again;
    chmod(path, 0640);
    CHECK_INT(mg_key_secret_load(dir, &again, &diag), MG_E_DENIED);
    CHECK(strstr(diag.text, "chmod 600") != NULL);
    chmod(path, 0600);
    CHECK_INT(truncate(path, 31), 0);
    CHECK_INT(mg_key_secret_load(dir, &again, &diag), MG_E_CONFIG);
    CHECK(strstr(diag.text, "expected 32 bytes, found 31") != NULL);

    char command[128];
    snprintf(command, sizeof command, "rm -rf %s", root);
    CHECK(system(command) == 0);
}

MG_TEST_MAIN()
