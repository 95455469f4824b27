#include "gateway/exporting.h"

#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>

#include "base/clock.h"
#include "base/mem.h"
#include "script/crypto.h"
#include "script/fetch.h"

enum { TURN_MS = 100, ANSWER_BYTES = 65536, LAST_MS = 2000, MAX_HEADERS = 8 };
enum { MIN_KEY_BYTES = 16, KEY_BYTES = 256, SIGNED_BYTES = 2 * MG_EXPORT_BATCH_BYTES + 128, SIGNATURE_BYTES = 96 };

/* A loop of its own: only the sink's thread turns it. */
struct webhook {
    struct mg_loop loop;
    struct mg_fetch fetch;
    const char *name, *url;            /* borrowed from the configuration */
    const char *origins[2];
    char origin[MG_ORIGIN_BYTES];
    char *authorization;               /* owned; NULL: none */
    char key[KEY_BYTES];               /* of signatures … */
    size_t key_bytes;                  /* … so much of it; 0: it does not sign */
    bool done;
    _Atomic uint64_t until_us;         /* the process ends: whoever has not answered by then is asked by the next; 0: it goes on */
};

static void on_fetched(struct mg_fetch *fetch)
{
    mg_container_of(fetch, struct webhook, fetch)->done = true;
}

static bool is_over(const struct webhook *hook)
{
    uint64_t until_us = atomic_load_explicit(&hook->until_us, memory_order_relaxed);
    return until_us > 0 && mg_mono_us() >= until_us;
}

static mg_err judge(struct webhook *hook, struct mg_diag *diag)
{
    const struct mg_fetch *fetch = &hook->fetch;
    if (!hook->done)
        return mg_diag_set(diag, MG_E_CANCELLED, "", 0, "%s did not answer before the end", hook->origin);
    if (fetch->fail == MG_FETCH_denied || fetch->fail == MG_FETCH_redirects)
        return mg_diag_set(diag, MG_E_DENIED, "", 0, "%s answered with a redirect to elsewhere, which is not followed", hook->origin);
    if (fetch->fail != MG_FETCH_none)
        return mg_diag_set(diag, MG_E_CONNECT, "", 0, "%s: %s %s", hook->origin, mg_fetch_fail_name(fetch->fail), fetch->detail);
    if (fetch->status < 200 || fetch->status > 299)
        return mg_diag_set(diag, MG_E_PROTOCOL, "", 0, "%s answered with status %d", hook->origin, fetch->status);
    return MG_OK;
}

struct signature {
    char timestamp[24], text[SIGNATURE_BYTES];
};

static mg_err sign_text(const struct webhook *hook, mg_view text, struct signature *out_signature)
{
    uint8_t digest[MG_DIGEST_BYTES];
    size_t len;
    struct mg_buf out;
    MG_TRY(mg_crypto_hmac(MG_VIEW("sha256"), mg_view_of(hook->key, hook->key_bytes), text, NULL, digest, &len));
    mg_buf_init(&out, SIGNATURE_BYTES - 1);
    mg_err err = mg_buf_put(&out, MG_VIEW("v1,"));
    if (err == MG_OK)
        err = mg_crypto_base64(mg_view_of((char *)digest, len), false, &out);
    if (err == MG_OK)
        snprintf(out_signature->text, sizeof out_signature->text, "%s", mg_buf_cstr(&out));
    mg_buf_fini(&out);
    return err;
}

/* "id.timestamp.body", so that neither of them can be changed, and an old one cannot be played again unseen. */
static mg_err sign(const struct webhook *hook, const struct mg_export_batch *batch, struct signature *out_signature)
{
    struct mg_buf text;
    snprintf(out_signature->timestamp, sizeof out_signature->timestamp, "%" PRIu64, mg_wall_us() / 1000000);
    mg_buf_init(&text, SIGNED_BYTES);
    mg_err err = mg_buf_putf(&text, "%s.%s.", batch->id, out_signature->timestamp);
    if (err == MG_OK)
        err = mg_buf_put(&text, batch->events);
    if (err == MG_OK)
        err = sign_text(hook, mg_buf_view(&text), out_signature);
    mg_buf_fini(&text);
    return err;
}

static size_t put_header(struct mg_header *headers, size_t count, const char *name, const char *value)
{
    headers[count] = (struct mg_header){mg_view_cstr(name), mg_view_cstr(value)};
    return count + 1;
}

static size_t put_headers(const struct webhook *hook, const struct mg_export_batch *batch, const struct signature *signature,
                          struct mg_header headers[MAX_HEADERS])
{
    size_t count = put_header(headers, 0, "content-type", "application/x-ndjson");
    count = put_header(headers, count, "x-moongate-sink", hook->name);
    count = put_header(headers, count, "x-moongate-batch", batch->id);
    count = put_header(headers, count, "idempotency-key", batch->id);
    if (hook->authorization)
        count = put_header(headers, count, "authorization", hook->authorization);
    if (!hook->key_bytes)
        return count;
    count = put_header(headers, count, "webhook-id", batch->id);
    count = put_header(headers, count, "webhook-timestamp", signature->timestamp);
    return put_header(headers, count, "webhook-signature", signature->text);
}

