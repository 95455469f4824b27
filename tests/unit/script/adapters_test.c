/* Every adapter that ships: it can be read and compiled, and says where and how its provider is asked. */
#include "check.h"

#include <stdio.h>
#include <string.h>

#include "base/embed.h"
#include "base/mem.h"
#include "script/script.h"

struct loaded {
    struct mg_arena arena;
    struct mg_adapter_decl decl;
    struct mg_adapter *adapter;
};

static void load(struct loaded *out, const char *name, int speaks)
{
    struct mg_diag diag = {.line = 0};
    *out = (struct loaded){.adapter = NULL};
    mg_arena_init(&out->arena, 4096);
    if (mg_adapter_load_spoken(name, speaks, &out->arena, &out->decl, &diag) != MG_OK ||
        mg_adapter_new(&out->decl, &out->adapter, &diag) != MG_OK)
        check_failed(__FILE__, __LINE__, "%s: %s", name, diag.text);
}

static void drop(struct loaded *loaded)
{
    mg_adapter_free(loaded->adapter);
    mg_arena_fini(&loaded->arena);
}

static void check_whole(const struct loaded *one)
{
    const struct mg_adapter_decl *decl = &one->decl;
    CHECK(decl->auth_count > 0 && mg_adapter_converse(one->adapter));
    CHECK(decl->usage_object[0] && decl->usage.input[0] && decl->usage.output[0] && decl->rule_count > 0);
    CHECK((decl->chunk.finish[0] && decl->answer.finish[0]) || strcmp(decl->name, "openai_media") == 0);
    for (int i = 0; i < decl->auth_count; i++)
        CHECK(decl->auth[i].header && decl->auth[i].prefix);
}

TEST(every_adapter_is_whole_and_so_is_what_it_speaks_besides)
{
    static const char prefix[] = "adapters/";
    int count = 0;
    for (size_t i = 0; i < mg_embedded_count; i++) {
        const char *file = mg_embedded_files[i].name;
        char name[64];
        if (strncmp(file, prefix, sizeof prefix - 1) != 0)
            continue;
        snprintf(name, sizeof name, "%.*s", (int)(strlen(file) - strlen(prefix) - 4), file + strlen(prefix));
        struct loaded one, spoken;
        load(&one, name, -1);
        CHECK_STR(one.decl.name, name);
        check_whole(&one);
        for (int k = 0; k < one.decl.speaks_count; k++) {
            load(&spoken, name, k);
            check_whole(&spoken);
            CHECK_STR(spoken.decl.name, one.decl.speaks[k]);
            CHECK_STR(spoken.decl.base_url, one.decl.base_url);
            CHECK(strcmp(spoken.decl.dialect, one.decl.dialect) != 0 || strcmp(spoken.decl.name, "openai_media") == 0);
            drop(&spoken);
        }
        drop(&one);
        count++;
    }
    CHECK(count >= 30);
}

/* ---- where ----------------------------------------------------------------------------------- */

static const struct mg_adapter_value values[] = {
    {"model", {"a/b:c@1", sizeof("a/b:c@1") - 1}}, {"resource", {"res", sizeof("res") - 1}},   {"project", {"p1", sizeof("p1") - 1}},
    {"location", {"eu-w1", sizeof("eu-w1") - 1}}, {"region", {"eu-central-1", sizeof("eu-central-1") - 1}},
};

static void check_url(const struct loaded *one, const char *path, const char *expected)
{
    struct mg_buf url;
    mg_buf_init(&url, 1024);
    CHECK_OK(mg_adapter_expand(&one->decl, one->decl.base_url, values, MG_COUNT(values), &url, NULL));
    CHECK_OK(mg_adapter_expand(&one->decl, path, values, MG_COUNT(values), &url, NULL));
    CHECK_VIEW(mg_buf_view(&url), mg_view_cstr(expected));
    mg_buf_fini(&url);
}

#define M "a%2Fb%3Ac%401"
#define VERTEX "https://eu-w1-aiplatform.googleapis.com/v1/projects/p1/locations/eu-w1/publishers/"

