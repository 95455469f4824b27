#include "gateway/models.h"

#include "gateway/exchange.h"

static mg_err put_model(struct mg_buf *out, const char *id, const char *owner, uint64_t created_s)
{
    MG_TRY(mg_buf_put(out, MG_VIEW("{\"id\":\"")));
    MG_TRY(mg_buf_put_json(out, mg_view_cstr(id)));
    return mg_buf_putf(out, "\",\"object\":\"model\",\"created\":%llu,\"owned_by\":\"%s\"}", (unsigned long long)created_s,
                       owner);
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
        MG_TRY(put_model(out, id, owner, created_s));
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
    mg_err err = mg_buf_put(&body, MG_VIEW("{\"object\":\"list\",\"data\":["));
    if (err == MG_OK)
        err = put_models(x, &body, MG_VIEW_NONE, &count);
    if (err == MG_OK)
        err = mg_buf_put(&body, MG_VIEW("]}"));
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

/* SDKs write "openai%2Fgpt" for a name with a slash. */
static mg_view percent_decoded(struct mg_arena *arena, mg_view text)
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
    size_t prefix = mg_view_starts(path, MG_VIEW("/v1/")) ? strlen("/v1/models/") : strlen("/models/");
    mg_view id = percent_decoded(&x->arena, mg_view_skip(path, prefix));
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
