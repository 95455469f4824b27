/* moongate models: what is known of models, and what they cost. Nothing is fetched: the binary carries
 * a catalogue, and `import` puts what a public list says on top of it. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "cli/catalogue.h"
#include "cli/cli.h"
#include "cli/place.h"
#include "cli/retiring.h"
#include "meter/models.h"
#include "meter/prices.h"

struct arguments {
    const char *data, *config, *collected, *what;      /* what: a vendor, the model, or the file */
    bool json, retiring;
    char data_dir[MG_FOLDER_PATH_BYTES];
    const struct mg_prices *prices;
    size_t count;
};

static int list(struct arguments *a);
static int show(struct arguments *a);
static int import(struct arguments *a);

static int with_prices(struct arguments *a, int (*then)(struct arguments *a))
{
    struct mg_price_book *book = mg_price_book_new();
    struct mg_diag diag = {.line = 0};
    bool changed;
    int end;
    if (mg_price_book_load(book, a->data_dir, &changed, &diag) == MG_OK) {
        a->prices = mg_price_book_now(book);
        end = then(a);
    } else {
        end = mg_cli_failed("models", &diag);
    }
    mg_price_book_free(book);
    return end;
}

int mg_cli_models(int argc, char **argv)
{
    struct arguments a = {.json = false};
    struct mg_diag diag = {.line = 0};
    const struct mg_option options[] = {
        {"--json", NULL, NULL, MG_OPTION_FLAG, &a.json, "print a JSON object a line; what is not known is null"},
        {"--retiring", NULL, NULL, MG_OPTION_FLAG, &a.retiring, "workflows with a model that is gone, or will be within 30 days"},
        {"--collected", NULL, "DATE", MG_OPTION_TEXT, &a.collected, "import: when the list was looked up, if not today"},
        {"--data", NULL, "DIR", MG_OPTION_TEXT, &a.data, "the data folder, for prices and imported models, instead of the configuration's"},
        {"--config", "-c", "FILE", MG_OPTION_TEXT, &a.config, "the configuration that names the data folder, and has the workflows"},
    };
    int end = mg_cli_parse(&argc, argv, options, MG_COUNT(options), 2);
    if (end != MG_CLI_GO)
        return end;
    static const char *const verbs[] = {"list", "show", "import", NULL};
    struct mg_catalogue_verb said;
    if ((end = mg_catalogue_verb("models", argc, argv, verbs, "the name of a model, or of a file", &said)) != MG_CLI_GO)
        return end;
    a.what = said.what;
    if (mg_place_data(a.data, a.config, a.data_dir, &diag) != MG_OK || mg_models_use_folder(a.data_dir, &diag) != MG_OK)
        return mg_cli_failed("models", &diag);
    if (a.retiring)
        end = mg_retiring_list(a.config, a.json);
    else if (strcmp(said.verb, "import") == 0)
        end = import(&a);
    else
        end = with_prices(&a, strcmp(said.verb, "show") == 0 ? show : list);
    mg_models_release();
    return end;
}

/* ---- words for what is known ------------------------------------------------------------------- */

static const struct mg_price *price_of(const struct arguments *a, const struct mg_model *model)
{
    struct mg_price_call call = {.provider = mg_view_cstr(model->vendor), .model = mg_view_cstr(model->name), .at_us = mg_wall_us()};
    return mg_prices_find(a->prices, &call);
}

static const char *dollars(char out[24], const struct mg_price *price, enum mg_rate rate)
{
    return mg_catalogue_dollars(out, price ? price->steps[0].rates[rate] : MG_RATE_NONE);
}

static const char *tokens(char out[16], uint32_t count)
{
    if (!count)
        return "-";
    snprintf(out, 16, count >= 1000000 && count % 10000 == 0 ? "%.4gM" : count % 1000 == 0 ? "%.4gk" : "%.0f",
             count >= 1000000 && count % 10000 == 0 ? count / 1e6 : count % 1000 == 0 ? count / 1e3 : (double)count);
    return out;
}

static bool is_gone(const struct mg_model *model)
{
    return model->retires_us ? model->retires_us <= mg_wall_us() : model->retired;
}

