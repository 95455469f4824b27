#include "gateway/exporting.h"

#include <stdatomic.h>
#include <stdio.h>

#include "base/clock.h"
#include "base/mem.h"
#include "script/fetch.h"

enum { TURN_MS = 100, ANSWER_BYTES = 65536, LAST_MS = 2000 };

/* A loop of its own: only the sink's thread turns it. */
struct webhook {
    struct mg_loop loop;
    struct mg_fetch fetch;
    const char *name, *url;            /* borrowed from the configuration */
    const char *origins[2];
    char origin[MG_ORIGIN_BYTES];
    char *authorization;               /* owned; NULL: none */
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
    if (fetch->fail != MG_FETCH_none)
        return mg_diag_set(diag, MG_E_CONNECT, "", 0, "%s: %s %s", hook->origin, mg_fetch_fail_name(fetch->fail), fetch->detail);
    if (fetch->status < 200 || fetch->status > 299)
        return mg_diag_set(diag, MG_E_PROTOCOL, "", 0, "%s answered with status %d", hook->origin, fetch->status);
    return MG_OK;
}

static mg_err post_batch(void *arg, const struct mg_export_batch *batch, struct mg_diag *diag)
{
    struct webhook *hook = arg;
    mg_view id = mg_view_cstr(batch->id);
    const struct mg_header headers[] = {
        {MG_VIEW("content-type"), MG_VIEW("application/x-ndjson")},
        {MG_VIEW("x-moongate-sink"), mg_view_cstr(hook->name)},
        {MG_VIEW("x-moongate-batch"), id},
        {MG_VIEW("idempotency-key"), id},
        {MG_VIEW("authorization"), mg_view_cstr(hook->authorization)},
    };
    struct mg_fetch_request request = {
        .method = MG_VIEW("POST"),
        .url = mg_view_cstr(hook->url),
        .headers = headers,
        .header_count = MG_COUNT(headers) - !hook->authorization,
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
    mg_free(hook);
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
    *out_sink = (struct mg_export_sink){.name = config->name, .arg = hook, .send = post_batch, .interrupt = interrupt, .close = close_hook};
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
        exporting->names[exporting->count++] = row->name;
    }
    return MG_OK;
}

void mg_exporting_stop(struct mg_exporting *exporting)
{
    for (int i = 0; i < exporting->count; i++)
        mg_export_stop(exporting->exports[i]);
    exporting->count = 0;
}
