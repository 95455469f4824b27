/* Keys of an identity provider as the gateway keeps them: read in the background, kept while it is down, not for ever. */
#include "gateway/signin.h"

#include <psa/crypto.h>
#include <pthread.h>
#include <sodium.h>
#include <stdatomic.h>
#include <stdio.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "check.h"
#include "http/service.h"

enum { PATIENCE_MS = 10000, HOUR_S = 3600 };

static struct world {
    struct mg_loop loop;               /* of the provider, on a thread of its own */
    struct mg_service service;
    pthread_t thread;
    char issuer[64], document[256], keys[512];
    atomic_bool down;
    atomic_int asked;                  /* for keys */
    psa_key_id_t key;
    struct mg_config_oidc config;
    struct mg_signin *signin;
} w;

static const char *const audiences[] = {"moongate"};
static const struct mg_config_role roles[] = {{"sub", "ann", "owner", NULL}};

static void put64(char *out, size_t size, const void *bytes, size_t len)
{
    CHECK(sodium_bin2base64(out, size, bytes, len, sodium_base64_VARIANT_URLSAFE_NO_PADDING) != NULL);
}

static void on_call(void *arg, struct mg_service_call *call)
{
    bool keys = mg_view_eq(call->request->path, MG_VIEW("/keys"));
    w.asked += keys;
    mg_service_answer(call, w.down ? 500 : 200, MG_VIEW_NONE, mg_view_cstr(keys ? w.keys : w.document));
}

static void *serve(void *arg)
{
    mg_loop_run(&w.loop);
    return NULL;
}

static void on_stopped(void *arg)
{
    mg_loop_stop(&w.loop);
}

static void stop_service(struct mg_post *post)
{
    mg_service_stop(&w.service, on_stopped, NULL);
}

static void make_key(void)
{
    psa_key_attributes_t attributes = PSA_KEY_ATTRIBUTES_INIT;
    unsigned char point[65];
    char x[64], y[64];
    size_t len;
    CHECK_INT(psa_crypto_init(), PSA_SUCCESS);
    psa_set_key_usage_flags(&attributes, PSA_KEY_USAGE_SIGN_MESSAGE);
    psa_set_key_algorithm(&attributes, PSA_ALG_ECDSA(PSA_ALG_SHA_256));
    psa_set_key_type(&attributes, PSA_KEY_TYPE_ECC_KEY_PAIR(PSA_ECC_FAMILY_SECP_R1));
    psa_set_key_bits(&attributes, 256);
    CHECK_INT(psa_generate_key(&attributes, &w.key), PSA_SUCCESS);
    CHECK_INT(psa_export_public_key(w.key, point, sizeof point, &len), PSA_SUCCESS);
    put64(x, sizeof x, point + 1, 32);
    put64(y, sizeof y, point + 33, 32);
    snprintf(w.keys, sizeof w.keys, "{\"keys\":[{\"kty\":\"EC\",\"crv\":\"P-256\",\"kid\":\"k\",\"x\":\"%s\",\"y\":\"%s\"}]}", x, y);
}

static void begin(void)
{
    const struct mg_service_options options = {.listen = {.host = "127.0.0.1"}, .body_bytes = 1024, .connections = 16, .fn = on_call};
    struct mg_diag diag = {.line = 0};
    memset(&w, 0, sizeof w);
    make_key();
    mg_loop_init(&w.loop);
    CHECK_OK(mg_service_start(&w.service, &w.loop, &options, &diag));
    snprintf(w.issuer, sizeof w.issuer, "http://127.0.0.1:%d", mg_listen_port(&w.service.listener));
    snprintf(w.document, sizeof w.document, "{\"issuer\":\"%s\",\"jwks_uri\":\"%s/keys\"}", w.issuer, w.issuer);
    w.config = (struct mg_config_oidc){.issuer = w.issuer, .client_id = "moongate", .audiences = audiences, .audience_count = 1, .scopes = "openid",
                                       .name = "sub", .roles = roles, .role_count = 1};
    CHECK_INT(pthread_create(&w.thread, NULL, serve, NULL), 0);
    CHECK_OK(mg_signin_start(&w.config, &w.signin, &diag));
}

static void end(void)
{
    struct mg_post post = {.run = stop_service};
    mg_signin_stop(w.signin);
    mg_loop_post(&w.loop, &post);
    pthread_join(w.thread, NULL);
    mg_loop_fini(&w.loop);
    (void)psa_destroy_key(w.key);
    mg_clock_fake(0);
}

static struct mg_signin_status status(void)
{
    struct mg_signin_status now;
    mg_signin_status(w.signin, &now);
    return now;
}

