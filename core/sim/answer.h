/* answer.h - what a simulated model says to one request, decided before a byte is sent.
 *
 * Everything lives in the arena given. The same request gives the same answer. */
#ifndef MG_SIM_ANSWER_H
#define MG_SIM_ANSWER_H

#include "sim/faults.h"
#include "sim/request.h"

enum mg_sim_said {
    MG_SIM_SAYS_TEXT,        /* `text` is the content */
    MG_SIM_SAYS_TOOL,        /* `text` is the arguments of a call to `tool` */
    MG_SIM_SAYS_REFUSAL,     /* `text` is the refusal */
    MG_SIM_SAYS_NOTHING,
};

struct mg_sim_choice {
    enum mg_sim_said said;
    mg_view text;
    mg_view tool;            /* name of the function */
    const char *finish;      /* "stop", "length", "tool_calls", "content_filter", "error" */
    uint32_t tokens;         /* what it would be billed as */
};

struct mg_sim_answer {
    struct mg_sim_choice *choices;     /* request->n of them */
    uint64_t output_tokens;            /* of all choices */
};

/* `tokens` is how long a text is when the request does not limit it. */
void mg_sim_answer_make(struct mg_arena *arena, const struct mg_sim_request *request, enum mg_sim_fault fault,
                        int value, uint32_t tokens, struct mg_sim_answer *out_answer);

#endif
