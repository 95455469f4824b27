#include "gateway/models.h"

#include <time.h>

#include "gateway/exchange.h"

/* How a dialect lists models: what stands around the list, and one entry. */
struct listing {
    const char *dialect, *before, *after;
    mg_err (*put)(struct mg_buf *out, mg_view id, const char *owner, uint64_t created_s);
};

static mg_err put_openai(struct mg_buf *out, mg_view id, const char *owner, uint64_t created_s)
{
    return mg_buf_putf(out, "{\"id\":%.*s,\"object\":\"model\",\"created\":%llu,\"owned_by\":\"%s\"}", MG_FMT(id),
                       (unsigned long long)created_s, owner);
}

static mg_err put_anthropic(struct mg_buf *out, mg_view id, const char *owner, uint64_t created_s)
{
    time_t seconds = (time_t)created_s;
    struct tm tm;
    char created[40];
    gmtime_r(&seconds, &tm);
    strftime(created, sizeof created, "%Y-%m-%dT%H:%M:%SZ", &tm);
    (void)owner;
    return mg_buf_putf(out, "{\"type\":\"model\",\"id\":%.*s,\"display_name\":%.*s,\"created_at\":\"%s\"}", MG_FMT(id), MG_FMT(id),
                       created);
}

static mg_err put_gemini(struct mg_buf *out, mg_view id, const char *owner, uint64_t created_s)
{
    mg_view inside = mg_view_head(mg_view_skip(id, 1), id.len - 2);
    (void)owner, (void)created_s;
    return mg_buf_putf(out, "{\"name\":\"models/%.*s\",\"displayName\":%.*s,\"supportedGenerationMethods\":[\"generateContent\"]}",
                       MG_FMT(inside), MG_FMT(id));
}

static const struct listing listings[] = {
    {"openai_chat", "{\"object\":\"list\",\"data\":[", "]}", put_openai},
    {"anthropic", "{\"data\":[", "],\"has_more\":false}", put_anthropic},
    {"gemini", "{\"models\":[", "]}", put_gemini},
};

static const struct listing *listing_of(const struct mg_exchange *x)
{
    for (size_t i = 0; i < sizeof listings / sizeof listings[0]; i++)
        if (strcmp(listings[i].dialect, x->dialect->name) == 0)
            return &listings[i];
    return &listings[0];
}

static mg_err put_model(struct mg_buf *out, const struct mg_exchange *x, const char *id, const char *owner, uint64_t created_s)
{
    struct mg_buf json;
    mg_buf_init(&json, 4096);
    mg_err err = mg_buf_putc(&json, '"');
    if (err == MG_OK)
        err = mg_buf_put_json(&json, mg_view_cstr(id));
    if (err == MG_OK)
        err = mg_buf_putc(&json, '"');
    if (err == MG_OK)
        err = listing_of(x)->put(out, mg_buf_view(&json), owner, created_s);
    mg_buf_fini(&json);
    return err;
}

static bool is_named(const char *id)
{
    return strcmp(id, "*") != 0 && !mg_view_ends(mg_view_cstr(id), MG_VIEW("/*"));
}

/* Calls put_model for each; `only` not empty: for that one alone. *out_count is how many were put. */
static mg_err put_models(struct mg_exchange *x, struct mg_buf *out, mg_view only, int *out_count)
{
    const struct mg_config_project *config = x->live->generation->config;
    uint64_t created_s = x->live->generation->built_wall_us / 1000000;
    int count = 0;
    for (int i = 0; i < config->workflow_count + (config->allow_direct ? config->target_count : 0); i++) {
        bool workflow = i < config->workflow_count;
        const char *id = workflow ? config->workflows[i].name : config->targets[i - config->workflow_count].id;
        const char *owner = workflow ? "moongate" : config->providers[config->targets[i - config->workflow_count].provider].name;
        if (!is_named(id) || (only.len && !mg_view_eq(only, mg_view_cstr(id))) || !mg_key_allows(x->key_allows, mg_view_cstr(id)))
            continue;
        if (count++)
            MG_TRY(mg_buf_putc(out, ','));
        MG_TRY(put_model(out, x, id, owner, created_s));
    }
    *out_count = count;
    return MG_OK;
}

static void answer(struct mg_exchange *x, struct mg_buf *body)
{
    mg_answer_json(x, 200, mg_buf_view(body));
}

void mg_models_list(struct mg_exchange *x)
{
    int count;
    struct mg_buf body;
    mg_buf_init(&body, MG_MAX_HELD_BYTES);
    mg_err err = mg_buf_put(&body, mg_view_cstr(listing_of(x)->before));
    if (err == MG_OK)
        err = put_models(x, &body, MG_VIEW_NONE, &count);
    if (err == MG_OK)
        err = mg_buf_put(&body, mg_view_cstr(listing_of(x)->after));
    if (err == MG_OK)
        answer(x, &body);
    else
        mg_exchange_refuse(x, 500, "models_too_long", "The list of models does not fit into one answer.");
    mg_buf_fini(&body);
}

static int hex_digit(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

mg_view mg_models_name(struct mg_arena *arena, mg_view text)
{
    mg_view copy = mg_arena_dup(arena, text);
    char *out = (char *)copy.ptr;
    size_t n = 0;
    for (size_t i = 0; i < text.len; i++) {
        bool escape = text.ptr[i] == '%' && i + 2 < text.len && hex_digit(text.ptr[i + 1]) >= 0 && hex_digit(text.ptr[i + 2]) >= 0;
        out[n++] = escape ? (char)(hex_digit(text.ptr[i + 1]) * 16 + hex_digit(text.ptr[i + 2])) : text.ptr[i];
        i += escape ? 2 : 0;
    }
    return mg_view_of(out, n);
}

void mg_models_get(struct mg_exchange *x)
{
    mg_view path = x->request.path;
    size_t prefix = mg_view_starts(path, MG_VIEW("/v1/")) ? strlen("/v1/models/")
                    : mg_view_starts(path, MG_VIEW("/v1beta/")) ? strlen("/v1beta/models/") : strlen("/models/");
    mg_view id = mg_models_name(&x->arena, mg_view_skip(path, prefix));
    int count = 0;
    struct mg_buf body;
    mg_buf_init(&body, MG_MAX_HELD_BYTES);
    if (id.len && put_models(x, &body, id, &count) == MG_OK && count > 0)
        answer(x, &body);
    else
        mg_exchange_refuse(x, 404, "model_not_found", "The model '%.*s' does not exist in project '%s', or it is not offered.",
                           MG_FMT(mg_view_head(id, 128)), x->live->generation->config->name);
    mg_buf_fini(&body);
}
