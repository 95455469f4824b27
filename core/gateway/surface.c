#include "gateway/surface.h"

#include "gateway/keeping.h"
#include "gateway/models.h"
#include "gateway/passthrough.h"
#include "relay/task.h"

#define GENERATE(version)                                                                                                   \
    {"/" version "/models/*:generateContent", MG_HTTP_POST, "generate", "gemini", .converse = true, .model_in_path = true},      \
    {"/" version "/models/*:streamGenerateContent", MG_HTTP_POST, "generate", "gemini", .converse = true, .model_in_path = true, \
     .stream = true, .resumes = true, .reweaves = true},                                                                       \
    {"/" version "/models/*:countTokens", MG_HTTP_POST, "count_tokens", "gemini", .task = MG_TASK_COUNT, .free = true, .model_in_path = true}, \
    {"/" version "/models/*:embedContent", MG_HTTP_POST, "embed", "gemini", .task = MG_TASK_EMBED, .model_in_path = true},       \
    {"/" version "/models/*:batchEmbedContents", MG_HTTP_POST, "batch_embed", "gemini", .task = MG_TASK_EMBED, .model_in_path = true}

static const struct mg_surface surfaces[] = {
    {"/v1/chat/completions", MG_HTTP_POST, "chat", "openai_chat", .converse = true, .resumes = true},
    {"/v1/responses", MG_HTTP_POST, "responses", "openai_responses", .converse = true, .keeps = true, .resumes = true, .reweaves = true},
    {"/v1/responses/*/input_items", MG_HTTP_GET, "response", "openai_responses", .answer = mg_responses_list_input},
    {"/v1/responses/*/cancel", MG_HTTP_POST, "response", "openai_responses", .answer = mg_responses_cancel},
    {"/v1/responses/*", MG_HTTP_GET, "response", "openai_responses", .answer = mg_responses_fetch},
    {"/v1/responses/*", MG_HTTP_DELETE, "response", "openai_responses", .answer = mg_responses_remove},
    {"/v1/messages", MG_HTTP_POST, "messages", "anthropic", .converse = true, .resumes = true, .reweaves = true},
    {"/v1/messages/count_tokens", MG_HTTP_POST, "count_tokens", "anthropic", .task = MG_TASK_COUNT, .free = true},
    {"/v1/responses/input_tokens", MG_HTTP_POST, "response_tokens", "openai_responses", .task = MG_TASK_COUNT, .free = true},
    GENERATE("v1beta"),
    GENERATE("v1"),
    {"/v1/completions", MG_HTTP_POST, "completions", "openai_chat", .resumes = true},
    {"/v1/embeddings", MG_HTTP_POST, "embeddings", "openai_chat"},
    {"/v1/images/generations", MG_HTTP_POST, "images", "openai_chat", .plain = true},
    {"/v1/images/edits", MG_HTTP_POST, "image_edits", "openai_chat", .plain = true, .form = MG_FORM_MAY},
    {"/v1/images/variations", MG_HTTP_POST, "image_variations", "openai_chat", .plain = true, .form = MG_FORM_MUST},
    {"/v1/audio/speech", MG_HTTP_POST, "audio_speech", "openai_chat", .plain = true},
    {"/v1/audio/transcriptions", MG_HTTP_POST, "audio_transcriptions", "openai_chat", .plain = true, .form = MG_FORM_MUST},
    {"/v1/audio/translations", MG_HTTP_POST, "audio_translations", "openai_chat", .plain = true, .form = MG_FORM_MUST},
    {"/v1/moderations", MG_HTTP_POST, "moderations", "openai_chat", .plain = true},
    {"/v1/rerank", MG_HTTP_POST, "rerank", "openai_chat", .plain = true},
    {"/v2/rerank", MG_HTTP_POST, "rerank", "openai_chat", .plain = true},
    {"/v1/files", MG_HTTP_POST, "files", "openai_chat", .plain = true, .form = MG_FORM_MUST, .kept = true, .free = true},
    {"/v1/files", MG_HTTP_GET, "files", "openai_chat", .plain = true, .kept = true, .free = true},
    {"/v1/files/*/content", MG_HTTP_GET, "file_content", "openai_chat", .plain = true, .kept = true, .free = true},
    {"/v1/files/*", MG_HTTP_GET, "file", "openai_chat", .plain = true, .kept = true, .free = true},
    {"/v1/files/*", MG_HTTP_DELETE, "file", "openai_chat", .plain = true, .kept = true, .free = true},
    {"/v1/models", MG_HTTP_GET, "models", "openai_chat", .answer = mg_models_list},
    {"/v1/models/*", MG_HTTP_GET, "models", "openai_chat", .answer = mg_models_get},
    {"/v1beta/models", MG_HTTP_GET, "models", "gemini", .answer = mg_models_list},
    {"/v1beta/models/*", MG_HTTP_GET, "models", "gemini", .answer = mg_models_get},
    {"/providers/*", MG_HTTP_OTHER, "passthrough", "openai_chat", .passthrough = true},
};

/* Clients with and without the /v1 prefix in their base URL are both served. */
static bool matches(const char *pattern, mg_view path)
{
    mg_view full = mg_view_cstr(pattern);
    if (mg_view_starts(full, MG_VIEW("/v1/")) && !mg_view_starts(path, MG_VIEW("/v1/")))
        full = mg_view_skip(full, 3);
    return mg_view_glob(full, path);
}

const struct mg_surface *mg_surface_find(enum mg_http_method method, mg_view path, bool *out_other_method)
{
    bool head = method == MG_HTTP_HEAD;
    for (size_t i = 0; i < sizeof surfaces / sizeof surfaces[0]; i++) {
        if (!matches(surfaces[i].path, path))
            continue;
        if (surfaces[i].method == method || surfaces[i].passthrough || (head && surfaces[i].method == MG_HTTP_GET))
            return &surfaces[i];
        *out_other_method = true;
    }
    return NULL;
}

/* Two SDKs list models at the same path, and one of them says which it is. */
const char *mg_surface_dialect_of(const struct mg_surface *surface, struct mg_headers headers)
{
    if (surface->passthrough)
        return mg_passthrough_guess(headers);
    bool anthropic = surface->answer && mg_headers_get(headers, MG_VIEW("anthropic-version")).len;
    return anthropic ? "anthropic" : surface->dialect;
}

const char *mg_surface_dialect(mg_view path)
{
    if (mg_view_starts(path, MG_VIEW("/v1/messages")))
        return "anthropic";
    if (mg_view_starts(path, MG_VIEW("/v1/responses")))
        return "openai_responses";
    return mg_view_starts(path, MG_VIEW("/v1beta/")) ? "gemini" : "openai_chat";
}