/* "deprecated since 2026-05-22", "retires 2026-12-06", … ; empty: neither is known. */
static const char *life(char out[96], const struct mg_model *model)
{
    char day[16];
    int len = 0;
    out[0] = '\0';
    if (model->deprecated)
        len = snprintf(out, 96, "deprecated%s%s", model->deprecated_us ? " since " : "",
                       model->deprecated_us ? mg_catalogue_date(day, model->deprecated_us) : "");
    if (model->retired)
        snprintf(out + len, 96 - (size_t)len, "%s%s%s%s", len ? ", " : "", is_gone(model) ? "retired" : "retires",
                 model->retires_us ? " " : "", model->retires_us ? mg_catalogue_date(day, model->retires_us) : "");
    return out;
}

static void print_words(const char *label, const char *const *names, int count, uint32_t bits)
{
    printf("  %-18s", label);
    for (int i = 0, first = 1; i < count; i++)
        if (bits & 1u << i) {
            printf("%s%s", first ? "" : ", ", names[i]);
            first = 0;
        }
    printf("%s\n", bits ? "" : "not known");
}

/* ---- JSON -------------------------------------------------------------------------------------- */

static void print_number(const char *name, uint64_t value)
{
    if (value)
        printf(",\"%s\":%" PRIu64, name, value);
    else
        printf(",\"%s\":null", name);
}

static void print_list(const char *name, const char *const *names, int count, uint32_t bits)
{
    printf(",\"%s\":%s", name, bits ? "[" : "null");
    for (int i = 0, first = 1; i < count; i++)
        if (bits & 1u << i) {
            printf("%s\"%s\"", first ? "" : ",", names[i]);
            first = 0;
        }
    if (bits)
        putchar(']');
}

static void print_refuses(const char *words)
{
    printf(",\"refuses\":%s", words ? "[" : "null");
    for (const char *at = words; at && *at;) {
        size_t len = strcspn(at, " ");
        printf("%s\"%.*s\"", at == words ? "" : ",", (int)len, at);
        at += len + (at[len] == ' ');
    }
    if (words)
        putchar(']');
}

static void print_json(const struct arguments *a, const struct mg_model *model)
{
    static const char *const words[] = {"null", "false", "true"};
    const struct mg_price *price = price_of(a, model);
    char day[16];
    printf("{\"model\":\"%s\",\"vendor\":\"%s\"", model->name, model->vendor);
    print_number("context_window", model->context_window);
    print_number("max_output", model->max_output);
    print_list("input", mg_modality_names, MG_MODALITY_COUNT, model->input);
    print_list("output", mg_modality_names, MG_MODALITY_COUNT, model->output);
    for (int i = 0; i < MG_ABILITY_COUNT; i++)
        printf(",\"%s\":%s", mg_ability_names[i], words[model->can[i]]);
    print_refuses(model->refuses);
    printf(",\"deprecated\":%s,\"deprecated_since\":", model->deprecated ? "true" : "false");
    printf(model->deprecated_us ? "\"%s\"" : "null", mg_catalogue_date(day, model->deprecated_us));
    printf(",\"retired\":%s,\"retires\":", is_gone(model) ? "true" : "false");
    printf(model->retires_us ? "\"%s\"" : "null", mg_catalogue_date(day, model->retires_us));
    printf(",\"price\":%s", price ? "{" : "null");
    for (int i = 0, first = 1; price && i < MG_RATE_COUNT; i++) {
        static const char *const names[] = {
#define X(name, parent) #name,
            MG_RATE_LIST(X)
#undef X
        };
        if (price->steps[0].rates[i] == MG_RATE_NONE)
            continue;
        printf("%s\"%s\":%" PRId64, first ? "" : ",", names[i], price->steps[0].rates[i]);
        first = 0;
    }
    printf("%s}\n", price ? "}" : "");
}

/* ---- list -------------------------------------------------------------------------------------- */

