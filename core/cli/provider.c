/* moongate provider: what is known of providers (`list`, `show`), trying an adapter of one's own (`test`), and the kill
 * switch of one that is configured. */
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/embed.h"
#include "base/mem.h"
#include "chat/transcript.h"
#include "cli/catalogue.h"
#include "cli/cli.h"
#include "cli/place.h"
#include "cli/provider_new.h"
#include "config/config.h"
#include "script/script.h"

enum { PAGE_BYTES = 4 << 20, NAMES = 256, PATH_BYTES = 4096 };

struct arguments {
    const char *config;
    const char *verb, *what, *page;
    bool json;
};

struct loaded {
    struct mg_arena arena;
    struct mg_adapter_decl decl;
    struct mg_adapter *adapter;
};

static int list(bool json);
static int show(const char *name);
static int test(const char *file, const char *page);

static bool is_verb(const char *word)
{
    return strcmp(word, "list") == 0 || strcmp(word, "show") == 0 || strcmp(word, "test") == 0 || strcmp(word, "new") == 0;
}

/* The adapters of the configuration's own folder are known, too. */
static int find_folder(const char *option)
{
    struct mg_arena arena;
    struct mg_config_gateway *gateway = NULL;
    struct mg_diag diag = {.line = 0};
    mg_arena_init(&arena, 1024);
    const char *path = mg_place_config(option, &arena);
    mg_err err = path ? mg_config_load_gateway(path, &gateway, &diag) : MG_OK;
    mg_config_gateway_free(gateway);
    mg_arena_fini(&arena);
    return err == MG_OK ? MG_EXIT_OK : mg_cli_failed("provider", &diag);
}

int mg_cli_provider(int argc, char **argv)
{
    struct arguments a = {.config = NULL};
    const struct mg_option options[] = {
        {"--json", NULL, NULL, MG_OPTION_FLAG, &a.json, "list: print a JSON object a line"},
        {"--config", "-c", "FILE", MG_OPTION_TEXT, &a.config, "gateway.lua, to find adapters of your own"},
    };
    if (argc < 2 || !is_verb(argv[1]))
        return mg_cli_switch(argc, argv);
    int end = mg_cli_parse(&argc, argv, options, MG_COUNT(options), 3);
    if (end != MG_CLI_GO)
        return end;
    a.verb = argv[1];
    a.what = argc > 2 ? argv[2] : NULL;
    if ((argc > 2) != (strcmp(a.verb, "list") != 0) || (argc > 3 && strcmp(a.verb, "test") != 0))
        return mg_cli_complain(MG_EXIT_USAGE, "provider", "say: provider list, provider show ADAPTER, provider new FILE, or provider test FILE [PAGE]");
    if (strcmp(a.verb, "test") == 0)
        return test(a.what, argc > 3 ? argv[3] : NULL);
    if (strcmp(a.verb, "new") == 0)
        return mg_provider_new(a.what);
    end = find_folder(a.config);
    return end != MG_EXIT_OK ? end : a.what ? show(a.what) : list(a.json);
}

/* ---- one adapter ----------------------------------------------------------------------------- */

static mg_err load(struct loaded *out, const char *name, int speaks, struct mg_diag *diag)
{
    *out = (struct loaded){.adapter = NULL};
    mg_arena_init(&out->arena, 4096);
    mg_err err = mg_adapter_load_spoken(name, speaks, &out->arena, &out->decl, diag);
    if (err == MG_OK)
        err = mg_adapter_new(&out->decl, &out->adapter, diag);
    return err;
}

static void drop(struct loaded *loaded)
{
    mg_adapter_free(loaded->adapter);
    mg_arena_fini(&loaded->arena);
}

static void print_auth(const struct mg_adapter_auth *auth)
{
    static const char *const how[MG_AUTH_COUNT] = {
        [MG_AUTH_sigv4] = "AWS Signature Version 4", [MG_AUTH_gcp] = "a token of Google", [MG_AUTH_entra] = "a token of Microsoft Entra",
        [MG_AUTH_none] = "none"};
    if (how[auth->kind])
        printf("  key         %s\n", how[auth->kind]);
    else if (auth->kind == MG_AUTH_query)
        printf("  key         ?%s=KEY\n", auth->query);
    else
        printf("  key         %s: %sKEY\n", auth->header, auth->prefix);
}

