/* moongate prices: the catalogue that usage is priced by; `list` shows it, `import` takes a new one.
 *
 * Import writes <data>/prices.json whole or not at all; a running gateway takes it within a second. Nothing is fetched. What
 * would leave most models without a price is refused unless it is meant, and prices that change a lot are told. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/mem.h"
#include "cli/catalogue.h"
#include "cli/cli.h"
#include "cli/history.h"
#include "cli/place.h"
#include "meter/prices.h"

enum { SHOWN = 20 };                   /* prices that change a lot, by name */

struct arguments {
    const char *collected, *data, *config;
    bool json, force;
    const char *what;                  /* a provider, or the file */
    char data_dir[MG_FOLDER_PATH_BYTES];
};

static int list(struct arguments *a);
static int import(struct arguments *a);

int mg_cli_prices(int argc, char **argv)
{
    struct arguments a = {.json = false};
    struct mg_diag diag = {.line = 0};
    const struct mg_option options[] = {
        {"--json", NULL, NULL, MG_OPTION_FLAG, &a.json, "list: print a JSON object a line, in micro-US-dollars per million tokens"},
        {"--collected", NULL, "DATE", MG_OPTION_TEXT, &a.collected, "import: when the prices were looked up, if not today"},
        {"--force", NULL, NULL, MG_OPTION_FLAG, &a.force, "import: also when it has less than half of the models that have prices now"},
        {"--data", NULL, "DIR", MG_OPTION_TEXT, &a.data, "the data folder instead of the configuration's"},
        {"--config", "-c", "FILE", MG_OPTION_TEXT, &a.config, "the configuration that names the data folder"},
    };
    int end = mg_cli_parse(&argc, argv, options, MG_COUNT(options), 2);
    if (end != MG_CLI_GO)
        return end;
    static const char *const verbs[] = {"list", "import", NULL};
    struct mg_catalogue_verb said;
    if ((end = mg_catalogue_verb("prices", argc, argv, verbs, "a file: a genai-prices v2 document, or a catalogue", &said)) != MG_CLI_GO)
        return end;
    a.what = said.what;
    bool importing = strcmp(said.verb, "import") == 0;
    if (mg_place_data(a.data, a.config, a.data_dir, &diag) != MG_OK)
        return mg_cli_failed("prices", &diag);
    return importing ? import(&a) : list(&a);
}

/* ---- list */

struct listing {
    const struct arguments *arguments;
    size_t count;
};

static void print_step(const char *model, const char *note, const struct mg_price_step *step)
{
    static const enum mg_rate shown[] = {MG_RATE_input, MG_RATE_cached_read, MG_RATE_cached_write, MG_RATE_output};
    char text[24];
    printf("  %-28s %-22s", model, note);
    for (size_t i = 0; i < MG_COUNT(shown); i++)
        printf(" %11s", mg_catalogue_dollars(text, step->rates[shown[i]]));
    putchar('\n');
}

static void print_price(const char *model, const struct mg_price *price)
{
    char note[32] = "", fee[24];
    time_t second = (time_t)(price->from_us / 1000000u);
    struct tm tm;
    gmtime_r(&second, &tm);
    if (price->from_us)
        strftime(note, sizeof note, "from %Y-%m-%d", &tm);
    print_step(model, note, &price->steps[0]);
    for (int i = 1; i < price->step_count; i++) {
        snprintf(note, sizeof note, "input > %" PRIu64, price->steps[i].above);
        print_step("", note, &price->steps[i]);
    }
    if (price->request > 0)
        printf("  %-28s each request  %s\n", "", mg_catalogue_dollars(fee, (int64_t)(price->request / 1000000)));
    for (int i = 0; i < price->tier_count; i++)
        printf("  %-28s tier %-12s x %u.%03u\n", "", price->tiers[i].name, price->tiers[i].permille / 1000,
               price->tiers[i].permille % 1000);
}

