/* Providers agree neither on what their sums contain nor on whether a report tells everything. */
#include "base/mem.h"
#include "chat/tap_parts.h"

/* What has to be added to a sum that leaves counters out, or that may. */
static uint64_t left_out(const struct mg_adapter_decl *decl, unsigned counter, uint64_t count, uint64_t sum)
{
    if (decl->usage.excludes & counter)
        return count;
    return (decl->usage.may_exclude & counter) && count > sum ? count : 0;
}

void mg_look_usage(struct mg_look *look)
{
    struct mg_tap *tap = look->tap;
    const struct mg_adapter_decl *decl = &tap->adapter->decl;
    tap->said = look->usage;
    tap->said_more = look->usage_more;
    tap->cached_write_long_tokens = look->usage_long;

    struct mg_usage usage = look->usage;
    usage.input_tokens += look->usage_more;
    usage.input_tokens += left_out(decl, MG_EXCLUDES_CACHED_READ, usage.cached_read_tokens, usage.input_tokens);
    usage.input_tokens += left_out(decl, MG_EXCLUDES_CACHED_WRITE, usage.cached_write_tokens, usage.input_tokens);
    usage.output_tokens += left_out(decl, MG_EXCLUDES_REASONING, usage.reasoning_tokens, usage.output_tokens);
    usage.reported = true;
    tap->usage = usage;
}
