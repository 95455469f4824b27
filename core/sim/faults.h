/* faults.h - everything a simulated provider can get wrong on request: one row a fault.
 *
 * A fault is chosen by model name (`fault:NAME` or `fault:NAME:VALUE`) or by the schedule of a configured model. VALUE
 * is the row's own number; what it means is in the sentence, and `value` is what it is when nobody says. Each row
 * reproduces a signature of the provider's wire format: `kind` says when it acts, and the last column which failure
 * it is to whoever classifies it ("none": not a failure).
 *
 * An ANSWER row replaces the answer by a body of MG_SIM_ANSWER_LIST below. All other rows are acted out by sim/play.c. */
#ifndef MG_SIM_FAULTS_H
#define MG_SIM_FAULTS_H

#include "base/view.h"

enum mg_sim_fault_kind {
    MG_SIM_ANSWER,           /* another status and body, from the table below */
    MG_SIM_TRANSPORT,        /* the connection misbehaves */
    MG_SIM_STREAM,           /* events of a stream are wrong; without `stream` the body is, where that makes sense */
    MG_SIM_CONTENT,          /* a 200 that is none, or an answer that says something else */
};

/*    name                 kind       value  what it does, and what the failure is called */
#define MG_SIM_FAULT_LIST(X)                                                                                           \
    X(rate_limited,        ANSWER,        1, "429 rate_limit_exceeded; retry-after is VALUE seconds", "rate_limited")  \
    X(rate_limited_tokens, ANSWER,        6, "429 on tokens; retry-after is VALUE seconds", "rate_limited")            \
    X(rate_limited_silent, ANSWER,        0, "429 rate_limit_exceeded without a retry-after", "rate_limited")          \
    X(slow_down,           ANSWER,        2, "429 slow_down: traffic grew too fast", "overloaded")                     \
    X(too_large_for_tpm,   ANSWER,        0, "429: one request above the token limit", "payload_too_large")            \
    X(quota_billing,       ANSWER,        0, "429 insufficient_quota, no retry-after", "quota_billing")                \
    X(spend_limit,         ANSWER,        0, "429 project_spend_limit_exceeded", "quota_billing")                      \
    X(payment_required,    ANSWER,        0, "402 insufficient balance", "quota_billing")                              \
    X(overloaded,          ANSWER,        0, "503 server_is_overloaded", "overloaded")                                 \
    X(overloaded_529,      ANSWER,        0, "529 overloaded", "overloaded")                                           \
    X(capacity_498,        ANSWER,        0, "498 capacity exceeded", "overloaded")                                    \
    X(server_error,        ANSWER,        0, "500 server_error", "server_error")                                       \
    X(html_502,            ANSWER,      502, "a proxy's HTML page with status VALUE", "server_error")                  \
    X(status,              ANSWER,      500, "a plain JSON error with status VALUE", "server_error")                   \
    X(auth,                ANSWER,        0, "401 invalid_api_key", "auth")                                            \
    X(permission,          ANSWER,        0, "403: the project may not use the model", "permission")                   \
    X(region,              ANSWER,        0, "403 unsupported_country_region_territory", "permission")                 \
    X(model_not_found,     ANSWER,        0, "404 model_not_found", "model_not_found")                                 \
    X(request_timeout,     ANSWER,        0, "408 request timeout", "timeout_total")                                   \
    X(conflict,            ANSWER,        0, "409 conflict", "conflict")                                               \
    X(payload_too_large,   ANSWER,        0, "413 the body is too large", "payload_too_large")                         \
    X(unprocessable,       ANSWER,        0, "422 unprocessable", "invalid_request")                                   \
    X(invalid_request,     ANSWER,        0, "400 invalid_value", "invalid_request")                                   \
    X(unsupported_parameter, ANSWER,      0, "400: max_tokens is not supported with this model", "invalid_request")    \
    X(context_length,      ANSWER,        0, "400 context_length_exceeded", "context_length")                          \
    X(content_filter,      ANSWER,        0, "400 content_policy_violation", "content_filter")                         \
    X(invalid_prompt,      ANSWER,        0, "400 invalid_prompt: against the usage policy", "content_filter")         \
    X(state_lost,          ANSWER,        0, "400 previous_response_not_found", "state_lost")                          \
    X(reset_early,         TRANSPORT,     0, "reset before the first byte of the answer", "network")                   \
    X(close_early,         TRANSPORT,     0, "close before the first byte of the answer", "network")                   \
    X(hang,                TRANSPORT,     0, "no byte of an answer, ever", "timeout_ttft")                             \
    X(slow_headers,        TRANSPORT,  2000, "the first byte comes after VALUE ms", "timeout_ttft")                    \
    X(slow_ttft,           TRANSPORT,  2000, "head and role at once, content after VALUE ms", "timeout_ttft")          \
    X(headers_only,        TRANSPORT,     0, "the head, then nothing, ever", "timeout_ttft")                           \
    X(stall,               TRANSPORT,     3, "silence after VALUE pieces of content", "timeout_idle")                  \
    X(cut,                 TRANSPORT,     3, "close after VALUE pieces, framing unfinished", "truncated_stream")       \
    X(cut_clean,           TRANSPORT,     3, "framing ends after VALUE pieces, no finish", "truncated_stream")         \
    X(reset,               TRANSPORT,     3, "reset after VALUE pieces of content", "truncated_stream")                \
    X(short_body,          TRANSPORT,    10, "VALUE bytes fewer than content-length says", "truncated_stream")         \
    X(bad_framing,         TRANSPORT,     0, "a chunk whose size is not hexadecimal", "truncated_stream")              \
    X(bad_head,            TRANSPORT,     0, "an answer that is not HTTP", "server_error")                             \
    X(endless_whitespace,  TRANSPORT,     0, "blanks for ever", "timeout_ttft")                                        \
    X(endless_comments,    TRANSPORT,     0, "keep-alive comments for ever", "timeout_ttft")                           \
    X(trickle,             TRANSPORT,     1, "VALUE bytes at a time, every 5 ms", "none")                              \
    X(keepalive,           STREAM,        3, "VALUE comments, then the answer", "none")                                \
    X(error_first,         STREAM,        0, "200, and an error as the first event", "overloaded")                     \
    X(error_mid,           STREAM,        3, "an error after VALUE pieces of content", "server_error")                 \
    X(error_event,         STREAM,        3, "an event named error after VALUE pieces", "server_error")                \
    X(error_done,          STREAM,        0, "an error, then [DONE] as if all were well", "server_error")              \
    X(malformed_event,     STREAM,        3, "one event that is not JSON after VALUE pieces", "none")                  \
    X(no_done,             STREAM,        0, "finished, but [DONE] never comes", "none")                               \
    X(no_done_hang,        STREAM,        0, "finished, but the stream stays open", "none")                            \
    X(done_without_finish, STREAM,        3, "[DONE] after VALUE pieces, no finish reason", "truncated_stream")        \
    X(finish_error,        STREAM,        3, "finish_reason \"error\" after VALUE pieces", "server_error")             \
    X(usage_with_choices,  STREAM,        0, "the usage chunk has a choice in it", "none")                             \
    X(no_usage,            STREAM,        0, "usage is never reported", "none")                                        \
    X(huge_event,          STREAM,  2097152, "one event of VALUE bytes", "truncated_stream")                           \
    X(json_for_stream,     STREAM,        0, "200 with a JSON error where a stream was asked for", "server_error")     \
    X(empty_content,       CONTENT,       0, "200, finished, and nothing was said", "empty_response")                  \
    X(empty_body,          CONTENT,       0, "200 without a byte of body", "invalid_json")                             \
    X(error_200,           CONTENT,       0, "200 with an error object as the body", "server_error")                   \
    X(invalid_json,        CONTENT,       0, "200 with a body that is cut JSON", "invalid_json")                       \
    X(html_200,            CONTENT,       0, "200 with an HTML page", "server_error")                                  \
    X(wrong_type,          CONTENT,       0, "a good answer labelled text/plain", "none")                              \
    X(bad_tool_arguments,  CONTENT,       0, "a tool call whose arguments are cut JSON", "invalid_json")               \
    X(schema_mismatch,     CONTENT,       0, "structured output that is not what the schema says", "schema_mismatch")  \
    X(refusal,             CONTENT,       0, "the model declines, in the refusal field", "refusal")                    \
    X(finish_length,       CONTENT,       5, "cut by the token limit after VALUE tokens", "none")                      \
    X(finish_content_filter, CONTENT,     3, "stopped by the filter after VALUE tokens", "content_filter")

