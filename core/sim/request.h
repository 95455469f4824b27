/* request.h - what a simulated provider needs to know of a request body: found in one pass, without a tree.
 *
 * Views point into the body or into the arena and live as long as both. A refused request carries the error object a
 * real provider would answer with. */
#ifndef MG_SIM_REQUEST_H
#define MG_SIM_REQUEST_H

#include "base/arena.h"
#include "base/err.h"

enum mg_sim_surface { MG_SIM_CHAT, MG_SIM_COMPLETIONS, MG_SIM_EMBEDDINGS };

enum { MG_SIM_PROMPT_BYTES = 4096, MG_SIM_CHOICES = 128 };

struct mg_sim_request {
    enum mg_sim_surface surface;
    mg_view model;
    bool stream;
    bool include_usage;
    bool obfuscate;          /* stream_options.include_obfuscation, true unless switched off */
    uint32_t n;              /* choices, 1 … MG_SIM_CHOICES */
    uint64_t max_tokens;     /* 0: no limit given */
    mg_view tools;           /* spans of JSON; empty when absent or null */
    mg_view tool_choice;
    mg_view response_format;
    mg_view input;           /* embeddings */
    uint32_t dimensions;     /* 0: the model's own */
    bool base64;
    mg_view prompt;          /* text of the last user message (or of `prompt`), cut to MG_SIM_PROMPT_BYTES */
    bool after_tool;         /* the last message is a tool's result */
    mg_view tool_result;     /* its text */
    uint64_t input_tokens;   /* what it would be billed as */
};

struct mg_sim_refusal {      /* static texts; param and code NULL: null */
    const char *message, *param, *code;
};

/* Compiled once per process part that reads requests; immutable. */
struct mg_sim_reader;
struct mg_sim_reader *mg_sim_reader_new(void);
void mg_sim_reader_free(struct mg_sim_reader *reader);     /* NULL is a no-op */

/* MG_E_BAD_REQUEST with *out_refusal filled when a provider would refuse it. */
MG_MUST_USE mg_err mg_sim_request_read(const struct mg_sim_reader *reader, enum mg_sim_surface surface, mg_view body,
                                       struct mg_arena *arena, struct mg_sim_request *out_request,
                                       struct mg_sim_refusal *out_refusal);

#endif
