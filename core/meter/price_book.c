#include <errno.h>
#include <stdatomic.h>
#include <unistd.h>

#include "base/mem.h"
#include "meter/prices.h"
#include "store/folder.h"

struct edition {
    struct mg_prices *prices;
    struct edition *before;
};

struct mg_price_book {
    _Atomic(struct mg_prices *) now;
    struct edition *newest; /* owned; all that were ever in force */
};

struct mg_price_book *mg_price_book_new(void)
{
    return mg_new(struct mg_price_book);
}

void mg_price_book_free(struct mg_price_book *book)
{
    for (struct edition *edition = book ? book->newest : NULL; edition;) {
        struct edition *before = edition->before;
        mg_prices_free(edition->prices);
        mg_free(edition);
        edition = before;
    }
    mg_free(book);
}

const struct mg_prices *mg_price_book_now(const struct mg_price_book *book)
{
    return book ? atomic_load_explicit(&book->now, memory_order_acquire) : NULL;
}

mg_err mg_price_book_load(struct mg_price_book *book, const char *data_dir, bool *out_changed,
                          struct mg_diag *diag)
{
    char path[MG_FOLDER_PATH_BYTES];
    struct mg_prices *prices;
    const struct mg_prices *now = mg_price_book_now(book);
    MG_TRY(mg_folder_path(data_dir, "prices.json", path));
    if (access(path, F_OK) != 0 && errno == ENOENT)
        MG_TRY(mg_prices_builtin(&prices, diag));
    else
        MG_TRY(mg_prices_load(path, &prices, diag));

    bool same = now && mg_prices_facts(now).fingerprint == mg_prices_facts(prices).fingerprint;
    *out_changed = !same;
    if (same) {
        mg_prices_free(prices);
        return MG_OK;
    }
    struct edition *edition = mg_new(struct edition);
    *edition = (struct edition){prices, book->newest};
    book->newest = edition;
    atomic_store_explicit(&book->now, prices, memory_order_release);
    return MG_OK;
}