/* Until its thread has read them, well or badly, so many times more. */
static void wait_for(uint64_t failures, size_t keys)
{
    for (int i = 0; i < PATIENCE_MS; i++) {
        struct mg_signin_status now = status();
        if (now.failures == failures && now.keys == keys)
            return;
        usleep(1000);                  /* another thread's work; the clock may be a fake */
    }
    check_failed(__FILE__, __LINE__, "failures %llu, keys %zu", (unsigned long long)status().failures, status().keys);
}

/* What a token signed just now by the key of that name comes to. */
static mg_err identify(const char *kid, const char **out_why)
{
    char head[128], claims[256], part[512], text[2048];
    unsigned char signature[64];
    size_t len;
    struct mg_identity *identity = mg_new(struct mg_identity);
    snprintf(head, sizeof head, "{\"alg\":\"ES256\",\"kid\":\"%s\"}", kid);
    snprintf(claims, sizeof claims, "{\"iss\":\"%s\",\"aud\":\"moongate\",\"sub\":\"ann\",\"exp\":%llu}", w.issuer,
             (unsigned long long)(mg_wall_us() / 1000000 + 600));
    put64(part, sizeof part, head, strlen(head));
    size_t at = (size_t)snprintf(text, sizeof text, "%s.", part);
    put64(part, sizeof part, claims, strlen(claims));
    at += (size_t)snprintf(text + at, sizeof text - at, "%s", part);
    CHECK_INT(psa_sign_message(w.key, PSA_ALG_ECDSA(PSA_ALG_SHA_256), (const unsigned char *)text, at, signature, sizeof signature, &len),
              PSA_SUCCESS);
    put64(part, sizeof part, signature, len);
    snprintf(text + at, sizeof text - at, ".%s", part);
    CHECK(mg_signin_takes(w.signin, mg_view_cstr(text)));
    mg_err err = mg_signin_identify(w.signin, mg_view_cstr(text), identity, out_why);
    CHECK(err != MG_OK || (!strcmp(identity->name, "oidc:ann") && identity->grant_count == 1));
    mg_free(identity);
    return err;
}

TEST(without_a_provider_there_is_nobody_to_ask)
{
    const struct mg_config_oidc none = {.issuer = NULL};
    struct mg_signin *signin = (void *)&w;
    struct mg_signin_status now = {.keys = 7};
    CHECK_OK(mg_signin_start(&none, &signin, NULL));
    CHECK(signin == NULL && !mg_signin_takes(signin, MG_VIEW("a.b.c")));
    mg_signin_status(signin, &now);
    CHECK_INT(now.keys, 0);
    mg_signin_stop(signin);
}

TEST(keys_are_read_at_start_and_tokens_checked_with_them)
{
    const char *why = "";
    begin();
    wait_for(0, 1);
    CHECK_OK(identify("k", &why));
    CHECK_INT(status().accepted, 1);
    CHECK(status().read_us > 0);
    CHECK(!mg_signin_takes(w.signin, MG_VIEW("mga-x")));
    end();
}

TEST(keys_hold_for_a_day_without_the_provider_and_no_longer)
{
    const char *why = "";
    begin();
    wait_for(0, 1);
    uint64_t read_us = mg_mono_us();
    w.down = true;

    mg_clock_fake(read_us + 23 * HOUR_S * UINT64_C(1000000));
    CHECK_OK(identify("k", &why));
    mg_clock_fake(read_us + 25 * HOUR_S * UINT64_C(1000000));
    CHECK_INT(identify("k", &why), MG_E_AGAIN);
    CHECK_STR(why, "the provider's keys could not be read");
    wait_for(1, 0);
    CHECK(strstr(status().error, "500") != NULL);

    w.down = false;
    mg_clock_fake(read_us + 25 * HOUR_S * UINT64_C(1000000) + 6000000);
    CHECK_INT(identify("k", &why), MG_E_AGAIN);      /* and that made it ask again */
    wait_for(1, 1);
    CHECK_OK(identify("k", &why));
    CHECK_STR(status().error, "");
    end();
}

TEST(an_unknown_key_makes_it_ask_once_in_a_while)
{
    const char *why = "";
    begin();
    wait_for(0, 1);
    CHECK_INT(w.asked, 1);
    CHECK_INT(identify("new", &why), MG_E_DENIED);   /* it has just asked */
    CHECK_STR(why, "the provider has no key of that name");

    mg_clock_fake(mg_mono_us() + 6000000);
    CHECK_INT(identify("new", &why), MG_E_AGAIN);
    for (int i = 0; i < PATIENCE_MS && w.asked < 2; i++)
        usleep(1000);
    CHECK_INT(w.asked, 2);
    wait_for(0, 1);
    for (int i = 0; i < 10; i++)
        CHECK(identify("new", &why) != MG_OK);
    CHECK_OK(identify("k", &why));
    CHECK_INT(w.asked, 2);
    end();
}

MG_TEST_MAIN()
