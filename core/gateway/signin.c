#include "gateway/signin.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <time.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "tenant/claims.h"
#include "tenant/issuer.h"

enum { GOOD_S = 3600, FIRST_RETRY_S = 5, LAST_RETRY_S = 300, UNKNOWN_KEY_S = 5, KEPT_S = 86400 };

struct mg_signin {
    const struct mg_config_oidc *config;         /* borrowed */
    pthread_t thread;
    pthread_mutex_t lock;              /* of all below; held for one signature at most */
    pthread_cond_t changed;            /* due_us or stopping */
    atomic_bool stopping;
    struct mg_jwks *keys;              /* owned; NULL: none were read yet */
    uint64_t read_mono_us, read_wall_us;
    uint64_t tried_us;                 /* monotonic; when a reading last began */
    uint64_t due_us;                   /* monotonic; when the next one begins */
    unsigned retry_s;
    bool reading;
    uint64_t accepted, refused, failures;
    char error[768];
};

/* ---- reading the keys ------------------------------------------------------------------------ */

static mg_err fetch(struct mg_signin *signin, struct mg_jwks **out_keys, struct mg_diag *diag)
{
    struct mg_issuer issuer;
    MG_TRY(mg_issuer_discover(signin->config, &signin->stopping, &issuer, diag));
    return mg_issuer_keys(signin->config, &issuer, &signin->stopping, out_keys, diag);
}

static void take(struct mg_signin *signin, struct mg_jwks *keys)
{
    bool news = !signin->keys || *signin->error || mg_jwks_count(keys) != mg_jwks_count(signin->keys);
    mg_jwks_free(signin->keys);
    signin->keys = keys;
    signin->read_mono_us = mg_mono_us();
    signin->read_wall_us = mg_wall_us();
    signin->retry_s = FIRST_RETRY_S;
    signin->due_us = signin->read_mono_us + GOOD_S * UINT64_C(1000000);
    *signin->error = '\0';
    if (news)
        mg_log_info("oidc.keys", "issuer=%s keys=%zu", signin->config->issuer, mg_jwks_count(keys));
}

/* Said once for each reason, not at every retry. */
static void put_off(struct mg_signin *signin, const struct mg_diag *diag)
{
    if (strncmp(signin->error, diag->text, sizeof signin->error - 1) != 0)
        mg_log_warn("oidc.keys_failed", "issuer=%s keys=%zu reason=\"%s\"", signin->config->issuer,
                    signin->keys ? mg_jwks_count(signin->keys) : 0, diag->text);
    snprintf(signin->error, sizeof signin->error, "%s", diag->text);
    signin->failures++;
    signin->due_us = mg_mono_us() + signin->retry_s * UINT64_C(1000000);
    signin->retry_s = MG_MIN(2 * signin->retry_s, (unsigned)LAST_RETRY_S);
}

/* Called with the lock, which it lets go while it waits for the provider. */
static void read_keys(struct mg_signin *signin)
{
    struct mg_jwks *keys = NULL;
    struct mg_diag diag = {.line = 0};
    signin->reading = true;
    signin->tried_us = mg_mono_us();
    pthread_mutex_unlock(&signin->lock);
    mg_err err = fetch(signin, &keys, &diag);
    pthread_mutex_lock(&signin->lock);
    signin->reading = false;
    if (err == MG_OK)
        take(signin, keys);
    else if (!atomic_load(&signin->stopping))
        put_off(signin, &diag);
}

static void wait_until_due(struct mg_signin *signin)
{
    while (!atomic_load(&signin->stopping) && mg_mono_us() < signin->due_us) {
        struct timespec until = {.tv_sec = (time_t)(signin->due_us / 1000000), .tv_nsec = (long)(signin->due_us % 1000000) * 1000};
        if (pthread_cond_timedwait(&signin->changed, &signin->lock, &until) == ETIMEDOUT)
            return;
    }
}

static void *run(void *arg)
{
    struct mg_signin *signin = arg;
    pthread_mutex_lock(&signin->lock);
    while (!atomic_load(&signin->stopping)) {
        read_keys(signin);
        wait_until_due(signin);
    }
    pthread_mutex_unlock(&signin->lock);
    return NULL;
}

/* ---- start and stop -------------------------------------------------------------------------- */

static void signin_free(struct mg_signin *signin)
{
    pthread_cond_destroy(&signin->changed);
    pthread_mutex_destroy(&signin->lock);
    mg_jwks_free(signin->keys);
    mg_free(signin);
}

