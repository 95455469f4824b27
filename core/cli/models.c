/* moongate models: what is known of models, and what they cost. Nothing is fetched: the binary carries the catalogue. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/mem.h"
#include "cli/cli.h"
#include "cli/place.h"
#include "meter/models.h"
#include "meter/prices.h"

struct arguments {
    const char *data, *config, *verb, *what;     /* `what`: a vendor, or the model */
    bool json;
    char data_dir[MG_FOLDER_PATH_BYTES];
    const struct mg_prices *prices;
    size_t count;
};

static int list(struct arguments *a);
static int show(struct arguments *a);

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
        {"--data", NULL, "DIR", MG_OPTION_TEXT, &a.data, "the data folder, for its prices, instead of the configuration's"},
        {"--config", "-c", "FILE", MG_OPTION_TEXT, &a.config, "the configuration that names the data folder"},
    };
    int end = mg_cli_parse(&argc, argv, options, MG_COUNT(options), 2);
    if (end != MG_CLI_GO)
        return end;
    a.verb = argc > 1 ? argv[1] : "list";
    a.what = argc > 2 ? argv[2] : NULL;
    bool shows = strcmp(a.verb, "show") == 0;
    if (!shows && strcmp(a.verb, "list") != 0)
        return mg_cli_complain(MG_EXIT_USAGE, "models", "there are \"list\" and \"show MODEL\", not \"%s\"", a.verb);
    if (shows && !a.what)
        return mg_cli_complain(MG_EXIT_USAGE, "models", "show needs the name of a model");
    if (mg_place_data(a.data, a.config, a.data_dir, &diag) != MG_OK)
        return mg_cli_failed("models", &diag);
    return with_prices(&a, shows ? show : list);
}

/* ---- words for what is known ------------------------------------------------------------------- */

static const struct mg_price *price_of(const struct arguments *a, const struct mg_model *model)
{
    struct mg_price_call call = {.provider = mg_view_cstr(model->vendor), .model = mg_view_cstr(model->name), .at_us = mg_wall_us()};
    return mg_prices_find(a->prices, &call);
}

static const char *dollars(char out[24], const struct mg_price *price, enum mg_rate rate)
{
    if (!price || price->steps[0].rates[rate] == MG_RATE_NONE)
        return "-";
    int64_t micro = price->steps[0].rates[rate];
    int len = snprintf(out, 24, "%" PRId64 ".%06" PRId64, micro / 1000000, micro % 1000000);
    while (out[len - 1] == '0' && out[len - 3] != '.')
        out[--len] = '\0';
    return out;
}

static const char *tokens(char out[16], uint32_t count)
{
    if (!count)
        return "-";
    snprintf(out, 16, count >= 1000000 && count % 10000 == 0 ? "%.4gM" : count % 1000 == 0 ? "%.4gk" : "%.0f",
             count >= 1000000 && count % 10000 == 0 ? count / 1e6 : count % 1000 == 0 ? count / 1e3 : (double)count);
    return out;
}

static const char *date(char out[16], uint64_t at_us)
{
    time_t second = (time_t)(at_us / 1000000u);
    struct tm tm;
    gmtime_r(&second, &tm);
    strftime(out, 16, "%Y-%m-%d", &tm);
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
                       model->deprecated_us ? date(day, model->deprecated_us) : "");
    if (model->retired)
        snprintf(out + len, 96 - (size_t)len, "%s%s%s%s", len ? ", " : "", is_gone(model) ? "retired" : "retires",
                 model->retires_us ? " " : "", model->retires_us ? date(day, model->retires_us) : "");
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
    printf(model->deprecated_us ? "\"%s\"" : "null", date(day, model->deprecated_us));
    printf(",\"retired\":%s,\"retires\":", is_gone(model) ? "true" : "false");
    printf(model->retires_us ? "\"%s\"" : "null", date(day, model->retires_us));
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
