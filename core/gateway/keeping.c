#include "gateway/keeping.h"

#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "gateway/surface.h"
#include "http/json_members.h"

static const struct mg_config_responses *config_of(const struct mg_exchange *x)
{
    return &x->live->generation->config->responses;
}

static bool is_true(mg_view span)
{
    return span.len && span.ptr[0] == 't';
}

static bool is_false(mg_view span)
{
    return span.len && span.ptr[0] == 'f';
}

static bool is_given(mg_view span)
{
    return span.len && span.ptr[0] != 'n';
}

/* ---- asking the store -------------------------------------------------------------------------- */

static void end_buffers(void *arg)
{
    struct mg_keeping *keeping = arg;
    mg_buf_fini(&keeping->tail);
}

static struct mg_keeping *keeping_of(struct mg_exchange *x)
{
    if (x->keeping)
        return x->keeping;
    struct mg_keeping *keeping = mg_arena_new(&x->arena, struct mg_keeping);
    keeping->x = x;
    mg_buf_init(&keeping->tail, MG_MAX_SSE_EVENT_BYTES * 2);
    mg_arena_cleanup(&x->arena, end_buffers, keeping);
    x->keeping = keeping;
    return keeping;
}

bool mg_keeping_is_id(mg_view id)
{
    for (size_t i = 0; i < id.len; i++) {
        char c = id.ptr[i];
        bool word = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-';
        if (!word)
            return false;
    }
    return id.len > 0 && id.len <= MG_MAX_RESPONSE_ID_BYTES;
}

struct mg_keep_job *mg_keeping_ask(struct mg_exchange *x, enum mg_keep_kind kind, mg_view id)
{
    struct mg_worker *worker = x->worker;
    struct mg_keep_job *job = mg_keep_job_new(worker->keeper, &worker->loop, &worker->keeping, kind);
    job->project = mg_arena_dup(&job->arena, x->call.project);
    job->id = mg_arena_dup(&job->arena, id);
    if (kind == MG_KEEP_PUT || config_of(x)->per_key)
        job->owner = mg_arena_dup(&job->arena, x->key_origin);
    job->max_bytes = (int64_t)worker->config->limits.body_bytes;
    return job;
}

static void on_late(struct mg_timer *timer)
{
    struct mg_keeping *keeping = mg_container_of(timer, struct mg_keeping, due);
    mg_keep_job_abandon(keeping->job);
    keeping->job = NULL;
    mg_timeline_note(keeping->x->timeline, mg_exchange_now(keeping->x), "responses", "the store did not answer in %d ms", MG_KEEPING_WAIT_MS);
    keeping->late(keeping->x);
}

void mg_keeping_wait(struct mg_exchange *x, struct mg_keep_job *job, void (*done)(void *arg, struct mg_keep_job *job),
                     void (*late)(struct mg_exchange *x))
{
    struct mg_keeping *keeping = keeping_of(x);
    keeping->job = job;
    keeping->late = late;
    mg_timer_start(&x->worker->loop, &keeping->due, MG_KEEPING_WAIT_MS, on_late);
    mg_keep_job_post(job, done, x);
}

void mg_keeping_came(struct mg_exchange *x)
{
    x->keeping->job = NULL;
    mg_timer_cancel(&x->worker->loop, &x->keeping->due);
}

void mg_keeping_end(struct mg_exchange *x)
{
    mg_keep_job_abandon(x->keeping->job);
    x->keeping->job = NULL;
    mg_timer_cancel(&x->worker->loop, &x->keeping->due);
}

/* ---- recall ------------------------------------------------------------------------------------ */

void mg_keeping_refuse(struct mg_exchange *x, mg_view id, bool previous)
{
    bool kept = config_of(x)->store == MG_STORE_MOONGATE;
    mg_view text = mg_arena_printf(&x->arena, "%s with id '%.*s' not found.%s", previous ? "Previous response" : "Response",
                                   MG_FMT(mg_view_head(id, MG_MAX_RESPONSE_ID_BYTES)),
                                   kept ? "" : " This project keeps no responses: send the whole conversation as `input`.");
    mg_exchange_refuse_as(x, previous ? 400 : 404, previous ? MG_VIEW("previous_response_not_found") : MG_VIEW("response_not_found"),
                          text, previous ? MG_VIEW("previous_response_id") : MG_VIEW_NONE, 0);
}