enum mg_sim_fault {
    MG_SIM_FAULT_NONE,       /* nothing goes wrong */
#define X(name, kind, value, text, class_) MG_SIM_FAULT_##name,
    MG_SIM_FAULT_LIST(X)
#undef X
    MG_SIM_FAULT_COUNT
};

struct mg_sim_fault_row {
    const char *name;
    enum mg_sim_fault_kind kind;
    int value;               /* when nobody says */
    const char *text;        /* what it does */
    const char *class_;      /* what the failure is called, as in meter/failure.h; "none" */
};

extern const struct mg_sim_fault_row mg_sim_faults[MG_SIM_FAULT_COUNT];

/* MG_SIM_FAULT_NONE when there is no such fault. */
enum mg_sim_fault mg_sim_fault_find(mg_view name);

/* "fault:NAME" and "fault:NAME:VALUE"; false when model is neither or no such fault exists. */
bool mg_sim_fault_of_model(mg_view model, enum mg_sim_fault *out_fault, int *out_value);

struct mg_sim_answer_row {
    enum mg_sim_fault fault;
    int status;
    const char *type;        /* of the error object; NULL: the body is an HTML page */
    const char *code;        /* NULL: null */
    const char *param;       /* NULL: null */
    const char *message;
    bool retry_after;        /* the header is sent, with the fault's value in seconds */
};