static void print_operations(const struct mg_adapter_decl *decl)
{
    for (int i = 0; i < decl->operation_count; i++) {
        const struct mg_adapter_operation *operation = &decl->operations[i];
        bool converse = strcmp(operation->surface, decl->converse) == 0;
        printf("  %-11s %s%s\n", i ? "" : "offers", operation->path, converse ? "  (conversations)" : "");
        if (strcmp(operation->path, operation->stream_path) != 0)
            printf("              %s  (streamed)\n", operation->stream_path);
    }
}

static void print_edits(const struct mg_adapter_decl *decl)
{
    for (int i = 0; i < decl->edit_count; i++) {
        const struct mg_body_edit *edit = &decl->edits[i];
        printf("  %-11s %s%s%s\n", i ? "" : "changes", edit->field,
               edit->op == MG_EDIT_DROP ? " is left out" : edit->op == MG_EDIT_RENAME ? " is called " : " becomes ",
               edit->op == MG_EDIT_DROP ? "" : edit->to);
    }
}

static void print_adapter(const struct mg_adapter_decl *decl)
{
    printf("%s\n  dialect     %s\n  address     %s\n", decl->name, decl->dialect, decl->base_url ? decl->base_url : "your own");
    for (int i = 0; i < decl->auth_count; i++)
        print_auth(&decl->auth[i]);
    for (int i = 0; i < decl->header_count; i++)
        printf("  header      %s: %s\n", decl->headers[i].name, decl->headers[i].value);
    print_operations(decl);
    print_edits(decl);
}

static int show(const char *name)
{
    struct mg_diag diag = {.line = 0};
    struct loaded one;
    mg_err err = load(&one, name, -1, &diag);
    for (int i = -1; err == MG_OK && i < one.decl.speaks_count; i++) {
        struct loaded spoken;
        err = load(&spoken, name, i, &diag);
        if (err == MG_OK)
            print_adapter(&spoken.decl);
        drop(&spoken);
    }
    drop(&one);
    return err == MG_OK ? MG_EXIT_OK : mg_cli_failed("provider", &diag);
}

/* ---- all of them ----------------------------------------------------------------------------- */

struct names {
    char *items[NAMES];                /* owned */
    size_t count;
};

