/* exporting.h - the sinks that gateway.lua names: each becomes an export (meter/export.h) with its thread.
 *
 * A file sink appends lines. A webhook sink POSTs a batch as application/x-ndjson with the headers
 * `x-moongate-sink`, `x-moongate-batch` and `idempotency-key` (both the batch's id: the same batch has
 * the same one) and, when there is a token, `authorization: Bearer`. With a signing key it is signed as
 * Standard Webhooks has it: `webhook-id` (the batch's id), `webhook-timestamp` (seconds since 1970, of
 * this try) and `webhook-signature`, "v1," and the base64 of the HMAC-SHA256 of "id.timestamp.body"; the
 * key is the text, or what its base64 stands for behind "whsec_". A 2xx answer means that it has the
 * events; anything else, or none within WEBHOOK_MS, and the batch comes again. */
#ifndef MG_GATEWAY_EXPORTING_H
#define MG_GATEWAY_EXPORTING_H

#include "config/config.h"
#include "meter/export.h"

enum { MG_EXPORT_WEBHOOK_MS = 30000 };

struct mg_exporting {
    struct mg_export *exports[MG_CONFIG_EXPORTS];          /* owned */
    int count;
};

/* After the recorder and the scripts' library started. On an error stop as well. */
MG_MUST_USE mg_err mg_exporting_start(struct mg_exporting *exporting, const struct mg_config_gateway *config,
                                      struct mg_recorder *recorder, struct mg_diag *diag);
/* As many states as there are exports. Any thread. */
int mg_exporting_states(const struct mg_exporting *exporting, struct mg_export_state out_states[MG_CONFIG_EXPORTS]);
void mg_exporting_stop(struct mg_exporting *exporting);      /* before the recorder; harmless when not started */

#endif
