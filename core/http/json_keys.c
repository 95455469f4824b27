#include "http/json_keys.h"

#include "base/mem.h"

static bool same(struct mg_json_keys *keys, const struct mg_json_key *key, const struct mg_json_name *name);
static bool seen_in_row(struct mg_json_keys *keys, size_t base, const struct mg_json_name *name);
static mg_err push(struct mg_json_keys *keys, struct mg_json_key key);
static mg_err add_mapped(struct mg_json_keys *keys, struct mg_json_key_scope *scope, mg_view text);
static mg_err move_to_map(struct mg_json_keys *keys, struct mg_json_key_scope *scope);

void mg_json_keys_init(struct mg_json_keys *keys, size_t doc_len)
{
    keys->records = keys->inlined;
    keys->count = 0;
    keys->cap = MG_JSON_INLINE_KEYS;
    keys->mapped = 0;
    mg_buf_init(&keys->added, doc_len + 1);
    mg_buf_init(&keys->other, doc_len + 1);
}

void mg_json_keys_fini(struct mg_json_keys *keys)
{
    if (keys->records != keys->inlined)
        mg_free(keys->records);
    mg_buf_fini(&keys->added);
    mg_buf_fini(&keys->other);
}

void mg_json_keys_open(struct mg_json_keys *keys, struct mg_json_key_scope *scope)
{
    scope->base = keys->count;
    scope->seen = NULL;
}

void mg_json_keys_close(struct mg_json_keys *keys, struct mg_json_key_scope *scope)
{
    keys->count = scope->base;
    if (!scope->seen)
        return;
    keys->mapped -= scope->seen->count;
    mg_map_fini(scope->seen);
    mg_free(scope->seen);
    scope->seen = NULL;
}

mg_err mg_json_keys_add(struct mg_json_keys *keys, struct mg_json_key_scope *scope, mg_view string, bool escaped,
                        const char *end, struct mg_json_name *out_name)
{
    struct mg_json_key key = {.string = escaped ? string : MG_VIEW_NONE};
    mg_view text = mg_view_of(string.ptr + 1, string.len - 2);
    if (escaped)
        MG_TRY(mg_json_span_text(string, &keys->added, &text));
    key.name = mg_json_name(text, escaped ? text.len : (size_t)(end - text.ptr));
    *out_name = key.name;
    if (scope->seen)
        return add_mapped(keys, scope, text);
    if (seen_in_row(keys, scope->base, &key.name))
        return MG_E_EXISTS;
    MG_TRY(push(keys, key));
    return keys->count - scope->base > MG_JSON_FEW_KEYS ? move_to_map(keys, scope) : MG_OK;
}

static bool seen_in_row(struct mg_json_keys *keys, size_t base, const struct mg_json_name *name)
{
    for (size_t i = base; i < keys->count; i++)
        if (keys->records[i].name.tag == name->tag && same(keys, &keys->records[i], name))
            return true;
    return false;
}

static bool same(struct mg_json_keys *keys, const struct mg_json_key *key, const struct mg_json_name *name)
{
    struct mg_json_name known = key->name;
    if (key->string.ptr && mg_json_span_text(key->string, &keys->other, &known.text) != MG_OK)
        return false;
    return mg_json_name_eq(&known, name);
}

static mg_err push(struct mg_json_keys *keys, struct mg_json_key key)
{
    if (keys->count == keys->cap) {
        struct mg_json_key *old = keys->records == keys->inlined ? NULL : keys->records;
        struct mg_json_key *grown = mg_try_realloc(old, 2 * keys->cap * sizeof *grown);
        if (!grown)
            return MG_E_MEMORY;
        if (!old)
            memcpy(grown, keys->inlined, sizeof keys->inlined);
        keys->records = grown;
        keys->cap *= 2;
    }
    keys->records[keys->count++] = key;
    return MG_OK;
}

static mg_err add_mapped(struct mg_json_keys *keys, struct mg_json_key_scope *scope, mg_view text)
{
    if (mg_map_get(scope->seen, text))
        return MG_E_EXISTS;
    if (keys->mapped >= MG_JSON_KEYS)
        return MG_E_TOO_LARGE;
    keys->mapped++;
    mg_map_put(scope->seen, text, scope);
    return MG_OK;
}

static mg_err move_to_map(struct mg_json_keys *keys, struct mg_json_key_scope *scope)
{
    scope->seen = mg_new(struct mg_map);
    mg_map_init(scope->seen);
    for (size_t i = scope->base; i < keys->count; i++) {
        const struct mg_json_key *key = &keys->records[i];
        mg_view text = key->name.text;
        if (key->string.ptr)
            MG_TRY(mg_json_span_text(key->string, &keys->other, &text));
        MG_TRY(add_mapped(keys, scope, text));
    }
    keys->count = scope->base;
    return MG_OK;
}
