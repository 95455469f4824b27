/* A public list → what stands in <data>/models.json (meter/models.h):
 *
 *     [{"id": "openai", "models": [{"id": "gpt-6-sol", "context_window": 1050000, "deprecated": true, …}]}]
 *
 * Of each vendor that the binary's own catalogue has; what aggregators call models stands for somebody else's. */
#include <sys/stat.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#include "base/map.h"
#include "base/mem.h"
#include "http/json.h"
#include "meter/models.h"
#include "store/folder.h"

enum { LIST_BYTES = 16 << 20, CATALOGUE_BYTES = 4 << 20 };

struct writer {
    struct mg_buf *out;
    struct mg_models_import *import;
    struct mg_map taken;               /* ids: a model is there once */
};

/* What the list calls a vendor, and what the catalogue does. */
static mg_view vendor_of(mg_view id)
{
    return mg_view_eq(id, MG_VIEW("x-ai")) ? MG_VIEW("xai") : id;
}

struct look {
    mg_view vendor;
    bool found;
};

static void see_vendor(void *arg, const struct mg_model *model)
{
    struct look *look = arg;
    look->found |= mg_view_eq(look->vendor, mg_view_cstr(model->vendor));
}

static bool is_vendor(mg_view name)
{
    struct look look = {name, false};
    mg_models_each(see_vendor, &look);
    return look.found;
}

static mg_err put_model(struct writer *writer, mg_view vendor, const struct mg_json *model)
{
    mg_view id = mg_json_string(mg_json_get(model, "id"));
    const struct mg_model *known = mg_model_find(id);
    bool deprecated = mg_json_bool(mg_json_get(model, "deprecated"), false);
    int64_t window = 0;
    if (!mg_json_i64(mg_json_get(model, "context_window"), &window) || window < 1)
        window = 0;
    if (!id.len || (!window && !deprecated) || mg_view_has_controls(id) || mg_map_put(&writer->taken, id, writer)) {
        writer->import->left_out++;
        return MG_OK;
    }
    writer->import->models++;
    writer->import->changed += !known || (window && known->context_window != (uint64_t)window) || (deprecated && !known->deprecated);
    MG_TRY(mg_buf_put(writer->out, writer->import->models > 1 ? MG_VIEW(",\n {\"model\":\"") : MG_VIEW("\n {\"model\":\"")));
    MG_TRY(mg_buf_put_json(writer->out, id));
    MG_TRY(mg_buf_putf(writer->out, "\",\"vendor\":\"%.*s\"", MG_FMT(vendor)));
    if (window)
        MG_TRY(mg_buf_putf(writer->out, ",\"context_window\":%" PRId64, window));
    return mg_buf_put(writer->out, deprecated ? MG_VIEW(",\"deprecated\":true}") : MG_VIEW("}"));
}

static mg_err put_vendor(struct writer *writer, const struct mg_json *provider)
{
    mg_view vendor = vendor_of(mg_json_string(mg_json_get(provider, "id")));
    const struct mg_json *models = mg_json_get(provider, "models");
    bool ours = vendor.len > 0 && is_vendor(vendor);
    if (!ours)
        writer->import->left_out += mg_json_count(models);
    for (const struct mg_json *model = ours ? mg_json_first(models) : NULL; model; model = mg_json_next(model))
        MG_TRY(put_model(writer, vendor, model));
    return MG_OK;
}

static mg_err put_list(struct writer *writer, const struct mg_json *providers, const char *collected)
{
    MG_TRY(mg_buf_putf(writer->out, "{\"version\":1,\"collected\":\"%s\",\"source\":\"genai-prices\",\"models\":[", collected));
    for (const struct mg_json *provider = mg_json_first(providers); provider; provider = mg_json_next(provider))
        MG_TRY(put_vendor(writer, provider));
    return mg_buf_put(writer->out, MG_VIEW("]}\n"));
}

/* A catalogue already: as it is. */
static mg_err copy_catalogue(mg_view json, const struct mg_json *tree, struct mg_buf *out, struct mg_models_import *import)
{
    import->models = import->changed = mg_json_count(mg_json_get(tree, "models"));
    return mg_buf_put(out, json);
}

static mg_err convert(mg_view json, const struct mg_json *tree, const char *collected, struct mg_buf *out, struct mg_models_import *import)
{
    struct writer writer = {out, import, {0}};
    if (!mg_json_is(tree, MG_JSON_ARRAY))
        return copy_catalogue(json, tree, out, import);
    mg_map_init(&writer.taken);
    mg_err err = put_list(&writer, tree, collected);
    mg_map_fini(&writer.taken);
    return err;
}

mg_err mg_models_convert(mg_view json, const char *file, const char *collected, struct mg_buf *out,
                         struct mg_models_import *out_import, struct mg_diag *diag)
{
    struct mg_json *tree;
    struct mg_json_error error = {0, "it is too long"};
    *out_import = (struct mg_models_import){0};
    if (mg_json_parse(json, LIST_BYTES, &tree, &error) != MG_OK)
        return mg_diag_set(diag, MG_E_CONFIG, file, 0, "it is no JSON: %s at byte %zu", error.reason, error.offset);
    mg_err err = convert(json, tree, collected, out, out_import);
    mg_json_free(tree);
    if (err != MG_OK)
        return mg_diag_set(diag, err, file, 0, "what comes of it is too long");
    MG_TRY(mg_models_check(mg_buf_view(out), file, diag));
    return out_import->models ? MG_OK
                              : mg_diag_set(diag, MG_E_CONFIG, file, 0, "there is no model in it whose vendor is known here (moongate models)");
}

/* ---- the folder -------------------------------------------------------------------------------- */

static mg_err read_file(FILE *file, struct mg_buf *out)
{
    MG_TRY(mg_buf_reserve(out, CATALOGUE_BYTES));
    mg_buf_grew(out, fread(mg_buf_tail(out), 1, CATALOGUE_BYTES, file));
    return feof(file) ? MG_OK : MG_E_TOO_LARGE;
}

mg_err mg_models_use_folder(const char *data_dir, struct mg_diag *diag)
{
    static struct timespec in_force;   /* of the file that is; one thread at a time */
    char path[MG_FOLDER_PATH_BYTES];
    struct stat seen;
    struct mg_buf text;
    MG_TRY(mg_folder_path(data_dir, "models.json", path));
    FILE *file = fopen(path, "rbe");
    if (!file)
        return errno == ENOENT ? MG_OK : mg_diag_set(diag, MG_E_CONFIG, path, 0, "it cannot be read");
    mg_buf_init(&text, CATALOGUE_BYTES + 1);
    mg_err err = MG_OK;
    bool same = fstat(fileno(file), &seen) == 0 && seen.st_mtim.tv_sec == in_force.tv_sec && seen.st_mtim.tv_nsec == in_force.tv_nsec;
    if (!same && (err = read_file(file, &text)) != MG_OK)
        mg_diag_set(diag, err, path, 0, "it is too long, or cannot be read");
    else if (!same && (err = mg_models_use(mg_buf_view(&text), path, diag)) == MG_OK)
        in_force = seen.st_mtim;
    fclose(file);
    mg_buf_fini(&text);
    return err;
}