static bool refuse_field(struct mg_exchange *x, const char *field, const char *text)
{
    mg_exchange_refuse_as(x, 400, MG_VIEW("unsupported_parameter"), mg_view_cstr(text), mg_view_cstr(field), 0);
    return false;
}

static void refuse_late(struct mg_exchange *x)
{
    mg_exchange_refuse(x, 503, "store_unavailable", "The store of kept responses did not answer. Try again in a second.");
}

static void refuse_too_large(struct mg_exchange *x)
{
    mg_view text = mg_arena_printf(&x->arena, "The conversation before this response is longer than the %llu bytes, %d responses or %d "
                                   "items that this gateway puts together. Begin a new one with a summary.",
                                   (unsigned long long)x->worker->config->limits.body_bytes, MG_MAX_RESPONSE_CHAIN, MG_MAX_JSON_SPANS);
    mg_exchange_refuse_as(x, 400, MG_VIEW("conversation_too_large"), text, MG_VIEW("previous_response_id"), 0);
}

/* Takes the place of the request that came. */
static mg_err take_body(struct mg_exchange *x, mg_err err, struct mg_buf *body)
{
    struct mg_json_error error;
    mg_view text = err == MG_OK ? mg_arena_dup(&x->arena, mg_buf_view(body)) : MG_VIEW_NONE;
    mg_buf_fini(body);
    MG_TRY(err);
    return mg_request_scan_as(&x->call.request, &x->arena, x->dialect->name, text, &error);
}

/* The request with the conversation in it. */
static mg_err put_in_front(struct mg_exchange *x, const struct mg_kept *kept, size_t count)
{
    struct mg_buf body;
    mg_buf_init(&body, x->worker->config->limits.body_bytes);
    return take_body(x, mg_items_put_request(&body, &x->call.request, kept, count, &x->keeping->prior), &body);
}

/* … and with the items in it that it names. */
static mg_err put_referenced(struct mg_exchange *x, const struct mg_keep_job *job)
{
    struct mg_buf body;
    mg_buf_init(&body, x->worker->config->limits.body_bytes);
    return take_body(x, mg_items_put_referenced(&body, &x->call.request, job->references, job->reference_count), &body);
}

static size_t count_items(const struct mg_request *request)
{
    bool apart = request->message_count && request->messages[0].apart;
    return request->message_count - apart;
}

static bool look_up_items(struct mg_exchange *x);
static void prepare(struct mg_exchange *x);

static void refuse_item(struct mg_exchange *x, mg_view id)
{
    mg_view text = mg_arena_printf(&x->arena, "Item with id '%.*s' not found. Items are not persisted when `store` is set to false. Try again "
                                   "with `store` set to true, or remove this item from your input.",
                                   MG_FMT(mg_view_head(id, MG_MAX_RESPONSE_ID_BYTES)));
    mg_exchange_refuse_as(x, 404, MG_VIEW("item_not_found"), text, MG_VIEW("input"), 0);
}

static void on_items(void *arg, struct mg_keep_job *job)
{
    struct mg_exchange *x = arg;
    mg_keeping_came(x);
    if (!mg_exchange_may_go_on(x))
        return;
    mg_err err = job->err == MG_OK ? put_referenced(x, job) : job->err;
    if (err == MG_OK) {
        prepare(x);
        x->keeping->resume(x);
    } else if (err == MG_E_TOO_LARGE) {
        refuse_too_large(x);
    } else if (err == MG_E_NOT_FOUND || err == MG_E_DENIED) {
        refuse_item(x, job->id);
    } else {
        refuse_late(x);
    }
}

