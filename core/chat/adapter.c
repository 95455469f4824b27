/* What is asked of a declaration; adapter_set.c compiles it, tap.c scans with it. */
#include "chat/adapter_parts.h"

#include "base/mem.h"

mg_err mg_adapter_new(const struct mg_adapter_decl *decl, struct mg_adapter **out_adapter, struct mg_diag *diag)
{
    struct mg_adapter *adapter = mg_new(struct mg_adapter);
    adapter->decl = *decl;
    const char *bad = "a path";
    if (!mg_adapter_compile(adapter, &bad)) {
        mg_err err = mg_diag_set(diag, MG_E_CONFIG, NULL, 0,
                                 "adapter %s: \"%s\" is malformed or has two meanings, or there are more than %d paths", decl->name,
                                 bad, MG_JSON_PATHS);
        mg_adapter_free(adapter);
        return err;
    }
    *out_adapter = adapter;
    return MG_OK;
}

void mg_adapter_free(struct mg_adapter *adapter)
{
    if (!adapter)
        return;
    mg_path_set_fini(&adapter->chunk);
    mg_path_set_fini(&adapter->answer);
    mg_path_set_fini(&adapter->error);
    mg_free(adapter);
}

const struct mg_adapter_decl *mg_adapter_declaration(const struct mg_adapter *adapter)
{
    return &adapter->decl;
}

const struct mg_adapter_operation *mg_adapter_operation(const struct mg_adapter *adapter, const char *surface)
{
    for (int i = 0; surface && i < adapter->decl.operation_count; i++)
        if (strcmp(adapter->decl.operations[i].surface, surface) == 0)
            return &adapter->decl.operations[i];
    return NULL;
}

const struct mg_adapter_operation *mg_adapter_converse(const struct mg_adapter *adapter)
{
    return mg_adapter_operation(adapter, adapter->decl.converse);
}

const char *mg_adapter_path(const struct mg_adapter *adapter, const char *surface)
{
    const struct mg_adapter_operation *operation = mg_adapter_operation(adapter, surface);
    return operation ? operation->path : NULL;
}

/* ---- names in paths -------------------------------------------------------------------------- */

bool mg_adapter_give(struct mg_adapter_decl *decl, const char *name, const char *value)
{
    int at = 0;
    while (at < decl->var_count && strcmp(decl->vars[at].name, name) != 0)
        at++;
    if (at == MG_ADAPTER_VARS)
        return false;
    decl->vars[at] = (struct mg_adapter_pair){name, value};
    decl->var_count = MG_MAX(decl->var_count, at + 1);
    return true;
}

static mg_err put_encoded(struct mg_buf *out, mg_view value)
{
    static const char hex[] = "0123456789ABCDEF";
    for (size_t i = 0; i < value.len; i++) {
        unsigned char byte = (unsigned char)value.ptr[i];
        bool plain = (byte >= '0' && byte <= '9') || (byte >= 'A' && byte <= 'Z') || (byte >= 'a' && byte <= 'z') ||
                     (byte && strchr("-._~", byte));
        char escaped[3] = {'%', hex[byte >> 4], hex[byte & 15]};
        MG_TRY(plain ? mg_buf_putc(out, (char)byte) : mg_buf_put(out, mg_view_of(escaped, sizeof escaped)));
    }
    return MG_OK;
}

static mg_view value_of(const struct mg_adapter_decl *decl, const struct mg_adapter_value *values, size_t count, mg_view name)
{
    for (size_t i = 0; i < count; i++)
        if (values[i].value.len && mg_view_eq(mg_view_cstr(values[i].name), name))
            return values[i].value;
    for (int i = 0; i < decl->var_count; i++)
        if (decl->vars[i].value && mg_view_eq(mg_view_cstr(decl->vars[i].name), name))
            return mg_view_cstr(decl->vars[i].value);
    return MG_VIEW_NONE;
}

mg_err mg_adapter_expand(const struct mg_adapter_decl *decl, const char *text, const struct mg_adapter_value *values, size_t count,
                         struct mg_buf *out, mg_view *out_name)
{
    for (mg_view rest = mg_view_cstr(text); rest.len > 0;) {
        size_t open = mg_view_find(rest, "{");
        MG_TRY(mg_buf_put(out, mg_view_head(rest, open)));
        rest = mg_view_skip(rest, open);
        if (!rest.len)
            break;
        mg_view name = mg_view_skip(mg_view_head(rest, mg_view_find(rest, "}")), 1);
        mg_view value = value_of(decl, values, count, name);
        if (!value.len || name.len + 1 == rest.len) {
            if (out_name)
                *out_name = name;
            return MG_E_CONFIG;
        }
        MG_TRY(put_encoded(out, value));
        rest = mg_view_skip(rest, name.len + 2);
    }
    return MG_OK;
}

static const char *const auth_kinds[] = {
#define X(name) #name,
    MG_AUTH_LIST(X)
#undef X
};

const char *mg_auth_kind_name(enum mg_auth_kind kind)
{
    return auth_kinds[kind];
}

bool mg_auth_kind_find(mg_view name, enum mg_auth_kind *out_kind)
{
    for (size_t i = 0; i < MG_COUNT(auth_kinds); i++)
        if (mg_view_eq(name, mg_view_cstr(auth_kinds[i]))) {
            *out_kind = (enum mg_auth_kind)i;
            return true;
        }
    return false;
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