/* NULL when the fault is no ANSWER row. */
const struct mg_sim_answer_row *mg_sim_answer_find(enum mg_sim_fault fault);

/*    fault                status  type                         code                     param, message, retry-after */
#define MG_SIM_ANSWER_LIST(X)                                                                                          \
    X(rate_limited,        429, "requests", "rate_limit_exceeded", NULL,                                               \
      "Rate limit reached for requests per minute. Please try again in a moment.", true)                               \
    X(rate_limited_tokens, 429, "tokens", "rate_limit_exceeded", NULL,                                                 \
      "Rate limit reached on tokens per minute (TPM): Limit 30000, Used 29800, Requested 900.", true)                  \
    X(rate_limited_silent, 429, "requests", "rate_limit_exceeded", NULL,                                               \
      "Rate limit reached for requests per minute.", false)                                                            \
    X(slow_down,           429, "rate_limit_error", "slow_down", NULL,                                                 \
      "Slow down: your traffic is growing too fast. Keep a steady rate and try again.", true)                          \
    X(too_large_for_tpm,   429, "tokens", "rate_limit_exceeded", NULL,                                                 \
      "Request too large for this model on tokens per minute (TPM): Limit 30000, Requested 41200.", false)             \
    X(quota_billing,       429, "insufficient_quota", "insufficient_quota", NULL,                                      \
      "You exceeded your current quota, please check your plan and billing details.", false)                           \
    X(spend_limit,         429, "insufficient_quota", "project_spend_limit_exceeded", NULL,                            \
      "The spend limit of this project was reached.", false)                                                           \
    X(payment_required,    402, "unknown_error", "invalid_request_error", NULL, "Insufficient Balance", false)         \
    X(overloaded,          503, "service_unavailable_error", "server_is_overloaded", NULL,                             \
      "The engine is currently overloaded, please try again later.", false)                                            \
    X(overloaded_529,      529, "overloaded_error", NULL, NULL, "Overloaded", false)                                   \
    X(capacity_498,        498, "capacity_exceeded", "capacity_exceeded", NULL,                                        \
      "Flex capacity is exhausted, please try again later.", false)                                                    \
    X(server_error,        500, "server_error", NULL, NULL,                                                            \
      "The server had an error while processing your request. Sorry about that!", false)                               \
    X(html_502,            502, NULL, NULL, NULL, "Bad gateway", false)                                                \
    X(status,              500, "api_error", NULL, NULL, "The request failed.", false)                                 \
    X(auth,                401, "invalid_request_error", "invalid_api_key", NULL,                                      \
      "Incorrect API key provided: sim-****. You can find your API key in your account settings.", false)              \
    X(permission,          403, "invalid_request_error", "model_not_allowed", "model",                                 \
      "Project does not have access to this model.", false)                                                            \
    X(region,              403, "request_forbidden", "unsupported_country_region_territory", NULL,                     \
      "Country, region, or territory not supported", false)                                                            \
    X(model_not_found,     404, "invalid_request_error", "model_not_found", "model",                                   \
      "The model does not exist or you do not have access to it.", false)                                              \
    X(request_timeout,     408, "timeout", NULL, NULL, "Request timed out.", false)                                    \
    X(conflict,            409, "invalid_request_error", "conflict", NULL, "The resource is locked.", false)           \
    X(payload_too_large,   413, "invalid_request_error", NULL, NULL, "Request body is too large.", false)              \
    X(unprocessable,       422, "invalid_request_error", NULL, NULL, "The request could not be processed.", false)     \
    X(invalid_request,     400, "invalid_request_error", "invalid_value", "temperature",                               \
      "Invalid value for 'temperature': expected a number between 0 and 2.", false)                                    \
    X(unsupported_parameter, 400, "invalid_request_error", "unsupported_parameter", "max_tokens",                      \
      "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead.",    \
      false)                                                                                                           \
    X(context_length,      400, "invalid_request_error", "context_length_exceeded", "messages",                        \
      "This model's maximum context length is 8192 tokens. However, your messages resulted in 9001 tokens.", false)    \
    X(content_filter,      400, "invalid_request_error", "content_policy_violation", NULL,                             \
      "Your request was rejected as a result of our safety system.", false)                                            \
    X(invalid_prompt,      400, "invalid_request_error", "invalid_prompt", NULL,                                       \
      "Invalid prompt: your prompt was flagged as potentially violating our usage policy.", false)                     \
    X(state_lost,          400, "invalid_request_error", "previous_response_not_found", "previous_response_id",        \
      "Previous response with id 'resp_gone' not found.", false)

#endif