/* True: there are none, go on. */
static bool look_up_items(struct mg_exchange *x)
{
    struct mg_item_reference *references;
    size_t count;
    if (mg_items_references(&x->call.request, &x->arena, &references, &count) != MG_OK) {
        refuse_too_large(x);
        return false;
    }
    if (count == 0)
        return true;
    if (config_of(x)->store != MG_STORE_MOONGATE) {
        refuse_item(x, references[0].id);
        return false;
    }
    struct mg_keep_job *job = mg_keeping_ask(x, MG_KEEP_ITEMS, MG_VIEW_NONE);
    job->references = mg_arena_array(&job->arena, struct mg_item_reference, count);
    job->reference_count = count;
    for (size_t i = 0; i < count; i++)
        job->references[i] = (struct mg_item_reference){.place = references[i].place, .id = mg_arena_dup(&job->arena, references[i].id)};
    mg_keeping_wait(x, job, on_items, refuse_late);
    return false;
}

static void on_recalled(void *arg, struct mg_keep_job *job)
{
    struct mg_exchange *x = arg;
    struct mg_keeping *keeping = x->keeping;
    mg_keeping_came(x);
    if (!mg_exchange_may_go_on(x))
        return;
    mg_err err = job->err == MG_OK ? put_in_front(x, job->kept, job->kept_count) : job->err;
    if (err == MG_OK) {
        keeping->parent = job->seq;
        if (look_up_items(x)) {
            prepare(x);
            keeping->resume(x);
        }
    } else if (err == MG_E_TOO_LARGE) {
        refuse_too_large(x);
    } else if (err == MG_E_NOT_FOUND || err == MG_E_DENIED) {
        mg_keeping_refuse(x, job->id, true);
    } else {
        refuse_late(x);
    }
}

static bool recall(struct mg_exchange *x)
{
    mg_view span = x->call.request.previous, id = mg_json_plain(span);
    if (span.ptr[0] != '"')
        return refuse_field(x, "previous_response_id", "The field 'previous_response_id' must be the id of a response: a string.");
    if (config_of(x)->store != MG_STORE_MOONGATE || !mg_keeping_is_id(id)) {
        mg_keeping_refuse(x, id, true);
        return false;
    }
    x->keeping->previous = mg_arena_dup(&x->arena, span);
    mg_keeping_wait(x, mg_keeping_ask(x, MG_KEEP_CHAIN, id), on_recalled, refuse_late);
    return false;
}

static bool says_nothing_of_others(struct mg_exchange *x)
{
    const struct mg_request *request = &x->call.request;
    if (request->background)
        return refuse_field(x, "background", "Responses do not run in the background here. Ask without 'background', or with "
                            "\"stream\": true; a project that leaves state to its provider (responses = \"provider\") passes it on.");
    if (is_given(request->conversation))
        return refuse_field(x, "conversation", "Conversations are not kept here. Go on from an answer with 'previous_response_id', or send "
                            "the whole conversation as 'input'.");
    return true;
}

/* Nothing is to be kept at the provider: what is deleted here would stay there, and its ids mean nothing to another one. What a
 * model reasoned is then of use only as cipher, which has to be asked for. */
static void tell_provider(struct mg_exchange *x)
{
    mg_view include = x->call.request.include, inside = MG_VIEW_NONE;
    struct mg_json_member m;
    bool asked = false;
    for (size_t at = 0; mg_json_next_member(include, &at, &m);)
        asked |= mg_view_eq(mg_json_plain(m.value), MG_VIEW("reasoning.encrypted_content"));
    if (include.len > 2 && include.ptr[0] == '[' && !mg_json_span_is_empty(include))
        inside = mg_view_of(include.ptr + 1, include.len - 2);
    x->keeping->params = MG_VIEW("{\"store\":false}");
    x->keeping->params_reasoning = asked ? x->keeping->params
        : mg_arena_printf(&x->arena, "{\"store\":false,\"include\":[\"reasoning.encrypted_content\"%s%.*s]}", inside.len ? "," : "", MG_FMT(inside));
}

static bool names_items(const struct mg_request *request)
{
    for (size_t i = 0; i < request->message_count; i++)
        if (!request->messages[i].role.len && mg_items_is_reference(request->messages[i].bytes))
            return true;
    return false;
}

