/* The file:
 *
 *     {"version": 1, "collected": "2026-11-24", "source": "…", "models": [
 *       {"model": "claude-opus-5", "also": ["claude-opus-5.0"], "vendor": "anthropic", "context_window": 1000000,
 *        "max_output": 128000, "input": ["text", "image"], "output": ["text"], "tools": true, "prefill": false,
 *        "refuses": ["sampling"], "deprecated": "2027-01-01", "retires": "2027-06-01"}]}
 */
#include "meter/models.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/arena.h"
#include "base/embed.h"
#include "base/log.h"
#include "base/map.h"
#include "base/mem.h"
#include "http/json.h"

enum { MAX_BYTES = 4 << 20, MAX_TOKENS = 100000000 };
#define DAY_US (UINT64_C(86400) * 1000000u)

const char *const mg_modality_names[MG_MODALITY_COUNT] = {
#define X(name) #name,
    MG_MODALITY_LIST(X)
#undef X
};

const char *const mg_ability_names[MG_ABILITY_COUNT] = {
#define X(name) #name,
    MG_ABILITY_LIST(X)
#undef X
};

struct models {
    struct mg_arena arena;
    struct mg_model *rows;
    size_t count;
    struct mg_map by_name;
    const char *collected, *source;
    const struct models *below;        /* what it stands on; NULL: nothing */
    struct models *before;             /* imported ones that were in force before: somebody may still look at their rows */
};

struct reader {
    struct models *models;             /* NULL: a single one is read */
    struct mg_arena *arena;            /* borrowed; where its strings go */
    const char *file;
    mg_view model;                     /* where it is, for messages */
    struct mg_diag *diag;
};

/* ---- reading ----------------------------------------------------------------------------------- */

__attribute__((format(printf, 2, 3))) static mg_err bad(struct reader *reader, const char *fmt, ...)
{
    char text[160];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    return mg_diag_set(reader->diag, MG_E_CONFIG, reader->file, 0, "%.*s%s%s", MG_FMT(reader->model),
                       reader->model.len ? ": " : "", text);
}

static const char *keep(struct reader *reader, mg_view text)
{
    return mg_arena_printf(reader->arena, "%.*s", MG_FMT(text)).ptr;
}

static mg_err read_tokens(struct reader *reader, const struct mg_json *value, const char *name, uint32_t *out)
{
    int64_t number = 0;
    if (!value)
        return MG_OK;
    if (!mg_json_i64(value, &number) || number < 1 || number > MAX_TOKENS)
        return bad(reader, "%s must be a whole number of tokens", name);
    *out = (uint32_t)number;
    return MG_OK;
}

static mg_err read_modalities(struct reader *reader, const struct mg_json *list, uint32_t *out_bits)
{
    if (list)
        *out_bits = 0;
    for (const struct mg_json *item = mg_json_first(list); item; item = mg_json_next(item)) {
        int i = 0;
        while (i < MG_MODALITY_COUNT && !mg_view_eq(mg_json_string(item), mg_view_cstr(mg_modality_names[i])))
            i++;
        if (i == MG_MODALITY_COUNT)
            return bad(reader, "there is no modality \"%.*s\"", MG_FMT(mg_json_string(item)));
        *out_bits |= 1u << i;
    }
    return MG_OK;
}

static void read_abilities(const struct mg_json *object, struct mg_model *model)
{
    for (int i = 0; i < MG_ABILITY_COUNT; i++) {
        const struct mg_json *value = mg_json_get(object, mg_ability_names[i]);
        if (value)
            model->can[i] = mg_json_bool(value, false) ? MG_KNOWN_YES : MG_KNOWN_NO;
    }
}

static void read_refusals(struct reader *reader, const struct mg_json *list, struct mg_model *model)
{
    mg_view words = MG_VIEW("");
    for (const struct mg_json *item = mg_json_first(list); item; item = mg_json_next(item))
        words = mg_arena_printf(reader->arena, "%.*s%s%.*s", MG_FMT(words), words.len ? " " : "",
                                MG_FMT(mg_json_string(item)));
    if (mg_json_is(list, MG_JSON_ARRAY))
        model->refuses = keep(reader, words);
}