static const struct {
    const char *name;
    int speaks;                        /* -1: itself */
    const char *url, *stream_url;      /* NULL: the same */
    enum mg_auth_kind kind;
    const char *header, *prefix;
} places[] = {
    {"openai", -1, "https://api.openai.com/v1/chat/completions", NULL, MG_AUTH_bearer, "authorization", "Bearer "},
    {"openai", 0, "https://api.openai.com/v1/responses", NULL, MG_AUTH_bearer, "authorization", "Bearer "},
    {"anthropic", -1, "https://api.anthropic.com/v1/messages", NULL, MG_AUTH_header, "x-api-key", ""},
    {"gemini", -1, "https://generativelanguage.googleapis.com/v1beta/models/" M ":generateContent",
     "https://generativelanguage.googleapis.com/v1beta/models/" M ":streamGenerateContent?alt=sse", MG_AUTH_header, "x-goog-api-key", ""},
    {"bedrock", -1, "https://bedrock-runtime.eu-central-1.amazonaws.com/model/" M "/converse",
     "https://bedrock-runtime.eu-central-1.amazonaws.com/model/" M "/converse-stream", MG_AUTH_sigv4, "authorization", ""},
    {"bedrock_anthropic", -1, "https://bedrock-mantle.eu-central-1.api.aws/anthropic/v1/messages", NULL, MG_AUTH_header, "x-api-key", ""},
    {"bedrock_openai", 0, "https://bedrock-mantle.eu-central-1.api.aws/openai/v1/responses", NULL, MG_AUTH_bearer, "authorization", "Bearer "},
    {"cohere", -1, "https://api.cohere.com/v2/chat", NULL, MG_AUTH_bearer, "authorization", "Bearer "},
    {"cohere_openai", -1, "https://api.cohere.ai/compatibility/v1/chat/completions", NULL, MG_AUTH_bearer, "authorization", "Bearer "},
    {"azure", -1, "https://res.openai.azure.com/openai/v1/chat/completions", NULL, MG_AUTH_header, "api-key", ""},
    {"azure", 0, "https://res.openai.azure.com/openai/v1/responses", NULL, MG_AUTH_header, "api-key", ""},
    {"azure_deployments", -1, "https://res.openai.azure.com/openai/deployments/" M "/chat/completions?api-version=2024-10-21", NULL,
     MG_AUTH_header, "api-key", ""},
    {"azure_deployments", 0, "https://res.openai.azure.com/openai/responses?api-version=2024-10-21", NULL, MG_AUTH_header, "api-key", ""},
    {"azure_anthropic", -1, "https://res.services.ai.azure.com/anthropic/v1/messages", NULL, MG_AUTH_header, "x-api-key", ""},
    {"vertex_gemini", -1, VERTEX "google/models/" M ":generateContent", VERTEX "google/models/" M ":streamGenerateContent?alt=sse",
     MG_AUTH_gcp, "authorization", "Bearer "},
    {"vertex_anthropic", -1, VERTEX "anthropic/models/" M ":rawPredict", VERTEX "anthropic/models/" M ":streamRawPredict", MG_AUTH_gcp,
     "authorization", "Bearer "},
    {"deepseek", -1, "https://api.deepseek.com/chat/completions", NULL, MG_AUTH_bearer, "authorization", "Bearer "},
    {"deepseek", 0, "https://api.deepseek.com/anthropic/v1/messages", NULL, MG_AUTH_header, "x-api-key", ""},
    {"ollama", 1, "http://localhost:11434/v1/messages", NULL, MG_AUTH_bearer, "authorization", "Bearer "},
    {"mistral", -1, "https://api.mistral.ai/v1/chat/completions", NULL, MG_AUTH_bearer, "authorization", "Bearer "},
};

TEST(says_where_a_conversation_is_asked_for_and_how_the_key_is_told)
{
    for (size_t i = 0; i < MG_COUNT(places); i++) {
        struct loaded one;
        load(&one, places[i].name, places[i].speaks);
        const struct mg_adapter_operation *operation = mg_adapter_converse(one.adapter);
        check_url(&one, operation->path, places[i].url);
        check_url(&one, operation->stream_path, places[i].stream_url ? places[i].stream_url : places[i].url);
        CHECK_INT(one.decl.auth[0].kind, places[i].kind);
        CHECK_STR(one.decl.auth[0].header, places[i].header);
        CHECK_STR(one.decl.auth[0].prefix, places[i].prefix);
        drop(&one);
    }
}