/* False: refused. */
static bool take_store(struct mg_exchange *x)
{
    struct mg_request *request = &x->call.request;
    enum mg_config_store mode = config_of(x)->store;
    bool asked = is_true(request->store);
    if (asked && mode == MG_STORE_REFUSE) {
        mg_exchange_refuse_as(x, 400, MG_VIEW("store_not_allowed"),
                              MG_VIEW("This project keeps no responses. Ask with \"store\": false, and send the whole conversation as 'input'."),
                              MG_VIEW("store"), 0);
        return false;
    }
    if (is_false(request->store) && !is_given(request->previous) && !names_items(request))
        return true;
    struct mg_keeping *keeping = keeping_of(x);
    keeping->store = mode == MG_STORE_MOONGATE && !is_false(request->store);
    if (!is_false(request->store))
        tell_provider(x);
    if (asked && mode == MG_STORE_OFF)
        x->dropped = MG_VIEW("store");
    return true;
}

/* `store` is for this gateway. A target of the client's dialect is told false by the relay; this is for the others. */
static void hide_store(struct mg_exchange *x)
{
    if (is_true(x->call.request.store) && !mg_request_set_param(&x->call.request, MG_VIEW("store"), MG_VIEW("false")))
        mg_timeline_note(x->timeline, mg_exchange_now(x), "responses", "the provider is told to store the answer, too");
}

static void prepare(struct mg_exchange *x)
{
    hide_store(x);
    x->keeping->items = count_items(&x->call.request);
}

bool mg_keeping_recall(struct mg_exchange *x, void (*go_on)(struct mg_exchange *x))
{
    if (!x->surface->keeps || !x->worker->keeper || config_of(x)->store == MG_STORE_PROVIDER)
        return true;
    if (!says_nothing_of_others(x) || !take_store(x))
        return false;
    if (!x->keeping)
        return true;
    x->keeping->resume = go_on;
    if (is_given(x->call.request.previous))
        return recall(x);
    if (!mg_items_spelt_plainly(&x->call.request) && put_in_front(x, NULL, 0) != MG_OK) {
        refuse_too_large(x);
        return false;
    }
    if (!look_up_items(x))
        return false;
    prepare(x);
    return true;
}

/* ---- mark -------------------------------------------------------------------------------------- */

static mg_view as_array(struct mg_exchange *x, mg_view input)
{
    struct mg_buf out;
    mg_buf_init(&out, input.len + 128);
    mg_view array = mg_items_put_input(&out, input) == MG_OK ? mg_arena_dup(&x->arena, mg_buf_view(&out)) : MG_VIEW("[]");
    mg_buf_fini(&out);
    return array;
}

/* As it is sent: what a hook took out of it is not kept either. Hooks that changed how many items there are leave no way to tell
 * what is new: such a response is kept with all that came before it, and follows none. */
void mg_keeping_mark(struct mg_exchange *x)
{
    struct mg_keeping *keeping = x->keeping;
    const struct mg_request *request = &x->call.request;
    mg_view input = request->messages_span;
    if (!keeping->store)
        return;
    if (!keeping->prior || count_items(request) != keeping->items) {
        keeping->parent = 0;
        keeping->input = input.len && input.ptr[0] == '[' ? input : as_array(x, input);
        return;
    }
    mg_view tail = mg_items_tail(input, keeping->items - keeping->prior);
    keeping->input = mg_arena_printf(&x->arena, "[%.*s]", MG_FMT(tail));
}

/* ---- tell -------------------------------------------------------------------------------------- */

static const char *const told[] = {"response.created", "response.queued", "response.in_progress", "response.completed",
                                   "response.incomplete", "response.failed"};

static bool is_one_of(mg_view name, const char *const *words, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (mg_view_eq(name, mg_view_cstr(words[i])))
            return true;
    return false;
}

static mg_view name_of(const struct mg_sse_event *event)
{
    return event->name.len || event->is_comment ? event->name : mg_json_plain(mg_json_member(event->data, MG_VIEW("type")));
}