/* "2026-11-24", or true: nobody says since when. */
static mg_err read_date(struct reader *reader, const struct mg_json *value, const char *name, bool *out_is, uint64_t *out_us)
{
    mg_view text = mg_json_string(value);
    char copy[16] = "", *end;
    struct tm tm = {0};
    if (!value)
        return MG_OK;
    *out_is = text.len || mg_json_bool(value, false);
    if (!text.len)
        return MG_OK;
    memcpy(copy, text.ptr, MG_MIN(text.len, sizeof copy - 1));
    end = strptime(copy, "%Y-%m-%d", &tm);
    int day = tm.tm_mday;              /* timegm makes a March day of a 31st of February */
    time_t second = timegm(&tm);
    if (text.len != 10 || !end || *end || tm.tm_mday != day || second < 0)
        return bad(reader, "%s must be a date: \"2026-11-24\" (UTC)", name);
    *out_us = (uint64_t)second * 1000000u;
    return MG_OK;
}

static bool is_known(mg_view key)
{
    static const char *const known[] = {"model", "also", "vendor", "context_window", "max_output", "input", "output", "refuses",
                                        "deprecated", "retired", "retires"};
    for (size_t i = 0; i < MG_COUNT(known); i++)
        if (mg_view_eq(key, mg_view_cstr(known[i])))
            return true;
    for (int i = 0; i < MG_ABILITY_COUNT; i++)
        if (mg_view_eq(key, mg_view_cstr(mg_ability_names[i])))
            return true;
    return false;
}

static mg_err read_names(struct reader *reader, const struct mg_json *object, struct mg_model *model)
{
    struct mg_map *map = &reader->models->by_name;
    if (mg_map_put(map, reader->model, model))
        return bad(reader, "it is there twice");
    for (const struct mg_json *item = mg_json_first(mg_json_get(object, "also")); item; item = mg_json_next(item))
        if (!mg_json_string(item).len || mg_map_put(map, mg_json_string(item), model))
            return bad(reader, "also: \"%.*s\" is no name, or there twice", MG_FMT(mg_json_string(item)));
    return MG_OK;
}

/* What is said of it; the rest stays as it was. */
static mg_err read_facts(struct reader *reader, const struct mg_json *object, struct mg_model *model)
{
    uint64_t since_us = 0;
    for (const struct mg_json *member = mg_json_first(object); member; member = mg_json_next(member))
        if (!is_known(mg_json_key(member)))
            return bad(reader, "there is no field \"%.*s\"", MG_FMT(mg_json_key(member)));
    MG_TRY(read_tokens(reader, mg_json_get(object, "context_window"), "context_window", &model->context_window));
    MG_TRY(read_tokens(reader, mg_json_get(object, "max_output"), "max_output", &model->max_output));
    MG_TRY(read_modalities(reader, mg_json_get(object, "input"), &model->input));
    MG_TRY(read_modalities(reader, mg_json_get(object, "output"), &model->output));
    read_abilities(object, model);
    read_refusals(reader, mg_json_get(object, "refuses"), model);
    MG_TRY(read_date(reader, mg_json_get(object, "deprecated"), "deprecated", &model->deprecated, &model->deprecated_us));
    MG_TRY(read_date(reader, mg_json_get(object, "retires"), "retires", &model->retired, &model->retires_us));
    return read_date(reader, mg_json_get(object, "retired"), "retired", &model->retired, &since_us);
}

/* In a catalogue on top of another one: what that one knows of the model, under what this one says. */
static mg_err read_model(struct reader *reader, const struct mg_json *object)
{
    struct mg_model *model = &reader->models->rows[reader->models->count];
    reader->model = mg_json_string(mg_json_get(object, "model"));
    if (!reader->model.len)
        return bad(reader, "model is missing");
    const struct models *below = reader->models->below;
    const struct mg_model *base = below ? mg_map_get(&below->by_name, reader->model) : NULL;
    mg_view vendor = mg_json_string(mg_json_get(object, "vendor"));
    if (base)
        *model = *base;
    model->name = keep(reader, reader->model);
    model->vendor = vendor.len || !base ? keep(reader, vendor) : base->vendor;
    MG_TRY(read_names(reader, object, model));
    MG_TRY(read_facts(reader, object, model));
    reader->models->count++;
    reader->model = MG_VIEW_NONE;
    return MG_OK;
}

