/* wait.h - how long to wait, in the many ways in which answers say it.
 *
 * Never more than MG_WAIT_MAX_MS: nobody waits longer, and no sum overflows. */
#ifndef MG_HTTP_WAIT_H
#define MG_HTTP_WAIT_H

#include <stdbool.h>

#include "base/view.h"
#include "http/headers.h"

#define MG_WAIT_MAX_MS (UINT64_C(7) * 24 * 3600 * 1000)

/* "12", "1.5" (seconds), "300ms", "1.5s", "6m0s", "1h2m3.5s", "2d". Blanks around it are no matter; *out_ms is written on
 * true only. */
bool mg_wait_read(mg_view text, uint64_t *out_ms);

/* The same, for a text that begins with one: "1.5s. Please try later" is 1500 too. */
bool mg_wait_read_head(mg_view text, uint64_t *out_ms);

/* Also moments: an HTTP date, an RFC 3339 date, seconds or milliseconds since 1970. 0 when it has passed. */
bool mg_wait_read_until(mg_view text, uint64_t wall_us, uint64_t *out_ms);

/* `retry-after-ms` first, then `retry-after`; 0: neither says anything. */
uint64_t mg_wait_retry_after_ms(struct mg_headers headers, uint64_t wall_us);

#endif