static mg_view retold(struct mg_exchange *x, mg_view response)
{
    struct mg_buf out;
    mg_view trimmed = mg_view_trim(response);
    if (!trimmed.len || trimmed.ptr[0] != '{')
        return response;
    mg_buf_init(&out, response.len + x->keeping->previous.len + 128);
    mg_view text = mg_response_put(&out, response, x->keeping->previous) == MG_OK ? mg_arena_dup(&x->arena, mg_buf_view(&out)) : response;
    mg_buf_fini(&out);
    return text;
}

/* Between the values of a document they are blanks, and in one line of a stream they would end it. */
static void join_lines(mg_view data)
{
    for (char *at = (char *)data.ptr; at < data.ptr + data.len; at++)
        if (*at == '\n' || *at == '\r')
            *at = ' ';
}

const struct mg_sse_event *mg_keeping_tell(struct mg_exchange *x, const struct mg_sse_event *event, struct mg_sse_event *room)
{
    mg_view name = name_of(event);
    mg_view response = is_one_of(name, told, MG_COUNT(told)) ? mg_json_member(event->data, MG_VIEW("response")) : MG_VIEW_NONE;
    if (!x->keeping->store || response.len < 2 || response.ptr[0] != '{')
        return event;
    mg_view before = mg_view_head(event->data, (size_t)(response.ptr - event->data.ptr));
    mg_view after = mg_view_skip(event->data, before.len + response.len), middle = retold(x, response);
    mg_view raw = mg_arena_printf(&x->arena, "event: %.*s\ndata: %.*s%.*s%.*s\n\n", MG_FMT(name), MG_FMT(before), MG_FMT(middle), MG_FMT(after));
    *room = (struct mg_sse_event){.name = name, .raw = raw, .data_in_raw = true};
    room->data = mg_view_of(raw.ptr + (sizeof "event: \ndata: " - 1) + name.len, before.len + middle.len + after.len);
    join_lines(room->data);
    return room;
}

/* ---- save -------------------------------------------------------------------------------------- */

/* The data of the last event that ends a response, in a stream of whole events. */
static mg_view last_response(mg_view events)
{
    mg_view response = MG_VIEW_NONE;
    while (events.len) {
        size_t line = mg_view_find(events, "\n");
        mg_view data = mg_view_starts(events, MG_VIEW("data: {")) ? mg_view_skip(mg_view_head(events, line), 6) : MG_VIEW_NONE;
        mg_view type = data.len ? mg_json_plain(mg_json_member(data, MG_VIEW("type"))) : MG_VIEW_NONE;
        if (is_one_of(type, &told[3], 2))
            response = mg_json_member(data, MG_VIEW("response"));
        events = mg_view_skip(events, line + 1);
    }
    return response;
}

static void saved(struct mg_exchange *x)
{
    struct mg_keeping *keeping = x->keeping;
    keeping->answer = MG_ANSWER_SAVED;
    if (keeping->complete)
        keeping->resume(x);
    else if (mg_keeping_let_go(x) == MG_E_AGAIN)
        mg_relay_pause(&x->relay, true);
}

static void on_saved(void *arg, struct mg_keep_job *job)
{
    struct mg_exchange *x = arg;
    mg_keeping_came(x);
    x->keeping->failed = job->err != MG_OK;
    if (job->err != MG_OK)
        mg_timeline_note(x->timeline, mg_exchange_now(x), "responses", "the answer could not be kept: %s", mg_err_text(job->err));
    saved(x);
}

static void save_late(struct mg_exchange *x)
{
    x->keeping->failed = true;
    saved(x);
}

static struct mg_response_limits limits_of(const struct mg_exchange *x)
{
    const struct mg_config_responses *config = config_of(x);
    return (struct mg_response_limits){config->max_age_ms * 1000, config->max_count, (int64_t)config->max_bytes};
}

