#include "base/err.h"

#include <stdio.h>

static const struct {
    const char *name;
    int status;
    bool retry;
    const char *text;
} rows[] = {
#define X(name, status, retry, text) {#name, status, retry, text},
    MG_ERR_LIST(X)
#undef X
};

const char *mg_err_name(mg_err err)
{
    return rows[err].name;
}

const char *mg_err_text(mg_err err)
{
    return rows[err].text;
}

int mg_err_status(mg_err err)
{
    return rows[err].status;
}

bool mg_err_retry(mg_err err)
{
    return rows[err].retry;
}

mg_err mg_diag_set(struct mg_diag *diag, mg_err err, const char *file, int line, const char *fmt, ...)
{
    if (!diag)
        return err;
    va_list args;
    va_start(args, fmt);
    snprintf(diag->file, sizeof diag->file, "%s", file ? file : "");
    diag->line = line;
    vsnprintf(diag->text, sizeof diag->text, fmt, args);
    va_end(args);
    return err;
}

void mg_diag_print(const struct mg_diag *diag, char *out, unsigned long size)
{
    if (diag->file[0] && diag->line > 0)
        snprintf(out, size, "%s:%d: %s", diag->file, diag->line, diag->text);
    else if (diag->file[0])
        snprintf(out, size, "%s: %s", diag->file, diag->text);
    else
        snprintf(out, size, "%s", diag->text);
}
