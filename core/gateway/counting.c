#include "gateway/counting.h"

#include <inttypes.h>

#include "base/mem.h"
#include "gateway/surface.h"
#include "relay/task.h"

/* As each dialect answers. */
static mg_view answer_of(struct mg_exchange *x, uint64_t tokens)
{
    if (strcmp(x->dialect->name, "anthropic") == 0)
        return mg_arena_printf(&x->arena, "{\"input_tokens\":%" PRIu64 "}", tokens);
    if (strcmp(x->dialect->name, "gemini") == 0)
        return mg_arena_printf(&x->arena, "{\"totalTokens\":%" PRIu64 "}", tokens);
    return mg_arena_printf(&x->arena, "{\"object\":\"response.input_tokens\",\"input_tokens\":%" PRIu64 "}", tokens);
}

bool mg_counting_estimate(struct mg_exchange *x)
{
    const struct mg_relay_result *result = &x->relay.result;
    bool counts = x->surface->task && strcmp(x->surface->task, MG_TASK_COUNT) == 0;
    if (!counts || (x->timeline->attempt_count && mg_class_is_client_fault(result->class_)))
        return false;
    const struct mg_estimate *estimate = mg_stats_estimate(x->route->reaches[0].stats);
    uint64_t tokens = MG_MAX(mg_estimate_input(estimate, x->call.request.body.len), UINT64_C(1));
    mg_timeline_note(x->timeline, mg_exchange_now(x), "count", "estimated: %.*s", MG_FMT(mg_view_head(result->message, 200)));
    mg_exchange_lines(x, false);
    if (mg_http_put_own(&x->lines, MG_VIEW("x-moongate-warning"), MG_VIEW("estimated")) != MG_OK ||
        mg_http_put_own(&x->lines, MG_VIEW("content-type"), MG_VIEW("application/json")) != MG_OK)
        mg_timeline_note(x->timeline, mg_exchange_now(x), "answer", "a header line did not fit");
    mg_exchange_answer(x, 200, mg_buf_view(&x->lines), answer_of(x, tokens));
    return true;
}
