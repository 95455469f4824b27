/* The declaration's paths are compiled into two path sets, one for events of a stream and one for
 * whole answers; `meaning` says what a hit of path i is. tap.c scans with them. */
#include "chat/adapter_parts.h"

#include "base/mem.h"

static bool add_path(struct mg_path_set *set, const char *text, enum mg_meaning meaning)
{
    for (size_t i = 0; i < set->count; i++)
        if (strcmp(set->texts[i], text) == 0)
            return set->meaning[i] == meaning;
    if (set->count == MG_JSON_PATHS)
        return false;
    set->texts[set->count] = text;
    set->meaning[set->count++] = (uint8_t)meaning;
    return true;
}

static bool add_paths(struct mg_path_set *set, const mg_adapter_paths texts, enum mg_meaning meaning)
{
    for (int i = 0; i < MG_ADAPTER_PATHS && texts[i]; i++)
        if (!add_path(set, texts[i], meaning))
            return false;
    return true;
}

static bool add_shared(struct mg_path_set *set, const struct mg_adapter_decl *decl)
{
    return add_paths(set, decl->usage.input, MG_IS_INPUT) && add_paths(set, decl->usage.output, MG_IS_OUTPUT) &&
           add_paths(set, decl->usage.total, MG_IS_TOTAL) && add_paths(set, decl->usage.cached_read, MG_IS_CACHED_READ) &&
           add_paths(set, decl->usage.cached_write, MG_IS_CACHED_WRITE) &&
           add_paths(set, decl->usage.reasoning, MG_IS_REASONING_TOKENS) &&
           add_paths(set, decl->usage.input_audio, MG_IS_INPUT_AUDIO) &&
           add_paths(set, decl->usage.output_audio, MG_IS_OUTPUT_AUDIO) &&
           add_paths(set, decl->usage.model, MG_IS_MODEL) && add_paths(set, decl->usage.tier, MG_IS_TIER) &&
           add_paths(set, decl->usage_object, MG_IS_USAGE) && add_paths(set, decl->error, MG_IS_ERROR) &&
           add_paths(set, decl->error_shape.mark, MG_IS_MARK);
}

static bool add_error(struct mg_path_set *set, const struct mg_adapter_decl *decl)
{
    return add_paths(set, decl->error, MG_IS_ERROR) && add_paths(set, decl->error_shape.type, MG_IS_ERROR_TYPE) &&
           add_paths(set, decl->error_shape.code, MG_IS_ERROR_CODE) &&
           add_paths(set, decl->error_shape.message, MG_IS_ERROR_MESSAGE) &&
           add_paths(set, decl->error_shape.param, MG_IS_ERROR_PARAM) &&
           add_paths(set, decl->error_shape.detail, MG_IS_ERROR_DETAIL) &&
           add_paths(set, decl->error_shape.retry_after, MG_IS_RETRY_AFTER);
}

#define ADD_PARTS(set, decl, part)                                                                 \
    (add_paths((set), (decl)->part.item, MG_IS_ITEM) && add_paths((set), (decl)->part.index, MG_IS_INDEX) && \
     add_paths((set), (decl)->part.content, MG_IS_CONTENT) &&                                         \
     add_paths((set), (decl)->part.reasoning, MG_IS_REASONING) &&                                     \
     add_paths((set), (decl)->part.tool_call, MG_IS_TOOL_CALL) &&                                     \
     add_paths((set), (decl)->part.tool_index, MG_IS_TOOL_INDEX) && add_paths((set), (decl)->part.tool_name, MG_IS_TOOL_NAME) && \
     add_paths((set), (decl)->part.tool_arguments, MG_IS_TOOL_ARGUMENTS) &&                           \
     add_paths((set), (decl)->part.refusal, MG_IS_REFUSAL) && add_paths((set), (decl)->part.finish, MG_IS_FINISH) && \
     add_paths((set), (decl)->part.data, MG_IS_DATA) && add_shared((set), (decl)))

static bool compile(struct mg_path_set *set)
{
    set->paths = mg_json_paths_try_new(set->texts, set->count);
    return set->paths != NULL;
}

