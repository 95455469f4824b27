#include "cli/check.h"

#include <stdio.h>
#include <string.h>

#include "base/embed.h"
#include "base/view.h"
#include "chat/adapter.h"
#include "script/script.h"

enum { NAME_BYTES = 128 };

struct checking {
    FILE *out;
    struct mg_check_totals *totals;
};

/* The adapter itself (-1), or another one that it speaks. */
static mg_err try_one(const char *name, int speaks, int *out_count, struct mg_diag *diag)
{
    struct mg_arena arena;
    struct mg_adapter_decl decl;
    struct mg_adapter *adapter = NULL;
    mg_arena_init(&arena, 4096);
    mg_err err = mg_adapter_load_spoken(name, speaks, &arena, &decl, diag);
    if (err == MG_OK)
        err = mg_adapter_new(&decl, &adapter, diag);
    *out_count = err == MG_OK ? decl.speaks_count : 0;
    mg_adapter_free(adapter);
    mg_arena_fini(&arena);
    return err;
}

/* "lua/adapters/mine.lua:2: unexpected symbol": what Lua says has the line in it. *text: what stands behind it. */
static int take_line(const char *name, const char **text)
{
    char start[NAME_BYTES + 32];
    int line = 0, used = 0;
    int len = snprintf(start, sizeof start, "lua/adapters/%s.lua:", name);
    if (strncmp(*text, start, (size_t)len) != 0 || sscanf(*text + len, "%d: %n", &line, &used) != 1)
        return 0;
    *text += len + used;
    return line;
}

/* Where the key stands that a sentence begins with: the first line that has it; 0: none does. */
static int line_of_key(const char *path, const char *text)
{
    char line[1024];
    int found = 0, number = 0;
    mg_view key = mg_view_head(mg_view_cstr(text), strcspn(text, " .:[,"));
    FILE *file = fopen(path, "re");
    while (file && key.len && !found && fgets(line, sizeof line, file)) {
        mg_view here = mg_view_cstr(line);
        number++;
        found = mg_view_search(here, key) < here.len ? number : 0;
    }
    if (file)
        fclose(file);
    return found;
}

static void check_file(void *arg, const char *path)
{
    struct checking *checking = arg;
    const char *base = strrchr(path, '/') + 1;
    struct mg_diag diag = {.line = 0};
    char name[NAME_BYTES];
    int count, none;
    if (!mg_view_ends(mg_view_cstr(base), MG_VIEW(".lua")) ||
        snprintf(name, sizeof name, "%.*s", (int)strlen(base) - 4, base) >= (int)sizeof name)
        return;
    mg_err err = try_one(name, -1, &count, &diag);
    for (int i = 0; err == MG_OK && i < count; i++)
        err = try_one(name, i, &none, &diag);
    if (err == MG_OK)
        return;
    const char *text = diag.text;
    int line = diag.line ? diag.line : take_line(name, &text);
    line = line ? line : line_of_key(path, text);
    fprintf(checking->out, "%s:%d: %s\n", path, line ? line : 1, text);
    checking->totals->mistakes++;
}

void mg_check_adapters(FILE *out, struct mg_check_totals *totals)
{
    struct checking checking = {out, totals};
    mg_embedded_each_own("adapters/", "", check_file, &checking);
}
