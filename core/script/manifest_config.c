/* A plugin's settings against the schema of its manifest: what http/json_schema.h has, with defaults filled in. */
#include <stdio.h>
#include <string.h>

#include "base/limits.h"
#include "base/mem.h"
#include "http/json_schema.h"
#include "script/manifest.h"

static mg_err bad(struct mg_diag *diag, const char *pointer, const char *text)
{
    struct mg_diag said = {.line = 0};
    if (diag) {                        /* it is written, so its parts are copied */
        snprintf(said.file, sizeof(said.file), "%s", diag->file);
        said.line = diag->line;
    }
    return mg_diag_set(diag, MG_E_CONFIG, said.file, said.line, "config%s %s", pointer, text);
}

mg_err mg_manifest_config(const struct mg_manifest *manifest, mg_view config, struct mg_arena *arena, mg_view *out_config,
                          struct mg_diag *diag)
{
    struct mg_schema_fault fault;
    struct mg_json *value = NULL;
    const struct mg_json *schema = mg_json_get(manifest->json, "config");
    if (mg_view_eq(config, MG_VIEW("[]")))
        config = MG_VIEW("{}");        /* an empty Lua table is both */
    if (mg_json_parse(config, MG_MAX_LUA_SOURCE_BYTES, &value, NULL) != MG_OK || !mg_json_is(value, MG_JSON_OBJECT)) {
        mg_json_free(value);
        return bad(diag, "", "must be a table of settings");
    }

    struct mg_buf text;
    mg_buf_init(&text, MG_MAX_LUA_SOURCE_BYTES);
    mg_err err = MG_OK;
    if (schema && !mg_schema_allows(schema, value, MG_SCHEMA_LUA, &fault))
        err = bad(diag, fault.pointer, fault.text);
    else if (!schema && mg_json_first(value))
        err = bad(diag, "", "must be empty: the plugin declares no settings");
    if (err == MG_OK)
        err = mg_json_print(value, &text);
    if (err == MG_OK)
        *out_config = mg_arena_dup(arena, mg_buf_view(&text));
    mg_buf_fini(&text);
    mg_json_free(value);
    return err;
}
