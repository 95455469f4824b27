#include "http/json_keys.h"

#include "base/mem.h"

static mg_err text_of(mg_view string, bool escaped, struct mg_buf *scratch, mg_view *out_text);
static uint32_t hash_of(mg_view text);
static bool seen_in_row(struct mg_json_keys *keys, size_t base, uint32_t hash, mg_view text);
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
                        mg_view *out_text)
{
    MG_TRY(text_of(string, escaped, &keys->added, out_text));
    if (scope->seen)
        return add_mapped(keys, scope, *out_text);

    uint32_t hash = hash_of(*out_text);
    if (seen_in_row(keys, scope->base, hash, *out_text))
        return MG_E_EXISTS;
    MG_TRY(push(keys, (struct mg_json_key){string, hash, escaped}));
    return keys->count - scope->base > MG_JSON_FEW_KEYS ? move_to_map(keys, scope) : MG_OK;
}

static mg_err text_of(mg_view string, bool escaped, struct mg_buf *scratch, mg_view *out_text)
{
    if (escaped)
        return mg_json_span_text(string, scratch, out_text);
    *out_text = mg_view_of(string.ptr + 1, string.len - 2);
    return MG_OK;
}

/* Short keys are mixed whole and cheaply: at most 64 of them can be made to collide. Long ones
 * would make every comparison dear, so that they get the hash nobody can predict. */
static uint32_t hash_of(mg_view text)
{
    uint64_t a = text.len, b = 0;
    if (text.len > 16)
        return (uint32_t)mg_hash(text);
    if (text.len >= 8) {
        memcpy(&a, text.ptr, 8);
        memcpy(&b, text.ptr + text.len - 8, 8);
    } else {
        for (size_t i = 0; i < text.len; i++)
            a = a << 8 | (unsigned char)text.ptr[i];
    }
    a = (a ^ text.len) * UINT64_C(0x9e3779b97f4a7c15);
    a = (a ^ a >> 29 ^ b) * UINT64_C(0xbf58476d1ce4e5b9);
    return (uint32_t)(a >> 32);
}

static bool seen_in_row(struct mg_json_keys *keys, size_t base, uint32_t hash, mg_view text)
{
    for (size_t i = base; i < keys->count; i++) {
        const struct mg_json_key *key = &keys->records[i];
        mg_view other;
        if (key->hash == hash && text_of(key->string, key->escaped, &keys->other, &other) == MG_OK &&
            mg_view_eq(other, text))
            return true;
    }
    return false;
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
        mg_view text;
        MG_TRY(text_of(keys->records[i].string, keys->records[i].escaped, &keys->other, &text));
        MG_TRY(add_mapped(keys, scope, text));
    }
    keys->count = scope->base;
    return MG_OK;
}
