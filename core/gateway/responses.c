/* The paths of the Responses API beside asking: fetching, listing, deleting and cancelling what is kept. Answered from the store,
 * for which the exchange waits. */
#include "base/mem.h"
#include "gateway/keeping.h"
#include "gateway/models.h"
#include "gateway/surface.h"

enum { PAGE = 20, MAX_PAGE = 100 };

static const char *const asc_desc[] = {"desc", "asc"};

/* Where the pattern of the surface has its star. */
static mg_view id_of(struct mg_exchange *x)
{
    mg_view pattern = mg_view_cstr(x->surface->path), path = x->request.path;
    size_t star = mg_view_find(pattern, "*"), after = pattern.len - star - 1;
    size_t before = mg_view_starts(path, MG_VIEW("/v1/")) ? star : star - 3;
    return mg_models_name(&x->arena, mg_view_head(mg_view_skip(path, before), path.len - before - after));
}

/* The value of a field of the query, decoded; ptr NULL: it is not there. */
static mg_view field_of(struct mg_exchange *x, const char *name)
{
    mg_view rest = x->request.query;
    while (rest.len) {
        mg_view pair = mg_view_cut(&rest, '&'), value = pair;
        mg_view key = mg_view_cut(&value, '=');
        if (mg_view_eq(mg_models_name(&x->arena, key), mg_view_cstr(name)))
            return mg_models_name(&x->arena, value);
    }
    return MG_VIEW_NONE;
}

static bool refuse_query(struct mg_exchange *x, const char *field, const char *text)
{
    mg_exchange_refuse_as(x, 400, MG_VIEW("invalid_value"), mg_view_cstr(text), mg_view_cstr(field), 0);
    return false;
}

static void refuse_late(struct mg_exchange *x)
{
    mg_exchange_refuse(x, 503, "store_unavailable", "The store of kept responses did not answer. Try again in a second.");
}

/* False: answered. */
static bool came_well(struct mg_exchange *x, const struct mg_keep_job *job)
{
    mg_keeping_came(x);
    if (job->err == MG_E_NOT_FOUND || job->err == MG_E_DENIED)
        mg_keeping_refuse(x, job->id, false);
    else if (job->err != MG_OK)
        refuse_late(x);
    return job->err == MG_OK;
}

static void ask(struct mg_exchange *x, enum mg_keep_kind kind, void (*done)(void *arg, struct mg_keep_job *job))
{
    mg_view id = id_of(x);
    bool keeps = x->live->generation->config->responses.store == MG_STORE_MOONGATE && x->worker->keeper;
    if (!keeps || !mg_keeping_is_id(id))
        mg_keeping_refuse(x, id, false);
    else
        mg_keeping_wait(x, mg_keeping_ask(x, kind, id), done, refuse_late);
}

/* ---- fetch ------------------------------------------------------------------------------------- */

static void on_fetched(void *arg, struct mg_keep_job *job)
{
    if (came_well(arg, job))
        mg_answer_json(arg, 200, job->kept[0].response);
}

/* A stream is there to come back to while a response runs in the background, which none does here. */
void mg_responses_fetch(struct mg_exchange *x)
{
    mg_view stream = field_of(x, "stream");
    if (mg_view_eq(stream, MG_VIEW("true")) || mg_view_eq(stream, MG_VIEW("1")))
        (void)refuse_query(x, "stream", "This response cannot be streamed, because it was not created in the background. Fetch it without "
                           "'stream'.");
    else
        ask(x, MG_KEEP_FIND, on_fetched);
}

/* ---- input items ------------------------------------------------------------------------------- */

static bool read_page(struct mg_exchange *x, struct mg_items_page *out_page)
{
    uint64_t limit = PAGE;
    mg_view given = field_of(x, "limit"), order = field_of(x, "order");
    if (given.ptr && (!mg_view_u64(given, &limit) || limit < 1 || limit > MAX_PAGE))
        return refuse_query(x, "limit", "'limit' must be a number from 1 to 100.");
    if (order.ptr && !mg_view_eq(order, mg_view_cstr(asc_desc[0])) && !mg_view_eq(order, mg_view_cstr(asc_desc[1])))
        return refuse_query(x, "order", "'order' must be 'asc' or 'desc'.");
    *out_page = (struct mg_items_page){.limit = (size_t)limit, .ascending = mg_view_eq(order, mg_view_cstr(asc_desc[1])),
                                       .after = field_of(x, "after")};
    return true;
}

static void answer_page(struct mg_exchange *x, const struct mg_keep_job *job)
{
    struct mg_items_page page;
    struct mg_buf out;
    mg_buf_init(&out, MG_MAX_RESPONSE_BODY_BYTES);
    if (read_page(x, &page)) {
        mg_err err = mg_items_put_page(&out, &x->arena, job->kept, job->kept_count, &page);
        if (err == MG_OK)
            mg_answer_json(x, 200, mg_buf_view(&out));
        else if (err == MG_E_NOT_FOUND)
            (void)refuse_query(x, "after", "'after' is no item of this response's input.");
        else
            mg_exchange_refuse(x, 400, "answer_too_large", "The items are more than one answer holds. Ask for fewer with 'limit'.");
    }
    mg_buf_fini(&out);
}

static void on_listed(void *arg, struct mg_keep_job *job)
{
    if (came_well(arg, job))
        answer_page(arg, job);
}

/* Where a response before it was deleted, or all of them are too much, its own input is what there is. */
static void on_chain_listed(void *arg, struct mg_keep_job *job)
{
    struct mg_exchange *x = arg;
    if (job->err == MG_E_NOT_FOUND || job->err == MG_E_TOO_LARGE) {
        mg_keeping_came(x);
        ask(x, MG_KEEP_FIND, on_listed);
        return;
    }
    on_listed(arg, job);
}

void mg_responses_list_input(struct mg_exchange *x)
{
    struct mg_items_page page;
    if (read_page(x, &page))
        ask(x, MG_KEEP_CHAIN, on_chain_listed);
}

/* ---- delete, cancel ---------------------------------------------------------------------------- */

static void on_removed(void *arg, struct mg_keep_job *job)
{
    struct mg_exchange *x = arg;
    if (came_well(x, job))
        mg_answer_json(x, 200, mg_arena_printf(&x->arena, "{\"id\":\"%.*s\",\"object\":\"response\",\"deleted\":true}", MG_FMT(job->id)));
}

void mg_responses_remove(struct mg_exchange *x)
{
    ask(x, MG_KEEP_DELETE, on_removed);
}

static void on_found(void *arg, struct mg_keep_job *job)
{
    struct mg_exchange *x = arg;
    if (came_well(x, job))
        mg_exchange_refuse(x, 400, "response_not_in_background", "Cannot cancel a synchronous response. Only one that runs in the background "
                           "can be cancelled; to stop a stream, close its connection.");
}

void mg_responses_cancel(struct mg_exchange *x)
{
    ask(x, MG_KEEP_FIND, on_found);
}
