/* The person signs in on any machine with a browser; this one only needs to reach the provider. */
#include <stdio.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "cli/login.h"

enum { FIRST_INTERVAL_S = 5, SLOWER_S = 5, MAX_INTERVAL_S = 60, FORM_BYTES = 8192, MAX_WAIT_S = 3600 };

#define GRANT "urn:ietf:params:oauth:grant-type:device_code"

struct device {
    char code[1024];         /* secret between us and the provider */
    uint64_t interval_s;
    uint64_t until_us;       /* monotonic */
};

static mg_err start_form(const struct mg_login *login, struct mg_buf *form)
{
    MG_TRY(mg_login_put(form, "client_id", login->config->client_id));
    MG_TRY(mg_login_put(form, "scope", login->config->scopes));
    return mg_login_put(form, "resource", login->resource);
}

static mg_err poll_form(const struct mg_login *login, const struct device *device, struct mg_buf *form)
{
    MG_TRY(mg_login_put(form, "grant_type", GRANT));
    MG_TRY(mg_login_put(form, "client_id", login->config->client_id));
    MG_TRY(mg_login_put(form, "device_code", device->code));
    return mg_login_put(form, "resource", login->resource);
}

static uint64_t seconds(const struct mg_json *answer, const char *name, uint64_t otherwise, uint64_t most)
{
    int64_t value;
    if (!mg_json_i64(mg_json_get(answer, name), &value) || value <= 0)
        return otherwise;
    return MG_MIN((uint64_t)value, most);
}

/* What the person must do. */
static mg_err show(const struct mg_json *answer, struct device *device, struct mg_diag *diag)
{
    char room[1024], code_room[128];
    mg_view whole = mg_json_string(mg_json_get(answer, "verification_uri_complete"));
    mg_view plain = mg_json_string(mg_json_get(answer, "verification_uri")), user_code = mg_json_string(mg_json_get(answer, "user_code"));
    mg_view code = mg_json_string(mg_json_get(answer, "device_code"));
    if (!plain.len || !user_code.len || !code.len || code.len >= sizeof device->code)
        return mg_diag_set(diag, MG_E_PROTOCOL, NULL, 0, "the identity provider gave no code to sign in with");
    snprintf(device->code, sizeof device->code, "%.*s", MG_FMT(code));
    device->interval_s = seconds(answer, "interval", FIRST_INTERVAL_S, MAX_INTERVAL_S);
    device->until_us = mg_mono_us() + seconds(answer, "expires_in", MG_LOGIN_PATIENCE_S, MAX_WAIT_S) * UINT64_C(1000000);
    fprintf(stderr, "Open this address in a browser, on any machine:\n\n    %s\n\n",
            mg_login_shown(whole.len ? whole : plain, room, sizeof room));
    fprintf(stderr, "and see that it shows this code, or enter it:\n\n    %s\n\n", mg_login_shown(user_code, code_room, sizeof code_room));
    return MG_OK;
}

static mg_err begin(const struct mg_login *login, struct device *device, struct mg_diag *diag)
{
    struct mg_buf form;
    struct mg_json *answer;
    int status;
    mg_buf_init(&form, FORM_BYTES);
    mg_err err = start_form(login, &form);
    if (err == MG_OK)
        err = mg_issuer_post(login->config, login->issuer.device, mg_buf_view(&form), &status, &answer, diag);
    mg_buf_fini(&form);
    MG_TRY(err);
    err = status == 200 ? show(answer, device, diag) : mg_login_refused(answer, diag);
    mg_json_free(answer);
    return err;
}

/* MG_E_AGAIN: not yet. */
static mg_err read_poll(struct device *device, int status, struct mg_json *answer, struct mg_json **out_tokens, struct mg_diag *diag)
{
    mg_view error = mg_json_string(mg_json_get(answer, "error"));
    if (status == 200) {
        *out_tokens = answer;
        return MG_OK;
    }
    mg_err err = MG_E_AGAIN;
    if (mg_view_eq(error, MG_VIEW("slow_down")))
        device->interval_s = MG_MIN(device->interval_s + SLOWER_S, (uint64_t)MAX_INTERVAL_S);
    else if (!mg_view_eq(error, MG_VIEW("authorization_pending")))
        err = mg_login_refused(answer, diag);
    mg_json_free(answer);
    return err;
}

/* A question that got lost is asked again at the next turn. */
static mg_err poll_once(const struct mg_login *login, struct device *device, struct mg_json **out_tokens, struct mg_diag *diag)
{
    struct mg_buf form;
    struct mg_json *answer;
    int status;
    mg_buf_init(&form, FORM_BYTES);
    mg_err err = poll_form(login, device, &form);
    if (err == MG_OK)
        err = mg_issuer_post(login->config, login->issuer.token, mg_buf_view(&form), &status, &answer, diag);
    if (form.ptr)
        mg_wipe(form.ptr, form.cap);
    mg_buf_fini(&form);
    if (err == MG_OK)
        return read_poll(device, status, answer, out_tokens, diag);
    return mg_err_retry(err) ? MG_E_AGAIN : err;
}

mg_err mg_login_device(struct mg_login *login, struct mg_json **out_tokens, struct mg_diag *diag)
{
    struct device device = {.interval_s = FIRST_INTERVAL_S};
    mg_err err = begin(login, &device, diag);
    if (err == MG_OK)
        err = MG_E_AGAIN;
    while (err == MG_E_AGAIN && mg_mono_us() < device.until_us) {
        sleep((unsigned)device.interval_s);
        err = poll_once(login, &device, out_tokens, diag);
    }
    mg_wipe(device.code, sizeof device.code);
    if (err == MG_E_AGAIN)
        err = mg_diag_set(diag, MG_E_TIMEOUT, NULL, 0, "nobody signed in before the code expired");
    return err;
}