mg_err mg_signin_start(const struct mg_config_oidc *config, struct mg_signin **out_signin, struct mg_diag *diag)
{
    pthread_condattr_t attributes;
    *out_signin = NULL;
    if (!config->issuer)
        return MG_OK;
    struct mg_signin *signin = mg_new(struct mg_signin);
    signin->config = config;
    signin->retry_s = FIRST_RETRY_S;
    pthread_mutex_init(&signin->lock, NULL);
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&signin->changed, &attributes);
    pthread_condattr_destroy(&attributes);
    if (pthread_create(&signin->thread, NULL, run, signin) != 0) {
        signin_free(signin);
        return mg_diag_set(diag, MG_E_SYSTEM, NULL, 0, "no thread for the keys of admin.oidc");
    }
    *out_signin = signin;
    return MG_OK;
}

void mg_signin_stop(struct mg_signin *signin)
{
    if (!signin)
        return;
    pthread_mutex_lock(&signin->lock);
    atomic_store(&signin->stopping, true);
    pthread_cond_signal(&signin->changed);
    pthread_mutex_unlock(&signin->lock);
    pthread_join(signin->thread, NULL);
    signin_free(signin);
}

/* ---- tokens ---------------------------------------------------------------------------------- */

bool mg_signin_takes(const struct mg_signin *signin, mg_view token)
{
    return signin && mg_view_find(token, ".") < token.len;
}

static bool has_keys(const struct mg_signin *signin)
{
    return signin->keys && mg_mono_us() < signin->read_mono_us + KEPT_S * UINT64_C(1000000);
}

/* Somebody who makes names of keys up costs the provider one request in 5 s, and no more. */
static mg_err ask_for_keys(struct mg_signin *signin, const char **out_why)
{
    uint64_t now_us = mg_mono_us();
    if (signin->reading || now_us >= signin->tried_us + UNKNOWN_KEY_S * UINT64_C(1000000)) {
        signin->due_us = MG_MIN(signin->due_us, now_us);
        pthread_cond_signal(&signin->changed);
        *out_why = "the provider's keys are being read: try again in a second";
        return MG_E_AGAIN;
    }
    return MG_E_DENIED;
}

static mg_err verify(struct mg_signin *signin, const struct mg_jwt *jwt, const char **out_why)
{
    if (!has_keys(signin)) {
        (void)ask_for_keys(signin, out_why);
        *out_why = "the provider's keys could not be read";
        return MG_E_AGAIN;             /* no fault of the token's */
    }
    mg_err err = mg_jwt_verify(jwt, signin->keys, out_why);
    return err == MG_E_NOT_FOUND ? ask_for_keys(signin, out_why) : err;
}

/* What costs little comes first; a signature is looked at when all else fits. */
static mg_err identify(struct mg_signin *signin, const struct mg_jwt *jwt, struct mg_identity *out_identity, const char **out_why)
{
    MG_TRY(mg_claims_check(signin->config, jwt->claims, mg_wall_us(), NULL, out_why));
    pthread_mutex_lock(&signin->lock);
    mg_err err = verify(signin, jwt, out_why);
    pthread_mutex_unlock(&signin->lock);
    return err == MG_OK ? mg_claims_identity(signin->config, jwt->claims, out_identity, out_why) : err;
}

mg_err mg_signin_identify(struct mg_signin *signin, mg_view token, struct mg_identity *out_identity, const char **out_why)
{
    struct mg_jwt jwt;
    mg_err err = mg_jwt_read(token, &jwt, out_why);
    if (err == MG_OK) {
        err = identify(signin, &jwt, out_identity, out_why);
        mg_jwt_fini(&jwt);
    }
    pthread_mutex_lock(&signin->lock);
    signin->accepted += err == MG_OK;
    signin->refused += err != MG_OK;
    pthread_mutex_unlock(&signin->lock);
    return err == MG_OK || err == MG_E_AGAIN ? err : MG_E_DENIED;
}

void mg_signin_status(struct mg_signin *signin, struct mg_signin_status *out_status)
{
    *out_status = (struct mg_signin_status){.issuer = NULL};
    if (!signin)
        return;
    pthread_mutex_lock(&signin->lock);
    *out_status = (struct mg_signin_status){.issuer = signin->config->issuer, .keys = has_keys(signin) ? mg_jwks_count(signin->keys) : 0,
                                            .read_us = signin->read_wall_us, .accepted = signin->accepted,
                                            .refused = signin->refused, .failures = signin->failures};
    snprintf(out_status->error, sizeof out_status->error, "%s", signin->error);
    pthread_mutex_unlock(&signin->lock);
}