static void print_json(const char *project, const char *provider, const char *model, const struct mg_price *price)
{
    printf("{\"provider\":\"%s\",\"project\":%s%s%s,\"model\":\"%s\",\"from_us\":%" PRIu64 ",\"steps\":[", provider,
           *project ? "\"" : "", *project ? project : "null", *project ? "\"" : "", model, price->from_us);
    for (int i = 0; i < price->step_count; i++) {
        const struct mg_price_step *step = &price->steps[i];
        printf("%s{\"above\":%" PRIu64, i ? "," : "", step->above);
#define X(name, parent)                                                                            \
    if (step->rates[MG_RATE_##name] != MG_RATE_NONE)                                               \
        printf(",\"" #name "\":%" PRId64, step->rates[MG_RATE_##name]);
        MG_RATE_LIST(X)
#undef X
        putchar('}');
    }
    printf("],\"request\":%" PRIu64 ",\"tiers\":{", price->request);
    for (int i = 0; i < price->tier_count; i++)
        printf("%s\"%s\":%u", i ? "," : "", price->tiers[i].name, price->tiers[i].permille);
    printf("}}\n");
}

static void print_model(void *arg, const char *project, const char *provider, const char *model, const struct mg_price *prices,
                        int count)
{
    struct listing *listing = arg;
    const struct mg_paint *paint = mg_cli_paint(stdout);
    if (listing->arguments->what && strcmp(listing->arguments->what, provider) != 0)
        return;
    listing->count++;
    if (!listing->arguments->json)
        printf("%s%s/%s%s%s%s\n", paint->bold, provider, model, *project ? "  of project " : "", project, paint->off);
    for (int i = 0; i < count; i++) {
        if (listing->arguments->json)
            print_json(project, provider, model, &prices[i]);
        else
            print_price("", &prices[i]);
    }
}

static int list(struct arguments *a)
{
    struct mg_price_book *book = mg_price_book_new();
    struct mg_diag diag = {.line = 0};
    struct listing listing = {.arguments = a};
    bool changed;
    if (mg_price_book_load(book, a->data_dir, &changed, &diag) != MG_OK) {
        mg_price_book_free(book);
        return mg_cli_failed("prices", &diag);
    }
    const struct mg_prices *prices = mg_price_book_now(book);
    struct mg_prices_facts facts = mg_prices_facts(prices);
    if (!a->json)
        printf("US dollars per million tokens, collected %s from %s\n\n  %-28s %-22s %11s %11s %11s %11s\n", facts.collected,
               facts.source, "", "", "input", "cache read", "cache write", "output");
    mg_prices_each(prices, print_model, &listing);
    mg_price_book_free(book);
    if (listing.count == 0 && a->what)
        return mg_cli_complain(MG_EXIT_FAILED, "prices", "there are no prices of \"%s\"", a->what);
    return MG_EXIT_OK;
}

/* ---- import */

struct comparison {
    const struct mg_prices *before;
    size_t other, much;                /* models whose price is another one; of these, twice as much or half */
};

static bool differs_much(int64_t before, int64_t after)
{
    return before != MG_RATE_NONE && after != MG_RATE_NONE && (after > 2 * before || before > 2 * after);
}

static void compare_model(void *arg, const char *project, const char *provider, const char *model, const struct mg_price *prices,
                          int count)
{
    struct comparison *comparison = arg;
    struct mg_price_call call = {.project = mg_view_cstr(project), .provider = mg_view_cstr(provider), .model = mg_view_cstr(model),
                                 .at_us = (uint64_t)time(NULL) * 1000000u};
    const struct mg_price *before = mg_prices_find(comparison->before, &call), *after = NULL;
    for (int i = 0; i < count; i++)
        if (prices[i].from_us <= call.at_us)
            after = &prices[i];
    if (!before || !after || (before->request == after->request &&
                              memcmp(before->steps[0].rates, after->steps[0].rates, sizeof after->steps[0].rates) == 0))
        return;
    const int64_t *old = before->steps[0].rates, *new = after->steps[0].rates;
    bool much = differs_much(old[MG_RATE_input], new[MG_RATE_input]) || differs_much(old[MG_RATE_output], new[MG_RATE_output]);
    comparison->other++;
    if (much && comparison->much++ < SHOWN) {
        char was_in[24], was_out[24], is_in[24], is_out[24];
        printf("%s/%s: %s in and %s out become %s and %s\n", provider, model, mg_catalogue_dollars(was_in, old[MG_RATE_input]),
               mg_catalogue_dollars(was_out, old[MG_RATE_output]), mg_catalogue_dollars(is_in, new[MG_RATE_input]), mg_catalogue_dollars(is_out, new[MG_RATE_output]));
    }
}

static mg_err compare(const struct arguments *a, const struct mg_prices *before, const struct mg_prices *after, struct mg_diag *diag)
{
    struct comparison comparison = {.before = before};
    size_t now = mg_prices_facts(before).models, then = mg_prices_facts(after).models;
    if (then == 0)
        return mg_diag_set(diag, MG_E_CONFIG, a->what, 0, "there is no price in it");
    if (then * 2 < now && !a->force)
        return mg_diag_set(diag, MG_E_CONFIG, a->what, 0,
                           "it has prices of %zu models, and %zu have one now: the others would cost nothing that anybody knows (--force)", then, now);
    mg_prices_each(after, compare_model, &comparison);
    if (comparison.other > 0)
        printf("%zu models have another price now, %zu of them more than twice or less than half of it\n", comparison.other,
               comparison.much);
    return MG_OK;
}

/* Against what is in force, before anything is written. A catalogue in force that does not read is no reason to refuse. */
static mg_err check_import(const struct arguments *a, mg_view text, struct mg_diag *diag)
{
    struct mg_price_book *book = mg_price_book_new();
    struct mg_prices *after = NULL;
    bool changed;
    mg_err err = mg_prices_parse(text, a->what, &after, diag);
    if (err == MG_OK && mg_price_book_load(book, a->data_dir, &changed, NULL) == MG_OK)
        err = compare(a, mg_price_book_now(book), after, diag);
    mg_prices_free(after);
    mg_price_book_free(book);
    return err;
}

static int import(struct arguments *a)
{
    struct mg_buf text, out;
    struct mg_prices_import result = {0};
    struct mg_diag diag = {.line = 0};
    char path[MG_FOLDER_PATH_BYTES], date[16];
    mg_buf_init(&text, MG_PRICES_MAX_BYTES + 65536);
    mg_buf_init(&out, MG_PRICES_MAX_BYTES);
    mg_err err = mg_catalogue_read(a->what, &text, &diag);
    if (err == MG_OK)
        err = mg_prices_convert(mg_buf_view(&text), a->what, a->collected ? a->collected : mg_catalogue_today(date), &out, &result, &diag);
    if (err == MG_OK)
        err = check_import(a, mg_buf_view(&out), &diag);
    if (err == MG_OK)
        err = mg_catalogue_write(a->data_dir, "prices.json", mg_buf_view(&out), path, &diag);
    mg_buf_fini(&text);
    mg_buf_fini(&out);
    if (err != MG_OK)
        return mg_cli_failed("prices", &diag);
    printf("%zu models of %zu providers are in %s; a running gateway takes them within a second\n", result.models,
           result.providers, path);
    if (result.left_out > 0)
        printf("%zu models were left out: no price per token, a price by the hour of the day, or finer than a microdollar per "
               "million tokens\n",
               result.left_out);
    if (result.partial > 0)
        printf("%zu models also have prices that cannot be expressed and are not charged: searches, pictures, a longer cache, variants "
               "by service tier or batch\n",
               result.partial);
    return MG_EXIT_OK;
}