static void take_name(void *arg, const char *file)
{
    struct names *names = arg;
    mg_view name = mg_view_skip(mg_view_cstr(file), strlen("adapters/"));
    if (names->count == NAMES || !mg_view_ends(name, MG_VIEW(".lua")))
        return;
    char *copy = mg_alloc(name.len);
    memcpy(copy, name.ptr, name.len - 4);
    names->items[names->count++] = copy;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static void print_json(const struct mg_adapter_decl *decl)
{
    printf("{\"adapter\":\"%s\",\"dialect\":\"%s\",\"address\":%s%s%s,\"speaks\":[", decl->name, decl->dialect, decl->base_url ? "\"" : "",
           decl->base_url ? decl->base_url : "null", decl->base_url ? "\"" : "");
    for (int i = 0; i < decl->speaks_count; i++)
        printf("%s\"%s\"", i ? "," : "", decl->speaks[i]);
    printf("],\"auth\":[");
    for (int i = 0; i < decl->auth_count; i++)
        printf("%s\"%s\"", i ? "," : "", mg_auth_kind_name(decl->auth[i].kind));
    printf("],\"operations\":[");
    for (int i = 0; i < decl->operation_count; i++)
        printf("%s\"%s\"", i ? "," : "", decl->operations[i].surface);
    printf("]}\n");
}

static int print_line(const char *name, bool json)
{
    struct mg_diag diag = {.line = 0};
    struct loaded one;
    mg_err err = load(&one, name, -1, &diag);
    if (err == MG_OK && json) {
        print_json(&one.decl);
    } else if (err == MG_OK) {
        printf("%-18s %-17s %s\n", name, one.decl.dialect, one.decl.base_url ? one.decl.base_url : "-");
        for (int i = 0; i < one.decl.speaks_count; i++)
            printf("%-18s %s\n", "", one.decl.speaks[i]);
    }
    drop(&one);
    return err == MG_OK ? MG_EXIT_OK : mg_cli_failed("provider", &diag);
}

static int list(bool json)
{
    struct names names = {.count = 0};
    int end = MG_EXIT_OK;
    mg_embedded_each("adapters/", take_name, &names);
    qsort(names.items, names.count, sizeof names.items[0], by_name);
    if (!json)
        printf("%-18s %-17s %s\n", "ADAPTER", "DIALECT", "ADDRESS");
    for (size_t i = 0; i < names.count; i++) {
        int one = print_line(names.items[i], json);
        end = one != MG_EXIT_OK ? one : end;
        mg_free(names.items[i]);
    }
    return end;
}

/* ---- trying one ------------------------------------------------------------------------------ */

/* "dir/mine.lua" → the folder "dir" in front of the adapters, and the name "mine". */
static bool take_folder(const char *file, char name[PATH_BYTES])
{
    char folder[PATH_BYTES], base[PATH_BYTES];
    mg_view path = mg_view_cstr(file);
    if (!mg_view_ends(path, MG_VIEW(".lua")) || path.len >= PATH_BYTES)
        return false;
    snprintf(folder, sizeof folder, "%s", file);
    snprintf(base, sizeof base, "%s", file);
    mg_embedded_folder("adapters/", dirname(folder));
    snprintf(name, PATH_BYTES, "%s", basename(base));
    name[strlen(name) - strlen(".lua")] = '\0';
    return true;
}

struct report {
    const char *page;
    int faults;
};

static void on_fault(void *arg, const struct mg_transcript_fault *fault)
{
    struct report *report = arg;
    report->faults++;
    printf("%s:%zu: this %.*s, cut at byte %zu, gives\n\n%.*s\n\nand the page wants\n\n%.*s\n\n", report->page, fault->line,
           MG_FMT(fault->kind), fault->cut, MG_FMT(fault->got), MG_FMT(fault->want));
}

static int run_page(const struct mg_adapter *adapter, const char *path)
{
    struct mg_diag diag = {.line = 0};
    struct report report = {.page = path};
    struct mg_buf page;
    int cases = 0;
    mg_buf_init(&page, PAGE_BYTES);
    mg_err err = mg_catalogue_read(path, &page, &diag);
    if (err == MG_OK && (err = mg_transcript_run(adapter, mg_buf_view(&page), on_fault, &report, &cases, &diag)) != MG_OK)
        snprintf(diag.file, sizeof diag.file, "%.*s", (int)sizeof diag.file - 1, path);
    mg_buf_fini(&page);
    if (err != MG_OK)
        return mg_cli_failed("provider", &diag);
    if (cases == 0)
        return mg_cli_complain(MG_EXIT_FAILED, "provider",
                               "%s has no case: blocks of three backticks and \"stream\" or \"answer\" at the beginning of a line, each followed by one "
                               "of \"tap\" (docs: add a provider)", path);
    printf("%d of %d cases come out as the page says\n", cases - report.faults, cases);
    return report.faults ? MG_EXIT_FAILED : MG_EXIT_OK;
}

static int test(const char *file, const char *page)
{
    char name[PATH_BYTES], beside[PATH_BYTES + 4];
    struct mg_diag diag = {.line = 0};
    struct loaded one;
    if (!take_folder(file, name))
        return mg_cli_complain(MG_EXIT_USAGE, "provider", "\"%s\" is no Lua file", file);
    snprintf(beside, sizeof beside, "%.*s.md", (int)(strlen(file) - strlen(".lua")), file);
    mg_err err = load(&one, name, -1, &diag);
    int end = err == MG_OK ? run_page(one.adapter, page ? page : beside) : mg_cli_failed("provider", &diag);
    drop(&one);
    return end;
}