static mg_err read_all(struct reader *reader, const struct mg_json *tree)
{
    struct models *models = reader->models;
    const struct mg_json *list = mg_json_get(tree, "models");
    int64_t version = 0;
    if (!mg_json_i64(mg_json_get(tree, "version"), &version) || version != 1 || !mg_json_is(list, MG_JSON_ARRAY))
        return bad(reader, "this is no catalogue of models: \"version\" must be 1 and \"models\" a list");
    models->collected = keep(reader, mg_json_string(mg_json_get(tree, "collected")));
    models->source = keep(reader, mg_json_string(mg_json_get(tree, "source")));
    models->rows = mg_arena_array(&models->arena, struct mg_model, mg_json_count(list) + 1);
    for (const struct mg_json *item = mg_json_first(list); item; item = mg_json_next(item))
        MG_TRY(read_model(reader, item));
    return MG_OK;
}

static void models_free(struct models *models)
{
    mg_map_fini(&models->by_name);
    mg_arena_fini(&models->arena);
    mg_free(models);
}

static mg_err parse(mg_view json, const char *file, const struct models *below, struct models **out_models, struct mg_diag *diag)
{
    struct mg_json *tree;
    struct mg_json_error error = {0, "it is too long"};
    if (mg_json_parse(json, MAX_BYTES, &tree, &error) != MG_OK)
        return mg_diag_set(diag, MG_E_CONFIG, file, 0, "it is no JSON: %s at byte %zu", error.reason, error.offset);
    struct models *models = mg_new(struct models);
    struct reader reader = {.models = models, .arena = &models->arena, .file = file, .diag = diag};
    models->below = below;
    mg_arena_init(&models->arena, 16384);
    mg_map_init(&models->by_name);
    mg_err err = read_all(&reader, tree);
    mg_json_free(tree);
    if (err != MG_OK)
        models_free(models);
    else
        *out_models = models;
    return err;
}

mg_err mg_models_check(mg_view json, const char *file, struct mg_diag *diag)
{
    struct models *models = NULL;
    MG_TRY(parse(json, file, NULL, &models, diag));
    models_free(models);
    return MG_OK;
}

mg_err mg_model_read(mg_view json, const char *name, const struct mg_model *base, struct mg_arena *arena, struct mg_model *out,
                     struct mg_diag *diag)
{
    struct mg_json *tree;
    struct mg_json_error error = {0, "it is too long"};
    struct reader reader = {.arena = arena, .model = mg_view_cstr(name), .diag = diag};
    if (mg_json_parse(json, MAX_BYTES, &tree, &error) != MG_OK)
        return mg_diag_set(diag, MG_E_CONFIG, NULL, 0, "it is no JSON: %s at byte %zu", error.reason, error.offset);
    struct mg_model model = base ? *base : (struct mg_model){.vendor = ""};
    model.name = base ? base->name : mg_arena_strdup(arena, name);
    mg_err err = read_facts(&reader, tree, &model);
    mg_json_free(tree);
    if (err == MG_OK)
        *out = model;
    return err;
}

/* ---- the one the binary carries, and what was imported on top of it ------------------------------ */

static pthread_once_t once = PTHREAD_ONCE_INIT;
static struct models *builtin;         /* NULL: there is none, so that nothing is known */
static _Atomic(struct models *) imported;        /* NULL: nothing was */

static void load(void)
{
    const struct mg_embedded_file *file = mg_embedded_find("config/models.json");
    struct mg_diag diag = {.line = 0};
    if (file && parse(mg_view_of(file->data, file->size), "config/models.json", NULL, &builtin, &diag) != MG_OK)
        mg_log_error("models.failed", "%s: %s", diag.file, diag.text);
}

static const struct models *below_all(void)
{
    pthread_once(&once, load);
    return builtin;
}

/* The uppermost. */
static const struct models *all(void)
{
    const struct models *top = atomic_load_explicit(&imported, memory_order_acquire);
    return top ? top : below_all();
}