TEST(a_name_without_a_value_is_told)
{
    struct mg_buf out;
    mg_view name = MG_VIEW_NONE;
    struct loaded azure;
    load(&azure, "azure_deployments", -1);
    mg_buf_init(&out, 256);
    CHECK(mg_adapter_expand(&azure.decl, azure.decl.base_url, NULL, 0, &out, &name) == MG_E_CONFIG);
    CHECK_VIEW(name, MG_VIEW("resource"));
    CHECK(mg_adapter_expand(&azure.decl, "/{api_version", NULL, 0, &out, &name) == MG_E_CONFIG);
    CHECK_VIEW(name, MG_VIEW("api_version"));

    mg_buf_clear(&out);
    const struct mg_adapter_value given[] = {{"api_version", {"2026 \xc3\xa9", sizeof("2026 \xc3\xa9") - 1}}, {"api_version", {"other", sizeof("other") - 1}}};
    CHECK_OK(mg_adapter_expand(&azure.decl, "?v={api_version}&w", given, 2, &out, NULL));
    CHECK_VIEW(mg_buf_view(&out), MG_VIEW("?v=2026%20%C3%A9&w"));
    mg_buf_fini(&out);
    drop(&azure);
}

/* ---- one over the other ---------------------------------------------------------------------- */

static const char *header_of(const struct mg_adapter_decl *decl, const char *name)
{
    for (int i = 0; i < decl->header_count; i++)
        if (strcmp(decl->headers[i].name, name) == 0)
            return decl->headers[i].value;
    return NULL;
}

TEST(a_file_says_only_what_differs_from_the_one_it_extends)
{
    struct loaded base, vendor, spoken;
    load(&base, "openai_chat", -1);
    load(&vendor, "mistral", -1);
    CHECK_STR(vendor.decl.dialect, "openai_chat");
    CHECK_STR(vendor.decl.usage.input[0], base.decl.usage.input[0]);                 /* names are merged */
    CHECK_STR(vendor.decl.usage.cached_read[2], "usage.num_cached_tokens");          /* lists take the place */
    CHECK(!mg_adapter_path(vendor.adapter, "completions") && mg_adapter_path(base.adapter, "completions"));
    CHECK(vendor.decl.usage_optional && !vendor.decl.usage_opt_in_field && base.decl.usage_opt_in_field);
    CHECK_INT(vendor.decl.rule_count, base.decl.rule_count);
    CHECK_INT(vendor.decl.edit_count, 5);
    CHECK(vendor.decl.edits[0].op == MG_EDIT_RENAME && strcmp(vendor.decl.edits[0].to, "random_seed") == 0);
    drop(&vendor);

    load(&vendor, "vertex_anthropic", -1);
    load(&spoken, "anthropic", -1);
    CHECK_STR(vendor.decl.params, "{\"anthropic_version\":\"vertex-2023-10-16\"}");
    CHECK(header_of(&spoken.decl, "anthropic-version") && !header_of(&vendor.decl, "anthropic-version"));
    CHECK_STR(vendor.decl.rules[0].text, "resource exhausted. please try again later");       /* rules stand before the base's */
    CHECK_INT(vendor.decl.rule_count, spoken.decl.rule_count + 10);
    CHECK(!vendor.decl.limits.requests_left && spoken.decl.limits.requests_left);
    CHECK(!mg_adapter_path(vendor.adapter, "models"));
    drop(&spoken);
    drop(&vendor);

    load(&spoken, "openai", 0);
    CHECK(!spoken.decl.usage_optional && !spoken.decl.chunk.content[0] && spoken.decl.rule_count > base.decl.rule_count);
    CHECK_STR(spoken.decl.limits.requests_left, base.decl.limits.requests_left);
    drop(&spoken);
    drop(&base);
}

TEST(nobody_speaks_more_than_he_says)
{
    struct mg_arena arena;
    struct mg_adapter_decl decl;
    struct mg_diag diag = {.line = 0};
    mg_arena_init(&arena, 1024);
    CHECK(mg_adapter_load_spoken("openai", 2, &arena, &decl, &diag) == MG_E_CONFIG);
    CHECK(mg_adapter_load_spoken("nvidia", 0, &arena, &decl, &diag) == MG_E_CONFIG);
    mg_arena_fini(&arena);
}

MG_TEST_MAIN()
