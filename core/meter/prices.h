/* prices.h - what tokens cost: a catalogue of price lists, and the one calculation.
 *
 * Rates are whole micro-US-dollars per million tokens, which is the same number as pico-US-dollars
 * (10^-12) per token. What providers publish has at most six decimals per million tokens, so a rate
 * is never rounded; a cost is tokens times rate in pico-US-dollars, summed in 128 bits, so it is not
 * rounded either (a service tier that multiplies by an odd factor is, once, to the nearest).
 *
 * Counters are inclusive, as in struct mg_usage: cached tokens are part of the input, reasoning is
 * part of the output. Each token is charged once, at the rate of the narrowest kind it is of; a
 * kind without a rate of its own costs what its parent costs. A fee per request comes on top where anything was read or written.
 *
 * A catalogue is immutable: any thread may ask it, nothing is allocated and nothing is locked. The
 * file it is read from is described in docs/reference/prices.md; config/prices.json is the one the
 * binary carries. */
#ifndef MG_METER_PRICES_H
#define MG_METER_PRICES_H

#include "base/buf.h"
#include "meter/timeline.h"

/* Kinds of tokens that may have a rate, and what each is part of; then what is not counted in tokens: a rate is for a million. */
#define MG_RATE_LIST(X)                                                                            \
    X(input, input)                                                                                \
    X(output, output)                                                                              \
    X(cached_read, input)                                                                          \
    X(cached_write, input)                                                                         \
    X(reasoning, output)                                                                           \
    X(input_audio, input)                                                                          \
    X(output_audio, output)                                                                        \
    X(image, image)                                                                                \
    X(audio_second, audio_second)                                                                  \
    X(character, character)                                                                        \
    X(search, search)

enum mg_rate {
#define X(name, parent) MG_RATE_##name,
    MG_RATE_LIST(X)
#undef X
    MG_RATE_COUNT,
    MG_RATE_TOKENS = MG_RATE_image     /* kinds before it are of tokens, the others are units of their own */
};

enum {
    MG_PRICE_STEPS = 4,                /* context cliffs of a price */
    MG_PRICE_TIERS = 8,                /* service tiers of a price */
    MG_PRICE_PERIODS = 32,             /* prices of one model over time */
    MG_PRICES_MAX_BYTES = 16 << 20,    /* a catalogue file */
};
#define MG_RATE_NONE (-1)              /* no rate of its own */
#define MG_RATE_MAX INT64_C(1000000000000)       /* a dollar for one token */

struct mg_price_step {
    uint64_t above;                    /* holds for the whole call when its input is larger; 0: the base */
    int64_t rates[MG_RATE_COUNT];      /* MG_RATE_NONE: as the parent */
};

struct mg_price_tier {                 /* "batch", "flex", "priority" … as the answer names it */
    char name[16];
    uint32_t permille;                 /* of the rates */
};

struct mg_price {                      /* what one model costs, for some time */
    uint64_t from_us;                  /* wall clock; until the next one. 0: since ever */
    struct mg_price_step steps[MG_PRICE_STEPS + 1];        /* the base, then by growing `above` */
    int step_count;                    /* ≥ 1 */
    uint64_t request;                  /* fee of each answer, in pico-US-dollars; no tier changes it */
    struct mg_price_tier tiers[MG_PRICE_TIERS];  /* one that is not here costs the rates */
    int tier_count;
};

/* A price of just two rates, for targets that have their own. */
struct mg_price mg_price_simple(uint64_t input_rate, uint64_t output_rate);

/* Exact; saturates at UINT64_MAX. */
uint64_t mg_price_cost(const struct mg_price *price, const struct mg_usage *usage, mg_view tier);

/* Rounded up: a limit is never passed by what was rounded away. */
uint64_t mg_microusd(uint64_t picousd);

/* ---- the catalogue */

struct mg_prices;

struct mg_price_call {                 /* one attempt */
    mg_view project, provider;         /* names, as configured */
    mg_view vendor;                    /* whom the provider is, whatever its name; empty: nobody knows */
    mg_view model, served;             /* as asked for, and as the answer names it (may be empty) */
    mg_view tier;                      /* service tier of the answer; may be empty */
    const struct mg_price *own;        /* of its target; NULL: it has none */
    uint64_t at_us;                    /* wall clock of its beginning */
};

/* The price a call goes by; NULL: nobody knows what it costs, which is not the same as nothing. A list of the project's own
 * comes first, then the target's own price, then everybody's lists. Of lists the one with the provider's name comes first,
 * then the vendor's; in each the served model, then the asked one, each as it is written, without a date at its end, then by pattern, the most literal one first. */
const struct mg_price *mg_prices_find(const struct mg_prices *prices, const struct mg_price_call *call);

/* Reads a catalogue. The diag names the file, and the provider and model where a mistake is. */
MG_MUST_USE mg_err mg_prices_parse(mg_view json, const char *file, struct mg_prices **out_prices, struct mg_diag *diag);
MG_MUST_USE mg_err mg_prices_load(const char *path, struct mg_prices **out_prices, struct mg_diag *diag);
/* The one the binary carries. */
MG_MUST_USE mg_err mg_prices_builtin(struct mg_prices **out_prices, struct mg_diag *diag);
void mg_prices_free(struct mg_prices *prices);               /* NULL is a no-op */

struct mg_prices_facts {               /* borrowed from the catalogue */
    const char *collected;             /* date the prices were looked up; "" unknown */
    const char *source;                /* where */
    uint64_t fingerprint;              /* of the bytes: equal files are equal prices */
    size_t models;
};
struct mg_prices_facts mg_prices_facts(const struct mg_prices *prices);

/* Each model of each list, in the order of the file. project "": everybody's. */
typedef void (*mg_prices_cb)(void *arg, const char *project, const char *provider, const char *model,
                             const struct mg_price *prices, int count);
void mg_prices_each(const struct mg_prices *prices, mg_prices_cb cb, void *arg);

/* ---- the catalogue in force */

/* Workers read it at any time, one other thread replaces it. What was replaced is kept until the book goes, since nobody
 * counts its readers; a file with equal bytes replaces nothing. */
struct mg_price_book;

struct mg_price_book *mg_price_book_new(void);
void mg_price_book_free(struct mg_price_book *book);         /* after the last reader; NULL is a no-op */
const struct mg_prices *mg_price_book_now(const struct mg_price_book *book);     /* NULL: none was loaded, or no book */
/* <data>/prices.json, or the one the binary carries when there is none. An error keeps what is in force. */
MG_MUST_USE mg_err mg_price_book_load(struct mg_price_book *book, const char *data_dir, bool *out_changed,
                                      struct mg_diag *diag);

/* ---- import */

struct mg_prices_import {
    size_t providers, models;          /* taken */
    size_t left_out;                   /* models without token prices or with a rule that cannot be expressed */
    size_t partial;                    /* taken, but a part of the price cannot be expressed (searches, pictures, variants) */
};

/* Converts a public price list into a catalogue: a genai-prices v2 document (an array of providers), or one that is a
 * catalogue already. `collected` is the date to write into it (YYYY-MM-DD). */
MG_MUST_USE mg_err mg_prices_convert(mg_view json, const char *file, const char *collected, struct mg_buf *out,
                                     struct mg_prices_import *out_import, struct mg_diag *diag);

#endif
