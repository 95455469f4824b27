#include "watch/responses.h"

#include "store/responses.h"
#include "watch/json_out.h"

struct listing {
    struct mg_json_out json;
    mg_view only;
};

static void put_sum(void *arg, const struct mg_response_sum *sum)
{
    struct listing *listing = arg;
    struct mg_json_out *json = &listing->json;
    if (listing->only.len && !mg_view_eq(listing->only, sum->project))
        return;
    mg_json_out_open(json, NULL, '{');
    mg_json_out_text(json, "project", sum->project);
    mg_json_out_number(json, "count", (uint64_t)sum->count);
    mg_json_out_number(json, "bytes", (uint64_t)sum->bytes);
    mg_json_out_number(json, "oldest_us", sum->oldest_us);
    mg_json_out_close(json, '}');
}

mg_err mg_responses_json(struct mg_db *db, mg_view project, struct mg_buf *out)
{
    struct listing listing = {.json = {.buf = out}, .only = project};
    mg_json_out_open(&listing.json, NULL, '{');
    mg_json_out_open(&listing.json, "responses", '[');
    MG_TRY(mg_responses_sums(db, put_sum, &listing));
    mg_json_out_close(&listing.json, ']');
    mg_json_out_close(&listing.json, '}');
    return mg_json_out_end(&listing.json);
}
