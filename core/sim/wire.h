/* wire.h - a simulated provider's answers as bytes: bodies, stream events, headers.
 *
 * Every function appends to `out` and fails only with what the buffer fails with. */
#ifndef MG_SIM_WIRE_H
#define MG_SIM_WIRE_H

#include "base/buf.h"
#include "sim/answer.h"

struct mg_sim_ident {
    char id[48];             /* "chatcmpl-…" or "cmpl-…" */
    char request_id[48];     /* "req_…" */
    uint64_t created_s;
    uint64_t random;         /* for obfuscation and ids */
    uint64_t calls;          /* of this provider so far: drives the rate-limit headers without a limit */
    uint32_t limit, left;    /* requests of a limit in force, and what is left of it; limit 0: there is none */
    uint64_t reset_ms;       /* until it is whole again */
    uint64_t took_ms;
};

/* What every event of one stream begins with, made once: `data: {"id":…,"choices":[{"index":`. */
MG_MUST_USE mg_err mg_sim_put_prefix(const struct mg_sim_request *request, const struct mg_sim_ident *ident,
                                     struct mg_buf *out);

/* One event of a stream: prefix, choice index, delta (a JSON object) or, for completions, text; finish NULL: null. */
MG_MUST_USE mg_err mg_sim_put_chunk(const struct mg_sim_request *request, struct mg_sim_ident *ident, mg_view prefix,
                                    uint32_t choice, mg_view delta, const char *finish, struct mg_buf *out);
MG_MUST_USE mg_err mg_sim_put_usage_chunk(const struct mg_sim_request *request, const struct mg_sim_ident *ident,
                                          const struct mg_sim_answer *answer, bool with_choice, struct mg_buf *out);

/* Deltas. */
MG_MUST_USE mg_err mg_sim_put_role(const struct mg_sim_choice *choice, struct mg_buf *out);
MG_MUST_USE mg_err mg_sim_put_piece(const struct mg_sim_request *request, const struct mg_sim_choice *choice,
                                    mg_view piece, struct mg_buf *out);
MG_MUST_USE mg_err mg_sim_put_tool_open(const struct mg_sim_choice *choice, struct mg_sim_ident *ident,
                                        struct mg_buf *out);

/* A whole answer. */
MG_MUST_USE mg_err mg_sim_put_answer(const struct mg_sim_request *request, struct mg_sim_ident *ident,
                                     const struct mg_sim_answer *answer, bool with_usage, struct mg_buf *out);
/* MG_E_BAD_REQUEST: `input` is none a provider would take. */
MG_MUST_USE mg_err mg_sim_put_embeddings(const struct mg_sim_request *request, struct mg_buf *out);

/* {"error":{…}}; param and code NULL: null. */
MG_MUST_USE mg_err mg_sim_put_error(const char *message, const char *type, const char *param, const char *code,
                                    struct mg_buf *out);
MG_MUST_USE mg_err mg_sim_put_html(int status, const char *title, struct mg_buf *out);

/* Header lines: content-type and what the provider adds. retry_after_s < 0: none; with a limit in force
 * retry-after-ms says it exactly. */
MG_MUST_USE mg_err mg_sim_put_headers(const struct mg_sim_ident *ident, const char *type, int retry_after_s,
                                      bool exhausted, struct mg_buf *out);

#endif
