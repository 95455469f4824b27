#include "script/plugins.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/embed.h"
#include "base/limits.h"

mg_err mg_read_file(const char *path, struct mg_buf *out)
{
    FILE *file = fopen(path, "rbe");
    if (!file)
        return errno == ENOENT || errno == ENOTDIR ? MG_E_NOT_FOUND : MG_E_SYSTEM;
    char chunk[8192];
    mg_err err = MG_OK;
    size_t got;
    while (err == MG_OK && (got = fread(chunk, 1, sizeof(chunk), file)) > 0)
        err = mg_buf_put(out, mg_view_of(chunk, got));
    if (err == MG_OK && ferror(file))
        err = MG_E_SYSTEM;
    fclose(file);
    return err;
}

static bool name_is_plain(mg_view name)
{
    for (size_t i = 0; i < name.len; i++) {
        char c = name.ptr[i];
        if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_'))
            return false;
    }
    return name.len > 0 && name.len <= 64;
}

/* The folder that projects/ stands in, when it does. */
static mg_view root_of(const char *base_dir)
{
    mg_view dir = mg_view_cstr(base_dir);
    if (mg_view_eq(dir, MG_VIEW("projects")))
        return MG_VIEW(".");
    return mg_view_ends(dir, MG_VIEW("/projects")) ? mg_view_head(dir, dir.len - strlen("/projects")) : dir;
}

static void list_shipped(char *out, size_t size)
{
    const mg_view prefix = MG_VIEW("plugins/"), suffix = MG_VIEW("/plugin.json");
    size_t at = 0;
    snprintf(out, size, "none");
    for (size_t i = 0; i < mg_embedded_count && at < size; i++) {
        mg_view name = mg_view_cstr(mg_embedded_files[i].name);
        if (!mg_view_starts(name, prefix) || !mg_view_ends(name, suffix))
            continue;
        name = mg_view_head(mg_view_skip(name, prefix.len), name.len - prefix.len - suffix.len);
        at += (size_t)snprintf(out + at, size - at, "%s%.*s", at ? ", " : "", MG_FMT(name));
    }
}

mg_err mg_plugin_find(const char *use, const char *base_dir, struct mg_arena *arena, const struct mg_plugin_files **out_files,
                      struct mg_diag *diag)
{
    const char *file = mg_arena_strdup(arena, diag ? diag->file : "");
    int line = diag ? diag->line : 0;
    mg_view name = mg_view_cstr(use);
    bool shipped_only = mg_view_starts(name, MG_VIEW("moongate/"));
    if (shipped_only)
        name = mg_view_skip(name, strlen("moongate/"));
    if (memchr(use, '@', strlen(use)))
        return mg_diag_set(diag, MG_E_CONFIG, file, line, "use = \"%s\": versions come with the plugin store, which this version does not have", use);
    if (!name_is_plain(name))
        return mg_diag_set(diag, MG_E_CONFIG, file, line, "use = \"%s\": expected the name of a plugin folder", use);

    struct mg_plugin_files *files = mg_arena_new(arena, struct mg_plugin_files);
    files->name = mg_arena_dup(arena, name).ptr;
    files->shown = mg_arena_printf(arena, "plugins/%s", files->name).ptr;
    files->folder = mg_arena_printf(arena, "%.*s/plugins/%s", MG_FMT(root_of(base_dir)), files->name).ptr;
    *out_files = files;
    if (!shipped_only && access(mg_arena_printf(arena, "%s/plugin.json", files->folder).ptr, R_OK) == 0)
        return MG_OK;

    char known[256];
    if (mg_embedded_find(mg_arena_printf(arena, "%s/plugin.json", files->shown).ptr)) {
        files->folder = NULL;
        return MG_OK;
    }
    list_shipped(known, sizeof(known));
    return mg_diag_set(diag, MG_E_CONFIG, file, line, "there is no plugin \"%s\": neither %s/plugin.json nor one that ships with moongate (%s)",
                       use, files->folder, known);
}

mg_err mg_plugin_file(const struct mg_plugin_files *files, const char *file, struct mg_arena *arena, mg_view *out_text,
                      struct mg_diag *diag)
{
    if (!files->folder) {
        const struct mg_embedded_file *found = mg_embedded_find(mg_arena_printf(arena, "%s/%s", files->shown, file).ptr);
        if (!found)
            return mg_diag_set(diag, MG_E_NOT_FOUND, files->shown, 0, "there is no %s", file);
        *out_text = mg_view_of(found->data, found->size);
        return MG_OK;
    }
    struct mg_buf text;
    mg_buf_init(&text, MG_MAX_LUA_SOURCE_BYTES);
    mg_err err = mg_read_file(mg_arena_printf(arena, "%s/%s", files->folder, file).ptr, &text);
    if (err == MG_OK)
        *out_text = mg_arena_dup(arena, mg_buf_view(&text));
    else
        mg_diag_set(diag, err, files->shown, 0, "%s: %s", file, mg_err_text(err));
    mg_buf_fini(&text);
    return err;
}
