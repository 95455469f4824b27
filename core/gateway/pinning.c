#include "gateway/pinning.h"

#include "chat/inner.h"
#include "gateway/surface.h"

/* Looked for by its name first: most requests refer to nothing, and they are long. */
static bool refers(const struct mg_request *request, const char *path, struct mg_arena *arena)
{
    mg_view name = mg_arena_printf(arena, "\"%s\"", mg_inner_name(path));
    return mg_view_search(request->body, name) < request->body.len && mg_inner_has(request, path);
}

static const char *reference_in(struct mg_exchange *x)
{
    for (const char *const *path = x->dialect->references; *path; path++)
        if (refers(&x->call.request, *path, &x->arena))
            return *path;
    return NULL;
}

static bool has_choice(const struct mg_exchange *x)
{
    return x->route->count > 1 || (x->route->count == 1 && x->route->reaches[0].credential_count > 1);
}

void mg_pinning_call(struct mg_exchange *x, struct mg_relay_call *call)
{
    const char *reference = x->surface->converse && has_choice(x) ? reference_in(x) : NULL;
    for (int i = 0; reference && i < x->route->count; i++) {
        const struct mg_adapter *adapter = mg_upstream_adapter(x->route->upstreams[i], x->call.dialect, x->surface->name);
        if (strcmp(mg_adapter_declaration(adapter)->dialect, x->call.dialect) != 0)
            continue;
        call->pinned = x->candidates[i].provider;
        call->first_key = true;
        mg_timeline_note(x->timeline, mg_exchange_now(x), "pin", "'%s' is kept by an account of %s: nobody else is asked",
                         mg_inner_name(reference), call->pinned);
        return;
    }
}