static mg_err post_batch(void *arg, const struct mg_export_batch *batch, struct mg_diag *diag)
{
    struct webhook *hook = arg;
    struct mg_header headers[MAX_HEADERS];
    struct signature signature;
    if (hook->key_bytes && sign(hook, batch, &signature) != MG_OK)
        return mg_diag_set(diag, MG_E_SYSTEM, "", 0, "the batch cannot be signed");
    struct mg_fetch_request request = {
        .method = MG_VIEW("POST"),
        .url = mg_view_cstr(hook->url),
        .headers = headers,
        .header_count = put_headers(hook, batch, &signature, headers),
        .body = batch->events,
        .timeout_ms = MG_EXPORT_WEBHOOK_MS,
        .max_bytes = ANSWER_BYTES,
        .origins = hook->origins,
    };
    hook->done = false;
    mg_fetch_start(&hook->fetch, &hook->loop, &request, on_fetched);
    while (!hook->done && !is_over(hook))
        mg_loop_turn(&hook->loop, TURN_MS);
    mg_err err = judge(hook, diag);
    mg_fetch_fini(&hook->fetch);
    mg_loop_turn(&hook->loop, 0);
    return err;
}

static void interrupt(void *arg)
{
    struct webhook *hook = arg;
    atomic_store_explicit(&hook->until_us, mg_mono_us() + LAST_MS * 1000u, memory_order_relaxed);
}

static void close_hook(void *arg)
{
    struct webhook *hook = arg;
    mg_loop_fini(&hook->loop);
    if (hook->authorization)
        mg_wipe(hook->authorization, strlen(hook->authorization));
    mg_free(hook->authorization);
    mg_wipe(hook->key, sizeof hook->key);
    mg_free(hook);
}

/* The text itself, or the bytes that stand behind "whsec_" in base64. */
static mg_err take_key(struct webhook *hook, const char *text, struct mg_diag *diag)
{
    mg_view key = mg_view_cstr(text), prefix = MG_VIEW("whsec_");
    struct mg_buf bytes;
    mg_buf_init(&bytes, KEY_BYTES);
    mg_err err = MG_OK;
    if (mg_view_starts(key, prefix))
        err = mg_crypto_unbase64(mg_view_skip(key, prefix.len), false, &bytes);
    else if (key.len > 0)
        err = mg_buf_put(&bytes, key);
    if (err == MG_OK && key.len > 0 && bytes.len < MIN_KEY_BYTES)
        err = MG_E_CONFIG;
    hook->key_bytes = err == MG_OK ? bytes.len : 0;
    if (hook->key_bytes)
        memcpy(hook->key, mg_buf_view(&bytes).ptr, bytes.len);
    if (bytes.len)
        mg_wipe(bytes.ptr, bytes.len);
    mg_buf_fini(&bytes);
    return err == MG_OK ? MG_OK : mg_diag_set(diag, MG_E_CONFIG, "", 0, "exports.%s: signing_key is no text of 16 to 256 bytes, nor such bytes in base64 behind whsec_", hook->name);
}

static char *bearer(const char *token)
{
    size_t size = token ? strlen(token) + sizeof "Bearer " : 0;
    char *text = token ? mg_alloc(size) : NULL;
    if (text)
        snprintf(text, size, "Bearer %s", token);
    return text;
}

static mg_err make_hook(const struct mg_config_export *config, struct mg_export_sink *out_sink, struct mg_diag *diag)
{
    struct mg_origin origin;
    mg_view target;
    if (!mg_origin_parse(mg_view_cstr(config->webhook), &origin, &target))
        return mg_diag_set(diag, MG_E_CONFIG, "", 0, "exports.%s: %s is no URL", config->name, config->webhook);
    if (origin.https)
        MG_TRY(mg_fetch_prepare(diag));
    struct webhook *hook = mg_new(struct webhook);
    mg_origin_text(&origin, hook->origin);
    hook->origins[0] = hook->origin;
    hook->name = config->name;
    hook->url = config->webhook;
    hook->authorization = bearer(config->token);
    mg_loop_init(&hook->loop);
    mg_err err = take_key(hook, config->signing_key, diag);
    if (err != MG_OK) {
        close_hook(hook);
        return err;
    }
    *out_sink = (struct mg_export_sink){.name = config->name, .to = hook->origin, .arg = hook, .send = post_batch, .interrupt = interrupt, .close = close_hook};
    return MG_OK;
}

mg_err mg_exporting_start(struct mg_exporting *exporting, const struct mg_config_gateway *config, struct mg_recorder *recorder,
                          struct mg_diag *diag)
{
    for (int i = 0; i < config->export_count; i++) {
        const struct mg_config_export *row = &config->exports[i];
        struct mg_export_sink sink;
        if (row->file)
            sink = mg_export_to_file(row->name, row->file);
        else
            MG_TRY(make_hook(row, &sink, diag));
        sink.max_exchanges = (unsigned)row->batch;
        MG_TRY(mg_export_start(config->data_dir, recorder, &sink, &exporting->exports[exporting->count], diag));
        exporting->count++;
    }
    return MG_OK;
}

int mg_exporting_states(const struct mg_exporting *exporting, struct mg_export_state out_states[MG_CONFIG_EXPORTS])
{
    for (int i = 0; i < exporting->count; i++)
        mg_export_state(exporting->exports[i], &out_states[i]);
    return exporting->count;
}

void mg_exporting_stop(struct mg_exporting *exporting)
{
    for (int i = 0; i < exporting->count; i++)
        mg_export_stop(exporting->exports[i]);
    exporting->count = 0;
}
