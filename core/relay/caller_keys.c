#include "relay/caller_keys.h"

#include "base/mem.h"

enum { LONGEST_BYTES = 4096 };

static void unref(void *sealed)
{
    mg_sealed_unref(sealed);
}

static bool brings_key(const struct mg_header *header, mg_view *out_provider)
{
    mg_view prefix = MG_VIEW(MG_CALLER_HEADER);
    if (!(header->traits & MG_HEADER_NOT_UPSTREAM) || !mg_view_ieq(mg_view_head(header->name, prefix.len), prefix))
        return false;
    *out_provider = mg_view_skip(header->name, prefix.len);
    return true;
}

static bool is_printable(mg_view text)
{
    bool good = text.len > 0 && text.len <= LONGEST_BYTES;
    for (size_t i = 0; i < text.len && good; i++)
        good = text.ptr[i] > ' ' && text.ptr[i] < 0x7f;
    return good;
}

/* The bytes are the parser's, which is the exchange's own. */
static void star_out(mg_view value)
{
    if (value.len)
        memset((char *)(uintptr_t)value.ptr, '*', value.len);
}

static const char *add(struct mg_caller_keys *keys, struct mg_arena *arena, mg_view provider, mg_view value)
{
    struct mg_seal_place place = {.name = MG_VIEW(MG_CALLER_KEY_NAME)};
    if (keys->count == MG_MAX_CALLER_KEYS)
        return "The request brings keys for more providers than are taken at once.";
    if (!provider.len)
        return "A header " MG_CALLER_HEADER "PROVIDER names no provider.";
    if (!is_printable(value))
        return "A header " MG_CALLER_HEADER "PROVIDER holds no key: it is empty, too long, or has a space in it.";
    if (mg_caller_keys_find(keys, provider))
        return "The request brings two keys for one provider.";
    struct mg_caller_key key = {.provider = mg_arena_dup(arena, provider)};
    if (mg_sealed_from(mg_seal_key_process(), &place, value, &key.sealed) != MG_OK)
        return "A key that the request brings could not be sealed.";
    mg_arena_cleanup(arena, unref, key.sealed);
    key.bucket = mg_seal_bucket(value) % MG_MAX_CALLER_BUCKETS;
    keys->keys[keys->count++] = key;
    return NULL;
}

mg_err mg_caller_keys_take(struct mg_headers headers, struct mg_arena *arena, struct mg_caller_keys **out_keys,
                           const char **out_why)
{
    struct mg_caller_keys *keys = NULL;
    const char *why = NULL;
    for (size_t i = 0; i < headers.count; i++) {
        mg_view provider, value = headers.items[i].value;
        if (!brings_key(&headers.items[i], &provider))
            continue;
        if (!keys)
            keys = mg_arena_new(arena, struct mg_caller_keys);
        if (!why)
            why = add(keys, arena, provider, value);
        star_out(value);
    }
    *out_keys = keys;
    if (why)
        *out_why = why;
    return why ? MG_E_BAD_REQUEST : MG_OK;
}

const struct mg_caller_key *mg_caller_keys_find(const struct mg_caller_keys *keys, mg_view provider)
{
    for (int i = 0; keys && i < keys->count; i++)
        if (mg_view_ieq(keys->keys[i].provider, provider))
            return &keys->keys[i];
    return NULL;
}
