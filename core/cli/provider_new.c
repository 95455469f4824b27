#include "cli/provider_new.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/place.h"

enum { PATH_BYTES = 4096 };

static const char adapter[] =
    "--- %.*s.lua - say here who this vendor is, and which page of its documentation you went by.\n"
    "return {\n"
    "  name = \"%.*s\",                          -- as the file\n"
    "  extends = \"openai_chat\",                 -- or \"anthropic\", \"gemini\", \"openai_responses\", \"bedrock\", \"cohere\"\n"
    "  base_url = \"https://api.%.*s.example/v1\", -- what stands before the paths below\n"
    "  auth = { kind = \"bearer\" },              -- or { kind = \"header\", header = \"x-api-key\" }, { kind = \"query\", query = \"key\" }\n"
    "  operations = {                           -- what it offers; false: it does not\n"
    "    chat = \"/chat/completions\",\n"
    "    completions = false,\n"
    "    embeddings = false,\n"
    "  },\n"
    "  edits = {                                -- what is called otherwise, and what is not taken\n"
    "    -- { fields = { \"max_completion_tokens\" }, rename = \"max_tokens\" },\n"
    "    -- { fields = { \"user\" } },\n"
    "  },\n"
    "  rules = {                                -- what its errors mean, the first that matches\n"
    "    -- { status = 400, code = \"queue_full\", class = \"overloaded\" },\n"
    "  },\n"
    "}\n";

static const char page[] =
    "# %.*s\n\n"
    "What it sends, and what comes out. Replace both by what you see: `moongate provider test` shows what came out.\n\n"
    "```answer\n"
    "{\"choices\":[{\"message\":{\"content\":\"Hello\"},\"finish_reason\":\"stop\"}],\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":1}}\n"
    "```\n\n"
    "```tap\n"
    "text Hello\n"
    "usage input 3 output 1\n"
    "end good stop model - tier -\n"
    "```\n";

/* Not over something that is there. */
static mg_err write_new(const char *path, const char *text, mg_view name, struct mg_diag *diag)
{
    FILE *file = fopen(path, "wxe");
    if (!file)
        return mg_diag_set(diag, MG_E_CONFIG, path, 0, errno == EEXIST ? "it is there already" : "cannot write it: %s", strerror(errno));
    int len = (int)name.len;
    for (const char *at = text; *at;) {
        size_t plain = strcspn(at, "%");
        fwrite(at, 1, plain, file);
        at += plain;
        if (*at) {
            fprintf(file, "%.*s", len, name.ptr);
            at += strlen("%.*s");
        }
    }
    return fclose(file) == 0 ? MG_OK : mg_diag_set(diag, MG_E_SYSTEM, path, 0, "cannot write it: %s", strerror(errno));
}

static bool is_name(mg_view name)
{
    bool good = name.len > 0 && name.len <= 64;
    for (size_t i = 0; i < name.len && good; i++)
        good = (name.ptr[i] >= 'a' && name.ptr[i] <= 'z') || (name.ptr[i] >= '0' && name.ptr[i] <= '9') || name.ptr[i] == '_' || name.ptr[i] == '-';
    return good;
}

int mg_provider_new(const char *file)
{
    char path[PATH_BYTES];
    struct mg_diag diag = {.line = 0};
    const char *slash = strrchr(file, '/');
    mg_view name = mg_view_cstr(slash ? slash + 1 : file);
    if (!mg_view_ends(name, MG_VIEW(".lua")) || !is_name(mg_view_head(name, name.len - 4)) || strlen(file) >= PATH_BYTES)
        return mg_cli_complain(MG_EXIT_USAGE, "provider", "say where: a file such as adapters/mine.lua, of lower-case letters, digits, _ and -");
    name.len -= 4;
    snprintf(path, sizeof path, "%s", file);
    mg_err err = mg_place_make_folders(path, &diag);
    if (err == MG_OK)
        err = write_new(path, adapter, name, &diag);
    memcpy(path + strlen(path) - 4, ".md", sizeof ".md");
    if (err == MG_OK)
        err = write_new(path, page, name, &diag);
    if (err != MG_OK)
        return mg_cli_failed("provider", &diag);
    printf("%s and %s are a beginning; try them with `moongate provider test %s`\n", file, path, file);
    return MG_EXIT_OK;
}
