/* prom_out.h - print Prometheus text straight into a buffer; private to core/watch.
 *
 * The first error sticks, so that a row of calls needs no checks. */
#ifndef MG_WATCH_PROM_OUT_H
#define MG_WATCH_PROM_OUT_H

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

#include "base/buf.h"
#include "base/mem.h"

struct mg_prom_out {
    struct mg_buf *buf; /* borrowed */
    mg_err err;
};

/* Lines of at most 1023 bytes; what is longer is cut. */
__attribute__((format(printf, 2, 3))) static inline void mg_prom_print(struct mg_prom_out *out,
                                                                       const char *fmt, ...)
{
    char line[1024];
    va_list args;
    va_start(args, fmt);
    int n = vsnprintf(line, sizeof line, fmt, args);
    va_end(args);
    if (out->err == MG_OK)
        out->err = mg_buf_put(out->buf, mg_view_of(line, MG_MIN((size_t)n, sizeof line - 1)));
}

/* What stands before the samples of a metric. */
static inline void mg_prom_head(struct mg_prom_out *out, const char *name, const char *type,
                                const char *help)
{
    mg_prom_print(out, "# HELP moongate_%s %s.\n# TYPE moongate_%s %s\n", name, help, name, type);
}

/* What may stand between the quotes of a label; a longer one is cut. */
static inline const char *mg_prom_escape(char *room, size_t size, const char *label)
{
    size_t len = 0;
    for (; *label && len + 2 < size; label++) {
        if (*label == '"' || *label == '\\' || *label == '\n')
            room[len++] = '\\';
        room[len++] = *label == '\n' ? 'n' : *label;
    }
    room[len] = '\0';
    return room;
}

#endif