static void print_row(void *arg, const struct mg_model *model)
{
    struct arguments *a = arg;
    char window[16], most[16], in[24], out[24], end[96];
    if (a->what && strcmp(a->what, model->vendor) != 0)
        return;
    a->count++;
    if (a->json) {
        print_json(a, model);
        return;
    }
    const struct mg_price *price = price_of(a, model);
    printf("%-10s %-34s %8s %8s %9s %9s%s%s\n", model->vendor, model->name, tokens(window, model->context_window),
           tokens(most, model->max_output), dollars(in, price, MG_RATE_input), dollars(out, price, MG_RATE_output), *life(end, model) ? "  " : "", end);
}

static int list(struct arguments *a)
{
    if (!a->json)
        printf("%-10s %-34s %8s %8s %9s %9s\n", "vendor", "model", "reads", "writes", "$/M in", "$/M out");
    mg_models_each(print_row, a);
    if (a->count == 0 && a->what)
        return mg_cli_complain(MG_EXIT_FAILED, "models", "no model of \"%s\" is known", a->what);
    return MG_EXIT_OK;
}

/* ---- show -------------------------------------------------------------------------------------- */

static void print_page(const struct arguments *a, const struct mg_model *model)
{
    static const char *const words[] = {"not known", "no", "yes"};
    const struct mg_paint *paint = mg_cli_paint(stdout);
    const struct mg_price *price = price_of(a, model);
    struct mg_models_facts facts = mg_models_facts();
    char window[16], most[16], in[24], out[24], cached[24], end[96];
    printf("%s%s%s of %s\n", paint->bold, model->name, paint->off, model->vendor);
    printf("  %-18s%s\n", "reads", model->context_window ? tokens(window, model->context_window) : "not known");
    printf("  %-18s%s\n", "writes", model->max_output ? tokens(most, model->max_output) : "not known");
    print_words("input", mg_modality_names, MG_MODALITY_COUNT, model->input);
    print_words("output", mg_modality_names, MG_MODALITY_COUNT, model->output);
    for (int i = 0; i < MG_ABILITY_COUNT; i++)
        printf("  %-18s%s\n", mg_ability_names[i], words[model->can[i]]);
    printf("  %-18s%s\n", "refuses", !model->refuses ? "not known" : *model->refuses ? model->refuses : "nothing known");
    printf("  %-18s%s\n", "life", *life(end, model) ? end : "no end is known");
    if (price)
        printf("  %-18s%s in, %s from the cache, %s out; US dollars per million tokens\n", "price", dollars(in, price, MG_RATE_input),
               dollars(cached, price, MG_RATE_cached_read), dollars(out, price, MG_RATE_output));
    else
        printf("  %-18s%s\n", "price", "not known");
    printf("collected %s from %s\n", facts.collected, facts.source);
}

static int show(struct arguments *a)
{
    const struct mg_model *model = mg_model_find(mg_view_cstr(a->what));
    if (!model)
        return mg_cli_complain(MG_EXIT_FAILED, "models", "nothing is known of \"%s\": it is used all the same, with what its target says", a->what);
    if (a->json)
        print_json(a, model);
    else
        print_page(a, model);
    return MG_EXIT_OK;
}

/* ---- import ------------------------------------------------------------------------------------ */

static int import(struct arguments *a)
{
    struct mg_buf text, out;
    struct mg_models_import result = {0};
    struct mg_diag diag = {.line = 0};
    char path[MG_FOLDER_PATH_BYTES], date[16];
    mg_buf_init(&text, MG_PRICES_MAX_BYTES + 65536);
    mg_buf_init(&out, MG_PRICES_MAX_BYTES);
    mg_err err = mg_catalogue_read(a->what, &text, &diag);
    if (err == MG_OK)
        err = mg_models_convert(mg_buf_view(&text), a->what, a->collected ? a->collected : mg_catalogue_today(date), &out, &result, &diag);
    if (err == MG_OK)
        err = mg_catalogue_write(a->data_dir, "models.json", mg_buf_view(&out), path, &diag);
    mg_buf_fini(&text);
    mg_buf_fini(&out);
    if (err != MG_OK)
        return mg_cli_failed("models", &diag);
    printf("%zu models are in %s, %zu of them new or changed; a running gateway takes them with the next change of a project, or SIGHUP\n",
           result.models, path, result.changed);
    if (result.left_out > 0)
        printf("%zu models were left out: of aggregators, or nothing is said of them but a price\n", result.left_out);
    return MG_EXIT_OK;
}
