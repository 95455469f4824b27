#include "gateway/files.h"

#include "gateway/models.h"
#include "gateway/routing.h"
#include "gateway/surface.h"

#define HEADER "x-moongate-provider"

static const struct mg_config_project *config_of(const struct mg_exchange *x)
{
    return x->live->generation->config;
}

static bool offers(const struct mg_exchange *x, int provider)
{
    return mg_routing_offers(x->live->generation->routing, provider, x->surface->name);
}

/* The names of those that have files, for people. */
static mg_view names(struct mg_exchange *x)
{
    mg_view list = MG_VIEW_NONE;
    for (int i = 0; i < config_of(x)->provider_count; i++)
        if (offers(x, i))
            list = mg_arena_printf(&x->arena, "%.*s%s%s", MG_FMT(list), list.len ? ", " : "", config_of(x)->providers[i].name);
    return list;
}

static int refuse(struct mg_exchange *x, int status, const char *code, mg_view text)
{
    mg_exchange_refuse_as(x, status, mg_view_cstr(code), text, MG_VIEW_NONE, 0);
    return -1;
}

static int named(struct mg_exchange *x, mg_view name)
{
    for (int i = 0; i < config_of(x)->provider_count; i++)
        if (mg_view_eq(name, mg_view_cstr(config_of(x)->providers[i].name)) && offers(x, i))
            return i;
    mg_view list = names(x);
    return refuse(x, 400, "unknown_provider",
                  mg_arena_printf(&x->arena, "'%.*s' (" HEADER ") is no provider of this project that has files.%s%.*s", MG_FMT(mg_view_head(name, 64)),
                                  list.len ? " These have: " : "", MG_FMT(list)));
}

static int only_one(struct mg_exchange *x)
{
    int found = -1, count = 0;
    for (int i = 0; i < config_of(x)->provider_count; i++)
        if (offers(x, i)) {
            found = i;
            count++;
        }
    if (count == 1)
        return found;
    if (count == 0)
        return refuse(x, 404, "no_files", MG_VIEW("No provider of this project has files."));
    return refuse(x, 400, "provider_needed", mg_arena_printf(&x->arena, "Several providers of this project have files (%.*s): name one in the header "
                                                             HEADER ".", MG_FMT(names(x))));
}

/* -1: it was answered. */
static int find_provider(struct mg_exchange *x)
{
    mg_view header = mg_headers_get(x->request.headers, MG_VIEW(HEADER));
    int provider = header.len ? named(x, header) : only_one(x);
    if (provider < 0 || !config_of(x)->providers[provider].account)
        return provider;
    return refuse(x, 403, "shared_account",
                  mg_arena_printf(&x->arena, "The provider '%s' has keys of an account that other projects use too: its files would be theirs. Give it keys of "
                                             "its own.", config_of(x)->providers[provider].name));
}

/* What stands at the star of the path. False: it is no name. */
static bool take_id(struct mg_exchange *x)
{
    mg_view pattern = mg_view_cstr(x->surface->path), path = x->request.path;
    size_t star = mg_view_find(pattern, "*"), after = pattern.len - star - 1, cut = mg_view_starts(path, MG_VIEW("/v1/")) ? 0 : 3;
    if (star == pattern.len)
        return true;
    star -= cut;
    x->kept_id = mg_models_name(&x->arena, mg_view_head(mg_view_skip(path, star), path.len - star - after));
    return x->kept_id.len > 0 && x->kept_id.len <= 256 && !mg_view_eq(x->kept_id, MG_VIEW(".")) && !mg_view_eq(x->kept_id, MG_VIEW("..")) &&
           mg_view_find(x->kept_id, "/\\") == x->kept_id.len && mg_http_is_field_value(x->kept_id);
}

bool mg_files_resolve(struct mg_exchange *x)
{
    if (!take_id(x)) {
        (void)refuse(x, 404, "unknown_file", MG_VIEW("That is no id of a file."));
        return false;
    }
    int provider = find_provider(x);
    if (provider < 0)
        return false;
    x->call.request.model = MG_VIEW("files");
    x->route = mg_routing_direct(x->live->generation->routing, provider, MG_VIEW("files"), &x->arena);
    if (mg_key_allows(x->key_allows, mg_view_cstr(x->route->workflow->name)))
        return true;
    x->route = NULL;
    (void)refuse(x, 403, "model_not_allowed",
                 mg_arena_printf(&x->arena, "This API key may not use the files of '%s': it would need '%s/files' among its models.",
                                 config_of(x)->providers[provider].name, config_of(x)->providers[provider].name));
    return false;
}
