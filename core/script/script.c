#include "script/script.h"

#include "script/fetch.h"
#include "script/watchdog.h"

mg_err mg_script_init(struct mg_diag *diag)
{
    return mg_watchdog_start(diag);
}

void mg_script_fini(void)
{
    mg_watchdog_stop();
    mg_fetch_release();
}
