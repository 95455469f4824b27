#include "gateway/dialects.h"

#include "base/mem.h"
#include "script/script.h"

/* Each is the name of a file of lua/dialects and of the adapter in lua/adapters that taps it. */
static const char *const names[] = {"openai_chat", "openai_responses", "anthropic", "gemini"};

struct mg_dialects {
    struct mg_arena arena;
    struct mg_dialect items[MG_COUNT(names)];
    struct mg_adapter *adapters[MG_COUNT(names)];      /* owned */
    const char *headers[MG_COUNT(names) * MG_DIALECT_HEADERS + 1];
};

static mg_err load(struct mg_dialects *dialects, size_t i, struct mg_diag *diag)
{
    struct mg_adapter_decl *decl = mg_arena_new(&dialects->arena, struct mg_adapter_decl);
    MG_TRY(mg_dialect_load(names[i], &dialects->arena, &dialects->items[i], diag));
    MG_TRY(mg_adapter_load(names[i], &dialects->arena, decl, diag));
    MG_TRY(mg_adapter_new(decl, &dialects->adapters[i], diag));
    dialects->items[i].adapter = dialects->adapters[i];
    return MG_OK;
}

static void collect_headers(struct mg_dialects *dialects)
{
    size_t count = 0;
    for (size_t i = 0; i < MG_COUNT(names); i++)
        for (const char *const *header = dialects->items[i].headers; *header; header++)
            dialects->headers[count++] = *header;
}

const char *const *mg_dialects_headers(const struct mg_dialects *dialects)
{
    return dialects->headers;
}

mg_err mg_dialects_new(struct mg_dialects **out_dialects, struct mg_diag *diag)
{
    struct mg_dialects *dialects = mg_new(struct mg_dialects);
    mg_arena_init(&dialects->arena, 8192);
    mg_err err = MG_OK;
    for (size_t i = 0; i < MG_COUNT(names) && err == MG_OK; i++)
        err = load(dialects, i, diag);
    if (err == MG_OK)
        collect_headers(dialects);
    if (err == MG_OK)
        *out_dialects = dialects;
    else
        mg_dialects_free(dialects);
    return err;
}

void mg_dialects_free(struct mg_dialects *dialects)
{
    if (!dialects)
        return;
    for (size_t i = 0; i < MG_COUNT(names); i++)
        mg_adapter_free(dialects->adapters[i]);
    mg_arena_fini(&dialects->arena);
    mg_free(dialects);
}

const struct mg_dialect *mg_dialects_find(const struct mg_dialects *dialects, const char *name)
{
    for (size_t i = 0; name && i < MG_COUNT(names); i++)
        if (strcmp(names[i], name) == 0)
            return &dialects->items[i];
    return &dialects->items[0];
}