/* False: it is nothing that could be gone on from. */
static bool begin_save(struct mg_exchange *x, mg_view response)
{
    struct mg_keeping *keeping = x->keeping;
    mg_view id = mg_json_plain(mg_json_member(response, MG_VIEW("id")));
    mg_view status = mg_json_plain(mg_json_member(response, MG_VIEW("status")));
    bool ended = mg_view_eq(status, MG_VIEW("completed")) || mg_view_eq(status, MG_VIEW("incomplete"));
    if (!ended || !mg_keeping_is_id(id)) {
        mg_timeline_note(x->timeline, mg_exchange_now(x), "responses", "not kept: the answer is no response that is over");
        return false;
    }
    struct mg_keep_job *job = mg_keeping_ask(x, MG_KEEP_PUT, id);
    job->document = mg_arena_printf(&job->arena, "{\"input\":%.*s,\"response\":%.*s}", MG_FMT(keeping->input), MG_FMT(response));
    job->parent = keeping->parent;
    job->limits = limits_of(x);
    keeping->answer = MG_ANSWER_SAVING;
    mg_keeping_wait(x, job, on_saved, save_late);
    return true;
}

bool mg_keeping_holds(const struct mg_exchange *x, const struct mg_sse_event *event)
{
    const struct mg_keeping *keeping = x->keeping;
    if (!keeping->store || !x->answer.committed || keeping->answer == MG_ANSWER_SAVED)
        return false;
    return keeping->answer == MG_ANSWER_SAVING || is_one_of(name_of(event), &told[3], 2);
}

void mg_keeping_hold(struct mg_exchange *x, mg_view bytes)
{
    struct mg_keeping *keeping = x->keeping;
    bool first = keeping->answer == MG_ANSWER_OPEN;
    if (mg_buf_put(&keeping->tail, bytes) != MG_OK)
        mg_timeline_note(x->timeline, mg_exchange_now(x), "responses", "the end of the stream is larger than what can be held back");
    if (first && !begin_save(x, last_response(mg_buf_view(&keeping->tail))))
        saved(x);
}

/* What is sent as a whole: one JSON document, or a stream that was held back. */
static mg_view whole_response(struct mg_exchange *x)
{
    if (!mg_relay_attempt(&x->relay)->event_stream) {
        x->whole = retold(x, x->whole);
        return x->whole;
    }
    if (mg_answer_flush(&x->answer) != MG_OK)
        return MG_VIEW_NONE;
    return last_response(mg_buf_view(&x->answer.held));
}

bool mg_keeping_save(struct mg_exchange *x, void (*go_on)(struct mg_exchange *x))
{
    struct mg_keeping *keeping = x->keeping;
    int status = mg_relay_attempt(&x->relay)->facts.status;
    keeping->resume = go_on;
    if (!keeping->store || keeping->answer == MG_ANSWER_SAVED)
        return true;
    keeping->complete = true;
    if (keeping->answer == MG_ANSWER_SAVING)
        return false;
    if (x->answer.committed || status < 200 || status > 299)
        return true;                   /* a stream without an end, or a body that outgrew what is held */
    return !begin_save(x, whole_response(x));
}

/* The body may not be final yet: a hook answered. */
bool mg_keeping_save_own(struct mg_exchange *x, mg_view body, void (*go_on)(struct mg_exchange *x))
{
    struct mg_keeping *keeping = x->keeping;
    bool whole = body.len && body.ptr[0] == '{';
    if (!keeping->store || keeping->answer != MG_ANSWER_OPEN)
        return true;
    struct mg_json_error error;
    if (!keeping->input.ptr && mg_request_render(&x->call.request, &error) != MG_OK)
        return true;                   /* what its hooks left of it cannot be sent: nor kept */
    if (!keeping->input.ptr)
        mg_keeping_mark(x);
    keeping->resume = go_on;
    keeping->complete = true;
    return !begin_save(x, whole ? body : last_response(body));
}

mg_err mg_keeping_let_go(struct mg_exchange *x)
{
    mg_err err = mg_answer_add(&x->answer, mg_buf_view(&x->keeping->tail));
    mg_err flushed = mg_answer_flush(&x->answer);
    mg_buf_clear(&x->keeping->tail);
    return err == MG_OK ? flushed : err;
}