mg_err mg_models_use(mg_view json, const char *file, struct mg_diag *diag)
{
    struct models *models = NULL;
    if (json.len)
        MG_TRY(parse(json, file, below_all(), &models, diag));
    struct models *before = atomic_load(&imported);
    if (models)
        models->before = before;
    if (models || before)
        atomic_store_explicit(&imported, models ? models : before, memory_order_release);
    return MG_OK;
}

void mg_models_release(void)
{
    struct models *models = atomic_exchange(&imported, NULL);
    while (models) {
        struct models *before = models->before;
        models_free(models);
        models = before;
    }
}

static void count_row(void *arg, const struct mg_model *model)
{
    (void)model;
    ++*(size_t *)arg;
}

struct mg_models_facts mg_models_facts(void)
{
    const struct models *models = all();
    if (!models)
        return (struct mg_models_facts){"", "", 0};
    size_t count = 0;
    mg_models_each(count_row, &count);
    return (struct mg_models_facts){models->collected, models->source, count};
}

void mg_models_each(mg_model_cb cb, void *arg)
{
    const struct models *top = all(), *below = top ? top->below : NULL;
    for (size_t i = 0; top && i < top->count; i++)
        cb(arg, &top->rows[i]);
    for (size_t i = 0; below && i < below->count; i++)
        if (!mg_map_get(&top->by_name, mg_view_cstr(below->rows[i].name)))
            cb(arg, &below->rows[i]);
}

/* ---- finding ----------------------------------------------------------------------------------- */

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* Up to the first c, if there is one. */
static mg_view before(mg_view name, char c)
{
    const char *at = memchr(name.ptr, c, name.len);
    return at ? mg_view_head(name, (size_t)(at - name.ptr)) : name;
}

/* "us.anthropic.claude-opus-5" and "anthropic/claude-opus-5" without what stands before the model; "gpt-5.5" as it is. */
static mg_view without_owner(mg_view name)
{
    for (size_t i = name.len; i-- > 1;)
        if (name.ptr[i - 1] == '/' || (name.ptr[i - 1] == '.' && !is_digit(name.ptr[i])))
            return mg_view_skip(name, i);
    return name;
}

/* "-v1", which stands behind a date, so before that goes. */
static mg_view without_revision(mg_view name)
{
    size_t len = name.len;
    while (len > 0 && is_digit(name.ptr[len - 1]))
        len--;
    return len < name.len && len > 2 && name.ptr[len - 1] == 'v' && name.ptr[len - 2] == '-' ? mg_view_head(name, len - 2) : name;
}

/* "-20261001" and "-2026-10-01". */
static mg_view without_date(mg_view name)
{
    size_t digits = 0, len = name.len;
    while (len > 0 && (is_digit(name.ptr[len - 1]) || (name.ptr[len - 1] == '-' && digits < 8))) {
        digits += is_digit(name.ptr[len - 1]);
        len--;
        if (digits == 8 && len > 0 && name.ptr[len - 1] == '-')
            return mg_view_head(name, len - 1);
    }
    return name;
}

static const struct mg_model *look_up(const struct models *models, mg_view name)
{
    const struct mg_model *found = mg_map_get(&models->by_name, name);
    return found || !models->below ? found : mg_map_get(&models->below->by_name, name);
}

const struct mg_model *mg_model_find(mg_view name)
{
    const struct models *models = all();
    if (!models || !name.len)
        return NULL;
    const struct mg_model *found = look_up(models, name);
    for (int step = 0; !found && step < 3; step++) {
        name = step == 0 ? before(before(without_owner(name), '@'), ':') : step == 1 ? without_revision(name) : without_date(name);
        found = name.len ? look_up(models, name) : NULL;
    }
    return found;
}

bool mg_model_ends(const struct mg_model *model, uint64_t now_us, unsigned *out_days)
{
    bool gone = model->retires_us ? model->retires_us <= now_us : model->retired;
    *out_days = gone || !model->retires_us ? 0 : (unsigned)((model->retires_us - now_us + DAY_US - 1) / DAY_US);
    return gone || (model->retires_us && *out_days <= MG_MODEL_SOON_DAYS);
}
