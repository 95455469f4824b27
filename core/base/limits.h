/* limits.h - every maximum in one table.
 *
 * Whatever a peer, a client or a plugin can grow is bounded by a row here; where an operator may
 * change it, the row is the default and the config key is named in the comment. */
#ifndef MG_BASE_LIMITS_H
#define MG_BASE_LIMITS_H

/*    name                    value                 what it bounds                                  */
#define MG_LIMIT_LIST(X)                                                                           \
    X(REQUEST_LINE_BYTES, 8192, "request target of a client")                                      \
    X(HEADER_BYTES, 65536, "all header lines of one message (limits.header_bytes)")                \
    X(HEADER_COUNT, 128, "header lines of one message")                                            \
    X(BODY_BYTES, 33554432, "request body (limits.body_bytes)")                                    \
    X(RESPONSE_BODY_BYTES, 67108864, "answer of an upstream that is not streamed")                 \
    X(HELD_BYTES, 1048576, "answer held back before it is committed to the client")                \
    X(BUFFERED_BYTES, 8388608, "events of a stream held back for a plugin that wants all of it")      \
    X(PIPELINE_BYTES, 65536, "bytes of later pipelined requests kept per connection")              \
    X(WRITE_QUEUE_BYTES, 262144, "bytes waiting for a slow peer before reading stops")             \
    X(SSE_EVENT_BYTES, 1048576, "one server-sent event")                                           \
    X(MEDIA_EVENT_BYTES, 33554432, "one server-sent event with a picture or sound in it")           \
    X(UPLOAD_BYTES, 536870912, "body of a form with files (limits.upload_bytes)")                  \
    X(FORM_BYTES, 1048576, "beginning of a form that is kept, in which `model` stands (limits.form_bytes)") \
    X(FORM_PARTS, 256, "parts of a form")                                                          \
    X(FORM_HEADER_BYTES, 8192, "header of one part of a form")                                     \
    X(FORM_NAME_BYTES, 256, "name of one part of a form")                                          \
    X(FORM_FIELDS, 64, "fields of a form that are no files and stand in its kept beginning")       \
    X(STREAM_TOOLS, 128, "tool calls of one translated stream")                                    \
    X(TRANSLATED_BYTES, 8388608, "text kept of one block of a translated stream, of all its calls that wait, and one translated event") \
    X(JSON_DEPTH, 128, "nesting of a JSON document")                                               \
    X(JSON_SPANS, 4096, "messages whose spans are kept of one request")                            \
    X(CLIENT_CONNECTIONS, 16384, "open client connections of one worker (limits.connections)")     \
    X(CLIENT_HEADER_MS, 10000, "a client's time to send its header (limits.header_ms)")            \
    X(CLIENT_BODY_MS, 30000, "a client's time between two reads of its body (limits.body_ms)")     \
    X(CLIENT_IDLE_MS, 75000, "an idle keep-alive client (limits.idle_ms)")                         \
    X(CLIENT_WRITE_MS, 60000, "a client that takes no byte of its answer (limits.write_ms)")       \
    X(POOL_IDLE, 64, "idle connections kept per worker and endpoint")                              \
    X(POOL_IDLE_MS, 30000, "age of an idle upstream connection")                                   \
    X(DNS_ENTRIES, 1024, "names in the DNS cache")                                                 \
    X(DNS_ADDRESSES, 16, "addresses kept of one name")                                             \
    X(TLS_SESSIONS, 1024, "TLS sessions kept for resumption")                                      \
    X(PLAN_ATTEMPTS, 8, "entries of a plan")                                                       \
    X(PLAN_CHOICES, 16, "targets of one weighted group of a plan")                                 \
    X(ATTEMPTS, 16, "upstream calls of one exchange")                                              \
    X(HEDGES, 3, "hedges of one exchange")                                                         \
    X(TARGETS, 256, "targets of a project")                                                        \
    X(WORKFLOWS, 256, "workflows of a project")                                                    \
    X(PROVIDERS, 64, "providers of a project")                                                     \
    X(CREDENTIALS, 16, "API keys of one provider account")                                         \
    X(CALLER_KEYS, 8, "keys of its own that one request may bring")                                \
    X(CALLER_BUCKETS, 32, "breakers that the keys of callers share, of each target")               \
    X(ACCOUNTS, 256, "provider accounts that several projects share")                              \
    X(ACCOUNT_PROJECTS, 64, "projects that share one account")                                     \
    X(HEALTH_ROWS, 32768, "targets, breakers or credentials whose state is kept, each")             \
    X(DIRECT_TARGETS, 4096, "models that only clients named whose state is kept apart, per process")  \
    X(GATE_WAITERS, 4096, "attempts of a worker that wait for a place at their target")            \
    X(RESUMED_BYTES, 1048576, "sent text kept of a stream that another target may have to resume") \
    X(LAST_GOOD_BYTES, 33554432, "last good answers kept per process for offline answers")         \
    X(RESPONSE_CHAIN, 1024, "responses that follow one another and are told again to a provider")  \
    X(RESPONSE_ID_BYTES, 128, "id of a kept response")                                             \
    X(RESPONSE_ITEMS, 256, "items of one answer that can be named later, and names of items in one request") \
    X(RESPONSE_QUEUE_BYTES, 67108864, "responses of all workers on their way into the store")      \
    X(PENALTY_MS, 600000, "how long a taxonomy may bench a target or credential")                  \
    X(PROJECTS, 1024, "projects of a gateway")                                                     \
    X(INSTANCES, 32, "plugin instances of a project")                                              \
    X(GENERATIONS, 4, "live generations of a project")                                             \
    X(LIMIT_ROWS, 131072, "metadata values of all projects whose use is counted, past LIMIT_VALUES_OWN of each") \
    X(LIMIT_VALUES_OWN, 1024, "metadata values that a project has room for whatever others' clients send") \
    X(LIMIT_VALUES, 16384, "metadata values of one project whose use is counted")                  \
    X(LIMIT_FIELDS, 8, "metadata fields of a project or workflow that have limits")                \
    X(LIMIT_VALUE_BYTES, 128, "value of a metadata field that has limits")                         \
    X(KEYS, 65536, "keys of a gateway")                                                            \
    X(KEY_WORKFLOWS_BYTES, 16384, "names of the models that one key may use")                      \
    X(KEY_LIMITS_BYTES, 2048, "limits of one key, as they are kept")                               \
    X(SWITCHES, 8192, "projects, keys, workflows, providers and plugins disabled by hand")         \
    X(SWITCH_MESSAGE_BYTES, 512, "what callers are told of what was disabled by hand")             \
    X(MEMBERS, 1024, "people and machines with a token for the admin plane")                       \
    X(OIDC_ROLES, 256, "rules that make claims of a token into roles (admin.oidc.roles)")           \
    X(OIDC_KEYS, 64, "signing keys kept of an identity provider")                                  \
    X(OIDC_TOKEN_BYTES, 16384, "token of an identity provider")                                    \
    X(METADATA_BYTES, 2048, "metadata recorded of one exchange")                                   \
    X(NOTE_BYTES, 2048, "timeline notes of one exchange")                                          \
    X(JOURNAL_RECORD_BYTES, 8192, "one journal record")                                            \
    X(JOURNAL_BYTES, 67108864, "one worker's journal ring (journal.bytes)")                        \
    X(LUA_STACK_BYTES, 16777216, "C stack of a thread that runs project Lua")                        \
    X(LUA_STATE_BYTES, 8388608, "one project Lua state")                                           \
    X(LUA_PROJECT_BYTES, 67108864, "all Lua states of a project")                                  \
    X(LUA_COROUTINES, 256, "pooled coroutines of a Lua state")                                     \
    X(LUA_CALLBACK_DEPTH, 32, "nested gsub and sort callbacks")                                    \
    X(LUA_COROUTINE_DEPTH, 16, "nested coroutines")                                                \
    X(LUA_SOURCE_BYTES, 1048576, "source of one plugin or configuration file")                     \
    X(LUA_HTTP_CALLS, 8, "HTTP calls of one hook")                                                 \
    X(LUA_HTTP_PARALLEL, 4, "HTTP calls of one hook at a time")                                    \
    X(LUA_HTTP_BYTES, 1048576, "answer to an HTTP call of a hook")                                 \
    X(KV_BYTES, 1048576, "kv space of one instance")                                               \
    X(KV_KEYS, 10000, "kv keys of one instance")                                                   \
    X(KV_VALUE_BYTES, 65536, "one kv value")                                                       \
    X(LOG_LINES_PER_S, 50, "log lines of one instance")                                            \
    X(ADMIN_BODY_BYTES, 1048576, "request body of the admin plane")

enum mg_limit {
#define X(name, value, text) MG_MAX_##name = (value),
    MG_LIMIT_LIST(X)
#undef X
};

#endif
