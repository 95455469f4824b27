#include "chat/inner.h"

#include <string.h>

#include "base/limits.h"
#include "base/mem.h"
#include "http/json_members.h"

enum { PATHS = 8 };

bool mg_inner_is_path(const char *field)
{
    return strstr(field, "[*].") != NULL;
}

const char *mg_inner_name(const char *path)
{
    const char *dot = strrchr(path, '.');
    return dot ? dot + 1 : path;
}

/* What was found, in the order of ends; it grows in the arena. */
struct found {
    struct mg_arena *arena;
    struct mg_json_hit *items;
    size_t count, cap;
};

static mg_err on_hit(void *arg, const struct mg_json_hit *hit)
{
    struct found *found = arg;
    if (found->count == found->cap) {
        size_t cap = found->cap ? 2 * found->cap : 16;
        struct mg_json_hit *grown = mg_arena_array(found->arena, struct mg_json_hit, cap);
        if (found->count)
            memcpy(grown, found->items, found->count * sizeof *grown);
        found->items = grown;
        found->cap = cap;
    }
    found->items[found->count++] = *hit;
    return MG_OK;
}

static mg_err find(const struct mg_request *request, const char *const *paths, size_t count, struct found *found)
{
    struct mg_json_paths *compiled = mg_json_paths_try_new(paths, MG_MIN(count, (size_t)PATHS));
    if (!compiled)
        return MG_E_CONFIG;
    mg_err err = mg_json_scan(request->body, compiled, on_hit, found, NULL);
    mg_json_paths_free(compiled);
    return err;
}

bool mg_inner_has(const struct mg_request *request, const char *path)
{
    struct mg_arena arena;
    mg_arena_init(&arena, 1024);
    struct found found = {.arena = &arena};
    bool has = find(request, &path, 1, &found) == MG_OK && found.count > 0;
    mg_arena_fini(&arena);
    return has;
}

static mg_err scan_again(const struct mg_request *request, const char *dialect, struct mg_arena *arena, mg_view body,
                         struct mg_request *out)
{
    struct mg_json_error error;
    MG_TRY(mg_request_scan_as(out, arena, dialect, body, &error));
    out->stream = request->stream;     /* some dialects say both in the path */
    if (!out->model.len)
        out->model = request->model;
    return MG_OK;
}

mg_err mg_inner_without(const struct mg_request *request, const char *dialect, const char *const *paths, size_t count,
                        struct mg_arena *arena, const struct mg_request **out_request)
{
    struct found found = {.arena = arena};
    struct mg_buf body;
    *out_request = request;
    if (!count || request->form)
        return MG_OK;
    MG_TRY(find(request, paths, count, &found));
    if (!found.count)
        return MG_OK;
    struct mg_splice *cuts = mg_arena_array(arena, struct mg_splice, found.count);
    size_t cut_count = mg_json_cuts(request->body, found.items, found.count, cuts);
    struct mg_request *without = mg_arena_new(arena, struct mg_request);
    mg_buf_init(&body, MG_MAX_BODY_BYTES);
    mg_err err = mg_splice_apply(request->body, cuts, cut_count, &body);
    if (err == MG_OK)
        err = scan_again(request, dialect, arena, mg_arena_dup(arena, mg_buf_view(&body)), without);
    mg_buf_fini(&body);
    if (err == MG_OK)
        *out_request = without;
    return err;
}
