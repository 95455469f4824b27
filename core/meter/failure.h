/* failure.h - the closed list of failure classes, and what each means by default.
 *
 * The default taxonomy (lua/default/taxonomy.lua) and every project's own answer with one of these
 * names; what nothing matches is server_error. The rows follow the wire reference's failure
 * taxonomy: action when nobody says otherwise, whether it is the client's own fault, and the HTTP
 * status a client sees when this is the last word. */
#ifndef MG_METER_FAILURE_H
#define MG_METER_FAILURE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/view.h"

/* What to do after an attempt. `retry` repeats the same plan entry, `fallback` takes the next; `next_key` repeats it
 * with another credential of the same account, and takes the next entry when there is none left. */
#define MG_ACTION_LIST(X) X(accept) X(retry) X(fallback) X(fail) X(next_key)

enum mg_action {
#define X(name) MG_ACTION_##name,
    MG_ACTION_LIST(X)
#undef X
    MG_ACTION_COUNT
};

/* Who is to blame. Only the provider's counts for a breaker; the account's benches a credential. */
enum mg_blame { MG_BLAME_nobody, MG_BLAME_provider, MG_BLAME_account, MG_BLAME_client };

/* Stored by number: rows may only be added at the end; so may actions. `weight` is what a breaker counts, in percent of
 * a failure; `delay_ms` is the least pause before the same target is asked again; `status` is what the client sees when
 * this is the last word.
 *
 *    name               action    blame     weight  delay_ms  status  */
#define MG_CLASS_LIST(X)                                                                           \
    X(none,              accept,   nobody,     0,      0, 200) /* the attempt succeeded */         \
    X(network,           retry,    provider, 100,     50, 502)                                     \
    X(timeout_connect,   retry,    provider, 100,     50, 504)                                     \
    X(timeout_ttft,      fallback, provider, 100,      0, 504)                                     \
    X(timeout_idle,      fallback, provider, 100,      0, 504)                                     \
    X(timeout_total,     fallback, provider,  50,      0, 504)                                     \
    X(rate_limited,      next_key, account,    0,   1000, 429)                                     \
    X(quota_billing,     next_key, account,    0,      0, 429)                                     \
    X(overloaded,        retry,    provider, 100,   1000, 503)                                     \
    X(server_error,      retry,    provider, 100,    250, 502)                                     \
    X(auth,              next_key, account,    0,      0, 502)                                     \
    X(permission,        next_key, account,    0,      0, 502)                                     \
    X(model_not_found,   fallback, account,    0,      0, 404)                                     \
    X(invalid_request,   fail,     client,     0,      0, 400)                                     \
    X(context_length,    fallback, client,     0,      0, 400) /* only to a larger window */       \
    X(payload_too_large, fallback, client,     0,      0, 413) /* only to a larger window */       \
    X(content_filter,    fail,     client,     0,      0, 400)                                     \
    X(refusal,           accept,   client,     0,      0, 200)                                     \
    X(empty_response,    retry,    provider,  50,      0, 502)                                     \
    X(truncated_stream,  retry,    provider, 100,      0, 502)                                     \
    X(invalid_json,      retry,    provider,  50,      0, 502)                                     \
    X(schema_mismatch,   retry,    nobody,     0,      0, 502)                                     \
    X(conflict,          retry,    nobody,     0,    100, 409)                                     \
    X(cancelled,         fail,     nobody,     0,      0, 499)                                     \
    X(state_lost,        fail,     client,     0,      0, 404)

enum mg_class {
#define X(name, action, blame, weight, delay_ms, status) MG_CLASS_##name,
    MG_CLASS_LIST(X)
#undef X
    MG_CLASS_COUNT
};

const char *mg_class_name(enum mg_class class_);
enum mg_action mg_class_action(enum mg_class class_);
enum mg_blame mg_class_blame(enum mg_class class_);
bool mg_class_is_client_fault(enum mg_class class_);
double mg_class_weight(enum mg_class class_);                   /* 0..1, what a breaker counts */
uint32_t mg_class_delay_ms(enum mg_class class_);               /* least pause before the same target */
int mg_class_status(enum mg_class class_);
bool mg_class_find(mg_view name, enum mg_class *out_class);     /* false: no such class */

const char *mg_action_name(enum mg_action action);
bool mg_action_find(mg_view name, enum mg_action *out_action);

#endif