mg_err mg_adapter_new(const struct mg_adapter_decl *decl, struct mg_adapter **out_adapter, struct mg_diag *diag)
{
    struct mg_adapter *adapter = mg_new(struct mg_adapter);
    adapter->decl = *decl;
    bool ok = ADD_PARTS(&adapter->chunk, decl, chunk) && ADD_PARTS(&adapter->answer, decl, answer) &&
              add_error(&adapter->error, decl);
    if (!ok || !compile(&adapter->chunk) || !compile(&adapter->answer) || !compile(&adapter->error)) {
        mg_adapter_free(adapter);
        return mg_diag_set(diag, MG_E_CONFIG, NULL, 0,
                           "adapter %s: a JSON path is malformed or has two meanings, or there are more than %d", decl->name,
                           MG_JSON_PATHS);
    }
    *out_adapter = adapter;
    return MG_OK;
}

void mg_adapter_free(struct mg_adapter *adapter)
{
    if (!adapter)
        return;
    mg_json_paths_free(adapter->chunk.paths);
    mg_json_paths_free(adapter->answer.paths);
    mg_json_paths_free(adapter->error.paths);
    mg_free(adapter);
}

const struct mg_adapter_decl *mg_adapter_declaration(const struct mg_adapter *adapter)
{
    return &adapter->decl;
}

const char *mg_adapter_path(const struct mg_adapter *adapter, const char *surface)
{
    for (int i = 0; i < adapter->decl.operation_count; i++)
        if (strcmp(adapter->decl.operations[i].surface, surface) == 0)
            return adapter->decl.operations[i].path;
    return NULL;
}

/* ---- what an error is ------------------------------------------------------------------------ */

static bool rule_matches(const struct mg_adapter_rule *rule, int status, const struct mg_tap *tap)
{
    return (!rule->status || !status || rule->status == status) && (!rule->type || strcmp(tap->error_type, rule->type) == 0) &&
           (!rule->code || strcmp(tap->error_code, rule->code) == 0) &&
           (!rule->detail || strcasestr(tap->error_detail, rule->detail)) &&
           (!rule->text || strcasestr(tap->error_message, rule->text));
}

/* What a bare status says, the last resort of the wire reference. */
static enum mg_class class_of_status(int status)
{
    switch (status) {
    case 400: case 405: case 415: case 422: case 501: return MG_CLASS_invalid_request;
    case 401: return MG_CLASS_auth;
    case 402: return MG_CLASS_quota_billing;
    case 403: return MG_CLASS_permission;
    case 404: return MG_CLASS_model_not_found;
    case 408: case 504: return MG_CLASS_timeout_total;
    case 409: return MG_CLASS_conflict;
    case 412: case 498: case 503: case 529: return MG_CLASS_overloaded;
    case 413: return MG_CLASS_payload_too_large;
    case 429: return MG_CLASS_rate_limited;
    case 499: return MG_CLASS_cancelled;
    default: return MG_CLASS_server_error;
    }
}

/* An error inside a stream without a number, by the words that vendors make their codes of. */
static enum mg_class class_of_words(const struct mg_tap *tap)
{
    static const struct {
        const char *word;
        enum mg_class class_;
    } words[] = {
        {"insufficient_quota", MG_CLASS_quota_billing}, {"rate_limit", MG_CLASS_rate_limited},
        {"authentication", MG_CLASS_auth},              {"api_key", MG_CLASS_auth},
        {"permission", MG_CLASS_permission},            {"not_found", MG_CLASS_model_not_found},
        {"overload", MG_CLASS_overloaded},              {"unavailable", MG_CLASS_overloaded},
        {"timeout", MG_CLASS_timeout_total},            {"context_length", MG_CLASS_context_length},
        {"invalid", MG_CLASS_invalid_request},          {"bad_request", MG_CLASS_invalid_request},
    };
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
        if (strcasestr(tap->error_type, words[i].word) || strcasestr(tap->error_code, words[i].word))
            return words[i].class_;
    return MG_CLASS_server_error;
}

enum mg_class mg_adapter_hint(const struct mg_adapter *adapter, int status, const struct mg_tap *tap)
{
    uint64_t number;
    if (!status && mg_view_u64(mg_view_cstr(tap->error_code), &number) && number >= 400 && number < 600)
        status = (int)number;
    for (int i = 0; i < adapter->decl.rule_count; i++) {
        const struct mg_adapter_rule *rule = &adapter->decl.rules[i];
        bool says_more_than_status = rule->type || rule->code || rule->detail || rule->text;
        if ((status || says_more_than_status) && rule_matches(rule, status, tap))
            return rule->class_;
    }
    return status ? class_of_status(status) : class_of_words(tap);
}
