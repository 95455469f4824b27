#include "gateway/pricing.h"

#include <sys/stat.h>

#include "base/log.h"
#include "store/folder.h"

static struct timespec mtime_of(const char *data_dir)
{
    char path[MG_FOLDER_PATH_BYTES];
    struct stat info;
    if (mg_folder_path(data_dir, "prices.json", path) != MG_OK || stat(path, &info) != 0)
        return (struct timespec){0};
    return info.st_mtim;
}

mg_err mg_pricing_start(struct mg_pricing *pricing, const char *data_dir, struct mg_diag *diag)
{
    bool changed;
    pricing->data_dir = data_dir;
    pricing->mtime = mtime_of(data_dir);
    pricing->book = mg_price_book_new();
    return mg_price_book_load(pricing->book, data_dir, &changed, diag);
}

void mg_pricing_check(struct mg_pricing *pricing)
{
    struct timespec now = mtime_of(pricing->data_dir);
    struct mg_diag diag = {.line = 0};
    char text[1024];
    bool changed = false;
    if (now.tv_sec == pricing->mtime.tv_sec && now.tv_nsec == pricing->mtime.tv_nsec)
        return;
    pricing->mtime = now;
    if (mg_price_book_load(pricing->book, pricing->data_dir, &changed, &diag) != MG_OK) {
        mg_diag_print(&diag, text, sizeof text);
        mg_log_error("prices.kept", "the new catalogue does not read: %s", text);
    } else if (changed) {
        struct mg_prices_facts facts = mg_prices_facts(mg_price_book_now(pricing->book));
        mg_log_info("prices.reloaded", "models=%zu collected=%s", facts.models, facts.collected);
    }
}

void mg_pricing_stop(struct mg_pricing *pricing)
{
    mg_price_book_free(pricing->book);
    pricing->book = NULL;
}
