/* failure.h - the closed list of failure classes, and what each means by default.
 *
 * The default taxonomy (lua/default/taxonomy.lua) and every project's own answer with one of these
 * names; what nothing matches is server_error. The rows follow the wire reference's failure
 * taxonomy: action when nobody says otherwise, whether it is the client's own fault, and the HTTP
 * status a client sees when this is the last word. */
#ifndef MG_METER_FAILURE_H
#define MG_METER_FAILURE_H

#include <stdbool.h>

#include "base/view.h"

/* What to do after an attempt. `retry` repeats the same plan entry, `fallback` takes the next. */
#define MG_ACTION_LIST(X) X(accept) X(retry) X(fallback) X(fail)

enum mg_action {
#define X(name) MG_ACTION_##name,
    MG_ACTION_LIST(X)
#undef X
    MG_ACTION_COUNT
};

/* Stored by number: rows may only be added at the end; so may actions. */
/*    name               action    client  status  */
#define MG_CLASS_LIST(X)                                                                           \
    X(none,              accept,   0, 200) /* the attempt succeeded */                             \
    X(network,           fallback, 0, 502)                                                         \
    X(timeout_connect,   fallback, 0, 504)                                                         \
    X(timeout_ttft,      fallback, 0, 504)                                                         \
    X(timeout_idle,      fallback, 0, 504)                                                         \
    X(timeout_total,     fallback, 0, 504)                                                         \
    X(rate_limited,      fallback, 0, 429)                                                         \
    X(quota_billing,     fallback, 0, 429)                                                         \
    X(overloaded,        fallback, 0, 503)                                                         \
    X(server_error,      fallback, 0, 502)                                                         \
    X(auth,              fallback, 0, 502)                                                         \
    X(permission,        fallback, 0, 502)                                                         \
    X(model_not_found,   fallback, 0, 404)                                                         \
    X(invalid_request,   fail,     1, 400)                                                         \
    X(context_length,    fail,     1, 400)                                                         \
    X(payload_too_large, fail,     1, 413)                                                         \
    X(content_filter,    fail,     1, 400)                                                         \
    X(refusal,           accept,   1, 200)                                                         \
    X(empty_response,    fallback, 0, 502)                                                         \
    X(truncated_stream,  fallback, 0, 502)                                                         \
    X(invalid_json,      fallback, 0, 502)                                                         \
    X(schema_mismatch,   fallback, 0, 502)                                                         \
    X(conflict,          retry,    0, 409)                                                         \
    X(cancelled,         fail,     0, 499)                                                         \
    X(state_lost,        fail,     1, 404)

enum mg_class {
#define X(name, action, client, status) MG_CLASS_##name,
    MG_CLASS_LIST(X)
#undef X
    MG_CLASS_COUNT
};

const char *mg_class_name(enum mg_class class_);
enum mg_action mg_class_action(enum mg_class class_);
bool mg_class_is_client_fault(enum mg_class class_);
int mg_class_status(enum mg_class class_);
bool mg_class_find(mg_view name, enum mg_class *out_class);     /* false: no such class */

const char *mg_action_name(enum mg_action action);
bool mg_action_find(mg_view name, enum mg_action *out_action);

#endif
