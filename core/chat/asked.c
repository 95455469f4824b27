#include "chat/asked.h"

#include <string.h>

#include "base/mem.h"
#include "http/json_members.h"
#include "http/json_scan.h"

#define MOST (UINT64_C(1) << 30)

static const struct form {
    const char *dialect;
    const char *inside[2];             /* objects that hold the fields; NULL: the body itself */
    const char *tokens[2], *answers[2];
} forms[] = {
    {"openai_chat", {NULL}, {"max_completion_tokens", "max_tokens"}, {"n", "best_of"}},
    {"anthropic", {NULL}, {"max_tokens"}, {NULL}},
    {"openai_responses", {NULL}, {"max_output_tokens"}, {NULL}},
    {"gemini", {"generationConfig", "generation_config"}, {"maxOutputTokens", "max_output_tokens"}, {"candidateCount", "candidate_count"}},
    {"bedrock", {"inferenceConfig"}, {"maxTokens"}, {NULL}},
    {"cohere", {NULL}, {"max_tokens"}, {NULL}},
};

static const struct form *form_of(const char *dialect)
{
    for (size_t i = 0; i < MG_COUNT(forms); i++)
        if (strcmp(forms[i].dialect, dialect) == 0)
            return &forms[i];
    return &forms[0];
}

static uint64_t largest(mg_view object, const char *const names[2])
{
    uint64_t most = 0, value;
    for (int i = 0; i < 2 && names[i]; i++)
        if (mg_json_span_u64(mg_json_member(object, mg_view_cstr(names[i])), &value))
            most = MG_MAX(most, MG_MIN(value, MOST));
    return most;
}

struct mg_asked mg_asked_of(const char *dialect, mg_view body)
{
    const struct form *form = form_of(dialect);
    struct mg_asked asked = {.answers = 1};
    for (int i = 0; i < 2 && body.len; i++) {
        if (i && !form->inside[i])
            break;
        mg_view object = form->inside[i] ? mg_json_member(body, mg_view_cstr(form->inside[i])) : body;
        asked.tokens = MG_MAX(asked.tokens, largest(object, form->tokens));
        asked.answers = MG_MAX(asked.answers, largest(object, form->answers));
    }
    return asked;
}
