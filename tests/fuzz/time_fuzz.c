/* time_fuzz.c - a date that is read is written as a date that reads the same; what cron finds is the first moment after. The
 * first byte chooses, eight more are the moment for cron. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "script/time.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool true_, const char *what)
{
    if (!true_) {
        fputs(what, stderr);
        abort();
    }
}

static void check_date(mg_view text)
{
    char out[MG_TIME_BYTES];
    int64_t ms, again;
    if (mg_time_parse(text, &ms) != MG_OK || mg_time_format(ms, out) != MG_OK)
        return;
    must(mg_time_parse(mg_view_cstr(out), &again) == MG_OK && again == ms, "a date changes\n");
}

static void check_cron(mg_view text, int64_t after)
{
    int64_t next, again;
    if (mg_cron_next(text, after, &next) != MG_OK)
        return;
    must(next > after && next % 60000 == 0, "cron goes back\n");
    must(mg_cron_next(text, next - 1, &again) == MG_OK && again == next, "cron skips what it found\n");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    int64_t after = 0;
    if (size < 9)
        return 0;
    memcpy(&after, data + 1, sizeof after);
    mg_view text = mg_view_of((const char *)data + 9, size - 9);
    if (data[0] % 2)
        check_date(text);
    else
        check_cron(text, after % INT64_C(250000000000000));
    return 0;
}
